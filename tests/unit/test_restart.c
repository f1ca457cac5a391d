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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(nothing_is_said_of_the_same),           cmocka_unit_test(node_options_stay),
	    cmocka_unit_test(what_is_in_run_dir_stays_there),        cmocka_unit_test(the_name_stays),
	    cmocka_unit_test(the_disk_store_neither_comes_nor_goes), cmocka_unit_test(the_rest_is_as_the_file_has_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
