/* The bytes of a session in a store (doc/disk-format.md, "The record"). Pure.
 *
 * All numbers are big endian. Magic, format, length, id, version, used and ttl keep their places in every later format,
 * and so does the checksum at the end: an older weir can tell a newer record from a damaged one, and let it expire. */
#include "session/record.h"

#include "base/bigendian.h"
#include "base/error.h"
#include "base/invariant.h"

enum {
	MAGIC_BYTES = 4,
	CHECKSUM_BYTES = 8,
	HEAD_BYTES = MAGIC_BYTES + 2 + 2 + 4 + SESS_ID_BYTES + 8 + 4 + 4 + 4,
	RECORD_MIN_BYTES = HEAD_BYTES + 1 + CHECKSUM_BYTES, /* any format */
};

enum { FLAG_FRESH = 1, FLAG_PINNED = 2, FLAGS_KNOWN = FLAG_FRESH | FLAG_PINNED };

_Static_assert((int)HEAD_BYTES == (int)RECORD_HEAD_BYTES, "the head that is promised to stay");

static const uint8_t magic[MAGIC_BYTES] = {'w', 'e', 'i', 'r'};

/* The bytes of "weir-session-v1" with its NUL. Not a secret: the checksum is against accidents. */
static const struct siphash_key checksum_key = {
    .k0 = UINT64_C(0x7365732d72696577),
    .k1 = UINT64_C(0x31762d6e6f6973),
};

/* --- writing: the room is reserved, so nothing can fail --- */

static uint8_t *put_bytes(uint8_t *at, const void *from, size_t len)
{
	if (len > 0)
		memcpy(at, from, len);
	return at + len;
}

void record_encode(const struct sess_record *r, struct buf *out)
{
	size_t overhead = HEAD_BYTES + 1 + r->app.len + CHECKSUM_BYTES;

	INVARIANT(r->app.len >= 1);
	INVARIANT(r->app.len <= RECORD_APP_MAX);
	if (r->state.len > UINT32_MAX - overhead) {
		out->err = out->err ? out->err : ERR_TOO_LARGE;
		return;
	}
	uint8_t *start = buf_reserve(out, overhead + r->state.len);
	if (!start)
		return;
	uint8_t *at = put_bytes(start, magic, MAGIC_BYTES);
	at = bigendian_put(at, RECORD_FORMAT, 2);
	at = bigendian_put(at, (r->fresh ? FLAG_FRESH : 0) | (r->pinned ? FLAG_PINNED : 0), 2);
	at = bigendian_put(at, overhead + r->state.len, 4);
	at = put_bytes(at, r->id.bytes, SESS_ID_BYTES);
	at = bigendian_put(at, r->version, 8);
	at = bigendian_put(at, r->created_s, 4);
	at = bigendian_put(at, r->used_s, 4);
	at = bigendian_put(at, r->ttl_s, 4);
	at = bigendian_put(at, r->app.len, 1);
	at = put_bytes(at, r->app.at, r->app.len);
	at = put_bytes(at, r->state.at, r->state.len);
	at = bigendian_put(at, siphash(checksum_key, view_of(start, (size_t)(at - start))), CHECKSUM_BYTES);
	buf_commit(out, (size_t)(at - start));
}

/* --- reading: each taking is bounded by what is left --- */

/* False, and nothing taken, where less than `bytes` are left. */
static bool take_number(struct view *in, unsigned bytes, uint64_t *out)
{
	if (in->len < bytes)
		return false;
	*out = bigendian_get(view_take(in, bytes).at, bytes);
	return true;
}

static bool take_bytes(struct view *in, size_t len, struct view *out)
{
	if (in->len < len)
		return false;
	*out = view_take(in, len);
	return true;
}

/* What stands in front of the app, in the order of the bytes. */
struct head {
	struct view magic, id;
	uint64_t format, flags, length, version, created_s, used_s, ttl_s;
};

static bool take_head(struct view *in, struct head *h)
{
	return take_bytes(in, MAGIC_BYTES, &h->magic) && take_number(in, 2, &h->format) &&
	       take_number(in, 2, &h->flags) && take_number(in, 4, &h->length) &&
	       take_bytes(in, SESS_ID_BYTES, &h->id) && take_number(in, 8, &h->version) &&
	       take_number(in, 4, &h->created_s) && take_number(in, 4, &h->used_s) && take_number(in, 4, &h->ttl_s) &&
	       view_eq(h->magic, view_of(magic, MAGIC_BYTES)) && h->format > 0;
}

int record_peek(struct view bytes, struct record_head *out)
{
	struct head h;

	if (!take_head(&bytes, &h))
		return ERR_MALFORMED;
	memcpy(out->id.bytes, h.id.at, SESS_ID_BYTES);
	out->version = h.version;
	out->expires_s = h.used_s + h.ttl_s;
	return 0;
}

/* The content without the checksum, where that holds. */
static bool take_checked(struct view bytes, struct view *content)
{
	struct view rest = bytes;
	uint64_t checksum = 0;

	return bytes.len >= RECORD_MIN_BYTES && take_bytes(&rest, bytes.len - CHECKSUM_BYTES, content) &&
	       take_number(&rest, CHECKSUM_BYTES, &checksum) && checksum == siphash(checksum_key, *content);
}

int record_decode(struct view bytes, const struct sess_id *id, struct sess_record *out)
{
	struct view rest, app;
	uint64_t app_len = 0;
	struct head h;

	if (!take_checked(bytes, &rest) || !take_head(&rest, &h) || h.length != bytes.len ||
	    !view_eq(h.id, view_of(id->bytes, SESS_ID_BYTES)))
		return ERR_MALFORMED;
	if (h.format > RECORD_FORMAT)
		return ERR_VERSION;
	if ((h.flags & ~(uint64_t)FLAGS_KNOWN) != 0 || !take_number(&rest, 1, &app_len) || app_len == 0 ||
	    app_len > RECORD_APP_MAX || !take_bytes(&rest, app_len, &app))
		return ERR_MALFORMED;
	*out = (struct sess_record){
	    .id = *id,
	    .app = app,
	    .version = h.version,
	    .created_s = (uint32_t)h.created_s,
	    .used_s = (uint32_t)h.used_s,
	    .ttl_s = (uint32_t)h.ttl_s,
	    .fresh = (h.flags & FLAG_FRESH) != 0,
	    .pinned = (h.flags & FLAG_PINNED) != 0,
	    .state = rest,
	};
	return 0;
}
