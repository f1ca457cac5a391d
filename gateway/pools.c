/* Backends from the configuration. */
#include "gateway/pools.h"

#include "backend/spawn.h"
#include "base/error.h"
#include "net/socket.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SPAWN_BACKLOG = 1024 };

struct application {
	const struct conf_app *app;         /* borrowed */
	const struct conf_backend *backend; /* borrowed */
	struct net_address address;
	size_t app_index;
	struct pool_target *target; /* counted; NULL: not started */
	int fd;                     /* owned; -1: not open */
	struct spawn *spawn;        /* owned; NULL: not started */
};

struct applications {
	struct application *at; /* owned */
	size_t count;
	size_t running;
	void (*stopped)(void *arg);
	void *stopped_arg;
};

static size_t count_spawns(const struct conf *c)
{
	size_t n = 0;

	for (size_t a = 0; a < c->app_count; a++) {
		for (size_t i = 0; i < c->apps[a].backend_count; i++)
			n += c->apps[a].backends[i].address.kind == CONF_SPAWN;
	}
	return n;
}

static int open_one(struct application *p, const char *run_dir, size_t index, uid_t uid, gid_t gid, char *why,
		    size_t why_len)
{
	struct net_unix_access access = {.mode = 0600, .uid = uid, .gid = gid};
	char path[512];

	snprintf(path, sizeof path, "%s/%s-%zu.sock", run_dir, p->app->name, index);
	if (!net_address_unix(&p->address, path)) {
		snprintf(why, why_len, "node.run-dir: \"%s\": too long for a socket's path", path);
		return ERR_CONFIG;
	}
	int err = net_listen(&p->address, SPAWN_BACKLOG, &access, &p->fd);
	if (err)
		snprintf(why, why_len, "%s: %s", path,
			 err == ERR_BUSY ? "another process listens there" : strerror(errno));
	return err;
}

int applications_new(struct applications **out, const struct conf *c, uid_t uid, gid_t gid, char *why, size_t why_len)
{
	struct applications *as = calloc(1, sizeof *as);
	size_t n = count_spawns(c);

	if (!as)
		return ERR_NO_MEMORY;
	*out = as;
	as->at = calloc(n ? n : 1, sizeof *as->at);
	if (!as->at)
		return ERR_NO_MEMORY;
	for (size_t a = 0; a < c->app_count; a++) {
		for (size_t i = 0; i < c->apps[a].backend_count; i++) {
			const struct conf_backend *b = &c->apps[a].backends[i];
			if (b->address.kind != CONF_SPAWN)
				continue;
			struct application *p = &as->at[as->count++];
			*p = (struct application){.app = &c->apps[a], .backend = b, .app_index = a, .fd = -1};
			int err = open_one(p, c->run_dir, i, uid, gid, why, why_len);
			if (err)
				return err;
		}
	}
	return 0;
}

static void application_alive(void *arg, bool alive)
{
	const struct application *p = arg;

	pool_target_suspend(p->target, !alive);
}

int applications_start(struct applications *as, struct net_loop *loop, struct pool_shared *pools)
{
	for (size_t i = 0; i < as->count; i++) {
		struct application *p = &as->at[i];
		p->target = pool_target_ref(pools, p->app_index, (size_t)(p->backend - p->app->backends));
		pool_target_suspend(p->target, true);
		struct spawn_options o = {
		    .app = p->app->name,
		    .name = p->backend->address.text,
		    .argv = p->backend->address.argv,
		    .listen_fd = p->fd,
		    .processes = p->backend->processes,
		    .stop_timeout_ms = p->backend->stop_timeout_ms,
		    .backoff_min_ms = p->backend->backoff_min_ms,
		    .backoff_max_ms = p->backend->backoff_max_ms,
		    .alive = application_alive,
		    .alive_arg = p,
		};
		p->spawn = spawn_new(loop, &o);
		if (!p->spawn)
			return ERR_NO_MEMORY;
	}
	return 0;
}

void applications_reaped(struct applications *as, int pid, int status)
{
	for (size_t i = 0; i < as->count; i++) {
		if (as->at[i].spawn && spawn_reaped(as->at[i].spawn, pid, status))
			return;
	}
}

static void one_stopped(void *arg)
{
	struct applications *as = arg;

	if (--as->running == 0)
		as->stopped(as->stopped_arg);
}

void applications_stop(struct applications *as, void (*stopped)(void *), void *arg)
{
	as->stopped = stopped;
	as->stopped_arg = arg;
	as->running = as->count + 1;
	for (size_t i = 0; i < as->count; i++) {
		if (as->at[i].spawn)
			spawn_stop(as->at[i].spawn, one_stopped, as);
		else
			one_stopped(as); /* its start failed */
	}
	one_stopped(as);
}

void applications_free(struct applications **ass)
{
	struct applications *as = *ass;

	if (!as)
		return;
	for (size_t i = 0; i < as->count; i++) {
		struct application *p = &as->at[i];
		if (p->fd >= 0) {
			unlink(p->address.path);
			close(p->fd);
		}
		spawn_free(&p->spawn);
		pool_target_unref(&p->target);
	}
	free(as->at);
	free(as);
	*ass = NULL;
}

static const struct net_address *spawned_address(const struct applications *as, const struct conf_backend *b)
{
	for (size_t i = 0; i < as->count; i++) {
		if (as->at[i].backend == b)
			return &as->at[i].address;
	}
	return NULL;
}

static struct pool_backend_options backend_options(const struct conf_backend *b, const struct applications *as)
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
		o.address = *spawned_address(as, b);
	else if (b->address.kind == CONF_UNIX)
		(void)net_address_unix(&o.address, b->address.path);
	else
		(void)net_address_tcp(&o.address, b->address.host, b->address.port);
	return o;
}

struct pool_shared *pools_new(struct pool_book *book, const struct conf *c, const struct applications *as)
{
	struct pool_app_options *apps = calloc(c->app_count, sizeof *apps);
	struct pool_backend_options *backends = calloc(c->app_count * POOL_BACKENDS_MAX, sizeof *backends);
	struct pool_shared *s = NULL;

	for (size_t a = 0; apps && backends && a < c->app_count; a++) {
		const struct conf_app *app = &c->apps[a];
		struct pool_backend_options *of_app = backends + a * POOL_BACKENDS_MAX;
		for (size_t i = 0; i < app->backend_count; i++)
			of_app[i] = backend_options(&app->backends[i], as);
		apps[a] = (struct pool_app_options){
		    .name = app->name,
		    .backends = of_app,
		    .backend_count = app->backend_count,
		    .queue = app->queue,
		};
	}
	if (apps && backends)
		s = pool_shared_new(book, apps, c->app_count, c->workers);
	free(backends);
	free(apps);
	return s;
}
