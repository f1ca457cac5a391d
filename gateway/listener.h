/* Listening sockets: for web servers, and the session sockets of apps. Bound by the main thread, the first ones before
 * privileges are dropped; each is polled by one worker, which hands new connections to whichever worker has the fewest.
 *
 *   BOUND --listener_poll()--> polled --listener_remove(), or its worker's unlisten--> closed
 *     \-------------------- listener_close() -------------------------------------------->/ */
#ifndef WEIR_GATEWAY_LISTENER_H
#define WEIR_GATEWAY_LISTENER_H

#include "gateway/worker.h"
#include "net/socket.h"

struct listener {
	char *name; /* the address as written when it was bound; owned; not changed, as is: */
	char *app;  /* whose session socket it is; NULL: it is for web servers; owned */
	struct net_address address;
	struct net_unix_access access; /* as last applied; main thread */
	int backlog;                   /* the same */
	unsigned users;                /* generations that name it; main thread */
	struct worker *handed_to;      /* who polls or polled it; NULL: nobody yet; main thread */
	struct generation *newest;     /* that names it; borrowed; main thread */
	struct generation *last;       /* whose end closes it; NULL: a reload does; borrowed; main thread */
	bool going, closed;            /* its end was asked for; is known; main thread */
	/* The polling worker's, once it is handed over: */
	struct generation *generation;  /* the worker's newest that names it; borrowed */
	const struct conf_listen *conf; /* what that says of it; borrowed */
	int fd;                         /* owned; -1: not open */
	int reserve;             /* a descriptor to give up when there are no others, to refuse politely; owned */
	struct net_timer rest;   /* until it polls again, after descriptors had run out */
	uv_poll_t poll;          /* on the polling worker's loop */
	bool poll_made;          /* `poll` is a handle of the loop, until the loop has closed it */
	struct worker *worker;   /* who polls; NULL: not yet, or no more */
	struct list link;        /* in worker->listeners */
	bool removing;           /* main waits for word that it is closed */
	struct mail start;       /* to the worker: poll */
	struct mail stop;        /* to the worker: remove; and back to main */
	atomic_uint connections; /* open ones, over all workers */
};

/* Binds. `app`: whose session socket it is, or NULL. NULL: *err, and one line in `report`, as "listen \"ADDRESS\":
 * why"; nothing for ERR_NO_MEMORY. Main thread. */
MUST_USE struct listener *listener_new(const struct conf_listen *c, const char *app, struct buf *report, int *err);
/* Such a line. */
void listener_put_why(const struct conf_listen *c, const char *why, struct buf *report);
/* The last one frees it; it is closed then, or is so now because nobody polls it. Main thread. */
void listener_unref(struct listener **l);

/* Whether that is its address; whether it serves the same there: a session socket is one app's for good. */
bool listener_at(const struct listener *l, const struct conf_listen *c);
bool listener_serves(const struct listener *l, const char *app);

/* What can change on an open socket: backlog, and mode and owner of a Unix socket, where `c` differs from what was
 * applied. False and errno: not all could be. Main thread. */
bool listener_adjust(struct listener *l, const struct conf_listen *c);

/* Main thread: the worker shall poll it, as `gen` says, which is the newest one. */
void listener_poll(struct listener *l, struct generation *gen, struct worker *w);
/* Main thread: its worker shall accept who is connected already, and close it; gateway->removed is delivered then. */
void listener_remove(struct listener *l);

/* Stops polling, closes the socket, removes a Unix socket's file: whoever connects from now on is refused. On the
 * polling worker's thread, or when no thread polls it. Safe to repeat. `accept_pending`: whose connection the kernel
 * has completed is served first; to close would lose its request. */
void listener_close(struct listener *l, bool accept_pending);

#endif
