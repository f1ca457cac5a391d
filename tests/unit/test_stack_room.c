/* The stack of stores under pressure: which sessions stay in memory when it is full, who waits for room and who need
 * not, and what a change of the settings does. */
#include "tests/unit/stack_fixture.h"

enum { STATE_BYTES = 1000, COST_BYTES = 104 + 8 + STATE_BYTES };

static char text[STATE_BYTES + 1];

static int set_up_lru(void **unused)
{
	int err = set_up(unused);

	memset(text, 'x', STATE_BYTES);
	options.evict = &evict_lru;
	stack_set(stack, &options);
	return err;
}

#undef TEST
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_lru, tear_down)

/* Memory holds so many sessions of STATE_BYTES. */
static void set_room(uint32_t sessions)
{
	options.memory_max = (uint64_t)sessions * COST_BYTES;
	stack_set(stack, &options);
}

/* Creates sessions until there is no room. The next number. */
static uint32_t fill(uint32_t n)
{
	while (try_create(n, text) == 0)
		n++;
	return n;
}

/* Nothing moves down until fake_go(FAKE_PUT). */
static void stop_moving(uint32_t first)
{
	fake_stop(FAKE_PUT);
	for (uint32_t n = first; !sess_table_tight(stack->table, 90); n++)
		create(n, text);
	fake_await(FAKE_PUT);
}

/* --- what is below comes up also when memory is full --- */

static void a_look_up_needs_no_room_to_wait_in(void **unused)
{
	struct request r;

	(void)unused;
	create_below(9999, text);
	set_room(200);
	stop_moving(0);
	fill(1000);
	for (uint32_t n = 2000; try_create(n, "") == 0; n++) /* the last bytes */
		;
	assert_int_equal(open_for(&r, app, 9999, SESS_LOCK_EXCLUSIVE), SESS_QUEUED);
	fake_go(FAKE_PUT);
	assert_int_equal(granted(&r), SESS_OPENED);
	close_one(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_look_up_needs_no_room_to_wait_in),
	};

	return cmocka_run_group_tests(tests, NULL, remove_log);
}
