/* Listening sockets. Bound by the main thread before privileges are dropped; each is polled by one worker, which hands
 * new connections to whichever worker has the fewest. */
#ifndef WEIR_GATEWAY_LISTENER_H
#define WEIR_GATEWAY_LISTENER_H

#include "gateway/worker.h"
#include "net/socket.h"

struct listener {
	const struct conf_listen *conf; /* borrowed */
	int fd;                         /* owned; -1: not open */
	int reserve;             /* a descriptor to give up when there are no others, to refuse politely; owned */
	atomic_uint connections; /* open front connections, over all workers */
	struct net_timer rest;   /* until it polls again, after descriptors had run out */
	uv_poll_t poll;          /* on the polling worker's loop */
	struct worker *worker;   /* who polls; NULL: not yet, or no more */
};

/* Binds. On failure one line in `why` (owned by the caller, at least 256 bytes). */
MUST_USE int listener_open(struct listener *l, const struct conf_listen *c, char *why, size_t why_len);
MUST_USE int listener_start(struct listener *l, struct worker *w); /* on the worker's thread */

/* Stops polling, closes the socket, removes a Unix socket's file: whoever connects from now on is refused. On the
 * polling worker's thread, or when no thread runs. Safe to repeat. `accept_pending`: whose connection the kernel has
 * completed is served first; to close would lose its request. */
void listener_close(struct listener *l, bool accept_pending);

#endif
