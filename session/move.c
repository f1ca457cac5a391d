/* The table's side of moving sessions (session/move.h). */
#include "session/move.h"

#include "base/error.h"
#include "base/invariant.h"
#include "session/shard.h"

#include <stdlib.h>

enum { LOOK_MAX = 500 }; /* sessions that a piece of a walk looks at, under a shard's lock */

/* --- walks --- */

static uint32_t reverse_bits(uint32_t v)
{
	v = (v >> 1 & 0x55555555u) | (v & 0x55555555u) << 1;
	v = (v >> 2 & 0x33333333u) | (v & 0x33333333u) << 2;
	v = (v >> 4 & 0x0f0f0f0fu) | (v & 0x0f0f0f0fu) << 4;
	return __builtin_bswap32(v);
}

/* Buckets in the order of their reversed numbers: the two that a bucket is parted into when the table grows follow each
 * other, so that a walk that goes on in the larger table meets each session once. 0: it has come round. */
static uint32_t next_bucket(uint32_t bucket, uint32_t mask)
{
	return reverse_bits(reverse_bits(bucket | ~mask) + 1);
}

/* --- down --- */

static void fill_leaver(struct session *s, struct sess_leaver *out)
{
	*out = (struct sess_leaver){
	    .id = s->id,
	    .state = s->state ? sess_state_ref(s->state) : NULL,
	    .version = s->version,
	    .created_s = s->created_s,
	    .used_s = s->used_s,
	    .ttl_s = s->ttl_s,
	    .app = s->app,
	    .fresh = s->fresh,
	    .pinned = s->pinned,
	};
	list_remove(&s->queue);
	s->leaving = true;
}

/* The same, and its bytes are taken off. */
static void take(struct session *s, uint64_t *bytes, struct sess_leaver *out)
{
	uint64_t cost = session_bytes(s->state);

	*bytes -= cost < *bytes ? cost : *bytes;
	fill_leaver(s, out);
}

static bool wanted(const struct sess_reason *why, const struct session *s)
{
	if (why->used_until_s && s->used_s > why->used_until_s)
		return false;
	if (why->evict)
		return why->evict->wants(&why->limits, &why->look, s->used_s);
	return !why->one_app || s->app == why->app;
}

/* Pinned sessions are in no list: they join the others, until a collection finds them there that is not for them. */
static void add_pinned(struct shard *sh)
{
	for (uint64_t i = 0; i <= sh->mask; i++) {
		for (struct session *s = sh->buckets[i]; s; s = s->next) {
			if (s->phase == SESS_LIVE && s->pinned && !sess_core_in_use(s) && !s->leaving &&
			    !list_linked(&s->queue))
				list_append(&sh->idle, &s->queue);
		}
	}
}

uint32_t sess_table_collect(struct sess_table *t, uint32_t shard, const struct sess_reason *why, struct instant now,
			    uint32_t max, uint64_t *bytes, struct sess_leaver *out)
{
	struct shard *sh = &t->shards[shard];
	uint32_t now_s = table_now_s(t, now);
	struct shard_after after;
	uint32_t n = 0;

	INVARIANT(shard < t->shard_count);
	shard_after_init(&after);
	pthread_mutex_lock(&sh->lock);
	if (why->pinned_too && sh->pinned > 0)
		add_pinned(sh);
	LIST_EACH (link, &sh->idle) {
		struct session *s = CONTAINER_OF(link, struct session, queue);
		if (n == max || *bytes == 0)
			break;
		if (sess_core_expired(s, now_s)) {
			shard_expire(sh, s, &after);
		} else if (s->pinned && !why->pinned_too) {
			list_remove(&s->queue);
		} else if (wanted(why, s)) {
			take(s, bytes, &out[n++]);
		} else if (why->evict) {
			break;
		}
	}
	pthread_mutex_unlock(&sh->lock);
	shard_after_run(t, &after);
	return n;
}

/* Under the lock: from one bucket, up to `max`. False: there are more. */
static bool collect_bucket(struct session *first, const struct sess_reason *why, uint32_t now_s, uint32_t max,
			   uint64_t *bytes, struct sess_leaver *out, uint32_t *n, uint32_t *looked)
{
	for (struct session *s = first; s; s = s->next) {
		++*looked;
		/* In the list of the idle are those that may leave. */
		bool idle = s->phase == SESS_LIVE && !sess_core_in_use(s) && list_linked(&s->queue) && !s->pinned;
		if (!idle || sess_core_expired(s, now_s) || !wanted(why, s))
			continue;
		if (*n == max || *bytes == 0)
			return false;
		take(s, bytes, &out[(*n)++]);
	}
	return true;
}

uint32_t sess_table_collect_next(struct sess_table *t, uint32_t *shard, uint32_t *bucket, const struct sess_reason *why,
				 struct instant now, uint32_t max, uint64_t *bytes, struct sess_leaver *out)
{
	struct shard *sh = &t->shards[*shard];
	uint32_t now_s = table_now_s(t, now);
	uint32_t n = 0, looked = 0;
	bool whole = true;

	INVARIANT(*shard < t->shard_count);
	pthread_mutex_lock(&sh->lock);
	do {
		whole = collect_bucket(sh->buckets[*bucket & sh->mask], why, now_s, max, bytes, out, &n, &looked);
		if (whole)
			*bucket = next_bucket(*bucket, sh->mask);
	} while (whole && *bucket != 0 && looked < LOOK_MAX);
	pthread_mutex_unlock(&sh->lock);
	*shard += whole && *bucket == 0;
	return n;
}

bool sess_table_oldest(struct sess_table *t, uint32_t shard, uint32_t *used_s)
{
	struct shard *sh = &t->shards[shard];

	INVARIANT(shard < t->shard_count);
	pthread_mutex_lock(&sh->lock);
	bool some = !list_empty(&sh->idle);
	if (some)
		*used_s = CONTAINER_OF(sh->idle.next, struct session, queue)->used_s;
	pthread_mutex_unlock(&sh->lock);
	return some;
}

int sess_table_collect_one(struct sess_table *t, const struct sess_id *id, struct sess_leaver *out)
{
	uint32_t hash = table_hash(t, id);
	struct shard *sh = shard_of(t, hash);
	int err = 0;

	pthread_mutex_lock(&sh->lock);
	struct session *s = shard_find(sh, id, hash);
	if (!s || s->phase != SESS_LIVE)
		err = ERR_GONE;
	else if (s->pinned)
		err = ERR_REFUSED;
	else if (sess_core_in_use(s) || s->leaving)
		err = ERR_BUSY;
	else
		fill_leaver(s, out);
	pthread_mutex_unlock(&sh->lock);
	return err;
}

/* Whether it is as it was when it was collected: nobody has had it since. */
static bool unchanged(const struct session *s, const struct sess_leaver *l)
{
	return !sess_core_in_use(s) && s->version == l->version && s->used_s == l->used_s && s->ttl_s == l->ttl_s &&
	       s->fresh == l->fresh;
}

/* It stays. What may be below of it is taken for being there: then it is removed when the session ends. */
static void note_below(struct shard *sh, struct session *s, const struct sess_leaver *l)
{
	bool longer = (uint64_t)l->used_s + l->ttl_s > sess_core_deadline_s(s);

	if (l->stored == SESS_NOT_STORED || l->stored == SESS_REFUSED)
		return;
	shard_set_below(sh, s, true);
	s->outlived = longer || (s->outlived && l->stored == SESS_MAYBE_STORED);
}

bool sess_table_left(struct sess_table *t, struct sess_leaver *l, const struct sess_reason *why)
{
	uint32_t hash = table_hash(t, &l->id);
	struct shard *sh = shard_of(t, hash);
	struct shard_after after;
	bool left = false;

	shard_after_init(&after);
	pthread_mutex_lock(&sh->lock);
	struct session *s = shard_find(sh, &l->id, hash);
	if (s && s->phase == SESS_LIVE) {
		INVARIANT(s->leaving);
		s->leaving = why->once && l->stored == SESS_REFUSED;
		left = l->stored == SESS_STORED && unchanged(s, l) && (!s->pinned || why->pinned_too);
		if (left) {
			shard_leave(sh, s, &after);
		} else {
			note_below(sh, s, l);
			if (!sess_core_in_use(s))
				shard_rest(sh, s);
		}
	}
	pthread_mutex_unlock(&sh->lock);
	shard_after_run(t, &after);
	sess_state_unref(l->state);
	l->state = NULL;
	return left;
}

/* --- up --- */

int sess_table_expect(struct sess_table *t, const struct sess_id *id, struct instant now)
{
	uint32_t hash = table_hash(t, id);
	struct shard *sh = shard_of(t, hash);
	struct session *s = malloc(sizeof *s);
	int err = 0;

	if (!s)
		return ERR_NO_MEMORY;
	pthread_mutex_lock(&sh->lock);
	struct session *there = shard_find(sh, id, hash);
	if (there)
		err = there->tombstone ? ERR_GONE : ERR_BUSY;
	else
		shard_expect(t, s, id, hash, 0, now);
	pthread_mutex_unlock(&sh->lock);
	if (err)
		free(s);
	return err;
}

static void take_record(struct session *s, uint16_t app, const struct sess_record *r, struct sess_state *state)
{
	s->app = app;
	s->version = r->version;
	s->created_s = r->created_s;
	s->used_s = r->used_s;
	s->ttl_s = r->ttl_s;
	s->fresh = r->fresh;
	s->pinned = r->pinned;
	s->state = state;
}

int sess_table_arrive(struct sess_table *t, uint16_t app, const struct sess_record *r)
{
	uint32_t hash = table_hash(t, &r->id);
	struct shard *sh = shard_of(t, hash);
	struct sess_state *state = r->state.len > 0 ? sess_state_new(r->state) : NULL;
	struct shard_after after;
	int err = 0;

	if (r->state.len > 0 && !state)
		return ERR_NO_MEMORY;
	shard_after_init(&after);
	pthread_mutex_lock(&sh->lock);
	struct session *s = shard_find(sh, &r->id, hash);
	if (!s || s->phase != SESS_FETCHING) {
		err = ERR_GONE;
	} else if (!table_bytes_change(t, sess_state_cost(state), 0)) {
		err = ERR_FULL;
	} else {
		take_record(s, app, r, state);
		sh->live++;
		sh->both++;
		shard_count_pinned(sh, s, s->state);
		sess_core_arrive(s, &after.woken);
		if (!sess_core_in_use(s))
			shard_rest(sh, s);
	}
	pthread_mutex_unlock(&sh->lock);
	if (err)
		sess_state_unref(state);
	shard_after_run(t, &after);
	return err;
}

void sess_table_fail(struct sess_table *t, const struct sess_id *id, enum sess_open farewell)
{
	uint32_t hash = table_hash(t, id);
	struct shard *sh = shard_of(t, hash);
	struct shard_after after;

	shard_after_init(&after);
	pthread_mutex_lock(&sh->lock);
	struct session *s = shard_find(sh, id, hash);
	if (s && s->phase == SESS_FETCHING) {
		sess_core_fail(s, farewell, &after.woken);
		shard_drop(sh, s, &after);
	}
	pthread_mutex_unlock(&sh->lock);
	shard_after_run(t, &after);
}

/* Under the lock. `old`: what is there under this id, which `fresh` replaces; NULL: nothing. */
static int put(struct sess_table *t, struct shard *sh, struct session *old, struct session *fresh,
	       struct shard_after *after)
{
	uint64_t old_bytes = old ? session_bytes(old->state) : 0;

	if (old && (old->phase != SESS_LIVE || sess_core_in_use(old) || old->leaving))
		return ERR_BUSY;
	if (!table_bytes_change(t, session_bytes(fresh->state), old_bytes))
		return ERR_FULL;
	if (old) {
		shard_leave(sh, old, after);
		after->freed_bytes = 0; /* they are off the sum already */
	}
	shard_insert(sh, fresh);
	shard_rest(sh, fresh);
	return 0;
}

int sess_table_put(struct sess_table *t, uint16_t app, const struct sess_record *r)
{
	uint32_t hash = table_hash(t, &r->id);
	struct shard *sh = shard_of(t, hash);
	struct sess_state *state = r->state.len > 0 ? sess_state_new(r->state) : NULL;
	struct session *s = malloc(sizeof *s);
	struct shard_after after;
	int err = ERR_NO_MEMORY;

	shard_after_init(&after);
	if (s && (state || r->state.len == 0)) {
		sess_core_init(s, &r->id, app, r->used_s, r->ttl_s);
		s->hash = hash;
		take_record(s, app, r, state);
		pthread_mutex_lock(&sh->lock);
		err = put(t, sh, shard_find(sh, &r->id, hash), s, &after);
		pthread_mutex_unlock(&sh->lock);
	}
	if (err) {
		sess_state_unref(state);
		free(s);
	}
	shard_after_run(t, &after);
	return err;
}

/* --- one session --- */

bool sess_table_not_below(struct sess_table *t, const struct sess_id *id)
{
	uint32_t hash = table_hash(t, id);
	struct shard *sh = shard_of(t, hash);

	pthread_mutex_lock(&sh->lock);
	struct session *s = shard_find(sh, id, hash);
	if (s && s->phase == SESS_LIVE)
		shard_set_below(sh, s, false);
	bool known = s && s->phase != SESS_FETCHING;
	pthread_mutex_unlock(&sh->lock);
	return known;
}

/* Under the lock. How many it has looked at. */
static uint32_t outlive_bucket(struct session *first)
{
	uint32_t looked = 0;

	for (struct session *s = first; s; s = s->next) {
		s->outlived = s->outlived || (s->phase == SESS_LIVE && s->below);
		looked++;
	}
	return looked;
}

bool sess_table_outlive(struct sess_table *t, uint32_t shard, uint32_t *bucket)
{
	struct shard *sh = &t->shards[shard];
	uint32_t looked = 0;

	INVARIANT(shard < t->shard_count);
	pthread_mutex_lock(&sh->lock);
	do {
		/* An empty bucket is a look too. */
		looked += 1 + outlive_bucket(sh->buckets[*bucket & sh->mask]);
		*bucket = next_bucket(*bucket, sh->mask);
	} while (*bucket != 0 && looked < LOOK_MAX);
	pthread_mutex_unlock(&sh->lock);
	return *bucket != 0;
}

uint32_t sess_table_owed(struct sess_table *t, uint32_t shard, uint32_t max, struct sess_id *out)
{
	struct shard *sh = &t->shards[shard];
	uint32_t n = 0;

	INVARIANT(shard < t->shard_count);
	pthread_mutex_lock(&sh->lock);
	LIST_EACH (link, &sh->owed) {
		if (n == max)
			break;
		out[n++] = CONTAINER_OF(link, struct session, queue)->id;
	}
	pthread_mutex_unlock(&sh->lock);
	return n;
}

void sess_table_settle(struct sess_table *t, const struct sess_id *id)
{
	uint32_t hash = table_hash(t, id);
	struct shard *sh = shard_of(t, hash);
	struct shard_after after;

	shard_after_init(&after);
	pthread_mutex_lock(&sh->lock);
	struct session *s = shard_find(sh, id, hash);
	if (s && s->owing)
		shard_settle(sh, s, &after);
	pthread_mutex_unlock(&sh->lock);
	shard_after_run(t, &after);
}

uint64_t sess_table_pinned_bytes(struct sess_table *t)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < t->shard_count; i++) {
		pthread_mutex_lock(&t->shards[i].lock);
		bytes += t->shards[i].pinned_bytes;
		pthread_mutex_unlock(&t->shards[i].lock);
	}
	return bytes;
}

/* Under the lock. */
static void set_pinned(struct shard *sh, struct session *s, bool pinned)
{
	shard_uncount_pinned(sh, s, s->state);
	s->pinned = pinned;
	shard_count_pinned(sh, s, s->state);
	if (!sess_core_in_use(s)) {
		list_remove(&s->queue);
		shard_rest(sh, s);
	}
}

int sess_table_pin(struct sess_table *t, const struct sess_id *id, uint64_t max_bytes)
{
	uint32_t hash = table_hash(t, id);
	struct shard *sh = shard_of(t, hash);
	uint64_t others = sess_table_pinned_bytes(t);
	int err = 0;

	pthread_mutex_lock(&sh->lock);
	struct session *s = shard_find(sh, id, hash);
	if (!s || s->phase != SESS_LIVE)
		err = ERR_GONE;
	else if (!s->pinned && (others > max_bytes || session_bytes(s->state) > max_bytes - others))
		err = ERR_TOO_LARGE;
	else
		set_pinned(sh, s, true);
	pthread_mutex_unlock(&sh->lock);
	return err;
}

int sess_table_unpin(struct sess_table *t, const struct sess_id *id)
{
	uint32_t hash = table_hash(t, id);
	struct shard *sh = shard_of(t, hash);

	pthread_mutex_lock(&sh->lock);
	struct session *s = shard_find(sh, id, hash);
	bool found = s && s->phase == SESS_LIVE;
	if (found)
		set_pinned(sh, s, false);
	pthread_mutex_unlock(&sh->lock);
	return found ? 0 : ERR_GONE;
}

int sess_table_end(struct sess_table *t, const struct sess_id *id)
{
	uint32_t hash = table_hash(t, id);
	struct shard *sh = shard_of(t, hash);
	struct shard_after after;

	shard_after_init(&after);
	pthread_mutex_lock(&sh->lock);
	struct session *s = shard_find(sh, id, hash);
	bool found = s && s->phase == SESS_LIVE;
	if (found) {
		shard_end(sh, s, &after);
		sh->ended++;
	}
	pthread_mutex_unlock(&sh->lock);
	shard_after_run(t, &after);
	return found ? 0 : ERR_GONE;
}

/* Under the lock. */
static void bury(struct shard *sh, struct session *s, struct shard_after *after)
{
	if (s->phase == SESS_LIVE) {
		shard_set_below(sh, s, true);
		shard_end(sh, s, after);
		sh->ended++;
	} else if (s->phase == SESS_FETCHING) {
		sess_core_fail(s, SESS_ABSENT, &after->woken);
		shard_owe(sh, s);
		sh->ended++;
	}
}

int sess_table_bury(struct sess_table *t, const struct sess_id *id, struct instant now)
{
	uint32_t hash = table_hash(t, id);
	struct shard *sh = shard_of(t, hash);
	struct session *spare = malloc(sizeof *spare);
	struct shard_after after;

	if (!spare)
		return ERR_NO_MEMORY;
	shard_after_init(&after);
	pthread_mutex_lock(&sh->lock);
	struct session *s = shard_find(sh, id, hash);
	if (!s) {
		s = spare;
		spare = NULL;
		shard_expect(t, s, id, hash, 0, now);
	}
	bury(sh, s, &after);
	pthread_mutex_unlock(&sh->lock);
	shard_after_run(t, &after);
	free(spare);
	return 0;
}

bool sess_table_owes(struct sess_table *t, const struct sess_id *id)
{
	uint32_t hash = table_hash(t, id);
	struct shard *sh = shard_of(t, hash);

	pthread_mutex_lock(&sh->lock);
	struct session *s = shard_find(sh, id, hash);
	bool owes = s && s->owing;
	pthread_mutex_unlock(&sh->lock);
	return owes;
}

static uint32_t count_waiters(const struct session *s)
{
	uint32_t n = 0;

	if (!sess_core_in_use(s))
		return 0;
	for (const struct list *link = s->queue.next; link != &s->queue; link = link->next)
		n++;
	return n;
}

static struct sess_view view_session(const struct session *s)
{
	return (struct sess_view){
	    .id = s->id,
	    .state = s->state,
	    .version = s->version,
	    .created_s = s->created_s,
	    .used_s = s->used_s,
	    .ttl_s = s->ttl_s,
	    .waiters = count_waiters(s),
	    .app = s->app,
	    .fresh = s->fresh,
	    .pinned = s->pinned,
	    .busy = sess_core_in_use(s),
	};
}

int sess_table_look(struct sess_table *t, const struct sess_id *id, struct sess_view *out)
{
	uint32_t hash = table_hash(t, id);
	struct shard *sh = shard_of(t, hash);

	pthread_mutex_lock(&sh->lock);
	struct session *s = shard_find(sh, id, hash);
	bool found = s && s->phase == SESS_LIVE;
	if (found) {
		*out = view_session(s);
		if (out->state)
			sess_state_ref(out->state);
	}
	pthread_mutex_unlock(&sh->lock);
	return found ? 0 : ERR_GONE;
}

bool sess_table_walk(struct sess_table *t, uint32_t shard, uint32_t *bucket, uint32_t max,
		     void (*visit)(void *, const struct sess_view *), void *arg)
{
	struct shard *sh = &t->shards[shard];
	uint32_t calls = 0;

	INVARIANT(shard < t->shard_count);
	pthread_mutex_lock(&sh->lock);
	do {
		for (const struct session *s = sh->buckets[*bucket & sh->mask]; s; s = s->next) {
			if (s->phase != SESS_LIVE)
				continue;
			struct sess_view v = view_session(s);
			visit(arg, &v);
			calls++;
		}
		*bucket = next_bucket(*bucket, sh->mask);
	} while (*bucket != 0 && calls < max);
	pthread_mutex_unlock(&sh->lock);
	return *bucket != 0;
}
