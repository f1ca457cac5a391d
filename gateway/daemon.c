/* Start, signals, stop. Runs on the main thread. */
#include "gateway/daemon.h"

#include "base/error.h"
#include "base/invariant.h"
#include "base/log.h"
#include "base/version.h"
#include "gateway/daemon_state.h"
#include "gateway/report.h"
#include "gateway/sessions.h"
#include "gateway/watch.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static const int signals[DAEMON_SIGNALS] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD};

enum { MEMBER_ENDS_MS = 5000 }; /* it takes milliseconds, where its disk answers */

/* --- stop --- */

static void each_worker(struct daemon *d, void (*act)(struct worker *))
{
	for (unsigned i = 0; i < d->workers_started; i++)
		act(&d->gateway.workers[i]);
}

/* Nobody hears them any more, and what they would do then is to kill: the process takes them with it when it ends. No
 * other thread hears any. */
static void signals_stop(struct daemon *d)
{
	sigset_t ours;

	sigemptyset(&ours);
	for (int i = 0; i < DAEMON_SIGNALS; i++)
		sigaddset(&ours, signals[i]);
	pthread_sigmask(SIG_BLOCK, &ours, NULL);
	for (int i = 0; i < DAEMON_SIGNALS; i++)
		uv_close((uv_handle_t *)&d->signals[i], NULL);
}

static void loop_stop(struct daemon *d)
{
	signals_stop(d);
	net_timer_stop(&d->loop, &d->drain);
	net_timer_stop(&d->loop, &d->member_ends);
	net_timer_stop(&d->loop, &d->stops_look);
	notify_unwatch(&d->notify);
	watch_stop(d->gateway.watch);
	net_loop_stop(&d->loop);
}

static void say_stopped(const struct daemon *d)
{
	log_event(LOG_INFO, "stopped", LOG_S("node", daemon_conf(d)->node));
}

/* A thread of the cluster's is held up in the system, and has what would be freed. Its folder is as good as after a
 * kill. */
static _Noreturn void end_beside_member(struct daemon *d)
{
	bool was_up = d->started.s > 0;

	if (was_up)
		say_stopped(d);
	pidfile_remove(&d->pidfile);
	log_close();
	_exit(was_up ? 0 : 1);
}

static void applications_stopped(void *arg)
{
	struct daemon *d = arg;

	if (d->member_hangs)
		end_beside_member(d);
	loop_stop(d);
}

static void member_stopped(void *owner)
{
	struct daemon *d = owner;

	net_timer_stop(&d->loop, &d->member_ends);
	if (d->member_hangs)
		d->member_hangs = false; /* it ended after all, and the rest is under way */
	else
		applications_stop(d->applications, applications_stopped, d);
}

/* Its disk does not answer, as a rule; nobody is served any more, and all sessions are stored. */
static void on_member_hangs(struct net_timer *timer)
{
	struct daemon *d = CONTAINER_OF(timer, struct daemon, member_ends);

	log_event(LOG_WARN, "cluster_not_stopped", LOG_S("reason", "the control plane does not answer"));
	d->member_hangs = true;
	applications_stop(d->applications, applications_stopped, d);
}

static void deliver_stored(struct mail *mail)
{
	struct daemon *d = CONTAINER_OF(mail, struct daemon, stored);

	d->state = DAEMON_STOPPING;
	admin_close(d->admin);
	if (d->gateway.cluster) {
		net_timer_start(&d->loop, &d->member_ends, MEMBER_ENDS_MS);
		member_stop(d->gateway.member);
	} else {
		member_stopped(d);
	}
}

/* On the stack's thread: all that was in memory is stored. */
static void stack_stopped(void *arg)
{
	struct daemon *d = arg;

	net_loop_post(&d->loop, &d->stored);
}

static void store(struct daemon *d)
{
	d->state = DAEMON_STORING;
	stack_stop(d->gateway.stack, !d->hurry, stack_stopped, d);
}

/* What was left when its patience was over is left, too, later. */
static void member_left(void *owner)
{
	struct daemon *d = owner;

	if (d->state == DAEMON_LEAVING)
		store(d);
}

static const struct member_ops member_ops = {.left = member_left, .stopped = member_stopped};

/* The cluster is left only now: until the last request is done this node may serve sessions. */
static void workers_done(struct daemon *d)
{
	bool leaves = d->gateway.cluster && d->state == DAEMON_DRAINING;

	each_worker(d, worker_finish);
	each_worker(d, worker_join);
	if (!leaves) {
		store(d);
		return;
	}
	d->state = DAEMON_LEAVING;
	member_leave(d->gateway.member);
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

static void deliver_served(struct mail *mail)
{
	struct daemon *d = CONTAINER_OF(mail, struct progress, served)->daemon;

	if (++d->workers_served < d->workers_started || d->state != DAEMON_DRAINING)
		return;
	d->hung_up = true;
	reload_abandon(d, true);
	each_worker(d, worker_hang_up);
}

/* All on a worker's thread. */
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

static void worker_served(struct gateway *g, unsigned worker)
{
	struct daemon *d = (struct daemon *)g;

	net_loop_post(&d->loop, &d->progress[worker].served);
}

static void close_now(struct daemon *d, const char *reason)
{
	if (d->state >= DAEMON_CLOSING && d->state != DAEMON_LEAVING)
		return;
	log_event(LOG_INFO, "closing", LOG_S("reason", reason));
	if (d->state == DAEMON_LEAVING) {
		store(d);
		return;
	}
	notify_stopping(&d->notify, &d->loop);
	d->state = DAEMON_CLOSING;
	reload_abandon(d, true);
	each_worker(d, worker_close);
}

static void on_drain_timeout(struct net_timer *timer)
{
	close_now(CONTAINER_OF(timer, struct daemon, drain), "drain-timeout");
}

void daemon_drain(struct daemon *d)
{
	uint64_t timeout_ms = daemon_conf(d)->drain_timeout_ms;

	log_event(LOG_INFO, "draining", LOG_I("timeout_ms", timeout_ms));
	notify_stopping(&d->notify, &d->loop);
	d->state = DAEMON_DRAINING;
	reload_abandon(d, false);
	net_timer_start(&d->loop, &d->drain, timeout_ms);
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
	else if (signum == SIGHUP)
		reload_signal(d);
	else if (signum == SIGTERM && d->state == DAEMON_RUNNING)
		daemon_drain(d);
	else if (signum == SIGTERM)
		close_now(d, "second TERM");
	else if (signum == SIGINT)
		hurry(d);
	else if (d->admin)
		admin_signal(d->admin);
	net_loop_flush(&d->loop);
}

static void signals_start(struct daemon *d)
{
	for (int i = 0; i < DAEMON_SIGNALS; i++) {
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

static int make_workers(struct daemon *d)
{
	struct gateway *g = &d->gateway;
	unsigned n = daemon_conf(d)->workers;

	g->worker_count = n;
	g->workers = calloc(n, sizeof *g->workers);
	d->progress = calloc(n, sizeof *d->progress);
	if (!g->workers || !d->progress)
		return ERR_NO_MEMORY;
	for (unsigned i = 0; i < n; i++) {
		list_init(&d->progress[i].unlistened.link);
		list_init(&d->progress[i].served.link);
		list_init(&d->progress[i].quiet.link);
		d->progress[i].unlistened.deliver = deliver_unlistened;
		d->progress[i].served.deliver = deliver_served;
		d->progress[i].quiet.deliver = deliver_quiet;
		d->progress[i].daemon = d;
		int err = worker_init(&g->workers[i], g, i);
		if (err)
			return err;
	}
	return 0;
}

enum { WHY_BYTES = MEMBER_WHY_BYTES };

static void say_shut_out(const struct daemon *d)
{
	const struct conf *c = daemon_conf(d);

	for (size_t i = 0; i < c->listen_count; i++) {
		if (privilege_shuts_out(&d->privilege, &c->listens[i]))
			log_event(LOG_WARN, "socket_is_roots", LOG_S("app", c->apps[c->listens[i].app].name),
				  LOG_S("socket", c->listens[i].address.text), LOG_S("reason", PRIVILEGE_SHUTS_OUT));
	}
}

/* What may need root, and the end of being it. On failure a line in `why` or lines in `report`. */
static int prepare_as_root(struct daemon *d, char why[WHY_BYTES], struct buf *report)
{
	const struct conf *c = daemon_conf(d);
	int err = log_open(c->log_level, c->log_to);

	if (err) {
		snprintf(why, WHY_BYTES, "log.to: \"%s\": %s", c->log_to, strerror(errno));
		return err;
	}
	err = privilege_find(&d->privilege, c, why, WHY_BYTES);
	if (err)
		return err;
	if (d->privilege.user && log_own(d->privilege.uid, d->privilege.gid) != 0)
		log_event(LOG_WARN, "log_not_owned", LOG_S("reason", strerror(errno)));
	d->applications = applications_new(&d->loop, d->privilege.uid, d->privilege.gid);
	if (!d->applications)
		return ERR_NO_MEMORY;
	err = reload_first_find(d, report);
	if (err)
		return err;
	err = member_new(&d->gateway.member, c, why);
	if (err)
		return err;
	say_shut_out(d);
	pidfile_write(&d->pidfile, c->pid_file, d->privilege.uid, d->privilege.gid);
	err = privilege_drop(&d->privilege, why, WHY_BYTES);
	if (!err && d->privilege.user)
		member_try_files(c);
	return err;
}

/* Everything that can fail because of the machine or the configuration; the threads start after it. */
static int prepare(struct daemon *d, struct buf *report)
{
	char why[WHY_BYTES] = "";
	int err = prepare_as_root(d, why, report);

	if (!err)
		err = sessions_new(&d->gateway, daemon_conf(d), why, sizeof why);
	if (!err)
		err = make_workers(d);
	if (!err && !(d->gateway.watch = watch_new(d)))
		err = ERR_NO_MEMORY;
	if (!err)
		err = reload_first_fill(d);
	if (err && buf_len(report) == 0) {
		buf_put_str(report, *why ? why : error_text(err));
		buf_put_str(report, "\n");
	}
	return err;
}

/* The workers, and what must be there before them. */
static int start_workers(struct daemon *d, char why[WHY_BYTES])
{
	const struct generation *gen = d->gateway.generation;
	const struct conf *c = gen->conf;
	struct gateway *g = &d->gateway;
	int err = applications_start(d->applications, gen);

	if (!err && g->member) {
		err = member_start(g->member, c, &d->loop, &d->notify, &member_ops, d, why);
		g->cluster = member_cluster(g->member);
	}
	/* Its thread asks the fence. */
	if (!err)
		err = stack_start(g->stack);
	for (unsigned i = 0; !err && i < c->workers; i++) {
		err = worker_start(&d->gateway.workers[i], &gen->shares[i]);
		d->workers_started += !err;
	}
	return err;
}

static int start(struct daemon *d, char why[WHY_BYTES])
{
	const struct conf *c = daemon_conf(d);
	int err = start_workers(d, why);

	if (err)
		return err;
	d->admin = admin_new(d, &d->loop);
	if (!d->admin)
		return ERR_NO_MEMORY;
	d->state = DAEMON_RUNNING;
	d->started = clock_wall();
	d->started_at = clock_now();
	watch_start(d->gateway.watch);
	reload_first_listen(d);
	admin_set(d->admin, &c->admin);
	log_event(LOG_INFO, "started", LOG_S("version", WEIR_VERSION), LOG_S("node", c->node),
		  LOG_I("workers", c->workers), LOG_I("listeners", c->listen_count), LOG_I("apps", c->app_count));
	notify_ready(&d->notify);
	notify_watch(&d->notify, &d->loop);
	return 0;
}

/* No thread runs any more. All mails are delivered before what they lie in is freed. */
static void daemon_fini(struct daemon *d)
{
	struct gateway *g = &d->gateway;

	for (unsigned i = 0; g->workers && i < g->worker_count; i++)
		worker_fini(&g->workers[i]);
	net_loop_fini(&d->loop);
	admin_free(&d->admin);
	reload_fini(d);
	control_fini(d);
	applications_free(&d->applications);
	member_free(&g->member);
	sessions_free(g);
	free(g->workers);
	watch_free(&g->watch);
	free(d->progress);
	pidfile_remove(&d->pidfile);
	notify_fini(&d->notify);
	privilege_fini(&d->privilege);
}

/* The way to a running daemon; on a failure the way back as far as it came. */
static int daemon_up(struct daemon *d, struct buf *report)
{
	char why[WHY_BYTES] = "";
	int err = prepare(d, report);

	if (err) {
		loop_stop(d);
		return err;
	}
	err = start(d, why);
	/* Some of the threads run already, or processes do: they are stopped like those of a daemon that ends. */
	if (err && d->workers_started > 0)
		close_now(d, error_text(err));
	else if (err)
		stack_stop(d->gateway.stack, false, stack_stopped, d);
	if (err)
		buf_put_str(report, *why ? why : error_text(err));
	return err;
}

/* NULL: out of memory; `c` is freed then. */
static struct daemon *daemon_new(struct conf *c, const char *path)
{
	struct daemon *d = calloc(1, sizeof *d);

	if (!d || net_loop_init(&d->loop) != 0) {
		conf_free(&c);
		free(d);
		return NULL;
	}
	d->path = path;
	list_init(&d->stored.link);
	d->stored.deliver = deliver_stored;
	d->gateway.unlistened = worker_unlistened;
	d->gateway.served = worker_served;
	d->gateway.quiet = worker_quiet;
	net_timer_init(&d->drain, on_drain_timeout);
	net_timer_init(&d->member_ends, on_member_hangs);
	notify_init(&d->notify);
	control_init(d);
	if (reload_init(d, c) == 0)
		return d;
	net_loop_stop(&d->loop);
	net_loop_run(&d->loop);
	net_loop_fini(&d->loop);
	free(d);
	return NULL;
}

/* To whoever has started it. */
static void complain(const struct buf *report)
{
	struct view rest = buf_view(report), line;

	while (report_next(&rest, &line))
		fprintf(stderr, "weir: %.*s\n", (int)line.len, (const char *)line.at);
}

int daemon_run(struct conf *c, const char *path)
{
	struct buf report = {.max_bytes = 0};

	signal(SIGPIPE, SIG_IGN);
	raise_descriptor_limit();
	struct daemon *d = daemon_new(c, path);
	if (!d) {
		fprintf(stderr, "weir: %s\n", error_text(ERR_NO_MEMORY));
		return 1;
	}
	/* First of all: a TERM that comes while the sockets are made is heard when the loop runs. */
	signals_start(d);
	int err = daemon_up(d, &report);
	complain(&report);
	buf_fini(&report);
	net_loop_run(&d->loop);
	if (!err)
		say_stopped(d);
	daemon_fini(d);
	free(d);
	log_close();
	return err ? 1 : 0;
}
