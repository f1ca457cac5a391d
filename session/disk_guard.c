/* What keeps Berkeley DB from bytes that it would trust (doc/disk-format.md, "Damage"). Its checksums cover all pages
 * but two kinds: one that is all zeros passes for a page that was never written, and one whose type says that it
 * begins a database passes without a checksum if another byte says that there is none. In a tree either sends the
 * library into endless loops or out of its buffers. A short read does the same where the tree begins. So the
 * library's pread() goes through here, and in these cases it gets a page whose checksum fails. (An error would not do:
 * it tries again with read().)
 *
 * The hook is the whole process's; it acts only on the file that its thread's store has told it. */
#include "session/disk_damage.h"

#include "base/error.h"
#include "session/disk_page.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

/* By value: the store may be closed by another thread. */
static _Thread_local struct disk_file watched;

static bool is_watched(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_dev == watched.device && st.st_ino == watched.inode;
}

/* A sector that cannot be read as well: to Berkeley DB an I/O error might also be one of writing. */
static bool is_strange(const void *bytes, size_t len, ssize_t n)
{
	if (n < 0)
		return errno == EIO;
	struct view page = view_of(bytes, (size_t)n);
	if (page_is_false_meta(page))
		return true;
	return !watched.recovering && (page.len < len || page_is_unwritten(page));
}

static ssize_t guarded_pread(int fd, void *bytes, size_t len, off_t at)
{
	ssize_t n = pread(fd, bytes, len, at);

	if (!watched.known || !is_strange(bytes, len, n) || !is_watched(fd))
		return n;
	memset(bytes, 0xff, len);
	return (ssize_t)len;
}

static void install(void)
{
	(void)db_env_set_func_pread(guarded_pread); /* it cannot fail */
}

void disk_guard_install(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, install);
}

void disk_guard_watch(const struct disk_file *file)
{
	watched = file ? *file : (struct disk_file){0};
}

/* Whether all pages are there that the first one knows of. */
static bool is_whole(int fd, const struct stat *st)
{
	uint8_t head[PAGE_MIN_BYTES];

	return st->st_size == 0 || (pread(fd, head, sizeof(head), 0) == (ssize_t)sizeof(head) &&
				    (uint64_t)st->st_size >= page_file_bytes(view_of(head, sizeof(head))));
}

int disk_guard_identify(struct store *s, bool recovering)
{
	char path[PATH_MAX];
	struct stat st;

	s->file = (struct disk_file){0};
	if (!disk_path(s->dir, DISK_FILE, path))
		return ENAMETOOLONG;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : errno;
	int ret = fstat(fd, &st) == 0 ? 0 : errno;
	if (ret == 0 && !recovering && !is_whole(fd, &st)) {
		disk_say(s, DISK_FILE " is shorter than it says, or no database");
		ret = ERR_MALFORMED;
	}
	close(fd);
	if (ret == 0)
		s->file = (struct disk_file){
		    .known = true, .recovering = recovering, .device = st.st_dev, .inode = st.st_ino};
	disk_guard_watch(&s->file);
	return ret;
}
