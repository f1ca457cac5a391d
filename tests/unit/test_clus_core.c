/* Clusters of a few nodes, told as they would be to an operator: who joins, dies, is cut off, stands still, leaves. */
#include "tests/clus_check.h"

#include <setjmp.h>
#include <cmocka.h>

enum { A, B, C, D, E };
enum { ONLY_A = 1, AB = 3, AC = 5, BC = 6, ABC = 7, ABD = 11, ABCD = 15, ABCDE = 31 };

static struct sim sim;

static void expect_settled(unsigned nodes, uint64_t ms, int line)
{
	if (!check_settles(&sim, nodes, ms)) {
		for (unsigned i = 0; i < sim.count; i++) {
			printf("%s: state %u epoch %llu coordinates %d\n", sim.nodes[i].name, sim.nodes[i].state,
			       sim.nodes[i].core ? (unsigned long long)clus_core_epoch(sim.nodes[i].core) : 0,
			       sim.nodes[i].core && clus_core_coordinates(sim.nodes[i].core));
		}
		fail_msg("line %d: not settled after %llu ms", line, (unsigned long long)ms);
	}
}
#define SETTLES(nodes, ms) expect_settled(nodes, ms, __LINE__)

/* `count` nodes that know each other. */
static void form(unsigned count)
{
	static const char *const names[] = {"alpha", "beta", "gamma", "delta", "echo"};

	sim_init(&sim, 1);
	sim.verbose = getenv("SIM_VERBOSE") != NULL;
	check_begin(&sim);
	for (unsigned i = 0; i < count; i++)
		sim_node(&sim, i, names[i], (1U << count) - 1);
	for (unsigned i = 0; i < count; i++)
		sim_start(&sim, i);
	SETTLES((1U << count) - 1, 10000);
}

static unsigned coordinator(void)
{
	return (unsigned)sim_find(&sim, checked.last.members[checked.last.coordinator].name);
}

static void three_nodes_form(void **state)
{
	(void)state;
	form(3);
	assert_int_equal(checked.last.voter_count, 3);
	check_end(&sim);
}

/* How often somebody of `nodes` said it. */
static unsigned said(unsigned nodes, const char *what)
{
	unsigned found = 0;

	for (unsigned i = 0; i < sim.count; i++)
		found += nodes >> i & 1 ? sim_said(&sim, i, what) : 0;
	return found;
}

static void a_fourth_joins_by_any_of_them(void **state)
{
	(void)state;
	form(3);
	unsigned by = (coordinator() + 1) % 3; /* not the coordinator */
	sim_node(&sim, D, "delta", 1U << by);
	sim_start(&sim, D);
	SETTLES(ABCD, 3000);
	assert_int_equal(checked.last.voter_count, 4);
	assert_int_equal(said(ABC, "member_joined delta"), 3);
	check_end(&sim);
}

/* A node alone is a cluster of its own; whoever comes later makes it larger. */
static void one_node_begins_alone(void **state)
{
	(void)state;
	form(1);
	assert_true(sim.now_ms < 2000);
	sim_node(&sim, B, "beta", ONLY_A);
	sim_start(&sim, B);
	SETTLES(AB, 3000);
	assert_int_equal(checked.last.voter_count, 2);
	check_end(&sim);
}

/* Three of five at the first start: a majority, and yet two names are not known, and these two might elect somebody
 * with another one. With four, all names but one are known. */
static void too_few_do_not_begin(void **state)
{
	static const char *const names[] = {"alpha", "beta", "gamma", "delta", "echo"};

	(void)state;
	sim_init(&sim, 3);
	check_begin(&sim);
	for (unsigned i = 0; i < 5; i++)
		sim_node(&sim, i, names[i], ABCDE);
	for (unsigned i = 0; i < 3; i++)
		sim_start(&sim, i);
	sim_run(&sim, 10000);
	assert_int_equal(checked.views, 0);
	sim_start(&sim, D);
	SETTLES(ABCD, 10000);
	check_end(&sim);
}

static unsigned other_than(unsigned i)
{
	return (i + 1) % 3;
}

/* Its host says that it is dead: nobody waits. */
static void a_killed_member_is_out_at_once(void **state)
{
	(void)state;
	form(3);
	unsigned c = coordinator(), victim = other_than(c);
	sim_kill(&sim, victim);
	SETTLES(ABC & ~(1U << victim), 1200);
	assert_int_equal(checked.last.voter_count, 3); /* it keeps its vote */
	assert_int_equal(coordinator(), c);
	assert_int_equal(said(ABC, "fenced nothing"), 0);
	sim_start(&sim, victim);
	SETTLES(ABC, 3000);
	check_end(&sim);
}

static void a_killed_coordinator_is_followed(void **state)
{
	(void)state;
	form(3);
	unsigned c = coordinator();
	sim_kill(&sim, c);
	SETTLES(ABC & ~(1U << c), 3000);
	assert_int_not_equal(coordinator(), c);
	sim_start(&sim, c);
	SETTLES(ABC, 3000);
	check_end(&sim);
}

/* Nothing says that it is dead: the whole failure-timeout passes. */
static void a_silent_member_is_out_after_the_timeout(void **state)
{
	(void)state;
	form(3);
	unsigned victim = other_than(coordinator());
	uint64_t begin = sim.now_ms;
	sim_power_off(&sim, victim);
	SETTLES(ABC & ~(1U << victim), 4000);
	assert_true(sim.now_ms - begin >= SIM_FAILURE_MS - SIM_FAILURE_MS / 8 - 20);
	assert_true(sim.now_ms - begin < SIM_FAILURE_MS * 3 / 2);
	assert_true(said(ABC, ": nothing was heard of it") > 0);
	check_end(&sim);
}

/* The coordinator and one more of five, without the other three. */
static void a_coordinator_with_a_minority_stops(void **state)
{
	(void)state;
	form(5);
	unsigned c = coordinator(), with = (c + 1) % 5, minority = 1U << c | 1U << with;
	sim_isolate(&sim, minority, true);
	SETTLES(ABCDE & ~minority, 10000);
	assert_false(clus_core_coordinates(sim.nodes[c].core));
	assert_int_equal(clus_core_state(sim.nodes[c].core), CLUS_FENCED);
	assert_int_equal(clus_core_state(sim.nodes[with].core), CLUS_FENCED);
	assert_int_equal(sim_said(&sim, c, "stepped_down"), 1);
	sim_isolate(&sim, minority, false);
	SETTLES(ABCDE, 10000);
	check_end(&sim);
}

/* SIGSTOP for ten seconds. What waits in its sockets is of before, and must not make it act. */
static void a_node_that_stood_still_does_not_act(void **state)
{
	(void)state;
	for (unsigned coordinates = 0; coordinates < 2; coordinates++) {
		form(3);
		unsigned victim = coordinates ? coordinator() : other_than(coordinator());
		uint64_t incarnation = sim.nodes[victim].hello.incarnation;
		sim_pause(&sim, victim, true);
		sim_run(&sim, 10000);
		assert_true(check_is_settled(&sim, ABC & ~(1U << victim)));
		assert_false(check_may_act(&sim, victim));
		sim_pause(&sim, victim, false);
		SETTLES(ABC, 6000);
		assert_int_not_equal(sim.nodes[victim].hello.incarnation, incarnation);
		check_end(&sim);
	}
}

static void two_nodes_and_a_witness(void **state)
{
	(void)state;
	for (unsigned victim = 0; victim < 3; victim++) {
		sim_init(&sim, 5 + victim);
		check_begin(&sim);
		sim_node(&sim, A, "alpha", ABC);
		sim_node(&sim, B, "beta", ABC);
		sim_node(&sim, C, "witness", ABC);
		sim.nodes[C].hello.witness = true;
		sim.nodes[C].hello.app_count = 0;
		for (unsigned i = 0; i < 3; i++)
			sim_start(&sim, i);
		SETTLES(ABC, 10000);
		sim_power_off(&sim, victim);
		SETTLES(ABC & ~(1U << victim), 8000);
		for (uint32_t b = 0; b < SIM_BUCKETS; b++)
			assert_false(
			    view_eq(checked.last.members[checked.last.apps[0].map[b].manager].name, VIEW("witness")));
		check_end(&sim);
	}
}

static void all_start_again_at_once(void **state)
{
	(void)state;
	form(5);
	uint64_t epoch = checked.last.epoch;
	uint8_t cluster[CLUS_ID_BYTES];
	memcpy(cluster, checked.last.cluster, sizeof cluster);
	for (unsigned i = 0; i < 5; i++)
		sim_kill(&sim, i);
	sim_run(&sim, 1000);
	for (unsigned i = 0; i < 5; i++)
		sim_start(&sim, i);
	SETTLES(ABCDE, 10000);
	assert_true(checked.last.epoch > epoch);
	assert_memory_equal(checked.last.cluster, cluster, sizeof cluster);
	check_end(&sim);
}

/* It was cut off for a moment, in which a view was agreed on, and reaches one voter again who does not coordinate. */
static void who_missed_a_view_gets_it_from_a_voter(void **state)
{
	(void)state;
	form(3);
	sim_node(&sim, D, "delta", ABC);
	sim_node(&sim, E, "echo", ABC);
	sim.nodes[D].hello.votes = sim.nodes[E].hello.votes = false;
	sim_start(&sim, D);
	SETTLES(ABCD, 8000);
	unsigned voter = other_than(coordinator());
	sim_close_all(&sim, D, CLUS_DOWN_CLOSED);
	sim_isolate(&sim, 1U << D, true);
	uint64_t missed = checked.last.epoch;
	sim_start(&sim, E);
	while (clus_view_member(&checked.last, VIEW("echo")) == CLUS_NONE)
		sim_step(&sim);
	assert_true(clus_core_epoch(sim.nodes[D].core) == missed);
	sim_cut(&sim, D, voter, false);
	sim_cut(&sim, voter, D, false);
	sim_run(&sim, 600);
	assert_true(clus_view_member(&checked.last, VIEW("delta")) != CLUS_NONE);
	assert_true(clus_core_epoch(sim.nodes[D].core) == checked.last.epoch);
	check_end(&sim);
}

/* Who does not vote has no database of views: it gets each of them from a voter, and any of them will do. */
static void who_does_not_vote_gets_views_from_voters(void **state)
{
	(void)state;
	form(3);
	sim_node(&sim, D, "delta", ABC);
	sim.nodes[D].hello.votes = false;
	sim_start(&sim, D);
	SETTLES(ABCD, 8000);
	assert_int_equal(checked.last.voter_count, 3);
	assert_int_equal(sim.nodes[D].control.kept.record.len, 0);
	unsigned c = coordinator();
	for (unsigned voter = 0; voter < 3; voter++) {
		if (voter == c)
			continue;
		/* It comes back while this one alone is in its reach. */
		sim_isolate(&sim, 1U << D, true);
		SETTLES(ABC, 8000);
		sim_cut(&sim, D, voter, false);
		sim_cut(&sim, voter, D, false);
		for (uint64_t end = sim.now_ms + 8000;
		     sim.now_ms < end && clus_core_epoch(sim.nodes[D].core) < checked.last.epoch;)
			sim_step(&sim);
		assert_true(clus_core_epoch(sim.nodes[D].core) == checked.last.epoch);
		sim_isolate(&sim, 1U << D, false);
		SETTLES(ABCD, 20000);
	}
	check_end(&sim);
}

/* The coordinator hears it, and it does not hear the coordinator; and the other way round. */
static void links_cut_one_way(void **state)
{
	(void)state;
	for (unsigned way = 0; way < 2; way++) {
		form(3);
		unsigned c = coordinator(), victim = other_than(c), from = way ? c : victim, to = way ? victim : c;
		sim_cut(&sim, from, to, true);
		/* The control plane may have found another coordinator: then it is the old one that is out. */
		for (uint64_t end = sim.now_ms + 12000; sim.now_ms < end &&
							!check_is_settled(&sim, ABC & ~(1U << victim)) &&
							!check_is_settled(&sim, ABC & ~(1U << c));)
			sim_step(&sim);
		assert_true(sim.now_ms < 12000);
		sim_cut(&sim, from, to, false);
		SETTLES(ABC, 8000);
		check_end(&sim);
	}
}

/* Only the coordinator has a link to it. */
static void cut_from_most(unsigned c, unsigned victim)
{
	for (unsigned i = 0; i < 5; i++) {
		if (i != c && i != victim) {
			sim_cut(&sim, i, victim, true);
			sim_cut(&sim, victim, i, true);
		}
	}
	SETTLES(ABCDE & ~(1U << victim), 8000);
}

/* For how long it is kept out when all is well again, in ms. */
static uint64_t kept_out(unsigned c, unsigned victim)
{
	cut_from_most(c, victim);
	sim_isolate(&sim, 1U << victim, false);
	uint64_t began = sim.now_ms;
	SETTLES(ABCDE, 20000);
	return sim.now_ms - began;
}

/* Twice as long the next time; what was long ago does not count. */
static void out_of_reach_again_and_again(void **state)
{
	(void)state;
	form(5);
	unsigned c = coordinator(), victim = (c + 1) % 5;
	uint64_t first = kept_out(c, victim), second = kept_out(c, victim);
	assert_true(second > first + SIM_FAILURE_MS / 2);
	assert_true(kept_out(c, victim) > second + SIM_FAILURE_MS);
	for (uint64_t end = sim.now_ms + 9 * 4 * SIM_FAILURE_MS; sim.now_ms < end;)
		sim_step(&sim);
	assert_true(kept_out(c, victim) < second);
	assert_int_equal(coordinator(), c);
	check_end(&sim);
}

static void out_of_reach_of_most(void **state)
{
	(void)state;
	form(5);
	unsigned c = coordinator(), victim = (c + 1) % 5;
	cut_from_most(c, victim);
	assert_true(said(1U << c, ": most members do not reach it") == 1);
	sim_isolate(&sim, 1U << victim, false);
	SETTLES(ABCDE, 12000);
	check_end(&sim);
}

static void one_after_the_other_starts_again(void **state)
{
	(void)state;
	form(3);
	for (unsigned i = 0; i < 3; i++) {
		sim_kill(&sim, i);
		SETTLES(ABC & ~(1U << i), 5000);
		sim_start(&sim, i);
		SETTLES(ABC, 5000);
	}
	assert_int_equal(checked.last.voter_count, 3);
	check_end(&sim);
}

/* Also before anybody has noticed that it is gone. */
static void starts_again_at_once(void **state)
{
	(void)state;
	form(3);
	unsigned victim = other_than(coordinator());
	sim_power_off(&sim, victim);
	sim_run(&sim, 200);
	sim_start(&sim, victim);
	SETTLES(ABC, 8000);
	check_end(&sim);
}

static void one_leaves(void **state)
{
	(void)state;
	for (unsigned coordinates = 0; coordinates < 2; coordinates++) {
		form(3);
		unsigned who = coordinates ? coordinator() : other_than(coordinator());
		sim.no_asking = true; /* nothing must become lost, then */
		sim_tell(&sim, who, CLUS_LEAVE, view_of(NULL, 0), 0);
		SETTLES(ABC & ~(1U << who), 12000);
		assert_int_equal(sim_said(&sim, who, "left"), 1);
		assert_int_equal(checked.last.voter_count, 2);
		for (uint32_t b = 0; b < SIM_BUCKETS; b++)
			assert_false(checked.last.apps[0].map[b].lost);
		assert_int_equal(said(ABC, "member_removed"), 0);
		check_end(&sim);
	}
}

static void all_leave(void **state)
{
	(void)state;
	form(3);
	for (unsigned i = 0; i < 3; i++) {
		sim_tell(&sim, i, CLUS_LEAVE, view_of(NULL, 0), 0);
		for (uint64_t end = sim.now_ms + 20000; sim.now_ms < end && sim.nodes[i].core;)
			sim_step(&sim);
		assert_null(sim.nodes[i].core);
	}
	check_end(&sim);
}

/* An operator takes out a dead node, and with it its vote; and one that is alive, which comes back as another. */
static void one_is_forgotten(void **state)
{
	(void)state;
	form(3);
	unsigned c = coordinator(), victim = other_than(c), third = 3 - c - victim;
	sim_kill(&sim, victim);
	SETTLES(ABC & ~(1U << victim), 3000);
	assert_int_equal(checked.last.voter_count, 3);
	sim_tell(&sim, third, CLUS_FORGET, view_str(sim.nodes[victim].name), 0);
	sim_run(&sim, 1000);
	assert_int_equal(checked.last.voter_count, 2);
	uint64_t incarnation = sim.nodes[third].hello.incarnation;
	sim_tell(&sim, c, CLUS_FORGET, view_str(sim.nodes[third].name), 0);
	sim_run(&sim, SIM_FAILURE_MS / 2);
	assert_int_not_equal(clus_view_member(&checked.last, view_str(sim.nodes[third].name)), CLUS_NONE);
	sim_run(&sim, SIM_FAILURE_MS);
	SETTLES(1U << c | 1U << third, 5000);
	assert_int_not_equal(sim.nodes[third].hello.incarnation, incarnation);
	check_end(&sim);
}

static void settings_that_differ(void **state)
{
	(void)state;
	form(3);
	sim_node(&sim, D, "delta", ABC);
	sim_app(&sim, D, "shop", 2);
	sim_start(&sim, D);
	SETTLES(ABCD, 4000);
	uint16_t d = clus_view_member(&checked.last, VIEW("delta"));
	for (uint32_t b = 0; b < SIM_BUCKETS; b++)
		assert_int_not_equal(checked.last.apps[0].map[b].manager, d);
	unsigned c = coordinator();
	assert_int_equal(sim_said(&sim, c, "app_settings_differ delta shop: digest=2 / digest=1"), 1);
	assert_int_equal(sim_said(&sim, D, "app_settings_differ delta shop: digest=2 / digest=1"), 1);
	sim_app(&sim, D, "shop", 1); /* a reload */
	struct clus_event e = {.kind = CLUS_OWN_APPS, .hello = &sim.nodes[D].hello};
	sim_step_core(&sim, D, &e);
	sim_run(&sim, 2000);
	SETTLES(ABCD, 4000);
	assert_true(clus_view_may_manage(&checked.last, d, 0));
	/* Now all of them, one after the other: what counts changes with the last. */
	for (unsigned i = 0; i < 4; i++) {
		sim_app(&sim, i, "shop", 3);
		e.hello = &sim.nodes[i].hello;
		sim_step_core(&sim, i, &e);
		sim_run(&sim, 2000);
		SETTLES(ABCD, 4000);
	}
	assert_int_equal(checked.last.apps[0].digest, 3);
	check_end(&sim);
}

static void an_app_goes_with_its_last_host(void **state)
{
	(void)state;
	form(3);
	sim_node(&sim, D, "delta", ABC);
	sim_app(&sim, D, "blog", 7);
	sim_start(&sim, D);
	SETTLES(ABCD, 4000);
	assert_int_equal(checked.last.app_count, 2);
	sim_kill(&sim, D);
	SETTLES(ABC, 4000);
	assert_int_equal(checked.last.app_count, 1);
	/* It begins anew when it comes back: somebody must say what is in its buckets. */
	sim.no_asking = true;
	sim_start(&sim, D);
	SETTLES(ABCD, 4000);
	for (uint32_t b = 0; b < SIM_BUCKETS; b++)
		assert_true(checked.last.apps[0].map[b].lost);
	check_end(&sim);
}

/* Two processes of one name: who is in the view stays. */
static void a_name_in_use(void **state)
{
	(void)state;
	form(3);
	unsigned c = coordinator();
	char name[16];
	snprintf(name, sizeof name, "%s", sim.nodes[other_than(c)].name);
	struct peer_hello hello = {.name = view_str(name), .incarnation = 999, .address = VIEW("x:1"), .votes = true};
	uint64_t epoch = checked.last.epoch;
	for (unsigned i = 0; i < 5; i++) {
		struct clus_event e = {.kind = CLUS_LINK_UP, .hello = &hello};
		sim_step_core(&sim, c, &e);
		sim_run(&sim, 300);
	}
	assert_int_equal(sim_said(&sim, c, "name_in_use"), 1);
	assert_int_equal(checked.last.epoch, epoch);
	assert_true(check_is_settled(&sim, ABC));
	check_end(&sim);
}

static void another_cluster(void **state)
{
	(void)state;
	form(3);
	sim_node(&sim, D, "delta", 0);
	sim_start(&sim, D);
	uint64_t epoch = checked.last.epoch;
	sim.agreed = NULL; /* of the other one */
	sim.installed = NULL;
	sim.check = NULL;
	sim_run(&sim, 2000);
	assert_int_equal(clus_core_state(sim.nodes[D].core), CLUS_MEMBER);
	sim.nodes[A].peers |= 1U << D;
	sim_run(&sim, 5000);
	assert_int_equal(clus_core_epoch(sim.nodes[A].core), epoch);
	assert_int_equal(clus_core_view(sim.nodes[D].core)->member_count, 1);
	assert_int_equal(sim_said(&sim, A, "other_cluster"), 1);
	check_end(&sim);
}

static void a_bucket_is_not_cleared_by_an_old_word(void **state)
{
	(void)state;
	form(1);
	sim_run(&sim, 1000); /* nobody says any more what was asked before */
	struct clus_event e = {
	    .kind = CLUS_NEVER_CAME, .name = VIEW("shop"), .first = 3, .count = 2, .number = checked.last.epoch};
	sim.no_asking = true;
	sim_step_core(&sim, A, &e);
	sim_run(&sim, 100);
	assert_true(checked.last.apps[0].map[3].lost);
	assert_true(checked.last.apps[0].map[4].lost);
	assert_false(checked.last.apps[0].map[5].lost);
	e.kind = CLUS_ASKED;
	e.number = 0; /* before it managed them at all */
	sim_step_core(&sim, A, &e);
	sim_run(&sim, 100);
	assert_true(checked.last.apps[0].map[3].lost);
	e.number = checked.last.epoch;
	e.count = SIM_BUCKETS; /* out of range: nothing of it counts */
	sim_step_core(&sim, A, &e);
	sim_run(&sim, 100);
	assert_true(checked.last.apps[0].map[3].lost);
	e.count = 1;
	sim_step_core(&sim, A, &e);
	sim_run(&sim, 100);
	assert_false(checked.last.apps[0].map[3].lost);
	assert_true(checked.last.apps[0].map[4].lost);
	check_end(&sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(three_nodes_form),
	    cmocka_unit_test(a_fourth_joins_by_any_of_them),
	    cmocka_unit_test(one_node_begins_alone),
	    cmocka_unit_test(too_few_do_not_begin),
	    cmocka_unit_test(a_killed_member_is_out_at_once),
	    cmocka_unit_test(a_killed_coordinator_is_followed),
	    cmocka_unit_test(a_silent_member_is_out_after_the_timeout),
	    cmocka_unit_test(a_coordinator_with_a_minority_stops),
	    cmocka_unit_test(a_node_that_stood_still_does_not_act),
	    cmocka_unit_test(two_nodes_and_a_witness),
	    cmocka_unit_test(all_start_again_at_once),
	    cmocka_unit_test(who_does_not_vote_gets_views_from_voters),
	    cmocka_unit_test(who_missed_a_view_gets_it_from_a_voter),
	    cmocka_unit_test(links_cut_one_way),
	    cmocka_unit_test(out_of_reach_of_most),
	    cmocka_unit_test(out_of_reach_again_and_again),
	    cmocka_unit_test(one_after_the_other_starts_again),
	    cmocka_unit_test(starts_again_at_once),
	    cmocka_unit_test(one_leaves),
	    cmocka_unit_test(all_leave),
	    cmocka_unit_test(one_is_forgotten),
	    cmocka_unit_test(settings_that_differ),
	    cmocka_unit_test(an_app_goes_with_its_last_host),
	    cmocka_unit_test(a_name_in_use),
	    cmocka_unit_test(another_cluster),
	    cmocka_unit_test(a_bucket_is_not_cleared_by_an_old_word),
	};
	setvbuf(stdout, NULL, _IOLBF, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
