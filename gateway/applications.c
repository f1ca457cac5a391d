/* Started applications, over all generations. */
#include "gateway/applications.h"

#include "backend/spawn.h"
#include "base/error.h"
#include "base/invariant.h"
#include "base/log.h"
#include "net/socket.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SPAWN_BACKLOG = 1024 };

enum application_state { APPLICATION_DOWN, APPLICATION_UP, APPLICATION_ENDING };

struct application {
	struct list link;         /* in set->all */
	struct applications *set; /* borrowed */
	unsigned users;           /* generations */
	enum application_state state;
	bool held;             /* its app is stopped by an operator: it stays DOWN */
	char *app;             /* owned */
	struct conf_backend o; /* the address is owned, of the rest only what spawn_options has counts */
	struct net_address address;
	int fd;                     /* owned; -1: not open */
	struct pool_target *target; /* counted; NULL: never started */
	struct spawn *spawn;        /* owned; while not DOWN */
};

struct applications {
	struct net_loop *loop; /* borrowed */
	struct list all;
	uid_t uid;
	gid_t gid;
	bool ending;                /* applications_stop() was called */
	void (*stopped)(void *arg); /* and this is to be told; once */
	void *stopped_arg;
};

struct applications *applications_new(struct net_loop *loop, uid_t uid, gid_t gid)
{
	struct applications *as = calloc(1, sizeof *as);

	if (!as)
		return NULL;
	as->loop = loop;
	as->uid = uid;
	as->gid = gid;
	list_init(&as->all);
	return as;
}

void applications_free(struct applications **ass)
{
	struct applications *as = *ass;

	*ass = NULL;
	if (!as)
		return;
	INVARIANT(list_empty(&as->all));
	free(as);
}

/* --- one application --- */

static void application_free(struct application *p)
{
	INVARIANT(!p->spawn);
	if (p->fd >= 0) {
		unlink(p->address.path);
		close(p->fd);
	}
	pool_target_unref(&p->target);
	list_remove(&p->link);
	conf_address_fini(&p->o.address);
	free(p->app);
	free(p);
}

static void application_alive(void *arg, bool alive)
{
	pool_target_suspend(((struct application *)arg)->target, !alive);
}

static int application_up(struct application *p)
{
	struct spawn_options o = {
	    .app = p->app,
	    .name = p->o.address.text,
	    .argv = p->o.address.argv,
	    .listen_fd = p->fd,
	    .processes = p->o.processes,
	    .stop_timeout_ms = p->o.stop_timeout_ms,
	    .backoff_min_ms = p->o.backoff_min_ms,
	    .backoff_max_ms = p->o.backoff_max_ms,
	    .alive = application_alive,
	    .alive_arg = p,
	};

	INVARIANT(p->state == APPLICATION_DOWN);
	p->spawn = spawn_new(p->set->loop, &o);
	if (!p->spawn)
		return ERR_NO_MEMORY;
	p->state = APPLICATION_UP;
	return 0;
}

/* Whether all is down, and somebody waits for that. */
static void look_stopped(struct applications *as)
{
	LIST_EACH (node, &as->all) {
		if (CONTAINER_OF(node, struct application, link)->state != APPLICATION_DOWN)
			return;
	}
	void (*stopped)(void *) = as->stopped;
	as->stopped = NULL;
	if (stopped)
		stopped(as->stopped_arg);
}

/* What is to become of one that is down. */
static void application_down(struct application *p)
{
	struct applications *as = p->set;

	if (p->users == 0)
		application_free(p);
	else if (!p->held && !as->ending && application_up(p) != 0)
		log_event(LOG_ERROR, "app_start_failed", LOG_S("app", p->app), LOG_S("backend", p->o.address.text),
			  LOG_S("reason", error_text(ERR_NO_MEMORY)));
}

static void application_ended(void *arg)
{
	struct application *p = arg;
	struct applications *as = p->set;

	spawn_free(&p->spawn);
	p->state = APPLICATION_DOWN;
	application_down(p);
	look_stopped(as);
}

static void application_end(struct application *p)
{
	if (p->state != APPLICATION_UP)
		return;
	p->state = APPLICATION_ENDING;
	spawn_stop(p->spawn, application_ended, p);
}

void application_unref(struct application **ps)
{
	struct application *p = *ps;

	*ps = NULL;
	if (!p || --p->users > 0)
		return;
	if (p->state == APPLICATION_DOWN)
		application_free(p);
	else
		application_end(p);
}

const struct net_address *application_address(const struct application *p)
{
	return &p->address;
}

/* --- finding and making --- */

static bool is_same(const struct application *p, const char *app, const struct conf_backend *b)
{
	return strcmp(p->app, app) == 0 && strcmp(p->o.address.text, b->address.text) == 0 &&
	       p->o.protocol == b->protocol && p->o.processes == b->processes &&
	       p->o.stop_timeout_ms == b->stop_timeout_ms && p->o.backoff_min_ms == b->backoff_min_ms &&
	       p->o.backoff_max_ms == b->backoff_max_ms;
}

/* One that ends because nobody has it any more is not taken up again. */
static struct application *find(struct applications *as, const char *app, const struct conf_backend *b)
{
	LIST_EACH (node, &as->all) {
		struct application *p = CONTAINER_OF(node, struct application, link);
		if (p->users > 0 && is_same(p, app, b))
			return p;
	}
	return NULL;
}

static struct application *make(struct applications *as, const char *app, const struct conf_backend *b)
{
	struct application *p = calloc(1, sizeof *p);

	if (!p)
		return NULL;
	p->set = as;
	p->fd = -1;
	p->o = *b;
	p->o.address = (struct conf_address){.kind = CONF_SPAWN};
	p->app = strdup(app);
	list_init(&p->link);
	if (!p->app || !conf_parse_address(b->address.text, true, &p->o.address)) {
		application_free(p);
		return NULL;
	}
	list_append(&as->all, &p->link);
	return p;
}

static bool path_is_taken(const struct applications *as, const char *path)
{
	LIST_EACH (node, &as->all) {
		const struct application *p = CONTAINER_OF(node, struct application, link);
		if (p->fd >= 0 && strcmp(p->address.path, path) == 0)
			return true;
	}
	return false;
}

static int open_socket(struct application *p, const char *run_dir, size_t index, struct buf *report)
{
	struct net_unix_access access = {.mode = 0600, .uid = p->set->uid, .gid = p->set->gid};
	char path[512], why[640] = "";

	snprintf(path, sizeof path, "%s/%s-%zu.sock", run_dir, p->app, index);
	for (unsigned k = 1; path_is_taken(p->set, path); k++) /* no name of an app has a '+' */
		snprintf(path, sizeof path, "%s/%s-%zu+%u.sock", run_dir, p->app, index, k);
	int err = net_address_unix(&p->address, path) ? 0 : ERR_CONFIG;
	if (err) {
		snprintf(why, sizeof why, "node.run-dir: \"%s\": too long for a socket's path\n", path);
	} else {
		err = net_listen(&p->address, SPAWN_BACKLOG, &access, &p->fd);
		if (err)
			snprintf(why, sizeof why, "%s: %s\n", path,
				 err == ERR_BUSY ? "another process listens there" : strerror(errno));
	}
	buf_put_str(report, why);
	return err;
}

static int find_or_make(struct applications *as, struct generation *gen, const struct conf_app *app, size_t i,
			struct buf *report)
{
	struct application *p = find(as, app->name, &app->backends[i]);
	int err = 0;

	if (!p) {
		p = make(as, app->name, &app->backends[i]);
		if (!p)
			return ERR_NO_MEMORY;
		err = open_socket(p, gen->conf->run_dir, i, report);
	}
	p->users++;
	gen->applications[gen->application_count++] = p;
	return err;
}

static size_t count(const struct conf *c)
{
	size_t n = 0;

	for (size_t a = 0; a < c->app_count; a++) {
		for (size_t i = 0; i < c->apps[a].backend_count; i++)
			n += c->apps[a].backends[i].address.kind == CONF_SPAWN;
	}
	return n;
}

int applications_find(struct applications *as, struct generation *gen, struct buf *report)
{
	const struct conf *c = gen->conf;
	size_t n = count(c);
	int err = 0;

	gen->applications = calloc(n ? n : 1, sizeof(struct application *));
	if (!gen->applications)
		return ERR_NO_MEMORY;
	for (size_t a = 0; a < c->app_count && err != ERR_NO_MEMORY; a++) {
		for (size_t i = 0; i < c->apps[a].backend_count && err != ERR_NO_MEMORY; i++) {
			if (c->apps[a].backends[i].address.kind != CONF_SPAWN)
				continue;
			int one = find_or_make(as, gen, &c->apps[a], i, report);
			err = one ? one : err;
		}
	}
	return err;
}

/* --- starting and stopping --- */

static int start_one(struct application *p, const struct generation *gen, size_t app, size_t backend)
{
	if (p->target)
		return 0; /* it has been started before */
	p->target = pool_target_ref(gen->pools, app, backend);
	pool_target_suspend(p->target, true);
	p->held = pool_app_stopped(gen->pools, app);
	return p->held ? 0 : application_up(p);
}

int applications_start(struct applications *as, const struct generation *gen)
{
	const struct conf *c = gen->conf;
	size_t k = 0;
	int err = 0;

	(void)as;
	for (size_t a = 0; a < c->app_count; a++) {
		for (size_t i = 0; i < c->apps[a].backend_count && !err; i++) {
			if (c->apps[a].backends[i].address.kind == CONF_SPAWN)
				err = start_one(gen->applications[k++], gen, a, i);
		}
	}
	return err;
}

void applications_hold(struct applications *as, const char *app, bool hold)
{
	LIST_EACH (node, &as->all) {
		struct application *p = CONTAINER_OF(node, struct application, link);
		if (strcmp(p->app, app) != 0)
			continue;
		p->held = hold;
		if (hold)
			application_end(p);
		else if (p->state == APPLICATION_DOWN)
			application_down(p);
	}
}

void applications_reaped(struct applications *as, int pid, int status)
{
	LIST_EACH (node, &as->all) {
		struct application *p = CONTAINER_OF(node, struct application, link);
		if (p->spawn && spawn_reaped(p->spawn, pid, status))
			return;
	}
}

void applications_stop(struct applications *as, void (*stopped)(void *), void *arg)
{
	as->ending = true;
	as->stopped = stopped;
	as->stopped_arg = arg;
	LIST_EACH (node, &as->all)
		application_end(CONTAINER_OF(node, struct application, link));
	look_stopped(as);
}
