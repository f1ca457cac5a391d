/* What the gateway takes from a request's variables, and the path and host that apps are matched by. */
#include "gateway/facts.h"

#include "tests/unit/guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define assert_view(v, text) assert_true(view_eq((v), VIEW(text)))

static struct buf raw, path;

static int set_up(void **unused)
{
	(void)unused;
	buf_init(&raw, 0);
	buf_init(&path, 0);
	return 0;
}

static int tear_down(void **unused)
{
	(void)unused;
	buf_fini(&raw);
	buf_fini(&path);
	return 0;
}

/* Facts of "NAME", "VALUE", ..., NULL. The bytes end at a page that nobody may read, and live until the next call. */
static struct facts gather(const char *const *pairs)
{
	struct facts f;

	buf_clear(&raw);
	for (; *pairs; pairs += 2)
		fcgi_put_pair(&raw, (struct param){view_str(pairs[0]), view_str(pairs[1])});
	assert_int_equal(buf_error(&raw), 0);
	assert_true(facts_gather(&f, &(struct params){.wire = WIRE_FCGI, .raw = guarded(buf_view(&raw))}));
	return f;
}

#define GATHER(...) gather((const char *const[]){__VA_ARGS__, NULL})

/* --- variables --- */

static void every_variable_is_found(void **unused)
{
	struct facts f = GATHER("QUERY_STRING", "a=b", "REQUEST_METHOD", "POST", "REQUEST_URI", "/a?b", "SCRIPT_NAME",
				"/s", "PATH_INFO", "/p", "HTTP_HOST", "h:1", "SERVER_NAME", "n", "HTTP_COOKIE", "c=1",
				"CONTENT_LENGTH", "42", "HTTPS", "on");

	(void)unused;
	assert_view(f.method, "POST");
	assert_view(f.uri, "/a?b");
	assert_view(f.script_name, "/s");
	assert_view(f.path_info, "/p");
	assert_view(f.host, "h:1");
	assert_view(f.server_name, "n");
	assert_view(f.cookie, "c=1");
	assert_int_equal(f.content_length, 42);
	assert_true(f.has_length);
	assert_false(f.bad_length);
	assert_true(f.https);
	assert_false(f.idempotent);
}

static void nothing_is_there_unless_it_was_sent(void **unused)
{
	struct facts f = GATHER("HTTP_X", "y");

	(void)unused;
	assert_int_equal(f.method.len + f.uri.len + f.script_name.len + f.path_info.len + f.host.len +
			     f.server_name.len + f.cookie.len,
			 0);
	assert_false(f.has_length || f.bad_length || f.https || f.idempotent);
}

/* Names are compared as they are, and as a whole. */
static void similar_names_are_other_names(void **unused)
{
	struct facts f = GATHER("request_method", "GET", "Https", "on", "HTTP_HOSTS", "a", "HTTP_HOS", "b",
				"CONTENT_LENGTI", "5", "REQUEST_URJ", "/x", "", "empty");

	(void)unused;
	assert_int_equal(f.method.len + f.host.len + f.uri.len, 0);
	assert_false(f.https || f.has_length || f.bad_length);
}

static void of_two_the_first_counts(void **unused)
{
	struct facts f = GATHER("REQUEST_METHOD", "GET", "REQUEST_METHOD", "POST", "REQUEST_URI", "/1", "REQUEST_URI",
				"/2", "SCRIPT_NAME", "/1", "SCRIPT_NAME", "/2", "PATH_INFO", "/1", "PATH_INFO", "/2",
				"HTTP_HOST", "1", "HTTP_HOST", "2", "SERVER_NAME", "1", "SERVER_NAME", "2",
				"HTTP_COOKIE", "1", "HTTP_COOKIE", "2", "CONTENT_LENGTH", "1", "CONTENT_LENGTH", "2");

	(void)unused;
	assert_view(f.method, "GET");
	assert_view(f.uri, "/1");
	assert_view(f.script_name, "/1");
	assert_view(f.path_info, "/1");
	assert_view(f.host, "1");
	assert_view(f.server_name, "1");
	assert_view(f.cookie, "1");
	assert_int_equal(f.content_length, 1);
	assert_true(f.idempotent);
}

static void an_empty_first_one_counts_too(void **unused)
{
	struct facts f = GATHER("HTTP_COOKIE", "", "HTTP_COOKIE", "2", "REQUEST_URI", "", "REQUEST_URI", "/2");

	(void)unused;
	assert_int_equal(f.cookie.len, 0);
	assert_int_equal(f.uri.len, 0);
}

static void the_facts_do_not_depend_on_the_wire(void **unused)
{
	static const char scgi[] = "CONTENT_LENGTH\0007\0SCGI\0001\0REQUEST_METHOD\0PUT\0HTTP_HOST\0a.example";
	struct facts f;

	(void)unused;
	assert_true(facts_gather(&f, &(struct params){.wire = WIRE_SCGI, .raw = guarded(view_of(scgi, sizeof scgi))}));
	assert_view(f.method, "PUT");
	assert_view(f.host, "a.example");
	assert_int_equal(f.content_length, 7);
	assert_true(f.idempotent);
}

/* Every prefix of the variables: a whole list, or told to be none. */
static void a_cut_list_is_told(void **unused)
{
	struct facts f = GATHER("REQUEST_METHOD", "GET", "HTTP_HOST", "a.org");
	size_t first = strlen("xxREQUEST_METHODGET");
	struct buf whole = raw;

	(void)unused;
	assert_view(f.host, "a.org");
	for (size_t n = 0; n <= buf_len(&whole); n++) {
		struct params p = {.wire = WIRE_FCGI, .raw = guarded(view_of(buf_view(&whole).at, n))};
		assert_int_equal(facts_gather(&f, &p), n == 0 || n == first || n == buf_len(&whole));
	}
}

static void names_of_the_session_are_seen(void **unused)
{
	(void)unused;
	assert_true(GATHER("A", "b", "SESSION_ID", "x", "C", "d").session_names);
	assert_true(GATHER("SESSION_", "").session_names);
	assert_false(GATHER("SESSION", "x", "HTTP_SESSION_ID", "x", "session_id", "x").session_names);
}

/* --- CONTENT_LENGTH --- */

static void lengths(void **unused)
{
	static const struct {
		const char *value;
		bool has, bad;
		uint64_t length;
	} rows[] = {
	    {"0", true, false, 0},
	    {"1048576", true, false, 1048576},
	    {"007", true, false, 7},
	    {"9223372036854775807", true, false, INT64_MAX},
	    {"", false, false, 0}, /* RFC 3875, 4.1.2: no body */
	    {"9223372036854775808", false, true, 0},
	    {"18446744073709551616", false, true, 0},
	    {"-1", false, true, 0},
	    {"+1", false, true, 0},
	    {" 1", false, true, 0},
	    {"1 ", false, true, 0},
	    {"1,1", false, true, 0},
	    {"0x10", false, true, 0},
	    {"ten", false, true, 0},
	};

	(void)unused;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct facts f = GATHER("CONTENT_LENGTH", rows[i].value);
		assert_int_equal(f.has_length, rows[i].has);
		assert_int_equal(f.bad_length, rows[i].bad);
		if (rows[i].has)
			assert_int_equal(f.content_length, rows[i].length);
	}
}

/* The backend is sent both and may believe the other: a bad one is not made good by a second. */
static void a_bad_length_stays_bad(void **unused)
{
	struct facts f = GATHER("CONTENT_LENGTH", "5x", "CONTENT_LENGTH", "5");

	(void)unused;
	assert_true(f.bad_length);
	assert_false(f.has_length);
}

/* --- HTTPS --- */

static void forms_of_https(void **unused)
{
	static const struct {
		const char *name, *value;
		bool https;
	} rows[] = {
	    {"HTTPS", "on", true},
	    {"HTTPS", "ON", true},
	    {"HTTPS", "1", true},
	    {"HTTPS", "off", false},
	    {"HTTPS", "OFF", false},
	    {"HTTPS", "Off", false},
	    {"HTTPS", "", false},
	    {"REQUEST_SCHEME", "https", true},
	    {"REQUEST_SCHEME", "http", false},
	    {"REQUEST_SCHEME", "", false},
	    {"HTTP_X_FORWARDED_PROTO", "https", false},
	};

	(void)unused;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct facts f = GATHER(rows[i].name, rows[i].value);
		assert_int_equal(f.https, rows[i].https);
	}
}

/* Web servers send both, in an order of their own. */
static void the_order_of_https_and_scheme_is_nothing(void **unused)
{
	static const char *const https[] = {"on", "off", ""};
	static const char *const scheme[] = {"https", "http"};

	(void)unused;
	for (size_t h = 0; h < 3; h++) {
		for (size_t s = 0; s < 2; s++) {
			struct facts one = GATHER("HTTPS", https[h], "REQUEST_SCHEME", scheme[s]);
			struct facts two = GATHER("REQUEST_SCHEME", scheme[s], "HTTPS", https[h]);
			assert_int_equal(one.https, two.https);
		}
	}
}

static void of_two_https_the_first_counts(void **unused)
{
	struct facts off = GATHER("HTTPS", "off", "HTTPS", "on");
	struct facts on = GATHER("HTTPS", "on", "HTTPS", "off");

	(void)unused;
	assert_false(off.https);
	assert_true(on.https);
}

static void methods_that_may_be_repeated(void **unused)
{
	static const char *const yes[] = {"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"};
	static const char *const no[] = {"POST", "PATCH", "CONNECT", "get", "GETS", "GE", "", "PROPFIND"};

	(void)unused;
	for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
		assert_true(GATHER("REQUEST_METHOD", yes[i]).idempotent);
	for (size_t i = 0; i < sizeof no / sizeof *no; i++)
		assert_false(GATHER("REQUEST_METHOD", no[i]).idempotent);
}

/* --- the path --- */

static void expect_path(const struct facts *f, const char *want)
{
	facts_path(f, &path);
	assert_int_equal(buf_error(&path), 0);
	if (!view_eq(buf_view(&path), view_str(want)))
		fail_msg("\"%.*s\" is \"%.*s\", not \"%s\"", (int)f->uri.len, (const char *)f->uri.at,
			 (int)buf_len(&path), (const char *)buf_view(&path).at, want);
}

static void paths_of_uris(void **unused)
{
	static const char *const rows[][2] = {
	    {"/", "/"},
	    {"/shop", "/shop"},
	    {"/shop/", "/shop/"},
	    {"/shop?", "/shop"},
	    {"/shop?a=/b/../c", "/shop"},
	    {"/?x", "/"},
	    {"?x", "/"},
	    {"shop", "/shop"},
	    {"//shop", "/shop"},
	    {"/shop//cart", "/shop/cart"},
	    {"/shop//", "/shop/"},
	    {"///", "/"},
	    {"/./shop/./cart", "/shop/cart"},
	    {"/a/../shop", "/shop"},
	    {"/a/.", "/a/"},
	    {"/a/b/..", "/a/"},
	    {"/a/b/../../shop", "/shop"},
	    {"/../../shop", "/shop"},
	    {"/a/../../../shop/", "/shop/"},
	    {"/..", "/"},
	    {"/shop/...", "/shop/..."},
	    {"/shop/..cart", "/shop/..cart"},
	    {"/.shop", "/.shop"},
	    {"/%73hop", "/shop"},
	    {"/%2e%2e/shop", "/shop"},
	    {"/a/%2E%2e/shop", "/shop"},
	    {"/a/.%2e/shop", "/shop"},
	    {"/a%2f..%2Fshop", "/shop"},
	    {"/%252e%252e/shop", "/%2e%2e/shop"},
	    {"/shop%3fcart", "/shop?cart"},
	    {"/%", "/%"},
	    {"/%4", "/%4"},
	    {"/%4x", "/%4x"},
	    {"/%x4", "/%x4"},
	    {"/%%41", "/%A"},
	    {"/%C3%A4", "/\xc3\xa4"},
	    {"http://example.org/shop?x", "/shop"},
	    {"HTTPS://example.org:8443/shop/", "/shop/"},
	    {"http://example.org", "/"},
	    {"http://example.org/", "/"},
	    {"http://example.org?x", "/"},
	    {"http:///shop", "/shop"},
	    {"/to?http://example.org/shop", "/to"},
	    {"/http://example.org/shop", "/http:/example.org/shop"},
	    {"a://", "/"},
	    {":", "/:"},
	    {"*", "/*"},
	};

	(void)unused;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct facts f = GATHER("REQUEST_URI", rows[i][0], "SCRIPT_NAME", "/no", "PATH_INFO", "/no");
		expect_path(&f, rows[i][1]);
	}
}

/* The client writes the query: it must not choose the app. */
static void a_query_without_a_path_is_no_path(void **unused)
{
	struct facts f = GATHER("REQUEST_URI", "http://example.org?next=/admin");

	(void)unused;
	expect_path(&f, "/");
}

static void a_nul_in_a_path_hides_nothing(void **unused)
{
	struct facts f = GATHER("REQUEST_URI", "/shop%00/../admin");

	(void)unused;
	expect_path(&f, "/admin");
	f = GATHER("REQUEST_URI", "/shop%00x");
	facts_path(&f, &path);
	assert_true(view_eq(buf_view(&path), view_of("/shop\0x", 7)));
}

/* They are decoded already (RFC 3875, 4.1.5 and 4.1.13). */
static void without_a_uri_the_script_tells(void **unused)
{
	struct facts f = GATHER("SCRIPT_NAME", "/shop", "PATH_INFO", "/cart//%2e%2e/x/");

	(void)unused;
	expect_path(&f, "/shop/cart/%2e%2e/x/");
	f = GATHER("REQUEST_URI", "", "SCRIPT_NAME", "/shop", "PATH_INFO", "/../admin");
	expect_path(&f, "/admin");
	f = GATHER("SCRIPT_NAME", "/shop?x");
	expect_path(&f, "/shop?x");
	f = GATHER("PATH_INFO", "/only");
	expect_path(&f, "/only");
	f = GATHER("X", "y");
	expect_path(&f, "/");
}

/* Any string of these: the path begins with a slash and has no empty, "." or ".." segment. */
static void every_path_comes_out_clean(void **unused)
{
	static const char *const pieces[] = {"/", "/", ".", "..", "a", "%2e", "%2f", "%", "b/", "/../"};
	uint32_t seed = 12345;
	char uri[128];

	(void)unused;
	for (int round = 0; round < 20000; round++) {
		uri[0] = '\0';
		for (int n = 0; n < 9; n++) {
			seed = seed * 1664525 + 1013904223;
			if (seed >> 28 < 10)
				strcat(uri, pieces[seed >> 28]);
		}
		struct facts f = GATHER("REQUEST_URI", uri);
		facts_path(&f, &path);
		buf_put_u8(&path, '\0');
		const char *p = (const char *)buf_view(&path).at;
		size_t len = strlen(p);
		bool dots = strstr(p, "/../") || strstr(p, "/./") || (len > 2 && strcmp(p + len - 3, "/..") == 0) ||
			    (len > 1 && strcmp(p + len - 2, "/.") == 0);
		if (*p != '/' || strstr(p, "//") || dots)
			fail_msg("\"%s\" is \"%s\"", uri, p);
	}
}

static void a_path_replaces_the_last_one(void **unused)
{
	struct facts f = GATHER("REQUEST_URI", "/a/long/path");

	(void)unused;
	expect_path(&f, "/a/long/path");
	expect_path(&f, "/a/long/path");
	f = GATHER("REQUEST_URI", "/b");
	expect_path(&f, "/b");
}

static void a_path_without_room_is_an_error(void **unused)
{
	struct facts f =
	    GATHER("REQUEST_URI", "/0123456789012345678901234567890123456789012345678901234567890123456789"
				  "0123456789012345678901234567890123456789012345678901234567890123456789");
	struct buf small;

	(void)unused;
	buf_init(&small, 16);
	facts_path(&f, &small);
	assert_int_not_equal(buf_error(&small), 0);
	buf_fini(&small);
}

/* --- the host --- */

static void hosts(void **unused)
{
	static const char *const rows[][2] = {
	    {"example.org", "example.org"},
	    {"example.org:8080", "example.org"},
	    {"Example.ORG", "Example.ORG"},
	    {"127.0.0.1:80", "127.0.0.1"},
	    {"[::1]", "[::1]"},
	    {"[::1]:8080", "[::1]"},
	    {"[2001:db8::1]:443", "[2001:db8::1]"},
	    {"example.org:", "example.org"},
	    {":80", ""},
	};

	(void)unused;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct facts f = GATHER("HTTP_HOST", rows[i][0], "SERVER_NAME", "other");
		assert_true(view_eq(facts_host(&f), view_str(rows[i][1])));
		f = GATHER("SERVER_NAME", rows[i][0]);
		assert_true(view_eq(facts_host(&f), view_str(rows[i][1])));
	}
}

static void an_empty_host_is_the_servers_name(void **unused)
{
	struct facts f = GATHER("HTTP_HOST", "", "SERVER_NAME", "a:1");

	(void)unused;
	assert_view(facts_host(&f), "a");
	f = GATHER("X", "y");
	assert_int_equal(facts_host(&f).len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_variable_is_found),
	    cmocka_unit_test(nothing_is_there_unless_it_was_sent),
	    cmocka_unit_test(similar_names_are_other_names),
	    cmocka_unit_test(of_two_the_first_counts),
	    cmocka_unit_test(an_empty_first_one_counts_too),
	    cmocka_unit_test(the_facts_do_not_depend_on_the_wire),
	    cmocka_unit_test(a_cut_list_is_told),
	    cmocka_unit_test(names_of_the_session_are_seen),
	    cmocka_unit_test(lengths),
	    cmocka_unit_test(a_bad_length_stays_bad),
	    cmocka_unit_test(forms_of_https),
	    cmocka_unit_test(the_order_of_https_and_scheme_is_nothing),
	    cmocka_unit_test(of_two_https_the_first_counts),
	    cmocka_unit_test(methods_that_may_be_repeated),
	    cmocka_unit_test(paths_of_uris),
	    cmocka_unit_test(a_query_without_a_path_is_no_path),
	    cmocka_unit_test(a_nul_in_a_path_hides_nothing),
	    cmocka_unit_test(without_a_uri_the_script_tells),
	    cmocka_unit_test(every_path_comes_out_clean),
	    cmocka_unit_test(a_path_replaces_the_last_one),
	    cmocka_unit_test(a_path_without_room_is_an_error),
	    cmocka_unit_test(hosts),
	    cmocka_unit_test(an_empty_host_is_the_servers_name),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
