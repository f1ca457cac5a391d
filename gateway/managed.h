/* Sessions that travel with the request: from cookie to hold, from hold to SESSION_ variables, and from Weir-Session-
 * headers to a commit (doc/sessions.md). */
#ifndef WEIR_GATEWAY_MANAGED_H
#define WEIR_GATEWAY_MANAGED_H

#include "base/decimal.h"
#include "gateway/request.h"

enum managed_open { MANAGED_READY, MANAGED_WAIT, MANAGED_UNAVAILABLE };

/* Finds the request's session. WAIT: the lock is somebody else's, or the session comes from below; managed_granted() is
 * to be called when the grant comes. UNAVAILABLE: nobody can say whether there is one. */
enum managed_open managed_open(struct request *r);

/* The grant's mail has arrived. Reads the session, if it still is one. */
enum managed_open managed_granted(struct request *r);

/* The same for a request that has ended meanwhile: it takes nothing. */
void managed_grant_back(struct request *r);

/* Stops waiting, for the session or for the stack; the lock and the session go back. */
void managed_close(struct request *r);

/* WAITS_SAFE for too long: the answer leaves before what has ended is removed below. False: word that it is, is on its
 * way. */
bool managed_wait_no_more(struct request *r);

enum { MANAGED_PARAMS = 5 };

/* The SESSION_ variables, borrowed from `text` and from the request. Returns how many. */
struct managed_text {
	char name[SESS_NAME_TEXT];
	char created[DECIMAL_MAX], ttl[DECIMAL_MAX];
};
size_t managed_params(const struct request *r, struct managed_text *text, struct param out[MANAGED_PARAMS]);

#define MANAGED_STATE_TOO_LARGE "session state over max-size"
#define MANAGED_NO_ROOM "memory for sessions is full"

/* Whether a head that is not complete, and already too long, is so because of the state in it. */
bool managed_state_too_large(const struct request *r, struct view head);

/* Reads the answer's head, commits what it asks for, and writes the head for the client to `out`: without Weir-Session-
 * headers, with the cookie. 0, or the status to answer instead (413: state too large; 503: no room; 502: no head), and
 * *reason. MANAGED_LATER: not yet, r->waits says why; the request's `stored` mail will come. */
enum { MANAGED_LATER = 1 };
unsigned managed_answer(struct request *r, struct view head, struct buf *out, const char **reason);

#endif
