/* The loop's timers, its mailbox and its spare buffers. */
#include "tests/unit/loop_fixture.h"

#include <pthread.h>
#include <stdlib.h>

enum { MANY = 5000, LETTERS = 2000, POSTERS = 4 };

/* --- timers --- */

struct alarm {
	struct net_timer timer;
	uint64_t due_ms; /* net_now() at which it may fire */
	unsigned fired;
	unsigned turn; /* in which order it fired */
	struct alarm *stops;
	unsigned again; /* times to start itself anew, at once */
};

static unsigned fired_count, early_count;

static void on_fire(struct net_timer *t)
{
	struct alarm *a = CONTAINER_OF(t, struct alarm, timer);

	a->fired++;
	a->turn = fired_count++;
	if (net_now(&loop).ms < a->due_ms)
		early_count++;
	if (a->stops)
		net_timer_stop(&loop, &a->stops->timer);
	if (a->again > 0) {
		a->again--;
		net_timer_start(&loop, t, 0);
	}
}

static void alarm_init(struct alarm *a)
{
	*a = (struct alarm){.due_ms = 0};
	net_timer_init(&a->timer, on_fire);
}

static void start(struct alarm *a, uint64_t ms)
{
	a->due_ms = net_now(&loop).ms + ms;
	net_timer_start(&loop, &a->timer, ms);
}

static int set_up(void **unused)
{
	fired_count = early_count = 0;
	return loop_set_up(unused);
}

static void they_fire_in_order_and_not_early(void **unused)
{
	static const uint64_t ms[] = {70, 20, 40, 0, 41, 25};
	static const unsigned turns[] = {5, 1, 3, 0, 4, 2};
	struct alarm a[6];

	(void)unused;
	for (size_t i = 0; i < 6; i++) {
		alarm_init(&a[i]);
		start(&a[i], ms[i]);
	}
	RUN_UNTIL(fired_count == 6);
	for (size_t i = 0; i < 6; i++) {
		assert_int_equal(a[i].fired, 1);
		/* 40 and 41, or 20 and 25, may be one tick or two: in this order either way. */
		assert_int_equal(a[i].turn, turns[i]);
	}
	assert_int_equal(early_count, 0);
	assert_int_equal(loop.tick_due, UINT64_MAX);
}

static void of_one_tick_the_first_started_fires_first(void **unused)
{
	struct alarm a[20];

	(void)unused;
	for (size_t i = 0; i < 20; i++) {
		alarm_init(&a[i]);
		start(&a[i], 20);
	}
	RUN_UNTIL(fired_count == 20);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(a[i].turn, i);
}

static void a_restart_moves_it(void **unused)
{
	struct alarm later, sooner, mark;

	(void)unused;
	alarm_init(&later);
	alarm_init(&sooner);
	alarm_init(&mark);
	start(&later, 10);
	start(&sooner, 100000);
	start(&mark, 50);
	start(&later, 90);
	start(&sooner, 20);
	RUN_UNTIL(fired_count == 3);
	assert_int_equal(sooner.turn, 0);
	assert_int_equal(mark.turn, 1);
	assert_int_equal(later.turn, 2);
	assert_int_equal(later.fired, 1);
	assert_int_equal(early_count, 0);
}

static void a_far_one_does_not_hold_up_a_near_one(void **unused)
{
	struct alarm far, near;

	(void)unused;
	alarm_init(&far);
	alarm_init(&near);
	start(&far, 10000000);
	start(&near, 20);
	RUN_UNTIL(near.fired == 1);
	assert_int_equal(far.fired, 0);
	net_timer_stop(&loop, &far.timer);
}

static void a_stopped_one_does_not_fire(void **unused)
{
	struct alarm a, mark;

	(void)unused;
	alarm_init(&a);
	alarm_init(&mark);
	start(&a, 10);
	start(&mark, 40);
	net_timer_stop(&loop, &a.timer);
	net_timer_stop(&loop, &a.timer);
	RUN_UNTIL(mark.fired == 1);
	assert_int_equal(a.fired, 0);
	start(&a, 10);
	RUN_UNTIL(a.fired == 1);
}

/* Both are due; the first takes the second back. */
static void one_may_stop_another_of_the_same_tick(void **unused)
{
	struct alarm first, second, mark;

	(void)unused;
	alarm_init(&first);
	alarm_init(&second);
	alarm_init(&mark);
	first.stops = &second;
	start(&first, 20);
	start(&second, 20);
	start(&mark, 40);
	RUN_UNTIL(mark.fired == 1);
	assert_int_equal(first.fired, 1);
	assert_int_equal(second.fired, 0);
}

static void start_before_only_hastens(void **unused)
{
	struct alarm stopped, earlier, later, mark;

	(void)unused;
	alarm_init(&stopped);
	alarm_init(&earlier);
	alarm_init(&later);
	alarm_init(&mark);
	net_timer_start_before(&loop, &stopped.timer, 10);
	start(&earlier, 30);
	net_timer_start_before(&loop, &earlier.timer, 100000);
	start(&later, 100000);
	net_timer_start_before(&loop, &later.timer, 50);
	start(&mark, 80);
	RUN_UNTIL(fired_count == 4);
	assert_int_equal(stopped.turn, 0);
	assert_int_equal(earlier.turn, 1);
	assert_int_equal(later.turn, 2);
}

static void many_timers_all_fire(void **unused)
{
	struct alarm *a = calloc(MANY, sizeof *a);
	uint32_t seed = 7;

	(void)unused;
	assert_non_null(a);
	for (size_t i = 0; i < MANY; i++) {
		alarm_init(&a[i]);
		seed = seed * 1664525 + 1013904223;
		start(&a[i], seed >> 16 & 511);
	}
	RUN_UNTIL(fired_count == MANY);
	for (size_t i = 0; i < MANY; i++)
		assert_int_equal(a[i].fired, 1);
	for (size_t i = 1; i < MANY; i++)
		assert_true(a[i].due_ms + NET_TICK_MS > a[i - 1].due_ms || a[i].turn < a[i - 1].turn);
	assert_int_equal(early_count, 0);
	free(a);
}

static bool delivered;

static void deliver_flag(struct mail *mail)
{
	(void)mail;
	delivered = true;
}

/* A timer of no time at all that starts itself again is work for the next turn, not a turn without end. */
static void a_timer_cannot_keep_the_loop_to_itself(void **unused)
{
	struct alarm a;
	struct mail mail = {.deliver = deliver_flag};

	(void)unused;
	for (int round = 0; round < 5; round++) {
		alarm_init(&a);
		a.again = 100000;
		delivered = false;
		start(&a, 1);
		RUN_UNTIL(a.fired > 0);
		net_loop_post(&loop, &mail);
		RUN_UNTIL(delivered);
		assert_true(a.again > 0);
		net_timer_stop(&loop, &a.timer);
	}
}

/* --- mails --- */

struct letter {
	struct mail mail;
	unsigned poster, number;
};

static unsigned arrived[POSTERS];
static unsigned arrived_all, out_of_order, on_other_thread;
static pthread_t loop_thread;

static void deliver_letter(struct mail *mail)
{
	struct letter *l = CONTAINER_OF(mail, struct letter, mail);

	if (arrived[l->poster] != l->number)
		out_of_order++;
	if (!pthread_equal(pthread_self(), loop_thread))
		on_other_thread++;
	arrived[l->poster]++;
	arrived_all++;
	free(l);
}

static void *post_letters(void *arg)
{
	for (unsigned i = 0; i < LETTERS; i++) {
		struct letter *l = calloc(1, sizeof *l);
		if (!l)
			abort();
		*l = (struct letter){.mail.deliver = deliver_letter, .poster = (unsigned)(uintptr_t)arg, .number = i};
		net_loop_post(&loop, &l->mail);
	}
	return NULL;
}

static void mails_from_other_threads_arrive_in_order(void **unused)
{
	pthread_t threads[POSTERS];

	(void)unused;
	memset(arrived, 0, sizeof arrived);
	arrived_all = out_of_order = on_other_thread = 0;
	loop_thread = pthread_self();
	for (uintptr_t i = 0; i < POSTERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, post_letters, (void *)i), 0);
	RUN_UNTIL(arrived_all == POSTERS * LETTERS);
	for (size_t i = 0; i < POSTERS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(out_of_order, 0);
	assert_int_equal(on_other_thread, 0);
}

static void deliver_stop(struct mail *mail)
{
	(void)mail;
	net_loop_stop(&loop);
}

static void *post_stop(void *arg)
{
	net_loop_post(&loop, arg);
	return NULL;
}

/* net_loop_run() sleeps without any timer; only the mail ends it. */
static void a_mail_wakes_a_sleeping_loop(void **unused)
{
	struct mail stop = {.deliver = deliver_stop};
	pthread_t thread;

	(void)unused;
	assert_int_equal(pthread_create(&thread, NULL, post_stop, &stop), 0);
	net_loop_run(&loop);
	pthread_join(thread, NULL);
	net_loop_fini(&loop);
	assert_int_equal(net_loop_init(&loop), 0); /* for the tear-down */
}

static void a_mail_after_the_end_is_delivered_by_fini(void **unused)
{
	struct mail mail = {.deliver = deliver_flag};

	(void)unused;
	delivered = false;
	net_loop_stop(&loop);
	net_loop_run(&loop);
	net_loop_post(&loop, &mail);
	net_loop_fini(&loop);
	assert_true(delivered);
	assert_int_equal(net_loop_init(&loop), 0);
}

/* --- spare buffers --- */

static void spare_buffers_are_bounded_and_clean(void **unused)
{
	struct buf bufs[NET_SPARE_BUFS * 2];

	(void)unused;
	for (size_t i = 0; i < NET_SPARE_BUFS * 2; i++) {
		net_buf_take(&loop, &bufs[i]);
		buf_put_str(&bufs[i], "something");
	}
	for (size_t i = 0; i < NET_SPARE_BUFS * 2; i++) {
		net_buf_give(&loop, &bufs[i]);
		assert_null(bufs[i].data);
	}
	assert_int_equal(loop.spare_count, NET_SPARE_BUFS);
	net_buf_take(&loop, &bufs[0]);
	assert_int_equal(loop.spare_count, NET_SPARE_BUFS - 1);
	assert_int_equal(buf_len(&bufs[0]), 0);
	assert_non_null(buf_reserve(&bufs[0], NET_SPARE_BYTES + 1));
	net_buf_give(&loop, &bufs[0]);
	assert_int_equal(loop.spare_count, NET_SPARE_BUFS - 1);
	net_buf_give(&loop, &bufs[0]); /* nothing to give */
	assert_int_equal(loop.spare_count, NET_SPARE_BUFS - 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, loop_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(they_fire_in_order_and_not_early),
	    TEST(of_one_tick_the_first_started_fires_first),
	    TEST(a_restart_moves_it),
	    TEST(a_far_one_does_not_hold_up_a_near_one),
	    TEST(a_stopped_one_does_not_fire),
	    TEST(one_may_stop_another_of_the_same_tick),
	    TEST(start_before_only_hastens),
	    TEST(many_timers_all_fire),
	    TEST(a_timer_cannot_keep_the_loop_to_itself),
	    TEST(mails_from_other_threads_arrive_in_order),
	    TEST(a_mail_wakes_a_sleeping_loop),
	    TEST(a_mail_after_the_end_is_delivered_by_fini),
	    TEST(spare_buffers_are_bounded_and_clean),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
