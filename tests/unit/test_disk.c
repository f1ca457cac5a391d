/* The disk store: the contract of session/store.h, what is there after it was closed and opened, who may open it, and
 * records that are damaged or of a newer weir. */
#include "tests/unit/disk_fixture.h"

#include "session/disk_hint.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOBODY = 65534, LOG_FILES_MAX = 3 };

static const char *in_store(const char *name)
{
	static char path[200];

	snprintf(path, sizeof path, "%s/%s", store_dir, name);
	return path;
}

static void kept_over_close_and_open(void **state)
{
	(void)state;
	for (int orderly = 0; orderly < 2; orderly++) {
		for (uint32_t n = 0; n < 100; n++)
			put(n, 1 + (uint64_t)orderly, 500 + n);
		put(200, 1, 100000);
		commit();
		put(300, 1, 10); /* of no batch that was committed */
		take_away(3);
		close_store(orderly);
		open_store();
		for (uint32_t n = 0; n < 100; n++)
			expect_there(n, 1 + (uint64_t)orderly, 500 + n);
		expect_there(200, 1, 100000);
		expect_gone(300);
		assert_int_equal(count_of().sessions, 101);
		assert_int_equal(walk_all().count, 101);
		expect_in_step();
	}
}

static void huge_state(void **state)
{
	enum { HUGE_BYTES = 5 << 20 };

	(void)state;
	put(1, 1, HUGE_BYTES);
	put(2, 1, 60000);
	commit();
	expect_there(1, 1, HUGE_BYTES);
	put(1, 2, HUGE_BYTES / 2);
	commit();
	expect_there(1, 2, HUGE_BYTES / 2);
	close_store(false);
	open_store();
	expect_there(1, 2, HUGE_BYTES / 2);
	expect_there(2, 1, 60000);
	take_away(1);
	commit();
	expect_in_step();
}

static void files_are_private(void **state)
{
	static const char *const names[] = {"", "lock", DISK_FILE, DISK_RESERVE, "log.0000000001"};
	struct stat st;

	(void)state;
	put(1, 1, 10);
	commit();
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		assert_int_equal(stat(in_store(names[i]), &st), 0);
		assert_int_equal(st.st_mode & 0777, i == 0 ? 0700 : 0600);
	}
}

/* --- who may open it --- */

static void expect_why(const char *end)
{
	char line[300];

	snprintf(line, sizeof line, "%s: %s", contract.options.dir, end);
	assert_string_equal(why, line);
	assert_null(store);
}

static void opened_twice(void **state)
{
	struct store *first = store;
	char end[60];
	int ends[2], status = 0;
	char byte = 0;

	(void)state;
	snprintf(end, sizeof end, "is used by process %d", (int)getpid());
	store = NULL;
	assert_int_equal(open_err(), ERR_BUSY);
	expect_why(end);
	store = first;
	close_store(true);
	assert_int_equal(pipe(ends), 0);
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		open_store();
		(void)!write(ends[1], "x", 1);
		pause();
	}
	assert_int_equal(read(ends[0], &byte, 1), 1);
	assert_int_equal(open_err(), ERR_BUSY);
	snprintf(end, sizeof end, "is used by process %d", (int)child);
	expect_why(end);
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, &status, 0), child);
	close(ends[0]);
	close(ends[1]);
	open_store();
}

static void folder_that_cannot_be(void **state)
{
	char path[120];
	int fd;

	(void)state;
	snprintf(path, sizeof path, "%s/not/there", folder);
	contract.options.dir = path;
	assert_int_equal(open_err(), ERR_SYSTEM);
	expect_why("its parent folder does not exist");
	snprintf(path, sizeof path, "%s/file", folder);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(open_err(), ERR_SYSTEM);
	expect_why("is not a folder");
	snprintf(path, sizeof path, "%s/file/below", folder);
	assert_int_equal(open_err(), ERR_SYSTEM);
	expect_why("Not a directory");
}

/* As another user than the one that this test runs as; only root can become one. */
static void folders_of_others(void **state)
{
	static const struct {
		mode_t parent, own;
		uid_t owner;
		const char *why;
	} cases[] = {
	    {0777, 0777, 0, "belongs to another user"},
	    {0755, 0, NOBODY, "Permission denied"}, /* there is none, and it may not be made */
	    {0755, 0500, NOBODY, "Permission denied"},
	};

	(void)state;
	if (geteuid() != 0)
		skip();
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int status = 0;
		assert_int_equal(chmod(folder, cases[i].parent), 0);
		remove_tree(store_dir);
		if (cases[i].own) {
			assert_int_equal(mkdir(store_dir, 0700), 0);
			assert_int_equal(chmod(store_dir, cases[i].own), 0);
			assert_int_equal(chown(store_dir, cases[i].owner, cases[i].owner), 0);
		}
		pid_t child = fork();
		assert_true(child >= 0);
		if (child == 0) {
			if (setgid(NOBODY) != 0 || setuid(NOBODY) != 0)
				_exit(9);
			bool right = open_err() == ERR_SYSTEM && strstr(why, cases[i].why) && strstr(why, store_dir);
			if (!right)
				fprintf(stderr, "%s\n", why);
			_exit(right ? 0 : 1);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_int_equal(status, 0);
	}
}

static void write_format(uint8_t format)
{
	uint8_t bytes[DISK_META_BYTES] = "weirmeta";
	DBT key = {.data = (void *)(uintptr_t) "meta", .size = 4}, data = {.data = bytes, .size = sizeof(bytes)};

	bytes[15] = format;
	assert_int_equal(store->meta->put(store->meta, NULL, &key, &data, 0), 0);
}

static void of_a_newer_weir(void **state)
{
	(void)state;
	put(1, 1, 10);
	commit();
	write_format(DISK_FORMAT + 1);
	close_store(true);
	assert_int_equal(open_err(), ERR_VERSION);
	expect_why("written by a newer weir");
	assert_int_equal(open_err(), ERR_VERSION); /* and it was left as it is */
}

/* Its records are found without their keys. */
static void of_an_older_weir(void **state)
{
	(void)state;
	put(1, 1, 10);
	commit();
	write_format(DISK_FORMAT - 1);
	close_store(true);
	open_store();
	expect_there(1, 1, 10);
	expect_in_step();
}

/* --- the order of records --- */

static void expect_order(const uint32_t *numbers, size_t count)
{
	DBT key = {0}, data = {0};
	struct record_head head;
	DBC *c = NULL;
	size_t i = 0;

	assert_int_equal(store->sessions->cursor(store->sessions, NULL, &c, 0), 0);
	for (; c->get(c, &key, &data, DB_NEXT) == 0; i++) {
		struct sess_id id = id_of(numbers[i]);
		assert_true(i < count);
		assert_int_equal(record_peek(view_of(data.data, data.size), &head), 0);
		assert_memory_equal(head.id.bytes, id.bytes, sizeof(id.bytes));
	}
	c->close(c);
	assert_int_equal(i, count);
}

static void put_at_one_second(uint32_t n, uint64_t version)
{
	struct sess_record r = record_of(n, version, 10);

	r.used_s = USED_S;
	assert_int_equal(store_disk.put(store, &r), 0);
}

/* So that they are written one behind the other, whatever their ids are. */
static void those_of_one_second_lie_as_they_came(void **state)
{
	static const uint32_t numbers[] = {7, 3, 9, 1, 8, 2};

	(void)state;
	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
		put_at_one_second(numbers[i], 1);
	put_at_one_second(9, 2); /* keeps its place */
	commit();
	expect_order(numbers, sizeof numbers / sizeof numbers[0]);
	expect_in_step();
}

/* --- records --- */

static void find_key(uint32_t n, uint8_t at[DISK_KEY_BYTES])
{
	struct sess_id id = id_of(n);
	struct disk_place place;

	assert_int_equal(disk_place_get(store, &id, &place), 0);
	disk_key(&id, &place, at);
}

/* Writes bytes in the place of a session's record. */
static void write_record(uint32_t n, const void *bytes, size_t len)
{
	uint8_t at[DISK_KEY_BYTES];
	DBT key = {.data = at, .size = sizeof(at)}, data = {.data = (void *)(uintptr_t)bytes, .size = (uint32_t)len};

	find_key(n, at);
	assert_int_equal(store->sessions->put(store->sessions, NULL, &key, &data, 0), 0);
}

static void drop_record(uint32_t n)
{
	uint8_t at[DISK_KEY_BYTES];
	DBT key = {.data = at, .size = sizeof(at)};

	find_key(n, at);
	assert_int_equal(store->sessions->del(store->sessions, NULL, &key, 0), 0);
}

static void drop_id(uint32_t n)
{
	struct sess_id id = id_of(n);
	DBT key = {.data = id.bytes, .size = sizeof(id.bytes)};

	assert_int_equal(store->ids->del(store->ids, NULL, &key, 0), 0);
	disk_hints_fini(&store->hints); /* which know it still */
}

static void damaged_records(void **state)
{
	struct buf bytes = {0};
	struct reaped reaped = {0};
	struct walked w;

	(void)state;
	for (uint32_t n = 0; n < 10; n++)
		put(n, 1, 100);
	commit();
	struct sess_record r = record_of(5, 1, 100);
	record_encode(&r, &bytes);
	bytes.data[60] ^= 1;
	write_record(5, bytes.data, buf_len(&bytes)); /* a changed byte */
	write_record(6, bytes.data, 20);              /* cut short */
	write_record(7, "", 0);
	drop_record(8); /* gone altogether */
	buf_fini(&bytes);
	for (uint32_t n = 5; n < 9; n++)
		assert_int_equal(get_err(n), ERR_MALFORMED);
	w = walk_all();
	assert_int_equal(w.count, 10);
	assert_int_equal(w.failed, 4);
	take_away(5);
	take_away(8);
	expect_gone(5);
	expect_gone(8);
	put(6, 2, 100); /* replaced */
	expect_there(6, 2, 100);
	commit();
	assert_int_equal(count_of().sessions, 8);
	assert_int_equal(expire(USED_S + 20 + TTL_S, MANY, &reaped), 8);
	assert_int_equal(reaped.times[7], 1);
	commit();
	assert_int_equal(count_of().sessions, 0);
	assert_int_equal(count_of().bytes, 0);
	expect_in_step();
}

/* A record that no id leads to is nobody's: it goes in its time, and nobody is told. */
static void record_without_an_id(void **state)
{
	struct reaped reaped = {0};

	(void)state;
	for (uint32_t n = 0; n < 4; n++)
		put(n, 1, 100);
	commit();
	drop_id(1);
	expect_gone(1);
	assert_int_equal(expire(UINT32_MAX, MANY, &reaped), 3);
	assert_int_equal(reaped.times[1], 0);
	commit();
	DBT key = {0}, data = {0};
	DBC *c = NULL;
	assert_int_equal(store->sessions->cursor(store->sessions, NULL, &c, 0), 0);
	assert_int_equal(c->get(c, &key, &data, DB_FIRST), DB_NOTFOUND);
	c->close(c);
}

static void record_of_a_newer_weir(void **state)
{
	struct buf bytes = {0};
	struct reaped reaped = {0};
	struct walked w;

	(void)state;
	for (uint32_t n = 0; n < 4; n++)
		put(n, 1, 100);
	commit();
	struct sess_record r = record_of(2, 1, 100);
	record_encode(&r, &bytes);
	bytes.data[5] = RECORD_FORMAT + 1;
	uint64_t sum =
	    siphash(siphash_key_load((const uint8_t *)"weir-session-v1"), view_of(bytes.data, bytes.tail - 8));
	for (unsigned i = 0; i < 8; i++)
		bytes.data[bytes.tail - 8 + i] = (uint8_t)(sum >> (56 - 8 * i));
	write_record(2, bytes.data, bytes.tail);
	buf_fini(&bytes);
	close_store(true);
	open_store();
	assert_int_equal(get_err(2), ERR_VERSION);
	w = walk_all();
	assert_int_equal(w.count, 4);
	assert_int_equal(w.failed, 1);
	assert_int_equal(expire(USED_S + 2 + TTL_S - 1, MANY, &reaped), 2);
	assert_int_equal(get_err(2), ERR_VERSION);
	assert_int_equal(expire(USED_S + 2 + TTL_S, MANY, &reaped), 1);
	assert_int_equal(reaped.times[2], 1);
	expect_gone(2);
	commit();
	expect_in_step();
}

/* --- what commit() promises --- */

static DB_LOG_STAT log_stat(void)
{
	DB_LOG_STAT *stat = NULL, copy;

	assert_int_equal(store->env->log_stat(store->env, &stat, 0), 0);
	copy = *stat;
	free(stat);
	return copy;
}

static void sync_modes(void **state)
{
	(void)state;
	for (enum store_sync sync = STORE_SYNC_NONE; sync <= STORE_SYNC_GROUP; sync++) {
		contract.options.sync = sync;
		store_disk.set(store, &contract.options);
		DB_LOG_STAT before = log_stat();
		for (uint32_t n = 0; n < 10; n++)
			put(n, sync, 1000);
		assert_int_equal(log_stat().st_wcount, before.st_wcount);
		commit();
		DB_LOG_STAT after = log_stat();
		assert_int_equal(after.st_wcount > before.st_wcount, sync != STORE_SYNC_NONE);
		assert_int_equal(after.st_scount - before.st_scount, sync == STORE_SYNC_GROUP);
		if (sync == STORE_SYNC_GROUP) {
			assert_int_equal(after.st_disk_file, after.st_cur_file);
			assert_int_equal(after.st_disk_offset, after.st_cur_offset);
		}
	}
}

/* --- housekeeping --- */

static unsigned log_files(void)
{
	DIR *dir = opendir(store_dir);
	unsigned count = 0;

	assert_non_null(dir);
	for (struct dirent *e; (e = readdir(dir)) != NULL;)
		count += strncmp(e->d_name, "log.", 4) == 0;
	closedir(dir);
	return count;
}

/* Far more log than there may be at once; what a recovery has to read stays bounded as well. Also where one batch
 * follows the other and nobody tends the store in between. */
static void logs_are_removed(void **state)
{
	(void)state;
	for (uint32_t round = 0; round < 60; round++) {
		for (uint32_t n = 0; n < 50; n++)
			put(n, round, 60000);
		commit();
		if (round < 20)
			assert_int_equal(store_disk.tend(store), 0);
		assert_in_range(log_files(), 1, LOG_FILES_MAX);
		assert_in_range(log_stat().st_wc_mbytes, 0, 40);
	}
	for (uint32_t n = 0; n < 50; n++)
		expect_there(n, 59, 60000);
	close_store(true);
	open_store();
	assert_in_range(log_files(), 1, LOG_FILES_MAX);
	expect_in_step();
}

/* Whatever it is made of. */
static void large_batches_are_due(void **state)
{
	struct reaped r = {0};
	bool more;

	(void)state;
	assert_false(store_disk.due(store));
	for (unsigned round = 0; round < 3; round++) {
		uint32_t n = 0;
		for (; round < 2 && n < MANY && !store_disk.due(store); n++) {
			if (round == 0)
				put(n, 1, 100000);
			else
				take_away(n);
		}
		if (round == 2) {
			assert_int_equal(store_disk.expire(store, UINT32_MAX, MANY, reap_note, &r, &more), 0);
			assert_true(more);
			assert_true(store_disk.due(store));
			n = r.count;
		}
		assert_in_range(n, 35, 45);
		commit();
		assert_false(store_disk.due(store));
		for (n = 0; round == 1 && n < 200; n++) {
			put(n, 1, 100000);
			if (store_disk.due(store))
				commit();
		}
		commit();
	}
}

static void tend_leaves_a_batch_alone(void **state)
{
	(void)state;
	put(1, 1, 10);
	assert_int_equal(store_disk.tend(store), 0);
	close_store(true);
	open_store();
	expect_gone(1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CONTRACT_TESTS(fixture_open, fixture_teardown),
	    CONTRACT_TEST(kept_over_close_and_open, fixture_open, fixture_teardown),
	    CONTRACT_TEST(huge_state, fixture_open, fixture_teardown),
	    CONTRACT_TEST(files_are_private, fixture_open, fixture_teardown),
	    CONTRACT_TEST(opened_twice, fixture_open, fixture_teardown),
	    CONTRACT_TEST(folder_that_cannot_be, fixture_setup, fixture_teardown),
	    CONTRACT_TEST(folders_of_others, fixture_setup, fixture_teardown),
	    CONTRACT_TEST(of_a_newer_weir, fixture_open, fixture_teardown),
	    CONTRACT_TEST(of_an_older_weir, fixture_open, fixture_teardown),
	    CONTRACT_TEST(those_of_one_second_lie_as_they_came, fixture_open, fixture_teardown),
	    CONTRACT_TEST(damaged_records, fixture_open, fixture_teardown),
	    CONTRACT_TEST(record_without_an_id, fixture_open, fixture_teardown),
	    CONTRACT_TEST(record_of_a_newer_weir, fixture_open, fixture_teardown),
	    CONTRACT_TEST(sync_modes, fixture_open, fixture_teardown),
	    CONTRACT_TEST(logs_are_removed, fixture_open, fixture_teardown),
	    CONTRACT_TEST(large_batches_are_due, fixture_open, fixture_teardown),
	    CONTRACT_TEST(tend_leaves_a_batch_alone, fixture_open, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
