/* The buffered stream. Depends on libuv's poll handles and net/loop. */
#include "net/stream.h"

#include "base/error.h"
#include "base/invariant.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int error_of(int sys)
{
	switch (sys) {
	case 0:
		return 0;
	case EPIPE:
	case ECONNRESET:
		return ERR_RESET;
	case ECONNREFUSED:
	case ENOENT:
	case EACCES:
	case ENOTSOCK:
	case EPROTOTYPE:
	case EHOSTUNREACH:
	case ENETUNREACH:
		return ERR_REFUSED;
	case EAGAIN:
		return ERR_BUSY;
	case ETIMEDOUT:
		return ERR_TIMEOUT;
	case ENOMEM:
	case ENOBUFS:
		return ERR_NO_MEMORY;
	default:
		return ERR_SYSTEM;
	}
}

static void stream_ended(struct net_stream *s, int err)
{
	if (s->ended || s->closing)
		return;
	s->ended = true;
	s->ops->ended(s, err);
}

/* --- what the loop waits for --- */

static void on_poll(uv_poll_t *poll, int status, int events);

/* By which the end is noticed while nothing is read. That the other side sends no more the kernel would say again and
 * again; that it has gone it says with every event. */
static int end_events(const struct net_stream *s)
{
	if (s->ops->heard_out || s->ended || s->connecting)
		return 0;
	return s->half_closed ? UV_PRIORITIZED : UV_DISCONNECT;
}

/* The one place that says so; called after every change of connecting, reading, writing, half_closed and ended. */
static void poll_update(struct net_stream *s)
{
	int events = 0;

	if (s->reading && !s->ended)
		events |= UV_READABLE;
	else
		events |= end_events(s);
	if ((s->writing && !s->ended) || s->connecting)
		events |= UV_WRITABLE;
	if (events)
		uv_poll_start(&s->poll, events, on_poll);
	else
		uv_poll_stop(&s->poll);
}

void net_stream_read_start(struct net_stream *s)
{
	if (s->reading || s->closing || s->ended || s->read_out)
		return;
	s->reading = true;
	poll_update(s);
}

void net_stream_read_stop(struct net_stream *s)
{
	if (!s->reading || s->closing)
		return;
	s->reading = false;
	poll_update(s);
}

/* --- opening --- */

/* Small records go at once; a host that has gone without a word is noticed, sooner or later. */
static void set_tcp_options(int fd)
{
	int on = 1;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

static int stream_init(struct net_stream *s, struct net_loop *l, const struct net_stream_ops *ops, int fd, bool is_unix)
{
	memset(s, 0, sizeof *s);
	s->loop = l;
	s->ops = ops;
	s->fd = fd;
	list_init(&s->dirty);
	if (!is_unix)
		set_tcp_options(fd);
	int rc = uv_poll_init(&l->uv, &s->poll, fd);
	if (rc != 0) {
		close(fd);
		return error_of(-rc);
	}
	s->poll.data = s;
	return 0;
}

int net_stream_open(struct net_stream *s, struct net_loop *l, const struct net_stream_ops *ops, int fd, bool is_unix)
{
	return stream_init(s, l, ops, fd, is_unix);
}

static int connect_unix(int fd, const char *path)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	memcpy(un.sun_path, path, sizeof un.sun_path);
	return connect(fd, (const struct sockaddr *)&un, sizeof un);
}

static int connect_tcp(int fd, const struct sockaddr_storage *to)
{
	socklen_t len = to->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);

	return connect(fd, (const struct sockaddr *)to, len);
}

int net_stream_connect(struct net_stream *s, struct net_loop *l, const struct net_stream_ops *ops,
		       const struct net_address *to)
{
	int family = to->is_unix ? AF_UNIX : to->tcp.ss_family;
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return error_of(errno);
	int err = stream_init(s, l, ops, fd, to->is_unix);
	if (err)
		return err;
	int rc = to->is_unix ? connect_unix(fd, to->path) : connect_tcp(fd, &to->tcp);
	if (rc != 0 && errno != EINPROGRESS) {
		s->host_refused = errno == ECONNREFUSED;
		s->connect_error = error_of(errno);
	}
	s->connecting = true;
	poll_update(s); /* a socket that is not connected is reported at once, as hung up */
	return 0;
}

/* --- reading --- */

static bool has_gone(const struct net_stream *s)
{
	struct pollfd events = {.fd = s->fd};

	return poll(&events, 1, 0) > 0;
}

/* Something has happened while nothing is read. It may be that the other side has said all, with some of it unread. */
static void look_for_end(struct net_stream *s)
{
	if (!s->ops->said_all || s->half_closed || has_gone(s)) {
		stream_ended(s, ERR_CLOSED);
		return;
	}
	s->half_closed = true;
	poll_update(s);
}

static void read_end(struct net_stream *s)
{
	if (!s->ops->said_all) {
		stream_ended(s, ERR_CLOSED);
		return;
	}
	s->half_closed = s->read_out = true;
	s->reading = false;
	poll_update(s);
	s->ops->said_all(s);
}

static void read_once(struct net_stream *s)
{
	ssize_t n = recv(s->fd, s->loop->read_space, NET_READ_BYTES, 0);

	if (n > 0) {
		s->ops->read(s, view_of(s->loop->read_space, (size_t)n));
	} else if (n == 0) {
		read_end(s);
	} else if (errno != EAGAIN && errno != EINTR) {
		stream_ended(s, error_of(errno));
	}
}

/* An error is pending on the socket. What the other side sent before it is read first. */
static void read_to_error(struct net_stream *s)
{
	while (s->reading && !s->ended && !s->closing) {
		ssize_t n = recv(s->fd, s->loop->read_space, NET_READ_BYTES, 0);
		if (n <= 0) {
			stream_ended(s, n == 0 ? ERR_CLOSED : error_of(errno));
			return;
		}
		s->ops->read(s, view_of(s->loop->read_space, (size_t)n));
	}
	if (!s->reading && !s->ops->heard_out)
		stream_ended(s, ERR_RESET);
}

/* --- writing --- */

struct buf *net_stream_out(struct net_stream *s)
{
	if (!s->out.data && !buf_error(&s->out))
		net_buf_take(s->loop, &s->out);
	if (!list_linked(&s->dirty))
		list_append(&s->loop->dirty, &s->dirty);
	return &s->out;
}

/* An application may answer and close without having read all of a body: its answer counts, not our broken pipe. The
 * end, or the error, comes after it from recv(2). */
static void send_failed(struct net_stream *s, int err)
{
	if (!s->reading && !s->ops->heard_out) {
		stream_ended(s, err);
		return;
	}
	s->deaf = true;
	buf_clear(&s->out);
}

/* Offers `out` once. True: all of it is gone. */
static bool send_once(struct net_stream *s)
{
	struct view all = buf_view(&s->out);
	ssize_t n = s->deaf ? (ssize_t)all.len : send(s->fd, all.at, all.len, MSG_NOSIGNAL);

	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		send_failed(s, error_of(errno));
		return s->deaf;
	}
	if (s->deaf) {
		buf_clear(&s->out);
		return true;
	}
	size_t sent = n > 0 ? (size_t)n : 0;
	s->taken_bytes += sent;
	buf_consume(&s->out, sent);
	return sent == all.len;
}

void net_stream_flush(struct net_stream *s)
{
	if (s->writing || s->connecting || s->closing || (!s->out.data && !buf_error(&s->out)))
		return;
	if (s->ended) { /* nobody takes it */
		net_buf_give(s->loop, &s->out);
		return;
	}
	if (buf_error(&s->out)) {
		stream_ended(s, buf_error(&s->out));
	} else if (buf_len(&s->out) == 0 || send_once(s)) {
		net_buf_give(s->loop, &s->out);
	} else if (!s->ended && !s->closing) {
		s->writing = true;
		poll_update(s);
		s->ops->full(s);
	}
}

static void write_on(struct net_stream *s)
{
	if (buf_error(&s->out)) {
		stream_ended(s, buf_error(&s->out));
		return;
	}
	if (!send_once(s))
		return;
	net_buf_give(s->loop, &s->out);
	s->writing = false;
	poll_update(s);
	s->ops->drained(s);
}

void net_stream_shutdown(struct net_stream *s)
{
	if (!s->closing)
		(void)shutdown(s->fd, SHUT_WR);
}

/* --- events --- */

static void connect_done(struct net_stream *s)
{
	int sys = 0;
	socklen_t len = sizeof sys;

	if (!s->connect_error && getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &sys, &len) == 0) {
		s->host_refused = sys == ECONNREFUSED;
		s->connect_error = error_of(sys);
	}
	s->connecting = false;
	poll_update(s);
	s->ops->connected(s, s->connect_error);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct net_stream *s = poll->data;

	if (s->connecting) {
		connect_done(s);
	} else if (status != 0) {
		read_to_error(s);
	} else {
		if (events & UV_READABLE)
			read_once(s);
		else if ((events & (UV_DISCONNECT | UV_PRIORITIZED)) && !s->reading)
			look_for_end(s);
		if ((events & UV_WRITABLE) && s->writing && !s->ended && !s->closing)
			write_on(s);
	}
	if (s->ended && !s->closing)
		poll_update(s);
	net_loop_flush(s->loop);
}

/* --- the end --- */

bool net_stream_stale(const struct net_stream *s)
{
	char byte;

	return recv(s->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || (errno != EAGAIN && errno != EINTR);
}

static void on_closed(uv_handle_t *handle)
{
	struct net_stream *s = handle->data;

	net_buf_give(s->loop, &s->out);
	s->ops->closed(s);
}

void net_stream_close(struct net_stream *s)
{
	if (s->closing)
		return;
	s->closing = true;
	list_remove(&s->dirty);
	uv_close((uv_handle_t *)&s->poll, on_closed);
	close(s->fd);
	s->fd = -1;
}
