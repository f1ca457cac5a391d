/* The daemon: brings the parts up in order, listens to signals, takes the parts down in the opposite order.
 *
 *   STARTING --> RUNNING --TERM--> DRAINING --quiet--> STOPPING (applications) --> exit 0
 *                   \                 \--drain-timeout, TERM, INT--> CLOSING --quiet--/
 *                    \--INT---------------------------------------->/                     */
#ifndef WEIR_GATEWAY_DAEMON_H
#define WEIR_GATEWAY_DAEMON_H

#include "conf/conf.h"

/* Runs until it is told to stop. The exit code: 0, or 1 when it could not start; stderr says why then. */
int daemon_run(const struct conf *c);

#endif
