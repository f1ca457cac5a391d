/* Connections to the applications, and the queue of requests that wait for one.
 *
 * Three parts. `pool_book` is one for the node: for each backend how many connections are open, its health, and for
 * each app the queue, first come first served. `pool_shared` is one for each generation (a configuration): its apps and
 * backends with their options, which point into the book. `pool` is one for each worker and generation: its
 * connections, which never leave its loop. A slot is the right to have one connection open; when a connection becomes
 * free while a request of another worker waits, it is closed and its slot goes to that worker.
 *
 * doc/backends.md has the states and the rules, doc/reload.md what generations are. */
#ifndef WEIR_BACKEND_POOL_H
#define WEIR_BACKEND_POOL_H

#include "backend/conn.h"
#include "backend/policy.h"
#include "net/loop.h"

enum { POOL_BACKENDS_MAX = 64 }; /* of one app: `tried` is a bit set */

struct pool_backend_options {
	const char *name; /* borrowed; for logs */
	struct net_address address;
	bool scgi;
	bool keep_alive;
	uint32_t connections, weight;
	uint64_t idle_timeout_ms, connect_timeout_ms;
	struct policy_limits health;
};

struct pool_app_options {
	const char *name;                            /* borrowed; for logs */
	const struct pool_backend_options *backends; /* copied */
	size_t backend_count;                        /* 1 .. POOL_BACKENDS_MAX */
	uint32_t queue;                              /* requests waiting at most */
};

struct pool_shared;
struct pool;
struct pool_ticket;
struct pool_target; /* a backend in the book */

/* Main thread only, as all that changes what is in it. Empty at the beginning, and at the end. */
struct pool_book {
	struct list lines;
};
void pool_book_init(struct pool_book *b);

/* A backend that another one in the book equals in app, address and protocol shares its slots, its health and what an
 * operator said of it. Main thread, as is free: no worker may have a pool of it then, nor a mail for one on its way.
 * NULL: out of memory. */
MUST_USE struct pool_shared *pool_shared_new(struct pool_book *book, const struct pool_app_options *apps,
					     size_t app_count, size_t workers);
void pool_shared_free(struct pool_shared **s);
/* New requests come to `s` from now on, not to `before` (or NULL) any more: it is from the pools of `s` that idle
 * connections are asked back. All pools of `s` are made. */
void pool_shared_lead(struct pool_shared *s, struct pool_shared *before);

MUST_USE struct pool *pool_new(struct pool_shared *s, struct net_loop *loop, size_t worker);
/* Closes every connection. No request may be left. */
void pool_close(struct pool *p);
/* After pool_close(), when no other worker can write to it: it may ask for idle connections by mail. */
void pool_free(struct pool **p);

/* Closes idle connections from now on instead of keeping them. */
void pool_drain(struct pool *p);

/*   IDLE --> QUEUED --> GRANTED --> IDLE       GRANTED: a connection, a slot or a refusal is on its way by mail
 *     \--> CONNECTING --> IDLE
 *               \--> RETRY --> IDLE            and from every state back to IDLE when it is cancelled */
enum ticket_state { TICKET_IDLE, TICKET_QUEUED, TICKET_GRANTED, TICKET_CONNECTING, TICKET_RETRY };

/* A request's wish for a connection. Embedded in the request, which must live until the ticket is idle again. */
struct pool_ticket {
	struct list link;  /* in the app's queue */
	struct mail mail;  /* a grant on its way */
	struct pool *pool; /* borrowed */
	/* On the worker's thread. Either a connection, or NULL and why: ERR_REFUSED (every backend was tried
	 * and none could be reached in time), ERR_NO_MEMORY (or no descriptor), ERR_GONE (cancelled while a grant was
	 * on its way: the ticket is idle now), ERR_STOPPED (the app), ERR_DRAINED (every backend of it). */
	void (*ready)(struct pool_ticket *t, struct conn *c, int err);
	uint64_t tried;         /* backends that failed this request, a bit each */
	struct instant since;   /* when it was queued */
	struct conn *conn;      /* CONNECTING: the connection; GRANTED: handed over, or NULL for a slot */
	struct net_timer retry; /* a full backlog is tried again */
	uint32_t retry_ms;
	uint16_t app, backend;
	uint8_t state; /* enum ticket_state; changed by ticket_set_state() only */
	int refused;   /* GRANTED: nothing; this is why */
	bool again;    /* it has waited before: to the front of the queue */
	bool queued;   /* pushed, and neither removed nor granted as far as this worker knows */
	bool cancelled;
	bool fresh;   /* take no kept connection: the last one was stale */
	bool careful; /* the request must not be repeated: no kept connection that could be about to close */
};

void pool_ticket_init(struct pool_ticket *t, struct pool *p, uint16_t app,
		      void (*ready)(struct pool_ticket *, struct conn *, int));

/* Asks for a connection. A kept one comes at once as the result. NULL with *err 0: `ready` will be called, later.
 * NULL with *err: ERR_FULL (the queue), or one of those above. */
MUST_USE struct conn *pool_take(struct pool_ticket *t, int *err);

/* Stops waiting. True: the ticket is idle. False: a grant is on its way; `ready` comes with ERR_GONE. */
bool pool_cancel(struct pool_ticket *t);

/* Lends the connection to `owner` for one exchange. */
void pool_lend(struct conn *c, const struct conn_events *events, void *owner);

/* Gives it back: kept when it can be, closed otherwise. `ok`: the backend did its part (for its health). */
void pool_release(struct conn *c, bool ok);

/* Gives it back without a word about the backend's health: the request was given up. Closes unless reusable. */
void pool_abandon(struct conn *c);

/* --- from outside; main thread, unless it says otherwise --- */

/* A backend, to tell of its processes. Counted; it may outlive the pools. */
MUST_USE struct pool_target *pool_target_ref(const struct pool_shared *s, size_t app, size_t backend);
void pool_target_unref(struct pool_target **t);
/* While suspended it gets no request: nobody is there to answer. Those who wait for it are served when it is not any
 * more. */
void pool_target_suspend(struct pool_target *t, bool suspended);

/* A stopped app: its requests are refused, also those that wait. ERR_BUSY: it is so already. */
MUST_USE int pool_app_stop(struct pool_shared *s, size_t app, bool stopped);
/* Any thread. */
bool pool_app_stopped(const struct pool_shared *s, size_t app);
/* Whether a request of the app waits for a backend or has one, in whatever generation. */
bool pool_app_busy(const struct pool_shared *s, size_t app);

/* A drained backend gets no new request. ERR_BUSY: it is so already. */
MUST_USE int pool_backend_drain(struct pool_shared *s, size_t app, size_t backend, bool drained);

struct pool_app_stats {
	uint32_t waiting;
	bool stopped;
};
struct pool_backend_stats {
	const char *name;
	uint32_t open, active, idle; /* over all generations */
	uint64_t requests, failures; /* of this generation */
	bool down, suspended, drained;
};
/* Any thread that knows `s` to live. */
void pool_app_stats(const struct pool_shared *s, size_t app, struct pool_app_stats *out);
void pool_backend_stats(const struct pool_shared *s, size_t app, size_t backend, struct pool_backend_stats *out);

#endif
