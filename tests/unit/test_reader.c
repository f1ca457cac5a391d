/* Numbers and texts there and back, the end of the input, and what may be a name. */
#include "base/reader.h"

#include "base/buf.h"
#include "base/name.h"
#include "tests/unit/guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void there_and_back(void **state)
{
	static const uint8_t wire[] = {1, 2, 3, 2, 'o', 'k', 0, 0, 0, 3, 'y', 'e', 's', 0};
	struct buf b = {0};

	(void)state;
	buf_put_number(&b, 0x010203, 3);
	buf_put_text(&b, VIEW("ok"), 1);
	buf_put_text(&b, VIEW("yes"), 4);
	buf_put_text(&b, VIEW(""), 1);
	assert_int_equal(buf_len(&b), sizeof wire);
	assert_memory_equal(buf_view(&b).at, wire, sizeof wire);

	struct reader r = reader_of(guarded(buf_view(&b)));
	assert_int_equal(reader_number(&r, 3), 0x010203);
	assert_true(view_eq(reader_text(&r, 1), VIEW("ok")));
	assert_true(view_eq(reader_text(&r, 4), VIEW("yes")));
	assert_false(reader_done(&r));
	assert_int_equal(reader_text(&r, 1).len, 0);
	assert_true(reader_done(&r));
	buf_fini(&b);
}

/* Also when what is asked for after it would be there. */
static void first_failure_stays(void **state)
{
	struct reader r = reader_of(guarded(VIEW("\3ab")));

	(void)state;
	assert_null(reader_text(&r, 1).at);
	assert_true(r.broken);
	assert_int_equal(reader_number(&r, 1), 0);
	assert_int_equal(reader_bytes(&r, 0).len, 0);
	assert_false(reader_done(&r));
	r = reader_of(guarded(VIEW("a")));
	assert_int_equal(reader_number(&r, 2), 0);
	assert_true(r.broken);
	r = reader_of(guarded(VIEW("\xff\xff\xff\xff\xff\xff\xff\xff")));
	assert_null(reader_text(&r, 8).at);
	assert_true(r.broken);
}

static void demands(void **state)
{
	struct reader r = reader_of(VIEW(""));

	(void)state;
	reader_demand(&r, true);
	assert_true(reader_done(&r));
	reader_demand(&r, false);
	reader_demand(&r, true);
	assert_false(reader_done(&r));
}

static void names(void **state)
{
	static char longest[NAME_BYTES_MAX + 2];

	(void)state;
	memset(longest, 'x', NAME_BYTES_MAX);
	assert_true(name_is_good(view_str(longest)));
	longest[NAME_BYTES_MAX] = 'x';
	assert_false(name_is_good(view_str(longest)));
	assert_true(name_is_good(VIEW("Node-1_a.b")));
	assert_false(name_is_good(VIEW("")));
	assert_false(name_is_good(VIEW("a/b")));
	assert_false(name_is_good(VIEW("a\0b")));
	assert_false(name_is_good(VIEW("a b")));
	assert_false(name_is_good(VIEW("\xc3\xa4")));
}

static void visible(void **state)
{
	(void)state;
	assert_true(name_is_visible(VIEW(""), 0));
	assert_true(name_is_visible(VIEW("[::1]:80/~!"), 11));
	assert_false(name_is_visible(VIEW("[::1]:80/~!"), 10));
	assert_false(name_is_visible(VIEW("a b"), 10));
	assert_false(name_is_visible(VIEW("a\x7f"), 10));
	assert_false(name_is_visible(VIEW("\xc3\xa4"), 10));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(there_and_back), cmocka_unit_test(first_failure_stays),
	    cmocka_unit_test(demands),        cmocka_unit_test(names),
	    cmocka_unit_test(visible),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
