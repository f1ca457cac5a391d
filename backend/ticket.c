/* Tickets: which backend a request gets, at once, later, or not at all. Runs on the worker's loop only. */
#include "backend/pool_state.h"

#include "base/error.h"
#include "base/invariant.h"

enum {
	RETRY_FIRST_MS = 10, /* after a full backlog */
	RETRY_MAX_MS = 200,
	POOL_SETTLED_MS = 100, /* see take_settled() */
};

static bool tried(const struct pool_ticket *t, size_t backend)
{
	return (t->tried >> backend) & 1;
}

/* For a request that must not run twice: one that has proved, by staying open for a while, that the backend keeps it.
 * A backend that is about to close does so right after its answer; a request sent into that gap might be lost. */
static struct conn *take_settled(struct list *idle, struct instant now)
{
	while (!list_empty(idle)) {
		struct conn *c = oldest_idle(idle);
		if (instant_since_ms(now, c->idle_since) < POOL_SETTLED_MS)
			return NULL;
		if (!net_stream_stale(&c->stream)) {
			conn_set_state(c, CONN_HELD);
			return c;
		}
		conn_drop(c);
	}
	return NULL;
}

/* A kept connection of the backend that is good for this request; NULL: it needs a new one. */
static struct conn *take_idle(struct pool_ticket *t, uint16_t backend)
{
	struct list *idle = &t->pool->idle[t->app][backend];

	if (t->fresh || list_empty(idle))
		return NULL;
	if (t->careful)
		return take_settled(idle, net_now(t->pool->loop));
	struct conn *c = newest_idle(idle);
	conn_set_state(c, CONN_HELD);
	return c;
}

/* A free slot, or that of a kept connection, which is closed for it. */
static bool take_slot(struct pool_ticket *t, uint16_t backend)
{
	struct list *idle = &t->pool->idle[t->app][backend];

	if (slot_reserve(app_of(t->pool, t->app)->backends[backend].target))
		return true;
	if (list_empty(idle))
		return false;
	conn_close(oldest_idle(idle));
	return true;
}

static bool has_kept(const struct pool_ticket *t, size_t backend)
{
	return !list_empty(&t->pool->idle[t->app][backend]);
}

/* Which backend, among those that have a kept connection or a free slot. One that is due for a trial comes first. */
static int pick(struct pool_ticket *t, bool last_resort)
{
	struct shared_app *app = app_of(t->pool, t->app);
	struct policy_candidate c[POOL_BACKENDS_MAX];
	struct instant now = net_now(t->pool->loop);

	for (size_t i = 0; i < app->backend_count; i++) {
		struct shared_backend *b = &app->backends[i];
		const struct pool_target *target = b->target;
		unsigned open = atomic_load_explicit(&target->open, memory_order_relaxed);
		c[i].weight = b->o.weight;
		c[i].active = atomic_load_explicit(&target->active, memory_order_relaxed);
		c[i].usable = !tried(t, i) && !atomic_load_explicit(&target->suspended, memory_order_relaxed) &&
			      !atomic_load_explicit(&target->drained, memory_order_relaxed) &&
			      (has_kept(t, i) || open < atomic_load_explicit(&target->limit, memory_order_relaxed));
		if (!c[i].usable || last_resort)
			continue;
		enum policy_admission admission = health_admit(b, now);
		if (admission == POLICY_TRIAL)
			return (int)i;
		c[i].usable = admission == POLICY_ADMITTED;
	}
	return policy_pick(c, app->backend_count, t->pool->rotate++);
}

/* Tries to have a connection without waiting in the queue. OK with *c NULL: it is being made. ERR_BUSY: no slot. */
static int try_now(struct pool_ticket *t, bool last_resort, struct conn **c)
{
	struct shared_app *app = app_of(t->pool, t->app);

	for (;;) {
		int i = pick(t, last_resort);
		if (i == POLICY_NONE)
			return ERR_BUSY;
		struct shared_backend *b = &app->backends[i];
		*c = take_idle(t, (uint16_t)i);
		if (!*c && !take_slot(t, (uint16_t)i))
			continue;
		atomic_fetch_add(&b->target->active, 1);
		int err = *c ? 0 : conn_start(t, (uint16_t)i);
		if (err) {
			/* No descriptor or no memory here: not the backend's fault, and the next one would fare no
			 * better. */
			atomic_fetch_sub(&b->target->active, 1);
			slot_free(b->target);
			return ERR_NO_MEMORY;
		}
		return 0;
	}
}

static struct conn *take(struct pool_ticket *t, bool again, int *err)
{
	struct shared_app *app = app_of(t->pool, t->app);
	struct conn *c = NULL;

	int vain = queue_vain(app, t);
	*err = vain ? vain : ERR_BUSY;
	if (!vain && (again || atomic_load(&app->line->waiting) == 0)) {
		*err = try_now(t, false, &c);
		/* Better one that is said to be down than none; but one that is well and busy is worth waiting for. */
		if (*err == ERR_BUSY && !health_hope(app, t))
			*err = try_now(t, true, &c);
	}
	if (*err != ERR_BUSY)
		return c;
	if (!again)
		t->since = net_now(t->pool->loop);
	*err = queue_push(app, t, again);
	t->queued = *err == 0;
	if (t->queued)
		queue_dispatch(app->line);
	return NULL;
}

struct conn *pool_take(struct pool_ticket *t, int *err)
{
	INVARIANT(t->state == TICKET_IDLE);
	t->cancelled = false;
	t->retry_ms = RETRY_FIRST_MS;
	return take(t, t->tried != 0 || t->fresh, err);
}

/* Again, from a callback: the answer goes to `ready`. */
static void take_again(struct pool_ticket *t)
{
	int err;

	ticket_set_state(t, TICKET_IDLE);
	struct conn *c = take(t, true, &err);
	if (c || err)
		t->ready(t, c, err);
}

static void on_retry(struct net_timer *timer)
{
	take_again(CONTAINER_OF(timer, struct pool_ticket, retry));
}

static void retry_later(struct pool_ticket *t)
{
	ticket_set_state(t, TICKET_RETRY);
	net_timer_start(t->pool->loop, &t->retry, t->retry_ms);
	t->retry_ms = t->retry_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : t->retry_ms * 2;
}

void ticket_connect_failed(struct pool_ticket *t, int err)
{
	t->conn = NULL;
	if (err == ERR_BUSY) {
		retry_later(t);
	} else {
		t->tried |= UINT64_C(1) << t->backend;
		take_again(t);
	}
}

/* Nobody is there for what was granted. */
static void grant_back(struct pool_ticket *t, struct conn *c)
{
	struct pool_target *target = app_of(t->pool, t->app)->backends[t->backend].target;

	atomic_fetch_sub(&target->active, 1);
	if (c)
		conn_pass_on(c, true);
	else
		slot_free(target);
}

/* A grant arrives: a connection, the slot for one, or a refusal. */
static void deliver_grant(struct mail *mail)
{
	struct pool_ticket *t = CONTAINER_OF(mail, struct pool_ticket, mail);
	struct conn *c = t->conn;
	int err = t->cancelled ? ERR_GONE : t->refused;

	INVARIANT(t->state == TICKET_GRANTED);
	ticket_set_state(t, TICKET_IDLE);
	t->queued = false;
	t->conn = NULL;
	if (c)
		c->ticket = NULL;
	if (!err && !c && conn_start(t, t->backend) != 0)
		err = ERR_NO_MEMORY;
	if (err && !t->refused)
		grant_back(t, c);
	if (err || c)
		t->ready(t, err ? NULL : c, err);
}

void pool_ticket_init(struct pool_ticket *t, struct pool *p, uint16_t app,
		      void (*ready)(struct pool_ticket *, struct conn *, int))
{
	memset(t, 0, sizeof *t);
	list_init(&t->link);
	list_init(&t->mail.link);
	t->mail.deliver = deliver_grant;
	t->pool = p;
	t->app = app;
	t->ready = ready;
	net_timer_init(&t->retry, on_retry);
}

bool pool_cancel(struct pool_ticket *t)
{
	/* While it is queued other threads may change its state: the queue's lock decides. */
	if (t->queued) {
		t->queued = !queue_remove(app_of(t->pool, t->app), t);
		return !t->queued;
	}
	if (t->state == TICKET_RETRY) {
		net_timer_stop(t->pool->loop, &t->retry);
	} else if (t->state == TICKET_CONNECTING) {
		/* The connection is finished all the same: the next request can use it. */
		t->conn->ticket = NULL;
		atomic_fetch_sub(&backend_of(t->conn)->target->active, 1);
		t->conn = NULL;
	}
	if (t->state != TICKET_IDLE)
		ticket_set_state(t, TICKET_IDLE);
	return true;
}
