/* The inside of the session table: one shard, and what the files of the table share. Only session/table.c, shard.c,
 * commit.c, direct.c and move.c include this.
 *
 * A shard owns the sessions in its buckets (one reference each) and the wheel that finds the expired ones. Every
 * function here wants the shard's lock held unless it says otherwise. What must not happen under the lock, freeing and
 * waking, is gathered in a struct shard_after and done by shard_after_run(). */
#ifndef WEIR_SESSION_SHARD_H
#define WEIR_SESSION_SHARD_H

#include "session/core.h"
#include "session/table.h"

#include <pthread.h>

enum { SHARD_ALIGN = 64 }; /* a cache line: neighbours' locks do not disturb each other */

struct shard {
	_Alignas(SHARD_ALIGN) pthread_mutex_t lock;
	struct session **buckets; /* owned */
	uint32_t mask;            /* number of buckets - 1; a power of two */
	uint32_t count;           /* sessions and tombstones in the buckets */
	struct list idle;         /* of sessions that nobody uses and that may leave, least recently used first */
	struct list owed;         /* of tombstones: what is below of them has still to go */
	uint64_t live, waiters, pinned, pinned_bytes;
	uint64_t both;                             /* live ones of which a version is below */
	uint64_t created, ended, expired, renewed; /* since the start */
	uint64_t placed;                           /* of the created: under ids that were not drawn here */
	struct wheel wheel;                        /* in seconds since the table began */
};

struct sess_table {
	struct siphash_key hash_key;
	struct instant began;
	uint32_t began_s; /* what the calendar said then: the table's seconds are the calendar's, and never jump */
	bool has_below;   /* what is not here may be in a store below */
	_Atomic uint64_t max_bytes;
	uint32_t tombstone_s;
	uint32_t shard_count;
	unsigned shard_shift;                         /* hash >> shard_shift is the shard */
	_Alignas(SHARD_ALIGN) _Atomic uint64_t bytes; /* all states in the table, all structs */
	struct shard shards[];
};

/* Left to do when the locks are dropped. Zero is not enough: shard_after_init(). */
struct shard_after {
	struct list woken;        /* waiters that are GRANTED */
	struct session *dead;     /* chain through `next`; owned, with their states */
	struct sess_state *state; /* one more reference to drop */
	uint64_t freed_bytes;     /* to be taken off the table's sum */
};

MUST_USE int shard_init(struct shard *sh, uint32_t now_s);
void shard_fini(struct shard *sh); /* frees the sessions; nobody may hold one */

static inline struct shard *shard_of(struct sess_table *t, uint32_t hash)
{
	return &t->shards[(uint64_t)hash >> t->shard_shift];
}

/* What a session takes with this state. */
static inline uint64_t session_bytes(const struct sess_state *state)
{
	return sizeof(struct session) + sess_state_cost(state);
}

struct session *shard_find(const struct shard *sh, const struct sess_id *id, uint32_t hash);

/* Puts a session with one reference into its bucket. Cannot fail: without memory for more buckets, chains get longer.
 */
void shard_insert(struct shard *sh, struct session *s);

/* Takes a live session out: what is below of it, if anything, is as good. */
void shard_leave(struct shard *sh, struct session *s, struct shard_after *after);

/* Ends a live session. It is out then, or a tombstone where something of it may be below. */
void shard_end(struct shard *sh, struct session *s, struct shard_after *after);

/* The same for one whose time is over: what is below is over too, unless it has outlived this one. */
void shard_expire(struct shard *sh, struct session *s, struct shard_after *after);

/* What has ended holds its place, as a tombstone, until shard_settle(): what is below of it has still to go. */
void shard_owe(struct shard *sh, struct session *s);
void shard_settle(struct shard *sh, struct session *s, struct shard_after *after);

/* Takes a tombstone out. */
void shard_forget(struct shard *sh, struct session *s, struct shard_after *after);

/* Drops a reference. */
void shard_unref(struct session *s, struct shard_after *after);

/* Nobody uses the live session (any more): the wheel will find it when it could have expired, or earlier, and the
 * evicter when it may leave. shard_wanted() is the opposite, to be called before it gets a reference. */
void shard_rest(struct shard *sh, struct session *s);
void shard_wanted(struct session *s);

/* Remembers whether a version of it is below. */
void shard_set_below(struct shard *sh, struct session *s, bool below);

/* A live session has ended: it counts no more as what it was. `state` is what it had. */
void shard_uncount(struct shard *sh, struct session *s, const struct sess_state *state);

/* If it is pinned, it counts as such with this state, or no more. */
void shard_count_pinned(struct shard *sh, const struct session *s, const struct sess_state *state);
void shard_uncount_pinned(struct shard *sh, const struct session *s, const struct sess_state *state);

/* Puts in what is to come from below, made of memory that is not initialised yet; `hash` is that of the id. */
void shard_expect(struct sess_table *t, struct session *s, const struct sess_id *id, uint32_t hash, uint16_t app,
		  struct instant now);

/* Takes out what was to come, and does not. */
void shard_drop(struct shard *sh, struct session *s, struct shard_after *after);

void shard_after_init(struct shard_after *after);
void shard_after_run(struct sess_table *t, struct shard_after *after); /* no lock held */

/* The table's seconds. Down for "is it time yet?", up for "when was that?": nothing expires early. */
static inline uint32_t table_now_s(const struct sess_table *t, struct instant now)
{
	return t->began_s + (uint32_t)(instant_since_ms(now, t->began) / 1000);
}

static inline uint32_t table_now_up_s(const struct sess_table *t, struct instant now)
{
	return t->began_s + (uint32_t)((instant_since_ms(now, t->began) + 999) / 1000);
}

static inline uint32_t table_hash(const struct sess_table *t, const struct sess_id *id)
{
	return (uint32_t)siphash(t->hash_key, view_of(id->bytes, SESS_ID_BYTES));
}

/* Changes the sum of bytes in one step; false, and nothing changed, when that would go over the bound. Never fails when
 * it does not grow. No lock needed. */
MUST_USE bool table_bytes_change(struct sess_table *t, uint64_t add, uint64_t sub);

#endif
