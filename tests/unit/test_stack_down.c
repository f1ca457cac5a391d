/* The stack of stores, the way down: a session on its way to the store below is found at every instant, and whatever
 * happens to it meanwhile is not lost. */
#include "tests/unit/stack_fixture.h"

static const struct sess_commit END = {.end = true}, RENEW = {.renew = true};

/* Session 1 is on its way down: stored, and not committed yet. */
static void begin_demotion(const char *text)
{
	create(1, text);
	stop_commit();
	pass_s(IDLE_S + 1);
	fake_await(FAKE_COMMIT);
	assert_true(in_memory(1));
	assert_false(fake_has(1));
}

static void end_demotion(void)
{
	fake_go(FAKE_COMMIT);
	turn();
	stack_check(stack);
}

/* --- when --- */

static void who_is_unused_for_a_time_moves_down(void **unused)
{
	(void)unused;
	create(1, "a");
	pass_s(IDLE_S - 1);
	turn();
	assert_true(in_memory(1));
	assert_int_equal(fake_calls(FAKE_PUT), 0);
	pass_s(1);
	AWAIT(!in_memory(1));
	assert_true(fake_has(1));
	turn();
	assert_int_equal(stats().demoted, 1);
	assert_int_equal(stats().bytes, 0);
}

static void who_is_used_stays(void **unused)
{
	struct request holds;

	(void)unused;
	create(1, "a");
	create(2, "b");
	create(3, "c");
	assert_int_equal(open_for(&holds, app, 2, SESS_LOCK_NONE), SESS_OPENED);
	pass_s(IDLE_S - 10);
	expect_session(1, "a");
	pass_s(10);
	AWAIT(!in_memory(3));
	turn();
	assert_true(in_memory(1));
	assert_true(in_memory(2));
	close_one(&holds);
	turn();
	assert_true(in_memory(2));
	pass_s(IDLE_S + 1);
	AWAIT(!in_memory(1) && !in_memory(2));
}

static void who_is_pinned_stays(void **unused)
{
	(void)unused;
	create(1, "a");
	create_below(2, "b");
	assert_int_equal(ask_for(STACK_PIN, 1), 0);
	assert_int_equal(ask_for(STACK_PIN, 2), 0);
	assert_int_equal(ask_for(STACK_DEMOTE, 1), ERR_REFUSED);
	pass_s(IDLE_S + 1);
	turn();
	assert_true(in_memory(1));
	assert_true(in_memory(2));
	assert_int_equal(fake_saw("put 1"), 0);
	assert_int_equal(stats().pinned, 2);
	assert_int_equal(ask_for(STACK_UNPIN, 1), 0);
	AWAIT(!in_memory(1));
	assert_int_equal(stats().pinned, 1);
	/* Only time ends a pinned one. */
	pass_s(TTL_S);
	while (stack_expire(stack, 0, 1, 1000, clock_now()))
		;
	turn();
	assert_int_equal(stats().pinned, 0);
	expect_open(2, SESS_ABSENT);
}

static void nothing_moves_where_nothing_is_to(void **unused)
{
	static const struct evict_kind *const kinds[] = {&evict_never, &evict_ttl};

	(void)unused;
	for (int i = 0; i < 2; i++) {
		options.evict = kinds[i];
		stack_set(stack, &options);
		for (uint32_t n = 0; n < 50; n++)
			(void)try_create(100 * (uint32_t)i + n, "0123456789");
		options.memory_max = stats().bytes;
		stack_set(stack, &options);
		pass_s(IDLE_S + 1);
		turn();
		assert_int_equal(fake_calls(FAKE_PUT), 0);
		options.memory_max = 1 << 24;
		stack_set(stack, &options);
	}
}

static void what_has_expired_does_not_move(void **unused)
{
	(void)unused;
	create(1, "a");
	pass_s(TTL_S);
	AWAIT(stats().sessions == 0);
	turn();
	assert_int_equal(stats().expired, 1);
	assert_int_equal(stats().demoted, 0);
	assert_int_equal(fake_calls(FAKE_PUT), 0);
}

/* So that a look-up does not wait until hundreds of large ones are stored. */
static void large_ones_move_in_small_batches(void **unused)
{
	static char large[200001];

	(void)unused;
	memset(large, 'x', sizeof large - 1);
	for (int end = 0; end < 2; end++) {
		fake_forget_journal();
		for (uint32_t n = 0; n < 70; n++)
			create(n, large);
		if (end) {
			stop_stack(true);
		} else {
			pass_s(IDLE_S + 1);
			AWAIT(fake_count() == 70);
		}
		assert_in_range(fake_most_in_a_batch("put"), 15, 22);
		for (uint32_t n = 0; n < 70 && !end; n++)
			assert_int_equal(ask_for(STACK_END, n), 0);
	}
	start_stack();
}

/* --- in the middle --- */

/* B6 */
static void who_asks_in_the_middle_finds_it_at_once(void **unused)
{
	struct request r;

	(void)unused;
	create(1, "a");
	expect_session(1, "a"); /* so that nothing but its use will be new */
	stop_commit();
	pass_s(IDLE_S + 1);
	fake_await(FAKE_COMMIT);
	assert_int_equal(open_for(&r, app, 1, SESS_LOCK_EXCLUSIVE), SESS_OPENED);
	expect_state(&r, "a");
	close_one(&r);
	end_demotion();
	/* It was used, and stays; what is below is as good as it was. */
	assert_true(in_memory(1));
	assert_true(fake_has(1));
	assert_int_equal(stats().both, 1);
	assert_int_equal(stats().demoted, 0);
	assert_int_equal(stats().below_sessions, 1);
	pass_s(IDLE_S + 1);
	AWAIT(!in_memory(1));
	turn();
	assert_int_equal(stats().both, 0);
	assert_int_equal(stats().demoted, 1);
	assert_int_equal(stats().below_sessions, 1);
}

static void who_holds_it_over_the_end_of_the_move_keeps_it(void **unused)
{
	struct request a, b;

	(void)unused;
	begin_demotion("a");
	assert_int_equal(open_for(&a, app, 1, SESS_LOCK_EXCLUSIVE), SESS_OPENED);
	assert_int_equal(open_for(&b, app, 1, SESS_LOCK_EXCLUSIVE), SESS_QUEUED);
	end_demotion();
	assert_true(in_memory(1));
	close_one(&a);
	assert_int_equal(granted(&b), SESS_OPENED);
	assert_int_equal(commit(&b, data("b"), 0, NULL), 0);
	close_one(&b);
	pass_s(IDLE_S + 1);
	AWAIT(!in_memory(1));
	assert_string_equal(fake_state(1, NULL), "b");
}

/* Within one second: the time of its last use is the same. */
static void what_changes_in_the_middle_stays_with_the_change(void **unused)
{
	struct request r;
	struct sess_commit longer = {.has_ttl = true, .ttl_s = 2 * TTL_S};
	struct sess_snapshot snap;

	(void)unused;
	create(1, "a");
	assert_int_equal(open_one(&r, 1), SESS_OPENED);
	close_one(&r);
	stop_commit();
	/* An operator's demotion asks for no idle time. */
	struct ask a = {.job.op = STACK_DEMOTE};
	set_key(&a, 1);
	submit(&a);
	fake_await(FAKE_COMMIT);
	change(1, "b");
	fake_go(FAKE_COMMIT);
	AWAIT(a.done);
	assert_int_equal(a.job.err, ERR_BUSY);
	stack_job_fini(&a.job);
	assert_true(in_memory(1));
	assert_string_equal(fake_state(1, NULL), "a");
	expect_session(1, "b");
	/* The same for its time to live, and for who reads it first. */
	stop_commit();
	submit(&a);
	fake_await(FAKE_COMMIT);
	assert_int_equal(open_one(&r, 1), SESS_OPENED);
	assert_int_equal(commit(&r, longer, 0, NULL), 0);
	close_one(&r);
	fake_go(FAKE_COMMIT);
	AWAIT(a.done);
	stack_job_fini(&a.job);
	assert_true(in_memory(1));
	demote(1);
	assert_int_equal(open_one(&r, 1), SESS_OPENED);
	stack_read(stack, &r.hold, &snap);
	assert_int_equal(snap.ttl_s, 2 * TTL_S);
	assert_memory_equal(snap.state->bytes, "b", 1);
	sess_state_unref(snap.state);
	close_one(&r);
}

static void who_reads_it_first_in_the_middle_is_the_first(void **unused)
{
	struct request r;
	struct sess_snapshot snap;
	struct ask a = {.job.op = STACK_DEMOTE};

	(void)unused;
	create(1, "a");
	set_key(&a, 1);
	stop_commit();
	submit(&a);
	fake_await(FAKE_COMMIT);
	assert_int_equal(open_for(&r, app, 1, SESS_LOCK_NONE), SESS_OPENED);
	stack_read(stack, &r.hold, &snap);
	assert_true(snap.fresh);
	sess_state_unref(snap.state);
	close_one(&r);
	fake_go(FAKE_COMMIT);
	AWAIT(a.done);
	stack_job_fini(&a.job);
	demote(1);
	assert_int_equal(open_one(&r, 1), SESS_OPENED);
	stack_read(stack, &r.hold, &snap);
	assert_false(snap.fresh);
	sess_state_unref(snap.state);
	close_one(&r);
}

static void what_ends_in_the_middle_has_ended_below_too(void **unused)
{
	struct request r;

	(void)unused;
	begin_demotion("a");
	assert_int_equal(open_one(&r, 1), SESS_OPENED);
	assert_int_equal(commit(&r, END, 0, NULL), STACK_WAITS);
	close_one(&r);
	expect_open(1, SESS_ABSENT);
	assert_int_equal(r.dones, 0);
	end_demotion();
	AWAIT(r.dones == 1);
	assert_false(fake_has(1));
	assert_int_equal(stats().sessions, 0);
	assert_int_equal(stats().both, 0);
	assert_int_equal(stats().demoted, 0);
	assert_int_equal(stats().bytes, 0);
}

/* The second answer says no less than the first. */
static void what_ends_twice_in_the_middle_is_waited_for_twice(void **unused)
{
	struct request a, b;

	(void)unused;
	begin_demotion("a");
	assert_int_equal(open_one(&a, 1), SESS_OPENED);
	assert_int_equal(open_for(&b, app, 1, SESS_LOCK_NONE), SESS_OPENED);
	assert_int_equal(commit(&a, END, 0, NULL), STACK_WAITS);
	assert_int_equal(commit(&b, END, 0, NULL), STACK_WAITS);
	close_one(&a);
	close_one(&b);
	assert_int_equal(b.dones, 0);
	end_demotion();
	AWAIT(a.dones == 1 && b.dones == 1);
	assert_false(fake_has(1));
}

static void what_is_renewed_in_the_middle_goes_on_under_the_new_id(void **unused)
{
	struct request r;

	(void)unused;
	begin_demotion("a");
	assert_int_equal(open_one(&r, 1), SESS_OPENED);
	assert_int_equal(commit(&r, RENEW, 2, NULL), STACK_WAITS);
	close_one(&r);
	end_demotion();
	AWAIT(r.dones == 1);
	assert_false(fake_has(1));
	expect_open(1, SESS_RENEWED);
	expect_session(2, "a");
	turn();
	assert_int_equal(stats().both, 0);
	assert_int_equal(stats().below_sessions, 0);
}

static void what_expires_in_the_middle_is_gone(void **unused)
{
	(void)unused;
	begin_demotion("a");
	clock_ms += TTL_S * 1000;
	while (stack_expire(stack, 0, 1, 1000, clock_now()))
		;
	assert_false(in_memory(1));
	end_demotion();
	expect_open(1, SESS_ABSENT);
	assert_int_equal(stats().demoted, 0);
	pass_s(1);
	AWAIT(!fake_has(1));
	turn();
	assert_int_equal(stats().expired + stats().below_expired, 1);
}

static void what_gets_a_shorter_life_in_the_middle_dies_with_it(void **unused)
{
	struct request r;
	struct sess_commit shorter = {.has_ttl = true, .ttl_s = 10};

	(void)unused;
	begin_demotion("a");
	assert_int_equal(open_one(&r, 1), SESS_OPENED);
	assert_int_equal(commit(&r, shorter, 0, NULL), 0);
	close_one(&r);
	end_demotion();
	clock_ms += 10000;
	expect_open(1, SESS_ABSENT);
	turn();
	expect_open(1, SESS_ABSENT);
	AWAIT(!fake_has(1));
}

/* Its time to live was stored; only its use keeps it here. */
static void what_was_stored_with_the_shorter_life_owes_nothing(void **unused)
{
	struct request r;
	struct sess_commit shorter = {.has_ttl = true, .ttl_s = 10};
	struct ask a = {.job.op = STACK_DEMOTE};

	(void)unused;
	create_below(1, "a");
	assert_int_equal(open_one(&r, 1), SESS_OPENED);
	assert_int_equal(commit(&r, shorter, 0, NULL), 0);
	close_one(&r);
	set_key(&a, 1);
	stop_commit();
	submit(&a);
	fake_await(FAKE_COMMIT);
	clock_ms += 2000;
	expect_session(1, "a");
	fake_go(FAKE_COMMIT);
	AWAIT(a.done);
	stack_job_fini(&a.job);
	assert_true(in_memory(1));
	fake_forget_journal();
	pass_s(10);
	expect_open(1, SESS_ABSENT);
	AWAIT(!fake_has(1));
	assert_int_equal(fake_saw("remove 1"), 0);
}

static void what_is_to_be_pinned_in_the_middle_comes_back_pinned(void **unused)
{
	struct ask a = {.job.op = STACK_PIN};

	(void)unused;
	begin_demotion("a");
	set_key(&a, 1);
	submit(&a);
	end_demotion();
	AWAIT(a.done);
	assert_int_equal(a.job.err, 0);
	assert_true(a.job.at[0].pinned);
	stack_job_fini(&a.job);
	pass_s(IDLE_S + 1);
	turn();
	assert_true(in_memory(1));
}

/* --- what does not work --- */

static void what_finds_no_room_below_stays(void **unused)
{
	(void)unused;
	fake_bound(2, 0);
	for (uint32_t n = 0; n < 5; n++)
		create(n, "a");
	pass_s(IDLE_S + 1);
	AWAIT(stats().below == STACK_BELOW_FULL);
	assert_string_equal(stats().trouble, "no space left");
	stack_check(stack);
	assert_int_equal(stats().sessions, 3);
	assert_int_equal(stats().demoted, 2);
	for (uint32_t n = 0; n < 5; n++)
		assert_true(in_memory(n) != fake_has(n));
	/* Tried again, and said once. */
	for (int i = 0; i < 5; i++) {
		uint32_t tries = fake_calls(FAKE_PUT);
		pass_s(1);
		turn();
		assert_true(fake_calls(FAKE_PUT) > tries);
		tries = fake_calls(FAKE_PUT);
		turn();
		assert_int_equal(fake_calls(FAKE_PUT), tries);
	}
	/* Room for one more is not enough. */
	fake_bound(3, 0);
	pass_s(1);
	AWAIT(stats().sessions == 2);
	turn();
	assert_int_equal(stats().below, STACK_BELOW_FULL);
	assert_int_equal(logged("event=store_full"), 1);
	assert_int_equal(logged("event=store_has_room"), 0);
	fake_bound(0, 0);
	pass_s(1);
	AWAIT(stats().sessions == 0);
	turn();
	assert_int_equal(logged("event=store_has_room"), 1);
	assert_int_equal(stats().below, STACK_BELOW_READY);
	assert_string_equal(stats().trouble, "");
	assert_int_equal(stats().demoted, 5);
	for (uint32_t n = 0; n < 5; n++)
		expect_session(n, "a");
}

/* A store may have room again after a commit: it is full when it takes nothing. */
static void a_batch_that_is_too_large_is_no_full_store(void **unused)
{
	(void)unused;
	for (uint32_t n = 0; n < 5; n++)
		create(n, "a");
	fake_fail(FAKE_PUT, ERR_FULL, 2);
	pass_s(IDLE_S + 1);
	AWAIT(stats().sessions == 0);
	turn();
	assert_int_equal(stats().demoted, 5);
	assert_int_equal(logged("event=store_full"), 0);
}

static void what_meets_a_broken_store_stays(void **unused)
{
	static const enum fake_op ops[] = {FAKE_PUT, FAKE_COMMIT};

	(void)unused;
	turn();
	for (uint32_t i = 0; i < 2; i++) {
		create(i, "a");
		uint64_t before = stats().demoted;
		fake_fail(FAKE_OPEN, ERR_SYSTEM, FAKE_ALWAYS);
		fake_fail(ops[i], ERR_BROKEN, 1);
		pass_s(IDLE_S + 1);
		AWAIT(stats().below == STACK_BELOW_BROKEN);
		stack_check(stack);
		assert_true(in_memory(i));
		assert_false(fake_has(i));
		assert_int_equal(stats().demoted, before);
		expect_session(i, "a");
		fake_work(FAKE_OPEN);
		pass_s(IDLE_S + 1);
		AWAIT(!in_memory(i));
		expect_session(i, "a");
		demote(i);
	}
	assert_int_equal(stats().troubles, 2);
}

/* An old version is there still, although the new one is not. */
static void what_is_below_stays_known_when_a_move_fails(void **unused)
{
	struct request r;

	(void)unused;
	create_below(1, "old");
	change(1, "new");
	fake_fail(FAKE_PUT, ERR_FULL, 1);
	assert_int_equal(ask_for(STACK_DEMOTE, 1), ERR_FULL);
	assert_int_equal(stats().both, 1);
	assert_int_equal(open_one(&r, 1), SESS_OPENED);
	assert_int_equal(commit(&r, END, 0, NULL), STACK_WAITS);
	close_one(&r);
	AWAIT(r.dones == 1);
	assert_false(fake_has(1));
}

/* Whose fsync() fails may find the batch on the disk all the same when it opens it again. */
static void what_may_be_below_is_removed_when_it_ends(void **unused)
{
	struct request r;

	(void)unused;
	create(1, "a");
	fake.op[FAKE_COMMIT].applies = true;
	turn();
	fake_fail(FAKE_COMMIT, ERR_BROKEN, 1);
	assert_int_equal(ask_for(STACK_DEMOTE, 1), ERR_BROKEN);
	assert_true(fake_has(1));
	assert_true(in_memory(1));
	assert_int_equal(open_one(&r, 1), SESS_OPENED);
	assert_int_equal(commit(&r, END, 0, NULL), STACK_WAITS);
	close_one(&r);
	AWAIT(r.dones == 1);
	expect_open(1, SESS_ABSENT);
	assert_false(fake_has(1));
}

/* One session has no room there, the others do. */
static void one_that_is_too_large_keeps_no_other_back(void **unused)
{
	char large[2000] = {0};

	(void)unused;
	memset(large, 'x', sizeof large - 1);
	for (uint32_t n = 0; n < 20; n++)
		create(n, n % 7 == 0 ? large : "a");
	fake_bound(0, 100);
	stop_stack(true);
	for (uint32_t n = 0; n < 20; n++)
		assert_int_equal(fake_has(n), n % 7 != 0);
	assert_int_equal(logged("event=sessions_lost"), 1);
	assert_int_equal(logged("sessions=3"), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(who_is_unused_for_a_time_moves_down),
	    TEST(who_is_used_stays),
	    TEST(who_is_pinned_stays),
	    TEST(nothing_moves_where_nothing_is_to),
	    TEST(what_has_expired_does_not_move),
	    TEST(large_ones_move_in_small_batches),
	    TEST(who_asks_in_the_middle_finds_it_at_once),
	    TEST(who_holds_it_over_the_end_of_the_move_keeps_it),
	    TEST(what_changes_in_the_middle_stays_with_the_change),
	    TEST(who_reads_it_first_in_the_middle_is_the_first),
	    TEST(what_ends_in_the_middle_has_ended_below_too),
	    TEST(what_ends_twice_in_the_middle_is_waited_for_twice),
	    TEST(what_is_renewed_in_the_middle_goes_on_under_the_new_id),
	    TEST(what_expires_in_the_middle_is_gone),
	    TEST(what_gets_a_shorter_life_in_the_middle_dies_with_it),
	    TEST(what_was_stored_with_the_shorter_life_owes_nothing),
	    TEST(what_is_to_be_pinned_in_the_middle_comes_back_pinned),
	    TEST(what_finds_no_room_below_stays),
	    TEST(a_batch_that_is_too_large_is_no_full_store),
	    TEST(what_is_below_stays_known_when_a_move_fails),
	    TEST(what_may_be_below_is_removed_when_it_ends),
	    TEST(one_that_is_too_large_keeps_no_other_back),
	    TEST(what_meets_a_broken_store_stays),
	};

	return cmocka_run_group_tests(tests, NULL, remove_log);
}
