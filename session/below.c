/* The store below as the stack's thread has it: opened, given up and opened again; what is read of it, and what must go
 * from it because it has ended or expired. */
#include "session/below.h"

#include "base/error.h"
#include "base/invariant.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	RETRY_MIN_MS = 1000,  /* a store that cannot be used is opened again after this, and then ever later */
	RETRY_MAX_MS = 30000, /* up to this */
	QUIET_MS = 60000,     /* after so long without a failure the first one is no sign of more */
	TEND_MS = 1000,       /* between two pieces of housekeeping, unless there is more to do */
	EXPIRE_BATCH = 256,   /* sessions removed in one turn, or until the batch is due */
	SWEEPS = 64,          /* pieces of it at once, before the clock is taken as it was set */
	SETTLE_BATCH = 256,   /* the same of those that have ended */
	CLOCK_STEP_S = 2,     /* clocks that are read within a second may differ by less */
	CLOCK_READ_MS = 1000,
};

/* --- its times --- */

static uint32_t shift(uint32_t s, int64_t by_s)
{
	int64_t to_s = (int64_t)s + by_s;

	if (to_s < 0)
		return 0;
	return to_s < UINT32_MAX ? (uint32_t)to_s : UINT32_MAX;
}

static void shift_record(struct sess_record *r, int64_t by_s)
{
	r->created_s = shift(r->created_s, by_s);
	r->used_s = shift(r->used_s, by_s);
}

void below_to_record(const struct stack *s, struct sess_record *r)
{
	shift_record(r, s->ahead_s);
}

void below_from_record(const struct stack *s, struct sess_record *r)
{
	shift_record(r, -s->ahead_s);
}

/* --- it comes and goes --- */

static void publish(struct stack *s, enum stack_below below, const char *trouble)
{
	struct store_count count = {0};

	INVARIANT(s->below || !s->store);
	if (s->below && s->store)
		s->below->count(s->store, &count);
	atomic_store(&s->usable, below == STACK_BELOW_READY || below == STACK_BELOW_OPENING);
	pthread_mutex_lock(&s->lock);
	s->stats.below = below;
	if (s->store) {
		s->stats.below_sessions = count.sessions;
		s->stats.below_bytes = count.bytes;
	}
	snprintf(s->stats.trouble, sizeof s->stats.trouble, "%s", trouble);
	pthread_mutex_unlock(&s->lock);
}

void below_publish(struct stack *s)
{
	bool full = s->full_until.ms > 0;

	if (!s->below)
		publish(s, STACK_BELOW_NONE, "");
	else if (!s->store)
		publish(s, STACK_BELOW_BROKEN, s->trouble);
	else
		publish(s, full ? STACK_BELOW_FULL : STACK_BELOW_READY, full ? "no space left" : "");
}

void stack_count(struct stack *s, uint64_t *counter, uint64_t n)
{
	pthread_mutex_lock(&s->lock);
	*counter += n;
	pthread_mutex_unlock(&s->lock);
}

/* Said once for each reason, not for each attempt, and counted once until the store is open again. */
static void say_trouble(struct stack *s, const char *why)
{
	if (s->trouble[0] == '\0')
		stack_count(s, &s->stats.troubles, 1);
	if (strcmp(s->trouble, why) == 0)
		return;
	snprintf(s->trouble, sizeof s->trouble, "%s", why);
	log_event(LOG_ERROR, "store_failed", LOG_S("store", s->below->name), LOG_S("reason", why));
}

/* A store that breaks now and then is opened again at once; one that breaks or does not open time after time, ever
 * later. */
static void back_off(struct stack *s, bool opens)
{
	struct instant now = clock_now();

	if (opens && instant_since_ms(now, s->trouble_at) >= QUIET_MS)
		s->retry_ms = 0;
	else
		s->retry_ms = s->retry_ms ? s->retry_ms * 2 : RETRY_MIN_MS;
	if (s->retry_ms > RETRY_MAX_MS)
		s->retry_ms = RETRY_MAX_MS;
	s->trouble_at = now;
	s->retry_at = instant_add_ms(now, s->retry_ms);
}

void below_open(struct stack *s)
{
	struct instant began = clock_now();
	struct store_count count;
	char why[160] = "";

	if (!s->below || s->store || instant_before(began, s->retry_at))
		return;
	int err = s->below->open(&s->store, &s->now_settings.store, why, sizeof why);
	if (err) {
		s->store = NULL;
		say_trouble(s, *why ? why : error_text(err));
		back_off(s, false);
		return;
	}
	s->trouble[0] = '\0';
	s->full_until.ms = 0;
	s->below->count(s->store, &count);
	log_event(LOG_INFO, "store_ready", LOG_S("store", s->below->name), LOG_I("sessions", count.sessions),
		  LOG_I("bytes", count.bytes), LOG_I("ms", instant_since_ms(clock_now(), began)));
}

static void tell(struct stack *s, struct stack_forget *f)
{
	pthread_mutex_lock(&s->lock);
	struct stack_wait *wait = f->wait;
	f->wait = NULL;
	if (wait)
		wait->forget = NULL;
	pthread_mutex_unlock(&s->lock);
	if (wait)
		wait->done(wait);
}

static struct stack_forget *forget_of(struct list *link)
{
	return CONTAINER_OF(CONTAINER_OF(link, struct mail, link), struct stack_forget, mail);
}

/* The answer does not wait for a disk that may never come back. The session's tombstone stays until it does. */
static void give_up(struct stack *s, struct stack_forget *f, int err)
{
	log_event(LOG_ERROR, "session_end_not_stored", LOG_S("store", s->below->name),
		  LOG_S("reason", error_text(err)));
	tell(s, f);
	free(f);
}

void below_lose_batch(struct stack *s, int err)
{
	struct list *link;

	while ((link = list_pop(&s->forgotten)))
		give_up(s, forget_of(link), err);
}

int below_result(struct stack *s, int err)
{
	if (err != ERR_BROKEN)
		return err;
	below_lose_batch(s, err);
	if (s->store)
		s->below->close(&s->store, false);
	s->store = NULL;
	say_trouble(s, error_text(ERR_BROKEN));
	back_off(s, true);
	below_publish(s);
	return err;
}

/* --- what has ended --- */

void below_forget(struct stack *s, struct stack_forget *f)
{
	/* It was settled meanwhile, and a new session may have the id. */
	if (!sess_table_owes(s->table, &f->id)) {
		tell(s, f);
		free(f);
		return;
	}
	int err = s->store ? below_result(s, s->below->remove(s->store, &f->id)) : ERR_BROKEN;

	if (err) {
		give_up(s, f, err);
		return;
	}
	list_append(&s->forgotten, &f->mail.link);
	if (s->below->due(s->store))
		below_commit_forgotten(s);
}

void below_commit_forgotten(struct stack *s)
{
	struct list *link;

	if (list_empty(&s->forgotten))
		return;
	int err = below_result(s, s->below->commit(s->store));
	if (err) {
		below_lose_batch(s, err);
		return;
	}
	while ((link = list_pop(&s->forgotten))) {
		struct stack_forget *f = forget_of(link);
		sess_table_settle(s->table, &f->id);
		tell(s, f);
		free(f);
	}
}

int below_end(struct stack *s, const struct sess_id *id)
{
	if (!s->below)
		return sess_table_end(s->table, id);
	int err = sess_table_bury(s->table, id, clock_now());
	if (err)
		return err;
	err = s->store ? below_result(s, s->below->remove(s->store, id)) : ERR_BROKEN;
	if (!err)
		err = below_result(s, s->below->commit(s->store));
	if (!err)
		sess_table_settle(s->table, id);
	return err;
}

static uint32_t owed(struct stack *s, uint32_t max, struct sess_id *ids)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < sess_table_shards(s->table) && n < max; i++)
		n += sess_table_owed(s->table, i, max - n, ids + n);
	return n;
}

bool below_owes(struct stack *s)
{
	struct sess_id id;

	return owed(s, 1, &id) > 0;
}

bool below_settle(struct stack *s)
{
	struct sess_id ids[SETTLE_BATCH];
	uint32_t n = s->store ? owed(s, SETTLE_BATCH, ids) : 0, removed = 0;
	bool due = false;
	int err = 0;

	if (n == 0)
		return false;
	while (!err && !due && removed < n) {
		err = below_result(s, s->below->remove(s->store, &ids[removed++]));
		due = !err && s->below->due(s->store);
	}
	if (!err)
		err = below_result(s, s->below->commit(s->store));
	for (uint32_t i = 0; !err && i < removed; i++)
		sess_table_settle(s->table, &ids[i]);
	return !err && (due || n == SETTLE_BATCH);
}

/* --- what has expired --- */

struct expiry {
	struct stack *s;
	uint32_t count;
};

static void not_below(void *arg, const struct sess_id *id)
{
	struct expiry *e = arg;

	/* A session is counted where it ends, and once. */
	if (!sess_table_not_below(e->s->table, id))
		e->count++;
}

/* A piece of it. True: there is more. */
static bool expire(struct stack *s)
{
	uint32_t now_s = shift(sess_table_now_s(s->table, clock_now()), s->ahead_s);
	struct expiry e = {.s = s};
	bool more;
	int err = s->below->expire(s->store, now_s, EXPIRE_BATCH, not_below, &e, &more);

	/* Also where nothing was removed: the store may have begun a batch, and it is tended outside of one. */
	if (!err)
		err = s->below->commit(s->store);
	if (!below_result(s, err))
		stack_count(s, &s->stats.below_expired, e.count);
	return !err && more;
}

/* --- the clock was set --- */

/* By the calendar what is below lives longer than before, and what it is the older version of does not. */
static void outlive(struct stack *s)
{
	for (uint32_t i = 0; i < sess_table_shards(s->table); i++) {
		uint32_t bucket = 0;
		while (sess_table_outlive(s->table, i, &bucket))
			;
	}
}

/* What expires from now on is owed; what has expired before goes now, or it would be as new. */
static void set_back(struct stack *s)
{
	if (!s->below)
		return;
	outlive(s);
	for (int i = 0; i < SWEEPS && s->store && expire(s); i++)
		;
}

void below_look_at_clock(struct stack *s)
{
	struct instant now = clock_now();
	int64_t ahead_s = clock_wall().s - (int64_t)sess_table_now_s(s->table, now);
	int64_t by_s = ahead_s - s->ahead_s;

	if (by_s > -CLOCK_STEP_S && by_s < CLOCK_STEP_S)
		return;
	if (instant_since_ms(clock_now(), now) >= CLOCK_READ_MS)
		return; /* the thread was held up between the two */
	if (by_s < 0)
		set_back(s);
	s->ahead_s = ahead_s;
	log_event(LOG_WARN, "clock_set", LOG_S("by", by_s < 0 ? "back" : "forward"),
		  LOG_I("seconds", by_s < 0 ? -by_s : by_s));
}

/* --- the rest --- */

int below_read(struct stack *s, const struct sess_id *id, struct sess_record *out)
{
	if (!s->store)
		return s->below ? ERR_BROKEN : ERR_GONE;
	if (sess_table_owes(s->table, id))
		return ERR_GONE;
	int err = below_result(s, s->below->get(s->store, id, &s->space, out));
	if (err)
		return err;
	below_from_record(s, out);
	return record_expires_s(out) <= sess_table_now_s(s->table, clock_now()) ? ERR_GONE : 0;
}

bool below_tend(struct stack *s)
{
	struct instant now = clock_now();

	if (!s->store || (!s->expiring && instant_since_ms(now, s->tended_at) < TEND_MS))
		return false;
	s->tended_at = now;
	s->expiring = (!s->may_expire || s->may_expire(s->arg)) && expire(s);
	if (s->store)
		(void)below_result(s, s->below->tend(s->store));
	return s->expiring;
}
