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

/* --- who stays --- */

/* What is taken is what is too much, and not a batch of whatever size. */
static void memory_stays_well_filled(void **unused)
{
	(void)unused;
	set_room(100);
	for (uint32_t n = 0; n < 300; n++) {
		AWAIT(try_create(n, text) == 0);
		if (n > 100)
			assert_true(sess_table_tight(stack->table, 70));
	}
	AWAIT(!sess_table_tight(stack->table, 90));
	turn();
	assert_true(sess_table_tight(stack->table, 80));
	for (uint32_t n = 0; n < 300; n++)
		assert_true(in_memory(n) || fake_has(n));
}

static uint64_t random_state = 88172645463325252;

static uint32_t draw(uint32_t below)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)(random_state >> 20) % below;
}

/* The busy ones are drawn more often than the others. Whoever is in memory in the end was used later than who is not,
 * but for a few: shards are looked at one after the other. */
static void the_most_recently_used_stay(void **unused)
{
	enum { SESSIONS = 600, USES = 3000 };
	static uint64_t used_ms[SESSIONS];
	uint64_t oldest_ms = UINT64_MAX;
	uint32_t here = 0, wrong = 0;

	(void)unused;
	options.memory_max = 1 << 30;
	stack_set(stack, &options);
	for (uint32_t n = 0; n < SESSIONS; n++) {
		create(n, text);
		used_ms[n] = clock_ms;
	}
	for (uint32_t i = 0; i < USES; i++) {
		uint32_t n = draw(2) ? draw(SESSIONS / 4) * 4 : draw(SESSIONS);
		clock_ms += draw(500);
		change(n, text);
		used_ms[n] = clock_ms;
	}
	set_room(SESSIONS / 2);
	AWAIT(!sess_table_tight(stack->table, 90));
	turn();
	for (uint32_t n = 0; n < SESSIONS; n++) {
		here += in_memory(n);
		if (in_memory(n) && used_ms[n] < oldest_ms)
			oldest_ms = used_ms[n];
	}
	for (uint32_t n = 0; n < SESSIONS; n++)
		wrong += !in_memory(n) && used_ms[n] > oldest_ms + 1000;
	assert_in_range(here, SESSIONS * 2 / 5, SESSIONS / 2);
	assert_in_range(wrong, 0, here / 20);
}

static void who_is_pinned_or_in_use_stays_under_pressure(void **unused)
{
	struct request r;

	(void)unused;
	set_room(100);
	create(0, text);
	create(1, text);
	assert_int_equal(ask_for(STACK_PIN, 0), 0);
	assert_int_equal(open_one(&r, 1), SESS_OPENED);
	pass_s(1);
	for (uint32_t n = 2; n < 300; n++)
		AWAIT(try_create(n, text) == 0);
	AWAIT(!sess_table_tight(stack->table, 90));
	assert_true(in_memory(0));
	assert_true(in_memory(1));
	close_one(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_look_up_needs_no_room_to_wait_in),
	    TEST(memory_stays_well_filled),
	    TEST(the_most_recently_used_stay),
	    TEST(who_is_pinned_or_in_use_stays_under_pressure),
	};

	return cmocka_run_group_tests(tests, NULL, remove_log);
}
