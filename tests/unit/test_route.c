/* Which app a request belongs to. The app's place in a table of patterns is what the tests compare. */
#include "gateway/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

enum { APPS_MAX = 8, PATTERNS_MAX = 4 };

/* "host:a.org", "host:.a.org" (any name below it), "path:/a", "path:*.css"; an app ends with NULL. */
struct app_text {
	const char *match[PATTERNS_MAX];
};

static char texts[APPS_MAX * PATTERNS_MAX][32];
static struct conf_pattern patterns[APPS_MAX * PATTERNS_MAX];
static struct conf_app apps[APPS_MAX];
static struct conf conf;

static struct conf_pattern pattern_of(const char *text, char *keep)
{
	bool host = strncmp(text, "host:", 5) == 0;
	struct conf_pattern p = {.kind = host ? CONF_HOST : CONF_PATH_PREFIX, .text = keep};

	text += 5;
	if (host && *text == '.')
		p.kind = CONF_HOST_SUFFIX;
	if (!host && *text == '*') {
		p.kind = CONF_PATH_SUFFIX;
		text++;
	}
	strcpy(keep, text);
	return p;
}

static void configure(const struct app_text *of, size_t count)
{
	conf = (struct conf){.apps = apps, .app_count = count};
	for (size_t a = 0; a < count; a++) {
		struct conf_pattern *at = patterns + a * PATTERNS_MAX;
		size_t n = 0;
		while (n < PATTERNS_MAX && of[a].match[n]) {
			at[n] = pattern_of(of[a].match[n], texts[a * PATTERNS_MAX + n]);
			n++;
		}
		apps[a] = (struct conf_app){.match = {.at = at, .count = n}};
	}
}

#define CONFIGURE(...)                                                                                                 \
	configure((const struct app_text[]){__VA_ARGS__},                                                              \
		  sizeof((const struct app_text[]){__VA_ARGS__}) / sizeof(struct app_text))
#define APP(...)                                                                                                       \
	{                                                                                                              \
		{                                                                                                      \
			__VA_ARGS__                                                                                    \
		}                                                                                                      \
	}

static int route(const char *host, const char *path)
{
	return route_app(&conf, view_str(host), view_str(path));
}

static void the_longest_path_wins(void **unused)
{
	(void)unused;
	CONFIGURE(APP("path:/shop"), APP("path:/shop/admin"), APP("path:/"));
	assert_int_equal(route("h", "/shop"), 0);
	assert_int_equal(route("h", "/shop/cart"), 0);
	assert_int_equal(route("h", "/shop/admin"), 1);
	assert_int_equal(route("h", "/shop/admin/x"), 1);
	assert_int_equal(route("h", "/else"), 2);
	assert_int_equal(route("h", "/"), 2);
}

static void the_order_in_the_file_is_nothing(void **unused)
{
	(void)unused;
	CONFIGURE(APP(NULL), APP("path:/"), APP("path:/shop/admin"), APP("path:/shop"));
	assert_int_equal(route("h", "/shop/cart"), 3);
	assert_int_equal(route("h", "/shop/admin"), 2);
	assert_int_equal(route("h", "/else"), 1);
}

static void a_path_ends_at_a_segment(void **unused)
{
	(void)unused;
	CONFIGURE(APP("path:/shop"), APP("path:/assets/"));
	assert_int_equal(route("h", "/shop"), 0);
	assert_int_equal(route("h", "/shop/"), 0);
	assert_int_equal(route("h", "/shopping"), -1);
	assert_int_equal(route("h", "/shop.php"), -1);
	assert_int_equal(route("h", "/sho"), -1);
	assert_int_equal(route("h", "/a/shop"), -1);
	assert_int_equal(route("h", "/assets/x"), 1);
	assert_int_equal(route("h", "/assets/"), 1);
	assert_int_equal(route("h", "/assets"), -1);
}

static void paths_have_a_case_and_hosts_have_none(void **unused)
{
	(void)unused;
	CONFIGURE(APP("path:/shop"), APP("host:Shop.Example.org"), APP("host:.example.net"));
	assert_int_equal(route("h", "/Shop"), -1);
	assert_int_equal(route("sHOP.example.ORG", "/"), 1);
	assert_int_equal(route("A.EXAMPLE.NET", "/"), 2);
}

static void an_exact_host_before_a_suffix_before_none(void **unused)
{
	(void)unused;
	CONFIGURE(APP("path:/a"), APP("host:.example.org", "path:/a"), APP("host:www.example.org", "path:/a"));
	assert_int_equal(route("www.example.org", "/a"), 2);
	assert_int_equal(route("w.example.org", "/a"), 1);
	assert_int_equal(route("example.org", "/a"), 0);
	CONFIGURE(APP(NULL), APP("host:.example.org"), APP("host:www.example.org"));
	assert_int_equal(route("www.example.org", "/a"), 2);
	assert_int_equal(route("w.example.org", "/a"), 1);
	assert_int_equal(route("example.org", "/a"), 0);
}

static void a_suffix_is_below_its_name(void **unused)
{
	(void)unused;
	CONFIGURE(APP("host:.example.org"));
	assert_int_equal(route("a.example.org", "/"), 0);
	assert_int_equal(route("a.b.example.org", "/"), 0);
	assert_int_equal(route("example.org", "/"), -1);
	assert_int_equal(route(".example.org", "/"), -1);
	assert_int_equal(route("badexample.org", "/"), -1);
	assert_int_equal(route("a.example.org.evil", "/"), -1);
	assert_int_equal(route("", "/"), -1);
}

/* A longer path decides before the host does. */
static void the_path_is_worth_more_than_the_host(void **unused)
{
	(void)unused;
	CONFIGURE(APP("host:www.example.org", "path:/a"), APP("path:/a/b"));
	assert_int_equal(route("www.example.org", "/a/b"), 1);
	assert_int_equal(route("www.example.org", "/a/c"), 0);
	assert_int_equal(route("other", "/a/c"), -1);
}

static void an_app_that_names_both_needs_both(void **unused)
{
	(void)unused;
	CONFIGURE(APP("host:a.org", "path:/a"));
	assert_int_equal(route("a.org", "/a"), 0);
	assert_int_equal(route("a.org", "/b"), -1);
	assert_int_equal(route("b.org", "/a"), -1);
}

static void one_of_several_hosts_and_paths_is_enough(void **unused)
{
	(void)unused;
	CONFIGURE(APP("host:a.org", "host:.b.org", "path:/a", "path:/b/c"), APP("path:/b"));
	assert_int_equal(route("a.org", "/a"), 0);
	assert_int_equal(route("x.b.org", "/b/c"), 0);
	assert_int_equal(route("a.org", "/b"), 1);
	assert_int_equal(route("a.org", "/c"), -1);
	assert_int_equal(route("c.org", "/b/c"), 1);
}

static void without_match_it_takes_what_is_left(void **unused)
{
	(void)unused;
	CONFIGURE(APP(NULL), APP("path:/a"), APP(NULL));
	assert_int_equal(route("h", "/a"), 1);
	assert_int_equal(route("h", "/b"), 0);
	assert_int_equal(route("", "/"), 0);
}

static void equals_go_to_the_first_in_the_file(void **unused)
{
	(void)unused;
	CONFIGURE(APP("path:/b", "path:/a"), APP("path:/a"));
	assert_int_equal(route("h", "/a"), 0);
}

static void no_app_no_match(void **unused)
{
	(void)unused;
	conf = (struct conf){.app_count = 0};
	assert_int_equal(route("h", "/a"), -1);
}

static void a_path_in_a_list(void **unused)
{
	(void)unused;
	CONFIGURE(APP("path:/status", "path:/assets/", "path:*.css", "host:h"), APP(NULL));
	const struct conf_patterns *p = &apps[0].match;
	assert_true(route_path_in(p, VIEW("/status")));
	assert_true(route_path_in(p, VIEW("/status/now")));
	assert_false(route_path_in(p, VIEW("/statuses")));
	assert_true(route_path_in(p, VIEW("/assets/a/b")));
	assert_true(route_path_in(p, VIEW("/a/b.css")));
	assert_true(route_path_in(p, VIEW("/.css")));
	assert_false(route_path_in(p, VIEW("/a.css/b")));
	assert_false(route_path_in(p, VIEW("/a.CSS")));
	assert_false(route_path_in(p, VIEW("/acss")));
	assert_false(route_path_in(p, VIEW("css")));
	assert_false(route_path_in(p, VIEW("")));
	assert_false(route_path_in(p, VIEW("h")));
	assert_false(route_path_in(&apps[1].match, VIEW("/a.css")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_longest_path_wins),
	    cmocka_unit_test(the_order_in_the_file_is_nothing),
	    cmocka_unit_test(a_path_ends_at_a_segment),
	    cmocka_unit_test(paths_have_a_case_and_hosts_have_none),
	    cmocka_unit_test(an_exact_host_before_a_suffix_before_none),
	    cmocka_unit_test(a_suffix_is_below_its_name),
	    cmocka_unit_test(the_path_is_worth_more_than_the_host),
	    cmocka_unit_test(an_app_that_names_both_needs_both),
	    cmocka_unit_test(one_of_several_hosts_and_paths_is_enough),
	    cmocka_unit_test(without_match_it_takes_what_is_left),
	    cmocka_unit_test(equals_go_to_the_first_in_the_file),
	    cmocka_unit_test(no_app_no_match),
	    cmocka_unit_test(a_path_in_a_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
