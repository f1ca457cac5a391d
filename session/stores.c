/* The table of stores. */
#include "session/store.h"

#include "base/invariant.h"

#include <stddef.h>

#define ROW(name) &store_##name,
const struct store_kind *const store_kinds[] = {STORES(ROW) NULL};

const struct store_kind *store_find(const char *name)
{
	const struct store_kind *const *k = store_kinds;

	while (*k && strcmp((*k)->name, name) != 0)
		k++;
	INVARIANT(*k != NULL);
	return *k;
}
