/* Sessions on their way up and down, between memory and the store below (doc/stores.md). The stack's thread. */
#include "session/carry.h"

#include "base/error.h"
#include "base/invariant.h"
#include "base/log.h"
#include "base/thread.h"
#include "session/below.h"

#include <stdlib.h>

enum {
	FULL_MS = 1000,        /* a full store is left alone for so long */
	ROOM_PERCENT = 99,     /* and has room when it holds no more than this of what it held */
	ROOM_TRIES = 4,        /* to bring one up, where others take the room that was made for it */
	SESSION_BYTES = 100,   /* what a session costs at least */
	STATE_HEAD_BYTES = 64, /* what a state costs at most besides its bytes */
	SHARDS_ASKED = 64,     /* to learn how old the oldest are */
	LOOKS = 64,            /* pieces of a walk in one turn */
	GIVE_WAY = 8,          /* sessions that are stored between two moments for others, */
	GIVE_WAY_SHORT = 32,   /* or have left, or shards that were looked into */
};

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

	below_to_record(s, &r);
	return s->below->put(s->store, &r);
}

static void say_full(struct stack *s)
{
	struct store_count count;

	if (s->full_until.ms == 0)
		log_event(LOG_ERROR, "store_full", LOG_S("store", s->below->name),
			  LOG_S("reason", "no space left: sessions stay in memory"));
	s->below->count(s->store, &count);
	s->full_bytes = count.bytes;
	s->full_until = instant_add_ms(clock_now(), FULL_MS);
}

static void say_room(struct stack *s)
{
	if (s->full_until.ms > 0)
		log_event(LOG_INFO, "store_has_room", LOG_S("store", s->below->name));
	s->full_until.ms = 0;
}

void carry_look_full(struct stack *s)
{
	struct store_count count;

	if (!s->store || s->full_until.ms == 0)
		return;
	s->below->count(s->store, &count);
	if (count.bytes < s->full_bytes / 100 * ROOM_PERCENT)
		say_room(s);
}

/* The first `n` of the batch. Those that are refused keep no other back. How many are not, in *put. */
static int put_batch(struct stack *s, uint32_t n, uint32_t *put)
{
	int err = s->store ? 0 : ERR_BROKEN, refused = 0;

	*put = 0;
	for (uint32_t i = 0; i < n && !err; i++) {
		if (i % GIVE_WAY == GIVE_WAY - 1)
			thread_give_way();
		err = below_result(s, store_one(s, &s->batch[i]));
		if (err == ERR_BROKEN)
			break;
		s->batch[i].stored = err ? SESS_REFUSED : SESS_STORED;
		*put += !err;
		refused = err && refused != ERR_FULL ? err : refused;
		err = 0;
	}
	return err ? err : refused;
}

/* What was put is not there after all, or may not be. */
static void revoke_batch(struct stack *s, uint32_t n, enum sess_stored stored)
{
	for (uint32_t i = 0; i < n; i++) {
		if (s->batch[i].stored == SESS_STORED)
			s->batch[i].stored = stored;
	}
}

/* Where it ends in the midst of a batch the commit may make some room: so the store is full when there is room for
 * none, and from then on until all have some. */
static int store_batch(struct stack *s, uint32_t n)
{
	uint32_t put;
	int err = put_batch(s, n, &put);

	if (!s->store) {
		revoke_batch(s, n, SESS_NOT_STORED);
		return err;
	}
	int failed = below_result(s, s->below->commit(s->store));
	if (failed) {
		below_lose_batch(s, failed);
		revoke_batch(s, n, SESS_MAYBE_STORED);
	}
	if (s->store && err == ERR_FULL && (put == 0 || s->full_until.ms > 0))
		say_full(s);
	return failed ? failed : err;
}

/* The collected leave memory, as far as they are stored below. How many need not be collected again. */
static uint64_t let_leave(struct stack *s, const struct sess_reason *why, uint32_t n, int *err)
{
	uint64_t left = 0, refused = 0;

	*err = store_batch(s, n);
	for (uint32_t i = 0; i < n; i++) {
		if (i % GIVE_WAY_SHORT == GIVE_WAY_SHORT - 1)
			thread_give_way();
		refused += s->batch[i].stored == SESS_REFUSED;
		left += sess_table_left(s->table, &s->batch[i], why);
	}
	stack_count(s, &s->stats.demoted, left);
	return why->once ? left + refused : left;
}

/* To the `n` of the batch those that `why` holds for, one shard after the other, of no more than so many bytes. How
 * many there are then. */
static uint32_t collect_round(struct stack *s, const struct sess_reason *why, uint32_t n, uint64_t *bytes)
{
	uint32_t shards = sess_table_shards(s->table);
	struct instant now = clock_now();

	for (uint32_t i = 0; i < shards && n < MOVER_BATCH && *bytes != 0; i++) {
		s->next_shard = (s->next_shard + 1) % shards;
		n += sess_table_collect(s->table, s->next_shard, why, now, MOVER_BATCH - n, bytes, s->batch + n);
		if (i % GIVE_WAY_SHORT == GIVE_WAY_SHORT - 1)
			thread_give_way();
	}
	return n;
}

/* A batch of all that `why` holds for, with no more than so many bytes. */
static uint32_t collect(struct stack *s, const struct sess_reason *why, uint64_t bytes)
{
	return collect_round(s, why, 0, &bytes);
}

static int compare(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* When the oldest of a shard was used: not that of the shard with the oldest of all, which would be one session a
 * round, but of the shard that has an eighth of the others before it. False: nobody is idle. */
static bool oldest_used_s(struct stack *s, uint32_t *used_s)
{
	uint32_t shards = sess_table_shards(s->table);
	uint32_t oldest[SHARDS_ASKED];
	uint32_t n = 0;

	for (uint32_t i = 1; i <= shards && n < SHARDS_ASKED; i++)
		n += sess_table_oldest(s->table, (s->next_shard + i) % shards, &oldest[n]);
	if (n == 0)
		return false;
	qsort(oldest, n, sizeof *oldest, compare);
	*used_s = oldest[n / 8];
	return true;
}

/* The same for those that were unused for longest in all shards, round after round. */
static uint32_t collect_oldest(struct stack *s, struct sess_reason *why, uint64_t bytes)
{
	uint32_t n = 0, before;

	do {
		before = n;
		if (!oldest_used_s(s, &why->used_until_s))
			break;
		n = collect_round(s, why, n, &bytes);
	} while (n > before && n < MOVER_BATCH && bytes > 0);
	return n;
}

/* Where nothing else is left to leave: what is pinned beyond its bound, for it has grown since, or come up from below.
 * It keeps the pin, and is in memory again when it is asked for. */
static uint32_t collect_pinned(struct stack *s, struct sess_reason *why, uint64_t bytes)
{
	uint64_t pinned = sess_table_pinned_bytes(s->table), most = s->now_settings.max_pinned;

	if (pinned <= most)
		return 0;
	why->pinned_too = true;
	why->used_until_s = 0;
	return collect(s, why, bytes < pinned - most ? bytes : pinned - most);
}

uint64_t carry_down_evicted(struct stack *s, uint64_t more_bytes)
{
	const struct stack_settings *set = &s->now_settings;
	struct instant now = clock_now();
	uint64_t over = s->tight ? sess_table_over(s->table, CARRY_LOW_PERCENT, 0) : 0;
	uint64_t lacks = sess_table_over(s->table, 100, more_bytes);
	uint64_t bytes = over > lacks ? over : lacks;
	struct sess_reason why = {
	    .evict = set->evict,
	    .limits = set->limits,
	    .look = {.now_s = sess_table_now_s(s->table, now), .tight = bytes > 0},
	};
	int err;

	if (!s->store || instant_before(now, s->full_until))
		return 0;
	if (bytes > MOVER_BATCH_BYTES)
		bytes = MOVER_BATCH_BYTES;
	uint32_t n = bytes ? collect_oldest(s, &why, bytes) : collect(s, &why, MOVER_BATCH_BYTES);
	if (n == 0 && bytes > 0)
		n = collect_pinned(s, &why, bytes);
	if (n == 0)
		return 0;
	uint64_t left = let_leave(s, &why, n, &err);
	if (!err)
		say_room(s);
	return left;
}

int carry_down(struct stack *s, const struct sess_id *id)
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

int carry_down_some(struct stack *s, const struct sess_reason *why, uint64_t *done)
{
	int err = 0;

	*done = 0;
	if (!s->store)
		return ERR_BROKEN;
	uint32_t n = collect(s, why, MOVER_BATCH_BYTES);
	if (n > 0)
		*done = let_leave(s, why, n, &err);
	return err;
}

int carry_down_next(struct stack *s, const struct sess_reason *why, uint32_t *shard, uint32_t *bucket, uint64_t *done)
{
	uint32_t shards = sess_table_shards(s->table);
	uint64_t bytes = MOVER_BATCH_BYTES;
	uint32_t n = 0;
	int err = 0;

	*done = 0;
	if (!s->store)
		return ERR_BROKEN;
	for (int i = 0; i < LOOKS && *shard < shards && n < MOVER_BATCH && bytes > 0; i++)
		n += sess_table_collect_next(s->table, shard, bucket, why, clock_now(), MOVER_BATCH - n, &bytes,
					     s->batch + n);
	if (n > 0)
		*done = let_leave(s, why, n, &err);
	return err;
}

/* --- up --- */

int carry_app(struct stack *s, const struct sess_record *r, uint16_t *out)
{
	char name[RECORD_APP_MAX + 1];

	INVARIANT(r->app.len <= RECORD_APP_MAX);
	memcpy(name, r->app.at, r->app.len);
	name[r->app.len] = '\0';
	return stack_app(s, name, out);
}

static int arrive(struct stack *s, const struct sess_record *r)
{
	uint16_t app;
	int err = carry_app(s, r, &app);

	return err ? err : sess_table_arrive(s->table, app, r);
}

/* Batch after batch moves down until memory has room for so many bytes. A full one makes some, so that what lacks
 * bounds their number, whoever else takes room meanwhile. False: no room came of it. */
static bool make_room(struct stack *s, uint64_t bytes)
{
	uint64_t lacks = sess_table_over(s->table, 100, bytes);
	uint64_t batches = lacks / (MOVER_BATCH * SESSION_BYTES) + ROOM_TRIES;

	if (bytes > sess_table_max(s->table))
		return false;
	bool some = lacks == 0;
	while (lacks > 0 && batches-- > 0 && carry_down_evicted(s, bytes) > 0) {
		lacks = sess_table_over(s->table, 100, bytes);
		some = true; /* it may do: what is lacking was estimated */
	}
	return some;
}

/* From below to a placeholder. The record is read again when room was made: that uses the store as well. */
static int read_up(struct stack *s, const struct sess_id *id)
{
	struct sess_record r = {.version = 0};
	int err = ERR_FULL;

	for (int i = 0; i < ROOM_TRIES && err == ERR_FULL; i++) {
		if (i > 0 && !make_room(s, r.state.len + STATE_HEAD_BYTES))
			break;
		err = below_read(s, id, &r);
		if (!err)
			err = arrive(s, &r);
	}
	if (err == ERR_FULL && r.state.len + STATE_HEAD_BYTES <= sess_table_max(s->table))
		stack_say_full(s);
	return err;
}

static void say_unreadable(struct stack *s, const struct sess_id *id, int err)
{
	char name[SESS_NAME_TEXT];

	sess_id_name(&s->keys, id, name);
	stack_count(s, &s->stats.unreadable, 1);
	struct log_field store = LOG_S("store", s->below->name), session = LOG_V("session", view_of(name, sizeof name));
	if (err == ERR_VERSION)
		log_event(LOG_ERROR, "session_too_new", store, session);
	else
		log_event(LOG_ERROR, "session_damaged", store, session);
}

/* Those who wait for it are told, whatever has become of it. */
static int fetch(struct stack *s, const struct sess_id *id)
{
	int err = read_up(s, id);

	if (err == ERR_MALFORMED || err == ERR_VERSION)
		say_unreadable(s, id, err);
	if (!err) {
		stack_count(s, &s->stats.promoted, 1);
		return 0;
	}
	/* Absent is only what is known to be: gone, or damaged beyond use. */
	bool absent = err == ERR_GONE || err == ERR_MALFORMED;
	if (absent)
		stack_count(s, &s->stats.missed, 1);
	sess_table_fail(s->table, id, absent ? SESS_ABSENT : SESS_UNAVAILABLE);
	return err;
}

void carry_fetch(struct stack *s, const struct sess_id *id)
{
	(void)fetch(s, id);
}

int carry_up(struct stack *s, const struct sess_id *id)
{
	int err = s->below ? sess_table_expect(s->table, id, clock_now()) : ERR_GONE;

	return err ? err : fetch(s, id);
}
