/* The bytes of the control plane. Numbers are big endian. */
#include "cluster/control_bytes.h"

#include "base/bigendian.h"
#include "base/error.h"
#include "base/siphash.h"

/* Of a frame: type, standing, term, rank, number; then of Berkeley DB's: the length of `control`, it, and `rec`. */
enum { FRAME_HEAD = 1 + 1 + 4 * 8, LIBRARY_HEAD = FRAME_HEAD + 4 };

/* Of a record: magic, format, rank, voters, length of the view. */
enum { RECORD_FORMAT = 1, RECORD_HEAD = 4 + 2 + 16 + 1 + 4, RECORD_AT_VOTERS = 22, RECORD_AT_LENGTH = 23 };

enum { PROMISE_AT_TERM = 8, PROMISE_AT_STORED = 16, PROMISE_AT_AGREED = 32, PROMISE_AT_CHECK = 56 };

static const uint8_t record_magic[4] = {'w', 'c', 't', 'l'};
static const uint8_t promise_magic[8] = {'w', 'e', 'i', 'r', 'p', 'r', 'o', '1'};

int control_rank_compare(struct control_rank a, struct control_rank b)
{
	if (a.term != b.term)
		return a.term < b.term ? -1 : 1;
	return a.number == b.number ? 0 : a.number < b.number ? -1 : 1;
}

static void put_number(struct buf *out, uint64_t n, unsigned bytes)
{
	uint8_t at[8];

	bigendian_put(at, n, bytes);
	buf_put(out, view_of(at, bytes));
}

static struct control_rank rank_at(const uint8_t *at)
{
	return (struct control_rank){.term = bigendian_get(at, 8), .number = bigendian_get(at + 8, 8)};
}

void control_frame_encode(const struct control_frame *f, struct buf *out)
{
	buf_put_u8(out, (uint8_t)f->type);
	buf_put_u8(out, (uint8_t)f->standing);
	put_number(out, f->term, 8);
	put_number(out, f->rank.term, 8);
	put_number(out, f->rank.number, 8);
	put_number(out, f->number, 8);
	if (f->type != CONTROL_LIBRARY)
		return;
	put_number(out, f->control.len, 4);
	buf_put(out, f->control);
	buf_put(out, f->rec);
}

int control_frame_decode(struct view in, struct control_frame *out)
{
	struct control_frame f = {0};

	if (in.len < FRAME_HEAD || in.len > CONTROL_FRAME_MAX)
		return ERR_MALFORMED;
	if (in.at[0] < CONTROL_STATE || in.at[0] > CONTROL_STORED || in.at[1] > CONTROL_RULES)
		return ERR_MALFORMED;
	f.type = (enum control_frame_type)in.at[0];
	f.standing = (enum control_standing)in.at[1];
	f.term = bigendian_get(in.at + 2, 8);
	f.rank = rank_at(in.at + 10);
	f.number = bigendian_get(in.at + 26, 8);
	if (f.term > INT64_MAX || f.number > INT64_MAX)
		return ERR_MALFORMED; /* room for one more, always */
	if (f.type == CONTROL_LIBRARY) {
		if (in.len < LIBRARY_HEAD)
			return ERR_MALFORMED;
		size_t control = bigendian_get(in.at + FRAME_HEAD, 4);
		(void)view_take(&in, LIBRARY_HEAD);
		if (control == 0 || control > in.len)
			return ERR_MALFORMED;
		f.control = view_take(&in, control);
		f.rec = in;
	} else if (in.len != FRAME_HEAD) {
		return ERR_MALFORMED;
	}
	*out = f;
	return 0;
}

void control_record_encode(const struct control_record *r, struct buf *out)
{
	buf_put(out, view_of(record_magic, sizeof(record_magic)));
	put_number(out, RECORD_FORMAT, 2);
	put_number(out, r->rank.term, 8);
	put_number(out, r->rank.number, 8);
	buf_put_u8(out, (uint8_t)r->voter_count);
	put_number(out, r->bytes.len, 4);
	for (unsigned i = 0; i < r->voter_count; i++) {
		buf_put_u8(out, (uint8_t)r->voters[i].len);
		buf_put(out, r->voters[i]);
	}
	buf_put(out, r->bytes);
}

static bool take_name(struct view *in, struct view *name)
{
	size_t len = in->len > 0 ? in->at[0] : 0;

	if (len == 0 || len > CONTROL_NAME_MAX || in->len < 1 + len)
		return false;
	(void)view_take(in, 1);
	*name = view_take(in, len);
	return true;
}

/* What is behind the names is left in *in; its length must be *bytes. */
static int decode_head(struct view *in, struct control_record *out, uint64_t *bytes)
{
	if (in->len < RECORD_HEAD || memcmp(in->at, record_magic, sizeof(record_magic)) != 0)
		return ERR_MALFORMED;
	if (bigendian_get(in->at + 4, 2) > RECORD_FORMAT)
		return ERR_VERSION;
	*out = (struct control_record){.rank = rank_at(in->at + 6), .voter_count = in->at[RECORD_AT_VOTERS]};
	*bytes = bigendian_get(in->at + RECORD_AT_LENGTH, 4);
	if (bigendian_get(in->at + 4, 2) < RECORD_FORMAT || out->voter_count > CONTROL_VOTERS_MAX)
		return ERR_MALFORMED;
	if (out->rank.term > INT64_MAX || out->rank.number > INT64_MAX || *bytes > CONTROL_VIEW_MAX)
		return ERR_MALFORMED;
	(void)view_take(in, RECORD_HEAD);
	for (unsigned i = 0; i < out->voter_count; i++) {
		if (!take_name(in, &out->voters[i]))
			return ERR_MALFORMED;
	}
	return 0;
}

int control_record_decode_head(struct view in, struct control_record *out)
{
	struct control_record r;
	uint64_t bytes;
	int err = decode_head(&in, &r, &bytes);

	if (err == 0)
		*out = r;
	return err;
}

int control_record_decode(struct view in, struct control_record *out)
{
	struct control_record r;
	uint64_t bytes;
	int err = decode_head(&in, &r, &bytes);

	if (err)
		return err;
	if (in.len != bytes)
		return ERR_MALFORMED;
	r.bytes = in;
	*out = r;
	return 0;
}

/* Against a torn or a foreign file, not against people: the key is no secret. */
static uint64_t check_of(const uint8_t *bytes)
{
	return siphash((struct siphash_key){.k0 = 1, .k1 = 1}, view_of(bytes, PROMISE_AT_CHECK));
}

void control_promise_encode(const struct control_promise *p, uint8_t out[CONTROL_PROMISE_BYTES])
{
	memset(out, 0, CONTROL_PROMISE_BYTES);
	memcpy(out, promise_magic, sizeof(promise_magic));
	bigendian_put(out + PROMISE_AT_TERM, p->term, 8);
	bigendian_put(out + PROMISE_AT_STORED, p->stored.term, 8);
	bigendian_put(out + PROMISE_AT_STORED + 8, p->stored.number, 8);
	bigendian_put(out + PROMISE_AT_AGREED, p->agreed.term, 8);
	bigendian_put(out + PROMISE_AT_AGREED + 8, p->agreed.number, 8);
	bigendian_put(out + PROMISE_AT_CHECK, check_of(out), 8);
}

int control_promise_decode(struct view in, struct control_promise *out)
{
	if (in.len != CONTROL_PROMISE_BYTES || memcmp(in.at, promise_magic, sizeof(promise_magic)) != 0)
		return ERR_MALFORMED;
	if (bigendian_get(in.at + PROMISE_AT_CHECK, 8) != check_of(in.at))
		return ERR_MALFORMED;
	*out = (struct control_promise){
	    .term = bigendian_get(in.at + PROMISE_AT_TERM, 8),
	    .stored = rank_at(in.at + PROMISE_AT_STORED),
	    .agreed = rank_at(in.at + PROMISE_AT_AGREED),
	};
	return 0;
}
