/* SCGI: the netstring wherever it is cut, and the rules of the header. */
#include "proto/scgi.h"

#include "base/error.h"
#include "proto/params.h"
#include "tests/unit/fail_alloc.h"
#include "tests/unit/guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

enum { MAX_BYTES = 100 };

struct vector {
	const char *wire; /* NUL is written as '#' */
	enum decode answer;
	const char *header; /* OK; '#' again */
	const char *rest;   /* OK: what is left for the body */
	const char *reason; /* MALFORMED */
};

static const struct vector vectors[] = {
    {"", DECODE_NEED_MORE, NULL, NULL, NULL},
    {"1", DECODE_NEED_MORE, NULL, NULL, NULL},
    {"12:", DECODE_NEED_MORE, NULL, NULL, NULL},
    {"12:abc", DECODE_NEED_MORE, NULL, NULL, NULL},
    {"3:abc", DECODE_NEED_MORE, NULL, NULL, NULL},
    {"3:abc,", DECODE_OK, "abc", "", NULL},
    {"3:abc,body", DECODE_OK, "abc", "body", NULL},
    {"3:,,,,,,,", DECODE_OK, ",,,", ",,,", NULL},
    {"0:,body", DECODE_OK, "", "body", NULL},
    {"25:CONTENT_LENGTH#27#SCGI#1#,What is the answer to life?", DECODE_OK, "CONTENT_LENGTH#27#SCGI#1#",
     "What is the answer to life?", NULL},
    {":abc,", DECODE_MALFORMED, NULL, NULL, "netstring without a length"},
    {"00:,", DECODE_MALFORMED, NULL, NULL, "netstring length with a leading zero"},
    {"03:abc,", DECODE_MALFORMED, NULL, NULL, "netstring length with a leading zero"},
    {"1234567890:", DECODE_MALFORMED, NULL, NULL, "netstring length over nine digits"},
    {"99999999999999999999999999", DECODE_MALFORMED, NULL, NULL, "netstring length over nine digits"},
    {"-1:", DECODE_MALFORMED, NULL, NULL, "netstring length is not a number"},
    {" 3:abc,", DECODE_MALFORMED, NULL, NULL, "netstring length is not a number"},
    {"3 :abc,", DECODE_MALFORMED, NULL, NULL, "netstring length is not a number"},
    {"3;abc,", DECODE_MALFORMED, NULL, NULL, "netstring length is not a number"},
    {"GET / HTTP/1.1", DECODE_MALFORMED, NULL, NULL, "netstring length is not a number"},
    {"\1\1\1\1", DECODE_MALFORMED, NULL, NULL, "netstring length is not a number"},
    {"2:abc,", DECODE_MALFORMED, NULL, NULL, "netstring without its comma"},
    {"4:abc,,", DECODE_OK, "abc,", "", NULL},
    {"4:abc,x", DECODE_MALFORMED, NULL, NULL, "netstring without its comma"},
    {"0:x", DECODE_MALFORMED, NULL, NULL, "netstring without its comma"},
};

/* `text` with each '#' as NUL. Lives until the next call but one. */
static struct view nuls(const char *text)
{
	static char bytes[2][2048];
	static int turn;
	size_t n = strlen(text);

	turn = !turn;
	for (size_t i = 0; i < n; i++)
		bytes[turn][i] = text[i] == '#' ? 0 : text[i];
	return view_of(bytes[turn], n);
}

static void expect_vector(const struct vector *v, size_t cut, size_t piece)
{
	struct view rest = nuls(v->wire), part = {0};
	struct scgi_decoder d;
	struct buf header = {0};
	enum decode answer = DECODE_NEED_MORE;

	scgi_decoder_init(&d, MAX_BYTES);
	for (size_t n = cut; answer == DECODE_NEED_MORE; n = piece) {
		part = guarded(view_take(&rest, n));
		answer = scgi_feed(&d, &part, &header);
		if (answer == DECODE_NEED_MORE)
			assert_int_equal(part.len, 0);
		if (rest.len == 0)
			break;
	}
	if (answer != v->answer)
		fail_msg("%s, cut at %zu, pieces of %zu: %d, wanted %d", v->wire, cut, piece, answer, v->answer);
	if (answer == DECODE_MALFORMED) {
		assert_string_equal(d.reason, v->reason);
		assert_false(d.too_large);
		assert_int_equal(scgi_feed(&d, &rest, &header), DECODE_MALFORMED);
	}
	if (answer == DECODE_OK) {
		assert_true(view_eq(buf_view(&header), nuls(v->header)));
		assert_int_equal(part.len + rest.len, strlen(v->rest));
		assert_memory_equal(part.at, v->rest, part.len);
		size_t left = part.len;
		assert_int_equal(scgi_feed(&d, &part, &header), DECODE_OK);
		assert_int_equal(part.len, left);
	}
	buf_fini(&header);
}

static void every_vector_cut_at_every_byte(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
		for (size_t cut = 0; cut <= strlen(vectors[i].wire); cut++)
			expect_vector(&vectors[i], cut, SIZE_MAX);
		for (size_t piece = 1; piece < 5; piece++)
			expect_vector(&vectors[i], piece, piece);
	}
}

/* The bound is exact, and only it says "too large": the gateway answers that with 431 and not by hanging up. */
static void netstring_over_its_limit(void **state)
{
	static const struct {
		const char *wire;
		enum decode answer;
	} cases[] = {{"100:", DECODE_NEED_MORE}, {"101:", DECODE_MALFORMED}, {"999999999:", DECODE_MALFORMED}};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct view in = guarded(view_str(cases[i].wire));
		struct scgi_decoder d;
		struct buf header = {0};
		scgi_decoder_init(&d, MAX_BYTES);
		assert_int_equal(scgi_feed(&d, &in, &header), cases[i].answer);
		assert_int_equal(d.too_large, cases[i].answer == DECODE_MALFORMED);
		if (d.too_large)
			assert_string_equal(d.reason, "netstring over its limit");
		buf_fini(&header);
	}
}

static void header_that_cannot_be_held(void **state)
{
	struct scgi_decoder d;
	struct buf header;

	(void)state;
	for (int round = 0; round < 2; round++) {
		struct view in = guarded(VIEW("5:abcde,"));
		scgi_decoder_init(&d, MAX_BYTES);
		buf_init(&header, round == 0 ? 0 : 4);
		fail_alloc_at(round == 0);
		assert_int_equal(scgi_feed(&d, &in, &header), DECODE_MALFORMED);
		assert_string_equal(d.reason, error_text(round == 0 ? ERR_NO_MEMORY : ERR_TOO_LARGE));
		assert_false(d.too_large);
		fail_alloc_at(0);
		buf_fini(&header);
	}
}

/* --- the header's rules --- */

static void header_rules(void **state)
{
	static const struct {
		const char *header;
		const char *reason; /* NULL: right */
		uint64_t length;
	} cases[] = {
	    {"CONTENT_LENGTH#27#SCGI#1#", NULL, 27},
	    {"CONTENT_LENGTH#0#A#x#SCGI#1#B##", NULL, 0},
	    {"CONTENT_LENGTH#9223372036854775807#SCGI#1#", NULL, INT64_MAX},
	    {"CONTENT_LENGTH#9223372036854775808#SCGI#1#", "CONTENT_LENGTH is not a number", 0},
	    {"CONTENT_LENGTH##SCGI#1#", "CONTENT_LENGTH is not a number", 0},
	    {"CONTENT_LENGTH#-1#SCGI#1#", "CONTENT_LENGTH is not a number", 0},
	    {"CONTENT_LENGTH#1 #SCGI#1#", "CONTENT_LENGTH is not a number", 0},
	    {"CONTENT_LENGTH#0x1#SCGI#1#", "CONTENT_LENGTH is not a number", 0},
	    {"SCGI#1#CONTENT_LENGTH#27#", "CONTENT_LENGTH is not the first header", 0},
	    {"content_length#27#SCGI#1#", "CONTENT_LENGTH is not the first header", 0},
	    {"", "CONTENT_LENGTH is not the first header", 0},
	    {"CONTENT_LENGTH#27#", "no SCGI header", 0},
	    {"CONTENT_LENGTH#27#SCGI_#1#", "no SCGI header", 0},
	    {"CONTENT_LENGTH#27#SCGI#2#", "SCGI is not \"1\"", 0},
	    {"CONTENT_LENGTH#27#SCGI##", "SCGI is not \"1\"", 0},
	    {"CONTENT_LENGTH#27#SCGI#1#SCGI#1#", "SCGI header given twice", 0},
	    {"CONTENT_LENGTH#27#SCGI#1#CONTENT_LENGTH#27#", "SCGI header given twice", 0},
	    {"CONTENT_LENGTH#27#SCGI#1#A#1#B#1#A#2#", "SCGI header given twice", 0},
	    {"CONTENT_LENGTH#27#SCGI#1#HTTP_COOKIE#1#HTTP_HOST#1#HTTP_COOKIE#2#", "SCGI header given twice", 0},
	    {"CONTENT_LENGTH#27#SCGI#1#HTTP_AAAA_COOKIE#1#HTTP_BBBB_COOKIE#1#HTTP_COOKI#1#", NULL, 27},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct view header = guarded(nuls(cases[i].header));
		struct params p = {WIRE_SCGI, header};
		const char *reason = NULL;
		uint64_t length = 99;
		assert_true(params_check(&p, &reason));
		bool right = scgi_check(header, &length, &reason);
		if (right != (cases[i].reason == NULL))
			fail_msg("%s: %s", cases[i].header, reason ? reason : "taken");
		if (cases[i].reason)
			assert_string_equal(reason, cases[i].reason);
		assert_int_equal(length, right ? cases[i].length : 99);
	}
}

/* `names` headers, the last one with number `last`. */
static void put_many(struct buf *b, unsigned names, unsigned last)
{
	buf_put(b, VIEW("CONTENT_LENGTH\0"
			"5\0SCGI\0"
			"1\0"));
	for (unsigned i = 2; i < names; i++) {
		char pair[64];
		int n = snprintf(pair, sizeof pair, "HTTP_X_THE_SAME_START_%04u_AND_END%cv%c", i + 1 < names ? i : last,
				 0, 0);
		buf_put(b, view_of(pair, (size_t)n));
	}
}

static void many_headers(void **state)
{
	static const struct {
		unsigned names, last;
		const char *reason;
	} cases[] = {{SCGI_NAMES_MAX, 9999, NULL},
		     {SCGI_NAMES_MAX, 2, "SCGI header given twice"},
		     {SCGI_NAMES_MAX, 300, "SCGI header given twice"},
		     {SCGI_NAMES_MAX + 1, 9999, "too many SCGI headers"}};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct buf b = {0};
		const char *reason = NULL;
		uint64_t length = 0;
		put_many(&b, cases[i].names, cases[i].last);
		bool right = scgi_check(guarded(buf_view(&b)), &length, &reason);
		assert_int_equal(right, cases[i].reason == NULL);
		if (!right)
			assert_string_equal(reason, cases[i].reason);
		buf_fini(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_vector_cut_at_every_byte),
	    cmocka_unit_test(netstring_over_its_limit),
	    cmocka_unit_test(header_that_cannot_be_held),
	    cmocka_unit_test(header_rules),
	    cmocka_unit_test(many_headers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
