/* How sessions of the table change and go: end, renewal, expiry (doc/sessions.md), on one thread. */
#include "tests/unit/table_fixture.h"

/* --- the end --- */

/* B2 */
static void what_was_ended_stays_ended(void **unused)
{
	struct request a, b;

	(void)unused;
	create(1, "0", 0);
	assert_int_equal(open_at(&a, 1, SESS_LOCK_NONE, at_s(0)), SESS_OPENED);
	assert_int_equal(open_s(&b, 1, 0), SESS_OPENED);
	struct sess_outcome out = end(&b);
	assert_int_equal(out.cookie, SESS_COOKIE_EXPIRE);
	assert_false(out.dropped);
	expect_absent(1, 0);
	assert_int_equal(stats().sessions, 0);
	out = commit(&a, data("late"), 0, 0);
	assert_true(out.dropped);
	assert_int_equal(out.cookie, SESS_COOKIE_KEEP);
	out = commit(&a, (struct sess_commit){.renew = true}, 9, 0);
	assert_true(out.dropped);
	assert_int_equal(out.cookie, SESS_COOKIE_KEEP);
	out = end(&a);
	assert_true(out.dropped);
	assert_int_equal(out.cookie, SESS_COOKIE_KEEP);
	close_s(&a, 0);
	close_s(&b, 0);
	expect_absent(1, 0);
	expect_absent(9, 0);
	assert_int_equal(stats().ended, 1);
	assert_int_equal(stats().bytes, 0);
}

static void the_end_wins_over_all_else(void **unused)
{
	struct request r;
	struct sess_commit c = data("late");

	(void)unused;
	create(1, "0", 0);
	assert_int_equal(open_s(&r, 1, 0), SESS_OPENED);
	c.end = c.renew = true;
	assert_int_equal(commit(&r, c, 9, 0).cookie, SESS_COOKIE_EXPIRE);
	close_s(&r, 0);
	expect_absent(1, 0);
	expect_absent(9, 0);
}

static void the_end_wakes_all_who_wait(void **unused)
{
	struct request a, b, c;

	(void)unused;
	create(1, "0", 0);
	assert_int_equal(open_s(&a, 1, 0), SESS_OPENED);
	assert_int_equal(open_s(&b, 1, 0), SESS_QUEUED);
	assert_int_equal(open_s(&c, 1, 0), SESS_QUEUED);
	end(&a);
	assert_false(sess_table_cancel(table, &c.waiter, &c.hold));
	assert_int_equal(granted(&b), SESS_ENDED_NOW);
	assert_null(b.hold.session);
	close_s(&a, 0);
	assert_int_equal(granted(&c), SESS_ENDED_NOW);
	sess_table_close(table, &c.hold, at_s(0)); /* the rule after a cancel that came too late */
	assert_int_equal(stats().bytes, 0);
}

static void an_id_can_be_used_again_after_the_end(void **unused)
{
	struct request r;

	(void)unused;
	create(1, "old", 0);
	assert_int_equal(open_s(&r, 1, 0), SESS_OPENED);
	end(&r);
	create(1, "new", 0);
	assert_true(commit(&r, data("late"), 0, 0).dropped);
	close_s(&r, 0);
	expect_session(1, "new", 0);
}

static void who_holds_an_ended_session_is_told(void **unused)
{
	struct request a, b;
	struct sess_snapshot snap;

	(void)unused;
	create(1, "0", 0);
	assert_int_equal(open_at(&a, 1, SESS_LOCK_NONE, at_s(0)), SESS_OPENED);
	assert_int_equal(open_s(&b, 1, 0), SESS_OPENED);
	end(&b);
	sess_table_read(table, &a.hold, &snap);
	assert_true(snap.ended);
	assert_null(snap.state);
	close_s(&a, 0);
	close_s(&b, 0);
}

/* --- renewal --- */

/* B3. `fresh` runs over many ids, so that both ids meet in one shard and in two. */
static void renewal_gives_a_new_id(void **unused)
{
	(void)unused;
	for (uint32_t n = 100; n < 116; n++) {
		uint32_t fresh = n + 1000;
		struct sess_id new_id = id_of(fresh);
		struct sess_commit c = data("logged in");
		struct request r, other;

		create(n, "anonymous", 0);
		assert_int_equal(open_s(&r, n, 3), SESS_OPENED);
		c.renew = true;
		struct sess_outcome out = commit(&r, c, fresh, 3);
		assert_int_equal(out.cookie, SESS_COOKIE_SET);
		assert_true(sess_id_eq(&out.id, &new_id));
		/* It holds the new one with the lock. */
		assert_int_equal(open_s(&other, fresh, 3), SESS_QUEUED);
		assert_false(commit(&r, data("still mine"), 0, 3).dropped);
		close_s(&r, 3);
		assert_int_equal(granted(&other), SESS_OPENED);
		expect_state(&other, "still mine");
		close_s(&other, 3);
		assert_int_equal(open_s(&r, n, 3), SESS_RENEWED);
		assert_null(r.hold.session);
	}
	assert_int_equal(stats().sessions, 16);
	assert_int_equal(stats().renewed, 16);
	assert_int_equal(stats().created, 16);
	assert_int_equal(stats().ended, 0);
}

static void renewal_keeps_what_it_does_not_set(void **unused)
{
	struct request r;
	struct sess_snapshot snap;

	(void)unused;
	create(1, "kept", 0);
	assert_int_equal(open_s(&r, 1, 8), SESS_OPENED);
	commit(&r, (struct sess_commit){.renew = true, .has_ttl = true, .ttl_s = 77}, 2, 8);
	sess_table_read(table, &r.hold, &snap);
	assert_memory_equal(snap.state->bytes, "kept", 4);
	assert_int_equal(snap.created.s, WALL_S);
	assert_int_equal(snap.ttl_s, 77);
	sess_state_unref(snap.state);
	close_s(&r, 8);
}

static void who_waits_for_the_old_id_learns_of_the_renewal(void **unused)
{
	struct request a, b, c;

	(void)unused;
	create(1, "0", 0);
	assert_int_equal(open_s(&a, 1, 0), SESS_OPENED);
	assert_int_equal(open_s(&b, 1, 0), SESS_QUEUED);
	assert_int_equal(open_s(&c, 1, 0), SESS_QUEUED);
	commit(&a, (struct sess_commit){.renew = true}, 2, 0);
	assert_int_equal(granted(&b), SESS_RENEWED);
	assert_null(b.hold.session);
	assert_int_equal(granted(&c), SESS_RENEWED);
	close_s(&a, 0);
	expect_session(2, "0", 0);
}

static void who_holds_the_old_id_cannot_write(void **unused)
{
	struct request a, b;
	struct sess_snapshot snap;

	(void)unused;
	create(1, "0", 0);
	assert_int_equal(open_at(&a, 1, SESS_LOCK_NONE, at_s(0)), SESS_OPENED);
	assert_int_equal(open_at(&b, 1, SESS_LOCK_NONE, at_s(0)), SESS_OPENED);
	struct sess_commit login = data("secret");
	login.renew = true;
	commit(&a, login, 2, 0);
	sess_table_read(table, &b.hold, &snap);
	assert_true(snap.ended);
	assert_null(snap.state); /* what a fixed id would be after */
	struct sess_outcome out = commit(&b, data("late"), 0, 0);
	assert_true(out.dropped);
	assert_int_equal(out.cookie, SESS_COOKIE_KEEP);
	out = end(&b);
	assert_true(out.dropped);
	assert_int_equal(out.cookie, SESS_COOKIE_KEEP);
	close_s(&b, 0);
	close_s(&a, 0);
	expect_session(2, "secret", 0);
}

static void the_tombstone_goes_after_its_time(void **unused)
{
	struct request r;

	(void)unused;
	create(1, "0", 0);
	assert_int_equal(open_s(&r, 1, 0), SESS_OPENED);
	commit(&r, (struct sess_commit){.renew = true, .has_ttl = true, .ttl_s = 1000}, 2, 0);
	close_s(&r, 0);
	uint64_t with_tombstone = stats().bytes;
	expire_all(TOMBSTONE_S - 1);
	assert_int_equal(open_s(&r, 1, TOMBSTONE_S - 1), SESS_RENEWED);
	expect_absent(1, TOMBSTONE_S);
	expire_all(TOMBSTONE_S);
	assert_int_equal(stats().bytes, with_tombstone - sizeof(struct session));
	assert_int_equal(stats().sessions, 1);
	assert_int_equal(stats().expired, 0);
	expect_session(2, "0", TOMBSTONE_S);
}

/* A request may hold the old id for longer than it is remembered. */
static void a_held_tombstone_goes_too(void **unused)
{
	struct request a, b;

	(void)unused;
	create(1, "0", 0);
	assert_int_equal(open_at(&a, 1, SESS_LOCK_NONE, at_s(0)), SESS_OPENED);
	assert_int_equal(open_s(&b, 1, 0), SESS_OPENED);
	commit(&b, (struct sess_commit){.renew = true, .has_ttl = true, .ttl_s = 1000}, 2, 0);
	close_s(&b, 0);
	expire_all(TOMBSTONE_S);
	expect_absent(1, TOMBSTONE_S);
	assert_true(commit(&a, data("late"), 0, TOMBSTONE_S).dropped);
	close_s(&a, TOMBSTONE_S);
	expect_session(2, "0", TOMBSTONE_S);
}

static void a_session_can_be_renewed_again_and_again(void **unused)
{
	struct request r;

	(void)unused;
	create(1, "0", 0);
	assert_int_equal(open_s(&r, 1, 0), SESS_OPENED);
	for (uint32_t n = 2; n < 20; n++)
		commit(&r, (struct sess_commit){.renew = true}, n, 0);
	close_s(&r, 0);
	expect_session(19, "0", 0);
	assert_int_equal(open_s(&r, 18, 0), SESS_RENEWED);
	assert_int_equal(stats().sessions, 1);
}

static void renewal_to_a_taken_id_changes_nothing(void **unused)
{
	struct request r;
	struct sess_commit c = data("changed");
	struct sess_id taken = id_of(2);
	struct sess_outcome out;

	(void)unused;
	create(1, "one", 0);
	create(2, "two", 0);
	uint64_t bytes = stats().bytes;
	assert_int_equal(open_s(&r, 1, 0), SESS_OPENED);
	c.renew = true;
	assert_int_equal(sess_table_commit(table, &r.hold, &c, &taken, at_s(0), &out), ERR_BUSY);
	close_s(&r, 0);
	expect_session(1, "one", 0);
	expect_session(2, "two", 0);
	assert_int_equal(stats().bytes, bytes);
}

/* --- expiry --- */

/* B5: on the second, whether or not the wheel has turned, and counted once. */
static void it_expires_on_its_second(void **unused)
{
	struct request r;

	(void)unused;
	create(1, "0", 0);
	assert_int_equal(open_at(&r, 1, SESS_LOCK_NONE, at_ms(TTL_S * 1000 - 1)), SESS_OPENED);
	close_s(&r, TTL_S);
	create(2, "0", 0);
	expect_absent(2, TTL_S);
	assert_int_equal(stats().expired, 1);
	assert_int_equal(stats().sessions, 1);
	expire_all(TTL_S);
	expect_absent(2, TTL_S);
	assert_int_equal(stats().expired, 1);
}

static void a_slow_clock_does_not_shorten_a_life(void **unused)
{
	struct request r;

	(void)unused;
	create(1, "0", 0);
	expect_session(1, "0", 20);
	assert_int_equal(open_s(&r, 1, 10), SESS_OPENED);
	close_s(&r, 10);
	expect_session(1, "0", 20 + TTL_S - 1);
}

static void nothing_expires_early_within_a_second(void **unused)
{
	struct sess_commit c = data("0");
	struct sess_id id = id_of(1);
	struct request r;

	(void)unused;
	assert_int_equal(sess_table_create(table, APP, &c, 2, &id, at_ms(900)), 0);
	assert_int_equal(open_at(&r, 1, SESS_LOCK_NONE, at_ms(2899)), SESS_OPENED);
	sess_table_close(table, &r.hold, at_ms(2899));
	assert_int_equal(open_at(&r, 1, SESS_LOCK_NONE, at_ms(4898)), SESS_OPENED);
	sess_table_close(table, &r.hold, at_ms(4898));
	assert_int_equal(open_at(&r, 1, SESS_LOCK_NONE, at_ms(7898)), SESS_ABSENT); /* and less than one late */
}

static void use_keeps_it_alive(void **unused)
{
	(void)unused;
	create(1, "0", 0);
	for (uint64_t now_s = 0; now_s < 300; now_s += TTL_S - 1) {
		expire_all(now_s);
		expect_session(1, "0", now_s);
	}
	assert_int_equal(stats().expired, 0);
	expire_all(1000);
	assert_int_equal(stats().expired, 1);
	assert_int_equal(stats().sessions, 0);
	assert_int_equal(stats().bytes, 0);
}

static void it_does_not_expire_while_it_is_held(void **unused)
{
	struct request a, b;

	(void)unused;
	create(1, "0", 0);
	assert_int_equal(open_s(&a, 1, 0), SESS_OPENED);
	assert_int_equal(open_s(&b, 1, 0), SESS_QUEUED);
	expire_all(500);
	assert_false(commit(&a, data("late"), 0, 500).dropped);
	close_s(&a, 500);
	expire_all(1000);
	assert_int_equal(granted(&b), SESS_OPENED);
	expect_state(&b, "late");
	close_s(&b, 1000);
	expire_all(1000 + TTL_S - 1);
	assert_int_equal(stats().sessions, 1);
	expire_all(1000 + TTL_S);
	assert_int_equal(stats().sessions, 0);
	assert_int_equal(stats().expired, 1);
}

static void a_shorter_time_to_live_counts_at_once(void **unused)
{
	struct request r;

	(void)unused;
	create(1, "0", 0);
	assert_int_equal(open_s(&r, 1, 1), SESS_OPENED);
	commit(&r, (struct sess_commit){.has_ttl = true, .ttl_s = 3}, 0, 1);
	close_s(&r, 1);
	expire_all(3);
	assert_int_equal(stats().sessions, 1);
	expire_all(4);
	assert_int_equal(stats().sessions, 0);
}

static void a_renewed_session_expires_too(void **unused)
{
	struct request r;

	(void)unused;
	create(1, "0", 0);
	assert_int_equal(open_s(&r, 1, 0), SESS_OPENED);
	commit(&r, (struct sess_commit){.renew = true}, 2, 0);
	close_s(&r, 5);
	expire_all(5 + TTL_S - 1);
	assert_int_equal(stats().sessions, 1);
	expire_all(5 + TTL_S);
	assert_int_equal(stats().sessions, 0);
	assert_int_equal(stats().expired, 1);
	assert_int_equal(stats().bytes, 0);
}

/* No storm: one call does no more than it was told to. */
static void one_call_ends_a_bounded_number(void **unused)
{
	uint32_t calls = 0;

	(void)unused;
	for (uint32_t n = 0; n < 1000; n++)
		create(n, "0", 0);
	for (uint32_t shard = 0; shard < sess_table_shards(table); shard++) {
		bool more;
		do {
			uint64_t before = stats().expired;
			more = sess_table_expire(table, shard, 10, at_s(TTL_S));
			assert_true(stats().expired - before <= 10);
			calls++;
		} while (more);
	}
	assert_int_equal(stats().expired, 1000);
	assert_int_equal(stats().sessions, 0);
	assert_int_equal(stats().bytes, 0);
	assert_true(calls >= 100);
}

/* Another thread's clock may be behind the one that turned the wheel. */
static void a_clock_that_is_behind_does_no_harm(void **unused)
{
	(void)unused;
	expire_all(100);
	create(1, "0", 60);
	expire_all(95); /* its timer is due at once, its deadline is at 90 */
	assert_int_equal(stats().sessions, 0);
	create(2, "0", 90);
	expire_all(95);
	expect_session(2, "0", 95);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(what_was_ended_stays_ended),
	    TEST(the_end_wins_over_all_else),
	    TEST(the_end_wakes_all_who_wait),
	    TEST(an_id_can_be_used_again_after_the_end),
	    TEST(who_holds_an_ended_session_is_told),
	    TEST(renewal_gives_a_new_id),
	    TEST(renewal_keeps_what_it_does_not_set),
	    TEST(who_waits_for_the_old_id_learns_of_the_renewal),
	    TEST(who_holds_the_old_id_cannot_write),
	    TEST(the_tombstone_goes_after_its_time),
	    TEST(a_held_tombstone_goes_too),
	    TEST(a_session_can_be_renewed_again_and_again),
	    TEST(renewal_to_a_taken_id_changes_nothing),
	    TEST(it_expires_on_its_second),
	    TEST(a_slow_clock_does_not_shorten_a_life),
	    TEST(nothing_expires_early_within_a_second),
	    TEST(use_keeps_it_alive),
	    TEST(it_does_not_expire_while_it_is_held),
	    TEST(a_shorter_time_to_live_counts_at_once),
	    TEST(a_renewed_session_expires_too),
	    TEST(one_call_ends_a_bounded_number),
	    TEST(a_clock_that_is_behind_does_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
