/* The disk store: sessions in Berkeley DB (doc/disk-format.md). This file holds the operations of `struct store_kind`;
 * session/disk.h names the other parts. One thread uses a store; only the counters are read by others. */
#include "session/disk_damage.h"

#include "base/bigendian.h"
#include "base/error.h"
#include "base/invariant.h"
#include "base/thread.h"
#include "session/disk_flush.h"
#include "session/disk_room.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	BATCH_BYTES = 4 << 20, /* make a batch due, or as many as a file of the log has */
	GIVE_WAY = 8,          /* sessions that are removed between two moments for others */
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

/* Expiry and turn first and big endian: the order of the keys is that of the places. What comes is written at the end
 * of what is there, even where a crowd expires in one second. */
void disk_key(const struct sess_id *id, const struct disk_place *place, uint8_t out[DISK_KEY_BYTES])
{
	memcpy(bigendian_put(bigendian_put(out, place->expires_s, 8), place->turn, 4), id->bytes, SESS_ID_BYTES);
}

/* The length of the record is not in it. */
static void key_read(const uint8_t key[DISK_KEY_BYTES], struct sess_id *id, struct disk_place *place)
{
	*place = (struct disk_place){.expires_s = bigendian_get(key, 8), .turn = (uint32_t)bigendian_get(key + 8, 4)};
	memcpy(id->bytes, key + 8 + 4, SESS_ID_BYTES);
}

/* 0, DB_NOTFOUND, ERR_MALFORMED, or what Berkeley DB says. */
int disk_place_get(struct store *s, const struct sess_id *id, struct disk_place *out)
{
	uint8_t bytes[DISK_PLACE_BYTES];
	DBT key = dbt_id(id), data = {.data = bytes, .ulen = sizeof(bytes), .flags = DB_DBT_USERMEM};
	int ret = s->ids->get(s->ids, s->batch, &key, &data, 0);

	if (ret)
		return ret == DB_BUFFER_SMALL ? ERR_MALFORMED : ret;
	if (data.size != sizeof(bytes))
		return ERR_MALFORMED;
	*out = (struct disk_place){
	    .expires_s = bigendian_get(bytes, 8),
	    .turn = (uint32_t)bigendian_get(bytes + 8, 4),
	    .bytes = (uint32_t)bigendian_get(bytes + 12, 4),
	};
	return 0;
}

/* `flags`: DB_NOOVERWRITE, and DB_KEYEXIST where it has one, or 0. */
static int place_put(struct store *s, const struct sess_id *id, const struct disk_place *p, uint32_t flags)
{
	uint8_t bytes[DISK_PLACE_BYTES];
	DBT key = dbt_id(id), data = dbt_in(bytes, sizeof(bytes));

	bigendian_put(bigendian_put(bigendian_put(bytes, p->expires_s, 8), p->turn, 4), p->bytes, 4);
	return s->ids->put(s->ids, s->batch, &key, &data, flags);
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
	s->batch_bytes = 0;
	s->said[0] = 0;
	s->gone = disk_folder_gone(s);
	int ret = s->gone ? ERR_GONE : disk_relieve(s);
	if (ret == 0)
		ret = s->env->txn_begin(s->env, NULL, &s->batch, 0);
	return ret ? disk_fail(s, ret, "begin") : 0;
}

static bool disk_due(const struct store *s)
{
	return s->batch && (s->batch_bytes >= BATCH_BYTES || s->batch_bytes >= s->log_bytes);
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

/* --- put --- */

/* Who is there may have room that a new one may not. */
static bool take_room(struct store *s, const struct sess_id *id, uint64_t bytes)
{
	struct disk_place old;

	return disk_room_take(s, bytes, false) || (disk_place_get(s, id, &old) == 0 && disk_room_take(s, bytes, true));
}

/* Never below zero, whatever a damaged store says of itself. */
static uint64_t less(uint64_t n, uint64_t by)
{
	return n > by ? n - by : 0;
}

static void forget(struct store *s, uint64_t bytes)
{
	s->now.sessions = less(s->now.sessions, 1);
	s->now.bytes = less(s->now.bytes, bytes);
	s->batch_bytes += bytes;
}

static int record_put(struct store *s, const struct sess_id *id, const struct disk_place *place, struct view bytes)
{
	uint8_t at[DISK_KEY_BYTES];
	DBT key = dbt_in(at, sizeof(at)), data = dbt_in(bytes.at, bytes.len);

	disk_key(id, place, at);
	return s->sessions->put(s->sessions, s->batch, &key, &data, 0);
}

/* One that is not there is no failure: damage, which removing heals. */
static int record_del(struct store *s, const struct sess_id *id, const struct disk_place *place)
{
	uint8_t at[DISK_KEY_BYTES];
	DBT key = dbt_in(at, sizeof(at));

	disk_key(id, place, at);
	int ret = s->sessions->del(s->sessions, s->batch, &key, 0);
	return ret == DB_NOTFOUND ? 0 : ret;
}

/* The place of the session that the bytes replace; zeros for a new one. */
static int find_old(struct store *s, const struct sess_id *id, struct disk_place *old, bool *there)
{
	int ret = disk_place_get(s, id, old);

	*there = ret == 0 || ret == ERR_MALFORMED;
	if (ret)
		*old = (struct disk_place){0};
	return *there || ret == DB_NOTFOUND ? 0 : ret;
}

static bool fits(const struct store *s, uint64_t without_bytes, uint64_t bytes)
{
	return bytes <= s->max_bytes && less(s->now.bytes, without_bytes) <= s->max_bytes - bytes;
}

/* One that is there already keeps its turn, unless its expiry has changed. */
static int put_again(struct store *s, const struct sess_id *id, struct disk_place *place, struct disk_place *old)
{
	bool there;
	int ret = find_old(s, id, old, &there);

	if (ret == 0 && !fits(s, old->bytes, place->bytes))
		return ERR_FULL;
	if (ret == 0 && old->expires_s == place->expires_s)
		place->turn = old->turn;
	else if (ret == 0)
		ret = record_del(s, id, old);
	return ret ? ret : place_put(s, id, place, 0);
}

/* Its place. Most are new, and these cost one search. */
static int put_place(struct store *s, const struct sess_id *id, struct disk_place *place, struct disk_place *old,
		     bool *there)
{
	*old = (struct disk_place){0};
	*there = true;
	if (fits(s, 0, place->bytes)) {
		int ret = place_put(s, id, place, DB_NOOVERWRITE);
		if (ret != DB_KEYEXIST) {
			*there = false;
			return ret;
		}
	}
	return put_again(s, id, place, old);
}

int disk_put_bytes(struct store *s, const struct record_head *head, struct view bytes)
{
	struct disk_place place = {.expires_s = head->expires_s, .turn = s->next_turn, .bytes = (uint32_t)bytes.len};
	struct disk_place old;
	bool there;

	int err = begin(s);
	if (err)
		return err;
	if (!take_room(s, &head->id, bytes.len))
		return ERR_FULL;
	int ret = put_place(s, &head->id, &place, &old, &there);
	if (ret == ERR_FULL)
		return ret;
	if (ret == 0)
		ret = record_put(s, &head->id, &place, bytes);
	if (ret)
		return disk_fail(s, ret, "put");
	disk_hint_note(&s->hints, &head->id, &place);
	s->next_turn++;
	s->now.bytes = less(s->now.bytes, old.bytes) + bytes.len;
	s->now.sessions += !there;
	s->batch_bytes += bytes.len;
	s->changed = true;
	return 0;
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

static int id_del(struct store *s, const struct sess_id *id)
{
	DBT key = dbt_id(id);
	int ret = s->ids->del(s->ids, s->batch, &key, 0);

	return ret == DB_NOTFOUND ? 0 : ret;
}

static int disk_remove(struct store *s, const struct sess_id *id)
{
	struct disk_place old;
	bool there;

	if (!enter(s))
		return ERR_BROKEN;
	int err = begin(s);
	if (err)
		return err;
	int ret = find_old(s, id, &old, &there);
	if (ret == 0 && !there)
		return 0;
	if (ret == 0)
		ret = record_del(s, id, &old);
	if (ret == 0)
		ret = id_del(s, id);
	if (ret)
		return disk_fail(s, ret, "remove");
	forget(s, old.bytes);
	s->changed = true;
	return 0;
}

/* A walk along the records from the one that is due first. */
struct reaping {
	uint32_t now_s, max, count, looked;
	bool more;
	void (*gone)(void *arg, const struct sess_id *id);
	void *arg;
	DBC *c;
};

/* The record under the cursor is due. One that the ids do not know at this place is nobody's, and goes untold. */
static int reap(struct store *s, struct reaping *r, const struct sess_id *id, const struct disk_place *at)
{
	struct disk_place place;
	bool there;
	int ret = find_old(s, id, &place, &there);

	if (ret == 0)
		ret = r->c->del(r->c, 0);
	if (ret)
		return ret;
	s->changed = true;
	if (!there || place.expires_s != at->expires_s || place.turn != at->turn)
		return 0;
	ret = id_del(s, id);
	if (ret)
		return ret;
	forget(s, place.bytes);
	r->count++;
	if (r->gone)
		r->gone(r->arg, id);
	return 0;
}

/* All that is due, or a piece of it. A key of another length is none of ours. */
static int reap_all(struct store *s, struct reaping *r)
{
	uint8_t bytes[DISK_KEY_BYTES];
	DBT key = {.data = bytes, .ulen = sizeof(bytes), .flags = DB_DBT_USERMEM};
	DBT none = {.flags = DB_DBT_PARTIAL};

	while (r->count < r->max && !disk_due(s)) {
		struct sess_id id;
		struct disk_place at;
		if (++r->looked % GIVE_WAY == 0)
			thread_give_way();
		int ret = r->c->get(r->c, &key, &none, DB_NEXT);
		if (ret == DB_NOTFOUND)
			return 0;
		if (ret)
			return ret;
		if (key.size != sizeof(bytes)) {
			ret = r->c->del(r->c, 0);
		} else {
			key_read(bytes, &id, &at);
			if (at.expires_s > r->now_s)
				return 0;
			ret = reap(s, r, &id, &at);
		}
		if (ret)
			return ret;
	}
	r->more = true;
	return 0;
}

static int disk_expire(struct store *s, uint32_t now_s, uint32_t max, void (*gone)(void *arg, const struct sess_id *id),
		       void *arg, bool *more)
{
	struct reaping r = {.now_s = now_s, .max = max, .gone = gone, .arg = arg};

	*more = false;
	if (!enter(s))
		return ERR_BROKEN;
	int err = begin(s);
	if (err)
		return err;
	int ret = s->sessions->cursor(s->sessions, s->batch, &r.c, 0);
	if (ret)
		return disk_fail(s, ret, "expire");
	ret = reap_all(s, &r);
	int closed = r.c->close(r.c);
	ret = ret ? ret : closed;
	if (ret)
		return disk_fail(s, ret, "expire");
	*more = r.more;
	return 0;
}

/* --- get, scan --- */

/* A failure to read. Want of memory is not the store's fault, and what is under way can go on. */
static int fail_read(struct store *s, int ret, const char *doing)
{
	return ret == ENOMEM || ret == ERR_NO_MEMORY ? ERR_NO_MEMORY : disk_fail(s, ret, doing);
}

/* The record at its place, into `space`. 0, DB_NOTFOUND, ERR_NO_MEMORY, or what Berkeley DB says. */
static int record_get(struct store *s, const struct sess_id *id, const struct disk_place *place, struct buf *space)
{
	uint8_t at[DISK_KEY_BYTES];
	DBT key = dbt_in(at, sizeof(at)), data = {.size = place->bytes, .flags = DB_DBT_USERMEM};
	int ret;

	disk_key(id, place, at);
	buf_clear(space);
	do {
		data.data = buf_reserve(space, data.size);
		if (!data.data)
			return buf_error(space);
		data.ulen = data.size;
		ret = s->sessions->get(s->sessions, s->batch, &key, &data, 0);
	} while (ret == DB_BUFFER_SMALL);
	if (ret == 0)
		buf_commit(space, data.size);
	return ret;
}

/* The same, wherever it is. ERR_GONE: the ids do not know it. */
static int record_find(struct store *s, const struct sess_id *id, struct buf *space)
{
	struct disk_place place;
	int ret = disk_hint_find(&s->hints, id, &place) ? record_get(s, id, &place, space) : DB_NOTFOUND;

	if (ret != DB_NOTFOUND)
		return ret;
	ret = disk_place_get(s, id, &place);
	if (ret)
		return ret == DB_NOTFOUND ? ERR_GONE : ret;
	disk_hint_note(&s->hints, id, &place);
	return record_get(s, id, &place, space);
}

static int disk_get(struct store *s, const struct sess_id *id, struct buf *space, struct sess_record *out)
{
	buf_clear(space);
	if (!enter(s))
		return ERR_BROKEN;
	int ret = record_find(s, id, space);
	if (ret == ERR_GONE)
		return ret;
	if (ret == 0)
		return record_decode(buf_view(space), id, out);
	if (ret == DB_NOTFOUND || ret == ERR_MALFORMED)
		return ERR_MALFORMED;
	return fail_read(s, ret, "get");
}

struct showing {
	store_visit *visit;
	void *arg;
	struct buf space;
	bool ended;
};

static int show(struct store *s, struct showing *w, const struct sess_id *id)
{
	struct sess_record r = {.id = *id};
	struct disk_place place;
	int ret = disk_place_get(s, id, &place);

	if (ret == 0)
		ret = record_get(s, id, &place, &w->space);
	if (ret != 0 && ret != DB_NOTFOUND && ret != ERR_MALFORMED)
		return ret;
	int err = ret == 0 ? record_decode(buf_view(&w->space), id, &r) : ERR_MALFORMED;
	w->ended = !w->visit(w->arg, &r, err);
	return 0;
}

/* In the order of the ids. A key of another length is none of ours. */
static int walk(struct store *s, DBC *c, const struct sess_id *after, struct showing *w)
{
	uint8_t bytes[SESS_ID_BYTES] = {0};
	DBT key = {.data = bytes, .size = sizeof(bytes), .ulen = sizeof(bytes), .flags = DB_DBT_USERMEM};
	DBT none = {.flags = DB_DBT_PARTIAL};

	if (after)
		memcpy(bytes, after->bytes, sizeof(bytes));
	int ret = c->get(c, &key, &none, DB_SET_RANGE);
	if (ret == 0 && after && memcmp(bytes, after->bytes, sizeof(bytes)) == 0)
		ret = c->get(c, &key, &none, DB_NEXT);
	while (ret == 0 && !w->ended) {
		struct sess_id id;
		memcpy(id.bytes, bytes, sizeof(bytes));
		ret = key.size == sizeof(bytes) ? show(s, w, &id) : 0;
		if (ret == 0 && !w->ended)
			ret = c->get(c, &key, &none, DB_NEXT);
	}
	return ret == DB_NOTFOUND ? 0 : ret;
}

static int disk_scan(struct store *s, const struct sess_id *after, store_visit *visit, void *arg)
{
	struct showing w = {.visit = visit, .arg = arg};
	DBC *c = NULL;

	if (!enter(s))
		return ERR_BROKEN;
	int ret = s->ids->cursor(s->ids, s->batch, &c, 0);
	if (ret)
		return fail_read(s, ret, "scan");
	ret = walk(s, c, after, &w);
	int closed = c->close(c);
	ret = ret ? ret : closed;
	buf_fini(&w.space);
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
	disk_flush_free(&s->flush);
	disk_env_close(s);
	disk_folder_release(s);
	disk_hints_fini(&s->hints);
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
		return disk_salvage(s, NULL, why, why_len);
	if (disk_file_is_missing(s))
		return disk_salvage(s, DISK_FILE " is missing", why, why_len);
	int ret = disk_env_recover(s);
	if (ret == 0)
		return 0;
	const char *reason = disk_strerror(s, ret);
	if (disk_is_damage(s, ret))
		return disk_salvage(s, reason, why, why_len);
	if (disk_error(s, ret) == ERR_FULL)
		snprintf(why, why_len, "%s: %s: it needs %llu KiB to be opened", s->dir, reason,
			 (unsigned long long)disk_reserve_bytes(s) / 1024);
	else
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
		err = disk_room_measure(s, why, why_len);
	if (!err)
		err = disk_room_descriptors(s, why, why_len);
	if (!err)
		err = bring_up(s, why, why_len);
	if (err) {
		disk_close(&s, false);
		return err;
	}
	disk_hints_init(&s->hints, s->cache_bytes);
	s->now = s->kept;
	publish(s);
	disk_reserve_hold(s);
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
    .due = disk_due,
    .commit = disk_commit,
    .expire = disk_expire,
    .scan = disk_scan,
    .count = disk_count,
    .tend = disk_tend,
};
