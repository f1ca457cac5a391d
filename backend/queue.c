/* What the workers share: slots, health, and the queue of an app. Every function may be called from any worker; the
 * app's lock is held for the list and the health only, never while a callback runs. */
#include "backend/pool_state.h"

#include "base/error.h"
#include "base/invariant.h"
#include "base/log.h"

/* A worker's own ticket may be served this much before an older one of another worker: its connection is warm. */
enum { QUEUE_LOCAL_LEAD_MS = 50 };

bool slot_reserve(struct shared_backend *b)
{
	unsigned open = atomic_load(&b->open);

	while (open < b->o.connections) {
		if (atomic_compare_exchange_weak(&b->open, &open, open + 1))
			return true;
	}
	return false;
}

void slot_free(struct pool_shared *s, struct shared_app *app, struct shared_backend *b)
{
	unsigned was = atomic_fetch_sub(&b->open, 1);

	INVARIANT(was > 0);
	if (atomic_load(&app->waiting) > 0)
		queue_dispatch(s, app);
}

int queue_push(struct shared_app *app, struct pool_ticket *t, bool again)
{
	int err = 0;

	pthread_mutex_lock(&app->lock);
	if (again) {
		list_prepend(&app->queue, &t->link);
	} else if (atomic_load(&app->waiting) >= app->queue_max) {
		err = ERR_FULL;
	} else {
		list_append(&app->queue, &t->link);
	}
	if (!err) {
		t->state = TICKET_QUEUED;
		atomic_fetch_add(&app->waiting, 1);
	}
	pthread_mutex_unlock(&app->lock);
	return err;
}

/* With the lock held. */
static void grant(struct shared_app *app, struct pool_ticket *t, uint16_t backend)
{
	list_remove(&t->link);
	atomic_fetch_sub(&app->waiting, 1);
	t->state = TICKET_GRANTED;
	t->backend = backend;
	t->conn = NULL;
}

static bool wants(const struct pool_ticket *t, uint16_t backend)
{
	return (t->tried & (UINT64_C(1) << backend)) == 0;
}

/* Whether what becomes free at the backend should go to the ticket: not while it is down and another one is worth
 * waiting for. */
static bool may_use(const struct shared_app *app, const struct pool_ticket *t, size_t backend)
{
	const struct shared_backend *b = &app->backends[backend];

	return wants(t, (uint16_t)backend) && !atomic_load(&b->suspended) &&
	       !(atomic_load(&b->down) && health_hope(app, t));
}

/* With the lock held: the oldest that can use the backend, but one of `p` where it is hardly younger. */
static struct pool_ticket *choose(struct shared_app *app, const struct pool *p, uint16_t backend)
{
	struct pool_ticket *oldest = NULL;

	LIST_EACH (node, &app->queue) {
		struct pool_ticket *t = CONTAINER_OF(node, struct pool_ticket, link);
		if (!may_use(app, t, backend))
			continue;
		if (!oldest)
			oldest = t;
		if (instant_since_ms(t->since, oldest->since) > QUEUE_LOCAL_LEAD_MS)
			break;
		if (t->pool == p)
			return t;
	}
	return oldest;
}

struct pool_ticket *queue_pop(struct shared_app *app, const struct pool *p, uint16_t backend)
{
	struct pool_ticket *t;

	if (atomic_load(&app->waiting) == 0)
		return NULL;
	pthread_mutex_lock(&app->lock);
	t = choose(app, p, backend);
	if (t)
		grant(app, t, backend);
	pthread_mutex_unlock(&app->lock);
	return t;
}

bool queue_remove(struct shared_app *app, struct pool_ticket *t)
{
	bool queued;

	pthread_mutex_lock(&app->lock);
	queued = t->state == TICKET_QUEUED;
	if (queued) {
		list_remove(&t->link);
		atomic_fetch_sub(&app->waiting, 1);
		t->state = TICKET_IDLE;
	} else {
		t->cancelled = true;
	}
	pthread_mutex_unlock(&app->lock);
	return queued;
}

bool health_hope(const struct shared_app *app, const struct pool_ticket *t)
{
	for (size_t i = 0; i < app->backend_count; i++) {
		if (wants(t, (uint16_t)i) && !atomic_load_explicit(&app->backends[i].down, memory_order_relaxed))
			return true;
	}
	return false;
}

/* With the lock held: a backend that is down and due for a trial, with a slot reserved. Those who arrive while others
 * wait go behind them: without this no trial would run as long as there is a queue. */
static int reserve_trial(struct shared_app *app, const struct pool_ticket *t, struct instant now)
{
	for (size_t i = 0; i < app->backend_count; i++) {
		struct shared_backend *b = &app->backends[i];
		if (!wants(t, (uint16_t)i) || atomic_load(&b->suspended) || !policy_down(&b->health) ||
		    instant_before(now, b->health.retry_at))
			continue;
		if (slot_reserve(b)) {
			(void)policy_admit(&b->health, now);
			return (int)i;
		}
	}
	return POLICY_NONE;
}

/* With the lock held: a backend with a free slot for the ticket, reserved. One that is down only for its trial, or when
 * all are. */
static int reserve_for(struct shared_app *app, const struct pool_ticket *t, struct instant now)
{
	struct policy_candidate c[POOL_BACKENDS_MAX];
	int best = reserve_trial(app, t, now);

	if (best != POLICY_NONE)
		return best;

	for (size_t i = 0; i < app->backend_count; i++) {
		struct shared_backend *b = &app->backends[i];
		c[i].weight = b->o.weight;
		c[i].active = atomic_load(&b->active);
		c[i].usable = may_use(app, t, i);
	}
	while ((best = policy_pick(c, app->backend_count, 0)) != POLICY_NONE && !slot_reserve(&app->backends[best]))
		c[best].usable = false;
	return best;
}

/* Idle connections of the backends in `wanted` hold slots that somebody waits for: all workers look through theirs. */
static void ask_for_idle(struct pool_shared *s, struct shared_app *app, uint64_t wanted)
{
	bool some = false;

	for (size_t i = 0; i < app->backend_count; i++)
		some = some || ((wanted >> i & 1) && atomic_load(&app->backends[i].idle) > 0);
	if (!some)
		return;
	for (size_t w = 0; w < s->worker_count; w++) {
		struct pool *p = s->workers[w];
		if (!atomic_exchange(&p->trim_posted, true))
			net_loop_post(p->loop, &p->trim);
	}
}

void queue_dispatch(struct pool_shared *s, struct shared_app *app)
{
	struct list granted;
	struct list *node;
	uint64_t wanted = 0;
	struct instant now = clock_now();

	list_init(&granted);
	pthread_mutex_lock(&app->lock);
	LIST_EACH (waiting, &app->queue) {
		struct pool_ticket *t = CONTAINER_OF(waiting, struct pool_ticket, link);
		int backend = reserve_for(app, t, now);
		if (backend < 0) {
			for (size_t i = 0; i < app->backend_count; i++)
				wanted |= (uint64_t)may_use(app, t, i) << i;
			continue;
		}
		grant(app, t, (uint16_t)backend);
		list_append(&granted, &t->link);
	}
	pthread_mutex_unlock(&app->lock);
	while ((node = list_pop(&granted))) {
		struct pool_ticket *t = CONTAINER_OF(node, struct pool_ticket, link);
		atomic_fetch_add(&app->backends[t->backend].active, 1);
		net_loop_post(t->pool->loop, &t->mail);
	}
	if (wanted)
		ask_for_idle(s, app, wanted);
}

void health_failed(struct shared_app *app, struct shared_backend *b, struct instant now)
{
	pthread_mutex_lock(&app->lock);
	bool down = policy_failed(&b->health, &b->o.health, now);
	uint64_t wait = b->health.backoff_ms;
	atomic_store(&b->unwell, true);
	atomic_store(&b->down, policy_down(&b->health));
	pthread_mutex_unlock(&app->lock);
	if (down)
		log_event(LOG_WARN, "backend_down", LOG_S("app", app->name), LOG_S("backend", b->o.name),
			  LOG_I("retry_ms", wait));
}

void health_succeeded(struct shared_app *app, struct shared_backend *b)
{
	if (!atomic_load_explicit(&b->unwell, memory_order_relaxed))
		return;
	pthread_mutex_lock(&app->lock);
	bool up = policy_succeeded(&b->health);
	atomic_store(&b->unwell, false);
	atomic_store(&b->down, false);
	pthread_mutex_unlock(&app->lock);
	if (up)
		log_event(LOG_INFO, "backend_up", LOG_S("app", app->name), LOG_S("backend", b->o.name));
}

enum policy_admission health_admit(struct shared_app *app, struct shared_backend *b, struct instant now)
{
	if (!atomic_load_explicit(&b->unwell, memory_order_relaxed))
		return POLICY_ADMITTED;
	pthread_mutex_lock(&app->lock);
	enum policy_admission admission = policy_admit(&b->health, now);
	pthread_mutex_unlock(&app->lock);
	return admission;
}
