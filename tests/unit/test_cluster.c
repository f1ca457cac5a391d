/* Three whole nodes: links, core and control plane put together. */
#include "tests/unit/cluster_fixture.h"

static void they_become_one(void **state)
{
	(void)state;
	uint64_t before = clock_us();
	all_start();
	RUN_UNTIL(are_one(NODES));
	print_message("one view after %llu ms\n", (unsigned long long)(clock_us() - before) / 1000);
	for (unsigned i = 0; i < NODES; i++)
		assert_string_equal(coordinator_of(&nodes[i]), coordinator_of(&nodes[0]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(they_become_one, nodes_set_up, nodes_tear_down),
	};
	return cmocka_run_group_tests(tests, cluster_folder, cluster_folder_gone);
}
