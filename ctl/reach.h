/* Getting through to weir: connects, and where nobody listens sends the signal that opens the socket first. */
#ifndef WEIR_CTL_REACH_H
#define WEIR_CTL_REACH_H

#include "ctl/place.h"

#include <stdint.h>

/* A connected socket, on which an operation waits for `wait_ms` at most. -1: not to be reached; it has said why. */
MUST_USE int ctl_reach(const struct ctl_place *p, uint64_t wait_ms);

#endif
