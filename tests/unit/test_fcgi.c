/* The FastCGI record layer: what every record says, wherever it is cut, and what is refused. */
#include "proto/fcgi.h"

#include "base/error.h"
#include "tests/fcgi_trace.h"
#include "tests/unit/fail_alloc.h"
#include "tests/unit/guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define BYTES(...)                                                                                                     \
	{                                                                                                              \
		(const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})                                 \
	}
#define HEADER(type, id, content, padding) 1, type, (id) >> 8, (id)&255, (content) >> 8, (content)&255, padding, 0

struct vector {
	const char *name;
	enum fcgi_side side;
	struct view wire;
	const char *trace;
};

static const struct vector vectors[] = {
    {"nothing", FCGI_SERVER, {NULL, 0}, ""},
    {"begin", FCGI_SERVER, BYTES(HEADER(1, 1, 8, 0), 0, 1, 1, 0, 0, 0, 0, 0), "BEGIN id=1 role=1 flags=1\n"},
    {"begin: id and role use both bytes, reserved bytes mean nothing", FCGI_SERVER,
     BYTES(1, 1, 0x12, 0x34, 0, 8, 0, 0xff, 0xab, 0xcd, 0xfe, 9, 9, 9, 9, 9), "BEGIN id=4660 role=43981 flags=254\n"},
    {"begin with padding, then another", FCGI_SERVER,
     BYTES(HEADER(1, 1, 8, 3), 0, 3, 0, 0, 0, 0, 0, 0, 1, 1, 1, HEADER(1, 2, 8, 0), 0, 2, 1, 0, 0, 0, 0, 0),
     "BEGIN id=1 role=3 flags=0\nBEGIN id=2 role=2 flags=1\n"},
    {"abort", FCGI_SERVER, BYTES(HEADER(2, 65535, 0, 0)), "ABORT type=2 id=65535\n"},
    {"abort with padding", FCGI_SERVER, BYTES(HEADER(2, 7, 0, 2), 'x', 'x', HEADER(2, 8, 0, 0)),
     "ABORT type=2 id=7\nABORT type=2 id=8\n"},
    {"end", FCGI_CLIENT, BYTES(HEADER(3, 1, 8, 0), 0x01, 0x02, 0x03, 0x04, 2, 0, 0, 0),
     "END id=1 app=16909060 status=2\n"},
    {"end: the largest application status", FCGI_CLIENT,
     BYTES(HEADER(3, 1, 8, 0), 0xff, 0xff, 0xff, 0xff, 255, 1, 2, 3), "END id=1 app=4294967295 status=255\n"},
    {"params and their end", FCGI_SERVER, BYTES(HEADER(4, 1, 3, 5), 'a', 'b', 'c', 1, 2, 3, 4, 5, HEADER(4, 1, 0, 0)),
     "DATA type=4 id=1 abc\nSTREAM_END type=4 id=1\n"},
    {"stdin in two records", FCGI_SERVER,
     BYTES(HEADER(5, 1, 3, 0), 'a', 'b', 'c', HEADER(5, 1, 2, 1), 'd', 'e', 'X', HEADER(5, 1, 0, 0)),
     "DATA type=5 id=1 abcde\nSTREAM_END type=5 id=1\n"},
    {"stream end with padding", FCGI_SERVER, BYTES(HEADER(5, 1, 0, 4), 1, 2, 3, 4), "STREAM_END type=5 id=1\n"},
    {"data of a filter", FCGI_SERVER, BYTES(HEADER(8, 3, 1, 0), 0, HEADER(8, 3, 0, 0)),
     "DATA type=8 id=3 \\x00\nSTREAM_END type=8 id=3\n"},
    {"stdout and stderr of two requests", FCGI_CLIENT,
     BYTES(HEADER(6, 1, 1, 0), 'o', HEADER(6, 2, 1, 0), 'p', HEADER(7, 1, 1, 7), 'e', 1, 1, 1, 1, 1, 1, 1,
	   HEADER(6, 1, 0, 0), HEADER(7, 1, 0, 0)),
     "DATA type=6 id=1 o\nDATA type=6 id=2 p\nDATA type=7 id=1 e\nSTREAM_END type=6 id=1\nSTREAM_END type=7 id=1\n"},
    {"get values", FCGI_SERVER, BYTES(HEADER(9, 0, 3, 1), 1, 0, 'A', 0, HEADER(9, 0, 0, 0)),
     "DATA type=9 id=0 \\x01\\x00A\nVALUES_END type=9 id=0\nVALUES_END type=9 id=0\n"},
    {"get values result", FCGI_CLIENT, BYTES(HEADER(10, 0, 4, 0), 1, 1, 'A', 'B'),
     "DATA type=10 id=0 \\x01\\x01AB\nVALUES_END type=10 id=0\n"},
    {"unknown type", FCGI_CLIENT, BYTES(HEADER(11, 0, 8, 0), 42, 0, 0, 0, 0, 0, 0, 0),
     "UNKNOWN_TYPE id=0 unknown=42\n"},
    {"foreign records, with an id and without", FCGI_SERVER,
     BYTES(HEADER(12, 0, 2, 1), 'x', 'y', 'z', HEADER(255, 9, 0, 0), HEADER(0, 1, 1, 0), 'x', HEADER(2, 1, 0, 0)),
     "FOREIGN type=12 id=0\nFOREIGN type=255 id=9\nFOREIGN type=0 id=1\nABORT type=2 id=1\n"},
    {"foreign on the client's side", FCGI_CLIENT, BYTES(HEADER(77, 0, 0, 1), 0), "FOREIGN type=77 id=0\n"},

    {"cut in a header", FCGI_SERVER, BYTES(1, 2, 0, 1, 0), "CUT\n"},
    {"cut in a body", FCGI_SERVER, BYTES(HEADER(1, 1, 8, 0), 0, 1, 1), "CUT\n"},
    {"cut in a stream", FCGI_SERVER, BYTES(HEADER(5, 1, 9, 0), 'a'), "DATA type=5 id=1 a\nCUT\n"},
    {"cut in padding", FCGI_SERVER, BYTES(HEADER(5, 1, 1, 9), 'a', 0, 0), "DATA type=5 id=1 a\nCUT\n"},
    {"cut in values", FCGI_SERVER, BYTES(HEADER(9, 0, 9, 9), 'a'), "DATA type=9 id=0 a\nCUT\n"},
    {"cut in a foreign record", FCGI_SERVER, BYTES(HEADER(99, 0, 9, 9), 'a'), "FOREIGN type=99 id=0\nCUT\n"},

    {"version 0", FCGI_SERVER, BYTES(0, 1, 0, 1, 0, 8, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0),
     "MALFORMED unknown FastCGI version\n"},
    {"version 2, after a good record", FCGI_SERVER, BYTES(HEADER(2, 1, 0, 0), 2, 2, 0, 1, 0, 0, 0, 0),
     "ABORT type=2 id=1\nMALFORMED unknown FastCGI version\n"},
    {"HTTP", FCGI_SERVER, BYTES('G', 'E', 'T', ' ', '/', ' ', 'H', 'T', 'T', 'P'),
     "MALFORMED unknown FastCGI version\n"},
#define OTHER_SIDE "MALFORMED record type belongs to the other side\n"
    {"end to a server", FCGI_SERVER, BYTES(HEADER(3, 1, 8, 0)), OTHER_SIDE},
    {"stdout to a server", FCGI_SERVER, BYTES(HEADER(6, 1, 0, 0)), OTHER_SIDE},
    {"stderr to a server", FCGI_SERVER, BYTES(HEADER(7, 1, 0, 0)), OTHER_SIDE},
    {"values result to a server", FCGI_SERVER, BYTES(HEADER(10, 0, 0, 0)), OTHER_SIDE},
    {"unknown type to a server", FCGI_SERVER, BYTES(HEADER(11, 0, 8, 0)), OTHER_SIDE},
    {"begin to a client", FCGI_CLIENT, BYTES(HEADER(1, 1, 8, 0)), OTHER_SIDE},
    {"abort to a client", FCGI_CLIENT, BYTES(HEADER(2, 1, 0, 0)), OTHER_SIDE},
    {"params to a client", FCGI_CLIENT, BYTES(HEADER(4, 1, 0, 0)), OTHER_SIDE},
    {"stdin to a client", FCGI_CLIENT, BYTES(HEADER(5, 1, 0, 0)), OTHER_SIDE},
    {"data to a client", FCGI_CLIENT, BYTES(HEADER(8, 1, 0, 0)), OTHER_SIDE},
    {"get values to a client", FCGI_CLIENT, BYTES(HEADER(9, 0, 0, 0)), OTHER_SIDE},
#define FIXED "MALFORMED wrong content length of a fixed record\n"
    {"begin of 7 bytes", FCGI_SERVER, BYTES(HEADER(1, 1, 7, 1), 0, 1, 0, 0, 0, 0, 0, 0), FIXED},
    {"begin of 9 bytes", FCGI_SERVER, BYTES(HEADER(1, 1, 9, 0), 0, 1, 0, 0, 0, 0, 0, 0, 0), FIXED},
    {"begin of 264 bytes", FCGI_SERVER, BYTES(HEADER(1, 1, 264, 0), 0, 1, 0, 0, 0, 0, 0, 0), FIXED},
    {"begin of no bytes", FCGI_SERVER, BYTES(HEADER(1, 1, 0, 0)), FIXED},
    {"abort with content", FCGI_SERVER, BYTES(HEADER(2, 1, 8, 0), 0, 0, 0, 0, 0, 0, 0, 0), FIXED},
    {"end of no bytes", FCGI_CLIENT, BYTES(HEADER(3, 1, 0, 0)), FIXED},
    {"end of 16 bytes", FCGI_CLIENT, BYTES(HEADER(3, 1, 16, 0)), FIXED},
    {"unknown type of 1 byte", FCGI_CLIENT, BYTES(HEADER(11, 0, 1, 0), 4), FIXED},
#define NO_ID "MALFORMED application record with request id 0\n"
    {"begin without an id", FCGI_SERVER, BYTES(HEADER(1, 0, 8, 0), 0, 1, 0, 0, 0, 0, 0, 0), NO_ID},
    {"abort without an id", FCGI_SERVER, BYTES(HEADER(2, 0, 0, 0)), NO_ID},
    {"params without an id", FCGI_SERVER, BYTES(HEADER(4, 0, 1, 0), 'a'), NO_ID},
    {"stdin without an id", FCGI_SERVER, BYTES(HEADER(5, 0, 0, 0)), NO_ID},
    {"data without an id", FCGI_SERVER, BYTES(HEADER(8, 0, 0, 0)), NO_ID},
    {"end without an id", FCGI_CLIENT, BYTES(HEADER(3, 0, 8, 0), 0, 0, 0, 0, 0, 0, 0, 0), NO_ID},
    {"stdout without an id", FCGI_CLIENT, BYTES(HEADER(6, 0, 1, 0), 'a'), NO_ID},
    {"stderr without an id", FCGI_CLIENT, BYTES(HEADER(7, 0, 1, 0), 'a'), NO_ID},
#define HAS_ID "MALFORMED management record with a request id\n"
    {"get values with an id", FCGI_SERVER, BYTES(HEADER(9, 1, 0, 0)), HAS_ID},
    {"values result with an id", FCGI_CLIENT, BYTES(HEADER(10, 256, 0, 0)), HAS_ID},
    {"unknown type with an id", FCGI_CLIENT, BYTES(HEADER(11, 1, 8, 0), 1, 0, 0, 0, 0, 0, 0, 0), HAS_ID},
};

/* One input in pieces: of `piece` bytes from the start, or cut once at `cut` (SIZE_MAX: not at all). */
static void expect_trace(const struct vector *v, size_t cut, size_t piece)
{
	struct view rest = v->wire;
	struct trace t;

	trace_init(&t, v->side);
	if (cut != SIZE_MAX)
		trace_feed(&t, guarded(view_take(&rest, cut)));
	while (rest.len > 0)
		trace_feed(&t, guarded(view_take(&rest, piece)));
	struct view said = trace_end(&t);
	if (!view_eq(said, view_str(v->trace)))
		fail_msg("%s, cut at %zu, pieces of %zu: said\n%.*swanted\n%s", v->name, cut, piece, (int)said.len,
			 (const char *)said.at, v->trace);
	trace_fini(&t);
}

static void every_vector_cut_at_every_byte(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
		const struct vector *v = &vectors[i];
		expect_trace(v, SIZE_MAX, SIZE_MAX);
		for (size_t cut = 0; cut <= v->wire.len; cut++)
			expect_trace(v, cut, SIZE_MAX);
		for (size_t piece = 1; piece < 10; piece++)
			expect_trace(v, SIZE_MAX, piece);
	}
}

/* All vectors that end cleanly, one behind the other on one connection. */
static void records_follow_each_other(void **state)
{
	struct buf wire = {0}, wanted = {0};

	(void)state;
	for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
		const struct vector *v = &vectors[i];
		if (v->side != FCGI_SERVER || strstr(v->trace, "CUT") || strstr(v->trace, "MALFORMED"))
			continue;
		buf_put(&wire, v->wire);
		buf_put_str(&wanted, v->trace);
	}
	buf_put_u8(&wanted, 0);
	struct vector all = {"all", FCGI_SERVER, buf_view(&wire), (const char *)wanted.data};
	for (size_t cut = 0; cut <= all.wire.len; cut++)
		expect_trace(&all, cut, SIZE_MAX);
	expect_trace(&all, SIZE_MAX, 1);
	buf_fini(&wire);
	buf_fini(&wanted);
}

/* The sum of both lengths, 65,790, does not fit 16 bits (HAProxy CVE-2026-55203): the record behind must be seen, and a
 * record inside of the content must not. */
static void largest_content_with_largest_padding(void **state)
{
	static uint8_t wire[8 + 65535 + 255 + 8];
	const uint8_t first[] = {HEADER(5, 1, 65535, 255)}, decoy[] = {HEADER(2, 66, 0, 0)};
	const uint8_t last[] = {HEADER(2, 9, 0, 0)};
	struct vector v = {"largest", FCGI_SERVER, {wire, sizeof wire}, NULL};
	const size_t cuts[] = {0, 7, 8, 9, 254, 255, 65542, 65543, 65544, 65797, 65798, 65799, 65805, 65806};

	(void)state;
	memcpy(wire, first, sizeof first);
	for (size_t at = 8; at + 8 <= 65798; at += 8)
		memcpy(wire + at, decoy, sizeof decoy);
	memcpy(wire + 65798, last, sizeof last);
	for (int round = 0; round < 2; round++) {
		wire[1] = round == 0 ? FCGI_STDIN : 200;
		v.trace = round == 0 ? "DATA type=5 id=1 len=65535 sum=c43ff23ad54f6bc7\nABORT type=2 id=9\n"
				     : "FOREIGN type=200 id=1\nABORT type=2 id=9\n";
		for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++)
			expect_trace(&v, cuts[i], SIZE_MAX);
		expect_trace(&v, SIZE_MAX, 1);
		expect_trace(&v, SIZE_MAX, 4093);
	}
}

static void malformed_stays_malformed(void **state)
{
	const uint8_t wrong[] = {9, 1, 0, 1, 0, 8, 0, 0}, good[] = {HEADER(2, 1, 0, 0)};
	struct view in = view_of(wrong, sizeof wrong);
	struct fcgi_decoder d;
	struct fcgi_event ev;

	(void)state;
	fcgi_decoder_init(&d, FCGI_SERVER);
	assert_int_equal(fcgi_next(&d, &in, &ev), DECODE_MALFORMED);
	assert_string_equal(d.reason, "unknown FastCGI version");
	in = view_of(good, sizeof good);
	assert_int_equal(fcgi_next(&d, &in, &ev), DECODE_MALFORMED);
	in = view_of(NULL, 0);
	assert_int_equal(fcgi_next(&d, &in, &ev), DECODE_MALFORMED);
	assert_false(fcgi_decoder_idle(&d));
	assert_string_equal(d.reason, "unknown FastCGI version");
}

/* Stream content is handed out where it lies, not copied. */
static void pieces_point_into_the_input(void **state)
{
	const uint8_t wire[] = {HEADER(5, 1, 4, 4), 'a', 'b', 'c', 'd', 0, 0, 0, 0};
	struct view in = view_of(wire, 10);
	struct fcgi_decoder d;
	struct fcgi_event ev;

	(void)state;
	fcgi_decoder_init(&d, FCGI_SERVER);
	assert_int_equal(fcgi_next(&d, &in, &ev), DECODE_OK);
	assert_ptr_equal(ev.data.at, wire + 8);
	assert_int_equal(ev.data.len, 2);
	assert_int_equal(fcgi_next(&d, &in, &ev), DECODE_NEED_MORE);
	in = view_of(wire + 10, 6);
	assert_int_equal(fcgi_next(&d, &in, &ev), DECODE_OK);
	assert_ptr_equal(ev.data.at, wire + 10);
	assert_int_equal(ev.data.len, 2);
	assert_false(fcgi_decoder_idle(&d));
	assert_int_equal(fcgi_next(&d, &in, &ev), DECODE_NEED_MORE);
	assert_true(fcgi_decoder_idle(&d));
}

/* --- encoding --- */

static void expect_decoded(struct buf *b, enum fcgi_side side, const char *trace)
{
	struct vector v = {"encoded", side, buf_view(b), trace};

	assert_int_equal(buf_error(b), 0);
	assert_int_equal(buf_len(b) % 8, 0);
	expect_trace(&v, SIZE_MAX, SIZE_MAX);
	expect_trace(&v, SIZE_MAX, 13);
}

static void what_is_encoded_decodes_to_the_same(void **state)
{
	struct buf b = {0};

	(void)state;
	fcgi_put_begin(&b, 0x1234, FCGI_FILTER, FCGI_KEEP_CONN);
	fcgi_put_stream(&b, FCGI_PARAMS, 1, VIEW("abc"));
	fcgi_put_stream_end(&b, FCGI_PARAMS, 1);
	fcgi_put_stream(&b, FCGI_STDIN, 65535, VIEW("12345678"));
	fcgi_put_stream(&b, FCGI_DATA, 65535, VIEW("123456789"));
	fcgi_put_stream_end(&b, FCGI_STDIN, 65535);
	fcgi_put_abort(&b, 3);
	expect_decoded(&b, FCGI_SERVER,
		       "BEGIN id=4660 role=3 flags=1\nDATA type=4 id=1 abc\nSTREAM_END type=4 id=1\n"
		       "DATA type=5 id=65535 12345678\nDATA type=8 id=65535 123456789\n"
		       "STREAM_END type=5 id=65535\nABORT type=2 id=3\n");
	buf_clear(&b);
	fcgi_put_stream(&b, FCGI_STDOUT, 1, VIEW("out"));
	fcgi_put_stream(&b, FCGI_STDERR, 1, VIEW("err"));
	fcgi_put_end(&b, 1, 0x01020304, FCGI_OVERLOADED);
	fcgi_put_unknown_type(&b, 200);
	expect_decoded(&b, FCGI_CLIENT,
		       "DATA type=6 id=1 out\nDATA type=7 id=1 err\nEND id=1 app=16909060 status=2\n"
		       "UNKNOWN_TYPE id=0 unknown=200\n");
	buf_fini(&b);
}

/* The bytes themselves: a decoder with the same mistake would not notice. */
static void encoded_bytes(void **state)
{
	static const uint8_t wanted[] = {HEADER(1, 258, 8, 0),
					 0,
					 2,
					 1,
					 0,
					 0,
					 0,
					 0,
					 0,
					 HEADER(3, 1, 8, 0),
					 0x7f,
					 1,
					 2,
					 3,
					 1,
					 0,
					 0,
					 0,
					 HEADER(6, 1, 3, 5),
					 'a',
					 'b',
					 'c',
					 0,
					 0,
					 0,
					 0,
					 0,
					 HEADER(5, 1, 0, 0),
					 HEADER(2, 1, 0, 0),
					 HEADER(11, 0, 8, 0),
					 99,
					 0,
					 0,
					 0,
					 0,
					 0,
					 0,
					 0};
	struct buf b = {0};

	(void)state;
	fcgi_put_begin(&b, 258, FCGI_AUTHORIZER, FCGI_KEEP_CONN);
	fcgi_put_end(&b, 1, 0x7f010203, FCGI_CANT_MPX_CONN);
	fcgi_put_stream(&b, FCGI_STDOUT, 1, VIEW("abc"));
	fcgi_put_stream(&b, FCGI_STDOUT, 1, VIEW(""));
	fcgi_put_stream_end(&b, FCGI_STDIN, 1);
	fcgi_put_abort(&b, 1);
	fcgi_put_unknown_type(&b, 99);
	assert_int_equal(buf_len(&b), sizeof wanted);
	assert_memory_equal(buf_view(&b).at, wanted, sizeof wanted);
	buf_fini(&b);
}

/* A piece of n bytes is cut into records of 65,528 and one that is padded. */
static void long_streams_are_cut(void **state)
{
	static const struct {
		size_t data, records;
	} cases[] = {{1, 1}, {65527, 1}, {65528, 1}, {65529, 2}, {65535, 2}, {131056, 2}, {131057, 3}};
	static uint8_t data[131057];

	(void)state;
	for (size_t i = 0; i < sizeof data; i++)
		data[i] = (uint8_t)(i * 7 >> 3);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct buf b = {0};
		fcgi_put_stream(&b, FCGI_STDOUT, 5, view_of(data, cases[i].data));
		assert_int_equal(buf_len(&b), cases[i].records * 8 + (cases[i].data + 7) / 8 * 8);
		struct view in = buf_view(&b);
		struct fcgi_decoder d;
		struct fcgi_event ev;
		size_t got = 0, records = 0;
		fcgi_decoder_init(&d, FCGI_CLIENT);
		for (; fcgi_next(&d, &in, &ev) == DECODE_OK; records++) {
			assert_int_equal(ev.kind, FCGI_EV_DATA);
			assert_memory_equal(ev.data.at, data + got, ev.data.len);
			got += ev.data.len;
		}
		assert_int_equal(got, cases[i].data);
		assert_int_equal(records, cases[i].records);
		assert_true(fcgi_decoder_idle(&d));
		buf_fini(&b);
	}
}

/* --- pairs --- */

static void expect_pair(struct view wire, size_t name, size_t value)
{
	struct view in = guarded(wire), whole = in;
	struct param p;

	assert_int_equal(fcgi_pair_next(&in, &p), DECODE_OK);
	assert_int_equal(p.name.len, name);
	assert_int_equal(p.value.len, value);
	assert_ptr_equal(p.name.at + name, p.value.at);
	assert_ptr_equal(p.value.at + value, whole.at + whole.len);
	assert_int_equal(in.len, 0);
	for (size_t cut = 0; cut < wire.len; cut++) {
		struct view part = guarded(view_of(wire.at, cut)), before = part;
		assert_int_equal(fcgi_pair_next(&part, &p), DECODE_NEED_MORE);
		assert_ptr_equal(part.at, before.at);
		assert_int_equal(part.len, before.len);
	}
}

static void pairs_of_all_lengths(void **state)
{
	static const size_t lengths[] = {0, 1, 126, 127, 128, 129, 255, 256, 700};
	static uint8_t bytes[700];
	enum { LENGTHS = sizeof lengths / sizeof lengths[0] };

	(void)state;
	for (size_t i = 0; i < LENGTHS * LENGTHS; i++) {
		size_t name = lengths[i / LENGTHS], value = lengths[i % LENGTHS];
		struct param p = {view_of(bytes, name), view_of(bytes, value)};
		struct buf b = {0};
		fcgi_put_pair(&b, p);
		assert_int_equal(buf_len(&b), fcgi_pair_bytes(p));
		assert_int_equal(buf_len(&b), name + value + (name > 127 ? 4u : 1u) + (value > 127 ? 4u : 1u));
		expect_pair(buf_view(&b), name, value);
		buf_fini(&b);
	}
}

/* Four bytes for a short length are allowed, 3.4 does not say otherwise. */
static void pair_with_long_form_of_a_short_length(void **state)
{
	static const uint8_t wire[] = {0x80, 0, 0, 1, 0x80, 0, 0, 2, 'a', 'b', 'c'};

	(void)state;
	expect_pair(view_of(wire, sizeof wire), 1, 2);
}

/* Two lengths whose sum does not fit 32 bits, or whose sum with what is before does not (libfcgi CVE-2025-23016). */
static void pairs_longer_than_what_is_left(void **state)
{
	static const uint8_t wires[][12] = {
	    {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 'a', 'b', 'c', 'd'},
	    {0xff, 0xff, 0xff, 0xff, 0, 'b', 'c', 'd', 'e', 'f', 'g', 'h'},
	    {2, 0xff, 0xff, 0xff, 0xff, 'f', 'g', 'h', 'i', 'j', 'k', 'l'},
	    {0xff, 0xff, 0xff, 0xfe, 0x80, 0, 0, 2, 'a', 'b', 'c', 'd'},
	    {5, 6, 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j'},
	    {127, 127, 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j'},
	};

	(void)state;
	for (size_t i = 0; i < sizeof wires / sizeof wires[0]; i++) {
		for (size_t n = 0; n <= sizeof wires[i]; n++) {
			struct view in = guarded(view_of(wires[i], n));
			struct param p;
			assert_int_equal(fcgi_pair_next(&in, &p), DECODE_NEED_MORE);
			assert_int_equal(in.len, n);
		}
	}
}

static void pair_too_long_to_be_said(void **state)
{
	struct param name = {view_of("", (size_t)1 << 31), VIEW("")};
	struct param value = {VIEW(""), view_of("", SIZE_MAX)};
	struct buf b = {0};

	(void)state;
	fcgi_put_pair(&b, name);
	assert_int_equal(buf_error(&b), ERR_TOO_LARGE);
	buf_clear(&b);
	fcgi_put_pair(&b, value);
	assert_int_equal(buf_error(&b), ERR_TOO_LARGE);
	assert_int_equal(buf_len(&b), 0);
	buf_fini(&b);
}

/* --- GET_VALUES --- */

static void values_result(void **state)
{
	struct buf asked = {0}, b = {0};

	(void)state;
	for (int i = 0; i < 5000; i++) { /* asked often, answered once: the answer must fit one record */
		fcgi_put_pair(&asked, (struct param){VIEW("FCGI_MPXS_CONNS"), VIEW("")});
		fcgi_put_pair(&asked, (struct param){VIEW("FCGI_MAX_WHATEVER"), VIEW("7")});
		fcgi_put_pair(&asked, (struct param){VIEW("FCGI_MAX_REQS"), VIEW("")});
	}
	assert_int_equal(fcgi_put_values_result(&b, buf_view(&asked), 1, 4294967295u, true), DECODE_OK);
	expect_decoded(&b, FCGI_CLIENT,
		       "DATA type=10 id=0 \\x0d\\x0aFCGI_MAX_REQS4294967295\\x0f\\x01FCGI_MPXS_CONNS1\n"
		       "VALUES_END type=10 id=0\n");
	buf_clear(&b);
	assert_int_equal(fcgi_put_values_result(&b, VIEW(""), 1, 2, false), DECODE_OK);
	expect_decoded(&b, FCGI_CLIENT, "VALUES_END type=10 id=0\n");
	buf_clear(&b);
	assert_int_equal(fcgi_put_values_result(&b, VIEW("\16\0FCGI_MAX_CONNS\17\0FCGI_MPXS_CONNS"), 70, 2, false),
			 DECODE_OK);
	expect_decoded(&b, FCGI_CLIENT,
		       "DATA type=10 id=0 \\x0e\\x02FCGI_MAX_CONNS70\\x0f\\x01FCGI_MPXS_CONNS0\n"
		       "VALUES_END type=10 id=0\n");
	buf_clear(&b);
	assert_int_equal(fcgi_put_values_result(&b, VIEW("\16\0FCGI_MAX_CONNS\17"), 1, 2, false), DECODE_MALFORMED);
	assert_int_equal(buf_len(&b), 0);
	buf_fini(&b);
	buf_fini(&asked);
}

/* --- errors of the buf --- */

static void encoding_without_memory(void **state)
{
	struct param p = {VIEW("name"), VIEW("value")};

	(void)state;
	for (int i = 0; i < 8; i++) {
		struct buf b = {0};
		fail_alloc_at(1);
		switch (i) {
		case 0:
			fcgi_put_begin(&b, 1, 1, 0);
			break;
		case 1:
			fcgi_put_abort(&b, 1);
			break;
		case 2:
			fcgi_put_end(&b, 1, 0, 0);
			break;
		case 3:
			fcgi_put_unknown_type(&b, 1);
			break;
		case 4:
			fcgi_put_stream(&b, FCGI_STDIN, 1, VIEW("a"));
			break;
		case 5:
			fcgi_put_stream_end(&b, FCGI_STDIN, 1);
			break;
		case 6:
			fcgi_put_pair(&b, p);
			break;
		default:
			assert_int_equal(fcgi_put_values_result(&b, VIEW(""), 1, 1, true), DECODE_OK);
			break;
		}
		assert_int_equal(buf_error(&b), ERR_NO_MEMORY);
		fcgi_put_abort(&b, 1);
		assert_int_equal(buf_len(&b), 0);
		fail_alloc_at(0);
		buf_fini(&b);
	}
}

/* Over its bound a buf takes no half record, and nothing behind. */
static void encoding_into_a_full_buf(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 40);
	fcgi_put_stream(&b, FCGI_STDOUT, 1, VIEW("0123456789abcdefg"));
	assert_int_equal(buf_error(&b), 0);
	fcgi_put_end(&b, 1, 0, 0);
	assert_int_equal(buf_error(&b), ERR_TOO_LARGE);
	fcgi_put_abort(&b, 1);
	assert_int_equal(buf_len(&b), 32);
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_vector_cut_at_every_byte),
	    cmocka_unit_test(records_follow_each_other),
	    cmocka_unit_test(largest_content_with_largest_padding),
	    cmocka_unit_test(malformed_stays_malformed),
	    cmocka_unit_test(pieces_point_into_the_input),
	    cmocka_unit_test(what_is_encoded_decodes_to_the_same),
	    cmocka_unit_test(encoded_bytes),
	    cmocka_unit_test(long_streams_are_cut),
	    cmocka_unit_test(pairs_of_all_lengths),
	    cmocka_unit_test(pair_with_long_form_of_a_short_length),
	    cmocka_unit_test(pairs_longer_than_what_is_left),
	    cmocka_unit_test(pair_too_long_to_be_said),
	    cmocka_unit_test(values_result),
	    cmocka_unit_test(encoding_without_memory),
	    cmocka_unit_test(encoding_into_a_full_buf),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
