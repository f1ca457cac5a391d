/* Backends from the configuration. */
#include "gateway/pools.h"

#include "gateway/applications.h"
#include "net/socket.h"

#include <stdlib.h>

/* *spawned is the next of the started applications. */
static struct pool_backend_options backend_options(const struct conf_backend *b, struct application *const **spawned)
{
	struct pool_backend_options o = {
	    .name = b->address.text,
	    .scgi = b->protocol == CONF_SCGI,
	    .keep_alive = b->keep_alive,
	    .connections = b->connections,
	    .weight = b->weight,
	    .idle_timeout_ms = b->idle_timeout_ms,
	    .connect_timeout_ms = b->connect_timeout_ms,
	    .health = {.fails = b->fails, .backoff_min_ms = b->backoff_min_ms, .backoff_max_ms = b->backoff_max_ms},
	};

	if (b->address.kind == CONF_SPAWN)
		o.address = *application_address(*(*spawned)++);
	else if (b->address.kind == CONF_UNIX)
		(void)net_address_unix(&o.address, b->address.path);
	else
		(void)net_address_tcp(&o.address, b->address.host, b->address.port);
	return o;
}

struct pool_shared *pools_new(struct pool_book *book, const struct conf *c, struct application *const *spawned,
			      size_t workers)
{
	struct pool_app_options *apps = calloc(c->app_count, sizeof *apps);
	struct pool_backend_options *backends = calloc(c->app_count * POOL_BACKENDS_MAX, sizeof *backends);
	struct pool_shared *s = NULL;

	for (size_t a = 0; apps && backends && a < c->app_count; a++) {
		const struct conf_app *app = &c->apps[a];
		struct pool_backend_options *of_app = backends + a * POOL_BACKENDS_MAX;
		for (size_t i = 0; i < app->backend_count; i++)
			of_app[i] = backend_options(&app->backends[i], &spawned);
		apps[a] = (struct pool_app_options){
		    .name = app->name,
		    .backends = of_app,
		    .backend_count = app->backend_count,
		    .queue = app->queue,
		};
	}
	if (apps && backends)
		s = pool_shared_new(book, apps, c->app_count, workers);
	free(backends);
	free(apps);
	return s;
}
