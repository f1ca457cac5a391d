/* What the tests of a small disk share: a tmpfs of its own for the store (where this user may not mount one, tests
 * skip), and a store that is filled. */
#ifndef WEIR_TESTS_UNIT_SMALL_DISK_H
#define WEIR_TESTS_UNIT_SMALL_DISK_H

#include "tests/unit/disk_fixture.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { STATE_BYTES = 60000, MIB = 1 << 20 };

/* A disk of its own for the store, which is not open yet. False: that is not permitted here. */
static inline bool mount_disk(int mib)
{
	char options[40];

	snprintf(options, sizeof options, "size=%dm", mib);
	return mkdir(store_dir, 0700) == 0 && mount("weir", store_dir, "tmpfs", 0, options) == 0;
}

static inline void unmount_disk(void)
{
	if (store)
		close_store(true);
	umount2(store_dir, MNT_DETACH);
	rmdir(store_dir);
}

static inline int teardown_disk(void **state)
{
	unmount_disk();
	return fixture_teardown(state);
}

static inline uint64_t free_bytes(void)
{
	struct statvfs fs;

	assert_int_equal(statvfs(store_dir, &fs), 0);
	return (uint64_t)fs.f_bavail * fs.f_frsize;
}

static inline int put_err(uint32_t n, uint64_t version)
{
	struct sess_record r = record_of(n, version, STATE_BYTES);

	return store_disk.put(store, &r);
}

static inline void tend(void)
{
	assert_int_equal(store_disk.tend(store), 0);
}

/* Puts from `from` until there is no room, with commits; the number that was refused. */
static inline uint32_t put_until_full(uint32_t from, uint32_t to)
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

static inline void take_away_range(uint32_t from, uint32_t to)
{
	for (uint32_t n = from; n < to; n++) {
		take_away(n);
		if (n % 20 == 19) {
			commit();
			tend();
		}
	}
	commit();
	tend();
}

#endif
