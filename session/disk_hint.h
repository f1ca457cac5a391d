/* Where sessions were put or found last: what spares a look-up the search in "ids" (doc/disk-format.md, "Hints").
 * Private to session/disk*.c; pure, but for the table that disk_hints_init() allocates. */
#ifndef WEIR_SESSION_DISK_HINT_H
#define WEIR_SESSION_DISK_HINT_H

#include "session/id.h"

/* Where a session's record is: the order of the places is that in which sessions expire, and for those of one second
 * that in which they came. */
struct disk_place {
	uint64_t expires_s;
	uint32_t turn;
	uint32_t bytes; /* of the record */
};

/* Where a session's record was. */
struct disk_hint {
	uint32_t tag; /* of the id */
	uint32_t expires_s, turn;
	uint32_t bytes; /* 0: none */
};

struct disk_hints {
	struct disk_hint *slots; /* owned; NULL: none */
	uint32_t mask;           /* their number less 1; it is a power of 2 */
};

/* A table for a store with a cache of so many bytes: a quarter of them at most. Without memory there are no hints. */
void disk_hints_init(struct disk_hints *h, uint64_t cache_bytes);
void disk_hints_fini(struct disk_hints *h);

/* Takes the place of whatever session was there. */
void disk_hint_note(struct disk_hints *h, const struct sess_id *id, const struct disk_place *place);
/* Where the session may be: the record at that place, which has the id in its key, is its record; or there is none, and
 * the hint was of another session or of another time. False: not known. */
bool disk_hint_find(const struct disk_hints *h, const struct sess_id *id, struct disk_place *out);

#endif
