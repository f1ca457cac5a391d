/* The control plane on Berkeley DB, where that or the disk does not do what it should, or a peer does what it must not.
 */
#include "control_fixture.h"

#include "apart.h"
#include "base/error.h"
#include "failing_db.h"

static void say_library(int to, const char *from, size_t len)
{
	uint8_t *bytes = calloc(1, len);
	const struct control_frame f = {.type = CONTROL_LIBRARY, .control = view_of(bytes, len)};

	say(to, from, &f);
	free(bytes);
}

static bool exists(int i, const char *sub)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/%s", nodes[i].dir, sub);
	return access(path, F_OK) == 0;
}

/* --- it breaks --- */

/* And what else was to be done in that turn is not, for want of an environment. */
static void who_cannot_begin_anew_breaks(void **state)
{
	(void)state;
	int first = three_with_a_view();
	int hurt = (first + 1) % 3;
	atomic_store(&failing_create, true);
	atomic_store(&failing[hurt].join, true);
	commit_with(first, THREE, 100);
	WAIT_FOR(nodes[hurt].broken);
	atomic_store(&failing_create, false);
	assert_non_null(strstr(nodes[hurt].why, "begin anew"));
	commit_with(first, THREE, 100);
	assert_int_equal(nodes[hurt].follows, NOBODY);
}

/* It was about to follow the one for whom it steps down; the fixture looks that nothing is told after `broken`. */
static void who_breaks_as_it_steps_down_stays_broken(void **state)
{
	(void)state;
	int first = three_with_a_view();
	links_set(1U << first, without(first), false);
	int second = coordinator_of(without(first));
	atomic_store(&failing[first].start, true);
	link_set(first, second, true);
	WAIT_FOR(nodes[first].broken);
	commit_with(second, THREE, 100);
	pass_ms(2 * ELECTION_MS);
	assert_int_equal(nodes[first].follows, NOBODY);
}

/* A turn in which an election is wanted, all is to begin anew, and the end has come. */
static void the_end_waits_for_no_election(void **state)
{
	const struct view alone[] = {VIEW("n0")};
	struct control *c;

	(void)state;
	node_start(0, 2); /* it does not vote */
	c = nodes[0].control;
	atomic_store(&failing[0].taking, true);
	atomic_store(&failing[0].hold_messages, true);
	atomic_store(&failing[0].hold_elections, true);
	control_bdb.reached(c, VIEW("n2"), true);
	say_library(0, "n2", 100);
	WAIT_FOR(failing[0].held_messages);
	db_event(failing[0].env, DB_EVENT_REP_JOIN_FAILURE, NULL);
	control_bdb.voters(c, alone, 1);
	control_bdb.reached(c, VIEW("n2"), false);
	atomic_store(&failing[0].hold_messages, false);
	WAIT_FOR(failing[0].held_elections);
	nodes[0].control = NULL;
	control_bdb.stop(c, on_stopped);
	pass_ms(ELECTION_MS); /* until the thread of elections is gone */
	atomic_store(&failing[0].hold_elections, false);
	WAIT_FOR(nodes[0].stopped);
}

/* --- the disk --- */

static void what_is_not_on_the_disk_is_not_stored(void **state)
{
	(void)state;
	failure_ms = FAILURE_SOON_MS;
	int first = three_with_a_view();
	for (int i = 0; i < 3; i++)
		atomic_store(&failing[i].sync, i != first);
	lose_with(first, THREE);
	for (int i = 0; i < 3; i++)
		atomic_store(&failing[i].sync, false);
	commit_and_know(coordinator_of(THREE));
}

static void a_ruler_without_its_disk_does_not_count_itself(void **state)
{
	(void)state;
	int first = three_with_a_view();
	atomic_store(&failing[first].sync, true);
	lose_with(first, THREE);
	atomic_store(&failing[first].sync, false);
	commit_and_know(coordinator_of(THREE));
}

static void spoil_promise(int i, bool remove_it)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/promise", nodes[i].dir);
	if (remove_it) {
		assert_int_equal(unlink(path), 0);
		return;
	}
	int fd = open(path, O_WRONLY);
	assert_true(fd >= 0 && pwrite(fd, "x", 1, 20) == 1);
	close(fd);
}

/* Its database is sound, and with it the others could elect somebody; but it may have promised the next term already.
 */
static void promise_is_lost(bool remove_it)
{
	int first = three_with_a_view();
	int hurt = (first + 1) % 3, away = (first + 2) % 3;
	nodes_stop(THREE);
	spoil_promise(hurt, remove_it);
	node_start(hurt, THREE);
	node_start(first, THREE);
	pass_ms(10 * ELECTION_MS);
	assert_int_equal(settled(without(away)), NOBODY);
	/* Nor after one more start. */
	node_stop(hurt);
	node_start(hurt, THREE);
	pass_ms(5 * ELECTION_MS);
	assert_int_equal(settled(without(away)), NOBODY);
	node_start(away, THREE);
	commit_and_know(coordinator_of(THREE));
	/* Now it counts again. */
	int gone = settled(THREE) == away ? away : first;
	node_stop(gone);
	(void)coordinator_of(without(gone));
}

static void a_damaged_promise_is_not_made_again(void **state)
{
	(void)state;
	promise_is_lost(false);
}

static void a_promise_that_is_gone_is_not_made_again(void **state)
{
	(void)state;
	promise_is_lost(true);
}

/* It has written a record that nobody else has, and must not rule: the others do not leave that to it. */
static void who_must_not_rule_is_not_waited_for(void **state)
{
	(void)state;
	failure_ms = FAILURE_SOON_MS;
	int first = three_with_a_view();
	for (int i = 0; i < 3; i++)
		silent[first][i] = true;
	lose_with(first, THREE);
	links_set(THREE, THREE, false);
	nodes_stop(THREE);
	memset(silent, 0, sizeof(silent));
	spoil_promise(first, true);
	/* Both others know it before they know each other. */
	links_set(1U << first, THREE, true);
	nodes_start(THREE);
	pass_ms(5 * ELECTION_MS);
	assert_int_equal(settled(THREE), NOBODY);
	links_set(THREE, THREE, true);
	assert_int_not_equal(coordinator_of(THREE), first);
	commit_and_know(settled(THREE));
}

/* There is nobody to whom it can have promised anything. */
static void one_alone_gets_over_a_damaged_promise(void **state)
{
	(void)state;
	nodes_start(1);
	commit_with(coordinator_of(1), 1, 100);
	node_stop(0);
	spoil_promise(0, false);
	node_start(0, 1);
	assert_int_equal(coordinator_of(1), 0);
	assert_int_equal(nodes[0].agreed, 1);
}

static void refuses_and_keeps(int open_ret, int panic)
{
	nodes_start(1);
	commit_with(coordinator_of(1), 1, 100);
	node_stop(0);
	atomic_store(&failing[0].open, open_ret);
	atomic_store(&failing[0].panic, panic);
	assert_int_equal(node_try(0, 1), ERR_BROKEN);
	nodes[0].control = NULL;
	assert_false(exists(0, "damaged"));
	atomic_store(&failing[0].open, 0);
	atomic_store(&failing[0].panic, 0);
	node_start(0, 1);
	assert_int_equal(coordinator_of(1), 0);
	assert_int_equal(nodes[0].agreed, 1);
}

static void another_version_is_no_damage(void **state)
{
	(void)state;
	refuses_and_keeps(DB_VERSION_MISMATCH, 0);
}

static void a_full_disk_is_no_damage(void **state)
{
	(void)state;
	refuses_and_keeps(DB_RUNRECOVERY, ENOSPC);
}

/* --- peers --- */

static const char *stranger(unsigned i)
{
	static char name[32];

	snprintf(name, sizeof(name), "stranger%u", i);
	return name;
}

static void strangers(unsigned first, unsigned count, bool there)
{
	for (unsigned i = first; i < first + count; i++)
		for (int k = 0; k < 3; k++)
			control_bdb.reached(nodes[k].control, view_str(stranger(i)), there);
}

static void many_names_come_and_go(void **state)
{
	(void)state;
	int first = three_with_a_view();
	for (unsigned i = 0; i < 200; i += 20) {
		strangers(i, 20, true);
		commit_and_know(first);
		strangers(i, 20, false);
		commit_and_know(first);
	}
	node_start(3, THREE);
	commit_with(first, 15, 100);
	WAIT_FOR(all_know(15));
	/* It counts: two of four are no majority. */
	node_stop(first);
	node_stop((first + 1) % 3);
	pass_ms(5 * ELECTION_MS);
	unsigned rest = 8U | 1U << (first + 2) % 3;
	assert_int_equal(settled(rest), NOBODY);
	node_start(first, THREE);
	(void)coordinator_of(rest | 1U << first);
}

/* It would be missing in what is written, and in the majority. */
static void a_voter_without_a_number_is_not_written(void **state)
{
	(void)state;
	int first = three_with_a_view();
	strangers(0, 61, true);
	lose_with(first, 15);
	strangers(0, 61, false);
	commit_and_know(coordinator_of(THREE));
	first = settled(THREE);
	node_start(3, THREE);
	commit_with(first, 15, 100);
	WAIT_FOR(all_know(15));
}

/* It would be the only voter that it knows, and it is not. */
static void who_cannot_number_all_voters_does_not_rule(void **state)
{
	const struct view two[] = {VIEW("n0"), VIEW("n6")};
	struct control *c;

	(void)state;
	node_start(0, 2); /* it does not vote */
	c = nodes[0].control;
	for (unsigned i = 0; i < 62; i++)
		control_bdb.reached(c, view_str(stranger(i)), true);
	control_bdb.voters(c, two, 2);
	pass_ms(8 * ELECTION_MS);
	assert_false(nodes[0].coordinates);
	for (unsigned i = 0; i < 62; i++)
		control_bdb.reached(c, view_str(stranger(i)), false);
	pass_ms(4 * ELECTION_MS);
	assert_false(nodes[0].coordinates);
	control_bdb.voters(c, two, 1);
	assert_int_equal(coordinator_of(1), 0);
}

/* What waits of one peer takes no room of another's. */
static void a_flood_drowns_nobody_else(void **state)
{
	(void)state;
	node_start(0, THREE);
	atomic_store(&failing[0].taking, true);
	atomic_store(&failing[0].hold_messages, true);
	control_bdb.reached(nodes[0].control, VIEW("n1"), true);
	control_bdb.reached(nodes[0].control, VIEW("n2"), true);
	say_library(0, "n1", 100);
	WAIT_FOR(failing[0].held_messages);
	for (unsigned i = 0; i < 20; i++)
		say_library(0, "n1", 1 << 20);
	for (unsigned i = 0; i < 20000; i++)
		say_library(0, "n1", 1000);
	say_library(0, "n2", 5000);
	atomic_store(&failing[0].hold_messages, false);
	WAIT_FOR(failing[0].taken[2] == 1);
	/* Small ones are no free ride. */
	assert_true(failing[0].taken[1] < 10000);
}

/* Who has sent it can have turned to somebody else meanwhile, and what it has stored does not count. */
static void what_came_by_a_former_link_is_dropped(void **state)
{
	(void)state;
	node_start(0, THREE);
	atomic_store(&failing[0].taking, true);
	atomic_store(&failing[0].hold_messages, true);
	control_bdb.reached(nodes[0].control, VIEW("n1"), true);
	say_library(0, "n1", 100);
	WAIT_FOR(failing[0].held_messages);
	say_library(0, "n1", 100);
	control_bdb.reached(nodes[0].control, VIEW("n1"), false);
	control_bdb.reached(nodes[0].control, VIEW("n1"), true);
	say_library(0, "n1", 100);
	control_bdb.reached(nodes[0].control, VIEW("n2"), true);
	say_library(0, "n2", 100);
	atomic_store(&failing[0].hold_messages, false);
	WAIT_FOR(failing[0].taken[2] == 1);
	assert_int_equal(failing[0].taken[1], 2);
}

static void a_term_that_is_made_up_is_not_heeded(void **state)
{
	const struct control_frame leap = {.type = CONTROL_STATE, .term = INT64_MAX};
	const struct control_frame ask = {.type = CONTROL_ASK, .number = INT64_MAX, .rank = {INT64_MAX, INT64_MAX}};

	(void)state;
	int first = three_with_a_view();
	for (int i = 0; i < 3; i++) {
		control_bdb.reached(nodes[i].control, VIEW("n3"), true);
		say(i, "n3", &leap);
		say(i, "n3", &ask);
	}
	commit_and_know(first);
	node_stop(first);
	commit_with(coordinator_of(without(first)), THREE, 100);
}

static int faults_set_up(void **state)
{
	memset(failing, 0, sizeof(failing));
	atomic_store(&failing_create, false);
	return control_set_up(state);
}

int main(int argc, char **argv)
{
#define FAULT(test) cmocka_unit_test_setup_teardown(test, faults_set_up, control_tear_down)
	const struct CMUnitTest tests[] = {
	    FAULT(who_cannot_begin_anew_breaks),
	    FAULT(who_breaks_as_it_steps_down_stays_broken),
	    FAULT(the_end_waits_for_no_election),
	    FAULT(what_is_not_on_the_disk_is_not_stored),
	    FAULT(a_ruler_without_its_disk_does_not_count_itself),
	    FAULT(a_damaged_promise_is_not_made_again),
	    FAULT(a_promise_that_is_gone_is_not_made_again),
	    FAULT(who_must_not_rule_is_not_waited_for),
	    FAULT(one_alone_gets_over_a_damaged_promise),
	    FAULT(another_version_is_no_damage),
	    FAULT(a_full_disk_is_no_damage),
	    FAULT(many_names_come_and_go),
	    FAULT(a_voter_without_a_number_is_not_written),
	    FAULT(who_cannot_number_all_voters_does_not_rule),
	    FAULT(a_flood_drowns_nobody_else),
	    FAULT(what_came_by_a_former_link_is_dropped),
	    FAULT(a_term_that_is_made_up_is_not_heeded),
	};

	return RUN_APART(tests, argc, argv);
}
