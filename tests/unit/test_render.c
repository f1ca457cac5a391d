/* JSON as text for people: lines, tables, times, sizes, and what must not reach a terminal. */
#include "gateway/render.h"

#include "tests/unit/guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static struct buf out;

static int set_up(void **unused)
{
	(void)unused;
	buf_init(&out, 0);
	return 0;
}

static int tear_down(void **unused)
{
	(void)unused;
	buf_fini(&out);
	return 0;
}

static const char *text_of(struct buf *b)
{
	buf_put_u8(b, '\0');
	assert_int_equal(buf_error(b), 0);
	return (const char *)b->data + b->head;
}

/* The document as text, at second 1,000,000. */
static const char *rendered(const char *json)
{
	json_error_t error;
	json_t *document = json_loads(json, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);

	if (!document)
		fail_msg("%s: %s", json, error.text);
	buf_clear(&out);
	render(&out, document, (struct wall_time){.s = 1000000});
	json_decref(document);
	return text_of(&out);
}

#define assert_rendered(json, text) assert_string_equal(rendered(json), text)

static void an_object_is_aligned_lines(void **unused)
{
	(void)unused;
	assert_rendered("{\"node\": \"alpha\", \"workers\": 2, \"pinned\": true, \"busy\": false, \"config\": null}",
			"node     alpha\n"
			"workers  2\n"
			"pinned   yes\n"
			"busy     no\n"
			"config   -\n");
	assert_rendered("{}", "");
}

static void blanks_for_underscores(void **unused)
{
	(void)unused;
	assert_rendered("{\"reloads_failed\": 3, \"x\": 1}", "reloads failed  3\nx               1\n");
}

static void an_object_within(void **unused)
{
	(void)unused;
	assert_rendered("{\"version\": 1, \"requests\": {\"begun\": 10, \"p50_us\": 120}, \"end\": \"x\"}",
			"version  1\n"
			"requests\n"
			"  begun  10\n"
			"  p50    120us\n"
			"end      x\n");
}

static void an_array_of_objects_is_a_table(void **unused)
{
	(void)unused;
	assert_rendered("[{\"app\": \"shop\", \"waiting\": 7}, {\"app\": \"a\", \"waiting\": 12345678}]",
			"APP    WAITING\n"
			"shop         7\n"
			"a     12345678\n");
}

static void a_table_has_all_columns(void **unused)
{
	(void)unused;
	assert_rendered("[{\"a\": 1}, {\"b\": \"x\", \"a\": null}, {\"c\": true}]", "A  B  C\n"
										    "1     \n"
										    "-  x  \n"
										    "      yes\n");
}

static void nothing_but_a_table_needs_no_name(void **unused)
{
	(void)unused;
	assert_rendered("{\"apps\": [{\"app\": \"shop\"}]}", "APP\nshop\n");
	assert_rendered("{\"apps\": []}", "none\n");
	assert_rendered("{\"apps\": [{\"app\": \"shop\"}], \"more\": true}", "apps\n  APP\n  shop\nmore  yes\n");
	assert_rendered("{\"apps\": [], \"more\": false}", "apps  none\nmore  no\n");
}

static void lists_of_plain_values(void **unused)
{
	(void)unused;
	assert_rendered("{\"hosts\": [\"a\", \"b\", 3, [4], null]}", "hosts  a, b, 3, -, -\n");
	assert_rendered("[\"a\", \"b\"]", "a, b\n");
	assert_rendered("\"a\"", "a\n");
}

static void points_in_time(void **unused)
{
	(void)unused;
	assert_rendered("{\"used_at\": 999800}", "used  3m 20s ago\n");
	assert_rendered("{\"used_at\": 1000000}", "used  now\n");
	assert_rendered("{\"expires_at\": 1001800}", "expires  in 30m\n");
	assert_rendered("{\"reloaded_at\": null}", "reloaded  -\n");
	assert_rendered("{\"ttl_s\": null, \"expires_at\": null}", "ttl      never\n"
								   "expires  never\n");
	assert_rendered("[{\"used_at\": 0}]", "       USED\n11d 13h ago\n");
}

static void lengths_of_time(void **unused)
{
	static const struct {
		uint64_t us;
		const char *text;
	} cases[] = {
	    {0, "0s"},
	    {1, "1us"},
	    {999, "999us"},
	    {1000, "1ms"},
	    {1050, "1ms"},
	    {1100, "1.1ms"},
	    {9999, "9.9ms"},
	    {10999, "10ms"},
	    {999999, "999ms"},
	    {1000000, "1s"},
	    {1500000, "1.5s"},
	    {9999999, "9.9s"},
	    {10999999, "10s"},
	    {59999999, "59s"},
	    {60000000, "1m"},
	    {200000000, "3m 20s"},
	    {3600000000, "1h"},
	    {3605000000, "1h"},
	    {86399000000, "23h 59m"},
	    {86400000000, "1d"},
	    {266400000000, "3d 2h"},
	    {UINT64_MAX, "213503982d 8h"},
	};

	(void)unused;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		buf_clear(&out);
		render_duration_us(&out, cases[i].us);
		assert_string_equal(text_of(&out), cases[i].text);
	}
	assert_rendered("{\"a_s\": 90, \"b_ms\": 1500, \"c_us\": 250}", "a  1m 30s\nb  1.5s\nc  250us\n");
	assert_rendered("{\"ttl_s\": -90}", "ttl  -1m 30s\n");
	assert_rendered("{\"ttl_s\": 9223372036854775807}", "ttl  9223372036854775807\n");
	assert_rendered("{\"ttl_s\": -9223372036854775808}", "ttl  -9223372036854775808\n");
}

static void sizes(void **unused)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} cases[] = {
	    {0, "0 B"},         {1023, "1023 B"},     {1024, "1 KiB"},          {1025, "1 KiB"},
	    {1230, "1.2 KiB"},  {102399, "99.9 KiB"}, {102400, "100 KiB"},      {1048575, "1023 KiB"},
	    {1048576, "1 MiB"}, {1258292, "1.2 MiB"}, {UINT64_MAX, "15.9 EiB"},
	};

	(void)unused;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		buf_clear(&out);
		render_bytes(&out, cases[i].bytes);
		assert_string_equal(text_of(&out), cases[i].text);
	}
	assert_rendered("{\"bytes\": 2048, \"max_bytes\": 4096}", "bytes  2 KiB\nmax    4 KiB\n");
}

/* A key that is nothing but an end keeps it. */
static void keys_that_mean_nothing(void **unused)
{
	(void)unused;
	assert_rendered("{\"_at\": 5, \"status\": 5, \"apps\": 7}", " at     5\nstatus  5\napps    7\n");
}

static void numbers_are_exact(void **unused)
{
	(void)unused;
	assert_rendered("{\"n\": 9223372036854775807, \"m\": -9223372036854775808}",
			"n  9223372036854775807\nm  -9223372036854775808\n");
}

static const char *shown(const char *bytes, size_t len)
{
	buf_clear(&out);
	render_text(&out, guarded(view_of(bytes, len)));
	return text_of(&out);
}

#define assert_shown(literal, text) assert_string_equal(shown(literal, sizeof(literal) - 1), text)

static void printable_text_is_as_it_is(void **unused)
{
	(void)unused;
	assert_shown("", "");
	assert_shown("App\\Models\\User \"x\"", "App\\Models\\User \"x\"");
	assert_shown("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80",
		     "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80");
}

static void what_acts_on_a_terminal_is_escaped(void **unused)
{
	(void)unused;
	assert_shown("a\x1b[31m\\b", "a\\x1b[31m\\\\b");
	assert_shown("one\ntwo\t\x7f", "one\\x0atwo\\x09\\x7f");
	assert_shown("\0", "\\x00");
	assert_shown("\xc2\x9b"
		     "31m",
		     "\\xc2\\x9b31m"); /* CSI in eight bits */
	assert_shown("a\xe2\x80\xae"
		     "b",
		     "a\\xe2\\x80\\xaeb"); /* right to left from here */
	assert_shown("a\xe2\x81\xa6"
		     "b",
		     "a\\xe2\\x81\\xa6b");
	assert_shown("a\xe2\x80\xa8"
		     "b",
		     "a\\xe2\\x80\\xa8b");
}

static void what_is_not_utf8_is_escaped(void **unused)
{
	(void)unused;
	assert_shown("\xc3", "\\xc3");
	assert_shown("\xe2\x82", "\\xe2\\x82");
	assert_shown("\xf0\x9f\x98", "\\xf0\\x9f\\x98");
	assert_shown("\x80", "\\x80");
	assert_shown("\xc0\xaf", "\\xc0\\xaf");
	assert_shown("\xe0\x80\xaf", "\\xe0\\x80\\xaf");
	assert_shown("\xf0\x80\x80\xaf", "\\xf0\\x80\\x80\\xaf");
	assert_shown("\xed\xa0\x80", "\\xed\\xa0\\x80");
	assert_shown("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80");
	assert_shown("\xf5\x80\x80\x80", "\\xf5\\x80\\x80\\x80");
	assert_shown("\xc3"
		     "a\xc3\xbc",
		     "\\xc3"
		     "a\xc3\xbc");
}

/* Whatever the bytes, what is shown has no control character and no broken UTF-8: jansson would refuse it. */
static void no_byte_gets_through(void **unused)
{
	(void)unused;
	for (unsigned a = 0; a < 256; a++) {
		for (unsigned b = 0; b < 256; b++) {
			const char pair[] = {(char)a, (char)b};
			const char *text = shown(pair, 2);
			json_t *string = json_string(text);
			assert_non_null(string);
			json_decref(string);
			for (const char *c = text; *c; c++)
				assert_true((unsigned char)*c >= 0x20 && *c != 0x7f);
		}
	}
}

static void strings_of_a_document_are_escaped(void **unused)
{
	(void)unused;
	assert_rendered("{\"name\": \"a\\u001b[2J\"}", "name  a\\x1b[2J\n");
	assert_rendered("[{\"name\": \"a\\nb\"}]", "NAME\na\\x0ab\n");
}

static void base64_is_shown_as_what_it_is(void **unused)
{
	(void)unused;
	assert_rendered("{\"state_base64\": \"AAEC/w==\"}", "state  \\x00\\x01\\x02\\xff\n");
	assert_rendered("{\"state_base64\": \"aGVsbG8=\"}", "state  hello\n");
	assert_rendered("{\"state_base64\": \"\"}", "state  \n");
	assert_rendered("{\"state_base64\": \"++//\"}", "state  \\xfb\\xef\\xff\n");
}

/* Characters are counted, not bytes. */
static void columns_of_utf8(void **unused)
{
	(void)unused;
	assert_rendered("[{\"a\": \"\xc3\xbc\xc3\xbc\", \"b\": \"x\"}, {\"a\": \"uuu\", \"b\": \"y\"}]",
			"A    B\n\xc3\xbc\xc3\xbc   x\nuuu  y\n");
}

/* An error of the text is the caller's to find, not to be lost in a part. */
static void a_bound_is_kept(void **unused)
{
	struct buf small;
	json_t *document = json_pack("{s:[{s:s}]}", "a", "b", "a text that is too long for it");

	(void)unused;
	buf_init(&small, 16);
	render(&small, document, (struct wall_time){.s = 0});
	assert_int_not_equal(buf_error(&small), 0);
	json_decref(document);
	buf_fini(&small);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(an_object_is_aligned_lines, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(blanks_for_underscores, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(an_object_within, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(an_array_of_objects_is_a_table, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_table_has_all_columns, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(nothing_but_a_table_needs_no_name, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(lists_of_plain_values, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(points_in_time, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(lengths_of_time, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(sizes, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(keys_that_mean_nothing, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(numbers_are_exact, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(printable_text_is_as_it_is, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(what_acts_on_a_terminal_is_escaped, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(what_is_not_utf8_is_escaped, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(no_byte_gets_through, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(strings_of_a_document_are_escaped, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(base64_is_shown_as_what_it_is, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(columns_of_utf8, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_bound_is_kept, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
