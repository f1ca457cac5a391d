/* Application processes that weir starts and looks after (`spawn:`). Lives on the main thread's loop.
 *
 * Each spawn backend has one listening socket, which every one of its processes gets as descriptor 0 and nothing else
 * open but 1 and 2 (FastCGI 1.0 section 2.2 closes those two; here they are pipes into the log, because a descriptor 1
 * that is closed becomes the application's first connection, and a stray printf its garbage). A process that ends is
 * started again, at once if it lived long, otherwise after a back-off. doc/backends.md has the states. */
#ifndef WEIR_BACKEND_SPAWN_H
#define WEIR_BACKEND_SPAWN_H

#include "net/loop.h"

struct spawn;

struct spawn_options {
	const char *app, *name; /* borrowed; for logs */
	char *const *argv;      /* borrowed; argv[0] is the program */
	int listen_fd;          /* borrowed */
	uint32_t processes;
	uint64_t stop_timeout_ms; /* from TERM to KILL */
	uint64_t backoff_min_ms, backoff_max_ms;
	/* The first process runs, or the last one has ended. May be NULL. */
	void (*alive)(void *arg, bool alive);
	void *alive_arg;
};

/* Starts the processes. NULL: out of memory. A program that cannot be started is tried again like one that ended. */
MUST_USE struct spawn *spawn_new(struct net_loop *loop, const struct spawn_options *o);

/* A child of this process has ended (SIGCHLD); true when it was one of this group's. */
bool spawn_reaped(struct spawn *s, int pid, int status);

/* TERM, then KILL after the time-out. `stopped` is called when the last one has ended; at once if there is none. */
void spawn_stop(struct spawn *s, void (*stopped)(void *arg), void *arg);

/* Only when stopped; also from within `stopped`. Its memory goes when the loop has closed its handle. */
void spawn_free(struct spawn **s);

#endif
