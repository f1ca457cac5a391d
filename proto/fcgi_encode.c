/* The FastCGI record encoder: events in, bytes out, into a buf that the caller owns. Pure; depends on base/ only.
 * Each call appends whole records or nothing. */
#include "proto/fcgi.h"

#include "base/invariant.h"

/* A multiple of 8, so that only the last record of a piece needs padding. */
enum { STREAM_RECORD_MAX = FCGI_CONTENT_MAX / 8 * 8 };

static void write_u16(uint8_t *out, uint16_t n)
{
	out[0] = (uint8_t)(n >> 8);
	out[1] = (uint8_t)n;
}

static void write_u32(uint8_t *out, uint32_t n)
{
	write_u16(out, (uint16_t)(n >> 16));
	write_u16(out + 2, (uint16_t)n);
}

void fcgi_header_write(uint8_t out[FCGI_HEADER_BYTES], uint8_t type, uint16_t id, size_t content, size_t padding)
{
	INVARIANT(content <= FCGI_CONTENT_MAX);
	INVARIANT(padding <= FCGI_PADDING_MAX);
	out[0] = FCGI_VERSION;
	out[1] = type;
	write_u16(out + 2, id);
	write_u16(out + 4, (uint16_t)content);
	out[6] = (uint8_t)padding;
	out[7] = 0;
}

/* A record with a zeroed body of `content` bytes; NULL after an error. */
static uint8_t *put_fixed(struct buf *b, uint8_t type, uint16_t id, size_t content)
{
	uint8_t *out = buf_reserve(b, FCGI_HEADER_BYTES + content);

	if (!out)
		return NULL;
	fcgi_header_write(out, type, id, content, 0);
	memset(out + FCGI_HEADER_BYTES, 0, content);
	buf_commit(b, FCGI_HEADER_BYTES + content);
	return out + FCGI_HEADER_BYTES;
}

void fcgi_put_begin(struct buf *b, uint16_t id, uint16_t role, uint8_t flags)
{
	INVARIANT(id != 0);
	uint8_t *body = put_fixed(b, FCGI_BEGIN_REQUEST, id, FCGI_BODY_BYTES);
	if (!body)
		return;
	write_u16(body, role);
	body[2] = flags;
}

void fcgi_put_abort(struct buf *b, uint16_t id)
{
	INVARIANT(id != 0);
	(void)put_fixed(b, FCGI_ABORT_REQUEST, id, 0);
}

void fcgi_put_end(struct buf *b, uint16_t id, uint32_t app_status, uint8_t protocol_status)
{
	INVARIANT(id != 0);
	uint8_t *body = put_fixed(b, FCGI_END_REQUEST, id, FCGI_BODY_BYTES);
	if (!body)
		return;
	write_u32(body, app_status);
	body[4] = protocol_status;
}

void fcgi_put_unknown_type(struct buf *b, uint8_t type)
{
	uint8_t *body = put_fixed(b, FCGI_UNKNOWN_TYPE, 0, FCGI_BODY_BYTES);

	if (body)
		body[0] = type;
}

void fcgi_put_stream(struct buf *b, uint8_t type, uint16_t id, struct view data)
{
	INVARIANT(id != 0);
	INVARIANT(data.len <= PTRDIFF_MAX); /* no object is larger: the sum below fits */
	if (data.len == 0)
		return;
	size_t records = (data.len - 1) / STREAM_RECORD_MAX + 1;
	size_t padding = -data.len % 8;
	size_t total = records * FCGI_HEADER_BYTES + data.len + padding;
	uint8_t *out = buf_reserve(b, total);
	if (!out)
		return;
	while (data.len > STREAM_RECORD_MAX) {
		fcgi_header_write(out, type, id, STREAM_RECORD_MAX, 0);
		memcpy(out + FCGI_HEADER_BYTES, data.at, STREAM_RECORD_MAX);
		out += FCGI_HEADER_BYTES + STREAM_RECORD_MAX;
		data.at += STREAM_RECORD_MAX;
		data.len -= STREAM_RECORD_MAX;
	}
	fcgi_header_write(out, type, id, data.len, padding);
	memcpy(out + FCGI_HEADER_BYTES, data.at, data.len);
	memset(out + FCGI_HEADER_BYTES + data.len, 0, padding);
	buf_commit(b, total);
}

void fcgi_put_stream_end(struct buf *b, uint8_t type, uint16_t id)
{
	INVARIANT(id != 0);
	(void)put_fixed(b, type, id, 0);
}
