/* Which options keep their old value at a reload, and that each of the others does not. */
#include "gateway/restart.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const char *said[16];
static size_t said_count;

static void say(void *arg, const char *option)
{
	assert_ptr_equal(arg, said);
	said[said_count++] = option;
}

static struct conf *load(const char *node, const char *rest)
{
	struct buf text = {.max_bytes = 0}, errors = {.max_bytes = 0};
	struct conf *c = NULL;

	buf_put_str(&text, "node \"alpha\" {\n");
	buf_put_str(&text, node);
	buf_put_str(&text,
		    "\n}\nlisten \"unix:/tmp/x\" { protocol = fastcgi }\napp \"a\" { backend \"unix:/tmp/y\" { } }\n");
	buf_put_str(&text, rest);
	int err = conf_load_text("test", buf_view(&text), &c, &errors);
	if (err)
		fail_msg("%.*s", (int)buf_len(&errors), (const char *)buf_view(&errors).at);
	buf_fini(&text);
	buf_fini(&errors);
	return c;
}

/* What is said of the change from one file to the other; the new conf is *out. */
static void change(const char *node, const char *rest, const char *new_node, const char *new_rest, struct conf **out)
{
	struct conf *now = load(node, rest);

	said_count = 0;
	*out = load(new_node, new_rest);
	assert_int_equal(restart_keep(*out, now, say, said), 0);
	conf_free(&now);
}

static void expect_said(const char *option)
{
	assert_int_equal(said_count, 1);
	assert_string_equal(said[0], option);
}

#define NODE "workers = 2\n"

static void nothing_is_said_of_the_same(void **unused)
{
	struct conf *c;

	(void)unused;
	change(NODE, "", NODE, "", &c);
	assert_int_equal(said_count, 0);
	conf_free(&c);
}

static void node_options_stay(void **unused)
{
	static const struct {
		const char *name, *text;
	} cases[] = {
	    {"node.state-dir", NODE "state-dir = \"/elsewhere\""},
	    {"node.user", NODE "user = \"root\""},
	    {"node.group", NODE "user = \"\"\ngroup = \"root\""},
	    {"node.pid-file", NODE "pid-file = \"/elsewhere.pid\""},
	    {"node.workers", "workers = 3"},
	    {"node.scheduling", NODE "scheduling = normal"},
	};
	struct conf *c;

	(void)unused;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		if (strcmp(cases[i].name, "node.group") == 0)
			continue; /* `user` comes with it */
		change(NODE, "", cases[i].text, "", &c);
		expect_said(cases[i].name);
		assert_int_equal(c->workers, 2);
		assert_string_equal(c->state_dir, "/var/lib/weir");
		assert_string_equal(c->user, "");
		assert_string_equal(c->pid_file, "/run/weir/weir.pid");
		assert_int_equal(c->scheduling, CONF_SCHEDULING_BATCH);
		conf_free(&c);
	}
}

/* What stands in run-dir because nothing else is said moves as little as run-dir itself, and is not told of apart. */
static void what_is_in_run_dir_stays_there(void **unused)
{
	struct conf *c;

	(void)unused;
	change(NODE, "", NODE "run-dir = \"/elsewhere\"", "", &c);
	expect_said("node.run-dir");
	assert_string_equal(c->run_dir, "/run/weir");
	assert_string_equal(c->pid_file, "/run/weir/weir.pid");
	assert_string_equal(c->admin.socket, "/run/weir/admin.sock");
	conf_free(&c);
	change(NODE, "", NODE "run-dir = \"/elsewhere\"", "admin { socket = \"/mine/admin.sock\" }\n", &c);
	expect_said("node.run-dir");
	assert_string_equal(c->admin.socket, "/mine/admin.sock");
	conf_free(&c);
}

static void the_name_stays(void **unused)
{
	struct conf *now = load(NODE, ""), *c = load(NODE, "");

	(void)unused;
	said_count = 0;
	free(c->node);
	c->node = strdup("beta");
	assert_int_equal(restart_keep(c, now, say, said), 0);
	expect_said("node");
	assert_string_equal(c->node, "alpha");
	conf_free(&c);
	conf_free(&now);
}

static void the_disk_store_neither_comes_nor_goes(void **unused)
{
	struct conf *c;

	(void)unused;
	change(NODE, "store { disk { max = 0 } }\n", NODE, "store { disk { max = 1G } }\n", &c);
	expect_said("store.disk.max");
	assert_int_equal(c->disk.max, 0);
	conf_free(&c);
	change(NODE, "store { disk { max = 1G } }\n", NODE, "store { disk { max = 0 } }\n", &c);
	expect_said("store.disk.max");
	assert_int_equal(c->disk.max, 1 << 30);
	conf_free(&c);
	change(NODE, "store { disk { max = 1G } }\n", NODE, "store { disk { max = 512M sync = none } }\n", &c);
	assert_int_equal(said_count, 0);
	assert_int_equal(c->disk.max, 1 << 29);
	assert_int_equal(c->disk.sync, CONF_SYNC_NONE);
	conf_free(&c);
	change(NODE, "store { disk { cache = 16M } }\n", NODE, "store { disk { cache = 32M } }\n", &c);
	expect_said("store.disk.cache");
	assert_int_equal(c->disk.cache, 16 << 20);
	conf_free(&c);
}

static void the_rest_is_as_the_file_has_it(void **unused)
{
	struct conf *c;

	(void)unused;
	change(NODE, "", NODE "drain-timeout = 7s", "store { memory { max = 5M } }\nlog { level = error }\n", &c);
	assert_int_equal(said_count, 0);
	assert_int_equal(c->drain_timeout_ms, 7000);
	assert_int_equal(c->memory.max, 5 << 20);
	assert_int_equal(c->log_level, LOG_ERROR);
	conf_free(&c);
}

#define CLUSTER_BUT(listen, more)                                                                                      \
	"cluster eu { certificate=/c key=/k ca=/a " listen " buckets=7 peers={'10.0.0.2:1','10.0.0.3:1'} " more " }\n"
#define CLUSTER(more) CLUSTER_BUT("listen='10.0.0.1:1'", more)

/* What the others were told, and what is agreed on with them. */
static void the_cluster_stays(void **unused)
{
	static const struct {
		const char *name, *text;
	} cases[] = {
	    {"cluster.address", CLUSTER("address='10.9.9.9:1'")},
	    {"cluster.votes", CLUSTER("votes=no")},
	    {"cluster.priority", CLUSTER("priority=7")},
	    {"cluster.failure-timeout", CLUSTER("failure-timeout=3s")},
	    {"cluster.election-timeout", CLUSTER("election-timeout=300ms")},
	};
	struct conf *c;

	(void)unused;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		change(NODE, CLUSTER(""), NODE, cases[i].text, &c);
		expect_said(cases[i].name);
		assert_string_equal(c->cluster.address.text, "10.0.0.1:1");
		assert_true(c->cluster.votes);
		assert_int_equal(c->cluster.priority, 100);
		assert_int_equal(c->cluster.failure_timeout_ms, 2000);
		assert_int_equal(c->cluster.election_timeout_ms, 200);
		conf_free(&c);
	}
	change(NODE, CLUSTER(""), NODE, "cluster us { certificate=/c key=/k ca=/a listen='10.0.0.1:1' buckets=8 }", &c);
	assert_int_equal(said_count, 2);
	assert_string_equal(said[0], "cluster");
	assert_string_equal(said[1], "cluster.buckets");
	assert_string_equal(c->cluster.name, "eu");
	assert_int_equal(c->cluster.buckets, 7);
	assert_int_equal(c->cluster.peers.count, 0);
	conf_free(&c);
}

/* What others dial because nothing else is said stays with listen. The kept address is no peer. */
static void the_cluster_stays_where_it_listens(void **unused)
{
	struct conf *c;

	(void)unused;
	change(NODE, CLUSTER(""), NODE, CLUSTER_BUT("listen='10.0.0.4:1'", "peers+={'10.0.0.1:1'}"), &c);
	expect_said("cluster.listen");
	assert_string_equal(c->cluster.listen.text, "10.0.0.1:1");
	assert_string_equal(c->cluster.address.text, "10.0.0.1:1");
	assert_int_equal(c->cluster.peers.count, 2);
	conf_free(&c);
}

static void the_rest_of_the_cluster_changes(void **unused)
{
	struct conf *c;

	(void)unused;
	change(NODE, CLUSTER("zone=one crl=/r"), NODE,
	       "cluster eu { certificate=/c2 key=/k2 ca=/a2 listen='10.0.0.1:1' buckets=7 peers='10.0.0.4:1' "
	       "public-url='https://a' zone=two }\n",
	       &c);
	assert_int_equal(said_count, 0);
	assert_string_equal(c->cluster.certificate, "/c2");
	assert_string_equal(c->cluster.key, "/k2");
	assert_string_equal(c->cluster.ca, "/a2");
	assert_null(c->cluster.crl);
	assert_string_equal(c->cluster.public_url, "https://a");
	assert_string_equal(c->cluster.zone, "two");
	assert_int_equal(c->cluster.peers.count, 1);
	assert_string_equal(c->cluster.peers.at[0].text, "10.0.0.4:1");
	conf_free(&c);
}

static void a_cluster_neither_comes_nor_goes(void **unused)
{
	struct conf *c;

	(void)unused;
	change(NODE, "", NODE, CLUSTER(""), &c);
	expect_said("cluster");
	assert_null(c->cluster.name);
	conf_free(&c);
	change(NODE, CLUSTER("zone=z"), NODE, "", &c);
	expect_said("cluster");
	assert_string_equal(c->cluster.name, "eu");
	assert_string_equal(c->cluster.zone, "z");
	assert_int_equal(c->cluster.peers.count, 2);
	conf_free(&c);
}

/* What a witness is told to host it does not, and no session socket is bound for it. */
static void a_witness_stays_one(void **unused)
{
	static const char alone[] = "node alpha { }\n" CLUSTER("witness=yes");
	struct conf *now = NULL, *c = load(NODE, CLUSTER("") "app b { match='path:/b' backend 'unix:/b' { } session { "
							     "mode=adopted cookie=c key=k socket='unix:/s' } }\n");
	struct buf errors = {.max_bytes = 0};

	(void)unused;
	assert_int_equal(conf_load_text("test", view_str(alone), &now, &errors), 0);
	now->workers = c->workers;
	assert_int_equal(c->listen_count, 2);
	said_count = 0;
	assert_int_equal(restart_keep(c, now, say, said), 0);
	expect_said("cluster.witness");
	assert_int_equal(c->app_count, 0);
	assert_int_equal(c->listen_count, 1);
	assert_int_equal(c->listens[0].protocol, CONF_FASTCGI);
	conf_free(&c);
	c = load(NODE, "");
	said_count = 0;
	assert_int_equal(restart_keep(now, c, say, said), 0);
	expect_said("cluster");
	assert_null(now->cluster.name);
	conf_free(&c);
	conf_free(&now);
	buf_fini(&errors);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(nothing_is_said_of_the_same),
	    cmocka_unit_test(node_options_stay),
	    cmocka_unit_test(what_is_in_run_dir_stays_there),
	    cmocka_unit_test(the_name_stays),
	    cmocka_unit_test(the_disk_store_neither_comes_nor_goes),
	    cmocka_unit_test(the_rest_is_as_the_file_has_it),
	    cmocka_unit_test(the_cluster_stays),
	    cmocka_unit_test(the_cluster_stays_where_it_listens),
	    cmocka_unit_test(the_rest_of_the_cluster_changes),
	    cmocka_unit_test(a_cluster_neither_comes_nor_goes),
	    cmocka_unit_test(a_witness_stays_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
