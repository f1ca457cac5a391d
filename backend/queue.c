/* What the workers share: slots, health, and the queue of an app. Every function may be called from any worker; the
 * lock of the app's line is held for the list and the health only, never while a callback runs. Those who wait may be
 * of several generations: each looks at the backends with the options of its own. */
#include "backend/pool_state.h"

#include "base/error.h"
#include "base/invariant.h"
#include "base/log.h"

/* A worker's own ticket may be served this much before an older one of another worker: its connection is warm. */
enum { QUEUE_LOCAL_LEAD_MS = 50 };

bool slot_reserve(struct pool_target *target)
{
	unsigned open = atomic_load(&target->open);

	while (open < atomic_load_explicit(&target->limit, memory_order_relaxed)) {
		if (atomic_compare_exchange_weak(&target->open, &open, open + 1))
			return true;
	}
	return false;
}

void slot_free(struct pool_target *target)
{
	unsigned was = atomic_fetch_sub(&target->open, 1);

	INVARIANT(was > 0);
	if (atomic_load(&target->line->waiting) > 0)
		queue_dispatch(target->line);
}

/* --- the queue --- */

static struct shared_app *app_of_ticket(const struct pool_ticket *t)
{
	return app_of(t->pool, t->app);
}

void ticket_set_state(struct pool_ticket *t, enum ticket_state state)
{
#define TO(state) (1u << TICKET_##state)
	static const unsigned allowed[] = {
	    [TICKET_IDLE] = TO(QUEUED) | TO(CONNECTING),
	    [TICKET_QUEUED] = TO(GRANTED) | TO(IDLE),
	    [TICKET_GRANTED] = TO(IDLE),
	    [TICKET_CONNECTING] = TO(RETRY) | TO(IDLE),
	    [TICKET_RETRY] = TO(IDLE),
	};
#undef TO
	struct pool_line *line = app_of_ticket(t)->line;

	INVARIANT(allowed[t->state] & (1u << state));
	if (t->state == TICKET_QUEUED) {
		list_remove(&t->link);
		atomic_fetch_sub(&line->waiting, 1);
	}
	t->state = (uint8_t)state;
	if (state != TICKET_QUEUED)
		return;
	if (t->again)
		list_prepend(&line->queue, &t->link);
	else
		list_append(&line->queue, &t->link);
	atomic_fetch_add(&line->waiting, 1);
}

static bool wants(const struct pool_ticket *t, size_t backend)
{
	return (t->tried >> backend & 1) == 0;
}

static bool drained(const struct shared_backend *b)
{
	return atomic_load_explicit(&b->target->drained, memory_order_relaxed);
}

int queue_vain(const struct shared_app *app, const struct pool_ticket *t)
{
	bool all_drained = true;

	if (atomic_load_explicit(&app->line->stopped, memory_order_relaxed))
		return ERR_STOPPED;
	for (size_t i = 0; i < app->backend_count; i++) {
		bool is_drained = drained(&app->backends[i]);
		if (wants(t, i) && !is_drained)
			return 0;
		all_drained = all_drained && is_drained;
	}
	return all_drained ? ERR_DRAINED : ERR_REFUSED;
}

int queue_push(struct shared_app *app, struct pool_ticket *t, bool again)
{
	pthread_mutex_lock(&app->line->lock);
	int err = queue_vain(app, t);
	if (!err && !again && atomic_load(&app->line->waiting) >= app->queue_max)
		err = ERR_FULL;
	if (!err) {
		t->again = again;
		ticket_set_state(t, TICKET_QUEUED);
	}
	pthread_mutex_unlock(&app->line->lock);
	return err;
}

bool queue_remove(struct shared_app *app, struct pool_ticket *t)
{
	bool queued;

	pthread_mutex_lock(&app->line->lock);
	queued = t->state == TICKET_QUEUED;
	if (queued)
		ticket_set_state(t, TICKET_IDLE);
	else
		t->cancelled = true;
	pthread_mutex_unlock(&app->line->lock);
	return queued;
}

/* With the lock held. The slot is reserved, or there is a connection to hand over. */
static void grant(struct pool_ticket *t, size_t backend)
{
	ticket_set_state(t, TICKET_GRANTED);
	t->backend = (uint16_t)backend;
	t->conn = NULL;
	t->refused = 0;
	atomic_fetch_add(&app_of_ticket(t)->backends[backend].target->active, 1);
}

static void post_all(struct list *tickets)
{
	struct list *node;

	while ((node = list_pop(tickets))) {
		struct pool_ticket *t = CONTAINER_OF(node, struct pool_ticket, link);
		net_loop_post(t->pool->loop, &t->mail);
	}
}

void queue_refuse(struct pool_line *line)
{
	struct list refused;

	list_init(&refused);
	pthread_mutex_lock(&line->lock);
	LIST_EACH (node, &line->queue) {
		struct pool_ticket *t = CONTAINER_OF(node, struct pool_ticket, link);
		int why = queue_vain(app_of_ticket(t), t);
		if (!why)
			continue;
		ticket_set_state(t, TICKET_GRANTED);
		t->refused = why;
		list_append(&refused, &t->link);
	}
	pthread_mutex_unlock(&line->lock);
	post_all(&refused);
}

/* --- who gets what is free --- */

/* Whether what becomes free at the backend should go to the ticket: not while it is down and another one is worth
 * waiting for. */
static bool may_use(const struct shared_app *app, const struct pool_ticket *t, size_t backend)
{
	const struct pool_target *b = app->backends[backend].target;

	return wants(t, backend) && !atomic_load(&b->suspended) && !atomic_load(&b->drained) &&
	       !(atomic_load(&b->down) && health_hope(app, t));
}

/* Which backend of the ticket's generation that is; one that is not in it: negative. */
static int index_of(const struct shared_app *app, const struct pool_target *target)
{
	for (size_t i = 0; i < app->backend_count; i++) {
		if (app->backends[i].target == target)
			return (int)i;
	}
	return -1;
}

/* With the lock held: the ticket's backend that the target is, if a slot of it may pass on to the ticket. */
static int may_take(const struct pool_ticket *t, const struct pool_target *target)
{
	const struct shared_app *app = app_of_ticket(t);
	int i = index_of(app, target);

	return i >= 0 && may_use(app, t, (size_t)i) ? i : -1;
}

/* With the lock held: the oldest that can use the backend, but one of `p` where it is hardly younger. */
static struct pool_ticket *choose(const struct pool_target *target, const struct pool *p, int *backend)
{
	struct pool_ticket *oldest = NULL;

	LIST_EACH (node, &target->line->queue) {
		struct pool_ticket *t = CONTAINER_OF(node, struct pool_ticket, link);
		int i = may_take(t, target);
		if (i < 0)
			continue;
		if (oldest && instant_since_ms(t->since, oldest->since) > QUEUE_LOCAL_LEAD_MS)
			break;
		if (!oldest || t->pool == p) {
			oldest = t;
			*backend = i;
		}
		if (t->pool == p)
			break;
	}
	return oldest;
}

struct pool_ticket *queue_pop(const struct pool *p, uint16_t app, uint16_t backend)
{
	const struct pool_target *target = app_of(p, app)->backends[backend].target;
	int i = 0;

	if (atomic_load(&target->line->waiting) == 0 || target_surplus(target))
		return NULL;
	pthread_mutex_lock(&target->line->lock);
	struct pool_ticket *t = choose(target, p, &i);
	if (t)
		grant(t, (size_t)i);
	pthread_mutex_unlock(&target->line->lock);
	return t;
}

bool health_hope(const struct shared_app *app, const struct pool_ticket *t)
{
	for (size_t i = 0; i < app->backend_count; i++) {
		const struct shared_backend *b = &app->backends[i];
		if (wants(t, i) && !drained(b) && !atomic_load_explicit(&b->target->down, memory_order_relaxed))
			return true;
	}
	return false;
}

/* With the lock held: a backend that is down and due for a trial, with a slot reserved. Those who arrive while others
 * wait go behind them: without this no trial would run as long as there is a queue. */
static int reserve_trial(struct shared_app *app, const struct pool_ticket *t, struct instant now)
{
	for (size_t i = 0; i < app->backend_count; i++) {
		struct pool_target *b = app->backends[i].target;
		if (!wants(t, i) || atomic_load(&b->suspended) || atomic_load(&b->drained) ||
		    !policy_down(&b->health) || instant_before(now, b->health.retry_at))
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
		c[i].active = atomic_load(&b->target->active);
		c[i].usable = may_use(app, t, i);
	}
	while ((best = policy_pick(c, app->backend_count, 0)) != POLICY_NONE &&
	       !slot_reserve(app->backends[best].target))
		c[best].usable = false;
	return best;
}

/* Whether a kept connection holds a slot that the ticket could use. */
static bool wants_idle(const struct shared_app *app, const struct pool_ticket *t)
{
	for (size_t i = 0; i < app->backend_count; i++) {
		if (may_use(app, t, i) && atomic_load(&app->backends[i].target->idle) > 0)
			return true;
	}
	return false;
}

void queue_dispatch(struct pool_line *line)
{
	struct list granted;
	bool idle_wanted = false;
	struct instant now = clock_now();

	list_init(&granted);
	pthread_mutex_lock(&line->lock);
	LIST_EACH (waiting, &line->queue) {
		struct pool_ticket *t = CONTAINER_OF(waiting, struct pool_ticket, link);
		struct shared_app *app = app_of_ticket(t);
		int backend = reserve_for(app, t, now);
		if (backend < 0) {
			idle_wanted = idle_wanted || wants_idle(app, t);
			continue;
		}
		grant(t, (size_t)backend);
		list_append(&granted, &t->link);
	}
	struct pool_shared *lead = line->lead;
	pthread_mutex_unlock(&line->lock);
	post_all(&granted);
	/* All workers look through theirs. They have those pools until they have heard that the lead has changed. */
	for (size_t w = 0; idle_wanted && lead && w < lead->worker_count; w++)
		pool_trim(lead->workers[w]);
}

/* --- health --- */

void health_failed(struct shared_app *app, struct shared_backend *b, struct instant now)
{
	struct pool_target *t = b->target;

	atomic_fetch_add_explicit(&b->failures, 1, memory_order_relaxed);
	pthread_mutex_lock(&t->line->lock);
	bool down = policy_failed(&t->health, &b->o.health, now);
	uint64_t wait = t->health.backoff_ms;
	atomic_store(&t->unwell, true);
	atomic_store(&t->down, policy_down(&t->health));
	pthread_mutex_unlock(&t->line->lock);
	if (down)
		log_event(LOG_WARN, "backend_down", LOG_S("app", app->name), LOG_S("backend", b->o.name),
			  LOG_I("retry_ms", wait));
}

void health_succeeded(struct shared_app *app, struct shared_backend *b)
{
	struct pool_target *t = b->target;

	if (!atomic_load_explicit(&t->unwell, memory_order_relaxed))
		return;
	pthread_mutex_lock(&t->line->lock);
	bool up = policy_succeeded(&t->health);
	atomic_store(&t->unwell, false);
	atomic_store(&t->down, false);
	pthread_mutex_unlock(&t->line->lock);
	if (up)
		log_event(LOG_INFO, "backend_up", LOG_S("app", app->name), LOG_S("backend", b->o.name));
}

enum policy_admission health_admit(struct shared_backend *b, struct instant now)
{
	struct pool_target *t = b->target;

	if (!atomic_load_explicit(&t->unwell, memory_order_relaxed))
		return POLICY_ADMITTED;
	pthread_mutex_lock(&t->line->lock);
	enum policy_admission admission = policy_admit(&t->health, now);
	pthread_mutex_unlock(&t->line->lock);
	return admission;
}
