/* Who was taken for dead, or was leaving, and is there again: one core alone, and clusters whose nodes all left. */
#include "tests/clus_check.h"
#include "tests/clus_one.h"

#include <setjmp.h>
#include <cmocka.h>

enum { T = ONE_T, NODES = 3, ALL = 7 };

static struct one one;
static struct sim sim;

static const struct one_view THREE = {.epoch = 10,
				      .cluster = 3,
				      .coordinator = 1,
				      .count = 3,
				      .names = {"alpha", "beta", "gamma"},
				      .incarnations = {1, 2, 3},
				      .managers = "000011112222"};

/* alpha(1), a member of it, linked to both others. */
static void begin(void)
{
	struct buf bytes = {0};

	one_begin(&one, "alpha", 1, 2);
	one_tell(&one, CLUS_FOLLOWS, view_of(NULL, 0));
	one_tell(&one, CLUS_LEARNT, one_make(&bytes, &THREE));
	one_up(&one, "beta", 2, 10);
	one_up(&one, "gamma", 3, 10);
	buf_fini(&bytes);
}

static void coordinate(void)
{
	struct buf bytes = {0};

	one_tell(&one, CLUS_COORDINATES, one_make(&bytes, &THREE));
	one_commit(&one);
	one_beat(&one, "beta", one_epoch(&one), "alpha gamma ");
	one_beat(&one, "gamma", one_epoch(&one), "alpha beta ");
	buf_fini(&bytes);
}

/* --- one core --- */

static void its_host_refused(const char *name, uint64_t incarnation)
{
	one_down(&one, name, CLUS_DOWN_CLOSED, incarnation);
	one_down(&one, name, CLUS_DOWN_REFUSED, incarnation);
}

/* A firewall has answered for it. Whoever does not coordinate cannot take it out, and must not refuse a member. */
static void a_member_whose_host_refused_comes_back(void **state)
{
	(void)state;
	begin();
	its_host_refused("gamma", 3);
	one_up(&one, "gamma", 3, 10);
	assert_int_equal(one.did[CLUS_DO_DROP], 0);
	/* The same of the coordinator, which has not heard of it. */
	its_host_refused("beta", 2);
	one_up(&one, "beta", 2, 10);
	assert_int_equal(one.did[CLUS_DO_DROP], 0);
	one_end(&one);
}

/* A coordinator has begun to take it out: it comes in as another one. */
static void a_coordinator_takes_it_out(void **state)
{
	(void)state;
	begin();
	coordinate();
	its_host_refused("gamma", 3);
	assert_false(one_proposes(&one, "gamma"));
	one_up(&one, "gamma", 3, 10);
	assert_int_equal(one.did[CLUS_DO_DROP], 1);
	assert_int_equal(one.bye, PEER_BYE_REMOVED);
	one_commit(&one);
	one_up(&one, "gamma", 3, 10);
	assert_int_equal(one.did[CLUS_DO_DROP], 2);
	one_up(&one, "gamma", 4, 0);
	assert_int_equal(one.did[CLUS_DO_DROP], 2);
	one_commit(&one);
	assert_true(one_has(&one, "gamma"));
	one_end(&one);
}

static void gamma_leaves(void)
{
	const struct peer_report leaves = {.kind = PEER_REPORT_LEAVE};

	one_step(&one, (struct clus_event){.kind = CLUS_REPORT, .name = VIEW("gamma"), .report = &leaves});
	one_commit(&one);
	assert_true(clus_core_view(one.core)->members[2].leaving);
}

static bool votes(const char *name)
{
	return clus_view_voter(clus_core_view(one.core), view_str(name)) != CLUS_NONE;
}

/* Each view that follows has its vote: it is not taken and given again. */
static void commit_with_its_vote(void)
{
	for (unsigned before = 0; before != one.did[CLUS_DO_PROPOSE];) {
		struct buf copy = {0};
		before = one.did[CLUS_DO_PROPOSE];
		assert_int_not_equal(clus_view_voter(&one.proposed, VIEW("gamma")), CLUS_NONE);
		buf_put(&copy, buf_view(&one.proposal));
		one_tell(&one, CLUS_COMMITTED, buf_view(&copy));
		buf_fini(&copy);
	}
}

/* It was leaving, ended before it was out, and is started again: there is nothing to take its vote for. */
static void who_was_leaving_and_is_back_keeps_its_vote(void **state)
{
	(void)state;
	begin();
	coordinate();
	gamma_leaves();
	one_down(&one, "gamma", CLUS_DOWN_CLOSED, 3);
	one_up(&one, "gamma", 4, 0);
	for (unsigned i = 0; i < 4; i++) {
		commit_with_its_vote();
		one_beat(&one, "beta", one_epoch(&one), "alpha gamma ");
		one_beat(&one, "gamma", one_epoch(&one), "alpha beta ");
		one_tick(&one, T / 8);
	}
	assert_true(one_has(&one, "gamma"));
	assert_int_equal(clus_core_view(one.core)->members[2].incarnation, 4);
	one_end(&one);
}

static void who_was_leaving_and_ends_goes_with_its_vote(void **state)
{
	(void)state;
	begin();
	coordinate();
	gamma_leaves();
	one_down(&one, "gamma", CLUS_DOWN_LEAVING, 3);
	one_commit(&one);
	assert_false(one_has(&one, "gamma"));
	assert_false(votes("gamma"));
	one_end(&one);
}

/* Addresses of `peers` are dialled anew when nobody in the view has them: that says nothing of who votes, and the
 * control plane would let go of whom a proposal makes a voter. */
static void a_name_that_comes_late_changes_no_voters(void **state)
{
	(void)state;
	begin();
	unsigned before = one.did[CLUS_DO_SET_VOTERS];
	one_step(&one, (struct clus_event){.kind = CLUS_PEER_NAMED, .name = VIEW("delta"), .number = 1});
	assert_int_equal(one.did[CLUS_DO_SET_VOTERS], before);
	one_end(&one);
	one_begin(&one, "alpha", 1, 2);
	one_tick(&one, 1);
	before = one.did[CLUS_DO_SET_VOTERS];
	one_step(&one, (struct clus_event){.kind = CLUS_PEER_NAMED, .name = VIEW("delta"), .number = 1});
	assert_int_equal(one.did[CLUS_DO_SET_VOTERS], before + 1);
	one_end(&one);
}

/* --- clusters --- */

static void form(uint64_t seed)
{
	static const char *const names[NODES] = {"alpha", "beta", "gamma"};

	sim_init(&sim, seed);
	check_begin(&sim);
	for (unsigned i = 0; i < NODES; i++)
		sim_node(&sim, i, names[i], ALL);
	for (unsigned i = 0; i < NODES; i++)
		sim_start(&sim, i);
	assert_true(check_settles(&sim, ALL, 10000));
}

static void all_vote_again(void)
{
	for (uint64_t end = sim.now_ms + 20000; sim.now_ms < end && checked.last.voter_count < NODES;)
		sim_step(&sim);
	assert_true(check_settles(&sim, ALL, 10000));
	assert_int_equal(checked.last.voter_count, NODES);
}

/* Each of them takes its vote along, until one has all. Those who left before it wait for it; it takes them back. */
static void one_after_the_other(uint64_t seed)
{
	static const unsigned orders[][NODES] = {{0, 1, 2}, {2, 0, 1}, {1, 2, 0}};
	const unsigned *order = orders[seed % 3];

	form(seed);
	for (unsigned i = 0; i < NODES; i++) {
		sim_tell(&sim, order[i], CLUS_LEAVE, view_of(NULL, 0), 0);
		for (uint64_t end = sim.now_ms + 20000; sim.now_ms < end && sim.nodes[order[i]].core;)
			sim_step(&sim);
		assert_null(sim.nodes[order[i]].core);
	}
	uint64_t epoch = checked.last.epoch;
	sim_start(&sim, order[0]);
	sim_start(&sim, order[1]);
	sim_run(&sim, 10000);
	assert_int_equal(checked.last.epoch, epoch); /* they know that they cannot know the last view */
	sim_start(&sim, order[2]);
	all_vote_again();
	check_end(&sim);
}

/* As when a machine room is shut down: some go in good order, others' time is over first. */
static void all_at_once(uint64_t seed)
{
	form(seed);
	for (unsigned i = 0; i < NODES; i++)
		sim_tell(&sim, i, CLUS_LEAVE, view_of(NULL, 0), 0);
	sim_run(&sim, 3000);
	for (unsigned i = 0; i < NODES; i++) {
		if (sim.nodes[i].core)
			sim_kill(&sim, i);
	}
	for (unsigned i = 0; i < NODES; i++)
		sim_start(&sim, i);
	all_vote_again();
	check_end(&sim);
}

static void all_leave_and_come_back(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 12; seed++)
		one_after_the_other(seed);
}

static void all_leave_at_once_and_come_back(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 12; seed++)
		all_at_once(seed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_member_whose_host_refused_comes_back),
	    cmocka_unit_test(a_coordinator_takes_it_out),
	    cmocka_unit_test(who_was_leaving_and_is_back_keeps_its_vote),
	    cmocka_unit_test(who_was_leaving_and_ends_goes_with_its_vote),
	    cmocka_unit_test(a_name_that_comes_late_changes_no_voters),
	    cmocka_unit_test(all_leave_and_come_back),
	    cmocka_unit_test(all_leave_at_once_and_come_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
