/* The file that says which process this is: for weirctl, and for scripts that send signals. Main thread. */
#ifndef WEIR_GATEWAY_PIDFILE_H
#define WEIR_GATEWAY_PIDFILE_H

#include <sys/types.h>

struct pidfile {
	char *path; /* owned; NULL: not written */
};

/* Whole or not at all, in the place of whatever stands there. Without it weir runs all the same: a failure is logged.
 */
void pidfile_write(struct pidfile *f, const char *path, uid_t uid, gid_t gid);

/* Removes it if it (still) is this process's; where that is not permitted it is emptied. */
void pidfile_remove(struct pidfile *f);

#endif
