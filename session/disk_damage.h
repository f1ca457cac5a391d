/* The disk store and damage (doc/disk-format.md, "Damage"): private to session/disk*.c. */
#ifndef WEIR_SESSION_DISK_DAMAGE_H
#define WEIR_SESSION_DISK_DAMAGE_H

#include "session/disk.h"
#include "session/disk_reader.h"

#define DISK_MARKER "damaged"
#define DISK_RESCUED "rescued"

/* --- disk_guard.c --- */

void disk_guard_install(void);
/* The file whose pages this thread reads from now on; NULL: of none. */
void disk_guard_watch(const struct disk_file *file);
/* Tells s->file. A recovery begins (the file may be shorter than it says, and have pages that were never written) or
 * is over: then ERR_MALFORMED says that the file is too short. 0 or errno; 0 also where there is no file yet. */
MUST_USE int disk_guard_identify(struct store *s, bool recovering);

/* --- disk_salvage.c --- */

/* That the next open has to salvage. */
void disk_marker_write(const struct store *s, const char *reason);
bool disk_marker_is_there(const struct store *s);
/* The store is moved aside, and what can be read of it comes into a new one, which is then open. `reason` is for the
 * log; NULL: the marker's. 0 or an error, with a line in `why`. */
MUST_USE int disk_salvage(struct store *s, const char *reason, char *why, size_t why_len);

/* Whether sessions.db is missing, and a log is there. */
bool disk_file_is_missing(const struct store *s);

/* Whether the record is newer than the one that the store has of its session, if any. Of one version the one that
 * expires later is: a use changes the time and not the version. */
bool disk_is_newer(struct store *s, const struct record_head *head);

/* --- disk_replay.c --- */

struct disk_replay {
	bool to_end; /* all of the log could be read, */
	bool all;    /* and it began with the store: nothing is missing */
};

/* Does in `s` what the log in the folder `aside` says, as far as that can be done without the file. 0 also where there
 * is no log; another error: it is to be tried again. */
MUST_USE int disk_replay(struct store *s, const char *aside, struct disk_replay *out);

/* --- disk_repair.c --- */

struct disk_repair {
	uint64_t bad_pages;
	bool recovered;            /* the log's batches are in the file */
	struct store_count before; /* what was there; known where it recovered */
};

/* Recovers the store in the folder `aside` as far as its log goes, around its bad pages, so that only what was on those
 * can be missing. They are kept in files of their own, and what could be read of them is in DISK_RESCUED. 0 also where
 * it does not recover; another error: it is to be tried again. */
MUST_USE int disk_repair(struct store *s, char *aside, struct disk_repair *out);
/* The items of the bad pages in `aside`. ERR_SYSTEM, or what `found` returned. */
MUST_USE int disk_kept_pages(struct disk_reader *r, const char *aside, disk_found *found, void *arg);

#endif
