/* The room around a disk store (doc/disk-format.md, "Room"): private to session/disk*.c. */
#ifndef WEIR_SESSION_DISK_ROOM_H
#define WEIR_SESSION_DISK_ROOM_H

#include "session/disk.h"

#define DISK_RESERVE "reserve"

/* Sizes of log and cache that suit the disk. ERR_FULL: it is too small for any; ERR_SYSTEM; with a line in `why`. */
MUST_USE int disk_room_measure(struct store *s, char *why, size_t why_len);
/* Whether the process has the descriptors that opening takes: Berkeley DB does not give back all it has allocated when
 * they run out on the way. ERR_SYSTEM, with a line in `why`. */
MUST_USE int disk_room_descriptors(const struct store *s, char *why, size_t why_len);
/* Whether there is room for a record of so many bytes; it has them then. One that takes the place of another may have
 * some that a new one may not: who is there can go on. */
bool disk_room_take(struct store *s, uint64_t bytes, bool replaces);
/* Whether the log should be kept short. */
bool disk_room_is_scarce(const struct store *s);

/* Makes DISK_RESERVE, if there is room for it: without it a store takes nothing more. */
void disk_reserve_hold(struct store *s);
uint64_t disk_reserve_bytes(const struct store *s);
/* Gives it away. False: there was none. */
bool disk_reserve_release(struct store *s);

#endif
