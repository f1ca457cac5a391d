/* The pool's own structs, shared by pool.c (a worker's connections), ticket.c (which of them a request gets) and
 * queue.c (slots, health and the queue). Nobody else includes this. */
#ifndef WEIR_BACKEND_POOL_STATE_H
#define WEIR_BACKEND_POOL_STATE_H

#include "backend/pool.h"

#include <stdatomic.h>

struct shared_backend {
	struct pool_backend_options o;
	atomic_uint open;            /* slots taken: connections, and grants on their way */
	atomic_uint active;          /* requests that run on it or connect to it */
	atomic_uint idle;            /* kept connections without a request, over all workers */
	atomic_bool unwell;          /* health.fails > 0: look at it, under the app's lock */
	atomic_bool down;            /* policy_down(health) */
	atomic_bool suspended;       /* no process of it runs */
	struct policy_health health; /* guarded by the app's lock */
};

struct shared_app {
	const char *name; /* borrowed */
	pthread_mutex_t lock;
	struct list queue;   /* of struct pool_ticket; guarded by lock */
	atomic_uint waiting; /* length of queue */
	uint32_t queue_max;
	struct shared_backend *backends; /* owned */
	size_t backend_count;
};

struct pool_shared {
	struct shared_app *apps; /* owned */
	size_t app_count;
	struct pool **workers; /* owned array, borrowed elements; all set before the first request */
	size_t worker_count;
};

struct pool {
	struct pool_shared *shared; /* borrowed */
	struct net_loop *loop;      /* borrowed */
	struct list **idle;         /* [app][backend]: kept connections, most recently used last */
	struct list busy, connecting;
	size_t rotate; /* where the next pick starts */
	bool draining;
	struct mail trim; /* somebody waits: let an idle connection go */
	atomic_bool trim_posted;
};

static inline struct shared_app *app_of(const struct pool *p, uint16_t app)
{
	return &p->shared->apps[app];
}

/* Takes a slot of the backend if one is free. */
bool slot_reserve(struct shared_backend *b);

/* Gives a slot back; a waiting request may get it. */
void slot_free(struct pool_shared *s, struct shared_app *app, struct shared_backend *b);

/* Grants free slots to those who wait, and asks workers for idle connections while some still wait. */
void queue_dispatch(struct pool_shared *s, struct shared_app *app);

/* Appends (or, for one that has waited before, prepends) the ticket. ERR_FULL over the app's limit. */
MUST_USE int queue_push(struct shared_app *app, struct pool_ticket *t, bool again);

/* The ticket that gets what becomes free on worker `p` at backend `backend`, removed and GRANTED; or NULL. */
struct pool_ticket *queue_pop(struct shared_app *app, const struct pool *p, uint16_t backend);

/* True: it was queued, and is idle now. */
bool queue_remove(struct shared_app *app, struct pool_ticket *t);

/* Whether a backend that the ticket has not tried is not down: then it is worth waiting for. */
bool health_hope(const struct shared_app *app, const struct pool_ticket *t);

void health_failed(struct shared_app *app, struct shared_backend *b, struct instant now);
void health_succeeded(struct shared_app *app, struct shared_backend *b);
enum policy_admission health_admit(struct shared_app *app, struct shared_backend *b, struct instant now);

/* --- connections, pool.c; on their worker's thread --- */

static inline struct shared_backend *backend_of(const struct conn *c)
{
	return &app_of(c->pool, c->app)->backends[c->backend];
}

static inline struct conn *newest_idle(struct list *idle)
{
	return CONTAINER_OF(idle->prev, struct conn, link);
}

static inline struct conn *oldest_idle(struct list *idle)
{
	return CONTAINER_OF(idle->next, struct conn, link);
}

/* The one place where a connection's state and list change. Out of the pool's lists as IDLE: the caller's. */
void conn_set_state(struct conn *c, enum conn_state state);

/* Starts to connect for the ticket, on a slot that is reserved. ERR_NO_MEMORY, or no descriptor. */
MUST_USE int conn_start(struct pool_ticket *t, uint16_t backend);

/* Closes it; `drop` gives its slot back, `close` leaves that to the caller. */
void conn_close(struct conn *c);
void conn_drop(struct conn *c);

/* Gives it, or else its slot, to a request that waits; keeps it when nobody does. */
void conn_pass_on(struct conn *c, bool reusable);

/* The connection that the ticket waited for did not come about, and is closed. */
void ticket_connect_failed(struct pool_ticket *t, int err);

#endif
