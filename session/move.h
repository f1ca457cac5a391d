/* Sessions that move between memory and the store below: the table's side of it. Used by the stack's thread, one at a
 * time; doc/stores.md tells why there is no moment at which a look-up misses a session.
 *
 *   down: collect (the session is `leaving`, and still found) - store it below and commit - left (it is taken out, if
 *         nobody has asked for it meanwhile; otherwise it stays, and is `below` too)
 *   up:   a look-up or expect() leaves a placeholder - read it below - arrive, or fail */
#ifndef WEIR_SESSION_MOVE_H
#define WEIR_SESSION_MOVE_H

#include "session/evict.h"
#include "session/record.h"
#include "session/table.h"

/* REFUSED: the store goes on without it. MAYBE: the store failed at the end of the batch, and may have it all the same
 * when it is opened again. */
enum sess_stored { SESS_NOT_STORED, SESS_REFUSED, SESS_MAYBE_STORED, SESS_STORED };

/* A session on its way down, as it was when it was collected. */
struct sess_leaver {
	struct sess_id id;
	struct sess_state *state; /* counted; NULL: no bytes */
	uint64_t version;
	uint32_t created_s, used_s, ttl_s;
	uint16_t app;
	bool fresh, pinned;
	enum sess_stored stored; /* what has become of it below */
};

/* Why sessions leave. */
struct sess_reason {
	const struct evict_kind *evict; /* NULL: all that nobody uses, of `app` or of all */
	struct evict_limits limits;
	struct evict_look look;
	bool one_app;
	uint16_t app;
	uint32_t used_until_s; /* what was used later stays; 0: no such bound */
	bool pinned_too;       /* pinned ones leave as well: at the end, and when they have no room */
	bool once;             /* what the store refuses is not collected again, ever */
};

/* Collects sessions of the shard, least recently used first: up to `max` of them, and until *bytes have come together,
 * which are taken off it. What has expired is not collected. */
uint32_t sess_table_collect(struct sess_table *t, uint32_t shard, const struct sess_reason *why, struct instant now,
			    uint32_t max, uint64_t *bytes, struct sess_leaver *out);
/* The same along a walk over all of them, in no order, for where the wanted ones are few: a piece of it, which looks at
 * a bounded number of sessions. *shard and *bucket are where to go on, both 0 at first; when *shard is
 * sess_table_shards() it is over. Pinned ones are not collected. */
uint32_t sess_table_collect_next(struct sess_table *t, uint32_t *shard, uint32_t *bucket, const struct sess_reason *why,
				 struct instant now, uint32_t max, uint64_t *bytes, struct sess_leaver *out);
/* When the one was used that would be collected first. False: there is none. */
bool sess_table_oldest(struct sess_table *t, uint32_t shard, uint32_t *used_s);
/* One session. ERR_GONE: not in memory; ERR_BUSY: in use, or leaving; ERR_REFUSED: pinned. */
MUST_USE int sess_table_collect_one(struct sess_table *t, const struct sess_id *id, struct sess_leaver *out);

/* It was stored below or not; drops the leaver's state. True: it has left memory. */
bool sess_table_left(struct sess_table *t, struct sess_leaver *l, const struct sess_reason *why);

/* A session that is not in memory is to come. ERR_BUSY: it is in memory, or expected already; ERR_GONE: it has ended,
 * or its id was replaced; ERR_NO_MEMORY. */
MUST_USE int sess_table_expect(struct sess_table *t, const struct sess_id *id, struct instant now);
/* It comes. ERR_GONE: nobody expects it; ERR_FULL, ERR_NO_MEMORY: it is still expected. */
MUST_USE int sess_table_arrive(struct sess_table *t, uint16_t app, const struct sess_record *r);
/* It does not. `farewell` is what those are told who wait for it. */
void sess_table_fail(struct sess_table *t, const struct sess_id *id, enum sess_open farewell);

/* Puts a session in as the record has it, over what is there. ERR_BUSY: somebody uses that; ERR_FULL, ERR_NO_MEMORY. On
 * an error nothing has changed. */
MUST_USE int sess_table_put(struct sess_table *t, uint16_t app, const struct sess_record *r);

/* The store below has it no more. True: it is in memory, or has ended there. */
bool sess_table_not_below(struct sess_table *t, const struct sess_id *id);

/* A piece of a shard: what is below of its sessions may expire later than they do from now on. *bucket is where to go
 * on, 0 at first. True: there is more. What comes from below, or is stored there, meanwhile need not be met. */
bool sess_table_outlive(struct sess_table *t, uint32_t shard, uint32_t *bucket);

/* Up to `max` sessions of the shard that have ended and of which something may be below. They are absent, and hold
 * their place, so that nobody looks there, until it is removed and sess_table_settle() says so. */
uint32_t sess_table_owed(struct sess_table *t, uint32_t shard, uint32_t max, struct sess_id *out);
void sess_table_settle(struct sess_table *t, const struct sess_id *id);
bool sess_table_owes(struct sess_table *t, const struct sess_id *id);

/* To pin one that all pinned ones together do not take more than `max_bytes` with. Only the stack's thread pins, so
 * that they do not when it is done; later they may, for they can grow, and come up from below. ERR_GONE: not in memory;
 * ERR_TOO_LARGE. */
MUST_USE int sess_table_pin(struct sess_table *t, const struct sess_id *id, uint64_t max_bytes);
MUST_USE int sess_table_unpin(struct sess_table *t, const struct sess_id *id); /* ERR_GONE */
uint64_t sess_table_pinned_bytes(struct sess_table *t);

/* Ends it, whoever holds it. ERR_GONE: not in memory. */
MUST_USE int sess_table_end(struct sess_table *t, const struct sess_id *id);
/* The same for one that is below, or is in memory too: it is owed from now on. ERR_NO_MEMORY. */
MUST_USE int sess_table_bury(struct sess_table *t, const struct sess_id *id, struct instant now);

/* What can be told of a session in memory. */
struct sess_view {
	struct sess_id id;
	struct sess_state *state; /* borrowed: only good under the lock; see sess_table_look() */
	uint64_t version;
	uint32_t created_s, used_s, ttl_s;
	uint32_t waiters;
	uint16_t app;
	bool fresh, pinned, busy;
};

/* ERR_GONE: not in memory. out->state is counted here. */
MUST_USE int sess_table_look(struct sess_table *t, const struct sess_id *id, struct sess_view *out);

/* Calls `visit` for every live session of bucket after bucket of the shard, under its lock, until it has made at least
 * `max` calls at the end of a bucket. *bucket is where to go on, 0 at first. False: the shard is done. A session that
 * is there all the time is met exactly once, also when the table grows between two calls. */
bool sess_table_walk(struct sess_table *t, uint32_t shard, uint32_t *bucket, uint32_t max,
		     void (*visit)(void *arg, const struct sess_view *v), void *arg);

#endif
