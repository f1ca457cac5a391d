/* The disk store's folder: who may use it, and who does. */
#include "session/disk.h"

#include "base/decimal.h"
#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FOLDER_MODE = 0700 };

bool disk_path(const char *dir, const char *name, char out[PATH_MAX])
{
	int n = snprintf(out, PATH_MAX, "%s/%s", dir, name);

	return n > 0 && n < PATH_MAX;
}

int disk_sync_folder(const char *dir)
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

static int make_folder(const struct store *s, char *why, size_t why_len)
{
	struct stat st;

	if (mkdir(s->dir, FOLDER_MODE) == 0)
		return 0;
	if (errno == ENOENT)
		return say(why, why_len, s->dir, "its parent folder does not exist");
	if (errno != EEXIST)
		return say(why, why_len, s->dir, strerror(errno));
	if (stat(s->dir, &st) != 0)
		return say(why, why_len, s->dir, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return say(why, why_len, s->dir, "is not a folder");
	if (st.st_uid != geteuid())
		return say(why, why_len, s->dir, "belongs to another user");
	return 0;
}

/* The holder's number out of the lock file. */
static void say_busy(const struct store *s, int fd, char *why, size_t why_len)
{
	char text[DECIMAL_MAX + 1] = "";
	uint64_t pid = 0;
	ssize_t n = pread(fd, text, sizeof(text), 0);
	struct view digits = view_of(text, n > 0 ? (size_t)n : 0);

	if (digits.len > 0 && digits.at[digits.len - 1] == '\n')
		digits.len--;
	if (view_to_u64(digits, INT32_MAX, &pid))
		snprintf(why, why_len, "%s: is used by process %u", s->dir, (unsigned)pid);
	else
		snprintf(why, why_len, "%s: is used by another process", s->dir);
}

/* In this order: on a full disk the file keeps its place. */
static bool write_pid(int fd)
{
	char text[DECIMAL_MAX + 2];
	int n = snprintf(text, sizeof(text), "%ld\n", (long)getpid());

	return pwrite(fd, text, (size_t)n, 0) == n && ftruncate(fd, n) == 0;
}

/* An open file description's lock: a second store in this process is refused as well. The file stays when the store is
 * closed: removing it would let two processes lock two files of one name. */
int disk_folder_take(struct store *s, char *why, size_t why_len)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char path[PATH_MAX];

	if (!disk_path(s->dir, "lock", path))
		return say(why, why_len, s->dir, strerror(ENAMETOOLONG));
	int err = make_folder(s, why, why_len);
	if (err)
		return err;
	s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, DISK_FILE_MODE);
	if (s->lock_fd < 0)
		return say(why, why_len, path, strerror(errno));
	if (fcntl(s->lock_fd, F_OFD_SETLK, &lock) != 0) {
		if (errno != EAGAIN && errno != EACCES)
			return say(why, why_len, path, strerror(errno));
		say_busy(s, s->lock_fd, why, why_len);
		return ERR_BUSY;
	}
	return write_pid(s->lock_fd) ? 0 : say(why, why_len, path, strerror(errno));
}

void disk_folder_release(struct store *s)
{
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	s->lock_fd = -1;
}

/* Whether DIR/NAME is the file that is open. */
static bool is_there(const struct store *s, const char *name, dev_t device, ino_t inode)
{
	char path[PATH_MAX];
	struct stat st;

	return disk_path(s->dir, name, path) && stat(path, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

/* A file that was removed can still be written to, and nobody would find it again. Without the lock's file two
 * processes could have the store. */
const char *disk_folder_gone(const struct store *s)
{
	struct stat lock;

	if (access(s->dir, F_OK) != 0)
		return "the folder was removed";
	if (fstat(s->lock_fd, &lock) != 0 || !is_there(s, "lock", lock.st_dev, lock.st_ino))
		return "the file lock was removed or replaced";
	if (s->file.known && !is_there(s, DISK_FILE, s->file.device, s->file.inode))
		return "the file " DISK_FILE " was removed or replaced";
	return NULL;
}
