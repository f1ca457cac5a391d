/* What the tests of the buffered stream share: a stream over a Unix socket or TCP, and what it told its owner. The
 * other side is a plain descriptor that the test reads and writes. */
#ifndef WEIR_TESTS_UNIT_STREAM_FIXTURE_H
#define WEIR_TESTS_UNIT_STREAM_FIXTURE_H

#include "net/socket.h"

#include "base/error.h"
#include "tests/unit/folder.h"
#include "tests/unit/loop_fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { PIECE = 65536, LARGE = 8 << 20 };

/* A stream and what it told its owner. `on` acts in the named event, once. */
struct end {
	struct net_stream s;
	struct buf got;
	unsigned reads, connects, ends, said_alls, fulls, drains, closes;
	int connect_err, end_err;
	unsigned after_close; /* events but `closed` after the close */
	enum { ON_NOTHING, ON_READ, ON_ENDED, ON_FULL, ON_DRAINED, ON_CONNECTED } on;
	void (*act)(struct end *e);
};

static struct end e;
static int peer = -1;

static inline void told(struct net_stream *s, int event)
{
	struct end *of = CONTAINER_OF(s, struct end, s);

	of->after_close += s->closing;
	if (of->act && (int)of->on == event) {
		void (*act)(struct end *) = of->act;
		of->act = NULL;
		act(of);
	}
}

static inline void on_connected(struct net_stream *s, int err)
{
	CONTAINER_OF(s, struct end, s)->connects++;
	CONTAINER_OF(s, struct end, s)->connect_err = err;
	told(s, ON_CONNECTED);
}

static inline void on_read(struct net_stream *s, struct view data)
{
	CONTAINER_OF(s, struct end, s)->reads++;
	buf_put(&CONTAINER_OF(s, struct end, s)->got, data);
	told(s, ON_READ);
}

static inline void on_ended(struct net_stream *s, int err)
{
	CONTAINER_OF(s, struct end, s)->ends++;
	CONTAINER_OF(s, struct end, s)->end_err = err;
	told(s, ON_ENDED);
}

static inline void on_said_all(struct net_stream *s)
{
	CONTAINER_OF(s, struct end, s)->said_alls++;
}

static inline void on_full(struct net_stream *s)
{
	CONTAINER_OF(s, struct end, s)->fulls++;
	told(s, ON_FULL);
}

static inline void on_drained(struct net_stream *s)
{
	CONTAINER_OF(s, struct end, s)->drains++;
	told(s, ON_DRAINED);
}

static inline void on_closed(struct net_stream *s)
{
	CONTAINER_OF(s, struct end, s)->closes++;
}

static const struct net_stream_ops ops = {
    .connected = on_connected,
    .read = on_read,
    .ended = on_ended,
    .full = on_full,
    .drained = on_drained,
    .closed = on_closed,
    .heard_out = true,
};

/* As of a web server, whose end counts at once. */
static const struct net_stream_ops server_ops = {
    .read = on_read,
    .ended = on_ended,
    .full = on_full,
    .drained = on_drained,
    .closed = on_closed,
};

/* As of a client that may say all and listen on. */
static const struct net_stream_ops listening_ops = {
    .read = on_read,
    .ended = on_ended,
    .said_all = on_said_all,
    .full = on_full,
    .drained = on_drained,
    .closed = on_closed,
};

enum kind { UNIX, TCP, PACKETS };

static inline void tcp_pair(int fds[2])
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof at;
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(listener, (struct sockaddr *)&at, len), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
	fds[0] = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(fds[0], (struct sockaddr *)&at, len), 0);
	fds[1] = accept(listener, NULL, NULL);
	assert_true(fds[1] >= 0);
	close(listener);
}

static inline void nonblocking(int fd)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static inline void fresh_end(void)
{
	buf_fini(&e.got);
	e = (struct end){.reads = 0};
	buf_init(&e.got, 0);
}

static inline void close_peer(void)
{
	if (peer >= 0)
		close(peer);
	peer = -1;
}

/* `e` and `peer`, connected. */
static inline void open_pair(enum kind kind)
{
	int fds[2];

	fresh_end();
	close_peer();
	if (kind == TCP)
		tcp_pair(fds);
	else
		assert_int_equal(socketpair(AF_UNIX, kind == UNIX ? SOCK_STREAM : SOCK_SEQPACKET, 0, fds), 0);
	peer = fds[1];
	nonblocking(fds[0]);
	nonblocking(peer);
	assert_int_equal(net_stream_open(&e.s, &loop, &ops, fds[0], kind != TCP), 0);
}

static inline void close_end(void)
{
	net_stream_close(&e.s);
	RUN_UNTIL(e.closes > 0);
	loop_settle();
	assert_int_equal(e.closes, 1);
	assert_int_equal(e.after_close, 0);
	close_peer();
}

static inline bool got(const char *text)
{
	return view_eq(buf_view(&e.got), view_str(text));
}

/* --- a callback of the loop that is a turn of its own --- */

static void (*turn_body)(void);
static bool turned;

static inline void on_turn(struct net_timer *t)
{
	(void)t;
	turn_body();
	turned = true;
}

static inline void in_a_turn(void (*body)(void))
{
	struct net_timer timer;

	turn_body = body;
	turned = false;
	net_timer_init(&timer, on_turn);
	net_timer_start(&loop, &timer, 0);
	RUN_UNTIL(turned);
}

static inline void put(const char *text)
{
	buf_put_str(net_stream_out(&e.s), text);
}

/* --- bytes that are known again --- */

static inline uint8_t pattern(size_t i)
{
	return (uint8_t)(i * 31 + i / 251);
}

static size_t sent, received;
static bool content_wrong;

static inline void put_piece(void)
{
	uint8_t *at = buf_reserve(net_stream_out(&e.s), PIECE);

	for (size_t i = 0; i < PIECE; i++)
		at[i] = pattern(sent + i);
	buf_commit(&e.s.out, PIECE);
	sent += PIECE;
}

static inline void take_some(size_t most)
{
	static uint8_t space[PIECE];
	ssize_t n = recv(peer, space, most < sizeof space ? most : sizeof space, 0);

	for (ssize_t i = 0; i < n; i++)
		content_wrong = content_wrong || space[i] != pattern(received + (size_t)i);
	received += n > 0 ? (size_t)n : 0;
}

static inline void fill(void)
{
	sent = received = 0;
	content_wrong = false;
	while (!net_stream_full(&e.s))
		in_a_turn(put_piece);
}

/* --- before and after each test --- */

static inline int set_up(void **unused)
{
	e = (struct end){.reads = 0};
	return folder_make() || loop_set_up(unused);
}

static inline int tear_down(void **unused)
{
	if (e.s.loop && e.closes == 0)
		net_stream_close(&e.s); /* after a failure */
	close_peer();
	buf_fini(&e.got);
	return loop_tear_down(unused) || folder_remove();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
