/* Counting requests: the class of an answer, the histogram and what is read off it, the sum over workers. */
#include "gateway/metrics.h"

#include "guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

enum { LAST = METRICS_BUCKETS - 1 };

/* --- the class of an answer --- */

static void assert_class(const char *head, unsigned class)
{
	if (metrics_status_class(guarded(view_str(head))) != class)
		fail_msg("of %s: %u instead of %u", head, metrics_status_class(view_str(head)), class);
}

static void status_says_the_class(void **unused)
{
	(void)unused;
	assert_class("Status: 200 OK\r\n\r\n", 2);
	assert_class("Status: 404 Not Found\n\n", 4);
	assert_class("status:503\r\n\r\n", 5);
	assert_class("STATUS: \t101 Switching\r\n\r\n", 1);
	assert_class("X-A: b\r\nset-cookie: status\r\nStatus: 302\r\n\r\n", 3);
	assert_class("Location: /x\r\nStatus: 201 Created\r\n\r\n", 2);
	assert_class("Status: 404\r\nStatus: 200\r\n\r\n", 4);
}

static void without_status_it_is_200_or_a_redirection(void **unused)
{
	(void)unused;
	assert_class("Content-Type: text/plain\r\n\r\n", 2);
	assert_class("Location: http://x.test/\r\nContent-Type: a/b\r\n\r\n", 3);
	assert_class("location:/x\n\n", 3);
	assert_class("X-Status: 404\r\nLocations: 1\r\nStatusx: 404\r\n\r\n", 2);
	assert_class("", 2);
	assert_class("S", 2);
	assert_class("\n", 2);
}

static void a_status_that_is_none(void **unused)
{
	(void)unused;
	assert_class("Status: \r\n\r\n", METRICS_STATUS_NONE);
	assert_class("Status:", METRICS_STATUS_NONE);
	assert_class("Status: OK\r\n\r\n", METRICS_STATUS_NONE);
	assert_class("Status: 20\r\n\r\n", METRICS_STATUS_NONE);
	assert_class("Status: 2000\r\n\r\n", METRICS_STATUS_NONE);
	assert_class("Status: 0200\r\n\r\n", METRICS_STATUS_NONE);
	assert_class("Status: 099\r\n\r\n", METRICS_STATUS_NONE);
	assert_class("Status: 600\r\n\r\n", METRICS_STATUS_NONE);
	assert_class("Status: -200\r\n\r\n", METRICS_STATUS_NONE);
}

/* --- the histogram --- */

static void a_bound_belongs_to_its_bucket(void **unused)
{
	struct metrics m = {.begun = 0};

	(void)unused;
	for (size_t i = 0; i < LAST; i++) {
		metrics_latency(&m, metrics_bounds_us[i]);
		metrics_latency(&m, (uint64_t)metrics_bounds_us[i] + 1);
	}
	metrics_latency(&m, 0);
	metrics_latency(&m, UINT64_C(1) << 40);
	assert_int_equal(m.latency[0], 2);
	for (size_t i = 1; i < LAST; i++)
		assert_int_equal(m.latency[i], 2);
	assert_int_equal(m.latency[LAST], 2);
}

static void bounds_grow(void **unused)
{
	(void)unused;
	for (size_t i = 1; i < LAST; i++)
		assert_true(metrics_bounds_us[i] > metrics_bounds_us[i - 1]);
}

static void no_requests_no_percentile(void **unused)
{
	struct metrics_sum sum = {.begun = 7};

	(void)unused;
	assert_int_equal(metrics_percentile_us(&sum, 0), 0);
	assert_int_equal(metrics_percentile_us(&sum, 50), 0);
	assert_int_equal(metrics_percentile_us(&sum, 100), 0);
}

/* Four in (100, 250], as if evenly: a quarter of them below each 37.5 us. */
static void percentiles_lie_within_a_bucket(void **unused)
{
	struct metrics_sum sum = {.latency = {[1] = 4}};

	(void)unused;
	assert_int_equal(metrics_percentile_us(&sum, 25), 138);
	assert_int_equal(metrics_percentile_us(&sum, 50), 175);
	assert_int_equal(metrics_percentile_us(&sum, 100), 250);
}

static void percentiles_walk_over_buckets(void **unused)
{
	struct metrics_sum sum = {.latency = {[0] = 90, [3] = 9, [6] = 1}};

	(void)unused;
	assert_int_equal(metrics_percentile_us(&sum, 45), 50);
	assert_int_equal(metrics_percentile_us(&sum, 90), 100);
	assert_int_equal(metrics_percentile_us(&sum, 99), 1000);
	assert_int_equal(metrics_percentile_us(&sum, 99.5), 7500);
	assert_int_equal(metrics_percentile_us(&sum, 100), 10000);
}

/* Of the bucket without an end only its beginning is known. */
static void the_last_bucket_counts_from_its_beginning(void **unused)
{
	struct metrics_sum sum = {.latency = {[0] = 1, [LAST] = 3}};

	(void)unused;
	assert_int_equal(metrics_percentile_us(&sum, 25), 100);
	assert_int_equal(metrics_percentile_us(&sum, 50), 10000000);
	assert_int_equal(metrics_percentile_us(&sum, 99), 10000000);
}

static void percentiles_never_fall(void **unused)
{
	struct metrics_sum sum = {.latency = {3, 0, 11, 5, 0, 0, 70, 1, 0, 2, 0, 0, 0, 9, 0, 1, 1}};
	uint64_t before = 0;

	(void)unused;
	for (unsigned tenth = 0; tenth <= 1000; tenth++) {
		uint64_t us = metrics_percentile_us(&sum, tenth / 10.0);
		assert_true(us >= before);
		before = us;
	}
	assert_int_equal(before, 10000000);
}

/* --- the sum --- */

/* Each counter of one struct is another number, so that none is taken for its neighbour. */
static void gather_adds_every_counter(void **unused)
{
	struct metrics a = {.begun = 1,
			    .ended = {2, 3, 4},
			    .status = {5, 6, 7, 8, 9, 10},
			    .latency_us = 11,
			    .in_bytes = 12,
			    .out_bytes = 13,
			    .session_none = 14,
			    .session_new = 15,
			    .session_live = 16,
			    .session_dropped = 18,
			    .status_page = 17};
	struct metrics_sum sum = {.begun = 100};

	(void)unused;
	for (size_t i = 0; i < METRICS_BUCKETS; i++)
		a.latency[i] = 20 + i;
	metrics_gather(&a, &sum);
	metrics_gather(&a, &sum);
	assert_int_equal(sum.begun, 102);
	for (size_t i = 0; i < METRICS_ENDS; i++)
		assert_int_equal(sum.ended[i], 2 * (2 + i));
	for (size_t i = 0; i < METRICS_STATUS_CLASSES; i++)
		assert_int_equal(sum.status[i], 2 * (5 + i));
	for (size_t i = 0; i < METRICS_BUCKETS; i++)
		assert_int_equal(sum.latency[i], 2 * (20 + i));
	assert_int_equal(sum.latency_us, 22);
	assert_int_equal(sum.in_bytes, 24);
	assert_int_equal(sum.out_bytes, 26);
	assert_int_equal(sum.session_none, 28);
	assert_int_equal(sum.session_new, 30);
	assert_int_equal(sum.session_live, 32);
	assert_int_equal(sum.session_dropped, 36);
	assert_int_equal(sum.status_page, 34);
	assert_int_equal(metrics_latencies(&sum), 2 * (17 * 20 + 16 * 17 / 2));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(status_says_the_class),
	    cmocka_unit_test(without_status_it_is_200_or_a_redirection),
	    cmocka_unit_test(a_status_that_is_none),
	    cmocka_unit_test(a_bound_belongs_to_its_bucket),
	    cmocka_unit_test(bounds_grow),
	    cmocka_unit_test(no_requests_no_percentile),
	    cmocka_unit_test(percentiles_lie_within_a_bucket),
	    cmocka_unit_test(percentiles_walk_over_buckets),
	    cmocka_unit_test(the_last_bucket_counts_from_its_beginning),
	    cmocka_unit_test(percentiles_never_fall),
	    cmocka_unit_test(gather_adds_every_counter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
