/* Word to the service manager, see sd_notify(3): ready, reloading, stopping, alive. Does nothing where none listens.
 * Main thread. */
#ifndef WEIR_GATEWAY_NOTIFY_H
#define WEIR_GATEWAY_NOTIFY_H

#include "net/loop.h"

#include <sys/un.h>

struct notify {
	int fd; /* owned; -1: nobody listens */
	struct sockaddr_un to;
	socklen_t to_len;
	uint64_t watchdog_ms;   /* between two signs of life; 0: none are asked for */
	uint64_t extend_ms;     /* between two words that the end goes on */
	struct net_loop *loop;  /* borrowed; NULL: no signs are given */
	struct net_timer alive; /* the next sign */
	struct net_timer extend;
	bool failed; /* that was logged */
};

/* Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, and takes them out of the environment: they are not meant for
 * the applications. Before any other thread runs. */
void notify_init(struct notify *n);
void notify_fini(struct notify *n);

void notify_ready(struct notify *n);     /* started, or a reload is over */
void notify_reloading(struct notify *n); /* until notify_ready() */
/* The end begins. Until notify_unwatch() the manager hears that it goes on, however long that takes. */
void notify_stopping(struct notify *n, struct net_loop *loop);

/* One line for people: what is to be known of the node. */
void notify_status(struct notify *n, const char *text);

/* A sign of life as often as the service manager wants one, until notify_unwatch(). */
void notify_watch(struct notify *n, struct net_loop *loop);
void notify_unwatch(struct notify *n);

#endif
