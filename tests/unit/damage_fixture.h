/* What the tests of a damaged disk store share: a store of known sessions, ways to spoil it, and what must hold once it
 * was opened again. */
#ifndef WEIR_TESTS_UNIT_DAMAGE_FIXTURE_H
#define WEIR_TESTS_UNIT_DAMAGE_FIXTURE_H

#include "tests/unit/disk_fixture.h"

#include "session/disk_damage.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SESSIONS = 600, LONG_EVERY = 20, LONG_BYTES = 30000, STATE_BYTES = 900 };

static char log_path[80];

static inline int setup(void **state)
{
	if (fixture_setup(state) != 0)
		return -1;
	snprintf(log_path, sizeof log_path, "%s/log", folder);
	return log_open(LOG_INFO, log_path);
}

static inline int teardown(void **state)
{
	log_close();
	return fixture_teardown(state);
}

/* --- the files --- */

static inline const char *in_store(const char *name)
{
	static char path[200];

	snprintf(path, sizeof path, "%s/%s", store_dir, name);
	return path;
}

static inline long file_bytes(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? (long)st.st_size : -1;
}

static inline void overwrite(const char *path, long at, const void *bytes, size_t len)
{
	int fd = open(path, O_RDWR | O_CREAT, 0600);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, bytes, len, at), len);
	close(fd);
}

static inline void flip(const char *path, long at)
{
	uint8_t byte = 0;
	int fd = open(path, O_RDWR);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= 0x40;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

enum { INNER = 3, LEAF = 5, LONG = 7 }; /* types of pages */

/* The k-th page of that type of sessions.db; of leaves, of those with records or of the others. -1: there are not so
 * many. */
static inline long page_of(uint8_t type, bool records, unsigned k)
{
	static uint8_t bytes[4 << 20];
	int fd = open(in_store(DISK_FILE), O_RDONLY);

	assert_true(fd >= 0);
	ssize_t len = read(fd, bytes, sizeof bytes);
	close(fd);
	assert_in_range(len, DISK_PAGE_BYTES, sizeof bytes - 1);
	for (long n = 0; n < len / DISK_PAGE_BYTES; n++) {
		const uint8_t *page = bytes + n * DISK_PAGE_BYTES;
		bool has = memmem(page, DISK_PAGE_BYTES, "weir\0\1", 6) != NULL;
		if (page[25] == type && (type != LEAF || has == records) && k-- == 0)
			return n;
	}
	return -1;
}

static inline long page_with_records(unsigned k)
{
	return page_of(LEAF, true, k);
}

/* Near the end of a leaf is the item that was put into it first. */
static inline void flip_in_page(long page)
{
	assert_true(page > 0);
	flip(in_store(DISK_FILE), page * DISK_PAGE_BYTES + DISK_PAGE_BYTES - 100);
}

static inline void remove_logs(void)
{
	char line[200];

	snprintf(line, sizeof line, "rm -f -- %s/log.*", store_dir);
	assert_int_equal(system(line), 0);
}

/* Folders that a salvage has left. */
static inline unsigned asides(char last[PATH_MAX])
{
	DIR *dir = opendir(store_dir);
	unsigned count = 0;

	assert_non_null(dir);
	for (struct dirent *e; (e = readdir(dir)) != NULL;) {
		if (strncmp(e->d_name, "damaged-", 8) == 0) {
			snprintf(last, PATH_MAX, "%s/%s", store_dir, e->d_name);
			count++;
		}
	}
	closedir(dir);
	return count;
}

/* Whether a line has both. */
static inline bool logged_with(const char *event, const char *text)
{
	char line[2048];
	bool found = false;
	FILE *f = fopen(log_path, "r");

	assert_non_null(f);
	while (!found && fgets(line, sizeof line, f))
		found = strstr(line, event) && strstr(line, text);
	fclose(f);
	return found;
}

static inline bool logged(const char *text)
{
	return logged_with(text, "");
}

/* --- the sessions --- */

static inline size_t len_of(uint32_t n)
{
	return n % LONG_EVERY == 7 ? LONG_BYTES + n : STATE_BYTES + n % 100;
}

static inline void fill(uint32_t from, uint32_t to, uint64_t version)
{
	for (uint32_t n = from; n < to; n++) {
		put(n, version, len_of(n));
		if (n % 100 == 99)
			commit();
	}
	commit();
}

/* Each session is there as it was or not at all. How many are not. */
static inline uint32_t missing(uint32_t from, uint32_t to, uint64_t version)
{
	uint32_t lost = 0;

	for (uint32_t n = from; n < to; n++) {
		if (get_err(n) == 0)
			expect_there(n, version, len_of(n));
		else
			lost++;
	}
	return lost;
}

/* Opened, it has got over what was done to it. */
static inline void expect_salvaged(uint32_t least, uint32_t most)
{
	char aside[PATH_MAX] = "", text[100];
	struct store_count c;

	open_store();
	c = count_of();
	assert_in_range(c.sessions, least, most);
	expect_in_step();
	assert_int_equal(walk_all().count, c.sessions);
	assert_true(logged("event=store_damaged"));
	snprintf(text, sizeof text, "kept=%u", (unsigned)c.sessions);
	assert_true(logged(text));
	assert_int_equal(asides(aside), 1);
	assert_int_equal(access(in_store(DISK_MARKER), F_OK), -1);
	/* And it works: now, and after the next open, which finds nothing to do. */
	put(MANY - 1, 7, 5000);
	commit();
	close_store(true);
	open_store();
	assert_int_equal(asides(aside), 1);
	expect_there(MANY - 1, 7, 5000);
	assert_int_equal(count_of().sessions, c.sessions + 1);
	expect_in_step();
}

/* What a session's get() says once its page has gone bad. */
static inline void read_until_broken(void)
{
	for (uint32_t n = 0; n < SESSIONS; n++) {
		int err = get_err(n);
		if (err == ERR_BROKEN)
			break;
		assert_int_equal(err, 0);
	}
	struct sess_record r = record_of(1, 2, 10);
	struct reaped reaped = {0};
	bool more;
	assert_int_equal(get_err(1), ERR_BROKEN);
	assert_int_equal(store_disk.put(store, &r), ERR_BROKEN);
	assert_int_equal(store_disk.remove(store, &r.id), ERR_BROKEN);
	assert_int_equal(store_disk.commit(store), ERR_BROKEN);
	assert_int_equal(store_disk.tend(store), ERR_BROKEN);
	assert_int_equal(store_disk.scan(store, NULL, walk_note, &reaped), ERR_BROKEN);
	assert_int_equal(store_disk.expire(store, UINT32_MAX, 5, reap_note, &reaped, &more), ERR_BROKEN);
}

/* Opens the store, works and ends like a killed process. */
static inline void in_child(void (*work)(void))
{
	int status = 0;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		open_store();
		work();
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

/* Uses all of the store, so that damage is met; the next open gets over it. */
static inline void use_all(void)
{
	struct walked w = {0};
	struct reaped r = {0};
	bool more;

	open_store();
	for (uint32_t n = 0; n < SESSIONS && get_err(n) != ERR_BROKEN; n++)
		continue;
	(void)store_disk.scan(store, NULL, walk_note, &w);
	(void)store_disk.expire(store, UINT32_MAX, MANY, reap_note, &r, &more);
	close_store(false); /* which undoes what has expired */
}

#endif
