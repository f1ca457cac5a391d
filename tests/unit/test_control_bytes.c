/* The bytes of the control plane: the golden ones, there and back, each truncation and each flip. */
#include "cluster/control_bytes.h"

#include "base/error.h"
#include "fail_alloc.h"
#include "guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

/* By hand from doc/cluster.md: a ruler of term 5 whose record 2 is of term 5 too, with a message of Berkeley DB. */
static const uint8_t golden_frame[] = {
    2,   2,                           /* of Berkeley DB, from a ruler */
    0,   0,   0, 0, 0,   0,   0,   5, /* term */
    0,   0,   0, 0, 0,   0,   0,   5, /* rank */
    0,   0,   0, 0, 0,   0,   0,   2, /* */
    0,   0,   0, 0, 0,   0,   0,   0, /* number */
    0,   0,   0, 3, 'c', 'c', 'c',    /* control */
    'r', 'r',                         /* rec */
};

static const uint8_t golden_record[] = {
    'w', 'c', 't', 'l',               /* magic */
    0,   1,                           /* format */
    0,   0,   0,   0,   0,   0, 0, 3, /* term */
    0,   0,   0,   0,   0,   0, 1, 2, /* number */
    2,                                /* voters */
    0,   0,   0,   4,                 /* length of the view */
    1,   'a', 2,   'b', 'c',          /* their names */
    'v', 'i', 'e', 'w',
};

enum { FRAME_BARE = 34, RECORD_VIEW = 4 };

static void expect_bytes(struct buf *got, const uint8_t *want, size_t len)
{
	assert_int_equal(buf_error(got), 0);
	assert_int_equal(buf_len(got), len);
	assert_memory_equal(buf_view(got).at, want, len);
	buf_fini(got);
}

static int frame_of(struct view bytes)
{
	struct control_frame f, before;

	memset(&f, 0x5a, sizeof(f));
	memcpy(&before, &f, sizeof(f));
	int err = control_frame_decode(guarded(bytes), &f);
	if (err)
		assert_memory_equal(&f, &before, sizeof(f));
	return err;
}

static int record_of(struct view bytes)
{
	struct control_record r, before;

	memset(&r, 0x5a, sizeof(r));
	memcpy(&before, &r, sizeof(r));
	int err = control_record_decode(guarded(bytes), &r);
	if (err)
		assert_memory_equal(&r, &before, sizeof(r));
	return err;
}

static int record_with(size_t at, uint8_t byte)
{
	uint8_t bytes[sizeof(golden_record)];

	memcpy(bytes, golden_record, sizeof(bytes));
	bytes[at] = byte;
	return record_of(view_of(bytes, sizeof(bytes)));
}

static int frame_with(size_t at, uint8_t byte)
{
	uint8_t bytes[sizeof(golden_frame)];

	memcpy(bytes, golden_frame, sizeof(bytes));
	bytes[at] = byte;
	return frame_of(view_of(bytes, sizeof(bytes)));
}

static void a_frame_there_and_back(void **state)
{
	struct control_frame f;
	struct buf again = {0};

	(void)state;
	assert_int_equal(control_frame_decode(guarded(view_of(golden_frame, sizeof(golden_frame))), &f), 0);
	assert_int_equal(f.type, CONTROL_LIBRARY);
	assert_int_equal(f.standing, CONTROL_RULES);
	assert_int_equal(f.term, 5);
	assert_int_equal(f.rank.term, 5);
	assert_int_equal(f.rank.number, 2);
	assert_true(view_eq(f.control, VIEW("ccc")));
	assert_true(view_eq(f.rec, VIEW("rr")));
	control_frame_encode(&f, &again);
	expect_bytes(&again, golden_frame, sizeof(golden_frame));
}

static void every_type_there_and_back(void **state)
{
	(void)state;
	for (int type = CONTROL_STATE; type <= CONTROL_STORED; type++) {
		struct control_frame f = {.type = (enum control_frame_type)type,
					  .standing = CONTROL_FOLLOWS,
					  .term = 7,
					  .rank = {.term = 6, .number = 9},
					  .number = INT64_MAX,
					  .control = type == CONTROL_LIBRARY ? VIEW("x") : VIEW("")};
		struct control_frame back;
		struct buf bytes = {0};
		control_frame_encode(&f, &bytes);
		assert_int_equal(control_frame_decode(buf_view(&bytes), &back), 0);
		assert_int_equal(back.type, type);
		assert_int_equal(back.standing, CONTROL_FOLLOWS);
		assert_true(back.term == 7 && back.number == INT64_MAX);
		assert_int_equal(control_rank_compare(back.rank, f.rank), 0);
		assert_true(view_eq(back.control, f.control));
		buf_fini(&bytes);
	}
}

/* Of Berkeley DB's part only how long it is cannot be seen. */
static void a_frame_cut_short(void **state)
{
	uint8_t bare[FRAME_BARE + 1] = {CONTROL_ASK};

	(void)state;
	for (size_t len = 0; len < sizeof(golden_frame) - 2; len++)
		assert_int_equal(frame_of(view_of(golden_frame, len)), ERR_MALFORMED);
	assert_int_equal(frame_of(view_of(golden_frame, sizeof(golden_frame) - 2)), 0);
	assert_int_equal(frame_of(view_of(bare, FRAME_BARE)), 0);
	assert_int_equal(frame_of(view_of(bare, FRAME_BARE - 1)), ERR_MALFORMED);
	assert_int_equal(frame_of(view_of(bare, FRAME_BARE + 1)), ERR_MALFORMED);
}

static void a_frame_that_is_none(void **state)
{
	static uint8_t large[CONTROL_FRAME_MAX + 1];
	struct control_frame f;

	(void)state;
	assert_int_equal(frame_with(0, 0), ERR_MALFORMED);
	assert_int_equal(frame_with(0, 7), ERR_MALFORMED);
	assert_int_equal(frame_with(0, CONTROL_STATE), ERR_MALFORMED); /* with something behind it */
	assert_int_equal(frame_with(1, 3), ERR_MALFORMED);
	assert_int_equal(frame_with(2, 0x80), ERR_MALFORMED);  /* no term may follow it */
	assert_int_equal(frame_with(26, 0x80), ERR_MALFORMED); /* number */
	assert_int_equal(frame_with(37, 0), ERR_MALFORMED);    /* no control */
	assert_int_equal(frame_with(37, 6), ERR_MALFORMED);    /* a longer one than there is */
	assert_int_equal(frame_with(34, 0xff), ERR_MALFORMED);
	assert_int_equal(frame_with(37, 5), 0);
	memcpy(large, golden_frame, sizeof(golden_frame));
	assert_int_equal(control_frame_decode(view_of(large, sizeof(large)), &f), ERR_MALFORMED);
	assert_int_equal(control_frame_decode(view_of(large, sizeof(large) - 1), &f), 0);
}

static void a_record_there_and_back(void **state)
{
	struct control_record r;
	struct buf again = {0};

	(void)state;
	assert_int_equal(control_record_decode(guarded(view_of(golden_record, sizeof(golden_record))), &r), 0);
	assert_int_equal(r.rank.term, 3);
	assert_int_equal(r.rank.number, 258);
	assert_int_equal(r.voter_count, 2);
	assert_true(view_eq(r.voters[0], VIEW("a")) && view_eq(r.voters[1], VIEW("bc")));
	assert_true(view_eq(r.bytes, VIEW("view")));
	control_record_encode(&r, &again);
	expect_bytes(&again, golden_record, sizeof(golden_record));
}

static void a_record_cut_short(void **state)
{
	struct control_record r;

	(void)state;
	for (size_t len = 0; len < sizeof(golden_record); len++) {
		bool head = len >= sizeof(golden_record) - RECORD_VIEW;
		assert_int_equal(record_of(view_of(golden_record, len)), ERR_MALFORMED);
		int err = control_record_decode_head(guarded(view_of(golden_record, len)), &r);
		assert_int_equal(err, head ? 0 : ERR_MALFORMED);
		if (head)
			assert_true(view_eq(r.voters[1], VIEW("bc")) && r.bytes.len == 0);
	}
	uint8_t longer[sizeof(golden_record) + 1] = {0};
	memcpy(longer, golden_record, sizeof(golden_record));
	assert_int_equal(record_of(view_of(longer, sizeof(longer))), ERR_MALFORMED);
}

static void a_record_that_is_none(void **state)
{
	(void)state;
	assert_int_equal(record_with(0, 'W'), ERR_MALFORMED);
	assert_int_equal(record_with(5, 2), ERR_VERSION);
	assert_int_equal(record_with(4, 1), ERR_VERSION);
	assert_int_equal(record_with(5, 0), ERR_MALFORMED);
	assert_int_equal(record_with(6, 0x80), ERR_MALFORMED);  /* term */
	assert_int_equal(record_with(14, 0x80), ERR_MALFORMED); /* number */
	assert_int_equal(record_with(22, CONTROL_VOTERS_MAX + 1), ERR_MALFORMED);
	assert_int_equal(record_with(22, 1), ERR_MALFORMED);
	assert_int_equal(record_with(23, 1), ERR_MALFORMED); /* a view of more than 16 MiB */
	assert_int_equal(record_with(26, 3), ERR_MALFORMED);
	assert_int_equal(record_with(27, 0), ERR_MALFORMED); /* a name of no letters */
	assert_int_equal(record_with(27, CONTROL_NAME_MAX + 1), ERR_MALFORMED);
}

/* The head of the greatest one is as long as what is read of it. */
static void the_greatest_head(void **state)
{
	static const uint8_t name[CONTROL_NAME_MAX] = {'n'};
	struct control_record r = {.voter_count = CONTROL_VOTERS_MAX}, back;
	struct buf bytes = {0};

	(void)state;
	for (unsigned i = 0; i < CONTROL_VOTERS_MAX; i++)
		r.voters[i] = view_of(name, sizeof(name));
	control_record_encode(&r, &bytes);
	assert_int_equal(buf_error(&bytes), 0);
	assert_int_equal(buf_len(&bytes), CONTROL_RECORD_HEAD_MAX);
	assert_int_equal(control_record_decode_head(buf_view(&bytes), &back), 0);
	assert_int_equal(back.voter_count, CONTROL_VOTERS_MAX);
	buf_fini(&bytes);
}

static void every_flip_of_a_promise_is_seen(void **state)
{
	const struct control_promise p = {
	    .term = 9, .stored = {.term = 8, .number = 7}, .agreed = {.term = 6, .number = 5}};
	uint8_t bytes[CONTROL_PROMISE_BYTES + 1] = {0};
	struct control_promise back = {0};

	(void)state;
	control_promise_encode(&p, bytes);
	assert_int_equal(control_promise_decode(view_of(bytes, CONTROL_PROMISE_BYTES), &back), 0);
	assert_memory_equal(&back, &p, sizeof(p));
	for (size_t len = 0; len <= sizeof(bytes); len++)
		if (len != CONTROL_PROMISE_BYTES)
			assert_int_equal(control_promise_decode(guarded(view_of(bytes, len)), &back), ERR_MALFORMED);
	for (unsigned bit = 0; bit < CONTROL_PROMISE_BYTES * 8; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(control_promise_decode(view_of(bytes, CONTROL_PROMISE_BYTES), &back), ERR_MALFORMED);
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	assert_memory_equal(&back, &p, sizeof(p));
}

static void ranks_are_compared_by_term_first(void **state)
{
	const struct control_rank low = {.term = 1, .number = 9}, mid = {.term = 2, .number = 1},
				  high = {.term = 2, .number = 2};

	(void)state;
	assert_true(control_rank_compare(low, mid) < 0 && control_rank_compare(mid, high) < 0);
	assert_true(control_rank_compare(high, mid) > 0 && control_rank_compare(mid, low) > 0);
	assert_int_equal(control_rank_compare(mid, mid), 0);
}

static void no_memory_is_an_error_of_the_buf(void **state)
{
	const struct control_record r = {.bytes = VIEW("view")};
	const struct control_frame f = {.type = CONTROL_STATE};
	struct buf bytes = {0};

	(void)state;
	fail_alloc_at(1);
	control_record_encode(&r, &bytes);
	assert_int_equal(buf_error(&bytes), ERR_NO_MEMORY);
	buf_fini(&bytes);
	fail_alloc_at(1);
	control_frame_encode(&f, &bytes);
	assert_int_equal(buf_error(&bytes), ERR_NO_MEMORY);
	buf_fini(&bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_frame_there_and_back),
	    cmocka_unit_test(every_type_there_and_back),
	    cmocka_unit_test(a_frame_cut_short),
	    cmocka_unit_test(a_frame_that_is_none),
	    cmocka_unit_test(a_record_there_and_back),
	    cmocka_unit_test(a_record_cut_short),
	    cmocka_unit_test(a_record_that_is_none),
	    cmocka_unit_test(the_greatest_head),
	    cmocka_unit_test(every_flip_of_a_promise_is_seen),
	    cmocka_unit_test(ranks_are_compared_by_term_first),
	    cmocka_unit_test(no_memory_is_an_error_of_the_buf),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
