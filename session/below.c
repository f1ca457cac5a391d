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
	EXPIRE_BATCH = 256,   /* sessions removed in one turn */
	SETTLE_BATCH = 64,    /* the same of those that memory has outlived */
};

/* --- it comes and goes --- */

static void publish(struct stack *s, enum stack_below below, const char *trouble)
{
	struct store_count count = {0};

	if (s->store)
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

/* Once for each reason, not for each attempt. */
static void say_trouble(struct stack *s, const char *why)
{
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

static void tell(struct stack_forget *f)
{
	struct stack_wait *wait = f->wait;

	f->wait = NULL;
	if (wait)
		wait->done(wait);
}

static struct stack_forget *forget_of(struct list *link)
{
	return CONTAINER_OF(CONTAINER_OF(link, struct mail, link), struct stack_forget, mail);
}

/* What was removed in a batch that came to nothing is removed when the store can be used again. */
void below_bury(struct stack *s)
{
	LIST_EACH (link, &s->forgotten)
		tell(forget_of(link));
	list_move_all(&s->graves, &s->forgotten);
}

int below_result(struct stack *s, int err)
{
	if (err != ERR_BROKEN)
		return err;
	stack_count(s, &s->stats.troubles, 1);
	below_bury(s);
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
	/* A look-up between the end in memory and this mail's posting has its own mail before this one. */
	sess_table_revoke(s->table, &f->id);
	int err = s->store ? below_result(s, s->below->remove(s->store, &f->id)) : ERR_BROKEN;

	if (!err) {
		list_append(&s->forgotten, &f->mail.link);
		return;
	}
	log_event(LOG_ERROR, "session_end_not_stored", LOG_S("store", s->below->name),
		  LOG_S("reason", error_text(err)));
	tell(f);
	list_append(&s->graves, &f->mail.link);
}

/* The end of the batch that the removals have begun. */
void below_commit_forgotten(struct stack *s)
{
	struct list *link;

	if (list_empty(&s->forgotten))
		return;
	if (below_result(s, s->below->commit(s->store))) {
		below_bury(s);
		return;
	}
	while ((link = list_pop(&s->forgotten))) {
		tell(forget_of(link));
		free(forget_of(link));
	}
}

void below_dig_graves(struct stack *s)
{
	struct list graves;
	struct list *link;
	uint32_t n = 0;

	list_init(&graves);
	list_move_all(&graves, &s->graves);
	while ((link = list_pop(&graves))) {
		int err = s->store ? below_result(s, s->below->remove(s->store, &forget_of(link)->id)) : ERR_BROKEN;
		list_append(err ? &s->graves : &s->forgotten, link);
		if (++n % MOVER_BATCH == 0)
			below_commit_forgotten(s);
	}
	below_commit_forgotten(s);
}

/* Few lie there while the store is open: each turn tries again. */
bool below_is_buried(struct stack *s, const struct sess_id *id)
{
	LIST_EACH (link, &s->graves) {
		if (sess_id_eq(&forget_of(link)->id, id))
			return true;
	}
	return false;
}

int below_end(struct stack *s, const struct sess_id *id)
{
	struct stack_forget *f = malloc(sizeof *f);

	if (!f)
		return ERR_NO_MEMORY;
	*f = (struct stack_forget){.stack = s, .id = *id};
	list_init(&f->mail.link);
	int err = sess_table_end(s->table, id);
	if (s->below)
		err = s->store ? below_result(s, s->below->remove(s->store, id)) : ERR_BROKEN;
	if (s->below && !err)
		err = below_result(s, s->below->commit(s->store));
	if (s->below && err)
		list_append(&s->graves, &f->mail.link);
	else
		free(f);
	return err;
}

void below_free_graves(struct stack *s)
{
	struct list *link;

	while ((link = list_pop(&s->graves)))
		free(forget_of(link));
}

/* --- what has expired --- */

static void not_below(void *arg, const struct sess_id *id)
{
	struct stack *s = arg;

	sess_table_not_below(s->table, id);
}

/* A piece of it. True: there is more. */
static bool expire(struct stack *s)
{
	uint32_t now_s = sess_table_now_s(s->table, clock_now());
	uint32_t n = 0;
	int err = s->below->expire(s->store, now_s, EXPIRE_BATCH, not_below, s, &n);

	/* Also where nothing was removed: the store may have begun a batch, and it is tended outside of one. */
	if (!err)
		err = s->below->commit(s->store);
	if (!below_result(s, err))
		stack_count(s, &s->stats.below_expired, n);
	return !err && n == EXPIRE_BATCH;
}

/* Removes what is below of sessions that have expired in memory with a shorter time to live than they have there. True:
 * there is more. */
bool below_settle(struct stack *s)
{
	struct sess_id ids[SETTLE_BATCH];
	uint32_t n = 0;
	int err = 0;

	for (uint32_t i = 0; s->store && i < sess_table_shards(s->table) && n < SETTLE_BATCH; i++)
		n += sess_table_owed(s->table, i, SETTLE_BATCH - n, ids + n);
	if (n == 0)
		return false;
	for (uint32_t i = 0; !err && i < n; i++)
		err = below_result(s, s->below->remove(s->store, &ids[i]));
	if (!err)
		err = below_result(s, s->below->commit(s->store));
	for (uint32_t i = 0; !err && i < n; i++)
		sess_table_settle(s->table, &ids[i]);
	return !err && n == SETTLE_BATCH;
}

/* --- the rest --- */

int below_read(struct stack *s, const struct sess_id *id, struct sess_record *out)
{
	if (!s->store)
		return s->below ? ERR_BROKEN : ERR_GONE;
	if (below_is_buried(s, id))
		return ERR_GONE;
	int err = below_result(s, s->below->get(s->store, id, &s->space, out));
	if (!err && record_expires_s(out) <= sess_table_now_s(s->table, clock_now()))
		err = ERR_GONE;
	return err;
}

bool below_tend(struct stack *s)
{
	struct instant now = clock_now();

	if (!s->store || (!s->expiring && instant_since_ms(now, s->tended_at) < TEND_MS))
		return false;
	s->tended_at = now;
	s->expiring = expire(s);
	if (s->store)
		(void)below_result(s, s->below->tend(s->store));
	return s->expiring;
}
