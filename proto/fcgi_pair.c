/* FastCGI name-value pairs (3.4), and the one record of the protocol that weir answers with them: GET_VALUES (4.1).
 * Pure; depends on base/ only. */
#include "proto/fcgi.h"

#include "base/error.h"
#include "base/invariant.h"
#include "base/decimal.h"

enum { LENGTH_SHORT_MAX = 127 }; /* in one byte; longer ones take four, the top bit of the first set */

/* Reads one length at offset *at of `in`, which is advanced. False when the input ends inside of it. */
static bool read_length(struct view in, size_t *at, size_t *out)
{
	if (*at >= in.len)
		return false;
	const uint8_t *p = in.at + *at;
	if (LIKELY(p[0] <= LENGTH_SHORT_MAX)) {
		*out = p[0];
		*at += 1;
		return true;
	}
	if (in.len - *at < 4)
		return false;
	*out = (size_t)(p[0] & 0x7f) << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
	*at += 4;
	return true;
}

enum decode fcgi_pair_next(struct view *in, struct param *out)
{
	size_t at = 0, name, value;

	if (!read_length(*in, &at, &name) || !read_length(*in, &at, &value))
		return DECODE_NEED_MORE;
	/* Each against what is left: the sum of two lengths may not fit (libfcgi CVE-2025-23016). */
	size_t left = in->len - at;
	if (name > left || value > left - name)
		return DECODE_NEED_MORE;
	out->name = view_of(in->at + at, name);
	out->value = view_of(in->at + at + name, value);
	in->at += at + name + value;
	in->len = left - name - value;
	return DECODE_OK;
}

static size_t length_bytes(size_t n)
{
	return n <= LENGTH_SHORT_MAX ? 1 : 4;
}

static size_t write_length(uint8_t *out, size_t n)
{
	if (n <= LENGTH_SHORT_MAX) {
		out[0] = (uint8_t)n;
		return 1;
	}
	out[0] = (uint8_t)(n >> 24 | 0x80);
	out[1] = (uint8_t)(n >> 16);
	out[2] = (uint8_t)(n >> 8);
	out[3] = (uint8_t)n;
	return 4;
}

size_t fcgi_pair_bytes(struct param p)
{
	return length_bytes(p.name.len) + length_bytes(p.value.len) + p.name.len + p.value.len;
}

size_t fcgi_pair_prefix_write(uint8_t out[FCGI_PAIR_PREFIX_MAX], struct param p)
{
	INVARIANT(p.name.len <= FCGI_LENGTH_MAX);
	INVARIANT(p.value.len <= FCGI_LENGTH_MAX);
	size_t n = write_length(out, p.name.len);
	return n + write_length(out + n, p.value.len);
}

void fcgi_put_pair(struct buf *b, struct param p)
{
	if (p.name.len > FCGI_LENGTH_MAX || p.value.len > FCGI_LENGTH_MAX) {
		if (!b->err)
			b->err = ERR_TOO_LARGE;
		return;
	}
	uint8_t *out = buf_reserve(b, fcgi_pair_bytes(p));
	if (!out)
		return;
	size_t n = fcgi_pair_prefix_write(out, p);
	if (p.name.len > 0)
		memcpy(out + n, p.name.at, p.name.len);
	n += p.name.len;
	if (p.value.len > 0)
		memcpy(out + n, p.value.at, p.value.len);
	buf_commit(b, n + p.value.len);
}

enum decode fcgi_put_values_result(struct buf *b, struct view asked, uint32_t max_conns, uint32_t max_reqs,
				   bool multiplexes)
{
	char conns[DECIMAL_MAX], reqs[DECIMAL_MAX];
	struct param known[] = {
	    {VIEW("FCGI_MAX_CONNS"), decimal(max_conns, conns)},
	    {VIEW("FCGI_MAX_REQS"), decimal(max_reqs, reqs)},
	    {VIEW("FCGI_MPXS_CONNS"), multiplexes ? VIEW("1") : VIEW("0")},
	};
	enum { KNOWN = sizeof known / sizeof known[0] };
	bool wanted[KNOWN] = {false}; /* once, however often it is asked: the answer fits one record */
	size_t content = 0;
	struct param p;

	while (fcgi_pair_next(&asked, &p) == DECODE_OK) {
		for (size_t i = 0; i < KNOWN; i++) {
			if (wanted[i] || !view_eq(p.name, known[i].name))
				continue;
			wanted[i] = true;
			content += fcgi_pair_bytes(known[i]);
		}
	}
	if (asked.len > 0)
		return DECODE_MALFORMED;
	size_t padding = -content % 8;
	uint8_t *out = buf_reserve(b, FCGI_HEADER_BYTES + content + padding);
	if (!out)
		return DECODE_OK;
	fcgi_header_write(out, FCGI_GET_VALUES_RESULT, 0, content, padding);
	buf_commit(b, FCGI_HEADER_BYTES);
	for (size_t i = 0; i < KNOWN; i++) {
		if (wanted[i])
			fcgi_put_pair(b, known[i]);
	}
	buf_put(b, view_of("\0\0\0\0\0\0\0", padding));
	return DECODE_OK;
}
