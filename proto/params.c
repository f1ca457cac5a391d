/* Walking a request's variables, and writing them for a FastCGI or an SCGI backend. Pure; depends on base/ and fcgi
 * only. What is walked is borrowed, what is written goes to the caller's buf. */
#include "proto/params.h"

#include "base/error.h"
#include "base/invariant.h"
#include "base/decimal.h"

bool params_check(const struct params *p, const char **reason)
{
	struct params_iter it = params_begin(p);
	struct param param;

	while (params_next(&it, &param)) {
		if (p->wire == WIRE_SCGI && param.name.len == 0) {
			*reason = "SCGI header with an empty name";
			return false;
		}
	}
	if (it.rest.len == 0)
		return true;
	*reason = p->wire == WIRE_SCGI ? "SCGI headers end inside a pair" : "PARAMS end inside a name-value pair";
	return false;
}

struct params_iter params_begin(const struct params *p)
{
	return (struct params_iter){.wire = p->wire, .rest = p->raw};
}

/* SCGI: name NUL value NUL. False, and nothing taken, when *rest does not begin with a whole pair. */
static bool next_scgi(struct view *rest, struct param *out)
{
	if (rest->len == 0)
		return false;
	const uint8_t *name_end = memchr(rest->at, 0, rest->len);
	if (!name_end)
		return false;
	size_t name = (size_t)(name_end - rest->at);
	const uint8_t *value_at = name_end + 1;
	size_t left = rest->len - name - 1;
	const uint8_t *value_end = left > 0 ? memchr(value_at, 0, left) : NULL;
	if (!value_end)
		return false;
	size_t value = (size_t)(value_end - value_at);
	out->name = view_of(rest->at, name);
	out->value = view_of(value_at, value);
	*rest = view_of(value_end + 1, left - value - 1);
	return true;
}

bool params_next(struct params_iter *it, struct param *out)
{
	return it->wire == WIRE_SCGI ? next_scgi(&it->rest, out) : fcgi_pair_next(&it->rest, out) == DECODE_OK;
}

bool params_find(const struct params *p, struct view name, struct view *value)
{
	struct params_iter it = params_begin(p);
	struct param param;

	while (params_next(&it, &param)) {
		if (view_eq(param.name, name)) {
			*value = param.value;
			return true;
		}
	}
	return false;
}

static bool dropped(struct view name, struct view drop_prefix)
{
	return drop_prefix.len > 0 && view_starts(name, drop_prefix);
}

/* --- FastCGI --- */

/* PARAMS records in the making: the header of the open one is written when it is closed. After an error of the buf
 * nothing is written any more, and the counts do not matter. */
struct records {
	struct buf *b;
	uint16_t id;
	bool open;
	size_t at;      /* of the open record's header, from the front of the buf: that may move in memory */
	size_t content; /* bytes in the open record */
};

static size_t records_room(const struct records *r)
{
	return r->open ? FCGI_CONTENT_MAX - r->content : FCGI_CONTENT_MAX;
}

static void records_open(struct records *r)
{
	static const uint8_t later[FCGI_HEADER_BYTES];

	r->at = buf_len(r->b);
	r->content = 0;
	r->open = true;
	buf_put(r->b, view_of(later, sizeof later));
}

static void records_close(struct records *r)
{
	static const uint8_t zeros[7];
	size_t padding = -r->content % 8;

	if (!r->open)
		return;
	r->open = false;
	buf_put(r->b, view_of(zeros, padding));
	if (buf_error(r->b))
		return;
	INVARIANT(buf_len(r->b) == r->at + FCGI_HEADER_BYTES + r->content + padding);
	fcgi_header_write(r->b->data + r->b->head + r->at, FCGI_PARAMS, r->id, r->content, padding);
}

/* Content wherever it falls: cut where a record is full. */
static void records_put(struct records *r, struct view bytes)
{
	while (bytes.len > 0) {
		if (!r->open)
			records_open(r);
		struct view part = view_take(&bytes, records_room(r));
		buf_put(r->b, part);
		r->content += part.len;
		if (r->content == FCGI_CONTENT_MAX)
			records_close(r);
	}
}

/* A pair that no record can hold. What follows it must not begin in the middle of a record. */
static void records_put_long(struct records *r, struct param p)
{
	uint8_t prefix[FCGI_PAIR_PREFIX_MAX];

	records_put(r, view_of(prefix, fcgi_pair_prefix_write(prefix, p)));
	records_put(r, p.name);
	records_put(r, p.value);
	records_close(r);
}

static void records_put_pair(struct records *r, struct param p)
{
	if (p.name.len > FCGI_LENGTH_MAX || p.value.len > FCGI_LENGTH_MAX) {
		fcgi_put_pair(r->b, p); /* sets its error */
		return;
	}
	size_t n = fcgi_pair_bytes(p);
	if (n > records_room(r))
		records_close(r);
	if (n > FCGI_CONTENT_MAX) {
		records_put_long(r, p);
		return;
	}
	if (!r->open)
		records_open(r);
	fcgi_put_pair(r->b, p);
	r->content += n;
}

/* Pairs that are FastCGI already are copied as they came, in runs as long as a record has room for. */
static void records_put_raw(struct records *r, struct view rest, struct view drop_prefix)
{
	struct view run = view_of(rest.at, 0);
	struct view pair = rest;
	struct param p;

	if (drop_prefix.len == 0 && rest.len <= records_room(r)) {
		records_put(r, rest);
		return;
	}
	for (; fcgi_pair_next(&rest, &p) == DECODE_OK; pair = rest) {
		pair.len -= rest.len;
		if (dropped(p.name, drop_prefix)) {
			records_put(r, run);
			run = view_of(rest.at, 0);
			continue;
		}
		if (pair.len > records_room(r) - run.len) {
			records_put(r, run);
			records_close(r);
			run = view_of(pair.at, 0);
		}
		run.len += pair.len;
		if (run.len > FCGI_CONTENT_MAX) {
			records_put(r, run);
			records_close(r);
			run = view_of(rest.at, 0);
		}
	}
	records_put(r, run);
}

void params_put_fcgi(struct buf *b, uint16_t id, const struct params *p, struct view drop_prefix,
		     const struct param *extra, size_t extra_count)
{
	INVARIANT(id != 0);
	struct records r = {.b = b, .id = id};

	if (p->wire == WIRE_FCGI) {
		records_put_raw(&r, p->raw, drop_prefix);
	} else {
		struct params_iter it = params_begin(p);
		struct param param;
		while (params_next(&it, &param)) {
			if (!dropped(param.name, drop_prefix))
				records_put_pair(&r, param);
		}
	}
	for (size_t i = 0; i < extra_count; i++)
		records_put_pair(&r, extra[i]);
	records_close(&r);
	fcgi_put_stream_end(b, FCGI_PARAMS, id);
}

/* --- SCGI --- */

enum { SCGI_NETSTRING_MAX = 999999999 }; /* nine digits of length are what decoders take, weir's own among them */

/* Whether a pair of `p` goes to the backend: CONTENT_LENGTH and SCGI are written by us. */
static bool scgi_keeps(struct view name, struct view drop_prefix)
{
	return !dropped(name, drop_prefix) && !view_eq(name, VIEW("CONTENT_LENGTH")) && !view_eq(name, VIEW("SCGI"));
}

static size_t scgi_pair_bytes(struct param p)
{
	return p.name.len + 1 + p.value.len + 1;
}

static bool scgi_can_say(struct param p)
{
	return p.name.len > 0 && !memchr(p.name.at, 0, p.name.len) &&
	       (p.value.len == 0 || !memchr(p.value.at, 0, p.value.len));
}

static uint8_t *scgi_write_string(uint8_t *out, struct view v)
{
	if (v.len > 0)
		memcpy(out, v.at, v.len);
	out[v.len] = 0;
	return out + v.len + 1;
}

static uint8_t *scgi_write_pair(uint8_t *out, struct param p)
{
	return scgi_write_string(scgi_write_string(out, p.name), p.value);
}

/* One pass over everything that will be written: the netstring's length stands before it. 0 or an error. */
static int scgi_measure(const struct params *p, struct view drop_prefix, const struct param *extra, size_t extra_count,
			size_t *bytes)
{
	struct params_iter it = params_begin(p);
	struct param param;

	while (params_next(&it, &param)) {
		if (!scgi_keeps(param.name, drop_prefix))
			continue;
		if (p->wire == WIRE_FCGI && !scgi_can_say(param))
			return ERR_MALFORMED;
		*bytes += scgi_pair_bytes(param);
	}
	for (size_t i = 0; i < extra_count; i++) {
		if (!scgi_can_say(extra[i]))
			return ERR_MALFORMED;
		*bytes += scgi_pair_bytes(extra[i]);
	}
	return *bytes > SCGI_NETSTRING_MAX ? ERR_TOO_LARGE : 0;
}

void params_put_scgi(struct buf *b, const struct params *p, uint64_t content_length, struct view drop_prefix,
		     const struct param *extra, size_t extra_count)
{
	char digits[DECIMAL_MAX], length_digits[DECIMAL_MAX];
	const struct param first = {VIEW("CONTENT_LENGTH"), decimal(content_length, digits)};
	const struct param second = {VIEW("SCGI"), VIEW("1")};
	size_t bytes = scgi_pair_bytes(first) + scgi_pair_bytes(second);
	int err = scgi_measure(p, drop_prefix, extra, extra_count, &bytes);

	if (err) {
		if (!b->err)
			b->err = err;
		return;
	}
	struct view length = decimal(bytes, length_digits);
	size_t total = length.len + 1 + bytes + 1;
	uint8_t *start = buf_reserve(b, total);
	if (!start)
		return;
	memcpy(start, length.at, length.len);
	start[length.len] = ':';
	uint8_t *out = scgi_write_pair(scgi_write_pair(start + length.len + 1, first), second);
	struct params_iter it = params_begin(p);
	struct param param;
	while (params_next(&it, &param)) {
		if (scgi_keeps(param.name, drop_prefix))
			out = scgi_write_pair(out, param);
	}
	for (size_t i = 0; i < extra_count; i++)
		out = scgi_write_pair(out, extra[i]);
	*out++ = ',';
	INVARIANT((size_t)(out - start) == total);
	buf_commit(b, total);
}
