/* From the configuration to the keys and the stack of stores. Main thread. */
#ifndef WEIR_GATEWAY_SESSIONS_H
#define WEIR_GATEWAY_SESSIONS_H

#include "gateway/worker.h"

/* Makes g->keys, g->stack, and what adopted sessions need beside it; the stack's thread does not run yet. On failure
 * one line in `why`. */
MUST_USE int sessions_new(struct gateway *g, const struct conf *c, char *why, size_t why_len);

/* All of it; no request and no connection may be left. Safe on what was not made. */
void sessions_free(struct gateway *g);

/* A reload: bounds and evicters as `c` has them. */
void sessions_set(struct gateway *g, const struct conf *c);

/* The stack's numbers of c's apps, in their order; owned by the caller. NULL: out of memory. */
MUST_USE uint16_t *sessions_apps(struct gateway *g, const struct conf *c);

#endif
