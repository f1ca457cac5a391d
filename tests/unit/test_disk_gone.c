/* The disk store whose files are taken away while it is open: it breaks instead of writing to what nobody will find,
 * says what is missing, and can be opened again. */
#include "tests/unit/damage_fixture.h"

static void shell(const char *command)
{
	char line[300];

	snprintf(line, sizeof line, "cd %s && %s", folder, command);
	assert_int_equal(system(line), 0);
}

static const struct taking {
	const char *command, *reason;
	bool kept; /* what was there */
} takings[] = {
    {"rm -r sessions", "the folder was removed", false},
    {"mv sessions elsewhere", "the folder was removed", false},
    {"rm sessions/*", "the file lock was removed or replaced", false},
    {"rm -r sessions && mkdir sessions", "the file lock was removed or replaced", false},
    {"rm sessions/lock", "the file lock was removed or replaced", true},
    {"cp -a sessions/sessions.db copy && mv copy sessions/sessions.db", "the file sessions.db was removed or replaced",
     true},
};

static void expect_gone_well(const struct taking *t, int err)
{
	struct walked w = {0};
	char line[100];

	assert_int_equal(err, ERR_BROKEN);
	assert_int_equal(get_err(1), ERR_BROKEN);
	assert_int_equal(store_disk.scan(store, NULL, walk_note, &w), ERR_BROKEN);
	snprintf(line, sizeof line, "reason=\"%s\"", t->reason);
	assert_true(logged("event=store_broken"));
	assert_true(logged(line));
	close_store(false);
	open_store();
	assert_int_equal(count_of().sessions, t->kept ? 20 : 0);
	put(30, 1, 100);
	commit();
	close_store(true);
	open_store();
	expect_there(30, 1, 100);
	expect_in_step();
}

/* By whatever begins the next batch. */
static int next_put(void)
{
	struct sess_record r = record_of(21, 1, 10);

	return store_disk.put(store, &r);
}

static int next_remove(void)
{
	struct sess_id id = id_of(1);

	return store_disk.remove(store, &id);
}

static int next_expire(void)
{
	bool more;

	return store_disk.expire(store, USED_S, 10, NULL, NULL, &more);
}

static void taken_away_while_in_use(void **state)
{
	static int (*const next[])(void) = {next_put, next_remove, next_expire};

	for (size_t i = 0; i < sizeof takings / sizeof takings[0]; i++) {
		open_store();
		for (uint32_t n = 0; n < 20; n++)
			put(n, 1, 100);
		commit();
		shell(takings[i].command);
		expect_gone_well(&takings[i], next[i % 3]());
		teardown(state);
		setup(state);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CONTRACT_TEST(taken_away_while_in_use, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
