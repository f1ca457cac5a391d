/* A channel between two nodes: it opens wherever its bytes are cut, carries what it is given, ends, and is resumed; a
 * reload leaves it alone. test_tls_refusal.c has those who are not let in. */
#include "tests/unit/tls_pair.h"

#include <stdlib.h>

static void say(struct end *from, const char *text)
{
	assert_int_equal(tls_channel_write(from->channel, view_str(text), &from->out), 0);
}

static void assert_heard(struct end *e, const char *text)
{
	assert_int_equal(buf_len(&e->plain), strlen(text));
	assert_memory_equal(buf_view(&e->plain).at, text, strlen(text));
	buf_clear(&e->plain);
}

static void both_know_each_other(void **state)
{
	(void)state;
	connect_ends(alpha, beta, "beta");
	assert_open();
	assert_string_equal(tls_channel_peer(dials.channel), "beta");
	assert_string_equal(tls_channel_peer(listens.channel), "alpha");
	assert_string_equal(tls_reason_text(tls_channel_failure(dials.channel)->reason), "none");
}

static void an_unknown_address_tells_its_name(void **state)
{
	(void)state;
	connect_ends(alpha, beta, NULL);
	assert_open();
	assert_string_equal(tls_channel_peer(dials.channel), "beta");
}

static void nothing_is_said_before_it_is_open(void **state)
{
	(void)state;
	end_open(&dials, alpha, TLS_DIALS, "beta", day(1));
	end_open(&listens, beta, TLS_LISTENS, NULL, day(1));
	assert_int_equal(buf_len(&listens.out), 0);
	assert_int_equal(tls_channel_write(dials.channel, VIEW("x"), &dials.out), ERR_BUSY);
	assert_string_equal(tls_channel_peer(dials.channel), "");
}

/* Each flight is cut once, at every byte. */
static void every_split(void **state)
{
	(void)state;
	for (size_t first = 1; first < 1200; first += first < 200 ? 1 : 7) {
		end_open(&dials, alpha, TLS_DIALS, NULL, day(1));
		end_open(&listens, beta, TLS_LISTENS, NULL, day(1));
		pump_in(first, SIZE_MAX);
		assert_open();
		say(&dials, "a question");
		say(&listens, "an answer");
		pump_in(first % 32 + 1, SIZE_MAX);
		assert_heard(&listens, "a question");
		assert_heard(&dials, "an answer");
		hang_up();
	}
}

static void byte_by_byte(void **state)
{
	(void)state;
	end_open(&dials, alpha, TLS_DIALS, "beta", day(1));
	end_open(&listens, beta, TLS_LISTENS, NULL, day(1));
	pump_in(1, 1);
	assert_open();
	say(&dials, "a question");
	say(&dials, ", and more");
	pump_in(1, 1);
	assert_heard(&listens, "a question, and more");
}

/* --- much data --- */

enum { PIECE = 65536, PIECES = 160 };

static void put_piece(struct end *e, uint8_t *bytes, unsigned n)
{
	for (size_t i = 0; i < PIECE; i++)
		bytes[i] = (uint8_t)(i * 31 + n);
	assert_int_equal(tls_channel_write(e->channel, view_of(bytes, PIECE), &e->out), 0);
	assert_true(buf_len(&e->out) <= PIECE + 22 * (PIECE / TLS_PLAIN_MAX));
}

static void assert_piece(struct end *e, uint8_t *bytes, unsigned n)
{
	for (size_t i = 0; i < PIECE; i++)
		bytes[i] = (uint8_t)(i * 31 + n);
	assert_int_equal(buf_len(&e->plain), PIECE);
	assert_memory_equal(buf_view(&e->plain).at, bytes, PIECE);
	buf_consume(&e->plain, PIECE);
}

/* 10 MiB each way at once; neither buffer grows beyond what was put into it and a record. */
static void much_in_both_directions(void **state)
{
	uint8_t *bytes = malloc(PIECE);

	(void)state;
	connect_ends(alpha, beta, "beta");
	assert_open();
	buf_fini(&dials.plain);
	buf_fini(&listens.plain);
	dials.plain.max_bytes = listens.plain.max_bytes = PIECE + (size_t)2 * TLS_PLAIN_MAX;
	for (unsigned n = 0; n < PIECES; n++) {
		put_piece(&dials, bytes, n);
		put_piece(&listens, bytes, n + 1);
		pump_in(1 + n, 1 + 997 * n);
		assert_piece(&listens, bytes, n);
		assert_piece(&dials, bytes, n + 1);
	}
	free(bytes);
	dials.plain.max_bytes = listens.plain.max_bytes = 0;
}

/* A record of one byte is 23 on the wire; a longer one is the news of a new key. */
static void keys_are_renewed(void **state)
{
	unsigned news = 0;

	(void)state;
	connect_ends(alpha, beta, "beta");
	for (unsigned n = 0; n < 2 * TLS_REKEY_RECORDS + 2; n++) {
		say(&dials, "x");
		news += buf_len(&dials.out) > 23;
		(void)carry(&dials, &listens, SIZE_MAX, SIZE_MAX);
		assert_heard(&listens, "x");
	}
	assert_int_equal(news, 2);
	say(&listens, "y");
	pump();
	assert_heard(&dials, "y");
}

static void a_buffer_that_is_full_fails_it(void **state)
{
	uint8_t *bytes = calloc(1, PIECE);

	(void)state;
	connect_ends(alpha, beta, "beta");
	buf_fini(&dials.out);
	dials.out.max_bytes = PIECE / 2;
	assert_int_equal(tls_channel_write(dials.channel, view_of(bytes, PIECE), &dials.out), ERR_CLOSED);
	assert_failed(dials, "out of memory", false);
	free(bytes);
	dials.out.max_bytes = 0;
}

/* --- the end --- */

static void an_end_is_heard_and_answers_still_come(void **state)
{
	(void)state;
	connect_ends(alpha, beta, "beta");
	say(&dials, "last words");
	tls_channel_end(dials.channel, &dials.out);
	tls_channel_end(dials.channel, &dials.out);
	assert_int_equal(tls_channel_write(dials.channel, VIEW("x"), &dials.out), ERR_CLOSED);
	(void)carry(&dials, &listens, SIZE_MAX, SIZE_MAX);
	assert_heard(&listens, "last words");
	assert_state(listens, TLS_ENDED);
	assert_state(dials, TLS_OPEN);
	tls_channel_end(listens.channel, &listens.out);
	pump();
	assert_state(dials, TLS_ENDED);
	assert_string_equal(tls_reason_text(tls_channel_failure(dials.channel)->reason), "none");
}

static void an_answer_after_an_end(void **state)
{
	(void)state;
	connect_ends(alpha, beta, "beta");
	say(&listens, "on its way");
	tls_channel_end(dials.channel, &dials.out);
	pump();
	assert_heard(&dials, "on its way");
}

/* Whoever cuts the connection makes no end of it. */
static void a_forged_end_is_none(void **state)
{
	(void)state;
	connect_ends(alpha, beta, "beta");
	static const uint8_t alert[] = {21, 3, 3, 0, 2, 1, 0};
	tls_channel_feed(listens.channel, view_of(alert, sizeof alert), &listens.plain, &listens.out);
	assert_state(listens, TLS_FAILED);
}

static void given_up_before_it_was_open(void **state)
{
	(void)state;
	end_open(&dials, alpha, TLS_DIALS, "beta", day(1));
	tls_channel_end(dials.channel, &dials.out);
	assert_state(dials, TLS_ENDED);
}

/* --- sessions that are taken up again --- */

static void resumed(struct tls_context *from, struct tls_context *to, bool expect)
{
	connect_ends(from, to, "beta");
	assert_open();
	assert_int_equal(tls_channel_resumed(dials.channel), expect);
	assert_int_equal(tls_channel_resumed(listens.channel), expect);
	assert_string_equal(tls_channel_peer(dials.channel), "beta");
	assert_string_equal(tls_channel_peer(listens.channel), "alpha");
	hang_up();
}

/* Also after links that were cut, as these are. */
static void the_second_time_is_shorter(void **state)
{
	(void)state;
	resumed(alpha, beta, false);
	for (int i = 0; i < 5; i++)
		resumed(alpha, beta, true);
}

static void swap_ends(struct end *a, struct end *b)
{
	struct end kept = *a;

	*a = *b;
	*b = kept;
}

/* A pair has two links, dialled one after the other; when both are cut they are dialled again at once, and neither
 * waits for the other's tickets. */
static void both_links_are_resumed(void **state)
{
	struct end other_dials = {.channel = NULL}, other_listens = {.channel = NULL};

	(void)state;
	for (int round = 0; round < 3; round++) {
		for (int link = 0; link < 2; link++) {
			end_open(&listens, beta, TLS_LISTENS, NULL, day(1));
			end_open(&dials, alpha, TLS_DIALS, "beta", day(1));
			if (round == 0)
				pump();
			swap_ends(&dials, &other_dials);
			swap_ends(&listens, &other_listens);
		}
		for (int link = 0; link < 2; link++) {
			pump();
			assert_open();
			assert_int_equal(tls_channel_resumed(dials.channel), round > 0 || link == 1);
			swap_ends(&dials, &other_dials);
			swap_ends(&listens, &other_listens);
		}
		hang_up();
		end_close(&other_dials);
		end_close(&other_listens);
	}
}

static void another_node_gets_no_session_of_it(void **state)
{
	(void)state;
	issue("eu", "gamma");
	struct tls_context *gamma = load("gamma");
	resumed(alpha, beta, false);
	connect_ends(alpha, gamma, "gamma");
	assert_open();
	assert_false(tls_channel_resumed(dials.channel));
	hang_up();
	resumed(alpha, beta, true); /* its tickets were not spent on gamma */
	tls_context_unref(&gamma);
}

static void a_reload_forgets_sessions(void **state)
{
	(void)state;
	resumed(alpha, beta, false);
	struct tls_context *again = load("beta");
	resumed(alpha, again, false);
	resumed(alpha, again, true);
	tls_context_unref(&again);
}

static void resuming_is_refused_after_a_revocation(void **state)
{
	(void)state;
	resumed(alpha, beta, false);
	resumed(alpha, beta, true);
	revoke_node("eu", "alpha");
	struct tls_context *again = load("beta");
	connect_ends(alpha, again, "beta");
	assert_failed(listens, "revoked", false);
	assert_failed(dials, "revoked", true);
	hang_up();
	tls_context_unref(&again);
}

/* The ticket is good, and its certificate ended meanwhile: it is shown again, and refused by its name. */
static void resuming_is_refused_to_whom_has_expired(void **state)
{
	(void)state;
	issue_at("eu", "gamma", day(-360));
	struct tls_context *gamma = load("gamma");
	connect_ends(gamma, beta, "beta");
	assert_open();
	hang_up();
	end_open(&listens, beta, TLS_LISTENS, NULL, day(10));
	end_open(&dials, gamma, TLS_DIALS, "beta", day(10));
	pump();
	assert_failed(listens, "expired", false);
	assert_failed(dials, "expired", true);
	hang_up();
	tls_context_unref(&gamma);
}

static void resuming_is_not_tried_with_whom_has_expired(void **state)
{
	(void)state;
	issue_at("eu", "gamma", day(-360));
	struct tls_context *gamma = load("gamma");
	connect_ends(beta, gamma, "gamma");
	assert_open();
	hang_up();
	end_open(&listens, gamma, TLS_LISTENS, NULL, day(10));
	end_open(&dials, beta, TLS_DIALS, "gamma", day(10));
	pump();
	assert_failed(dials, "expired", false);
	assert_failed(listens, "expired", true);
	hang_up();
	tls_context_unref(&gamma);
}

/* --- reload --- */

static void an_open_channel_outlives_a_reload(void **state)
{
	(void)state;
	connect_ends(alpha, beta, "beta");
	assert_open();
	revoke_node("eu", "alpha");
	tls_context_unref(&beta);
	beta = load("beta");
	say(&dials, "still here");
	say(&listens, "so am I");
	pump();
	assert_heard(&listens, "still here");
	assert_heard(&dials, "so am I");
	hang_up();
	connect_ends(alpha, beta, "beta");
	assert_failed(listens, "revoked", false);
}

static void a_new_certificate_is_used_after_a_reload(void **state)
{
	(void)state;
	issue_at("eu", "beta", day(-360));
	struct tls_context *old = load("beta");
	assert_int_equal(tls_context_expires(old).s, day(5).s);
	issue("eu", "beta");
	struct tls_context *new = load("beta");
	assert_int_equal(tls_context_expires(new).s, day(365).s);
	connect_ends(alpha, new, "beta");
	assert_open();
	hang_up();
	tls_context_unref(&old);
	tls_context_unref(&new);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(both_know_each_other),
	    TEST(an_unknown_address_tells_its_name),
	    TEST(nothing_is_said_before_it_is_open),
	    TEST(every_split),
	    TEST(byte_by_byte),
	    TEST(much_in_both_directions),
	    TEST(keys_are_renewed),
	    TEST(a_buffer_that_is_full_fails_it),
	    TEST(an_end_is_heard_and_answers_still_come),
	    TEST(an_answer_after_an_end),
	    TEST(a_forged_end_is_none),
	    TEST(given_up_before_it_was_open),
	    TEST(the_second_time_is_shorter),
	    TEST(both_links_are_resumed),
	    TEST(another_node_gets_no_session_of_it),
	    TEST(a_reload_forgets_sessions),
	    TEST(resuming_is_refused_after_a_revocation),
	    TEST(resuming_is_refused_to_whom_has_expired),
	    TEST(resuming_is_not_tried_with_whom_has_expired),
	    TEST(an_open_channel_outlives_a_reload),
	    TEST(a_new_certificate_is_used_after_a_reload),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
