/* One small file. */
#include "gateway/secret.h"

#include "base/error.h"
#include "base/log.h"
#include "base/random.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <stdio.h>
#include <unistd.h>

static int read_secret(const char *path, uint8_t *secret)
{
	uint8_t got[SESS_SECRET_BYTES + 1];
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return ERR_SYSTEM;
	ssize_t n = read(fd, got, sizeof got);
	close(fd);
	if (n != SESS_SECRET_BYTES)
		return ERR_MALFORMED;
	memcpy(secret, got, SESS_SECRET_BYTES);
	return 0;
}

/* Whole or not at all: written beside its place and linked there, so that two processes agree on one. */
static int write_secret(const char *dir, const char *path, const uint8_t *secret)
{
	char temporary[PATH_MAX];

	snprintf(temporary, sizeof temporary, "%s/secret.XXXXXX", dir);
	int fd = mkostemp(temporary, O_CLOEXEC);
	if (fd < 0)
		return ERR_SYSTEM;
	bool written = write(fd, secret, SESS_SECRET_BYTES) == SESS_SECRET_BYTES && fsync(fd) == 0;
	close(fd);
	int rc = written ? link(temporary, path) : -1;
	int why = errno;
	unlink(temporary);
	errno = why;
	return rc == 0 ? 0 : ERR_SYSTEM;
}

static bool has_sessions(const char *state_dir)
{
	char path[PATH_MAX];

	return snprintf(path, sizeof path, "%s/sessions", state_dir) < (int)sizeof path && access(path, F_OK) == 0;
}

int secret_load(const char *state_dir, uint8_t secret[SESS_SECRET_BYTES], bool *kept)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof path, "%s/secret", state_dir) >= (int)sizeof path) {
		errno = ENAMETOOLONG;
		return ERR_SYSTEM;
	}
	*kept = true;
	int err = read_secret(path, secret);
	if (!err || err == ERR_MALFORMED || errno != ENOENT)
		return err;
	if (random_fill(secret, SESS_SECRET_BYTES) != 0)
		return ERR_SYSTEM;
	*kept = access(state_dir, F_OK) == 0;
	if (!*kept) {
		log_event(LOG_WARN, "secret_not_kept", LOG_S("reason", "state-dir does not exist"));
		return 0;
	}
	if (has_sessions(state_dir))
		log_event(LOG_ERROR, "secret_missing",
			  LOG_S("reason", "a new one is made: sessions on disk are of the old one"));
	err = write_secret(state_dir, path, secret);
	return err && errno == EEXIST ? read_secret(path, secret) : err;
}
