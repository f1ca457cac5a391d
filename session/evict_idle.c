/* What was unused for a time moves down; and, while memory is tight, what was unused for longest. Pure. */
#include "session/evict.h"

static bool wants(const struct evict_limits *l, const struct evict_look *look, uint32_t used_s)
{
	uint32_t unused_s = look->now_s > used_s ? look->now_s - used_s : 0;

	return look->tight || unused_s >= l->after_s;
}

const struct evict_kind evict_idle = {.name = "idle", .wants = wants, .relieves = true};
