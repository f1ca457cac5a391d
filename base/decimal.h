/* Decimal digits of a number, where a length must be known before it is written. Pure. */
#ifndef WEIR_BASE_DECIMAL_H
#define WEIR_BASE_DECIMAL_H

#include "base/view.h"

enum { DECIMAL_MAX = sizeof "18446744073709551615" - 1 };

/* The digits of n, which stand in `out` and live as long as it. */
static inline struct view decimal(uint64_t n, char out[DECIMAL_MAX])
{
	size_t at = DECIMAL_MAX;

	do {
		out[--at] = (char)('0' + n % 10);
		n /= 10;
	} while (n > 0);
	return view_of(out + at, DECIMAL_MAX - at);
}

#endif
