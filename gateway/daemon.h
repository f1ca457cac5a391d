/* The daemon: brings the parts up in order, listens to signals, takes the parts down in the opposite order.
 *
 *   STARTING --> RUNNING --TERM--> DRAINING --quiet--> LEAVING (the cluster) --> STORING (sessions)
 *                   \                 \                   \--drain-timeout, TERM, INT--/^  \--> STOPPING --> exit 0
 *                    \                 \--drain-timeout, TERM, INT--> CLOSING --quiet--/         (the cluster's
 *                     \--INT---------------------------------------->/                           thread, applications)
 */
#ifndef WEIR_GATEWAY_DAEMON_H
#define WEIR_GATEWAY_DAEMON_H

#include "conf/conf.h"

/* Runs until it is told to stop. Takes over `c`, which was read from `path`; a reload reads it again. The exit code: 0,
 * or 1 when it could not start; stderr says why then. */
int daemon_run(struct conf *c, const char *path);

#endif
