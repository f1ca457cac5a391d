/* Input that ends at a page nobody may read: an over-read of one byte is a fault, with and without a sanitizer. */
#ifndef WEIR_TESTS_UNIT_GUARD_H
#define WEIR_TESTS_UNIT_GUARD_H

#include "base/view.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { GUARD_BYTES = 1 << 18 }; /* room before the guard page, a multiple of any page size in use */

static inline uint8_t *guard_end(void)
{
	static uint8_t *end;

	if (!end) {
		uint8_t *at = mmap(NULL, GUARD_BYTES * 2, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (at == MAP_FAILED || mprotect(at, GUARD_BYTES, PROT_READ | PROT_WRITE) != 0)
			abort();
		end = at + GUARD_BYTES;
	}
	return end;
}

/* A copy of `v` whose last byte is the last one that may be read. It lives until the next call. */
static inline struct view guarded(struct view v)
{
	if (v.len > GUARD_BYTES)
		abort();
	uint8_t *at = guard_end() - v.len;
	if (v.len > 0)
		memcpy(at, v.at, v.len);
	return view_of(at, v.len);
}

#endif
