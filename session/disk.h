/* The disk store's own parts (doc/disk-format.md): private to session/disk*.c. One store is one folder:
 *
 *   DIR/lock              the process that has the store
 *   DIR/sessions.db       the databases "sessions", "ids" and "meta"
 *   DIR/log.NNNNNNNNNN    Berkeley DB's log
 *   DIR/reserve           room for a recovery on a full disk
 *   DIR/damaged           this store met damage: the next open salvages
 *   DIR/damaged-DATE...   what a salvage moved aside
 *
 *   disk.c          the operations of `struct store_kind`
 *   disk_hint.c     where sessions were put or found last
 *   disk_env.c      the environment: open, recover, close, errors
 *   disk_guard.c    what keeps Berkeley DB from bytes that it would trust
 *   disk_tend.c     checkpoints
 *   disk_flush.c    a thread that waits for the disk ahead of them
 *   disk_folder.c   the folder and its lock
 *   disk_room.c     the disk that it is on: sizes, free space
 *   disk_salvage.c  what becomes of a damaged store
 *   disk_repair.c   its recovery around bad pages
 *   disk_reader.c   what its file holds, page by page; disk_page.c one page; pure
 *   disk_replay.c   what its log holds; disk_op.c one record of it; pure */
#ifndef WEIR_SESSION_DISK_H
#define WEIR_SESSION_DISK_H

#include "base/clock.h"
#include "session/disk_hint.h"
#include "session/store.h"

#include <db.h>
#include <limits.h>
#include <stdatomic.h>
#include <sys/types.h>

#define DISK_FILE "sessions.db"

enum {
	DISK_FORMAT = 2, /* of databases and keys; the record has its own */
	DISK_FILE_MODE = 0600,
	DISK_PAGE_BYTES = 8 << 10, /* of new files */
	DISK_KEY_BYTES = 8 + 4 + SESS_ID_BYTES,
	DISK_PLACE_BYTES = 8 + 4 + 4,
	DISK_META_BYTES = 32,
	DISK_REASON_BYTES = 128, /* in words, with its end */
};

/* Which file sessions.db is. */
struct disk_file {
	bool known, recovering;
	dev_t device;
	ino_t inode;
};

struct store {
	char *dir;                 /* owned */
	int lock_fd;               /* owned; -1: none */
	DB_ENV *env;               /* owned; NULL: none */
	DB *sessions, *ids, *meta; /* owned; NULL: not open */
	struct disk_file file;     /* sessions.db, for the guard */
	DB_TXN *batch;             /* owned; NULL: none is under way */
	uint64_t max_bytes, cache_bytes;
	uint64_t log_bytes; /* of a file of the log, and of log between two checkpoints */
	enum store_sync sync;

	struct store_count now;                     /* with the batch */
	struct store_count kept;                    /* of the last commit */
	_Atomic uint64_t told_sessions, told_bytes; /* `kept`, for any thread */

	struct disk_flush *flush;     /* owned; NULL: none */
	struct disk_hints hints;      /* of this process: they begin empty */
	struct buf bytes;             /* a record on its way to the disk */
	uint64_t room_bytes;          /* that may be written before the next look at the disk's free space */
	uint64_t batch_bytes;         /* put and removed by the batch */
	struct instant checkpoint_at; /* when the last one was made */
	uint64_t ahead_bytes;         /* of log since, when the kernel was last told to write */

	char said[DISK_REASON_BYTES]; /* what Berkeley DB said first of what is wrong; empty: nothing */
	const char *gone;             /* what of its files was taken away while it is open, in words; NULL: nothing */
	int panic;                    /* why Berkeley DB gave up: an errno or a code of its own; 0: it did not */
	uint32_t next_turn; /* of the next new place; since the store was opened, for the order means nothing else */
	bool changed;       /* the batch holds something */
	bool lacks_reserve; /* there was no room for DISK_RESERVE */
	bool broken;        /* until it is closed and opened again */
};

/* --- disk_env.c --- */

/* Opens the environment and its databases; `recover` is DB_RECOVER or DB_RECOVER_FATAL. `kept` is what they hold. 0, or
 * what Berkeley DB or errno says, and all is closed; ERR_VERSION where a newer weir wrote them. */
MUST_USE int disk_env_open(struct store *s, uint32_t recover);
/* The same with DB_RECOVER; one that finds the disk full may have what was held back for it. */
MUST_USE int disk_env_recover(struct store *s);
/* An environment of nothing but the log in the folder `dir`, to be read. To be closed also where it fails. */
MUST_USE int disk_env_open_log(struct store *s, const char *dir, DB_ENV **out);
void disk_env_close_log(DB_ENV **env);
/* Closes what is open. What is only in memory is not written to the file: it is in the log. */
void disk_env_close(struct store *s);
/* Whether what failed with `ret` met damage, and not a want of space, memory or rights. */
bool disk_is_damage(const struct store *s, int ret);
/* What `ret` means to a caller of open(), and to people. */
MUST_USE int disk_error(const struct store *s, int ret);
const char *disk_strerror(const struct store *s, int ret);
/* The reason for a failure that is on its way, in better words than its number has. The first one counts. */
void disk_say(struct store *s, const char *reason);
/* A failure of Berkeley DB in the midst of things: undoes the batch, breaks the store, returns ERR_BROKEN. */
int disk_fail(struct store *s, int ret, const char *doing);
void disk_undo(struct store *s);

/* The numbers in `now`, into the batch. */
MUST_USE int disk_meta_write(struct store *s);
/* 0, ERR_MALFORMED, or ERR_VERSION: of a newer weir. */
MUST_USE int disk_meta_decode(struct view bytes, struct store_count *out);

/* --- disk_tend.c --- */

/* 0 or what Berkeley DB says. */
MUST_USE int disk_checkpoint(struct store *s);
/* To be called before a batch: a checkpoint where there is much log, or some and the disk is short of room. */
MUST_USE int disk_relieve(struct store *s);
MUST_USE int disk_tend(struct store *s);

/* --- disk_folder.c --- */

/* Makes the folder where it is missing and takes its lock: 0, ERR_BUSY, ERR_SYSTEM, with a line in `why`. */
MUST_USE int disk_folder_take(struct store *s, char *why, size_t why_len);
void disk_folder_release(struct store *s);
/* What of it was taken away while it is in use, in words; NULL: nothing. */
const char *disk_folder_gone(const struct store *s);

/* DIR/NAME; false where it is too long. */
bool disk_path(const char *dir, const char *name, char out[PATH_MAX]);
/* What was made, moved and removed in it stays so after a crash of the machine. 0 or ERR_SYSTEM. */
MUST_USE int disk_sync_folder(const char *dir);

/* --- disk.c --- */

void disk_key(const struct sess_id *id, const struct disk_place *place, uint8_t out[DISK_KEY_BYTES]);
/* 0, DB_NOTFOUND, ERR_MALFORMED, or what Berkeley DB says. */
MUST_USE int disk_place_get(struct store *s, const struct sess_id *id, struct disk_place *out);
/* Whether the bytes are a record of any format whose checksum holds. */
bool disk_record_is_sound(struct view bytes, struct record_head *out);
/* A record's bytes into the batch. 0, ERR_FULL or ERR_BROKEN. */
MUST_USE int disk_put_bytes(struct store *s, const struct record_head *head, struct view bytes);
MUST_USE int disk_commit(struct store *s);

#endif
