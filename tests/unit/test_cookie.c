/* Cookies: what is found in a Cookie header, whatever is in it, and what Set-Cookie says. */
#include "session/cookie.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

/* All values of `name` in the header, joined by '|'; "-" when there is none. */
static void expect(const char *header, const char *name, const char *values)
{
	struct view rest = view_str(header);
	struct view value;
	char found[256] = "-";
	size_t len = 0;
	bool first = true;

	while (sess_cookie_next(&rest, view_str(name), &value)) {
		if (!first)
			found[len++] = '|';
		first = false;
		assert_true(len + value.len + 2 < sizeof(found));
		if (value.len > 0)
			memcpy(found + len, value.at, value.len);
		len += value.len;
		found[len] = '\0';
	}
	assert_int_equal(rest.len, 0);
	assert_string_equal(found, values);
}

static void the_value_is_found(void **unused)
{
	(void)unused;
	expect("S=1", "S", "1");
	expect("a=b; S=1; c=d", "S", "1");
	expect("a=b;S=1;c=d", "S", "1");
	expect("  S = 1 ;", "S", "1");
	expect("\tS=1\t", "S", "1");
	expect("a=b;\vS\f=\x1f\v1\f\r", "S", "1");
	expect("S=\v\"1\"\f", "S", "1");
	expect("S=\xa0x", "S", "\xa0x");
	expect("S=1=2=", "S", "1=2=");
	expect("S=", "S", "");
	expect("S=a b", "S", "a b");
}

static void other_cookies_are_not_taken_for_it(void **unused)
{
	(void)unused;
	expect("", "S", "-");
	expect("s=1", "S", "-");
	expect("SS=1; XS=2; S2=3", "S", "-");
	expect("a=S=1", "S", "-");
	expect("a=\"; b=c", "S", "-");
	expect("S", "S", "-");
	expect("S; T", "S", "-");
	expect("S 1=2", "S", "-");
	expect(";;; ; =; ==; =S", "S", "-");
	expect("a=1, S=2", "S", "-");
}

static void several_of_one_name_come_in_order(void **unused)
{
	(void)unused;
	expect("S=1; S=2; a=b; S=3", "S", "1|2|3");
	expect("S=; S=2", "S", "|2");
	expect("S; S=2", "S", "2");
}

static void quotes_are_taken_off(void **unused)
{
	(void)unused;
	expect("S=\"abc\"", "S", "abc");
	expect("S=\"\"", "S", "");
	expect("S=\"", "S", "\"");
	expect("S=\"abc", "S", "\"abc");
	expect("S=a\"b\"", "S", "a\"b\"");
	expect("S=\"\"a\"\"", "S", "\"a\"");
}

static void any_bytes_do_no_harm(void **unused)
{
	static const char pieces[] = {'S', '=', ';', ' ', '"', '\t', '\0', '\n', (char)0xff, 'x', ',', 'S'};
	uint32_t random = 7;

	(void)unused;
	for (int round = 0; round < 20000; round++) {
		size_t len = (size_t)round % 40;
		char *bytes = malloc(len ? len : 1); /* its own block: a read past the end is seen */
		struct view value, rest;
		size_t found = 0;

		assert_non_null(bytes);
		for (size_t i = 0; i < len; i++) {
			random = random * 1664525 + 1013904223;
			bytes[i] = pieces[(random >> 16) % sizeof(pieces)];
		}
		rest = view_of(bytes, len);
		while (sess_cookie_next(&rest, VIEW("S"), &value)) {
			assert_true(value.len <= len);
			assert_true(++found <= len);
		}
		free(bytes);
	}
}

static const struct sess_cookie_options plain = {.name = "WEIRSID", .path = "/", .http_only = true};

static void expect_set(const struct sess_cookie_options *o, bool https, const char *text)
{
	struct buf b;

	buf_init(&b, 0);
	sess_cookie_put_set(&b, o, VIEW("abc"), https);
	assert_int_equal(buf_error(&b), 0);
	buf_put_u8(&b, 0);
	assert_string_equal((const char *)buf_view(&b).at, text);
	buf_fini(&b);
}

static void set_cookie_says_what_was_asked(void **unused)
{
	struct sess_cookie_options o = plain;

	(void)unused;
	expect_set(&o, false, "Set-Cookie: WEIRSID=abc; Path=/; HttpOnly; SameSite=Lax\r\n");
	expect_set(&o, true, "Set-Cookie: WEIRSID=abc; Path=/; HttpOnly; Secure; SameSite=Lax\r\n");
	o.secure = SESS_SECURE_NEVER;
	expect_set(&o, true, "Set-Cookie: WEIRSID=abc; Path=/; HttpOnly; SameSite=Lax\r\n");
	o.secure = SESS_SECURE_ALWAYS;
	o.same_site = SESS_SAME_SITE_NONE;
	expect_set(&o, false, "Set-Cookie: WEIRSID=abc; Path=/; HttpOnly; Secure; SameSite=None\r\n");
	o.same_site = SESS_SAME_SITE_STRICT;
	o.http_only = false;
	o.path = "/shop";
	o.domain = "example.org";
	expect_set(&o, false, "Set-Cookie: WEIRSID=abc; Path=/shop; Domain=example.org; Secure; SameSite=Strict\r\n");
	o = plain;
	o.path = NULL;
	o.domain = "";
	expect_set(&o, false, "Set-Cookie: WEIRSID=abc; Path=/; HttpOnly; SameSite=Lax\r\n");
}

/* A browser forgets a cookie only when name, path and domain are those of the cookie that it has. */
static void expire_names_the_same_cookie(void **unused)
{
	struct sess_cookie_options o = plain;
	struct buf b;

	(void)unused;
	o.domain = "example.org";
	buf_init(&b, 0);
	sess_cookie_put_expire(&b, &o, true);
	buf_put_u8(&b, 0);
	assert_string_equal(
	    (const char *)buf_view(&b).at,
	    "Set-Cookie: WEIRSID=; Path=/; Domain=example.org; Max-Age=0; HttpOnly; Secure; SameSite=Lax\r\n");
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_value_is_found),
	    cmocka_unit_test(other_cookies_are_not_taken_for_it),
	    cmocka_unit_test(several_of_one_name_come_in_order),
	    cmocka_unit_test(quotes_are_taken_off),
	    cmocka_unit_test(any_bytes_do_no_harm),
	    cmocka_unit_test(set_cookie_says_what_was_asked),
	    cmocka_unit_test(expire_names_the_same_cookie),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
