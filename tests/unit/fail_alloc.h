/* "The N-th allocation fails", for what grows a buf. The test is linked with -Wl,--wrap=realloc (see the Makefile). */
#ifndef WEIR_TESTS_UNIT_FAIL_ALLOC_H
#define WEIR_TESTS_UNIT_FAIL_ALLOC_H

#include <stddef.h>

void *__real_realloc(void *old, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);

static unsigned fail_countdown; /* 1: the next one fails; 0: none does */

void *__wrap_realloc(void *old, size_t bytes)
{
	if (fail_countdown > 0 && --fail_countdown == 0)
		return NULL;
	return __real_realloc(old, bytes);
}

static inline void fail_alloc_at(unsigned n)
{
	fail_countdown = n;
}

#endif
