/* The checksum of Berkeley DB's pages and log records, as fast as it can be (doc/disk-format.md, "What it costs"). */
#ifndef WEIR_SESSION_DISK_HASH_H
#define WEIR_SESSION_DISK_HASH_H

#include "base/view.h"

/* h = h * 33 + byte over all bytes, beginning with `h`. Pure. */
uint32_t disk_hash(uint32_t h, struct view bytes);

#endif
