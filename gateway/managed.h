/* Sessions that travel with the request: from cookie to hold, from hold to SESSION_ variables, and from Weir-Session-
 * headers to a commit (doc/sessions.md). */
#ifndef WEIR_GATEWAY_MANAGED_H
#define WEIR_GATEWAY_MANAGED_H

#include "gateway/keeper.h"

/* One cookie after the other is tried until one has a session. The variables are those of the session and no others
 * that begin with SESSION_; the answer's head loses its Weir-Session- headers and gets the cookie. */
extern const struct keeper keeper_managed;

#endif
