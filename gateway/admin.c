/* The admin socket: opening, closing, letting in. */
#include "gateway/admin.h"

#include "base/error.h"
#include "gateway/admin_client.h"
#include "gateway/command.h"
#include "net/socket.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	CLIENTS_MAX = 16,
	BACKLOG = 128,
	ACCEPT_BATCH = 16, /* connections taken in one turn */
	REST_MS = 100,     /* when there are no descriptors */
	SILENCE_MAX_MS = 60 * 1000,
};

/* Has a life of its own: a new one may be there before libuv has let go of the old one. */
struct admin_socket {
	uv_poll_t poll;
	struct admin *admin; /* borrowed */
	int fd;              /* owned */
	struct net_address address;
	dev_t dev; /* of the file that is ours */
	ino_t ino;
};

struct admin {
	struct daemon *daemon;
	struct net_loop *loop;
	struct net_address address;
	enum conf_admin_open open;
	uint64_t idle_ms;
	struct admin_socket *socket; /* owned until libuv has it; NULL: closed */
	struct net_timer idle, rest;
	struct admin_client *clients[CLIENTS_MAX];
	unsigned client_count;
	bool set, ended;
	bool starved; /* the last try to let in found no descriptor, and that was logged */
};

/* --- clients --- */

/* Nobody is there: the socket will not be either, if nobody comes. */
static void watch_idle(struct admin *a)
{
	if (a->socket && a->open == CONF_ADMIN_ON_SIGNAL && a->client_count == 0)
		net_timer_start(a->loop, &a->idle, a->idle_ms);
	else
		net_timer_stop(a->loop, &a->idle);
}

static void client_gone(void *arg, struct admin_client *c)
{
	struct admin *a = arg;
	unsigned i = 0;

	while (a->clients[i] != c)
		i++;
	a->clients[i] = a->clients[--a->client_count];
	if (!a->ended)
		watch_idle(a);
}

/* What it wanted is not read; what does not fit at once into the empty socket is lost. */
static void refuse(int fd, const struct ucred *who, enum admin_code code, const char *message)
{
	struct buf out = {.max_bytes = 0};

	log_event(LOG_WARN, "admin_refused", LOG_S("reason", message), LOG_I("uid", who->uid), LOG_I("pid", who->pid));
	command_put_error(&out, code, message, false);
	struct view bytes = buf_view(&out);
	(void)send(fd, bytes.at, bytes.len, MSG_NOSIGNAL | MSG_DONTWAIT);
	buf_fini(&out);
	close(fd);
}

static void let_in(struct admin *a, int fd, uid_t uid)
{
	struct admin_client_options o = {
	    .daemon = a->daemon,
	    .uid = uid,
	    .silence_ms = a->idle_ms < SILENCE_MAX_MS ? a->idle_ms : SILENCE_MAX_MS,
	    .gone = client_gone,
	    .arg = a,
	};
	struct admin_client *c = admin_client_new(a->loop, fd, &o);

	if (!c)
		return;
	a->clients[a->client_count++] = c;
	watch_idle(a);
}

static void take(struct admin *a, int fd)
{
	struct ucred who = {.uid = (uid_t)-1};
	socklen_t len = sizeof who;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) != 0 || (who.uid != 0 && who.uid != geteuid()))
		refuse(fd, &who, ADMIN_REFUSED, "only root and the user that weir runs as are let in");
	else if (a->client_count == CLIENTS_MAX)
		refuse(fd, &who, ADMIN_TOO_MANY, "16 clients are connected already");
	else
		let_in(a, fd, who.uid);
}

/* --- the socket --- */

static void on_readable(uv_poll_t *poll, int status, int events);

static void on_rested(struct net_timer *timer)
{
	struct admin *a = CONTAINER_OF(timer, struct admin, rest);

	if (a->socket)
		uv_poll_start(&a->socket->poll, UV_READABLE, on_readable);
}

/* The socket stays readable, and the loop would spin. */
static void rest(struct admin *a)
{
	if (!a->starved)
		log_event(LOG_ERROR, "admin_refused", LOG_S("reason", strerror(errno)));
	a->starved = true;
	uv_poll_stop(&a->socket->poll);
	net_timer_start(a->loop, &a->rest, REST_MS);
}

static void accept_some(struct admin *a, int max)
{
	for (int i = 0; i < max; i++) {
		int fd = accept4(a->socket->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0) {
			a->starved = false;
			take(a, fd);
		} else if (errno == EAGAIN) {
			return;
		} else if (errno != EINTR && errno != ECONNABORTED) {
			rest(a);
			return;
		}
	}
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct admin_socket *s = poll->data;

	(void)status;
	(void)events;
	accept_some(s->admin, ACCEPT_BATCH);
	net_loop_flush(s->admin->loop);
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

/* Whether the file is the one that was made, not what somebody has put in its place. */
static bool file_is_ours(const struct admin_socket *s)
{
	struct stat st;

	return lstat(s->address.path, &st) == 0 && st.st_dev == s->dev && st.st_ino == s->ino;
}

/* With the file gone first and then a look at who has come before that, nobody's connection is lost. */
static void socket_close(struct admin *a, const char *reason)
{
	struct admin_socket *s = a->socket;

	if (!s)
		return;
	if (file_is_ours(s))
		unlink(s->address.path);
	if (!a->ended)
		accept_some(a, BACKLOG);
	log_event(LOG_INFO, "admin_closed", LOG_S("socket", s->address.path), LOG_S("reason", reason));
	a->socket = NULL;
	net_timer_stop(a->loop, &a->idle);
	net_timer_stop(a->loop, &a->rest);
	uv_close((uv_handle_t *)&s->poll, on_closed);
	close(s->fd);
}

/* 0, or an error with errno. */
static int socket_listen(struct admin_socket *s)
{
	const struct net_unix_access access = {.mode = 0600, .uid = (uid_t)-1, .gid = (gid_t)-1};
	struct stat st = {.st_dev = 0};
	int err = net_listen(&s->address, BACKLOG, &access, &s->fd);

	if (err)
		return err;
	/* Should somebody be so quick as to take it away again, it is not ours, and the next USR1 makes another. */
	(void)lstat(s->address.path, &st);
	s->dev = st.st_dev;
	s->ino = st.st_ino;
	return 0;
}

static void not_opened(struct admin *a, const char *reason)
{
	log_event(LOG_ERROR, "admin_not_opened", LOG_S("socket", a->address.path), LOG_S("reason", reason));
}

static void socket_open(struct admin *a, const char *by)
{
	struct admin_socket *s = calloc(1, sizeof *s);

	if (!s) {
		not_opened(a, error_text(ERR_NO_MEMORY));
		return;
	}
	s->admin = a;
	s->address = a->address;
	s->poll.data = s;
	int err = socket_listen(s);
	if (err) {
		not_opened(a, err == ERR_BUSY ? "another process listens there" : strerror(errno));
		free(s);
		return;
	}
	if (uv_poll_init(&a->loop->uv, &s->poll, s->fd) != 0) {
		not_opened(a, "it cannot be watched");
		unlink(s->address.path);
		close(s->fd);
		free(s);
		return;
	}
	uv_poll_start(&s->poll, UV_READABLE, on_readable);
	a->socket = s;
	log_event(LOG_INFO, "admin_opened", LOG_S("socket", s->address.path), LOG_S("by", by));
	watch_idle(a);
}

static void on_idle(struct net_timer *timer)
{
	socket_close(CONTAINER_OF(timer, struct admin, idle), "idle");
}

/* --- life --- */

struct admin *admin_new(struct daemon *d, struct net_loop *loop)
{
	struct admin *a = calloc(1, sizeof *a);

	if (!a)
		return NULL;
	a->daemon = d;
	a->loop = loop;
	net_timer_init(&a->idle, on_idle);
	net_timer_init(&a->rest, on_rested);
	return a;
}

void admin_set(struct admin *a, const struct conf_admin *c)
{
	bool was_open = a->socket != NULL, first = !a->set;
	struct net_address address;

	if (a->ended || !net_address_unix(&address, c->socket))
		return; /* the configuration takes no path that is too long */
	bool moved = strcmp(address.path, a->address.path) != 0;
	a->set = true;
	a->open = c->open;
	a->idle_ms = c->idle_ms;
	a->address = address;
	if (moved || c->open == CONF_ADMIN_NEVER)
		socket_close(a, "reload");
	for (unsigned i = 0; c->open == CONF_ADMIN_NEVER && i < a->client_count; i++)
		admin_client_finish(a->clients[i]);
	if (!a->socket && (c->open == CONF_ADMIN_ALWAYS || (c->open == CONF_ADMIN_ON_SIGNAL && was_open)))
		socket_open(a, first ? "start" : "reload");
	watch_idle(a);
}

void admin_signal(struct admin *a)
{
	if (a->ended || !a->set)
		return;
	if (a->open == CONF_ADMIN_NEVER) {
		log_event(LOG_WARN, "admin_not_opened", LOG_S("socket", a->address.path),
			  LOG_S("reason", "admin.open is never"));
		return;
	}
	if (a->socket && !file_is_ours(a->socket))
		socket_close(a, "its file is gone");
	if (!a->socket)
		socket_open(a, "USR1");
	watch_idle(a);
}

void admin_close(struct admin *a)
{
	if (!a || a->ended)
		return;
	a->ended = true;
	socket_close(a, "end");
	/* A client stays in the list until its stream is closed, which is later. */
	for (unsigned i = 0; i < a->client_count; i++)
		admin_client_close(a->clients[i]);
}

void admin_free(struct admin **a)
{
	free(*a);
	*a = NULL;
}
