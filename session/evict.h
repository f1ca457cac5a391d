/* Which sessions leave memory for the store below, and when (doc/stores.md). Pure. A new evicter is one file with one
 * `struct evict_kind`, and one row in session/evicters.h. */
#ifndef WEIR_SESSION_EVICT_H
#define WEIR_SESSION_EVICT_H

#include "session/evicters.h"

#include <stdbool.h>
#include <stdint.h>

struct evict_limits {
	uint32_t after_s; /* idle: unused for so long */
};

struct evict_look {
	uint32_t now_s;
	bool tight; /* memory is nearly full: since it passed its high mark and until it falls below its low mark */
};

struct evict_kind {
	const char *name; /* as in the configuration */
	/* Whether a session that nobody uses, and that was last used at `used_s`, moves down now. Asked for the least
	 * recently used first: a no ends the look. Sessions in use, and pinned ones, are never asked about. */
	bool (*wants)(const struct evict_limits *l, const struct evict_look *look, uint32_t used_s);
	bool relieves; /* it makes room when memory is tight: worth waiting for */
};

#define EVICT_DECLARE(name, NAME) extern const struct evict_kind evict_##name;
EVICTERS(EVICT_DECLARE)
#undef EVICT_DECLARE

/* NULL: there is none of this name. */
const struct evict_kind *evict_find(const char *name);

#endif
