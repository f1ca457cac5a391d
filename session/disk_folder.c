/* The disk store's folder: who may use it, and who does. */
#include "session/disk.h"

#include "base/folder.h"

#include <sys/stat.h>
#include <unistd.h>

bool disk_path(const char *dir, const char *name, char out[PATH_MAX])
{
	return folder_path(dir, name, out);
}

int disk_sync_folder(const char *dir)
{
	return folder_sync(dir);
}

int disk_folder_take(struct store *s, char *why, size_t why_len)
{
	return folder_take(s->dir, &s->lock_fd, why, why_len);
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
