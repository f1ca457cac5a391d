/* Reads the items of a store's file page by page, without Berkeley DB and without trust: what a salvage finds. */
#ifndef WEIR_SESSION_DISK_READER_H
#define WEIR_SESSION_DISK_READER_H

#include "base/buf.h"

struct disk_reader {
	int fd;               /* owned */
	uint8_t *page, *link; /* owned; a page, and one of a long item */
	struct buf chain;     /* a long item */
	uint32_t page_bytes, pages;
	bool has_head; /* the first page says how large pages are */
};

/* An item of a leaf: a key or data. 0 goes on. */
typedef int disk_found(void *arg, struct view item);

/* `flags` as for open(2). ERR_SYSTEM with errno, ERR_NO_MEMORY. */
MUST_USE int disk_reader_open(struct disk_reader *r, const char *path, int flags);
void disk_reader_close(struct disk_reader *r);
/* False: it cannot be read. *out is good until the next call. */
bool disk_reader_page(struct disk_reader *r, uint32_t number, struct view *out);
/* Those of `page` that can be read as a whole. */
MUST_USE int disk_reader_items(struct disk_reader *r, struct view page, disk_found *found, void *arg);

#endif
