/* The kinds of stores there are, from top to bottom. */
#include "session/store.h"

#include <stddef.h>

const struct store_kind *const store_kinds[] = {
    &store_memory,
    &store_disk,
    NULL,
};
