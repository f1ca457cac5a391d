/* The byte queue: order, growth, its bound, and the error that stays. */
#include "base/buf.h"

#include "base/error.h"
#include "tests/unit/fail_alloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

static void a_zeroed_buf_is_empty(void **state)
{
	struct buf b = {0};

	(void)state;
	buf_check(&b);
	assert_int_equal(buf_len(&b), 0);
	assert_int_equal(buf_view(&b).len, 0);
	assert_int_equal(buf_error(&b), 0);
	buf_consume(&b, 0);
	buf_put(&b, view_of(NULL, 0));
	assert_null(b.data);
	buf_clear(&b);
	buf_fini(&b);
	buf_fini(&b);
}

static void what_is_put_comes_out_in_order(void **state)
{
	struct buf b = {0};

	(void)state;
	buf_put_str(&b, "one ");
	buf_put_u8(&b, 0);
	buf_put_u64(&b, 0);
	buf_put_u64(&b, UINT64_MAX);
	buf_put(&b, VIEW(" end"));
	assert_true(view_eq(buf_view(&b), VIEW("one \0"
					       "018446744073709551615 end")));
	buf_consume(&b, 4);
	assert_true(view_eq(buf_view(&b), VIEW("\0"
					       "018446744073709551615 end")));
	buf_consume(&b, buf_len(&b));
	assert_int_equal(buf_len(&b), 0);
	buf_fini(&b);
}

/* Against a model: the bytes 0, 1, 2, ... go in at the end and come out at the front. */
static void a_queue_of_any_steps(void **state)
{
	struct buf b = {0};
	uint32_t seed = 1;
	uint8_t in = 0, out = 0;
	size_t len = 0;

	(void)state;
	for (int step = 0; step < 20000; step++) {
		seed = seed * 1664525 + 1013904223;
		size_t n = seed >> 16 & (step % 100 == 0 ? 0x1fff : 0x7f);
		if (seed >> 8 & 1) {
			uint8_t *at = buf_reserve(&b, n);
			assert_true(at != NULL || n == 0);
			for (size_t i = 0; i < n; i++)
				at[i] = in++;
			buf_commit(&b, n);
			len += n;
		} else {
			n = n > len ? len : n;
			for (size_t i = 0; i < n; i++)
				assert_int_equal(buf_view(&b).at[i], out++);
			buf_consume(&b, n);
			len -= n;
		}
		buf_check(&b);
		assert_int_equal(buf_len(&b), len);
	}
	buf_fini(&b);
}

/* What was consumed is used again before more memory is asked for. */
static void a_drained_queue_does_not_grow(void **state)
{
	struct buf b = {0};
	uint8_t bytes[1000] = {0};

	(void)state;
	buf_put(&b, view_of(bytes, 1));
	size_t cap = b.cap;
	for (int i = 0; i < 10000; i++) {
		buf_put(&b, view_of(bytes, sizeof bytes));
		buf_consume(&b, sizeof bytes);
	}
	assert_int_equal(b.cap, cap);
	buf_fini(&b);
}

static void the_bound_is_exact(void **state)
{
	static const size_t bounds[] = {1, 2, 100, 2047, 2048, 2049, 5000, 100000};
	static uint8_t bytes[100000];

	(void)state;
	for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++) {
		struct buf b;
		buf_init(&b, bounds[i]);
		buf_put(&b, view_of(bytes, bounds[i] / 2));
		buf_put(&b, view_of(bytes, bounds[i] - bounds[i] / 2));
		assert_int_equal(buf_error(&b), 0);
		assert_int_equal(buf_len(&b), bounds[i]);
		buf_check(&b);
		buf_consume(&b, 1);
		buf_put_u8(&b, 1); /* room that was consumed counts as room */
		assert_int_equal(buf_error(&b), 0);
		buf_put_u8(&b, 1);
		assert_int_equal(buf_error(&b), ERR_TOO_LARGE);
		assert_int_equal(buf_len(&b), bounds[i]);
		buf_fini(&b);
		assert_int_equal(b.max_bytes, bounds[i]);
		assert_int_equal(buf_error(&b), 0);
	}
}

static void the_first_error_stays(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 4);
	buf_put(&b, VIEW("ab"));
	buf_put(&b, VIEW("too long"));
	assert_int_equal(buf_error(&b), ERR_TOO_LARGE);
	fail_alloc_at(1);
	buf_put(&b, VIEW("x")); /* would fit */
	buf_put_u8(&b, 'x');
	buf_put_u64(&b, 1);
	buf_put_str(&b, "x");
	assert_null(buf_reserve(&b, 1));
	fail_alloc_at(0);
	assert_int_equal(buf_error(&b), ERR_TOO_LARGE);
	assert_true(view_eq(buf_view(&b), VIEW("ab")));
	buf_clear(&b);
	assert_int_equal(buf_error(&b), 0);
	buf_put(&b, VIEW("abcd"));
	assert_true(view_eq(buf_view(&b), VIEW("abcd")));
	buf_fini(&b);
}

/* The N-th allocation fails, for every N: what was there before stays, nothing comes behind. */
static void every_allocation_may_fail(void **state)
{
	static const uint8_t piece[1500];
	unsigned nth = 0;
	bool whole = false;

	(void)state;
	while (!whole) {
		struct buf b = {0};
		size_t wanted = 0;
		fail_alloc_at(++nth);
		for (int i = 0; i < 20; i++) {
			buf_put(&b, view_of(piece, sizeof piece));
			wanted += buf_error(&b) ? 0 : sizeof piece;
		}
		fail_alloc_at(0);
		whole = buf_error(&b) == 0;
		assert_true(whole || buf_error(&b) == ERR_NO_MEMORY);
		assert_int_equal(buf_len(&b), wanted);
		buf_check(&b);
		buf_fini(&b);
	}
	assert_true(nth > 3);
}

static void a_size_that_cannot_be(void **state)
{
	struct buf b = {0};

	(void)state;
	buf_put(&b, VIEW("abc"));
	assert_null(buf_reserve(&b, SIZE_MAX));
	assert_int_equal(buf_error(&b), ERR_TOO_LARGE);
	assert_true(view_eq(buf_view(&b), VIEW("abc")));
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_zeroed_buf_is_empty),     cmocka_unit_test(what_is_put_comes_out_in_order),
	    cmocka_unit_test(a_queue_of_any_steps),      cmocka_unit_test(a_drained_queue_does_not_grow),
	    cmocka_unit_test(the_bound_is_exact),        cmocka_unit_test(the_first_error_stays),
	    cmocka_unit_test(every_allocation_may_fail), cmocka_unit_test(a_size_that_cannot_be),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
