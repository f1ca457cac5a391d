/* The pool's own structs, shared by pool.c (a worker's connections), ticket.c (which of them a request gets), queue.c
 * (slots, health and the queue), book.c and shared.c (making and freeing). Nobody else includes this. */
#ifndef WEIR_BACKEND_POOL_STATE_H
#define WEIR_BACKEND_POOL_STATE_H

#include "backend/book.h"

struct shared_backend {
	struct pool_backend_options o;
	struct pool_target *target; /* counted */
	_Atomic uint64_t requests, failures;
};

struct shared_app {
	const char *name;       /* borrowed */
	struct pool_line *line; /* counted */
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
	struct mail trim; /* somebody waits, or an operator asks: let idle connections go */
	atomic_bool trim_posted;
};

static inline struct shared_app *app_of(const struct pool *p, uint16_t app)
{
	return &p->shared->apps[app];
}

/* --- queue.c; any worker --- */

/* Takes a slot of the backend if one is free. */
bool slot_reserve(struct pool_target *target);

/* Gives a slot back; a waiting request may get it. */
void slot_free(struct pool_target *target);

/* Grants free slots to those who wait, and asks workers for idle connections while some still wait. */
void queue_dispatch(struct pool_line *line);

/* Refuses those who wait in vain, since an operator has stopped the app or drained a backend. */
void queue_refuse(struct pool_line *line);

/* Appends (or, for one that has waited before, prepends) the ticket. ERR_FULL over the app's limit; ERR_STOPPED,
 * ERR_DRAINED, ERR_REFUSED: it would wait in vain. */
MUST_USE int queue_push(struct shared_app *app, struct pool_ticket *t, bool again);

/* The ticket that gets what becomes free on worker and generation `p` at its backend, removed and GRANTED; or NULL. */
struct pool_ticket *queue_pop(const struct pool *p, uint16_t app, uint16_t backend);

/* True: it was queued, and is idle now. */
bool queue_remove(struct shared_app *app, struct pool_ticket *t);

/* The one place where a ticket's state changes, and whether it is in the queue. Into and out of QUEUED under the line's
 * lock. */
void ticket_set_state(struct pool_ticket *t, enum ticket_state state);

/* Why there is nothing to wait for: the app is stopped, every backend was tried or is drained; 0 otherwise. */
int queue_vain(const struct shared_app *app, const struct pool_ticket *t);

/* Whether a backend that the ticket has not tried is not down: then it is worth waiting for. */
bool health_hope(const struct shared_app *app, const struct pool_ticket *t);

void health_failed(struct shared_app *app, struct shared_backend *b, struct instant now);
void health_succeeded(struct shared_app *app, struct shared_backend *b);
enum policy_admission health_admit(struct shared_backend *b, struct instant now);

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

/* The one place where a connection's state and list change. */
void conn_set_state(struct conn *c, enum conn_state state);

/* Starts to connect for the ticket, on a slot that is reserved. ERR_NO_MEMORY, or no descriptor. */
MUST_USE int conn_start(struct pool_ticket *t, uint16_t backend);

/* Closes it; `drop` gives its slot back, `close` leaves that to the caller. */
void conn_close(struct conn *c);
void conn_drop(struct conn *c);

/* Gives it, or else its slot, to a request that waits; keeps it when nobody does. */
void conn_pass_on(struct conn *c, bool reusable);

/* Any thread: the pool's worker shall let idle connections go. */
void pool_trim(struct pool *p);

/* The connection that the ticket waited for did not come about, and is closed. */
void ticket_connect_failed(struct pool_ticket *t, int err);

#endif
