/* Three whole nodes, and one of them that is not what it should be: there twice, broken, deaf, or taken out by the
 * wrong word. */
#include "cluster/node_state.h"
#include "tests/unit/cluster_fixture.h"

static struct node twin;

static void form(void)
{
	all_start();
	RUN_UNTIL(are_one(NODES));
}

/* What a test does on a node's own thread. */
struct visit {
	struct mail mail;
	struct cluster *c;
	bool asked;
	_Atomic bool done;
};

static void visit(struct visit *v, struct node *n, void (*deliver)(struct mail *mail))
{
	*v = (struct visit){.mail = {.deliver = deliver}, .c = n->cluster};
	list_init(&v->mail.link);
	net_loop_post(&n->cluster->loop, &v->mail);
	RUN_UNTIL(v->done);
}

static uint64_t incarnation_in(const struct node *n, const char *name)
{
	struct cluster_view *v = cluster_view_take(n->cluster);
	uint16_t m = v ? clus_view_member(&v->view, view_str(name)) : CLUS_NONE;
	uint64_t incarnation = m != CLUS_NONE ? v->view.members[m].incarnation : 0;

	cluster_view_unref(&v);
	return incarnation;
}

/* --- there twice --- */

/* Its configuration and its certificate, on another host. */
static void twin_begin(const struct node *of)
{
	char database[PATH_MAX + 8];

	twin = (struct node){.name = of->name, .settings = of->settings, .digest = of->digest, .port = free_port()};
	snprintf(twin.address, sizeof twin.address, "127.0.0.1:%u", twin.port);
	struct cluster_settings s = settings_for(&twin, NODES);
	snprintf(database, sizeof database, "%s.twin", s.folder);
	s.folder = database;
	s.tls = context_of(&twin);
	s.listen_fd = listen_on(&twin.port);
	assert_true(s.listen_fd >= 0);
	if (cluster_start(&twin.cluster, &s, &node_ops, &twin, &loop, twin.why) != 0)
		fail_msg("%s", twin.why);
	tls_context_unref(&s.tls);
}

/* The first one stays, whatever the second one does, and is not disturbed; the second is let in when the first has
 * ended. */
static void two_processes_of_one_name(void **state)
{
	static const char line[] = "event=peer_refused", text[] = "another process of this name";

	(void)state;
	form();
	struct node *boss = node_named(coordinator_of(&nodes[0])), *one = other_than(boss, NULL);
	uint64_t first = incarnation_in(boss, one->name);
	unsigned refused = logged(line, text), reborn = logged("event=reincarnated", "");
	twin_begin(one);
	RUN_UNTIL(logged(line, text) >= refused + 4);
	assert_false(acts(&twin));
	RUN_UNTIL(are_one(NODES));
	assert_true(incarnation_in(boss, one->name) == first);
	assert_int_equal(logged("event=reincarnated", ""), reborn);
	node_end(one);
	RUN_UNTIL(acts(&twin) && acts(boss) && incarnation_in(boss, one->name) != 0);
	assert_true(incarnation_in(boss, one->name) != first);
}

/* --- broken --- */

static void deliver_blow(struct mail *mail)
{
	struct visit *v = CONTAINER_OF(mail, struct visit, mail);

	node_break(v->c, "the disk is gone");
	v->done = true;
}

/* A worker may be about to do what it was allowed to do just before: nobody takes the buckets over at once. */
static void who_breaks_is_not_dead_at_once(void **state)
{
	struct visit v;

	(void)state;
	form();
	struct node *boss = node_named(coordinator_of(&nodes[0])), *one = other_than(boss, NULL);
	struct instant since = clock_now();
	visit(&v, one, deliver_blow);
	assert_false(acts(one));
	RUN_UNTIL(!in_view(boss, one->name));
	assert_true(instant_since_ms(clock_now(), since) >= FAILURE_MS / 2);
	RUN_UNTIL(members_of(boss) == 2 && acts(boss));
	/* Its owner does not wait for that. */
	visit(&v, boss, deliver_blow);
	node_end(boss);
	assert_int_equal(boss->broken, 1);
}

/* --- deaf --- */

static struct control_kind deaf;

static void swallow_proposal(struct control *c, struct view bytes, const struct view *voters, unsigned voter_count)
{
	(void)c;
	(void)bytes;
	(void)voters;
	(void)voter_count;
}

static void swallow_step_down(struct control *c)
{
	(void)c;
}

static void deliver_deaf(struct mail *mail)
{
	struct visit *v = CONTAINER_OF(mail, struct visit, mail);

	deaf = *v->c->kind;
	deaf.propose = swallow_proposal;
	deaf.step_down = swallow_step_down;
	v->c->kind = &deaf;
	v->done = true;
}

static void deliver_question(struct mail *mail)
{
	struct visit *v = CONTAINER_OF(mail, struct visit, mail);

	v->asked = v->c->asked;
	v->done = true;
}

static bool is_owed_an_answer(struct node *n)
{
	struct visit v;

	visit(&v, n, deliver_question);
	return v.asked;
}

/* The coordinator's disk hangs: all links are there, and nothing is agreed on any more. The others get another one. */
static void a_coordinator_whose_disk_hangs(void **state)
{
	struct visit v;

	(void)state;
	form();
	struct node *boss = node_named(coordinator_of(&nodes[0])), *one = other_than(boss, NULL);
	struct node *third = other_than(boss, one);
	RUN_UNTIL(!is_owed_an_answer(boss)); /* it answers */
	visit(&v, boss, deliver_deaf);
	one->zone = "north"; /* something to agree on; its own links come anew, and those of the others stay */
	node_reload(one);
	RUN_UNTIL(boss->broken == 1);
	assert_non_null(strstr(boss->why, "does not answer"));
	assert_false(acts(boss));
	RUN_UNTIL(acts(one) && acts(third) && !in_view(one, boss->name) && !in_view(third, boss->name));
	assert_int_equal(one->broken + third->broken, 0);
}

/* --- the wrong word --- */

static void these_two_are_not_forgotten(void **state)
{
	(void)state;
	form();
	struct node *boss = node_named(coordinator_of(&nodes[0])), *one = other_than(boss, NULL);
	assert_int_equal(cluster_forget(one->cluster, view_str(one->name)), ERR_REFUSED);
	assert_int_equal(cluster_forget(one->cluster, view_str(boss->name)), ERR_REFUSED);
	assert_int_equal(cluster_forget(boss->cluster, view_str(boss->name)), ERR_REFUSED);
	assert_int_equal(cluster_forget(boss->cluster, VIEW("nobody")), ERR_GONE);
}

static int tear_down(void **state)
{
	node_end(&twin);
	return nodes_tear_down(state);
}

#define NODE_TEST(name) cmocka_unit_test_setup_teardown(name, nodes_set_up, tear_down)

/* --- mad --- */

static void deliver_rubbish(struct mail *mail)
{
	struct visit *v = CONTAINER_OF(mail, struct visit, mail);

	assert_int_equal(peers_send(v->c->peers, view_str(coordinator_of(&nodes[0])), PEER_REPORT, VIEW("rubbish")), 0);
	v->done = true;
}

/* Its links end, with a line that says why, and come again. */
static void a_report_that_is_none(void **state)
{
	static const char line[] = "event=peer_refused reason=malformed detail=\"REPORT is none\"";
	char name[40];
	struct visit v;

	(void)state;
	form();
	struct node *boss = node_named(coordinator_of(&nodes[0])), *one = other_than(boss, NULL);
	snprintf(name, sizeof name, "name=%s ", one->name);
	unsigned refused = logged(line, name), down = logged("event=peer_down", name);
	visit(&v, one, deliver_rubbish);
	RUN_UNTIL(logged(line, name) == refused + 1);
	RUN_UNTIL(logged("event=peer_down", name) > down);
	RUN_UNTIL(are_one(NODES));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    NODE_TEST(two_processes_of_one_name),      NODE_TEST(who_breaks_is_not_dead_at_once),
	    NODE_TEST(a_coordinator_whose_disk_hangs), NODE_TEST(these_two_are_not_forgotten),
	    NODE_TEST(a_report_that_is_none),
	};
	return cmocka_run_group_tests(tests, cluster_folder, cluster_folder_gone);
}
