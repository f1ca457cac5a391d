/* The disk store: sessions in Berkeley DB (doc/disk-format.md). This file holds the operations of `struct store_kind`;
 * session/disk.h names the other parts. One thread uses a store; only the counters are read by others. */
#include "session/disk_damage.h"

#include "base/error.h"
#include "base/invariant.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	ROOM_STEP_BYTES = 4 << 20,  /* that are written between two looks at the free space */
	READ_FIRST_BYTES = 4 << 10, /* room for a record before its size is known */
};

/* --- keys --- */

/* Berkeley DB does not write to what it is given as a key or as data to put. */
static DBT dbt_in(const void *at, size_t len)
{
	return (DBT){.data = (void *)(uintptr_t)at, .size = (uint32_t)len};
}

static DBT dbt_id(const struct sess_id *id)
{
	return dbt_in(id->bytes, SESS_ID_BYTES);
}

/* Expiry first and big endian: the order of the keys is the order in which sessions expire. */
void disk_index_key(const struct record_head *h, uint8_t out[DISK_INDEX_BYTES])
{
	for (unsigned i = 0; i < 8; i++)
		out[i] = (uint8_t)(h->expires_s >> (56 - 8 * i));
	memcpy(out + 8, h->id.bytes, SESS_ID_BYTES);
}

static struct record_head index_head(const uint8_t key[DISK_INDEX_BYTES])
{
	struct record_head h = {0};

	for (unsigned i = 0; i < 8; i++)
		h.expires_s = h.expires_s << 8 | key[i];
	memcpy(h.id.bytes, key + 8, SESS_ID_BYTES);
	return h;
}

bool disk_record_is_sound(struct view bytes, struct record_head *out)
{
	struct sess_record r;

	if (record_peek(bytes, out) != 0)
		return false;
	int err = record_decode(bytes, &out->id, &r);
	return err == 0 || err == ERR_VERSION;
}

/* --- the batch --- */

/* Each operation's begin. The thread may be another one than at the last. */
static bool enter(const struct store *s)
{
	disk_guard_watch(&s->file);
	return !s->broken;
}

static int begin(struct store *s)
{
	if (s->batch)
		return 0;
	int ret = s->env->txn_begin(s->env, NULL, &s->batch, 0);
	return ret ? disk_fail(s, ret, "begin") : 0;
}

static void publish(struct store *s)
{
	s->kept = s->now;
	atomic_store_explicit(&s->told_sessions, s->kept.sessions, memory_order_relaxed);
	atomic_store_explicit(&s->told_bytes, s->kept.bytes, memory_order_relaxed);
}

int disk_commit(struct store *s)
{
	static const uint32_t flags[] = {
	    [STORE_SYNC_NONE] = DB_TXN_NOSYNC,
	    [STORE_SYNC_WRITE] = DB_TXN_WRITE_NOSYNC,
	    [STORE_SYNC_GROUP] = DB_TXN_SYNC,
	};

	if (!enter(s))
		return ERR_BROKEN;
	if (!s->batch)
		return 0;
	int ret = s->changed ? disk_meta_write(s) : 0;
	if (ret)
		return disk_fail(s, ret, "meta");
	DB_TXN *batch = s->batch;
	s->batch = NULL; /* whatever commit() says, the handle is gone */
	s->changed = false;
	ret = batch->commit(batch, flags[s->sync]);
	if (ret)
		return disk_fail(s, ret, "commit");
	publish(s);
	return 0;
}

/* --- what is there already --- */

struct old {
	struct record_head head;
	bool has_head; /* false: its bytes are damaged, and its place in the index is not known */
	uint64_t bytes;
};

/* The record under the cursor's key. 0, DB_NOTFOUND, or what Berkeley DB says. A long one is not read as a whole. */
static int find_old(struct store *s, DBC *c, const struct sess_id *id, struct old *out)
{
	DBT key = dbt_id(id);
	DBT data = {.data = s->old, .ulen = sizeof(s->old), .flags = DB_DBT_USERMEM};

	int ret = c->get(c, &key, &data, DB_SET);
	out->bytes = data.size;
	if (ret == DB_BUFFER_SMALL) {
		data.flags |= DB_DBT_PARTIAL;
		data.dlen = RECORD_HEAD_BYTES;
		ret = c->get(c, &key, &data, DB_SET);
	}
	out->has_head =
	    ret == 0 && record_peek(view_of(s->old, data.size), &out->head) == 0 && sess_id_eq(&out->head.id, id);
	return ret;
}

static void forget(struct store *s, uint64_t bytes)
{
	/* Never below zero: a damaged record may be shorter than it was. */
	s->now.sessions -= s->now.sessions > 0;
	s->now.bytes -= bytes < s->now.bytes ? bytes : s->now.bytes;
}

/* An entry that is not there is no failure: damage, which removing heals. */
static int index_del(struct store *s, const struct record_head *h)
{
	uint8_t bytes[DISK_INDEX_BYTES];
	disk_index_key(h, bytes);
	DBT key = dbt_in(bytes, sizeof(bytes));
	int ret = s->expiry->del(s->expiry, s->batch, &key, 0);

	return ret == DB_NOTFOUND ? 0 : ret;
}

static int index_put(struct store *s, const struct record_head *h)
{
	uint8_t bytes[DISK_INDEX_BYTES];
	disk_index_key(h, bytes);
	DBT key = dbt_in(bytes, sizeof(bytes)), nothing = dbt_in(NULL, 0);

	return s->expiry->put(s->expiry, s->batch, &key, &nothing, 0);
}

/* --- put --- */

static bool has_room(struct store *s, uint64_t bytes)
{
	if (s->room_bytes < bytes) {
		uint64_t room = disk_folder_room(s);
		s->room_bytes = room < bytes ? 0 : room;
		if (s->room_bytes > ROOM_STEP_BYTES && bytes <= ROOM_STEP_BYTES)
			s->room_bytes = ROOM_STEP_BYTES;
	}
	return s->room_bytes >= bytes;
}

static int put_new(struct store *s, const struct record_head *h, DBT *key, DBT *data)
{
	int ret = s->sessions->put(s->sessions, s->batch, key, data, DB_NOOVERWRITE);

	if (ret)
		return ret;
	s->now.sessions++;
	s->now.bytes += data->size;
	return index_put(s, h);
}

static int put_over(struct store *s, DBC *c, const struct old *old, const struct record_head *h, DBT *data)
{
	DBT key = dbt_id(&h->id);
	bool moves = !old->has_head || old->head.expires_s != h->expires_s;
	int ret = c->put(c, &key, data, DB_CURRENT);

	if (ret == 0 && moves && old->has_head)
		ret = index_del(s, &old->head);
	if (ret == 0 && moves)
		ret = index_put(s, h);
	if (ret == 0) {
		forget(s, old->bytes);
		s->now.sessions++;
		s->now.bytes += data->size;
	}
	return ret;
}

/* What is there is replaced, if the sum stays below the bound. */
static int replace(struct store *s, const struct record_head *h, DBT *data, int *err)
{
	struct old old;
	DBC *c = NULL;
	int ret = s->sessions->cursor(s->sessions, s->batch, &c, 0);

	if (ret)
		return ret;
	ret = find_old(s, c, &h->id, &old);
	if (ret == 0 && s->now.bytes + data->size > s->max_bytes + old.bytes)
		*err = ERR_FULL;
	else if (ret == 0)
		ret = put_over(s, c, &old, h, data);
	int closed = c->close(c);
	return ret ? ret : closed;
}

int disk_put_bytes(struct store *s, const struct record_head *head, struct view bytes)
{
	DBT key = dbt_id(&head->id), data = dbt_in(bytes.at, bytes.len);
	int err = 0, ret = DB_KEYEXIST;

	if (!has_room(s, bytes.len))
		return ERR_FULL;
	err = begin(s);
	if (err)
		return err;
	bool fits = bytes.len <= s->max_bytes && s->now.bytes <= s->max_bytes - bytes.len;
	if (fits)
		ret = put_new(s, head, &key, &data);
	if (ret == DB_KEYEXIST)
		ret = replace(s, head, &data, &err);
	if (ret == DB_NOTFOUND) /* there is nothing to replace, and no room for more */
		return ERR_FULL;
	if (ret)
		return disk_fail(s, ret, "put");
	if (err == 0) {
		s->room_bytes -= bytes.len;
		s->changed = true;
	}
	return err;
}

static int disk_put(struct store *s, const struct sess_record *r)
{
	struct record_head head = {.id = r->id, .version = r->version, .expires_s = record_expires_s(r)};

	if (!enter(s))
		return ERR_BROKEN;
	buf_clear(&s->bytes);
	record_encode(r, &s->bytes);
	if (buf_error(&s->bytes))
		return buf_error(&s->bytes) == ERR_NO_MEMORY ? ERR_NO_MEMORY : ERR_FULL;
	return disk_put_bytes(s, &head, buf_view(&s->bytes));
}

/* --- remove, expire --- */

/* The record under the cursor, and its entry in the index. */
static int take_out(struct store *s, DBC *c, const struct old *old)
{
	int ret = c->del(c, 0);

	if (ret == 0 && old->has_head)
		ret = index_del(s, &old->head);
	if (ret == 0) {
		forget(s, old->bytes);
		s->changed = true;
	}
	return ret;
}

static int disk_remove(struct store *s, const struct sess_id *id)
{
	struct old old;
	DBC *c = NULL;

	if (!enter(s))
		return ERR_BROKEN;
	int err = begin(s);
	if (err)
		return err;
	int ret = s->sessions->cursor(s->sessions, s->batch, &c, 0);
	if (ret)
		return disk_fail(s, ret, "remove");
	ret = find_old(s, c, id, &old);
	if (ret == 0)
		ret = take_out(s, c, &old);
	int closed = c->close(c);
	ret = ret == 0 || ret == DB_NOTFOUND ? closed : ret;
	return ret ? disk_fail(s, ret, "remove") : 0;
}

/* A walk along the index from the entry that is due first. */
struct reaping {
	uint32_t now_s, max, count;
	void (*gone)(void *arg, const struct sess_id *id);
	void *arg;
	DBC *index, *records;
};

/* The entry that the index's cursor stands on is due. The record may be missing, or know another time: then only the
 * entry is wrong, and goes (and the right one comes). A record without a head cannot say, and goes. */
static int reap(struct store *s, struct reaping *r, const struct record_head *due)
{
	struct old old;
	int ret = find_old(s, r->records, &due->id, &old);
	bool there = ret == 0;

	if (ret != 0 && ret != DB_NOTFOUND)
		return ret;
	ret = r->index->del(r->index, 0);
	s->changed = true;
	if (ret || !there)
		return ret;
	if (old.has_head && old.head.expires_s != due->expires_s)
		return index_put(s, &old.head);
	old.has_head = false; /* its entry is gone already */
	ret = take_out(s, r->records, &old);
	if (ret)
		return ret;
	r->count++;
	if (r->gone)
		r->gone(r->arg, &due->id);
	return 0;
}

/* An entry of another length is none of ours, and leads nowhere. */
static int reap_all(struct store *s, struct reaping *r)
{
	uint8_t bytes[DISK_INDEX_BYTES];
	DBT key = {.data = bytes, .ulen = sizeof(bytes), .flags = DB_DBT_USERMEM};
	DBT none = {.flags = DB_DBT_PARTIAL};

	while (r->count < r->max) {
		int ret = r->index->get(r->index, &key, &none, DB_NEXT);
		if (ret == DB_NOTFOUND)
			return 0;
		if (ret)
			return ret;
		struct record_head due = index_head(bytes);
		if (key.size == sizeof(bytes) && due.expires_s > r->now_s)
			return 0;
		ret = key.size == sizeof(bytes) ? reap(s, r, &due) : r->index->del(r->index, 0);
		if (ret)
			return ret;
	}
	return 0;
}

static int disk_expire(struct store *s, uint32_t now_s, uint32_t max, void (*gone)(void *arg, const struct sess_id *id),
		       void *arg, uint32_t *count)
{
	struct reaping r = {.now_s = now_s, .max = max, .gone = gone, .arg = arg};

	*count = 0;
	if (!enter(s))
		return ERR_BROKEN;
	int err = begin(s);
	if (err)
		return err;
	int ret = s->expiry->cursor(s->expiry, s->batch, &r.index, 0);
	if (ret == 0)
		ret = s->sessions->cursor(s->sessions, s->batch, &r.records, 0);
	if (ret == 0)
		ret = reap_all(s, &r);
	int closed = r.records ? r.records->close(r.records) : 0;
	ret = ret ? ret : closed;
	closed = r.index ? r.index->close(r.index) : 0;
	ret = ret ? ret : closed;
	*count = r.count;
	return ret ? disk_fail(s, ret, "expire") : 0;
}

/* --- get, scan --- */

/* A failure to read. Want of memory is not the store's fault, and what is under way can go on. */
static int fail_read(struct store *s, int ret, const char *doing)
{
	return ret == ENOMEM ? ERR_NO_MEMORY : disk_fail(s, ret, doing);
}

static int disk_get(struct store *s, const struct sess_id *id, struct buf *space, struct sess_record *out)
{
	DBT key = dbt_id(id), data = {.size = READ_FIRST_BYTES, .flags = DB_DBT_USERMEM};
	int ret;

	buf_clear(space);
	if (!enter(s))
		return ERR_BROKEN;
	do {
		data.data = buf_reserve(space, data.size);
		if (!data.data)
			return buf_error(space);
		data.ulen = data.size;
		ret = s->sessions->get(s->sessions, s->batch, &key, &data, 0);
	} while (ret == DB_BUFFER_SMALL);
	if (ret == DB_NOTFOUND)
		return ERR_GONE;
	if (ret)
		return fail_read(s, ret, "get");
	buf_commit(space, data.size);
	return record_decode(buf_view(space), id, out);
}

static bool show(DBT *key, DBT *data, store_visit *visit, void *arg)
{
	struct sess_record r = {0};

	if (key->size != SESS_ID_BYTES)
		return true;
	memcpy(r.id.bytes, key->data, SESS_ID_BYTES);
	int err = record_decode(view_of(data->data, data->size), &r.id, &r);
	return visit(arg, &r, err);
}

static int walk(DBC *c, const struct sess_id *after, store_visit *visit, void *arg)
{
	DBT key = {0}, data = {0};
	int ret;

	if (after) {
		key = dbt_id(after);
		ret = c->get(c, &key, &data, DB_SET_RANGE);
		if (ret == 0 && key.size == SESS_ID_BYTES && memcmp(key.data, after->bytes, SESS_ID_BYTES) == 0)
			ret = c->get(c, &key, &data, DB_NEXT);
	} else {
		ret = c->get(c, &key, &data, DB_FIRST);
	}
	while (ret == 0 && show(&key, &data, visit, arg))
		ret = c->get(c, &key, &data, DB_NEXT);
	return ret == DB_NOTFOUND ? 0 : ret;
}

static int disk_scan(struct store *s, const struct sess_id *after, store_visit *visit, void *arg)
{
	DBC *c = NULL;

	if (!enter(s))
		return ERR_BROKEN;
	int ret = s->sessions->cursor(s->sessions, s->batch, &c, 0);
	if (ret)
		return fail_read(s, ret, "scan");
	ret = walk(c, after, visit, arg);
	int closed = c->close(c);
	ret = ret ? ret : closed;
	return ret ? fail_read(s, ret, "scan") : 0;
}

static void disk_count(const struct store *s, struct store_count *out)
{
	out->sessions = atomic_load_explicit(&s->told_sessions, memory_order_relaxed);
	out->bytes = atomic_load_explicit(&s->told_bytes, memory_order_relaxed);
}

/* --- open, close --- */

static void disk_set(struct store *s, const struct store_options *o)
{
	s->max_bytes = o->max_bytes;
	s->sync = o->sync;
}

static void disk_close(struct store **sp, bool orderly)
{
	struct store *s = *sp;

	if (!s)
		return;
	*sp = NULL;
	(void)enter(s);
	disk_undo(s);
	if (orderly && !s->broken) {
		int ret = disk_checkpoint(s);
		if (ret)
			disk_fail(s, ret, "close"); /* the next open recovers */
	}
	disk_env_close(s);
	disk_folder_release(s);
	buf_fini(&s->bytes);
	free(s->dir);
	free(s);
}

static int allocate(struct store **out, const struct store_options *o)
{
	struct store *s = calloc(1, sizeof(*s));
	char *dir = s ? strdup(o->dir) : NULL;

	if (!dir) {
		free(s);
		return ERR_NO_MEMORY;
	}
	s->dir = dir;
	s->lock_fd = -1;
	s->cache_bytes = o->cache_bytes;
	disk_set(s, o);
	*out = s;
	return 0;
}

static int bring_up(struct store *s, char *why, size_t why_len)
{
	if (disk_marker_is_there(s))
		return disk_salvage(s, "it met damage before", why, why_len);
	int ret = disk_env_open(s, DB_RECOVER);
	if (ret == 0)
		return 0;
	const char *reason = disk_strerror(s, ret);
	if (disk_is_damage(s, ret))
		return disk_salvage(s, reason, why, why_len);
	snprintf(why, why_len, "%s: %s", s->dir, reason);
	return disk_error(s, ret);
}

static int disk_open(struct store **out, const struct store_options *o, char *why, size_t why_len)
{
	struct store *s = NULL;
	int err = allocate(&s, o);

	if (err) {
		snprintf(why, why_len, "%s: %s", o->dir, error_text(err));
		return err;
	}
	err = disk_folder_take(s, why, why_len);
	if (!err)
		err = bring_up(s, why, why_len);
	if (err) {
		disk_close(&s, false);
		return err;
	}
	s->now = s->kept;
	publish(s);
	*out = s;
	return 0;
}

const struct store_kind store_disk = {
    .name = "disk",
    .open = disk_open,
    .close = disk_close,
    .set = disk_set,
    .get = disk_get,
    .put = disk_put,
    .remove = disk_remove,
    .commit = disk_commit,
    .expire = disk_expire,
    .scan = disk_scan,
    .count = disk_count,
    .tend = disk_tend,
};
