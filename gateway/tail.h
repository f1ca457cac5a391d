/* How much of an answer may leave before its application has ended the request: all but the last byte of what has come
 * (doc/session-socket.md, "Order"). Pure. */
#ifndef WEIR_GATEWAY_TAIL_H
#define WEIR_GATEWAY_TAIL_H

#include "base/view.h"

#include <stdbool.h>

/* Zeroed: everything may leave at once. */
struct tail {
	bool holds; /* something is held back from now on */
	bool bare;  /* the head is all that a client takes of this answer, so it is the head whose last byte is held; a
		       body has to be left out */
	bool held;  /* `byte` is */
	uint8_t byte;
};

/* By the answer's head and the request's method; not for one of type text/event-stream, which is read as it comes. */
void tail_begin(struct tail *t, struct view method, struct view head);

/* What was held, and is not any more: a view into *t, good until the next call. May be empty. */
struct view tail_release(struct tail *t);

/* A piece has come, and what was held before it was released. What of it may leave; may be empty. */
struct view tail_hold(struct tail *t, struct view piece);

#endif
