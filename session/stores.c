/* The kinds of stores there are, from top to bottom. */
#include "session/store.h"

#include "base/invariant.h"

#include <stddef.h>

const struct store_kind *const store_kinds[] = {
    &store_memory,
    &store_disk,
    NULL,
};

const struct store_kind *store_find(const char *name)
{
	const struct store_kind *const *k = store_kinds;

	while (*k && strcmp((*k)->name, name) != 0)
		k++;
	INVARIANT(*k != NULL);
	return *k;
}
