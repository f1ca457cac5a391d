/* The disk store's environment: how Berkeley DB is opened, recovered and closed, and what becomes of its errors.
 * doc/disk-format.md explains the settings. */
#include "session/disk_damage.h"

#include "base/bigendian.h"
#include "base/error.h"
#include "base/log.h"
#include "session/disk_room.h"

#include <errno.h>
#include <stdio.h>

enum { LOG_BUFFER_PART = 8 }; /* of a file of the log */

/* --- what Berkeley DB says --- */

static void on_message(const DB_ENV *env, const char *message)
{
	const struct store *s = env->app_private;

	log_event(LOG_WARN, "store_library", LOG_V("dir", view_str(s->dir)), LOG_V("text", view_str(message)));
}

void disk_say(struct store *s, const char *reason)
{
	if (s->said[0] == 0)
		snprintf(s->said, sizeof(s->said), "%s", reason);
}

static void on_error(const DB_ENV *env, const char *prefix, const char *message)
{
	(void)prefix;
	disk_say(env->app_private, message);
	on_message(env, message);
}

static void on_event(DB_ENV *env, uint32_t event, void *info)
{
	struct store *s = env->app_private;

	if (event == DB_EVENT_PANIC && s->panic == 0)
		s->panic = info && *(int *)info ? *(int *)info : DB_RUNRECOVERY;
}

/* The cause, where Berkeley DB only says that it has given up. */
static int cause(const struct store *s, int ret)
{
	return ret == DB_RUNRECOVERY && s->panic != 0 ? s->panic : ret;
}

bool disk_is_damage(const struct store *s, int ret)
{
	switch (cause(s, ret)) {
	case 0:
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
	case EIO: /* of writing: what cannot be read comes as a page that is wrong (disk_guard.c) */
	case ENOMEM:
	case EMFILE:
	case ENFILE:
	case EACCES:
	case EPERM:
	case EROFS:
	case ERR_GONE: /* what is left is looked at when it is opened again */
	case ERR_VERSION:
		return false;
	default:
		return true;
	}
}

int disk_error(const struct store *s, int ret)
{
	switch (cause(s, ret)) {
	case 0:
		return 0;
	case ENOMEM:
		return ERR_NO_MEMORY;
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return ERR_FULL;
	case ERR_VERSION:
		return ERR_VERSION;
	default:
		return ERR_SYSTEM;
	}
}

const char *disk_strerror(const struct store *s, int ret)
{
	int code = cause(s, ret);

	if (code == ERR_GONE && s->gone)
		return s->gone;
	if (disk_is_damage(s, ret) && s->said[0])
		return s->said;
	return code == ERR_VERSION ? "written by a newer weir" : db_strerror(code);
}

/* --- failing, undoing --- */

void disk_undo(struct store *s)
{
	DB_TXN *batch = s->batch;

	s->batch = NULL;
	s->changed = false;
	s->now = s->kept;
	if (batch && batch->abort(batch) != 0)
		s->broken = true;
}

int disk_fail(struct store *s, int ret, const char *doing)
{
	if (!s->broken)
		log_event(LOG_ERROR, "store_broken", LOG_V("dir", view_str(s->dir)), LOG_S("doing", doing),
			  LOG_S("reason", disk_strerror(s, ret)));
	s->broken = true;
	if (disk_is_damage(s, ret))
		disk_marker_write(s, disk_strerror(s, ret));
	disk_undo(s);
	return ERR_BROKEN;
}

/* --- the meta record --- */

static const uint8_t meta_magic[8] = {'w', 'e', 'i', 'r', 'm', 'e', 't', 'a'};
static const char meta_key[] = "meta";

int disk_meta_write(struct store *s)
{
	uint8_t bytes[DISK_META_BYTES];
	DBT key = {.data = (void *)(uintptr_t)meta_key, .size = sizeof(meta_key) - 1};
	DBT data = {.data = bytes, .size = sizeof(bytes)};

	memcpy(bytes, meta_magic, 8);
	bigendian_put(bytes + 8, DISK_FORMAT, 8);
	bigendian_put(bytes + 16, s->now.sessions, 8);
	bigendian_put(bytes + 24, s->now.bytes, 8);
	return s->meta->put(s->meta, s->batch, &key, &data, 0);
}

/* A newer format keeps the magic and the number behind it, and may be longer. An older one is none: its records are
 * what a salvage looks for. */
int disk_meta_decode(struct view bytes, struct store_count *out)
{
	if (bytes.len < DISK_META_BYTES || memcmp(bytes.at, meta_magic, 8) != 0)
		return ERR_MALFORMED;
	if (bigendian_get(bytes.at + 8, 8) > DISK_FORMAT)
		return ERR_VERSION;
	if (bytes.len != DISK_META_BYTES || bigendian_get(bytes.at + 8, 8) < DISK_FORMAT)
		return ERR_MALFORMED;
	*out =
	    (struct store_count){.sessions = bigendian_get(bytes.at + 16, 8), .bytes = bigendian_get(bytes.at + 24, 8)};
	return 0;
}

/* 0: there is none. */
static int find_any_record(struct store *s)
{
	DBT key = {0}, data = {.flags = DB_DBT_PARTIAL};
	DBC *c = NULL;
	int ret = s->sessions->cursor(s->sessions, NULL, &c, 0);

	if (ret)
		return ret;
	ret = c->get(c, &key, &data, DB_FIRST);
	int closed = c->close(c);
	if (ret == DB_NOTFOUND)
		return closed;
	if (ret == 0)
		disk_say(s, "there are sessions, and no record of how many");
	return ret ? ret : ERR_MALFORMED;
}

/* A store without a meta record is new: it comes with the first batch. */
static int meta_read(struct store *s)
{
	DBT key = {.data = (void *)(uintptr_t)meta_key, .size = sizeof(meta_key) - 1};
	DBT data = {0};
	int ret = s->meta->get(s->meta, NULL, &key, &data, 0);

	s->kept = (struct store_count){0};
	if (ret == DB_NOTFOUND)
		return find_any_record(s);
	if (ret)
		return ret;
	ret = disk_meta_decode(view_of(data.data, data.size), &s->kept);
	if (ret == ERR_MALFORMED)
		disk_say(s, "the record of how many sessions there are is damaged");
	return ret;
}

/* --- open, close --- */

static int create_environment(struct store *s, DB_ENV **out)
{
	int ret = db_env_create(out, 0);

	if (ret) {
		*out = NULL;
		return ret;
	}
	(*out)->app_private = s;
	(*out)->set_errcall(*out, on_error);
	(*out)->set_msgcall(*out, on_message);
	return 0;
}

static int open_environment(struct store *s, uint32_t recover)
{
	/* One thread uses it, and only this process: no locks, no shared memory. */
	const uint32_t flags = recover | DB_PRIVATE | DB_CREATE | DB_INIT_MPOOL | DB_INIT_LOG | DB_INIT_TXN;
	const uint32_t gib = 1U << 30;
	int ret = create_environment(s, &s->env);

	if (ret == 0)
		ret = s->env->set_event_notify(s->env, on_event);
	if (ret == 0)
		ret = s->env->set_cachesize(s->env, (uint32_t)(s->cache_bytes / gib), (uint32_t)(s->cache_bytes % gib),
					    1);
	if (ret == 0)
		ret = s->env->set_lg_bsize(s->env, (uint32_t)(s->log_bytes / LOG_BUFFER_PART));
	if (ret == 0)
		ret = s->env->set_lg_max(s->env, (uint32_t)s->log_bytes);
	if (ret == 0 && recover != DB_RECOVER_FATAL) /* which is for files that are to be kept */
		ret = s->env->log_set_config(s->env, DB_LOG_AUTO_REMOVE, 1);
	return ret ? ret : s->env->open(s->env, s->dir, flags, DISK_FILE_MODE);
}

static int open_database(struct store *s, DB **out, const char *name)
{
	int ret = db_create(out, s->env, 0);

	if (ret) {
		*out = NULL;
		return ret;
	}
	ret = (*out)->set_pagesize(*out, DISK_PAGE_BYTES);
	if (ret == 0)
		ret = (*out)->set_flags(*out, DB_CHKSUM);
	return ret ? ret
		   : (*out)->open(*out, NULL, DISK_FILE, name, DB_BTREE, DB_CREATE | DB_AUTO_COMMIT, DISK_FILE_MODE);
}

/* A recovery takes pages of zeros for new ones and keeps them in its cache: an environment of its own, so that those
 * which should not be there are met in the file. */
static int recover_environment(struct store *s, uint32_t recover)
{
	int ret = disk_guard_identify(s, true);

	if (ret == 0)
		ret = open_environment(s, recover);
	if (ret)
		return ret;
	ret = s->env->close(s->env, 0);
	s->env = NULL;
	return ret;
}

int disk_env_open(struct store *s, uint32_t recover)
{
	s->panic = 0;
	s->said[0] = 0;
	s->broken = false;
	s->checkpoint_at = clock_now();
	s->ahead_bytes = 0;
	disk_guard_install();
	int ret = recover_environment(s, recover);
	if (ret == 0)
		ret = disk_guard_identify(s, false);
	if (ret == 0)
		ret = open_environment(s, 0);
	if (ret == 0)
		ret = open_database(s, &s->meta, "meta");
	if (ret == 0)
		ret = open_database(s, &s->sessions, "sessions");
	if (ret == 0)
		ret = open_database(s, &s->ids, "ids");
	if (ret == 0)
		ret = meta_read(s);
	if (ret == 0 && !s->file.known)
		ret = disk_guard_identify(s, false); /* it is new */
	if (ret) {
		s->broken = true;
		disk_env_close(s);
	}
	return ret;
}

int disk_env_recover(struct store *s)
{
	int ret = disk_env_open(s, DB_RECOVER);

	if (disk_error(s, ret) == ERR_FULL && disk_reserve_release(s))
		ret = disk_env_open(s, DB_RECOVER);
	return ret;
}

static void close_database(DB **db)
{
	if (*db)
		(void)(*db)->close(*db, DB_NOSYNC);
	*db = NULL;
}

void disk_env_close(struct store *s)
{
	/* After a panic Berkeley DB refuses to close anything, and what it holds would leak. */
	if (s->env && s->panic)
		(void)s->env->set_flags(s->env, DB_NOPANIC, 1);
	close_database(&s->ids);
	close_database(&s->sessions);
	close_database(&s->meta);
	if (s->env)
		(void)s->env->close(s->env, 0);
	s->env = NULL;
	disk_guard_watch(NULL);
}

int disk_env_open_log(struct store *s, const char *dir, DB_ENV **out)
{
	const uint32_t flags = DB_PRIVATE | DB_CREATE | DB_INIT_LOG;
	int ret = create_environment(s, out);

	return ret ? ret : (*out)->open(*out, dir, flags, DISK_FILE_MODE);
}

void disk_env_close_log(DB_ENV **env)
{
	if (!*env)
		return;
	(void)(*env)->set_flags(*env, DB_NOPANIC, 1);
	(void)(*env)->close(*env, 0);
	*env = NULL;
}
