/* Reads the items of a store's file page by page, without Berkeley DB and without trust: what a salvage finds. */
#include "session/disk_reader.h"

#include "base/error.h"
#include "session/disk.h"
#include "session/disk_page.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int disk_reader_open(struct disk_reader *r, const char *path, int flags)
{
	struct stat st;

	*r = (struct disk_reader){.fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW)};
	r->page = malloc(PAGE_MAX_BYTES);
	r->link = malloc(PAGE_MAX_BYTES);
	if (r->fd < 0 || !r->page || !r->link || fstat(r->fd, &st) != 0) {
		int err = r->fd < 0 ? ERR_SYSTEM : ERR_NO_MEMORY;
		disk_reader_close(r);
		return err;
	}
	ssize_t n = pread(r->fd, r->page, PAGE_MIN_BYTES, 0);
	r->page_bytes = n == PAGE_MIN_BYTES ? page_size(view_of(r->page, PAGE_MIN_BYTES)) : 0;
	r->has_head = r->page_bytes > 0;
	if (!r->has_head)
		r->page_bytes = DISK_PAGE_BYTES;
	uint64_t pages = (uint64_t)st.st_size / r->page_bytes;
	r->pages = pages < UINT32_MAX ? (uint32_t)pages : UINT32_MAX;
	return 0;
}

void disk_reader_close(struct disk_reader *r)
{
	if (r->fd >= 0)
		close(r->fd);
	free(r->page);
	free(r->link);
	buf_fini(&r->chain);
	*r = (struct disk_reader){.fd = -1};
}

static bool read_page(const struct disk_reader *r, uint32_t number, uint8_t *into)
{
	ssize_t n = pread(r->fd, into, r->page_bytes, (off_t)number * r->page_bytes);

	return n == (ssize_t)r->page_bytes;
}

bool disk_reader_page(struct disk_reader *r, uint32_t number, struct view *out)
{
	*out = view_of(r->page, r->page_bytes);
	return read_page(r, number, r->page);
}

/* A long item out of its pages. Each page gives some of it, so that a ring of them ends. */
static bool gather(struct disk_reader *r, const struct page_item *item)
{
	uint32_t next = item->chain_page;
	struct view part;

	buf_clear(&r->chain);
	while (next != 0 && buf_len(&r->chain) < item->chain_bytes) {
		if (next >= r->pages || !read_page(r, next, r->link) ||
		    !page_chain(view_of(r->link, r->page_bytes), &part, &next) || part.len == 0)
			return false;
		buf_put(&r->chain, part);
	}
	return buf_error(&r->chain) == 0 && buf_len(&r->chain) == item->chain_bytes;
}

int disk_reader_items(struct disk_reader *r, struct view page, disk_found *found, void *arg)
{
	uint32_t items = page_items(page);

	for (uint32_t i = 0; i < items; i++) {
		struct page_item item;
		if (!page_item(page, i, &item))
			continue;
		if (item.chain_page != 0 && !gather(r, &item))
			continue;
		int err = found(arg, item.chain_page != 0 ? buf_view(&r->chain) : item.bytes);
		if (err)
			return err;
	}
	return 0;
}
