/* The table of evicters. Pure. */
#include "session/evict.h"

#include <stddef.h>
#include <string.h>

#define ROW(name, NAME) &evict_##name,
static const struct evict_kind *const kinds[] = {EVICTERS(ROW)};

const struct evict_kind *evict_find(const char *name)
{
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		if (strcmp(kinds[i]->name, name) == 0)
			return kinds[i];
	}
	return NULL;
}
