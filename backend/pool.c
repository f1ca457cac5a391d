/* A worker's connections: making, keeping, lending, giving back, and what becomes of them. Runs on the worker's loop
 * only; ticket.c says who gets one, queue.c what the workers share. */
#include "backend/pool_state.h"

#include "backend/answer.h"
#include "base/error.h"
#include "base/invariant.h"
#include "base/log.h"

#include <stdlib.h>

static const struct net_stream_ops conn_ops;

static struct list *idle_of(const struct conn *c)
{
	return &c->pool->idle[c->app][c->backend];
}

/* The lists of the pool; one that is HELD or CLOSING is in none. */
static struct list *list_of(const struct conn *c, enum conn_state state)
{
	if (state == CONN_CONNECTING)
		return &c->pool->connecting;
	if (state == CONN_IDLE)
		return idle_of(c);
	return state == CONN_BUSY ? &c->pool->busy : NULL;
}

void conn_set_state(struct conn *c, enum conn_state state)
{
#define TO(state) (1u << CONN_##state)
	static const unsigned allowed[] = {
	    [CONN_NEW] = TO(CONNECTING),
	    [CONN_CONNECTING] = TO(HELD) | TO(CLOSING),
	    [CONN_HELD] = TO(BUSY) | TO(IDLE) | TO(CLOSING),
	    [CONN_BUSY] = TO(HELD) | TO(CLOSING),
	    [CONN_IDLE] = TO(HELD) | TO(CLOSING),
	    [CONN_CLOSING] = 0,
	};
#undef TO
	struct pool_target *t = backend_of(c)->target;
	struct list *list = list_of(c, state);

	INVARIANT(allowed[c->state] & (1u << state));
	if (c->state == CONN_IDLE)
		atomic_fetch_sub(&t->idle, 1);
	else if (state == CONN_IDLE)
		atomic_fetch_add(&t->idle, 1);
	list_remove(&c->link);
	net_timer_stop(c->pool->loop, &c->timer);
	c->state = (uint8_t)state;
	if (list)
		list_append(list, &c->link);
}

/* Without its slot: that was freed, or belongs to somebody else now. */
void conn_close(struct conn *c)
{
	conn_set_state(c, CONN_CLOSING);
	c->owner = NULL;
	net_stream_close(&c->stream);
}

void conn_drop(struct conn *c)
{
	conn_close(c);
	slot_free(backend_of(c)->target);
}

/* Nobody is to come for it, or there are too many: to keep it would hold a slot for nothing. */
static bool unwanted(const struct conn *c)
{
	const struct pool_target *t = backend_of(c)->target;

	return c->pool->draining || atomic_load(&t->drained) || atomic_load(&t->line->stopped) || target_surplus(t);
}

/* Keeps it for the next request. The queue is looked at again afterwards: somebody may have come meanwhile. */
static void conn_keep(struct conn *c)
{
	const struct shared_backend *b = backend_of(c);
	struct pool_line *line = b->target->line;

	if (unwanted(c)) {
		conn_drop(c);
		return;
	}
	conn_set_state(c, CONN_IDLE);
	c->kept = true;
	c->idle_since = net_now(c->pool->loop);
	net_timer_start(c->pool->loop, &c->timer, b->o.idle_timeout_ms);
	if (atomic_load(&line->waiting) > 0)
		queue_dispatch(line);
}

void conn_pass_on(struct conn *c, bool reusable)
{
	struct pool *p = c->pool;
	struct pool_ticket *t = queue_pop(p, c->app, c->backend);

	if (c->state != CONN_HELD)
		conn_set_state(c, CONN_HELD);
	if (!t && reusable) {
		conn_keep(c);
	} else if (!t) {
		conn_drop(c);
	} else {
		if (reusable && t->pool == p && !t->fresh && !t->careful) {
			t->conn = c;
			c->ticket = t;
		} else {
			conn_close(c);
		}
		net_loop_post(t->pool->loop, &t->mail);
	}
}

/* --- making one --- */

static void on_conn_timer(struct net_timer *timer);

int conn_start(struct pool_ticket *t, uint16_t backend)
{
	struct pool *p = t->pool;
	struct shared_backend *b = &app_of(p, t->app)->backends[backend];
	struct conn *c = calloc(1, sizeof *c);

	if (!c)
		return ERR_NO_MEMORY;
	c->pool = p;
	c->app = t->app;
	c->backend = backend;
	c->scgi = b->o.scgi;
	c->ticket = t;
	list_init(&c->link);
	fcgi_decoder_init(&c->decoder, FCGI_CLIENT);
	net_timer_init(&c->timer, on_conn_timer);
	int err = net_stream_connect(&c->stream, p->loop, &conn_ops, &b->o.address);
	if (err) {
		free(c);
		return err;
	}
	conn_set_state(c, CONN_CONNECTING);
	net_timer_start(p->loop, &c->timer, b->o.connect_timeout_ms);
	t->conn = c;
	t->backend = backend;
	ticket_set_state(t, TICKET_CONNECTING);
	return 0;
}

/* --- lending --- */

void pool_lend(struct conn *c, const struct conn_events *events, void *owner)
{
	conn_set_state(c, CONN_BUSY);
	atomic_fetch_add_explicit(&backend_of(c)->requests, 1, memory_order_relaxed);
	c->events = events;
	c->owner = owner;
}

static void give_back(struct conn *c)
{
	bool reusable = conn_reusable(c) && backend_of(c)->o.keep_alive;

	INVARIANT(c->state == CONN_BUSY);
	atomic_fetch_sub(&backend_of(c)->target->active, 1);
	c->owner = NULL;
	c->kept = true;
	net_stream_read_start(&c->stream);
	conn_pass_on(c, reusable);
}

void pool_release(struct conn *c, bool ok)
{
	struct shared_app *app = app_of(c->pool, c->app);

	if (ok)
		health_succeeded(app, backend_of(c));
	else
		health_failed(app, backend_of(c), net_now(c->pool->loop));
	give_back(c);
}

void pool_abandon(struct conn *c)
{
	give_back(c);
}

/* --- events of the stream --- */

static void connect_failed(struct conn *c, int err)
{
	struct pool_ticket *t = c->ticket;
	struct shared_backend *b = backend_of(c);
	struct shared_app *app = app_of(c->pool, c->app);

	if (err != ERR_BUSY) {
		log_event(LOG_WARN, "backend_connect_failed", LOG_S("app", app->name), LOG_S("backend", b->o.name),
			  LOG_S("reason", error_text(err)));
		health_failed(app, b, net_now(c->pool->loop));
	}
	conn_drop(c);
	if (!t)
		return;
	atomic_fetch_sub(&b->target->active, 1);
	ticket_connect_failed(t, err);
}

static void on_connected(struct net_stream *s, int err)
{
	struct conn *c = CONTAINER_OF(s, struct conn, stream);
	struct pool_ticket *t = c->ticket;

	if (err) {
		connect_failed(c, err);
		return;
	}
	net_stream_read_start(s);
	if (!t) {
		conn_pass_on(c, true);
		return;
	}
	c->ticket = NULL;
	t->conn = NULL;
	ticket_set_state(t, TICKET_IDLE);
	conn_set_state(c, CONN_HELD);
	t->ready(t, c, 0);
}

static void on_read(struct net_stream *s, struct view data)
{
	struct conn *c = CONTAINER_OF(s, struct conn, stream);

	if (c->state == CONN_BUSY)
		answer_feed(c, data);
	else
		s->ops->ended(s, ERR_MALFORMED);
}

/* An idle connection that ends is no news. One that is promised to a ticket leaves it the slot. */
static void on_ended(struct net_stream *s, int err)
{
	struct conn *c = CONTAINER_OF(s, struct conn, stream);

	s->ended = true;
	if (c->state == CONN_BUSY) {
		answer_eof(c, err);
	} else if (c->state == CONN_HELD && c->ticket) {
		c->ticket->conn = NULL;
		conn_close(c);
	} else if (c->state == CONN_IDLE) {
		conn_drop(c);
	}
}

static void on_full(struct net_stream *s)
{
	struct conn *c = CONTAINER_OF(s, struct conn, stream);

	if (c->state == CONN_BUSY)
		c->events->full(c->owner);
}

static void on_drained(struct net_stream *s)
{
	struct conn *c = CONTAINER_OF(s, struct conn, stream);

	if (c->state == CONN_BUSY)
		c->events->drained(c->owner);
}

static void on_closed(struct net_stream *s)
{
	free(CONTAINER_OF(s, struct conn, stream));
}

static void on_conn_timer(struct net_timer *timer)
{
	struct conn *c = CONTAINER_OF(timer, struct conn, timer);

	if (c->state == CONN_CONNECTING)
		connect_failed(c, ERR_TIMEOUT);
	else
		conn_drop(c);
}

static const struct net_stream_ops conn_ops = {
    .connected = on_connected,
    .read = on_read,
    .ended = on_ended,
    .full = on_full,
    .drained = on_drained,
    .closed = on_closed,
    .heard_out = true,
};

/* --- the pool's own life --- */

/* One for each who waits elsewhere. */
static void trim_some(struct list *idle, const struct pool_line *line)
{
	while (atomic_load(&line->waiting) > 0 && !list_empty(idle)) {
		struct conn *c = oldest_idle(idle);
		conn_pass_on(c, true);
		if (!list_empty(idle) && newest_idle(idle) == c)
			break; /* nobody could use it: it was kept again */
	}
}

static void close_all(struct list *conns)
{
	while (!list_empty(conns)) {
		struct conn *c = CONTAINER_OF(conns->next, struct conn, link);
		INVARIANT(c->ticket == NULL);
		conn_drop(c);
	}
}

/* Idle connections go: all that nobody is to come for, and of the others as many as somebody waits for. */
static void trim(struct pool *p)
{
	for (size_t a = 0; a < p->shared->app_count; a++) {
		struct shared_app *app = &p->shared->apps[a];
		for (size_t i = 0; i < app->backend_count; i++) {
			struct list *idle = &p->idle[a][i];
			while (!list_empty(idle) && unwanted(oldest_idle(idle)))
				conn_drop(oldest_idle(idle));
			trim_some(idle, app->line);
		}
	}
}

static void deliver_trim(struct mail *mail)
{
	struct pool *p = CONTAINER_OF(mail, struct pool, trim);

	atomic_store(&p->trim_posted, false);
	trim(p);
}

void pool_trim(struct pool *p)
{
	if (!atomic_exchange(&p->trim_posted, true))
		net_loop_post(p->loop, &p->trim);
}

void pool_drain(struct pool *p)
{
	p->draining = true;
	trim(p);
}

void pool_close(struct pool *p)
{
	pool_drain(p);
	INVARIANT(list_empty(&p->busy));
	close_all(&p->connecting);
}

static int idle_lists_new(struct pool *p)
{
	const struct pool_shared *s = p->shared;

	p->idle = calloc(s->app_count ? s->app_count : 1, sizeof *p->idle);
	if (!p->idle)
		return ERR_NO_MEMORY;
	for (size_t a = 0; a < s->app_count; a++) {
		p->idle[a] = calloc(s->apps[a].backend_count, sizeof **p->idle);
		if (!p->idle[a])
			return ERR_NO_MEMORY;
		for (size_t i = 0; i < s->apps[a].backend_count; i++)
			list_init(&p->idle[a][i]);
	}
	return 0;
}

struct pool *pool_new(struct pool_shared *s, struct net_loop *loop, size_t worker)
{
	struct pool *p = calloc(1, sizeof *p);

	if (!p)
		return NULL;
	p->shared = s;
	p->loop = loop;
	list_init(&p->busy);
	list_init(&p->connecting);
	list_init(&p->trim.link);
	p->trim.deliver = deliver_trim;
	if (idle_lists_new(p) != 0) {
		pool_free(&p);
		return NULL;
	}
	s->workers[worker] = p;
	return p;
}

void pool_free(struct pool **pp)
{
	struct pool *p = *pp;

	if (!p)
		return;
	for (size_t a = 0; p->idle && a < p->shared->app_count; a++)
		free(p->idle[a]);
	free(p->idle);
	free(p);
	*pp = NULL;
}
