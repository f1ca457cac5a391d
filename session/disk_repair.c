/* The recovery of a disk store around its bad pages (doc/disk-format.md, "Damage").
 *
 * Berkeley DB ends a recovery at the first page whose checksum fails, and with it all that only the log holds. So each
 * bad page is kept aside, and an empty one takes its place that the recovery leaves alone; then it goes to its end. */
#include "session/disk_damage.h"

#include "base/bigendian.h"
#include "base/error.h"
#include "session/disk_page.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* With more bad pages the file is not worth a recovery: what can be read is read. */
enum { PATCH_PAGES_MAX = 16384 };

static const char page_prefix[] = "page-";

/* --- bad pages --- */

struct bad_pages {
	uint32_t *number; /* owned; PATCH_PAGES_MAX of them */
	uint32_t count;
	bool too_many;
};

static int find_bad_pages(struct disk_reader *r, struct bad_pages *bad)
{
	struct view page;

	bad->number = calloc(PATCH_PAGES_MAX, sizeof(*bad->number));
	if (!bad->number)
		return ERR_NO_MEMORY;
	for (uint32_t n = 0; n < r->pages && !bad->too_many; n++) {
		if (disk_reader_page(r, n, &page) && page_is_sound(page))
			continue;
		/* Without its first page it is no database. */
		bad->too_many = n == 0 || bad->count == PATCH_PAGES_MAX;
		if (!bad->too_many)
			bad->number[bad->count++] = n;
	}
	return 0;
}

static int write_all(int fd, const void *bytes, size_t len, off_t at)
{
	return pwrite(fd, bytes, len, at) == (ssize_t)len ? 0 : ERR_SYSTEM;
}

/* The page as it was found comes into a file of its own, before it is overwritten. */
static int keep_page(const char *aside, uint32_t number, struct view page)
{
	char name[sizeof(page_prefix) + 10], path[PATH_MAX];

	snprintf(name, sizeof(name), "%s%u", page_prefix, number);
	if (!disk_path(aside, name, path))
		return ERR_SYSTEM;
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, DISK_FILE_MODE);
	if (fd < 0)
		return ERR_SYSTEM;
	int err = write_all(fd, page.at, page.len, 0);
	if (!err && fsync(fd) != 0)
		err = ERR_SYSTEM;
	close(fd);
	return err;
}

static int patch(struct disk_reader *r, const char *aside, const struct bad_pages *bad)
{
	struct view page;

	for (uint32_t i = 0; i < bad->count; i++) {
		uint32_t n = bad->number[i];
		int err = disk_reader_page(r, n, &page) ? keep_page(aside, n, page) : 0;
		if (err)
			return err;
		page_make_blank(r->page, r->page_bytes, n);
		err = write_all(r->fd, r->page, r->page_bytes, (off_t)n * r->page_bytes);
		if (err)
			return err;
	}
	return fsync(r->fd) == 0 ? 0 : ERR_SYSTEM;
}

/* --- what can be read of the bad pages --- */

struct rescue {
	struct store *s; /* recovered, and open */
	int fd;          /* DISK_RESCUED */
	off_t at;
};

/* A record on a bad page counts if its id still leads to it: one that was removed or replaced since does not come
 * back. */
static int rescue_item(void *arg, struct view item)
{
	struct rescue *to = arg;
	struct record_head head;
	struct disk_place place;
	uint8_t len[4];

	if (!disk_record_is_sound(item, &head) || disk_place_get(to->s, &head.id, &place) != 0 ||
	    place.expires_s != head.expires_s || place.bytes != item.len)
		return 0;
	bigendian_put(len, item.len, sizeof(len));
	int err = write_all(to->fd, len, sizeof(len), to->at);
	if (!err)
		err = write_all(to->fd, item.at, item.len, to->at + (off_t)sizeof(len));
	to->at += (off_t)(sizeof(len) + item.len);
	return err;
}

int disk_kept_pages(struct disk_reader *r, const char *aside, disk_found *found, void *arg)
{
	DIR *dir = opendir(aside);
	int err = dir ? 0 : ERR_SYSTEM;

	for (struct dirent *e; !err && (e = readdir(dir)) != NULL;) {
		char path[PATH_MAX];
		if (strncmp(e->d_name, page_prefix, sizeof(page_prefix) - 1) != 0 || !disk_path(aside, e->d_name, path))
			continue;
		int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		ssize_t n = fd >= 0 ? pread(fd, r->page, r->page_bytes, 0) : -1;
		if (fd >= 0)
			close(fd);
		if (n == (ssize_t)r->page_bytes)
			err = disk_reader_items(r, view_of(r->page, r->page_bytes), found, arg);
	}
	if (dir)
		closedir(dir);
	return err;
}

static int rescue_all(struct store *s, struct disk_reader *r, const char *aside)
{
	struct rescue to = {.s = s};
	char path[PATH_MAX];

	if (!disk_path(aside, DISK_RESCUED, path))
		return ERR_SYSTEM;
	to.fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, DISK_FILE_MODE);
	if (to.fd < 0)
		return ERR_SYSTEM;
	int err = disk_kept_pages(r, aside, rescue_item, &to);
	if (!err && fsync(to.fd) != 0)
		err = ERR_SYSTEM;
	close(to.fd);
	return err;
}

/* --- the course of it --- */

/* Long items are read from the file, so what the recovery did must be in it first. A recovery that fails for want of
 * space or the like is to be tried again. */
static int recover(struct store *s, struct disk_reader *r, struct disk_repair *out)
{
	int ret = disk_env_open(s, DB_RECOVER_FATAL);

	if (ret)
		return disk_is_damage(s, ret) ? 0 : disk_error(s, ret);
	ret = s->env->memp_sync(s->env, NULL);
	int err = disk_error(s, ret);
	if (!err) {
		out->recovered = true;
		out->before = s->kept;
		err = rescue_all(s, r, s->dir);
	}
	disk_env_close(s);
	return err;
}

/* `s` is one whose folder is `aside`. */
static int repair(struct store *s, struct disk_reader *r, struct disk_repair *out)
{
	struct bad_pages bad = {0};
	int err = r->has_head ? find_bad_pages(r, &bad) : 0;

	out->bad_pages = bad.count;
	if (!err && r->has_head && !bad.too_many) {
		err = patch(r, s->dir, &bad);
		if (!err)
			err = recover(s, r, out);
	}
	free(bad.number);
	return err;
}

int disk_repair(struct store *s, char *aside, struct disk_repair *out)
{
	char *dir = s->dir, path[PATH_MAX];
	struct disk_reader r;

	*out = (struct disk_repair){0};
	if (!disk_path(aside, DISK_FILE, path))
		return ERR_SYSTEM;
	int err = disk_reader_open(&r, path, O_RDWR);
	if (err)
		return err == ERR_SYSTEM ? 0 : err; /* there is none: nothing to repair */
	s->dir = aside;
	err = repair(s, &r, out);
	s->dir = dir;
	disk_reader_close(&r);
	return err;
}
