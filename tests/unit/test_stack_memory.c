/* The stack when memory runs out: each allocation of each call that a request makes fails once. Nothing has changed
 * then, nobody waits for ever, and what nobody could ask for is never called absent. The sources are included with an
 * allocator that fails on demand, on the thread that demands it. */
#include <stdlib.h>
#include <string.h>

static void *failing_malloc(size_t n);
static void *failing_calloc(size_t n, size_t each);
static void *failing_realloc(void *at, size_t n);
static void *failing_aligned_alloc(size_t align, size_t n);
static char *failing_strdup(const char *s);

#define malloc failing_malloc
#define calloc failing_calloc
#define realloc failing_realloc
#define aligned_alloc failing_aligned_alloc
#define strdup failing_strdup
#include "session/state.c"
#include "session/shard.c"
#include "session/commit.c"
#include "session/table.c"
#include "session/stack.c"
#undef malloc
#undef calloc
#undef realloc
#undef aligned_alloc
#undef strdup

#include "tests/unit/stack_fixture.h"

static _Thread_local uint64_t until_failure = UINT64_MAX; /* allocations that still succeed */

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

static void *failing_realloc(void *at, size_t n)
{
	return fails() ? NULL : realloc(at, n);
}

static void *failing_aligned_alloc(size_t align, size_t n)
{
	return fails() ? NULL : aligned_alloc(align, n);
}

static char *failing_strdup(const char *s)
{
	return fails() ? NULL : strdup(s);
}

/* After a call with the n-th allocation failing: whether the failure was reached at all. */
static bool failed_once(void)
{
	bool reached = until_failure > UINT64_C(1) << 32;

	until_failure = UINT64_MAX;
	return reached;
}

static const struct sess_commit END = {.end = true}, RENEW = {.renew = true};

static void a_stack_is_made_whole_or_not_at_all(void **unused)
{
	struct stack *s;
	uint64_t n = 0;
	bool failed;

	(void)unused;
	do {
		until_failure = n++;
		s = stack_new(&options, &keys, clock_now());
		failed = failed_once();
		assert_int_equal(s == NULL, failed);
	} while (failed);
	stack_free(&s);
	assert_true(n > 64); /* a shard each, and more */
}

static void an_app_has_a_number_or_not(void **unused)
{
	uint16_t a = 4711, b;
	uint64_t n = 0;
	bool failed;

	(void)unused;
	do {
		until_failure = n++;
		int err = stack_app(stack, "another", &a);
		failed = failed_once();
		assert_int_equal(err, failed ? ERR_NO_MEMORY : 0);
	} while (failed);
	assert_int_equal(n, 3); /* its name, the array, and both */
	assert_int_equal(stack_app(stack, "another", &b), 0);
	assert_int_equal(a, b);
	assert_string_equal(stack_app_name(stack, a), "another");
}

static void a_look_up_without_memory_is_unavailable(void **unused)
{
	struct request r;
	bool failed;

	(void)unused;
	create_below(1, "a");
	for (uint64_t n = 0;; n++) {
		until_failure = n;
		enum sess_open got = open_for(&r, app, 1, SESS_LOCK_EXCLUSIVE);
		failed = failed_once();
		if (got == SESS_QUEUED)
			got = granted(&r);
		stack_check(stack);
		if (!failed) {
			assert_int_equal(got, SESS_OPENED);
			assert_int_equal(n, 2); /* the placeholder, and the mail */
			break;
		}
		assert_int_equal(got, SESS_UNAVAILABLE);
		assert_null(r.hold.session);
		turn();
		assert_int_equal(stats().bytes, 0);
	}
	close_one(&r);
}

/* Of the session in memory, and of what is below. */
static void expect_unchanged(uint32_t n)
{
	assert_true(in_memory(n));
	assert_true(fake_has(n));
	assert_int_equal(fake_saw("remove 1"), 0);
	assert_int_equal(stats().ended + stats().renewed, 0);
	stack_check(stack);
}

static void an_end_without_memory_changes_nothing(void **unused)
{
	struct request r;
	bool failed;

	(void)unused;
	create_below(1, "old");
	change(1, "new");
	assert_int_equal(open_one(&r, 1), SESS_OPENED);
	for (uint64_t n = 0;; n++) {
		until_failure = n;
		int err = commit(&r, END, 0, NULL);
		failed = failed_once();
		if (!failed) {
			assert_int_equal(err, STACK_WAITS);
			assert_int_equal(n, 1);
			break;
		}
		assert_int_equal(err, ERR_NO_MEMORY);
		expect_unchanged(1);
	}
	close_one(&r);
	AWAIT(r.dones == 1);
	assert_false(fake_has(1));
}

static void a_renewal_without_memory_changes_nothing(void **unused)
{
	struct request r;
	bool failed;

	(void)unused;
	create_below(1, "old");
	change(1, "new");
	assert_int_equal(open_one(&r, 1), SESS_OPENED);
	for (uint64_t n = 0;; n++) {
		until_failure = n;
		int err = commit(&r, RENEW, 2, NULL);
		failed = failed_once();
		if (!failed) {
			assert_int_equal(err, STACK_WAITS);
			assert_int_equal(n, 2); /* the mail, and the new session */
			break;
		}
		assert_int_equal(err, ERR_NO_MEMORY);
		expect_unchanged(1);
	}
	close_one(&r);
	AWAIT(r.dones == 1);
	expect_session(2, "new");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_stack_is_made_whole_or_not_at_all),      TEST(an_app_has_a_number_or_not),
	    TEST(a_look_up_without_memory_is_unavailable),  TEST(an_end_without_memory_changes_nothing),
	    TEST(a_renewal_without_memory_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, remove_log);
}
