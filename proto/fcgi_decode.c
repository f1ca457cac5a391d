/* The FastCGI record decoder: bytes in, events out. Pure: no allocation, no system call, depends on base/ only.
 * The caller owns the input; the pieces of streams that are handed out point into it.
 *
 *   HEADER --stream, values--> CONTENT --> PADDING --> HEADER      any --broken rule--> BAD
 *          --fixed body------> BODY    -->
 *          --foreign, no content---------> */
#include "proto/fcgi.h"

#include "base/invariant.h"

/* How the content of a record type is read. */
enum shape {
	SHAPE_FOREIGN, /* skipped */
	SHAPE_FIXED,   /* FCGI_BODY_BYTES, or none for ABORT_REQUEST */
	SHAPE_STREAM,
	SHAPE_VALUES,
};

struct record_rule {
	uint8_t shape;
	uint8_t side;       /* the one that may receive it */
	uint8_t body_bytes; /* FIXED */
	uint8_t management; /* 1: the request id is 0, 3.3; 0: it is not */
};

static const struct record_rule foreign = {.shape = SHAPE_FOREIGN};
static const struct record_rule rules[] = {
    [FCGI_BEGIN_REQUEST] = {SHAPE_FIXED, FCGI_SERVER, FCGI_BODY_BYTES, 0},
    [FCGI_ABORT_REQUEST] = {SHAPE_FIXED, FCGI_SERVER, 0, 0},
    [FCGI_END_REQUEST] = {SHAPE_FIXED, FCGI_CLIENT, FCGI_BODY_BYTES, 0},
    [FCGI_PARAMS] = {SHAPE_STREAM, FCGI_SERVER, 0, 0},
    [FCGI_STDIN] = {SHAPE_STREAM, FCGI_SERVER, 0, 0},
    [FCGI_STDOUT] = {SHAPE_STREAM, FCGI_CLIENT, 0, 0},
    [FCGI_STDERR] = {SHAPE_STREAM, FCGI_CLIENT, 0, 0},
    [FCGI_DATA] = {SHAPE_STREAM, FCGI_SERVER, 0, 0},
    [FCGI_GET_VALUES] = {SHAPE_VALUES, FCGI_SERVER, 0, 1},
    [FCGI_GET_VALUES_RESULT] = {SHAPE_VALUES, FCGI_CLIENT, 0, 1},
    [FCGI_UNKNOWN_TYPE] = {SHAPE_FIXED, FCGI_CLIENT, FCGI_BODY_BYTES, 1},
};

/* What one step of the decoder came to. */
enum step { STEP_EVENT, STEP_ON, STEP_NEED_MORE, STEP_BAD };

static const struct record_rule *rule_of(uint8_t type)
{
	/* There is no type 0 in 8; its row is the zeroed one, which is foreign as well. */
	return type < sizeof rules / sizeof rules[0] ? &rules[type] : &foreign;
}

static uint16_t read_u16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t read_u32(const uint8_t *p)
{
	return (uint32_t)read_u16(p) << 16 | read_u16(p + 2);
}

void fcgi_decoder_init(struct fcgi_decoder *d, enum fcgi_side side)
{
	*d = (struct fcgi_decoder){.side = side};
}

void fcgi_decoder_check(const struct fcgi_decoder *d)
{
	INVARIANT(d->state <= FCGI_ST_BAD);
	INVARIANT(d->held_len < sizeof d->held);
	INVARIANT(d->held_len == 0 || d->state <= FCGI_ST_BODY);
	INVARIANT(d->state != FCGI_ST_PADDING || d->padding_left > 0);
	INVARIANT(d->content_left <= FCGI_CONTENT_MAX);
	INVARIANT(d->padding_left <= FCGI_CONTENT_MAX + FCGI_PADDING_MAX);
	INVARIANT((d->state == FCGI_ST_BAD) == (d->reason != NULL));
}

bool fcgi_decoder_idle(const struct fcgi_decoder *d)
{
	return d->state == FCGI_ST_HEADER && d->held_len == 0;
}

static enum step bad(struct fcgi_decoder *d, const char *reason)
{
	d->state = FCGI_ST_BAD;
	d->held_len = 0;
	d->reason = reason;
	return STEP_BAD;
}

/* The content is complete, and its event with it: what is left of the record is padding. */
static enum step content_done(struct fcgi_decoder *d)
{
	d->state = d->padding_left > 0 ? FCGI_ST_PADDING : FCGI_ST_HEADER;
	return STEP_EVENT;
}

/* The next 8 bytes, a header or a fixed body: in place where the input has them whole, else gathered in d->held.
 * NULL when the input ended before. */
static const uint8_t *gather(struct fcgi_decoder *d, struct view *in)
{
	const uint8_t *at = in->at;

	if (LIKELY(d->held_len == 0 && in->len >= sizeof d->held)) {
		in->at += sizeof d->held;
		in->len -= sizeof d->held;
		return at;
	}
	struct view part = view_take(in, sizeof d->held - d->held_len);
	if (part.len > 0)
		memcpy(d->held + d->held_len, part.at, part.len);
	if (d->held_len + part.len < sizeof d->held) {
		d->held_len = (uint8_t)(d->held_len + part.len);
		return NULL;
	}
	d->held_len = 0;
	return d->held;
}

/* The rules that a header alone can break; NULL when it keeps them all. */
static const char *header_fault(const struct fcgi_decoder *d, const struct record_rule *rule)
{
	if (rule->shape == SHAPE_FOREIGN)
		return NULL;
	if (rule->side != d->side)
		return "record type belongs to the other side";
	if (rule->management && d->id != 0)
		return "management record with a request id";
	if (!rule->management && d->id == 0)
		return "application record with request id 0";
	if (rule->shape == SHAPE_FIXED && d->content_left != rule->body_bytes)
		return "wrong content length of a fixed record";
	return NULL;
}

static enum step skip_foreign(struct fcgi_decoder *d, struct fcgi_event *ev)
{
	/* Up to 65,790: the sum that does not fit 16 bits (HAProxy CVE-2026-55203). */
	d->padding_left += d->content_left;
	d->content_left = 0;
	ev->kind = FCGI_EV_FOREIGN;
	return content_done(d);
}

static enum step next_header(struct fcgi_decoder *d, struct view *in, struct fcgi_event *ev)
{
	const uint8_t *h = gather(d, in); /* 3.3: version, type, id, content length, padding length, reserved */

	if (!h)
		return STEP_NEED_MORE;
	if (h[0] != FCGI_VERSION)
		return bad(d, "unknown FastCGI version");
	d->type = h[1];
	d->id = read_u16(h + 2);
	d->content_left = read_u16(h + 4);
	d->padding_left = h[6];

	const struct record_rule *rule = rule_of(d->type);
	const char *fault = header_fault(d, rule);
	if (UNLIKELY(fault != NULL))
		return bad(d, fault);

	*ev = (struct fcgi_event){.type = d->type, .id = d->id};
	if (rule->shape == SHAPE_FOREIGN)
		return skip_foreign(d, ev);
	if (rule->shape == SHAPE_STREAM && d->content_left == 0) {
		ev->kind = FCGI_EV_STREAM_END;
		return content_done(d);
	}
	if (rule->shape == SHAPE_FIXED && rule->body_bytes == 0) {
		ev->kind = FCGI_EV_ABORT;
		return content_done(d);
	}
	d->state = rule->shape == SHAPE_FIXED ? FCGI_ST_BODY : FCGI_ST_CONTENT;
	return STEP_ON;
}

static enum step next_body(struct fcgi_decoder *d, struct view *in, struct fcgi_event *ev)
{
	const uint8_t *body = gather(d, in);

	if (!body)
		return STEP_NEED_MORE;
	d->content_left = 0;
	*ev = (struct fcgi_event){.type = d->type, .id = d->id};
	switch (d->type) {
	case FCGI_BEGIN_REQUEST: /* 5.1: role, flags, 5 reserved */
		ev->kind = FCGI_EV_BEGIN;
		ev->role = read_u16(body);
		ev->flags = body[2];
		break;
	case FCGI_END_REQUEST: /* 5.5: application status, protocol status, 3 reserved */
		ev->kind = FCGI_EV_END;
		ev->app_status = read_u32(body);
		ev->protocol_status = body[4];
		break;
	default: /* 4.2: type, 7 reserved */
		INVARIANT(d->type == FCGI_UNKNOWN_TYPE);
		ev->kind = FCGI_EV_UNKNOWN_TYPE;
		ev->unknown = body[0];
		break;
	}
	return content_done(d);
}

static enum step next_content(struct fcgi_decoder *d, struct view *in, struct fcgi_event *ev)
{
	bool values = rule_of(d->type)->shape == SHAPE_VALUES;

	if (d->content_left == 0) {
		INVARIANT(values);
		*ev = (struct fcgi_event){.kind = FCGI_EV_VALUES_END, .type = d->type};
		return content_done(d);
	}
	if (in->len == 0)
		return STEP_NEED_MORE;
	*ev = (struct fcgi_event){
	    .kind = values ? FCGI_EV_VALUES : FCGI_EV_DATA,
	    .type = d->type,
	    .id = d->id,
	    .data = view_take(in, d->content_left),
	};
	d->content_left -= (uint32_t)ev->data.len;
	/* A values record stays in CONTENT: its VALUES_END is still to come. */
	return d->content_left == 0 && !values ? content_done(d) : STEP_EVENT;
}

static enum step next_padding(struct fcgi_decoder *d, struct view *in)
{
	d->padding_left -= (uint32_t)view_take(in, d->padding_left).len;
	if (d->padding_left > 0)
		return STEP_NEED_MORE;
	d->state = FCGI_ST_HEADER;
	return STEP_ON;
}

static enum step step(struct fcgi_decoder *d, struct view *in, struct fcgi_event *ev)
{
	switch (d->state) {
	case FCGI_ST_HEADER:
		return next_header(d, in, ev);
	case FCGI_ST_BODY:
		return next_body(d, in, ev);
	case FCGI_ST_CONTENT:
		return next_content(d, in, ev);
	case FCGI_ST_PADDING:
		return next_padding(d, in);
	case FCGI_ST_BAD:
		break;
	}
	return STEP_BAD;
}

enum decode fcgi_next(struct fcgi_decoder *d, struct view *in, struct fcgi_event *ev)
{
	enum step s;

	fcgi_decoder_check(d);
	do
		s = step(d, in, ev);
	while (s == STEP_ON);
	if (s == STEP_EVENT)
		return DECODE_OK;
	INVARIANT(s == STEP_BAD || in->len == 0);
	return s == STEP_BAD ? DECODE_MALFORMED : DECODE_NEED_MORE;
}
