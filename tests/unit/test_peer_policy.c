/* Credits, which of two connections stays, and back-off. */
#include "cluster/peer_policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void what_is_free(void **state)
{
	(void)state;
	assert_true(peer_is_free(PEER_HELLO) && peer_is_free(PEER_GOODBYE) && peer_is_free(PEER_BEAT) &&
		    peer_is_free(PEER_CREDIT));
	assert_false(peer_is_free(PEER_VIEW) || peer_is_free(PEER_CONTROL) || peer_is_free(PEER_REPORT));
}

static void a_window(void **state)
{
	struct peer_window w = {0};

	(void)state;
	assert_int_equal(peer_window_left(&w), PEER_WINDOW);
	assert_true(peer_window_takes(&w, PEER_HEAD_BYTES + PEER_BODY_MAX)); /* longer than all of it */
	peer_window_spend(&w, PEER_WINDOW - 100);
	assert_true(peer_window_takes(&w, 100));
	assert_false(peer_window_takes(&w, 101));
	assert_true(peer_window_refill(&w, PEER_WINDOW - 100));
	assert_false(peer_window_refill(&w, 1));
	assert_int_equal(w.out, 0);
	peer_window_spend(&w, PEER_WINDOW_HALF);
	assert_true(peer_window_takes(&w, PEER_HEAD_BYTES + PEER_BODY_MAX));
	peer_window_spend(&w, 1);
	assert_false(peer_window_takes(&w, PEER_HEAD_BYTES + PEER_BODY_MAX));
	peer_window_spend(&w, PEER_BODY_MAX);
	assert_int_equal(peer_window_left(&w), 0);
	assert_false(peer_window_takes(&w, 1));
}

static void given_back_by_halves(void **state)
{
	struct peer_window w = {0};

	(void)state;
	peer_window_spend(&w, PEER_WINDOW);
	assert_int_equal(peer_window_deal(&w, PEER_WINDOW_HALF - 1), 0);
	assert_int_equal(w.out, PEER_WINDOW);
	assert_int_equal(peer_window_deal(&w, 1), PEER_WINDOW_HALF);
	assert_int_equal(w.out, PEER_WINDOW_HALF);
	assert_int_equal(peer_window_deal(&w, PEER_WINDOW_HALF), PEER_WINDOW_HALF);
	assert_int_equal(w.out, 0);
}

/* Whatever the frames and however late they are dealt with, the longest frame can leave in the end: what is never given
 * back is less than half. */
static void never_stuck(void **state)
{
	struct peer_window sender = {0}, receiver = {0};
	uint32_t random = 1;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		random = random * 1664525 + 1013904223;
		size_t bytes = i % 50 == 0 ? PEER_HEAD_BYTES + PEER_BODY_MAX : 16 + random % 100000;
		while (!peer_window_takes(&sender, bytes)) {
			size_t due = receiver.out - receiver.dealt;
			assert_true(due > 0);
			uint32_t credit = peer_window_deal(&receiver, due < 7777 ? due : 7777);
			assert_true(peer_window_refill(&sender, credit));
		}
		assert_true(peer_window_takes(&receiver, bytes));
		peer_window_spend(&sender, bytes);
		peer_window_spend(&receiver, bytes);
		assert_true(receiver.out <= PEER_WINDOW_HALF + PEER_HEAD_BYTES + PEER_BODY_MAX);
	}
}

/* Both ends, each with the connections in another order, must keep the same one. */
static void rivals(void **state)
{
	struct view a = VIEW("a"), b = VIEW("b");
	struct instant t0 = {1000}, soon = {1000 + PEER_GREET_MS}, late = {1001 + PEER_GREET_MS};
	struct peer_rival ours = {.dialled_by_us = true, .open_since = t0};
	struct peer_rival theirs = {.dialled_by_us = false, .open_since = t0};

	(void)state;
	/* a's connection is there, b's comes. */
	assert_false(peer_new_one_stays(a, b, &ours, false, soon));
	assert_false(peer_new_one_stays(b, a, &theirs, true, soon));
	/* b's is there, a's comes. */
	assert_true(peer_new_one_stays(a, b, &theirs, true, soon));
	assert_true(peer_new_one_stays(b, a, &ours, false, soon));
	/* The same side dials again: it has lost the first. */
	assert_true(peer_new_one_stays(a, b, &theirs, false, soon));
	assert_true(peer_new_one_stays(b, a, &theirs, false, soon));
	/* Long after: whoever dials has none any more. */
	assert_true(peer_new_one_stays(a, b, &ours, false, late));
	assert_true(peer_new_one_stays(b, a, &theirs, true, late));
}

static void backoff(void **state)
{
	(void)state;
	assert_int_equal(peer_backoff_ms(0, 0), 38);
	for (unsigned failures = 0; failures < 40; failures++) {
		uint64_t most = failures < 6 ? 50U << failures : 2000, least = UINT64_MAX, greatest = 0;
		for (uint32_t random = 0; random < 5000; random++) {
			uint64_t ms = peer_backoff_ms(failures, random * 0x9e3779b9U);
			least = ms < least ? ms : least;
			greatest = ms > greatest ? ms : greatest;
		}
		assert_int_equal(greatest, most);
		assert_int_equal(least, most - most / 4);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_free), cmocka_unit_test(a_window), cmocka_unit_test(given_back_by_halves),
	    cmocka_unit_test(never_stuck),  cmocka_unit_test(rivals),   cmocka_unit_test(backoff),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
