/* One shard of the session table (session/shard.h): buckets, references, expiry. */
#include "session/shard.h"

#include "base/error.h"
#include "base/invariant.h"

#include <stdlib.h>

enum { FIRST_BUCKETS = 64 };

int shard_init(struct shard *sh, uint32_t now_s)
{
	memset(sh, 0, sizeof(*sh));
	sh->buckets = calloc(FIRST_BUCKETS, sizeof(struct session *));
	if (!sh->buckets)
		return ERR_NO_MEMORY;
	sh->mask = FIRST_BUCKETS - 1;
	pthread_mutex_init(&sh->lock, NULL);
	list_init(&sh->idle);
	list_init(&sh->owed);
	wheel_init(&sh->wheel, now_s);
	return 0;
}

static void session_free(struct session *s)
{
	sess_state_unref(s->state);
	free(s);
}

void shard_fini(struct shard *sh)
{
	for (uint64_t i = 0; i <= sh->mask; i++) {
		struct session *next;
		for (struct session *s = sh->buckets[i]; s; s = next) {
			next = s->next;
			INVARIANT(s->refs == 1);
			session_free(s);
		}
	}
	free(sh->buckets);
	pthread_mutex_destroy(&sh->lock);
}

struct session *shard_find(const struct shard *sh, const struct sess_id *id, uint32_t hash)
{
	struct session *s = sh->buckets[hash & sh->mask];

	while (s && (s->hash != hash || !sess_id_eq(&s->id, id)))
		s = s->next;
	return s;
}

/* Doubles the buckets. Each bucket's sessions go to one of two new ones. */
static void grow(struct shard *sh)
{
	uint64_t old_count = (uint64_t)sh->mask + 1;
	struct session **buckets = sh->mask < UINT32_MAX / 2 ? calloc(old_count * 2, sizeof(*buckets)) : NULL;
	uint32_t mask = (uint32_t)(old_count * 2 - 1);

	if (!buckets)
		return;
	for (uint64_t i = 0; i < old_count; i++) {
		struct session *next;
		for (struct session *s = sh->buckets[i]; s; s = next) {
			next = s->next;
			s->next = buckets[s->hash & mask];
			buckets[s->hash & mask] = s;
		}
	}
	free(sh->buckets);
	sh->buckets = buckets;
	sh->mask = mask;
}

void shard_insert(struct shard *sh, struct session *s)
{
	INVARIANT(s->in_table);
	INVARIANT(s->phase != SESS_ENDED);
	if (sh->count > sh->mask)
		grow(sh);
	struct session **bucket = &sh->buckets[s->hash & sh->mask];
	s->next = *bucket;
	*bucket = s;
	sh->count++;
	sh->live += s->phase == SESS_LIVE;
	shard_count_pinned(sh, s, s->state);
}

/* The only way out of the table. The table's reference goes too. */
static void take_out(struct shard *sh, struct session *s, struct shard_after *after)
{
	struct session **at = &sh->buckets[s->hash & sh->mask];

	INVARIANT(s->in_table);
	INVARIANT(s->phase == SESS_ENDED);
	while (*at != s) {
		INVARIANT(*at != NULL);
		at = &(*at)->next;
	}
	*at = s->next;
	s->next = NULL;
	s->in_table = false;
	sh->count--;
	list_remove(&s->queue);
	wheel_stop(&sh->wheel, &s->timer);
	shard_unref(s, after);
}

void shard_count_pinned(struct shard *sh, const struct session *s, const struct sess_state *state)
{
	if (!s->pinned)
		return;
	sh->pinned++;
	sh->pinned_bytes += session_bytes(state);
}

void shard_uncount_pinned(struct shard *sh, const struct session *s, const struct sess_state *state)
{
	if (!s->pinned)
		return;
	INVARIANT(sh->pinned > 0);
	INVARIANT(sh->pinned_bytes >= session_bytes(state));
	sh->pinned--;
	sh->pinned_bytes -= session_bytes(state);
}

void shard_uncount(struct shard *sh, struct session *s, const struct sess_state *state)
{
	sh->live--;
	shard_uncount_pinned(sh, s, state);
	sh->both -= s->below;
	/* Still known of the dead: who ends it once more has to wait for the same removal. */
	s->below = s->below || s->leaving;
	s->pinned = s->leaving = s->outlived = false;
}

/* To be freed after the lock; or under it, where several end at once, which is rare but for expiry. */
static void drop_state(struct shard_after *after, struct sess_state *state)
{
	after->freed_bytes += sess_state_cost(state);
	if (after->state)
		sess_state_unref(state);
	else
		after->state = state;
}

void shard_leave(struct shard *sh, struct session *s, struct shard_after *after)
{
	struct sess_state *state = sess_core_end(s, &after->woken);

	shard_uncount(sh, s, state);
	drop_state(after, state);
	take_out(sh, s, after);
}

void shard_owe(struct shard *sh, struct session *s)
{
	INVARIANT(s->phase == SESS_ENDED);
	s->tombstone = s->owing = true;
	list_remove(&s->queue);
	list_append(&sh->owed, &s->queue);
}

void shard_settle(struct shard *sh, struct session *s, struct shard_after *after)
{
	INVARIANT(s->owing);
	list_remove(&s->queue);
	s->owing = s->below = false;
	/* One that was renewed is remembered for its time. */
	if (!wheel_running(&s->timer))
		shard_forget(sh, s, after);
}

void shard_end(struct shard *sh, struct session *s, struct shard_after *after)
{
	if (!s->below && !s->leaving) {
		shard_leave(sh, s, after);
		return;
	}
	struct sess_state *state = sess_core_end(s, &after->woken);
	shard_uncount(sh, s, state);
	drop_state(after, state);
	wheel_stop(&sh->wheel, &s->timer);
	shard_owe(sh, s);
}

/* Without regard to the bound: there is one for each request that waits at most, and room for the session itself is
 * made when it comes. */
void shard_expect(struct sess_table *t, struct session *s, const struct sess_id *id, uint32_t hash, uint16_t app,
		  struct instant now)
{
	sess_core_init_fetching(s, id, app, table_now_up_s(t, now));
	s->hash = hash;
	atomic_fetch_add_explicit(&t->bytes, sizeof(*s), memory_order_relaxed);
	shard_insert(shard_of(t, hash), s);
}

void shard_drop(struct shard *sh, struct session *s, struct shard_after *after)
{
	take_out(sh, s, after);
}

void shard_expire(struct shard *sh, struct session *s, struct shard_after *after)
{
	INVARIANT(!sess_core_in_use(s));
	/* Or it is counted by who finds what is below of it, or is on its way there, which has expired too. */
	sh->expired += !(s->below || s->leaving) || s->outlived;
	if (s->outlived) {
		shard_end(sh, s, after);
		return;
	}
	struct sess_state *state = sess_core_end(s, &after->woken);
	after->freed_bytes += sess_state_cost(state);
	shard_uncount(sh, s, state);
	/* Back to the struct, which nobody else has: they are freed together. */
	s->state = state;
	take_out(sh, s, after);
}

void shard_forget(struct shard *sh, struct session *s, struct shard_after *after)
{
	INVARIANT(s->tombstone);
	take_out(sh, s, after);
}

void shard_unref(struct session *s, struct shard_after *after)
{
	INVARIANT(s->refs > 0);
	if (--s->refs > 0)
		return;
	INVARIANT(!s->in_table);
	s->next = after->dead;
	after->dead = s;
	after->freed_bytes += sizeof(*s);
}

static void arm(struct shard *sh, struct session *s)
{
	uint64_t deadline_s = sess_core_deadline_s(s);

	if (!wheel_running(&s->timer) || s->timer.due > deadline_s)
		wheel_start(&sh->wheel, &s->timer, deadline_s);
}

void shard_rest(struct shard *sh, struct session *s)
{
	INVARIANT(s->phase == SESS_LIVE);
	INVARIANT(!sess_core_in_use(s));
	arm(sh, s);
	if (!s->pinned && !s->leaving && !list_linked(&s->queue))
		list_append(&sh->idle, &s->queue);
}

void shard_wanted(struct session *s)
{
	if (!sess_core_in_use(s))
		list_remove(&s->queue);
}

void shard_set_below(struct shard *sh, struct session *s, bool below)
{
	sh->both += (uint64_t)below - (uint64_t)s->below;
	s->below = below;
	s->outlived = s->outlived && below;
}

void shard_after_init(struct shard_after *after)
{
	*after = (struct shard_after){0};
	list_init(&after->woken);
}

void shard_after_run(struct sess_table *t, struct shard_after *after)
{
	struct list *node;

	/* Nothing of a waiter may be touched after its call: its thread owns it from then on. */
	while ((node = list_pop(&after->woken))) {
		struct sess_waiter *w = CONTAINER_OF(node, struct sess_waiter, link);
		w->granted(w);
	}
	while (after->dead) {
		struct session *s = after->dead;
		after->dead = s->next;
		session_free(s);
	}
	sess_state_unref(after->state);
	if (after->freed_bytes > 0)
		atomic_fetch_sub_explicit(&t->bytes, after->freed_bytes, memory_order_relaxed);
}

bool table_bytes_change(struct sess_table *t, uint64_t add, uint64_t sub)
{
	uint64_t bytes = atomic_load_explicit(&t->bytes, memory_order_relaxed);
	uint64_t max_bytes = atomic_load_explicit(&t->max_bytes, memory_order_relaxed);

	do {
		INVARIANT(bytes >= sub);
		if (add > sub && (bytes > max_bytes || add - sub > max_bytes - bytes))
			return false;
	} while (!atomic_compare_exchange_weak_explicit(&t->bytes, &bytes, bytes - sub + add, memory_order_relaxed,
							memory_order_relaxed));
	return true;
}

/* The wheel's timer is only a hint: touching does not move it. */
static void fired(struct shard *sh, struct session *s, uint64_t now_s, struct shard_after *after)
{
	if (s->tombstone && s->owing) {
		return; /* until it is settled */
	} else if (s->tombstone) {
		shard_forget(sh, s, after);
	} else if (sess_core_expired(s, now_s)) {
		shard_expire(sh, s, after);
	} else if (!sess_core_in_use(s)) {
		arm(sh, s);
	}
	/* In use: the last one to close it arms the timer again. */
}

bool sess_table_expire(struct sess_table *t, uint32_t shard, uint32_t max, struct instant now)
{
	struct shard_after after;
	struct wheel_node *n;
	uint64_t now_s = table_now_s(t, now);
	uint64_t done = 0;
	bool more;

	INVARIANT(shard < t->shard_count);
	struct shard *sh = &t->shards[shard];
	shard_after_init(&after);
	pthread_mutex_lock(&sh->lock);
	if (now_s < sh->wheel.now)
		now_s = sh->wheel.now; /* another thread's clock was ahead */
	while (done < max && (n = wheel_next(&sh->wheel, now_s))) {
		fired(sh, CONTAINER_OF(n, struct session, timer), now_s, &after);
		done++;
	}
	/* The wheel may also have stopped because it has moved enough timers for one call. */
	more = wheel_wait(&sh->wheel) <= now_s - sh->wheel.now;
	pthread_mutex_unlock(&sh->lock);
	shard_after_run(t, &after);
	return more;
}
