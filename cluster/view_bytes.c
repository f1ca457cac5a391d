/* The bytes of a view (doc/cluster.md, "The bytes of a view"). Pure.
 *
 * All numbers are big endian. Magic, format, length, cluster and epoch keep their places in every later format: an
 * older weir can tell a newer view from bytes that are none. There is no checksum: TLS guards views on their way, and
 * the control database has one for each page. */
#include "cluster/view.h"

#include "base/error.h"
#include "base/invariant.h"
#include "base/reader.h"

enum {
	MAGIC_BYTES = 4,
	HEAD_BYTES = MAGIC_BYTES + 2 + 4 + CLUS_ID_BYTES + 8 + 2 + 1 + 2 + 2 + 4 + 4,
	APP_BYTES = 1 + 8 + 4,                    /* and its name */
	MEMBER_BYTES = 1 + 8 + 1 + 2 + 1 + 2 + 2, /* and its texts */
	HOSTED_BYTES = 2 + 8,
	BUCKET_BYTES = 2,
	BUCKET_LOST = 0x8000,
};

enum { FLAG_WITNESS = 1, FLAG_LEAVING = 2, FLAGS_KNOWN = FLAG_WITNESS | FLAG_LEAVING };

static const uint8_t magic[MAGIC_BYTES] = {'v', 'i', 'e', 'w'};

/* Of all members and of all apps together. */
struct totals {
	size_t hosted, buckets;
};

/* --- writing: the room is reserved, so nothing can fail --- */

static size_t measure(const struct clus_view *v, struct totals *totals)
{
	size_t bytes = HEAD_BYTES;

	*totals = (struct totals){0};
	for (uint8_t i = 0; i < v->voter_count; i++)
		bytes += 1 + v->voters[i].len;
	for (uint16_t i = 0; i < v->app_count; i++) {
		bytes += APP_BYTES + v->apps[i].name.len;
		totals->buckets += v->apps[i].buckets;
	}
	for (uint16_t i = 0; i < v->member_count; i++) {
		const struct clus_member *m = &v->members[i];
		bytes += MEMBER_BYTES + m->name.len + m->address.len + m->zone.len + m->url.len;
		totals->hosted += m->hosted_count;
	}
	return bytes + totals->hosted * HOSTED_BYTES + totals->buckets * BUCKET_BYTES;
}

/* Counted by `count_bytes` bytes in front. */
static uint8_t *put_text(uint8_t *at, struct view text, unsigned count_bytes)
{
	at = bigendian_put(at, text.len, count_bytes);
	if (text.len > 0)
		memcpy(at, text.at, text.len);
	return at + text.len;
}

static uint8_t *put_head(uint8_t *at, const struct clus_view *v, size_t length, const struct totals *totals)
{
	memcpy(at, magic, MAGIC_BYTES);
	at = bigendian_put(at + MAGIC_BYTES, CLUS_VIEW_FORMAT, 2);
	at = bigendian_put(at, length, 4);
	memcpy(at, v->cluster, CLUS_ID_BYTES);
	at = bigendian_put(at + CLUS_ID_BYTES, v->epoch, 8);
	at = bigendian_put(at, v->coordinator, 2);
	at = bigendian_put(at, v->voter_count, 1);
	at = bigendian_put(at, v->app_count, 2);
	at = bigendian_put(at, v->member_count, 2);
	at = bigendian_put(at, totals->hosted, 4);
	return bigendian_put(at, totals->buckets, 4);
}

static uint8_t *put_member(uint8_t *at, const struct clus_member *m)
{
	at = put_text(at, m->name, 1);
	at = bigendian_put(at, m->incarnation, 8);
	at = bigendian_put(at, (m->witness ? FLAG_WITNESS : 0) | (m->leaving ? FLAG_LEAVING : 0), 1);
	at = put_text(at, m->address, 2);
	at = put_text(at, m->zone, 1);
	at = put_text(at, m->url, 2);
	at = bigendian_put(at, m->hosted_count, 2);
	for (uint16_t i = 0; i < m->hosted_count; i++) {
		at = bigendian_put(at, m->hosted[i].app, 2);
		at = bigendian_put(at, m->hosted[i].digest, 8);
	}
	return at;
}

static uint8_t *put_map(uint8_t *at, const struct clus_app *a)
{
	for (uint32_t b = 0; b < a->buckets; b++)
		at = bigendian_put(at, a->map[b].manager | (a->map[b].lost ? BUCKET_LOST : 0U), BUCKET_BYTES);
	return at;
}

void clus_view_encode(const struct clus_view *v, struct buf *out)
{
	struct totals totals;

	INVARIANT(clus_view_is_sound(v));
	size_t length = measure(v, &totals);
	if (length > CLUS_VIEW_BYTES_MAX) {
		out->err = out->err ? out->err : ERR_TOO_LARGE;
		return;
	}
	uint8_t *start = buf_reserve(out, length);
	if (!start)
		return;
	uint8_t *at = put_head(start, v, length, &totals);
	for (uint8_t i = 0; i < v->voter_count; i++)
		at = put_text(at, v->voters[i], 1);
	for (uint16_t i = 0; i < v->app_count; i++) {
		at = put_text(at, v->apps[i].name, 1);
		at = bigendian_put(at, v->apps[i].digest, 8);
		at = bigendian_put(at, v->apps[i].buckets, 4);
	}
	for (uint16_t i = 0; i < v->member_count; i++)
		at = put_member(at, &v->members[i]);
	for (uint16_t i = 0; i < v->app_count; i++)
		at = put_map(at, &v->apps[i]);
	INVARIANT((size_t)(at - start) == length);
	buf_commit(out, length);
}

/* --- reading --- */

/* What of the view's memory is taken already. Each part has the number of elements that the head has announced. */
struct parts {
	struct clus_member *members;
	struct clus_app *apps;
	struct clus_hosted *hosted;
	struct bucket *buckets;
	struct totals left;
};

/* False: what follows cannot be what the head announces. */
static bool take_head(struct reader *r, struct clus_view *v, struct totals *totals)
{
	(void)reader_bytes(r, MAGIC_BYTES + 2 + 4);
	struct view cluster = reader_bytes(r, CLUS_ID_BYTES);
	v->epoch = reader_number(r, 8);
	v->coordinator = (uint16_t)reader_number(r, 2);
	v->voter_count = (uint8_t)reader_number(r, 1);
	v->app_count = (uint16_t)reader_number(r, 2);
	v->member_count = (uint16_t)reader_number(r, 2);
	totals->hosted = reader_number(r, 4);
	totals->buckets = reader_number(r, 4);
	if (r->broken || v->voter_count > CLUS_VOTERS_MAX)
		return false;
	memcpy(v->cluster, cluster.at, CLUS_ID_BYTES);
	/* So the memory is at most a few times the bytes that have come. */
	return totals->hosted * HOSTED_BYTES + totals->buckets * BUCKET_BYTES + (size_t)v->member_count * MEMBER_BYTES +
		   (size_t)v->app_count * APP_BYTES <=
	       r->rest.len;
}

_Static_assert(sizeof(struct clus_member) % _Alignof(struct clus_app) == 0, "parts follow each other");
_Static_assert(sizeof(struct clus_app) % _Alignof(struct clus_hosted) == 0, "parts follow each other");
_Static_assert(sizeof(struct clus_hosted) % _Alignof(struct bucket) == 0, "parts follow each other");

/* Memory for all parts and, behind them, a copy of `bytes`: where that is; NULL without memory. */
static const uint8_t *make_room(struct clus_view *v, const struct totals *totals, struct view bytes,
				struct parts *parts)
{
	size_t members = v->member_count * sizeof(struct clus_member), apps = v->app_count * sizeof(struct clus_app),
	       hosted = totals->hosted * sizeof(struct clus_hosted), buckets = totals->buckets * sizeof(struct bucket);
	size_t all = members + apps + hosted + buckets + bytes.len;

	buf_init(&v->memory, all);
	uint8_t *at = buf_reserve(&v->memory, all);
	if (!at)
		return NULL;
	parts->members = (void *)at;
	parts->apps = (void *)(at + members);
	parts->hosted = (void *)(at + members + apps);
	parts->buckets = (void *)(at + members + apps + hosted);
	parts->left = *totals;
	buf_commit(&v->memory, all);
	return memcpy(at + (all - bytes.len), bytes.at, bytes.len);
}

/* The next `count` of what the head has announced; what is more breaks the reader. */
static size_t claim(struct reader *r, size_t *left, size_t count)
{
	if (count > *left) {
		r->broken = true;
		return 0;
	}
	*left -= count;
	return count;
}

static void take_app(struct reader *r, struct parts *parts, struct clus_app *a)
{
	a->name = reader_text(r, 1);
	a->digest = reader_number(r, 8);
	a->buckets = (uint32_t)claim(r, &parts->left.buckets, reader_number(r, 4));
	a->map = parts->buckets;
	parts->buckets += a->buckets;
}

static void take_member(struct reader *r, struct parts *parts, struct clus_member *m)
{
	*m = (struct clus_member){.name = reader_text(r, 1)};
	m->incarnation = reader_number(r, 8);
	uint64_t flags = reader_number(r, 1);
	m->witness = (flags & FLAG_WITNESS) != 0;
	m->leaving = (flags & FLAG_LEAVING) != 0;
	reader_demand(r, (flags & ~(uint64_t)FLAGS_KNOWN) == 0);
	m->address = reader_text(r, 2);
	m->zone = reader_text(r, 1);
	m->url = reader_text(r, 2);
	m->hosted_count = (uint16_t)claim(r, &parts->left.hosted, reader_number(r, 2));
	m->hosted = parts->hosted;
	for (uint16_t i = 0; i < m->hosted_count; i++) {
		parts->hosted->app = (uint16_t)reader_number(r, 2);
		parts->hosted->digest = reader_number(r, 8);
		parts->hosted++;
	}
}

/* All maps stand one behind the other, as their parts do. */
static void take_maps(struct reader *r, struct bucket *buckets, size_t count)
{
	struct view bytes = reader_bytes(r, count * BUCKET_BYTES);

	for (size_t b = 0; !r->broken && b < count; b++) {
		uint64_t n = bigendian_get(bytes.at + b * BUCKET_BYTES, BUCKET_BYTES);
		buckets[b] =
		    (struct bucket){.manager = n & ~(uint64_t)BUCKET_LOST & 0xffff, .lost = (n & BUCKET_LOST) != 0};
	}
}

/* False: they are not the bytes of a view, though it may still be none that is sound. */
static bool take_body(struct reader *r, struct parts *parts, const struct totals *totals, struct clus_view *v)
{
	struct bucket *buckets = parts->buckets;

	v->members = parts->members;
	v->apps = parts->apps;
	for (uint8_t i = 0; i < v->voter_count; i++)
		v->voters[i] = reader_text(r, 1);
	for (uint16_t i = 0; i < v->app_count; i++)
		take_app(r, parts, &parts->apps[i]);
	for (uint16_t i = 0; i < v->member_count; i++)
		take_member(r, parts, &parts->members[i]);
	take_maps(r, buckets, totals->buckets);
	return reader_done(r) && parts->left.hosted == 0 && parts->left.buckets == 0;
}

/* What is the same in every format. */
static int check_format(struct view bytes)
{
	struct reader r = reader_of(bytes);
	struct view said = reader_bytes(&r, MAGIC_BYTES);
	uint64_t format = reader_number(&r, 2), length = reader_number(&r, 4);

	(void)reader_bytes(&r, CLUS_ID_BYTES + 8);
	if (r.broken || !view_eq(said, view_of(magic, MAGIC_BYTES)) || format == 0 || length != bytes.len ||
	    length > CLUS_VIEW_BYTES_MAX)
		return ERR_MALFORMED;
	return format > CLUS_VIEW_FORMAT ? ERR_VERSION : 0;
}

int clus_view_decode(struct view bytes, struct clus_view *out)
{
	struct reader head = reader_of(bytes), body;
	struct clus_view v = {0};
	struct totals totals;
	struct parts parts = {0};
	int err = check_format(bytes);

	if (err)
		return err;
	if (!take_head(&head, &v, &totals))
		return ERR_MALFORMED;
	const uint8_t *copy = make_room(&v, &totals, bytes, &parts);
	if (!copy)
		return ERR_NO_MEMORY;
	body = reader_of(view_of(copy + HEAD_BYTES, bytes.len - HEAD_BYTES));
	if (!take_body(&body, &parts, &totals, &v) || !clus_view_is_sound(&v)) {
		clus_view_fini(&v);
		return ERR_MALFORMED;
	}
	*out = v;
	return 0;
}
