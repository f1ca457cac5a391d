/* Supervised processes. fork and exec are done here and not by libuv, for two things that it cannot do: the children
 * get a TERM from the kernel when weir dies without a word, and they are reaped by process id, whoever waits first. */
#include "backend/spawn.h"

#include "base/error.h"
#include "base/invariant.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LIVED_LONG_MS = 10000, LINE_MAX_BYTES = 1024, OUTLET_READS = 16 };

/*   WAITING (for its back-off) <--> RUNNING --> STOPPED */
struct child {
	struct spawn *spawn; /* borrowed */
	int pid;             /* 0: none */
	struct instant started;
	uint64_t backoff_ms;    /* of the next start; 0: at once */
	struct net_timer timer; /* WAITING: the next start */
};

/* What children write to 1 and 2, by line, into the log. */
struct outlet {
	uv_poll_t poll;
	int fd;              /* owned: the reading end */
	struct spawn *spawn; /* borrowed */
	char line[LINE_MAX_BYTES];
	size_t len;
	char space[4096];
};

struct spawn {
	struct net_loop *loop; /* borrowed */
	struct spawn_options o;
	struct child *children; /* owned, o.processes of them */
	uint32_t alive;
	struct outlet outlet;
	int outlet_write; /* the children's end */
	struct net_timer kill;
	bool stopping;
	bool closed; /* the outlet's handle is */
	bool freed;  /* spawn_free() was called before that */
	void (*stopped)(void *arg);
	void *stopped_arg;
};

/* --- output --- */

static void outlet_line(struct outlet *out)
{
	if (out->len > 0)
		log_event(LOG_WARN, "app_output", LOG_S("app", out->spawn->o.app),
			  LOG_V("text", view_of(out->line, out->len)));
	out->len = 0;
}

static void outlet_take(struct outlet *out, const char *at, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (at[i] == '\n' || out->len == sizeof out->line)
			outlet_line(out);
		if (at[i] != '\n')
			out->line[out->len++] = at[i];
	}
}

/* Once as much as a pipe holds: one that never stops talking must not hold up all else. */
static void outlet_read(struct outlet *out)
{
	for (int i = 0; i < OUTLET_READS; i++) {
		ssize_t n = read(out->fd, out->space, sizeof out->space);
		if (n <= 0)
			return;
		outlet_take(out, out->space, (size_t)n);
	}
}

static void on_outlet(uv_poll_t *poll, int status, int events)
{
	(void)status;
	(void)events;
	outlet_read(poll->data);
}

static int outlet_open(struct spawn *s)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) != 0)
		return ERR_SYSTEM;
	s->outlet.spawn = s;
	s->outlet.fd = fds[0];
	s->outlet_write = fds[1];
	if (uv_poll_init(&s->loop->uv, &s->outlet.poll, fds[0]) != 0) { /* which makes it non-blocking */
		close(fds[0]);
		close(fds[1]);
		return ERR_SYSTEM;
	}
	s->outlet.poll.data = &s->outlet;
	uv_poll_start(&s->outlet.poll, UV_READABLE, on_outlet);
	return 0;
}

/* --- processes --- */

/* In the child, between fork and exec, with all signals blocked: async-signal-safe calls only. */
static _Noreturn void become(const struct spawn *s, pid_t parent)
{
	sigset_t none;

	for (int sig = 1; sig < 32; sig++)
		signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* nobody is left who could do more than ask */
	if (getppid() != parent)
		_exit(126); /* weir died in between */
	if (dup2(s->o.listen_fd, 0) < 0 || dup2(s->outlet_write, 1) < 0 || dup2(s->outlet_write, 2) < 0)
		_exit(126);
	(void)close_range(3, UINT_MAX, 0); /* also what weir itself was started with */
	/* The socket is shared with weir's bookkeeping, which needs it non-blocking; an application expects to block.
	 */
	fcntl(0, F_SETFL, fcntl(0, F_GETFL) & ~O_NONBLOCK);
	execv(s->o.argv[0], s->o.argv);
	_exit(127);
}

static void child_later(struct child *c)
{
	struct spawn *s = c->spawn;
	uint64_t wait = c->backoff_ms;

	c->backoff_ms = c->backoff_ms ? c->backoff_ms * 2 : s->o.backoff_min_ms;
	if (c->backoff_ms > s->o.backoff_max_ms)
		c->backoff_ms = s->o.backoff_max_ms;
	net_timer_start(s->loop, &c->timer, wait);
}

static void child_start(struct child *c)
{
	struct spawn *s = c->spawn;
	pid_t parent = getpid();
	sigset_t all, before;

	/* A signal that came before the child is itself would be handled by weir's handlers, in the child. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pid_t pid = fork();
	if (pid == 0)
		become(s, parent);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (pid < 0) {
		log_event(LOG_ERROR, "app_start_failed", LOG_S("app", s->o.app), LOG_S("backend", s->o.name),
			  LOG_S("reason", strerror(errno)));
		child_later(c);
		return;
	}
	c->pid = pid;
	c->started = net_now(s->loop);
	if (s->alive++ == 0 && s->o.alive)
		s->o.alive(s->o.alive_arg, true);
	log_event(LOG_INFO, "app_started", LOG_S("app", s->o.app), LOG_S("backend", s->o.name), LOG_I("pid", pid));
}

static void on_child_timer(struct net_timer *timer)
{
	struct child *c = CONTAINER_OF(timer, struct child, timer);

	if (!c->spawn->stopping)
		child_start(c);
}

static void log_end(const struct spawn *s, int pid, int status)
{
	bool killed = WIFSIGNALED(status);

	log_event(s->stopping ? LOG_INFO : LOG_WARN, "app_ended", LOG_S("app", s->o.app), LOG_S("backend", s->o.name),
		  LOG_I("pid", pid), LOG_S("how", killed ? "signal" : "exit"),
		  LOG_I("code", killed ? WTERMSIG(status) : WEXITSTATUS(status)));
}

static void spawn_destroy(struct spawn *s)
{
	close(s->outlet.fd);
	close(s->outlet_write);
	free(s->children);
	free(s);
}

static void on_outlet_closed(uv_handle_t *handle)
{
	struct spawn *s = ((struct outlet *)handle->data)->spawn;

	s->closed = true;
	if (s->freed)
		spawn_destroy(s);
}

static void look_stopped(struct spawn *s)
{
	if (!s->stopping || s->alive > 0 || !s->stopped)
		return;
	void (*stopped)(void *) = s->stopped;
	s->stopped = NULL;
	net_timer_stop(s->loop, &s->kill);
	/* What the last process wrote before it ended may still be in the pipe. */
	outlet_read(&s->outlet);
	outlet_line(&s->outlet);
	uv_close((uv_handle_t *)&s->outlet.poll, on_outlet_closed);
	stopped(s->stopped_arg);
}

bool spawn_reaped(struct spawn *s, int pid, int status)
{
	for (uint32_t i = 0; i < s->o.processes; i++) {
		struct child *c = &s->children[i];
		if (c->pid != pid)
			continue;
		c->pid = 0;
		if (--s->alive == 0 && s->o.alive)
			s->o.alive(s->o.alive_arg, false);
		log_end(s, pid, status);
		if (instant_since_ms(net_now(s->loop), c->started) >= LIVED_LONG_MS)
			c->backoff_ms = 0;
		if (!s->stopping)
			child_later(c);
		look_stopped(s);
		return true;
	}
	return false;
}

static void signal_all(struct spawn *s, int sig)
{
	for (uint32_t i = 0; i < s->o.processes; i++) {
		int pid = s->children[i].pid;
		/* Its group, or itself where it has not got one yet. */
		if (pid > 0 && kill(-pid, sig) != 0)
			(void)kill(pid, sig);
	}
}

static void on_kill(struct net_timer *timer)
{
	struct spawn *s = CONTAINER_OF(timer, struct spawn, kill);

	log_event(LOG_WARN, "app_killed", LOG_S("app", s->o.app), LOG_S("backend", s->o.name),
		  LOG_S("reason", "did not end in stop-timeout"));
	signal_all(s, SIGKILL);
}

void spawn_stop(struct spawn *s, void (*stopped)(void *), void *arg)
{
	s->stopping = true;
	s->stopped = stopped;
	s->stopped_arg = arg;
	for (uint32_t i = 0; i < s->o.processes; i++)
		net_timer_stop(s->loop, &s->children[i].timer);
	signal_all(s, SIGTERM);
	net_timer_start(s->loop, &s->kill, s->o.stop_timeout_ms);
	look_stopped(s);
}

struct spawn *spawn_new(struct net_loop *loop, const struct spawn_options *o)
{
	struct spawn *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	s->loop = loop;
	s->o = *o;
	s->children = calloc(o->processes, sizeof *s->children);
	net_timer_init(&s->kill, on_kill);
	if (!s->children || outlet_open(s) != 0) {
		free(s->children);
		free(s);
		return NULL;
	}
	for (uint32_t i = 0; i < o->processes; i++) {
		s->children[i].spawn = s;
		net_timer_init(&s->children[i].timer, on_child_timer);
		child_start(&s->children[i]);
	}
	return s;
}

void spawn_free(struct spawn **ss)
{
	struct spawn *s = *ss;

	*ss = NULL;
	if (!s)
		return;
	INVARIANT(s->stopping);
	INVARIANT(s->alive == 0);
	s->freed = true;
	if (s->closed)
		spawn_destroy(s);
}
