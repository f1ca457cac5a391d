/* The thread that the disk store has besides its owner's: it waits for the disk ahead of the checkpoints where no batch
 * does, and steps back behind those that serve. The Makefile links fdatasync() to what notes who waits for which file;
 * Berkeley DB's own calls do not come here. */
#include "tests/unit/disk_fixture.h"

#include <dirent.h>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

enum { STEPPED_BACK = 5, STATE_BYTES = 10000, BATCH = 20, THREAD_NAME_BYTES = 16, BOUND_S = 20 };

struct waits {
	unsigned logs, sessions; /* how often each was waited for */
	char thread[THREAD_NAME_BYTES];
	int nice;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct waits waits; /* guarded by lock */

int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd)
{
	char link[40], path[300] = "";

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	if (readlink(link, path, sizeof path - 1) < 0)
		return -1;
	const char *name = strrchr(path, '/');
	pthread_mutex_lock(&lock);
	waits.logs += name && strncmp(name, "/log.", 5) == 0;
	waits.sessions += name && strcmp(name, "/" DISK_FILE) == 0;
	pthread_getname_np(pthread_self(), waits.thread, sizeof waits.thread);
	waits.nice = getpriority(PRIO_PROCESS, 0); /* of this thread: Linux */
	pthread_cond_signal(&changed);
	pthread_mutex_unlock(&lock);
	return 0;
}

static struct waits wait_for_both_files(void)
{
	struct timespec end;
	int err = 0;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += BOUND_S;
	pthread_mutex_lock(&lock);
	while (err == 0 && (waits.logs == 0 || waits.sessions == 0))
		err = pthread_cond_timedwait(&changed, &lock, &end);
	struct waits seen = waits;
	pthread_mutex_unlock(&lock);
	assert_int_equal(err, 0);
	return seen;
}

static unsigned threads(void)
{
	DIR *dir = opendir("/proc/self/task");
	unsigned count = 0;

	assert_non_null(dir);
	for (struct dirent *e; (e = readdir(dir)) != NULL;)
		count += e->d_name[0] != '.';
	closedir(dir);
	return count;
}

/* A store whose log is as small as it may be, with more of it than goes to the disk at a time, and less than brings a
 * checkpoint. */
static void open_and_fill(enum store_sync sync)
{
	contract.options.max_bytes = 64 << 20;
	contract.options.sync = sync;
	open_store();
	for (uint32_t n = 0; n < BATCH; n++)
		put(n, 1, STATE_BYTES);
	commit();
	assert_int_equal(store_disk.tend(store), 0);
}

static void expect_flusher(enum store_sync sync)
{
	waits = (struct waits){0}; /* nobody else is there yet */
	open_and_fill(sync);
	struct waits seen = wait_for_both_files();
	assert_string_equal(seen.thread, "weir-flush");
	assert_int_equal(seen.nice, STEPPED_BACK);
}

static void with_write_a_thread_waits(void **state)
{
	(void)state;
	expect_flusher(STORE_SYNC_WRITE);
}

static void with_none_a_thread_waits(void **state)
{
	(void)state;
	expect_flusher(STORE_SYNC_NONE);
}

/* Each batch waits for the disk itself. */
static void with_group_there_is_no_thread(void **state)
{
	unsigned before = threads();

	(void)state;
	open_and_fill(STORE_SYNC_GROUP);
	assert_int_equal(threads(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CONTRACT_TEST(with_group_there_is_no_thread, fixture_setup,
			  fixture_teardown), /* first: none is on its way out */
	    CONTRACT_TEST(with_write_a_thread_waits, fixture_setup, fixture_teardown),
	    CONTRACT_TEST(with_none_a_thread_waits, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests_name("disk_threads", tests, NULL, NULL);
}
