/* Three whole nodes: links, core and control plane put together. What the parts do by themselves is tested with them.
 */
#include "base/folder.h"
#include "cluster/node_state.h"
#include "tests/unit/cluster_fixture.h"

static void print_since(const char *what, uint64_t since_us)
{
	print_message("%s: %llu ms\n", what, (unsigned long long)(clock_us() - since_us) / 1000);
}

static void form(void)
{
	all_start();
	RUN_UNTIL(are_one(NODES));
}

static void start_fails(const struct node *n, struct cluster_settings *s, int expected, const char *part)
{
	struct cluster *c = NULL;
	char reason[200];
	uint16_t port = 0;

	s->tls = context_of(n);
	s->listen_fd = listen_on(&port);
	int fd = s->listen_fd;
	assert_int_equal(cluster_start(&c, s, &node_ops, NULL, &loop, reason), expected);
	assert_non_null(strstr(reason, part));
	assert_null(c);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	tls_context_unref(&s->tls);
}

/* --- forming --- */

static void they_become_one(void **state)
{
	uint64_t before = clock_us();

	(void)state;
	all_start();
	RUN_UNTIL(are_one(NODES));
	print_since("one view", before);
	for (unsigned i = 0; i < NODES; i++) {
		assert_string_equal(coordinator_of(&nodes[i]), coordinator_of(&nodes[0]));
		for (unsigned k = 0; k < NODES; k++)
			assert_true(votes(&nodes[i], nodes[k].name));
	}
}

static void alone(void **state)
{
	(void)state;
	node_begin(&nodes[0], 0);
	RUN_UNTIL(are_one(1));
	assert_string_equal(coordinator_of(&nodes[0]), "alpha");
}

/* Their own address among the peers counts once, whoever is missing; one that comes later is let in. */
static void one_comes_later(void **state)
{
	(void)state;
	node_begin(&nodes[0], NODES);
	node_begin(&nodes[1], NODES);
	RUN_UNTIL(are_one(2));
	node_begin(&nodes[2], NODES);
	RUN_UNTIL(are_one(3));
}

/* It has begun a cluster by itself; others know its address only. */
static void alone_is_joined(void **state)
{
	(void)state;
	node_begin(&nodes[0], 0);
	RUN_UNTIL(are_one(1));
	node_begin(&nodes[1], 1);
	RUN_UNTIL(are_one(2));
	RUN_UNTIL(votes(&nodes[0], "beta"));
	node_begin(&nodes[2], 1);
	RUN_UNTIL(are_one(3) && votes(&nodes[1], "gamma"));
}

static void alone_in_vain(void **state)
{
	(void)state;
	node_begin(&nodes[0], NODES);
	struct instant since = clock_now();
	RUN_UNTIL(instant_since_ms(clock_now(), since) > 2 * FAILURE_MS);
	assert_false(acts(&nodes[0]));
	assert_int_equal(epoch_of(&nodes[0]), 0);
	assert_int_equal(cluster_forget(nodes[0].cluster, VIEW("beta")), ERR_BUSY);
}

/* --- going --- */

static void a_member_ends(void **state)
{
	(void)state;
	form();
	struct node *boss = node_named(coordinator_of(&nodes[0])), *one = other_than(boss, NULL);
	uint64_t before = clock_us();
	node_end(one);
	RUN_UNTIL(are_one(2));
	print_since("a view without a member that has ended", before);
	assert_false(in_view(boss, one->name));
	assert_true(votes(boss, one->name));
	node_begin(one, NODES);
	RUN_UNTIL(are_one(3));
}

static void the_coordinator_ends(void **state)
{
	(void)state;
	form();
	struct node *boss = node_named(coordinator_of(&nodes[0])), *one = other_than(boss, NULL);
	uint64_t before = clock_us();
	node_end(boss);
	RUN_UNTIL(are_one(2));
	print_since("a view without the coordinator that has ended", before);
	assert_false(in_view(one, boss->name));
	assert_string_not_equal(coordinator_of(one), boss->name);
	node_begin(boss, NODES);
	RUN_UNTIL(are_one(3));
}

/* Who is left has no majority: it may not act, and can when another one is back. */
static void a_minority_is_fenced(void **state)
{
	(void)state;
	form();
	node_end(&nodes[1]);
	node_end(&nodes[2]);
	RUN_UNTIL(!acts(&nodes[0]));
	assert_false(cluster_may_act(nodes[0].cluster, clock_lease()));
	node_begin(&nodes[1], NODES);
	RUN_UNTIL(are_one(2));
}

static void leave(struct node *n)
{
	struct node *other = other_than(n, NULL);
	uint64_t before = clock_us();

	cluster_leave(n->cluster);
	cluster_leave(n->cluster); /* once more changes nothing */
	RUN_UNTIL(n->left == 1);
	assert_string_equal(n->left_why, "");
	print_since("left", before);
	node_end(n);
	RUN_UNTIL(are_one(2));
	assert_false(in_view(other, n->name));
	assert_false(votes(other, n->name));
	assert_int_equal(n->left, 1);
}

static void a_member_leaves(void **state)
{
	(void)state;
	form();
	leave(other_than(node_named(coordinator_of(&nodes[0])), NULL));
	assert_int_equal(logged("event=member_left", "") > 0, 1);
}

static void the_coordinator_leaves(void **state)
{
	(void)state;
	form();
	leave(node_named(coordinator_of(&nodes[0])));
}

static void the_last_leaves(void **state)
{
	(void)state;
	node_begin(&nodes[0], 0);
	RUN_UNTIL(are_one(1));
	cluster_leave(nodes[0].cluster);
	RUN_UNTIL(nodes[0].left == 1);
}

static void who_never_was_in_leaves(void **state)
{
	(void)state;
	node_begin(&nodes[0], NODES);
	cluster_leave(nodes[0].cluster);
	RUN_UNTIL(nodes[0].left == 1);
}

/* The one that is left has no majority, and nobody to take it out. */
static void who_is_left_alone_gives_up(void **state)
{
	(void)state;
	form();
	struct node *boss = node_named(coordinator_of(&nodes[0])), *one = other_than(boss, NULL);
	node_end(other_than(boss, one));
	RUN_UNTIL(are_one(2));
	node_end(one);
	struct instant since = clock_now();
	cluster_leave(boss->cluster);
	RUN_UNTIL(boss->left == 1);
	assert_true(instant_since_ms(clock_now(), since) >= 2 * FAILURE_MS - FAILURE_MS / 8);
	assert_string_equal(boss->left_why, "no coordinator has answered for twice failure-timeout");
	node_end(boss);
	assert_int_equal(boss->left, 1);
}

static void one_is_forgotten(void **state)
{
	(void)state;
	form();
	struct node *boss = node_named(coordinator_of(&nodes[0])), *one = other_than(boss, NULL);
	struct node *third = other_than(boss, one);
	assert_int_equal(cluster_forget(third->cluster, VIEW("delta")), ERR_GONE);
	node_end(one);
	RUN_UNTIL(are_one(2));
	assert_true(votes(third, one->name));
	/* Asked of one that does not coordinate. */
	assert_int_equal(cluster_forget(third->cluster, view_str(one->name)), 0);
	RUN_UNTIL(!votes(third, one->name) && !votes(boss, one->name));
	RUN_UNTIL(cluster_forget(third->cluster, view_str(one->name)) == ERR_GONE);
}

/* It lives still: it is out for a while, and asks to be let in as another one. */
static void a_living_one_is_forgotten(void **state)
{
	(void)state;
	form();
	struct node *boss = node_named(coordinator_of(&nodes[0])), *one = other_than(boss, NULL);
	struct test_look l;
	look_at(one, &l);
	uint64_t incarnation = l.look.picture.incarnation;
	cluster_picture_fini(&l.look.picture);
	assert_int_equal(cluster_forget(boss->cluster, view_str(one->name)), 0);
	RUN_UNTIL(!in_view(boss, one->name));
	RUN_UNTIL(are_one(3));
	look_at(one, &l);
	assert_true(l.look.picture.incarnation != incarnation);
	cluster_picture_fini(&l.look.picture);
}

/* All go, one after the other, and come again: the cluster is the same. */
static void after_a_restart_of_all(void **state)
{
	(void)state;
	form();
	struct cluster_view *before = cluster_view_take(nodes[0].cluster);
	for (unsigned i = 0; i < NODES; i++)
		node_end(&nodes[i]);
	form();
	struct cluster_view *after = cluster_view_take(nodes[0].cluster);
	assert_memory_equal(after->view.cluster, before->view.cluster, CLUS_ID_BYTES);
	assert_true(after->view.epoch > before->view.epoch);
	cluster_view_unref(&before);
	cluster_view_unref(&after);
}

static void kept_id_is(const struct node *n, const char *text)
{
	char path[PATH_MAX];
	struct cluster_settings s = settings_for(n, 0);

	assert_true(folder_path(s.folder, "cluster", path));
	assert_int_equal(access(path, R_OK), 0); /* the node has written it */
	FILE *f = fopen(path, "w");
	fputs(text, f);
	fclose(f);
}

/* Two clusters of one name that were made apart: who was in one is not let into the other. */
static void another_cluster(void **state)
{
	(void)state;
	node_begin(&nodes[0], 0);
	RUN_UNTIL(are_one(1));
	node_begin(&nodes[1], 1);
	RUN_UNTIL(are_one(2));
	node_end(&nodes[1]);
	kept_id_is(&nodes[1], "00112233445566778899aabbccddeeff\n");
	unsigned before = logged("event=peer_refused", "other cluster");
	node_begin(&nodes[1], 1);
	RUN_UNTIL(logged("event=peer_refused", "other cluster") > before);
	assert_int_equal(epoch_of(&nodes[1]), 0);
	node_end(&nodes[1]);
}

/* --- what it says --- */

static const struct cluster_node_picture *node_in(const struct cluster_picture *p, const char *name)
{
	for (size_t i = 0; i < p->node_count; i++) {
		if (strcmp(p->nodes[i].name, name) == 0)
			return &p->nodes[i];
	}
	return NULL;
}

static unsigned links_open(struct node *n)
{
	struct test_look l;
	unsigned count = 0;

	look_at(n, &l);
	for (size_t i = 0; i < l.look.picture.link_count; i++)
		count += strcmp(l.look.picture.links[i].state, "open") == 0;
	cluster_picture_fini(&l.look.picture);
	return count;
}

static void a_look(void **state)
{
	struct test_look l;

	(void)state;
	form();
	RUN_UNTIL(links_open(&nodes[1]) == 4);
	struct node *boss = node_named(coordinator_of(&nodes[0])), *one = other_than(boss, NULL);
	look_at(one, &l);
	const struct cluster_picture *p = &l.look.picture;
	assert_int_equal(l.look.err, 0);
	assert_string_equal(p->state, "member");
	assert_int_equal(p->epoch, epoch_of(one));
	assert_true(p->incarnation != 0);
	assert_false(p->coordinates);
	assert_true(p->may_act);
	assert_true(p->majority);
	assert_int_equal(p->view->view.member_count, NODES);
	assert_int_equal(p->node_count, 2);
	assert_int_equal(p->link_count, 4);
	assert_int_equal(p->difference_count, 0);
	uint16_t m = clus_view_member(&p->view->view, view_str(boss->name));
	assert_int_equal(node_in(p, boss->name)->incarnation, p->view->view.members[m].incarnation);
	assert_int_equal(node_in(p, boss->name)->epoch, p->epoch);
	assert_true(node_in(p, boss->name)->heard);
	assert_true(p->links[0].frames_in > 0 && p->links[0].bytes_out > 0);
	cluster_picture_fini(&l.look.picture);
	look_at(boss, &l);
	assert_true(l.look.picture.coordinates);
	cluster_picture_fini(&l.look.picture);
	node_end(other_than(boss, one));
	node_end(boss);
	RUN_UNTIL(!acts(one));
	look_at(one, &l);
	assert_false(l.look.picture.majority);
	assert_false(l.look.picture.may_act);
	assert_string_equal(l.look.picture.state, "fenced");
	assert_int_equal(node_in(&l.look.picture, boss->name)->incarnation, 0);
	assert_false(node_in(&l.look.picture, boss->name)->heard);
	cluster_picture_fini(&l.look.picture);
}

static size_t differences(struct node *n, const char *node, const char *settings, const char *counting)
{
	struct test_look l;
	size_t count = 0;

	look_at(n, &l);
	for (size_t i = 0; i < l.look.picture.difference_count; i++) {
		const struct cluster_difference *d = &l.look.picture.differences[i];
		count += strcmp(d->app, "shop") == 0 && strcmp(d->node, node) == 0 && d->settings && d->counting &&
			 strcmp(d->settings, settings) == 0 && strcmp(d->counting, counting) == 0;
	}
	cluster_picture_fini(&l.look.picture);
	return count;
}

static void settings_differ(void **state)
{
	(void)state;
	node_begin(&nodes[0], NODES);
	node_begin(&nodes[1], NODES);
	RUN_UNTIL(are_one(2));
	nodes[2].settings = "mode=other ttl=5";
	nodes[2].digest = 2;
	node_begin(&nodes[2], NODES);
	RUN_UNTIL(are_one(3));
	for (unsigned i = 0; i < NODES; i++)
		assert_int_equal(differences(&nodes[i], "gamma", "mode=other ttl=5", "mode=managed"), 1);
	assert_true(logged("event=app_settings_differ name=gamma app=shop",
			   "settings=\"mode=other ttl=5\" counting=\"mode=managed\"") >= 1);
	/* It is told what the others have. */
	nodes[2].settings = "mode=managed";
	nodes[2].digest = 1;
	node_reload(&nodes[2]);
	RUN_UNTIL(differences(&nodes[0], "gamma", "mode=other ttl=5", "mode=managed") == 0 && are_one(3));
}

static bool has_zone(const struct node *n, const char *name, const char *zone)
{
	struct cluster_view *v = cluster_view_take(n->cluster);
	uint16_t m = v ? clus_view_member(&v->view, view_str(name)) : CLUS_NONE;
	bool has = m != CLUS_NONE && view_eq(v->view.members[m].zone, view_str(zone));

	cluster_view_unref(&v);
	return has;
}

static void a_reload_is_told(void **state)
{
	(void)state;
	form();
	for (unsigned i = 0; i < NODES; i++) {
		nodes[i].zone = "north";
		node_reload(&nodes[i]);
		for (unsigned k = 0; k < NODES; k++)
			RUN_UNTIL(has_zone(&nodes[k], nodes[i].name, "north"));
	}
	RUN_UNTIL(are_one(3));
}

/* And what is wrong with it; then all stays as it was. */
static void a_reload_is_refused(void **state)
{
	static char longer[PEER_SETTINGS_MAX + 2];
	struct cluster_app app = {"forum", longer, 1};
	char reason[200] = "";

	(void)state;
	memset(longer, 'x', sizeof longer - 1);
	node_begin(&nodes[0], 0);
	RUN_UNTIL(are_one(1));
	struct cluster_settings s = settings_for(&nodes[0], 0);
	s.apps = &app;
	s.zone = "north";
	assert_int_equal(cluster_reload(nodes[0].cluster, &s, reason), ERR_TOO_LARGE);
	assert_non_null(strstr(reason, "forum"));
	loop_settle();
	assert_false(has_zone(&nodes[0], "alpha", "north"));
}

/* A thread that does not run gives nobody the right to act: the clock alone takes it. */
static void the_right_has_an_end(void **state)
{
	(void)state;
	form();
	struct lease_time end = {clock_lease().ms + FAILURE_MS / 2 + 1};
	assert_false(cluster_may_act(nodes[0].cluster, end));
}

/* --- what goes wrong --- */

struct blow {
	struct mail mail;
	struct cluster *c;
};

static void deliver_blow(struct mail *mail)
{
	struct blow *b = CONTAINER_OF(mail, struct blow, mail);

	node_break(b->c, "the disk is gone");
}

static void deliver_leave_and_blow(struct mail *mail)
{
	struct blow *b = CONTAINER_OF(mail, struct blow, mail);

	node_leave(b->c);
	node_break(b->c, "the disk is gone");
}

static void strike(struct blow *b, struct node *n, void (*deliver)(struct mail *mail))
{
	b->c = n->cluster;
	b->mail.deliver = deliver;
	list_init(&b->mail.link);
	net_loop_post(&n->cluster->loop, &b->mail);
}

/* It may not act, and the others go on without it. Who lets it leave then is told at once that nothing comes of it. */
static void broken(void **state)
{
	struct test_look l;

	(void)state;
	form();
	struct node *boss = node_named(coordinator_of(&nodes[0])), *other = other_than(boss, NULL);
	struct blow blow;
	strike(&blow, boss, deliver_blow);
	RUN_UNTIL(boss->broken == 1);
	assert_string_equal(boss->why, "the disk is gone");
	assert_false(acts(boss));
	RUN_UNTIL(members_of(other) == 2 && acts(other) && !in_view(other, boss->name));
	look_at(boss, &l);
	assert_string_equal(l.look.picture.state, "fenced");
	assert_false(l.look.picture.may_act || l.look.picture.coordinates);
	cluster_picture_fini(&l.look.picture);
	assert_int_equal(boss->left, 0);
	cluster_leave(boss->cluster);
	RUN_UNTIL(boss->left == 1);
	assert_string_equal(boss->left_why, "the disk is gone");
	node_end(boss);
	assert_int_equal(boss->broken, 1);
	assert_int_equal(boss->left, 1);
}

static void broken_while_it_leaves(void **state)
{
	struct blow blow;

	(void)state;
	form();
	struct node *one = other_than(node_named(coordinator_of(&nodes[0])), NULL);
	strike(&blow, one, deliver_leave_and_blow);
	RUN_UNTIL(one->broken == 1 && one->left == 1);
	assert_string_equal(one->left_why, "the disk is gone");
	node_end(one);
	assert_int_equal(one->left, 1);
}

static void cannot_start(void **state)
{
	static const char *const many[] = {"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "127.0.0.1:4",
					   "127.0.0.1:5", "127.0.0.1:6", "127.0.0.1:7"};
	static char longer[PEER_SETTINGS_MAX + 2];
	struct cluster_settings s = settings_for(&nodes[0], NODES);

	(void)state;
	s.peers = many;
	s.peer_count = 7;
	start_fails(&nodes[0], &s, ERR_BROKEN, "more than 6 peers");
	s = settings_for(&nodes[0], NODES);
	s.folder = "/dev/null/nowhere";
	start_fails(&nodes[0], &s, ERR_BROKEN, "/dev/null");
	s = settings_for(&nodes[0], NODES);
	memset(longer, 'x', sizeof longer - 1);
	struct cluster_app app = {"shop", longer, 1};
	s.apps = &app;
	start_fails(&nodes[0], &s, ERR_BROKEN, "shop");
	/* Another process has the folder. */
	node_begin(&nodes[0], NODES);
	s = settings_for(&nodes[0], NODES);
	start_fails(&nodes[0], &s, ERR_BROKEN, "");
}

/* --- the end, in every state --- */

static void ends_at_once(void **state)
{
	struct test_look l = {.look.done = look_done};

	(void)state;
	all_start();
	cluster_look(nodes[0].cluster, &l.look);
	for (unsigned i = 0; i < NODES; i++) {
		cluster_stop(nodes[i].cluster);
		cluster_stop(nodes[i].cluster);
		assert_false(acts(&nodes[i]));
	}
	node_end(&nodes[0]);
	assert_true(l.done); /* before `stopped` */
	cluster_picture_fini(&l.look.picture);
}

/* A look, a reload and so on behind the end. */
static void asked_after_the_end(void **state)
{
	struct test_look l = {.look.done = look_done};
	struct cluster_settings s = settings_for(&nodes[0], NODES);

	(void)state;
	node_begin(&nodes[0], NODES);
	cluster_stop(nodes[0].cluster);
	s.tls = context_of(&nodes[0]);
	assert_int_equal(cluster_reload(nodes[0].cluster, &s, nodes[0].why), 0);
	tls_context_unref(&s.tls);
	cluster_leave(nodes[0].cluster);
	assert_int_equal(cluster_forget(nodes[0].cluster, VIEW("beta")), ERR_BUSY);
	cluster_look(nodes[0].cluster, &l.look);
	RUN_UNTIL(l.done);
	assert_int_equal(l.look.err, ERR_STOPPED);
}

static void ends_after(unsigned ms)
{
	all_start();
	struct instant since = clock_now();
	RUN_UNTIL(instant_since_ms(clock_now(), since) >= ms);
	for (unsigned i = 0; i < NODES; i++)
		cluster_stop(nodes[i].cluster);
	for (unsigned i = 0; i < NODES; i++)
		RUN_UNTIL(!nodes[i].cluster);
}

/* While links, an election, the first proposal are under way. */
static void ends_while_it_forms(void **state)
{
	(void)state;
	for (unsigned ms = 20; ms < 600; ms += 60) {
		folders++;
		ends_after(ms);
	}
}

static void ends_while_it_leaves(void **state)
{
	(void)state;
	form();
	for (unsigned i = 0; i < NODES; i++)
		cluster_leave(nodes[i].cluster);
	node_end(&nodes[0]);
}

/* Reports of the thread come also when main looks late. */
static void a_view_outlives_it(void **state)
{
	(void)state;
	node_begin(&nodes[0], 0);
	RUN_UNTIL(are_one(1));
	struct cluster_view *v = cluster_view_take(nodes[0].cluster);
	node_end(&nodes[0]);
	assert_int_equal(v->view.member_count, 1);
	cluster_view_unref(&v);
	assert_null(v);
}

#define NODE_TEST(name) cmocka_unit_test_setup_teardown(name, nodes_set_up, nodes_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    NODE_TEST(they_become_one),
	    NODE_TEST(alone),
	    NODE_TEST(one_comes_later),
	    NODE_TEST(alone_is_joined),
	    NODE_TEST(alone_in_vain),
	    NODE_TEST(a_member_ends),
	    NODE_TEST(the_coordinator_ends),
	    NODE_TEST(a_minority_is_fenced),
	    NODE_TEST(a_member_leaves),
	    NODE_TEST(the_coordinator_leaves),
	    NODE_TEST(the_last_leaves),
	    NODE_TEST(who_never_was_in_leaves),
	    NODE_TEST(who_is_left_alone_gives_up),
	    NODE_TEST(one_is_forgotten),
	    NODE_TEST(a_living_one_is_forgotten),
	    NODE_TEST(after_a_restart_of_all),
	    NODE_TEST(another_cluster),
	    NODE_TEST(a_look),
	    NODE_TEST(settings_differ),
	    NODE_TEST(a_reload_is_told),
	    NODE_TEST(a_reload_is_refused),
	    NODE_TEST(the_right_has_an_end),
	    NODE_TEST(broken),
	    NODE_TEST(broken_while_it_leaves),
	    NODE_TEST(cannot_start),
	    NODE_TEST(ends_at_once),
	    NODE_TEST(asked_after_the_end),
	    NODE_TEST(ends_while_it_forms),
	    NODE_TEST(ends_while_it_leaves),
	    NODE_TEST(a_view_outlives_it),
	};
	return cmocka_run_group_tests(tests, cluster_folder, cluster_folder_gone);
}
