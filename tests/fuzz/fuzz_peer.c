/* Bytes from another node taken for frames. The first byte says how the rest is cut into pieces (0: bytes one by one).
 * Cut or not, the same frames come out, and each frame and each body that is taken has exactly the bytes that encoding
 * it gives. Taken for the body of each type, without a head that the fuzzer would have to find, the same holds. */
#include "tests/fuzz/fuzz.h"

#include "base/error.h"
#include "proto/peer_report.h"

static void body_again(const struct peer_frame *f, struct buf *again)
{
	static struct peer_hello hello;
	struct peer_goodbye goodbye;
	struct peer_beat beat;
	struct peer_report report;
	uint32_t credit;

	if (f->type == PEER_HELLO && peer_hello_decode(f->body, &hello) == 0)
		peer_hello_encode(&hello, again);
	else if (f->type == PEER_GOODBYE && peer_goodbye_decode(f->body, &goodbye) == 0)
		peer_goodbye_encode(&goodbye, again);
	else if (f->type == PEER_BEAT && peer_beat_decode(f->body, &beat) == 0)
		peer_beat_encode(&beat, again);
	else if (f->type == PEER_REPORT && peer_report_decode(f->body, &report) == 0)
		peer_report_encode(&report, again);
	else if (f->type == PEER_CREDIT && peer_credit_decode(f->body, &credit) == 0)
		peer_credit_encode(credit, again);
	else
		buf_put(again, f->body);
}

/* All frames that are there; false: no more are to come. */
static bool frames(struct peer_decoder *d, struct buf *in, struct buf *again)
{
	struct view rest = buf_view(in), exact = copy_exact(rest);
	struct peer_frame f;
	enum decode got;

	rest = exact;
	while ((got = peer_next(d, &rest, &f)) == DECODE_OK) {
		EXPECT(f.body.len <= peer_body_max(f.type));
		peer_put_head(again, f.type, f.stream, f.sequence, f.body.len);
		body_again(&f, again);
	}
	/* What is waited for is bounded. */
	EXPECT(got == DECODE_MALFORMED || peer_frame_bytes(rest) <= PEER_HEAD_BYTES + PEER_BODY_MAX);
	buf_consume(in, exact.len - rest.len);
	free_exact(exact);
	return got != DECODE_MALFORMED;
}

static void run(struct view wire, struct cutter *cut, struct buf *again)
{
	struct peer_decoder d;
	struct buf in = {0};
	struct view rest = wire;
	bool goes_on = true;

	peer_decoder_init(&d);
	while (goes_on && rest.len > 0) {
		buf_put(&in, cut ? cutter_next(cut, &rest) : view_take(&rest, rest.len));
		goes_on = frames(&d, &in, again);
	}
	EXPECT(buf_len(again) <= wire.len);
	EXPECT(view_eq(buf_view(again), view_of(wire.at, buf_len(again))));
	buf_fini(&in);
}

/* The bytes as the body of each type. */
static void as_body(struct view body)
{
	for (enum peer_type type = PEER_HELLO; type <= PEER_REPORT; type++) {
		struct view exact = copy_exact(body);
		struct peer_frame f = {.type = type, .sequence = 1, .body = exact};
		struct buf again = {0};

		body_again(&f, &again);
		EXPECT(view_eq(buf_view(&again), exact));
		buf_fini(&again);
		free_exact(exact);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf whole = {0}, pieces = {0};

	if (size == 0)
		return 0;
	struct cutter cut = cutter_of(data[0]);
	struct view wire = view_of(data + 1, size - 1);
	run(wire, NULL, &whole);
	run(wire, &cut, &pieces);
	EXPECT(view_eq(buf_view(&whole), buf_view(&pieces)));
	buf_fini(&whole);
	buf_fini(&pieces);
	as_body(wire);
	return 0;
}
