/* The pool's policy: who gets the next request, and how long a backend that fails is left alone. */
#include "backend/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

enum { ROUNDS = 20000, MOST = 8 };

static uint64_t seed = 88172645463325252U;

static uint32_t draw(uint32_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 20) % below;
}

static struct instant at(uint64_t ms)
{
	return (struct instant){.ms = 1000 + ms};
}

/* --- who gets the next request --- */

static void nobody_usable_is_none(void **unused)
{
	struct policy_candidate c[] = {{.weight = 1, .usable = false}, {.weight = 9, .usable = false}};

	(void)unused;
	assert_int_equal(policy_pick(c, 2, 0), POLICY_NONE);
	assert_int_equal(policy_pick(c, 0, 0), POLICY_NONE);
}

static void the_least_busy_gets_it(void **unused)
{
	struct policy_candidate c[] = {{1, 3, true}, {1, 2, true}, {1, 0, false}, {1, 4, true}};

	(void)unused;
	for (size_t start = 0; start < 8; start++)
		assert_int_equal(policy_pick(c, 4, start), 1);
}

/* The comparison is of load after the request, in whole numbers: 3/2 < 2/1, but 4/2 is as much as 2/1. */
static void a_heavier_one_may_have_more(void **unused)
{
	struct policy_candidate c[] = {{1, 1, true}, {2, 2, true}};

	(void)unused;
	assert_int_equal(policy_pick(c, 2, 0), 1);
	assert_int_equal(policy_pick(c, 2, 1), 1);
	c[1].active = 3;
	assert_int_equal(policy_pick(c, 2, 0), 0);
	assert_int_equal(policy_pick(c, 2, 1), 1);
	c[1].active = 4;
	assert_int_equal(policy_pick(c, 2, 1), 0);
}

static void ties_rotate_from_start(void **unused)
{
	struct policy_candidate c[] = {{1, 0, true}, {1, 0, true}, {1, 0, false}, {1, 0, true}};
	const int want[] = {0, 1, 3, 3};

	(void)unused;
	for (size_t start = 0; start < 40; start++)
		assert_int_equal(policy_pick(c, 4, start), want[start % 4]);
	assert_int_equal(policy_pick(c, 4, SIZE_MAX), 3);
}

static void the_largest_numbers_compare_right(void **unused)
{
	struct policy_candidate c[] = {{256, UINT32_MAX, true}, {255, UINT32_MAX, true}, {1, UINT32_MAX - 1, true}};

	(void)unused;
	assert_int_equal(policy_pick(c, 3, 1), 0);
}

/* Whatever the load: the pick is usable, and nobody usable is strictly lighter. */
static void no_pick_is_beaten(void **unused)
{
	struct policy_candidate c[MOST];

	(void)unused;
	for (int round = 0; round < ROUNDS; round++) {
		size_t n = 1 + draw(MOST);
		size_t usable = 0;
		for (size_t i = 0; i < n; i++) {
			c[i] = (struct policy_candidate){1 + draw(5), draw(12), draw(4) > 0};
			usable += c[i].usable;
		}
		int best = policy_pick(c, n, draw(100));
		if (usable == 0) {
			assert_int_equal(best, POLICY_NONE);
			continue;
		}
		assert_in_range(best, 0, n - 1);
		assert_true(c[best].usable);
		for (size_t i = 0; i < n; i++) {
			uint64_t mine = (uint64_t)(c[best].active + 1) * c[i].weight;
			uint64_t theirs = (uint64_t)(c[i].active + 1) * c[best].weight;
			assert_true(!c[i].usable || mine <= theirs);
		}
	}
}

/* Requests that stay: what each backend has in the end is in proportion to its weight. */
static void load_spreads_by_weight(void **unused)
{
	struct policy_candidate c[] = {{1, 0, true}, {2, 0, true}, {5, 0, true}};

	(void)unused;
	for (size_t n = 0; n < 800; n++)
		c[policy_pick(c, 3, n)].active++;
	assert_int_equal(c[0].active, 100);
	assert_int_equal(c[1].active, 200);
	assert_int_equal(c[2].active, 500);
}

/* --- health --- */

static bool admits(struct policy_health *h, struct instant now)
{
	bool down = policy_down(h);
	enum policy_admission a = policy_admit(h, now);

	/* What is down is tried, what is well is used. */
	if (a != POLICY_REFUSED)
		assert_int_equal(a, down ? POLICY_TRIAL : POLICY_ADMITTED);
	return a != POLICY_REFUSED;
}

static const struct policy_limits limits = {.fails = 3, .backoff_min_ms = 100, .backoff_max_ms = 700};

static void take_down(struct policy_health *h, struct instant now)
{
	*h = (struct policy_health){.fails = 0};
	for (uint32_t i = 1; i < limits.fails; i++)
		assert_false(policy_failed(h, &limits, now));
	assert_true(policy_failed(h, &limits, now));
}

static void some_failures_are_forgiven(void **unused)
{
	struct policy_health h = {.fails = 0};

	(void)unused;
	for (int round = 0; round < 5; round++) {
		assert_false(policy_failed(&h, &limits, at(0)));
		assert_false(policy_failed(&h, &limits, at(0)));
		assert_false(policy_down(&h));
		assert_true(admits(&h, at(0)));
		assert_false(policy_succeeded(&h));
	}
}

static void failures_in_a_row_take_it_down(void **unused)
{
	struct policy_health h;

	(void)unused;
	take_down(&h, at(0));
	assert_true(policy_down(&h));
	assert_false(admits(&h, at(0)));
	assert_false(admits(&h, at(99)));
	assert_true(admits(&h, at(100)));
}

static void one_failure_is_enough_where_one_is_the_limit(void **unused)
{
	const struct policy_limits strict = {.fails = 1, .backoff_min_ms = 10, .backoff_max_ms = 10};
	struct policy_health h = {.fails = 0};

	(void)unused;
	assert_true(policy_failed(&h, &strict, at(0)));
	assert_false(admits(&h, at(9)));
	assert_true(admits(&h, at(10)));
}

/* Nobody knows yet how the trial ends: no second one before another back-off. */
static void one_trial_at_a_time(void **unused)
{
	struct policy_health h;

	(void)unused;
	take_down(&h, at(0));
	assert_true(admits(&h, at(250)));
	for (uint64_t ms = 250; ms < 350; ms++)
		assert_false(admits(&h, at(ms)));
	assert_true(admits(&h, at(350)));
}

static void each_failed_trial_doubles_the_wait(void **unused)
{
	const uint64_t waits[] = {100, 200, 400, 700, 700, 700};
	struct policy_health h;
	uint64_t now = 0;

	(void)unused;
	take_down(&h, at(now));
	for (size_t i = 0; i < sizeof waits / sizeof *waits; i++) {
		assert_false(admits(&h, at(now + waits[i] - 1)));
		now += waits[i];
		assert_true(admits(&h, at(now)));
		now += 5; /* until it fails */
		assert_true(policy_failed(&h, &limits, at(now)));
	}
}

/* A backend that dies under many requests has failed once, not many times: the shortest back-off comes first. */
static void failures_without_a_trial_do_not_double_it(void **unused)
{
	struct policy_health h;

	(void)unused;
	take_down(&h, at(0));
	for (int i = 0; i < 20; i++)
		(void)policy_failed(&h, &limits, at(1));
	assert_true(admits(&h, at(101)));
}

static void a_success_forgets_everything(void **unused)
{
	struct policy_health h;

	(void)unused;
	take_down(&h, at(0));
	assert_true(admits(&h, at(100)));
	assert_true(policy_failed(&h, &limits, at(100)));
	assert_true(admits(&h, at(300)));
	assert_true(policy_succeeded(&h));
	assert_false(policy_down(&h));
	assert_true(admits(&h, at(300)));
	assert_true(admits(&h, at(300)));
	assert_false(policy_succeeded(&h));
	assert_false(policy_failed(&h, &limits, at(400)));
	assert_false(policy_failed(&h, &limits, at(400)));
	assert_true(policy_failed(&h, &limits, at(400)));
	assert_false(admits(&h, at(499)));
	assert_true(admits(&h, at(500)));
}

static void a_back_off_larger_than_its_bound_is_the_bound(void **unused)
{
	const struct policy_limits odd = {.fails = 1, .backoff_min_ms = 500, .backoff_max_ms = 50};
	const struct policy_limits none = {.fails = 1};
	struct policy_health h = {.fails = 0};

	(void)unused;
	assert_true(policy_failed(&h, &odd, at(0)));
	assert_true(admits(&h, at(50)));
	h = (struct policy_health){.fails = 0};
	assert_true(policy_failed(&h, &none, at(0)));
	assert_true(policy_down(&h));
	assert_true(admits(&h, at(1)));
}

/* Any history: between two requests that a backend which is down may have lies at least the shortest back-off, and it
 * never waits for longer than the longest. */
static void the_waits_keep_their_bounds(void **unused)
{
	struct policy_health h = {.fails = 0};
	uint64_t now = 0;
	uint64_t refused_since = 0;
	uint64_t trial = 0;
	bool tried = false;

	(void)unused;
	for (int round = 0; round < ROUNDS; round++) {
		now += draw(60);
		bool down = policy_down(&h);
		bool admitted = admits(&h, at(now));
		if (!down) {
			assert_true(admitted);
			tried = false;
			refused_since = now;
		} else if (admitted) {
			assert_true(!tried || now - trial >= limits.backoff_min_ms);
			tried = true;
			trial = refused_since = now;
		} else {
			assert_true(now - refused_since <= limits.backoff_max_ms);
		}
		if (!admitted)
			continue;
		if (draw(3) > 0) {
			(void)policy_failed(&h, &limits, at(now));
		} else {
			assert_int_equal(policy_succeeded(&h), down);
			assert_false(policy_down(&h));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(nobody_usable_is_none),
	    cmocka_unit_test(the_least_busy_gets_it),
	    cmocka_unit_test(a_heavier_one_may_have_more),
	    cmocka_unit_test(ties_rotate_from_start),
	    cmocka_unit_test(the_largest_numbers_compare_right),
	    cmocka_unit_test(no_pick_is_beaten),
	    cmocka_unit_test(load_spreads_by_weight),
	    cmocka_unit_test(some_failures_are_forgiven),
	    cmocka_unit_test(failures_in_a_row_take_it_down),
	    cmocka_unit_test(one_failure_is_enough_where_one_is_the_limit),
	    cmocka_unit_test(one_trial_at_a_time),
	    cmocka_unit_test(each_failed_trial_doubles_the_wait),
	    cmocka_unit_test(failures_without_a_trial_do_not_double_it),
	    cmocka_unit_test(a_success_forgets_everything),
	    cmocka_unit_test(a_back_off_larger_than_its_bound_is_the_bound),
	    cmocka_unit_test(the_waits_keep_their_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
