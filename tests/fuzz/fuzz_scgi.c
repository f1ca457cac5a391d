/* The SCGI decoder and the walk over the header. First byte: where the rest is cut. However it is cut, the answer, the
 * header and where the body begins must be the same; a header that is taken must be taken again when weir writes it. */
#include "tests/fuzz/fuzz.h"

#include "proto/params.h"
#include "proto/scgi.h"

enum { MAX_BYTES = 2000 };

struct result {
	enum decode answer;
	struct buf header;
	size_t left; /* OK: bytes of the body */
	const char *reason;
	bool too_large;
};

static void run(struct result *r, struct view in, struct cutter *cut)
{
	struct scgi_decoder d;

	*r = (struct result){.answer = DECODE_NEED_MORE};
	scgi_decoder_init(&d, MAX_BYTES);
	do {
		struct view piece = copy_exact(cut ? cutter_next(cut, &in) : view_take(&in, in.len)), rest = piece;
		r->answer = scgi_feed(&d, &rest, &r->header);
		r->left = rest.len + in.len;
		EXPECT(r->answer != DECODE_NEED_MORE || rest.len == 0);
		free_exact(piece);
	} while (in.len > 0 && r->answer == DECODE_NEED_MORE);
	r->reason = d.reason;
	r->too_large = d.too_large;
	EXPECT((r->answer == DECODE_MALFORMED) == (r->reason != NULL));
	EXPECT(buf_len(&r->header) <= MAX_BYTES);
}

static void expect_same(const struct result *a, const struct result *b)
{
	EXPECT(a->answer == b->answer);
	EXPECT(a->reason == b->reason);
	EXPECT(a->too_large == b->too_large);
	EXPECT(a->answer != DECODE_OK || a->left == b->left);
	/* A bad byte behind it does not make the header's bytes disappear, but they mean nothing then. */
	EXPECT(a->answer == DECODE_MALFORMED || view_eq(buf_view(&a->header), buf_view(&b->header)));
}

/* Written for a backend and read again: the same variables but for the two that weir writes itself, which come first.
 */
static void write_again(const struct params *p, uint64_t content_length)
{
	struct buf wire = {0}, again = {0};
	struct scgi_decoder d;
	uint64_t length = 0;
	const char *reason = NULL;

	params_put_scgi(&wire, p, content_length, VIEW(""), NULL, 0);
	EXPECT(buf_error(&wire) == 0);
	struct view in = buf_view(&wire);
	scgi_decoder_init(&d, MAX_BYTES);
	EXPECT(scgi_feed(&d, &in, &again) == DECODE_OK);
	struct params q = {WIRE_SCGI, buf_view(&again)};
	EXPECT(params_check(&q, &reason));
	EXPECT(scgi_check(q.raw, &length, &reason));
	EXPECT(length == content_length);
	struct params_iter it = params_begin(p);
	struct param param;
	for (size_t count = 0; params_next(&it, &param); count++) {
		struct view value = {0};
		EXPECT(params_find(&q, param.name, &value));
		EXPECT(count == 0 || view_eq(value, param.value)); /* CONTENT_LENGTH loses its leading zeros */
	}
	buf_fini(&wire);
	buf_fini(&again);
}

static void header(struct view bytes)
{
	struct params p = {WIRE_SCGI, copy_exact(bytes)};
	const char *reason = NULL;
	uint64_t content_length = 0;
	struct buf fcgi = {0};

	if (!params_check(&p, &reason)) {
		EXPECT(reason != NULL);
	} else {
		params_put_fcgi(&fcgi, 1, &p, VIEW("HTTP_"), NULL, 0);
		EXPECT(buf_error(&fcgi) == 0);
		if (scgi_check(p.raw, &content_length, &reason))
			write_again(&p, content_length);
		else
			EXPECT(reason != NULL);
	}
	buf_fini(&fcgi);
	free_exact(p.raw);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view in = view_of(data, size);
	struct result whole, pieces, bytes;

	if (size < 1)
		return 0;
	struct cutter cut = cutter_of(data[0]), bytewise = cutter_of(0);
	(void)view_take(&in, 1);
	run(&whole, in, NULL);
	run(&pieces, in, &cut);
	run(&bytes, in, &bytewise);
	expect_same(&whole, &pieces);
	expect_same(&whole, &bytes);
	if (whole.answer == DECODE_OK)
		header(buf_view(&whole.header));
	header(in); /* as if the netstring had been right: the fuzzer need not count */
	buf_fini(&whole.header);
	buf_fini(&pieces.header);
	buf_fini(&bytes.header);
	return 0;
}
