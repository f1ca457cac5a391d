/* All sessions of this node in memory: a hash table in shards, one lock a shard, held for a look-up and never across
 * I/O. Any thread may call any function here. doc/sessions.md has the states and the rules.
 *
 * Memory bound: `max_bytes` counts states and structs. What would go over it is refused with ERR_FULL; nothing that
 * lives is thrown away for something new. */
#ifndef WEIR_SESSION_TABLE_H
#define WEIR_SESSION_TABLE_H

#include "base/clock.h"
#include "session/core.h"

struct sess_table;

struct sess_table_options {
	uint64_t max_bytes;
	uint32_t shards;       /* a power of two; 0: 64 */
	uint32_t tombstone_s;  /* how long a renewed id is remembered; 0: 60 */
	struct wall_time wall; /* what the calendar said at `now` of sess_table_new */
};

MUST_USE struct sess_table *sess_table_new(const struct sess_table_options *o, const struct sess_keys *keys,
					   struct instant now); /* NULL: out of memory */
void sess_table_free(struct sess_table **t);                    /* no holder may be left */

/* What a request has of a session from open to close. Zeroed: nothing. */
struct sess_hold {
	struct session *session; /* counted */
	struct sess_id id;       /* as the request presented it */
	enum sess_lock lock;     /* what it asked for */
	bool locked;             /* it holds the exclusive lock */
};

enum sess_open { SESS_OPENED, SESS_QUEUED, SESS_ABSENT, SESS_RENEWED };

/* Looks the id up for `app`. OPENED: *h holds it (with the lock, if asked). QUEUED: *h holds a reference, `w` waits;
 * w->granted tells, then sess_table_granted() must be called. ABSENT: unknown, expired, ended or of another app.
 * RENEWED: the id was replaced a moment ago: run without a session, leave the client's cookie alone. */
enum sess_open sess_table_open(struct sess_table *t, uint16_t app, const struct sess_id *id, enum sess_lock lock,
			       struct sess_waiter *w, struct instant now, struct sess_hold *h);

/* To be called when a grant arrives. OPENED; or ABSENT / RENEWED when the session was ended or renewed meanwhile: the
 * hold is closed then. */
enum sess_open sess_table_granted(struct sess_table *t, struct sess_waiter *w, struct instant now, struct sess_hold *h);

/* Stops waiting. True: done, the hold is closed. False: the grant is on its way; when it arrives call
 * sess_table_granted() and then sess_table_close(). */
bool sess_table_cancel(struct sess_table *t, struct sess_waiter *w, struct sess_hold *h);

struct sess_snapshot {
	struct sess_state *state; /* counted: sess_state_unref(); NULL: no bytes */
	struct wall_time created; /* the same whenever it is asked, also when the calendar was set meanwhile */
	uint32_t ttl_s;
	bool fresh; /* first request after the creation */
	bool ended; /* ended or renewed since it was opened: no state; what the request commits will be dropped */
};

/* What the request is told about the session it holds. The session is no longer fresh then. */
void sess_table_read(struct sess_table *t, const struct sess_hold *h, struct sess_snapshot *out);

/* What a response asked for. */
struct sess_commit {
	bool has_data, has_ttl, renew, end;
	struct view data; /* borrowed */
	uint32_t ttl_s;
};

enum sess_cookie_action { SESS_COOKIE_KEEP, SESS_COOKIE_SET, SESS_COOKIE_EXPIRE };

struct sess_outcome {
	enum sess_cookie_action cookie;
	struct sess_id id; /* SET: the id to send */
	bool dropped;      /* the session was ended or renewed under this request: nothing was stored */
};

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
	uint64_t sessions, bytes, waiters;
	uint64_t created, ended, expired, renewed; /* since the start */
};
void sess_table_stats(struct sess_table *t, struct sess_table_stats *out);

void sess_table_check(struct sess_table *t); /* INVARIANTs of all that is in it; slow, for tests */

#endif
