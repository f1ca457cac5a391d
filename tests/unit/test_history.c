/* The ring of seconds: what a second holds, that the oldest goes first, and backends that come and go. */
#include "gateway/history.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct history *h;
static struct totals t;
static struct instant now;

static int begin(void **unused)
{
	(void)unused;
	h = history_new();
	memset(&t, 0, sizeof t);
	now.ms = 5000;
	return h ? 0 : -1;
}

static int finish(void **unused)
{
	(void)unused;
	history_free(&h);
	return h ? -1 : 0;
}

static void put_after(uint64_t ms, uint64_t generation, const struct history_backend *b, size_t count)
{
	now = instant_add_ms(now, ms);
	history_put(h, &t, generation, b, count, now);
}

static void put(void)
{
	put_after(HISTORY_STEP_MS, 1, NULL, 0);
}

static uint64_t taken;

static size_t points(struct history_point *out)
{
	return history_read(h, out, &taken);
}

/* --- a second --- */

static void the_first_call_is_where_it_begins(void **unused)
{
	static struct history_point p[HISTORY_POINTS];

	(void)unused;
	assert_int_equal(points(p), 0);
	t.requests.ended[METRICS_OK] = 1000;
	put();
	assert_int_equal(points(p), 0);
	put();
	assert_int_equal(points(p), 1);
	assert_int_equal(p[0].requests, 0);
}

static void a_second_holds_what_has_grown_in_it(void **unused)
{
	static struct history_point p[HISTORY_POINTS];

	(void)unused;
	t.requests = (struct metrics_sum){.begun = 60, .ended = {40, 5, 5}, .status = {1, 0, 40, 0, 0, 4}};
	t.sessions.demoted = t.sessions.promoted = 9;
	put();
	t.requests = (struct metrics_sum){.begun = 90, .ended = {60, 8, 6}, .status = {3, 0, 59, 0, 0, 9}};
	t.sessions = (struct stack_stats){.demoted = 12, .promoted = 10, .sessions = 77, .below_sessions = 88};
	t.connections = 4;
	put();
	assert_int_equal(points(p), 1);
	assert_int_equal(p[0].requests, 20 + 3 + 1);
	assert_int_equal(p[0].errors, 5 + 2);
	assert_int_equal(p[0].demoted, 3);
	assert_int_equal(p[0].promoted, 1);
	assert_int_equal(p[0].running, 90 - 74);
	assert_int_equal(p[0].connections, 4);
	assert_int_equal(p[0].memory, 77);
	assert_int_equal(p[0].below, 88);
}

/* The latencies of that second, not those since the start. */
static void percentiles_are_of_the_second(void **unused)
{
	static struct history_point p[HISTORY_POINTS];

	(void)unused;
	t.requests.latency[0] = 1000;
	put();
	t.requests.latency[9] = 100; /* (50, 100] ms */
	put();
	put();
	assert_int_equal(points(p), 2);
	assert_int_equal(p[0].p50_us, 75000);
	assert_int_equal(p[0].p99_us, 99500);
	assert_int_equal(p[1].p50_us, 0);
	assert_int_equal(p[1].p99_us, 0);
}

/* A timer is late now and then. */
static void rates_are_brought_to_one_second(void **unused)
{
	static struct history_point p[HISTORY_POINTS];

	(void)unused;
	put();
	t.requests.ended[METRICS_OK] = 300;
	put_after(3000, 1, NULL, 0);
	t.requests.ended[METRICS_OK] = 305;
	put_after(1010, 1, NULL, 0);
	put_after(0, 1, NULL, 0);
	assert_int_equal(points(p), 2);
	assert_int_equal(p[0].requests, 100);
	assert_int_equal(p[1].requests, 5);
}

static void the_oldest_goes_when_the_ring_is_full(void **unused)
{
	static struct history_point p[HISTORY_POINTS];

	(void)unused;
	put();
	for (uint32_t i = 1; i <= HISTORY_POINTS + 7; i++) {
		t.sessions.sessions = i;
		put();
	}
	assert_int_equal(points(p), HISTORY_POINTS);
	assert_int_equal(taken, HISTORY_POINTS + 7);
	for (uint32_t i = 0; i < HISTORY_POINTS; i++)
		assert_int_equal(p[i].memory, i + 8);
}

/* --- backends --- */

static void put_backends(uint64_t generation, const struct history_backend *b, size_t count)
{
	put_after(HISTORY_STEP_MS, generation, b, count);
}

/* Sums of five points, which do not change any more once they are whole. */
static void a_backend_has_a_sum_for_each_five_seconds(void **unused)
{
	static uint32_t out[HISTORY_SUMS];
	struct history_backend b[] = {{"shop", "a", 100}, {"shop", "b", 7}, {"rest", "a", 0}};

	(void)unused;
	put_backends(1, b, 3);
	for (uint32_t i = 1; i <= 12; i++) {
		b[0].requests += i;
		b[2].requests += 1000;
		put_backends(1, b, 3);
	}
	assert_int_equal(history_read_backend(h, "shop", "a", out), 3);
	assert_int_equal(out[0], 1 + 2 + 3 + 4 + 5);
	assert_int_equal(out[1], 6 + 7 + 8 + 9 + 10);
	assert_int_equal(out[2], 11 + 12);
	assert_int_equal(history_read_backend(h, "shop", "b", out), 3);
	assert_int_equal(out[0] + out[1] + out[2], 0);
	assert_int_equal(history_read_backend(h, "rest", "a", out), 3);
	assert_int_equal(out[2], 2000);
	assert_int_equal(history_read_backend(h, "rest", "b", out), 0);
	assert_int_equal(history_read_backend(h, "a", "shop", out), 0);
}

static void sums_stay_whole_when_the_ring_is_full(void **unused)
{
	static uint32_t out[HISTORY_SUMS];
	struct history_backend b = {"shop", "a", 0};

	(void)unused;
	put_backends(1, &b, 1);
	for (uint32_t i = 0; i < HISTORY_POINTS + 3; i++) {
		b.requests += i / HISTORY_SUM;
		put_backends(1, &b, 1);
	}
	/* Three of the oldest have gone, so their sum has. */
	assert_int_equal(history_read_backend(h, "shop", "a", out), HISTORY_SUMS);
	for (uint32_t i = 0; i < HISTORY_SUMS - 1; i++)
		assert_int_equal(out[i], HISTORY_SUM * (i + 1));
	assert_int_equal(out[HISTORY_SUMS - 1], 3 * HISTORY_SUMS);
}

/* The new generation's counters begin at zero, even where they have outgrown the old ones within the second. */
static void a_reload_keeps_who_stays(void **unused)
{
	static uint32_t out[HISTORY_SUMS];
	struct history_backend before[] = {{"shop", "goes", 10}, {"shop", "stays", 20}};
	struct history_backend after[] = {{"shop", "stays", 0}, {"shop", "comes", 4}};

	(void)unused;
	put_backends(1, before, 2);
	before[1].requests = 25;
	for (unsigned i = 0; i < HISTORY_SUM; i++)
		put_backends(1, before, 2);
	after[0].requests = 30;
	put_backends(2, after, 2);
	assert_int_equal(history_read_backend(h, "shop", "stays", out), 2);
	assert_int_equal(out[0], 5);
	assert_int_equal(out[1], 30);
	assert_int_equal(history_read_backend(h, "shop", "comes", out), 2);
	assert_int_equal(out[0], 0);
	assert_int_equal(out[1], 4);
	assert_int_equal(history_read_backend(h, "shop", "goes", out), 0);
	put_backends(3, NULL, 0);
	assert_int_equal(history_read_backend(h, "shop", "stays", out), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, finish)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(the_first_call_is_where_it_begins),     TEST(a_second_holds_what_has_grown_in_it),
	    TEST(percentiles_are_of_the_second),         TEST(rates_are_brought_to_one_second),
	    TEST(the_oldest_goes_when_the_ring_is_full), TEST(a_backend_has_a_sum_for_each_five_seconds),
	    TEST(sums_stay_whole_when_the_ring_is_full), TEST(a_reload_keeps_who_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
