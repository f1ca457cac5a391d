/* The control plane on Berkeley DB: elections, what is agreed, what is lost and found again. */
#include "control_fixture.h"

#include "apart.h"
#include "base/error.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

static void three_elect_one(void **state)
{
	(void)state;
	nodes_start(THREE);
	int who = coordinator_of(THREE);
	assert_int_equal(nodes[who].agreed, 0);
	commit_with(who, THREE, 100);
	WAIT_FOR(all_know(THREE));
}

static void five_elect_one(void **state)
{
	(void)state;
	nodes_start(FIVE);
	commit_with(coordinator_of(FIVE), FIVE, 100);
	WAIT_FOR(all_know(FIVE));
}

static void one_alone_elects_itself(void **state)
{
	(void)state;
	nodes_start(1);
	assert_int_equal(coordinator_of(1), 0);
	commit_with(0, 1, 100);
	node_stop(0);
	node_start(0, 1);
	assert_int_equal(coordinator_of(1), 0);
	assert_int_equal(nodes[0].agreed, 1);
}

static void nobody_without_a_majority(void **state)
{
	(void)state;
	links_set(1, ~0U, false);
	node_start(0, THREE);
	pass_ms(5 * ELECTION_MS);
	assert_false(nodes[0].coordinates);
	node_start(1, THREE);
	pass_ms(5 * ELECTION_MS);
	assert_int_equal(nodes[0].told + nodes[1].told, 0);
	link_set(0, 1, true);
	(void)coordinator_of(3);
}

/* Over and over, and in turn: otherwise chance, the order of the start or that of the names would do. Two of three:
 * neither is elected without the other. */
static void the_greater_priority_wins(void **state)
{
	(void)state;
	for (int round = 0; round < 10; round++) {
		int great = round % 2, first = round / 2 % 2;
		nodes[great].priority = 200;
		nodes[1 - great].priority = 100;
		node_start(first, THREE);
		node_start(1 - first, THREE);
		assert_int_equal(coordinator_of(3), great);
		nodes_stop(3);
		assert_true(remove_all(nodes[0].dir) && remove_all(nodes[1].dir));
	}
}

static void another_follows_the_one_that_is_gone(void **state)
{
	(void)state;
	nodes_start(THREE);
	int first = coordinator_of(THREE);
	commit_with(first, THREE, 100);
	node_stop(first);
	unsigned rest = (unsigned)THREE & ~(1U << first);
	int second = coordinator_of(rest);
	assert_int_equal(nodes[second].agreed, 1);
	commit_with(second, THREE, 100);
	node_start(first, THREE);
	WAIT_FOR(settled(THREE) == second && all_know(THREE));
}

/* One that has nothing yet, and was cut short as it got all from a coordinator, helps the next one to rule. */
static void half_of_a_database_votes(void **state)
{
	(void)state;
	failure_ms = FAILURE_LOSSY_MS;
	for (unsigned arrive = 3; arrive < 20; arrive += 2) {
		links_set(4, ~0U, false);
		nodes_start(THREE);
		int first = coordinator_of(3);
		commit_with(first, THREE, 1 << 17);
		WAIT_FOR(all_know(3));
		silent_after[first][2] = arrive;
		links_set(4, ~0U, true);
		WAIT_FOR(silent[first][2]);
		node_stop(first);
		memset(silent, 0, sizeof(silent));
		(void)coordinator_of((unsigned)THREE & ~(1U << first));
		nodes_stop(THREE);
		for (int i = 0; i < 3; i++)
			assert_true(remove_all(nodes[i].dir));
		greatest_agreed = 0;
	}
}

/* The coordinator is cut off from both others: what it proposes is lost, and it takes over what they have agreed on. */
static void a_proposal_without_a_majority_is_lost(void **state)
{
	(void)state;
	failure_ms = FAILURE_SOON_MS;
	nodes_start(THREE);
	int first = coordinator_of(THREE);
	commit_with(first, THREE, 100);
	WAIT_FOR(all_know(THREE));
	unsigned rest = (unsigned)THREE & ~(1U << first);
	links_set(1U << first, rest, false);
	propose_with(first, THREE, 5000);
	WAIT_FOR(nodes[first].lost == nodes[first].proposed);
	WAIT_FOR(!nodes[first].coordinates);
	int second = coordinator_of(rest);
	commit_with(second, THREE, 100);
	links_set(1U << first, rest, true);
	WAIT_FOR(settled(THREE) == second && all_know(THREE));
	assert_int_equal(nodes[first].agreed, nodes[second].committed);
}

/* Both think that they coordinate, until they meet again: only one of them has a majority. */
static void of_two_that_meet_the_later_one_stays(void **state)
{
	(void)state;
	nodes_start(THREE);
	int first = coordinator_of(THREE);
	unsigned rest = (unsigned)THREE & ~(1U << first);
	links_set(1U << first, rest, false);
	int second = coordinator_of(rest);
	commit_with(second, THREE, 3000);
	assert_true(nodes[first].coordinates);
	links_set(1U << first, rest, true);
	WAIT_FOR(settled(THREE) == second && all_know(THREE));
	assert_int_equal(nodes[second].told, 1 + 2); /* not disturbed: follows, leaderless, coordinates */
}

/* A coordinator that is not heard, and hears: silence is the owner's to notice. */
static void silence_one_way_loses_the_proposal(void **state)
{
	(void)state;
	failure_ms = FAILURE_SOON_MS;
	nodes_start(THREE);
	int first = coordinator_of(THREE);
	for (int i = 0; i < NODES; i++)
		silent[first][i] = true;
	propose_with(first, THREE, 100);
	WAIT_FOR(nodes[first].lost == nodes[first].proposed && !nodes[first].coordinates);
	memset(silent, 0, sizeof(silent));
	commit_with(coordinator_of(THREE), THREE, 100);
}

/* Although it would win. */
static void one_that_steps_down_leaves_room(void **state)
{
	(void)state;
	nodes[0].priority = 200;
	node_start(0, THREE);
	node_start(1, THREE);
	assert_int_equal(coordinator_of(3), 0);
	node_start(2, THREE);
	commit_with(0, THREE, 100);
	WAIT_FOR(all_know(THREE));
	control_bdb.step_down(nodes[0].control);
	WAIT_FOR(!nodes[0].coordinates);
	int second = coordinator_of(THREE);
	assert_int_not_equal(second, 0);
	commit_with(second, THREE, 100);
	WAIT_FOR(all_know(THREE));
	/* And then it stands again. */
	node_stop(second);
	assert_int_equal(coordinator_of((unsigned)THREE & ~(1U << second)), 0);
}

static void one_that_steps_down_is_back_when_nobody_else_can(void **state)
{
	(void)state;
	failure_ms = FAILURE_SOON_MS;
	nodes_start(1);
	commit_with(coordinator_of(1), 1, 100);
	struct instant since = clock_now();
	control_bdb.step_down(nodes[0].control);
	WAIT_FOR(!nodes[0].coordinates);
	assert_int_equal(coordinator_of(1), 0);
	assert_true(instant_since_ms(clock_now(), since) >= FAILURE_SOON_MS);
}

static void all_restart_with_what_was_agreed(void **state)
{
	(void)state;
	nodes_start(THREE);
	int first = coordinator_of(THREE);
	commit_with(first, THREE, 100);
	commit_with(first, THREE, 100);
	WAIT_FOR(all_know(THREE));
	nodes_stop(THREE);
	nodes_start(THREE);
	WAIT_FOR(all_know(THREE)); /* of their own database, or of the coordinator */
	int second = coordinator_of(THREE);
	commit_with(second, THREE, 100);
	WAIT_FOR(all_know(THREE));
}

static void what_was_learnt_is_told_after_a_start(void **state)
{
	(void)state;
	nodes_start(THREE);
	commit_with(coordinator_of(THREE), THREE, 100);
	WAIT_FOR(all_know(THREE));
	nodes_stop(THREE);
	links_set(~0U, ~0U, false);
	node_start(1, THREE);
	WAIT_FOR(nodes[1].agreed == 1);
}

static void voters_come_and_go_one_at_a_time(void **state)
{
	(void)state;
	nodes_start(THREE);
	int first = coordinator_of(THREE);
	unsigned voters = THREE;
	for (int i = 3; i < 7; i++) {
		node_start(i, THREE);
		voters |= 1U << i;
		commit_with(first, voters, 100);
	}
	WAIT_FOR(all_know(voters));
	for (int i = 0; i < 4; i++) {
		if (i == first)
			continue;
		node_stop(i);
		voters &= ~(1U << i);
		commit_with(first, voters, 100);
	}
	/* The others are a majority of those that are left. */
	node_stop(first);
	voters &= ~(1U << first);
	unsigned alive = voters & ~(unsigned)THREE;
	commit_with(coordinator_of(alive), voters, 100);
}

/* One that comes late to an old start list counts the voters of the record that it has. */
static void old_voters_elect_nobody(void **state)
{
	(void)state;
	nodes_start(THREE);
	int first = coordinator_of(THREE);
	node_start(3, THREE);
	commit_with(first, 15, 100);
	node_start(4, THREE);
	commit_with(first, FIVE, 100);
	WAIT_FOR(all_know(FIVE));
	nodes_stop(FIVE);
	node_start(0, THREE);
	node_start(1, THREE); /* two of three, and of five */
	pass_ms(8 * ELECTION_MS);
	assert_int_equal(settled(3), NOBODY);
	node_start(3, THREE);
	(void)coordinator_of(11);
}

static void a_witness_coordinates_only_where_it_must(void **state)
{
	(void)state;
	nodes[2].priority = 0;
	nodes_start(THREE);
	int first = coordinator_of(THREE);
	assert_int_not_equal(first, 2);
	WAIT_FOR(all_know(THREE));
	int other = 1 - first;
	node_stop(other);
	commit_with(first, THREE, 100); /* which `other` does not know */
	node_stop(first);
	node_start(other, THREE);
	assert_int_equal(coordinator_of((unsigned)THREE & ~(1U << first)), 2);
	WAIT_FOR(all_know((unsigned)THREE & ~(1U << first)));
}

static void the_largest_view(void **state)
{
	(void)state;
	nodes_start(THREE);
	int first = coordinator_of(THREE);
	commit_with(first, THREE, (1 << 20) - VIEW_HEAD);
	WAIT_FOR(all_know(THREE));
	assert_int_equal(nodes[(first + 1) % 3].agreed_len, 1 << 20);
}

static unsigned entries_of(int i, const char *sub)
{
	char path[160];
	unsigned count = 0;

	snprintf(path, sizeof(path), "%s/%s", nodes[i].dir, sub);
	DIR *dir = opendir(path);
	for (struct dirent *e; dir && (e = readdir(dir));)
		count += e->d_name[0] != '.';
	if (dir)
		closedir(dir);
	return count;
}

static void damage(int i)
{
	char path[160], bytes[4096];

	snprintf(path, sizeof(path), "%s/db/control.db", nodes[i].dir);
	int fd = open(path, O_WRONLY);
	memset(bytes, 0x5a, sizeof(bytes));
	assert_true(fd >= 0 && pwrite(fd, bytes, sizeof(bytes), 8192) == (ssize_t)sizeof(bytes));
	close(fd);
}

/* Berkeley DB forgets to free 296 bytes when the recovery of an environment fails. */
static void damaged_start(int i, unsigned voters)
{
#ifdef __SANITIZE_ADDRESS__
	__lsan_disable();
#endif
	node_start(i, voters);
#ifdef __SANITIZE_ADDRESS__
	__lsan_enable();
#endif
}

/* It has said to have what it has lost: it helps nobody to rule who may not know that, until it has it back. */
static void a_damaged_one_elects_nobody_before_it_is_whole(void **state)
{
	(void)state;
	nodes_start(THREE);
	int first = coordinator_of(THREE);
	int away = (first + 1) % 3, hurt = (first + 2) % 3;
	commit_with(first, THREE, 100);
	WAIT_FOR(all_know(THREE));
	node_stop(away);
	commit_with(first, THREE, 20000);
	WAIT_FOR(all_know(1U << hurt));
	node_stop(hurt);
	node_stop(first);
	damage(hurt);
	damaged_start(hurt, THREE);
	node_start(away, THREE);
	assert_true(entries_of(hurt, "damaged") > 0);
	pass_ms(10 * ELECTION_MS);
	assert_int_equal(settled((1U << hurt) | (1U << away)), NOBODY);
	node_start(first, THREE);
	(void)coordinator_of(THREE);
	WAIT_FOR(all_know(THREE));
	/* Now it votes again. */
	node_stop(first);
	(void)coordinator_of((1U << hurt) | (1U << away));
}

static void one_alone_gets_over_damage(void **state)
{
	(void)state;
	nodes_start(1);
	commit_with(coordinator_of(1), 1, 20000);
	node_stop(0);
	damage(0);
	greatest_agreed = 0; /* there is nobody else who knows it */
	damaged_start(0, 1);
	(void)coordinator_of(1);
	assert_int_equal(nodes[0].agreed, 0);
}

/* Its whole folder is gone: it is a new node. */
static void one_without_its_folder_gets_all_anew(void **state)
{
	(void)state;
	nodes_start(THREE);
	int first = coordinator_of(THREE);
	commit_with(first, THREE, 20000);
	int gone = (first + 1) % 3;
	node_stop(gone);
	assert_true(remove_all(nodes[gone].dir));
	node_start(gone, THREE);
	WAIT_FOR(all_know(THREE));
}

static void a_folder_belongs_to_one(void **state)
{
	char dir[96];

	(void)state;
	node_start(0, 1);
	memcpy(dir, nodes[1].dir, sizeof(dir));
	memcpy(nodes[1].dir, nodes[0].dir, sizeof(dir));
	assert_int_equal(node_try(1, 1), ERR_BROKEN);
	assert_non_null(strstr(nodes[1].why, "is used by process"));
	nodes[1].control = NULL;
	snprintf(nodes[1].dir, sizeof(nodes[1].dir), "%s/no/where", folder);
	assert_int_equal(node_try(1, 1), ERR_BROKEN);
	assert_non_null(strstr(nodes[1].why, "its parent folder does not exist"));
	nodes[1].control = NULL;
}

static bool is_small(int i)
{
	char command[256];

	snprintf(command, sizeof(command), "test $(du -sm '%s' | cut -f1) -le 24", nodes[i].dir);
	return system(command) == 0;
}

/* The log does not pile up; a file of it goes when a later view is agreed. Of a coordinator that has brought somebody
 * up to date, as it does with new nodes, Berkeley DB keeps it for half a minute: that is not waited for. */
static void the_folder_stays_small(void **state)
{
	(void)state;
	nodes_start(THREE);
	int first = coordinator_of(THREE);
	for (int i = 0; i < 40; i++)
		commit_with(first, THREE, 1 << 19);
	struct instant since = clock_now();
	while (!is_small((first + 1) % 3) || !is_small((first + 2) % 3)) {
		assert_true(instant_since_ms(clock_now(), since) < PATIENCE_LONG_MS);
		commit_with(first, THREE, 100);
		WAIT_FOR(all_know(THREE));
	}
}

/* Bytes that are no message; and from somebody without a link. */
static void what_is_no_message_is_dropped(void **state)
{
	uint8_t bytes[200];

	(void)state;
	nodes_start(THREE);
	int first = coordinator_of(THREE);
	for (int i = 0; i < 2000; i++) {
		size_t len = (size_t)rand_r(&seed) % sizeof(bytes);
		for (size_t k = 0; k < len; k++)
			bytes[k] = (uint8_t)rand_r(&seed);
		if (len > 0)
			bytes[0] = bytes[0] == 2 ? 9 : bytes[0]; /* what is in Berkeley DB's messages is its own */
		control_bdb.message(nodes[first].control, view_str("n6"), view_of(bytes, len));
	}
	control_bdb.message(nodes[first].control, VIEW(""), view_of(bytes, 10));
	commit_with(first, THREE, 100);
	WAIT_FOR(all_know(THREE));
	assert_int_equal(settled(THREE), first);
}

/* Wherever it is: all is freed (run with the sanitizers). */
static void it_stops_in_every_state(void **state)
{
	(void)state;
	proposers_stop = true;
	for (unsigned ms = 0; ms < 120; ms += 6) {
		nodes_start(THREE);
		pass_ms(ms);
		for (int i = 0; i < 3; i++)
			if (nodes[i].coordinates)
				propose_with(i, THREE, 100000);
		nodes_stop(THREE);
		assert_false(nodes[0].broken || nodes[1].broken || nodes[2].broken);
	}
}

static unsigned voters_of[EPOCHS]; /* bits; of each view that was proposed */

/* One more or one less than in what this coordinator has seen agreed last, or as many; it stays one itself. */
static unsigned other_voters(int who)
{
	unsigned now = voters_of[nodes[who].agreed], one = 1U << (unsigned)rand_r(&seed) % NODES;
	bool stays = rand_r(&seed) % 2 == 0 || one == 1U << who || __builtin_popcount(now ^ one) < 3;

	return stays ? now : now ^ one;
}

static void perhaps_propose(int who)
{
	const struct node *n = &nodes[who];

	if (!n->coordinates || (n->committed != n->proposed && n->lost != n->proposed))
		return;
	unsigned voters = other_voters(who);
	propose_with(who, voters, 1000);
	voters_of[n->proposed] = voters;
}

static void all_propose(void)
{
	for (int i = 0; i < NODES; i++)
		perhaps_propose(i);
}

/* Whoever coordinates is the one to be cut off, as a rule: otherwise chance seldom finds him. */
static unsigned some_nodes(void)
{
	unsigned some = 0;

	for (int i = 0; i < NODES; i++)
		some |= nodes[i].coordinates && rand_r(&seed) % 2 ? 1U << i : 0;
	return some ? some | 1U << rand_r(&seed) % NODES : (unsigned)rand_r(&seed) % (1U << NODES);
}

/* One way: `some` are not heard, or hear nobody. */
static void silence(unsigned some, bool heard)
{
	for (int a = 0; a < NODES; a++)
		for (int b = 0; b < NODES; b++)
			if ((some >> a & 1) > (some >> b & 1))
				*(heard ? &silent[b][a] : &silent[a][b]) = true;
}

static void restart(int i)
{
	node_stop(i);
	node_start(i, FIVE);
}

static void trouble(void)
{
	int a = rand_r(&seed) % NODES, b = rand_r(&seed) % NODES;
	unsigned some = some_nodes();

	switch (rand_r(&seed) % 16) {
	case 0:
		link_set(a, b, false);
		break;
	case 1:
	case 2:
		links_set(some, ~some, false);
		break;
	case 3:
		silence(some, b % 2);
		break;
	case 4:
		memset(silent, 0, sizeof(silent));
		break;
	case 5:
	case 6:
		links_set(~0U, ~0U, true);
		break;
	case 7:
		restart(a);
		break;
	default:
		all_propose();
	}
}

static bool at_peace(void)
{
	unsigned voters = voters_of[greatest_agreed];

	return settled(voters) != NOBODY && all_know(voters);
}

static bool more_is_agreed(uint64_t before)
{
	all_propose();
	return greatest_agreed > before;
}

/* Links come and go, also one way only, nodes stop and start, and all the while views are proposed, with voters that
 * come and go; the fixture looks that nothing that was agreed is ever missing. Then there is peace, one view, and
 * more after it. */
static void whatever_happens_nothing_agreed_is_lost(void **state)
{
	enum { STEPS = 120 };

	seed = *(unsigned *)*state;
	print_message("the seed is %u\n", seed);
	failure_ms = FAILURE_LOSSY_MS;
	loss_percent = 3;
	proposers_stop = true;
	voters_of[0] = FIVE;
	for (int i = 0; i < NODES; i++)
		node_start(i, FIVE);
	for (int step = 0; step < STEPS; step++) {
		trouble();
		pass_ms((uint64_t)rand_r(&seed) % 40);
	}
	loss_percent = 0;
	memset(silent, 0, sizeof(silent));
	links_set(~0U, ~0U, true);
	WAIT_FOR(at_peace());
	uint64_t before = greatest_agreed > 3 ? greatest_agreed : 3;
	WAIT_FOR(more_is_agreed(before));
	WAIT_FOR(at_peace());
}

static void a_bad_network_is_got_over(void **state)
{
	(void)state;
	failure_ms = FAILURE_LOSSY_MS;
	loss_percent = 20;
	delay_us = 3000;
	nodes_start(THREE);
	for (int i = 0; i < 10; i++) {
		WAIT_FOR(settled(THREE) != NOBODY);
		int who = settled(THREE);
		propose_with(who, THREE, 20000);
		WAIT_FOR(nodes[who].committed == nodes[who].proposed || nodes[who].lost == nodes[who].proposed);
	}
	assert_true(greatest_agreed > 0);
	loss_percent = 0;
	WAIT_FOR(settled(THREE) != NOBODY && all_know(THREE));
}

int main(int argc, char **argv)
{
	static unsigned seeds[] = {0, 1, 2, 3, 4};
	const struct CMUnitTest tests[] = {
#define CASE(test) cmocka_unit_test_setup_teardown(test, control_set_up, control_tear_down)
#define SEEDED(n)                                                                                                      \
	{"whatever_happens_nothing_agreed_is_lost_" #n, whatever_happens_nothing_agreed_is_lost, control_set_up,       \
	 control_tear_down, &seeds[n]}
	    /* The long ones first: they run beside all others. */
	    CASE(half_of_a_database_votes),
	    SEEDED(1),
	    SEEDED(2),
	    SEEDED(3),
	    SEEDED(4),
	    CASE(the_folder_stays_small),
	    CASE(it_stops_in_every_state),
	    CASE(a_bad_network_is_got_over),
	    CASE(three_elect_one),
	    CASE(five_elect_one),
	    CASE(one_alone_elects_itself),
	    CASE(nobody_without_a_majority),
	    CASE(the_greater_priority_wins),
	    CASE(another_follows_the_one_that_is_gone),
	    CASE(a_proposal_without_a_majority_is_lost),
	    CASE(of_two_that_meet_the_later_one_stays),
	    CASE(silence_one_way_loses_the_proposal),
	    CASE(one_that_steps_down_leaves_room),
	    CASE(one_that_steps_down_is_back_when_nobody_else_can),
	    CASE(all_restart_with_what_was_agreed),
	    CASE(what_was_learnt_is_told_after_a_start),
	    CASE(voters_come_and_go_one_at_a_time),
	    CASE(old_voters_elect_nobody),
	    CASE(a_witness_coordinates_only_where_it_must),
	    CASE(the_largest_view),
	    CASE(a_damaged_one_elects_nobody_before_it_is_whole),
	    CASE(one_alone_gets_over_damage),
	    CASE(one_without_its_folder_gets_all_anew),
	    CASE(a_folder_belongs_to_one),
	    CASE(what_is_no_message_is_dropped),
	};

	return RUN_APART(tests, argc, argv);
}
