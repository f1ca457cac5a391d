/* Whether clients should be sent to this weir, for a load balancer in front of several. */
#ifndef WEIR_GATEWAY_HEALTH_H
#define WEIR_GATEWAY_HEALTH_H

#include "gateway/worker.h"

/* NULL: they should. Otherwise why not, a static text. `state` is that of the process, as of control_status(). Any
 * thread. */
const char *health_trouble(const struct gateway *g, const char *state);

#endif
