/* The cluster as JSON: what is the same everywhere, what this node sees otherwise, and maps as pictures. */
#include "gateway/figures_cluster.h"
#include "gateway/figures_trouble.h"

#include "tests/unit/view_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static struct sample sample;
static struct cluster_view view;
static struct member_look look;
static struct cluster_node_picture nodes[2];
static struct cluster_difference difference;
static char beta_settings[] = "mode=managed ttl=1h buckets=3", settings[] = "mode=managed ttl=30m buckets=3";

/* As alpha sees it, which hosts both apps with the settings that count. Beta goes by an older view, another process
 * than the member's is linked as delta, nobody hears the witness, and a stranger is linked. */
static int set_up(void **unused)
{
	(void)unused;
	sample_init(&sample);
	view.view = sample.view;
	struct member_apps *apps = calloc(1, sizeof *apps + sizeof apps->at[0]);
	apps->count = 1;
	apps->at[0] = (struct member_app){.name = (char *)"shop", .settings = settings, .digest = 0x5051525354555657};
	nodes[0] = (struct cluster_node_picture){.name = "delta", .incarnation = 77, .epoch = 9, .heard = true};
	nodes[1] = (struct cluster_node_picture){.name = "zeta", .incarnation = 5, .heard = true};
	difference = (struct cluster_difference){.app = "shop", .node = "beta", .settings = beta_settings};
	look = (struct member_look){.apps = apps, .cluster = (char *)"eu", .node = (char *)"alpha", .fenced_ms = 2500};
	look.picture = (struct cluster_picture){
	    .state = "member",
	    .incarnation = 0x0a0b0c0d0e0f1011,
	    .epoch = 0x0102030405060708,
	    .may_act = true,
	    .view = &view,
	    .nodes = nodes,
	    .node_count = 2,
	    .differences = &difference,
	    .difference_count = 1,
	};
	return 0;
}

static int tear_down(void **unused)
{
	(void)unused;
	free(look.apps);
	return 0;
}

/* What is there at "members.0.name", in one line. */
static void assert_at(const json_t *document, const char *path, const char *expected)
{
	const json_t *at = document;
	char word[64];

	for (const char *rest = path; at && *rest;) {
		size_t len = strcspn(rest, ".");
		snprintf(word, sizeof word, "%.*s", (int)len, rest);
		at = json_is_array(at) ? json_array_get(at, strtoul(word, NULL, 10)) : json_object_get(at, word);
		rest += len + (rest[len] == '.');
	}
	assert_non_null(at);
	char *text = json_dumps(at, JSON_COMPACT | JSON_ENCODE_ANY);
	assert_string_equal(text, expected);
	free(text);
}

static void tells_of_members(void **unused)
{
	(void)unused;
	json_t *o = figures_cluster(&look, FIGURES_PROGRAMS);

	assert_at(o, "id",
		  "\"20010203040506070809"
		  "0a0b0c0d0e0f\"");
	assert_at(o, "coordinator", "\"beta\"");
	assert_at(o, "voters", "[\"beta\",\"gone\",\"w\"]");
	assert_at(o, "fenced_so_far_s", "2");
	assert_at(o, "members.0.name", "\"alpha\"");
	assert_at(o, "members.0.incarnation", "\"0a0b0c0d0e0f1011\"");
	assert_at(o, "members.0.heard", "true");
	assert_at(o, "members.0.linked_incarnation", "null");
	assert_at(o, "members.0.voter", "false");
	assert_at(o, "members.0.buckets", "{\"blog\":1,\"shop\":2}");
	assert_at(o, "members.2.leaving", "true");
	assert_at(o, "members.2.buckets", "{\"shop\":0}");
	assert_at(o, "members.3.witness", "true");
	assert_at(o, "members.3.buckets", "{}");
	json_decref(o);
}

/* What this node sees and the view does not say. */
static void shows_what_differs(void **unused)
{
	(void)unused;
	json_t *o = figures_cluster(&look, FIGURES_PROGRAMS);

	assert_at(o, "members.1.heard", "false");
	assert_at(o, "members.1.epoch", "null");
	assert_at(o, "members.2.epoch", "9");
	assert_at(o, "members.2.linked_incarnation", "\"000000000000004d\"");
	assert_at(o, "outside.0.name", "\"zeta\"");
	assert_at(o, "apps.1.settings", "\"mode=managed ttl=30m buckets=3\"");
	assert_at(o, "apps.1.disagree.0.node", "\"beta\"");
	assert_at(o, "apps.1.disagree.0.settings", "\"mode=managed ttl=1h buckets=3\"");
	/* This node does not host it as it counts, and nobody has told what counts. */
	assert_at(o, "apps.0.settings", "null");
	json_decref(o);
}

static void assert_trouble(const json_t *rows, size_t i, const char *node, const char *what)
{
	assert_string_equal(json_string_value(json_object_get(json_array_get(rows, i), "node")), node);
	assert_string_equal(json_string_value(json_object_get(json_array_get(rows, i), "what")), what);
}

static const struct wall_time now = {.s = 1800000000};

static void trouble_with_others(void **unused)
{
	static struct cluster_link_picture link = {
	    .peer = "beta", .link = PEER_LINK_CONTROL, .last_failure = "it is gone"};

	(void)unused;
	look.picture.majority = true;
	look.picture.links = &link;
	look.picture.link_count = 1;
	json_t *rows = figures_trouble(&look, now);

	assert_trouble(rows, 0, "gone", "has a vote and is no member: start it, or forget it");
	assert_trouble(rows, 1, "beta", "is not heard: it is gone");
	assert_trouble(rows, 2, "delta", "was restarted, and is not let in again yet");
	assert_trouble(rows, 3, "delta", "goes by view 9, this node by 72623859790382856");
	assert_trouble(rows, 4, "w", "is not heard");
	assert_trouble(rows, 5, "zeta", "is linked, and no member");
	assert_int_equal(json_array_size(rows), 6);
	json_decref(rows);
}

/* The first row, with the certificate good for so long. */
static void assert_own(int64_t left_s, const char *what)
{
	look.certificate_ends_s = now.s + left_s;
	json_t *rows = figures_trouble(&look, now);

	assert_trouble(rows, 0, "alpha", what);
	json_decref(rows);
}

static void trouble_of_its_own(void **unused)
{
	static const int64_t year_s = 365 * 86400;

	(void)unused;
	assert_own(year_s, "hears no majority of the voters");
	look.picture.may_act = false;
	assert_own(year_s, "is fenced: requests that need a session get 503");
	look.broken = true;
	assert_own(year_s, "stays fenced until it is restarted: its control database has failed, the log says how");
	look.broken = false;
	look.picture.view = NULL;
	assert_own(year_s, "has not found its cluster yet: requests that need a session get 503");
	look.picture.may_act = true;
	assert_own(3 * 86400 + 1, "has a certificate or a revocation list that ends in 3 days");
	assert_own(5 * 3600, "has a certificate or a revocation list that ends in 5 hours");
	assert_own(0, "has a certificate or a revocation list that has ended: links that end are not made again");
	look.certificate_ends_s = now.s + year_s;
	json_t *rows = figures_trouble(&look, now);
	assert_int_equal(json_array_size(rows), 0);
	json_decref(rows);
}

static void people_get_the_words_that_differ(void **unused)
{
	(void)unused;
	json_t *o = figures_cluster(&look, FIGURES_PEOPLE);

	assert_at(o, "differences",
		  "[{\"app\":\"shop\",\"node\":\"beta\",\"has\":\"ttl=1h\",\"what_counts\":\"ttl=30m\"}]");
	assert_at(o, "members.0.buckets", "[\"blog 1\",\"shop 2\"]");
	assert_at(o, "apps.1.managers", "[\"alpha 2\"]");
	json_decref(o);
}

static void without_a_view(void **unused)
{
	(void)unused;
	look.picture.view = NULL;
	look.picture.may_act = false;
	json_t *o = figures_cluster(&look, FIGURES_PROGRAMS);

	assert_at(o, "id", "null");
	assert_at(o, "fenced", "true");
	assert_at(o, "members", "[]");
	assert_at(o, "outside.0.name", "\"delta\"");
	json_decref(o);
}

static void runs_of_buckets(void **unused)
{
	(void)unused;
	json_t *runs = figures_buckets(&sample.view, SHOP), *shares = figures_shares(&sample.view);

	assert_at(runs, "",
		  "[{\"first\":0,\"count\":1,\"manager\":\"alpha\",\"lost\":false},"
		  "{\"first\":1,\"count\":1,\"manager\":\"alpha\",\"lost\":true},"
		  "{\"first\":2,\"count\":1,\"manager\":null,\"lost\":true}]");
	assert_at(shares, "2", "{\"app\":\"shop\",\"manager\":\"alpha\",\"buckets\":2,\"lost\":1}");
	assert_at(shares, "3", "{\"app\":\"shop\",\"manager\":null,\"buckets\":1,\"lost\":1}");
	json_decref(runs);
	json_decref(shares);
}

/* A map of many buckets: a cell is of who manages most of it, and lost when some of it is. */
static void cells_of_a_large_map(void **unused)
{
	static struct bucket map[3 * FIGURES_CELLS];

	(void)unused;
	for (uint32_t i = 0; i < 3 * FIGURES_CELLS; i++)
		map[i] = (struct bucket){.manager = i % 3 == 0 ? BETA : ALPHA};
	map[4].lost = true; /* of the second cell */
	sample.apps[SHOP].map = map;
	sample.apps[SHOP].buckets = 3 * FIGURES_CELLS;
	json_t *maps = figures_maps(&sample.view);

	assert_at(maps, "0.managers", "[-1,0]");
	assert_at(maps, "0.lost", "[0]");
	assert_int_equal(json_array_size(json_object_get(json_array_get(maps, 1), "managers")), FIGURES_CELLS);
	assert_at(maps, "1.managers.0", "0");
	assert_at(maps, "1.managers.511", "0");
	assert_at(maps, "1.lost", "[1]");
	json_decref(maps);
}

/* --- memory that runs out --- */

static int allowed;

static void *stingy(size_t size)
{
	return allowed-- > 0 ? malloc(size) : NULL;
}

static void memory_runs_out_anywhere(void **unused)
{
	json_malloc_t was;
	json_free_t was_free;
	int needs = 0;

	(void)unused;
	json_get_alloc_funcs(&was, &was_free);
	json_set_alloc_funcs(stingy, free);
	for (json_t *o = NULL; !o; needs++) {
		allowed = needs;
		o = figures_cluster(&look, needs % 2 ? FIGURES_PEOPLE : FIGURES_PROGRAMS);
		json_decref(o);
		if (o)
			break;
	}
	json_set_alloc_funcs(was, was_free);
	assert_true(needs > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(tells_of_members, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(shows_what_differs, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(trouble_with_others, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(trouble_of_its_own, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(people_get_the_words_that_differ, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(without_a_view, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(runs_of_buckets, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(cells_of_a_large_map, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(memory_runs_out_anywhere, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
