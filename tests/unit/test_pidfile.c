/* The file with the process id: whole, ours, and gone at the end. */
#include "gateway/pidfile.h"

#include "base/log.h"
#include "tests/unit/folder.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static struct pidfile file;
static char path[128], ours[32];

static int set_up(void **unused)
{
	(void)unused;
	file = (struct pidfile){.path = NULL};
	snprintf(ours, sizeof ours, "%d\n", (int)getpid());
	if (folder_make())
		return -1;
	snprintf(path, sizeof path, "%s", in_folder("pid"));
	return log_open(LOG_WARN, in_folder("log"));
}

static int tear_down(void **unused)
{
	(void)unused;
	pidfile_remove(&file);
	log_close();
	return folder_remove();
}

static const char *text_of(const char *of)
{
	static char text[64];
	FILE *f = fopen(of, "r");

	if (!f)
		return "none";
	size_t n = fread(text, 1, sizeof text - 1, f);
	text[n] = '\0';
	fclose(f);
	return text;
}

static void put_text(const char *of, const char *text)
{
	FILE *f = fopen(of, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void write_it(void)
{
	pidfile_write(&file, path, geteuid(), getegid());
}

static void written_and_removed(void **unused)
{
	struct stat st;

	(void)unused;
	write_it();
	assert_string_equal(text_of(path), ours);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_int_equal(folder_count(0), 2); /* it and the log: nothing temporary is left */
	pidfile_remove(&file);
	assert_string_equal(text_of(path), "none");
	pidfile_remove(&file); /* again */
}

static void what_stands_there_is_replaced(void **unused)
{
	(void)unused;
	put_text(path, "1234567 and more than a number\n");
	write_it();
	assert_string_equal(text_of(path), ours);
}

static void a_link_is_replaced_not_followed(void **unused)
{
	(void)unused;
	put_text(in_folder("precious"), "data");
	assert_int_equal(symlink(in_folder("precious"), path), 0);
	write_it();
	assert_string_equal(text_of(in_folder("precious")), "data");
	assert_string_equal(text_of(path), ours);
}

static void one_of_somebody_else_stays(void **unused)
{
	static const char *const others[] = {"1\n", "", "nonsense"};
	char longer[64];

	(void)unused;
	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		write_it();
		put_text(path, others[i]);
		pidfile_remove(&file);
		assert_string_equal(text_of(path), others[i]);
	}
	write_it();
	snprintf(longer, sizeof longer, "%d0\n", (int)getpid());
	put_text(path, longer);
	pidfile_remove(&file);
	assert_string_equal(text_of(path), longer);
}

static void a_link_at_the_end_is_not_followed(void **unused)
{
	(void)unused;
	write_it();
	put_text(in_folder("precious"), ours);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink(in_folder("precious"), path), 0);
	pidfile_remove(&file);
	assert_string_equal(text_of(in_folder("precious")), ours);
}

static void a_failure_is_logged(void **unused)
{
	char text[1024] = "";

	(void)unused;
	pidfile_write(&file, in_folder("no/pid"), geteuid(), getegid());
	assert_null(file.path);
	FILE *f = fopen(in_folder("log"), "r");
	assert_true(fread(text, 1, sizeof text - 1, f) > 0);
	fclose(f);
	assert_non_null(strstr(text, "event=pid_file_not_written"));
	pidfile_remove(&file);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(written_and_removed),
	    TEST(what_stands_there_is_replaced),
	    TEST(a_link_is_replaced_not_followed),
	    TEST(one_of_somebody_else_stays),
	    TEST(a_link_at_the_end_is_not_followed),
	    TEST(a_failure_is_logged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
