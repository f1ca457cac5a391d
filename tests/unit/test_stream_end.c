/* How the buffered stream ends: by the other side, by a fault, in one direction. */
#include "tests/unit/stream_fixture.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
