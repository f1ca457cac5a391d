/* The session table as requests see it: open, wait, read, close; and its beginning and end. What a response changes is
 * in session/commit.c, the inside of a shard in session/shard.c. */
#include "session/shard.h"

#include "base/error.h"
#include "base/invariant.h"

#include <stdlib.h>

enum { DEFAULT_SHARDS = 64, MAX_SHARDS = 65536, DEFAULT_TOMBSTONE_S = 60 };

struct sess_table *sess_table_new(const struct sess_table_options *o, const struct sess_keys *keys, struct instant now)
{
	uint32_t shards = o->shards ? o->shards : DEFAULT_SHARDS;

	INVARIANT((shards & (shards - 1)) == 0);
	INVARIANT(shards <= MAX_SHARDS);
	struct sess_table *t = aligned_alloc(SHARD_ALIGN, sizeof(*t) + shards * sizeof(t->shards[0]));
	if (!t)
		return NULL;
	t->hash_key = keys->hash;
	t->began = now;
	t->began_s = o->wall.s > 0 ? (uint32_t)o->wall.s : 0;
	t->has_below = o->has_below;
	atomic_init(&t->max_bytes, o->max_bytes);
	t->tombstone_s = o->tombstone_s ? o->tombstone_s : DEFAULT_TOMBSTONE_S;
	t->shard_shift = 32u - (unsigned)__builtin_ctz(shards);
	atomic_init(&t->bytes, 0);
	for (t->shard_count = 0; t->shard_count < shards; t->shard_count++) {
		if (shard_init(&t->shards[t->shard_count], t->began_s))
			sess_table_free(&t);
		if (!t)
			return NULL;
	}
	return t;
}

void sess_table_free(struct sess_table **table)
{
	struct sess_table *t = *table;

	*table = NULL;
	if (!t)
		return;
	for (uint32_t i = 0; i < t->shard_count; i++)
		shard_fini(&t->shards[i]);
	free(t);
}

/* What is known of the id at `now`, under the lock. OPENED: *out is live, and not past its deadline. */
static enum sess_open look_up(struct sess_table *t, struct shard *sh, const struct sess_hold *h, uint32_t hash,
			      struct instant now, struct shard_after *after, struct session **out)
{
	struct session *s = shard_find(sh, &h->id, hash);
	uint32_t now_s = table_now_s(t, now);

	if (!s)
		return t->has_below ? SESS_QUEUED : SESS_ABSENT;
	/* Of one that is being fetched the app is not known yet. */
	if (s->app != h->app && s->phase != SESS_FETCHING)
		return SESS_ABSENT;
	if (s->tombstone)
		return s->farewell == SESS_RENEWED && now_s < s->timer.due ? SESS_RENEWED : SESS_ABSENT;
	if (sess_core_expired(s, now_s)) {
		shard_expire(sh, s, after);
		return SESS_ABSENT;
	}
	*out = s;
	return SESS_OPENED;
}

/* The session is there, or on its way. */
static enum sess_open acquire(struct shard *sh, struct session *s, struct sess_waiter *w, struct sess_hold *h)
{
	shard_wanted(s);
	bool ours = sess_core_acquire(s, h->lock, w);
	h->session = s;
	h->locked = ours && h->lock == SESS_LOCK_EXCLUSIVE;
	sh->waiters += !ours;
	return ours ? SESS_OPENED : SESS_QUEUED;
}

enum sess_open sess_table_open(struct sess_table *t, uint16_t app, const struct sess_id *id, enum sess_lock lock,
			       struct sess_waiter *w, struct instant now, struct sess_hold *h)
{
	struct sess_hold want = {.id = *id, .app = app, .lock = lock};
	uint32_t hash = table_hash(t, id);
	struct shard *sh = shard_of(t, hash);
	struct session *spare = NULL;
	struct shard_after after;
	enum sess_open result;
	bool again;

	shard_after_init(&after);
	do {
		struct session *s = NULL;
		pthread_mutex_lock(&sh->lock);
		w->placed = sh->placed;
		result = look_up(t, sh, &want, hash, now, &after, &s);
		again = result == SESS_QUEUED && !spare;
		if (result == SESS_QUEUED && spare) {
			/* It is not here: from now on it is being fetched. */
			s = spare;
			spare = NULL;
			shard_expect(t, s, id, hash, app, now);
			want.fetch = true;
			result = SESS_OPENED;
		}
		if (result == SESS_OPENED)
			result = acquire(sh, s, w, &want);
		pthread_mutex_unlock(&sh->lock);
		/* Memory is had without the lock; then it looks again. */
		if (again && !(spare = malloc(sizeof *spare))) {
			result = SESS_UNAVAILABLE;
			again = false;
		}
	} while (again);
	free(spare);
	*h = want.session ? want : (struct sess_hold){0};
	shard_after_run(t, &after);
	return result;
}

/* Drops the hold's reference; if it was the last one the session rests. */
static void let_go(struct shard *sh, struct sess_hold *h, struct shard_after *after)
{
	struct session *s = h->session;

	if (h->locked) {
		struct sess_waiter *next = sess_core_release(s);
		if (next)
			list_append(&after->woken, &next->link);
	}
	shard_unref(s, after);
	if (s->refs > 0 && s->phase == SESS_LIVE && !sess_core_in_use(s))
		shard_rest(sh, s);
	*h = (struct sess_hold){0};
}

enum sess_open sess_table_granted(struct sess_table *t, struct sess_waiter *w, struct sess_hold *h)
{
	struct session *s = h->session;
	struct shard *sh = shard_of(t, s->hash);
	enum sess_open result = SESS_OPENED;
	struct shard_after after;

	shard_after_init(&after);
	pthread_mutex_lock(&sh->lock);
	sh->waiters--;
	bool live = sess_core_granted(s, w);
	h->locked = live && h->lock == SESS_LOCK_EXCLUSIVE;
	if (!live || s->app != h->app) {
		result = live ? SESS_ABSENT : (enum sess_open)s->farewell;
		let_go(sh, h, &after);
	}
	pthread_mutex_unlock(&sh->lock);
	shard_after_run(t, &after);
	return result;
}

bool sess_table_cancel(struct sess_table *t, struct sess_waiter *w, struct sess_hold *h)
{
	struct session *s = h->session;
	struct shard *sh = shard_of(t, s->hash);
	struct shard_after after;

	shard_after_init(&after);
	pthread_mutex_lock(&sh->lock);
	bool cancelled = sess_core_cancel(w);
	if (cancelled) {
		sh->waiters--;
		/* While it was queued another one held the session, or it is being fetched: never the last one. */
		INVARIANT(s->refs > 1);
		let_go(sh, h, &after);
	}
	pthread_mutex_unlock(&sh->lock);
	shard_after_run(t, &after);
	return cancelled;
}

void sess_table_read(struct sess_table *t, const struct sess_hold *h, struct sess_snapshot *out)
{
	struct session *s = h->session;
	struct shard *sh = shard_of(t, s->hash);

	pthread_mutex_lock(&sh->lock);
	*out = (struct sess_snapshot){
	    .state = s->state ? sess_state_ref(s->state) : NULL,
	    .created = {.s = s->created_s},
	    .ttl_s = s->ttl_s,
	    .fresh = s->fresh,
	    .ended = s->phase == SESS_ENDED,
	};
	s->fresh = false;
	pthread_mutex_unlock(&sh->lock);
}

void sess_table_close(struct sess_table *t, struct sess_hold *h, struct instant now)
{
	struct session *s = h->session;
	struct shard_after after;

	if (!s)
		return;
	struct shard *sh = shard_of(t, s->hash);
	shard_after_init(&after);
	pthread_mutex_lock(&sh->lock);
	if (s->phase == SESS_LIVE && h->fixed)
		(void)sess_core_touch_fixed(s, table_now_s(t, now));
	else if (s->phase == SESS_LIVE)
		sess_core_touch(s, table_now_up_s(t, now));
	let_go(sh, h, &after);
	pthread_mutex_unlock(&sh->lock);
	shard_after_run(t, &after);
}

uint32_t sess_table_shards(const struct sess_table *t)
{
	return t->shard_count;
}

uint64_t sess_table_bytes(const struct sess_table *t)
{
	return atomic_load_explicit(&t->bytes, memory_order_relaxed);
}

uint64_t sess_table_over(const struct sess_table *t, uint32_t percent, uint64_t more)
{
	uint64_t most = sess_table_max(t) / 100 * percent;
	uint64_t bytes = sess_table_bytes(t) + more;

	return bytes > most ? bytes - most : 0;
}

bool sess_table_tight(const struct sess_table *t, uint32_t percent)
{
	return sess_table_over(t, percent, 0) > 0;
}

uint64_t sess_table_max(const struct sess_table *t)
{
	return atomic_load_explicit(&t->max_bytes, memory_order_relaxed);
}

void sess_table_set_max(struct sess_table *t, uint64_t max_bytes)
{
	atomic_store_explicit(&t->max_bytes, max_bytes, memory_order_relaxed);
}

uint32_t sess_table_now_s(const struct sess_table *t, struct instant now)
{
	return table_now_s(t, now);
}

void sess_table_stats(struct sess_table *t, struct sess_table_stats *out)
{
	*out = (struct sess_table_stats){
	    .bytes = sess_table_bytes(t),
	    .max_bytes = atomic_load_explicit(&t->max_bytes, memory_order_relaxed),
	};
	for (uint32_t i = 0; i < t->shard_count; i++) {
		struct shard *sh = &t->shards[i];
		pthread_mutex_lock(&sh->lock);
		out->sessions += sh->live;
		out->waiters += sh->waiters;
		out->pinned += sh->pinned;
		out->pinned_bytes += sh->pinned_bytes;
		out->both += sh->both;
		out->created += sh->created;
		out->ended += sh->ended;
		out->expired += sh->expired;
		out->renewed += sh->renewed;
		pthread_mutex_unlock(&sh->lock);
	}
}

static void check_shard(const struct sess_table *t, const struct shard *sh)
{
	uint32_t count = 0;
	uint64_t live = 0, pinned = 0, pinned_bytes = 0, both = 0;

	for (uint64_t i = 0; i <= sh->mask; i++) {
		for (const struct session *s = sh->buckets[i]; s; s = s->next) {
			sess_core_check(s);
			INVARIANT(s->in_table);
			INVARIANT((s->hash & sh->mask) == i);
			INVARIANT(&t->shards[(uint64_t)s->hash >> t->shard_shift] == sh);
			count++;
			live += s->phase == SESS_LIVE;
			pinned += s->pinned;
			pinned_bytes += s->pinned ? session_bytes(s->state) : 0;
			both += s->phase == SESS_LIVE && s->below;
		}
	}
	INVARIANT(count == sh->count);
	INVARIANT(live == sh->live);
	INVARIANT(pinned == sh->pinned);
	INVARIANT(pinned_bytes == sh->pinned_bytes);
	INVARIANT(both == sh->both);
}

void sess_table_check(struct sess_table *t)
{
	for (uint32_t i = 0; i < t->shard_count; i++) {
		pthread_mutex_lock(&t->shards[i].lock);
		check_shard(t, &t->shards[i]);
		pthread_mutex_unlock(&t->shards[i].lock);
	}
}
