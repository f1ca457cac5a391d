/* Views: comparing, cutting, reading numbers; never a byte beyond the end. */
#include "base/view.h"

#include "tests/unit/guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static const struct view none = {NULL, 0};

static void equal(void **state)
{
	(void)state;
	assert_true(view_eq(none, VIEW("")));
	assert_true(view_eq(VIEW("a\0b"), VIEW("a\0b")));
	assert_false(view_eq(VIEW("a\0b"), VIEW("a\0c")));
	assert_false(view_eq(VIEW("ab"), VIEW("a")));
	assert_false(view_eq(none, VIEW("a")));
}

/* Each comes before all that stand behind it. */
static void compared(void **state)
{
	const struct view order[] = {none,        VIEW("\0"), VIEW("A"), VIEW("a"),
				     VIEW("a\0"), VIEW("aa"), VIEW("b"), VIEW("\x80")};

	(void)state;
	for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
		for (size_t k = 0; k < sizeof order / sizeof order[0]; k++) {
			int got = view_compare(guarded(order[i]), order[k]);
			assert_int_equal((got > 0) - (got < 0), (i > k) - (i < k));
		}
	}
}

static void equal_but_for_case(void **state)
{
	(void)state;
	assert_true(view_eq_nocase(VIEW("Set-Cookie"), VIEW("sET-cOOKIE")));
	assert_true(view_eq_nocase(none, none));
	assert_true(view_eq_nocase(VIEW("AZaz09"), VIEW("azAZ09")));
	assert_false(view_eq_nocase(VIEW("ab"), VIEW("abc")));
	assert_false(view_eq_nocase(VIEW("ab"), VIEW("ac")));
	/* The neighbours of the letters, and letters outside of ASCII, have no case. */
	assert_false(view_eq_nocase(VIEW("@"), VIEW("`")));
	assert_false(view_eq_nocase(VIEW("["), VIEW("{")));
	assert_false(view_eq_nocase(VIEW("\xc4"), VIEW("\xe4")));
}

static void starts_and_ends(void **state)
{
	(void)state;
	assert_true(view_starts(VIEW("abc"), VIEW("ab")));
	assert_true(view_starts(VIEW("abc"), VIEW("abc")));
	assert_true(view_starts(VIEW("abc"), none));
	assert_true(view_starts(none, none));
	assert_false(view_starts(guarded(VIEW("abc")), VIEW("abcd")));
	assert_false(view_starts(VIEW("abc"), VIEW("bc")));
	assert_true(view_ends(VIEW("abc"), VIEW("bc")));
	assert_true(view_ends(VIEW("abc"), VIEW("abc")));
	assert_true(view_ends(VIEW("abc"), none));
	assert_false(view_ends(VIEW("abc"), VIEW("ab")));
	assert_false(view_ends(VIEW("bc"), VIEW("abc")));
	assert_false(view_ends(none, VIEW("a")));
}

static void take(void **state)
{
	struct view v = guarded(VIEW("abc")), all = v;

	(void)state;
	assert_int_equal(view_take(&v, 0).len, 0);
	assert_int_equal(v.len, 3);
	assert_true(view_eq(view_take(&v, 2), VIEW("ab")));
	assert_ptr_equal(v.at, all.at + 2);
	assert_true(view_eq(view_take(&v, SIZE_MAX), VIEW("c")));
	assert_int_equal(v.len, 0);
	assert_int_equal(view_take(&v, 1).len, 0);
	v = none;
	assert_int_equal(view_take(&v, 1).len, 0);
	assert_null(v.at);
}

static void trim(void **state)
{
	static const char *const cases[][2] = {{"", ""},      {" ", ""},         {" \t ", ""},        {"a", "a"},
					       {" a\t", "a"}, {"\ta b ", "a b"}, {"\na\r ", "\na\r"}, {"a \n", "a \n"}};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		assert_true(view_eq(view_trim(guarded(view_str(cases[i][0]))), view_str(cases[i][1])));
	assert_int_equal(view_trim(none).len, 0);
}

static void numbers(void **state)
{
	static const struct {
		const char *text;
		uint64_t max;
		bool right;
		uint64_t number;
	} cases[] = {
	    {"0", 0, true, 0},
	    {"1", 0, false, 0},
	    {"9", 5, false, 0},
	    {"000", 0, true, 0},
	    {"007", 9, true, 7},
	    {"42", 42, true, 42},
	    {"43", 42, false, 0},
	    {"420", 42, false, 0},
	    {"65535", 65535, true, 65535},
	    {"65536", 65535, false, 0},
	    {"18446744073709551615", UINT64_MAX, true, UINT64_MAX},
	    {"18446744073709551616", UINT64_MAX, false, 0},
	    {"18446744073709551620", UINT64_MAX, false, 0},
	    {"99999999999999999999", UINT64_MAX, false, 0},
	    {"", 9, false, 0},
	    {" 1", 9, false, 0},
	    {"1 ", 9, false, 0},
	    {"+1", 9, false, 0},
	    {"-1", 9, false, 0},
	    {"1.0", 99, false, 0},
	    {"0x1", 99, false, 0},
	    {"1/", 99, false, 0},
	    {"1:", 99, false, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		uint64_t out = 77;
		assert_int_equal(view_to_u64(guarded(view_str(cases[i].text)), cases[i].max, &out), cases[i].right);
		assert_true(out == (cases[i].right ? cases[i].number : 77));
	}
}

/* Every number up to a bound, against every smaller bound: the limit is exact. */
static void numbers_at_their_limit(void **state)
{
	(void)state;
	for (uint64_t n = 0; n < 250; n++) {
		char text[4] = {(char)('0' + n / 100), (char)('0' + n / 10 % 10), (char)('0' + n % 10), 0};
		for (uint64_t max = 0; max < 250; max++) {
			uint64_t out = 999;
			assert_int_equal(view_to_u64(view_str(text), max, &out), n <= max);
			assert_true(out == (n <= max ? n : 999));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(equal),
	    cmocka_unit_test(compared),
	    cmocka_unit_test(equal_but_for_case),
	    cmocka_unit_test(starts_and_ends),
	    cmocka_unit_test(take),
	    cmocka_unit_test(trim),
	    cmocka_unit_test(numbers),
	    cmocka_unit_test(numbers_at_their_limit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
