/* What of apps and backends outlives a generation (doc/reload.md): the queue, slots, health, what an operator has said.
 * Private to the pool, as pool_state.h. Entries are made, found and freed by the main thread. */
#ifndef WEIR_BACKEND_BOOK_H
#define WEIR_BACKEND_BOOK_H

#include "backend/pool.h"

#include <stdatomic.h>

/* A backend in the book. */
struct pool_target {
	struct list link;           /* in line->targets */
	struct pool_line *line;     /* counted */
	unsigned users;             /* generations, and started applications; main thread */
	struct net_address address; /* with `scgi`: what it is known by */
	bool scgi;
	atomic_uint limit;           /* of open: `connections` of the newest generation that has it */
	atomic_uint open;            /* slots taken: connections, and grants on their way */
	atomic_uint active;          /* requests that run on it or connect to it */
	atomic_uint idle;            /* kept connections without a request, over all workers */
	atomic_bool unwell;          /* health.fails > 0: look at it, under the line's lock */
	atomic_bool down;            /* policy_down(health) */
	atomic_bool suspended;       /* no process of it runs */
	atomic_bool drained;         /* by an operator */
	struct policy_health health; /* guarded by the line's lock */
};

/* An app in the book. */
struct pool_line {
	struct list link;    /* in book->lines */
	struct list targets; /* main thread */
	unsigned users;      /* generations, and targets; main thread */
	char *name;          /* owned */
	pthread_mutex_t lock;
	struct list queue;        /* of struct pool_ticket, of all generations; guarded by lock */
	atomic_uint waiting;      /* length of queue */
	atomic_bool stopped;      /* by an operator; changed under lock */
	struct pool_shared *lead; /* whose pools keep connections; NULL: none's; borrowed; guarded by lock */
};

/* Whether more is open than there may be, since a reload has lowered the limit. */
static inline bool target_surplus(const struct pool_target *t)
{
	return atomic_load(&t->open) > atomic_load_explicit(&t->limit, memory_order_relaxed);
}

/* The app's line, made if there is none; counted. NULL: out of memory. */
MUST_USE struct pool_line *line_find(struct pool_book *book, const char *name);
void line_unref(struct pool_line **line);

/* The same for a backend of it. */
MUST_USE struct pool_target *target_find(struct pool_line *line, const struct net_address *address, bool scgi);

#endif
