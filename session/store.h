/* What a store of sessions is (doc/stores.md). The stack (session/stack.h) puts stores on top of each other and moves
 * sessions between them. A new store is one file with one `struct store_kind`, and one row in session/stores.c.
 *
 * A store is used by one thread at a time (the stack's own), but for count(), which any thread may call.
 * Changes are gathered in a batch, which the first put(), remove() or expire() begins and commit() ends: after a crash
 * either all of a batch is there or nothing. get(), scan() and expire() see the batch that is under way. It should be
 * ended when it is due(): others wait for it, and a full disk has no room for a large one. */
#ifndef WEIR_SESSION_STORE_H
#define WEIR_SESSION_STORE_H

#include "base/compiler.h"
#include "session/record.h"

struct store;
struct sess_table;

/* What commit() promises: nothing before the next checkpoint; the batch has left this process (a crash of weir loses
 * nothing, one of the machine may); the batch is on the disk, with one fsync. */
enum store_sync { STORE_SYNC_NONE, STORE_SYNC_WRITE, STORE_SYNC_GROUP };

struct store_options {
	const char *dir;      /* borrowed; made when it is not there */
	uint64_t max_bytes;   /* of what is kept; put() refuses more with ERR_FULL */
	uint64_t cache_bytes; /* memory for pages */
	enum store_sync sync;
	struct sess_table *table; /* memory only; borrowed */
};

struct store_count {
	uint64_t sessions, bytes;
};

/* False ends the walk. The record is good until it returns; a record that cannot be read comes as `err` (ERR_MALFORMED,
 * ERR_VERSION) with nothing but its id. The store must not be changed meanwhile. */
typedef bool store_visit(void *arg, const struct sess_record *r, int err);

/* Every function: 0 or an error of this list.
 *   ERR_GONE       there is no such session
 *   ERR_MALFORMED  there is one, damaged; it can be removed
 *   ERR_VERSION    there is one of a newer format; it stays
 *   ERR_FULL       put(): no room (bound or disk); the batch goes on without it
 *   ERR_BUSY       open(): another process has it
 *   ERR_BROKEN     the store cannot go on: close it and open it again. A batch under way is undone.
 *   ERR_SYSTEM, ERR_NO_MEMORY */
struct store_kind {
	const char *name; /* as in the configuration and in what operators see: "memory", "disk" */

	/* Recovers what a crash left. On failure one line in `why`. */
	int (*open)(struct store **out, const struct store_options *o, char *why, size_t why_len);
	/* An uncommitted batch is undone. `orderly`: leave nothing to recover. Frees in any case. */
	void (*close)(struct store **s, bool orderly);
	/* Bounds and sync from now on. The folder and the cache stay. */
	void (*set)(struct store *s, const struct store_options *o);

	/* *out borrows from `space`, which is cleared first. */
	int (*get)(struct store *s, const struct sess_id *id, struct buf *space, struct sess_record *out);
	int (*put)(struct store *s, const struct sess_record *r); /* replaces */
	int (*remove)(struct store *s, const struct sess_id *id); /* 0 also when it is not there */
	bool (*due)(const struct store *s);                       /* the batch under way is large */
	int (*commit)(struct store *s);                           /* on failure nothing of the batch is there */

	/* Removes up to `max` sessions that have expired at `now_s`, as a part of the batch and until that is due, and
	 * tells each to `gone`. *more: call again after a commit. */
	int (*expire)(struct store *s, uint32_t now_s, uint32_t max, void (*gone)(void *arg, const struct sess_id *id),
		      void *arg, bool *more);

	/* Walks over all sessions in an order of the store's own, from the beginning or behind `after` (which need not
	 * be there any more). A walk over a store that changes between two calls may miss what came, and meets
	 * nothing twice. */
	int (*scan)(struct store *s, const struct sess_id *after, store_visit *visit, void *arg);

	void (*count)(const struct store *s, struct store_count *out); /* any thread; one batch late at most */

	/* Housekeeping, a bounded piece of it: to be called now and then outside a batch. */
	int (*tend)(struct store *s);
};

extern const struct store_kind store_memory, store_disk;

/* All kinds, from top to bottom; NULL at the end (session/stores.c). */
extern const struct store_kind *const store_kinds[];

/* The one of this name, which must be there. */
const struct store_kind *store_find(const char *name);

#endif
