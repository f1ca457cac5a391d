/* A session's bytes in a store: the golden ones, and that no others are taken. */
#include "session/record.h"

#include "base/error.h"
#include "tests/unit/fail_alloc.h"
#include "tests/unit/guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

static const struct sess_id id = {
    {0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f}};

/* By hand from doc/disk-format.md; the checksum by the SipHash of Python (see the end of that page). */
static const uint8_t golden[] = {
    'w',  'e',  'i',  'r',                                                                          /* magic */
    0x00, 0x01,                                                                                     /* format */
    0x00, 0x03,                                                                                     /* flags */
    0x00, 0x00, 0x00, 0x42,                                                                         /* length */
    0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f, /* id */
    0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08,                                                 /* version */
    0x65, 0x53, 0xf1, 0x00,                                                                         /* created */
    0x65, 0x53, 0xf1, 0x2a,                                                                         /* used */
    0x00, 0x00, 0x07, 0x08,                                                                         /* ttl */
    0x04, 's',  'h',  'o',  'p',                                                                    /* app */
    'c',  'a',  'r',  't',  0x00,                                                                   /* state */
    0x65, 0x56, 0xa0, 0xe5, 0xd5, 0xf4, 0xbb, 0x56,                                                 /* checksum */
};

static const struct sess_record meant = {
    .id = {{0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f}},
    .app = {(const uint8_t *)"shop", 4},
    .version = 0x0102030405060708,
    .created_s = 1700000000,
    .used_s = 1700000042,
    .ttl_s = 1800,
    .fresh = true,
    .pinned = true,
    .state = {(const uint8_t *)"cart", 5},
};

enum { HEAD_AT_FORMAT = 4, HEAD_AT_FLAGS = 6, HEAD_AT_LENGTH = 8, APP_AT = 48 };

static void expect_equal(const struct sess_record *a, const struct sess_record *b)
{
	assert_true(sess_id_eq(&a->id, &b->id));
	assert_true(view_eq(a->app, b->app));
	assert_true(a->version == b->version);
	assert_int_equal(a->created_s, b->created_s);
	assert_int_equal(a->used_s, b->used_s);
	assert_int_equal(a->ttl_s, b->ttl_s);
	assert_int_equal(a->fresh, b->fresh);
	assert_int_equal(a->pinned, b->pinned);
	assert_true(view_eq(a->state, b->state));
}

static int decode(struct view bytes, struct sess_record *out)
{
	return record_decode(guarded(bytes), &id, out);
}

/* A failure must not leave half a record. */
static void expect_refused(struct view bytes, int err)
{
	struct sess_record out, before;

	memset(&out, 0x5a, sizeof(out));
	before = out;
	assert_int_equal(decode(bytes, &out), err);
	assert_memory_equal(&out, &before, sizeof(out));
}

/* With the checksum of what stands before it, as in the document. */
static void seal(uint8_t *bytes, size_t len)
{
	struct siphash_key key = siphash_key_load((const uint8_t *)"weir-session-v1");
	uint64_t sum = siphash(key, view_of(bytes, len - 8));

	for (unsigned i = 0; i < 8; i++)
		bytes[len - 8 + i] = (uint8_t)(sum >> (56 - 8 * i));
}

static void golden_bytes(void **state)
{
	struct buf out = {0};
	struct sess_record back;

	(void)state;
	record_encode(&meant, &out);
	assert_int_equal(buf_error(&out), 0);
	assert_int_equal(buf_len(&out), sizeof(golden));
	assert_memory_equal(buf_view(&out).at, golden, sizeof(golden));
	assert_int_equal(decode(view_of(golden, sizeof(golden)), &back), 0);
	expect_equal(&back, &meant);
	buf_fini(&out);
}

static void there_and_back(void **state)
{
	static uint8_t large[200000];
	static const size_t lens[] = {0, 1, 7, 8, 9, 1023, 1024, 200000};

	(void)state;
	for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
		for (unsigned flags = 0; flags < 4; flags++) {
			struct sess_record r = meant, back;
			struct buf out = {0};
			memset(large, (int)i, sizeof(large));
			r.state = view_of(lens[i] ? large : NULL, lens[i]);
			r.app = flags ? VIEW("a")
				      : VIEW("0123456789012345678901234567890123456789012345678901234567890123");
			r.fresh = flags & 1;
			r.pinned = flags & 2;
			buf_put(&out, VIEW("before")); /* it appends */
			record_encode(&r, &out);
			buf_consume(&out, 6);
			assert_int_equal(decode(buf_view(&out), &back), 0);
			expect_equal(&back, &r);
			buf_fini(&out);
		}
	}
}

static void every_byte_changed(void **state)
{
	uint8_t bytes[sizeof(golden)];

	(void)state;
	for (size_t i = 0; i < sizeof(golden); i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			memcpy(bytes, golden, sizeof(golden));
			bytes[i] ^= (uint8_t)(1U << bit);
			expect_refused(view_of(bytes, sizeof(bytes)), ERR_MALFORMED);
		}
	}
}

static void every_truncation(void **state)
{
	uint8_t more[sizeof(golden) + 1] = {0};

	(void)state;
	for (size_t len = 0; len < sizeof(golden); len++) {
		expect_refused(view_of(golden, len), ERR_MALFORMED);
		/* And where somebody has put a right checksum at the end of what is left. */
		memcpy(more, golden, sizeof(golden));
		if (len >= 8) {
			seal(more, len);
			expect_refused(view_of(more, len), ERR_MALFORMED);
		}
	}
	memcpy(more, golden, sizeof(golden));
	expect_refused(view_of(more, sizeof(more)), ERR_MALFORMED);
	seal(more, sizeof(more));
	expect_refused(view_of(more, sizeof(more)), ERR_MALFORMED);
}

static void another_id(void **state)
{
	struct sess_record out;
	struct sess_id other = id;

	(void)state;
	other.bytes[15]++;
	assert_int_equal(record_decode(view_of(golden, sizeof(golden)), &other, &out), ERR_MALFORMED);
}

/* One byte set, and the checksum right. */
static void expect_sealed(size_t at, uint8_t byte, int err)
{
	uint8_t bytes[sizeof(golden)];

	memcpy(bytes, golden, sizeof(golden));
	bytes[at] = byte;
	seal(bytes, sizeof(bytes));
	expect_refused(view_of(bytes, sizeof(bytes)), err);
}

static void fields_that_cannot_be(void **state)
{
	(void)state;
	expect_sealed(0, 'W', ERR_MALFORMED);
	expect_sealed(HEAD_AT_FORMAT + 1, 0, ERR_MALFORMED);
	expect_sealed(HEAD_AT_FLAGS, 1, ERR_MALFORMED);
	expect_sealed(HEAD_AT_FLAGS + 1, 4, ERR_MALFORMED);
	expect_sealed(HEAD_AT_LENGTH, 1, ERR_MALFORMED);
	expect_sealed(HEAD_AT_LENGTH + 3, sizeof(golden) - 1, ERR_MALFORMED);
	expect_sealed(HEAD_AT_LENGTH + 3, sizeof(golden) + 1, ERR_MALFORMED);
	expect_sealed(APP_AT, 0, ERR_MALFORMED);
	expect_sealed(APP_AT, 10, ERR_MALFORMED); /* over what is left */
	expect_sealed(APP_AT, 255, ERR_MALFORMED);
}

/* The app's length is bounded also where there are bytes enough. */
static void app_over_its_limit(void **state)
{
	uint8_t bytes[200] = {0};
	struct sess_record out;

	(void)state;
	memcpy(bytes, golden, APP_AT);
	bytes[HEAD_AT_LENGTH + 3] = sizeof(bytes);
	bytes[APP_AT] = RECORD_APP_MAX;
	seal(bytes, sizeof(bytes));
	assert_int_equal(decode(view_of(bytes, sizeof(bytes)), &out), 0);
	bytes[APP_AT] = RECORD_APP_MAX + 1;
	seal(bytes, sizeof(bytes));
	expect_refused(view_of(bytes, sizeof(bytes)), ERR_MALFORMED);
}

/* All that an older weir knows of a record of tomorrow: the head and the checksum. */
static void of_a_newer_format(void **state)
{
	uint8_t bytes[64];
	struct record_head head;

	(void)state;
	memset(bytes, 0xee, sizeof(bytes));
	memcpy(bytes, golden, APP_AT);
	bytes[HEAD_AT_FORMAT + 1] = 2;
	bytes[HEAD_AT_FLAGS] = 0x80;
	bytes[HEAD_AT_LENGTH + 3] = sizeof(bytes);
	seal(bytes, sizeof(bytes));
	expect_refused(view_of(bytes, sizeof(bytes)), ERR_VERSION);
	assert_int_equal(record_peek(view_of(bytes, sizeof(bytes)), &head), 0);
	assert_true(sess_id_eq(&head.id, &id));
	assert_true(head.version == meant.version);
	assert_true(head.expires_s == record_expires_s(&meant));
	/* Damaged, it is not taken for one. */
	bytes[55] ^= 1;
	expect_refused(view_of(bytes, sizeof(bytes)), ERR_MALFORMED);
	bytes[12] ^= 1;
	seal(bytes, sizeof(bytes));
	expect_refused(view_of(bytes, sizeof(bytes)), ERR_MALFORMED);
}

static void a_look_at_the_head(void **state)
{
	struct record_head head;
	uint8_t bytes[RECORD_HEAD_BYTES];

	(void)state;
	assert_int_equal(record_peek(guarded(view_of(golden, RECORD_HEAD_BYTES)), &head), 0);
	assert_true(sess_id_eq(&head.id, &id));
	for (size_t len = 0; len < RECORD_HEAD_BYTES; len++)
		assert_int_equal(record_peek(guarded(view_of(golden, len)), &head), ERR_MALFORMED);
	memcpy(bytes, golden, sizeof(bytes));
	bytes[3] = 0;
	assert_int_equal(record_peek(guarded(view_of(bytes, sizeof(bytes))), &head), ERR_MALFORMED);
}

static void expires_beyond_32_bits(void **state)
{
	struct sess_record r = meant;
	struct record_head head;
	struct buf out = {0};

	(void)state;
	r.used_s = r.ttl_s = UINT32_MAX;
	record_encode(&r, &out);
	assert_int_equal(record_peek(buf_view(&out), &head), 0);
	assert_true(head.expires_s == UINT64_C(0x1fffffffe));
	buf_fini(&out);
}

static void without_memory(void **state)
{
	struct buf out = {0};

	(void)state;
	fail_alloc_at(1);
	record_encode(&meant, &out);
	fail_alloc_at(0);
	assert_int_equal(buf_error(&out), ERR_NO_MEMORY);
	assert_int_equal(buf_len(&out), 0);
	buf_fini(&out);
	buf_init(&out, sizeof(golden) - 1);
	record_encode(&meant, &out);
	assert_int_equal(buf_error(&out), ERR_TOO_LARGE);
	assert_int_equal(buf_len(&out), 0);
	buf_fini(&out);
}

/* The length field holds 32 bits; the state is not looked at. */
static void over_four_gib(void **state)
{
	struct sess_record r = meant;
	struct buf out = {0};

	(void)state;
	r.state = view_of("", UINT32_MAX);
	record_encode(&r, &out);
	assert_int_equal(buf_error(&out), ERR_TOO_LARGE);
	assert_int_equal(buf_len(&out), 0);
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(golden_bytes),       cmocka_unit_test(there_and_back),
	    cmocka_unit_test(every_byte_changed), cmocka_unit_test(every_truncation),
	    cmocka_unit_test(another_id),         cmocka_unit_test(fields_that_cannot_be),
	    cmocka_unit_test(app_over_its_limit), cmocka_unit_test(of_a_newer_format),
	    cmocka_unit_test(a_look_at_the_head), cmocka_unit_test(expires_beyond_32_bits),
	    cmocka_unit_test(without_memory),     cmocka_unit_test(over_four_gib),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
