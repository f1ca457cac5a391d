/* From the configuration to pools. Main thread. */
#ifndef WEIR_GATEWAY_POOLS_H
#define WEIR_GATEWAY_POOLS_H

#include "backend/pool.h"
#include "conf/conf.h"

struct application;

/* The pools for all apps; `spawned` are the applications of the `spawn:` backends, in their order. NULL: out of
 * memory. */
MUST_USE struct pool_shared *pools_new(struct pool_book *book, const struct conf *c, struct application *const *spawned,
				       size_t workers);

#endif
