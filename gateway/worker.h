/* One worker thread: a loop, its front connections, its requests and its half of the backend pools. Everything here is
 * touched by this thread only, but the fields that say otherwise. */
#ifndef WEIR_GATEWAY_WORKER_H
#define WEIR_GATEWAY_WORKER_H

#include "gateway/generation.h"
#include "gateway/metrics.h"
#include "net/loop.h"
#include "session/stack.h"

#include <pthread.h>
#include <stdatomic.h>

struct cluster;
struct member;
struct watch;

/* What all workers share; made before they start and not changed while they run, but for the generation. */
struct gateway {
	struct generation *generation; /* the newest; main thread: a worker's is that of its share */
	unsigned worker_count;
	struct sess_keys keys;
	struct stack *stack;
	struct claims *claims;     /* owned; of adopted sessions */
	struct keylocks *keylocks; /* owned; of the clients of session sockets */
	struct worker *workers;    /* owned array of worker_count */
	struct watch *watch;       /* owned; any thread may ask it */
	struct member *member;     /* owned; NULL: in no cluster. See its header for who may ask it what */
	struct cluster *cluster;   /* the member's; NULL: in none */
	/* A worker has got so far; called on its thread. */
	void (*unlistened)(struct gateway *g, unsigned worker);
	void (*served)(struct gateway *g, unsigned worker);
	void (*quiet)(struct gateway *g, unsigned worker);
	/* Mails to the main thread, and what delivers them there: of a listener, and of shares (share.h). */
	struct net_loop *main;
	void (*removed)(struct mail *mail);
	void (*switched)(struct mail *mail);
	void (*left)(struct mail *mail);
	void (*forgotten)(struct mail *mail);
};

struct worker {
	struct net_loop loop;
	struct gateway *gateway;        /* borrowed */
	struct generation_share *share; /* of the generation that new requests begin in; borrowed */
	struct list shares;             /* that one, and those of older generations that have users */
	unsigned index;
	pthread_t thread;
	struct list listeners;      /* that it polls */
	struct list fronts;         /* of struct front */
	atomic_uint front_count;    /* read by whoever looks for the least busy worker */
	struct list socket_clients; /* of struct socket_client */
	atomic_uint socket_count;   /* as front_count */
	struct list spare_requests; /* for reuse */
	unsigned spare_request_count;
	unsigned zombies;        /* ended requests that still wait for a mail */
	struct buf scratch;      /* an answer's head; only good within a call */
	struct buf path;         /* a request's path; the same */
	struct net_timer expiry; /* expires this worker's share of the session table */
	struct metrics metrics;
	bool made;    /* its loop is there; main thread only, as: */
	bool running; /* the thread is there */
	bool draining, closing, served, hung_up, quiet;
	struct mail unlisten, drain, hang_up, close, finish;
};

/* All workers are made before the first one starts: they know each other. 0, ERR_NO_MEMORY or ERR_SYSTEM. */
MUST_USE int worker_init(struct worker *w, struct gateway *g, unsigned index);
/* Starts the thread, with its share of the first generation. Listeners are handed to it when all workers run, for one
 * hands connections to the others. */
MUST_USE int worker_start(struct worker *w, struct generation_share *first);

/* From the main thread, each at most once and in this order; all up to close may be left out.
 * unlisten: accepts who is connected already, then closes its listening sockets for web servers; gateway->unlistened
 * is called.
 * drain: a front connection closes when its requests are done. Only when every worker has stopped to listen: until then
 * one may hand a connection to another. When no request is left, gateway->served is called.
 * hang_up: the session sockets close, and their connections when they have answered. Only when every worker has served
 * its requests: until then an application may have a session to store.
 * close: closes what is left, requests are given up.
 * When all is closed, gateway->quiet is called.
 * finish: ends the loop; only when every worker is quiet, for until then one may post to another. */
void worker_unlisten(struct worker *w);
void worker_drain(struct worker *w);
void worker_hang_up(struct worker *w);
void worker_close(struct worker *w);
void worker_finish(struct worker *w);
void worker_join(struct worker *w); /* waits for the thread */
/* Frees what worker_init() made; after worker_join(), or when it never ran. Safe on one that was not made. */
void worker_fini(struct worker *w);

/* A connection or a zombie request is gone; to be called by their owners. */
void worker_look_quiet(struct worker *w);

#endif
