/* Frames between nodes: wherever they are cut, in order and within bounds, and what is refused. */
#include "proto/peer.h"

#include "base/error.h"
#include "tests/unit/fail_alloc.h"
#include "tests/unit/guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#define BYTES(...)                                                                                                     \
	{                                                                                                              \
		(const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})                                 \
	}
#define HEAD(length, type, sequence) 0, 0, (length) >> 8, (length)&255, type, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, sequence
/* So much of a HELLO as its frame needs: the link stands at place 8. */
#define HELLO(link, sequence) HEAD(9, 1, sequence), 'w', 'e', 'i', 'r', 0, 1, 0, 1, link

struct vector {
	const char *name;
	struct view wire;
	const char *trace;
};

static const struct vector vectors[] = {
    {"nothing", {NULL, 0}, ""},
    {"HELLO of a control link, and all that it carries",
     BYTES(HELLO(0, 1), HEAD(3, 2, 2), 0, 1, 0, HEAD(0, 3, 3), HEAD(4, 4, 4), 0, 0, 0, 9, HEAD(1, 5, 5), 'v',
	   HEAD(0, 6, 6), HEAD(2, 7, 7), 'r', 'r'),
     "1:9 2:3 3:0 4:4 5:1 6:0 7:2 "},
    {"GOODBYE instead of HELLO", BYTES(HEAD(3, 2, 1), 0, 1, 0), "2:3 "},
    {"a bulk link", BYTES(HELLO(1, 1), HEAD(4, 4, 2), 0, 0, 0, 9, HEAD(3, 2, 3), 0, 1, 0), "1:9 4:4 2:3 "},
    {"cut in a head", BYTES(HELLO(0, 1), 0, 0, 0), "1:9 CUT"},
    {"cut in a body", BYTES(HELLO(0, 1), HEAD(4, 4, 2), 0, 0, 0), "1:9 CUT"},

    {"type 0", BYTES(HEAD(0, 0, 1)), "MALFORMED unknown frame type"},
    {"type 8", BYTES(HELLO(0, 1), HEAD(0, 8, 2)), "1:9 MALFORMED unknown frame type"},
    {"type 255", BYTES(HELLO(0, 1), HEAD(0, 255, 2)), "1:9 MALFORMED unknown frame type"},
    {"flags", BYTES(0, 0, 0, 9, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1), "MALFORMED unknown frame flags"},
    {"the other flag", BYTES(0, 0, 0, 9, 1, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1), "MALFORMED unknown frame flags"},
    {"a stream", BYTES(0, 0, 0, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1),
     "MALFORMED frame of a stream that its type does not have"},
    {"sequence from 0", BYTES(HELLO(0, 0)), "MALFORMED sequence number out of turn"},
    {"sequence from 2", BYTES(HELLO(0, 2)), "MALFORMED sequence number out of turn"},
    {"one left out", BYTES(HELLO(0, 1), HEAD(0, 3, 3)), "1:9 MALFORMED sequence number out of turn"},
    {"one again", BYTES(HELLO(0, 1), HEAD(0, 3, 2), HEAD(0, 3, 2)), "1:9 3:0 MALFORMED sequence number out of turn"},
    {"the highest byte of a sequence number", BYTES(0, 0, 0, 9, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1),
     "MALFORMED sequence number out of turn"},
    {"BEAT before HELLO", BYTES(HEAD(0, 3, 1)), "MALFORMED frame before HELLO"},
    {"CREDIT before HELLO", BYTES(HEAD(4, 4, 1), 0, 0, 0, 1), "MALFORMED frame before HELLO"},
    {"two HELLOs", BYTES(HELLO(0, 1), HELLO(0, 2)), "1:9 MALFORMED second HELLO"},
    {"BEAT on bulk", BYTES(HELLO(1, 1), HEAD(0, 3, 2)), "1:9 3:0 "},
    {"VIEW on bulk", BYTES(HELLO(1, 1), HEAD(0, 5, 2)), "1:9 MALFORMED frame type of the other link"},
    {"CONTROL on bulk", BYTES(HELLO(1, 1), HEAD(0, 6, 2)), "1:9 MALFORMED frame type of the other link"},
    {"REPORT on bulk", BYTES(HELLO(1, 1), HEAD(0, 7, 2)), "1:9 MALFORMED frame type of the other link"},
    {"the length of a request", BYTES('G', 'E', 'T', ' ', '/', ' ', 'H', 'T', 'T', 'P', '/', '1', '.', '1', 13, 10),
     "MALFORMED unknown frame type"},
    {"nothing is taken after it", BYTES(HEAD(0, 8, 1), HELLO(0, 1)), "MALFORMED unknown frame type"},
};

enum { VECTORS = sizeof vectors / sizeof vectors[0], TRACE_BYTES = 400 };

static void say(char trace[TRACE_BYTES], const char *what, unsigned a, size_t b)
{
	size_t len = strlen(trace);

	snprintf(trace + len, TRACE_BYTES - len, what, a, b);
}

/* Takes what is there, as its owner would; false: it ended there. Frames are written again into `again`. */
static bool take(struct peer_decoder *d, struct view *in, char trace[TRACE_BYTES], struct buf *again)
{
	struct peer_frame f;
	enum decode got;

	while ((got = peer_next(d, in, &f)) == DECODE_OK) {
		say(trace, "%u:%zu ", f.type, f.body.len);
		peer_put_head(again, f.type, f.stream, f.sequence, f.body.len);
		buf_put(again, f.body);
	}
	if (got == DECODE_MALFORMED) {
		struct view rest = *in;
		say(trace, "MALFORMED ", 0, 0);
		snprintf(trace + strlen(trace), TRACE_BYTES - strlen(trace), "%s", d->reason);
		assert_int_equal(peer_next(d, in, &f), DECODE_MALFORMED);
		assert_true(in->at == rest.at && in->len == rest.len);
	}
	return got != DECODE_MALFORMED;
}

/* The first `cut` bytes, and then all that was not taken. What was taken must be what was sent. */
static void trace_cut(struct view wire, size_t cut, char trace[TRACE_BYTES])
{
	struct peer_decoder d;
	struct buf again = {0};
	struct view first = guarded(view_of(wire.at, cut));
	bool goes_on;

	trace[0] = '\0';
	peer_decoder_init(&d);
	goes_on = take(&d, &first, trace, &again);
	struct view rest = view_of(wire.at + (cut - first.len), wire.len - (cut - first.len));
	if (goes_on) {
		rest = guarded(rest);
		goes_on = take(&d, &rest, trace, &again);
	}
	if (goes_on && rest.len > 0)
		say(trace, "CUT", 0, 0);
	assert_int_equal(buf_error(&again), 0);
	assert_true(buf_len(&again) <= wire.len);
	if (buf_len(&again) > 0)
		assert_memory_equal(buf_view(&again).at, wire.at, buf_len(&again));
	buf_fini(&again);
}

static void every_cut(void **state)
{
	char trace[TRACE_BYTES];

	(void)state;
	for (size_t i = 0; i < VECTORS; i++) {
		for (size_t cut = 0; cut <= vectors[i].wire.len; cut++) {
			trace_cut(vectors[i].wire, cut, trace);
			if (strcmp(trace, vectors[i].trace) != 0)
				fail_msg("%s, cut at %zu: %s", vectors[i].name, cut, trace);
		}
	}
}

/* Whatever becomes of it, nothing else is written again than what came; trace_cut() looks. */
static void every_byte_flipped(void **state)
{
	char trace[TRACE_BYTES];
	uint8_t wire[400];

	(void)state;
	for (size_t i = 0; i < VECTORS; i++) {
		struct view v = vectors[i].wire;
		assert_true(v.len <= sizeof wire);
		for (size_t bit = 0; bit < v.len * 8; bit++) {
			memcpy(wire, v.at, v.len);
			wire[bit / 8] ^= (uint8_t)(1U << bit % 8);
			trace_cut(view_of(wire, v.len), v.len / 2, trace);
		}
	}
}

/* The longest body of each type is waited for, and one byte more is refused by the head alone. */
static void bounds(void **state)
{
	(void)state;
	for (enum peer_type type = PEER_HELLO; type <= PEER_REPORT; type++) {
		struct peer_decoder d;
		struct peer_frame f;
		struct buf b = {0};
		uint32_t max = peer_body_max(type);

		assert_true(max <= PEER_BODY_MAX);
		peer_decoder_init(&d);
		d.greeted = type != PEER_HELLO;
		peer_put_head(&b, type, 0, 1, max);
		assert_int_equal(peer_frame_bytes(buf_view(&b)), PEER_HEAD_BYTES + max);
		struct view in = buf_view(&b);
		assert_int_equal(peer_next(&d, &in, &f), DECODE_NEED_MORE);
		assert_int_equal(in.len, PEER_HEAD_BYTES);
		uint8_t *at = b.data + b.head;
		for (int i = 3; i >= 0 && ++at[i] == 0; i--)
			;
		assert_int_equal(peer_next(&d, &in, &f), DECODE_MALFORMED);
		assert_string_equal(d.reason, "frame too long for its type");
		buf_fini(&b);
	}
	assert_int_equal(peer_frame_bytes(view_of("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 15)), 0);
	assert_int_equal(peer_body_max(PEER_VIEW), 1 << 20);
	assert_int_equal(peer_body_max(PEER_CONTROL), PEER_BODY_MAX);
	assert_true(peer_type_is_on(PEER_CREDIT, PEER_LINK_BULK));
	assert_true(peer_type_is_on(PEER_BEAT, PEER_LINK_BULK));
}

/* A head that did not fit stays an error of the buf. */
static void no_memory(void **state)
{
	struct buf b = {0};

	(void)state;
	fail_alloc_at(1);
	peer_put_head(&b, PEER_BEAT, 0, 1, 0);
	fail_alloc_at(0);
	assert_int_equal(buf_error(&b), ERR_NO_MEMORY);
	assert_int_equal(buf_len(&b), 0);
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_cut),
	    cmocka_unit_test(every_byte_flipped),
	    cmocka_unit_test(bounds),
	    cmocka_unit_test(no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
