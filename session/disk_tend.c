/* The disk store's housekeeping: checkpoints, which bound what a recovery has to read (doc/disk-format.md).
 *
 * A checkpoint writes what has changed in memory and waits for the disk, while nobody can read. So that it waits for
 * little, what is written goes to the disk piece by piece before it: another thread waits for that (disk_flush.h), or
 * where each batch waits anyway (sync = group), or there is no such thread, the kernel is told to begin. */
#include "session/disk_damage.h"

#include "base/error.h"
#include "session/disk_flush.h"
#include "session/disk_room.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
	CHECKPOINT_AGE_MS = 5 * 60 * 1000,
	/* Parts of a file of the log: */
	AHEAD_PART = 16, /* between two pieces that the kernel begins with */
	RELIEF_PART = 4, /* worth a checkpoint where room is scarce */
};

/* Berkeley DB by itself removes old files of the log only when it begins a new one. */
int disk_checkpoint(struct store *s)
{
	s->checkpoint_at = clock_now();
	s->ahead_bytes = 0;
	int ret = s->env->txn_checkpoint(s->env, 0, 0, 0);
	return ret ? ret : s->env->log_archive(s->env, NULL, DB_ARCH_REMOVE);
}

/* Bytes of log since the last checkpoint, and the number of the file in use. */
static int look_at_log(struct store *s, uint64_t *bytes, uint32_t *file)
{
	DB_LOG_STAT *stat = NULL;
	int ret = s->env->log_stat(s->env, &stat, 0);

	if (ret)
		return ret;
	*bytes = ((uint64_t)stat->st_wc_mbytes << 20) + stat->st_wc_bytes;
	*file = stat->st_cur_file;
	free(stat);
	return 0;
}

/* Who waits for the disk ahead of a checkpoint; NULL: nobody. A thread that could not be made is tried for again. */
static struct disk_flush *flusher(struct store *s)
{
	if (s->sync == STORE_SYNC_GROUP)
		return NULL;
	if (!s->flush)
		s->flush = disk_flush_new();
	return s->flush;
}

/* What was written to it so far is on its way to the disk; the store does not wait. A hint only: nothing is said of its
 * failure. */
static void begin_writing(struct store *s, enum disk_flush_file file, const char *name)
{
	char path[PATH_MAX];
	int fd = disk_path(s->dir, name, path) ? open(path, O_RDONLY | O_CLOEXEC) : -1;

	if (fd < 0)
		return;
	struct disk_flush *f = flusher(s);
	if (f) {
		disk_flush_begin(f, file, fd);
		return;
	}
	(void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
	close(fd);
}

static void write_ahead(struct store *s, uint32_t log_file)
{
	char name[32];

	snprintf(name, sizeof(name), "log.%010u", log_file);
	begin_writing(s, DISK_FLUSH_LOG, name);
	begin_writing(s, DISK_FLUSH_SESSIONS, DISK_FILE);
}

/* A checkpoint after so many bytes of log; until then the kernel is kept busy. */
static int shorten_log(struct store *s, uint64_t most_bytes)
{
	uint64_t bytes = 0;
	uint32_t file = 0;
	int ret = look_at_log(s, &bytes, &file);

	if (ret)
		return ret;
	if (bytes >= most_bytes)
		return disk_checkpoint(s);
	if (bytes >= s->ahead_bytes + s->log_bytes / AHEAD_PART) {
		s->ahead_bytes = bytes;
		write_ahead(s, file);
	}
	return 0;
}

int disk_relieve(struct store *s)
{
	return shorten_log(s, disk_room_is_scarce(s) ? s->log_bytes / RELIEF_PART : s->log_bytes);
}

int disk_tend(struct store *s)
{
	if (s->broken)
		return ERR_BROKEN;
	if (s->batch)
		return 0;
	disk_guard_watch(&s->file);
	if (s->lacks_reserve)
		disk_reserve_hold(s);
	bool old = instant_since_ms(clock_now(), s->checkpoint_at) >= CHECKPOINT_AGE_MS;
	int ret = shorten_log(s, old ? 1 : s->log_bytes);
	return ret ? disk_fail(s, ret, "tend") : 0;
}
