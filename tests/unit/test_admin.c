/* The admin protocol: words of a line, what a line asks for, heads of replies. */
#include "proto/admin.h"

#include "tests/unit/guard.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

static struct admin_words words;
static struct buf out;

static int set_up(void **unused)
{
	(void)unused;
	memset(&words, 0xa5, sizeof words);
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

/* The words with bars between them, or what is wrong. */
static const char *split_bytes(const char *line, size_t len)
{
	const char *why = admin_words_read(&words, guarded(view_of(line, len)));

	if (why)
		return why;
	buf_clear(&out);
	for (size_t i = 0; i < words.count; i++) {
		if (i > 0)
			buf_put_u8(&out, '|');
		buf_put_str(&out, words.at[i]);
	}
	return text_of(&out);
}

#define assert_split(line, text) assert_string_equal(split_bytes(line, sizeof(line) - 1), text)

static void blanks_separate(void **unused)
{
	(void)unused;
	assert_split("", "");
	assert_split(" \t ", "");
	assert_int_equal(words.count, 0);
	assert_split("status", "status");
	assert_split("  session \t show\tx ", "session|show|x");
}

static void quotes_keep_blanks(void **unused)
{
	(void)unused;
	assert_split("a \"b c\" d", "a|b c|d");
	assert_split("a\"b \tc\"d", "ab \tcd");
	assert_split("\"\"", "");
	assert_int_equal(words.count, 1);
	assert_split("\"\" x", "|x");
	assert_split("\"a\\\"b\\\\\"", "a\"b\\");
}

static void a_backslash_takes_the_next_as_it_is(void **unused)
{
	(void)unused;
	assert_split("a\\ b", "a b");
	assert_split("\\\"a", "\"a");
	assert_split("\\\\", "\\");
	assert_split("\\n", "n");
	assert_split("\\\t", "\t");
}

static void what_is_no_line(void **unused)
{
	(void)unused;
	assert_split("a \"b", "a quote that is not closed");
	assert_split("a\\", "nothing behind the last backslash");
	assert_split("\"a\\", "nothing behind the last backslash");
	assert_split("a\0b", "a control character");
	assert_split("a\rb", "a control character");
	assert_split("a\x7f", "a control character");
	assert_split("\\\x01", "a control character");
	assert_split("\"\x1b\"", "a control character");
}

static void other_bytes_pass(void **unused)
{
	(void)unused;
	assert_split("gr\xc3\xbc\xc3\x9f\x80\xff", "gr\xc3\xbc\xc3\x9f\x80\xff");
}

static void words_are_bounded(void **unused)
{
	char line[2 * (ADMIN_WORDS_MAX + 1)];

	(void)unused;
	for (size_t i = 0; i < sizeof line; i += 2)
		memcpy(line + i, "a ", 2);
	assert_null(admin_words_read(&words, view_of(line, 2 * ADMIN_WORDS_MAX)));
	assert_int_equal(words.count, ADMIN_WORDS_MAX);
	assert_string_equal(split_bytes(line, 2 * ADMIN_WORDS_MAX + 1), "too many words, at most 32 are good");
}

static void a_line_is_bounded(void **unused)
{
	static char line[ADMIN_LINE_MAX];

	(void)unused;
	memset(line, 'a', sizeof line);
	assert_string_equal(split_bytes(line, ADMIN_LINE_MAX), "too long, at most 4096 bytes are good");
	assert_null(admin_words_read(&words, guarded(view_of(line, ADMIN_LINE_MAX - 1))));
	assert_int_equal(strlen(words.at[0]), ADMIN_LINE_MAX - 1);
	/* The most room that words can take. */
	for (size_t i = 1; i < 2 * ADMIN_WORDS_MAX; i += 2)
		line[i] = ' ';
	line[2 * ADMIN_WORDS_MAX - 1] = 'a';
	assert_null(admin_words_read(&words, guarded(view_of(line, ADMIN_LINE_MAX - 1))));
	assert_int_equal(words.count, ADMIN_WORDS_MAX);
}

static void put_words_are_read_again(void **unused)
{
	static const char *const cases[] = {"a",  "",         "a b",      "\ta", "\"",
					    "\\", "a\\\"b c", "\xff\xfe", "--",  "unix:/a b"};
	const size_t count = sizeof cases / sizeof *cases;

	(void)unused;
	for (size_t i = 0; i < count; i++) {
		assert_true(admin_word_put(&out, cases[i]));
		buf_put_u8(&out, ' ');
	}
	assert_null(admin_words_read(&words, buf_view(&out)));
	assert_int_equal(words.count, count);
	for (size_t i = 0; i < count; i++)
		assert_string_equal(words.at[i], cases[i]);
}

static void no_line_carries_control_characters(void **unused)
{
	(void)unused;
	assert_false(admin_word_put(&out, "a\nb"));
	assert_false(admin_word_put(&out, "\x7f"));
	assert_int_equal(buf_len(&out), 0);
}

/* --- requests --- */

static struct admin_request request;

/* "" when the line is good, otherwise what is wrong. */
static const char *asked(const char *line, enum admin_code expect)
{
	const char *why = admin_words_read(&words, view_str(line));

	assert_null(why);
	buf_clear(&out);
	assert_int_equal(admin_request_read(&request, &words, &out), expect);
	return text_of(&out);
}

#define assert_good(line) assert_string_equal(asked(line, ADMIN_OK), "")
#define assert_unknown(line, text) assert_string_equal(asked(line, ADMIN_UNKNOWN_COMMAND), text "\n")
#define assert_bad(line, text) assert_string_equal(asked(line, ADMIN_BAD_ARGUMENT), text "\n")

static void every_command_is_found_by_its_name(void **unused)
{
	(void)unused;
	for (unsigned i = 0; i < ADMIN_COMMANDS; i++) {
		assert_non_null(admin_commands[i].name);
		assert_non_null(admin_commands[i].help);
		assert_null(admin_words_read(&words, view_str(admin_commands[i].name)));
		assert_int_equal(admin_command_find(words.at, words.count), i);
	}
	assert_int_equal(admin_command_find(NULL, 0), ADMIN_COMMANDS);
}

static void arguments_and_options_in_any_order(void **unused)
{
	(void)unused;
	assert_good("sessions --app shop --json --limit=5");
	assert_int_equal(request.command, ADMIN_SESSIONS);
	assert_string_equal(request.options[ADMIN_APP], "shop");
	assert_string_equal(request.options[ADMIN_LIMIT], "5");
	assert_string_equal(request.options[ADMIN_JSON], "");
	assert_null(request.options[ADMIN_IN]);
	assert_good("--json session --state show abc");
	assert_int_equal(request.command, ADMIN_SESSION_SHOW);
	assert_int_equal(request.argument_count, 1);
	assert_string_equal(request.arguments[0], "abc");
	assert_non_null(request.options[ADMIN_STATE]);
	assert_good("backend drain shop 127.0.0.1:9000");
	assert_int_equal(request.argument_count, 2);
	assert_good("backend drain 127.0.0.1:9000");
	assert_int_equal(request.argument_count, 1);
	assert_good("log-level");
	assert_good("help session show");
	assert_good("status --json --json");
	assert_good("sessions --app --json");
	assert_string_equal(request.options[ADMIN_APP], "--json");
}

static void behind_two_dashes_nothing_is_an_option(void **unused)
{
	(void)unused;
	assert_good("session show -- --json");
	assert_string_equal(request.arguments[0], "--json");
	assert_null(request.options[ADMIN_JSON]);
	assert_good("session -- show --");
	assert_string_equal(request.arguments[0], "--");
	assert_good("session show -x");
	assert_string_equal(request.arguments[0], "-x");
}

static void unknown_commands(void **unused)
{
	(void)unused;
	assert_unknown("foo", "unknown command \"foo\"; help shows the commands");
	assert_unknown("STATUS", "unknown command \"STATUS\"; help shows the commands");
	assert_unknown("stat", "unknown command \"stat\"; help shows the commands");
	assert_unknown("foo bar --baz", "unknown command \"foo\"; help shows the commands");
	assert_unknown("\"\"", "unknown command \"\"; help shows the commands");
	assert_unknown("\"status \"", "unknown command \"status \"; help shows the commands");
	assert_unknown("\"app stop\" x", "unknown command \"app stop\"; help shows the commands");
	assert_unknown("app", "unknown command \"app\"; there are: app start, app stop");
	assert_unknown("app foo", "unknown command \"app foo\"; there are: app start, app stop");
	assert_unknown("backend --json", "unknown command \"backend\"; there are: backend drain, backend ready");
	assert_non_null(request.options[ADMIN_JSON]);
	assert_unknown("--json", "there are only options and no command; help shows the commands");
	assert_unknown("--", "there are only options and no command; help shows the commands");
	assert_unknown(
	    "aaaaaaaaaabbbbbbbbbbaaaaaaaaaabbbbbbbbbbaaaaaaaaaabbbbbbbbbbaaaab",
	    "unknown command \"aaaaaaaaaabbbbbbbbbbaaaaaaaaaabbbbbbbbbbaaaaaaaaaabbbbbbbbbbaaaa...\"; help shows "
	    "the commands");
}

static void wrong_arguments(void **unused)
{
	(void)unused;
	assert_bad("session show", "session show: \"ID\" is missing\nusage: session show ID [--state] [--json]");
	assert_bad("session end a b", "session end: \"b\" is too much\nusage: session end ID [--json]");
	assert_bad("backend drain", "backend drain: \"NAME\" is missing\nusage: backend drain [APP] NAME [--json]");
	assert_bad("backend drain a b c", "backend drain: \"c\" is too much\nusage: backend drain [APP] NAME [--json]");
	assert_bad("status now", "status: \"now\" is too much\nusage: status [--json]");
	assert_bad("log-level info debug", "log-level: \"debug\" is too much\nusage: log-level [LEVEL] [--json]");
	assert_bad("app stop", "app stop: \"APP\" is missing\nusage: app stop APP [--json]");
}

static void wrong_options(void **unused)
{
	(void)unused;
	assert_bad("status --foo", "status: \"--foo\" is no option of it\nusage: status [--json]");
	assert_bad("status --foo=bar", "status: \"--foo\" is no option of it\nusage: status [--json]");
	assert_bad("status --state", "status: \"--state\" is no option of it\nusage: status [--json]");
	assert_bad("status --json=1", "status: \"--json\" takes no value\nusage: status [--json]");
	assert_bad("sessions --app",
		   "sessions: \"--app\" needs a value\nusage: sessions [--app APP] [--in memory|disk] "
		   "[--is STATE] [--older TIME] [--younger TIME] [--limit NUMBER] [--cursor CURSOR] [--all] [--json]");
	assert_true(strstr(asked("sessions --limit 1 --limit 2", ADMIN_BAD_ARGUMENT), "\"--limit\" is there twice") !=
		    NULL);
	assert_bad("session show x --app y",
		   "session show: \"--app\" is no option of it\nusage: session show ID [--state] "
		   "[--json]");
}

/* JSON is asked for, also where the rest is wrong. */
static void json_is_heard_in_any_case(void **unused)
{
	(void)unused;
	(void)asked("foo --bar --json", ADMIN_UNKNOWN_COMMAND);
	assert_non_null(request.options[ADMIN_JSON]);
	(void)asked("status x --json", ADMIN_BAD_ARGUMENT);
	assert_non_null(request.options[ADMIN_JSON]);
}

static void help_names_them_all(void **unused)
{
	(void)unused;
	assert_true(admin_help_put(&out, NULL, 0));
	const char *text = text_of(&out);
	for (unsigned i = 0; i < ADMIN_COMMANDS; i++)
		assert_non_null(strstr(text, admin_commands[i].name));
	assert_non_null(strstr(text, "\nbackend drain [APP] NAME  give the backend no new requests\n"));
	buf_clear(&out);
	assert_true(admin_help_put(&out, (const char *const[]){"session", "show"}, 2));
	assert_string_equal(text_of(&out), "usage: session show ID [--state] [--json]\n"
					   "\n"
					   "session show ID           one session\n"
					   "  --json                  answer in JSON\n"
					   "  --state                 show its state too, which may hold secrets\n");
	/* Where completion ends when only the first word is typed. */
	buf_clear(&out);
	assert_true(admin_help_put(&out, (const char *const[]){"app"}, 1));
	assert_string_equal(text_of(&out),
			    "app start APP             let the app have requests again\n"
			    "app stop APP              give the app no requests (503), and demote its sessions\n");
	buf_clear(&out);
	assert_false(admin_help_put(&out, (const char *const[]){"ap"}, 1));
	assert_false(admin_help_put(&out, (const char *const[]){"app", "die"}, 2));
	assert_false(admin_help_put_json(&out, (const char *const[]){"ap"}, 1));
	assert_int_equal(buf_len(&out), 0);
}

static void help_is_good_json(void **unused)
{
	json_error_t error;

	(void)unused;
	assert_true(admin_help_put_json(&out, NULL, 0));
	json_t *all = json_loads(text_of(&out), 0, &error);
	assert_non_null(all);
	assert_int_equal(json_array_size(all), ADMIN_COMMANDS);
	const json_t *show = json_array_get(all, ADMIN_SESSION_SHOW);
	assert_string_equal(json_string_value(json_object_get(show, "command")), "session show");
	assert_int_equal(json_array_size(json_object_get(show, "options")), 2);
	assert_true(json_is_true(json_object_get(json_array_get(all, ADMIN_SESSION_END), "changes")));
	assert_true(json_is_false(json_object_get(show, "changes")));
	buf_clear(&out);
	assert_true(admin_help_put_json(&out, (const char *const[]){"session", "show"}, 2));
	json_t *one = json_loads(text_of(&out), 0, &error);
	assert_int_equal(json_array_size(one), 1);
	assert_true(json_equal(json_array_get(one, 0), show));
	json_decref(one);
	json_decref(all);
}

/* --- heads --- */

static void heads_are_as_told(void **unused)
{
	(void)unused;
	admin_head_put(&out, ADMIN_OK, 892, NULL);
	admin_head_put(&out, ADMIN_OK, 0, "m:1:2");
	admin_head_put(&out, ADMIN_NOT_FOUND, 7, "");
	assert_string_equal(text_of(&out), "ok 892\nok 0 next=m:1:2\nerror not-found 7\n");
}

static void every_head_is_read_again(void **unused)
{
	struct admin_head head;

	(void)unused;
	for (unsigned i = 0; i < ADMIN_CODES; i++) {
		buf_clear(&out);
		admin_head_put(&out, (enum admin_code)i, UINT64_MAX, "d:00ff");
		struct view line = buf_view(&out);
		assert_true(line.len <= ADMIN_HEAD_MAX && line.at[line.len - 1] == '\n');
		line.len--;
		assert_true(admin_head_read(guarded(line), &head));
		assert_int_equal(head.code, i);
		assert_true(head.length == UINT64_MAX);
		assert_string_equal(head.next, "d:00ff");
	}
}

static bool head_of(const char *line, struct admin_head *head)
{
	return admin_head_read(guarded(view_str(line)), head);
}

static void heads_of_a_newer_weir(void **unused)
{
	struct admin_head head;

	(void)unused;
	assert_true(head_of("error too-hot 5", &head));
	assert_int_equal(head.code, ADMIN_FAILED);
	assert_int_equal(head.length, 5);
	assert_true(head_of("ok 5 colour=red next=x y", &head));
	assert_string_equal(head.next, "x");
}

static void what_is_no_head(void **unused)
{
	static const char *const lines[] = {"",
					    "ok",
					    "ok ",
					    "ok x",
					    "ok -1",
					    "okay 5",
					    "error 5",
					    "error",
					    "error busy",
					    "OK 5",
					    "ok 18446744073709551616",
					    " ok 5"};
	struct admin_head head = {.length = 77};
	char longest[ADMIN_CURSOR_MAX + 16] = "ok 5 next=";

	(void)unused;
	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
		assert_false(head_of(lines[i], &head));
	assert_int_equal(head.length, 77);
	memset(longest + 10, 'x', ADMIN_CURSOR_MAX - 1);
	assert_true(head_of(longest, &head));
	longest[10 + ADMIN_CURSOR_MAX - 1] = 'x';
	assert_false(head_of(longest, &head));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(blanks_separate, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(quotes_keep_blanks, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_backslash_takes_the_next_as_it_is, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(what_is_no_line, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(other_bytes_pass, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(words_are_bounded, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_line_is_bounded, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(put_words_are_read_again, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(no_line_carries_control_characters, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(every_command_is_found_by_its_name, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(arguments_and_options_in_any_order, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(behind_two_dashes_nothing_is_an_option, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(unknown_commands, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(wrong_arguments, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(wrong_options, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(json_is_heard_in_any_case, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(help_names_them_all, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(help_is_good_json, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(heads_are_as_told, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(every_head_is_read_again, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(heads_of_a_newer_weir, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(what_is_no_head, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
