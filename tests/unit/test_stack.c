/* The stack of stores, the way up: a request falls through to the store below, and its session comes to memory. */
#include "tests/unit/stack_fixture.h"

/* --- found, and not found --- */

static void a_look_up_falls_through_to_what_is_below(void **unused)
{
	struct request r;

	(void)unused;
	create_below(1, "seven");
	assert_int_equal(open_for(&r, app, 1, SESS_LOCK_EXCLUSIVE), SESS_QUEUED);
	assert_int_equal(granted(&r), SESS_OPENED);
	expect_state(&r, "seven");
	close_one(&r);
	assert_true(in_memory(1));
	assert_int_equal(open_for(&r, app, 1, SESS_LOCK_EXCLUSIVE), SESS_OPENED);
	close_one(&r);
	assert_int_equal(stats().promoted, 1);
	assert_int_equal(stats().demoted, 1);
	assert_int_equal(stats().missed, 0);
}

static void what_comes_up_is_as_it_went_down(void **unused)
{
	struct request r;
	struct sess_snapshot snap;
	struct sess_commit c = data("state");

	(void)unused;
	create(1, "");
	assert_int_equal(open_one(&r, 1), SESS_OPENED);
	c.has_ttl = true;
	c.ttl_s = 777;
	assert_int_equal(commit(&r, c, 0, NULL), 0);
	close_one(&r);
	uint32_t created_s = wall_s();
	pass_s(40);
	demote(1);
	pass_s(50);
	assert_int_equal(open_one(&r, 1), SESS_OPENED);
	stack_read(stack, &r.hold, &snap);
	assert_memory_equal(snap.state->bytes, "state", 5);
	sess_state_unref(snap.state);
	assert_int_equal(snap.ttl_s, 777);
	assert_int_equal(snap.created.s, created_s);
	/* Made by another request, which this one is the first to follow: reading it says so once. */
	assert_true(snap.fresh);
	stack_read(stack, &r.hold, &snap);
	assert_false(snap.fresh);
	sess_state_unref(snap.state);
	close_one(&r);
}

static void a_state_of_no_bytes_comes_back_too(void **unused)
{
	(void)unused;
	create_below(1, "");
	expect_session(1, "");
}

static void what_is_nowhere_is_absent(void **unused)
{
	struct request r;

	(void)unused;
	assert_int_equal(open_for(&r, app, 1, SESS_LOCK_EXCLUSIVE), SESS_QUEUED);
	assert_int_equal(granted(&r), SESS_ABSENT);
	assert_null(r.hold.session);
	turn();
	assert_int_equal(stats().missed, 1);
	assert_int_equal(stats().sessions, 0);
	assert_int_equal(stats().bytes, 0);
}

static void without_a_store_absent_is_known_at_once(void **unused)
{
	struct request r;

	(void)unused;
	stop_stack(false);
	options.below = NULL;
	start_stack();
	assert_int_equal(open_for(&r, app, 1, SESS_LOCK_EXCLUSIVE), SESS_ABSENT);
	create(1, "a");
	expect_session(1, "a");
	assert_int_equal(open_one(&r, 1), SESS_OPENED);
	assert_int_equal(commit(&r, (struct sess_commit){.end = true}, 0, NULL), 0);
	close_one(&r);
	assert_int_equal(stats().below, STACK_BELOW_NONE);
}

static void what_has_expired_below_does_not_come_up(void **unused)
{
	(void)unused;
	fake_fail(FAKE_EXPIRE, ERR_SYSTEM, FAKE_ALWAYS); /* nobody sweeps */
	create_below(1, "a");
	create_below(2, "b");
	pass_s(TTL_S - 1);
	expect_session(1, "a");
	pass_s(1);
	expect_open(2, SESS_ABSENT);
}

static void an_id_is_good_for_its_own_app_only(void **unused)
{
	struct request r, other;

	(void)unused;
	create_below(1, "a");
	fake_stop(FAKE_GET);
	assert_int_equal(open_for(&other, other_app, 1, SESS_LOCK_EXCLUSIVE), SESS_QUEUED);
	fake_await(FAKE_GET);
	assert_int_equal(open_for(&r, app, 1, SESS_LOCK_EXCLUSIVE), SESS_QUEUED);
	fake_go(FAKE_GET);
	assert_int_equal(granted(&other), SESS_ABSENT);
	/* Who had no right to it hands the lock on. */
	assert_int_equal(granted(&r), SESS_OPENED);
	expect_state(&r, "a");
	close_one(&r);
	assert_int_equal(open_for(&other, other_app, 1, SESS_LOCK_NONE), SESS_ABSENT);
	/* Nor did the wrong one use it. */
	pass_s(10);
	demote(1);
	assert_int_equal(open_for(&other, other_app, 1, SESS_LOCK_NONE), SESS_QUEUED);
	assert_int_equal(granted(&other), SESS_ABSENT);
	demote(1);
	struct sess_record rec;
	assert_non_null(fake_state(1, &rec));
	assert_int_equal(rec.used_s, wall_s() - 10);
}

/* --- many at once --- */

static void all_who_wait_are_served_in_order(void **unused)
{
	struct request first, second, readers[3];

	(void)unused;
	create_below(1, "a");
	fake_forget_journal();
	fake_stop(FAKE_GET);
	assert_int_equal(open_for(&readers[0], app, 1, SESS_LOCK_NONE), SESS_QUEUED);
	assert_int_equal(open_for(&first, app, 1, SESS_LOCK_EXCLUSIVE), SESS_QUEUED);
	fake_await(FAKE_GET);
	assert_int_equal(open_for(&readers[1], app, 1, SESS_LOCK_NONE), SESS_QUEUED);
	assert_int_equal(open_for(&second, app, 1, SESS_LOCK_EXCLUSIVE), SESS_QUEUED);
	assert_int_equal(open_for(&readers[2], app, 1, SESS_LOCK_NONE), SESS_QUEUED);
	assert_int_equal(stats().waiters, 5);
	stack_check(stack);
	fake_go(FAKE_GET);
	/* Readers and the first one for the lock at once, the second when that is done. */
	for (int i = 0; i < 3; i++)
		assert_int_equal(granted(&readers[i]), SESS_OPENED);
	assert_int_equal(granted(&first), SESS_OPENED);
	assert_int_equal(second.grants, 0);
	assert_int_equal(commit(&first, data("b"), 0, NULL), 0);
	close_one(&first);
	assert_int_equal(granted(&second), SESS_OPENED);
	expect_state(&second, "b");
	close_one(&second);
	for (int i = 0; i < 3; i++)
		close_one(&readers[i]);
	turn();
	assert_int_equal(fake_saw("get 1"), 1);
	assert_int_equal(stats().promoted, 1);
}

static void all_who_wait_hear_that_it_is_absent(void **unused)
{
	struct request r[3];

	(void)unused;
	fake_stop(FAKE_GET);
	for (int i = 0; i < 3; i++)
		assert_int_equal(open_for(&r[i], i == 1 ? other_app : app, 1, i ? SESS_LOCK_NONE : SESS_LOCK_EXCLUSIVE),
				 SESS_QUEUED);
	fake_await(FAKE_GET);
	stack_check(stack);
	fake_go(FAKE_GET);
	for (int i = 0; i < 3; i++)
		assert_int_equal(granted(&r[i]), SESS_ABSENT);
	assert_int_equal(stats().bytes, 0);
}

static void who_gives_up_while_it_is_fetched_is_gone(void **unused)
{
	struct request a, b;

	(void)unused;
	create_below(1, "a");
	fake_stop(FAKE_GET);
	assert_int_equal(open_for(&a, app, 1, SESS_LOCK_EXCLUSIVE), SESS_QUEUED);
	assert_int_equal(open_for(&b, app, 1, SESS_LOCK_EXCLUSIVE), SESS_QUEUED);
	fake_await(FAKE_GET);
	assert_true(stack_cancel(stack, &a.waiter, &a.hold));
	assert_null(a.hold.session);
	fake_go(FAKE_GET);
	assert_int_equal(granted(&b), SESS_OPENED);
	close_one(&b);
	assert_int_equal(a.grants, 0);
}

static void it_comes_although_all_have_given_up(void **unused)
{
	struct request r[2];

	(void)unused;
	create_below(1, "a");
	fake_stop(FAKE_GET);
	for (int i = 0; i < 2; i++)
		assert_int_equal(open_for(&r[i], app, 1, SESS_LOCK_EXCLUSIVE), SESS_QUEUED);
	fake_await(FAKE_GET);
	for (int i = 0; i < 2; i++)
		assert_true(stack_cancel(stack, &r[i].waiter, &r[i].hold));
	stack_check(stack);
	fake_go(FAKE_GET);
	AWAIT(in_memory(1));
	stack_check(stack);
	assert_int_equal(stats().waiters, 0);
	/* It lies there like any other: it moves down by itself. */
	pass_s(IDLE_S + 1);
	AWAIT(!in_memory(1));
	expect_session(1, "a");
}

static void nothing_is_left_when_all_gave_up_on_what_is_nowhere(void **unused)
{
	struct request r;

	(void)unused;
	fake_stop(FAKE_GET);
	assert_int_equal(open_for(&r, app, 1, SESS_LOCK_EXCLUSIVE), SESS_QUEUED);
	fake_await(FAKE_GET);
	assert_true(stack_cancel(stack, &r.waiter, &r.hold));
	fake_go(FAKE_GET);
	turn();
	assert_int_equal(stats().bytes, 0);
}

static void a_grant_on_its_way_is_taken_and_given_back(void **unused)
{
	struct request a, b;

	(void)unused;
	create_below(1, "a");
	assert_int_equal(open_for(&a, app, 1, SESS_LOCK_EXCLUSIVE), SESS_QUEUED);
	AWAIT(a.grants == 1);
	assert_false(stack_cancel(stack, &a.waiter, &a.hold));
	assert_int_equal(open_for(&b, app, 1, SESS_LOCK_EXCLUSIVE), SESS_QUEUED);
	assert_int_equal(granted(&a), SESS_OPENED);
	close_one(&a);
	assert_int_equal(granted(&b), SESS_OPENED);
	close_one(&b);
}

/* --- what cannot be read --- */

static void what_is_damaged_counts_as_lost(void **unused)
{
	(void)unused;
	create_below(1, "a");
	fake_damage(1, ERR_MALFORMED);
	expect_open(1, SESS_ABSENT);
	turn();
	assert_int_equal(stats().unreadable, 1);
	assert_int_equal(logged("event=session_damaged"), 1);
	assert_int_equal(stats().missed, 1);
	assert_int_equal(stats().promoted, 0);
	assert_int_equal(stats().below, STACK_BELOW_READY);
	assert_true(fake_has(1)); /* left for whoever wants to look */
}

/* An older weir must not tell the client that its session is gone: a newer one has it. */
static void what_is_of_a_newer_format_is_unavailable(void **unused)
{
	(void)unused;
	create_below(1, "a");
	fake_damage(1, ERR_VERSION);
	expect_open(1, SESS_UNAVAILABLE);
	turn();
	assert_int_equal(stats().unreadable, 1);
	assert_int_equal(logged("event=session_too_new"), 1);
	assert_int_equal(stats().missed, 0);
	fake_damage(1, 0);
	expect_session(1, "a");
}

static void a_store_that_breaks_makes_nothing_absent(void **unused)
{
	(void)unused;
	create_below(1, "a");
	fake_fail(FAKE_GET, ERR_BROKEN, 1);
	expect_open(1, SESS_UNAVAILABLE);
	AWAIT(stats().below != STACK_BELOW_BROKEN);
	expect_session(1, "a");
	assert_int_equal(stats().troubles, 1);
	assert_int_equal(stats().missed, 0);
}

static void want_of_memory_makes_nothing_absent(void **unused)
{
	(void)unused;
	create_below(1, "a");
	fake_fail(FAKE_GET, ERR_NO_MEMORY, 1);
	expect_open(1, SESS_UNAVAILABLE);
	expect_session(1, "a");
}

/* --- a store that does not open --- */

static void look_ups_wait_for_a_store_that_opens_slowly(void **unused)
{
	struct request r;

	(void)unused;
	create_below(1, "a");
	stop_stack(false);
	fake_stop(FAKE_OPEN);
	start_stack();
	fake_await(FAKE_OPEN);
	assert_int_equal(stats().below, STACK_BELOW_OPENING);
	assert_int_equal(open_for(&r, app, 1, SESS_LOCK_EXCLUSIVE), SESS_QUEUED);
	create(2, "b");
	expect_session(2, "b"); /* memory does not wait */
	fake_go(FAKE_OPEN);
	assert_int_equal(granted(&r), SESS_OPENED);
	expect_state(&r, "a");
	close_one(&r);
	turn();
	assert_int_equal(stats().below, STACK_BELOW_READY);
	assert_string_equal(stats().trouble, "");
}

static void a_store_that_does_not_open_is_tried_ever_later(void **unused)
{
	(void)unused;
	create_below(1, "a");
	stop_stack(false);
	uint32_t before = fake_calls(FAKE_OPEN);
	fake_fail(FAKE_OPEN, ERR_SYSTEM, 8);
	start_stack();
	expect_open(1, SESS_UNAVAILABLE);
	turn();
	assert_int_equal(stats().below, STACK_BELOW_BROKEN);
	assert_string_equal(stats().trouble, "the test says so");
	assert_int_equal(fake_calls(FAKE_OPEN) - before, 1);
	/* 1, 2, 4, 8, 16, 30, 30 seconds */
	static const unsigned waits_s[] = {1, 2, 4, 8, 16, 30, 30, 30};
	for (uint32_t i = 0; i < 8; i++) {
		pass_ms(waits_s[i] * 1000 - 1);
		turn();
		assert_int_equal(fake_calls(FAKE_OPEN) - before, i + 1);
		pass_ms(1);
		turn();
		assert_int_equal(fake_calls(FAKE_OPEN) - before, i + 2);
	}
	assert_int_equal(stats().below, STACK_BELOW_READY);
	assert_string_equal(stats().trouble, "");
	expect_session(1, "a");
	assert_int_equal(logged("event=store_failed"), 1); /* one reason, one line */
	assert_int_equal(stats().troubles, 1);
}

/* However often it is tried, and whatever else is wrong meanwhile. */
static void one_trouble_is_counted_once(void **unused)
{
	(void)unused;
	create_below(1, "a");
	assert_int_equal(stats().troubles, 0);
	for (uint32_t n = 1; n <= 3; n++) {
		fake_fail(FAKE_GET, ERR_BROKEN, 1);
		fake_fail(FAKE_OPEN, ERR_SYSTEM, 3);
		expect_open(1, SESS_UNAVAILABLE);
		for (uint32_t i = 0; i < 3; i++) {
			pass_s(100);
			turn();
			assert_int_equal(stats().troubles, n);
		}
		pass_s(100);
		turn();
		assert_int_equal(stats().below, STACK_BELOW_READY);
		assert_int_equal(stats().troubles, n);
	}
}

/* --- numbers --- */

static void numbers_of_what_is_where(void **unused)
{
	(void)unused;
	for (uint32_t n = 0; n < 5; n++)
		create(n, "0123456789");
	uint64_t bytes = stats().bytes;
	for (uint32_t n = 0; n < 3; n++)
		demote(n);
	turn();
	assert_int_equal(stats().sessions, 2);
	assert_int_equal(stats().bytes, bytes / 5 * 2);
	assert_int_equal(stats().below_sessions, 3);
	assert_int_equal(stats().both, 0);
	assert_true(stats().below_bytes > 3 * 10);
	assert_int_equal(stats().below_max_bytes, 1 << 30);
	expect_session(0, "0123456789");
	turn();
	assert_int_equal(stats().sessions, 3);
	assert_int_equal(stats().both, 1);
	assert_int_equal(stats().below_sessions, 3);
	assert_int_equal(stats().demoted, 3);
	assert_int_equal(stats().promoted, 1);
	demote(0);
	turn();
	assert_int_equal(stats().both, 0);
	assert_int_equal(stats().below_sessions, 3);
	assert_int_equal(stats().created, 5);
	assert_int_equal(stats().ended, 0);
	assert_int_equal(stats().expired, 0);
}

static _Atomic bool fenced;
static _Atomic unsigned refused;

static bool may_expire(void *arg)
{
	refused += fenced && arg == &fenced;
	return !fenced;
}

/* Who may not say that a session has ended leaves it on disk until he may. */
static void what_has_expired_below_stays_while_it_may_not_go(void **unused)
{
	(void)unused;
	stop_stack(false);
	options.may_expire = may_expire;
	options.arg = &fenced;
	fenced = true;
	start_stack();
	create_below(1, "a");
	for (unsigned looks = 0; looks < 3; looks++) {
		unsigned before = refused;
		pass_s(TTL_S);
		AWAIT(refused > before);
		turn();
		assert_true(fake_has(1));
	}
	assert_int_equal(stats().below_expired, 0);
	fenced = false;
	pass_s(1);
	AWAIT(!fake_has(1));
	turn();
	assert_int_equal(stats().below_expired, 1);
}

static void what_expires_below_leaves_memory_alone(void **unused)
{
	(void)unused;
	create_below(1, "a");
	create_below(2, "b");
	pass_s(TTL_S - 10);
	expect_session(1, "a");
	turn();
	assert_int_equal(stats().both, 1);
	pass_s(10);
	AWAIT(fake_count() == 0);
	turn();
	assert_int_equal(stats().below_expired, 1); /* the other one lives */
	assert_int_equal(stats().both, 0);
	assert_int_equal(stats().below_sessions, 0);
	assert_int_equal(stats().expired, 0);
	expect_session(1, "a");
	expect_open(2, SESS_ABSENT);
	/* And it can go down again. */
	demote(1);
	expect_session(1, "a");
}

static void names_of_apps_keep_their_numbers(void **unused)
{
	uint16_t a, b;

	(void)unused;
	assert_int_equal(stack_app(stack, "another", &a), 0);
	assert_int_equal(stack_app(stack, "shop", &b), 0);
	assert_int_equal(b, app);
	assert_int_not_equal(a, app);
	assert_string_equal(stack_app_name(stack, a), "another");
	create_below(1, "a");
	stop_stack(false);
	start_stack();
	/* Other numbers in another process: below there are names. */
	assert_int_equal(stack_app(stack, "another", &a), 0);
	expect_session(1, "a");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_look_up_falls_through_to_what_is_below),
	    TEST(what_comes_up_is_as_it_went_down),
	    TEST(a_state_of_no_bytes_comes_back_too),
	    TEST(what_is_nowhere_is_absent),
	    TEST(without_a_store_absent_is_known_at_once),
	    TEST(what_has_expired_below_does_not_come_up),
	    TEST(an_id_is_good_for_its_own_app_only),
	    TEST(all_who_wait_are_served_in_order),
	    TEST(all_who_wait_hear_that_it_is_absent),
	    TEST(who_gives_up_while_it_is_fetched_is_gone),
	    TEST(it_comes_although_all_have_given_up),
	    TEST(nothing_is_left_when_all_gave_up_on_what_is_nowhere),
	    TEST(a_grant_on_its_way_is_taken_and_given_back),
	    TEST(what_is_damaged_counts_as_lost),
	    TEST(what_is_of_a_newer_format_is_unavailable),
	    TEST(a_store_that_breaks_makes_nothing_absent),
	    TEST(want_of_memory_makes_nothing_absent),
	    TEST(look_ups_wait_for_a_store_that_opens_slowly),
	    TEST(a_store_that_does_not_open_is_tried_ever_later),
	    TEST(one_trouble_is_counted_once),
	    TEST(numbers_of_what_is_where),
	    TEST(what_has_expired_below_stays_while_it_may_not_go),
	    TEST(what_expires_below_leaves_memory_alone),
	    TEST(names_of_apps_keep_their_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, remove_log);
}
