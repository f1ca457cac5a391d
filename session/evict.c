/* The evicters there are. Pure. */
#include "session/evict.h"

#include <stddef.h>
#include <string.h>

static const struct evict_kind *const kinds[] = {
    &evict_never,
    &evict_idle,
    &evict_lru,
    &evict_ttl,
};

const struct evict_kind *evict_find(const char *name)
{
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		if (strcmp(kinds[i]->name, name) == 0)
			return kinds[i];
	}
	return NULL;
}
