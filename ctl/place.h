/* Where weir is to be found: its admin socket and its pid file. */
#ifndef WEIR_CTL_PLACE_H
#define WEIR_CTL_PLACE_H

#include "ctl/ctl.h"

struct ctl_place {
	char *socket, *pid_file; /* owned */
};

/* What was given (NULL: nothing) counts before what the configuration says, and that before the defaults. `config`
 * NULL: the usual file, if it is there. It is read unless both are given: a guess in its place could lead to another
 * weir, or say of one that runs that it does not. CTL_DONE; or CTL_CONFIG, CTL_FAILED: it has said why. */
MUST_USE enum ctl_exit ctl_place_find(struct ctl_place *p, const char *config, const char *socket,
				      const char *pid_file);
void ctl_place_fini(struct ctl_place *p);

#endif
