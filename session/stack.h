/* The stack of stores: memory on top, and below it (if the node has one) a store on disk. All that the gateway sees of
 * sessions. A request falls through the stack until its session is found, and the session is promoted to memory; the
 * evicter of memory says what is demoted, and one thread of the stack's own does it. doc/stores.md has the states.
 *
 * Any thread may call any function here unless it says otherwise. Nothing here waits for a disk: what must wait comes
 * back as QUEUED or STACK_WAITS, and a callback tells. */
#ifndef WEIR_SESSION_STACK_H
#define WEIR_SESSION_STACK_H

#include "session/direct.h"
#include "session/evict.h"
#include "session/hold.h"
#include "session/store.h"

struct stack;

struct stack_options {
	uint64_t memory_max; /* bytes */
	uint64_t max_pinned; /* bytes of them that pinned sessions may take */
	const struct evict_kind *evict;
	struct evict_limits evict_limits;
	const struct store_kind *below; /* NULL: memory only */
	struct store_options store;     /* of `below`; dir is copied */
	struct wall_time wall;          /* what the calendar said at `now` of stack_new() */
	/* Asked on the stack's thread: whether what has expired below may be removed now. NULL: always. */
	bool (*may_expire)(void *arg);
	void *arg;
};

/* NULL: out of memory. */
MUST_USE struct stack *stack_new(const struct stack_options *o, const struct sess_keys *keys, struct instant now);
/* Starts the thread, which opens the store below: nobody waits for that. ERR_SYSTEM. */
MUST_USE int stack_start(struct stack *s);

/* Bounds, evicter and sync from now on (a reload). What `below` is, and where, and may_expire() stay. */
void stack_set(struct stack *s, const struct stack_options *o);

/* The end. No request may be left. `demote`: all of memory goes into the store first. `done` comes on the stack's
 * thread, also when it was not started. stack_hurry() gives up demoting. */
void stack_stop(struct stack *s, bool demote, void (*done)(void *arg), void *arg);
void stack_hurry(struct stack *s);
void stack_free(struct stack **s); /* after `done`, or when it was never started */

/* The stack's number for the app of this name, the same for the life of the process. ERR_NO_MEMORY; ERR_FULL after
 * 65,535 names. */
MUST_USE int stack_app(struct stack *s, const char *name, uint16_t *out);
/* The name behind a number; lives as long as the stack. */
const char *stack_app_name(struct stack *s, uint16_t app);

/* --- requests --- */

/* Looks the id up for `app`. OPENED: *h holds it (with the lock, if asked). QUEUED: *h is taken, `w` waits, for the
 * lock or for the store below; w->granted tells, then stack_granted() must be called. Otherwise *h is zeroed. */
enum sess_open stack_open(struct stack *s, uint16_t app, const struct sess_id *id, enum sess_lock lock,
			  struct sess_waiter *w, struct instant now, struct sess_hold *h);

/* To be called when a grant arrives. Anything but QUEUED; the hold is closed unless OPENED. */
enum sess_open stack_granted(struct stack *s, struct sess_waiter *w, struct sess_hold *h);

/* Stops waiting. True: done, the hold is closed. False: the grant is on its way; when it arrives call stack_granted()
 * and then stack_close(). */
bool stack_cancel(struct stack *s, struct sess_waiter *w, struct sess_hold *h);

/* What the request is told about the session it holds. The session is no longer fresh then. */
void stack_read(struct stack *s, const struct sess_hold *h, struct sess_snapshot *out);

/* A request that waits for the stack: for what it has committed to be safe, or for room in memory. Owned by the
 * request; it must live until `done` was called or the wait was cancelled. */
struct stack_wait {
	struct list link;
	/* Guarded by the stack. */
	struct stack_forget *forget; /* the removal that it waits for; NULL: none */
	/* For room; the same. */
	bool queued;
	uint64_t lacks_bytes;               /* what it needs at most */
	uint64_t tried_bytes;               /* what memory held when it last tried; 0: it has not waited yet */
	void (*done)(struct stack_wait *w); /* any thread: it must only post a mail */
};

enum { STACK_WAITS = 1 };

/* Commits to the held session, as sess_table_commit(): end wins over all; else data, ttl, renew. 0: done. STACK_WAITS:
 * done in memory and *out is filled, but the answer must not leave before wait->done: until then a crash could bring
 * the old session back from below. ERR_FULL (no room: see stack_await_room()), ERR_NO_MEMORY, ERR_BUSY (`fresh_id` is
 * taken): nothing has changed. */
MUST_USE int stack_commit(struct stack *s, struct sess_hold *h, const struct sess_commit *c,
			  const struct sess_id *fresh_id, struct instant now, struct stack_wait *wait,
			  struct sess_outcome *out);

/* After STACK_WAITS. True: the wait is over and `done` will not come; what was to go is removed all the same, some
 * time. False: it is on its way. */
bool stack_cancel_safe(struct stack *s, struct stack_wait *wait);

/* Creates a session with c's data under *id (random). 0 or an error as above. */
MUST_USE int stack_create(struct stack *s, uint16_t app, const struct sess_commit *c, uint32_t ttl_s,
			  const struct sess_id *id, struct instant now);

/* After ERR_FULL for a state of so many bytes. True: wait->done comes when memory holds less than it does now: try
 * again then, and wait again if that was not enough. Meanwhile what nobody uses leaves. False: no room will come. */
bool stack_await_room(struct stack *s, struct stack_wait *wait, uint64_t bytes);
/* True: the wait is over and `done` will not come. False: it is on its way. */
bool stack_cancel_room(struct stack *s, struct stack_wait *wait);

/* Lets the lock and the reference go; touches the session; *h is zeroed. Safe on a zeroed hold. */
void stack_close(struct stack *s, struct sess_hold *h, struct instant now);

/* --- by id, without a request: adopted sessions --- */

/* sess_table_peek(): what memory says. */
enum sess_open stack_peek(struct stack *s, uint16_t app, const struct sess_id *id, struct instant now,
			  struct sess_peek *out);
/* sess_table_write(). */
int stack_write(struct stack *s, uint16_t app, const struct sess_id *id, const struct sess_write *w, struct instant now,
		struct sess_state **before);
/* After SESS_OWING: wait->done comes when what is below of the session that has ended has gone, or cannot go now.
 * ERR_NO_MEMORY. */
MUST_USE int stack_await_gone(struct stack *s, const struct sess_id *id, struct stack_wait *wait);

/* Ends up to `max` of what has expired in memory, in the n-th of `of` parts of it. True when more is due. */
bool stack_expire(struct stack *s, uint32_t part, uint32_t of, uint32_t max, struct instant now);

/* --- to look at --- */

enum stack_below { STACK_BELOW_NONE, STACK_BELOW_OPENING, STACK_BELOW_READY, STACK_BELOW_FULL, STACK_BELOW_BROKEN };

struct stack_stats {
	/* memory */
	uint64_t sessions, bytes, max_bytes, waiters;
	uint64_t pinned, pinned_bytes, pinned_max_bytes;
	uint64_t created, ended, expired, renewed; /* since the start */
	/* below */
	enum stack_below below;
	char trouble[160];       /* why it is not READY; empty otherwise */
	uint64_t below_sessions; /* of them `both` are in memory too: what is there is older */
	uint64_t both;
	uint64_t below_bytes, below_max_bytes;
	uint64_t demoted, promoted; /* since the start, as all that follow */
	uint64_t missed;            /* asked for and not there */
	uint64_t below_expired;
	uint64_t unreadable; /* damaged or of a newer format */
	uint64_t troubles;   /* times that it broke, or could not be opened, until it was open again */
	uint64_t room_waits; /* requests that waited for room */
};
void stack_stats(struct stack *s, struct stack_stats *out);
const char *stack_below_text(enum stack_below b); /* "none", "opening", "ready", "full", "broken" */

void stack_check(struct stack *s); /* INVARIANTs of all that is in memory; slow, for tests */

#endif
