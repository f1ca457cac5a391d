/* The buffered stream. Depends on libuv and net/loop. */
#include "net/stream.h"

#include "base/error.h"
#include "base/invariant.h"

#include <unistd.h>

static int error_of(ssize_t uv_error)
{
	switch (uv_error) {
	case UV_EOF:
		return ERR_CLOSED;
	case UV_EPIPE:
	case UV_ECONNRESET:
		return ERR_RESET;
	case UV_ECONNREFUSED:
	case UV_ENOENT:
	case UV_EACCES:
	case UV_ENOTSOCK:
	case UV_EHOSTUNREACH:
	case UV_ENETUNREACH:
		return ERR_REFUSED;
	case UV_EAGAIN:
		return ERR_BUSY;
	case UV_ETIMEDOUT:
		return ERR_TIMEOUT;
	case UV_ENOMEM:
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

static void stream_init(struct net_stream *s, struct net_loop *l, const struct net_stream_ops *ops, bool is_unix)
{
	memset(s, 0, sizeof *s);
	s->loop = l;
	s->ops = ops;
	list_init(&s->dirty);
	/* Neither makes a system call, so neither can fail. */
	int rc = is_unix ? uv_pipe_init(&l->uv, &s->uv.pipe, 0) : uv_tcp_init(&l->uv, &s->uv.tcp);
	INVARIANT(rc == 0);
	s->uv.handle.data = s;
}

int net_stream_open(struct net_stream *s, struct net_loop *l, const struct net_stream_ops *ops, int fd, bool is_unix)
{
	stream_init(s, l, ops, is_unix);
	int rc = is_unix ? uv_pipe_open(&s->uv.pipe, fd) : uv_tcp_open(&s->uv.tcp, fd);
	if (rc != 0) {
		close(fd);
		net_stream_close(s);
		return error_of(rc);
	}
	if (!is_unix)
		uv_tcp_nodelay(&s->uv.tcp, 1);
	return 0;
}

static void on_connect(uv_connect_t *req, int status)
{
	struct net_stream *s = CONTAINER_OF(req, struct net_stream, req.connect);

	if (s->closing)
		return;
	if (status == 0 && s->uv.handle.type == UV_TCP)
		uv_tcp_nodelay(&s->uv.tcp, 1);
	s->ops->connected(s, status == 0 ? 0 : error_of(status));
	net_loop_flush(s->loop);
}

int net_stream_connect(struct net_stream *s, struct net_loop *l, const struct net_stream_ops *ops,
		       const struct net_address *to)
{
	stream_init(s, l, ops, to->is_unix);
	if (to->is_unix) {
		uv_pipe_connect(&s->req.connect, &s->uv.pipe, to->path, on_connect);
		return 0;
	}
	int rc = uv_tcp_connect(&s->req.connect, &s->uv.tcp, (const struct sockaddr *)&to->tcp, on_connect);
	if (rc == 0)
		return 0;
	net_stream_close(s);
	return error_of(rc);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct net_stream *s = handle->data;

	(void)suggested;
	*buf = uv_buf_init((char *)s->loop->read_space, NET_READ_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct net_stream *s = stream->data;

	if (n == 0)
		return;
	if (n > 0) {
		s->ops->read(s, view_of(buf->base, (size_t)n));
	} else {
		net_stream_read_stop(s);
		stream_ended(s, error_of(n));
	}
	net_loop_flush(s->loop);
}

void net_stream_read_start(struct net_stream *s)
{
	if (s->reading || s->closing || s->ended)
		return;
	s->reading = true;
	if (uv_read_start(&s->uv.stream, on_alloc, on_read) != 0)
		s->reading = false;
}

void net_stream_read_stop(struct net_stream *s)
{
	if (!s->reading)
		return;
	s->reading = false;
	uv_read_stop(&s->uv.stream);
}

struct buf *net_stream_out(struct net_stream *s)
{
	if (!s->out.data)
		net_buf_take(s->loop, &s->out);
	if (!list_linked(&s->dirty))
		list_append(&s->loop->dirty, &s->dirty);
	return &s->out;
}

size_t net_stream_backlog(const struct net_stream *s)
{
	size_t flight = s->writing ? uv_stream_get_write_queue_size(&s->uv.stream) : 0;

	return buf_len(&s->out) + flight;
}

static void on_written(uv_write_t *req, int status)
{
	struct net_stream *s = CONTAINER_OF(req, struct net_stream, req.write);

	s->writing = false;
	if (status == 0)
		s->taken_bytes += buf_len(&s->flight);
	net_buf_give(s->loop, &s->flight);
	if (s->closing)
		return;
	if (status != 0) {
		stream_ended(s, error_of(status));
	} else {
		net_stream_flush(s);
		if (!s->writing && !s->closing)
			s->ops->drained(s);
	}
	net_loop_flush(s->loop);
}

static uv_buf_t content_of(struct buf *b)
{
	return uv_buf_init((char *)b->data + b->head, (unsigned)buf_len(b));
}

/* The kernel took a part: the rest goes as one write request, and the feeder is told to stop. */
static void send_rest(struct net_stream *s)
{
	s->flight = s->out;
	buf_init(&s->out, 0);
	uv_buf_t buf = content_of(&s->flight);
	int rc = uv_write(&s->req.write, &s->uv.stream, &buf, 1, on_written);
	if (rc != 0) {
		net_buf_give(s->loop, &s->flight);
		stream_ended(s, error_of(rc));
		return;
	}
	s->writing = true;
	s->ops->full(s);
}

void net_stream_flush(struct net_stream *s)
{
	if (s->writing || s->closing || s->ended || !s->out.data)
		return;
	if (buf_error(&s->out)) {
		stream_ended(s, buf_error(&s->out));
		return;
	}
	uv_buf_t all = content_of(&s->out);
	if (all.len > 0) {
		int n = uv_try_write(&s->uv.stream, &all, 1);
		if (n < 0 && n != UV_EAGAIN) {
			stream_ended(s, error_of(n));
			return;
		}
		size_t sent = n > 0 ? (size_t)n : 0;
		s->taken_bytes += sent;
		buf_consume(&s->out, sent);
		if (sent < all.len) {
			send_rest(s);
			return;
		}
	}
	net_buf_give(s->loop, &s->out);
}

bool net_stream_stale(const struct net_stream *s)
{
	uv_os_fd_t fd;
	char byte;

	if (uv_fileno(&s->uv.handle, &fd) != 0)
		return true;
	return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0;
}

static void on_closed(uv_handle_t *handle)
{
	struct net_stream *s = handle->data;

	net_buf_give(s->loop, &s->out);
	net_buf_give(s->loop, &s->flight);
	s->ops->closed(s);
}

void net_stream_close(struct net_stream *s)
{
	if (s->closing)
		return;
	s->closing = true;
	s->reading = false;
	list_remove(&s->dirty);
	uv_close(&s->uv.handle, on_closed);
}
