/* Redis's protocol: what every command says, wherever it is cut; what is refused, and with which words; replies. */
#include "proto/resp.h"

#include "base/error.h"
#include "tests/unit/fail_alloc.h"
#include "tests/unit/guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

enum { BULK_MAX = 100, COMMAND_MAX = 150 };

static const struct resp_limits small = {.bulk_bytes = BULK_MAX, .command_bytes = COMMAND_MAX, .args = RESP_ARGS_MAX};
static const struct resp_limits wide = {
    .bulk_bytes = (size_t)4 << 30, .command_bytes = (size_t)4 << 30, .args = RESP_ARGS_MAX};

/* What one call came to; `out` is kept out of it, being large. */
struct answer {
	enum decode decode;
	size_t consumed, need; /* 77, 78: untouched */
	const char *reason;
};

static struct resp_command out;
static struct buf space;

static struct answer ask(struct view in, const struct resp_limits *limits)
{
	struct answer a = {.consumed = 77, .need = 78};

	resp_command_forget(&out);
	out.count = 79;
	a.decode = resp_command_decode(in, limits, &space, &out, &a.consumed, &a.need, &a.reason);
	assert_true(a.decode == DECODE_OK || out.count == 79);
	assert_true(a.decode == DECODE_OK || a.consumed == 77);
	assert_true(a.decode == DECODE_NEED_MORE ? a.need > in.len : a.need == 78);
	assert_true((a.decode == DECODE_MALFORMED) == (a.reason != NULL));
	return a;
}

/* --- every vector, cut at every byte --- */

struct vector {
	struct view wire;
	const char *trace; /* each argument in parentheses, each command ended by ';' */
};

#define WIRE(literal)                                                                                                  \
	{                                                                                                              \
		(const uint8_t *)(literal), sizeof(literal) - 1                                                        \
	}
#define BAD_COUNT "MALFORMED invalid multibulk length"
#define BAD_BULK "MALFORMED invalid bulk length"
#define QUOTES "MALFORMED unbalanced quotes in request"

static const struct vector vectors[] = {
    {WIRE(""), ""},
    {WIRE("*1\r\n$4\r\nPING\r\n"), "(PING);"},
    {WIRE("*2\r\n$3\r\nGET\r\n$5\r\nk:abc\r\n"), "(GET)(k:abc);"},
    {WIRE("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n"), "(SET)(k)();"},
    {WIRE("*2\r\n$3\r\nGET\r\n$9\r\n\r\n$3\r\n\0x\xff\r\n"), "(GET)(\\x0d\\x0a$3\\x0d\\x0a\\x00x\\xff);"},
    {WIRE("*1\r\n$2\r\n\r\n\r\n"), "(\\x0d\\x0a);"},
    {WIRE("*1\r\n$12\r\nabcdefghijkl\r\n*1\r\n$1\r\nx\r\n"), "(abcdefghijkl);(x);"},
    {WIRE("PING\r\n*1\r\n$4\r\nPING\r\nPING\n"), "(PING);(PING);(PING);"},
    {WIRE("*0\r\n*1\r\n$1\r\nx\r\n"), ";(x);"},
    {WIRE("*-1\r\n*-123456789012345678\r\n*1\r\n$1\r\nx\r\n"), ";;(x);"},

    {WIRE("*"), "CUT"},
    {WIRE("*2\r\n$3\r\nGET\r\n"), "CUT"},
    {WIRE("*2\r\n$3\r\nGET\r\n$5\r\nk:abc\r"), "CUT"},
    {WIRE("*1\r\n$1\r\nx\r\n*1\r\n$100\r\n"), "(x);CUT"},
    {WIRE("*12345678901234567890"), "CUT"},
    {WIRE("GET k"), "CUT"},
    {WIRE("\r"), "CUT"},

    {WIRE("*\r\n"), BAD_COUNT},
    {WIRE("*x\r\n"), BAD_COUNT},
    {WIRE("*1x\r\n"), BAD_COUNT},
    {WIRE("* 1\r\n"), BAD_COUNT},
    {WIRE("*+1\r\n"), BAD_COUNT},
    {WIRE("*01\r\n$1\r\nx\r\n"), BAD_COUNT},
    {WIRE("*00\r\n"), BAD_COUNT},
    {WIRE("*-\r\n"), BAD_COUNT},
    {WIRE("*-0\r\n"), BAD_COUNT},
    {WIRE("*-1x\r\n"), BAD_COUNT},
    {WIRE("*--1\r\n"), BAD_COUNT},
    {WIRE("*-1234567890123456789\r\n"), BAD_COUNT},
    {WIRE("*1\rx"), BAD_COUNT},
    {WIRE("*-1\rx"), BAD_COUNT},
    {WIRE("*1\n$1\r\n"), BAD_COUNT},
    {WIRE("*65537\r\n"), BAD_COUNT},
    {WIRE("*2147483648\r\n"), BAD_COUNT},
    {WIRE("*1234567890123456789\r\n"), BAD_COUNT},
    {WIRE("*18446744073709551617\r\n$1\r\nx\r\n"), BAD_COUNT},
    {WIRE("PING\r\n*x\r\n"), "(PING);" BAD_COUNT},
    {WIRE("*1\r\n$\r\n"), BAD_BULK},
    {WIRE("*1\r\n$x\r\n"), BAD_BULK},
    {WIRE("*1\r\n$-1\r\n"), BAD_BULK},
    {WIRE("*1\r\n$01\r\nx\r\n"), BAD_BULK},
    {WIRE("*1\r\n$1 \r\nx\r\n"), BAD_BULK},
    {WIRE("*1\r\n$1\r\rx\r\n"), BAD_BULK},
    {WIRE("*2\r\n$1\r\nx\r\n$101\r\n"), BAD_BULK},
    {WIRE("*1\r\n$2147483648\r\n"), BAD_BULK},
    {WIRE("*1\r\n$1234567890123456789\r\n"), BAD_BULK},
    {WIRE("*1\r\n$18446744073709551617\r\nx\r\n"), BAD_BULK},
    {WIRE("*1\r\n$1\r\nxy\r\n"), BAD_BULK},
    {WIRE("*1\r\n$2\r\nx\r\n\r\n"), BAD_BULK},
    {WIRE("*1\r\n$1\r\nx\r\r\n"), BAD_BULK},
    {WIRE("*1\r\n$1\r\nxy\n"), BAD_BULK},
    {WIRE("*1\r\nGET\r\n"), "MALFORMED expected '$', got 'G'"},
    {WIRE("*1\r\n*1\r\n$1\r\nx\r\n"), "MALFORMED expected '$', got '*'"},
    {WIRE("*1\r\n\r\n"), "MALFORMED expected '$', got '.'"},
    {WIRE("*2\r\n$1\r\nx\r\n:1\r\n"), "MALFORMED expected '$', got ':'"},
    {WIRE("*1\r\n\"1\"\r\n"), "MALFORMED expected '$', got '\"'"},

    {WIRE("\n\r\n \r\n\t \v\f\n"), ";;;;"},
    {WIRE("GET k\n"), "(GET)(k);"},
    {WIRE("  GET \t k\rv  \r\n"), "(GET)(k)(v);"},
    {WIRE("GET k\r\r\n"), "(GET)(k);"},
    {WIRE("$3\r\n:1\r\n+OK\r\n"), "($3);(:1);(+OK);"},
    {WIRE("a\0b\r\n"), "(a\\x00b);"},
    {WIRE("a\vb \v\fc\r\n"), "(a\\x0bb)(c);"},
    {WIRE("SET k \"a b\"\r\n"), "(SET)(k)(a b);"},
    {WIRE("\"\" '' x\r\n"), "()()(x);"},
    {WIRE("\"\\n\\r\\t\\b\\a\\\\\\\"\\q'\"\r\n"), "(\\x0a\\x0d\\x09\\x08\\x07\\\\\"q');"},
    {WIRE("\"\\x00\\xfF\\x4a\\x4\\xg0\\X41\"\r\n"), "(\\x00\\xffJx4xg0X41);"},
    {WIRE("'a\\'b\\n\\x41\"'\r\n"), "(a'b\\\\n\\\\x41\");"},
    {WIRE("a\"b c\" d'e f'\v\"g\"\n"), "(ab c)(de f)(g);"},
    {WIRE("\"\r\n"), QUOTES},
    {WIRE("'\r\n"), QUOTES},
    {WIRE("SET k \"a b\r\n\"\r\n"), QUOTES},
    {WIRE("\"a\"b\r\n"), QUOTES},
    {WIRE("\"a\"\"b\"\r\n"), QUOTES},
    {WIRE("'a'b\r\n"), QUOTES},
    {WIRE("\"a\\\"\r\n"), QUOTES},
    {WIRE("\"a\\\r\n"), QUOTES},
    {WIRE("'a\\'\r\n"), QUOTES},
    {WIRE("'a\\\r\n"), QUOTES},
    {WIRE("'a\\\\' x\r\n"), QUOTES}, /* Redis knows no escaped backslash here */
    {WIRE("\"\\x4\r\n"), QUOTES},
    {WIRE("PING\r\n'a' \"b\"c\r\n"), "(PING);" QUOTES},
};

static void put_byte(struct buf *t, uint8_t c)
{
	char hex[5];

	if (c == '\\')
		buf_put_str(t, "\\\\");
	else if (c >= ' ' && c <= '~')
		buf_put_u8(t, c);
	else
		buf_put(t, view_of(hex, (size_t)snprintf(hex, sizeof hex, "\\x%02x", c)));
}

static void put_command(struct buf *t)
{
	for (size_t i = 0; i < out.count; i++) {
		buf_put_u8(t, '(');
		for (size_t k = 0; k < out.args[i].len; k++)
			put_byte(t, out.args[i].at[k]);
		buf_put_u8(t, ')');
	}
	buf_put_u8(t, ';');
}

/* As a connection does: the wire comes in pieces, and nothing is asked before there is what was needed. */
static void put_stream(struct buf *t, struct view wire, size_t first, size_t piece)
{
	size_t at = 0, have = 0, need = 1;

	for (size_t n = first; have < wire.len; n = piece) {
		have += n < wire.len - have ? n : wire.len - have;
		while (have - at >= need) {
			struct answer a = ask(guarded(view_of(wire.at + at, have - at)), &small);
			if (a.decode == DECODE_MALFORMED) {
				buf_put_str(t, "MALFORMED ");
				buf_put_str(t, a.reason);
				return;
			}
			need = a.decode == DECODE_OK ? 1 : a.need;
			if (a.decode == DECODE_OK) {
				put_command(t);
				at += a.consumed;
			}
		}
	}
	if (at < have)
		buf_put_str(t, "CUT");
}

static void expect_vector(const struct vector *v, size_t first, size_t piece)
{
	struct buf t = {0};

	put_stream(&t, v->wire, first, piece);
	buf_put_u8(&t, 0);
	const char *trace = (const char *)buf_view(&t).at;
	if (strcmp(trace, v->trace) != 0)
		fail_msg("%s, cut at %zu, pieces of %zu: %s, wanted %s", (const char *)v->wire.at, first, piece, trace,
			 v->trace);
	buf_fini(&t);
}

static void every_vector_cut_at_every_byte(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
		for (size_t cut = 0; cut <= vectors[i].wire.len; cut++)
			expect_vector(&vectors[i], cut, SIZE_MAX);
		for (size_t piece = 1; piece < 5; piece++)
			expect_vector(&vectors[i], piece, piece);
	}
	buf_fini(&space);
}

/* Who is told to wait for n bytes loses nothing; what was answered once stays so however much follows. */
static void more_bytes_change_no_answer(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
		struct answer before = {.decode = DECODE_NEED_MORE};
		for (size_t len = 0; len <= vectors[i].wire.len; len++) {
			struct answer a = ask(guarded(view_of(vectors[i].wire.at, len)), &small);
			if (before.decode != DECODE_NEED_MORE || len < before.need) {
				assert_int_equal(a.decode, before.decode);
				assert_int_equal(a.consumed, before.decode == DECODE_OK ? before.consumed : 77);
				assert_ptr_equal(a.reason, before.reason);
			} else {
				before = a;
			}
		}
	}
	buf_fini(&space);
}

/* --- what is not a '$' --- */

static void the_byte_that_was_got_is_named(void **state)
{
	(void)state;
	for (unsigned c = 0; c < 256; c++) {
		char wire[] = "*1\r\n?1\r\nx\r\n", reason[32];
		wire[4] = (char)c;
		struct answer a = ask(guarded(view_of(wire, sizeof wire - 1)), &small);
		snprintf(reason, sizeof reason, "expected '$', got '%c'", c < ' ' || c > '~' ? '.' : (char)c);
		assert_int_equal(a.decode, c == '$' ? DECODE_OK : DECODE_MALFORMED);
		if (c != '$')
			assert_string_equal(a.reason, reason);
	}
}

/* --- limits --- */

/* `before`, then `n` times `c`, then `behind`. Owned by the caller. */
static struct buf filled(const char *before, char c, size_t n, const char *behind)
{
	struct buf b = {0};

	buf_put_str(&b, before);
	uint8_t *to = buf_reserve(&b, n);
	assert_non_null(to);
	memset(to, c, n);
	buf_commit(&b, n);
	buf_put_str(&b, behind);
	assert_int_equal(buf_error(&b), 0);
	return b;
}

static void expect_filled(const char *before, char c, size_t n, const char *behind, const char *reason)
{
	struct buf b = filled(before, c, n, behind);
	struct answer a = ask(guarded(buf_view(&b)), &small);

	assert_int_equal(a.decode, reason ? DECODE_MALFORMED : DECODE_OK);
	if (reason)
		assert_string_equal(a.reason, reason);
	buf_fini(&b);
}

static void limits_are_exact(void **state)
{
	(void)state;
	expect_filled("*1\r\n$100\r\n", 'x', 100, "\r\n", NULL);
	expect_filled("*2\r\n$100\r\n", 'x', 100, "\r\n$50\r\n12345678901234567890123456789012345678901234567890\r\n",
		      NULL);
	/* The length is enough to be refused. */
	expect_filled("*1\r\n$101\r\n", 'x', 0, "", "invalid bulk length");
	expect_filled("*2\r\n$100\r\n", 'x', 100, "\r\n$51\r\n", "invalid bulk length");

	expect_filled("", 'x', 100, "\r\n", NULL);
	expect_filled("", 'x', 101, "\r\n", "too big inline request");
	expect_filled("", 'x', 100, " 12345678901234567890123456789012345678901234567890\n", NULL);
	expect_filled("", 'x', 100, " 12345678901234567890123456789012345678901234567890 1\n",
		      "too big inline request");
	expect_filled("'", 'x', 100, "'\r\n", NULL);
	expect_filled("\"", 'x', 101, "\"\r\n", "too big inline request");
	buf_fini(&space);
}

static void arguments_are_counted(void **state)
{
	enum { MOST = 1024 };
	static const struct resp_limits limits = {.bulk_bytes = 2, .command_bytes = 2 * MOST, .args = MOST};

	(void)state;
	for (size_t n = MOST - 1; n <= MOST + 1; n++) {
		struct buf array = {0}, line = {0};
		resp_put_array(&array, n);
		for (size_t i = 0; i < n; i++) {
			resp_put_bulk(&array, i % 2 ? VIEW("") : VIEW("ab"));
			buf_put_str(&line, i % 2 ? "'' " : " ab ");
		}
		buf_put_u8(&line, '\n');
		struct answer a = ask(guarded(buf_view(&array)), &limits);
		assert_int_equal(a.decode, n <= MOST ? DECODE_OK : DECODE_MALFORMED);
		if (n <= MOST)
			assert_int_equal(a.consumed, buf_len(&array));
		struct answer b = ask(guarded(buf_view(&line)), &limits);
		assert_int_equal(b.decode, n <= MOST ? DECODE_OK : DECODE_MALFORMED);
		if (n > MOST) {
			assert_string_equal(a.reason, "invalid multibulk length");
			assert_string_equal(b.reason, "too big inline request");
		} else {
			assert_int_equal(out.count, n);
			assert_int_equal(out.args[0].len, 2);
			assert_int_equal(out.args[n - 1].len, n % 2 ? 2 : 0);
		}
		buf_fini(&array);
		buf_fini(&line);
	}
	buf_fini(&space);
}

/* As much as a command may have, in pieces. What was read before is not looked at again: it is overwritten. Each piece
 * lies somewhere else, and the one before it is gone. */
static void an_array_goes_on_where_it_had_ended(void **state)
{
	struct buf wire = {0};
	struct answer a = {.decode = DECODE_NEED_MORE};
	struct view in = view_of(NULL, 0);

	(void)state;
	resp_command_forget(&out);
	resp_put_array(&wire, RESP_ARGS_MAX);
	for (size_t i = 0; i < RESP_ARGS_MAX; i++)
		resp_put_bulk(&wire, view_of("0123456789", i % 11));
	for (size_t have = 0; have < buf_len(&wire); free((void *)(uintptr_t)in.at)) {
		have += 50000 < buf_len(&wire) - have ? 50000 : buf_len(&wire) - have;
		uint8_t *at = malloc(have);
		assert_non_null(at);
		memcpy(at, wire.data, have);
		memset(at, '!', out.read);
		in = view_of(at, have);
		a.decode = resp_command_decode(in, &wide, &space, &out, &a.consumed, &a.need, &a.reason);
		assert_int_equal(a.decode, have < buf_len(&wire) ? DECODE_NEED_MORE : DECODE_OK);
	}
	assert_int_equal(a.consumed, buf_len(&wire));
	/* Nor when it is whole. */
	a.decode = resp_command_decode(buf_view(&wire), &wide, &space, &out, &a.consumed, &a.need, &a.reason);
	assert_int_equal(a.decode, DECODE_OK);
	assert_int_equal(a.consumed, buf_len(&wire));
	assert_int_equal(out.count, RESP_ARGS_MAX);
	for (size_t i = 0; i < RESP_ARGS_MAX; i++)
		assert_true(view_eq(out.args[i], view_of("0123456789", i % 11)));
	resp_command_forget(&out);
	assert_null(out.many.data);
	buf_fini(&wire);
}

/* Cut at any byte of any argument: also where the memory of the arguments has just grown, and so moved. */
static void an_array_goes_on_wherever_it_was_cut(void **state)
{
	enum { MANY = 300 };
	struct buf wire = {0};
	size_t consumed, need;
	const char *reason;

	(void)state;
	resp_put_array(&wire, MANY);
	for (size_t i = 0; i < MANY; i++)
		resp_put_bulk(&wire, view_of("0123456789", i % 11));
	for (size_t cut = 1; cut < buf_len(&wire); cut++) {
		resp_command_forget(&out);
		struct view first = guarded(view_of(wire.data, cut));
		assert_int_equal(resp_command_decode(first, &wide, &space, &out, &consumed, &need, &reason),
				 DECODE_NEED_MORE);
		struct view all = guarded(buf_view(&wire));
		assert_int_equal(resp_command_decode(all, &wide, &space, &out, &consumed, &need, &reason), DECODE_OK);
		assert_int_equal(out.count, MANY);
		for (size_t i = 0; i < MANY; i++)
			assert_true(view_eq(out.args[i], view_of("0123456789", i % 11)));
	}
	resp_command_forget(&out);
	buf_fini(&wire);
}

/* What is only announced takes none. */
static void arguments_have_memory_as_they_come(void **state)
{
	static const char few[] = "*65536\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n$1\r\n4\r\n$1\r\n5\r\n$1\r\n6\r\n";
	struct view nine = VIEW("*9\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n$1\r\n4\r\n$1\r\n5\r\n$1\r\n6\r\n"
				"$1\r\n7\r\n$1\r\n8\r\n$1\r\n9\r\n");

	(void)state;
	assert_int_equal(ask(guarded(view_str(few)), &wide).decode, DECODE_NEED_MORE);
	assert_null(out.many.data);
	assert_int_equal(ask(guarded(nine), &wide).decode, DECODE_OK);
	assert_true(out.many.cap <= 4096);
	fail_alloc_at(1);
	resp_command_forget(&out);
	struct answer a = ask(guarded(nine), &wide);
	assert_int_equal(a.decode, DECODE_MALFORMED);
	assert_string_equal(a.reason, error_text(ERR_NO_MEMORY));
	fail_alloc_at(1);
	a = ask(guarded(VIEW("1 2 3 4 5 6 7 8 9\r\n")), &wide);
	assert_int_equal(a.decode, DECODE_MALFORMED);
	assert_string_equal(a.reason, error_text(ERR_NO_MEMORY));
	fail_alloc_at(0);
	resp_command_forget(&out);
}

/* Within the bound the line may still end well; one byte more, and it cannot. */
static void lines_without_an_end(void **state)
{
	static const struct {
		const char *before, *end, *reason;
	} cases[] = {
	    {"", "\n", "too big inline request"},
	    {"'", "'\n", "too big inline request"},
	    {"*", "\r\n", "too big mbulk count string"},
	    {"*1\r\n$", "\r\n", "too big bulk count string"},
	    {"*1\r\nx", "\r\n", "too big bulk count string"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		size_t line = strlen(cases[i].before) > 3 ? 1 : strlen(cases[i].before);
		struct buf b = filled(cases[i].before, '1', RESP_INLINE_MAX - line, "");
		struct answer a = ask(guarded(buf_view(&b)), &wide);
		assert_int_equal(a.decode, DECODE_NEED_MORE);
		assert_int_equal(a.need, buf_len(&b) + 1);
		buf_put_u8(&b, '1');
		a = ask(guarded(buf_view(&b)), &wide);
		assert_int_equal(a.decode, DECODE_MALFORMED);
		assert_string_equal(a.reason, cases[i].reason);
		/* What comes behind the bound is not looked for. */
		buf_put_str(&b, cases[i].end);
		assert_string_equal(ask(guarded(buf_view(&b)), &wide).reason, cases[i].reason);
		buf_fini(&b);
	}
	struct buf b = filled("", 'x', RESP_INLINE_MAX, "\n");
	assert_int_equal(ask(guarded(buf_view(&b)), &wide).decode, DECODE_OK);
	assert_int_equal(out.args[0].len, RESP_INLINE_MAX);
	buf_fini(&b);
	buf_fini(&space);
}

/* --- what large values cost --- */

static void announced_bytes_cost_nothing(void **state)
{
	struct view wire = VIEW("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2147483648\r\n");

	(void)state;
	struct answer a = ask(view_of(NULL, 0), &wide);
	assert_int_equal(a.decode, DECODE_NEED_MORE);
	assert_int_equal(a.need, 1);
	a = ask(guarded(wire), &wide);
	assert_int_equal(a.decode, DECODE_NEED_MORE);
	assert_int_equal(a.need, wire.len + 2147483648 + 2);
	assert_int_equal(space.cap, 0);
}

/* A value that comes in a thousand pieces is not read a thousand times. */
static void need_saves_asking_again(void **state)
{
	struct buf b =
	    filled("*5\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000000\r\n", 'x', 1000000, "\r\n$2\r\nEX\r\n$2\r\n10\r\n");
	size_t asked = 0, need = 1;
	struct answer a = {.decode = DECODE_NEED_MORE};

	(void)state;
	for (size_t have = 0; have < buf_len(&b);) {
		have += 1000 < buf_len(&b) - have ? 1000 : buf_len(&b) - have;
		if (have < need)
			continue;
		a = ask(view_of(b.data, have), &wide);
		need = a.need;
		asked++;
	}
	assert_int_equal(a.decode, DECODE_OK);
	assert_int_equal(a.consumed, buf_len(&b));
	assert_int_equal(out.count, 5);
	assert_int_equal(out.args[2].len, 1000000);
	assert_int_equal(asked, 2);
	buf_fini(&b);
}

/* The bytes of a value lie on pages that nobody may read. */
static void values_are_not_looked_at(void **state)
{
	static const char before[] = "*2\r\n$3\r\nSET\r\n$65536\r\n", behind[] = "\r\n";
	size_t page = 65536; /* a multiple of any page size in use */
	uint8_t *at = mmap(NULL, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	assert_true(at != MAP_FAILED);
	memcpy(at + page - (sizeof before - 1), before, sizeof before - 1);
	memcpy(at + 2 * page, behind, sizeof behind - 1);
	assert_int_equal(mprotect(at + page, page, PROT_NONE), 0);
	struct view wire = view_of(at + page - (sizeof before - 1), sizeof before - 1 + page + sizeof behind - 1);
	struct answer a = ask(wire, &wide);
	assert_int_equal(a.decode, DECODE_OK);
	assert_int_equal(a.consumed, wire.len);
	assert_ptr_equal(out.args[1].at, at + page);
	assert_int_equal(out.args[1].len, page);
	munmap(at, 3 * page);
}

static void arguments_are_borrowed_from_the_input(void **state)
{
	struct view wire = guarded(VIEW("GET abc\r\n"));

	(void)state;
	assert_int_equal(ask(wire, &small).decode, DECODE_OK);
	assert_ptr_equal(out.args[1].at, wire.at + 4);
	assert_int_equal(space.cap, 0);
}

/* Words that were unquoted for one command stay where they are until the next one. */
static void quotes_without_memory(void **state)
{
	struct view wire = VIEW("SET \"a b\" x 'c d' \"e\"\r\n");
	struct answer a;

	(void)state;
	fail_alloc_at(1);
	a = ask(guarded(wire), &small);
	assert_int_equal(a.decode, DECODE_MALFORMED);
	assert_string_equal(a.reason, error_text(ERR_NO_MEMORY));
	fail_alloc_at(2);
	assert_int_equal(ask(guarded(wire), &small).decode, DECODE_OK);
	fail_alloc_at(0);
	assert_int_equal(out.count, 5);
	assert_true(view_eq(out.args[1], VIEW("a b")));
	assert_true(view_eq(out.args[3], VIEW("c d")));
	assert_true(view_eq(out.args[4], VIEW("e")));
	buf_fini(&space);
	buf_init(&space, 4);
	a = ask(guarded(wire), &small);
	assert_int_equal(a.decode, DECODE_MALFORMED);
	assert_string_equal(a.reason, error_text(ERR_TOO_LARGE));
	buf_fini(&space);
	buf_init(&space, 0);
}

/* What the first quoted word asks for is enough for all of a line, also for what stands before its quote. */
static void quoted_words_have_room(void **state)
{
	struct buf line = filled("", 'a', 1500, "\""), end = filled("", 'b', 1000, "\" 'c'\r\n");

	(void)state;
	buf_put(&line, buf_view(&end));
	assert_int_equal(ask(guarded(buf_view(&line)), &wide).decode, DECODE_OK);
	assert_int_equal(out.count, 2);
	assert_int_equal(out.args[0].len, 2500);
	assert_int_equal(out.args[0].at[1499], 'a');
	assert_int_equal(out.args[0].at[1500], 'b');
	assert_true(view_eq(out.args[1], VIEW("c")));
	buf_fini(&line);
	buf_fini(&end);
	buf_fini(&space);
}

/* --- many commands, and any bytes --- */

static uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

/* Bytes that look like the protocol. */
static size_t random_bytes(uint32_t *seed, uint8_t *to, size_t max)
{
	static const char pieces[] = "\r\n$*0123 \"'\\x";
	size_t len = next_random(seed) % (max + 1);

	for (size_t i = 0; i < len; i++)
		to[i] = (uint8_t)(next_random(seed) % 4 ? pieces[next_random(seed) % (sizeof pieces - 1)]
							: (char)next_random(seed));
	return len;
}

/* A command of random arguments: as an array, or as a line with each argument in quotes. */
static void put_random_command(struct buf *b, uint32_t *seed)
{
	bool line = next_random(seed) % 2;
	size_t count = 1 + next_random(seed) % 5;

	if (!line)
		resp_put_array(b, count);
	for (size_t i = 0; i < count; i++) {
		uint8_t arg[60];
		size_t len = random_bytes(seed, arg, sizeof arg);
		if (!line) {
			resp_put_bulk(b, view_of(arg, len));
			continue;
		}
		buf_put_str(b, "\"");
		for (size_t k = 0; k < len; k++) {
			char hex[5];
			snprintf(hex, sizeof hex, "\\x%02x", arg[k]);
			buf_put_str(b, hex);
		}
		buf_put_str(b, "\" ");
	}
	if (line)
		buf_put_str(b, "\r\n");
}

static void expect_random_command(uint32_t *seed)
{
	(void)next_random(seed);
	assert_int_equal(out.count, 1 + next_random(seed) % 5);
	for (size_t i = 0; i < out.count; i++) {
		uint8_t arg[60];
		size_t len = random_bytes(seed, arg, sizeof arg);
		assert_true(view_eq(out.args[i], view_of(arg, len)));
	}
}

/* Thousands of commands in one input, read at once and in reads of a connection: each is what was encoded. */
static void pipelines_of_thousands(void **state)
{
	enum { COMMANDS = 5000 };
	static const size_t reads[] = {1, 7, 1000, 16384, SIZE_MAX};
	struct buf b = {0};
	uint32_t seed = 7;

	(void)state;
	for (unsigned i = 0; i < COMMANDS; i++)
		put_random_command(&b, &seed);
	assert_int_equal(buf_error(&b), 0);
	/* Of its own size: reading on is a fault. */
	uint8_t *wire = malloc(buf_len(&b));
	assert_non_null(wire);
	memcpy(wire, b.data, buf_len(&b));
	for (size_t i = 0; i < sizeof reads / sizeof reads[0]; i++) {
		size_t at = 0, have = 0, need = 1, count = 0;
		seed = 7;
		while (have < buf_len(&b)) {
			have += reads[i] < buf_len(&b) - have ? reads[i] : buf_len(&b) - have;
			while (have - at >= need) {
				struct answer a = ask(view_of(wire + at, have - at), &wide);
				assert_true(a.decode != DECODE_MALFORMED);
				need = a.decode == DECODE_OK ? 1 : a.need;
				if (a.decode != DECODE_OK)
					break;
				expect_random_command(&seed);
				at += a.consumed;
				count++;
			}
		}
		assert_int_equal(at, have);
		assert_int_equal(count, COMMANDS);
	}
	free(wire);
	buf_fini(&b);
	buf_fini(&space);
}

/* --- replies --- */

static void put_reply(struct buf *b, unsigned n)
{
	switch (n) {
	case 0:
		resp_put_simple(b, "OK");
		break;
	case 1:
		resp_put_error(b, "ERR syntax error");
		break;
	case 2:
		resp_put_error_of(b, "ERR unknown command '", VIEW("a\r\n\0\x7f\xff b"), "'");
		break;
	case 3:
		resp_put_integer(b, 0);
		break;
	case 4:
		resp_put_integer(b, -2);
		break;
	case 5:
		resp_put_integer(b, INT64_MAX);
		break;
	case 6:
		resp_put_integer(b, INT64_MIN);
		break;
	case 7:
		resp_put_bulk(b, VIEW("a\r\nb"));
		break;
	case 8:
		resp_put_bulk(b, view_of(NULL, 0));
		break;
	case 9:
		resp_put_null(b, RESP_2);
		break;
	case 10:
		resp_put_null(b, RESP_3);
		break;
	case 11:
		resp_put_null_array(b, RESP_2);
		break;
	case 12:
		resp_put_null_array(b, RESP_3);
		break;
	case 13:
		resp_put_array(b, 0);
		break;
	case 14:
		resp_put_array(b, 1024);
		break;
	case 15:
		resp_put_map(b, RESP_2, 7);
		break;
	default:
		resp_put_map(b, RESP_3, 7);
		break;
	}
}

static const char *const replies[] = {
    "+OK\r\n",
    "-ERR syntax error\r\n",
    "-ERR unknown command 'a..... b'\r\n",
    ":0\r\n",
    ":-2\r\n",
    ":9223372036854775807\r\n",
    ":-9223372036854775808\r\n",
    "$4\r\na\r\nb\r\n",
    "$0\r\n\r\n",
    "$-1\r\n",
    "_\r\n",
    "*-1\r\n",
    "_\r\n",
    "*0\r\n",
    "*1024\r\n",
    "*14\r\n",
    "%7\r\n",
};

enum { REPLIES = sizeof replies / sizeof replies[0] };

static void replies_are_the_specifications(void **state)
{
	(void)state;
	for (unsigned i = 0; i < REPLIES; i++) {
		struct buf b = {0};
		put_reply(&b, i);
		assert_int_equal(buf_error(&b), 0);
		assert_int_equal(buf_len(&b), strlen(replies[i]));
		assert_memory_equal(buf_view(&b).at, replies[i], strlen(replies[i]));
		buf_fini(&b);
	}
}

/* A buffer that ends anywhere holds whole replies only, those before the one that did not fit. */
static void replies_are_whole_or_not_there(void **state)
{
	(void)state;
	for (size_t max = 1; max < 300; max++) {
		struct buf b;
		size_t whole = 0;
		buf_init(&b, max);
		for (unsigned i = 0; i < REPLIES && buf_error(&b) == 0; i++) {
			put_reply(&b, i);
			if (buf_error(&b) == 0)
				whole += strlen(replies[i]);
			assert_int_equal(buf_len(&b), whole);
			assert_int_equal(buf_error(&b),
					 whole + (buf_error(&b) ? strlen(replies[i]) : 0) > max ? ERR_TOO_LARGE : 0);
		}
		buf_fini(&b);
	}
}

static void replies_without_memory(void **state)
{
	(void)state;
	for (unsigned i = 0; i < REPLIES; i++) {
		struct buf b = {0};
		fail_alloc_at(1);
		put_reply(&b, i);
		assert_int_equal(buf_error(&b), ERR_NO_MEMORY);
		assert_int_equal(buf_len(&b), 0);
		fail_alloc_at(0);
		buf_fini(&b);
	}
	/* The N-th of a long answer: what is there ends at a reply's end. */
	for (unsigned n = 1; n < 5; n++) {
		struct buf b = {0};
		fail_alloc_at(n);
		for (unsigned i = 0; i < 1000 && buf_error(&b) == 0; i++)
			resp_put_bulk(&b, VIEW("0123456789"));
		assert_int_equal(buf_error(&b), ERR_NO_MEMORY);
		assert_int_equal(buf_len(&b) % strlen("$10\r\n0123456789\r\n"), 0);
		fail_alloc_at(0);
		buf_fini(&b);
	}
}

static void what_an_error_names_is_cut(void **state)
{
	struct buf what = filled("", 'x', 1000, ""), b = {0}, wanted = filled("-ERR '", 'x', 128, "'\r\n");

	(void)state;
	resp_put_error_of(&b, "ERR '", buf_view(&what), "'");
	assert_true(view_eq(buf_view(&b), buf_view(&wanted)));
	buf_clear(&b);
	resp_put_error_of(&b, "ERR '", view_of(what.data, 128), "'");
	assert_true(view_eq(buf_view(&b), buf_view(&wanted)));
	buf_clear(&b);
	resp_put_error_of(&b, "ERR '", view_of(NULL, 0), "'");
	assert_true(view_eq(buf_view(&b), VIEW("-ERR ''\r\n")));
	buf_fini(&what);
	buf_fini(&b);
	buf_fini(&wanted);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_vector_cut_at_every_byte),
	    cmocka_unit_test(more_bytes_change_no_answer),
	    cmocka_unit_test(the_byte_that_was_got_is_named),
	    cmocka_unit_test(limits_are_exact),
	    cmocka_unit_test(arguments_are_counted),
	    cmocka_unit_test(an_array_goes_on_where_it_had_ended),
	    cmocka_unit_test(an_array_goes_on_wherever_it_was_cut),
	    cmocka_unit_test(arguments_have_memory_as_they_come),
	    cmocka_unit_test(lines_without_an_end),
	    cmocka_unit_test(announced_bytes_cost_nothing),
	    cmocka_unit_test(need_saves_asking_again),
	    cmocka_unit_test(values_are_not_looked_at),
	    cmocka_unit_test(arguments_are_borrowed_from_the_input),
	    cmocka_unit_test(quotes_without_memory),
	    cmocka_unit_test(quoted_words_have_room),
	    cmocka_unit_test(pipelines_of_thousands),
	    cmocka_unit_test(replies_are_the_specifications),
	    cmocka_unit_test(replies_are_whole_or_not_there),
	    cmocka_unit_test(replies_without_memory),
	    cmocka_unit_test(what_an_error_names_is_cut),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
