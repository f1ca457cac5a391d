/* The disk store's housekeeping: checkpoints, which bound what a recovery has to read (doc/disk-format.md). */
#include "session/disk_damage.h"

#include "base/error.h"

#include <stdlib.h>

enum {
	CHECKPOINT_LOG_BYTES = 32 << 20, /* of log since the last one */
	CHECKPOINT_AGE_MS = 5 * 60 * 1000,
};

int disk_checkpoint(struct store *s)
{
	s->checkpoint_at = clock_now();
	return s->env->txn_checkpoint(s->env, 0, 0, 0);
}

/* Bytes of log since the last checkpoint. */
static int log_bytes(struct store *s, uint64_t *out)
{
	DB_LOG_STAT *stat = NULL;
	int ret = s->env->log_stat(s->env, &stat, 0);

	if (ret)
		return ret;
	*out = ((uint64_t)stat->st_wc_mbytes << 20) + stat->st_wc_bytes;
	free(stat);
	return 0;
}

int disk_tend(struct store *s)
{
	uint64_t bytes = 0;

	if (s->broken)
		return ERR_BROKEN;
	disk_guard_watch(&s->file);
	if (s->batch)
		return 0;
	int ret = log_bytes(s, &bytes);
	bool old = bytes > 0 && instant_since_ms(clock_now(), s->checkpoint_at) >= CHECKPOINT_AGE_MS;
	if (ret == 0 && (old || bytes >= CHECKPOINT_LOG_BYTES))
		ret = disk_checkpoint(s);
	return ret ? disk_fail(s, ret, "tend") : 0;
}
