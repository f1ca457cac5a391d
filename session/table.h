/* All sessions of this node in memory: a hash table in shards, one lock a shard, held for a look-up and never across
 * I/O. Any thread may call any function here. doc/sessions.md has the states and the rules.
 *
 * Memory bound: `max_bytes` counts states and structs. What would go over it is refused with ERR_FULL; nothing that
 * lives is thrown away for something new. */
#ifndef WEIR_SESSION_TABLE_H
#define WEIR_SESSION_TABLE_H

#include "session/hold.h"

struct sess_table;

struct sess_table_options {
	uint64_t max_bytes;
	uint32_t shards;       /* a power of two; 0: 64 */
	uint32_t tombstone_s;  /* how long a renewed id is remembered; 0: 60 */
	struct wall_time wall; /* what the calendar said at `now` of sess_table_new */
	bool has_below;        /* what is not here may be in a store below (session/move.h) */
};

MUST_USE struct sess_table *sess_table_new(const struct sess_table_options *o, const struct sess_keys *keys,
					   struct instant now); /* NULL: out of memory */
void sess_table_free(struct sess_table **t);                    /* no holder may be left */

/* Looks the id up for `app`. OPENED: *h holds it (with the lock, if asked). QUEUED: *h holds a reference, `w` waits;
 * w->granted tells, then sess_table_granted() must be called. ABSENT: unknown, expired, ended or of another app.
 * RENEWED: the id was replaced a moment ago: run without a session, leave the client's cookie alone. */
enum sess_open sess_table_open(struct sess_table *t, uint16_t app, const struct sess_id *id, enum sess_lock lock,
			       struct sess_waiter *w, struct instant now, struct sess_hold *h);

/* To be called when a grant arrives. OPENED; or ABSENT / RENEWED when the session was ended or renewed meanwhile: the
 * hold is closed then. */
enum sess_open sess_table_granted(struct sess_table *t, struct sess_waiter *w, struct sess_hold *h);

/* Stops waiting. True: done, the hold is closed. False: the grant is on its way; when it arrives call
 * sess_table_granted() and then sess_table_close(). */
bool sess_table_cancel(struct sess_table *t, struct sess_waiter *w, struct sess_hold *h);

/* What the request is told about the session it holds. The session is no longer fresh then. */
void sess_table_read(struct sess_table *t, const struct sess_hold *h, struct sess_snapshot *out);

/* Commits to the held session. Order: end wins over all; else data, ttl, renew. `fresh_id` is random, for renew.
 * 0, ERR_FULL or ERR_NO_MEMORY (ERR_BUSY: `fresh_id` is taken); on an error nothing has changed.
 * A session that was ended stays ended: the commit is dropped, the cookie is left alone. The same holds for one that
 * was renewed under this request: what it would write is older than the log-in.
 * Renewal makes a new session with the state, the times and the lock of the old one, and *h holds that from then on;
 * the old one stays in the table as a tombstone for a while, and all who wait for its lock are woken. */
MUST_USE int sess_table_commit(struct sess_table *t, struct sess_hold *h, const struct sess_commit *c,
			       const struct sess_id *fresh_id, struct instant now, struct sess_outcome *out);

/* Creates a session that has c's data (and ttl, or `ttl_s`), under *id (random). 0, ERR_FULL or ERR_NO_MEMORY
 * (ERR_BUSY: *id is taken). */
MUST_USE int sess_table_create(struct sess_table *t, uint16_t app, const struct sess_commit *c, uint32_t ttl_s,
			       const struct sess_id *id, struct instant now);

/* Lets the lock and the reference go; touches the session; *h is zeroed. Safe on a zeroed hold. */
void sess_table_close(struct sess_table *t, struct sess_hold *h, struct instant now);

/* Ends what has expired in shard `shard`, looking at no more than `max` sessions (at least 1); true when more is due.
 */
bool sess_table_expire(struct sess_table *t, uint32_t shard, uint32_t max, struct instant now);
uint32_t sess_table_shards(const struct sess_table *t);

struct sess_table_stats {
	uint64_t sessions, bytes, max_bytes, waiters;
	uint64_t pinned, pinned_bytes;
	uint64_t both;                             /* sessions of which a version is below */
	uint64_t created, ended, expired, renewed; /* since the start */
};
uint64_t sess_table_bytes(const struct sess_table *t);
/* Whether more than `percent` of max_bytes are taken. */
bool sess_table_tight(const struct sess_table *t, uint32_t percent);
/* How many bytes too many there would be with `more`, for them to be `percent` of max_bytes at most. */
uint64_t sess_table_over(const struct sess_table *t, uint32_t percent, uint64_t more);
uint64_t sess_table_max(const struct sess_table *t);
void sess_table_set_max(struct sess_table *t, uint64_t max_bytes); /* what is over it stays */
/* The calendar's seconds, as the table counts them: they never jump. */
uint32_t sess_table_now_s(const struct sess_table *t, struct instant now);
void sess_table_stats(struct sess_table *t, struct sess_table_stats *out);

void sess_table_check(struct sess_table *t); /* INVARIANTs of all that is in it; slow, for tests */

#endif
