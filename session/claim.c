/* Claims (session/claim.h): a hash table of the ids that are claimed, in shards with a lock each. An id is in the table
 * while there is a claim on it; its struct is the table's, the claims are their requests'. Knows nothing of sessions.
 *
 * Under a lock nothing is allocated, freed or called: what an id needs is taken before, what it leaves is freed after,
 * and who was granted is told after. A grant names its receiver under the lock: who comes between a release and the
 * next one's start finds the id held.
 *
 * Moments are counted, not measured. Each claim that becomes HELD counts one up and keeps its number; a touch reads the
 * number that was given last. So a touch has a claim's number or a higher one if, and only if, it came after it: there
 * are no ties, and no clocks of two threads to compare. A touch by the claim's own request always comes after, as the
 * request goes to its backend when it is HELD. One number for all ids: a number an id would have to outlive its claims.
 */
#include "session/claim.h"

#include "base/invariant.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

/* Buckets do not grow: there are as many claims as requests at most, and a chain of 6 holds 100,000 of them. */
enum { CLAIM_SHARDS = 64, CLAIM_BUCKETS = 256, CLAIM_ALIGN = 64 };

/* An id that is claimed. In the table while it has a claim. */
struct claim_id {
	struct claim_id *next; /* in the bucket; owned by the table */
	struct sess_id id;
	uint64_t hash;        /* names shard and bucket */
	struct claim *holder; /* exclusive, HELD or GRANTED; NULL: nobody. This and those below are borrowed */
	struct list beside;   /* HELD and not exclusive, oldest first; so elders come first */
	struct list queue;    /* QUEUED, oldest first, elders first too; empty without a holder */
	uint32_t elders;      /* of `beside` */
};

struct claim_shard {
	_Alignas(CLAIM_ALIGN) pthread_mutex_t lock;
	uint64_t held, queued; /* claims; who is GRANTED is held */
	struct claim_id *buckets[CLAIM_BUCKETS];
};

struct claims {
	struct siphash_key hash_key;
	_Alignas(CLAIM_ALIGN) _Atomic uint64_t moment; /* claims that have become HELD so far */
	struct claim_shard shards[CLAIM_SHARDS];
};

struct claims *claims_new(const struct sess_keys *keys)
{
	struct claims *cs = aligned_alloc(CLAIM_ALIGN, sizeof(*cs));

	if (!cs)
		return NULL;
	memset(cs, 0, sizeof(*cs));
	cs->hash_key = keys->hash;
	for (unsigned i = 0; i < CLAIM_SHARDS; i++)
		pthread_mutex_init(&cs->shards[i].lock, NULL);
	return cs;
}

void claims_free(struct claims **claims)
{
	struct claims *cs = *claims;

	*claims = NULL;
	if (!cs)
		return;
	for (unsigned i = 0; i < CLAIM_SHARDS; i++) {
		INVARIANT(cs->shards[i].held == 0);
		INVARIANT(cs->shards[i].queued == 0);
		pthread_mutex_destroy(&cs->shards[i].lock);
	}
	free(cs);
}

static uint64_t hash_of(const struct claims *cs, const struct sess_id *id)
{
	return siphash(cs->hash_key, view_of(id->bytes, SESS_ID_BYTES));
}

static struct claim_shard *shard_of(struct claims *cs, uint64_t hash)
{
	return &cs->shards[hash % CLAIM_SHARDS];
}

static struct claim_id **bucket_of(struct claim_shard *sh, uint64_t hash)
{
	return &sh->buckets[hash / CLAIM_SHARDS % CLAIM_BUCKETS];
}

static struct claim_id *find(struct claim_shard *sh, const struct sess_id *id, uint64_t hash)
{
	struct claim_id *ci = *bucket_of(sh, hash);

	while (ci && (ci->hash != hash || !sess_id_eq(&ci->id, id)))
		ci = ci->next;
	return ci;
}

/* Puts `ci`, which is uninitialised memory, into the table. */
static void insert(struct claim_shard *sh, struct claim_id *ci, const struct sess_id *id, uint64_t hash)
{
	struct claim_id **bucket = bucket_of(sh, hash);

	*ci = (struct claim_id){.next = *bucket, .id = *id, .hash = hash};
	list_init(&ci->beside);
	list_init(&ci->queue);
	*bucket = ci;
}

/* A claim of the id has gone. If it was the last one the id is out of the table, and is the caller's to free. */
static struct claim_id *take_out(struct claim_shard *sh, struct claim_id *ci)
{
	struct claim_id **at = bucket_of(sh, ci->hash);

	if (ci->holder || !list_empty(&ci->beside))
		return NULL;
	INVARIANT(list_empty(&ci->queue));
	INVARIANT(ci->elders == 0);
	while (*at != ci) {
		INVARIANT(*at != NULL);
		at = &(*at)->next;
	}
	*at = ci->next;
	return ci;
}

/* It becomes HELD. */
static void begin(struct claims *cs, struct claim *c)
{
	c->state = CLAIM_HELD;
	c->began = atomic_fetch_add(&cs->moment, 1) + 1;
}

static void hold(struct claims *cs, struct claim_shard *sh, struct claim_id *ci, struct claim *c)
{
	begin(cs, c);
	sh->held++;
	if (c->exclusive) {
		INVARIANT(ci->holder == NULL);
		ci->holder = c;
		list_init(&c->link);
	} else {
		list_append(&ci->beside, &c->link);
	}
}

static void enqueue(struct claim_shard *sh, struct claim_id *ci, struct claim *c)
{
	INVARIANT(c->exclusive);
	c->state = CLAIM_QUEUED;
	sh->queued++;
	list_append(&ci->queue, &c->link);
}

/* WAITS: it is queued, but for `hasty`, with which nothing has changed. */
static enum claim_take take(struct claims *cs, const struct sess_id *id, bool exclusive, bool hasty, struct claim *c)
{
	uint64_t hash = hash_of(cs, id);
	struct claim_shard *sh = shard_of(cs, hash);
	/* Most often nobody else works on the id, and it is needed. */
	struct claim_id *spare = malloc(sizeof(*spare));
	enum claim_take result = CLAIM_NO_MEMORY;

	INVARIANT(c->state == CLAIM_IDLE);
	INVARIANT(c->of == NULL);
	pthread_mutex_lock(&sh->lock);
	struct claim_id *ci = find(sh, id, hash);
	if (!ci && spare) {
		ci = spare;
		spare = NULL;
		insert(sh, ci, id, hash);
	}
	if (ci)
		result = exclusive && ci->holder ? CLAIM_WAITS : CLAIM_TAKEN;
	if (result == CLAIM_TAKEN || (result == CLAIM_WAITS && !hasty)) {
		c->of = ci;
		c->exclusive = exclusive;
		c->elder = false;
		if (result == CLAIM_TAKEN)
			hold(cs, sh, ci, c);
		else
			enqueue(sh, ci, c);
	}
	pthread_mutex_unlock(&sh->lock);
	free(spare);
	return result;
}

enum claim_take claim_take(struct claims *cs, const struct sess_id *id, bool exclusive, struct claim *c)
{
	return take(cs, id, exclusive, false, c);
}

bool claim_try(struct claims *cs, const struct sess_id *id, bool exclusive, struct claim *c)
{
	return take(cs, id, exclusive, true, c) == CLAIM_TAKEN;
}

void claim_granted(struct claims *cs, struct claim *c)
{
	INVARIANT(c->of != NULL);
	struct claim_shard *sh = shard_of(cs, c->of->hash);

	pthread_mutex_lock(&sh->lock);
	INVARIANT(c->state == CLAIM_GRANTED);
	INVARIANT(c->of->holder == c);
	begin(cs, c);
	pthread_mutex_unlock(&sh->lock);
}

bool claim_cancel(struct claims *cs, struct claim *c)
{
	/* Only its own thread changes `of`, and the hash is for life. */
	if (!c->of)
		return true;
	struct claim_shard *sh = shard_of(cs, c->of->hash);
	pthread_mutex_lock(&sh->lock);
	bool queued = c->state == CLAIM_QUEUED;
	if (queued) {
		/* The holder keeps the id in the table. */
		INVARIANT(c->of->holder != NULL);
		list_remove(&c->link);
		sh->queued--;
		c->state = CLAIM_IDLE;
		c->of = NULL;
	}
	pthread_mutex_unlock(&sh->lock);
	return queued;
}

/* The holder goes: straight to who is next, who is GRANTED. NULL: nobody is. */
static struct claim *pass_on(struct claim_shard *sh, struct claim_id *ci)
{
	struct list *node = list_pop(&ci->queue);
	struct claim *next = node ? CONTAINER_OF(node, struct claim, link) : NULL;

	ci->holder = next;
	if (!next)
		return NULL;
	INVARIANT(next->state == CLAIM_QUEUED);
	next->state = CLAIM_GRANTED;
	sh->queued--;
	sh->held++;
	return next;
}

void claim_release(struct claims *cs, struct claim *c)
{
	struct claim_id *ci = c->of;
	struct claim *next = NULL;

	if (!ci)
		return;
	struct claim_shard *sh = shard_of(cs, ci->hash);
	pthread_mutex_lock(&sh->lock);
	INVARIANT(c->state == CLAIM_HELD || c->state == CLAIM_GRANTED);
	sh->held--;
	if (c->exclusive) {
		INVARIANT(ci->holder == c);
		next = pass_on(sh, ci);
	} else {
		list_remove(&c->link);
		ci->elders -= c->elder;
	}
	c->state = CLAIM_IDLE;
	c->of = NULL;
	struct claim_id *dead = take_out(sh, ci);
	pthread_mutex_unlock(&sh->lock);
	free(dead);
	/* Nothing of it may be touched after its call: its thread owns it from then on. */
	if (next)
		next->granted(next);
}

/* Marks all of the list; how many were not yet. From the end: before an elder all are elders, so each claim is marked
 * once, however often its session ends. */
static uint32_t mark(struct list *claims)
{
	uint32_t marked = 0;

	for (struct list *node = claims->prev; node != claims; node = node->prev) {
		struct claim *c = CONTAINER_OF(node, struct claim, link);
		if (c->elder)
			break;
		c->elder = true;
		marked++;
	}
	return marked;
}

void claims_touch(const struct claims *cs, const struct sess_id *id, struct claim_touch *t)
{
	t->id = *id;
	t->moment = atomic_load(&cs->moment);
}

/* Who is at work on the id, if it is one alone. Who does not know yet that it is its turn cannot have ended anything.
 * NULL: nobody is, or several. */
static struct claim *worker_of(const struct claim_id *ci)
{
	if (ci->holder && ci->holder->state == CLAIM_HELD)
		return ci->holder;
	bool one = !list_empty(&ci->beside) && ci->beside.next == ci->beside.prev;
	return one ? CONTAINER_OF(ci->beside.next, struct claim, link) : NULL;
}

/* Whose request must have ended the session: that of the one at work, if the connection has worked on it since that one
 * has begun. Another's would have had no reason to. NULL: nobody's, or that of one of several. */
static struct claim *sender_of(const struct claim_id *ci, const struct claim_touch *by)
{
	struct claim *worker = worker_of(ci);

	if (!worker || !by || !sess_id_eq(&by->id, &ci->id))
		return NULL;
	return by->moment >= worker->began ? worker : NULL;
}

static void mark_all(struct claim_id *ci, const struct claim *sender)
{
	bool beside = sender && sender != ci->holder; /* then it is alone there */

	if (ci->holder && ci->holder != sender)
		ci->holder->elder = true;
	if (!beside)
		ci->elders += mark(&ci->beside);
	(void)mark(&ci->queue);
}

void claims_end(struct claims *cs, const struct sess_id *id, const struct claim_touch *by)
{
	uint64_t hash = hash_of(cs, id);
	struct claim_shard *sh = shard_of(cs, hash);

	pthread_mutex_lock(&sh->lock);
	struct claim_id *ci = find(sh, id, hash);
	if (ci)
		mark_all(ci, sender_of(ci, by));
	pthread_mutex_unlock(&sh->lock);
}

bool claims_may_create(struct claims *cs, const struct sess_id *id)
{
	uint64_t hash = hash_of(cs, id);
	struct claim_shard *sh = shard_of(cs, hash);
	bool may = true;

	pthread_mutex_lock(&sh->lock);
	const struct claim_id *ci = find(sh, id, hash);
	if (ci)
		may = ci->holder ? !ci->holder->elder : ci->elders == 0;
	pthread_mutex_unlock(&sh->lock);
	return may;
}

void claims_stats(struct claims *cs, struct claims_stats *out)
{
	*out = (struct claims_stats){0};
	for (unsigned i = 0; i < CLAIM_SHARDS; i++) {
		struct claim_shard *sh = &cs->shards[i];
		pthread_mutex_lock(&sh->lock);
		out->held += sh->held;
		out->queued += sh->queued;
		pthread_mutex_unlock(&sh->lock);
	}
}

/* Checks a list of claims in this state; how many there are, and how many of them are elders. */
static uint32_t check_list(const struct claim_id *ci, const struct list *claims, enum claim_state state, bool exclusive,
			   uint32_t *elders)
{
	uint32_t count = 0;

	*elders = 0;
	LIST_EACH (node, claims) {
		const struct claim *c = CONTAINER_OF(node, struct claim, link);
		INVARIANT(c->of == ci);
		INVARIANT(c->state == state);
		INVARIANT(c->exclusive == exclusive);
		INVARIANT(!c->elder || *elders == count); /* elders come first */
		*elders += c->elder;
		count++;
	}
	return count;
}

static void check_id(const struct claim_id *ci, uint64_t *held, uint64_t *queued)
{
	const struct claim *holder = ci->holder;
	uint32_t elders;

	*queued += check_list(ci, &ci->queue, CLAIM_QUEUED, true, &elders);
	*held += check_list(ci, &ci->beside, CLAIM_HELD, false, &elders);
	INVARIANT(elders == ci->elders);
	if (!holder) {
		INVARIANT(list_empty(&ci->queue));
		INVARIANT(!list_empty(&ci->beside));
		return;
	}
	(*held)++;
	INVARIANT(holder->of == ci);
	INVARIANT(holder->exclusive);
	INVARIANT(holder->state == CLAIM_HELD || holder->state == CLAIM_GRANTED);
	INVARIANT(!list_linked(&holder->link));
}

static void check_shard(struct claims *cs, struct claim_shard *sh)
{
	uint64_t held = 0, queued = 0;

	for (unsigned i = 0; i < CLAIM_BUCKETS; i++) {
		for (const struct claim_id *ci = sh->buckets[i]; ci; ci = ci->next) {
			INVARIANT(ci->hash == hash_of(cs, &ci->id));
			INVARIANT(shard_of(cs, ci->hash) == sh);
			INVARIANT(bucket_of(sh, ci->hash) == &sh->buckets[i]);
			check_id(ci, &held, &queued);
		}
	}
	INVARIANT(held == sh->held);
	INVARIANT(queued == sh->queued);
}

void claims_check(struct claims *cs)
{
	for (unsigned i = 0; i < CLAIM_SHARDS; i++) {
		pthread_mutex_lock(&cs->shards[i].lock);
		check_shard(cs, &cs->shards[i]);
		pthread_mutex_unlock(&cs->shards[i].lock);
	}
}
