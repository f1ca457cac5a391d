/* Options that cannot change while weir runs: they keep the value in force. */
#ifndef WEIR_GATEWAY_RESTART_H
#define WEIR_GATEWAY_RESTART_H

#include "base/compiler.h"
#include "conf/conf.h"

/* Writes what is in force into `c`, which was read anew; for each option that this changes `say` is called with its
 * name, as "node.workers". ERR_NO_MEMORY. */
MUST_USE int restart_keep(struct conf *c, const struct conf *now, void (*say)(void *arg, const char *option),
			  void *arg);

#endif
