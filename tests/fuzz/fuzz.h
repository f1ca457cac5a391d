/* What every fuzz target is: it takes any bytes, and a broken promise ends the process. */
#ifndef WEIR_TESTS_FUZZ_FUZZ_H
#define WEIR_TESTS_FUZZ_FUZZ_H

#include "base/invariant.h"
#include "base/view.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What the target promises; like an INVARIANT, but of the test. */
#define EXPECT(condition) INVARIANT(condition)

/* A copy in memory of exactly its size: reading on is a fault. free_exact() it. */
static inline struct view copy_exact(struct view v)
{
	uint8_t *at = malloc(v.len > 0 ? v.len : 1);

	EXPECT(at != NULL);
	if (v.len > 0)
		memcpy(at, v.at, v.len);
	return view_of(at, v.len);
}

static inline void free_exact(struct view v)
{
	free((void *)(uintptr_t)v.at);
}

/* Where to cut an input: lengths of pieces out of one byte of it. 0 gives pieces of one byte. */
struct cutter {
	uint32_t state;
	bool bytewise;
};

static inline struct cutter cutter_of(uint8_t seed)
{
	return (struct cutter){.state = seed, .bytewise = seed == 0};
}

static inline struct view cutter_next(struct cutter *c, struct view *rest)
{
	if (c->bytewise)
		return view_take(rest, 1);
	c->state = c->state * 1664525 + 1013904223;
	return view_take(rest, c->state >> 24 & (c->state >> 16 & 1 ? 0xff : 7));
}

#endif
