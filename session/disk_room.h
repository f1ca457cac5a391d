/* The room around a disk store (doc/disk-format.md, "Room"): private to session/disk*.c. */
#ifndef WEIR_SESSION_DISK_ROOM_H
#define WEIR_SESSION_DISK_ROOM_H

#include "session/disk.h"

#define DISK_RESERVE "reserve"

/* Sizes of log and cache that suit the disk. ERR_FULL: it is too small for any; ERR_SYSTEM; with a line in `why`. */
MUST_USE int disk_room_measure(struct store *s, char *why, size_t why_len);
/* Bytes that may be written: free ones above a margin, or in what the file has to spare. 0 when it cannot be told. */
uint64_t disk_room(const struct store *s);
/* The largest record that may be put: there must be room for its removal, too. */
uint64_t disk_room_largest(const struct store *s);
/* Whether the log should be kept short. */
bool disk_room_is_scarce(const struct store *s);

/* Makes DISK_RESERVE, if there is room for it: without it a store takes nothing more. */
void disk_reserve_hold(struct store *s);
uint64_t disk_reserve_bytes(const struct store *s);
/* Gives it away. False: there was none. */
bool disk_reserve_release(struct store *s);

#endif
