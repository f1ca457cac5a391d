/* The log: what a line looks like, what it never contains, and that a storm of one event is bounded. */
#include "base/log.h"
#include "base/error.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/weir-log-XXXXXX";
static char path[64], moved[64];
static char text[8 << 20];

static int set_up(void **state)
{
	(void)state;
	snprintf(path, sizeof path, "%s/log", dir);
	snprintf(moved, sizeof moved, "%s/log.1", dir);
	unlink(path);
	unlink(moved);
	return log_open(LOG_INFO, path);
}

static int tear_down(void **state)
{
	(void)state;
	log_close();
	unlink(path);
	unlink(moved);
	return 0;
}

static const char *content(const char *file)
{
	FILE *f = fopen(file, "r");
	assert_non_null(f);
	size_t n = fread(text, 1, sizeof text - 1, f);
	text[n] = '\0';
	fclose(f);
	return text;
}

static size_t lines_with(const char *all, const char *word)
{
	size_t n = 0;
	for (const char *at = all; (at = strstr(at, word)); at += strlen(word))
		n++;
	return n;
}

/* The line behind its time stamp. */
static const char *body(void)
{
	const char *line = content(path);
	assert_true(strlen(line) > 25);
	return line + 25;
}

static void line_has_all_fields(void **state)
{
	(void)state;
	log_event(LOG_WARN, "test_fields", LOG_S("reason", "bad version"), LOG_I("fd", -7), LOG_V("who", VIEW("::1")));
	assert_string_equal(body(), "level=warn event=test_fields reason=\"bad version\" fd=-7 who=::1\n");
}

static void numbers_reach_their_limits(void **state)
{
	(void)state;
	log_event(LOG_INFO, "test_numbers", LOG_I("a", INT64_MIN), LOG_I("b", INT64_MAX), LOG_I("c", 0));
	assert_string_equal(body(), "level=info event=test_numbers a=-9223372036854775808 b=9223372036854775807 c=0\n");
}

static void time_is_iso_utc(void **state)
{
	(void)state;
	time_t before = time(NULL);
	log_event(LOG_INFO, "test_time", LOG_I("x", 1));
	time_t after = time(NULL);

	struct tm tm = {0};
	const char *line = content(path);
	char *end = strptime(line, "%Y-%m-%dT%H:%M:%S", &tm);
	assert_non_null(end);
	assert_int_equal(*end, '.');
	assert_memory_equal(end + 4, "Z ", 2);
	time_t stamp = timegm(&tm);
	assert_true(stamp >= before && stamp <= after);
}

static void foreign_bytes_are_escaped(void **state)
{
	(void)state;
	static const char bytes[] = "a\"b\\c\nlevel=error\0\x7f\xc3";
	log_event(LOG_INFO, "test_escape", LOG_V("v", view_of(bytes, sizeof bytes - 1)), LOG_S("s", "\r\x1b"),
		  LOG_S("empty", ""), LOG_S("null", NULL));
	assert_string_equal(body(), "level=info event=test_escape v=\"a\\x22b\\x5cc\\x0alevel=error\\x00\\x7f\\xc3\" "
				    "s=\\x0d\\x1b empty=\"\" null=\"\"\n");
	assert_int_equal(lines_with(text, "\n"), 1);
}

static void values_are_cut(void **state)
{
	(void)state;
	static uint8_t big[LOG_VALUE_MAX + 100];
	memset(big, 'x', sizeof big);
	log_event(LOG_INFO, "test_cut", LOG_V("v", view_of(big, sizeof big)), LOG_I("after", 1));
	assert_int_equal(lines_with(body(), "x"), LOG_VALUE_MAX);
	assert_non_null(strstr(text, "x after=1\n"));
}

static void lines_are_cut(void **state)
{
	(void)state;
	static uint8_t big[LOG_VALUE_MAX];
	for (size_t blank = 0; blank < 2; blank++) { /* plain and quoted */
		memset(big, 0xff, sizeof big);
		if (blank)
			big[0] = ' ';
		for (size_t len = 1000; len < sizeof big; len++) {
			struct view v = view_of(big, len);
			log_write(LOG_INFO, len % 2 ? "test_long_a" : "test_long_b",
				  (struct log_field[]){LOG_V("v", v), LOG_V("w", v), LOG_I("n", 12345)}, 3);
		}
	}
	for (char *line = (char *)(uintptr_t)content(path), *end; *line; line = end + 1) {
		end = strchr(line, '\n');
		assert_non_null(end);
		assert_true(end - line < LOG_LINE_MAX);
		assert_memory_equal(line + 24, " level=info event=test_long_", 28);
		*end = '\0';
		assert_int_equal(lines_with(line, "\"") % 2, 0);
	}
}

static void level_filters(void **state)
{
	(void)state;
	assert_false(log_wants(LOG_DEBUG));
	assert_true(log_wants(LOG_INFO));
	log_event(LOG_DEBUG, "test_level", LOG_I("x", 1));
	log_write(LOG_DEBUG, "test_level", NULL, 0);
	assert_string_equal(content(path), "");
	assert_int_equal(log_open(LOG_ERROR, path), 0);
	assert_false(log_wants(LOG_WARN));
	assert_true(log_wants(LOG_ERROR));
}

static void level_changes_while_it_runs(void **state)
{
	(void)state;
	log_set_level(LOG_DEBUG);
	assert_int_equal(log_level_now(), LOG_DEBUG);
	log_event(LOG_DEBUG, "test_level", LOG_I("x", 1));
	log_set_level(LOG_ERROR);
	log_event(LOG_WARN, "test_level", LOG_I("x", 2));
	assert_string_equal(body(), "level=debug event=test_level x=1\n");
}

static void levels_have_names(void **state)
{
	(void)state;
	enum log_level level = LOG_WARN;
	assert_false(log_level_parse("loud", &level));
	assert_false(log_level_parse("", &level));
	assert_false(log_level_parse("INFO", &level));
	assert_int_equal(level, LOG_WARN);
	assert_true(log_level_parse("error", &level) && level == LOG_ERROR);
	assert_true(log_level_parse("warn", &level) && level == LOG_WARN);
	assert_true(log_level_parse("info", &level) && level == LOG_INFO);
	assert_true(log_level_parse("debug", &level) && level == LOG_DEBUG);
	for (int i = LOG_ERROR; i <= LOG_DEBUG; i++)
		assert_true(log_level_parse(log_level_text((enum log_level)i), &level) && (int)level == i);
}

/* Storms are counted in windows of a second: a storm of many windows would hide what is asked here, so the test begins
 * again when the clock was slow. */
static void storm_is_bounded_and_counted(void **state)
{
	(void)state;
	struct timespec a, b;
	do {
		log_close();
		unlink(path);
		assert_int_equal(log_open(LOG_INFO, path), 0);
		clock_gettime(CLOCK_MONOTONIC, &a);
		for (int i = 0; i < LOG_BURST + 50; i++)
			log_event(LOG_WARN, "test_storm", LOG_I("i", i));
		log_event(LOG_INFO, "test_calm", LOG_I("i", 1));
		clock_gettime(CLOCK_MONOTONIC, &b);
	} while ((b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000 > 900);
	assert_int_equal(lines_with(content(path), "event=test_storm "), LOG_BURST);
	assert_int_equal(lines_with(text, "event=test_calm "), 1);
	assert_int_equal(lines_with(text, "log_left_out"), 0);

	/* The next line of any event after the window tells the number, even if the storm is over. */
	nanosleep(&(struct timespec){.tv_sec = 1, .tv_nsec = 50000000}, NULL);
	log_event(LOG_INFO, "test_calm", LOG_I("i", 2));
	assert_int_equal(lines_with(content(path), "level=warn event=log_left_out of=test_storm count=50\n"), 1);
	log_event(LOG_WARN, "test_storm", LOG_I("i", 999));
	assert_int_equal(lines_with(content(path), "event=test_storm "), LOG_BURST + 1);
	assert_int_equal(lines_with(text, "log_left_out"), 1);
}

static void close_tells_what_was_left_out(void **state)
{
	(void)state;
	for (int i = 0; i < LOG_BURST * 3; i++)
		log_event(LOG_WARN, "test_close", LOG_I("i", i));
	log_close();
	assert_true(lines_with(content(path), "of=test_close count=") >= 1);
}

static void reopen_follows_a_rotation(void **state)
{
	(void)state;
	log_event(LOG_INFO, "test_first", LOG_I("x", 1));
	assert_int_equal(rename(path, moved), 0);
	log_event(LOG_INFO, "test_second", LOG_I("x", 1));
	assert_int_equal(log_reopen(), 0);
	log_event(LOG_INFO, "test_third", LOG_I("x", 1));
	assert_int_equal(lines_with(content(moved), "event="), 2);
	assert_int_equal(lines_with(content(path), "event="), 1);
	assert_non_null(strstr(text, "test_third"));

	struct stat st;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0137, 0);
}

static void old_file_stays_when_the_new_cannot_be_opened(void **state)
{
	(void)state;
	assert_int_equal(log_open(LOG_DEBUG, "/nonexistent/weir/log"), ERR_SYSTEM);
	assert_false(log_wants(LOG_DEBUG));
	assert_int_equal(rename(path, moved), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	int err = log_reopen();
	rmdir(path);
	assert_int_equal(err, ERR_SYSTEM);
	log_event(LOG_INFO, "test_stays", LOG_I("x", 1));
	assert_int_equal(lines_with(content(moved), "event=test_stays"), 1);
}

static void *write_lines(void *arg)
{
	for (int i = 0; i < LOG_BURST / 4; i++)
		log_event(LOG_INFO, "test_threads", LOG_S("who", arg), LOG_I("i", i));
	return NULL;
}

static void threads_never_mix_lines(void **state)
{
	(void)state;
	pthread_t t[4];
	char names[4][300];
	for (int i = 0; i < 4; i++) {
		memset(names[i], 'a' + i, sizeof names[i] - 1);
		names[i][sizeof names[i] - 1] = '\0';
		assert_int_equal(pthread_create(&t[i], NULL, write_lines, names[i]), 0);
	}
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(lines_with(content(path), "\n"), LOG_BURST);
	for (char *line = text, *end; *line; line = end + 1) {
		end = strchr(line, '\n');
		char *who = strstr(line, "who=");
		assert_true(who && who < end);
		assert_int_equal(strspn(who + 4, (char[]){who[4], '\0'}), 299);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(line_has_all_fields, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(numbers_reach_their_limits, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(time_is_iso_utc, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(foreign_bytes_are_escaped, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(values_are_cut, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(lines_are_cut, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(level_filters, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(level_changes_while_it_runs, set_up, tear_down),
	    cmocka_unit_test(levels_have_names),
	    cmocka_unit_test_setup_teardown(storm_is_bounded_and_counted, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(close_tells_what_was_left_out, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(reopen_follows_a_rotation, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(old_file_stays_when_the_new_cannot_be_opened, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(threads_never_mix_lines, set_up, tear_down),
	};
	if (!mkdtemp(dir))
		return 1;
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(dir);
	return failed;
}
