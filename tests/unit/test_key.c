/* Ids of adopted sessions: which texts are taken, what cookies and answers give, and the name in front of a state. */
#include "session/key.h"

#include "tests/unit/guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

/* --- texts --- */

static void blanks_and_control_characters_are_no_text(void **state)
{
	(void)state;
	for (unsigned c = 0; c < 256; c++) {
		for (size_t at = 0; at < 20; at++) {
			char text[20];
			memset(text, 'x', sizeof text);
			text[at] = (char)c;
			assert_int_equal(sess_key_is_good(guarded(view_of(text, sizeof text))), c > ' ' && c != 0x7f);
		}
	}
}

static void texts_have_a_length(void **state)
{
	uint8_t text[SESS_KEY_MAX + 1];

	(void)state;
	memset(text, 'x', sizeof text);
	assert_false(sess_key_is_good(view_of(NULL, 0)));
	assert_true(sess_key_is_good(guarded(view_of(text, 1))));
	assert_true(sess_key_is_good(guarded(view_of(text, SESS_KEY_MAX))));
	assert_false(sess_key_is_good(guarded(view_of(text, SESS_KEY_MAX + 1))));
}

/* --- ids --- */

static struct sess_keys keys_of(uint8_t seed)
{
	struct sess_keys k;
	uint8_t secret[SESS_SECRET_BYTES];

	for (uint8_t i = 0; i < SESS_SECRET_BYTES; i++)
		secret[i] = (uint8_t)(seed + i);
	sess_keys_derive(&k, secret);
	return k;
}

static struct sess_id id_of(const struct sess_keys *k, const char *app, const char *text)
{
	struct sess_id id;

	sess_key_id(k, app, guarded(view_str(text)), &id);
	return id;
}

static void an_id_comes_from_secret_app_and_text(void **state)
{
	struct sess_keys k = keys_of(1), other = keys_of(2);
	struct sess_id id = id_of(&k, "shop", "abc");

	(void)state;
	struct sess_id again = id_of(&k, "shop", "abc"),
		       ids[] = {
			   id_of(&other, "shop", "abc"), id_of(&k, "shoq", "abc"), id_of(&k, "shop", "abd"),
			   id_of(&k, "shopa", "bc"),     id_of(&k, "sho", "pabc"), id_of(&k, "shop", "abcabc"),
		       };
	assert_true(sess_id_eq(&id, &again));
	for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++)
		assert_false(sess_id_eq(&id, &ids[i]));
	/* Half an id says nothing of the other half, nor of any other key's use. */
	assert_memory_not_equal(id.bytes, id.bytes + 8, 8);
	uint64_t half = 0;
	for (size_t i = 0; i < 8; i++)
		half |= (uint64_t)id.bytes[i] << (8 * i);
	struct view wire = view_of("shop\0abc", 8);
	assert_true(half == siphash(k.adopted[0], wire));
	assert_true(half != siphash(k.mac, wire));
	assert_true(half != siphash(k.hash, wire));
	assert_true(half != siphash(k.name, wire));
}

/* They lie on disks: another derivation would lose every session. */
static void ids_of_one_secret_stay(void **state)
{
	struct sess_keys k = keys_of(0);
	struct sess_id id = id_of(&k, "shop", "0123456789abcdef0123456789abcdef");
	char hex[2 * SESS_ID_BYTES + 1];

	(void)state;
	for (size_t i = 0; i < SESS_ID_BYTES; i++)
		snprintf(hex + 2 * i, 3, "%02x", id.bytes[i]);
	assert_string_equal(hex, "5f62f3b2d8679501cd224d46603bf458");
}

/* Every byte of a text counts, also of one that is no session's. */
static void texts_of_any_length_have_ids(void **state)
{
	struct sess_keys k = keys_of(1);
	struct sess_id before = {{0}}, id;
	uint8_t text[600];

	(void)state;
	memset(text, 'x', sizeof text);
	for (size_t len = 0; len <= sizeof text; len++) {
		sess_key_id(&k, "shop", guarded(view_of(text, len)), &id);
		assert_false(sess_id_eq(&id, &before));
		before = id;
	}
}

/* --- cookies --- */

static void expect_cookie(enum sess_key_format format, const char *value, const char *text)
{
	char space[SESS_KEY_MAX];
	struct view got = VIEW("untouched"), in = guarded(view_str(value));
	bool taken = sess_key_of_cookie(format, in, space, &got);

	if (taken != (text != NULL) || !view_eq(got, view_str(text ? text : "untouched")))
		fail_msg("%s: %d %.*s", value, taken, (int)got.len, (const char *)got.at);
}

static void plain_cookies_are_decoded(void **state)
{
	static const char *const cases[][2] = {
	    {"abc", "abc"},
	    {"0-9,az", "0-9,az"},
	    {"a%2Cb%2cc", "a,b,c"}, /* PHP's ids with six bits a character */
	    {"%61%62%63", "abc"},
	    {"a%", "a%"},
	    {"a%4", "a%4"},
	    {"a%4x%x4%zz", "a%4x%x4%zz"},
	    {"%%41", "%A"},
	    {"%2541", "%41"}, /* once */
	    {"s:abc.def", "s:abc.def"},
	    {"a+b", "a+b"},
	    {"\\141\\142\\143", "abc"}, /* Python's, between quotes */
	    {"\\a\\-\\\"", "a-\""},
	    {"a\\054b", "a,b"},
	    {"\\401\\181\\118", "401181118"},
	    {"\\377", "\xff"},
	    {"\\14", "14"},
	    {"a\\", "a\\"},
	    {"\\\\141", "\\141"}, /* once */
	    {"%5C141\\%41", "\\141%41"},
	    {"a\\000b", NULL},
	    {"%C3%A4", "\xc3\xa4"},
	    {"", NULL},
	    {"a b", NULL},
	    {"a%20b", NULL},
	    {"a%00b", NULL},
	    {"a%0d%0ab", NULL},
	    {"a%7fb", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		expect_cookie(SESS_KEY_PLAIN, cases[i][0], cases[i][1]);
}

/* Any byte that Express decodes is decoded: a client cannot spell its cookie so that only Express knows the session. */
static void express_cookies_lose_their_signature(void **state)
{
	static const char *const cases[][2] = {
	    {"s%3AxYz-_09.Q0dF%2Bab%2Fc", "xYz-_09"},
	    {"s%3axYz.Q0dF", "xYz"},
	    {"s:xYz.Q0dF+/=", "xYz"},
	    {"%73%3A%78Yz%2ESIG", "xYz"},
	    {"s:a.b.c.SIG", "a.b.c"},
	    {"s:a%2Cb.SIG", "a,b"},
	    {"s:a%zz.SIG", "a%zz"},
	    {"s:\\141.SIG", "\\141"},
	    {"s:abc.", "abc"},
	    {"", NULL},
	    {"s", NULL},
	    {"s:", NULL},
	    {"s%3A", NULL},
	    {"s%3", NULL},
	    {"s:abc", NULL},
	    {"s:.SIG", NULL},
	    {"s%253Aabc.SIG", NULL},
	    {"S:abc.SIG", NULL},
	    {"j:abc.SIG", NULL},
	    {"j%3A%7B%22a%22%3A1%7D", NULL},
	    {"abc.SIG", NULL},
	    {"s.abc", NULL},
	    {"s:a%20b.SIG", NULL},
	    {"s:a%00b.SIG", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		expect_cookie(SESS_KEY_EXPRESS, cases[i][0], cases[i][1]);
}

/* `n` times `c`, between `before` and `behind`. */
static const char *text_of(const char *before, const char *c, size_t n, const char *behind)
{
	static char text[4096];
	size_t len = (size_t)snprintf(text, sizeof text, "%s", before);

	for (size_t i = 0; i < n; i++)
		len += (size_t)snprintf(text + len, sizeof text - len, "%s", c);
	snprintf(text + len, sizeof text - len, "%s", behind);
	return text;
}

static void cookies_have_a_length(void **state)
{
	char most[SESS_KEY_MAX + 1];

	(void)state;
	memset(most, 'x', SESS_KEY_MAX);
	most[SESS_KEY_MAX] = 0;
	for (size_t n = SESS_KEY_MAX; n <= SESS_KEY_MAX + 1; n++) {
		const char *text = n == SESS_KEY_MAX ? most : NULL;
		expect_cookie(SESS_KEY_PLAIN, text_of("", "x", n, ""), text);
		expect_cookie(SESS_KEY_PLAIN, text_of("", "%78", n, ""), text);
		expect_cookie(SESS_KEY_PLAIN, text_of("", "\\170", n, ""), text);
		expect_cookie(SESS_KEY_EXPRESS, text_of("s:", "x", n, ".SIG"), text);
		expect_cookie(SESS_KEY_EXPRESS, text_of("s%3A", "%78", n, ".SIG"), text);
	}
	/* The signature has no bound of weir's. */
	expect_cookie(SESS_KEY_EXPRESS, text_of("s:abc.", "x", 1000, ""), "abc");
	expect_cookie(SESS_KEY_EXPRESS, text_of("s:abc", "x", 1000, ""), NULL);
	expect_cookie(SESS_KEY_EXPRESS, text_of("s:abc.", ".", 1000, ""), NULL);
}

static void a_cookie_without_a_place_is_none(void **state)
{
	char space[SESS_KEY_MAX];
	struct view got;

	(void)state;
	assert_false(sess_key_of_cookie(SESS_KEY_PLAIN, view_of(NULL, 0), space, &got));
	assert_false(sess_key_of_cookie(SESS_KEY_EXPRESS, view_of(NULL, 0), space, &got));
}

static void what_needs_no_decoding_is_borrowed(void **state)
{
	char space[SESS_KEY_MAX];
	struct view in = guarded(VIEW("abc")), got;

	(void)state;
	assert_true(sess_key_of_cookie(SESS_KEY_PLAIN, in, space, &got));
	assert_ptr_equal(got.at, in.at);
}

/* --- answers --- */

static void expect_answer(enum sess_key_format format, const char *head, const char *value)
{
	char space[SESS_KEY_MAX];
	struct view got = VIEW("untouched");
	bool found = sess_key_of_answer(format, guarded(view_str(head)), VIEW("SID"), space, &got);

	if (found != (value != NULL) || !view_eq(got, view_str(value ? value : "untouched")))
		fail_msg("%s: %d %.*s", head, found, (int)got.len, (const char *)got.at);
}

static void answers_name_a_new_session(void **state)
{
	static const char *const cases[][2] = {
	    {"Set-Cookie: SID=abc\r\n\r\n", "abc"},
	    {"set-COOKIE:SID=abc\n\n", "abc"},
	    {"Status: 200 OK\r\nSet-Cookie: SID=abc; path=/; HttpOnly\r\n\r\nbody", "abc"},
	    {"Set-Cookie: a=b\r\nSet-Cookie: SID=abc\r\n\r\n", "abc"},
	    {"Set-Cookie: SID = \"abc\" ;Path=/\r\n\r\n", "abc"},
	    {"Set-Cookie: SID=a%2Cb=c\r\n\r\n", "a,b=c"},
	    /* Of several the last that gives one. */
	    {"Set-Cookie: SID=; path=/\r\nSet-Cookie: SID=abc\r\nSet-Cookie: SID=def\r\n\r\n", "def"},
	    {"Set-Cookie: SID=abc\r\nX: y\r\nSet-Cookie: a=b\r\nSet-Cookie: SID=d%65f; path=/\r\n\r\n", "def"},
	    {"Set-Cookie: SID=abc\r\nSet-Cookie: SID=\r\nSet-Cookie: SIDE=def\r\n\r\n", "abc"},
	    {"Set-Cookie: SID=a%62c\r\nSet-Cookie: SID=%78%79%20%7a\r\n\r\n", "abc"},
	    {"Set-Cookie: SID=a%62c\r\nSet-Cookie: SID=%78%79%7a; Max-Age=0\r\n\r\n", "abc"},
	    {"Set-Cookie: SID=a b\r\n\r\n", NULL},
	    {"Set-Cookie: SID=\"\"\r\nSet-Cookie: SID=abc\r\n\r\n", "abc"},
	    {"Set-Cookie: SID=abc; Max-Age=86400\r\n\r\n", "abc"},
	    {"Set-Cookie: SID=abc; Max-Age\r\n\r\n", "abc"},
	    {"Set-Cookie: SID=abc; X-Max-Age=0\r\n\r\n", "abc"},
	    /* Taken back: what PHP sends for setcookie('SID', ''), then a log-in. */
	    {"Set-Cookie: SID=deleted; expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0\r\n\r\n", NULL},
	    {"Set-Cookie: SID=deleted; Max-Age=0; path=/\r\nSet-Cookie: SID=abc\r\n\r\n", "abc"},
	    {"Set-Cookie: SID=abc;max-age = -1 ;path=/\r\n\r\n", NULL},
	    {"", NULL},
	    {"\r\n", NULL},
	    {"Status: 200 OK\r\n\r\n", NULL},
	    {"Set-Cookie: sid=abc\r\n\r\n", NULL},
	    {"Set-Cookie: SID\r\n\r\n", NULL},
	    {"Set-Cookie: SID=\r\n\r\n", NULL},
	    {"Set-Cookie: SIDE=abc\r\nSet-Cookie: XSID=abc\r\n\r\n", NULL},
	    /* One cookie a header; what follows are attributes, RFC 6265 section 4.1.1. */
	    {"Set-Cookie: a=b; SID=abc\r\n\r\n", NULL},
	    {"Set-Cookie2: SID=abc\r\nCookie: SID=abc\r\n\r\n", NULL},
	    {"X: Set-Cookie: SID=abc\r\n\r\n", NULL},
	    {" Set-Cookie: SID=abc\r\n\r\n", NULL},
	    {"Status: 200 OK\r\n\r\nSet-Cookie: SID=abc\r\n\r\n", NULL}, /* the body */
	    {"Set-Cookie: SID=abc", NULL},                               /* no end of line */
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		expect_answer(SESS_KEY_PLAIN, cases[i][0], cases[i][1]);
}

static void answers_name_one_in_a_signed_cookie(void **state)
{
	static const char *const cases[][2] = {
	    {"Set-Cookie: SID=s%3Aabc.sig; Path=/\r\n\r\n", "abc"},
	    {"Set-Cookie: SID=s%3Aabc.sig\r\nSet-Cookie: SID=s%3Adef.sig\r\n\r\n", "def"},
	    {"Set-Cookie: SID=s%3Aabc.sig\r\nSet-Cookie: SID=def\r\n\r\n", "abc"},
	    {"Set-Cookie: SID=s%3Aabc.sig\r\nSet-Cookie: SID=s%3Adef\r\n\r\n", "abc"},
	    {"Set-Cookie: SID=j%3A%7B%7D\r\n\r\n", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		expect_answer(SESS_KEY_EXPRESS, cases[i][0], cases[i][1]);
}

/* --- states --- */

static void put_state(struct buf *b, struct view text, struct view bytes)
{
	uint8_t space[SESS_KEY_HEAD_BYTES + SESS_KEY_MAX];

	buf_put(b, sess_key_head(text, space));
	buf_put(b, bytes);
}

static void expect_split(struct view text, struct view bytes)
{
	struct buf b = {0};
	struct view t, s;

	put_state(&b, text, bytes);
	assert_int_equal(buf_error(&b), 0);
	assert_int_equal(buf_len(&b), SESS_KEY_HEAD_BYTES + text.len + bytes.len);
	assert_true(sess_key_split_state(buf_view(&b), &t, &s));
	assert_true(view_eq(t, text));
	assert_true(view_eq(s, bytes));
	buf_fini(&b);
}

static void states_are_split_as_they_were_put(void **state)
{
	uint8_t text[SESS_KEY_MAX], bytes[3000];

	(void)state;
	memset(text, 'x', sizeof text);
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)(i * 7);
	for (size_t n = 1; n <= SESS_KEY_MAX; n++) {
		expect_split(view_of(text, n), view_of(NULL, 0));
		expect_split(view_of(text, n), view_of(bytes, n % 2 ? 1 : sizeof bytes));
	}
}

/* The format lies on disks. */
static void states_begin_with_their_name(void **state)
{
	struct buf b = {0};

	(void)state;
	put_state(&b, VIEW("abc"), VIEW("user|i:7;"));
	assert_true(view_eq(buf_view(&b), VIEW("\0\3"
					       "abcuser|i:7;")));
	buf_fini(&b);
}

static void other_bytes_are_no_state(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} cases[] = {
	    {"", 0},
	    {"\0", 1},
	    {"\0\0", 2},
	    {"\0\0abc", 5},
	    {"\0\4abc", 5},
	    {"\3abc", 4},
	    {"\0\3a c", 5},
	    {"\0\3a\0c", 5},
	    {"\xff\xff"
	     "abc",
	     5},
	};
	uint8_t large[SESS_KEY_HEAD_BYTES + SESS_KEY_MAX + 1];
	struct view t = VIEW("untouched"), s = VIEW("untouched");

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		assert_false(sess_key_split_state(guarded(view_of(cases[i].bytes, cases[i].len)), &t, &s));
	memset(large, 'x', sizeof large);
	large[0] = 1;
	large[1] = 1; /* 257 */
	assert_false(sess_key_split_state(guarded(view_of(large, sizeof large)), &t, &s));
	assert_true(view_eq(t, VIEW("untouched")));
	assert_true(view_eq(s, VIEW("untouched")));
	large[1] = 0;
	assert_true(sess_key_split_state(guarded(view_of(large, sizeof large)), &t, &s));
	assert_int_equal(s.len, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(blanks_and_control_characters_are_no_text),
	    cmocka_unit_test(texts_have_a_length),
	    cmocka_unit_test(an_id_comes_from_secret_app_and_text),
	    cmocka_unit_test(ids_of_one_secret_stay),
	    cmocka_unit_test(texts_of_any_length_have_ids),
	    cmocka_unit_test(plain_cookies_are_decoded),
	    cmocka_unit_test(express_cookies_lose_their_signature),
	    cmocka_unit_test(cookies_have_a_length),
	    cmocka_unit_test(a_cookie_without_a_place_is_none),
	    cmocka_unit_test(what_needs_no_decoding_is_borrowed),
	    cmocka_unit_test(answers_name_a_new_session),
	    cmocka_unit_test(answers_name_one_in_a_signed_cookie),
	    cmocka_unit_test(states_are_split_as_they_were_put),
	    cmocka_unit_test(states_begin_with_their_name),
	    cmocka_unit_test(other_bytes_are_no_state),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
