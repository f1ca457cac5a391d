/* Sessions looked at and written by their id (session/direct.h): what is there afterwards, when they expire, and that
 * none is lost, doubled or revived whatever the store below does meanwhile. */
#include "tests/unit/stack_fixture.h"

static int write_to(uint32_t n, struct sess_write w)
{
	struct sess_id id = id_of(n);

	return stack_write(stack, app, &id, &w, clock_now(), NULL);
}

static struct sess_write value(const char *text, uint32_t ttl_s)
{
	return (struct sess_write){
	    .has_data = true, .head = VIEW("<"), .data = view_str(text), .has_ttl = true, .ttl_s = ttl_s};
}

/* Asks below, as a connection does, until the write is done or refused. */
static int write_all(uint32_t n, struct sess_write w)
{
	struct request r;
	int result = write_to(n, w);

	for (int i = 0; i < 8 && result == SESS_ASK; i++) {
		enum sess_open open = open_for(&r, app, n, SESS_LOCK_NONE);
		if (open == SESS_QUEUED)
			open = granted(&r);
		r.hold.fixed = true;
		w.absent = open == SESS_ABSENT;
		w.placed = r.waiter.placed;
		result = write_to(n, w);
		close_one(&r);
	}
	return result;
}

static enum sess_open peek(uint32_t n, struct sess_peek *out)
{
	struct sess_id id = id_of(n);

	*out = (struct sess_peek){.left_s = 0};
	return stack_peek(stack, app, &id, clock_now(), out);
}

static void expect_there(uint32_t n, const char *text, uint64_t left_s)
{
	struct sess_peek p;

	assert_int_equal(peek(n, &p), SESS_OPENED);
	assert_non_null(p.state);
	assert_int_equal(p.state->len, strlen(text) + 1);
	assert_memory_equal(p.state->bytes, "<", 1);
	assert_memory_equal(p.state->bytes + 1, text, strlen(text));
	assert_int_equal(p.left_s, left_s);
	sess_state_unref(p.state);
}

static void expect_none(uint32_t n)
{
	struct request r;
	enum sess_open open = open_for(&r, app, n, SESS_LOCK_NONE);

	assert_int_equal(open == SESS_QUEUED ? granted(&r) : open, SESS_ABSENT);
}

/* --- what is there --- */

static void what_was_written_is_found(void **unused)
{
	struct sess_peek p;

	(void)unused;
	assert_int_equal(peek(1, &p), SESS_QUEUED);
	assert_int_equal(write_to(1, value("a", 100)), SESS_ASK);
	assert_int_equal(write_all(1, value("a", 100)), SESS_WRITTEN);
	expect_there(1, "a", 100);
	assert_int_equal(write_to(1, value("bcd", 50)), SESS_WRITTEN);
	expect_there(1, "bcd", 50);
	assert_int_equal(stats().created, 1);
	stack_check(stack);
}

static void conditions_are_kept(void **unused)
{
	struct sess_write only_new = value("new", 10), only_there = value("there", 10);
	struct sess_write time = {.has_ttl = true, .ttl_s = 7};

	(void)unused;
	only_new.only = SESS_WRITE_NEW;
	only_there.only = SESS_WRITE_THERE;
	assert_int_equal(write_all(1, only_there), SESS_MISSING);
	assert_int_equal(write_all(1, time), SESS_MISSING);
	assert_int_equal(write_all(1, only_new), SESS_WRITTEN);
	assert_int_equal(write_all(1, only_new), SESS_THERE);
	expect_there(1, "new", 10);
	assert_int_equal(write_all(1, only_there), SESS_WRITTEN);
	assert_int_equal(write_all(1, time), SESS_WRITTEN);
	expect_there(1, "there", 7);
}

static void what_was_there_before_is_given(void **unused)
{
	struct sess_write w = value("b", 10);
	struct sess_state *before = NULL;
	struct sess_id id = id_of(1);

	(void)unused;
	assert_int_equal(write_all(1, value("a", 10)), SESS_WRITTEN);
	assert_int_equal(stack_write(stack, app, &id, &w, clock_now(), &before), SESS_WRITTEN);
	assert_non_null(before);
	assert_memory_equal(before->bytes, "<a", 2);
	sess_state_unref(before);
}

static void another_app_sees_nothing(void **unused)
{
	struct sess_id id = id_of(1);
	struct sess_peek p;

	(void)unused;
	assert_int_equal(write_all(1, value("a", 10)), SESS_WRITTEN);
	assert_int_equal(stack_peek(stack, other_app, &id, clock_now(), &p), SESS_ABSENT);
}

static void what_is_pinned_counts_with_the_bytes_that_it_has(void **unused)
{
	(void)unused;
	assert_int_equal(write_all(1, value("a", 100)), SESS_WRITTEN);
	assert_int_equal(ask_for(STACK_PIN, 1), 0);
	uint64_t before = stats().pinned_bytes;
	assert_int_equal(write_all(1, value("abcdefghijk", 100)), SESS_WRITTEN);
	assert_int_equal(stats().pinned_bytes, before + 10);
	assert_int_equal(ask_for(STACK_UNPIN, 1), 0);
	assert_int_equal(stats().pinned_bytes, 0);
	stack_check(stack);
}

/* --- when it expires --- */

static void being_used_does_not_prolong_it(void **unused)
{
	struct request r;
	struct sess_peek p;

	(void)unused;
	assert_int_equal(write_all(1, value("a", 100)), SESS_WRITTEN);
	pass_s(40);
	expect_there(1, "a", 60);
	assert_int_equal(open_for(&r, app, 1, SESS_LOCK_NONE), SESS_OPENED);
	r.hold.fixed = true;
	pass_s(40);
	close_one(&r);
	expect_there(1, "a", 20);
	assert_int_equal(write_to(1, (struct sess_write){.has_data = true, .data = VIEW("<b")}), SESS_WRITTEN);
	expect_there(1, "b", 20);
	pass_s(20);
	assert_int_equal(peek(1, &p), SESS_QUEUED);
	expect_none(1);
	assert_int_equal(stats().expired, 1);
}

/* Those that are read are not idle, though they expire no later. */
static void what_is_read_stays_in_memory(void **unused)
{
	(void)unused;
	assert_int_equal(write_all(1, value("a", 10 * IDLE_S)), SESS_WRITTEN);
	assert_int_equal(write_all(2, value("b", 10 * IDLE_S)), SESS_WRITTEN);
	pass_s(IDLE_S / 2);
	expect_there(1, "a", 10 * IDLE_S - IDLE_S / 2);
	pass_s(IDLE_S / 2 + 1);
	AWAIT(stats().demoted == 1);
	assert_true(fake_has(2));
	assert_false(fake_has(1));
}

static void without_a_time_it_lives_for_ever(void **unused)
{
	(void)unused;
	assert_int_equal(write_all(1, value("a", SESS_TTL_NEVER)), SESS_WRITTEN);
	pass_s(365 * 24 * 3600);
	AWAIT(stats().demoted == 1);
	struct request r;
	assert_int_equal(open_for(&r, app, 1, SESS_LOCK_NONE), SESS_QUEUED);
	assert_int_equal(granted(&r), SESS_OPENED);
	r.hold.fixed = true;
	close_one(&r);
	expect_there(1, "a", SESS_TTL_NEVER);
}

/* --- with the store below --- */

static int end_it(struct request *r, uint32_t n)
{
	struct sess_outcome out;

	assert_int_equal(open_for(r, app, n, SESS_LOCK_NONE), SESS_OPENED);
	r->hold.fixed = true;
	int err = commit(r, (struct sess_commit){.end = true}, 0, &out);
	close_one(r);
	return err;
}

static void put_below(uint32_t n)
{
	uint64_t demoted = stats().demoted;

	assert_int_equal(ask_for(STACK_DEMOTE, n), 0);
	AWAIT(stats().demoted == demoted + 1);
}

static void what_is_below_is_not_written_over(void **unused)
{
	struct sess_write only_new = value("new", 100);

	(void)unused;
	only_new.only = SESS_WRITE_NEW;
	assert_int_equal(write_all(1, value("old", 100)), SESS_WRITTEN);
	put_below(1);
	assert_int_equal(write_all(1, only_new), SESS_THERE);
	expect_there(1, "old", 100);
}

/* Between the answer "absent" and the write another one makes the session, and it leaves for below. */
static void a_write_does_not_overtake_one_that_has_left(void **unused)
{
	struct sess_write w = value("second", 100);
	struct request r;

	(void)unused;
	assert_int_equal(open_for(&r, app, 1, SESS_LOCK_NONE), SESS_QUEUED);
	assert_int_equal(granted(&r), SESS_ABSENT);
	assert_int_equal(write_all(1, value("first", 100)), SESS_WRITTEN);
	put_below(1);
	w.only = SESS_WRITE_NEW;
	w.absent = true;
	w.placed = r.waiter.placed;
	assert_int_equal(write_to(1, w), SESS_ASK);
	assert_int_equal(write_all(1, w), SESS_THERE);
	expect_there(1, "first", 100);
}

static void a_new_one_waits_until_the_old_one_is_gone_from_below(void **unused)
{
	struct request end, wait;
	struct sess_id id = id_of(1);

	(void)unused;
	assert_int_equal(write_all(1, value("old", 100)), SESS_WRITTEN);
	put_below(1);
	assert_int_equal(write_all(1, value("newer", 100)), SESS_WRITTEN);
	stop_commit();
	assert_int_equal(end_it(&end, 1), STACK_WAITS);
	fake_await(FAKE_COMMIT);
	assert_int_equal(write_all(1, value("next", 100)), SESS_OWING);
	init_request(&wait);
	assert_int_equal(stack_await_gone(stack, &id, &wait.wait), 0);
	fake_go(FAKE_COMMIT);
	AWAIT(end.dones == 1);
	AWAIT(wait.dones == 1);
	assert_int_equal(write_all(1, value("next", 100)), SESS_WRITTEN);
	expect_there(1, "next", 100);
	stack_check(stack);
}

/* A removal that is asked for twice comes second when the id has a new session, which is below by then. */
static void a_late_removal_spares_the_new_session(void **unused)
{
	struct request end, wait;
	struct sess_id id = id_of(1);

	(void)unused;
	assert_int_equal(write_all(1, value("old", 100)), SESS_WRITTEN);
	put_below(1);
	assert_int_equal(write_all(1, value("newer", 100)), SESS_WRITTEN);
	assert_int_equal(end_it(&end, 1), STACK_WAITS);
	AWAIT(end.dones == 1);
	assert_int_equal(write_all(1, value("next", 100)), SESS_WRITTEN);
	put_below(1);
	init_request(&wait);
	assert_int_equal(stack_await_gone(stack, &id, &wait.wait), 0);
	AWAIT(wait.dones == 1);
	turn();
	assert_true(fake_has(1));
	assert_int_equal(write_all(1, (struct sess_write){.has_ttl = true, .ttl_s = 60}), SESS_WRITTEN);
	expect_there(1, "next", 60);
}

/* Its time was shortened: what is below would live longer, and must go with it. */
static void what_expires_earlier_than_below_does_not_come_back(void **unused)
{
	(void)unused;
	assert_int_equal(write_all(1, value("a", 900)), SESS_WRITTEN);
	put_below(1);
	assert_int_equal(write_all(1, (struct sess_write){.has_ttl = true, .ttl_s = 5}), SESS_WRITTEN);
	pass_s(6);
	while (stack_expire(stack, 0, 1, 1000, clock_now()))
		;
	turn();
	AWAIT(!fake_has(1));
	expect_none(1);
}

static void a_full_memory_refuses_and_changes_nothing(void **unused)
{
	static char large[1 << 20];
	struct stack_options small = options;

	(void)unused;
	memset(large, 'x', sizeof large - 1);
	assert_int_equal(write_all(1, value("a", 100)), SESS_WRITTEN);
	small.memory_max = 4096;
	stack_set(stack, &small);
	assert_int_equal(write_to(1, value(large, 50)), ERR_FULL);
	expect_there(1, "a", 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) TEST(f)
	    T(what_was_written_is_found),
	    T(conditions_are_kept),
	    T(what_was_there_before_is_given),
	    T(another_app_sees_nothing),
	    T(what_is_pinned_counts_with_the_bytes_that_it_has),
	    T(being_used_does_not_prolong_it),
	    T(what_is_read_stays_in_memory),
	    T(without_a_time_it_lives_for_ever),
	    T(what_is_below_is_not_written_over),
	    T(a_write_does_not_overtake_one_that_has_left),
	    T(a_new_one_waits_until_the_old_one_is_gone_from_below),
	    T(a_late_removal_spares_the_new_session),
	    T(what_expires_earlier_than_below_does_not_come_back),
	    T(a_full_memory_refuses_and_changes_nothing),
#undef T
	};

	return cmocka_run_group_tests(tests, NULL, remove_log);
}
