/* One configuration at work: the conf, and the pools that were made from it. A reload makes a new generation; requests
 * that have begun finish in the one that they began in (doc/reload.md). */
#ifndef WEIR_GATEWAY_GENERATION_H
#define WEIR_GATEWAY_GENERATION_H

#include "backend/pool.h"
#include "conf/conf.h"

/* Not changed once workers know of it. */
struct generation {
	const struct conf *conf;
	struct pool_shared *pools; /* owned */
	uint16_t *stack_apps;      /* owned; of conf->apps[i] the stack's number */
};

/* A worker's share of a generation. Touched by its worker only. */
struct generation_share {
	struct generation *generation; /* borrowed */
	struct pool *pool;             /* owned */
};

/* --- to look at; any thread that knows the generation to live --- */

struct generation_app {
	const char *name;
	const char *sessions; /* "managed" or "none" */
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
