/* Making and freeing what the workers' pools share. */
#include "backend/pool_state.h"

#include "base/error.h"
#include "base/invariant.h"

#include <stdlib.h>

static int app_init(struct shared_app *app, const struct pool_app_options *o)
{
	INVARIANT(o->backend_count >= 1 && o->backend_count <= POOL_BACKENDS_MAX);
	app->name = o->name;
	app->queue_max = o->queue;
	app->backend_count = o->backend_count;
	list_init(&app->queue);
	pthread_mutex_init(&app->lock, NULL);
	app->backends = calloc(o->backend_count, sizeof *app->backends);
	if (!app->backends)
		return ERR_NO_MEMORY;
	for (size_t i = 0; i < o->backend_count; i++)
		app->backends[i].o = o->backends[i];
	return 0;
}

struct pool_shared *pool_shared_new(const struct pool_app_options *apps, size_t app_count, size_t workers)
{
	struct pool_shared *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	s->worker_count = workers;
	s->workers = calloc(workers, sizeof *s->workers);
	s->apps = calloc(app_count ? app_count : 1, sizeof *s->apps);
	if (!s->workers || !s->apps)
		goto fail;
	for (; s->app_count < app_count; s->app_count++) {
		if (app_init(&s->apps[s->app_count], &apps[s->app_count]) != 0)
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
	for (size_t a = 0; s->apps && a < s->app_count; a++) {
		pthread_mutex_destroy(&s->apps[a].lock);
		free(s->apps[a].backends);
	}
	free(s->apps);
	free(s->workers);
	free(s);
	*ss = NULL;
}

void pool_backend_suspend(struct pool_shared *s, size_t app, size_t backend, bool suspended)
{
	atomic_store(&s->apps[app].backends[backend].suspended, suspended);
	if (!suspended)
		queue_dispatch(s, &s->apps[app]);
}

void pool_backend_stats(const struct pool_shared *s, size_t app, size_t backend, struct pool_backend_stats *out)
{
	struct shared_backend *b = &s->apps[app].backends[backend];

	pthread_mutex_lock(&s->apps[app].lock);
	*out = (struct pool_backend_stats){
	    .name = b->o.name,
	    .open = atomic_load(&b->open),
	    .active = atomic_load(&b->active),
	    .idle = atomic_load(&b->idle),
	    .down = policy_down(&b->health),
	};
	pthread_mutex_unlock(&s->apps[app].lock);
}
