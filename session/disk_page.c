/* Pages of a Berkeley DB 5.3 btree with checksums, without encryption. Pure. Each offset below is the library's
 * (db_page.h of its source); a file of it never changes them within a format version. */
#include "session/disk_page.h"

#include "session/disk_hash.h"

enum {
	/* Any page. */
	AT_LSN = 0,
	AT_NUMBER = 8,
	AT_NEXT = 16,
	AT_ENTRIES = 20,
	AT_HIGH_FREE = 22, /* begin of the items; of an overflow page its length */
	AT_LEVEL = 24,
	AT_TYPE = 25,
	AT_CHECKSUM = 28,
	CHECKSUM_BYTES = 4,
	HEAD_BYTES = 32,
	/* The first page of a database. */
	META_AT_MAGIC = 12,
	META_AT_PAGE_BYTES = 20,
	META_AT_FLAGS = 26,
	META_AT_LAST_PAGE = 32,
	META_AT_CHECKSUM = 492,
	META_BYTES = 512, /* that its checksum covers */
	META_MAGIC = 0x053162,
	META_HAS_CHECKSUM = 1,
	/* An item of a leaf. */
	ITEM_AT_TYPE = 2,
	ITEM_AT_BYTES = 3,
	ITEM_CHAIN_AT_PAGE = 4,
	ITEM_CHAIN_AT_LEN = 8,
	ITEM_CHAIN_BYTES = 12,
};

enum page_type { TYPE_LEAF = 5, TYPE_OVERFLOW = 7, TYPE_META_FIRST = 8, TYPE_META_LAST = 10, TYPE_META_HEAP = 14 };

/* Bit 7 of an item's type is set once it is deleted. */
enum item_type { ITEM_HERE = 1, ITEM_CHAIN = 3 };

_Static_assert((int)PAGE_MIN_BYTES >= (int)META_BYTES, "a whole head in any page");

static uint16_t u16_at(struct view page, size_t at)
{
	uint16_t n;

	memcpy(&n, page.at + at, sizeof(n));
	return n;
}

static uint32_t u32_at(struct view page, size_t at)
{
	uint32_t n;

	memcpy(&n, page.at + at, sizeof(n));
	return n;
}

/* Over all bytes, those of the checksum itself taken as zeros. */
static uint32_t checksum(struct view bytes, size_t at_checksum)
{
	static const uint8_t zeros[CHECKSUM_BYTES];
	size_t behind = at_checksum + CHECKSUM_BYTES;
	uint32_t h = disk_hash(0, view_of(bytes.at, at_checksum));

	h = disk_hash(h, view_of(zeros, CHECKSUM_BYTES));
	return disk_hash(h, view_of(bytes.at + behind, bytes.len - behind));
}

static bool is_meta(struct view page)
{
	uint8_t type = page.at[AT_TYPE];

	return (type >= TYPE_META_FIRST && type <= TYPE_META_LAST) || type == TYPE_META_HEAP;
}

uint32_t page_size(struct view first)
{
	if (first.len < PAGE_MIN_BYTES || u32_at(first, META_AT_MAGIC) != META_MAGIC)
		return 0;
	uint32_t bytes = u32_at(first, META_AT_PAGE_BYTES);
	bool power_of_two = (bytes & (bytes - 1)) == 0;
	return power_of_two && bytes >= PAGE_MIN_BYTES && bytes <= PAGE_MAX_BYTES ? bytes : 0;
}

uint64_t page_file_bytes(struct view first)
{
	uint64_t bytes = page_size(first);

	return bytes > 0 ? bytes * (1 + (uint64_t)u32_at(first, META_AT_LAST_PAGE)) : UINT64_MAX;
}

static bool is_zero(struct view bytes)
{
	for (size_t i = 0; i < bytes.len; i++) {
		if (bytes.at[i] != 0)
			return false;
	}
	return true;
}

bool page_is_unwritten(struct view page)
{
	return page.len >= PAGE_MIN_BYTES && page.at[AT_TYPE] == 0 && is_zero(view_of(page.at, AT_NUMBER + 4));
}

bool page_is_false_meta(struct view page)
{
	return page.len >= PAGE_MIN_BYTES && is_meta(page) &&
	       (u32_at(page, META_AT_MAGIC) != META_MAGIC || !(page.at[META_AT_FLAGS] & META_HAS_CHECKSUM));
}

bool page_is_sound(struct view page)
{
	if (page.len < PAGE_MIN_BYTES)
		return false;
	if (is_meta(page))
		return u32_at(page, META_AT_CHECKSUM) == checksum(view_of(page.at, META_BYTES), META_AT_CHECKSUM);
	return u32_at(page, AT_CHECKSUM) == checksum(page, AT_CHECKSUM) || is_zero(page);
}

uint32_t page_items(struct view page)
{
	if (page.len < PAGE_MIN_BYTES || page.at[AT_TYPE] != TYPE_LEAF)
		return 0;
	uint32_t entries = u16_at(page, AT_ENTRIES), most = (uint32_t)(page.len - HEAD_BYTES) / 2;
	return entries < most ? entries : most;
}

bool page_item(struct view page, uint32_t i, struct page_item *out)
{
	size_t at = u16_at(page, HEAD_BYTES + 2 * (size_t)i);

	if (at < HEAD_BYTES || at + ITEM_AT_BYTES > page.len)
		return false;
	switch (page.at[at + ITEM_AT_TYPE]) {
	case ITEM_HERE: {
		size_t len = u16_at(page, at);
		if (len > page.len - at - ITEM_AT_BYTES)
			return false;
		*out = (struct page_item){.bytes = view_of(page.at + at + ITEM_AT_BYTES, len)};
		return true;
	}
	case ITEM_CHAIN:
		if (at + ITEM_CHAIN_BYTES > page.len || u32_at(page, at + ITEM_CHAIN_AT_PAGE) == 0)
			return false;
		*out = (struct page_item){.chain_page = u32_at(page, at + ITEM_CHAIN_AT_PAGE),
					  .chain_bytes = u32_at(page, at + ITEM_CHAIN_AT_LEN)};
		return true;
	default:
		return false;
	}
}

bool page_chain(struct view page, struct view *part, uint32_t *next_page)
{
	if (page.len < PAGE_MIN_BYTES || page.at[AT_TYPE] != TYPE_OVERFLOW)
		return false;
	size_t len = u16_at(page, AT_HIGH_FREE);
	if (len > page.len - HEAD_BYTES)
		return false;
	*part = view_of(page.at + HEAD_BYTES, len);
	*next_page = u32_at(page, AT_NEXT);
	return true;
}

void page_make_blank(uint8_t *page, uint32_t bytes, uint32_t number)
{
	const uint32_t far_future = INT32_MAX;      /* as a log file's number */
	const uint16_t high_free = (uint16_t)bytes; /* 64 KiB is 0 to Berkeley DB too */

	memset(page, 0, bytes);
	memcpy(page + AT_LSN, &far_future, sizeof(far_future));
	memcpy(page + AT_NUMBER, &number, sizeof(number));
	memcpy(page + AT_HIGH_FREE, &high_free, sizeof(high_free));
	page[AT_LEVEL] = 1; /* of leaves */
	page[AT_TYPE] = TYPE_LEAF;
	uint32_t sum = checksum(view_of(page, bytes), AT_CHECKSUM);
	memcpy(page + AT_CHECKSUM, &sum, sizeof(sum));
}
