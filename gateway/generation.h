/* One configuration at work: the conf, and the pools that were made from it. A reload makes a new generation; requests
 * that have begun finish in the one that they began in (doc/reload.md). */
#ifndef WEIR_GATEWAY_GENERATION_H
#define WEIR_GATEWAY_GENERATION_H

#include "backend/pool.h"
#include "conf/conf.h"

struct application;
struct gateway;
struct listener;
struct worker;

/* How many may live at once. There are more than two only while requests of each of them run. */
enum { GENERATIONS_MAX = 64 };

/* Not changed once workers know of it, but for what is marked. */
struct generation {
	const struct conf *conf;     /* owned */
	struct pool_shared *pools;   /* owned */
	uint16_t *stack_apps;        /* owned; of conf->apps[i] the stack's number */
	uint64_t number;             /* 1, and one more with each reload */
	struct listener **listeners; /* owned array, of conf->listens[i]; elements counted; main thread, and see
					generation_listen() */
	struct application *
	    *applications; /* owned array of the `spawn:` backends in order; elements counted; main thread */
	size_t application_count;
	struct generation_share *shares; /* owned array, one for each worker, who alone touches it */
	unsigned share_count;
	struct list link;                   /* in the daemon's list; main thread, as all below: */
	unsigned switched, left, forgotten; /* workers that have told so */
	bool ending;                        /* no request of it is left, and its end has begun */
	unsigned removing;                  /* session sockets whose end is waited for before it is forgotten */
};

/* A worker's share of a generation. Touched by its worker only, once it was sent there. */
struct generation_share {
	struct generation *generation; /* borrowed */
	struct pool *pool;             /* owned; freed with the generation */
	struct worker *worker;         /* borrowed */
	struct list link;              /* in worker->shares */
	unsigned users;                /* requests, and connections of listeners that are gone */
	unsigned guests;               /* connections to session sockets that are in no newer one (share_host()) */
	bool forgetting;               /* main waits for word that there are none left */
	struct mail mail;              /* between main and worker, in turns */
};

/* --- making and freeing; main thread --- */

/* Takes `conf` over. NULL: out of memory, and `conf` is freed. */
MUST_USE struct generation *generation_new(struct conf *conf, uint64_t number);

/* What the workers need: the pools, and a share for each of them. The listeners and applications are there. */
MUST_USE int generation_fill(struct generation *gen, struct gateway *g, struct pool_book *book);

/* No worker may know of it (any more). Listeners and applications that are in no other generation go with it. */
void generation_free(struct generation **gen);

/* What the generation says of the listener; NULL: it is not in it. Any thread that has a share. */
const struct conf_listen *generation_listen(const struct generation *gen, const struct listener *l);

/* --- to look at; any thread that knows the generation to live --- */

struct generation_app {
	const char *name;
	const char *sessions; /* "managed", "adopted" or "none" */
	uint16_t stack_app;
	uint32_t waiting, queue; /* requests for a backend connection, and how many may */
	bool stopped;            /* by an operator: its requests get 503 */
	size_t backends;
};
void generation_app(const struct generation *g, size_t app, struct generation_app *out);

struct generation_backend {
	const char *app, *name;
	const char *protocol; /* "fastcgi" or "scgi" */
	uint32_t open, active, idle, connections, weight;
	uint64_t requests, failures; /* since the start of the generation */
	bool down;                   /* left alone after failures */
	bool suspended;              /* no process of it runs */
	bool drained;                /* by an operator: gets no new request */
};
void generation_backend(const struct generation *g, size_t app, size_t backend, struct generation_backend *out);

#endif
