/* What a request has of a session, and what it asks of it. Shared by the table (session/table.h), which is inside, and
 * the stack (session/stack.h), which is what the gateway sees. */
#ifndef WEIR_SESSION_HOLD_H
#define WEIR_SESSION_HOLD_H

#include "base/clock.h"
#include "base/list.h"
#include "session/id.h"
#include "session/state.h"

struct session;

enum sess_lock { SESS_LOCK_EXCLUSIVE, SESS_LOCK_NONE };

#define SESS_TTL_NEVER UINT32_MAX /* a time to live without end; only of adopted sessions */

/* A request's place in the queue for a session: for its lock, or for its arrival from the store below. Owned by the
 * request, zeroed before its first use; it must not be freed while it is queued or while a grant is on its way (GRANTED
 * and not yet delivered). */
struct sess_waiter {
	struct list link;
	/* GRANTED: woken; by then the session may have ended again, so that only granted() tells. */
	enum { SESS_WAITER_IDLE, SESS_WAITER_QUEUED, SESS_WAITER_GRANTED } state;
	enum sess_lock lock;
	uint64_t placed; /* what open() found, for a write after ABSENT (session/direct.h) */
	/* Called by the thread that gives the lock, after the shard's lock is released: it must only post a mail. */
	void (*granted)(struct sess_waiter *w);
};

/* What a request has of a session from open to close. Zeroed: nothing. */
struct sess_hold {
	struct session *session; /* counted */
	struct sess_id id;       /* as the request presented it */
	uint16_t app;            /* as the request presented it */
	enum sess_lock lock;     /* what it asked for */
	bool locked;             /* it holds the exclusive lock */
	bool fixed;              /* set by the holder: to be held is no use that would prolong its life */
	bool fetch;              /* QUEUED for a session that nobody has asked the store below for yet */
};

enum sess_open {
	SESS_OPENED,
	SESS_QUEUED,      /* the waiter will be told */
	SESS_ABSENT,      /* unknown, expired, or of another app */
	SESS_ENDED_NOW,   /* it was there when the request asked, and ended while it waited */
	SESS_RENEWED,     /* its id was replaced a moment ago */
	SESS_UNAVAILABLE, /* the store below cannot say; never to be read as absent */
};

struct sess_snapshot {
	struct sess_state *state; /* counted; NULL: no bytes */
	struct wall_time created;
	uint32_t ttl_s;
	bool fresh; /* created by another request, and this is the first to bring it back */
	bool ended; /* another request has ended or renewed it since it was opened */
};

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
	bool forget;       /* a version of the session that has ended is below: */
	struct sess_id forget_id;
};

#endif
