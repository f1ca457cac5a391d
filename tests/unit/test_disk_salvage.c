/* The disk store and files that cannot be opened: torn in a crash, cut, removed, of noise or never ours. What could be
 * read is there afterwards, and the damaged files are kept. */
#include "tests/unit/damage_fixture.h"
#include "tests/unit/failing_disk.h"

#include <signal.h>
#include <time.h>

/* Berkeley DB forgets memory of its own when a recovery fails: up to its log's buffer, once each time. That the store
 * frees all of it elsewhere is what test_disk_damage looks at. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libdb-5.3.so\n";
}

static void fill_twice(void)
{
	fill(0, SESSIONS, 1);
	assert_int_equal(disk_checkpoint(store), 0);
	fill(0, SESSIONS, 2);
}

/* A torn page after a crash of the machine: the recovery meets it. What the log holds is not lost for that. */
static void leaf_torn_in_a_crash(void **state)
{
	static const uint8_t half[DISK_PAGE_BYTES / 2];

	(void)state;
	in_child(fill_twice);
	overwrite(in_store(DISK_FILE), page_with_records(3) * DISK_PAGE_BYTES, half, sizeof half);
	use_all();
	expect_salvaged(SESSIONS - 8, SESSIONS - 1);
	assert_true(logged("recovered=yes"));
	assert_in_range(missing(0, SESSIONS, 2), 1, 8);
}

static void fill_and_remove(void)
{
	fill(0, SESSIONS, 1);
	assert_int_equal(disk_checkpoint(store), 0);
	for (uint32_t n = 0; n < SESSIONS; n += 2)
		take_away(n);
	commit();
}

/* What was removed after the page was last written does not come back with what is read of it. */
static void removed_stays_removed(void **state)
{
	(void)state;
	in_child(fill_and_remove);
	for (unsigned k = 0; k < 40; k++)
		flip_in_page(page_with_records(k));
	expect_salvaged(SESSIONS / 2 - 40, SESSIONS / 2);
	for (uint32_t n = 0; n < SESSIONS; n += 2)
		expect_gone(n);
}

/* The index, the meta record and the list of databases. */
static void other_leaves_changed(void **state)
{
	(void)state;
	open_store();
	fill(0, SESSIONS, 1);
	close_store(true);
	for (unsigned k = 0; page_of(LEAF, false, k) >= 0; k++)
		flip_in_page(page_of(LEAF, false, k));
	expect_salvaged(SESSIONS, SESSIONS);
	assert_int_equal(missing(0, SESSIONS, 1), 0);
}

static void first_page_changed(void **state)
{
	(void)state;
	open_store();
	fill(0, SESSIONS, 1);
	close_store(true);
	overwrite(in_store(DISK_FILE), 0, "damage", 6);
	overwrite(in_store(DISK_FILE), 20, "damage", 6);
	expect_salvaged(SESSIONS, SESSIONS);
	assert_int_equal(missing(0, SESSIONS, 1), 0);
	assert_true(logged("recovered=log"));
	assert_true(logged("lost=0"));
}

/* Random bytes over random places, many times; a store that opens and works must come out each time. */
static void random_damage(void **state)
{
	uint32_t seed = getenv("SEED") ? (uint32_t)strtoul(getenv("SEED"), NULL, 10) : (uint32_t)time(NULL);

	(void)state;
	print_message("SEED=%u\n", seed);
	srandom(seed);
	open_store();
	fill(0, SESSIONS, 1);
	for (unsigned round = 0; round < 25; round++) {
		const char *path = in_store(DISK_FILE);
		bool orderly = random() % 2;
		close_store(orderly);
		for (long holes = 1 + random() % 6; holes > 0; holes--) {
			uint8_t noise[2000];
			size_t len = 1 + (size_t)random() % (random() % 4 ? 4 : sizeof noise);
			for (size_t i = 0; i < len; i++)
				noise[i] = (uint8_t)random();
			overwrite(path, random() % (file_bytes(path) - (long)len), noise, len);
		}
		for (unsigned tries = 0;; tries++) {
			assert_true(tries < 3);
			open_store();
			unsigned failed = 0;
			for (uint32_t n = 0; n < SESSIONS && !failed; n++)
				failed = get_err(n) == ERR_BROKEN;
			if (!failed)
				break;
			close_store(false);
		}
		assert_int_equal(walk_all().failed, 0);
		missing(0, SESSIONS, 1);
		fill(0, SESSIONS, 1);
		assert_int_equal(count_of().sessions, SESSIONS);
		expect_in_step();
	}
}

static void file_truncated(void **state)
{
	static const long keep[] = {0, 100, 512, DISK_PAGE_BYTES, 40 * DISK_PAGE_BYTES + 77, -DISK_PAGE_BYTES, -1};
	static const char *const reasons[] = {"unexpected file type or format",
					      "unexpected file type or format",
					      "shorter than it says",
					      "shorter than it says",
					      "shorter than it says",
					      "shorter than it says",
					      "shorter than it says"};

	for (size_t i = 0; i < sizeof keep / sizeof keep[0]; i++) {
		open_store();
		fill(0, SESSIONS, 1);
		close_store(true);
		long bytes = keep[i] >= 0 ? keep[i] : file_bytes(in_store(DISK_FILE)) + keep[i];
		assert_int_equal(truncate(in_store(DISK_FILE), bytes), 0);
		use_all();
		open_store();
		uint32_t lost = missing(0, SESSIONS, 1);
		if (keep[i] < 0)
			assert_in_range(lost, 0, 10);
		assert_int_equal(count_of().sessions, SESSIONS - lost);
		expect_in_step();
		assert_true(logged_with("event=store_damaged", reasons[i]));
		close_store(true);
		teardown(state);
		setup(state);
	}
}

static void foreign_file(void **state)
{
	static char text[100000];

	(void)state;
	memset(text, 'x', sizeof text);
	mkdir(store_dir, 0700);
	overwrite(in_store(DISK_FILE), 0, text, sizeof text);
	expect_salvaged(0, 0);
	char aside[PATH_MAX], path[PATH_MAX + 20];
	assert_int_equal(asides(aside), 1);
	snprintf(path, sizeof path, "%s/%s", aside, DISK_FILE);
	assert_int_equal(file_bytes(path), sizeof text);
}

/* After an orderly close all is in the file. */
static void logs_removed(void **state)
{
	(void)state;
	open_store();
	fill(0, SESSIONS, 1);
	close_store(true);
	remove_logs();
	expect_salvaged(SESSIONS, SESSIONS);
	assert_int_equal(missing(0, SESSIONS, 1), 0);
}

static void fill_in_halves(void)
{
	fill(0, SESSIONS / 2, 1);
	assert_int_equal(disk_checkpoint(store), 0);
	fill(SESSIONS / 2, SESSIONS, 1);
}

/* After a crash what only the log held is lost, and nothing else. */
static void logs_removed_after_a_crash(void **state)
{
	(void)state;
	in_child(fill_in_halves);
	remove_logs();
	expect_salvaged(SESSIONS / 2, SESSIONS);
	assert_int_equal(missing(0, SESSIONS / 2, 1), 0);
}

/* Berkeley DB makes a file of the log as long as it may become; behind what was written are zeros. */
static long log_end(const char *path)
{
	static uint8_t bytes[33 << 20];
	int fd = open(path, O_RDONLY);
	ssize_t len = read(fd, bytes, sizeof bytes);

	close(fd);
	assert_in_range(len, 1, sizeof bytes - 1);
	while (len > 0 && bytes[len - 1] == 0)
		len--;
	return len;
}

static void log_cut_short(void **state)
{
	static const long cut[] = {1, 100, 10000, 200000};

	for (size_t i = 0; i < sizeof cut / sizeof cut[0]; i++) {
		in_child(fill_in_halves);
		const char *path = in_store("log.0000000001");
		assert_int_equal(truncate(path, log_end(path) - cut[i]), 0);
		open_store();
		assert_int_equal(missing(0, SESSIONS / 2, 1), 0);
		/* At least the last batch was in what was cut. */
		assert_in_range(missing(SESSIONS / 2, SESSIONS, 1), 1, SESSIONS / 2);
		assert_int_equal(count_of().sessions, SESSIONS - missing(0, SESSIONS, 1));
		expect_in_step();
		close_store(true);
		teardown(state);
		setup(state);
	}
}

static void log_of_noise(void **state)
{
	static const long at[] = {0, 28, 5000, 100000};

	for (size_t i = 0; i < sizeof at / sizeof at[0]; i++) {
		in_child(fill_in_halves);
		overwrite(in_store("log.0000000001"), at[i], "this is not what was written", 28);
		open_store();
		assert_int_equal(missing(0, SESSIONS / 2, 1), 0);
		assert_int_equal(count_of().sessions, SESSIONS - missing(0, SESSIONS, 1));
		expect_in_step();
		close_store(true);
		teardown(state);
		setup(state);
	}
}

/* --- a file that is lost as a whole --- */

static void file_removed(void)
{
	assert_int_equal(unlink(in_store(DISK_FILE)), 0);
}

static void file_of_noise(void)
{
	static uint8_t noise[1 << 16];
	long bytes = file_bytes(in_store(DISK_FILE));

	for (size_t i = 0; i < sizeof noise; i++)
		noise[i] = (uint8_t)random();
	for (long at = 0; at < bytes; at += (long)sizeof noise)
		overwrite(in_store(DISK_FILE), at, noise, sizeof noise);
}

static void (*const losses[])(void) = {file_removed, file_of_noise};

/* In version 3, used later than when it was made. */
static struct sess_record later_of(uint32_t n)
{
	struct sess_record r = record_of(n, 3, len_of(n));

	r.used_s += 100;
	return r;
}

static void expect_later(uint32_t n)
{
	struct buf space = {0};
	struct sess_id id = id_of(n);
	struct sess_record r, want = later_of(n);

	assert_int_equal(store_disk.get(store, &id, &space, &r), 0);
	assert_int_equal(r.version, want.version);
	assert_int_equal(r.used_s, want.used_s);
	assert_true(view_eq(r.state, want.state));
	buf_fini(&space);
}

/* With ends, an undone batch, and one that was never committed. */
static void live_and_die(void)
{
	fill(0, SESSIONS, 1);
	for (uint32_t n = 0; n < SESSIONS; n += 3)
		take_away(n);
	commit();
	assert_int_equal(disk_checkpoint(store), 0);
	for (uint32_t n = 0; n < SESSIONS; n += 6)
		put(n, 2, len_of(n));
	for (uint32_t n = 1; n < SESSIONS; n += 3)
		put(n, 2, len_of(n) + 10000);
	disk_undo(store);
	for (uint32_t n = 2; n < SESSIONS; n += 3) {
		struct sess_record r = later_of(n);
		put(n, 3, len_of(n));
		assert_int_equal(store_disk.put(store, &r), 0);
	}
	commit();
	for (uint32_t n = 0; n < SESSIONS; n += 3)
		put(n, 4, len_of(n));
	take_away(1);
}

/* The log has all that there ever was. */
static void log_has_all(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		in_child(live_and_die);
		losses[i]();
		expect_salvaged(SESSIONS / 3 * 2, SESSIONS / 3 * 2);
		assert_true(logged("recovered=log"));
		assert_true(logged("lost=0"));
		for (uint32_t n = 0; n < SESSIONS; n++) {
			if (n % 3 == 0)
				expect_gone(n);
			else if (n % 3 == 1)
				expect_there(n, 1, len_of(n));
			else
				expect_later(n);
		}
		teardown(state);
		setup(state);
	}
	in_child(live_and_die);
	file_removed();
	open_store();
	assert_true(logged_with("event=store_damaged", "reason=\"sessions.db is missing\""));
}

/* Its begin was removed: what came since is there, and nobody knows what there was before. */
static void log_has_the_end(void **state)
{
	enum { LATE = 20 };

	(void)state;
	contract.options.max_bytes = 64 << 20;
	for (size_t i = 0; i < 2; i++) {
		open_store();
		fill(0, SESSIONS, 1);
		assert_int_equal(disk_checkpoint(store), 0);
		assert_int_equal(access(in_store("log.0000000001"), F_OK), -1);
		fill(SESSIONS, SESSIONS + LATE, 1);
		take_away(SESSIONS);
		commit();
		close_store(i);
		losses[i]();
		expect_salvaged(LATE - 1, SESSIONS + LATE - 2);
		assert_true(logged("recovered=log"));
		assert_true(logged("lost=unknown"));
		expect_gone(SESSIONS);
		assert_int_equal(missing(SESSIONS + 1, SESSIONS + LATE, 1), 0);
		teardown(state);
		setup(state);
		contract.options.max_bytes = 64 << 20;
	}
}

/* What is behind a record that cannot be read, or behind a file that is missing, counts as unknown. */
static void log_has_a_hole(void **state)
{
	enum { FIRST = 50 };

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		contract.options.max_bytes = 64 << 20;
		open_store();
		fill(0, FIRST, 1);
		for (uint32_t n = FIRST; n < SESSIONS; n++) /* one batch, which no checkpoint cuts short */
			put(n, 1, len_of(n));
		commit();
		close_store(false);
		if (i == 0)
			flip(in_store("log.0000000002"), 500000);
		else
			assert_int_equal(unlink(in_store("log.0000000002")), 0);
		file_removed();
		expect_salvaged(FIRST, FIRST);
		assert_true(logged("recovered=no"));
		assert_true(logged("lost=unknown"));
		assert_in_range(missing(0, FIRST, 1), 0, 0);
		teardown(state);
		setup(state);
	}
}

/* Neither file nor log: there is nothing, and the log does not call that none. */
static void all_is_lost(void **state)
{
	(void)state;
	open_store();
	fill(0, SESSIONS, 1);
	close_store(true);
	file_of_noise();
	overwrite(in_store("log.0000000001"), 0, "this is not what was written", 28);
	expect_salvaged(0, 0);
	assert_true(logged("recovered=no"));
	assert_true(logged("lost=unknown"));
}

/* What a marker says was wrong is told; what it cannot have said is not. */
static void marker_of_any_kind(void **state)
{
	static char noise[10000];
	static const struct {
		const char *text, *reason;
	} cases[] = {
	    {"-\nthe cause of it\n", "reason=\"the cause of it\""},
	    {"damaged-20200101-000000\nthe cause of it\n", "reason=\"the cause of it\""}, /* a folder that is gone */
	    {"damaged-/../..\nan evil one\n", "reason=\"an evil one\""},
	    {"-\n\n", "reason=\"it met damage before\""},
	    {"-", "reason=\"it met damage before\""},
	    {"", "reason=\"it met damage before\""},
	    {noise, "reason=\"it met damage before\""},
	};

	(void)state;
	memset(noise, 'x', sizeof noise - 1);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		open_store();
		fill(0, 20, 1);
		close_store(true);
		overwrite(in_store(DISK_MARKER), 0, cases[i].text, strlen(cases[i].text));
		expect_salvaged(20, 20);
		assert_true(logged_with("event=store_damaged", cases[i].reason));
		assert_int_equal(missing(0, 20, 1), 0);
		/* The folder that it names is the one, whether it was made already or not. */
		assert_int_equal(access(in_store("damaged-20200101-000000"), F_OK) == 0, i == 1);
		teardown(state);
		setup(state);
	}
}

/* A record that was left behind where it is not looked for any more: of this version, and used at `used_s`. */
static void leave_behind(uint32_t n, uint64_t version, uint32_t used_s)
{
	struct sess_record r = record_of(n, version, 100);
	uint8_t at[DISK_KEY_BYTES];
	struct buf bytes = {0};

	r.used_s = used_s;
	record_encode(&r, &bytes);
	struct disk_place place = {.expires_s = record_expires_s(&r), .bytes = (uint32_t)buf_len(&bytes)};
	disk_key(&r.id, &place, at);
	DBT key = {.data = at, .size = sizeof(at)}, data = {.data = bytes.data, .size = place.bytes};
	assert_int_equal(store->sessions->put(store->sessions, NULL, &key, &data, 0), 0);
	buf_fini(&bytes);
}

static uint32_t used_s(uint32_t n)
{
	struct buf space = {0};
	struct sess_id id = id_of(n);
	struct sess_record r;

	assert_int_equal(store_disk.get(store, &id, &space, &r), 0);
	buf_fini(&space);
	return r.used_s;
}

/* A use changes the time and not the version. */
static void the_last_use_of_a_version_counts(void **state)
{
	static const struct {
		uint64_t version;
		int used_s, want_s;
	} rows[] = {
	    {1, -50, 0},
	    {1, 50, 50}, /* the same version */
	    {2, -50, -50},
	    {2, 50, 50}, /* a newer one */
	};

	(void)state;
	open_store();
	for (uint32_t n = 0; n < 4; n++) {
		put(n, 1, 100);
		commit();
		leave_behind(n, rows[n].version, USED_S + n + (uint32_t)rows[n].used_s);
	}
	close_store(true);
	overwrite(in_store(DISK_MARKER), 0, "-\nthe test\n", 11);
	open_store();
	assert_int_equal(count_of().sessions, 4);
	for (uint32_t n = 0; n < 4; n++)
		assert_int_equal(used_s(n), USED_S + n + (uint32_t)rows[n].want_s);
	expect_in_step();
}

/* --- a salvage that is cut short --- */

/* What is only in the log must not be lost because the first try to open found no space. */
static void no_space_for_the_recovery(void **state)
{
	static const int errors[] = {ENOSPC, EIO};

	(void)state;
	for (unsigned i = 0; i < 9; i++) {
		in_child(fill_in_halves);
		if (i >= 6)
			file_removed();
		else if (i >= 2)
			flip_in_page(page_with_records(1));
		assert_int_equal(take_over_writes(), 0);
		refuse_writes_after(1 + i % 6 * 10, errors[i % 2]);
		assert_true(open_err() != 0);
		assert_true(strlen(why) > strlen(store_dir));
		give_back_writes();
		use_all();
		open_store();
		assert_in_range(missing(0, SESSIONS, 1), 0, i >= 2 && i < 6 ? 8 : 0);
		expect_in_step();
		close_store(true);
		remove_tree(store_dir);
	}
}

static void killed_in_a_salvage(void **state)
{
	uint32_t seed = getenv("SEED") ? (uint32_t)strtoul(getenv("SEED"), NULL, 10) : (uint32_t)time(NULL);
	char aside[PATH_MAX];

	(void)state;
	print_message("SEED=%u\n", seed);
	srandom(seed);
	for (unsigned round = 0; round < 4; round++) {
		in_child(fill_in_halves);
		if (round % 2)
			file_removed();
		else
			flip_in_page(page_with_records(2));
		for (unsigned kills = 0; kills < 6; kills++) {
			struct timespec wait = {.tv_nsec = random() % 60 * 1000000};
			int status = 0;
			pid_t child = fork();
			assert_true(child >= 0);
			if (child == 0) {
				open_store();
				if (round % 2 == 0)
					read_until_broken();
				_exit(0);
			}
			nanosleep(&wait, NULL);
			kill(child, SIGKILL);
			assert_int_equal(waitpid(child, &status, 0), child);
		}
		use_all();
		open_store();
		assert_true(logged_with("event=store_damaged", round % 2 ? "is missing" : "checksum error: page"));
		assert_in_range(missing(0, SESSIONS, 1), 0, 1);
		expect_in_step();
		assert_in_range(asides(aside), 1, 1);
		close_store(true);
		remove_tree(store_dir);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CONTRACT_TEST(leaf_torn_in_a_crash, setup, teardown),
	    CONTRACT_TEST(removed_stays_removed, setup, teardown),
	    CONTRACT_TEST(other_leaves_changed, setup, teardown),
	    CONTRACT_TEST(first_page_changed, setup, teardown),
	    CONTRACT_TEST(random_damage, setup, teardown),
	    CONTRACT_TEST(file_truncated, setup, teardown),
	    CONTRACT_TEST(foreign_file, setup, teardown),
	    CONTRACT_TEST(logs_removed, setup, teardown),
	    CONTRACT_TEST(logs_removed_after_a_crash, setup, teardown),
	    CONTRACT_TEST(log_cut_short, setup, teardown),
	    CONTRACT_TEST(log_of_noise, setup, teardown),
	    CONTRACT_TEST(log_has_all, setup, teardown),
	    CONTRACT_TEST(log_has_the_end, setup, teardown),
	    CONTRACT_TEST(log_has_a_hole, setup, teardown),
	    CONTRACT_TEST(all_is_lost, setup, teardown),
	    CONTRACT_TEST(marker_of_any_kind, setup, teardown),
	    CONTRACT_TEST(the_last_use_of_a_version_counts, setup, teardown),
	    CONTRACT_TEST(no_space_for_the_recovery, setup, teardown),
	    CONTRACT_TEST(killed_in_a_salvage, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
