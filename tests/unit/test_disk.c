/* The disk store: the contract of session/store.h, and what is there after it was closed and opened. */
#include "tests/unit/disk_fixture.h"

static void kept_over_close_and_open(void **state)
{
	(void)state;
	for (int orderly = 0; orderly < 2; orderly++) {
		for (uint32_t n = 0; n < 100; n++)
			put(n, 1 + (uint64_t)orderly, 500 + n);
		put(200, 1, 100000);
		commit();
		put(300, 1, 10); /* of no batch that was committed */
		take_away(3);
		close_store(orderly);
		open_store();
		for (uint32_t n = 0; n < 100; n++)
			expect_there(n, 1 + (uint64_t)orderly, 500 + n);
		expect_there(200, 1, 100000);
		expect_gone(300);
		assert_int_equal(count_of().sessions, 101);
		assert_int_equal(walk_all().count, 101);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CONTRACT_TESTS(fixture_open, fixture_teardown),
	    CONTRACT_TEST(kept_over_close_and_open, fixture_open, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
