/* The disk store's housekeeping: checkpoints, which bound what a recovery has to read (doc/disk-format.md).
 *
 * A checkpoint writes what has changed in memory and waits for the disk, while nobody can read. So that it waits for
 * little, the kernel is told now and then to begin with what it has. */
#include "session/disk_damage.h"

#include "base/error.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
	CHECKPOINT_LOG_BYTES = 32 << 20, /* of log since the last one */
	CHECKPOINT_AGE_MS = 5 * 60 * 1000,
	AHEAD_LOG_BYTES = 2 << 20, /* between two pieces */
};

int disk_checkpoint(struct store *s)
{
	s->checkpoint_at = clock_now();
	s->ahead_bytes = 0;
	return s->env->txn_checkpoint(s->env, 0, 0, 0);
}

/* The kernel begins to write; nobody waits for it. A hint only: nothing is said of its failure. */
static void begin_writing(const struct store *s, const char *name)
{
	char path[PATH_MAX];
	int fd = disk_path(s->dir, name, path) ? open(path, O_RDONLY | O_CLOEXEC) : -1;

	if (fd < 0)
		return;
	(void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
	close(fd);
}

static void write_ahead(const struct store *s, uint32_t log_file)
{
	char name[32];

	snprintf(name, sizeof(name), "log.%010u", log_file);
	begin_writing(s, name);
	begin_writing(s, DISK_FILE);
}

int disk_tend(struct store *s)
{
	DB_LOG_STAT *stat = NULL;

	if (s->broken)
		return ERR_BROKEN;
	if (s->batch)
		return 0;
	disk_guard_watch(&s->file);
	int ret = s->env->log_stat(s->env, &stat, 0);
	if (ret)
		return disk_fail(s, ret, "tend");
	uint64_t bytes = ((uint64_t)stat->st_wc_mbytes << 20) + stat->st_wc_bytes;
	bool old = bytes > 0 && instant_since_ms(clock_now(), s->checkpoint_at) >= CHECKPOINT_AGE_MS;
	if (old || bytes >= CHECKPOINT_LOG_BYTES) {
		ret = disk_checkpoint(s);
	} else if (bytes >= s->ahead_bytes + AHEAD_LOG_BYTES) {
		s->ahead_bytes = bytes;
		write_ahead(s, stat->st_cur_file);
	}
	free(stat);
	return ret ? disk_fail(s, ret, "tend") : 0;
}
