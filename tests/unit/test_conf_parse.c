/* Values of the configuration: times, sizes, numbers, modes, addresses, patterns. */
#include "base/error.h"
#include "conf/parse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void times_have_units(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		uint64_t ms;
	} good[] = {{"0", 0},
		    {"0s", 0},
		    {"1ms", 1},
		    {"250ms", 250},
		    {"1s", 1000},
		    {"30m", 1800000},
		    {"2h", 7200000},
		    {"1d", 86400000},
		    {"007s", 7000},
		    {"3650d", 315360000000},
		    {"18446744073709551615ms", UINT64_MAX}};
	static const char *const bad[] = {"",
					  "1",
					  "s",
					  "-1s",
					  "+1s",
					  " 1s",
					  "1 s",
					  "1s ",
					  "1.5s",
					  "1S",
					  "1y",
					  "1sm",
					  "00",
					  "1us",
					  "0x1s",
					  "18446744073709551616ms",
					  "213503982335d",
					  "18446744073709552s",
					  "99999999999999999999999d"};
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		uint64_t ms = 77;
		assert_true(conf_parse_time(good[i].text, &ms));
		assert_int_equal(ms, good[i].ms);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		uint64_t ms = 77;
		if (conf_parse_time(bad[i], &ms))
			fail_msg("\"%s\" was taken for a time", bad[i]);
		assert_int_equal(ms, 77);
	}
}

static void sizes_have_units(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {{"0", 0},
		    {"1", 1},
		    {"1k", 1024},
		    {"1M", 1048576},
		    {"2G", UINT64_C(2147483648)},
		    {"17179869183G", UINT64_C(17179869183) << 30},
		    {"18446744073709551615", UINT64_MAX}};
	static const char *const bad[] = {"",
					  "k",
					  "1K",
					  "1m",
					  "1g",
					  "1T",
					  "1kB",
					  "-1",
					  "1 k",
					  "1.5M",
					  "0x10",
					  "17179869184G",
					  "18446744073709551616"};
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		uint64_t bytes = 77;
		assert_true(conf_parse_size(good[i].text, &bytes));
		assert_int_equal(bytes, good[i].bytes);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		uint64_t bytes = 77;
		if (conf_parse_size(bad[i], &bytes))
			fail_msg("\"%s\" was taken for a size", bad[i]);
		assert_int_equal(bytes, 77);
	}
}

static void modes_are_octal(void **state)
{
	(void)state;
	uint32_t mode = 7;
	assert_true(conf_parse_mode("0660", &mode) && mode == 0660);
	assert_true(conf_parse_mode("600", &mode) && mode == 0600);
	assert_true(conf_parse_mode("0777", &mode) && mode == 0777);
	assert_true(conf_parse_mode("000", &mode) && mode == 0);
	static const char *const bad[] = {"", "66", "0888", "1777", "00660", "rw-", "0x10", "-660"};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_false(conf_parse_mode(bad[i], &mode));
	assert_int_equal(mode, 0);
}

static void booleans_have_six_words(void **state)
{
	(void)state;
	bool on = false;
	assert_true(conf_parse_bool("yes", &on) && on);
	assert_true(conf_parse_bool("no", &on) && !on);
	assert_true(conf_parse_bool("true", &on) && on);
	assert_true(conf_parse_bool("false", &on) && !on);
	assert_true(conf_parse_bool("on", &on) && on);
	assert_true(conf_parse_bool("off", &on) && !on);
	assert_false(conf_parse_bool("1", &on));
	assert_false(conf_parse_bool("", &on));
	assert_false(conf_parse_bool("Yes", &on));
}

static void names_are_plain(void **state)
{
	(void)state;
	char long_name[66];
	memset(long_name, 'a', sizeof long_name);
	long_name[65] = '\0';
	assert_false(conf_is_name(long_name));
	long_name[64] = '\0';
	assert_true(conf_is_name(long_name));
	assert_true(conf_is_name("alpha-1.example_x"));
	assert_false(conf_is_name(""));
	assert_false(conf_is_name("a b"));
	assert_false(conf_is_name("a/b"));
	assert_true(conf_is_token("WEIRSID"));
	assert_true(conf_is_token("__Host-id"));
	assert_false(conf_is_token("a=b"));
	assert_false(conf_is_token("a;b"));
	assert_false(conf_is_token("a b"));
	assert_false(conf_is_token(""));
}

static void assert_address_refused(const char *text, bool spawn, const char *why_part)
{
	struct conf_address a = {.port = 7};
	const char *why = NULL;
	int err = conf_address_parse(text, spawn, &a, &why);
	if (err != ERR_CONFIG)
		fail_msg("\"%s\" was taken for an address", text);
	assert_non_null(strstr(why, why_part));
	assert_int_equal(a.port, 7);
	assert_null(a.text);
	assert_false(conf_parse_address(text, spawn, &a));
}

static void tcp_addresses(void **state)
{
	(void)state;
	struct conf_address a = {0};
	assert_true(conf_parse_address("127.0.0.1:9001", false, &a));
	assert_int_equal(a.kind, CONF_TCP);
	assert_string_equal(a.text, "127.0.0.1:9001");
	assert_string_equal(a.host, "127.0.0.1");
	assert_int_equal(a.port, 9001);
	conf_address_fini(&a);
	assert_null(a.text);
	assert_true(conf_parse_address("[::1]:65535", true, &a));
	assert_string_equal(a.host, "::1");
	assert_int_equal(a.port, 65535);
	conf_address_fini(&a);

	assert_address_refused("", true, "an address is");
	assert_address_refused("9001", true, "an address is");
	assert_address_refused("localhost:9001", true, "numeric");
	assert_address_refused("::1:9001", true, "numeric");
	assert_address_refused("[127.0.0.1]:9001", true, "numeric");
	assert_address_refused("[::1]", true, "numeric");
	assert_address_refused("[]:1", true, "numeric");
	assert_address_refused(":1", true, "numeric");
	assert_address_refused("1.2.3:80", true, "numeric");
	assert_address_refused("127.0.0.1:", true, "port");
	assert_address_refused("127.0.0.1:0", true, "port");
	assert_address_refused("127.0.0.1:65536", true, "port");
	assert_address_refused("127.0.0.1:x", true, "port");
	assert_address_refused("127.0.0.1:+1", true, "port");
}

static void unix_addresses(void **state)
{
	(void)state;
	struct conf_address a = {0};
	char text[5 + CONF_UNIX_PATH_MAX + 2] = "unix:/";

	assert_true(conf_parse_address("unix:/run/weir/fastcgi.sock", false, &a));
	assert_int_equal(a.kind, CONF_UNIX);
	assert_string_equal(a.path, "/run/weir/fastcgi.sock");
	conf_address_fini(&a);
	memset(text + 6, 'x', CONF_UNIX_PATH_MAX - 1);
	assert_true(conf_parse_address(text, false, &a));
	assert_int_equal(strlen(a.path), 107);
	conf_address_fini(&a);
	text[5 + CONF_UNIX_PATH_MAX] = 'x';
	assert_address_refused(text, false, "107 bytes");
	assert_address_refused("unix:", false, "begins with /");
	assert_address_refused("unix:run/x", false, "begins with /");
}

static void spawn_addresses(void **state)
{
	(void)state;
	struct conf_address a = {0};
	assert_true(conf_parse_address("spawn:/usr/bin/php-cgi  -b\t-q ", true, &a));
	assert_int_equal(a.kind, CONF_SPAWN);
	assert_string_equal(a.path, "/usr/bin/php-cgi");
	assert_string_equal(a.argv[0], "/usr/bin/php-cgi");
	assert_string_equal(a.argv[1], "-b");
	assert_string_equal(a.argv[2], "-q");
	assert_null(a.argv[3]);
	conf_address_fini(&a);
	/* As many words as there is room for. */
	assert_true(conf_parse_address("spawn:/ a b c d e", true, &a));
	assert_string_equal(a.argv[5], "e");
	assert_null(a.argv[6]);
	conf_address_fini(&a);
	assert_address_refused("spawn:/bin/true", false, "only a backend");
	assert_address_refused("spawn:true", true, "full path");
	assert_address_refused("spawn:", true, "full path");
	assert_address_refused("spawn: /bin/true", true, "full path");
}

static bool equal(const char *x, const char *y)
{
	struct conf_address a = {0}, b = {0};
	assert_true(conf_parse_address(x, true, &a));
	assert_true(conf_parse_address(y, true, &b));
	bool same = conf_address_equal(&a, &b);
	conf_address_fini(&a);
	conf_address_fini(&b);
	return same;
}

static void equal_addresses_are_one_place(void **state)
{
	(void)state;
	assert_true(equal("127.0.0.1:1", "127.0.0.1:1"));
	assert_true(equal("[::1]:1", "[0:0:0:0:0:0:0:1]:1"));
	assert_true(equal("unix:/a", "unix:/a"));
	assert_false(equal("127.0.0.1:1", "127.0.0.1:2"));
	assert_false(equal("127.0.0.1:1", "127.0.0.2:1"));
	assert_false(equal("0.0.0.0:1", "[::]:1"));
	assert_false(equal("unix:/a", "unix:/b"));
	assert_false(equal("spawn:/a", "unix:/a"));
	assert_false(equal("spawn:/a b", "spawn:/a c"));
}

static void assert_match(const char *text, int kind, const char *out)
{
	struct conf_pattern p = {0};
	assert_int_equal(conf_match_parse(text, &p), 0);
	assert_int_equal(p.kind, kind);
	assert_string_equal(p.text, out);
	free(p.text);
}

static void matches_are_hosts_and_paths(void **state)
{
	(void)state;
	assert_match("host:Shop.Example.ORG", CONF_HOST, "shop.example.org");
	assert_match("host:*.Example.org", CONF_HOST_SUFFIX, ".example.org");
	assert_match("path:/Shop", CONF_PATH_PREFIX, "/Shop");
	assert_match("path:/shop/", CONF_PATH_PREFIX, "/shop/");
	assert_match("path:/.shop/..x/...", CONF_PATH_PREFIX, "/.shop/..x/...");
	assert_match("path:/", CONF_PATH_PREFIX, "/");
	static const char *const bad[] = {"",          "/shop",       "host:",      "host:*",     "host:*.",
					  "host:a:80", "host:a b",    "host:.a",    "host:*.*.a", "host:a/b",
					  "path:",     "path:shop",   "path:*.css", "path:/a b",  "path:/a?b",
					  "path:/a#b", "HOST:a",      "path://",    "path:/a//b", "path:/a//",
					  "path:/.",   "path:/a/./b", "path:/a/..", "path:/../a"};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct conf_pattern p = {0};
		if (conf_match_parse(bad[i], &p) != ERR_CONFIG)
			fail_msg("\"%s\" was taken", bad[i]);
		assert_null(p.text);
	}
}

static void paths_are_prefixes_and_suffixes(void **state)
{
	(void)state;
	struct conf_pattern p = {0};
	assert_int_equal(conf_path_parse("/assets/", &p), 0);
	assert_int_equal(p.kind, CONF_PATH_PREFIX);
	assert_string_equal(p.text, "/assets/");
	free(p.text);
	assert_int_equal(conf_path_parse("*.css", &p), 0);
	assert_int_equal(p.kind, CONF_PATH_SUFFIX);
	assert_string_equal(p.text, ".css");
	free(p.text);
	static const char *const bad[] = {"", "*", "a", "**.css", "*.c s", ".css", "path:/a", "/a?", "/a/../b"};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(conf_path_parse(bad[i], &p), ERR_CONFIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(times_have_units),
	    cmocka_unit_test(sizes_have_units),
	    cmocka_unit_test(modes_are_octal),
	    cmocka_unit_test(booleans_have_six_words),
	    cmocka_unit_test(names_are_plain),
	    cmocka_unit_test(tcp_addresses),
	    cmocka_unit_test(unix_addresses),
	    cmocka_unit_test(spawn_addresses),
	    cmocka_unit_test(equal_addresses_are_one_place),
	    cmocka_unit_test(matches_are_hosts_and_paths),
	    cmocka_unit_test(paths_are_prefixes_and_suffixes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
