/* A damaged page of a database file: whatever is found on it lies inside of it. */
#include "tests/fuzz/fuzz.h"

#include "session/disk_page.h"

static void expect_inside(struct view v, struct view page)
{
	EXPECT(v.at >= page.at);
	EXPECT(v.len <= page.len);
	EXPECT(v.at + v.len <= page.at + page.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view page = copy_exact(view_of(data, size)), part;
	uint32_t bytes = page_size(page), next = 0;
	struct page_item item;

	EXPECT(bytes == 0 || (bytes >= PAGE_MIN_BYTES && bytes <= PAGE_MAX_BYTES));
	EXPECT((page_file_bytes(page) == UINT64_MAX) == (bytes == 0));
	EXPECT(!(page_is_unwritten(page) && page_is_false_meta(page)));
	for (uint32_t i = 0; i < page_items(page); i++) {
		if (!page_item(page, i, &item))
			continue;
		if (item.chain_page == 0)
			expect_inside(item.bytes, page);
	}
	if (page_chain(page, &part, &next))
		expect_inside(part, page);
	(void)page_is_sound(page);
	free_exact(page);
	return 0;
}
