/* Records of Berkeley DB's log as a salvage reads them: what each says, and that one that is cut anywhere is read no
 * further than it goes. That the library writes them so is what test_disk_salvage looks at. */
#include "session/disk_op.h"

#include "tests/unit/guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

enum { TXN = 5, FILE_NUMBER = 3, ITEM = 41, PART = 43, COMMIT = 10, LEAF = 5 };

static uint32_t words[64];
static size_t used; /* bytes of them */

static void add(uint32_t n)
{
	memcpy((uint8_t *)words + used, &n, sizeof n);
	used += sizeof n;
}

static void add_counted(const void *bytes, uint32_t len)
{
	add(len);
	if (len > 0)
		memcpy((uint8_t *)words + used, bytes, len);
	used += len;
}

static void begin(uint32_t type, uint32_t txn, uint32_t before, uint32_t mode)
{
	used = 0;
	add(type);
	add(txn);
	add(before);
	add(before ? 4711 : 0);
	add(mode);
}

static void item(uint32_t mode, const void *form, uint32_t form_len, const void *bytes, uint32_t len)
{
	begin(ITEM, TXN, 1, mode << 8 | LEAF);
	add(FILE_NUMBER);
	add(7);
	add(2);  /* index */
	add(20); /* bytes */
	add_counted(form, form_len);
	add_counted(bytes, len);
	add(1);
	add(99);
}

static struct disk_op decode(void)
{
	struct disk_op op;

	/* Cut anywhere it is none of more bytes. */
	for (size_t len = 0; len < used; len++) {
		struct view v = guarded(view_of(words, len));
		disk_op_decode(v, &op);
		if (op.item.len > 0)
			assert_true(op.item.at >= v.at && op.item.at + op.item.len <= v.at + v.len);
	}
	disk_op_decode(guarded(view_of(words, used)), &op);
	return op;
}

static void expect_item(const struct disk_op *op, const char *text)
{
	assert_true(view_eq(op->item, view_str(text)));
}

static void items(void **state)
{
	static const uint8_t here[] = {5, 0, 1, 'h', 'e', 'l', 'l', 'o'}, filled[] = {3, 0, 0x81, 'a', 'b', 'c', 0, 0};
	static const uint8_t chain[] = {9, 9, 3, 0, 8, 0, 0, 0, 1, 2, 0, 0}, inner[12] = {2, 0, 1};
	struct disk_op op;

	(void)state;
	item(1, NULL, 0, "bytes", 5);
	op = decode();
	assert_int_equal(op.kind, DISK_OP_ADD);
	expect_item(&op, "bytes");
	assert_false(op.begins);

	item(2, here, sizeof here, NULL, 0);
	op = decode();
	assert_int_equal(op.kind, DISK_OP_REMOVE);
	expect_item(&op, "hello");
	item(2, filled, sizeof filled, NULL, 0);
	op = decode();
	assert_int_equal(op.kind, DISK_OP_REMOVE);
	expect_item(&op, "abc");

	item(1, chain, sizeof chain, NULL, 0);
	op = decode();
	assert_int_equal(op.kind, DISK_OP_ADD_LONG);
	assert_int_equal(op.first_page, 8);
	assert_int_equal(op.long_bytes, 0x201);
	item(2, chain, sizeof chain, NULL, 0);
	assert_int_equal(decode().kind, DISK_OP_OTHER);
	item(1, chain, sizeof chain - 1, NULL, 0);
	assert_int_equal(decode().kind, DISK_OP_OTHER);

	/* Of an inner page; of another mode. */
	item(1, inner, sizeof inner, "key", 3);
	assert_int_equal(decode().kind, DISK_OP_OTHER);
	item(2, inner, sizeof inner, "key", 3);
	assert_int_equal(decode().kind, DISK_OP_OTHER);
	item(5, NULL, 0, "bytes", 5);
	assert_int_equal(decode().kind, DISK_OP_OTHER);
	/* A length that is not true. */
	item(2, (const uint8_t[]){200, 1, 1, 'x'}, 4, NULL, 0);
	op = decode();
	expect_item(&op, "x");
}

static void parts(void **state)
{
	struct disk_op op;

	(void)state;
	for (uint32_t mode = 3; mode < 5; mode++) {
		begin(PART, TXN, 1, mode << 8 | 7);
		add(FILE_NUMBER);
		add(12);
		add(11);
		add(0);
		add_counted("part", 4);
		op = decode();
		assert_int_equal(op.kind, mode == 3 ? DISK_OP_ADD_PART : DISK_OP_OTHER);
		if (mode != 3)
			continue;
		expect_item(&op, "part");
		assert_int_equal(op.page, 12);
		assert_int_equal(op.prev_page, 11);
	}
}

static void transactions(void **state)
{
	(void)state;
	begin(COMMIT, TXN, 1, 1);
	assert_int_equal(decode().kind, DISK_OP_COMMIT);
	begin(COMMIT, TXN, 1, 2); /* aborted */
	assert_int_equal(decode().kind, DISK_OP_OTHER);
	begin(62, TXN, 0, 0);
	assert_true(decode().begins);
	begin(62, TXN, 1, 0);
	assert_false(decode().begins);
	begin(2, 0, 0, 0); /* of none */
	assert_false(decode().begins);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(items),
	    cmocka_unit_test(parts),
	    cmocka_unit_test(transactions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
