/* Only what has expired leaves, and that the table's timers see to: nothing moves down. Pure. */
#include "session/evict.h"

static bool wants(const struct evict_limits *l, const struct evict_look *look, uint32_t used_s)
{
	(void)l;
	(void)look;
	(void)used_s;
	return false;
}

const struct evict_kind evict_ttl = {.name = "ttl", .wants = wants, .relieves = false};
