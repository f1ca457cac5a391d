/* A request's variables: walked over both wires, and written for both kinds of backend. */
#include "proto/params.h"

#include "base/error.h"
#include "proto/scgi.h"
#include "tests/unit/fail_alloc.h"
#include "tests/unit/guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define NONE VIEW("")

/* The pairs as lines "name=value", in `out`. */
static void list_pairs(const struct params *p, struct buf *out)
{
	struct params_iter it = params_begin(p);
	struct param param;

	while (params_next(&it, &param)) {
		buf_put(out, param.name);
		buf_put_u8(out, '=');
		buf_put(out, param.value);
		buf_put_u8(out, '\n');
	}
}

static void expect_pairs(const struct params *p, const char *wanted)
{
	struct buf said = {0};

	list_pairs(p, &said);
	if (!view_eq(buf_view(&said), view_str(wanted)))
		fail_msg("said\n%.*swanted\n%s", (int)buf_len(&said), (const char *)buf_view(&said).at, wanted);
	buf_fini(&said);
}

/* --- walking --- */

static void check_of_fastcgi(void **state)
{
	static const uint8_t whole[] = {1, 2, 'a', 'b', 'c', 0, 0, 3, 0x80, 0, 0, 1, 'n', 'a', 'm', 'v'};
	const char *reason = NULL;

	(void)state;
	for (size_t cut = 0; cut <= sizeof whole; cut++) {
		struct params p = {WIRE_FCGI, guarded(view_of(whole, cut))};
		bool right = cut == 0 || cut == 5 || cut == 7 || cut == sizeof whole;
		assert_int_equal(params_check(&p, &reason), right);
		if (!right)
			assert_string_equal(reason, "PARAMS end inside a name-value pair");
	}
	struct params p = {WIRE_FCGI, view_of(whole, sizeof whole)};
	expect_pairs(&p, "a=bc\n=\nnam=v\n");
}

static void check_of_scgi(void **state)
{
	static const char whole[] = "A\0bc\0D\0\0EE\0f";
	const char *reason = NULL;

	(void)state;
	for (size_t cut = 0; cut <= sizeof whole; cut++) {
		struct params p = {WIRE_SCGI, guarded(view_of(whole, cut))};
		bool right = cut == 0 || cut == 5 || cut == 8 || cut == 13;
		assert_int_equal(params_check(&p, &reason), right);
		if (!right)
			assert_string_equal(reason, "SCGI headers end inside a pair");
	}
	struct params p = {WIRE_SCGI, view_of(whole, sizeof whole)};
	expect_pairs(&p, "A=bc\nD=\nEE=f\n");
	static const char *const nameless[] = {"\0v\0", "\0\0\0"};
	for (size_t i = 0; i < 2; i++) {
		p.raw = guarded(view_of(nameless[i], 3));
		if (i == 1)
			p.raw.len = 2;
		assert_false(params_check(&p, &reason));
		assert_string_equal(reason, "SCGI header with an empty name");
	}
}

static void first_of_a_name(void **state)
{
	struct params fcgi = {WIRE_FCGI, VIEW("\1\1Ax\2\1ABy\1\1Az\1\0B")};
	struct params scgi = {WIRE_SCGI, VIEW("A\0x\0AB\0y\0A\0z\0B\0\0")};
	const struct params *both[] = {&fcgi, &scgi};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct view value = VIEW("untouched");
		assert_false(params_find(both[i], VIEW("C"), &value));
		assert_false(params_find(both[i], VIEW("a"), &value));
		assert_false(params_find(both[i], VIEW("ABC"), &value));
		assert_false(params_find(both[i], VIEW(""), &value));
		assert_true(view_eq(value, VIEW("untouched")));
		assert_true(params_find(both[i], VIEW("A"), &value));
		assert_true(view_eq(value, VIEW("x")));
		assert_true(params_find(both[i], VIEW("AB"), &value));
		assert_true(view_eq(value, VIEW("y")));
		assert_true(params_find(both[i], VIEW("B"), &value));
		assert_int_equal(value.len, 0);
	}
	struct params none = {WIRE_FCGI, {NULL, 0}};
	assert_false(params_find(&none, VIEW("A"), &(struct view){0}));
}

/* --- FastCGI --- */

struct records {
	struct buf content; /* of all records, joined */
	size_t size[64];    /* content bytes of each record but the last, empty one */
	unsigned count;
	unsigned cut_records; /* records that do not hold whole pairs */
};

/* Takes the records apart, without the decoder under test, and checks what holds for all of them. */
static void read_records(struct view wire, uint16_t id, struct records *r)
{
	*r = (struct records){.count = 0};
	for (;;) {
		assert_true(wire.len >= 8);
		struct view header = view_take(&wire, 8);
		size_t content = (size_t)header.at[4] << 8 | header.at[5], padding = header.at[6];
		assert_int_equal(header.at[0], 1);
		assert_int_equal(header.at[1], FCGI_PARAMS);
		assert_int_equal(header.at[2] << 8 | header.at[3], id);
		assert_int_equal((content + padding) % 8, 0);
		assert_true(wire.len >= content + padding);
		if (content == 0)
			break;
		struct params one = {WIRE_FCGI, view_take(&wire, content)};
		const char *reason;
		r->cut_records += !params_check(&one, &reason);
		assert_true(r->count < 64);
		r->size[r->count++] = content;
		buf_put(&r->content, one.raw);
		(void)view_take(&wire, padding);
	}
	assert_int_equal(wire.len, 0);
}

static void params_for_fastcgi(void **state)
{
	struct params fcgi = {WIRE_FCGI, VIEW("\1\1Ax\14\1SESSION_DATAy\4\2PATHpv\10\1SESSION_z\1\0B")};
	struct params scgi = {WIRE_SCGI, VIEW("A\0x\0SESSION_DATA\0y\0PATH\0pv\0SESSION_\0z\0B\0\0")};
	const struct params *both[] = {&fcgi, &scgi};
	struct param extra[] = {{VIEW("SESSION_STATE"), VIEW("new")}, {VIEW("E"), VIEW("")}};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct buf b = {0};
		struct records r;
		buf_put_str(&b, "gone, what was there");
		buf_consume(&b, strlen("gone, "));
		params_put_fcgi(&b, 0x0102, both[i], VIEW("SESSION_"), extra, 2);
		buf_consume(&b, strlen("what was there"));
		read_records(buf_view(&b), 0x0102, &r);
		struct params p = {WIRE_FCGI, buf_view(&r.content)};
		expect_pairs(&p, "A=x\nPATH=pv\nB=\nSESSION_STATE=new\nE=\n");
		assert_int_equal(r.count, 1);
		buf_fini(&r.content);
		buf_clear(&b);
		params_put_fcgi(&b, 1, both[i], NONE, NULL, 0);
		read_records(buf_view(&b), 1, &r);
		p.raw = buf_view(&r.content);
		expect_pairs(&p, "A=x\nSESSION_DATA=y\nPATH=pv\nSESSION_=z\nB=\n");
		buf_fini(&r.content);
		buf_fini(&b);
	}
}

static void no_params_are_the_empty_record(void **state)
{
	static const uint8_t wanted[] = {1, 4, 0, 1, 0, 0, 0, 0};
	struct params none = {WIRE_FCGI, {NULL, 0}}, dropped = {WIRE_FCGI, VIEW("\3\1S_Ax")};
	struct buf b = {0};

	(void)state;
	params_put_fcgi(&b, 1, &none, NONE, NULL, 0);
	params_put_fcgi(&b, 1, &dropped, VIEW("S_"), NULL, 0);
	assert_int_equal(buf_len(&b), 16);
	assert_memory_equal(buf_view(&b).at, wanted, 8);
	assert_memory_equal(buf_view(&b).at + 8, wanted, 8);
	buf_fini(&b);
}

/* A list of pairs on `wire`: each entry is the encoded length of one FastCGI pair (name of 1 byte). */
static struct view build(struct buf *b, enum wire wire, const size_t *pair_bytes, size_t count)
{
	static uint8_t value[200000];

	for (size_t i = 0; i < count; i++) {
		char name = (char)('A' + i % 26);
		size_t n = pair_bytes[i] - 2 - 1;
		if (n > 127)
			n -= 3;
		memset(value, 'a' + (int)(i % 26), sizeof value);
		struct param p = {view_of(&name, 1), view_of(value, n)};
		if (wire == WIRE_FCGI) {
			assert_int_equal(fcgi_pair_bytes(p), pair_bytes[i]);
			fcgi_put_pair(b, p);
		} else {
			buf_put(b, p.name);
			buf_put_u8(b, 0);
			buf_put(b, p.value);
			buf_put_u8(b, 0);
		}
	}
	return buf_view(b);
}

/* Where records end, for pairs of given sizes: full to the last byte, never through a pair that fits in one. */
static void pairs_are_not_cut(void **state)
{
	static const struct {
		size_t pair[8], records[8]; /* bytes; 0 ends the list */
		unsigned cut_records;
	} cases[] = {
	    {{100, 200}, {300}, 0},
	    {{65535}, {65535}, 0},
	    {{65534}, {65534}, 0},
	    {{65535, 3}, {65535, 3}, 0},
	    {{65532, 3}, {65535}, 0},
	    {{65532, 3, 3}, {65535, 3}, 0},
	    {{65533, 3}, {65533, 3}, 0},
	    {{40000, 40000, 40000}, {40000, 40000, 40000}, 0},
	    {{30000, 30000, 6000, 3}, {60000, 6003}, 0},
	    {{65536}, {65535, 1}, 2},
	    {{3, 65536, 3}, {3, 65535, 1, 3}, 2},
	    {{3, 65536, 65536, 3}, {3, 65535, 1, 65535, 1, 3}, 4},
	    {{131070}, {65535, 65535}, 2},
	    {{131070, 3}, {65535, 65535, 3}, 2},
	    {{3, 150000, 3, 3}, {3, 65535, 65535, 18930, 6}, 3},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0] * 3; i++) {
		size_t c = i / 3, pairs = 0;
		struct buf raw = {0}, b = {0}, before = {0}, after = {0};
		struct records r;
		while (pairs < 8 && cases[c].pair[pairs] > 0)
			pairs++;
		/* Three ways in: FastCGI, SCGI, and the same pairs as extra ones. */
		struct params p = {i % 3 == 1 ? WIRE_SCGI : WIRE_FCGI, {NULL, 0}};
		p.raw = build(&raw, p.wire, cases[c].pair, pairs);
		struct param extra[8];
		struct params_iter it = params_begin(&p);
		for (size_t k = 0; k < pairs; k++)
			assert_true(params_next(&it, &extra[k]));
		list_pairs(&p, &before);
		if (i % 3 == 2)
			p.raw = NONE;
		params_put_fcgi(&b, 1, &p, NONE, extra, i % 3 == 2 ? pairs : 0);
		assert_int_equal(buf_error(&b), 0);
		read_records(buf_view(&b), 1, &r);
		for (unsigned k = 0; k < r.count || (k < 8 && cases[c].records[k] > 0); k++) {
			if (k >= r.count || r.size[k] != cases[c].records[k])
				fail_msg("case %zu, way %zu: record %u has %zu bytes, wanted %zu", c, i % 3, k,
					 k < r.count ? r.size[k] : 0, cases[c].records[k]);
		}
		assert_int_equal(r.cut_records, cases[c].cut_records);
		struct params out = {WIRE_FCGI, buf_view(&r.content)};
		list_pairs(&out, &after);
		assert_true(view_eq(buf_view(&before), buf_view(&after)));
		buf_fini(&raw);
		buf_fini(&b);
		buf_fini(&before);
		buf_fini(&after);
		buf_fini(&r.content);
	}
}

/* What is dropped between two pairs leaves no gap and no half pair. */
static void dropping_anywhere(void **state)
{
	(void)state;
	for (unsigned mask = 0; mask < 256; mask++) {
		struct buf raw = {0}, b = {0}, wanted = {0};
		struct records r;
		for (unsigned i = 0; i < 8; i++) {
			char name[8];
			int n = snprintf(name, sizeof name, "%s%u", mask >> i & 1 ? "S_" : "S", i);
			fcgi_put_pair(&raw, (struct param){view_of(name, (size_t)n), VIEW("v")});
			if (!(mask >> i & 1)) {
				buf_put_str(&wanted, name);
				buf_put_str(&wanted, "=v\n");
			}
		}
		buf_put_u8(&wanted, 0);
		struct params p = {WIRE_FCGI, guarded(buf_view(&raw))};
		params_put_fcgi(&b, 1, &p, VIEW("S_"), NULL, 0);
		read_records(buf_view(&b), 1, &r);
		p.raw = buf_view(&r.content);
		expect_pairs(&p, (const char *)wanted.data);
		buf_fini(&raw);
		buf_fini(&b);
		buf_fini(&wanted);
		buf_fini(&r.content);
	}
}

/* --- SCGI --- */

static void params_for_scgi(void **state)
{
	struct params fcgi = {WIRE_FCGI, VIEW("\1\1Ax\14\1SESSION_DATAy\16\1CONTENT_LENGTH9\4\1SCGI7\1\0B")};
	struct params scgi = {WIRE_SCGI, VIEW("CONTENT_LENGTH\0"
					      "9\0SCGI\0"
					      "1\0A\0x\0SESSION_DATA\0y\0B\0\0")};
	const struct params *both[] = {&fcgi, &scgi};
	struct param extra[] = {{VIEW("SESSION_STATE"), VIEW("new")}};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct buf b = {0}, header = {0};
		struct scgi_decoder d;
		uint64_t length = 0;
		const char *reason = NULL;
		params_put_scgi(&b, both[i], 12345678901, VIEW("SESSION_"), extra, 1);
		assert_int_equal(buf_error(&b), 0);
		assert_int_equal(memcmp(buf_view(&b).at, "59:CONTENT_LENGTH\0", 18), 0);
		struct view wire = guarded(buf_view(&b));
		scgi_decoder_init(&d, 1000);
		assert_int_equal(scgi_feed(&d, &wire, &header), DECODE_OK);
		assert_int_equal(wire.len, 0);
		struct params out = {WIRE_SCGI, buf_view(&header)};
		assert_true(params_check(&out, &reason));
		assert_true(scgi_check(out.raw, &length, &reason));
		assert_true(length == 12345678901);
		expect_pairs(&out, "CONTENT_LENGTH=12345678901\nSCGI=1\nA=x\nB=\nSESSION_STATE=new\n");
		buf_fini(&b);
		buf_fini(&header);
	}
}

static void what_scgi_cannot_say(void **state)
{
	static const struct {
		struct view raw;
		struct param extra;
	} cases[] = {
	    {{(const uint8_t *)"\2\1A\0x", 5}, {{(const uint8_t *)"E", 1}, {NULL, 0}}},
	    {{(const uint8_t *)"\1\2A\0x", 5}, {{(const uint8_t *)"E", 1}, {NULL, 0}}},
	    {{(const uint8_t *)"\0\1x", 3}, {{(const uint8_t *)"E", 1}, {NULL, 0}}},
	    {{NULL, 0}, {{(const uint8_t *)"E\0", 2}, {NULL, 0}}},
	    {{NULL, 0}, {{(const uint8_t *)"E", 1}, {(const uint8_t *)"\0", 1}}},
	    {{NULL, 0}, {{NULL, 0}, {(const uint8_t *)"x", 1}}},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct params p = {WIRE_FCGI, cases[i].raw};
		struct buf b = {0};
		params_put_scgi(&b, &p, 0, NONE, &cases[i].extra, 1);
		assert_int_equal(buf_error(&b), ERR_MALFORMED);
		assert_int_equal(buf_len(&b), 0);
		buf_fini(&b);
	}
	/* What is dropped may be anything. */
	struct params p = {WIRE_FCGI, VIEW("\3\1S_\0x")};
	struct buf b = {0};
	params_put_scgi(&b, &p, 0, VIEW("S_"), NULL, 0);
	assert_int_equal(buf_error(&b), 0);
	buf_fini(&b);
}

/* --- errors of the buf --- */

static void writing_without_room(void **state)
{
	static const size_t pairs[] = {3000, 5000, 70000, 4000, 65535};
	struct buf raw = {0};
	struct params p = {WIRE_FCGI, build(&raw, WIRE_FCGI, pairs, 5)};
	unsigned failed = 0;

	(void)state;
	for (unsigned nth = 1;; nth++, failed++) {
		struct buf b = {0};
		fail_alloc_at(nth);
		params_put_fcgi(&b, 1, &p, NONE, NULL, 0);
		fail_alloc_at(0);
		int err = buf_error(&b);
		buf_fini(&b);
		if (err == 0)
			break;
		assert_int_equal(err, ERR_NO_MEMORY);
	}
	assert_true(failed > 2);
	for (size_t max_bytes = 8; max_bytes < 140000; max_bytes += max_bytes / 7) {
		struct buf b;
		buf_init(&b, max_bytes);
		params_put_fcgi(&b, 1, &p, NONE, NULL, 0);
		assert_int_equal(buf_error(&b), ERR_TOO_LARGE);
		buf_check(&b);
		buf_clear(&b);
		params_put_scgi(&b, &p, 1, NONE, NULL, 0);
		assert_int_equal(buf_error(&b), ERR_TOO_LARGE);
		assert_int_equal(buf_len(&b), 0);
		buf_fini(&b);
	}
	buf_fini(&raw);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(check_of_fastcgi),
	    cmocka_unit_test(check_of_scgi),
	    cmocka_unit_test(first_of_a_name),
	    cmocka_unit_test(params_for_fastcgi),
	    cmocka_unit_test(no_params_are_the_empty_record),
	    cmocka_unit_test(pairs_are_not_cut),
	    cmocka_unit_test(dropping_anywhere),
	    cmocka_unit_test(params_for_scgi),
	    cmocka_unit_test(what_scgi_cannot_say),
	    cmocka_unit_test(writing_without_room),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
