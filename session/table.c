/* The session table as requests see it: open, wait, read, close; and its beginning and end. What a response changes is
 * in session/commit.c, the inside of a shard in session/shard.c. */
#include "session/shard.h"

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
	t->wall = o->wall;
	t->max_bytes = o->max_bytes;
	t->tombstone_s = o->tombstone_s ? o->tombstone_s : DEFAULT_TOMBSTONE_S;
	t->shard_shift = 32u - (unsigned)__builtin_ctz(shards);
	atomic_init(&t->bytes, 0);
	for (t->shard_count = 0; t->shard_count < shards; t->shard_count++) {
		if (shard_init(&t->shards[t->shard_count]))
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
static enum sess_open look_up(struct sess_table *t, struct shard *sh, uint16_t app, const struct sess_id *id,
			      uint32_t hash, struct instant now, struct shard_after *after, struct session **out)
{
	struct session *s = shard_find(sh, id, hash);
	uint32_t now_s = table_now_s(t, now);

	if (!s || s->app != app)
		return SESS_ABSENT;
	if (s->tombstone)
		return now_s < s->timer.due ? SESS_RENEWED : SESS_ABSENT;
	if (sess_core_expired(s, now_s)) {
		shard_end(sh, s, after);
		sh->expired++;
		return SESS_ABSENT;
	}
	*out = s;
	return SESS_OPENED;
}

enum sess_open sess_table_open(struct sess_table *t, uint16_t app, const struct sess_id *id, enum sess_lock lock,
			       struct sess_waiter *w, struct instant now, struct sess_hold *h)
{
	uint32_t hash = table_hash(t, id);
	struct shard *sh = shard_of(t, hash);
	struct session *s = NULL;
	struct shard_after after;

	shard_after_init(&after);
	pthread_mutex_lock(&sh->lock);
	enum sess_open result = look_up(t, sh, app, id, hash, now, &after, &s);
	if (result == SESS_OPENED) {
		bool now_ours = sess_core_acquire(s, lock, w);
		*h = (struct sess_hold){.session = s, .id = *id, .lock = lock};
		h->locked = now_ours && lock == SESS_LOCK_EXCLUSIVE;
		if (!now_ours) {
			sh->waiters++;
			result = SESS_QUEUED;
		}
	}
	pthread_mutex_unlock(&sh->lock);
	shard_after_run(t, &after);
	return result;
}

enum sess_open sess_table_granted(struct sess_table *t, struct sess_waiter *w, struct instant now, struct sess_hold *h)
{
	struct session *s = h->session;
	struct shard *sh = shard_of(t, s->hash);
	enum sess_open result = SESS_OPENED;
	struct shard_after after;

	(void)now;
	shard_after_init(&after);
	pthread_mutex_lock(&sh->lock);
	sh->waiters--;
	if (sess_core_granted(s, w)) {
		h->locked = true;
	} else {
		result = s->tombstone ? SESS_RENEWED : SESS_ABSENT;
		shard_unref(s, &after);
		*h = (struct sess_hold){0};
	}
	pthread_mutex_unlock(&sh->lock);
	shard_after_run(t, &after);
	return result;
}

bool sess_table_cancel(struct sess_table *t, struct sess_waiter *w, struct sess_hold *h)
{
	struct session *s = h->session;
	struct shard *sh = shard_of(t, s->hash);

	pthread_mutex_lock(&sh->lock);
	bool cancelled = sess_core_cancel(w);
	if (cancelled) {
		sh->waiters--;
		/* While it was queued another one held the session: never the last reference. */
		INVARIANT(s->refs > 1);
		s->refs--;
		*h = (struct sess_hold){0};
	}
	pthread_mutex_unlock(&sh->lock);
	return cancelled;
}

void sess_table_read(struct sess_table *t, const struct sess_hold *h, struct sess_snapshot *out)
{
	struct session *s = h->session;
	struct shard *sh = shard_of(t, s->hash);

	pthread_mutex_lock(&sh->lock);
	*out = (struct sess_snapshot){
	    .state = s->state ? sess_state_ref(s->state) : NULL,
	    .created = {.s = t->wall.s + s->created_s},
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
	if (h->locked) {
		struct sess_waiter *next = sess_core_release(s);
		if (next)
			list_append(&after.woken, &next->link);
	}
	if (s->phase == SESS_LIVE) {
		sess_core_touch(s, table_now_up_s(t, now));
		shard_arm(sh, s);
	}
	shard_unref(s, &after);
	pthread_mutex_unlock(&sh->lock);
	*h = (struct sess_hold){0};
	shard_after_run(t, &after);
}

uint32_t sess_table_shards(const struct sess_table *t)
{
	return t->shard_count;
}

void sess_table_stats(struct sess_table *t, struct sess_table_stats *out)
{
	*out = (struct sess_table_stats){.bytes = atomic_load_explicit(&t->bytes, memory_order_relaxed)};
	for (uint32_t i = 0; i < t->shard_count; i++) {
		struct shard *sh = &t->shards[i];
		pthread_mutex_lock(&sh->lock);
		out->sessions += sh->live;
		out->waiters += sh->waiters;
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
	uint64_t live = 0;

	for (uint64_t i = 0; i <= sh->mask; i++) {
		for (const struct session *s = sh->buckets[i]; s; s = s->next) {
			sess_core_check(s);
			INVARIANT(s->in_table);
			INVARIANT((s->hash & sh->mask) == i);
			INVARIANT(&t->shards[(uint64_t)s->hash >> t->shard_shift] == sh);
			count++;
			live += s->phase == SESS_LIVE;
		}
	}
	INVARIANT(count == sh->count);
	INVARIANT(live == sh->live);
}

void sess_table_check(struct sess_table *t)
{
	for (uint32_t i = 0; i < t->shard_count; i++) {
		pthread_mutex_lock(&t->shards[i].lock);
		check_shard(t, &t->shards[i]);
		pthread_mutex_unlock(&t->shards[i].lock);
	}
}
