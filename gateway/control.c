/* What an operator asks for, beside a reload (reload.c). */
#include "gateway/control.h"

#include "base/error.h"
#include "base/log.h"
#include "base/version.h"
#include "gateway/daemon_state.h"
#include "session/operate.h"

#include <stdlib.h>
#include <unistd.h>

enum { STOPS_LOOK_MS = 50 };

struct gateway *control_gateway(struct daemon *d)
{
	return &d->gateway;
}

struct net_loop *control_loop(struct daemon *d)
{
	return &d->loop;
}

void control_drain(struct daemon *d)
{
	if (d->state == DAEMON_RUNNING)
		daemon_drain(d);
}

/* --- status --- */

static const char *const state_text[] = {
    [DAEMON_STARTING] = "starting", [DAEMON_RUNNING] = "running", [DAEMON_DRAINING] = "draining",
    [DAEMON_CLOSING] = "closing",   [DAEMON_LEAVING] = "leaving", [DAEMON_STORING] = "storing",
    [DAEMON_STOPPING] = "stopping",
};

void control_status(struct daemon *d, struct control_status *out)
{
	const struct gateway *g = &d->gateway;

	*out = (struct control_status){
	    .version = WEIR_VERSION,
	    .node = daemon_conf(d)->node,
	    .config = d->path,
	    .state = state_text[d->state],
	    .pid = (uint64_t)getpid(),
	    .generation = g->generation->number,
	    .started_s = d->started.s,
	    .reloaded_s = d->reloaded.s,
	    .uptime_s = instant_since_ms(clock_now(), d->started_at) / 1000,
	    .workers = g->worker_count,
	    .reloads_failed = d->reloads_failed,
	};
	for (unsigned i = 0; i < g->worker_count; i++)
		out->connections += atomic_load(&g->workers[i].front_count);
}

/* --- backends --- */

int control_backend(struct daemon *d, const char *app, const char *name, bool ready)
{
	const struct generation *gen = d->gateway.generation;
	const struct conf *c = gen->conf;
	size_t found = 0, at_app = 0, at = 0;

	for (size_t a = 0; a < c->app_count; a++) {
		if (app && strcmp(c->apps[a].name, app) != 0)
			continue;
		for (size_t i = 0; i < c->apps[a].backend_count; i++) {
			if (strcmp(c->apps[a].backends[i].address.text, name) != 0)
				continue;
			found++;
			at_app = a;
			at = i;
		}
	}
	if (found != 1)
		return found ? ERR_MALFORMED : ERR_GONE;
	return pool_backend_drain(gen->pools, at_app, at, !ready);
}

/* --- apps --- */

/* An app that was stopped, until its last request is done. */
struct stop {
	struct list link; /* in daemon->stops */
	char *app;        /* owned */
};

/* Its sessions, on their way down. */
struct demotion {
	struct stack_job job;
	struct mail mail;
	struct list link; /* in daemon->demotions */
	struct daemon *daemon;
};

static void demotion_free(struct demotion *m)
{
	list_remove(&m->link);
	stack_job_fini(&m->job);
	free(m);
}

static void deliver_demoted(struct mail *mail)
{
	struct demotion *m = CONTAINER_OF(mail, struct demotion, mail);

	const char *app = stack_app_name(m->daemon->gateway.stack, m->job.app);

	if (!m->job.err)
		log_event(LOG_INFO, "app_demoted", LOG_S("app", app), LOG_I("sessions", m->job.count));
	else if (m->job.err != ERR_REFUSED) /* REFUSED: there is no store below */
		log_event(LOG_WARN, "app_not_demoted", LOG_S("app", app), LOG_S("reason", error_text(m->job.err)));
	demotion_free(m);
}

/* On the stack's thread. */
static void demoted(struct stack_job *job)
{
	struct demotion *m = CONTAINER_OF(job, struct demotion, job);

	net_loop_post(&m->daemon->loop, &m->mail);
}

static void demote(struct daemon *d, uint16_t stack_app)
{
	struct demotion *m = calloc(1, sizeof *m);

	if (!m)
		return; /* they go when memory needs room */
	m->daemon = d;
	m->job.op = STACK_DEMOTE_APP;
	m->job.app = stack_app;
	m->job.done = demoted;
	list_init(&m->job.mail.link);
	list_init(&m->mail.link);
	m->mail.deliver = deliver_demoted;
	list_append(&d->demotions, &m->link);
	stack_submit(d->gateway.stack, &m->job);
}

static int app_index(const struct daemon *d, const char *name)
{
	const struct conf *c = daemon_conf(d);

	for (size_t a = 0; a < c->app_count; a++) {
		if (strcmp(c->apps[a].name, name) == 0)
			return (int)a;
	}
	return -1;
}

static struct stop *stop_of(struct daemon *d, const char *app)
{
	LIST_EACH (node, &d->stops) {
		struct stop *s = CONTAINER_OF(node, struct stop, link);
		if (strcmp(s->app, app) == 0)
			return s;
	}
	return NULL;
}

static void stop_free(struct stop *s)
{
	list_remove(&s->link);
	free(s->app);
	free(s);
}

/* True: nothing is left to wait for. */
static bool stop_look(struct daemon *d, const struct stop *s)
{
	const struct generation *gen = d->gateway.generation;
	int a = app_index(d, s->app);

	if (a < 0)
		return true; /* a reload took it out: its applications go with their generation */
	if (pool_app_busy(gen->pools, (size_t)a))
		return false;
	applications_hold(d->applications, s->app, true);
	demote(d, gen->stack_apps[a]);
	return true;
}

static void on_stops_look(struct net_timer *timer)
{
	struct daemon *d = CONTAINER_OF(timer, struct daemon, stops_look);

	LIST_EACH (node, &d->stops) {
		struct stop *s = CONTAINER_OF(node, struct stop, link);
		if (stop_look(d, s))
			stop_free(s);
	}
	if (!list_empty(&d->stops) && d->state == DAEMON_RUNNING)
		net_timer_start(&d->loop, timer, STOPS_LOOK_MS);
}

static int stop_new(struct daemon *d, const char *app)
{
	struct stop *s = calloc(1, sizeof *s);
	char *name = strdup(app);

	if (!s || !name) {
		free(s);
		free(name);
		return ERR_NO_MEMORY;
	}
	s->app = name;
	list_append(&d->stops, &s->link);
	/* Not at once: a request that saw the app running may be about to take a connection. */
	net_timer_start(&d->loop, &d->stops_look, STOPS_LOOK_MS);
	return 0;
}

int control_app(struct daemon *d, const char *name, bool run)
{
	struct pool_shared *pools = d->gateway.generation->pools;
	int a = app_index(d, name);
	struct stop *s = stop_of(d, name);

	if (a < 0)
		return ERR_GONE;
	if (pool_app_stopped(pools, (size_t)a) != run)
		return ERR_BUSY;
	if (run && s)
		stop_free(s);
	int err = run ? 0 : stop_new(d, name);
	if (!err)
		err = pool_app_stop(pools, (size_t)a, !run);
	if (!err && run)
		applications_hold(d->applications, name, false);
	return err;
}

/* --- life --- */

void control_init(struct daemon *d)
{
	list_init(&d->stops);
	list_init(&d->demotions);
	net_timer_init(&d->stops_look, on_stops_look);
}

void control_fini(struct daemon *d)
{
	while (!list_empty(&d->stops))
		stop_free(CONTAINER_OF(d->stops.next, struct stop, link));
	while (!list_empty(&d->demotions))
		demotion_free(CONTAINER_OF(d->demotions.next, struct demotion, link));
}
