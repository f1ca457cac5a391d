/* Who keeps the sessions of a request's app, and what that asks of the request: one row of functions for each mode of
 * the section session. request.c and exchange.c go through a row and know no modes. */
#ifndef WEIR_GATEWAY_KEEPER_H
#define WEIR_GATEWAY_KEEPER_H

#include "base/decimal.h"
#include "gateway/request.h"

enum keeper_open { KEEPER_READY, KEEPER_WAIT, KEEPER_UNAVAILABLE, KEEPER_FENCED };

enum { KEEPER_PARAMS = 5 };

/* What the application is told beside the request's own variables; `extra` borrows from the texts and the request. */
struct keeper_params {
	struct view drop_prefix; /* of names that the request may not bring; empty: none */
	struct param extra[KEEPER_PARAMS];
	size_t extra_count;
	char name[SESS_NAME_TEXT];
	char created[DECIMAL_MAX], ttl[DECIMAL_MAX];
};

#define KEEPER_STATE_TOO_LARGE "session state over max-size"
#define KEEPER_NO_ROOM "memory for sessions is full"

enum { KEEPER_LATER = 1 };

struct keeper {
	/* Finds the request's session, on a path that is not stateless. WAIT: it is somebody else's, or comes from
	 * below; granted() is to be called when the request's `grant` mail comes. UNAVAILABLE: nobody can say whether
	 * there is one. */
	enum keeper_open (*open)(struct request *r);
	enum keeper_open (*granted)(struct request *r);
	/* The same for a request that has ended meanwhile: it takes nothing. */
	void (*grant_back)(struct request *r);
	/* Counts what open() has found. */
	void (*count)(struct request *r);
	/* Stops waiting, for the session or for the stack; all that the request has of it goes back. Safe to repeat. */
	void (*close)(struct request *r);

	void (*params)(const struct request *r, struct keeper_params *out);
	/* Reads the answer's head, does what it asks for, and writes the head for the client to `out`. 0, or the status
	 * to answer instead (413: state too large; 503: no room; 502: no head), and *reason. LATER: not yet, r->waits
	 * says why; the request's `stored` mail will come. */
	unsigned (*answer)(struct request *r, struct view head, struct buf *out, const char **reason);
	/* WAITS_SAFE for too long: the answer leaves before what has ended is removed below. False: word that it is, is
	 * on its way. NULL: nothing of this keeper waits for that. */
	bool (*wait_no_more)(struct request *r);
	/* Whether a head that is not complete, and already too long, is so because of the state in it. NULL: none
	 * travels in heads; otherwise they may be longer by max-size. */
	bool (*state_too_large)(const struct request *r, struct view head);
};

/* Of an app without sessions, and of a request whose app is not known. */
extern const struct keeper keeper_none;

const struct keeper *keeper_of(enum conf_session_mode mode);

/* Copies a head that has a header; otherwise 502 and *reason. */
unsigned keeper_copy_head(struct view head, struct buf *out, const char **reason);

#endif
