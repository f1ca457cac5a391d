/* The session core: one session's life as a state machine. Pure: no system call, no clock, no random, no allocation.
 * The table (session/table.h) calls it under the shard's lock and acts on what it answers.
 *
 *   FETCHING - arrive -> LIVE       it came from the store below; who waited is served
 *   FETCHING - fail ---> ENDED      it is not there, or nobody can say: who waited is told so
 *   LIVE ---- end -----> ENDED      holders finish; what they commit is dropped; nobody new gets in
 *   LIVE ---- expire --> ENDED      only when nobody holds it or waits for it
 *   LIVE ---- leave ---> ENDED      the same; it is in the store below
 *   LIVE ---- renew ---> ENDED      a new session has its state; this one is a tombstone for a while
 *
 * Where a version that must not come back is in the store below, what has ended is a tombstone until that is removed.
 *
 * Lock: `exclusive` has at most one holder; others wait, first come first served. A reader (a read-only path, or an
 * app whose lock is `shared`) holds no lock and never waits, except for a session that is being fetched. */
#ifndef WEIR_SESSION_CORE_H
#define WEIR_SESSION_CORE_H

#include "base/wheel.h"
#include "session/hold.h"

enum sess_phase { SESS_FETCHING, SESS_LIVE, SESS_ENDED };

/* Kept small: there are millions. Guarded by the lock of the shard that its id belongs to. */
struct session {
	struct session *next; /* in the table's bucket; owned by the table */
	struct sess_id id;
	struct wheel_node timer;  /* in the shard's wheel, or stopped while the session is in use */
	struct sess_state *state; /* counted; NULL: no bytes, or not LIVE */
	/* In use: those who wait, struct sess_waiter, borrowed. Not in use: its place in the shard's list of the idle.
	 * Owing: in that of the owed. */
	struct list queue;
	uint64_t version;           /* grows with each commit of a state */
	uint32_t created_s, used_s; /* calendar, rounded up: nothing expires early */
	uint32_t ttl_s;
	uint32_t refs;        /* holders, waiters and the table */
	uint32_t hash;        /* of the id; names shard and bucket */
	uint16_t app;         /* index; an id is only good for its own app */
	uint8_t phase : 3;    /* enum sess_phase */
	uint8_t farewell : 4; /* enum sess_open: what those are told who waited for it, when it has ENDED */
	bool held : 1;        /* the exclusive lock is taken; only when LIVE */
	bool in_table : 1;
	bool pinned : 1;    /* stays in memory */
	bool leaving : 1;   /* is being stored below, to leave memory if nobody asks for it meanwhile */
	bool below : 1;     /* this version or an older one is in the store below */
	bool fresh : 1;     /* created and not yet brought back by a request: SESSION_STATE=new */
	bool outlived : 1;  /* what is below may expire later than this */
	bool tombstone : 1; /* ENDED and still in the table: renewed, or owing */
	bool owing : 1;     /* what is below must go first: until then nobody may look there */
};

/* A live session with one reference, which is the table's. */
void sess_core_init(struct session *s, const struct sess_id *id, uint16_t app, uint32_t now_s, uint32_t ttl_s);

/* The same for a session that is to come from the store below. */
void sess_core_init_fetching(struct session *s, const struct sess_id *id, uint16_t app, uint32_t now_s);

/* It has come: version, times, flags and state were set by the caller. Those who wait and can be served are moved to
 * `woken`, all GRANTED: each must be told. */
void sess_core_arrive(struct session *s, struct list *woken);

/* It does not come; `farewell` is what everybody is told who waits. They are moved to `woken`. */
void sess_core_fail(struct session *s, enum sess_open farewell, struct list *woken);

/* A request wants the session, which has not ended, and gets a reference. True: it has it now (and the lock, if
 * exclusive). False: `w` is queued. */
bool sess_core_acquire(struct session *s, enum sess_lock lock, struct sess_waiter *w);

/* The holder lets the lock go. The waiter that has it now (state GRANTED), or NULL. */
struct sess_waiter *sess_core_release(struct session *s);

/* True: `w` was queued and is no longer. False: a grant is on its way, the receiver must release it. */
bool sess_core_cancel(struct sess_waiter *w);

/* The grant has arrived: `w` is idle again. True: its request has the lock; false: the session has ended. */
bool sess_core_granted(const struct session *s, struct sess_waiter *w);

/* Somebody besides the table has a reference: it does not expire. */
static inline bool sess_core_in_use(const struct session *s)
{
	return s->refs > (s->in_table ? 1u : 0u);
}

/* The second at which it expires if nobody uses it: used + ttl. */
uint64_t sess_core_deadline_s(const struct session *s);

/* Live, not in use, and `now_s` (rounded down) has reached the deadline. */
bool sess_core_expired(const struct session *s, uint64_t now_s);

void sess_core_touch(struct session *s, uint32_t now_s);

/* The same for one that expires when it would have anyway: what its life has become longer by is taken off the time to
 * live. False: it was used in this second already, and nothing has changed. */
bool sess_core_touch_fixed(struct session *s, uint32_t now_s);

/* New state (ownership of one reference moves in; returns the old one, for the caller to unref); version grows. */
struct sess_state *sess_core_store(struct session *s, struct sess_state *state);

/* Ends a live session. Its waiters are moved to `woken`, all GRANTED: each must be told. Returns the state, for the
 * caller to unref. */
struct sess_state *sess_core_end(struct session *s, struct list *woken);

/* Ends `old` and makes `fresh` (just initialised, of the same app) what it was: state, version, times, and the lock if
 * the caller has it, whose reference moves along. `old` becomes a tombstone. */
void sess_core_renew(struct session *old, struct session *fresh, bool locked, struct list *woken);

void sess_core_check(const struct session *s); /* INVARIANTs */

#endif
