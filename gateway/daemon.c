/* Start, signals, stop. Runs on the main thread. */
#include "gateway/daemon.h"

#include "backend/spawn.h"
#include "base/error.h"
#include "base/invariant.h"
#include "base/version.h"
#include "gateway/listener.h"
#include "gateway/pools.h"
#include "gateway/privilege.h"
#include "gateway/sessions.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum daemon_state { DAEMON_STARTING, DAEMON_RUNNING, DAEMON_DRAINING, DAEMON_CLOSING, DAEMON_STORING, DAEMON_STOPPING };

static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD};
enum { SIGNALS = sizeof signals / sizeof *signals };

/* From a worker: how far it has got on the way to the end. */
struct progress {
	struct mail unlistened, quiet;
	struct daemon *daemon;
};

struct daemon {
	struct gateway gateway; /* first: a worker's gateway is the daemon's */
	struct generation generation;
	struct pool_book book;
	const struct conf *conf;
	struct net_loop loop;
	uv_signal_t signals[SIGNALS];
	struct privilege privilege;
	struct applications *applications;
	struct progress *progress; /* one for each worker */
	struct net_timer drain;
	unsigned workers_started, workers_unlistened, workers_quiet;
	enum daemon_state state;
	bool hurry; /* INT: sessions in memory are not stored */
	struct mail stored;
};

/* --- stop --- */

static void each_worker(struct daemon *d, void (*act)(struct worker *))
{
	for (unsigned i = 0; i < d->workers_started; i++)
		act(&d->gateway.workers[i]);
}

static void loop_stop(struct daemon *d)
{
	for (int i = 0; i < SIGNALS; i++)
		uv_close((uv_handle_t *)&d->signals[i], NULL);
	net_timer_stop(&d->loop, &d->drain);
	net_loop_stop(&d->loop);
}

static void applications_stopped(void *arg)
{
	loop_stop(arg);
}

static void deliver_stored(struct mail *mail)
{
	struct daemon *d = CONTAINER_OF(mail, struct daemon, stored);

	d->state = DAEMON_STOPPING;
	applications_stop(d->applications, applications_stopped, d);
}

/* On the stack's thread: all that was in memory is stored. */
static void stack_stopped(void *arg)
{
	struct daemon *d = arg;

	net_loop_post(&d->loop, &d->stored);
}

static void workers_done(struct daemon *d)
{
	d->state = DAEMON_STORING;
	each_worker(d, worker_finish);
	each_worker(d, worker_join);
	stack_stop(d->gateway.stack, !d->hurry, stack_stopped, d);
}

static void deliver_quiet(struct mail *mail)
{
	struct daemon *d = CONTAINER_OF(mail, struct progress, quiet)->daemon;

	if (++d->workers_quiet == d->workers_started)
		workers_done(d);
}

static void deliver_unlistened(struct mail *mail)
{
	struct daemon *d = CONTAINER_OF(mail, struct progress, unlistened)->daemon;

	if (++d->workers_unlistened == d->workers_started && d->state == DAEMON_DRAINING)
		each_worker(d, worker_drain);
}

/* Both on a worker's thread. */
static void worker_quiet(struct gateway *g, unsigned worker)
{
	struct daemon *d = (struct daemon *)g;

	net_loop_post(&d->loop, &d->progress[worker].quiet);
}

static void worker_unlistened(struct gateway *g, unsigned worker)
{
	struct daemon *d = (struct daemon *)g;

	net_loop_post(&d->loop, &d->progress[worker].unlistened);
}

static void close_now(struct daemon *d, const char *reason)
{
	if (d->state >= DAEMON_CLOSING)
		return;
	log_event(LOG_INFO, "closing", LOG_S("reason", reason));
	d->state = DAEMON_CLOSING;
	each_worker(d, worker_close);
}

static void on_drain_timeout(struct net_timer *timer)
{
	close_now(CONTAINER_OF(timer, struct daemon, drain), "drain-timeout");
}

static void drain(struct daemon *d)
{
	log_event(LOG_INFO, "draining", LOG_I("timeout_ms", d->conf->drain_timeout_ms));
	d->state = DAEMON_DRAINING;
	net_timer_start(&d->loop, &d->drain, d->conf->drain_timeout_ms);
	each_worker(d, worker_unlisten); /* and drain when the last one has */
}

/* --- signals --- */

static void reap(struct daemon *d)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		applications_reaped(d->applications, pid, status);
}

static void reopen_log(void)
{
	if (log_reopen() != 0)
		log_event(LOG_ERROR, "log_not_reopened", LOG_S("reason", strerror(errno)));
	else
		log_event(LOG_INFO, "log_reopened", LOG_S("by", "USR2"));
}

/* What is in memory only is given up. */
static void hurry(struct daemon *d)
{
	d->hurry = true;
	close_now(d, "INT");
	if (d->gateway.stack)
		stack_hurry(d->gateway.stack);
}

static void on_signal(uv_signal_t *handle, int signum)
{
	struct daemon *d = handle->data;

	if (signum == SIGCHLD)
		reap(d);
	else if (signum == SIGUSR2)
		reopen_log();
	else if (signum == SIGTERM && d->state == DAEMON_RUNNING)
		drain(d);
	else if (signum == SIGTERM)
		close_now(d, "second TERM");
	else if (signum == SIGINT)
		hurry(d);
	else
		log_event(LOG_WARN, "signal_ignored", LOG_I("signal", signum),
			  LOG_S("reason", "not built yet in this version"));
	net_loop_flush(&d->loop);
}

static void signals_start(struct daemon *d)
{
	for (int i = 0; i < SIGNALS; i++) {
		uv_signal_init(&d->loop.uv, &d->signals[i]);
		d->signals[i].data = d;
		uv_signal_start(&d->signals[i], on_signal, signals[i]);
	}
}

/* --- start --- */

static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
		log_event(LOG_WARN, "descriptor_limit", LOG_S("reason", strerror(errno)));
}

static int open_listeners(struct daemon *d, char *why, size_t why_len)
{
	struct gateway *g = &d->gateway;
	const struct conf *c = d->conf;

	g->listeners = calloc(c->listen_count, sizeof *g->listeners);
	if (!g->listeners)
		return ERR_NO_MEMORY;
	for (size_t i = 0; i < c->listen_count; i++)
		g->listeners[i].fd = -1;
	for (size_t i = 0; i < c->listen_count; i++) {
		int err = listener_open(&g->listeners[i], &c->listens[i], why, why_len);
		if (err)
			return err;
	}
	return 0;
}

static int make_workers(struct daemon *d)
{
	struct gateway *g = &d->gateway;
	unsigned n = d->conf->workers;

	g->worker_count = n;
	g->workers = calloc(n, sizeof *g->workers);
	d->progress = calloc(n, sizeof *d->progress);
	if (!g->workers || !d->progress)
		return ERR_NO_MEMORY;
	for (unsigned i = 0; i < n; i++) {
		list_init(&d->progress[i].unlistened.link);
		list_init(&d->progress[i].quiet.link);
		d->progress[i].unlistened.deliver = deliver_unlistened;
		d->progress[i].quiet.deliver = deliver_quiet;
		d->progress[i].daemon = d;
		int err = worker_init(&g->workers[i], g, i);
		if (err)
			return err;
	}
	return 0;
}

/* Everything that can fail because of the machine or the configuration; the threads start after it. */
static int prepare(struct daemon *d, char *why, size_t why_len)
{
	const struct conf *c = d->conf;
	int err = log_open(c->log_level, c->log_to);

	if (err) {
		snprintf(why, why_len, "log.to: \"%s\": %s", c->log_to, strerror(errno));
		return err;
	}
	err = privilege_find(&d->privilege, c, why, why_len);
	if (!err && d->privilege.user && log_own(d->privilege.uid, d->privilege.gid) != 0)
		log_event(LOG_WARN, "log_not_owned", LOG_S("reason", strerror(errno)));
	if (!err)
		err = open_listeners(d, why, why_len);
	if (!err)
		err = applications_new(&d->applications, c, d->privilege.uid, d->privilege.gid, why, why_len);
	if (!err)
		err = privilege_drop(&d->privilege, why, why_len);
	if (!err)
		err = sessions_new(&d->gateway, c, why, why_len);
	if (err)
		return err;
	d->generation.conf = c;
	d->generation.pools = pools_new(&d->book, c, d->applications);
	d->generation.stack_apps = sessions_apps(&d->gateway, c);
	d->gateway.generation = &d->generation;
	return d->generation.pools && d->generation.stack_apps ? make_workers(d) : ERR_NO_MEMORY;
}

static int start(struct daemon *d)
{
	const struct conf *c = d->conf;
	int err = applications_start(d->applications, &d->loop, d->generation.pools);

	if (!err)
		err = stack_start(d->gateway.stack);

	for (unsigned i = 0; !err && i < c->workers; i++) {
		err = worker_start(&d->gateway.workers[i]);
		d->workers_started += !err;
	}
	if (err)
		return err;
	d->state = DAEMON_RUNNING;
	pool_shared_lead(d->generation.pools, NULL);
	each_worker(d, worker_listen);
	log_event(LOG_INFO, "started", LOG_S("version", WEIR_VERSION), LOG_S("node", c->node),
		  LOG_I("workers", c->workers), LOG_I("listeners", c->listen_count), LOG_I("apps", c->app_count));
	return 0;
}

static void daemon_fini(struct daemon *d)
{
	struct gateway *g = &d->gateway;

	for (unsigned i = 0; g->workers && i < g->worker_count; i++)
		worker_fini(&g->workers[i]);
	for (size_t i = 0; g->listeners && i < d->conf->listen_count; i++)
		listener_close(&g->listeners[i], false);
	pool_shared_free(&d->generation.pools);
	applications_free(&d->applications);
	free(d->generation.stack_apps);
	if (g->stack)
		stack_free(&g->stack);
	free(g->listeners);
	free(g->workers);
	free(d->progress);
	privilege_fini(&d->privilege);
}

/* The way to a running daemon; on a failure the way back as far as it came. */
static int daemon_up(struct daemon *d, char *why, size_t why_len)
{
	int err = prepare(d, why, why_len);

	if (err) {
		loop_stop(d);
		return err;
	}
	err = start(d);
	/* Some of the threads run already, or processes do: they are stopped like those of a daemon that ends. */
	if (err && d->workers_started > 0)
		close_now(d, error_text(err));
	else if (err)
		stack_stop(d->gateway.stack, false, stack_stopped, d);
	return err;
}

int daemon_run(const struct conf *c)
{
	char why[512] = "";
	struct daemon *d = calloc(1, sizeof *d);

	signal(SIGPIPE, SIG_IGN);
	raise_descriptor_limit();
	if (!d || net_loop_init(&d->loop) != 0) {
		fprintf(stderr, "weir: %s\n", error_text(ERR_NO_MEMORY));
		free(d);
		return 1;
	}
	d->conf = c;
	pool_book_init(&d->book);
	list_init(&d->stored.link);
	d->stored.deliver = deliver_stored;
	d->gateway.unlistened = worker_unlistened;
	d->gateway.quiet = worker_quiet;
	net_timer_init(&d->drain, on_drain_timeout);
	/* First of all: a TERM that comes while the sockets are made is heard when the loop runs. */
	signals_start(d);
	int err = daemon_up(d, why, sizeof why);
	if (err)
		fprintf(stderr, "weir: %s\n", *why ? why : error_text(err));
	net_loop_run(&d->loop);
	daemon_fini(d);
	net_loop_fini(&d->loop);
	free(d);
	if (!err)
		log_event(LOG_INFO, "stopped", LOG_S("node", c->node));
	log_close();
	return err ? 1 : 0;
}
