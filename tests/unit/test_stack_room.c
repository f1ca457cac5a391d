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

/* Many batches of them are less than it needs. No more leave than have to. */
static void a_large_one_comes_up_where_small_ones_are(void **unused)
{
	static char large[250001];
	struct request r;
	uint32_t n = 0;

	(void)unused;
	memset(large, 'x', sizeof large - 1);
	create_below(9999, large);
	options.memory_max = 1 << 20;
	stack_set(stack, &options);
	fake_stop(FAKE_GET);
	assert_int_equal(open_for(&r, app, 9999, SESS_LOCK_EXCLUSIVE), SESS_QUEUED);
	fake_await(FAKE_GET);
	while (try_create(n, "x") == 0)
		n++;
	fake_go(FAKE_GET);
	assert_int_equal(granted(&r), SESS_OPENED);
	expect_state(&r, large);
	close_one(&r);
	turn();
	assert_in_range(stats().sessions, n / 2, n * 3 / 4);
	/* Nor does any, for one that is larger than memory. */
	options.memory_max = 1 << 24;
	stack_set(stack, &options);
	create_below(9998, large);
	options.memory_max = 1 << 17;
	stack_set(stack, &options);
	AWAIT(!sess_table_tight(stack->table, 90));
	turn();
	uint64_t left = stats().sessions;
	expect_open(9998, SESS_UNAVAILABLE);
	turn();
	assert_in_range(stats().sessions, left * 9 / 10, left);
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

static uint64_t real_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* The thread does not find out by itself, once a second: whoever fills memory tells it. */
static void a_memory_that_fills_is_emptied_at_once(void **unused)
{
	enum { ROUNDS = 20 };
	uint32_t n = 0;

	(void)unused;
	set_room(100);
	turn();
	uint64_t begun_ms = real_ms();
	for (int round = 0; round < ROUNDS; round++) {
		while (!sess_table_tight(stack->table, 90))
			create(n++, text);
		AWAIT(!sess_table_tight(stack->table, 90));
		turn();
	}
	assert_in_range(real_ms() - begun_ms, 0, ROUNDS * 1000 / 2);
}

/* Pinned ones may pass their bound, when they grow or when that is lowered. What is over it stays as long as others can
 * leave, and no longer. */
static void pins_over_their_bound_leave_when_nothing_else_can(void **unused)
{
	struct ask a = {.job.op = STACK_SHOW};

	(void)unused;
	set_room(100);
	for (uint32_t n = 0; n < 40; n++) {
		create(n, text);
		assert_int_equal(ask_for(STACK_PIN, n), 0);
	}
	pass_s(1);
	options.max_pinned = 10 * COST_BYTES;
	stack_set(stack, &options);
	for (uint32_t n = 40; n < 300; n++)
		AWAIT(try_create(n, text) == 0);
	AWAIT(!sess_table_tight(stack->table, 90));
	assert_int_equal(stats().pinned, 40);
	set_room(30);
	AWAIT(!sess_table_tight(stack->table, 90));
	assert_in_range(stats().pinned, 22, 27);
	assert_int_equal(stats().sessions, stats().pinned);
	set_room(5);
	AWAIT(stats().pinned == 10);
	turn();
	assert_int_equal(stats().pinned, 10);
	/* It has kept its pin. */
	set_room(100);
	for (uint32_t n = 0; n < 40; n++)
		expect_session(n, text);
	assert_int_equal(stats().pinned, 40);
	set_key(&a, 0);
	assert_int_equal(ask(&a), 0);
	assert_true(a.job.at[0].pinned);
	stack_job_fini(&a.job);
}

/* They are many, and in the way of nobody who looks for something else. */
static void pins_within_their_bound_never_leave(void **unused)
{
	(void)unused;
	set_room(100);
	options.max_pinned = 50 * COST_BYTES;
	stack_set(stack, &options);
	turn();
	for (uint32_t n = 0; n < 40; n++) {
		create(n, text);
		assert_int_equal(ask_for(STACK_PIN, n), 0);
	}
	set_room(30);
	pass_s(1);
	for (int i = 0; i < 5; i++)
		turn();
	assert_int_equal(stats().pinned, 40);
	assert_int_equal(stats().demoted, 0);
}

/* --- who waits for room --- */

static bool await_room(struct request *r, uint64_t bytes)
{
	return stack_await_room(stack, &r->wait, bytes);
}

/* Memory is full, and nothing moves. The number that was refused. */
static uint32_t fill_memory(void)
{
	set_room(100);
	stop_moving(0);
	uint32_t n = fill(1000);
	assert_int_equal(try_create(n, text), ERR_FULL);
	return n;
}

static void who_finds_no_room_waits_for_it(void **unused)
{
	struct request r;

	(void)unused;
	uint32_t n = fill_memory();
	init_request(&r);
	assert_true(await_room(&r, STATE_BYTES));
	assert_int_equal(r.dones, 0);
	fake_go(FAKE_PUT);
	/* The first answer may come before there is room, for room that came before the wait. */
	while (try_create(n, text) != 0) {
		AWAIT(r.dones == 1);
		r.dones = 0;
		if (try_create(n, text) == 0)
			break;
		assert_true(await_room(&r, STATE_BYTES));
	}
	(void)stack_cancel_room(stack, &r.wait);
	assert_true(in_memory(n));
	turn();
	assert_true(stats().room_waits >= 1);
}

static void a_wait_for_room_can_be_given_up(void **unused)
{
	struct request early, late;

	(void)unused;
	fill_memory();
	init_request(&early);
	init_request(&late);
	assert_true(await_room(&early, STATE_BYTES));
	assert_true(await_room(&late, STATE_BYTES));
	assert_true(stack_cancel_room(stack, &early.wait));
	fake_go(FAKE_PUT);
	AWAIT(late.dones == 1);
	assert_int_equal(early.dones, 0);
	/* Once it is on its way it comes. */
	assert_false(stack_cancel_room(stack, &late.wait));
	assert_false(stack_cancel_room(stack, &early.wait));
}

static void nobody_waits_where_no_room_will_come(void **unused)
{
	static const struct evict_kind *const kinds[] = {&evict_never, &evict_ttl};
	struct request r;

	(void)unused;
	init_request(&r);
	for (int i = 0; i < 2; i++) {
		options.evict = kinds[i];
		stack_set(stack, &options);
		assert_false(await_room(&r, STATE_BYTES));
	}
	options.evict = &evict_lru;
	set_room(100);
	/* More than memory has. */
	assert_false(await_room(&r, 101 * COST_BYTES));
	fake_fail(FAKE_OPEN, ERR_SYSTEM, FAKE_ALWAYS);
	fake_fail(FAKE_GET, ERR_BROKEN, 1);
	expect_open(1, SESS_UNAVAILABLE);
	AWAIT(stats().below == STACK_BELOW_BROKEN);
	assert_false(await_room(&r, STATE_BYTES));
	stop_stack(false);
	options.below = NULL;
	start_stack();
	assert_false(await_room(&r, STATE_BYTES));
	assert_int_equal(r.dones, 0);
}

/* Once, and not for each request, with the reason; and again after there was room. */
static void a_full_memory_is_logged_once(void **unused)
{
	static const struct {
		const struct evict_kind *evict;
		const char *text;
	} rows[] = {
	    {&evict_never, "memory_full max=111200 evict=never reason=\"nothing moves to disk\""},
	    {&evict_ttl, "memory_full max=111200 evict=ttl reason=\"nothing moves to disk\""},
	};
	struct request r;

	(void)unused;
	init_request(&r);
	for (uint32_t i = 0; i < 2; i++) {
		uint32_t below = 9000 + i;
		create_below(below, text);
		options.evict = rows[i].evict;
		set_room(100);
		turn();
		uint32_t end = fill(1000 * i), n = 1000 * i;
		assert_int_equal(logged("memory_full"), i);
		assert_false(await_room(&r, STATE_BYTES));
		expect_open(below, SESS_UNAVAILABLE);
		expect_open(below, SESS_UNAVAILABLE);
		assert_false(await_room(&r, STATE_BYTES));
		assert_int_equal(logged("memory_full"), i + 1);
		assert_int_equal(logged(rows[i].text), 1);
		assert_int_equal(logged("memory_has_room"), i);
		for (; n < end - 80; n++)
			assert_int_equal(ask_for(STACK_END, n), 0);
		AWAIT(logged("memory_has_room") == i + 1);
		expect_session(below, text);
		for (; n < end; n++)
			assert_int_equal(ask_for(STACK_END, n), 0);
	}
	/* What is larger than all of memory says nothing of it. */
	assert_false(await_room(&r, 101 * COST_BYTES));
	assert_int_equal(logged("memory_full"), 2);
}

static void a_full_memory_says_what_is_in_the_way(void **unused)
{
	struct request r;

	(void)unused;
	create_below(9000, text);
	set_room(5);
	turn();
	init_request(&r);
	for (uint32_t n = 0; n < 5; n++) {
		AWAIT(try_create(n, text) == 0);
		assert_int_equal(ask_for(STACK_PIN, n), 0);
	}
	expect_open(9000, SESS_UNAVAILABLE);
	assert_int_equal(logged("evict=lru reason=\"all that is there is in use or pinned\""), 1);
	for (uint32_t n = 0; n < 5; n++)
		assert_int_equal(ask_for(STACK_END, n), 0);
	AWAIT(logged("memory_has_room") == 1);
	stop_stack(false);
	options.below = NULL;
	start_stack();
	assert_false(await_room(&r, STATE_BYTES));
	assert_int_equal(logged("reason=\"there is no disk store\""), 1);
}

/* Room came after the refusal and before the wait, and not for the first time. */
static void who_waits_where_there_is_room_is_told(void **unused)
{
	struct request r;

	(void)unused;
	set_room(100);
	for (uint32_t n = 0; n < 50; n++)
		create(n, text);
	init_request(&r);
	for (int i = 0; i < 3; i++) {
		assert_true(await_room(&r, STATE_BYTES));
		AWAIT(r.dones == 1);
		r.dones = 0;
	}
	assert_int_equal(stats().sessions, 50);
}

/* What is refused must not empty memory for nothing. */
static void a_state_larger_than_memory_moves_nothing(void **unused)
{
	struct request r;
	static char large[200 * 1000];

	(void)unused;
	memset(large, 'x', sizeof large - 1);
	set_room(100);
	for (uint32_t n = 0; n < 50; n++)
		create(n, text);
	init_request(&r);
	assert_int_equal(try_create(99, large), ERR_FULL);
	assert_false(await_room(&r, sizeof large));
	turn();
	turn();
	assert_int_equal(stats().sessions, 50);
}

static void a_large_state_gets_room_where_memory_is_not_tight(void **unused)
{
	struct request r;
	static char large[50 * COST_BYTES];

	(void)unused;
	memset(large, 'x', sizeof large - 1);
	set_room(100);
	for (uint32_t n = 0; n < 80; n++)
		create(n, text);
	init_request(&r);
	unsigned tries = 0;
	while (try_create(99, large) != 0) {
		assert_true(++tries < 10);
		assert_true(await_room(&r, sizeof large));
		AWAIT(r.dones == 1);
		r.dones = 0;
	}
	assert_true(in_memory(99));
	/* No more went than had to. */
	turn();
	assert_in_range(stats().sessions, 34, 52);
}

static void a_crowd_that_waits_does_not_empty_memory(void **unused)
{
	enum { CROWD = 200 };
	static struct request r[CROWD];
	struct request fetches;

	(void)unused;
	set_room(100);
	fake_stop(FAKE_GET);
	assert_int_equal(open_for(&fetches, app, 9999, SESS_LOCK_NONE), SESS_QUEUED);
	fake_await(FAKE_GET);
	fill(0);
	for (int i = 0; i < CROWD; i++) {
		init_request(&r[i]);
		r[i].wait.tried_bytes = 1; /* it has waited before */
		assert_true(await_room(&r[i], STATE_BYTES));
	}
	fake_go(FAKE_GET);
	for (int i = 0; i < CROWD; i++)
		AWAIT(r[i].dones == 1);
	assert_int_equal(granted(&fetches), SESS_ABSENT);
	turn();
	assert_true(sess_table_tight(stack->table, 50));
}

enum { HELD = 50 };

/* Memory is full of sessions that are in use. */
static void hold_all(struct request holds[HELD])
{
	for (uint32_t n = 0; n < HELD; n++) {
		create(n, text);
		assert_int_equal(open_for(&holds[n], app, n, SESS_LOCK_NONE), SESS_OPENED);
	}
	set_room(HELD);
	assert_int_equal(try_create(HELD, text), ERR_FULL);
}

/* Nothing can move: asking again would be in vain. */
static void who_waits_is_not_told_for_nothing(void **unused)
{
	static struct request holds[HELD];
	struct request r;

	(void)unused;
	hold_all(holds);
	init_request(&r);
	assert_true(await_room(&r, STATE_BYTES));
	AWAIT(r.dones == 1); /* the first one */
	assert_int_equal(try_create(HELD, text), ERR_FULL);
	assert_true(await_room(&r, STATE_BYTES));
	for (int i = 0; i < 20; i++)
		turn();
	assert_int_equal(r.dones, 1);
	for (uint32_t n = 0; n < HELD; n++)
		close_one(&holds[n]);
	AWAIT(r.dones == 2);
	assert_int_equal(try_create(HELD, text), 0);
}

/* Nothing will come of it: better hear that now than when the patience is over. */
static void who_waits_hears_when_hope_is_gone(void **unused)
{
	struct request r;

	(void)unused;
	fill_memory();
	init_request(&r);
	assert_true(await_room(&r, STATE_BYTES));
	fake_fail(FAKE_PUT, ERR_FULL, FAKE_ALWAYS);
	fake_go(FAKE_PUT);
	AWAIT(r.dones == 1);
	r.dones = 0;
	if (await_room(&r, STATE_BYTES)) {
		AWAIT(r.dones == 1);
		r.dones = 0;
	}
	AWAIT(stats().below == STACK_BELOW_FULL);
	assert_false(await_room(&r, STATE_BYTES));
}

/* The store is as good as it was, and all sessions are in use: only the evicter is another. */
static void who_waits_hears_when_nothing_moves_any_more(void **unused)
{
	static struct request holds[HELD];
	struct request r;

	(void)unused;
	hold_all(holds);
	init_request(&r);
	r.wait.tried_bytes = 1; /* it has waited before */
	assert_true(await_room(&r, STATE_BYTES));
	turn();
	assert_int_equal(r.dones, 0);
	options.evict = &evict_never;
	stack_set(stack, &options);
	AWAIT(r.dones == 1);
	assert_int_equal(stats().below, STACK_BELOW_READY);
	assert_false(await_room(&r, STATE_BYTES));
	for (uint32_t n = 0; n < HELD; n++)
		close_one(&holds[n]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_look_up_needs_no_room_to_wait_in),
	    TEST(a_large_one_comes_up_where_small_ones_are),
	    TEST(memory_stays_well_filled),
	    TEST(the_most_recently_used_stay),
	    TEST(who_is_pinned_or_in_use_stays_under_pressure),
	    TEST(a_memory_that_fills_is_emptied_at_once),
	    TEST(pins_over_their_bound_leave_when_nothing_else_can),
	    TEST(pins_within_their_bound_never_leave),
	    TEST(who_finds_no_room_waits_for_it),
	    TEST(a_wait_for_room_can_be_given_up),
	    TEST(nobody_waits_where_no_room_will_come),
	    TEST(a_full_memory_is_logged_once),
	    TEST(a_full_memory_says_what_is_in_the_way),
	    TEST(who_waits_where_there_is_room_is_told),
	    TEST(a_state_larger_than_memory_moves_nothing),
	    TEST(a_large_state_gets_room_where_memory_is_not_tight),
	    TEST(a_crowd_that_waits_does_not_empty_memory),
	    TEST(who_waits_is_not_told_for_nothing),
	    TEST(who_waits_hears_when_hope_is_gone),
	    TEST(who_waits_hears_when_nothing_moves_any_more),
	};

	return cmocka_run_group_tests(tests, NULL, remove_log);
}
