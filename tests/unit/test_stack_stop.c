/* The stack of stores: its end, changes of its settings, and a store that comes and goes. */
#include "tests/unit/stack_fixture.h"

static const struct sess_commit END = {.end = true};

/* --- the end --- */

static void the_end_stores_all(void **unused)
{
	struct sess_record r = {.version = 0};

	(void)unused;
	for (uint32_t n = 0; n < 1500; n++)
		create(n, "state");
	change(7, "changed");
	assert_int_equal(ask_for(STACK_PIN, 3), 0);
	stop_stack(true);
	assert_int_equal(fake_count(), 1500);
	assert_int_equal(logged("event=demoted"), 1);
	assert_int_equal(logged("event=sessions_lost"), 0);
	assert_int_equal(fake_saw("close"), 1);
	assert_non_null(fake_state(3, &r));
	assert_true(r.pinned);
	start_stack();
	for (uint32_t n = 0; n < 1500; n += 100)
		expect_session(n, "state");
	expect_session(7, "changed");
	/* It is pinned again as soon as it is asked for. */
	expect_session(3, "state");
	assert_int_equal(stats().pinned, 1);
	pass_s(IDLE_S + 1);
	AWAIT(!in_memory(7));
	turn();
	assert_true(in_memory(3));
}

static void the_end_without_demotion_leaves_what_is_below(void **unused)
{
	(void)unused;
	create_below(1, "old");
	change(1, "new");
	create(2, "b");
	stop_stack(false);
	assert_string_equal(fake_state(1, NULL), "old");
	assert_false(fake_has(2));
	assert_int_equal(fake_saw("close"), 1);
}

static void who_is_in_a_hurry_gives_up_the_rest(void **unused)
{
	(void)unused;
	for (uint32_t n = 0; n < 2000; n++)
		create(n, "state");
	stop_commit();
	stopped = false;
	stack_stop(stack, true, on_stopped, NULL);
	fake_await(FAKE_COMMIT);
	stack_hurry(stack);
	fake_go(FAKE_COMMIT);
	AWAIT(stopped);
	stack_free(&stack);
	/* The batch that was under way is there. */
	assert_in_range(fake_count(), 1, 1999);
	assert_int_equal(logged("event=sessions_lost"), 1);
	assert_int_equal(logged("told to hurry"), 1);
}

static void the_end_says_what_it_could_not_store(void **unused)
{
	(void)unused;
	fake_bound(2, 0);
	for (uint32_t n = 0; n < 5; n++)
		create(n, "state");
	stop_stack(true);
	assert_int_equal(fake_count(), 2);
	assert_int_equal(logged("event=sessions_lost sessions=3"), 1);
}

/* It was broken a moment ago; this is the last chance. */
static void the_end_tries_the_store_once_more(void **unused)
{
	struct request r;

	(void)unused;
	create_below(1, "a");
	create_below(2, "b");
	create(3, "c");
	fake_fail(FAKE_OPEN, ERR_SYSTEM, FAKE_ALWAYS);
	assert_int_equal(open_one(&r, 1), SESS_OPENED);
	fake_fail(FAKE_REMOVE, ERR_BROKEN, 1);
	assert_int_equal(commit(&r, END, 0, NULL), STACK_WAITS);
	close_one(&r);
	AWAIT(r.dones == 1);
	turn();
	fake_work(FAKE_OPEN);
	stop_stack(true);
	assert_false(fake_has(1));
	assert_true(fake_has(2));
	assert_string_equal(fake_state(3, NULL), "c");
	assert_int_equal(logged("event=sessions_lost"), 0);
}

/* What breaks once or now and then takes nothing with it. */
static void the_end_goes_on_where_the_store_breaks(void **unused)
{
	static const struct {
		enum fake_op op;
		uint32_t nth;
		int err;
	} rows[] = {
	    {FAKE_PUT, 0, ERR_BROKEN},
	    {FAKE_COMMIT, 0, ERR_BROKEN},
	    {FAKE_COMMIT, 0, ERR_NO_MEMORY},
	    {FAKE_PUT, 700, ERR_BROKEN},
	};

	(void)unused;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		uint32_t opens = fake_calls(FAKE_OPEN);
		for (uint32_t n = 0; n < 3000; n++)
			create(n, "state");
		turn();
		if (rows[i].nth)
			fake_fail_each(rows[i].op, rows[i].nth, rows[i].err);
		else
			fake_fail(rows[i].op, rows[i].err, 1);
		stop_stack(true);
		assert_int_equal(fake_count(), 3000);
		assert_int_equal(logged("event=sessions_lost"), 0);
		assert_int_equal(logged("event=demoted sessions=3000"), i + 1);
		assert_true(!rows[i].nth || fake_calls(FAKE_OPEN) - opens > 4);
		fake_fail_each(rows[i].op, 0, 0);
		fake_work(rows[i].op);
		start_stack();
		for (uint32_t n = 0; n < 3000; n++)
			assert_int_equal(ask_for(STACK_END, n), 0);
	}
}

static void the_end_gives_up_what_breaks_over_and_over(void **unused)
{
	(void)unused;
	for (uint32_t n = 0; n < 1500; n++)
		create(n, "state");
	turn();
	uint32_t opens = fake_calls(FAKE_OPEN);
	fake_fail(FAKE_PUT, ERR_BROKEN, FAKE_ALWAYS);
	stop_stack(true);
	assert_in_range(fake_calls(FAKE_OPEN) - opens, 2, 3);
	assert_int_equal(logged("event=sessions_lost sessions=1500"), 1);
	/* And at once what cannot be opened. */
	start_stack();
	create(1, "state");
	AWAIT(stats().below == STACK_BELOW_READY);
	opens = fake_calls(FAKE_OPEN);
	fake_work(FAKE_PUT);
	fake_fail(FAKE_GET, ERR_BROKEN, 1);
	fake_fail(FAKE_OPEN, ERR_SYSTEM, FAKE_ALWAYS);
	expect_open(9999, SESS_UNAVAILABLE);
	AWAIT(fake_calls(FAKE_OPEN) == opens + 1); /* what breaks for the first time is opened again at once */
	stop_stack(true);
	assert_int_equal(fake_calls(FAKE_OPEN) - opens, 2);
	assert_int_equal(logged("event=sessions_lost sessions=1 "), 1);
}

/* A batch of nothing but such, and more of them than that. */
static void the_end_goes_on_with_those_for_whom_there_is_room(void **unused)
{
	static const int errors[] = {ERR_FULL, ERR_NO_MEMORY};

	(void)unused;
	for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
		for (uint32_t n = 0; n < 3000; n++)
			create(n, "state");
		turn();
		fake_fail(FAKE_PUT, errors[i], 1000);
		uint32_t puts = fake_calls(FAKE_PUT);
		stop_stack(true);
		/* Each was tried, and once. */
		assert_int_equal(fake_calls(FAKE_PUT) - puts, 3000);
		assert_int_equal(fake_count(), 2000);
		assert_int_equal(logged("event=sessions_lost sessions=1000"), i + 1);
		start_stack();
		for (uint32_t n = 0; n < 3000; n++)
			(void)ask_for(STACK_END, n);
	}
}

/* Also where it is in a hurry: an end that was answered is more than a demotion. */
static void the_end_removes_what_has_ended(void **unused)
{
	struct request r;

	(void)unused;
	create_below(1, "a");
	assert_int_equal(open_one(&r, 1), SESS_OPENED);
	fake_fail(FAKE_OPEN, ERR_SYSTEM, FAKE_ALWAYS);
	fake_fail(FAKE_REMOVE, ERR_BROKEN, 1);
	assert_int_equal(commit(&r, END, 0, NULL), STACK_WAITS);
	close_one(&r);
	AWAIT(r.dones == 1);
	turn();
	fake_work(FAKE_OPEN);
	stop_stack(false);
	assert_false(fake_has(1));
}

/* 1 has ended, and the store has not removed it yet. */
static void owe_one(void)
{
	struct request r;

	create_below(1, "a");
	fake_fail(FAKE_REMOVE, ERR_SYSTEM, FAKE_ALWAYS);
	assert_int_equal(open_one(&r, 1), SESS_OPENED);
	assert_int_equal(commit(&r, END, 0, NULL), STACK_WAITS);
	close_one(&r);
	AWAIT(r.dones == 1);
}

/* In the last turn, and once more after it; or in the demotion before. */
static void the_end_removes_what_has_ended_where_the_store_breaks(void **unused)
{
	static const enum fake_op ops[] = {FAKE_REMOVE, FAKE_COMMIT, FAKE_PUT};

	(void)unused;
	for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
		bool demote_too = ops[i] == FAKE_PUT;
		enum fake_op gate = demote_too ? FAKE_PUT : FAKE_EXPIRE;
		owe_one();
		if (demote_too)
			create(2, "b");
		stopped = false;
		fake_stop(gate);
		if (!demote_too) {
			pass_s(2);
			fake_await(gate);
		}
		stack_stop(stack, demote_too, on_stopped, NULL);
		fake_await(gate);
		fake_work(FAKE_REMOVE);
		fake_fail(ops[i], ERR_BROKEN, demote_too ? 1 : 2);
		fake_go(gate);
		AWAIT(stopped);
		stack_free(&stack);
		assert_false(fake_has(1));
		start_stack();
	}
	assert_true(fake_has(2));
}

static void the_end_comes_also_without_a_beginning(void **unused)
{
	struct ask a = {.job.op = STACK_SHOW};

	(void)unused;
	stop_stack(false);
	stack = stack_new(&options, &keys, clock_now());
	assert_non_null(stack);
	set_key(&a, 1);
	submit(&a);
	stopped = false;
	stack_stop(stack, true, on_stopped, NULL);
	assert_true(stopped);
	assert_true(a.done);
	assert_int_equal(a.job.err, ERR_GONE);
	stack_job_fini(&a.job);
	stack_free(&stack);
	/* Nor need it be stopped. */
	stack = stack_new(&options, &keys, clock_now());
	stack_free(&stack);
}

static void who_asks_at_the_end_is_answered(void **unused)
{
	enum { JOBS = 50 };
	static struct ask before[JOBS], after;

	(void)unused;
	for (uint32_t n = 0; n < 100; n++)
		create_below(n, "a");
	fake_stop(FAKE_SCAN);
	for (int i = 0; i < JOBS; i++) {
		before[i] = (struct ask){.job = {.op = STACK_SHOW, .key = "0123456789abcdef"}};
		submit(&before[i]);
	}
	fake_await(FAKE_SCAN);
	stopped = false;
	stack_stop(stack, true, on_stopped, NULL);
	after = (struct ask){.job = {.op = STACK_SHOW, .key = "0123456789abcdef"}};
	submit(&after);
	assert_true(after.done);
	assert_int_equal(after.job.err, ERR_GONE);
	stack_job_fini(&after.job);
	fake_go(FAKE_SCAN);
	for (int i = 0; i < JOBS; i++) {
		AWAIT(before[i].done);
		assert_int_equal(before[i].job.err, ERR_GONE);
		stack_job_fini(&before[i].job);
	}
	AWAIT(stopped);
	stack_free(&stack);
}

/* --- settings --- */

static void a_shorter_patience_moves_more(void **unused)
{
	(void)unused;
	create(1, "a");
	pass_s(20);
	create(2, "b");
	turn();
	assert_true(in_memory(1));
	options.evict_limits.after_s = 10;
	stack_set(stack, &options);
	AWAIT(!in_memory(1));
	turn();
	assert_true(in_memory(2));
}

static void another_evicter_takes_over(void **unused)
{
	(void)unused;
	options.evict = &evict_never;
	stack_set(stack, &options);
	turn();
	create(1, "a");
	pass_s(2 * IDLE_S);
	turn();
	assert_true(in_memory(1));
	options.evict = &evict_idle;
	stack_set(stack, &options);
	AWAIT(!in_memory(1));
}

static void a_smaller_memory_is_emptied_so_far(void **unused)
{
	(void)unused;
	for (uint32_t n = 0; n < 1000; n++)
		create(n, "0123456789012345678901234567890123456789");
	options.evict = &evict_lru;
	options.memory_max = stats().bytes / 2;
	stack_set(stack, &options);
	AWAIT(!sess_table_tight(stack->table, 90));
	turn();
	assert_in_range(stats().sessions, 400, 450);
	assert_int_equal(stats().max_bytes, options.memory_max);
	assert_int_equal(stats().sessions + fake_count(), 1000);
}

static void the_store_is_told_its_settings(void **unused)
{
	(void)unused;
	turn();
	options.store.max_bytes = 4711;
	options.store.sync = STORE_SYNC_GROUP;
	options.store.dir = "elsewhere";
	stack_set(stack, &options);
	AWAIT(fake_saw("set") > 0);
	assert_int_equal(fake.options.max_bytes, 4711);
	assert_int_equal(fake.options.sync, STORE_SYNC_GROUP);
	assert_string_equal(fake.options.dir, "nowhere"); /* that needs a restart */
	assert_int_equal(stats().below_max_bytes, 4711);
	/* It is opened with them too. */
	fake_fail(FAKE_GET, ERR_BROKEN, 1);
	fake.options.max_bytes = 0;
	expect_open(1, SESS_UNAVAILABLE);
	pass_s(31);
	expect_open(1, SESS_ABSENT);
	assert_int_equal(fake.options.max_bytes, 4711);
}

/* --- a store that comes and goes --- */

/* One that opens and breaks at the next use, over and over. */
static void a_store_that_breaks_at_once_is_opened_ever_later(void **unused)
{
	(void)unused;
	create_below(1, "a");
	fake_fail(FAKE_GET, ERR_BROKEN, FAKE_ALWAYS);
	uint32_t before = fake_calls(FAKE_OPEN);
	for (int i = 0; i < 50; i++)
		expect_open(1, SESS_UNAVAILABLE);
	assert_in_range(fake_calls(FAKE_OPEN) - before, 0, 1);
	assert_in_range(logged("event=store_failed"), 1, 2);
	/* A minute of it. */
	for (int i = 0; i < 60; i++) {
		pass_s(1);
		expect_open(1, SESS_UNAVAILABLE);
	}
	assert_in_range(fake_calls(FAKE_OPEN) - before, 3, 8);
	fake_work(FAKE_GET);
	pass_s(31);
	expect_session(1, "a");
}

/* After a long good time it is opened again at once. */
static void a_store_that_breaks_once_is_back_at_once(void **unused)
{
	(void)unused;
	create_below(1, "a");
	for (int i = 0; i < 5; i++) {
		pass_s(100);
		turn();
		fake_fail(FAKE_GET, ERR_BROKEN, 1);
		expect_open(1, SESS_UNAVAILABLE);
		turn();
		expect_session(1, "a");
		demote(1);
	}
	assert_int_equal(stats().troubles, 5);
}

/* Sessions that end or expire there make room, also when nobody wants to move just now. */
static void a_full_store_is_not_full_for_ever(void **unused)
{
	(void)unused;
	create_below(1, "a");
	create_below(2, "b");
	fake_bound(2, 0);
	create(3, "c");
	assert_int_equal(ask_for(STACK_DEMOTE, 3), ERR_FULL);
	turn();
	assert_int_equal(stats().below, STACK_BELOW_FULL);
	assert_int_equal(ask_for(STACK_END, 1), 0);
	turn();
	turn();
	assert_int_equal(stats().below, STACK_BELOW_READY);
	assert_int_equal(logged("event=store_has_room"), 1);
	demote(3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(the_end_stores_all),
	    TEST(the_end_without_demotion_leaves_what_is_below),
	    TEST(who_is_in_a_hurry_gives_up_the_rest),
	    TEST(the_end_says_what_it_could_not_store),
	    TEST(the_end_tries_the_store_once_more),
	    TEST(the_end_goes_on_where_the_store_breaks),
	    TEST(the_end_gives_up_what_breaks_over_and_over),
	    TEST(the_end_goes_on_with_those_for_whom_there_is_room),
	    TEST(the_end_removes_what_has_ended),
	    TEST(the_end_removes_what_has_ended_where_the_store_breaks),
	    TEST(the_end_comes_also_without_a_beginning),
	    TEST(who_asks_at_the_end_is_answered),
	    TEST(a_shorter_patience_moves_more),
	    TEST(another_evicter_takes_over),
	    TEST(a_smaller_memory_is_emptied_so_far),
	    TEST(the_store_is_told_its_settings),
	    TEST(a_store_that_breaks_at_once_is_opened_ever_later),
	    TEST(a_store_that_breaks_once_is_back_at_once),
	    TEST(a_full_store_is_not_full_for_ever),
	};

	return cmocka_run_group_tests(tests, NULL, remove_log);
}
