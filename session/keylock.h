/* Locks that clients of the session socket take by a key of their own: SET key token NX PX ms (doc/session-socket.md,
 * "Locks of clients"). Not sessions: they are in memory only and go with their owner. Any thread may call any function.
 */
#ifndef WEIR_SESSION_KEYLOCK_H
#define WEIR_SESSION_KEYLOCK_H

#include "base/clock.h"
#include "base/compiler.h"
#include "base/list.h"
#include "base/view.h"
#include "session/id.h"

struct keylocks;

enum { KEYLOCK_TOKEN_MAX = 512, KEYLOCKS_MAX = 65536 }; /* bytes; locks that are taken at once */

/* A connection, as far as locks go: what it has taken. Owned by the connection. */
struct keylock_owner {
	struct list locks;
};
void keylock_owner_init(struct keylock_owner *o);

/* A parked SET. Owned by the connection; it must not be freed unless it is IDLE. */
struct keylock_waiter {
	struct list link;
	enum { KEYLOCK_IDLE, KEYLOCK_PARKED, KEYLOCK_WOKEN } state;
	/* Called by the thread that frees the lock, without a lock held: it must only post a mail. */
	void (*woken)(struct keylock_waiter *w);
	/* what it wants */
	struct keylock_owner *owner; /* borrowed */
	struct sess_id id;
	uint64_t ttl_ms;
	size_t token_len;
	uint8_t token[KEYLOCK_TOKEN_MAX];
};

MUST_USE struct keylocks *keylocks_new(const struct sess_keys *keys);
void keylocks_free(struct keylocks **ls); /* no owner and no waiter may be left */

enum keylock_take { KEYLOCK_TAKEN, KEYLOCK_BUSY, KEYLOCK_NO_ROOM };

/* Takes the lock of this id (a hash of the whole key) for `ttl_ms` (0: no time), first come first served: BUSY too
 * while others are parked for it. NO_ROOM: KEYLOCKS_MAX, no memory, or the token is too long. */
MUST_USE enum keylock_take keylock_take(struct keylocks *ls, const struct sess_id *id, struct view token,
					uint64_t ttl_ms, struct keylock_owner *owner, struct instant now);

/* Takes it, or parks `w` (whose wishes are filled in). TAKEN; BUSY: parked, woken() tells when it has the lock, whose
 * time has begun then. *look_ms, if BUSY: after so long the lock's time may be over, its owner's or that of one who was
 * parked earlier and got it meanwhile; keylock_look() then; UINT64_MAX: never. */
MUST_USE enum keylock_take keylock_park(struct keylocks *ls, struct keylock_waiter *w, struct instant now,
					uint64_t *look_ms);
/* Frees what has passed its time among the lock that `w` waits for, which may wake `w`. The next *look_ms. */
void keylock_look(struct keylocks *ls, struct keylock_waiter *w, struct instant now, uint64_t *look_ms);
/* PARKED: true, IDLE again, it did not get it. WOKEN: false, it has the lock; woken() is on its way, also if its owner
 * is dropped meanwhile. */
bool keylock_unpark(struct keylocks *ls, struct keylock_waiter *w);
/* The mail of woken() has arrived: IDLE, and the lock is its owner's, if nobody has freed it since. */
void keylock_woken(struct keylocks *ls, struct keylock_waiter *w);

/* The token of a lock that is taken, copied; false: it is free. *left_ms: UINT64_MAX: no time. */
bool keylock_get(struct keylocks *ls, const struct sess_id *id, struct instant now, uint8_t token[KEYLOCK_TOKEN_MAX],
		 size_t *token_len, uint64_t *left_ms);

/* Another time for a lock that is taken, from now on (0: no time); false: it is free. Those who are parked are not
 * told: a time that ends earlier than before is seen when one of them looks, or by the next call for whatever lock. */
bool keylock_extend(struct keylocks *ls, const struct sess_id *id, uint64_t ttl_ms, struct instant now);

/* Frees it; with a token, only if it is that one. True: it was freed; the first who is parked has it now. */
bool keylock_release(struct keylocks *ls, const struct sess_id *id, const struct view *token, struct instant now);

/* The connection closes: all its locks are free. Its waiters must be unparked before. */
void keylock_drop(struct keylocks *ls, struct keylock_owner *o, struct instant now);

void keylocks_check(struct keylocks *ls); /* INVARIANTs */

#endif
