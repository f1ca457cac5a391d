/* Memory as a store (session/store.h): a view on a table of sessions, for whoever moves sessions from store to store
 * and need not know which is which. The stack's own memory is the table itself, which requests use without this.
 *
 * The table is borrowed and belongs to this store alone, for the names of its apps are known here only. It outlives no
 * process, so that a batch counts at once: commit() has nothing to do and close() nothing to undo. */
#include "session/store.h"

#include "base/error.h"
#include "base/invariant.h"
#include "session/move.h"

#include <stdlib.h>

struct store {
	struct sess_table *table;         /* borrowed */
	char (*apps)[RECORD_APP_MAX + 1]; /* owned; names by number */
	uint32_t app_count;
};

static void memory_set(struct store *s, const struct store_options *o)
{
	sess_table_set_max(s->table, o->max_bytes);
}

static int memory_open(struct store **out, const struct store_options *o, char *why, size_t why_len)
{
	struct store *s = calloc(1, sizeof *s);

	(void)why;
	(void)why_len;
	INVARIANT(o->table != NULL);
	if (!s)
		return ERR_NO_MEMORY;
	s->table = o->table;
	memory_set(s, o);
	*out = s;
	return 0;
}

static void memory_close(struct store **sp, bool orderly)
{
	struct store *s = *sp;

	(void)orderly;
	*sp = NULL;
	if (!s)
		return;
	free(s->apps);
	free(s);
}

/* --- names of apps --- */

static int app_number(struct store *s, struct view name, uint16_t *out)
{
	uint32_t i = 0;

	INVARIANT(name.len <= RECORD_APP_MAX);
	while (i < s->app_count && !view_eq(view_str(s->apps[i]), name))
		i++;
	if (i == s->app_count) {
		void *apps = i < UINT16_MAX ? realloc(s->apps, (i + 1) * sizeof s->apps[0]) : NULL;
		if (!apps)
			return i < UINT16_MAX ? ERR_NO_MEMORY : ERR_FULL;
		s->apps = apps;
		memcpy(s->apps[i], name.at, name.len);
		s->apps[i][name.len] = '\0';
		s->app_count++;
	}
	*out = (uint16_t)i;
	return 0;
}

static struct sess_record record_of(const struct store *s, const struct sess_view *v)
{
	INVARIANT(v->app < s->app_count);
	return (struct sess_record){
	    .id = v->id,
	    .app = view_str(s->apps[v->app]),
	    .version = v->version,
	    .created_s = v->created_s,
	    .used_s = v->used_s,
	    .ttl_s = v->ttl_s,
	    .fresh = v->fresh,
	    .pinned = v->pinned,
	    .state = v->state ? view_of(v->state->bytes, v->state->len) : view_of(NULL, 0),
	};
}

/* --- one session --- */

static int memory_get(struct store *s, const struct sess_id *id, struct buf *space, struct sess_record *out)
{
	struct sess_view v;
	int err = sess_table_look(s->table, id, &v);

	buf_clear(space);
	if (err)
		return err;
	struct sess_record r = record_of(s, &v);
	buf_put(space, r.state);
	sess_state_unref(v.state);
	r.state = buf_view(space);
	if (!buf_error(space))
		*out = r;
	return buf_error(space);
}

static int memory_put(struct store *s, const struct sess_record *r)
{
	uint16_t app;
	int err = app_number(s, r->app, &app);

	return err ? err : sess_table_put(s->table, app, r);
}

static int memory_remove(struct store *s, const struct sess_id *id)
{
	int err = sess_table_end(s->table, id);

	return err == ERR_GONE ? 0 : err;
}

static bool memory_due(const struct store *s)
{
	(void)s;
	return false;
}

static int memory_commit(struct store *s)
{
	(void)s;
	return 0;
}

/* --- walks: who is to be visited is found first, for the table must not be changed under its locks --- */

struct ids {
	struct sess_id *at; /* owned */
	size_t count, places;
	uint32_t due_s; /* 0: all; otherwise what has expired by then */
	bool failed;
};

static void note_id(void *arg, const struct sess_view *v)
{
	struct ids *ids = arg;

	if (ids->failed || (ids->due_s && (uint64_t)v->used_s + v->ttl_s > ids->due_s))
		return;
	if (ids->count == ids->places) {
		size_t places = ids->places ? ids->places * 2 : 64;
		struct sess_id *at = realloc(ids->at, places * sizeof *at);
		ids->failed = at == NULL;
		if (!at)
			return;
		ids->at = at;
		ids->places = places;
	}
	ids->at[ids->count++] = v->id;
}

/* `enough` of them, or a few more. */
static int find(struct store *s, struct ids *ids, size_t enough)
{
	for (uint32_t i = 0; i < sess_table_shards(s->table); i++) {
		uint32_t bucket = 0;
		while (ids->count < enough && sess_table_walk(s->table, i, &bucket, 1, note_id, ids))
			;
	}
	return ids->failed ? ERR_NO_MEMORY : 0;
}

static int memory_expire(struct store *s, uint32_t now_s, uint32_t max,
			 void (*gone)(void *arg, const struct sess_id *id), void *arg, bool *more)
{
	struct ids ids = {.due_s = now_s};
	int err = find(s, &ids, max);

	*more = !err && ids.count >= max;
	for (size_t i = 0; !err && i < ids.count && i < max; i++) {
		err = memory_remove(s, &ids.at[i]);
		if (!err)
			gone(arg, &ids.at[i]);
	}
	free(ids.at);
	return err;
}

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct sess_id));
}

static int memory_scan(struct store *s, const struct sess_id *after, store_visit *visit, void *arg)
{
	struct ids ids = {0};
	struct buf space = {0};
	struct sess_record r;
	bool more = true;
	int err = find(s, &ids, SIZE_MAX);

	if (ids.count > 0)
		qsort(ids.at, ids.count, sizeof *ids.at, compare);
	for (size_t i = 0; !err && more && i < ids.count; i++) {
		if (after && compare(&ids.at[i], after) <= 0)
			continue;
		err = memory_get(s, &ids.at[i], &space, &r);
		if (!err)
			more = visit(arg, &r, 0);
	}
	buf_fini(&space);
	free(ids.at);
	return err;
}

/* --- the rest --- */

static void memory_count(const struct store *s, struct store_count *out)
{
	struct sess_table_stats stats;

	sess_table_stats(s->table, &stats);
	*out = (struct store_count){.sessions = stats.sessions, .bytes = stats.bytes};
}

static int memory_tend(struct store *s)
{
	(void)s;
	return 0;
}

const struct store_kind store_memory = {
    .name = "memory",
    .open = memory_open,
    .close = memory_close,
    .set = memory_set,
    .get = memory_get,
    .put = memory_put,
    .remove = memory_remove,
    .due = memory_due,
    .commit = memory_commit,
    .expire = memory_expire,
    .scan = memory_scan,
    .count = memory_count,
    .tend = memory_tend,
};
