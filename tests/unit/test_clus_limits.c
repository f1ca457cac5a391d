/* Where the core's room ends: members, votes, the bytes of a view, memory. */
#include "tests/unit/fail_alloc.h"

#include <stdbool.h>

static unsigned saved_countdown;

/* Only what the core itself allocates fails. */
static void fail_in_steps(bool begins)
{
	if (begins) {
		fail_countdown = saved_countdown;
	} else {
		saved_countdown = fail_countdown;
		fail_countdown = 0;
	}
}
#define ONE_STEPS(begins) fail_in_steps(begins)

#include "tests/clus_check.h"
#include "tests/clus_one.h"

#include <setjmp.h>
#include <cmocka.h>

void *__real_calloc(size_t n, size_t bytes);
void *__wrap_calloc(size_t n, size_t bytes);

void *__wrap_calloc(size_t n, size_t bytes)
{
	if (fail_countdown > 0 && --fail_countdown == 0)
		return NULL;
	return __real_calloc(n, bytes);
}

enum { T = ONE_T, MANY = CLUS_MEMBERS_MAX, STEPS_MAX = 2000 };

static struct one one;
static struct sim sim;

/* A cluster of one, which acts. */
static void alone(uint32_t buckets)
{
	struct peer_hello h = one_hello("alpha", 1);
	struct clus_core_settings s = {.self = &h, .failure_ms = T, .buckets = buckets};

	one_begin(&one, "alpha", 1, 0);
	clus_core_free(&one.core);
	one.core = clus_core_new(&s, (struct lease_time){one.now_ms});
	one_tell(&one, CLUS_COORDINATES, view_of(NULL, 0));
	one_commit(&one);
	assert_true(one_may_act(&one));
}

static void one_more_than_may_be(void **state)
{
	char name[16];

	(void)state;
	alone(8);
	for (unsigned i = 1; i < MANY; i++) {
		snprintf(name, sizeof name, "m%04u", i);
		one_up(&one, name, i + 1, 0);
	}
	one_commit(&one);
	assert_int_equal(clus_core_view(one.core)->member_count, MANY);
	assert_int_equal(one.logged[CLUS_LOG_REFUSED], 0);
	one_up(&one, "zeta", 5000, 0);
	one_tick(&one, T / 8);
	one_commit(&one);
	one_tick(&one, T / 8);
	assert_false(one_has(&one, "zeta"));
	assert_int_equal(one.logged[CLUS_LOG_REFUSED], 1);
	/* When somebody has gone, there is room, for who asks again. */
	one_down(&one, "m0007", CLUS_DOWN_LEAVING, 8);
	one_commit(&one);
	one_down(&one, "zeta", CLUS_DOWN_CLOSED, 5000);
	one_up(&one, "zeta", 5001, 0);
	one_commit(&one);
	assert_true(one_has(&one, "zeta"));
	one_end(&one);
}

/* Its apps' maps would make the view too long; who comes together with it gets in. */
static void a_join_that_would_make_the_view_too_long(void **state)
{
	static char names[64][16];
	struct peer_hello h = one_hello("huge", 2);

	(void)state;
	alone(16384);
	for (unsigned i = 0; i < 64; i++) {
		snprintf(names[i], sizeof names[i], "app-%03u", i);
		h.apps[i] = (struct peer_app){view_str(names[i]), 1, VIEW("digest=1")};
	}
	h.app_count = 64;
	for (unsigned again = 0; again < 2; again++) {
		one_tell(&one, CLUS_TICK, view_of(NULL, 0));
		one_up(&one, "before", 3, 0); /* its proposal is under way while the others come */
		one_step(&one, (struct clus_event){.kind = CLUS_LINK_UP, .name = h.name, .hello = &h});
		one_up(&one, "small", 4, 0);
		one_commit(&one);
		one_tick(&one, T / 8);
		one_commit(&one);
		assert_true(one_has(&one, "before"));
		assert_true(one_has(&one, "small"));
		assert_false(one_has(&one, "huge"));
		assert_int_equal(one.logged[CLUS_LOG_REFUSED], again + 1);
	}
	h.app_count = 1;
	one_step(&one, (struct clus_event){.kind = CLUS_LINK_UP, .name = h.name, .hello = &h});
	one_commit(&one);
	assert_true(one_has(&one, "huge"));
	one_end(&one);
}

static void seven_vote_and_an_eighth_does_not(void **state)
{
	static const char *const names[] = {"alpha", "beta", "gamma", "delta", "echo", "foxtrot", "golf", "hotel"};

	(void)state;
	sim_init(&sim, 9);
	check_begin(&sim);
	for (unsigned i = 0; i < 8; i++) {
		sim_node(&sim, i, names[i], i < 3 ? 7 : 1);
		sim_start(&sim, i);
	}
	assert_true(check_settles(&sim, 255, 10000));
	assert_int_equal(checked.last.voter_count, 7);
	/* When a voter has left, the eighth votes in its place. */
	sim_tell(&sim, 4, CLUS_LEAVE, view_of(NULL, 0), 0);
	assert_true(check_settles(&sim, 255 & ~(1U << 4), 12000));
	sim_run(&sim, 2000);
	assert_int_equal(checked.last.voter_count, 7);
	for (unsigned i = 0; i < 8; i++)
		assert_true((clus_view_voter(&checked.last, view_str(names[i])) != CLUS_NONE) == (i != 4));
	check_end(&sim);
}

/* --- no memory --- */

static void say(struct clus_event e)
{
	uint64_t epoch = one_epoch(&one);
	enum clus_state state = clus_core_state(one.core);
	unsigned did[sizeof one.did / sizeof one.did[0]];

	memcpy(did, one.did, sizeof did);
	one_step(&one, e);
	if (one.err == 0)
		return;
	/* Nothing has happened: the same event again. */
	assert_int_equal(one.err, ERR_NO_MEMORY);
	assert_int_equal(one_epoch(&one), epoch);
	assert_int_equal(clus_core_state(one.core), state);
	assert_memory_equal(did, one.did, sizeof did);
	one_step(&one, e);
	assert_int_equal(one.err, 0);
}

static void up(const char *name, uint64_t incarnation)
{
	struct peer_hello h = one_hello(name, incarnation);

	h.epoch = one_epoch(&one);
	say((struct clus_event){.kind = CLUS_LINK_UP, .name = h.name, .hello = &h});
}

static void commit(void)
{
	for (unsigned before = 0; before != one.did[CLUS_DO_PROPOSE];) {
		struct buf copy = {0};
		before = one.did[CLUS_DO_PROPOSE];
		buf_put(&copy, buf_view(&one.proposal));
		say((struct clus_event){.kind = CLUS_COMMITTED, .bytes = buf_view(&copy)});
		buf_fini(&copy);
	}
}

static void coordinate(void)
{
	struct buf copy = {0};

	buf_put(&copy, buf_view(&one.proposal));
	struct clus_event e = {.kind = CLUS_COORDINATES, .bytes = buf_view(&copy)};
	memset(e.random, 7, sizeof e.random);
	say(e);
	buf_fini(&copy);
}

static void a_life(void)
{
	static struct peer_hello reloaded;

	reloaded = one_hello("alpha", 1);
	reloaded.apps[0].digest = 2;
	coordinate();
	commit();
	up("beta", 2);
	commit();
	one_beat(&one, "beta", one_epoch(&one), "alpha ");
	commit();
	say((struct clus_event){.kind = CLUS_OWN_APPS, .hello = &reloaded});
	say((struct clus_event){.kind = CLUS_ASKED, .name = VIEW("shop"), .count = 1, .number = one_epoch(&one)});
	commit();
}

/* With memory, it comes to where it would have come without the fault. */
static void recover(void)
{
	for (unsigned i = 0; i < 6; i++) {
		one_tick(&one, T / 16);
		if (!clus_core_coordinates(one.core))
			coordinate();
		commit();
		up("beta", 2);
		commit();
		one_beat(&one, "beta", one_epoch(&one), "alpha ");
		commit();
	}
	assert_true(one_has(&one, "beta"));
	assert_true(one_may_act(&one));
	assert_int_equal(clus_core_view(one.core)->epoch, one.proposed.epoch);
}

static void each_allocation_fails_once(void **state)
{
	unsigned failed = 0;
	bool done = false;

	(void)state;
	for (unsigned n = 1; !done; n++) {
		assert_true(n < STEPS_MAX);
		fail_countdown = saved_countdown = 0;
		one_begin(&one, "alpha", 1, 0);
		one.refuses = true;
		saved_countdown = n;
		a_life();
		done = saved_countdown > 0;
		failed += one.logged[CLUS_LOG_NO_MEMORY];
		saved_countdown = 0;
		recover();
		one_end(&one);
	}
	assert_true(failed > 5);
}

static void a_core_without_memory(void **state)
{
	struct peer_hello h = one_hello("alpha", 1);
	struct clus_core_settings s = {.self = &h, .failure_ms = T, .buckets = 8};

	(void)state;
	for (unsigned n = 1; n <= 2; n++) {
		fail_alloc_at(n);
		assert_null(clus_core_new(&s, (struct lease_time){1000}));
	}
	fail_alloc_at(0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(one_more_than_may_be),
	    cmocka_unit_test(a_join_that_would_make_the_view_too_long),
	    cmocka_unit_test(seven_vote_and_an_eighth_does_not),
	    cmocka_unit_test(each_allocation_fails_once),
	    cmocka_unit_test(a_core_without_memory),
	};
	setvbuf(stdout, NULL, _IOLBF, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
