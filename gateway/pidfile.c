/* Written by root into a folder that may be the user's: a temporary file of a new name is renamed, so that no link that
 * stands there is followed. */
#include "gateway/pidfile.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PID_TEXT = 24 };

static int pid_text(char out[PID_TEXT])
{
	return snprintf(out, PID_TEXT, "%d\n", (int)getpid());
}

static bool fill(int fd, uid_t uid, gid_t gid)
{
	char text[PID_TEXT];
	int len = pid_text(text);

	if (fchmod(fd, 0644) != 0 || write(fd, text, (size_t)len) != len)
		return false;
	return geteuid() != 0 || fchown(fd, uid, gid) == 0;
}

/* False: errno says why. */
static bool put(const char *path, uid_t uid, gid_t gid)
{
	char temporary[PATH_MAX];

	if (snprintf(temporary, sizeof temporary, "%s.XXXXXX", path) >= (int)sizeof temporary) {
		errno = ENAMETOOLONG;
		return false;
	}
	int fd = mkostemp(temporary, O_CLOEXEC);
	if (fd < 0)
		return false;
	bool done = fill(fd, uid, gid) && rename(temporary, path) == 0;
	int why = errno;
	close(fd);
	if (!done)
		unlink(temporary);
	errno = why;
	return done;
}

void pidfile_write(struct pidfile *f, const char *path, uid_t uid, gid_t gid)
{
	f->path = strdup(path);
	if (f->path && put(path, uid, gid))
		return;
	log_event(LOG_WARN, "pid_file_not_written", LOG_S("file", path), LOG_S("reason", strerror(errno)));
	free(f->path);
	f->path = NULL;
}

static bool is_ours(const char *path)
{
	char text[PID_TEXT], found[PID_TEXT];
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (fd < 0)
		return false;
	int len = pid_text(text);
	ssize_t n = read(fd, found, sizeof found);
	close(fd);
	return n == len && memcmp(text, found, (size_t)n) == 0;
}

void pidfile_remove(struct pidfile *f)
{
	if (f->path && is_ours(f->path) && unlink(f->path) != 0) {
		int fd = open(f->path, O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOFOLLOW);
		if (fd >= 0)
			close(fd);
	}
	free(f->path);
	f->path = NULL;
}
