/* What Berkeley DB says of its own accord: that nothing joins what is here with what the master has, that somebody
 * holds an election, that there are two masters; what it sends anew, and what it takes back. Each test looks that this
 * has really been so. */
#include "control_fixture.h"

#include "apart.h"
#include "failing_db.h"

/* --- what there is --- */

static void no_message(const DB_ENV *env, const char *prefix, const char *message)
{
	(void)env;
	(void)prefix;
	(void)message;
}

/* Of a node that does not run: the epoch in its record. */
static uint64_t stored_epoch(int i)
{
	DBT key = {.data = (void *)(uintptr_t) "view", .size = 4}, data = {.flags = DB_DBT_MALLOC};
	struct control_record r;
	char path[160];
	DB *db;

	snprintf(path, sizeof(path), "%s/db/control.db", nodes[i].dir);
	assert_int_equal(db_create(&db, NULL, 0), 0);
	db->set_errcall(db, no_message);
	assert_int_equal(db->open(db, NULL, path, NULL, DB_UNKNOWN, DB_RDONLY, 0), 0);
	assert_int_equal(db->get(db, NULL, &key, &data, 0), 0);
	assert_int_equal(control_record_decode(view_of(data.data, data.size), &r), 0);
	uint64_t epoch = epoch_of(r.bytes);
	free(data.data);
	db->close(db, 0);
	return epoch;
}

/* --- all of it again --- */

static uint64_t pages_of(int i)
{
	DB_REP_STAT *stat = NULL;

	assert_int_equal(failing[i].env->rep_stat(failing[i].env, &stat, 0), 0);
	uint64_t pages = stat->st_pg_records;
	free(stat);
	return pages;
}

static void one_far_behind_gets_all_anew(void **state)
{
	(void)state;
	nodes_start(THREE);
	int first = coordinator_of(THREE);
	commit_with(first, THREE, 100);
	int away = (first + 1) % 3;
	links_set(1U << away, THREE, false);
	for (int i = 0; i < 30; i++)
		commit_with(first, THREE, 1 << 19);
	links_set(1U << away, THREE, true);
	WAIT_FOR(settled(THREE) != NOBODY && all_know(THREE));
	assert_true(pages_of(away) > 0);
	assert_int_equal(nodes[away].agreed_len, VIEW_HEAD + (1 << 19));
	commit_with(settled(THREE), THREE, 100);
	WAIT_FOR(all_know(THREE));
}

static void take_database_of(int to, int from)
{
	char command[256];

	snprintf(command, sizeof(command), "rm -rf '%s/db' && mv '%s/db' '%s/db'", nodes[to].dir, nodes[from].dir,
		 nodes[to].dir);
	assert_int_equal(system(command), 0);
}

/* Somebody has copied a folder. */
static int one_of_another_cluster(void)
{
	node_start(3, 8);
	(void)coordinator_of(8);
	commit_with(3, 8, 100);
	node_stop(3);
	greatest_agreed = 0;
	int hurt = three_with_a_view();
	node_stop(hurt);
	(void)coordinator_of(without(hurt)); /* of a later term than the other cluster's */
	take_database_of(hurt, 3);
	return hurt;
}

/* It has all that the others have, and counts as before. */
static void comes_back(int hurt)
{
	WAIT_FOR(settled(THREE) != NOBODY);
	commit_and_know(settled(THREE));
	int first = settled(THREE), gone = first == hurt ? (hurt + 1) % 3 : first;
	node_stop(gone);
	commit_with(coordinator_of(without(gone)), THREE, 100);
	node_stop(hurt);
	assert_int_equal(stored_epoch(hurt), greatest_agreed);
}

static void a_database_of_another_cluster_is_sent_anew(void **state)
{
	(void)state;
	int hurt = one_of_another_cluster();
	node_start(hurt, THREE);
	WAIT_FOR(pages_of(hurt) > 0);
	comes_back(hurt);
	assert_int_equal(failing[hurt].joins_failed, 0);
}

/* Berkeley DB 5.3 says so by itself only where it must not begin anew (DB_REP_CONF_AUTOINIT), and there it does. */
static void who_cannot_join_begins_anew(void **state)
{
	(void)state;
	int hurt = one_of_another_cluster();
	atomic_store(&failing[hurt].by_hand, true);
	node_start(hurt, THREE);
	WAIT_FOR(failing[hurt].joins_failed > 0);
	comes_back(hurt);
	assert_int_equal(failing[hurt].joins_failed, 1);
}

/* --- taken back --- */

/* The coordinator has written what nobody else has, and is not one any more when it meets the others again. */
static void what_was_not_agreed_is_taken_back(void **state)
{
	(void)state;
	failure_ms = FAILURE_SOON_MS;
	int first = three_with_a_view();
	links_set(1U << first, without(first), false);
	lose_with(first, THREE);
	uint64_t lost = nodes[first].lost;
	int second = coordinator_of(without(first));
	commit_with(second, THREE, 100);
	uint64_t agreed = nodes[second].committed;
	node_stop(first);
	assert_int_equal(stored_epoch(first), lost);
	node_start(first, THREE);
	links_set(1U << first, without(first), true);
	WAIT_FOR(settled(THREE) == second && all_know(THREE));
	/* Its log is joined with the master's: it was not sent all of it again. */
	assert_int_equal(pages_of(first), 0);
	node_stop(first);
	assert_int_equal(stored_epoch(first), agreed);
}

/* --- elections --- */

/* The record that makes another one a voter never came to it: the one that has written it cannot rule without that
 * one's vote any more, and gets it. */
static void who_was_to_vote_helps(void **state)
{
	(void)state;
	failure_ms = FAILURE_SOON_MS;
	node_start(0, 1);
	node_start(1, 1);
	(void)coordinator_of(3);
	commit_with(0, 1, 100);
	WAIT_FOR(all_know(3));
	silent[0][1] = true;
	propose_with(0, 3, 100);
	WAIT_FOR(nodes[0].lost == nodes[0].proposed);
	pass_ms(3 * ELECTION_MS);
	silent[0][1] = false;
	unsigned holds = failing[1].holds;
	assert_int_equal(coordinator_of(3), 0);
	assert_true(failing[1].holds > holds);
	commit_with(0, 3, 100);
	WAIT_FOR(all_know(3));
}

/* --- two masters --- */

static struct buf of_master;
static int master;

static void keep_of_master(int from, int to, struct view bytes)
{
	struct control_frame f;

	(void)to;
	if (from != master || buf_len(&of_master) > 0 || control_frame_decode(bytes, &f) != 0 ||
	    f.type != CONTROL_LIBRARY || f.standing != CONTROL_RULES)
		return;
	f.standing = CONTROL_LEADERLESS; /* so that weir does not see it by itself */
	f.term = 0;
	f.rank = (struct control_rank){0};
	control_frame_encode(&f, &of_master);
}

/* Between weir's nodes the term tells the later one before Berkeley DB sees anything; this is what is behind that. */
static void who_hears_a_later_master_steps_down(void **state)
{
	(void)state;
	int first = three_with_a_view();
	links_set(1U << first, without(first), false);
	int second = coordinator_of(without(first));
	master = second;
	on_packet = keep_of_master;
	commit_with(second, THREE, 100);
	WAIT_FOR(buf_len(&of_master) > 0);
	on_packet = NULL;
	assert_true(nodes[first].coordinates);
	assert_int_equal(failing[first].dupmasters, 0);
	control_bdb.reached(nodes[first].control, view_str(nodes[second].name), true);
	control_bdb.message(nodes[first].control, view_str(nodes[second].name), buf_view(&of_master));
	buf_fini(&of_master);
	WAIT_FOR(failing[first].dupmasters > 0);
	WAIT_FOR(!nodes[first].coordinates);
	assert_false(nodes[first].broken);
	links_set(1U << first, without(first), true);
	WAIT_FOR(settled(THREE) == second && all_know(THREE));
}

static int events_set_up(void **state)
{
	memset(failing, 0, sizeof(failing));
	return control_set_up(state);
}

int main(int argc, char **argv)
{
#define EVENT(test) cmocka_unit_test_setup_teardown(test, events_set_up, control_tear_down)
	const struct CMUnitTest tests[] = {
	    EVENT(one_far_behind_gets_all_anew), EVENT(a_database_of_another_cluster_is_sent_anew),
	    EVENT(who_cannot_join_begins_anew),  EVENT(what_was_not_agreed_is_taken_back),
	    EVENT(who_was_to_vote_helps),        EVENT(who_hears_a_later_master_steps_down),
	};

	return RUN_APART(tests, argc, argv);
}
