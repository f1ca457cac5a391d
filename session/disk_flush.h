/* A thread that waits for the disk ahead of a checkpoint, so that the store's own has little left to wait for
 * (doc/disk-format.md, "Checkpoints"). Private to session/disk*.c.
 *
 * What it does is a hint: Berkeley DB flushes by itself, through descriptors of its own, what has to be on the disk,
 * and these hear of every failure. So nothing is said of its own. */
#ifndef WEIR_SESSION_DISK_FLUSH_H
#define WEIR_SESSION_DISK_FLUSH_H

enum disk_flush_file { DISK_FLUSH_LOG, DISK_FLUSH_SESSIONS };
enum { DISK_FLUSH_FILES = 2 };

struct disk_flush;

/* NULL: there is no memory or no thread for it. */
struct disk_flush *disk_flush_new(void);
/* Waits for what is under way. Safe for NULL. */
void disk_flush_free(struct disk_flush **f);

/* What was written to `fd` until now goes to the disk. Takes the descriptor over. What waits of the same file is
 * replaced. */
void disk_flush_begin(struct disk_flush *f, enum disk_flush_file file, int fd);

#endif
