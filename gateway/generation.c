/* Generations: putting one together, and taking it apart. Main thread, but for the looks. */
#include "gateway/generation.h"

#include "base/error.h"
#include "gateway/applications.h"
#include "gateway/listener.h"
#include "gateway/pools.h"
#include "gateway/sessions.h"

#include <stdlib.h>

struct generation *generation_new(struct conf *conf, uint64_t number)
{
	struct generation *gen = calloc(1, sizeof *gen);

	if (!gen) {
		conf_free(&conf);
		return NULL;
	}
	gen->conf = conf;
	gen->number = number;
	list_init(&gen->link);
	return gen;
}

static int make_shares(struct generation *gen, struct gateway *g)
{
	gen->shares = calloc(g->worker_count, sizeof *gen->shares);
	if (!gen->shares)
		return ERR_NO_MEMORY;
	for (unsigned i = 0; i < g->worker_count; i++) {
		struct generation_share *s = &gen->shares[gen->share_count++];
		s->generation = gen;
		s->worker = &g->workers[i];
		list_init(&s->link);
		list_init(&s->mail.link);
		s->pool = pool_new(gen->pools, &s->worker->loop, i);
		if (!s->pool)
			return ERR_NO_MEMORY;
	}
	return 0;
}

int generation_fill(struct generation *gen, struct gateway *g, struct pool_book *book)
{
	gen->stack_apps = sessions_apps(g, gen->conf);
	gen->pools = pools_new(book, gen->conf, gen->applications, g->worker_count);
	if (!gen->stack_apps || !gen->pools)
		return ERR_NO_MEMORY;
	return make_shares(gen, g);
}

void generation_free(struct generation **gens)
{
	struct generation *gen = *gens;

	*gens = NULL;
	if (!gen)
		return;
	struct conf *conf = (struct conf *)gen->conf;
	for (unsigned i = 0; i < gen->share_count; i++)
		pool_free(&gen->shares[i].pool);
	pool_shared_free(&gen->pools);
	for (size_t i = 0; i < gen->application_count; i++)
		application_unref(&gen->applications[i]);
	for (size_t i = 0; gen->listeners && i < conf->listen_count; i++)
		listener_unref(&gen->listeners[i]);
	free(gen->shares);
	free(gen->applications);
	free(gen->listeners);
	free(gen->stack_apps);
	list_remove(&gen->link);
	conf_free(&conf);
	free(gen);
}

const struct conf_listen *generation_listen(const struct generation *gen, const struct listener *l)
{
	for (size_t i = 0; i < gen->conf->listen_count; i++) {
		if (gen->listeners[i] == l)
			return &gen->conf->listens[i];
	}
	return NULL;
}

/* --- looks --- */

void generation_app(const struct generation *g, size_t app, struct generation_app *out)
{
	static const char *const modes[] = {
	    [CONF_SESSION_NONE] = "none",
	    [CONF_SESSION_MANAGED] = "managed",
	    [CONF_SESSION_ADOPTED] = "adopted",
	};
	const struct conf_app *a = &g->conf->apps[app];
	struct pool_app_stats s;

	pool_app_stats(g->pools, app, &s);
	*out = (struct generation_app){
	    .name = a->name,
	    .sessions = modes[a->session.mode],
	    .stack_app = g->stack_apps[app],
	    .waiting = s.waiting,
	    .queue = a->queue,
	    .stopped = s.stopped,
	    .backends = a->backend_count,
	};
}

void generation_backend(const struct generation *g, size_t app, size_t backend, struct generation_backend *out)
{
	const struct conf_backend *b = &g->conf->apps[app].backends[backend];
	struct pool_backend_stats s;

	pool_backend_stats(g->pools, app, backend, &s);
	*out = (struct generation_backend){
	    .app = g->conf->apps[app].name,
	    .name = s.name,
	    .protocol = b->protocol == CONF_SCGI ? "scgi" : "fastcgi",
	    .open = s.open,
	    .active = s.active,
	    .idle = s.idle,
	    .connections = b->connections,
	    .weight = b->weight,
	    .requests = s.requests,
	    .failures = s.failures,
	    .down = s.down,
	    .suspended = s.suspended,
	    .drained = s.drained,
	};
}
