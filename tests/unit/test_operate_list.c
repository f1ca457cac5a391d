/* Pages of sessions, as operators see them. */
#include "tests/unit/stack_fixture.h"

static const struct sess_commit END = {.end = true};

enum { LISTED = 3000 };

static uint8_t listed[LISTED];

static uint32_t number_by_name(const char *name)
{
	static char names[LISTED][SESS_NAME_TEXT + 1];

	for (uint32_t n = 0; n < LISTED && !names[0][0]; n++)
		names[n][0] = '\0';
	for (uint32_t n = 0; n < LISTED; n++) {
		struct sess_id id = id_of(n);
		if (!names[n][0])
			sess_id_name(&keys, &id, names[n]);
		if (strcmp(names[n], name) == 0)
			return n;
	}
	fail_msg("no such name: %s", name);
	return 0;
}

/* All pages; how many sessions were told. */
static uint32_t list_all(struct ask *a, uint32_t page)
{
	uint32_t count = 0;

	memset(listed, 0, sizeof listed);
	a->job.op = STACK_LIST;
	a->job.max = page;
	a->job.cursor[0] = '\0';
	do {
		assert_int_equal(ask(a), 0);
		assert_true(a->job.count <= page + 3);
		for (size_t i = 0; i < a->job.count; i++)
			listed[number_by_name(a->job.at[i].name)]++;
		count += (uint32_t)a->job.count;
		stack_job_fini(&a->job);
	} while (a->job.more);
	return count;
}

static void pages_tell_everyone_once(void **unused)
{
	static const uint32_t sizes[] = {1, 7, 100, STACK_PAGE_MAX};
	struct ask a = {.job = {.any_app = true, .where = STACK_ANYWHERE}};

	(void)unused;
	for (uint32_t n = 0; n < 300; n++)
		create(n, "a");
	for (uint32_t n = 0; n < 100; n++)
		demote(n);
	for (uint32_t n = 50; n < 100; n++)
		expect_session(n, "a"); /* in both */
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		a.job.where = STACK_ANYWHERE;
		assert_int_equal(list_all(&a, sizes[i]), 300);
		for (uint32_t n = 0; n < 300; n++)
			assert_int_equal(listed[n], 1);
		a.job.where = STACK_IN_MEMORY;
		assert_int_equal(list_all(&a, sizes[i]), 250);
		a.job.where = STACK_BELOW;
		assert_int_equal(list_all(&a, sizes[i]), 50);
		for (uint32_t n = 0; n < 300; n++)
			assert_int_equal(listed[n], n < 50);
	}
}

/* Between two pages sessions come, and move up and down. */
static void pages_miss_nobody_who_is_there_all_the_time(void **unused)
{
	struct ask a = {.job = {.op = STACK_LIST, .any_app = true, .where = STACK_ANYWHERE, .max = 50}};
	uint32_t next = 400;

	(void)unused;
	for (uint32_t n = 0; n < 400; n++)
		create(n, "a");
	for (uint32_t n = 0; n < 200; n++)
		demote(n);
	memset(listed, 0, sizeof listed);
	for (uint32_t page = 0;; page++) {
		assert_int_equal(ask(&a), 0);
		for (size_t i = 0; i < a.job.count; i++)
			listed[number_by_name(a.job.at[i].name)]++;
		stack_job_fini(&a.job);
		if (!a.job.more)
			break;
		for (uint32_t k = 0; k < 150 && next < LISTED; k++)
			create(next++, "new");
		if (page < 10) {
			for (uint32_t k = 0; k < 10; k++) {
				demote(200 + page * 10 + k);
				expect_session(page * 10 + k, "a");
			}
		}
	}
	for (uint32_t n = 100; n < 400; n++)
		assert_true(listed[n] >= 1);
	/* Who did not move is told once. */
	for (uint32_t n = 300; n < 400; n++)
		assert_int_equal(listed[n], 1);
	for (uint32_t n = 100; n < 200; n++)
		assert_int_equal(listed[n], 1);
}

static void pages_are_filtered(void **unused)
{
	struct ask a = {.job = {.app = 0, .where = STACK_ANYWHERE}};
	struct sess_commit c = data("b");
	struct request r;

	(void)unused;
	for (uint32_t n = 0; n < 30; n++) {
		struct sess_id id = id_of(n);
		uint16_t whose = n % 3 == 0 ? other_app : app;
		assert_int_equal(stack_create(stack, whose, &c, TTL_S, &id, clock_now()), 0);
		if (n < 15)
			demote(n);
		clock_ms += 1000; /* 30 seconds old, 29, ... */
	}
	a.job.app = app;
	assert_int_equal(list_all(&a, 10), 20);
	a.job.app = other_app;
	assert_int_equal(list_all(&a, 10), 10);
	a.job.any_app = true;
	a.job.older_s = 11;
	assert_int_equal(list_all(&a, 10), 20);
	for (uint32_t n = 0; n < 30; n++)
		assert_int_equal(listed[n], n < 20);
	a.job.younger_s = 12;
	assert_int_equal(list_all(&a, 10), 2);
	assert_true(listed[18] && listed[19]);
	a.job.older_s = 0;
	assert_int_equal(list_all(&a, 10), 12);
	/* Who is in use was used just now. */
	assert_int_equal(open_for(&r, other_app, 15, SESS_LOCK_NONE), SESS_OPENED);
	assert_int_equal(list_all(&a, 10), 13);
	close_one(&r);
	/* What has expired is not told, swept or not. */
	a.job.younger_s = 0;
	fake_fail(FAKE_EXPIRE, ERR_SYSTEM, FAKE_ALWAYS);
	options.evict = &evict_never;
	stack_set(stack, &options);
	clock_ms += (TTL_S - 20) * 1000;
	assert_int_equal(list_all(&a, 10), 19);
}

/* How many are in the state; `listed` says who. */
static uint32_t in_state(struct ask *a, unsigned is)
{
	a->job.is = is;
	return list_all(a, 10);
}

static void pages_are_filtered_by_state(void **unused)
{
	struct ask a = {.job = {.any_app = true, .where = STACK_ANYWHERE}};
	struct request holds, waits;

	(void)unused;
	for (uint32_t n = 0; n < 30; n++)
		create(n, "a");
	for (uint32_t n = 0; n < 10; n++)
		demote(n);
	assert_int_equal(ask_for(STACK_PIN, 20), 0);
	assert_int_equal(ask_for(STACK_PIN, 21), 0);
	fake_damage(3, ERR_MALFORMED);
	/* To open is not to read, which is what makes it fresh no more. */
	assert_int_equal(open_one(&holds, 21), SESS_OPENED);
	expect_state(&holds, "a");
	assert_int_equal(open_for(&waits, app, 21, SESS_LOCK_EXCLUSIVE), SESS_QUEUED);
	struct request reads;
	assert_int_equal(open_for(&reads, app, 22, SESS_LOCK_NONE), SESS_OPENED);

	assert_int_equal(in_state(&a, STACK_IS_BUSY), 2);
	assert_true(listed[21] && listed[22]);
	assert_int_equal(in_state(&a, STACK_IS_WAITING), 1);
	assert_true(listed[21]);
	assert_int_equal(in_state(&a, STACK_IS_PINNED), 2);
	assert_true(listed[20] && listed[21]);
	assert_int_equal(in_state(&a, STACK_IS_PINNED | STACK_IS_IDLE), 1);
	assert_true(listed[20]);
	assert_int_equal(in_state(&a, STACK_IS_FRESH), 28);
	assert_false(listed[21] || listed[3]);
	assert_int_equal(in_state(&a, STACK_IS_IDLE), 27);
	assert_int_equal(in_state(&a, STACK_IS_UNREADABLE), 1);
	assert_true(listed[3]);
	assert_int_equal(in_state(&a, STACK_IS_BUSY | STACK_IS_IDLE), 0);
	assert_int_equal(in_state(&a, STACK_IS_UNREADABLE | STACK_IS_IDLE), 0);
	close_one(&holds);
	assert_int_equal(granted(&waits), SESS_OPENED);
	close_one(&waits);
	close_one(&reads);
}

/* A disk with millions of sessions is not read for those that can only be in memory. */
static void states_of_memory_are_not_looked_for_below(void **unused)
{
	static const unsigned states[] = {STACK_IS_BUSY, STACK_IS_WAITING, STACK_IS_PINNED | STACK_IS_BUSY};
	struct ask a = {.job = {.any_app = true}};

	(void)unused;
	create_below(1, "a");
	create(2, "b");
	for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
		uint32_t before = fake_calls(FAKE_SCAN);
		a.job.where = STACK_ANYWHERE;
		assert_int_equal(in_state(&a, states[i]), 0);
		assert_int_equal(fake_calls(FAKE_SCAN), before);
	}
}

static void pages_tell_what_cannot_be_read(void **unused)
{
	struct ask a = {.job = {.any_app = true, .where = STACK_BELOW}};

	(void)unused;
	for (uint32_t n = 0; n < 5; n++)
		create_below(n, "a");
	fake_damage(2, ERR_MALFORMED);
	fake_damage(3, ERR_VERSION);
	assert_int_equal(list_all(&a, 10), 5);
	a.job.max = 10;
	a.job.cursor[0] = '\0';
	assert_int_equal(ask(&a), 0);
	for (size_t i = 0; i < a.job.count; i++) {
		uint32_t n = number_by_name(a.job.at[i].name);
		assert_int_equal(a.job.at[i].err, n == 2 ? ERR_MALFORMED : n == 3 ? ERR_VERSION : 0);
	}
	stack_job_fini(&a.job);
	/* Whose they are, and since when, nobody knows. */
	a.job.older_s = 1;
	pass_s(2);
	assert_int_equal(list_all(&a, 10), 3);
	a.job.older_s = 0;
	a.job.any_app = false;
	a.job.app = app;
	assert_int_equal(list_all(&a, 10), 3);
}

static void pages_do_not_tell_what_has_ended(void **unused)
{
	struct ask a = {.job = {.any_app = true, .where = STACK_ANYWHERE}};
	struct request r;

	(void)unused;
	create_below(1, "a");
	create_below(2, "b");
	fake_fail(FAKE_REMOVE, ERR_SYSTEM, FAKE_ALWAYS);
	assert_int_equal(open_one(&r, 1), SESS_OPENED);
	assert_int_equal(commit(&r, END, 0, NULL), STACK_WAITS);
	close_one(&r);
	AWAIT(r.dones == 1);
	assert_true(fake_has(1));
	assert_int_equal(list_all(&a, 10), 1);
	assert_true(listed[2]);
	fake_work(FAKE_REMOVE);
}

static void memory_is_told_before_the_store_fails(void **unused)
{
	struct ask a = {.job = {.op = STACK_LIST, .any_app = true, .where = STACK_ANYWHERE, .max = 10}};

	(void)unused;
	create_below(1, "a");
	create(2, "b");
	fake_fail(FAKE_OPEN, ERR_SYSTEM, FAKE_ALWAYS);
	fake_fail(FAKE_SCAN, ERR_BROKEN, 1);
	for (int i = 0; i < 2; i++) {
		a.job.cursor[0] = '\0';
		assert_int_equal(ask(&a), 0);
		assert_int_equal(a.job.count, 1);
		assert_true(a.job.more);
		stack_job_fini(&a.job);
		assert_int_equal(ask(&a), ERR_BROKEN);
		assert_int_equal(a.job.count, 0);
		stack_job_fini(&a.job);
	}
}

static void a_cursor_is_one_of_ours(void **unused)
{
	static const char *const wrong[] = {"x",
					    "m",
					    "m:",
					    "m:1",
					    "m:1:",
					    "m::1",
					    "m:64:0",
					    "m:1:2:3",
					    "m:1:4294967296",
					    "m:-1:0",
					    "m:1:0 ",
					    "d",
					    "d:0",
					    "d:0123456789abcdef0123456789abcde",
					    "d:0123456789abcdef0123456789abcdef0",
					    "d:0123456789ABCDEF0123456789abcdef",
					    "d:0123456789abcdef0123456789abcdeg"};
	static const char *const right[] = {"", "m:0:0", "m:63:4294967295", "d:", "d:0100000000000000ffffffffffffffff"};
	struct ask a = {.job = {.op = STACK_LIST, .any_app = true, .where = STACK_ANYWHERE, .max = 10}};

	(void)unused;
	create_below(1, "a");
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		snprintf(a.job.cursor, sizeof a.job.cursor, "%s", wrong[i]);
		assert_int_equal(ask(&a), ERR_CONFIG);
		stack_job_fini(&a.job);
	}
	for (size_t i = 0; i < sizeof right / sizeof *right; i++) {
		snprintf(a.job.cursor, sizeof a.job.cursor, "%s", right[i]);
		assert_int_equal(ask(&a), 0);
		stack_job_fini(&a.job);
	}
	a.job.where = STACK_IN_MEMORY;
	snprintf(a.job.cursor, sizeof a.job.cursor, "d:");
	assert_int_equal(ask(&a), ERR_CONFIG);
	a.job.where = STACK_BELOW;
	snprintf(a.job.cursor, sizeof a.job.cursor, "m:0:0");
	assert_int_equal(ask(&a), ERR_CONFIG);
	a.job.cursor[0] = '\0';
	a.job.max = 0;
	assert_int_equal(ask(&a), ERR_CONFIG);
	a.job.max = STACK_PAGE_MAX + 1;
	assert_int_equal(ask(&a), ERR_CONFIG);
}

static void a_page_looks_at_a_bounded_number(void **unused)
{
	struct ask a = {.job = {.op = STACK_LIST, .app = 999, .where = STACK_BELOW, .max = 10}};
	static char text[100000];
	uint32_t pages = 0;

	(void)unused;
	memset(text, 'x', sizeof text - 1);
	for (uint32_t n = 0; n < 250; n++)
		create_below(n, text);
	do {
		assert_int_equal(ask(&a), 0);
		assert_int_equal(a.job.count, 0);
		stack_job_fini(&a.job);
		pages++;
	} while (a.job.more);
	assert_in_range(pages, 3, 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(pages_tell_everyone_once),
	    TEST(pages_miss_nobody_who_is_there_all_the_time),
	    TEST(pages_are_filtered),
	    TEST(pages_are_filtered_by_state),
	    TEST(states_of_memory_are_not_looked_for_below),
	    TEST(pages_tell_what_cannot_be_read),
	    TEST(pages_do_not_tell_what_has_ended),
	    TEST(memory_is_told_before_the_store_fails),
	    TEST(a_cursor_is_one_of_ours),
	    TEST(a_page_looks_at_a_bounded_number),
	};

	return cmocka_run_group_tests(tests, NULL, remove_log);
}
