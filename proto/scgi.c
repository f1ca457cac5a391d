/* The SCGI netstring decoder and the rules of the header that it holds. Pure; depends on base/ only. The content goes
 * to the caller's buf, since a header that arrives in pieces must be whole before it can be read. */
#include "proto/scgi.h"

#include "base/error.h"
#include "base/invariant.h"

enum { SCGI_DIGITS_MAX = 9 }; /* below 2^30: no length overflows */

void scgi_decoder_init(struct scgi_decoder *d, uint32_t max_bytes)
{
	*d = (struct scgi_decoder){.max_bytes = max_bytes};
}

static void decoder_check(const struct scgi_decoder *d)
{
	INVARIANT(d->state <= SCGI_ST_BAD);
	INVARIANT(d->digits <= SCGI_DIGITS_MAX);
	INVARIANT(d->state == SCGI_ST_LENGTH || d->state == SCGI_ST_BAD || d->left <= d->max_bytes);
	INVARIANT(d->state < SCGI_ST_COMMA || d->state == SCGI_ST_BAD || d->left == 0);
	INVARIANT((d->state == SCGI_ST_BAD) == (d->reason != NULL));
}

static void bad(struct scgi_decoder *d, const char *reason)
{
	d->state = SCGI_ST_BAD;
	d->reason = reason;
}

static void length_done(struct scgi_decoder *d)
{
	if (d->digits == 0) {
		bad(d, "netstring without a length");
	} else if (d->left > d->max_bytes) {
		d->too_large = true;
		bad(d, "netstring over its limit");
	} else {
		d->state = d->left > 0 ? SCGI_ST_HEADER : SCGI_ST_COMMA;
	}
}

static void feed_length(struct scgi_decoder *d, uint8_t c)
{
	if (c == ':') {
		length_done(d);
	} else if (c < '0' || c > '9') {
		bad(d, "netstring length is not a number");
	} else if (d->digits > 0 && d->left == 0) {
		bad(d, "netstring length with a leading zero");
	} else if (d->digits == SCGI_DIGITS_MAX) {
		bad(d, "netstring length over nine digits");
	} else {
		d->left = d->left * 10 + (uint32_t)(c - '0');
		d->digits++;
	}
}

static void feed_header(struct scgi_decoder *d, struct view *in, struct buf *header)
{
	struct view part = view_take(in, d->left);

	buf_put(header, part);
	if (buf_error(header)) {
		bad(d, error_text(buf_error(header)));
		return;
	}
	d->left -= (uint32_t)part.len;
	if (d->left == 0)
		d->state = SCGI_ST_COMMA;
}

enum decode scgi_feed(struct scgi_decoder *d, struct view *in, struct buf *header)
{
	decoder_check(d);
	while (in->len > 0 && d->state < SCGI_ST_DONE) {
		switch (d->state) {
		case SCGI_ST_LENGTH:
			feed_length(d, view_take(in, 1).at[0]);
			break;
		case SCGI_ST_HEADER:
			feed_header(d, in, header);
			break;
		default:
			if (view_take(in, 1).at[0] == ',')
				d->state = SCGI_ST_DONE;
			else
				bad(d, "netstring without its comma");
			break;
		}
	}
	if (d->state == SCGI_ST_DONE)
		return DECODE_OK;
	return d->state == SCGI_ST_BAD ? DECODE_MALFORMED : DECODE_NEED_MORE;
}

/* The names seen so far, by where they begin in the header; open addressing. The bound on their number keeps the cost
 * small even where a client picks header names that fall on one slot. */
enum { NAME_SLOTS_BITS = 10, NAME_SLOTS = 1 << NAME_SLOTS_BITS };
_Static_assert(SCGI_NAMES_MAX * 2 <= NAME_SLOTS, "probing must stay short");

struct name_set {
	const uint8_t *header;
	uint32_t slot[NAME_SLOTS]; /* 0: free; else the offset of a name plus 1 */
};

/* From the length and up to 16 bytes at both ends. Never aimed at: see SCGI_NAMES_MAX. */
static size_t name_hash(struct view name)
{
	uint64_t first = 0, last = 0;

	if (name.len >= sizeof first) {
		memcpy(&first, name.at, sizeof first);
		memcpy(&last, name.at + name.len - sizeof last, sizeof last);
	} else {
		memcpy(&first, name.at, name.len);
	}
	uint64_t h = (first ^ (last << 29 | last >> 35)) + name.len;
	return (size_t)(h * UINT64_C(0x9e3779b97f4a7c15) >> (64 - NAME_SLOTS_BITS));
}

/* False when the name is there already. `name` is followed by its NUL, like those in the set: the comparison stops at
 * the first difference, at the latest at the shorter one's NUL. */
static bool name_add(struct name_set *set, struct view name)
{
	size_t at = name_hash(name);

	for (; set->slot[at] != 0; at = (at + 1) % NAME_SLOTS) {
		if (strcmp((const char *)set->header + set->slot[at] - 1, (const char *)name.at) == 0)
			return false;
	}
	set->slot[at] = (uint32_t)(name.at - set->header) + 1;
	return true;
}

/* The next string of the header, which ends in a NUL. */
static struct view next_string(struct view *header)
{
	const uint8_t *end = header->len > 0 ? memchr(header->at, 0, header->len) : NULL;

	INVARIANT(end != NULL); /* params_check() */
	struct view string = view_take(header, (size_t)(end - header->at));
	(void)view_take(header, 1);
	return string;
}

static const char *header_fault(struct view header, uint64_t *content_length)
{
	struct name_set names = {.header = header.at};
	bool version = false;

	for (size_t count = 0; header.len > 0; count++) {
		struct view name = next_string(&header), value = next_string(&header);
		if (count == 0 && !view_eq(name, VIEW("CONTENT_LENGTH")))
			return "CONTENT_LENGTH is not the first header";
		if (count == 0 && !view_to_u64(value, INT64_MAX, content_length))
			return "CONTENT_LENGTH is not a number";
		if (count == SCGI_NAMES_MAX)
			return "too many SCGI headers";
		if (!name_add(&names, name))
			return "SCGI header given twice";
		if (view_eq(name, VIEW("SCGI"))) {
			if (!view_eq(value, VIEW("1")))
				return "SCGI is not \"1\"";
			version = true;
		}
	}
	return version ? NULL : "no SCGI header";
}

bool scgi_check(struct view header, uint64_t *content_length, const char **reason)
{
	uint64_t length = 0;
	const char *fault = header.len > 0 ? header_fault(header, &length) : "CONTENT_LENGTH is not the first header";

	if (fault) {
		*reason = fault;
		return false;
	}
	*content_length = length;
	return true;
}
