/* The thread that waits for the disk: what it is given is flushed and closed, the newest of each file only. The disk is
 * a gate here (the Makefile links fdatasync() to it, and pthread_join() to what tells of it). */
#include "session/disk_flush.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool shut;
	bool joining; /* somebody waits for the thread: it was told to stop */
	int waiting;  /* descriptor; -1: none */
	int flushed[8];
	unsigned count;
} disk = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .waiting = -1};

int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd)
{
	pthread_mutex_lock(&disk.lock);
	disk.waiting = fd;
	pthread_cond_broadcast(&disk.changed);
	while (disk.shut)
		pthread_cond_wait(&disk.changed, &disk.lock);
	disk.waiting = -1;
	disk.flushed[disk.count++] = fd;
	pthread_cond_broadcast(&disk.changed);
	pthread_mutex_unlock(&disk.lock);
	return 0;
}

int __real_pthread_join(pthread_t thread, void **out);
int __wrap_pthread_join(pthread_t thread, void **out);
int __wrap_pthread_join(pthread_t thread, void **out)
{
	pthread_mutex_lock(&disk.lock);
	disk.joining = true;
	pthread_cond_broadcast(&disk.changed);
	pthread_mutex_unlock(&disk.lock);
	return __real_pthread_join(thread, out);
}

static void wait_for_join(void)
{
	pthread_mutex_lock(&disk.lock);
	while (!disk.joining)
		pthread_cond_wait(&disk.changed, &disk.lock);
	pthread_mutex_unlock(&disk.lock);
}

static void shut(bool on)
{
	pthread_mutex_lock(&disk.lock);
	disk.shut = on;
	pthread_cond_broadcast(&disk.changed);
	pthread_mutex_unlock(&disk.lock);
}

static void wait_for_someone(void)
{
	pthread_mutex_lock(&disk.lock);
	while (disk.waiting < 0)
		pthread_cond_wait(&disk.changed, &disk.lock);
	pthread_mutex_unlock(&disk.lock);
}

static void wait_for_count(unsigned count)
{
	pthread_mutex_lock(&disk.lock);
	while (disk.count < count)
		pthread_cond_wait(&disk.changed, &disk.lock);
	pthread_mutex_unlock(&disk.lock);
}

static int open_one(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static int begin_test(void **state)
{
	struct disk_flush *f = disk_flush_new();

	disk.count = 0;
	disk.shut = false;
	disk.joining = false;
	*state = f;
	return f ? 0 : -1;
}

static int end_test(void **state)
{
	struct disk_flush *f = *state;

	shut(false);
	disk_flush_free(&f);
	return 0;
}

static void test_flushes_and_closes(void **state)
{
	struct disk_flush *f = *state;
	int log = open_one(), sessions = open_one();

	disk_flush_begin(f, DISK_FLUSH_LOG, log);
	disk_flush_begin(f, DISK_FLUSH_SESSIONS, sessions);
	wait_for_count(2);
	disk_flush_free(&f);
	*state = NULL;
	assert_false(is_open(log));
	assert_false(is_open(sessions));
}

/* While the disk is busy only the newest of each file is kept, and the log goes first. */
static void test_the_newest_counts(void **state)
{
	struct disk_flush *f = *state;
	int busy = open_one(), old = open_one(), sessions = open_one(), newest = open_one();

	shut(true);
	disk_flush_begin(f, DISK_FLUSH_LOG, busy);
	wait_for_someone();
	disk_flush_begin(f, DISK_FLUSH_SESSIONS, sessions);
	disk_flush_begin(f, DISK_FLUSH_LOG, old);
	disk_flush_begin(f, DISK_FLUSH_LOG, newest);
	assert_false(is_open(old));
	assert_true(is_open(newest));
	shut(false);
	wait_for_count(3);
	assert_int_equal(disk.flushed[0], busy);
	assert_int_equal(disk.flushed[1], newest);
	assert_int_equal(disk.flushed[2], sessions);
}

static void *free_it(void *arg)
{
	struct disk_flush *f = arg;

	disk_flush_free(&f);
	return NULL;
}

/* What has not begun at the end never begins, and leaks nothing. */
static void test_the_end_drops_what_waits(void **state)
{
	struct disk_flush *f = *state;
	int busy = open_one(), waits = open_one();
	pthread_t ender;

	shut(true);
	disk_flush_begin(f, DISK_FLUSH_LOG, busy);
	wait_for_someone();
	disk_flush_begin(f, DISK_FLUSH_SESSIONS, waits);
	assert_int_equal(pthread_create(&ender, NULL, free_it, f), 0);
	*state = NULL;
	wait_for_join();
	shut(false);
	__real_pthread_join(ender, NULL);
	assert_false(is_open(busy));
	assert_false(is_open(waits));
	assert_int_equal(disk.count, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_flushes_and_closes, begin_test, end_test),
	    cmocka_unit_test_setup_teardown(test_the_newest_counts, begin_test, end_test),
	    cmocka_unit_test_setup_teardown(test_the_end_drops_what_waits, begin_test, end_test),
	};

	return cmocka_run_group_tests_name("disk_flush", tests, NULL, NULL);
}
