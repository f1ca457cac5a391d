/* The session table when memory runs out: each allocation of each call fails once, and nothing has changed then.
 * The table's sources are included with an allocator that fails on demand. */
#include <stdlib.h>

static void *failing_malloc(size_t n);
static void *failing_calloc(size_t n, size_t each);
static void *failing_aligned_alloc(size_t align, size_t n);

#define malloc failing_malloc
#define calloc failing_calloc
#define aligned_alloc failing_aligned_alloc
#include "session/state.c"
#include "session/shard.c"
#include "session/commit.c"
#include "session/table.c"
#undef malloc
#undef calloc
#undef aligned_alloc

#include "tests/unit/table_fixture.h"

static uint64_t until_failure = UINT64_MAX; /* allocations that still succeed */

static bool fails(void)
{
	if (until_failure == UINT64_MAX)
		return false;
	return until_failure-- == 0;
}

static void *failing_malloc(size_t n)
{
	return fails() ? NULL : malloc(n);
}

static void *failing_calloc(size_t n, size_t each)
{
	return fails() ? NULL : calloc(n, each);
}

static void *failing_aligned_alloc(size_t align, size_t n)
{
	return fails() ? NULL : aligned_alloc(align, n);
}

/* After a call with the n-th allocation failing: whether the failure was reached at all. */
static bool failed_once(void)
{
	bool reached = until_failure > UINT64_C(1) << 32;

	until_failure = UINT64_MAX;
	return reached;
}

static void a_table_is_made_whole_or_not_at_all(void **unused)
{
	struct sess_table *t;
	uint64_t n = 0;
	bool failed;

	(void)unused;
	do {
		until_failure = n++;
		t = new_table(1 << 20, 4);
		failed = failed_once();
		assert_int_equal(t == NULL, failed);
	} while (failed);
	sess_table_free(&t);
	assert_int_equal(n, 6); /* the table, four shards, and all of them */
}

static void a_creation_is_whole_or_not_at_all(void **unused)
{
	struct sess_commit c = data("text");
	struct sess_id id = id_of(1);

	(void)unused;
	for (uint64_t n = 0; n < 2; n++) {
		until_failure = n;
		assert_int_equal(sess_table_create(table, APP, &c, TTL_S, &id, at_s(0)), ERR_NO_MEMORY);
		assert_true(failed_once());
		expect_absent(1, 0);
		assert_int_equal(stats().bytes, 0);
		assert_int_equal(stats().created, 0);
	}
	until_failure = 2;
	assert_int_equal(sess_table_create(table, APP, &c, TTL_S, &id, at_s(0)), 0);
	failed_once();
	expect_session(1, "text", 0);
}

static void a_commit_is_whole_or_not_at_all(void **unused)
{
	struct sess_commit c = data("new");
	struct sess_id fresh = id_of(2);
	struct sess_outcome out = {.cookie = SESS_COOKIE_EXPIRE};
	struct request r;

	(void)unused;
	c.renew = c.has_ttl = true;
	c.ttl_s = 1;
	create(1, "old", 0);
	uint64_t bytes = stats().bytes;
	assert_int_equal(open_s(&r, 1, 0), SESS_OPENED);
	for (uint64_t n = 0; n < 2; n++) {
		until_failure = n;
		assert_int_equal(sess_table_commit(table, &r.hold, &c, &fresh, at_s(0), &out), ERR_NO_MEMORY);
		assert_true(failed_once());
		assert_int_equal(out.cookie, SESS_COOKIE_EXPIRE);
		expect_state(&r, "old");
		expect_absent(2, 0);
		assert_int_equal(stats().bytes, bytes);
	}
	until_failure = 2;
	assert_int_equal(sess_table_commit(table, &r.hold, &c, &fresh, at_s(0), &out), 0);
	failed_once();
	expect_state(&r, "new");
	close_s(&r, 0);
}

/* These must work when there is no memory left. */
static void waiting_ending_and_closing_need_none(void **unused)
{
	struct request a, b, c;

	(void)unused;
	create(1, "0", 0);
	create(2, "0", 0);
	until_failure = 0;
	assert_int_equal(open_s(&a, 1, 0), SESS_OPENED);
	assert_int_equal(open_s(&b, 1, 0), SESS_QUEUED);
	assert_int_equal(open_s(&c, 1, 0), SESS_QUEUED);
	assert_true(sess_table_cancel(table, &c.waiter, &c.hold));
	end(&a);
	assert_int_equal(granted(&b), SESS_ENDED_NOW);
	close_s(&a, 0);
	expire_all(1000);
	assert_int_equal(until_failure, 0);
	until_failure = UINT64_MAX;
	assert_int_equal(stats().sessions, 0);
}

/* No memory for more buckets: slower, not broken; and they grow later. */
static void without_more_buckets_all_is_found(void **unused)
{
	(void)unused;
	for (uint32_t n = 0; n < 2000; n++) {
		struct sess_commit c = data("");
		struct sess_id id = id_of(n);
		until_failure = n < 1500 ? 1 : UINT64_MAX; /* one for the session */
		assert_int_equal(sess_table_create(table, APP, &c, TTL_S, &id, at_s(0)), 0);
	}
	until_failure = UINT64_MAX;
	for (uint32_t n = 0; n < 2000; n++)
		expect_session(n, "", 0);
	assert_true(table->shards[0].mask > FIRST_BUCKETS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_table_is_made_whole_or_not_at_all), TEST(a_creation_is_whole_or_not_at_all),
	    TEST(a_commit_is_whole_or_not_at_all),     TEST(waiting_ending_and_closing_need_none),
	    TEST(without_more_buckets_all_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
