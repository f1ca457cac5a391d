/* Where weir is to be found: its admin socket and its pid file. */
#ifndef WEIR_CTL_PLACE_H
#define WEIR_CTL_PLACE_H

#include "base/compiler.h"

struct ctl_place {
	char *socket, *pid_file; /* owned */
};

/* What was given (NULL: nothing) counts before what the configuration says, and that before the defaults. `config`
 * NULL: the usual file, if it is there. A file that cannot be read or has errors is complained of and left aside: weir
 * may run with what stood in it before. ERR_NO_MEMORY. */
MUST_USE int ctl_place_find(struct ctl_place *p, const char *config, const char *socket, const char *pid_file);
void ctl_place_fini(struct ctl_place *p);

#endif
