/* The disk store and a disk that is full or refuses to write. The small disk is a tmpfs; where this user may not mount
 * one, those tests are skipped. The refusals are those of Berkeley DB's own pwrite(), which the test takes over. */
#include "tests/unit/disk_fixture.h"
#include "tests/unit/failing_disk.h"

#include <errno.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { SMALL_DISK_BYTES = 160 << 20, STATE_BYTES = 50000, FIRST = 100 };

static int setup_small_disk(void **state)
{
	char options[40];

	if (fixture_setup(state) != 0)
		return -1;
	snprintf(options, sizeof options, "size=%d", SMALL_DISK_BYTES);
	if (mkdir(store_dir, 0700) != 0 || mount("weir", store_dir, "tmpfs", 0, options) != 0)
		store_dir[0] = 0; /* the tests skip */
	else
		open_store();
	return 0;
}

static int teardown_small_disk(void **state)
{
	if (store)
		close_store(true);
	if (store_dir[0])
		umount2(store_dir, MNT_DETACH);
	return fixture_teardown(state);
}

static uint64_t free_bytes(void)
{
	struct statvfs fs;

	assert_int_equal(statvfs(store_dir, &fs), 0);
	return (uint64_t)fs.f_bavail * fs.f_frsize;
}

static int put_err(uint32_t n, uint64_t version)
{
	struct sess_record r = record_of(n, version, STATE_BYTES);

	return store_disk.put(store, &r);
}

static void tend(void)
{
	assert_int_equal(store_disk.tend(store), 0);
}

/* Puts from `from` until there is no room, with commits; the number that was refused. */
static uint32_t put_until_full(uint32_t from, uint32_t to)
{
	for (uint32_t n = from; n < to; n++) {
		int err = put_err(n, 1);
		if (err) {
			assert_int_equal(err, ERR_FULL);
			return n;
		}
		if (n % 20 == 19) {
			commit();
			tend();
		}
	}
	return to;
}

static void full_disk(void **state)
{
	(void)state;
	if (!store_dir[0])
		skip();
	uint32_t refused = put_until_full(0, MANY * 10);
	assert_in_range(refused, 100, MANY - 1);
	/* Nothing is damaged: the batch goes on without it, and all else works. */
	assert_true(free_bytes() > 32 << 20);
	assert_int_equal(put_err(refused, 1), ERR_FULL);
	commit();
	tend();
	for (uint32_t n = 0; n < refused; n++)
		expect_there(n, 1, STATE_BYTES);
	expect_gone(refused);
	expect_in_step();
	close_store(true);
	open_store();
	assert_int_equal(count_of().sessions, refused);
	/* What goes makes room, though the file does not become smaller. */
	for (uint32_t n = 0; n < refused - 10; n++) {
		take_away(n);
		if (n % 20 == 19) {
			commit();
			tend();
		}
	}
	commit();
	tend();
	assert_in_range(put_until_full(0, 50), 50, 50);
	commit();
	expect_in_step();
}

/* Whoever fills the disk: the store goes on when there is room again. */
static void disk_filled_by_others(void **state)
{
	char path[100];
	FILE *f;

	(void)state;
	if (!store_dir[0])
		skip();
	assert_int_equal(put_until_full(0, 20), 20);
	snprintf(path, sizeof path, "%s/ballast", store_dir);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(ftruncate(fileno(f), 1), 0);
	assert_int_equal(posix_fallocate(fileno(f), 0, (off_t)free_bytes() - (4 << 20)), 0);
	assert_true(put_until_full(20, MANY) < MANY);
	commit();
	expect_there(3, 1, STATE_BYTES);
	fclose(f);
	unlink(path);
	assert_int_equal(put_until_full(500, 520), 520);
	commit();
	expect_in_step();
}

/* --- writes that fail --- */

static int setup_failing(void **state)
{
	if (fixture_setup(state) != 0 || take_over_writes() != 0)
		return -1;
	contract.options.cache_bytes = 1 << 20; /* so that pages are written as well as the log */
	open_store();
	return 0;
}

static int teardown_failing(void **state)
{
	give_back_writes();
	return fixture_teardown(state);
}

static void expect_broken(void)
{
	struct walked w = {0};
	struct reaped r = {0};
	uint32_t count = 0;

	assert_int_equal(put_err(1, 9), ERR_BROKEN);
	assert_int_equal(get_err(1), ERR_BROKEN);
	assert_int_equal(store_disk.commit(store), ERR_BROKEN);
	assert_int_equal(store_disk.tend(store), ERR_BROKEN);
	assert_int_equal(store_disk.scan(store, NULL, walk_note, &w), ERR_BROKEN);
	assert_int_equal(store_disk.expire(store, UINT32_MAX, 9, reap_note, &r, &count), ERR_BROKEN);
}

/* Works in batches of ten until something is refused; the sessions that were committed. */
static uint32_t work_until_broken(uint32_t from)
{
	uint32_t told = from;

	for (uint32_t n = from; n < MANY; n++) {
		int err = put_err(n, 1);
		if (!err && n % 10 == 9) {
			err = store_disk.commit(store);
			told = err ? told : n + 1;
			if (!err)
				err = store_disk.tend(store);
		}
		if (err) {
			assert_int_equal(err, ERR_BROKEN);
			return told;
		}
	}
	return told;
}

static void writes_refused(int error)
{
	static const unsigned after[] = {1, 2, 3, 5, 8, 20, 50, 100, 200};

	for (size_t i = 0; i < sizeof after / sizeof after[0]; i++) {
		for (uint32_t n = 0; n < FIRST; n++)
			put(n, 1, STATE_BYTES);
		commit();
		refuse_writes_after(after[i], error);
		uint32_t told = work_until_broken(FIRST);
		assert_in_range(told, FIRST, MANY - 1);
		expect_broken();
		close_store(i % 2);
		refuse_writes_after(0, 0);
		open_store();
		for (uint32_t n = 0; n < told; n++)
			expect_there(n, 1, STATE_BYTES);
		assert_in_range(count_of().sessions, told, told + 10);
		expect_in_step();
		close_store(true);
		remove_tree(store_dir);
		open_store();
	}
}

static void writes_refused_for_want_of_space(void **state)
{
	(void)state;
	writes_refused(ENOSPC);
	char path[120];
	snprintf(path, sizeof path, "%s/damaged", store_dir);
	assert_int_equal(access(path, F_OK), -1);
}

static void writes_refused_by_the_disk(void **state)
{
	(void)state;
	writes_refused(EIO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CONTRACT_TEST(full_disk, setup_small_disk, teardown_small_disk),
	    CONTRACT_TEST(disk_filled_by_others, setup_small_disk, teardown_small_disk),
	    CONTRACT_TEST(writes_refused_for_want_of_space, setup_failing, teardown_failing),
	    CONTRACT_TEST(writes_refused_by_the_disk, setup_failing, teardown_failing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
