/* The disk store where the process has no descriptors left: it is refused, takes nothing for damaged, and keeps no
 * memory of the attempt. The leak checker of the sanitizers is what looks at the last. */
#include "tests/unit/damage_fixture.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

enum { KEPT = 20, ENOUGH = 100 };

static struct rlimit before;

/* So many more than are open, if none of them is a gap. */
static void leave_descriptors(unsigned n)
{
	int next = dup(0);
	struct rlimit limit = {.rlim_cur = (rlim_t)next + n, .rlim_max = before.rlim_max};

	close(next);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static int open_with(unsigned descriptors)
{
	leave_descriptors(descriptors);
	int err = open_err();
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	return err;
}

static void expect_refused_until_there_are_enough(void)
{
	unsigned n = 0;

	for (; n < ENOUGH && open_with(n) != 0; n++)
		assert_non_null(strstr(why, "Too many open files"));
	assert_in_range(n, 4, ENOUGH - 1);
	assert_int_equal(count_of().sessions, KEPT);
	expect_in_step();
	close_store(true);
}

static void fill_and_close(bool orderly)
{
	open_store();
	for (uint32_t i = 0; i < KEPT; i++)
		put(i, 1, 100);
	commit();
	close_store(orderly);
}

static void after_an_end_and_after_a_crash(void **state)
{
	(void)state;
	for (int orderly = 0; orderly < 2; orderly++) {
		fill_and_close(orderly);
		expect_refused_until_there_are_enough();
	}
	assert_false(logged("event=store_damaged"));
}

/* It needs more. */
static void before_a_salvage(void **state)
{
	(void)state;
	fill_and_close(true);
	overwrite(in_store(DISK_MARKER), 0, "-\nthe test\n", 11);
	expect_refused_until_there_are_enough();
	assert_true(logged("event=store_damaged"));
}

static int begin(void **state)
{
	return getrlimit(RLIMIT_NOFILE, &before) == 0 ? setup(state) : -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CONTRACT_TEST(after_an_end_and_after_a_crash, begin, teardown),
	    CONTRACT_TEST(before_a_salvage, begin, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
