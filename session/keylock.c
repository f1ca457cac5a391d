/* Locks of clients (session/keylock.h): a hash table of the keys that are locked. A lock's struct is the table's, and
 * is in its owner's list; the owners and those who are parked are their connections'. Knows nothing of sessions.
 *
 * One mutex guards it all: the table, the times, each owner's list, and what is parked. Who frees a lock, or hands it
 * on, is seldom its owner's thread, and an owner's locks lie anywhere; so shards would need a second lock for each
 * list, and an order between the two. What is done under the mutex is one look-up and a few lists: well under a
 * microsecond, twice a request that takes a lock. No memory is had or freed under it, nor anybody called.
 *
 * Times are ticks of a wheel in milliseconds. There is no thread that turns it: each call turns it a little, and frees
 * what it came for, if its time is over, in any case. */
#include "session/keylock.h"

#include "base/invariant.h"
#include "base/wheel.h"

#include <pthread.h>
#include <stdlib.h>

enum {
	KEYLOCK_BUCKETS = 4096, /* a chain of 16 when there are KEYLOCKS_MAX */
	KEYLOCK_BATCH = 8,      /* locks of others that a call frees at most because their time is over */
	KEYLOCK_DROP = 64,      /* locks that are freed at most without letting others in */
};

/* Has room for the longest token: it goes to whoever is next without asking for memory. */
struct keylock {
	struct keylock *next; /* in the bucket; owned by the table */
	struct sess_id id;
	uint64_t hash;           /* names the bucket */
	struct list link;        /* among its owner's */
	struct wheel_node timer; /* runs if it has a time */
	struct list parked;      /* struct keylock_waiter, oldest first; borrowed */
	uint64_t shortest_ms;    /* no more than any time that those want who are parked */
	size_t token_len;
	uint8_t token[KEYLOCK_TOKEN_MAX];
};

struct keylocks {
	pthread_mutex_t lock;
	struct siphash_key hash_key;
	uint32_t count; /* in the buckets */
	struct wheel wheel;
	struct keylock *buckets[KEYLOCK_BUCKETS];
};

/* Left to do without the mutex. */
struct after {
	struct list woken;    /* struct keylock_waiter */
	struct keylock *dead; /* chain through `next`; owned */
};

struct keylocks *keylocks_new(const struct sess_keys *keys)
{
	struct keylocks *ls = calloc(1, sizeof(*ls));

	if (!ls)
		return NULL;
	pthread_mutex_init(&ls->lock, NULL);
	ls->hash_key = keys->hash;
	wheel_init(&ls->wheel, 0);
	return ls;
}

void keylocks_free(struct keylocks **locks)
{
	struct keylocks *ls = *locks;

	*locks = NULL;
	if (!ls)
		return;
	INVARIANT(ls->count == 0);
	pthread_mutex_destroy(&ls->lock);
	free(ls);
}

void keylock_owner_init(struct keylock_owner *o)
{
	list_init(&o->locks);
}

static struct keylock **bucket_of(struct keylocks *ls, uint64_t hash)
{
	return &ls->buckets[hash % KEYLOCK_BUCKETS];
}

static uint64_t hash_of(const struct keylocks *ls, const struct sess_id *id)
{
	return siphash(ls->hash_key, view_of(id->bytes, SESS_ID_BYTES));
}

static uint64_t time_of(uint64_t ttl_ms)
{
	return ttl_ms > 0 ? ttl_ms : UINT64_MAX;
}

/* Ends so long from now; 0 and what is beyond the clock: never. */
static void set_time(struct keylocks *ls, struct keylock *l, uint64_t ttl_ms, struct instant now)
{
	if (time_of(ttl_ms) < UINT64_MAX - now.ms)
		wheel_start(&ls->wheel, &l->timer, instant_add_ms(now, ttl_ms).ms);
	else
		wheel_stop(&ls->wheel, &l->timer);
}

static uint64_t remaining_ms(const struct keylock *l, struct instant now)
{
	if (!wheel_running(&l->timer))
		return UINT64_MAX;
	return l->timer.due > now.ms ? l->timer.due - now.ms : 0;
}

/* The lock is this owner's from now on. The only way into an owner's list. */
static void give(struct keylocks *ls, struct keylock *l, struct keylock_owner *owner, struct view token,
		 uint64_t ttl_ms, struct instant now)
{
	INVARIANT(!list_linked(&l->link));
	INVARIANT(token.len <= KEYLOCK_TOKEN_MAX);
	list_append(&owner->locks, &l->link);
	if (token.len > 0)
		memcpy(l->token, token.at, token.len);
	l->token_len = token.len;
	set_time(ls, l, ttl_ms, now);
}

static void take_out(struct keylocks *ls, struct keylock *l, struct after *after)
{
	struct keylock **at = bucket_of(ls, l->hash);

	INVARIANT(list_empty(&l->parked));
	INVARIANT(ls->count > 0);
	while (*at != l) {
		INVARIANT(*at != NULL);
		at = &(*at)->next;
	}
	*at = l->next;
	ls->count--;
	l->next = after->dead;
	after->dead = l;
}

/* The owner has it no more: straight to the first who is parked, or out of the table. True: somebody has it. */
static bool pass_on(struct keylocks *ls, struct keylock *l, struct instant now, struct after *after)
{
	struct list *node = list_pop(&l->parked);

	list_remove(&l->link);
	wheel_stop(&ls->wheel, &l->timer);
	if (!node) {
		take_out(ls, l, after);
		return false;
	}
	struct keylock_waiter *w = CONTAINER_OF(node, struct keylock_waiter, link);
	INVARIANT(w->state == KEYLOCK_PARKED);
	w->state = KEYLOCK_WOKEN;
	list_append(&after->woken, &w->link);
	give(ls, l, w->owner, view_of(w->token, w->token_len), w->ttl_ms, now);
	return true;
}

/* Takes the mutex, and frees a few of those whose time is over. What the time is: no thread's clock turns it back. */
static struct instant enter(struct keylocks *ls, struct instant now, struct after *after)
{
	struct wheel_node *n;

	after->dead = NULL;
	list_init(&after->woken);
	pthread_mutex_lock(&ls->lock);
	if (now.ms < ls->wheel.now)
		now.ms = ls->wheel.now;
	for (unsigned i = 0; i < KEYLOCK_BATCH && (n = wheel_next(&ls->wheel, now.ms)); i++)
		(void)pass_on(ls, CONTAINER_OF(n, struct keylock, timer), now, after);
	return now;
}

static void leave(struct keylocks *ls, struct after *after)
{
	struct list *node;

	pthread_mutex_unlock(&ls->lock);
	/* Nothing of it may be touched after its call: its thread owns it from then on. */
	while ((node = list_pop(&after->woken))) {
		struct keylock_waiter *w = CONTAINER_OF(node, struct keylock_waiter, link);
		w->woken(w);
	}
	while (after->dead) {
		struct keylock *l = after->dead;
		after->dead = l->next;
		free(l);
	}
}

/* The lock of this id, which is somebody's at `now`; NULL: it is free. */
static struct keylock *find(struct keylocks *ls, const struct sess_id *id, struct instant now, struct after *after)
{
	uint64_t hash = hash_of(ls, id);
	struct keylock *l = *bucket_of(ls, hash);

	while (l && (l->hash != hash || !sess_id_eq(&l->id, id)))
		l = l->next;
	if (l && remaining_ms(l, now) == 0 && !pass_on(ls, l, now, after))
		return NULL;
	return l;
}

/* Puts `l`, which is uninitialised memory, into the table; it is nobody's yet. */
static void insert(struct keylocks *ls, struct keylock *l, const struct sess_id *id)
{
	l->id = *id;
	l->hash = hash_of(ls, id);
	l->shortest_ms = UINT64_MAX;
	list_init(&l->link);
	list_init(&l->parked);
	wheel_node_init(&l->timer);
	struct keylock **bucket = bucket_of(ls, l->hash);
	l->next = *bucket;
	*bucket = l;
	ls->count++;
}

/* When `w` should look. Those before it may have the lock at any moment from now on, and then for less than is left. */
static uint64_t look_in_ms(const struct keylock *l, const struct keylock_waiter *w, struct instant now)
{
	uint64_t left = remaining_ms(l, now);

	if (l->parked.next == &w->link || left < l->shortest_ms)
		return left;
	return l->shortest_ms;
}

static uint64_t wait_for(struct keylock *l, struct keylock_waiter *w, struct instant now)
{
	uint64_t wants_ms = time_of(w->ttl_ms);

	INVARIANT(w->state == KEYLOCK_IDLE);
	if (list_empty(&l->parked))
		l->shortest_ms = UINT64_MAX;
	w->state = KEYLOCK_PARKED;
	list_append(&l->parked, &w->link);
	uint64_t look_ms = look_in_ms(l, w, now);
	if (wants_ms < l->shortest_ms)
		l->shortest_ms = wants_ms;
	return look_ms;
}

/* `w` is parked where the lock is busy, if there is a `w`. */
static enum keylock_take take_or_park(struct keylocks *ls, const struct sess_id *id, struct view token, uint64_t ttl_ms,
				      struct keylock_owner *owner, struct instant now, struct keylock_waiter *w,
				      uint64_t *look_ms)
{
	enum keylock_take result = KEYLOCK_NO_ROOM;
	struct after after;

	if (token.len > KEYLOCK_TOKEN_MAX)
		return KEYLOCK_NO_ROOM;
	struct keylock *spare = malloc(sizeof(*spare));
	now = enter(ls, now, &after);
	struct keylock *l = find(ls, id, now, &after);
	if (l) {
		result = KEYLOCK_BUSY;
		if (w)
			*look_ms = wait_for(l, w, now);
	} else if (spare && ls->count < KEYLOCKS_MAX) {
		result = KEYLOCK_TAKEN;
		insert(ls, spare, id);
		give(ls, spare, owner, token, ttl_ms, now);
		spare = NULL;
	}
	leave(ls, &after);
	free(spare);
	return result;
}

enum keylock_take keylock_take(struct keylocks *ls, const struct sess_id *id, struct view token, uint64_t ttl_ms,
			       struct keylock_owner *owner, struct instant now)
{
	return take_or_park(ls, id, token, ttl_ms, owner, now, NULL, NULL);
}

enum keylock_take keylock_park(struct keylocks *ls, struct keylock_waiter *w, struct instant now, uint64_t *look_ms)
{
	return take_or_park(ls, &w->id, view_of(w->token, w->token_len), w->ttl_ms, w->owner, now, w, look_ms);
}

void keylock_look(struct keylocks *ls, struct keylock_waiter *w, struct instant now, uint64_t *look_ms)
{
	struct after after;

	now = enter(ls, now, &after);
	const struct keylock *l = find(ls, &w->id, now, &after);
	/* One of the two may have woken it. */
	INVARIANT(w->state != KEYLOCK_PARKED || l != NULL);
	*look_ms = w->state == KEYLOCK_PARKED ? look_in_ms(l, w, now) : UINT64_MAX;
	leave(ls, &after);
}

bool keylock_unpark(struct keylocks *ls, struct keylock_waiter *w)
{
	pthread_mutex_lock(&ls->lock);
	INVARIANT(w->state != KEYLOCK_IDLE);
	bool parked = w->state == KEYLOCK_PARKED;
	if (parked) {
		list_remove(&w->link);
		w->state = KEYLOCK_IDLE;
	}
	pthread_mutex_unlock(&ls->lock);
	return parked;
}

void keylock_woken(struct keylocks *ls, struct keylock_waiter *w)
{
	pthread_mutex_lock(&ls->lock);
	INVARIANT(w->state == KEYLOCK_WOKEN);
	w->state = KEYLOCK_IDLE;
	pthread_mutex_unlock(&ls->lock);
}

bool keylock_get(struct keylocks *ls, const struct sess_id *id, struct instant now, uint8_t token[KEYLOCK_TOKEN_MAX],
		 size_t *token_len, uint64_t *left_ms)
{
	struct after after;

	now = enter(ls, now, &after);
	const struct keylock *l = find(ls, id, now, &after);
	if (l) {
		memcpy(token, l->token, l->token_len);
		*token_len = l->token_len;
		*left_ms = remaining_ms(l, now);
	}
	leave(ls, &after);
	return l != NULL;
}

bool keylock_extend(struct keylocks *ls, const struct sess_id *id, uint64_t ttl_ms, struct instant now)
{
	struct after after;

	now = enter(ls, now, &after);
	struct keylock *l = find(ls, id, now, &after);
	if (l)
		set_time(ls, l, ttl_ms, now);
	leave(ls, &after);
	return l != NULL;
}

bool keylock_release(struct keylocks *ls, const struct sess_id *id, const struct view *token, struct instant now)
{
	struct after after;

	now = enter(ls, now, &after);
	struct keylock *l = find(ls, id, now, &after);
	bool freed = l && (!token || view_eq(*token, view_of(l->token, l->token_len)));
	if (freed)
		(void)pass_on(ls, l, now, &after);
	leave(ls, &after);
	return freed;
}

void keylock_drop(struct keylocks *ls, struct keylock_owner *o, struct instant now)
{
	bool more;

	do {
		struct after after;
		struct instant at = enter(ls, now, &after);
		for (unsigned i = 0; i < KEYLOCK_DROP && !list_empty(&o->locks); i++)
			(void)pass_on(ls, CONTAINER_OF(o->locks.next, struct keylock, link), at, &after);
		more = !list_empty(&o->locks);
		leave(ls, &after);
	} while (more);
}

static void check_lock(struct keylocks *ls, const struct keylock *l)
{
	INVARIANT(l->hash == hash_of(ls, &l->id));
	INVARIANT(list_linked(&l->link)); /* each is somebody's */
	INVARIANT(l->token_len <= KEYLOCK_TOKEN_MAX);
	LIST_EACH (node, &l->parked) {
		const struct keylock_waiter *w = CONTAINER_OF(node, struct keylock_waiter, link);
		INVARIANT(w->state == KEYLOCK_PARKED);
		INVARIANT(sess_id_eq(&w->id, &l->id));
		INVARIANT(l->shortest_ms <= time_of(w->ttl_ms));
	}
}

void keylocks_check(struct keylocks *ls)
{
	uint32_t count = 0;
	uint64_t timers = 0;

	pthread_mutex_lock(&ls->lock);
	for (unsigned i = 0; i < KEYLOCK_BUCKETS; i++) {
		for (const struct keylock *l = ls->buckets[i]; l; l = l->next) {
			INVARIANT(bucket_of(ls, l->hash) == &ls->buckets[i]);
			check_lock(ls, l);
			timers += wheel_running(&l->timer);
			count++;
		}
	}
	INVARIANT(count == ls->count);
	INVARIANT(count <= KEYLOCKS_MAX);
	INVARIANT(timers == ls->wheel.count);
	pthread_mutex_unlock(&ls->lock);
}
