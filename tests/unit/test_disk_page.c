/* Pages of Berkeley DB as a salvage reads them, and their checksum: against pages that the library wrote, and against
 * any bytes. */
#include "session/disk_page.h"

#include "session/disk_hash.h"
#include "tests/unit/folder.h"
#include "tests/unit/guard.h"

#include <db.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

enum { PAGE_BYTES = 2048, ITEMS = 200, LONG_BYTES = 9000 };

/* As the paper trail has it: a byte at a time. */
static uint32_t plain_hash(struct view bytes)
{
	uint32_t h = 0;

	for (size_t i = 0; i < bytes.len; i++)
		h = h * 33 + bytes.at[i];
	return h;
}

uint32_t __ham_func4(void *db, const void *bytes, uint32_t len);

static void hash_of_every_length(void **state)
{
	uint8_t bytes[600];

	(void)state;
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)(255 - i * i * 31 % 256);
	for (size_t len = 0; len <= sizeof bytes; len++) {
		struct view v = guarded(view_of(bytes, len));
		assert_int_equal(disk_hash(0, v), plain_hash(v));
		assert_int_equal(__ham_func4(NULL, v.at, (uint32_t)len), plain_hash(v));
		struct view front = view_take(&v, len / 3);
		assert_int_equal(disk_hash(disk_hash(0, front), v), plain_hash(view_of(bytes, len)));
	}
	memset(bytes, 0xff, sizeof bytes); /* the sums inside are at their largest */
	assert_int_equal(disk_hash(0, view_of(bytes, sizeof bytes)), plain_hash(view_of(bytes, sizeof bytes)));
}

/* --- a file of the library's own --- */

static uint8_t file[1 << 20];
static size_t file_len;

static void put(DB *db, uint32_t n, size_t len)
{
	static uint8_t bytes[LONG_BYTES];
	DBT key = {.data = &n, .size = sizeof(n)}, data = {.data = bytes, .size = (uint32_t)len};

	memset(bytes, (int)n, sizeof bytes);
	assert_int_equal(db->put(db, NULL, &key, &data, 0), 0);
}

static int write_file(void **state)
{
	const char *path;
	DB *db = NULL;

	(void)state;
	if (folder_make() != 0 || db_create(&db, NULL, 0) != 0)
		return -1;
	path = in_folder("file");
	assert_int_equal(db->set_pagesize(db, PAGE_BYTES), 0);
	assert_int_equal(db->set_flags(db, DB_CHKSUM), 0);
	assert_int_equal(db->open(db, NULL, path, NULL, DB_BTREE, DB_CREATE, 0600), 0);
	for (uint32_t n = 0; n < ITEMS; n++)
		put(db, n, n % 10 == 0 ? LONG_BYTES : 100);
	assert_int_equal(db->close(db, 0), 0);
	int fd = open(path, O_RDONLY);
	ssize_t n = read(fd, file, sizeof file);
	close(fd);
	file_len = n > 0 ? (size_t)n : 0;
	return file_len > 0 && file_len < sizeof file ? 0 : -1;
}

static int remove_folder(void **state)
{
	(void)state;
	return folder_remove();
}

static struct view page(uint32_t n)
{
	assert_true((n + 1) * PAGE_BYTES <= file_len);
	return view_of(file + n * PAGE_BYTES, PAGE_BYTES);
}

static bool chain_is_whole(const struct page_item *item, uint8_t fill)
{
	uint32_t next = item->chain_page, bytes = 0;
	struct view part;

	while (next != 0 && page_chain(page(next), &part, &next)) {
		for (size_t i = 0; i < part.len; i++)
			assert_int_equal(part.at[i], fill);
		bytes += (uint32_t)part.len;
	}
	return bytes == item->chain_bytes;
}

static void pages_that_the_library_wrote(void **state)
{
	uint32_t keys = 0, shorts = 0, longs = 0;

	(void)state;
	assert_int_equal(page_size(page(0)), PAGE_BYTES);
	assert_int_equal(page_file_bytes(page(0)), file_len);
	for (uint32_t n = 0; n < file_len / PAGE_BYTES; n++) {
		assert_true(page_is_sound(page(n)));
		assert_false(page_is_unwritten(page(n)));
		assert_false(page_is_false_meta(page(n)));
		for (uint32_t i = 0; i < page_items(page(n)); i++) {
			struct page_item item;
			assert_true(page_item(page(n), i, &item));
			if (item.chain_page != 0) {
				assert_int_equal(item.chain_bytes, LONG_BYTES);
				assert_true(chain_is_whole(&item, (uint8_t)(longs++ * 10)));
			} else if (item.bytes.len == sizeof(uint32_t)) {
				keys++;
			} else {
				assert_int_equal(item.bytes.len, 100);
				shorts++;
			}
		}
	}
	assert_int_equal(keys, ITEMS);
	assert_int_equal(longs, ITEMS / 10);
	assert_int_equal(shorts, ITEMS - ITEMS / 10);
}

/* Of the head of a database the library checks the first 512 bytes. */
static void every_change_is_seen(void **state)
{
	uint8_t bytes[PAGE_BYTES];

	(void)state;
	for (uint32_t n = 0; n < 4; n++) {
		for (size_t at = 0; at < (n == 0 ? PAGE_MIN_BYTES : PAGE_BYTES); at += n == 0 ? 1 : 7) {
			memcpy(bytes, page(n).at, PAGE_BYTES);
			bytes[at] ^= 0x10;
			assert_false(page_is_sound(view_of(bytes, PAGE_BYTES)));
		}
	}
}

static void blank_page(void **state)
{
	uint8_t bytes[PAGE_BYTES];
	uint32_t lsn_file, number;
	struct view part;

	(void)state;
	memset(bytes, 0xaa, sizeof bytes);
	page_make_blank(bytes, sizeof bytes, 77);
	assert_true(page_is_sound(view_of(bytes, sizeof bytes)));
	assert_false(page_is_unwritten(view_of(bytes, sizeof bytes)));
	assert_int_equal(page_items(view_of(bytes, sizeof bytes)), 0);
	assert_false(page_chain(view_of(bytes, sizeof bytes), &part, &number));
	memcpy(&lsn_file, bytes, sizeof(lsn_file));
	memcpy(&number, bytes + 8, sizeof(number));
	assert_int_equal(lsn_file, INT32_MAX);
	assert_int_equal(number, 77);
}

static void pages_without_a_checksum(void **state)
{
	uint8_t bytes[PAGE_BYTES] = {0};

	(void)state;
	assert_true(page_is_unwritten(view_of(bytes, sizeof bytes)));
	assert_true(page_is_sound(view_of(bytes, sizeof bytes))); /* a hole: a recovery fills it */
	bytes[1000] = 1;
	assert_true(page_is_unwritten(view_of(bytes, sizeof bytes)));
	assert_false(page_is_sound(view_of(bytes, sizeof bytes)));
	for (uint32_t type = 0; type < 256; type++) {
		memcpy(bytes, page(1).at, PAGE_BYTES);
		bytes[25] = (uint8_t)type;
		bytes[26] = 0;
		bool meta = type == 8 || type == 9 || type == 10 || type == 14;
		assert_int_equal(page_is_false_meta(view_of(bytes, PAGE_BYTES)), meta);
	}
}

/* Every length of every page, and pages of noise: nothing is read that is not there. */
static void any_bytes(void **state)
{
	uint8_t bytes[PAGE_BYTES];
	uint32_t noise = 1;

	(void)state;
	for (uint32_t round = 0; round < 3000; round++) {
		memcpy(bytes, page(round % 8).at, PAGE_BYTES);
		for (uint32_t i = 0; i < round % 50; i++) {
			noise = noise * 1664525 + 1013904223;
			bytes[(noise >> 8) % (i % 2 ? 64 : PAGE_BYTES)] = (uint8_t)(noise >> 24);
		}
		struct view v = guarded(view_of(bytes, round % 4 ? PAGE_BYTES : round % PAGE_BYTES)), part;
		struct page_item item;
		uint32_t next;
		(void)page_size(v);
		(void)page_is_sound(v);
		(void)page_is_false_meta(v);
		(void)page_is_unwritten(v);
		for (uint32_t i = 0; i < page_items(v); i++) {
			if (page_item(v, i, &item) && item.chain_page == 0)
				assert_true(item.bytes.at + item.bytes.len <= v.at + v.len);
		}
		if (page_chain(v, &part, &next))
			assert_true(part.at + part.len <= v.at + v.len);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(hash_of_every_length),     cmocka_unit_test(pages_that_the_library_wrote),
	    cmocka_unit_test(every_change_is_seen),     cmocka_unit_test(blank_page),
	    cmocka_unit_test(pages_without_a_checksum), cmocka_unit_test(any_bytes),
	};

	return cmocka_run_group_tests(tests, write_file, remove_folder);
}
