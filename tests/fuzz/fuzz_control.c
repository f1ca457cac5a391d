/* Bytes of the control plane, taken for each thing that they could be: a frame of another node, a record of the
 * database, the file of promises. What is accepted keeps to the limits, lies within the input, and has exactly the
 * bytes that encoding it gives. */
#include "tests/fuzz/fuzz.h"

#include "base/error.h"
#include "cluster/control_bytes.h"

static void expect_within(struct view part, struct view all)
{
	EXPECT(part.len == 0 || (part.at >= all.at && part.at + part.len <= all.at + all.len));
}

static void expect_bytes(struct buf *again, struct view bytes)
{
	EXPECT(buf_error(again) == 0);
	EXPECT(view_eq(buf_view(again), bytes));
	buf_fini(again);
}

static void frame(struct view bytes)
{
	struct control_frame f;
	struct buf again = {0};
	int err = control_frame_decode(bytes, &f);

	EXPECT(err == 0 || err == ERR_MALFORMED);
	if (err)
		return;
	EXPECT(f.term <= INT64_MAX && f.number <= INT64_MAX);
	EXPECT(f.type == CONTROL_LIBRARY || (f.control.len == 0 && f.rec.len == 0));
	expect_within(f.control, bytes);
	expect_within(f.rec, bytes);
	control_frame_encode(&f, &again);
	expect_bytes(&again, bytes);
}

static void record(struct view bytes)
{
	struct control_record r, head;
	struct buf again = {0};
	int err = control_record_decode(bytes, &r);

	EXPECT(err == 0 || err == ERR_MALFORMED || err == ERR_VERSION);
	int head_err = control_record_decode_head(bytes, &head);
	EXPECT(err != 0 || head_err == 0);
	if (head_err)
		return;
	EXPECT(head.voter_count <= CONTROL_VOTERS_MAX);
	for (unsigned i = 0; i < head.voter_count; i++) {
		EXPECT(head.voters[i].len > 0 && head.voters[i].len <= CONTROL_NAME_MAX);
		expect_within(head.voters[i], bytes);
	}
	if (err)
		return;
	EXPECT(control_rank_compare(r.rank, head.rank) == 0 && r.voter_count == head.voter_count);
	EXPECT(r.bytes.len <= CONTROL_VIEW_MAX);
	expect_within(r.bytes, bytes);
	control_record_encode(&r, &again);
	expect_bytes(&again, bytes);
}

static void promise(struct view bytes)
{
	struct control_promise p;
	uint8_t again[CONTROL_PROMISE_BYTES];

	if (control_promise_decode(bytes, &p) != 0)
		return;
	control_promise_encode(&p, again);
	EXPECT(view_eq(view_of(again, sizeof(again)), bytes));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view exact = copy_exact(view_of(data, size));

	frame(exact);
	record(exact);
	promise(exact);
	free_exact(exact);
	return 0;
}
