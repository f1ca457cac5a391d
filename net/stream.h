/* A byte stream over TCP or a Unix socket, with buffered output. Embedded in a front connection or a backend
 * connection, which owns it; its memory must live until `closed` is called.
 *
 * Output is appended to `out` and leaves at the end of the turn. What the kernel does not take stays there, and the
 * stream is `full` until all of it is gone: whoever feeds it must stop, so that the memory of a stream stays bounded.
 *
 * It stands on uv_poll_t with recv(2) and send(2), not on uv_stream_t with read(2) and write(2): their way through the
 * kernel is shorter, and an idle connection is smaller. */
#ifndef WEIR_NET_STREAM_H
#define WEIR_NET_STREAM_H

#include "net/loop.h"

struct net_stream;

struct net_stream_ops {
	void (*connected)(struct net_stream *s, int err);     /* only after net_stream_connect */
	void (*read)(struct net_stream *s, struct view data); /* data is good until the callback returns */
	void (*ended)(struct net_stream *s,
		      int err); /* ERR_CLOSED: a clean end; other: an error. Once. Then close it */
	/* The other side sends no more, all of it was read, and it may still listen: output goes on leaving. Once.
	 * `ended` comes only when it has gone altogether. NULL: who sends no more has ended. */
	void (*said_all)(struct net_stream *s);
	void (*full)(struct net_stream *s);
	void (*drained)(struct net_stream *s);
	void (*closed)(struct net_stream *s); /* the memory is the owner's again */
	/* What the other side has sent counts also after its end (an application's answer), so the end is told when all
	 * of it was read. Otherwise (a web server) the end is told at once, also while nothing is read. */
	bool heard_out;
};

struct net_stream {
	uv_poll_t poll;
	struct net_loop *loop;            /* borrowed */
	const struct net_stream_ops *ops; /* static */
	int fd;                           /* owned */
	struct buf out;                   /* not yet taken by the kernel */
	struct list dirty;                /* in loop->dirty while `out` waits for the end of the turn */
	uint64_t taken_bytes;             /* that the kernel has taken since net_stream_mark() */
	int connect_error;                /* of connect(2) itself; told in a later turn like any other */
	bool connecting, reading, writing, ended, closing;
	bool host_refused; /* connecting: the host is there and nobody listens (ECONNREFUSED) */
	bool half_closed;  /* the other side sends no more; only with said_all */
	bool read_out;     /* and said_all was told */
	bool deaf;         /* the other side takes no more output; what it sent is still to be read */
};

struct net_address {
	bool is_unix;
	struct sockaddr_storage tcp;
	char path[108];
};

/* Takes over the connected or accepted, non-blocking descriptor `fd`. After a failure the stream holds nothing, `fd` is
 * closed and no callback comes. */
MUST_USE int net_stream_open(struct net_stream *s, struct net_loop *l, const struct net_stream_ops *ops, int fd,
			     bool is_unix);
/* Starts to connect; ops->connected tells, in a later turn, of whatever becomes of it. A failure here means that there
 * is no descriptor or no memory; the stream holds nothing then and no callback comes. */
MUST_USE int net_stream_connect(struct net_stream *s, struct net_loop *l, const struct net_stream_ops *ops,
				const struct net_address *to);

void net_stream_read_start(struct net_stream *s);
void net_stream_read_stop(struct net_stream *s);

/* The output buffer, for appending; it is flushed at the end of the turn. */
struct buf *net_stream_out(struct net_stream *s);

/* Offers `out` to the kernel now. After the stream has ended it is dropped. */
void net_stream_flush(struct net_stream *s);

/* Whether output waits for the other side. */
static inline bool net_stream_full(const struct net_stream *s)
{
	return s->writing;
}

/* Bytes that the kernel has not taken yet. */
static inline size_t net_stream_backlog(const struct net_stream *s)
{
	return buf_len(&s->out);
}

/* Starts to count taken_bytes anew. */
static inline void net_stream_mark(struct net_stream *s)
{
	s->taken_bytes = 0;
}

/* No more output: the other side reads an end when it has read all. */
void net_stream_shutdown(struct net_stream *s);

/* Whether the other side has closed or sent something: one recv(2) that takes nothing. */
bool net_stream_stale(const struct net_stream *s);

/* Drops what was not sent and closes. No callback but `closed` comes afterwards. Safe to repeat. */
void net_stream_close(struct net_stream *s);

#endif
