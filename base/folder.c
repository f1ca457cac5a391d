/* Folders of one process: who may use them, and who does. */
#include "base/folder.h"

#include "base/decimal.h"
#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FOLDER_MODE = 0700, LOCK_MODE = 0600 };

bool folder_path(const char *dir, const char *name, char out[PATH_MAX])
{
	int n = snprintf(out, PATH_MAX, "%s/%s", dir, name);

	return n > 0 && n < PATH_MAX;
}

int folder_sync(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int err = fd >= 0 && fsync(fd) == 0 ? 0 : ERR_SYSTEM;

	if (fd >= 0)
		close(fd);
	return err;
}

static int say(char *why, size_t why_len, const char *path, const char *reason)
{
	snprintf(why, why_len, "%s: %s", path, reason);
	return ERR_SYSTEM;
}

static int make_folder(const char *dir, char *why, size_t why_len)
{
	struct stat st;

	if (mkdir(dir, FOLDER_MODE) == 0)
		return 0;
	if (errno == ENOENT)
		return say(why, why_len, dir, "its parent folder does not exist");
	if (errno != EEXIST)
		return say(why, why_len, dir, strerror(errno));
	if (stat(dir, &st) != 0)
		return say(why, why_len, dir, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return say(why, why_len, dir, "is not a folder");
	if (st.st_uid != geteuid())
		return say(why, why_len, dir, "belongs to another user");
	return 0;
}

/* The holder's number out of the lock file. */
static void say_busy(const char *dir, int fd, char *why, size_t why_len)
{
	char text[DECIMAL_MAX + 1] = "";
	uint64_t pid = 0;
	ssize_t n = pread(fd, text, sizeof(text), 0);
	struct view digits = view_of(text, n > 0 ? (size_t)n : 0);

	if (digits.len > 0 && digits.at[digits.len - 1] == '\n')
		digits.len--;
	if (view_to_u64(digits, INT32_MAX, &pid))
		snprintf(why, why_len, "%s: is used by process %u", dir, (unsigned)pid);
	else
		snprintf(why, why_len, "%s: is used by another process", dir);
}

/* In this order: on a full disk the file keeps its place. */
static bool write_pid(int fd)
{
	char text[DECIMAL_MAX + 2];
	int n = snprintf(text, sizeof(text), "%ld\n", (long)getpid());

	return pwrite(fd, text, (size_t)n, 0) == n && ftruncate(fd, n) == 0;
}

/* An open file description's lock: a second user in this process is refused as well. The file stays when it is
 * closed: removing it would let two processes lock two files of one name. */
int folder_take(const char *dir, int *lock_fd, char *why, size_t why_len)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char path[PATH_MAX];

	*lock_fd = -1;
	if (!folder_path(dir, "lock", path))
		return say(why, why_len, dir, strerror(ENAMETOOLONG));
	int err = make_folder(dir, why, why_len);
	if (err)
		return err;
	*lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, LOCK_MODE);
	if (*lock_fd < 0)
		return say(why, why_len, path, strerror(errno));
	if (fcntl(*lock_fd, F_OFD_SETLK, &lock) != 0) {
		if (errno != EAGAIN && errno != EACCES)
			return say(why, why_len, path, strerror(errno));
		say_busy(dir, *lock_fd, why, why_len);
		return ERR_BUSY;
	}
	return write_pid(*lock_fd) ? 0 : say(why, why_len, path, strerror(errno));
}
