/* One generation's apps and backends: making and freeing, and what is asked and told from outside. */
#include "backend/pool_state.h"

#include "base/error.h"
#include "base/invariant.h"
#include "base/log.h"

#include <stdlib.h>

static int app_init(struct shared_app *app, struct pool_book *book, const struct pool_app_options *o)
{
	INVARIANT(o->backend_count >= 1 && o->backend_count <= POOL_BACKENDS_MAX);
	app->name = o->name;
	app->queue_max = o->queue;
	app->line = line_find(book, o->name);
	app->backends = calloc(o->backend_count, sizeof *app->backends);
	if (!app->line || !app->backends)
		return ERR_NO_MEMORY;
	for (; app->backend_count < o->backend_count; app->backend_count++) {
		struct shared_backend *b = &app->backends[app->backend_count];
		b->o = o->backends[app->backend_count];
		b->target = target_find(app->line, &b->o.address, b->o.scgi);
		if (!b->target)
			return ERR_NO_MEMORY;
	}
	return 0;
}

static void app_fini(struct shared_app *app)
{
	for (size_t i = 0; i < app->backend_count; i++)
		pool_target_unref(&app->backends[i].target);
	free(app->backends);
	line_unref(&app->line);
}

struct pool_shared *pool_shared_new(struct pool_book *book, const struct pool_app_options *apps, size_t app_count,
				    size_t workers)
{
	struct pool_shared *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	s->worker_count = workers;
	s->workers = calloc(workers, sizeof *s->workers);
	s->apps = calloc(app_count ? app_count : 1, sizeof *s->apps);
	if (!s->workers || !s->apps)
		goto fail;
	while (s->app_count < app_count) {
		size_t a = s->app_count++; /* also one that is made in part is freed */
		if (app_init(&s->apps[a], book, &apps[a]) != 0)
			goto fail;
	}
	return s;
fail:
	pool_shared_free(&s);
	return NULL;
}

void pool_shared_free(struct pool_shared **ss)
{
	struct pool_shared *s = *ss;

	if (!s)
		return;
	for (size_t a = 0; a < s->app_count; a++) {
		struct pool_line *line = s->apps[a].line;
		if (line && line->lead == s) /* no other thread has it any more */
			line->lead = NULL;
		app_fini(&s->apps[a]);
	}
	free(s->apps);
	free(s->workers);
	free(s);
	*ss = NULL;
}

static void lead(struct pool_line *line, struct pool_shared *to)
{
	pthread_mutex_lock(&line->lock);
	line->lead = to;
	pthread_mutex_unlock(&line->lock);
}

void pool_shared_lead(struct pool_shared *s, struct pool_shared *before)
{
	/* Apps that are not in `s` have nobody then: connections to their backends are not kept any more. */
	for (size_t a = 0; before && a < before->app_count; a++)
		lead(before->apps[a].line, NULL);
	for (size_t a = 0; a < s->app_count; a++) {
		struct shared_app *app = &s->apps[a];
		for (size_t i = 0; i < app->backend_count; i++)
			atomic_store(&app->backends[i].target->limit, app->backends[i].o.connections);
		lead(app->line, s);
		if (atomic_load(&app->line->waiting) > 0)
			queue_dispatch(app->line); /* there may be more slots now */
	}
}

/* --- from outside --- */

/* Idle connections that nobody may keep any more are closed by their workers. */
static void trim_all(struct pool_shared *s)
{
	for (size_t w = 0; w < s->worker_count; w++)
		pool_trim(s->workers[w]);
}

struct pool_target *pool_target_ref(const struct pool_shared *s, size_t app, size_t backend)
{
	struct pool_target *t = s->apps[app].backends[backend].target;

	t->users++;
	return t;
}

void pool_target_suspend(struct pool_target *t, bool suspended)
{
	atomic_store(&t->suspended, suspended);
	if (!suspended)
		queue_dispatch(t->line);
}

int pool_app_stop(struct pool_shared *s, size_t app, bool stopped)
{
	struct pool_line *line = s->apps[app].line;

	if (atomic_load(&line->stopped) == stopped)
		return ERR_BUSY;
	pthread_mutex_lock(&line->lock);
	atomic_store(&line->stopped, stopped);
	pthread_mutex_unlock(&line->lock);
	if (stopped) {
		log_event(LOG_INFO, "app_stopped", LOG_S("app", s->apps[app].name));
		queue_refuse(line);
		trim_all(s);
	} else {
		log_event(LOG_INFO, "app_runs", LOG_S("app", s->apps[app].name));
	}
	return 0;
}

bool pool_app_stopped(const struct pool_shared *s, size_t app)
{
	return atomic_load_explicit(&s->apps[app].line->stopped, memory_order_relaxed);
}

bool pool_app_busy(const struct pool_shared *s, size_t app)
{
	const struct pool_line *line = s->apps[app].line;

	if (atomic_load(&line->waiting) > 0)
		return true;
	LIST_EACH (node, &line->targets) {
		if (atomic_load(&CONTAINER_OF(node, struct pool_target, link)->active) > 0)
			return true;
	}
	return false;
}

int pool_backend_drain(struct pool_shared *s, size_t app, size_t backend, bool drained)
{
	struct shared_backend *b = &s->apps[app].backends[backend];

	if (atomic_exchange(&b->target->drained, drained) == drained)
		return ERR_BUSY;
	if (drained) {
		log_event(LOG_INFO, "backend_drained", LOG_S("app", s->apps[app].name), LOG_S("backend", b->o.name));
		queue_refuse(b->target->line);
		trim_all(s);
	} else {
		log_event(LOG_INFO, "backend_ready", LOG_S("app", s->apps[app].name), LOG_S("backend", b->o.name));
		queue_dispatch(b->target->line);
	}
	return 0;
}

void pool_app_stats(const struct pool_shared *s, size_t app, struct pool_app_stats *out)
{
	const struct pool_line *line = s->apps[app].line;

	*out = (struct pool_app_stats){
	    .waiting = atomic_load_explicit(&line->waiting, memory_order_relaxed),
	    .stopped = atomic_load_explicit(&line->stopped, memory_order_relaxed),
	};
}

void pool_backend_stats(const struct pool_shared *s, size_t app, size_t backend, struct pool_backend_stats *out)
{
	const struct shared_backend *b = &s->apps[app].backends[backend];
	const struct pool_target *t = b->target;

	*out = (struct pool_backend_stats){
	    .name = b->o.name,
	    .open = atomic_load(&t->open),
	    .active = atomic_load(&t->active),
	    .idle = atomic_load(&t->idle),
	    .requests = atomic_load_explicit(&b->requests, memory_order_relaxed),
	    .failures = atomic_load_explicit(&b->failures, memory_order_relaxed),
	    .down = atomic_load(&t->down),
	    .suspended = atomic_load(&t->suspended),
	    .drained = atomic_load(&t->drained),
	};
}
