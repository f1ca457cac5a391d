/* The FastCGI decoder. First byte: the side. Second byte: where the rest is cut. The same bytes must say the same
 * however they are cut, and what they say, encoded again, must say it once more. */
#include "tests/fuzz/fuzz.h"

#include "proto/fcgi.h"
#include "proto/params.h"
#include "tests/fcgi_trace.h"

static void run(struct trace *t, enum fcgi_side side, struct view in, struct cutter *cut)
{
	trace_init(t, side);
	do {
		struct view piece = copy_exact(cut ? cutter_next(cut, &in) : view_take(&in, in.len));
		trace_feed(t, piece);
		free_exact(piece);
	} while (in.len > 0);
	(void)trace_end(t);
}

static void expect_same(struct trace *a, struct trace *b)
{
	EXPECT(buf_error(&a->text) == 0);
	EXPECT(view_eq(buf_view(&a->text), buf_view(&b->text)));
}

/* Every byte string is a list of pairs or the beginning of one; a whole list is written again as it was read. */
static void pairs(struct view in)
{
	struct params p = {WIRE_FCGI, in};
	const char *reason = NULL;
	struct buf out = {0}, scgi = {0};

	bool whole = params_check(&p, &reason);
	EXPECT(whole == (reason == NULL));
	EXPECT((fcgi_put_values_result(&out, in, 1, 2, true) == DECODE_OK) == whole);
	EXPECT((buf_len(&out) > 0) == whole);
	buf_clear(&out);
	if (whole) {
		struct param extra = {VIEW("EXTRA"), VIEW("1")};
		struct trace t;
		params_put_fcgi(&out, 1, &p, VIEW("A"), &extra, 1);
		EXPECT(buf_error(&out) == 0);
		trace_init(&t, FCGI_SERVER);
		trace_feed(&t, buf_view(&out));
		EXPECT(!t.bad);
		EXPECT(fcgi_decoder_idle(&t.decoder));
		trace_fini(&t);
		params_put_scgi(&scgi, &p, 1, VIEW("A"), &extra, 1);
	}
	buf_fini(&out);
	buf_fini(&scgi);
}

/* Encodes what the decoder says. False for what weir never sends. */
static bool encode(struct buf *b, const struct fcgi_event *ev)
{
	switch (ev->kind) {
	case FCGI_EV_BEGIN:
		fcgi_put_begin(b, ev->id, ev->role, ev->flags);
		return true;
	case FCGI_EV_ABORT:
		fcgi_put_abort(b, ev->id);
		return true;
	case FCGI_EV_END:
		fcgi_put_end(b, ev->id, ev->app_status, ev->protocol_status);
		return true;
	case FCGI_EV_DATA:
		fcgi_put_stream(b, ev->type, ev->id, ev->data);
		return true;
	case FCGI_EV_STREAM_END:
		fcgi_put_stream_end(b, ev->type, ev->id);
		return true;
	case FCGI_EV_UNKNOWN_TYPE:
		fcgi_put_unknown_type(b, ev->unknown);
		return true;
	default:
		return false;
	}
}

static void round_trip(enum fcgi_side side, struct view in)
{
	struct trace first, second;
	struct fcgi_decoder d;
	struct fcgi_event ev;
	struct buf wire = {0};

	trace_init(&first, side);
	fcgi_decoder_init(&d, side);
	while (fcgi_next(&d, &in, &ev) == DECODE_OK) {
		if (ev.kind == FCGI_EV_VALUES || ev.kind == FCGI_EV_DATA)
			pairs(ev.data);
		if (encode(&wire, &ev))
			trace_event(&first, &ev);
	}
	trace_flush(&first);
	run(&second, side, buf_view(&wire), NULL);
	expect_same(&first, &second);
	trace_fini(&first);
	trace_fini(&second);
	buf_fini(&wire);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view in = view_of(data, size);

	if (size < 2)
		return 0;
	enum fcgi_side side = data[0] & 1 ? FCGI_CLIENT : FCGI_SERVER;
	struct cutter cut = cutter_of(data[1]), bytewise = cutter_of(0);
	struct trace whole, pieces, bytes;
	(void)view_take(&in, 2);
	run(&whole, side, in, NULL);
	run(&pieces, side, in, &cut);
	run(&bytes, side, in, &bytewise);
	expect_same(&whole, &pieces);
	expect_same(&whole, &bytes);
	round_trip(side, in);
	trace_fini(&whole);
	trace_fini(&pieces);
	trace_fini(&bytes);
	return 0;
}
