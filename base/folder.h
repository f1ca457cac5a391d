/* A folder that one process has for itself: made where it is missing, private, with a lock. */
#ifndef WEIR_BASE_FOLDER_H
#define WEIR_BASE_FOLDER_H

#include "base/compiler.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

/* Makes it where it is missing (0700; its parent must be there) and takes DIR/lock: 0, ERR_BUSY, ERR_SYSTEM, with a
 * line in `why`. *lock_fd is the lock, also of a failure, where it is not -1: to be closed. A second one in this
 * process is refused as well. */
MUST_USE int folder_take(const char *dir, int *lock_fd, char *why, size_t why_len);

/* DIR/NAME; false where it is too long. */
bool folder_path(const char *dir, const char *name, char out[PATH_MAX]);

/* What was made, moved and removed in it stays so after a crash of the machine. 0 or ERR_SYSTEM. */
MUST_USE int folder_sync(const char *dir);

#endif
