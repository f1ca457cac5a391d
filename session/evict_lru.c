/* What was unused for longest moves down while memory is tight. Pure. */
#include "session/evict.h"

static bool wants(const struct evict_limits *l, const struct evict_look *look, uint32_t used_s)
{
	(void)l;
	(void)used_s;
	return look->tight;
}

const struct evict_kind evict_lru = {.name = "lru", .wants = wants, .relieves = true};
