/* Berkeley DB's side of the control plane: the environment with its one replicated database, what comes and goes, and
 * what becomes of errors. Nothing here waits for another node: a database that is being made the same as the master's
 * is refused for the moment (DB_REP_CONF_NOWAIT), since the thread that would wait is the one that brings it on. */
#include "cluster/control_bdb_parts.h"

#include "base/error.h"
#include "base/folder.h"
#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define DATABASE "control.db"
#define FOLDER_DB "db"
#define FOLDER_DAMAGED "damaged"

enum {
	FILE_MODE = 0600,
	FOLDER_MODE = 0700,
	PAGE_BYTES = 8 << 10,
	CACHE_BYTES = 4 << 20, /* a view of the greatest size, before and after */
	LOG_FILE_BYTES = 4 << 20,
	LOG_BUFFER_BYTES = 256 << 10,
	CHECKPOINT_KBYTES = 1 << 10, /* of log */
	SEND_BYTES = 1 << 20,        /* at most, for one message that came */
	ASK_AGAIN_LEAST_US = 20000,  /* a client asks for what is missing */
	ASK_AGAIN_MOST_US = 400000,
};

/* --- what Berkeley DB says --- */

static void on_message(const DB_ENV *env, const char *message)
{
	const struct control *c = env->app_private;

	log_event(LOG_DEBUG, "control_library", LOG_V("folder", view_str(c->folder)), LOG_V("text", view_str(message)));
}

/* That an election had no winner is said here too: it is none of the errors that count. */
static void on_error(const DB_ENV *env, const char *prefix, const char *message)
{
	struct control *c = env->app_private;

	(void)prefix;
	pthread_mutex_lock(&c->lock);
	snprintf(c->why, sizeof(c->why), "%s", message);
	pthread_mutex_unlock(&c->lock);
	on_message(env, message);
}

static void on_event(DB_ENV *env, uint32_t event, void *info)
{
	struct control *c = env->app_private;
	unsigned bit = event == DB_EVENT_REP_ELECTED        ? BDB_EVENT_ELECTED
		       : event == DB_EVENT_REP_STARTUPDONE  ? BDB_EVENT_STORED
		       : event == DB_EVENT_REP_JOIN_FAILURE ? BDB_EVENT_JOIN_FAILURE
		       : event == DB_EVENT_PANIC            ? BDB_EVENT_PANIC
							    : 0;

	if (bit == 0)
		return;
	pthread_mutex_lock(&c->lock);
	if (event == DB_EVENT_PANIC && c->panic == 0)
		c->panic = info && *(int *)info ? *(int *)info : DB_RUNRECOVERY;
	c->events |= bit;
	c->awake = true;
	pthread_cond_signal(&c->wake);
	pthread_mutex_unlock(&c->lock);
}

/* After a panic everything says just that there was one. */
static int cause_of(struct control *c, int ret)
{
	pthread_mutex_lock(&c->lock);
	int panic = c->panic;
	pthread_mutex_unlock(&c->lock);
	return ret == DB_RUNRECOVERY && panic ? panic : ret;
}

const char *bdb_store_strerror(struct control *c, int ret)
{
	return db_strerror(cause_of(c, ret));
}

/* Whether it met damage, and not a want of space, memory or rights, or another version of Berkeley DB: one that is
 * installed on all nodes together would have each of them give up what it has. */
static bool is_damage(int ret)
{
	switch (ret) {
	case 0:
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
	case ENOMEM:
	case EMFILE:
	case ENFILE:
	case EACCES:
	case EPERM:
	case EROFS:
	case ENAMETOOLONG:
	case DB_OLD_VERSION:
	case DB_VERSION_MISMATCH:
	case ERR_VERSION:
		return false;
	default:
		return true;
	}
}

/* --- what it sends; also on weir-elect --- */

static int on_send(DB_ENV *env, const DBT *control, const DBT *rec, const DB_LSN *lsn, int to, uint32_t flags)
{
	struct control *c = env->app_private;
	struct control_frame f;
	bool there[BDB_PEERS];

	(void)lsn;
	(void)flags;
	pthread_mutex_lock(&c->lock);
	f = c->head;
	memcpy(there, c->there, sizeof(there));
	bool mute = c->mute;
	pthread_mutex_unlock(&c->lock);
	f.type = CONTROL_LIBRARY;
	f.number = 0;
	f.control = view_of(control->data, control->size);
	f.rec = view_of(rec ? rec->data : NULL, rec ? rec->size : 0);
	/* What does not leave is asked for again, or said again. */
	for (unsigned i = 1; i < BDB_PEERS; i++) {
		if (!mute && there[i] && (to == DB_EID_BROADCAST || to == (int)i))
			(void)bdb_post_frame(c, i, &f);
	}
	return 0;
}

static void set_mute(struct control *c, bool mute)
{
	pthread_mutex_lock(&c->lock);
	c->mute = mute;
	pthread_mutex_unlock(&c->lock);
}

/* --- open, close --- */

static int set_election_time(const struct control *c, DB_ENV *env)
{
	return env->rep_set_timeout(env, DB_REP_ELECTION_TIMEOUT, (db_timeout_t)(c->election_ms * 1000));
}

static int configure(struct control *c, DB_ENV *env, bool recover)
{
	int ret = env->set_event_notify(env, on_event);

	if (ret == 0)
		ret = env->set_cachesize(env, 0, CACHE_BYTES, 1);
	if (ret == 0)
		ret = env->set_lg_bsize(env, LOG_BUFFER_BYTES);
	if (ret == 0)
		ret = env->set_lg_max(env, LOG_FILE_BYTES);
	if (ret == 0 && !recover)
		ret = env->log_set_config(env, DB_LOG_AUTO_REMOVE, 1);
	if (ret == 0)
		ret = env->rep_set_config(env, DB_REP_CONF_NOWAIT, 1);
	if (ret == 0)
		ret = env->rep_set_limit(env, 0, SEND_BYTES);
	if (ret == 0)
		ret = env->rep_set_request(env, ASK_AGAIN_LEAST_US, ASK_AGAIN_MOST_US);
	if (ret == 0)
		ret = set_election_time(c, env);
	/* Otherwise each checkpoint would wait for half a minute. */
	if (ret == 0)
		ret = env->rep_set_timeout(env, DB_REP_CHECKPOINT_DELAY, 0);
	return ret ? ret : env->rep_set_transport(env, 0, on_send);
}

static int open_environment(struct control *c, bool recover)
{
	/* Only this process, but two threads. */
	const uint32_t flags =
	    DB_CREATE | DB_PRIVATE | DB_THREAD | DB_INIT_MPOOL | DB_INIT_LOG | DB_INIT_TXN | DB_INIT_LOCK | DB_INIT_REP;
	char path[PATH_MAX];
	int ret = folder_path(c->folder, FOLDER_DB, path) ? db_env_create(&c->env, 0) : ENAMETOOLONG;

	if (ret) {
		c->env = NULL;
		return ret;
	}
	pthread_mutex_lock(&c->lock);
	c->panic = 0;
	c->events &= ~(unsigned)BDB_EVENT_PANIC; /* of the one before, which is gone */
	pthread_mutex_unlock(&c->lock);
	c->env->app_private = c;
	c->env->set_errcall(c->env, on_error);
	c->env->set_msgcall(c->env, on_message);
	ret = configure(c, c->env, recover);
	return ret ? ret : c->env->open(c->env, path, flags | (recover ? DB_RECOVER : 0), FILE_MODE);
}

static void close_database(struct control *c)
{
	if (c->db)
		(void)c->db->close(c->db, DB_NOSYNC);
	c->db = NULL;
}

void bdb_store_close(struct control *c)
{
	/* After a panic Berkeley DB refuses to close anything, and what it holds would leak. */
	if (c->env && c->panic)
		(void)c->env->set_flags(c->env, DB_NOPANIC, 1);
	close_database(c);
	if (c->env)
		(void)c->env->close(c->env, 0);
	c->env = NULL;
}

/* Its pages, before they are trusted: a damaged one can send Berkeley DB anywhere. */
static int verify(struct control *c)
{
	char path[PATH_MAX];
	DB *db;

	if (!folder_path(c->folder, FOLDER_DB "/" DATABASE, path))
		return ENAMETOOLONG;
	if (access(path, F_OK) != 0)
		return errno == ENOENT ? 0 : errno;
	int ret = db_create(&db, NULL, 0);
	if (ret)
		return ret;
	db->set_errcall(db, NULL);
	return db->verify(db, path, NULL, NULL, 0); /* the handle is gone */
}

static int open_all(struct control *c)
{
	struct control_record r;
	int ret = open_environment(c, true);

	bdb_store_close(c);
	if (ret == 0)
		ret = verify(c);
	if (ret == 0)
		ret = open_environment(c, false);
	if (ret == 0)
		ret = bdb_store_read(c, true, &c->scratch, &r);
	return ret == DB_NOTFOUND ? 0 : ret;
}

/* --- damage --- */

/* A folder of files. */
static int remove_folder(const char *path)
{
	char file[PATH_MAX];
	struct dirent *entry;
	DIR *dir = opendir(path);

	if (!dir)
		return errno == ENOENT ? 0 : errno;
	while ((entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
		    folder_path(path, entry->d_name, file))
			(void)unlink(file);
	}
	closedir(dir);
	return rmdir(path) == 0 ? 0 : errno;
}

static int make_folder(struct control *c)
{
	char path[PATH_MAX];

	if (!folder_path(c->folder, FOLDER_DB, path))
		return ENAMETOOLONG;
	return mkdir(path, FOLDER_MODE) == 0 || errno == EEXIST ? 0 : errno;
}

/* Only the last one is kept: all that was agreed is with the others. */
static int move_aside(struct control *c)
{
	char db[PATH_MAX], aside[PATH_MAX];

	if (!folder_path(c->folder, FOLDER_DB, db) || !folder_path(c->folder, FOLDER_DAMAGED, aside))
		return ENAMETOOLONG;
	int ret = remove_folder(aside);
	if (ret == 0)
		ret = rename(db, aside) == 0 ? 0 : errno;
	return ret ? ret : make_folder(c);
}

int bdb_store_open(struct control *c, char why[BDB_WHY])
{
	int ret = make_folder(c);

	if (ret == 0)
		ret = open_all(c);
	if (is_damage(cause_of(c, ret))) {
		log_event(LOG_WARN, "control_damaged", LOG_V("folder", view_str(c->folder)), LOG_S("file", FOLDER_DB),
			  LOG_S("reason", bdb_store_strerror(c, ret)), LOG_S("moved", FOLDER_DAMAGED));
		bdb_store_close(c);
		ret = move_aside(c);
		if (ret == 0)
			ret = open_all(c);
	}
	if (ret == 0)
		return 0;
	bdb_store_close(c);
	snprintf(why, BDB_WHY, "%.80s: %s", c->folder,
		 ret == ERR_VERSION ? "written by a newer weir" : bdb_store_strerror(c, ret));
	return ERR_BROKEN;
}

/* --- roles, messages --- */

int bdb_store_start(struct control *c, bool master)
{
	/* It is open with a master alone, which is never locked out of it. */
	close_database(c);
	return c->env->rep_start(c->env, NULL, master ? DB_REP_MASTER : DB_REP_CLIENT);
}

/* Berkeley DB's table of votes has room for as many as the largest election so far was for, and it writes what is more
 * behind its end. So there is one for all that may ever vote, which nobody hears of and which ends at once. */
static int make_room_for_votes(struct control *c)
{
	set_mute(c, true);
	int ret = c->env->rep_set_timeout(c->env, DB_REP_ELECTION_TIMEOUT, 1);
	if (ret == 0)
		ret = c->env->rep_elect(c->env, BDB_PEERS, BDB_PEERS / 2 + 1, 0);
	if (ret == 0 || ret == DB_REP_UNAVAIL)
		ret = set_election_time(c, c->env);
	set_mute(c, false);
	return ret;
}

int bdb_store_join(struct control *c)
{
	int ret = bdb_store_start(c, false);

	return ret ? ret : make_room_for_votes(c);
}

int bdb_store_renew(struct control *c)
{
	char path[PATH_MAX];

	bdb_store_close(c);
	if (!folder_path(c->folder, FOLDER_DB, path))
		return ENAMETOOLONG;
	int ret = remove_folder(path);
	if (ret == 0)
		ret = make_folder(c);
	if (ret == 0)
		ret = open_environment(c, false);
	return ret ? ret : bdb_store_join(c);
}

/* Into memory of its own: Berkeley DB may look at numbers in place, and write there. */
int bdb_store_message(struct control *c, unsigned peer, const struct control_frame *f)
{
	DBT control = {0}, rec = {0};
	DB_LSN lsn;

	buf_clear(&c->scratch);
	buf_put(&c->scratch, f->control);
	while (buf_len(&c->scratch) % 16 != 0)
		buf_put_u8(&c->scratch, 0);
	size_t at = buf_len(&c->scratch);
	buf_put(&c->scratch, f->rec);
	if (buf_error(&c->scratch)) {
		buf_fini(&c->scratch);
		return 0; /* as if it was lost */
	}
	control.data = c->scratch.data;
	control.size = (uint32_t)f->control.len;
	rec.data = f->rec.len ? c->scratch.data + at : NULL;
	rec.size = (uint32_t)f->rec.len;
	return c->env->rep_process_message(c->env, &control, &rec, (int)peer, &lsn);
}

void bdb_store_flush(struct control *c)
{
	(void)c->env->rep_flush(c->env);
}

int bdb_store_checkpoint(struct control *c)
{
	int ret = bdb_is_ruling(c) ? c->env->txn_checkpoint(c->env, CHECKPOINT_KBYTES, 0, 0) : 0;

	return ret ? ret : c->env->log_archive(c->env, NULL, DB_ARCH_REMOVE);
}

/* --- the record --- */

static const char record_key[] = "view";

static DBT the_key(void)
{
	return (DBT){.data = (void *)(uintptr_t)record_key, .size = sizeof(record_key) - 1};
}

static int open_database(struct control *c, bool create)
{
	if (c->db)
		return 0;
	int ret = db_create(&c->db, c->env, 0);
	if (ret) {
		c->db = NULL;
		return ret;
	}
	ret = create ? c->db->set_pagesize(c->db, PAGE_BYTES) : 0;
	if (ret == 0 && create)
		ret = c->db->set_flags(c->db, DB_CHKSUM);
	if (ret == 0)
		ret = c->db->open(c->db, NULL, DATABASE, NULL, DB_BTREE,
				  DB_AUTO_COMMIT | DB_THREAD | (create ? DB_CREATE : 0), FILE_MODE);
	if (ret)
		close_database(c);
	return ret == ENOENT ? DB_NOTFOUND : ret;
}

static int get(struct control *c, bool whole, struct buf *out)
{
	DBT key = the_key();
	DBT data = {.flags = DB_DBT_USERMEM | (whole ? 0 : DB_DBT_PARTIAL), .dlen = CONTROL_RECORD_HEAD_MAX};

	data.ulen = CONTROL_RECORD_HEAD_MAX + (whole ? CONTROL_VIEW_MAX : 0);
	buf_clear(out);
	data.data = buf_reserve(out, data.ulen);
	if (!data.data) {
		buf_fini(out);
		return ENOMEM;
	}
	int ret = open_database(c, false);
	if (ret == 0)
		ret = c->db->get(c->db, NULL, &key, &data, 0);
	if (ret == 0)
		buf_commit(out, data.size);
	return ret;
}

/* While the database is being made the same as the master's, nothing of it may be used; and closing a handle would then
 * wait for what only this thread brings on. */
static int probe(struct control *c)
{
	DB_TXN *txn;
	int ret = c->env->txn_begin(c->env, NULL, &txn, DB_TXN_NOSYNC);

	return ret ? ret : txn->abort(txn);
}

int bdb_store_read(struct control *c, bool whole, struct buf *out, struct control_record *r)
{
	int ret = probe(c);

	if (ret)
		return ret;
	ret = get(c, whole, out);
	/* Only a master's handle stays good. */
	if (!bdb_is_ruling(c))
		close_database(c);
	if (ret)
		return ret;
	return whole ? control_record_decode(buf_view(out), r) : control_record_decode_head(buf_view(out), r);
}

int bdb_store_write(struct control *c, const struct control_record *r)
{
	DBT key = the_key(), data = {0};
	DB_TXN *txn = NULL;

	buf_clear(&c->scratch);
	control_record_encode(r, &c->scratch);
	if (buf_error(&c->scratch)) {
		buf_fini(&c->scratch);
		return ENOMEM;
	}
	data.data = c->scratch.data;
	data.size = (uint32_t)buf_len(&c->scratch);
	int ret = open_database(c, true);
	if (ret == 0)
		ret = c->env->txn_begin(c->env, NULL, &txn, 0);
	if (ret)
		return ret;
	ret = c->db->put(c->db, txn, &key, &data, 0);
	if (ret) {
		(void)txn->abort(txn);
		return ret;
	}
	return txn->commit(txn, 0);
}
