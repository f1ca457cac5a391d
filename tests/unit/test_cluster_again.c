/* Whole nodes that are started again: after all have left, and with a damaged file of the id of their cluster. */
#include "cluster/node_state.h"
#include "tests/unit/cluster_fixture.h"

static void form(void)
{
	all_start();
	RUN_UNTIL(are_one(NODES));
}

static bool all_vote(const struct node *n)
{
	return votes(n, "alpha") && votes(n, "beta") && votes(n, "gamma");
}

/* Each takes its vote along, until one has all; all at once, each as far as it gets. Then all are started again. */
static void all_leave_and_come_back(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 6; round++) {
		bool at_once = round >= 3;
		form();
		RUN_UNTIL(all_vote(&nodes[0]));
		for (unsigned i = 0; i < NODES; i++) {
			struct node *n = &nodes[(round + i) % NODES];
			struct instant since = clock_now();
			cluster_leave(n->cluster);
			RUN_UNTIL(at_once || n->left == 1 || instant_since_ms(clock_now(), since) > 4 * FAILURE_MS);
			assert_true(at_once || n->left == 1);
			if (!at_once)
				node_end(n);
		}
		struct instant since = clock_now();
		RUN_UNTIL(instant_since_ms(clock_now(), since) > FAILURE_MS / 2 * (round % 3 + 1));
		for (unsigned i = 0; i < NODES; i++)
			node_end(&nodes[i]);
		form();
		RUN_UNTIL(all_vote(&nodes[0]) && all_vote(&nodes[1]) && all_vote(&nodes[2]));
		for (unsigned i = 0; i < NODES; i++)
			node_end(&nodes[i]);
	}
}

/* --- the id --- */

static void write_id(const struct node *n, const char *text)
{
	char path[PATH_MAX + 32];
	struct cluster_settings s = settings_for(n, 0);

	snprintf(path, sizeof path, "%s/cluster", s.folder);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

/* The file of the cluster's id is empty, cut short, or no text of weir's: it is moved aside, and learnt again. */
static void its_id_is_damaged(void **state)
{
	static const char *const damage[] = {"", "0011", "xx112233445566778899aabbccddeeff\n"};
	char aside[PATH_MAX + 32];

	(void)state;
	node_begin(&nodes[0], 0);
	RUN_UNTIL(are_one(1));
	for (size_t i = 0; i < sizeof damage / sizeof damage[0]; i++) {
		node_begin(&nodes[1], 1);
		RUN_UNTIL(are_one(2));
		node_end(&nodes[1]);
		write_id(&nodes[1], damage[i]);
		unsigned before = logged("event=control_damaged", "file=cluster");
		node_begin(&nodes[1], 1);
		RUN_UNTIL(are_one(2));
		assert_int_equal(logged("event=control_damaged", "file=cluster"), before + 1);
		snprintf(aside, sizeof aside, "%s/cluster.damaged", settings_for(&nodes[1], 1).folder);
		assert_int_equal(access(aside, F_OK), 0);
		node_end(&nodes[1]);
		node_begin(&nodes[1], 1); /* now it is written again, and good */
		RUN_UNTIL(are_one(2));
		assert_int_equal(logged("event=control_damaged", "file=cluster"), before + 1);
		node_end(&nodes[1]);
	}
}

static void its_id_cannot_be_read(void **state)
{
	uint8_t id[CLUS_ID_BYTES];
	char path[PATH_MAX + 32], dir[PATH_MAX], reason[NODE_WHY] = "";

	(void)state;
	snprintf(dir, sizeof dir, "%s/unreadable", folder);
	assert_int_equal(mkdir(dir, 0700), 0);
	assert_int_equal(node_id_read(dir, id, reason), 0); /* there is none */
	snprintf(path, sizeof path, "%s/cluster", dir);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(node_id_read(dir, id, reason), ERR_BROKEN);
	assert_non_null(strstr(reason, "/unreadable/cluster: Is a directory"));
}

#define NODE_TEST(name) cmocka_unit_test_setup_teardown(name, nodes_set_up, nodes_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    NODE_TEST(all_leave_and_come_back),
	    NODE_TEST(its_id_is_damaged),
	    NODE_TEST(its_id_cannot_be_read),
	};
	return cmocka_run_group_tests(tests, cluster_folder, cluster_folder_gone);
}
