/* The stack of stores and a calendar clock that is set while it runs: sessions keep their age over a restart. */
#include "tests/unit/stack_fixture.h"

static const int64_t steps_s[] = {50000000, -50000000, 3, -3};
enum { STEPS = sizeof steps_s / sizeof *steps_s };

static void restart(void)
{
	stop_stack(true);
	start_stack();
}

/* When it was used last, as operators see it, and by the clock of this process. */
static uint32_t used_s(uint32_t n, struct ask *a)
{
	*a = (struct ask){.job.op = STACK_SHOW};
	set_key(a, n);
	assert_int_equal(ask(a), 0);
	uint32_t s = a->job.at[0].used_s;
	stack_job_fini(&a->job);
	return s;
}

static void what_is_stored_after_the_step_has_the_calendars_time(void **unused)
{
	struct sess_record r = {.version = 0};

	(void)unused;
	for (int i = 0; i < STEPS; i++) {
		create(1, "a");
		pass_s(10);
		clock_step_s += steps_s[i];
		turn();
		demote(1);
		assert_non_null(fake_state(1, &r));
		assert_int_equal(r.used_s, clock_wall().s - 10);
		assert_int_equal(r.created_s, clock_wall().s - 10);
		restart();
		pass_s(TTL_S - 11);
		expect_session(1, "a");
		pass_s(TTL_S);
		expect_open(1, SESS_ABSENT);
		AWAIT(!fake_has(1));
	}
	assert_int_equal(logged("event=clock_set"), STEPS);
}

/* A machine that knows the time only some while after it has started. */
static void what_was_stored_before_the_restart_keeps_its_age(void **unused)
{
	struct ask a;

	(void)unused;
	create_below(1, "a");
	create_below(2, "b");
	create_below(3, "c");
	pass_s(10);
	stop_stack(true);
	clock_step_s = -50000000;
	start_stack();
	expect_session(1, "a"); /* which counts as used now */
	pass_s(10);
	clock_step_s = 0;
	turn();
	assert_int_equal(used_s(2, &a), wall_s() - 50000000 - 20);
	expect_session(2, "b");
	expect_session(1, "a");
	pass_s(TTL_S - 21);
	assert_true(fake_has(3));
	pass_s(1);
	AWAIT(!fake_has(3));
	expect_open(3, SESS_ABSENT);
}

static void the_clock_ends_nothing_in_memory(void **unused)
{
	(void)unused;
	options.evict = &evict_never;
	stack_set(stack, &options);
	create(1, "a");
	for (int i = 0; i < STEPS; i++) {
		clock_step_s += steps_s[i];
		turn();
		expect_session(1, "a");
	}
}

/* Nobody knows on which side of the step it was stored. */
static void what_is_below_is_older_by_what_the_clock_was_set(void **unused)
{
	struct ask a = {.job = {.op = STACK_LIST, .where = STACK_BELOW, .any_app = true, .max = 10, .older_s = 500}};

	(void)unused;
	create_below(1, "a");
	create_below(2, "b");
	clock_step_s = 500;
	turn();
	assert_int_equal(ask(&a), 0);
	assert_int_equal(a.job.count, 2);
	stack_job_fini(&a.job);
	expect_session(1, "a");
	clock_step_s = TTL_S;
	turn(); /* it looks at the calendar while time stands still: a look that time passes in does not count */
	pass_s(1);
	AWAIT(!fake_has(2));
	expect_open(2, SESS_ABSENT);
	assert_true(in_memory(1));
}

static void change_below(uint32_t n)
{
	create_below(n, "old");
	change(n, "new");
	assert_true(fake_has(n));
}

/* By the calendar the record lives longer from then on than the session in memory. */
static void what_expires_in_memory_does_not_come_back_older(void **unused)
{
	(void)unused;
	change_below(1);
	clock_step_s = -500;
	turn();
	expect_session(1, "new");
	pass_s(TTL_S + 1);
	expect_open(1, SESS_ABSENT);
	AWAIT(!fake_has(1));
	expect_open(1, SESS_ABSENT);
	assert_int_equal(stats().expired, 1);
}

/* The thread has not looked between the end of the session and the step. */
static void nor_does_what_had_just_expired(void **unused)
{
	(void)unused;
	change_below(1);
	clock_ms += (TTL_S + 1) * 1000;
	clock_step_s = -500;
	expect_open(1, SESS_ABSENT); /* in memory */
	expect_open(1, SESS_ABSENT); /* below */
	AWAIT(!fake_has(1));
	assert_int_equal(stats().expired + stats().below_expired, 1);
}

/* Its record was written before the first step, and read after it. */
static void nor_does_what_came_up_after_a_step(void **unused)
{
	(void)unused;
	create_below(1, "old");
	clock_step_s = -300;
	turn();
	change(1, "new");
	clock_step_s = -500;
	turn();
	pass_s(TTL_S + 301);
	expect_open(1, SESS_ABSENT);
	AWAIT(!fake_has(1));
}

/* The two clocks are read one after the other, and rounded. */
static void a_second_is_no_step(void **unused)
{
	struct sess_record r = {.version = 0};

	(void)unused;
	create(1, "a");
	clock_step_s = 1;
	turn();
	demote(1);
	assert_non_null(fake_state(1, &r));
	assert_int_equal(r.used_s, wall_s());
	assert_int_equal(logged("event=clock_set"), 0);
}

/* Before 1970 there is nothing. */
static void times_do_not_wrap_around(void **unused)
{
	struct sess_record r = {.version = 0};

	(void)unused;
	create(1, "a");
	clock_step_s = -clock_wall().s - 5000;
	turn();
	demote(1);
	assert_non_null(fake_state(1, &r));
	assert_int_equal(r.used_s, 0);
	clock_step_s = 0;
	turn();
	stack_check(stack);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(what_is_stored_after_the_step_has_the_calendars_time),
	    TEST(what_was_stored_before_the_restart_keeps_its_age),
	    TEST(the_clock_ends_nothing_in_memory),
	    TEST(what_is_below_is_older_by_what_the_clock_was_set),
	    TEST(what_expires_in_memory_does_not_come_back_older),
	    TEST(nor_does_what_had_just_expired),
	    TEST(nor_does_what_came_up_after_a_step),
	    TEST(a_second_is_no_step),
	    TEST(times_do_not_wrap_around),
	};

	return cmocka_run_group_tests(tests, NULL, remove_log);
}
