/* The secret in the state folder: made once, the same ever after, seen by nobody else. */
#include "gateway/secret.h"

#include "base/error.h"
#include "base/log.h"
#include "tests/unit/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <cmocka.h>

enum { THREADS = 8, ROUNDS = 50 };

static _Thread_local bool kept;

static int set_up(void **unused)
{
	(void)unused;
	return folder_make();
}

static int tear_down(void **unused)
{
	(void)unused;
	return folder_remove();
}

static void write_file(const void *bytes, size_t n)
{
	int fd = open(in_folder("secret"), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, n), n);
	close(fd);
}

static void it_is_made_once(void **unused)
{
	uint8_t a[SESS_SECRET_BYTES] = {0};
	uint8_t b[SESS_SECRET_BYTES] = {0};
	static const uint8_t zeros[SESS_SECRET_BYTES];

	(void)unused;
	assert_int_equal(secret_load(folder, a, &kept), 0);
	assert_true(kept);
	assert_int_equal(secret_load(folder, b, &kept), 0);
	assert_true(kept);
	assert_memory_equal(a, b, sizeof a);
	assert_memory_not_equal(a, zeros, sizeof a);
	assert_int_equal(folder_count(0), 1);
}

static void only_its_owner_can_read_it(void **unused)
{
	uint8_t secret[SESS_SECRET_BYTES];
	struct stat st;
	mode_t mask = umask(0);
	int err = secret_load(folder, secret, &kept);

	(void)unused;
	umask(mask);
	assert_int_equal(err, 0);
	assert_int_equal(stat(in_folder("secret"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_size, SESS_SECRET_BYTES);
}

static void what_is_there_is_read(void **unused)
{
	uint8_t want[SESS_SECRET_BYTES];
	uint8_t got[SESS_SECRET_BYTES];

	(void)unused;
	for (size_t i = 0; i < sizeof want; i++)
		want[i] = (uint8_t)(i * 7);
	write_file(want, sizeof want);
	assert_int_equal(secret_load(folder, got, &kept), 0);
	assert_memory_equal(got, want, sizeof want);
}

/* It is not replaced: every session of a cluster hangs on it. */
static void a_wrong_length_is_refused(void **unused)
{
	static const size_t lengths[] = {0, 1, SESS_SECRET_BYTES - 1, SESS_SECRET_BYTES + 1, 1000};
	static const uint8_t zeros[1000];
	uint8_t got[SESS_SECRET_BYTES];
	struct stat st;

	(void)unused;
	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		write_file(zeros, lengths[i]);
		assert_int_equal(secret_load(folder, got, &kept), ERR_MALFORMED);
		assert_int_equal(stat(in_folder("secret"), &st), 0);
		assert_int_equal(st.st_size, lengths[i]);
	}
}

static void without_a_folder_it_is_new_each_time(void **unused)
{
	uint8_t a[SESS_SECRET_BYTES] = {0};
	uint8_t b[SESS_SECRET_BYTES] = {0};

	(void)unused;
	assert_int_equal(log_open(LOG_INFO, in_folder("log")), 0);
	assert_int_equal(secret_load(in_folder("none"), a, &kept), 0);
	assert_false(kept);
	assert_int_equal(secret_load(in_folder("none"), b, &kept), 0);
	log_close();
	assert_memory_not_equal(a, b, sizeof a);
	assert_int_equal(folder_count(0), 1); /* the log */
	FILE *log = fopen(in_folder("log"), "r");
	char line[512] = "";
	assert_non_null(log);
	assert_non_null(fgets(line, sizeof line, log));
	fclose(log);
	assert_non_null(strstr(line, "event=secret_not_kept"));
}

static void what_cannot_be_read_is_an_error(void **unused)
{
	uint8_t secret[SESS_SECRET_BYTES];

	(void)unused;
	assert_int_equal(symlink("secret", in_folder("secret")), 0);
	assert_int_equal(secret_load(folder, secret, &kept), ERR_SYSTEM);
	assert_int_equal(errno, ELOOP);
	assert_int_equal(unlink(in_folder("secret")), 0);
	write_file("", 0);
	assert_int_equal(secret_load(in_folder("secret"), secret, &kept), ERR_SYSTEM);
	assert_int_equal(errno, ENOTDIR);
}

static void a_path_too_long_is_an_error(void **unused)
{
	static char path[PATH_MAX + 10];
	uint8_t secret[SESS_SECRET_BYTES];

	(void)unused;
	memset(path, 'x', sizeof path - 1);
	assert_int_equal(secret_load(path, secret, &kept), ERR_SYSTEM);
	assert_int_equal(errno, ENAMETOOLONG);
}

struct loader {
	pthread_barrier_t *together;
	uint8_t secret[SESS_SECRET_BYTES];
	int err;
};

static void *load(void *arg)
{
	struct loader *l = arg;

	pthread_barrier_wait(l->together);
	l->err = secret_load(folder, l->secret, &kept);
	return NULL;
}

/* Two nodes that start at once on one folder must not make ids that the other refuses. */
static void who_starts_at_once_agrees(void **unused)
{
	struct loader loaders[THREADS];
	pthread_t threads[THREADS];
	pthread_barrier_t together;

	(void)unused;
	pthread_barrier_init(&together, NULL, THREADS);
	for (int round = 0; round < ROUNDS; round++) {
		for (size_t i = 0; i < THREADS; i++) {
			loaders[i].together = &together;
			assert_int_equal(pthread_create(&threads[i], NULL, load, &loaders[i]), 0);
		}
		for (size_t i = 0; i < THREADS; i++)
			pthread_join(threads[i], NULL);
		for (size_t i = 0; i < THREADS; i++) {
			assert_int_equal(loaders[i].err, 0);
			assert_memory_equal(loaders[i].secret, loaders[0].secret, SESS_SECRET_BYTES);
		}
		assert_int_equal(folder_count(1), 1);
	}
	pthread_barrier_destroy(&together);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(it_is_made_once),
	    TEST(only_its_owner_can_read_it),
	    TEST(what_is_there_is_read),
	    TEST(a_wrong_length_is_refused),
	    TEST(without_a_folder_it_is_new_each_time),
	    TEST(what_cannot_be_read_is_an_error),
	    TEST(a_path_too_long_is_an_error),
	    TEST(who_starts_at_once_agrees),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
