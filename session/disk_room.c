/* The room around a disk store (doc/disk-format.md, "Room"): how large its log and its cache may be on this disk, how
 * much must stay free, and what is held back for a recovery. */
#include "session/disk_room.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum {
	MIB = 1 << 20,
	DISK_BYTES_MIN = 16 * MIB,
	LOG_PART = 64, /* of the disk for one file of the log, */
	LOG_BYTES_MIN = MIB,
	LOG_BYTES_MAX = 32 * MIB,
	CACHE_PART = 32, /* and for the cache: what has changed in it may make the file larger */
	CACHE_BYTES_MIN = MIB,
	STEP_PART = 8,    /* of a file of the log: what is written between two looks at the free space */
	DESCRIPTORS = 24, /* a salvage has two environments open, and folders that it looks through */
	MARGIN_LOGS = 4,  /* the file in use, two until a checkpoint frees them, and one to empty a full store with */
};

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t clamp(uint64_t n, uint64_t low, uint64_t high)
{
	n = least(n, high);
	return n < low ? low : n;
}

int disk_room_measure(struct store *s, char *why, size_t why_len)
{
	struct statvfs fs;

	if (statvfs(s->dir, &fs) != 0) {
		snprintf(why, why_len, "%s: %s", s->dir, strerror(errno));
		return ERR_SYSTEM;
	}
	uint64_t bytes = (uint64_t)fs.f_blocks * fs.f_frsize;
	if (bytes == 0)
		bytes = UINT64_MAX; /* it does not say */
	if (bytes < DISK_BYTES_MIN) {
		snprintf(why, why_len, "%s: is on a disk of %llu MiB, and a store needs one of %d MiB at least", s->dir,
			 (unsigned long long)bytes / MIB, DISK_BYTES_MIN / MIB);
		return ERR_FULL;
	}
	s->log_bytes = clamp(least(bytes, s->max_bytes) / LOG_PART, LOG_BYTES_MIN, LOG_BYTES_MAX);
	s->cache_bytes = clamp(least(bytes / CACHE_PART, s->max_bytes), CACHE_BYTES_MIN, s->cache_bytes);
	return 0;
}

int disk_room_descriptors(const struct store *s, char *why, size_t why_len)
{
	int fds[DESCRIPTORS], n = 0, err = 0;

	while (n < DESCRIPTORS && (fds[n] = fcntl(s->lock_fd, F_DUPFD_CLOEXEC, 0)) >= 0)
		n++;
	if (n < DESCRIPTORS) {
		snprintf(why, why_len, "%s: %s: %d are needed to open it", s->dir, strerror(errno), DESCRIPTORS);
		err = ERR_SYSTEM;
	}
	while (n > 0)
		close(fds[--n]);
	return err;
}

/* --- free space --- */

/* 0 also when it cannot be told. */
static uint64_t free_bytes(const struct store *s)
{
	struct statvfs fs;

	return statvfs(s->dir, &fs) == 0 ? (uint64_t)fs.f_bavail * fs.f_frsize : 0;
}

/* What a checkpoint may add to the file. Berkeley DB makes the cache a quarter larger than it was told. */
static uint64_t cached_bytes(const struct store *s)
{
	return s->cache_bytes + s->cache_bytes / 4;
}

/* Berkeley DB gives up for good when it cannot write its log, so there must always be room for it, and for the pages
 * that a checkpoint writes. */
static uint64_t margin_bytes(const struct store *s)
{
	return cached_bytes(s) + MARGIN_LOGS * s->log_bytes;
}

/* By how much. */
static uint64_t above(uint64_t n, uint64_t floor)
{
	return n > floor ? n - floor : 0;
}

/* Room inside of sessions.db: what has gone left pages behind, which are used before the file grows. Counted with care,
 * since pages may be half full. */
static uint64_t inner_room(const struct store *s)
{
	const uint64_t used = 2 * s->now.bytes + s->log_bytes / 2;
	char path[PATH_MAX];
	struct stat st;

	if (!disk_path(s->dir, DISK_FILE, path) || stat(path, &st) != 0)
		return 0;
	return above((uint64_t)st.st_size, used);
}

/* Bytes that may be written. Where the file need not grow, half of the margin will do. */
static uint64_t look(const struct store *s)
{
	const uint64_t margin = margin_bytes(s), is_free = free_bytes(s);
	const uint64_t outer = above(is_free, margin), inner = is_free > margin / 2 ? inner_room(s) : 0;

	return outer > inner ? outer : inner;
}

/* What is put is written twice, into the log and into the file; what it replaces comes into the log as well. The other
 * half of the margin is for removals, so there must be room in it for the record's own. */
bool disk_room_take(struct store *s, uint64_t bytes, bool replaces)
{
	const uint64_t step = s->log_bytes / STEP_PART, needs = 2 * bytes, half = margin_bytes(s) / 2;

	if (bytes > half || s->lacks_reserve)
		return false;
	if (s->room_bytes < needs) {
		s->room_bytes = look(s);
		if (s->room_bytes > step && needs <= step)
			s->room_bytes = step;
	}
	if (s->room_bytes < needs)
		return replaces && above(free_bytes(s), half) >= needs + bytes;
	s->room_bytes -= needs;
	return true;
}

bool disk_room_is_scarce(const struct store *s)
{
	return free_bytes(s) < 2 * margin_bytes(s);
}

/* --- the reserve --- */

/* What a recovery may need: it writes what was in the cache, and some log. */
uint64_t disk_reserve_bytes(const struct store *s)
{
	return cached_bytes(s) + s->log_bytes;
}

/* 0 or errno. The log comes first where both cannot be had. */
static int hold(const struct store *s, const char *path)
{
	const uint64_t bytes = disk_reserve_bytes(s);
	struct stat st = {0};

	if (stat(path, &st) == 0 && (uint64_t)st.st_size == bytes)
		return 0;
	if (free_bytes(s) + (uint64_t)st.st_blocks * 512 < bytes + s->log_bytes)
		return ENOSPC;
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, DISK_FILE_MODE);
	if (fd < 0)
		return errno;
	int ret = (uint64_t)st.st_size <= bytes || ftruncate(fd, (off_t)bytes) == 0 ? 0 : errno;
	if (ret == 0)
		ret = posix_fallocate(fd, 0, (off_t)bytes);
	close(fd);
	return ret;
}

/* Where files cannot be made of room alone, it goes without. */
void disk_reserve_hold(struct store *s)
{
	char path[PATH_MAX];
	int ret = disk_path(s->dir, DISK_RESERVE, path) ? hold(s, path) : ENAMETOOLONG;

	s->lacks_reserve = ret == ENOSPC || ret == EDQUOT;
	if (s->lacks_reserve)
		unlink(path); /* a part of it is of no use */
}

bool disk_reserve_release(struct store *s)
{
	char path[PATH_MAX];

	return disk_path(s->dir, DISK_RESERVE, path) && unlink(path) == 0;
}
