/* The disk store and a disk that others fill: it can be opened all the same, with what it holds back for that. */
#include "tests/unit/small_disk.h"

#include <fcntl.h>

/* Berkeley DB forgets memory of its own when a recovery fails; see test_disk_salvage.c. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libdb-5.3.so\n";
}

static const char *in_store(const char *name)
{
	static char path[200];

	snprintf(path, sizeof path, "%s/%s", store_dir, name);
	return path;
}

/* They leave so many bytes. */
static void fill_disk(uint64_t left)
{
	int fd = open(in_store("ballast"), O_WRONLY | O_CREAT, 0600);

	assert_true(fd >= 0);
	assert_int_equal(posix_fallocate(fd, 0, (off_t)(free_bytes() - left)), 0);
	close(fd);
	assert_in_range(free_bytes(), left, left + 8192);
}

/* In proportion to the disk, or to what the store may hold. */
static void how_much_is_held_back(void **state)
{
	static const struct {
		int disk_mib;
		uint64_t max_mib, cache_mib;
		uint64_t kib;
	} cases[] = {
	    {16, 20480, 64, 2304},   {64, 20480, 64, 3584}, {4096, 20480, 64, 114688},
	    {4096, 20480, 1, 34048}, {4096, 16, 64, 21504},
	};
	struct stat st;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		contract.options.max_bytes = cases[i].max_mib * MIB;
		contract.options.cache_bytes = cases[i].cache_mib * MIB;
		if (!mount_disk(cases[i].disk_mib))
			skip();
		for (int again = 0; again < 2; again++) {
			open_store();
			assert_int_equal(stat(in_store(DISK_RESERVE), &st), 0);
			assert_int_equal(st.st_size, cases[i].kib * 1024);
			assert_int_equal(st.st_blocks * 512, st.st_size);
			close_store(true);
		}
		unmount_disk();
	}
}

/* The store goes on when there is room again. */
static void disk_filled_by_others(void **state)
{
	(void)state;
	if (!mount_disk(64))
		skip();
	open_store();
	assert_int_equal(put_until_full(0, 20), 20);
	fill_disk(MIB);
	assert_true(put_until_full(20, MANY) < MANY);
	commit();
	expect_there(3, 1, STATE_BYTES);
	unlink(in_store("ballast"));
	assert_int_equal(put_until_full(500, 520), 520);
	commit();
	expect_in_step();
}

/* To the last byte; the process dies, and all that the file lacks is in the log. What can be read can be removed, too,
 * but nothing new is taken before there is room again, also for the next such recovery. */
static void full_to_the_last_byte(void **state)
{
	(void)state;
	if (!mount_disk(64))
		skip();
	for (unsigned round = 0; round < 3; round++) {
		open_store();
		assert_int_equal(put_until_full(0, 30), 30);
		commit();
		fill_disk(0);
		close_store(round == 0);
		open_store();
		assert_int_equal(count_of().sessions, 30);
		for (uint32_t n = 0; n < 30; n++)
			expect_there(n, 1, STATE_BYTES);
		assert_int_equal(put_err(30, 1), ERR_FULL);
		take_away_range(0, 30);
		expect_in_step();
		unlink(in_store("ballast"));
		assert_int_equal(put_err(30, 1), ERR_FULL);
		commit();
		tend();
		assert_int_equal(put_until_full(30, 40), 40);
		commit();
		take_away_range(30, 40);
		close_store(true);
	}
}

/* Nothing was held back for it: it says how much it needs. */
static void no_room_to_recover(void **state)
{
	(void)state;
	if (!mount_disk(64))
		skip();
	open_store();
	assert_int_equal(put_until_full(0, 30), 30);
	commit();
	close_store(false);
	unlink(in_store(DISK_RESERVE));
	fill_disk(0);
	assert_int_equal(open_err(), ERR_FULL);
	assert_non_null(strstr(why, "No space left on device: it needs 3584 KiB to be opened"));
	unlink(in_store("ballast"));
	open_store();
	assert_int_equal(count_of().sessions, 30);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CONTRACT_TEST(how_much_is_held_back, fixture_setup, teardown_disk),
	    CONTRACT_TEST(disk_filled_by_others, fixture_setup, teardown_disk),
	    CONTRACT_TEST(full_to_the_last_byte, fixture_setup, teardown_disk),
	    CONTRACT_TEST(no_room_to_recover, fixture_setup, teardown_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
