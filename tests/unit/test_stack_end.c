/* The stack of stores, the end: what has ended, was renewed or has expired does not come back from below, and who ended
 * it hears so when it is sure. */
#include "tests/unit/stack_fixture.h"

static const struct sess_commit END = {.end = true}, RENEW = {.renew = true};

/* In memory, and an older version is below. */
static void create_both(uint32_t n, const char *text)
{
	create_below(n, "old");
	change(n, text);
}

/* Ends it and gives the commit's answer. */
static int end_one(struct request *r, uint32_t n)
{
	assert_int_equal(open_one(r, n), SESS_OPENED);
	int err = commit(r, END, 0, NULL);
	close_one(r);
	return err;
}

static void expire_memory(void)
{
	while (stack_expire(stack, 0, 1, 1000, clock_now()))
		;
}

/* --- the answer waits for the store --- */

static void what_was_never_stored_ends_at_once(void **unused)
{
	struct request r;

	(void)unused;
	create(1, "a");
	assert_int_equal(end_one(&r, 1), 0);
	expect_open(1, SESS_ABSENT);
	turn();
	assert_int_equal(fake_calls(FAKE_REMOVE), 0);
	assert_int_equal(stats().ended, 1);
}

static void an_end_is_done_when_it_is_committed_below(void **unused)
{
	struct request r;

	(void)unused;
	create_both(1, "new");
	fake_forget_journal();
	stop_commit();
	assert_int_equal(end_one(&r, 1), STACK_WAITS);
	fake_await(FAKE_COMMIT);
	assert_int_equal(r.dones, 0);
	assert_true(fake_has(1));
	fake_go(FAKE_COMMIT);
	AWAIT(r.dones == 1);
	assert_false(fake_has(1));
	assert_int_equal(fake_saw("remove 1"), 1);
	expect_open(1, SESS_ABSENT);
	turn();
	assert_int_equal(stats().both, 0);
	assert_int_equal(stats().below_sessions, 0);
}

static void a_look_up_during_the_end_finds_nothing(void **unused)
{
	struct request r;

	(void)unused;
	create_both(1, "new");
	fake_stop(FAKE_REMOVE);
	assert_int_equal(end_one(&r, 1), STACK_WAITS);
	fake_await(FAKE_REMOVE);
	expect_open(1, SESS_ABSENT);
	stack_check(stack);
	fake_go(FAKE_REMOVE);
	AWAIT(r.dones == 1);
	expect_open(1, SESS_ABSENT);
	assert_int_equal(stats().sessions, 0);
	assert_int_equal(stats().bytes, 0);
}

/* Who waits for the session that ends is told before the store is. What it does then comes before the removal: it must
 * not find the version below, which is older than what others were told. */
static enum sess_open overtaken;

static void overtake(struct sess_waiter *w)
{
	struct request r;

	overtaken = open_for(&r, app, 1, SESS_LOCK_EXCLUSIVE);
	note_grant(w);
}

static void a_look_up_that_overtakes_the_end_does_not_revive_it(void **unused)
{
	struct request a, b;
	struct sess_id id = id_of(1);

	(void)unused;
	create_both(1, "new");
	assert_int_equal(open_one(&a, 1), SESS_OPENED);
	init_request(&b);
	b.waiter.granted = overtake;
	assert_int_equal(stack_open(stack, app, &id, SESS_LOCK_EXCLUSIVE, &b.waiter, clock_now(), &b.hold),
			 SESS_QUEUED);
	assert_int_equal(commit(&a, END, 0, NULL), STACK_WAITS);
	close_one(&a);
	assert_int_equal(granted(&b), SESS_ENDED_NOW);
	assert_int_equal(overtaken, SESS_ABSENT);
	AWAIT(a.dones == 1);
	expect_open(1, SESS_ABSENT);
	assert_int_equal(stats().sessions, 0);
	assert_int_equal(stats().ended, 1);
	assert_false(fake_has(1));
}

/* The holder of what has ended may be there longer than the tombstone. */
static void who_holds_what_has_ended_may_take_his_time(void **unused)
{
	struct request a, b;
	struct sess_outcome out;

	(void)unused;
	create_both(1, "new");
	assert_int_equal(open_one(&a, 1), SESS_OPENED);
	assert_int_equal(open_for(&b, app, 1, SESS_LOCK_NONE), SESS_OPENED);
	assert_int_equal(commit(&a, END, 0, NULL), STACK_WAITS);
	stack_check(stack);
	AWAIT(a.dones == 1);
	close_one(&a);
	stack_check(stack);
	assert_int_equal(commit(&b, data("late"), 0, &out), 0);
	assert_true(out.dropped);
	assert_int_equal(commit(&b, END, 0, &out), 0); /* nothing is below any more: nothing to wait for */
	assert_true(out.dropped);
	close_one(&b);
	assert_int_equal(stats().bytes, 0);
}

/* Two windows, two log-outs: the second answer says no less than the first. */
static void who_ends_it_again_waits_for_the_same(void **unused)
{
	struct request a, b;
	struct sess_outcome out;

	(void)unused;
	create_both(1, "new");
	assert_int_equal(open_one(&a, 1), SESS_OPENED);
	assert_int_equal(open_for(&b, app, 1, SESS_LOCK_NONE), SESS_OPENED);
	stop_commit();
	assert_int_equal(commit(&a, END, 0, NULL), STACK_WAITS);
	assert_int_equal(commit(&b, END, 0, &out), STACK_WAITS);
	assert_true(out.dropped);
	fake_await(FAKE_COMMIT);
	assert_int_equal(b.dones, 0);
	fake_go(FAKE_COMMIT);
	AWAIT(a.dones == 1 && b.dones == 1);
	close_one(&a);
	close_one(&b);
	assert_int_equal(stats().ended, 1);
}

/* He does not wait for ever, and what has ended is removed all the same. */
static void who_gives_up_waiting_for_an_end_is_not_told(void **unused)
{
	struct request a, b;
	struct sess_outcome out;

	(void)unused;
	create_both(1, "new");
	stop_commit();
	assert_int_equal(open_one(&a, 1), SESS_OPENED);
	assert_int_equal(open_for(&b, app, 1, SESS_LOCK_NONE), SESS_OPENED);
	assert_int_equal(commit(&a, END, 0, NULL), STACK_WAITS);
	assert_int_equal(commit(&b, END, 0, &out), STACK_WAITS);
	close_one(&a);
	close_one(&b);
	fake_await(FAKE_COMMIT);
	assert_true(stack_cancel_safe(stack, &a.wait));
	expect_open(1, SESS_ABSENT);
	assert_false(stack_cancel_safe(stack, &a.wait));
	fake_go(FAKE_COMMIT);
	AWAIT(b.dones == 1);
	/* Once it was told there is nothing to give up. */
	assert_false(stack_cancel_safe(stack, &b.wait));
	assert_false(fake_has(1));
	turn();
	assert_int_equal(a.dones, 0);
	assert_int_equal(stats().bytes, 0);
}

/* --- many at once --- */

enum { MANY = 60 };

/* A batch has the records of so many sessions. */
static void set_due(uint32_t sessions)
{
	fake_set_due(sessions * fake_bytes(fake.row[0]));
	fake_forget_journal();
}

static void ends_are_committed_in_small_batches(void **unused)
{
	static struct request r[MANY], waits;

	(void)unused;
	for (uint32_t n = 0; n < MANY; n++)
		create_both(n, "new");
	set_due(5);
	fake_stop(FAKE_GET);
	assert_int_equal(open_for(&waits, app, 9999, SESS_LOCK_NONE), SESS_QUEUED);
	fake_await(FAKE_GET);
	for (uint32_t n = 0; n < MANY; n++)
		assert_int_equal(end_one(&r[n], n), STACK_WAITS);
	fake_go(FAKE_GET);
	assert_int_equal(granted(&waits), SESS_ABSENT);
	for (uint32_t n = 0; n < MANY; n++)
		AWAIT(r[n].dones == 1);
	assert_int_equal(fake_most_in_a_batch("remove"), 5);
	assert_int_equal(fake_count(), 0);
}

/* Nobody need come to tell the thread that there is more. */
static void what_is_owed_goes_in_small_batches(void **unused)
{
	static struct request r[MANY];

	(void)unused;
	for (uint32_t n = 0; n < MANY; n++)
		create_both(n, "new");
	set_due(1);
	fake_fail(FAKE_REMOVE, ERR_SYSTEM, FAKE_ALWAYS);
	for (uint32_t n = 0; n < MANY; n++)
		assert_int_equal(end_one(&r[n], n), STACK_WAITS);
	for (uint32_t n = 0; n < MANY; n++)
		AWAIT(r[n].dones == 1);
	turn();
	fake_forget_journal();
	fake_work(FAKE_REMOVE);
	AWAIT(fake_count() == 0);
	assert_int_equal(fake_most_in_a_batch("remove"), 1);
	turn();
	assert_int_equal(stats().bytes, 0);
}

static void what_has_expired_goes_in_small_batches(void **unused)
{
	(void)unused;
	for (uint32_t n = 0; n < MANY; n++)
		create_below(n, "old");
	turn();
	set_due(1);
	pass_s(TTL_S);
	AWAIT(fake_count() == 0);
	turn();
	assert_int_equal(stats().below_expired, MANY);
	assert_true(fake_saw("expire") >= MANY);
}

/* More than are removed in one turn. */
static void a_crowd_that_has_expired_goes_without_a_pause(void **unused)
{
	enum { CROWD = 3000 };

	(void)unused;
	for (uint32_t n = 0; n < CROWD; n++)
		create(n, "");
	pass_s(IDLE_S + 1);
	AWAIT(fake_count() == CROWD);
	turn();
	pass_s(TTL_S);
	AWAIT(fake_count() == 0);
	turn();
	assert_int_equal(stats().below_expired, CROWD);
}

/* --- a store that does not take the end --- */

static void what_ended_while_the_store_was_broken_goes_when_it_is_back(void **unused)
{
	struct request r;

	(void)unused;
	create_both(1, "new");
	create_below(2, "b");
	fake_fail(FAKE_OPEN, ERR_SYSTEM, FAKE_ALWAYS);
	fake_fail(FAKE_REMOVE, ERR_BROKEN, FAKE_ALWAYS);
	assert_int_equal(end_one(&r, 1), STACK_WAITS);
	/* The answer does not wait for a disk that may never come back; the log says what it is worth. */
	AWAIT(r.dones == 1);
	assert_int_equal(logged("event=session_end_not_stored"), 1);
	expect_open(1, SESS_ABSENT);
	pass_s(2);
	stack_check(stack);
	expect_open(1, SESS_ABSENT);
	expect_open(2, SESS_UNAVAILABLE);
	fake_work(FAKE_OPEN);
	fake_work(FAKE_REMOVE);
	pass_s(30);
	AWAIT(!fake_has(1));
	expect_open(1, SESS_ABSENT);
	expect_session(2, "b");
}

static void what_ended_in_a_batch_that_broke_goes_too(void **unused)
{
	struct request r;

	(void)unused;
	create_both(1, "new");
	fake_fail(FAKE_COMMIT, ERR_BROKEN, 1);
	assert_int_equal(end_one(&r, 1), STACK_WAITS);
	AWAIT(r.dones == 1);
	expect_open(1, SESS_ABSENT);
	AWAIT(!fake_has(1));
}

/* The store goes on, and knows the session still. */
static void what_could_not_be_removed_is_not_served(void **unused)
{
	struct request r;

	(void)unused;
	create_both(1, "new");
	fake_fail(FAKE_REMOVE, ERR_SYSTEM, FAKE_ALWAYS);
	assert_int_equal(end_one(&r, 1), STACK_WAITS);
	AWAIT(r.dones == 1);
	expect_open(1, SESS_ABSENT);
	assert_int_equal(ask_for(STACK_SHOW, 1), ERR_GONE);
	assert_true(fake_has(1));
	fake_work(FAKE_REMOVE);
	turn();
	assert_false(fake_has(1));
}

/* Sessions that move down share the batch with removals. */
static void a_batch_that_fails_takes_no_end_with_it(void **unused)
{
	struct request first, ends, second;
	char large[2000] = {0};

	(void)unused;
	memset(large, 'x', sizeof large - 1);
	create_both(1, "new");
	create_below(2, "b");
	create_below(3, large);
	for (uint32_t n = 10; n < 20; n++)
		create(n, "filling");
	fake_stop(FAKE_GET);
	assert_int_equal(open_for(&first, app, 2, SESS_LOCK_EXCLUSIVE), SESS_QUEUED);
	fake_await(FAKE_GET);
	assert_int_equal(end_one(&ends, 1), STACK_WAITS);
	assert_int_equal(open_for(&second, app, 3, SESS_LOCK_EXCLUSIVE), SESS_QUEUED);
	options.memory_max = stats().bytes + 1000;
	stack_set(stack, &options);
	fake_fail(FAKE_COMMIT, ERR_NO_MEMORY, 1);
	fake_go(FAKE_GET);
	assert_int_equal(granted(&first), SESS_OPENED);
	close_one(&first);
	(void)granted(&second);
	close_one(&second);
	AWAIT(ends.dones == 1);
	expect_open(1, SESS_ABSENT);
	turn();
	assert_false(fake_has(1));
}

/* --- renewal --- */

static void a_renewed_id_is_forgotten_below(void **unused)
{
	struct request r, late;
	struct sess_outcome out;

	(void)unused;
	create_both(1, "new");
	stop_commit();
	assert_int_equal(open_one(&r, 1), SESS_OPENED);
	assert_int_equal(commit(&r, RENEW, 2, &out), STACK_WAITS);
	assert_int_equal(out.cookie, SESS_COOKIE_SET);
	close_one(&r);
	fake_await(FAKE_COMMIT);
	assert_int_equal(r.dones, 0);
	assert_int_equal(open_for(&late, app, 1, SESS_LOCK_EXCLUSIVE), SESS_RENEWED);
	expect_session(2, "new");
	fake_go(FAKE_COMMIT);
	AWAIT(r.dones == 1);
	assert_false(fake_has(1));
	turn();
	assert_int_equal(stats().both, 0);
	assert_int_equal(stats().sessions, 1);
	/* The new one is not below, and can go there. */
	demote(2);
	expect_session(2, "new");
	assert_int_equal(open_for(&late, app, 1, SESS_LOCK_EXCLUSIVE), SESS_RENEWED);
	pass_s(100);
	expect_open(1, SESS_ABSENT);
}

static void a_renewal_of_what_was_never_stored_does_not_wait(void **unused)
{
	struct request r;

	(void)unused;
	create(1, "a");
	assert_int_equal(open_one(&r, 1), SESS_OPENED);
	assert_int_equal(commit(&r, RENEW, 2, NULL), 0);
	close_one(&r);
	expect_session(2, "a");
}

static void a_renewed_id_does_not_come_back_from_a_broken_store(void **unused)
{
	struct request r;

	(void)unused;
	create_both(1, "new");
	fake_fail(FAKE_OPEN, ERR_SYSTEM, FAKE_ALWAYS);
	fake_fail(FAKE_REMOVE, ERR_BROKEN, 1);
	assert_int_equal(open_one(&r, 1), SESS_OPENED);
	assert_int_equal(commit(&r, RENEW, 2, NULL), STACK_WAITS);
	close_one(&r);
	AWAIT(r.dones == 1);
	expect_open(1, SESS_RENEWED);
	pass_s(100);
	expire_memory(); /* its time as a renewed one is over */
	stack_check(stack);
	expect_open(1, SESS_ABSENT);
	expect_open(9, SESS_UNAVAILABLE);
	fake_work(FAKE_OPEN);
	pass_s(30);
	AWAIT(!fake_has(1));
	expect_open(1, SESS_ABSENT);
	expect_session(2, "new");
}

/* --- expiry --- */

static void set_ttl(uint32_t n, uint32_t ttl_s)
{
	struct request r;
	struct sess_commit c = {.has_ttl = true, .ttl_s = ttl_s};

	assert_int_equal(open_one(&r, n), SESS_OPENED);
	assert_int_equal(commit(&r, c, 0, NULL), 0);
	close_one(&r);
}

/* Wherever that was found. */
static uint64_t expired(void)
{
	turn();
	return stats().expired + stats().below_expired;
}

static void what_expires_in_memory_is_not_found_below(void **unused)
{
	(void)unused;
	create_both(1, "new");
	pass_s(TTL_S);
	expire_memory();
	expect_open(1, SESS_ABSENT);
	AWAIT(!fake_has(1));
	assert_int_equal(expired(), 1);
}

/* Below it has the time to live that it had before. */
static void a_shorter_life_ends_below_too(void **unused)
{
	(void)unused;
	create_both(1, "new");
	create_both(2, "new");
	set_ttl(1, 10);
	set_ttl(2, 10);
	pass_s(10);
	stack_check(stack);
	/* One is found by who asks for it, one by who sweeps. */
	expect_open(1, SESS_ABSENT);
	expire_memory();
	assert_int_equal(stats().expired, 2);
	assert_int_equal(stats().both, 0);
	expect_open(1, SESS_ABSENT);
	expect_open(2, SESS_ABSENT);
	stack_check(stack);
	AWAIT(!fake_has(1) && !fake_has(2));
	turn();
	expect_open(1, SESS_ABSENT);
	assert_int_equal(stats().bytes, 0);
	assert_int_equal(stats().expired, 2);
}

/* In memory and below: whoever of them is the first, and also where it ended before. */
static void one_session_expires_once(void **unused)
{
	struct request r;

	(void)unused;
	options.evict = &evict_lru;
	stack_set(stack, &options);
	/* What is below is older, and goes while the session lives. */
	create_below(1, "a");
	pass_s(10);
	expect_session(1, "a");
	pass_s(TTL_S - 10);
	AWAIT(!fake_has(1));
	assert_true(in_memory(1));
	assert_int_equal(expired(), 0);
	pass_s(10);
	expire_memory();
	assert_int_equal(expired(), 1);
	/* Memory is swept first. */
	create_both(2, "b");
	clock_ms += TTL_S * 1000;
	expire_memory();
	assert_false(in_memory(2));
	stack_wake(stack);
	AWAIT(!fake_has(2));
	assert_int_equal(expired(), 2);
	/* A shorter life has ended in memory; what is below of it is owed, and cannot go before it has expired too. */
	create_both(3, "c");
	set_ttl(3, 10);
	fake_fail(FAKE_REMOVE, ERR_SYSTEM, FAKE_ALWAYS);
	pass_s(10);
	expire_memory();
	pass_s(TTL_S);
	AWAIT(!fake_has(3));
	assert_int_equal(expired(), 3);
	/* The same of one that was ended. */
	fake_work(FAKE_REMOVE);
	turn();
	create_both(4, "d");
	fake_fail(FAKE_REMOVE, ERR_SYSTEM, FAKE_ALWAYS);
	assert_int_equal(end_one(&r, 4), STACK_WAITS);
	AWAIT(r.dones == 1);
	pass_s(TTL_S);
	AWAIT(!fake_has(4));
	assert_int_equal(expired(), 3);
	stack_check(stack);
}

static void a_shorter_life_ends_below_when_the_store_is_back(void **unused)
{
	(void)unused;
	create_both(1, "new");
	set_ttl(1, 10);
	fake_fail(FAKE_OPEN, ERR_SYSTEM, FAKE_ALWAYS);
	fake_fail(FAKE_GET, ERR_BROKEN, 1);
	expect_open(9, SESS_UNAVAILABLE);
	pass_s(10);
	expire_memory();
	for (int i = 0; i < 10; i++) {
		expect_open(1, SESS_ABSENT);
		pass_s(30);
		expire_memory();
		turn();
	}
	stack_check(stack);
	fake_work(FAKE_OPEN);
	pass_s(30);
	AWAIT(!fake_has(1));
	turn();
	expect_open(1, SESS_ABSENT);
	assert_int_equal(stats().bytes, 0);
}

/* What went down with the shorter time needs no more care. */
static void a_shorter_life_that_was_stored_is_like_any_other(void **unused)
{
	(void)unused;
	create_both(1, "new");
	set_ttl(1, 10);
	demote(1);
	fake_forget_journal();
	expect_session(1, "new");
	pass_s(10);
	expire_memory();
	expect_open(1, SESS_ABSENT);
	AWAIT(!fake_has(1));
	assert_int_equal(fake_saw("remove 1"), 0);
}

static void a_longer_life_needs_nothing_below(void **unused)
{
	(void)unused;
	create_both(1, "new");
	set_ttl(1, 2 * TTL_S);
	pass_s(TTL_S);
	expire_memory();
	expect_session(1, "new");
	pass_s(2 * TTL_S);
	expire_memory();
	expect_open(1, SESS_ABSENT);
	AWAIT(fake_count() == 0);
	assert_int_equal(expired(), 1);
}

/* Found at the very end, behind sessions that stay until then. */
static void a_shorter_life_ends_below_with_the_process_at_the_latest(void **unused)
{
	(void)unused;
	options.evict = &evict_never;
	stack_set(stack, &options);
	for (uint32_t n = 1000; n < 2000; n++)
		create(n, "");
	create_both(1, "new");
	set_ttl(1, 10);
	pass_s(10);
	turn();
	assert_true(fake_has(1));
	stop_stack(true);
	assert_false(fake_has(1));
	assert_true(fake_has(1000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(what_was_never_stored_ends_at_once),
	    TEST(an_end_is_done_when_it_is_committed_below),
	    TEST(a_look_up_during_the_end_finds_nothing),
	    TEST(a_look_up_that_overtakes_the_end_does_not_revive_it),
	    TEST(who_holds_what_has_ended_may_take_his_time),
	    TEST(who_ends_it_again_waits_for_the_same),
	    TEST(who_gives_up_waiting_for_an_end_is_not_told),
	    TEST(ends_are_committed_in_small_batches),
	    TEST(what_is_owed_goes_in_small_batches),
	    TEST(what_has_expired_goes_in_small_batches),
	    TEST(a_crowd_that_has_expired_goes_without_a_pause),
	    TEST(what_ended_while_the_store_was_broken_goes_when_it_is_back),
	    TEST(what_ended_in_a_batch_that_broke_goes_too),
	    TEST(what_could_not_be_removed_is_not_served),
	    TEST(a_batch_that_fails_takes_no_end_with_it),
	    TEST(a_renewed_id_is_forgotten_below),
	    TEST(a_renewal_of_what_was_never_stored_does_not_wait),
	    TEST(a_renewed_id_does_not_come_back_from_a_broken_store),
	    TEST(what_expires_in_memory_is_not_found_below),
	    TEST(a_shorter_life_ends_below_too),
	    TEST(one_session_expires_once),
	    TEST(a_shorter_life_ends_below_when_the_store_is_back),
	    TEST(a_shorter_life_that_was_stored_is_like_any_other),
	    TEST(a_longer_life_needs_nothing_below),
	    TEST(a_shorter_life_ends_below_with_the_process_at_the_latest),
	};

	return cmocka_run_group_tests(tests, NULL, remove_log);
}
