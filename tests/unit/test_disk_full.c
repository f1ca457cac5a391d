/* The disk store and a disk that is small, full or refuses to write. The refusals are those of Berkeley DB's own
 * pwrite(), which the test takes over. */
#include "tests/unit/failing_disk.h"
#include "tests/unit/small_disk.h"

#include <errno.h>

enum { FIRST = 100 };

/* However small it is: a third of it at least is for sessions, and a full one can be used and opened again. */
static void full_disk(void **state)
{
	static const int sizes[] = {16, 24, 64};

	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		if (!mount_disk(sizes[i]))
			skip();
		open_store();
		uint32_t refused = put_until_full(0, MANY);
		assert_in_range(refused, sizes[i] * (MIB / 3) / STATE_BYTES, MANY - 1);
		/* Nothing is damaged: the batch goes on without it, and all else works. */
		assert_int_equal(put_err(refused, 1), ERR_FULL);
		commit();
		tend();
		for (unsigned orderly = 0; orderly < 2; orderly++) {
			close_store(orderly);
			open_store();
			assert_int_equal(count_of().sessions, refused);
			for (uint32_t n = 0; n < refused; n++)
				expect_there(n, 1, STATE_BYTES);
			expect_gone(refused);
			expect_in_step();
		}
		/* Who is there can go on. */
		for (uint32_t n = 0; n < refused; n++) {
			assert_int_equal(put_err(n, 2), 0);
			if (n % 10 == 9)
				commit();
		}
		commit();
		for (uint32_t n = 0; n < refused; n++)
			expect_there(n, 2, STATE_BYTES);
		/* What goes makes room, though the file does not become smaller. */
		take_away_range(0, refused - 10);
		assert_in_range(put_until_full(0, 50), 50, 50);
		commit();
		expect_in_step();
		unmount_disk();
	}
}

/* Of a small one the log and the index take more than the record, and nobody tends the store while they come. */
static void full_of_small_sessions(void **state)
{
	enum { SMALL_BYTES = 200, BATCH = 512 };
	uint32_t n = 0;

	(void)state;
	if (!mount_disk(24))
		skip();
	open_store();
	for (int err = 0; !err; n += !err) {
		struct sess_record r = record_of(n, 1, SMALL_BYTES);
		err = store_disk.put(store, &r);
		assert_true(err == 0 || err == ERR_FULL);
		if (n % BATCH == BATCH - 1)
			commit();
	}
	commit();
	assert_in_range(n, 24 * (MIB / 3) / 500, 24 * MIB / SMALL_BYTES);
	for (unsigned orderly = 0; orderly < 2; orderly++) {
		close_store(orderly);
		open_store();
		assert_int_equal(count_of().sessions, n);
		expect_there(n - 1, 1, SMALL_BYTES);
		expect_in_step();
	}
}

/* Removals are written to the log too, and a full disk has room for some of them at a time only. Large sessions are
 * removed, or expire, in batches that are committed when they are due. */
static void full_disk_is_emptied(void **state)
{
	enum { LARGE_BYTES = MIB };

	(void)state;
	for (int expire = 0; expire < 2; expire++) {
		struct reaped r = {0};
		bool more = expire;
		uint32_t n = 0;
		if (!mount_disk(64))
			skip();
		open_store();
		for (int err = 0; !err; n += !err) {
			struct sess_record large = record_of(n, 1, LARGE_BYTES);
			err = store_disk.put(store, &large);
			assert_true(err == 0 || err == ERR_FULL);
			commit();
		}
		assert_in_range(n, 20, 64);
		tend();
		while (more) {
			assert_int_equal(store_disk.expire(store, UINT32_MAX, MANY, reap_note, &r, &more), 0);
			commit();
		}
		assert_int_equal(r.count, expire ? n : 0);
		for (uint32_t i = 0; !expire && i < n; i++) {
			take_away(i);
			if (store_disk.due(store))
				commit();
		}
		commit();
		assert_int_equal(count_of().sessions, 0);
		expect_in_step();
		unmount_disk();
	}
}

static void disk_that_is_too_small(void **state)
{
	char line[200];

	(void)state;
	if (!mount_disk(8))
		skip();
	assert_int_equal(open_err(), ERR_FULL);
	snprintf(line, sizeof line, "%s: is on a disk of 8 MiB, and a store needs one of 16 MiB at least", store_dir);
	assert_string_equal(why, line);
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
	bool more;

	assert_int_equal(put_err(1, 9), ERR_BROKEN);
	assert_int_equal(get_err(1), ERR_BROKEN);
	assert_int_equal(store_disk.commit(store), ERR_BROKEN);
	assert_int_equal(store_disk.tend(store), ERR_BROKEN);
	assert_int_equal(store_disk.scan(store, NULL, walk_note, &w), ERR_BROKEN);
	assert_int_equal(store_disk.expire(store, UINT32_MAX, 9, reap_note, &r, &more), ERR_BROKEN);
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
	    CONTRACT_TEST(full_disk, fixture_setup, teardown_disk),
	    CONTRACT_TEST(full_of_small_sessions, fixture_setup, teardown_disk),
	    CONTRACT_TEST(full_disk_is_emptied, fixture_setup, teardown_disk),
	    CONTRACT_TEST(disk_that_is_too_small, fixture_setup, teardown_disk),
	    CONTRACT_TEST(writes_refused_for_want_of_space, setup_failing, teardown_failing),
	    CONTRACT_TEST(writes_refused_by_the_disk, setup_failing, teardown_failing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
