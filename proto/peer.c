/* Frames between nodes: heads, their order and their bounds (doc/peer-protocol.md, "Frames"). Pure. */
#include "proto/peer_inside.h"

#include "base/invariant.h"
#include "base/reader.h"

enum { HELLO_LINK_AT = PEER_MAGIC_BYTES + 2 + 2 };

_Static_assert((int)PEER_NAME_MAX == (int)NAME_BYTES_MAX, "a node's name is a name");

#define ON_CONTROL (1U << PEER_LINK_CONTROL)
#define ON_BULK (1U << PEER_LINK_BULK)

/* A row for each type: its bound and the links that carry it. */
static const struct rule {
	uint32_t body_max;
	unsigned links;
} rules[] = {
    [PEER_HELLO] = {PEER_HELLO_MAX, ON_CONTROL | ON_BULK},
    [PEER_GOODBYE] = {PEER_GOODBYE_MAX, ON_CONTROL | ON_BULK},
    [PEER_BEAT] = {PEER_BEAT_MAX, ON_CONTROL | ON_BULK},
    [PEER_CREDIT] = {PEER_CREDIT_BYTES, ON_CONTROL | ON_BULK},
    [PEER_VIEW] = {PEER_VIEW_MAX, ON_CONTROL},
    [PEER_CONTROL] = {PEER_BODY_MAX, ON_CONTROL},
    [PEER_REPORT] = {PEER_REPORT_MAX, ON_CONTROL},
};

enum { TYPES = sizeof rules / sizeof rules[0] };

void peer_decoder_init(struct peer_decoder *d)
{
	*d = (struct peer_decoder){.next = 1};
}

uint32_t peer_body_max(enum peer_type type)
{
	INVARIANT(type >= PEER_HELLO && (unsigned)type < TYPES);
	return rules[type].body_max;
}

bool peer_type_is_on(enum peer_type type, enum peer_link link)
{
	return type >= PEER_HELLO && (unsigned)type < TYPES && (rules[type].links & 1U << link) != 0;
}

struct head {
	uint64_t length, type, flags, stream, sequence;
};

static struct head head_of(struct view in)
{
	struct reader r = reader_of(in);
	struct head h = {.length = reader_number(&r, 4)};

	h.type = reader_number(&r, 1);
	h.flags = reader_number(&r, 1);
	h.stream = reader_number(&r, 2);
	h.sequence = reader_number(&r, 8);
	return h;
}

/* What is wrong with a head; NULL: nothing. */
static const char *fault_of(const struct peer_decoder *d, const struct head *h)
{
	if (h->type == 0 || h->type >= TYPES)
		return "unknown frame type";
	if (h->flags != 0)
		return "unknown frame flags";
	if (h->sequence != d->next)
		return "sequence number out of turn";
	if (h->length > rules[h->type].body_max)
		return "frame too long for its type";
	if (h->stream != 0)
		return "frame of a stream that its type does not have";
	if (!d->greeted && h->type != PEER_HELLO && h->type != PEER_GOODBYE)
		return "frame before HELLO";
	if (d->greeted && h->type == PEER_HELLO)
		return "second HELLO";
	return peer_type_is_on((enum peer_type)h->type, d->link) ? NULL : "frame type of the other link";
}

/* Anything but 1 is no link of ours, or a HELLO that is refused as a whole. */
static enum peer_link link_of(struct view hello)
{
	bool bulk = hello.len > HELLO_LINK_AT && hello.at[HELLO_LINK_AT] == PEER_LINK_BULK;

	return bulk ? PEER_LINK_BULK : PEER_LINK_CONTROL;
}

enum decode peer_next(struct peer_decoder *d, struct view *in, struct peer_frame *out)
{
	if (d->reason)
		return DECODE_MALFORMED;
	if (in->len < PEER_HEAD_BYTES)
		return DECODE_NEED_MORE;
	struct head h = head_of(*in);
	d->reason = fault_of(d, &h);
	if (d->reason)
		return DECODE_MALFORMED;
	if (in->len - PEER_HEAD_BYTES < h.length)
		return DECODE_NEED_MORE;
	(void)view_take(in, PEER_HEAD_BYTES);
	*out = (struct peer_frame){.type = (enum peer_type)h.type,
				   .stream = (uint16_t)h.stream,
				   .sequence = h.sequence,
				   .body = view_take(in, h.length)};
	d->next++;
	if (out->type == PEER_HELLO) {
		d->greeted = true;
		d->link = link_of(out->body);
	}
	return DECODE_OK;
}

size_t peer_frame_bytes(struct view in)
{
	return in.len < PEER_HEAD_BYTES ? 0 : PEER_HEAD_BYTES + head_of(in).length;
}

void peer_put_head(struct buf *b, enum peer_type type, uint16_t stream, uint64_t sequence, size_t body_bytes)
{
	INVARIANT(body_bytes <= peer_body_max(type));
	INVARIANT(sequence > 0);
	buf_put_number(b, body_bytes, 4);
	buf_put_number(b, type, 1);
	buf_put_number(b, 0, 1);
	buf_put_number(b, stream, 2);
	buf_put_number(b, sequence, 8);
}
