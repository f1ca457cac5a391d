/* Pages of a Berkeley DB btree file, as far as a salvage must know them (doc/disk-format.md, "Damage"). Pure: one page
 * as a view of bytes, nothing of it trusted. Numbers are in the machine's own order, as Berkeley DB writes them. */
#ifndef WEIR_SESSION_DISK_PAGE_H
#define WEIR_SESSION_DISK_PAGE_H

#include "base/compiler.h"
#include "base/view.h"

enum {
	PAGE_MIN_BYTES = 512,
	PAGE_MAX_BYTES = 64 << 10,
};

/* The size that the first page of a file gives, of which at least PAGE_MIN_BYTES are there; 0: it is no btree. */
uint32_t page_size(struct view first);

/* The length of the file whose first page this is; UINT64_MAX: it is no btree. */
uint64_t page_file_bytes(struct view first);

/* Pages that Berkeley DB takes without a checksum; of each at least PAGE_MIN_BYTES must be there. */
bool page_is_unwritten(struct view page);  /* its head is zeros, as in a hole of the file */
bool page_is_false_meta(struct view page); /* it says that it begins a database that has no checksums */

/* Whether the page's checksum holds, or it was never written. */
bool page_is_sound(struct view page);

/* One entry of a leaf: its bytes, or where they begin. */
struct page_item {
	struct view bytes;    /* borrowed from the page */
	uint32_t chain_page;  /* the first page of a long item; 0: the bytes are here */
	uint32_t chain_bytes; /* its length */
};

/* Keys and data of a leaf; 0 of any other page. */
uint32_t page_items(struct view page);
/* False where entry `i` was deleted or cannot be. */
bool page_item(struct view page, uint32_t i, struct page_item *out);

/* A page of a long item: its part, and the page of the next one (0: the last). False: it is no such page. */
bool page_chain(struct view page, struct view *part, uint32_t *next_page);

/* Makes an empty leaf of it that a recovery takes for newer than anything in the log: the recovery leaves it alone,
 * where the damaged page would have ended it. */
void page_make_blank(uint8_t *page, uint32_t bytes, uint32_t number);

#endif
