/* What operators ask of one session, by its name or its cookie, and of all of an app. Pages are in test_operate_list.c.
 */
#include "tests/unit/stack_fixture.h"

static void set_name(struct ask *a, uint32_t n)
{
	struct sess_id id = id_of(n);

	memset(a->job.key, 0, sizeof a->job.key);
	sess_id_name(&keys, &id, a->job.key);
}

static struct ask ask_by(enum stack_op op, uint32_t n, bool name)
{
	struct ask a = {.job.op = op};

	if (name)
		set_name(&a, n);
	else
		set_key(&a, n);
	(void)ask(&a);
	return a;
}

static void expect_info(const struct stack_info *i, uint32_t n, enum stack_where where, uint64_t bytes)
{
	struct ask a = {.job.op = STACK_SHOW};

	set_name(&a, n);
	assert_string_equal(i->name, a.job.key);
	assert_int_equal(i->app, app);
	assert_int_equal(i->where, where);
	assert_int_equal(i->state_bytes, bytes);
	assert_int_equal(i->ttl_s, TTL_S);
	assert_int_equal(i->err, 0);
}

/* --- one session --- */

static void one_is_shown_wherever_it_is(void **unused)
{
	(void)unused;
	create(1, "four");
	create_below(2, "seven77");
	for (uint32_t n = 1; n < 3; n++) {
		for (int name = 0; name < 2; name++) {
			struct ask a = ask_by(STACK_SHOW, n, name);
			assert_int_equal(a.job.err, 0);
			assert_int_equal(a.job.count, 1);
			expect_info(&a.job.at[0], n, n == 1 ? STACK_IN_MEMORY : STACK_BELOW, n == 1 ? 4 : 7);
			assert_int_equal(a.job.at[0].created_s, wall_s());
			assert_int_equal(a.job.at[0].used_s, wall_s());
			assert_int_equal(a.job.at[0].version, 1);
			assert_memory_equal(a.job.state->bytes, n == 1 ? "four" : "seven77", a.job.state->len);
			stack_job_fini(&a.job);
		}
	}
	/* To look is not to use. */
	assert_false(in_memory(2));
}

static void a_busy_one_is_told_to_be(void **unused)
{
	struct request holds, waits;

	(void)unused;
	create(1, "");
	assert_int_equal(open_one(&holds, 1), SESS_OPENED);
	assert_int_equal(open_for(&waits, app, 1, SESS_LOCK_EXCLUSIVE), SESS_QUEUED);
	struct ask a = ask_by(STACK_SHOW, 1, true);
	assert_int_equal(a.job.err, 0);
	assert_true(a.job.at[0].busy);
	assert_int_equal(a.job.at[0].waiters, 1);
	assert_null(a.job.state);
	stack_job_fini(&a.job);
	close_one(&holds);
	assert_int_equal(granted(&waits), SESS_OPENED);
	close_one(&waits);
	a = ask_by(STACK_SHOW, 1, true);
	assert_false(a.job.at[0].busy);
	stack_job_fini(&a.job);
}

static void who_is_nowhere_is_gone(void **unused)
{
	static const enum stack_op ops[] = {STACK_SHOW, STACK_END, STACK_PIN, STACK_UNPIN, STACK_DEMOTE, STACK_PROMOTE};

	(void)unused;
	create_below(5, "a");
	for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
		for (int name = 0; name < 2; name++) {
			struct ask a = ask_by(ops[i], 1, name);
			assert_int_equal(a.job.err, ERR_GONE);
			assert_int_equal(a.job.count, 0);
			stack_job_fini(&a.job);
		}
	}
	stack_check(stack);
	assert_int_equal(stats().bytes, 0);
}

static void a_key_is_a_name_or_a_cookie(void **unused)
{
	static const char *const wrong[] = {
	    "",
	    "0123456789abcde",
	    "0123456789abcdef0",
	    "0123456789ABCDEF",
	    "0123456789abcdeg",
	    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", /* a cookie that nobody has sealed */
	};

	(void)unused;
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		struct ask a = {.job.op = STACK_SHOW};
		snprintf(a.job.key, sizeof a.job.key, "%s", wrong[i]);
		assert_int_equal(ask(&a), ERR_CONFIG);
		stack_job_fini(&a.job);
	}
}

static void what_cannot_be_read_is_told_by_its_name(void **unused)
{
	static const int errs[] = {ERR_MALFORMED, ERR_VERSION};

	(void)unused;
	create_below(1, "a");
	for (int i = 0; i < 2; i++) {
		fake_damage(1, errs[i]);
		struct ask a = ask_by(STACK_SHOW, 1, true);
		assert_int_equal(a.job.err, 0);
		assert_int_equal(a.job.at[0].err, errs[i]);
		assert_string_equal(a.job.at[0].name, a.job.key);
		assert_null(a.job.state);
		stack_job_fini(&a.job);
		assert_int_equal(ask_for(STACK_PROMOTE, 1), errs[i]);
	}
	/* And can be ended. */
	assert_int_equal(ask_for(STACK_END, 1), 0);
	assert_false(fake_has(1));
}

static void what_has_expired_is_not_shown(void **unused)
{
	(void)unused;
	fake_fail(FAKE_EXPIRE, ERR_SYSTEM, FAKE_ALWAYS);
	create_below(1, "a");
	pass_s(TTL_S);
	assert_int_equal(ask_for(STACK_SHOW, 1), ERR_GONE);
}

static void without_a_store_all_is_in_memory(void **unused)
{
	(void)unused;
	stop_stack(false);
	options.below = NULL;
	start_stack();
	create(1, "a");
	struct ask a = ask_by(STACK_SHOW, 1, true);
	assert_int_equal(a.job.err, 0);
	stack_job_fini(&a.job);
	assert_int_equal(ask_for(STACK_PIN, 1), 0);
	assert_int_equal(ask_for(STACK_UNPIN, 1), 0);
	assert_int_equal(ask_for(STACK_PROMOTE, 1), 0);
	assert_int_equal(ask_for(STACK_PROMOTE, 2), ERR_GONE);
	assert_int_equal(ask_for(STACK_DEMOTE, 1), ERR_REFUSED);
	a = (struct ask){.job = {.op = STACK_DEMOTE_APP, .app = app}};
	assert_int_equal(ask(&a), ERR_REFUSED);
	assert_int_equal(ask_for(STACK_END, 1), 0);
	assert_int_equal(ask_for(STACK_END, 1), ERR_GONE);
	expect_open(1, SESS_ABSENT);
	assert_int_equal(stats().bytes, 0);
}

/* --- the end --- */

static void an_operator_ends_what_is_held(void **unused)
{
	struct request holds, waits;
	struct sess_outcome out;

	(void)unused;
	create_below(1, "old");
	change(1, "new");
	assert_int_equal(open_one(&holds, 1), SESS_OPENED);
	assert_int_equal(open_for(&waits, app, 1, SESS_LOCK_EXCLUSIVE), SESS_QUEUED);
	struct ask a = ask_by(STACK_END, 1, true);
	assert_int_equal(a.job.err, 0);
	expect_info(&a.job.at[0], 1, STACK_IN_MEMORY, 3);
	assert_true(a.job.at[0].busy);
	stack_job_fini(&a.job);
	assert_false(fake_has(1));
	assert_int_equal(granted(&waits), SESS_ENDED_NOW);
	assert_int_equal(commit(&holds, data("late"), 0, &out), 0);
	assert_true(out.dropped);
	close_one(&holds);
	expect_open(1, SESS_ABSENT);
	assert_int_equal(stats().ended, 1);
	assert_int_equal(stats().bytes, 0);
}

/* A job of END that looks whether the session is still there when it is told of the end. */
struct end_ask {
	struct ask ask;
	_Atomic unsigned told, there;
	int err; /* what it answers */
};

static int note_end(struct stack_job *j)
{
	struct end_ask *e = CONTAINER_OF(CONTAINER_OF(j, struct ask, job), struct end_ask, ask);
	struct sess_view v;

	e->told++;
	if (sess_table_look(stack->table, &j->place.id, &v) == 0) {
		sess_state_unref(v.state);
		e->there++;
	} else {
		e->there += fake_has(1);
	}
	return e->err;
}

/* Whoever marks what must not begin it anew must have done so when it is gone. */
static void who_asks_is_told_before_the_end(void **unused)
{
	(void)unused;
	for (int below = 0; below < 2; below++) {
		for (int name = 0; name < 2; name++) {
			struct end_ask e = {.ask = {.job = {.op = STACK_END, .ends = note_end}}};
			if (below)
				create_below(1, "a");
			else
				create(1, "a");
			if (name)
				set_name(&e.ask, 1);
			else
				set_key(&e.ask, 1);
			assert_int_equal(ask(&e.ask), 0);
			stack_job_fini(&e.ask.job);
			assert_int_equal(e.told, 1);
			assert_int_equal(e.there, 1);
			/* What is not there does not end. */
			assert_int_equal(ask(&e.ask), ERR_GONE);
			stack_job_fini(&e.ask.job);
			assert_int_equal(e.told, 1);
		}
	}
}

/* Who may not end it any more when it has been found leaves it as it is. */
static void who_asks_can_refuse_the_end(void **unused)
{
	(void)unused;
	create(1, "a");
	create_below(2, "a");
	for (uint32_t n = 1; n <= 2; n++) {
		struct end_ask e = {.ask = {.job = {.op = STACK_END, .ends = note_end}}, .err = ERR_FENCED};
		set_name(&e.ask, n);
		assert_int_equal(ask(&e.ask), ERR_FENCED);
		stack_job_fini(&e.ask.job);
		assert_int_equal(e.told, 1);
		expect_session(n, "a");
	}
	assert_int_equal(stats().ended, 0);
}

static void an_operator_ends_what_is_below(void **unused)
{
	(void)unused;
	create_below(1, "a");
	stop_commit();
	struct ask a = {.job.op = STACK_END};
	set_key(&a, 1);
	submit(&a);
	fake_await(FAKE_COMMIT);
	assert_false(a.done);
	expect_open(1, SESS_ABSENT);
	fake_go(FAKE_COMMIT);
	AWAIT(a.done);
	assert_int_equal(a.job.err, 0);
	stack_job_fini(&a.job);
	assert_false(fake_has(1));
	expect_open(1, SESS_ABSENT);
	assert_int_equal(stats().bytes, 0);
}

static void an_operator_ends_what_is_on_its_way_up(void **unused)
{
	struct request r;

	(void)unused;
	create_below(1, "a");
	fake_stop(FAKE_GET);
	struct ask a = {.job.op = STACK_END};
	set_key(&a, 1);
	submit(&a);
	fake_await(FAKE_GET); /* the job's own look */
	assert_int_equal(open_for(&r, app, 1, SESS_LOCK_EXCLUSIVE), SESS_QUEUED);
	fake_go(FAKE_GET);
	AWAIT(a.done);
	assert_int_equal(a.job.err, 0);
	stack_job_fini(&a.job);
	assert_int_equal(granted(&r), SESS_ABSENT);
	expect_open(1, SESS_ABSENT);
	turn();
	stack_check(stack);
	assert_int_equal(stats().bytes, 0);
}

static void an_end_in_a_broken_store_follows_later(void **unused)
{
	(void)unused;
	create_below(1, "a");
	create_below(2, "old");
	change(2, "new");
	for (uint32_t n = 1; n < 3; n++) {
		fake_fail(FAKE_OPEN, ERR_SYSTEM, FAKE_ALWAYS);
		fake_fail(FAKE_REMOVE, ERR_BROKEN, 1);
		struct ask a = ask_by(STACK_END, n, false);
		assert_int_equal(a.job.err, ERR_BROKEN);
		assert_int_equal(a.job.count, 1);
		stack_job_fini(&a.job);
		assert_true(fake_has(n));
		expect_open(n, SESS_ABSENT);
		assert_int_equal(ask_for(STACK_END, n), ERR_BROKEN);
		fake_work(FAKE_OPEN);
		pass_s(31);
		AWAIT(!fake_has(n));
		turn();
		expect_open(n, SESS_ABSENT);
		pass_s(61);
	}
	assert_int_equal(stats().bytes, 0);
}

/* --- up, down, pinned --- */

static void one_moves_as_an_operator_wants(void **unused)
{
	struct request r;

	(void)unused;
	create(1, "a");
	struct ask a = ask_by(STACK_DEMOTE, 1, true);
	assert_int_equal(a.job.err, 0);
	expect_info(&a.job.at[0], 1, STACK_BELOW, 1);
	stack_job_fini(&a.job);
	assert_false(in_memory(1));
	assert_int_equal(ask_for(STACK_DEMOTE, 1), 0); /* it is there */
	a = ask_by(STACK_PROMOTE, 1, true);
	assert_int_equal(a.job.err, 0);
	expect_info(&a.job.at[0], 1, STACK_IN_MEMORY, 1);
	stack_job_fini(&a.job);
	assert_true(in_memory(1));
	assert_int_equal(ask_for(STACK_PROMOTE, 1), 0);
	assert_int_equal(stats().promoted, 1);
	assert_int_equal(open_one(&r, 1), SESS_OPENED);
	assert_int_equal(ask_for(STACK_DEMOTE, 1), ERR_BUSY);
	close_one(&r);
	a = ask_by(STACK_PIN, 1, true);
	assert_int_equal(a.job.err, 0);
	assert_true(a.job.at[0].pinned);
	stack_job_fini(&a.job);
	assert_int_equal(ask_for(STACK_DEMOTE, 1), ERR_REFUSED);
	a = ask_by(STACK_UNPIN, 1, true);
	assert_int_equal(a.job.err, 0);
	assert_false(a.job.at[0].pinned);
	stack_job_fini(&a.job);
	demote(1);
	/* To pin is to promote. */
	assert_int_equal(ask_for(STACK_PIN, 1), 0);
	assert_true(in_memory(1));
	assert_int_equal(stats().pinned, 1);
}

static void a_promotion_waits_for_one_that_is_under_way(void **unused)
{
	struct request r;
	struct ask a = {.job.op = STACK_PIN};

	(void)unused;
	create_below(1, "a");
	/* While the job searches, a request asks for the session: its mail comes in the next turn. */
	fake_stop(FAKE_SCAN);
	set_name(&a, 1);
	submit(&a);
	fake_await(FAKE_SCAN);
	assert_int_equal(open_for(&r, app, 1, SESS_LOCK_EXCLUSIVE), SESS_QUEUED);
	fake_go(FAKE_SCAN);
	AWAIT(a.done);
	assert_int_equal(a.job.err, 0);
	assert_true(a.job.at[0].pinned);
	stack_job_fini(&a.job);
	assert_int_equal(granted(&r), SESS_OPENED);
	close_one(&r);
}

static void a_promotion_needs_room(void **unused)
{
	static char text[4000];
	uint32_t n = 10;

	(void)unused;
	memset(text, 'x', sizeof text - 1);
	create_below(1, text);
	options.evict = &evict_never;
	options.memory_max = 20000;
	stack_set(stack, &options);
	turn();
	while (try_create(n, text) == 0)
		n++;
	fake_forget_journal();
	assert_int_equal(ask_for(STACK_PROMOTE, 1), ERR_FULL);
	assert_int_equal(fake_saw("get 1"), 1); /* nothing moves: it is not read again in vain */
	assert_int_equal(ask_for(STACK_PIN, 1), ERR_FULL);
	stack_check(stack);
	assert_true(fake_has(1));
}

/* Many small ones, or a few large ones: bytes count. */
static void pins_have_a_bound(void **unused)
{
	static char text[4000];
	uint64_t each = sizeof(struct sess_state) + sizeof text - 1;

	(void)unused;
	memset(text, 'x', sizeof text - 1);
	for (uint32_t n = 1; n < 10; n++)
		create(n, text);
	create_below(10, text);
	each = stats().bytes / 9;
	options.max_pinned = 3 * each + each / 2;
	stack_set(stack, &options);
	turn();
	for (uint32_t n = 1; n < 4; n++)
		assert_int_equal(ask_for(STACK_PIN, n), 0);
	assert_int_equal(stats().pinned_bytes, 3 * each);
	assert_int_equal(stats().pinned_max_bytes, options.max_pinned);
	assert_int_equal(ask_for(STACK_PIN, 4), ERR_TOO_LARGE);
	assert_int_equal(ask_for(STACK_PIN, 10), ERR_TOO_LARGE);
	struct ask a = ask_by(STACK_SHOW, 4, true);
	assert_false(a.job.at[0].pinned);
	stack_job_fini(&a.job);
	assert_int_equal(ask_for(STACK_PIN, 2), 0); /* it is */
	create(11, "small");
	assert_int_equal(ask_for(STACK_PIN, 11), 0);
	assert_int_equal(ask_for(STACK_UNPIN, 2), 0);
	assert_int_equal(ask_for(STACK_PIN, 10), 0);
	/* Who ends has no pin any more. */
	assert_int_equal(ask_for(STACK_END, 10), 0);
	assert_int_equal(ask_for(STACK_PIN, 4), 0);
	assert_int_equal(stats().pinned, 4);
	options.max_pinned = 0;
	stack_set(stack, &options);
	turn();
	assert_int_equal(ask_for(STACK_PIN, 5), ERR_TOO_LARGE);
	assert_int_equal(stats().pinned, 4);
	stack_check(stack);
}

static void what_was_replaced_cannot_be_promoted(void **unused)
{
	struct request r;

	(void)unused;
	create(1, "a");
	assert_int_equal(open_one(&r, 1), SESS_OPENED);
	assert_int_equal(commit(&r, (struct sess_commit){.renew = true}, 2, NULL), 0);
	close_one(&r);
	assert_int_equal(ask_for(STACK_PROMOTE, 1), ERR_GONE);
	assert_int_equal(ask_for(STACK_PIN, 1), ERR_GONE);
	assert_int_equal(ask_for(STACK_PIN, 2), 0);
}

static void an_app_leaves_memory_with_all_that_nobody_uses(void **unused)
{
	struct request r;
	struct sess_commit c = data("b");

	(void)unused;
	for (uint32_t n = 0; n < 1200; n++)
		create(n, "a");
	for (uint32_t n = 2000; n < 2100; n++) {
		struct sess_id id = id_of(n);
		assert_int_equal(stack_create(stack, other_app, &c, TTL_S, &id, clock_now()), 0);
	}
	assert_int_equal(ask_for(STACK_PIN, 7), 0);
	assert_int_equal(open_one(&r, 8), SESS_OPENED);
	struct ask a = {.job = {.op = STACK_DEMOTE_APP, .app = app}};
	assert_int_equal(ask(&a), 0);
	assert_int_equal(a.job.count, 1198);
	assert_null(a.job.at);
	stack_job_fini(&a.job);
	close_one(&r);
	assert_int_equal(stats().sessions, 102);
	assert_true(in_memory(7) && in_memory(8) && in_memory(2050));
	assert_int_equal(ask(&a), 0);
	assert_int_equal(a.job.count, 1);
}

static void an_app_stays_as_far_as_there_is_no_room_below(void **unused)
{
	(void)unused;
	for (uint32_t n = 0; n < 20; n++)
		create(n, "a");
	fake_bound(5, 0);
	struct ask a = {.job = {.op = STACK_DEMOTE_APP, .app = app}};
	assert_int_equal(ask(&a), ERR_FULL);
	assert_int_equal(a.job.count, 5);
	assert_int_equal(stats().sessions, 15);
}

/* Sessions that come in the meantime are not its business: it comes to an end. */
static void an_app_in_use_can_be_demoted_too(void **unused)
{
	struct ask a = {.job = {.op = STACK_DEMOTE_APP, .app = app}};

	(void)unused;
	for (uint32_t n = 0; n < 600; n++)
		create(n, "a");
	turn();
	fake_stop(FAKE_PUT);
	submit(&a);
	fake_await(FAKE_PUT);
	clock_ms += 5000;
	for (uint32_t n = 600; n < 1000; n++)
		create(n, "new");
	fake_go(FAKE_PUT);
	AWAIT(a.done);
	assert_int_equal(a.job.err, 0);
	assert_int_equal(a.job.count, 600);
	assert_int_equal(stats().sessions, 400);
}

/* --- requests do not wait for operators --- */

static void a_long_search_is_done_in_pieces(void **unused)
{
	struct ask a = {.job.op = STACK_SHOW}, b = {.job.op = STACK_SHOW};
	static char text[100000];

	(void)unused;
	memset(text, 'x', sizeof text - 1);
	for (uint32_t n = 0; n < 250; n++) /* 25 MB: more than one turn reads */
		create_below(n, text);
	uint32_t before = fake_calls(FAKE_SCAN);
	set_name(&a, 9999);
	set_name(&b, 3);
	fake_stop(FAKE_SCAN);
	submit(&a);
	fake_await(FAKE_SCAN);
	submit(&b);
	fake_go(FAKE_SCAN);
	AWAIT(b.done);
	assert_int_equal(b.job.err, 0);
	stack_job_fini(&b.job);
	AWAIT(a.done);
	assert_true(b.place < a.place);
	assert_int_equal(a.job.err, ERR_GONE);
	stack_job_fini(&a.job);
	assert_true(fake_calls(FAKE_SCAN) - before >= 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(one_is_shown_wherever_it_is),
	    TEST(a_busy_one_is_told_to_be),
	    TEST(who_is_nowhere_is_gone),
	    TEST(a_key_is_a_name_or_a_cookie),
	    TEST(what_cannot_be_read_is_told_by_its_name),
	    TEST(what_has_expired_is_not_shown),
	    TEST(without_a_store_all_is_in_memory),
	    TEST(an_operator_ends_what_is_held),
	    TEST(who_asks_is_told_before_the_end),
	    TEST(who_asks_can_refuse_the_end),
	    TEST(an_operator_ends_what_is_below),
	    TEST(an_operator_ends_what_is_on_its_way_up),
	    TEST(an_end_in_a_broken_store_follows_later),
	    TEST(one_moves_as_an_operator_wants),
	    TEST(a_promotion_waits_for_one_that_is_under_way),
	    TEST(a_promotion_needs_room),
	    TEST(pins_have_a_bound),
	    TEST(what_was_replaced_cannot_be_promoted),
	    TEST(an_app_leaves_memory_with_all_that_nobody_uses),
	    TEST(an_app_stays_as_far_as_there_is_no_room_below),
	    TEST(an_app_in_use_can_be_demoted_too),
	    TEST(a_long_search_is_done_in_pieces),
	};

	return cmocka_run_group_tests(tests, NULL, remove_log);
}
