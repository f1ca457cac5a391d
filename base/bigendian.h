/* Unsigned numbers of 1 to 8 bytes, the highest byte first. Pure. */
#ifndef WEIR_BASE_BIGENDIAN_H
#define WEIR_BASE_BIGENDIAN_H

#include <stdint.h>

/* Writes the lowest `bytes` bytes of n; where to go on. */
static inline uint8_t *bigendian_put(uint8_t *at, uint64_t n, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		at[i] = (uint8_t)(n >> (8 * (bytes - 1 - i)));
	return at + bytes;
}

static inline uint64_t bigendian_get(const uint8_t *at, unsigned bytes)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < bytes; i++)
		n = n << 8 | at[i];
	return n;
}

#endif
