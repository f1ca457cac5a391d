/* The buffered stream over Unix sockets and TCP. The other side is a plain descriptor that the test reads and writes.
 */
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

static void told(struct net_stream *s, int event)
{
	struct end *of = CONTAINER_OF(s, struct end, s);

	of->after_close += s->closing;
	if (of->act && (int)of->on == event) {
		void (*act)(struct end *) = of->act;
		of->act = NULL;
		act(of);
	}
}

static void on_connected(struct net_stream *s, int err)
{
	CONTAINER_OF(s, struct end, s)->connects++;
	CONTAINER_OF(s, struct end, s)->connect_err = err;
	told(s, ON_CONNECTED);
}

static void on_read(struct net_stream *s, struct view data)
{
	CONTAINER_OF(s, struct end, s)->reads++;
	buf_put(&CONTAINER_OF(s, struct end, s)->got, data);
	told(s, ON_READ);
}

static void on_ended(struct net_stream *s, int err)
{
	CONTAINER_OF(s, struct end, s)->ends++;
	CONTAINER_OF(s, struct end, s)->end_err = err;
	told(s, ON_ENDED);
}

static void on_said_all(struct net_stream *s)
{
	CONTAINER_OF(s, struct end, s)->said_alls++;
}

static void on_full(struct net_stream *s)
{
	CONTAINER_OF(s, struct end, s)->fulls++;
	told(s, ON_FULL);
}

static void on_drained(struct net_stream *s)
{
	CONTAINER_OF(s, struct end, s)->drains++;
	told(s, ON_DRAINED);
}

static void on_closed(struct net_stream *s)
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

static void tcp_pair(int fds[2])
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

static void nonblocking(int fd)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static void fresh_end(void)
{
	buf_fini(&e.got);
	e = (struct end){.reads = 0};
	buf_init(&e.got, 0);
}

static void close_peer(void)
{
	if (peer >= 0)
		close(peer);
	peer = -1;
}

/* `e` and `peer`, connected. */
static void open_pair(enum kind kind)
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

static void close_end(void)
{
	net_stream_close(&e.s);
	RUN_UNTIL(e.closes > 0);
	loop_settle();
	assert_int_equal(e.closes, 1);
	assert_int_equal(e.after_close, 0);
	close_peer();
}

static bool got(const char *text)
{
	return view_eq(buf_view(&e.got), view_str(text));
}

/* --- a callback of the loop that is a turn of its own --- */

static void (*turn_body)(void);
static bool turned;

static void on_turn(struct net_timer *t)
{
	(void)t;
	turn_body();
	turned = true;
}

static void in_a_turn(void (*body)(void))
{
	struct net_timer timer;

	turn_body = body;
	turned = false;
	net_timer_init(&timer, on_turn);
	net_timer_start(&loop, &timer, 0);
	RUN_UNTIL(turned);
}

static void put(const char *text)
{
	buf_put_str(net_stream_out(&e.s), text);
}

/* --- reading --- */

static void bytes_arrive(void **unused)
{
	(void)unused;
	for (enum kind kind = UNIX; kind <= TCP; kind++) {
		open_pair(kind);
		net_stream_read_start(&e.s);
		net_stream_read_start(&e.s);
		assert_int_equal(write(peer, "one", 3), 3);
		RUN_UNTIL(got("one"));
		assert_int_equal(write(peer, "two", 3), 3);
		RUN_UNTIL(got("onetwo"));
		assert_int_equal(e.ends, 0);
		close_end();
	}
}

static void stop_reading(struct end *of)
{
	net_stream_read_stop(&of->s);
}

static void a_web_servers_end_is_told_while_stopped(void **unused)
{
	(void)unused;
	for (enum kind kind = UNIX; kind <= TCP; kind++) {
		open_pair(kind);
		e.s.ops = &server_ops;
		net_stream_read_start(&e.s);
		net_stream_read_stop(&e.s);
		assert_int_equal(write(peer, "unread", 6), 6);
		loop_settle();
		assert_int_equal(e.ends, 0);
		close_peer();
		RUN_UNTIL(e.ends == 1);
		assert_int_equal(e.reads, 0);
		close_end();
	}
}

static void nothing_arrives_while_stopped(void **unused)
{
	(void)unused;
	for (enum kind kind = UNIX; kind <= TCP; kind++) {
		open_pair(kind);
		assert_int_equal(write(peer, "one", 3), 3);
		loop_settle();
		assert_int_equal(e.reads, 0);
		e.on = ON_READ;
		e.act = stop_reading;
		net_stream_read_start(&e.s);
		RUN_UNTIL(got("one"));
		assert_int_equal(write(peer, "two", 3), 3);
		close_peer();
		loop_settle();
		assert_true(got("one"));
		assert_int_equal(e.ends, 0);
		net_stream_read_start(&e.s);
		RUN_UNTIL(e.ends == 1);
		assert_true(got("onetwo"));
		close_end();
	}
}

/* --- writing --- */

static void put_twice(void)
{
	char byte;

	put("one");
	assert_int_equal(recv(peer, &byte, 1, MSG_PEEK), -1);
	assert_int_equal(errno, EAGAIN);
	put("two");
	assert_int_equal(recv(peer, &byte, 1, MSG_PEEK), -1);
}

static void output_leaves_at_the_end_of_the_turn(void **unused)
{
	char text[16];

	(void)unused;
	for (enum kind kind = UNIX; kind <= TCP; kind++) {
		open_pair(kind);
		in_a_turn(put_twice);
		assert_int_equal(recv(peer, text, sizeof text, 0), 6);
		assert_memory_equal(text, "onetwo", 6);
		assert_int_equal(net_stream_backlog(&e.s), 0);
		assert_int_equal(e.fulls + e.drains, 0);
		close_end();
	}
}

static void put_much_and_little(void)
{
	for (int i = 0; i < 100; i++)
		put("0123456789");
}

/* Packets keep their bounds: one packet is one write. */
static void a_turn_is_one_write(void **unused)
{
	char text[2000];

	(void)unused;
	open_pair(PACKETS);
	for (int turn = 0; turn < 3; turn++)
		in_a_turn(put_much_and_little);
	for (int turn = 0; turn < 3; turn++)
		assert_int_equal(recv(peer, text, sizeof text, 0), 1000);
	assert_int_equal(recv(peer, text, sizeof text, 0), -1);
	close_end();
}

static void put_nothing(void)
{
	put("");
}

static void a_turn_without_bytes_is_no_write(void **unused)
{
	char byte;

	(void)unused;
	open_pair(PACKETS);
	in_a_turn(put_nothing);
	assert_int_equal(recv(peer, &byte, 1, 0), -1);
	assert_int_equal(errno, EAGAIN);
	close_end();
}

static void a_flush_does_not_wait_for_the_end(void **unused)
{
	char text[16];

	(void)unused;
	open_pair(UNIX);
	put("one");
	net_stream_flush(&e.s);
	assert_int_equal(recv(peer, text, sizeof text, 0), 3);
	close_end();
}

static void taken_bytes_are_counted_from_the_mark(void **unused)
{
	(void)unused;
	open_pair(UNIX);
	put("one");
	net_stream_flush(&e.s);
	assert_int_equal(e.s.taken_bytes, 3);
	net_stream_mark(&e.s);
	assert_int_equal(e.s.taken_bytes, 0);
	put("four");
	net_stream_flush(&e.s);
	assert_int_equal(e.s.taken_bytes, 4);
	close_end();
}

/* --- the slow reader --- */

static uint8_t pattern(size_t i)
{
	return (uint8_t)(i * 31 + i / 251);
}

static size_t sent, received;
static bool content_wrong;

static void put_piece(void)
{
	uint8_t *at = buf_reserve(net_stream_out(&e.s), PIECE);

	for (size_t i = 0; i < PIECE; i++)
		at[i] = pattern(sent + i);
	buf_commit(&e.s.out, PIECE);
	sent += PIECE;
}

static void take_some(size_t most)
{
	static uint8_t space[PIECE];
	ssize_t n = recv(peer, space, most < sizeof space ? most : sizeof space, 0);

	for (ssize_t i = 0; i < n; i++)
		content_wrong = content_wrong || space[i] != pattern(received + (size_t)i);
	received += n > 0 ? (size_t)n : 0;
}

/* A feeder that stops at `full` and goes on at `drained`: all bytes arrive, in order, and no more than one piece ever
 * waits. */
static void a_slow_reader_bounds_the_memory(void **unused)
{
	(void)unused;
	for (enum kind kind = UNIX; kind <= TCP; kind++) {
		unsigned times_full = 0;
		open_pair(kind);
		sent = received = 0;
		content_wrong = false;
		struct instant begun = clock_now();
		while (received < LARGE) {
			assert_true(instant_since_ms(clock_now(), begun) < PATIENCE_MS);
			bool was_full = net_stream_full(&e.s);
			if (!was_full && sent < LARGE)
				in_a_turn(put_piece);
			else
				take_some(50000);
			times_full += !was_full && net_stream_full(&e.s);
			assert_true(net_stream_backlog(&e.s) <= PIECE);
			loop_turn();
		}
		assert_false(content_wrong);
		RUN_UNTIL(!net_stream_full(&e.s));
		assert_true(times_full > 1);
		assert_int_equal(e.fulls, times_full);
		assert_int_equal(e.drains, e.fulls);
		assert_int_equal(e.s.taken_bytes, LARGE);
		close_end();
	}
}

static void fill(void)
{
	sent = received = 0;
	content_wrong = false;
	while (!net_stream_full(&e.s))
		in_a_turn(put_piece);
}

/* It is told once, however much comes afterwards, and the order is kept. */
static void what_comes_while_full_goes_behind(void **unused)
{
	(void)unused;
	open_pair(UNIX);
	fill();
	in_a_turn(put_piece);
	in_a_turn(put_piece);
	assert_int_equal(e.fulls, 1);
	assert_int_equal(e.drains, 0);
	while (received < sent) {
		take_some(PIECE);
		loop_turn();
	}
	assert_false(content_wrong);
	RUN_UNTIL(e.drains == 1);
	assert_int_equal(e.fulls, 1);
	assert_int_equal(net_stream_backlog(&e.s), 0);
	close_end();
}

/* --- the end --- */

static void a_clean_end_is_told_once(void **unused)
{
	(void)unused;
	for (enum kind kind = UNIX; kind <= TCP; kind++) {
		open_pair(kind);
		net_stream_read_start(&e.s);
		assert_int_equal(write(peer, "bye", 3), 3);
		close_peer();
		RUN_UNTIL(e.ends > 0);
		loop_settle();
		assert_true(got("bye"));
		assert_int_equal(e.ends, 1);
		assert_int_equal(e.end_err, ERR_CLOSED);
		net_stream_read_start(&e.s);
		loop_settle();
		assert_int_equal(e.ends, 1);
		close_end();
	}
}

/* Ends the peer with a reset: a Unix socket by bytes that it has not read, TCP by its linger time of 0. */
static void reset_peer(enum kind kind)
{
	struct linger linger = {.l_onoff = 1, .l_linger = 0};

	if (kind == TCP) {
		setsockopt(peer, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
	} else {
		put("unread");
		net_stream_flush(&e.s);
	}
	close_peer();
}

static void a_reset_is_told(void **unused)
{
	(void)unused;
	for (enum kind kind = UNIX; kind <= TCP; kind++) {
		open_pair(kind);
		net_stream_read_start(&e.s);
		reset_peer(kind);
		RUN_UNTIL(e.ends > 0);
		loop_settle();
		assert_int_equal(e.ends, 1);
		assert_int_equal(e.end_err, ERR_RESET);
		close_end();
	}
}

static void what_came_before_a_reset_is_read(void **unused)
{
	(void)unused;
	for (enum kind kind = UNIX; kind <= TCP; kind++) {
		open_pair(kind);
		assert_int_equal(write(peer, "bye", 3), 3);
		reset_peer(kind);
		net_stream_read_start(&e.s);
		RUN_UNTIL(e.ends > 0);
		assert_int_equal(e.end_err, ERR_RESET);
		assert_true(got("bye"));
		close_end();
	}
}

static void who_has_said_all_is_told_the_rest(void **unused)
{
	static char text[PIECE];
	size_t come = 0;

	(void)unused;
	for (enum kind kind = UNIX; kind <= TCP; kind++, come = 0) {
		open_pair(kind);
		e.s.ops = &listening_ops;
		net_stream_read_start(&e.s);
		assert_int_equal(write(peer, "bye", 3), 3);
		shutdown(peer, SHUT_WR);
		RUN_UNTIL(e.said_alls > 0);
		assert_true(got("bye"));
		memset(buf_reserve(net_stream_out(&e.s), LARGE), 'x', LARGE);
		buf_commit(net_stream_out(&e.s), LARGE);
		net_stream_flush(&e.s);
		assert_int_equal(e.fulls, 1);
		while (come < LARGE) {
			ssize_t n = recv(peer, text, sizeof text, MSG_DONTWAIT);
			come += n > 0 ? (size_t)n : 0;
			loop_turn();
		}
		RUN_UNTIL(e.drains == 1);
		net_stream_read_start(&e.s);
		loop_settle();
		assert_int_equal(e.said_alls, 1);
		assert_int_equal(e.ends, 0);
		close_end();
	}
}

/* What it said last is there when it is read again. Until then nothing is told, and the loop has nothing to do. */
static void what_was_said_while_nothing_is_read_waits(void **unused)
{
	(void)unused;
	for (enum kind kind = UNIX; kind <= TCP; kind++) {
		open_pair(kind);
		e.s.ops = &listening_ops;
		net_stream_read_start(&e.s);
		net_stream_read_stop(&e.s);
		assert_int_equal(write(peer, "bye", 3), 3);
		shutdown(peer, SHUT_WR);
		RUN_UNTIL(e.s.half_closed);
		struct pollfd events = {.fd = uv_backend_fd(&loop.uv), .events = POLLIN};
		assert_int_equal(poll(&events, 1, 0), 0);
		loop_settle();
		assert_int_equal(e.reads + e.said_alls + e.ends, 0);
		net_stream_read_start(&e.s);
		RUN_UNTIL(e.said_alls > 0);
		assert_true(got("bye"));
		assert_int_equal(e.ends, 0);
		close_end();
	}
}

/* Before it has said all, and afterwards; a TCP connection tells only by a reset. */
static void who_has_gone_altogether_has_ended(void **unused)
{
	(void)unused;
	for (int said = 0; said <= 1; said++) {
		for (enum kind kind = UNIX; kind <= TCP; kind++) {
			open_pair(kind);
			e.s.ops = &listening_ops;
			net_stream_read_start(&e.s);
			net_stream_read_stop(&e.s);
			if (said) {
				shutdown(peer, SHUT_WR);
				RUN_UNTIL(e.s.half_closed);
			}
			reset_peer(kind);
			RUN_UNTIL(e.ends > 0);
			loop_settle();
			assert_int_equal(e.ends, 1);
			assert_int_equal(e.said_alls, 0);
			close_end();
		}
	}
	open_pair(UNIX);
	e.s.ops = &listening_ops;
	net_stream_read_start(&e.s);
	net_stream_read_stop(&e.s);
	shutdown(peer, SHUT_WR);
	RUN_UNTIL(e.s.half_closed);
	close_peer();
	RUN_UNTIL(e.ends > 0);
	assert_int_equal(e.end_err, ERR_CLOSED);
	/* What is said to nobody is not kept. */
	buf_put_str(net_stream_out(&e.s), "anybody?");
	net_stream_flush(&e.s);
	assert_int_equal(net_stream_backlog(&e.s), 0);
	close_end();
}

static void writing_to_the_dead_ends_it(void **unused)
{
	(void)unused;
	for (enum kind kind = UNIX; kind <= TCP; kind++) {
		open_pair(kind);
		e.s.ops = &server_ops;
		close_peer();
		for (int i = 0; i < 3 && e.ends == 0; i++) {
			put("hello?");
			net_stream_flush(&e.s);
			loop_settle();
		}
		assert_int_equal(e.ends, 1);
		assert_int_equal(e.end_err, ERR_RESET);
		put("more");
		net_stream_flush(&e.s);
		loop_settle();
		assert_int_equal(e.ends, 1);
		close_end();
	}
}

static void death_while_full_is_told(void **unused)
{
	(void)unused;
	open_pair(UNIX);
	e.s.ops = &server_ops;
	fill();
	close_peer();
	RUN_UNTIL(e.ends > 0);
	loop_settle();
	assert_int_equal(e.ends, 1);
	assert_int_equal(e.end_err, ERR_RESET);
	assert_int_equal(e.drains, 0);
	close_end();
}

/* An application that answers without reading the whole body: its answer is there, though writing fails. */
static void an_answer_is_read_although_writing_fails(void **unused)
{
	(void)unused;
	open_pair(UNIX);
	assert_int_equal(write(peer, "413", 3), 3);
	close_peer();
	net_stream_read_start(&e.s);
	put("more body");
	net_stream_flush(&e.s);
	RUN_UNTIL(e.ends > 0);
	assert_true(got("413"));
	close_end();
}

static void a_shutdown_ends_one_way(void **unused)
{
	char text[16];

	(void)unused;
	open_pair(UNIX);
	net_stream_read_start(&e.s);
	put("last");
	net_stream_flush(&e.s);
	net_stream_shutdown(&e.s);
	assert_int_equal(recv(peer, text, sizeof text, 0), 4);
	assert_int_equal(recv(peer, text, sizeof text, 0), 0);
	assert_int_equal(write(peer, "reply", 5), 5);
	RUN_UNTIL(got("reply"));
	close_end();
}

static void stale_sees_bytes_ends_and_resets(void **unused)
{
	(void)unused;
	for (enum kind kind = UNIX; kind <= TCP; kind++) {
		open_pair(kind);
		assert_false(net_stream_stale(&e.s));
		assert_int_equal(write(peer, "x", 1), 1);
		RUN_UNTIL(net_stream_stale(&e.s)); /* loopback TCP may take a moment */
		net_stream_read_start(&e.s);
		RUN_UNTIL(got("x")); /* it took nothing */
		net_stream_read_stop(&e.s);
		assert_false(net_stream_stale(&e.s));
		close_peer();
		RUN_UNTIL(net_stream_stale(&e.s));
		close_end();
		open_pair(kind);
		reset_peer(kind);
		struct pollfd arrival = {.fd = e.s.fd, .events = POLLIN};
		assert_int_equal(poll(&arrival, 1, PATIENCE_MS), 1);
		assert_true(net_stream_stale(&e.s)); /* at the first look, which takes the error away */
		close_end();
	}
}

/* --- closing, whatever happens at the time --- */

static void close_it(struct end *of)
{
	net_stream_close(&of->s);
	net_stream_close(&of->s);
}

static void close_in_any_event(void **unused)
{
	(void)unused;
	open_pair(UNIX);
	e.on = ON_READ;
	e.act = close_it;
	net_stream_read_start(&e.s);
	assert_int_equal(write(peer, "x", 1), 1);
	RUN_UNTIL(e.reads > 0);
	close_end();

	open_pair(UNIX);
	e.on = ON_ENDED;
	e.act = close_it;
	net_stream_read_start(&e.s);
	close_peer();
	RUN_UNTIL(e.ends > 0);
	close_end();

	open_pair(UNIX);
	e.on = ON_FULL;
	e.act = close_it;
	sent = 0;
	while (e.fulls == 0)
		in_a_turn(put_piece);
	close_end();

	open_pair(UNIX);
	e.on = ON_DRAINED;
	e.act = close_it;
	fill();
	while (e.drains == 0) {
		take_some(PIECE);
		loop_turn();
	}
	close_end();
}

static void put_and_close(void)
{
	put("never");
	net_stream_close(&e.s);
}

static void close_in_any_state(void **unused)
{
	char byte;

	(void)unused;
	open_pair(UNIX);
	close_end();

	open_pair(UNIX);
	net_stream_read_start(&e.s);
	assert_int_equal(write(peer, "x", 1), 1);
	close_end();
	assert_int_equal(e.reads, 0);

	open_pair(UNIX); /* what was not sent is dropped */
	in_a_turn(put_and_close);
	assert_int_equal(recv(peer, &byte, 1, 0), 0);
	close_end();

	open_pair(UNIX);
	fill();
	close_end();
	assert_int_equal(e.drains + e.ends, 0);
}

static void put_and_close_from_inside(struct end *of)
{
	put("never");
	net_stream_close(&of->s);
	net_stream_flush(&of->s);
	net_stream_read_start(&of->s);
	net_stream_read_stop(&of->s);
	net_stream_shutdown(&of->s);
}

static void a_closed_stream_does_nothing(void **unused)
{
	char byte;

	(void)unused;
	open_pair(UNIX);
	e.on = ON_READ;
	e.act = put_and_close_from_inside;
	net_stream_read_start(&e.s);
	assert_int_equal(write(peer, "x", 1), 1);
	RUN_UNTIL(e.closes > 0);
	assert_int_equal(recv(peer, &byte, 1, 0), 0);
	close_end();
}

/* --- connecting --- */

static void connect_to(const struct net_address *to)
{
	fresh_end();
	assert_int_equal(net_stream_connect(&e.s, &loop, &ops, to), 0);
	assert_int_equal(e.connects, 0); /* in a later turn */
}

static struct net_address unix_at(const char *name)
{
	struct net_address a;

	assert_true(net_address_unix(&a, in_folder(name)));
	return a;
}

static int listen_unix(const struct net_address *a, int backlog)
{
	static const struct net_unix_access access = {.mode = 0600, .uid = (uid_t)-1, .gid = (gid_t)-1};
	int fd = -1;

	assert_int_equal(net_listen(a, backlog, &access, &fd), 0);
	return fd;
}

static int listen_tcp(struct net_address *a)
{
	struct sockaddr_in bound;
	socklen_t len = sizeof bound;
	int fd = -1;

	assert_true(net_address_tcp(a, "127.0.0.1", 0));
	assert_int_equal(net_listen(a, 8, NULL, &fd), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&bound, &len), 0);
	memcpy(&a->tcp, &bound, sizeof bound);
	return fd;
}

static void a_connection_carries_bytes(void **unused)
{
	struct net_address a[2] = {unix_at("s")};
	int fds[2] = {listen_unix(&a[0], 8), listen_tcp(&a[1])};
	char text[8];

	(void)unused;
	for (size_t i = 0; i < 2; i++) {
		connect_to(&a[i]);
		RUN_UNTIL(e.connects == 1);
		assert_int_equal(e.connect_err, 0);
		peer = accept(fds[i], NULL, NULL);
		assert_true(peer >= 0);
		put("hello");
		net_stream_flush(&e.s);
		assert_int_equal(recv(peer, text, sizeof text, 0), 5);
		net_stream_read_start(&e.s);
		assert_int_equal(write(peer, "hello", 5), 5);
		RUN_UNTIL(got("hello"));
		assert_int_equal(e.connects, 1);
		close_end();
		close(fds[i]);
	}
}

static void expect_no_connection(const struct net_address *a, int want)
{
	connect_to(a);
	RUN_UNTIL(e.connects > 0);
	loop_settle();
	assert_int_equal(e.connects, 1);
	assert_int_equal(e.connect_err, want);
	assert_int_equal(e.ends, 0);
	close_end();
}

static void refusals_are_told_apart(void **unused)
{
	struct net_address none = unix_at("none"), dead = unix_at("dead"), file = unix_at("file"), tcp, away;

	(void)unused;
	close(listen_unix(&dead, 8));
	close(open(file.path, O_CREAT | O_WRONLY, 0600));
	close(listen_tcp(&tcp));
	assert_true(net_address_tcp(&away, "255.255.255.255", 9));
	expect_no_connection(&none, ERR_REFUSED);
	expect_no_connection(&dead, ERR_REFUSED);
	expect_no_connection(&file, ERR_REFUSED);
	expect_no_connection(&tcp, ERR_REFUSED);
	expect_no_connection(&away, ERR_REFUSED);
}

/* A7: "try again", which is no refusal. */
static void a_full_backlog_is_busy(void **unused)
{
	struct net_address a = unix_at("s");
	int listener = listen_unix(&a, 0);
	int waiting[8];
	size_t count = 0;

	(void)unused;
	/* Connections that nobody accepts, until one does not fit. */
	for (; count < 8; count++) {
		struct sockaddr_un un = {.sun_family = AF_UNIX};
		memcpy(un.sun_path, a.path, sizeof un.sun_path);
		waiting[count] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
		if (connect(waiting[count], (struct sockaddr *)&un, sizeof un) != 0)
			break;
	}
	assert_in_range(count, 1, 7);
	expect_no_connection(&a, ERR_BUSY);
	for (size_t i = 0; i <= count; i++)
		close(waiting[i]);
	close(listener);
}

static void close_while_connecting(void **unused)
{
	struct net_address a[2] = {unix_at("s")};
	int fds[2] = {listen_unix(&a[0], 8), listen_tcp(&a[1])};

	(void)unused;
	for (size_t i = 0; i < 2; i++) {
		connect_to(&a[i]);
		close_end();
		assert_int_equal(e.connects, 0);
		connect_to(&a[i]);
		e.on = ON_CONNECTED;
		e.act = close_it;
		RUN_UNTIL(e.connects == 1);
		close_end();
		close(fds[i]);
	}
}

static int set_up(void **unused)
{
	e = (struct end){.reads = 0};
	return folder_make() || loop_set_up(unused);
}

static int tear_down(void **unused)
{
	if (e.s.loop && e.closes == 0)
		net_stream_close(&e.s); /* after a failure */
	close_peer();
	buf_fini(&e.got);
	return loop_tear_down(unused) || folder_remove();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(bytes_arrive),
	    TEST(a_web_servers_end_is_told_while_stopped),
	    TEST(nothing_arrives_while_stopped),
	    TEST(output_leaves_at_the_end_of_the_turn),
	    TEST(a_turn_is_one_write),
	    TEST(a_turn_without_bytes_is_no_write),
	    TEST(a_flush_does_not_wait_for_the_end),
	    TEST(taken_bytes_are_counted_from_the_mark),
	    TEST(a_slow_reader_bounds_the_memory),
	    TEST(what_comes_while_full_goes_behind),
	    TEST(a_clean_end_is_told_once),
	    TEST(a_reset_is_told),
	    TEST(what_came_before_a_reset_is_read),
	    TEST(who_has_said_all_is_told_the_rest),
	    TEST(what_was_said_while_nothing_is_read_waits),
	    TEST(who_has_gone_altogether_has_ended),
	    TEST(writing_to_the_dead_ends_it),
	    TEST(death_while_full_is_told),
	    TEST(an_answer_is_read_although_writing_fails),
	    TEST(a_shutdown_ends_one_way),
	    TEST(stale_sees_bytes_ends_and_resets),
	    TEST(close_in_any_event),
	    TEST(close_in_any_state),
	    TEST(a_closed_stream_does_nothing),
	    TEST(a_connection_carries_bytes),
	    TEST(refusals_are_told_apart),
	    TEST(a_full_backlog_is_busy),
	    TEST(close_while_connecting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
