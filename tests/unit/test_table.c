/* The session table as a request meets it: finding, committing, waiting for the lock, the bound on memory. The rules
 * are those of doc/sessions.md, one by one, on one thread. */
#include "tests/unit/table_fixture.h"

/* --- creation, reading --- */

static void what_was_created_is_found(void **unused)
{
	(void)unused;
	create(1, "one", 0);
	create(2, "two", 0);
	expect_session(1, "one", 0);
	expect_session(2, "two", 0);
	expect_absent(3, 0);
	assert_int_equal(stats().sessions, 2);
	assert_int_equal(stats().created, 2);
}

static void many_sessions_are_all_found(void **unused)
{
	char text[16];

	(void)unused;
	for (uint32_t n = 0; n < 5000; n++) {
		snprintf(text, sizeof(text), "s%u", n);
		create(n, text, 0);
	}
	for (uint32_t n = 0; n < 5000; n++) {
		snprintf(text, sizeof(text), "s%u", n);
		expect_session(n, text, 0);
	}
	expect_absent(5000, 0);
	assert_int_equal(stats().sessions, 5000);
}

static void an_id_is_only_good_for_its_app(void **unused)
{
	struct request r = {0};
	struct sess_id id = id_of(1);

	(void)unused;
	create(1, "one", 0);
	assert_int_equal(sess_table_open(table, OTHER_APP, &id, SESS_LOCK_EXCLUSIVE, &r.waiter, at_s(0), &r.hold),
			 SESS_ABSENT);
	expect_session(1, "one", 0);
}

static void an_id_is_taken_once(void **unused)
{
	struct sess_commit c = data("two");
	struct sess_id id = id_of(1);
	uint64_t bytes;

	(void)unused;
	create(1, "one", 0);
	bytes = stats().bytes;
	assert_int_equal(sess_table_create(table, APP, &c, TTL_S, &id, at_s(0)), ERR_BUSY);
	assert_int_equal(stats().bytes, bytes);
	expect_session(1, "one", 0);
}

static void a_snapshot_tells_age_and_freshness(void **unused)
{
	struct request r;
	struct sess_snapshot snap;

	(void)unused;
	create(1, "one", 0);
	assert_int_equal(open_s(&r, 1, 7), SESS_OPENED);
	sess_table_read(table, &r.hold, &snap);
	assert_true(snap.fresh);
	assert_false(snap.ended);
	assert_int_equal(snap.created.s, WALL_S);
	assert_int_equal(snap.ttl_s, TTL_S);
	sess_state_unref(snap.state);
	sess_table_read(table, &r.hold, &snap);
	assert_false(snap.fresh);
	sess_state_unref(snap.state);
	close_s(&r, 7);
}

static void a_snapshot_outlives_the_session(void **unused)
{
	struct request r;
	struct sess_snapshot snap;

	(void)unused;
	create(1, "one", 0);
	assert_int_equal(open_s(&r, 1, 0), SESS_OPENED);
	sess_table_read(table, &r.hold, &snap);
	commit(&r, data("two"), 0, 0);
	end(&r);
	close_s(&r, 0);
	assert_memory_equal(snap.state->bytes, "one", 3);
	sess_state_unref(snap.state);
}

static void closing_nothing_is_fine(void **unused)
{
	struct sess_hold none = {0};

	(void)unused;
	sess_table_close(table, &none, at_s(0));
}

/* --- commit --- */

static void a_commit_is_there_for_the_next(void **unused)
{
	struct request r;

	(void)unused;
	create(1, "one", 0);
	assert_int_equal(open_s(&r, 1, 0), SESS_OPENED);
	struct sess_outcome out = commit(&r, data("two"), 0, 0);
	assert_int_equal(out.cookie, SESS_COOKIE_KEEP);
	assert_false(out.dropped);
	close_s(&r, 0);
	expect_session(1, "two", 0);
}

/* B7: no bytes are a state too; and what says nothing of data leaves it. */
static void an_empty_state_is_a_state(void **unused)
{
	struct request r;
	struct sess_commit ttl = {.has_ttl = true, .ttl_s = 5};

	(void)unused;
	create(1, "", 0);
	expect_session(1, "", 0);
	assert_int_equal(open_s(&r, 1, 0), SESS_OPENED);
	commit(&r, data("full"), 0, 0);
	commit(&r, ttl, 0, 0);
	expect_state(&r, "full");
	commit(&r, data(""), 0, 0);
	expect_state(&r, "");
	close_s(&r, 0);
	expect_session(1, "", 0);
}

/* --- the lock --- */

/* B1 */
static void two_requests_both_take_effect(void **unused)
{
	struct request a, b;

	(void)unused;
	create(1, "0", 0);
	assert_int_equal(open_s(&a, 1, 0), SESS_OPENED);
	assert_int_equal(open_s(&b, 1, 0), SESS_QUEUED);
	assert_int_equal(stats().waiters, 1);
	commit(&a, data("a"), 0, 0);
	assert_int_equal(b.grants, 0);
	close_s(&a, 0);
	assert_int_equal(granted(&b), SESS_OPENED);
	expect_state(&b, "a");
	commit(&b, data("ab"), 0, 0);
	close_s(&b, 0);
	expect_session(1, "ab", 0);
}

static void the_queue_is_first_come_first_served(void **unused)
{
	struct request r[6];

	(void)unused;
	create(1, "0", 0);
	assert_int_equal(open_s(&r[0], 1, 0), SESS_OPENED);
	for (size_t i = 1; i < 6; i++)
		assert_int_equal(open_s(&r[i], 1, 0), SESS_QUEUED);
	for (size_t i = 0; i < 5; i++) {
		close_s(&r[i], 0);
		for (size_t k = i + 1; k < 6; k++)
			assert_int_equal(r[k].grants, k == i + 1);
		assert_int_equal(granted(&r[i + 1]), SESS_OPENED);
	}
	close_s(&r[5], 0);
	expect_session(1, "0", 0);
}

static void readers_do_not_wait_and_do_not_block(void **unused)
{
	struct request writer, reader, next;

	(void)unused;
	create(1, "0", 0);
	assert_int_equal(open_s(&writer, 1, 0), SESS_OPENED);
	assert_int_equal(open_at(&reader, 1, SESS_LOCK_NONE, at_s(0)), SESS_OPENED);
	assert_false(reader.hold.locked);
	close_s(&writer, 0);
	assert_int_equal(open_s(&next, 1, 0), SESS_OPENED);
	close_s(&next, 0);
	close_s(&reader, 0);
}

/* B8, the client goes away while it waits. */
static void who_gives_up_leaves_the_queue(void **unused)
{
	struct request a, b, c;

	(void)unused;
	create(1, "0", 0);
	assert_int_equal(open_s(&a, 1, 0), SESS_OPENED);
	assert_int_equal(open_s(&b, 1, 0), SESS_QUEUED);
	assert_int_equal(open_s(&c, 1, 0), SESS_QUEUED);
	assert_true(sess_table_cancel(table, &b.waiter, &b.hold));
	assert_null(b.hold.session);
	close_s(&a, 0);
	assert_int_equal(b.grants, 0);
	assert_int_equal(granted(&c), SESS_OPENED);
	close_s(&c, 0);
}

/* B8, the same a moment later: the lock was on its way and goes to the next. */
static void giving_up_too_late_passes_the_lock_on(void **unused)
{
	struct request a, b, c;

	(void)unused;
	create(1, "0", 0);
	assert_int_equal(open_s(&a, 1, 0), SESS_OPENED);
	assert_int_equal(open_s(&b, 1, 0), SESS_QUEUED);
	assert_int_equal(open_s(&c, 1, 0), SESS_QUEUED);
	close_s(&a, 0);
	assert_false(sess_table_cancel(table, &b.waiter, &b.hold));
	assert_int_equal(granted(&b), SESS_OPENED);
	assert_int_equal(c.grants, 0);
	close_s(&b, 0);
	assert_int_equal(granted(&c), SESS_OPENED);
	close_s(&c, 0);
}

/* --- the memory bound --- */

static void what_goes_over_the_bound_is_refused(void **unused)
{
	const uint64_t each = sizeof(struct session) + sizeof(struct sess_state) + 10;
	struct sess_commit c = data("0123456789");
	struct sess_outcome out = {.cookie = SESS_COOKIE_EXPIRE};
	struct sess_id fresh = id_of(9);
	struct request r;

	(void)unused;
	sess_table_free(&table);
	table = new_table(each * 3, 2);
	for (uint32_t n = 0; n < 3; n++)
		create(n, "0123456789", 0);
	assert_int_equal(stats().bytes, each * 3);
	assert_int_equal(sess_table_create(table, APP, &c, TTL_S, &fresh, at_s(0)), ERR_FULL);
	assert_int_equal(open_s(&r, 1, 0), SESS_OPENED);
	c = data("0123456789+");
	c.has_ttl = true;
	c.ttl_s = 1;
	assert_int_equal(sess_table_commit(table, &r.hold, &c, &fresh, at_s(0), &out), ERR_FULL);
	c = (struct sess_commit){.renew = true};
	assert_int_equal(sess_table_commit(table, &r.hold, &c, &fresh, at_s(0), &out), ERR_FULL);
	assert_int_equal(out.cookie, SESS_COOKIE_EXPIRE); /* untouched */
	expect_state(&r, "0123456789");
	assert_int_equal(stats().bytes, each * 3);
	commit(&r, data("9876543210"), 0, 0); /* the same size fits */
	commit(&r, data("98765"), 0, 0);
	assert_int_equal(stats().bytes, each * 3 - 5);
	commit(&r, data("9876543210"), 0, 0);
	close_s(&r, 0);
	expect_absent(9, 0);
	expire_all(TTL_S);
	create(9, "room again", TTL_S);
	assert_int_equal(stats().bytes, each);
}

/* Any sequence of changes leaves the sum where it began. */
static void no_byte_is_lost_or_found(void **unused)
{
	struct request r;

	(void)unused;
	for (uint32_t n = 0; n < 64; n++) {
		create(n, "some state", 0);
		assert_int_equal(open_s(&r, n, 0), SESS_OPENED);
		commit(&r, data(n % 2 ? "" : "a longer state than before"), 0, 0);
		if (n % 3 == 0)
			commit(&r, (struct sess_commit){.renew = true, .has_data = n % 2, .data = VIEW("x")}, n + 100,
			       0);
		if (n % 5 == 0)
			end(&r);
		close_s(&r, 0);
	}
	expire_all(10000);
	assert_int_equal(stats().sessions, 0);
	assert_int_equal(stats().bytes, 0);
}

/* The state of a session that has ended is freed at once, also while somebody still holds the session. */
static void the_end_gives_the_memory_back(void **unused)
{
	struct request r;

	(void)unused;
	create(1, "some state", 0);
	assert_int_equal(open_s(&r, 1, 0), SESS_OPENED);
	end(&r);
	assert_int_equal(stats().bytes, sizeof(struct session));
	close_s(&r, 0);
	assert_int_equal(stats().bytes, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(what_was_created_is_found),
	    TEST(many_sessions_are_all_found),
	    TEST(an_id_is_only_good_for_its_app),
	    TEST(an_id_is_taken_once),
	    TEST(a_snapshot_tells_age_and_freshness),
	    TEST(a_snapshot_outlives_the_session),
	    TEST(closing_nothing_is_fine),
	    TEST(a_commit_is_there_for_the_next),
	    TEST(an_empty_state_is_a_state),
	    TEST(two_requests_both_take_effect),
	    TEST(the_queue_is_first_come_first_served),
	    TEST(readers_do_not_wait_and_do_not_block),
	    TEST(who_gives_up_leaves_the_queue),
	    TEST(giving_up_too_late_passes_the_lock_on),
	    TEST(what_goes_over_the_bound_is_refused),
	    TEST(no_byte_is_lost_or_found),
	    TEST(the_end_gives_the_memory_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
