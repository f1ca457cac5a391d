/* The buffered stream over Unix sockets and TCP: reading, writing, closing, connecting. */
#include "tests/unit/stream_fixture.h"

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
