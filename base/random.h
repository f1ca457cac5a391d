/* Random bytes from the kernel (getrandom(2)), for ids and keys. Pure code is handed what it needs instead. */
#ifndef WEIR_BASE_RANDOM_H
#define WEIR_BASE_RANDOM_H

#include "base/compiler.h"

#include <stddef.h>

/* Fills out[0..n). 0 or ERR_SYSTEM; on failure `out` must not be used. */
MUST_USE int random_fill(void *out, size_t n);

#endif
