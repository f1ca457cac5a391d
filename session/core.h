/* The session core: one session's life as a state machine. Pure: no system call, no clock, no random, no allocation.
 * The table (session/table.h) calls it under the shard's lock and acts on what it answers.
 *
 *   LIVE ---- end -----> ENDED      holders finish; what they commit is dropped; nobody new gets in
 *   LIVE ---- expire --> ENDED
 *   LIVE ---- renew ---> ENDED      a new session has its state; this one is a tombstone for a while
 *
 * Lock: `exclusive` has at most one holder; others wait, first come first served. A reader (a read-only path, or an
 * app whose lock is `shared`) holds nothing and never waits. */
#ifndef WEIR_SESSION_CORE_H
#define WEIR_SESSION_CORE_H

#include "base/clock.h"
#include "base/list.h"
#include "base/view.h"
#include "base/wheel.h"
#include "session/id.h"

/* The state's bytes, shared by the session and by requests that still send them. Counted. */
struct sess_state {
	uint32_t refs; /* atomic */
	uint32_t len;  /* bytes */
	uint8_t bytes[];
};

enum sess_phase { SESS_LIVE, SESS_ENDED };

/* A request's place in the queue for the lock. Owned by the request; it must not be freed while it is queued or while
 * a grant is on its way (sess_waiter state GRANTED and not yet delivered). */
struct sess_waiter {
	struct list link;
	enum { SESS_WAITER_IDLE, SESS_WAITER_QUEUED, SESS_WAITER_GRANTED } state;
	/* Called by the thread that gives the lock, after the shard's lock is released: it must only post a mail. */
	void (*granted)(struct sess_waiter *w);
};

/* Kept small: there are millions. Fields are guarded by the shard's lock unless they say otherwise. */
struct session {
	struct session *next; /* in the table's bucket; owned by the table */
	struct sess_id id;
	struct wheel_node timer;    /* in the shard's wheel while it is in the table */
	struct sess_state *state;   /* counted; NULL: no bytes */
	struct list waiters;        /* of struct sess_waiter, borrowed */
	uint64_t version;           /* grows with each commit */
	uint32_t created_s, used_s; /* seconds since the table began */
	uint32_t ttl_s;
	uint32_t refs; /* holders, waiters and the table */
	uint16_t app;  /* index; an id is only good for its own app */
	uint8_t phase; /* enum sess_phase */
	bool held;     /* the exclusive lock is taken */
	bool in_table;
	bool fresh;     /* created and not yet brought back by a request: SESSION_STATE=new */
	bool tombstone; /* ended by renewal: the memory that this id was replaced */
};

void sess_core_init(struct session *s, const struct sess_id *id, uint16_t app, uint32_t now_s, uint32_t ttl_s);

enum sess_lock { SESS_LOCK_EXCLUSIVE, SESS_LOCK_NONE };

/* A request wants the session. True: it has it now (and the lock, if exclusive). False: `w` is queued. */
bool sess_core_acquire(struct session *s, enum sess_lock lock, struct sess_waiter *w);

/* The holder lets the lock go. The waiter that has it now (state GRANTED), or NULL. */
struct sess_waiter *sess_core_release(struct session *s);

/* True: `w` was queued and is no longer. False: a grant is on its way, the receiver must release it. */
bool sess_core_cancel(struct sess_waiter *w);

/* The second at which it expires if nobody uses it: used + ttl. */
uint32_t sess_core_deadline_s(const struct session *s);
bool sess_core_expired(const struct session *s, uint32_t now_s);

void sess_core_touch(struct session *s, uint32_t now_s);
/* New state (ownership of one reference moves in; returns the old one, for the caller to unref); version grows. */
struct sess_state *sess_core_store(struct session *s, struct sess_state *state);
void sess_core_end(struct session *s);

void sess_core_check(const struct session *s); /* INVARIANTs */

#endif
