/* The stack's thread: moves sessions between memory and the store below, removes what has ended or expired there, and
 * gets over a store that fails (doc/stores.md). The only user of the store below.
 *
 * One turn: the mails (look-ups below first come first served, removals), then one batch of what the evicter wants
 * moved, then a piece of expiry and housekeeping. So a look-up waits for one batch at most. */
#include "base/error.h"
#include "base/invariant.h"
#include "base/log.h"
#include "session/stack_state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
	TURN_MS = 1000,       /* between two turns without a reason */
	TURN_ROOM_MS = 50,    /* while requests wait for room */
	HIGH_PERCENT = 90,    /* of memory's bound: above it memory is tight */
	LOW_PERCENT = 85,     /* until it is below this one */
	ROOM_PERCENT = 95,    /* below it requests that wait for room try again */
	RETRY_MIN_MS = 1000,  /* a store that cannot be used is opened again after this, and then ever later */
	RETRY_MAX_MS = 30000, /* up to this */
	FULL_MS = 1000,       /* a full store is left alone for so long */
	EXPIRE_BATCH = 256,   /* sessions removed below in one turn */
	SETTLE_BATCH = 64,    /* the same of those that memory has outlived */
	ROOM_TRIES = 4,       /* batches moved down to make room for one that comes up */
};

/* --- the store comes and goes --- */

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

static void publish_as_it_is(struct stack *s)
{
	bool full = s->full_until.ms > 0;

	if (!s->below)
		publish(s, STACK_BELOW_NONE, "");
	else if (!s->store)
		publish(s, STACK_BELOW_BROKEN, s->trouble);
	else
		publish(s, full ? STACK_BELOW_FULL : STACK_BELOW_READY, full ? "no space left" : "");
}

static void count_one(struct stack *s, uint64_t *counter, uint64_t n)
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

static void open_store(struct stack *s)
{
	struct instant began = clock_now();
	struct store_count count;
	char why[160] = "";

	if (!s->below || s->store || instant_before(began, s->retry_at))
		return;
	int err = s->below->open(&s->store, &s->now_settings.store, why, sizeof why);
	struct instant now = clock_now();
	if (err) {
		s->store = NULL;
		say_trouble(s, *why ? why : error_text(err));
		s->retry_ms = s->retry_ms ? s->retry_ms * 2 : RETRY_MIN_MS;
		if (s->retry_ms > RETRY_MAX_MS)
			s->retry_ms = RETRY_MAX_MS;
		s->retry_at = instant_add_ms(now, s->retry_ms);
		return;
	}
	s->retry_ms = 0;
	s->trouble[0] = '\0';
	s->full_until.ms = 0;
	s->below->count(s->store, &count);
	log_event(LOG_INFO, "store_ready", LOG_S("store", s->below->name), LOG_I("sessions", count.sessions),
		  LOG_I("bytes", count.bytes), LOG_I("ms", instant_since_ms(now, began)));
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
static void bury(struct stack *s)
{
	LIST_EACH (link, &s->forgotten)
		tell(forget_of(link));
	list_move_all(&s->graves, &s->forgotten);
}

int mover_result(struct stack *s, int err)
{
	if (err != ERR_BROKEN)
		return err;
	count_one(s, &s->stats.troubles, 1);
	bury(s);
	if (s->store)
		s->below->close(&s->store, false);
	s->store = NULL;
	say_trouble(s, error_text(ERR_BROKEN));
	s->retry_at = instant_add_ms(clock_now(), s->retry_ms ? s->retry_ms : 0);
	publish_as_it_is(s);
	return err;
}

/* --- what has ended --- */

void mover_forget(struct stack *s, struct stack_forget *f)
{
	/* A look-up between the end in memory and this mail's posting has its own mail before this one. */
	sess_table_revoke(s->table, &f->id);
	int err = s->store ? mover_result(s, s->below->remove(s->store, &f->id)) : ERR_BROKEN;

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
static void commit_forgotten(struct stack *s)
{
	struct list *link;

	if (list_empty(&s->forgotten))
		return;
	if (mover_result(s, s->below->commit(s->store))) {
		bury(s);
		return;
	}
	while ((link = list_pop(&s->forgotten))) {
		tell(forget_of(link));
		free(forget_of(link));
	}
}

static void dig_graves(struct stack *s)
{
	struct list graves;
	struct list *link;
	uint32_t n = 0;

	list_init(&graves);
	list_move_all(&graves, &s->graves);
	while ((link = list_pop(&graves))) {
		int err = s->store ? mover_result(s, s->below->remove(s->store, &forget_of(link)->id)) : ERR_BROKEN;
		list_append(err ? &s->graves : &s->forgotten, link);
		if (++n % MOVER_BATCH == 0)
			commit_forgotten(s);
	}
	commit_forgotten(s);
}

int mover_end(struct stack *s, const struct sess_id *id)
{
	struct stack_forget *f = malloc(sizeof *f);

	if (!f)
		return ERR_NO_MEMORY;
	*f = (struct stack_forget){.stack = s, .id = *id};
	list_init(&f->mail.link);
	int err = sess_table_end(s->table, id);
	if (s->below)
		err = s->store ? mover_result(s, s->below->remove(s->store, id)) : ERR_BROKEN;
	if (s->below && !err)
		err = mover_result(s, s->below->commit(s->store));
	if (s->below && err)
		list_append(&s->graves, &f->mail.link);
	else
		free(f);
	return err;
}

/* --- up --- */

static bool move_down_some(struct stack *s);

int mover_app(struct stack *s, const struct sess_record *r, uint16_t *out)
{
	char name[RECORD_APP_MAX + 1];

	INVARIANT(r->app.len <= RECORD_APP_MAX);
	memcpy(name, r->app.at, r->app.len);
	name[r->app.len] = '\0';
	return stack_app(s, name, out);
}

/* Few lie there while the store is open: each turn tries again. */
bool mover_is_buried(struct stack *s, const struct sess_id *id)
{
	LIST_EACH (link, &s->graves) {
		if (sess_id_eq(&forget_of(link)->id, id))
			return true;
	}
	return false;
}

int mover_read(struct stack *s, const struct sess_id *id, struct sess_record *out)
{
	if (!s->store)
		return s->below ? ERR_BROKEN : ERR_GONE;
	if (mover_is_buried(s, id))
		return ERR_GONE;
	int err = mover_result(s, s->below->get(s->store, id, &s->space, out));
	if (!err && record_expires_s(out) <= sess_table_now_s(s->table, clock_now()))
		err = ERR_GONE;
	return err;
}

static int arrive(struct stack *s, const struct sess_record *r)
{
	uint16_t app;
	int err = mover_app(s, r, &app);

	return err ? err : sess_table_arrive(s->table, app, r);
}

/* From below to a placeholder. The record is read again after each batch: they share the store. */
static int read_up(struct stack *s, const struct sess_id *id)
{
	struct sess_record r;
	int err = ERR_FULL;

	for (int i = 0; i < ROOM_TRIES && err == ERR_FULL; i++) {
		if (i > 0) {
			s->tight = true;
			(void)move_down_some(s);
		}
		err = mover_read(s, id, &r);
		if (!err)
			err = arrive(s, &r);
	}
	return err;
}

static void say_unreadable(struct stack *s, const struct sess_id *id, int err)
{
	char name[SESS_NAME_TEXT];

	sess_id_name(&s->keys, id, name);
	count_one(s, &s->stats.unreadable, 1);
	log_event(LOG_ERROR, err == ERR_VERSION ? "session_too_new" : "session_damaged", LOG_S("store", s->below->name),
		  LOG_V("session", view_of(name, sizeof name)));
}

/* Those who wait for it are told, whatever has become of it. */
static int fetch(struct stack *s, const struct sess_id *id)
{
	int err = read_up(s, id);

	if (err == ERR_MALFORMED || err == ERR_VERSION)
		say_unreadable(s, id, err);
	if (!err) {
		count_one(s, &s->stats.promoted, 1);
		return 0;
	}
	/* Absent is only what is known to be: gone, or damaged beyond use. */
	bool absent = err == ERR_GONE || err == ERR_MALFORMED;
	if (absent)
		count_one(s, &s->stats.missed, 1);
	sess_table_fail(s->table, id, absent ? SESS_ABSENT : SESS_UNAVAILABLE);
	return err;
}

void mover_fetch(struct stack *s, const struct sess_id *id)
{
	(void)fetch(s, id);
}

int mover_promote(struct stack *s, const struct sess_id *id)
{
	int err = s->below ? sess_table_expect(s->table, id, clock_now()) : ERR_GONE;

	return err ? err : fetch(s, id);
}

/* --- down --- */

static int store_one(struct stack *s, const struct sess_leaver *l)
{
	struct sess_record r = {
	    .id = l->id,
	    .app = view_str(stack_app_name(s, l->app)),
	    .version = l->version,
	    .created_s = l->created_s,
	    .used_s = l->used_s,
	    .ttl_s = l->ttl_s,
	    .fresh = l->fresh,
	    .pinned = l->pinned,
	    .state = l->state ? view_of(l->state->bytes, l->state->len) : view_of(NULL, 0),
	};

	return s->below->put(s->store, &r);
}

static void say_full(struct stack *s)
{
	if (s->full_until.ms == 0)
		log_event(LOG_ERROR, "store_full", LOG_S("store", s->below->name),
			  LOG_S("reason", "no space left: sessions stay in memory"));
	s->full_until = instant_add_ms(clock_now(), FULL_MS);
}

/* Puts the first `n` of the batch into the store; how many are in it for certain then. */
static uint32_t store_batch(struct stack *s, uint32_t n, int *err)
{
	uint32_t done = 0;

	*err = s->store ? 0 : ERR_BROKEN;
	while (done < n && !*err) {
		*err = mover_result(s, store_one(s, &s->batch[done]));
		done += !*err;
	}
	if (*err == ERR_FULL)
		say_full(s);
	if (s->store && done > 0) {
		int failed = mover_result(s, s->below->commit(s->store));
		if (failed) {
			bury(s);
			*err = failed;
			done = 0;
		}
	} else if (!s->store) {
		done = 0;
	}
	return done;
}

/* The collected leave memory, as far as they are stored below. How many have left. */
static uint64_t let_leave(struct stack *s, const struct sess_reason *why, uint32_t n, int *err)
{
	uint32_t stored = store_batch(s, n, err);
	uint64_t left = 0;

	for (uint32_t i = 0; i < n; i++)
		left += sess_table_left(s->table, &s->batch[i], i < stored, why);
	count_one(s, &s->stats.demoted, left);
	return left;
}

/* Some from each shard, so that those of all shards that were unused for longest go first. */
static uint32_t collect(struct stack *s, const struct sess_reason *why)
{
	uint32_t shards = sess_table_shards(s->table);
	uint32_t each = MOVER_BATCH / shards ? MOVER_BATCH / shards : 1;
	uint32_t n = 0;

	for (uint32_t i = 0; i < shards && n < MOVER_BATCH; i++) {
		uint32_t room = MOVER_BATCH - n < each ? MOVER_BATCH - n : each;
		n += sess_table_collect(s->table, (s->next_shard + i) % shards, why, clock_now(), room, s->batch + n);
	}
	s->next_shard++;
	return n;
}

static void look_tight(struct stack *s)
{
	if (sess_table_tight(s->table, HIGH_PERCENT))
		s->tight = true;
	else if (!sess_table_tight(s->table, LOW_PERCENT))
		s->tight = false;
}

/* One batch of what the evicter wants moved. True: there may be more. */
static bool move_down_some(struct stack *s)
{
	const struct stack_settings *set = &s->now_settings;
	struct instant now = clock_now();
	struct sess_reason why = {
	    .evict = set->evict,
	    .limits = set->limits,
	    .look = {.now_s = sess_table_now_s(s->table, now), .tight = s->tight},
	};
	int err;

	if (!s->store || instant_before(now, s->full_until))
		return false;
	uint32_t n = collect(s, &why);
	if (n == 0)
		return false;
	uint64_t left = let_leave(s, &why, n, &err);
	if (!err && s->full_until.ms > 0) {
		s->full_until.ms = 0;
		log_event(LOG_INFO, "store_has_room", LOG_S("store", s->below->name));
	}
	return !err && left > 0;
}

int mover_demote(struct stack *s, const struct sess_id *id)
{
	struct sess_reason why = {.evict = NULL};
	int err = s->store ? sess_table_collect_one(s->table, id, &s->batch[0]) : ERR_BROKEN;

	if (err)
		return err;
	uint64_t left = let_leave(s, &why, 1, &err);
	if (!err && left == 0)
		err = ERR_BUSY;
	return err;
}

int mover_demote_some(struct stack *s, const struct sess_reason *why, uint64_t *left)
{
	int err = 0;

	*left = 0;
	if (!s->store)
		return ERR_BROKEN;
	uint32_t n = collect(s, why);
	if (n > 0)
		*left = let_leave(s, why, n, &err);
	return err;
}

/* --- one turn --- */

static void not_below(void *arg, const struct sess_id *id)
{
	struct stack *s = arg;

	sess_table_not_below(s->table, id);
}

/* A piece of what has expired below. True: there is more. */
static bool expire_below(struct stack *s)
{
	uint32_t now_s = sess_table_now_s(s->table, clock_now());
	uint32_t n = 0;

	if (!s->store)
		return false;
	int err = s->below->expire(s->store, now_s, EXPIRE_BATCH, not_below, s, &n);
	if (!err && n > 0)
		err = s->below->commit(s->store);
	if (!mover_result(s, err))
		count_one(s, &s->stats.below_expired, n);
	return !err && n == EXPIRE_BATCH;
}

/* Removes what is below of sessions that have expired in memory with a shorter time to live than they have there. True:
 * there is more. */
static bool settle(struct stack *s)
{
	struct sess_id ids[SETTLE_BATCH];
	uint32_t n = 0;
	int err = 0;

	for (uint32_t i = 0; s->store && i < sess_table_shards(s->table) && n < SETTLE_BATCH; i++)
		n += sess_table_owed(s->table, i, SETTLE_BATCH - n, ids + n);
	if (n == 0)
		return false;
	for (uint32_t i = 0; !err && i < n; i++)
		err = mover_result(s, s->below->remove(s->store, &ids[i]));
	if (!err)
		err = mover_result(s, s->below->commit(s->store));
	for (uint32_t i = 0; !err && i < n; i++)
		sess_table_settle(s->table, &ids[i]);
	return !err && n == SETTLE_BATCH;
}

static void tend(struct stack *s)
{
	struct instant now = clock_now();

	if (!s->store || instant_since_ms(now, s->tended_at) < TURN_MS)
		return;
	s->tended_at = now;
	if (s->below->tend)
		(void)mover_result(s, s->below->tend(s->store));
}

/* Those who wait for room try again when there is some. True: some still wait. */
static bool serve_room(struct stack *s)
{
	struct list ready;
	struct list *link;

	list_init(&ready);
	pthread_mutex_lock(&s->lock);
	bool some = !list_empty(&s->room);
	if (some && !sess_table_tight(s->table, ROOM_PERCENT)) {
		LIST_EACH (node, &s->room)
			CONTAINER_OF(node, struct stack_wait, link)->queued = false;
		list_move_all(&ready, &s->room);
		some = false;
	}
	pthread_mutex_unlock(&s->lock);
	while ((link = list_pop(&ready))) {
		struct stack_wait *w = CONTAINER_OF(link, struct stack_wait, link);
		w->done(w);
	}
	return some;
}

static void take_settings(struct stack *s)
{
	pthread_mutex_lock(&s->lock);
	bool changed = s->settings_changed;
	s->settings_changed = false;
	if (changed)
		s->now_settings = s->settings;
	pthread_mutex_unlock(&s->lock);
	if (changed && s->store)
		s->below->set(s->store, &s->now_settings.store);
}

/* How long to wait for the next one. */
static uint64_t turn(struct stack *s)
{
	take_settings(s);
	open_store(s);
	if (s->store && !list_empty(&s->graves))
		dig_graves(s);
	mailbox_deliver(&s->inbox);
	commit_forgotten(s);
	atomic_store(&s->nudged, false);
	look_tight(s);
	bool more = move_down_some(s);
	more = expire_below(s) || more;
	more = settle(s) || more;
	more = operate_some(s) || more;
	tend(s);
	bool wait_for_room = serve_room(s);
	publish_as_it_is(s);
	if (more)
		return 0;
	return wait_for_room ? TURN_ROOM_MS : TURN_MS;
}

static void rest(struct stack *s, uint64_t ms)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += (time_t)(ms / 1000);
	until.tv_nsec += (long)(ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&s->wake_lock);
	while (!s->awake && pthread_cond_timedwait(&s->wake, &s->wake_lock, &until) != ETIMEDOUT)
		;
	s->awake = false;
	pthread_mutex_unlock(&s->wake_lock);
}

/* --- the end --- */

static void demote_for_good(struct stack *s)
{
	struct sess_reason why = {.evict = NULL, .pinned_too = true};
	struct sess_table_stats t;
	uint64_t some = 1, left = 0;
	int err = 0;

	sess_table_stats(s->table, &t);
	if (t.sessions == 0)
		return;
	log_event(LOG_INFO, "demoting", LOG_I("sessions", t.sessions));
	for (; !err && some > 0 && !atomic_load(&s->hurry); left += some)
		err = mover_demote_some(s, &why, &some);
	sess_table_stats(s->table, &t);
	if (t.sessions == 0)
		log_event(LOG_INFO, "demoted", LOG_I("sessions", left));
	else
		log_event(LOG_ERROR, "sessions_lost", LOG_I("sessions", t.sessions),
			  LOG_S("reason", err ? error_text(err) : "told to hurry"));
}

static void free_graves(struct stack *s)
{
	struct list *link;

	while ((link = list_pop(&s->graves)))
		free(forget_of(link));
}

void *mover_run(void *arg)
{
	struct stack *s = arg;
	uint64_t wait_ms = 0;

	pthread_setname_np(pthread_self(), "weir-store");
	while (!s->stopping) {
		if (wait_ms > 0)
			rest(s, wait_ms);
		wait_ms = turn(s);
	}
	operate_give_up(s);
	if (s->stop_demote && s->below)
		demote_for_good(s);
	while (settle(s))
		;
	if (s->store)
		s->below->close(&s->store, true);
	free_graves(s);
	s->stopped(s->stopped_arg);
	return NULL;
}
