/* INVARIANT: a condition that only a bug in weir can break. Always on; one condition each; no side effects.
 * Never used for what a peer, a backend, a disk or an operator sends. */
#ifndef WEIR_BASE_INVARIANT_H
#define WEIR_BASE_INVARIANT_H

#include "base/compiler.h"

/* Prints the condition and its place to stderr, then aborts. */
_Noreturn void invariant_failed(const char *condition, const char *file, int line);

#define INVARIANT(condition)                                                                                           \
	do {                                                                                                           \
		if (UNLIKELY(!(condition)))                                                                            \
			invariant_failed(#condition, __FILE__, __LINE__);                                              \
	} while (0)

#endif
