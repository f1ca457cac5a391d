/* Berkeley DB's checksum of pages and log records, a block at a time, in a loop that the compiler makes vectors of.
 * Pure.
 *
 * The library takes three cycles for each byte, which made the greater part of all that the store cost: 6 us for a page
 * that is read. It calls its own function by the dynamic linker, like any other that it exports, so that a program
 * that has one of this name gets its own called instead. Where a build of the library does not look there, nothing
 * happens but that it is slow again. */
#include "session/disk_hash.h"

/* 33^n, for n below 64. */
#define P2 (UINT32_C(33) * 33)
#define P4 (P2 * P2)
#define P8 (P4 * P4)
#define P16 (P8 * P8)
#define P32 (P16 * P16)
#define P64 (P32 * P32)
#define POWER(n)                                                                                                       \
	(((n)&1 ? 33 : UINT32_C(1)) * ((n)&2 ? P2 : 1) * ((n)&4 ? P4 : 1) * ((n)&8 ? P8 : 1) * ((n)&16 ? P16 : 1) *    \
	 ((n)&32 ? P32 : 1))

/* A byte counts as often as the power of 33 says that belongs to its place in a block; the powers in two halves of 16
 * bits with a sign, for which processors have an instruction that multiplies and adds eight at once. */
#define LOW(n) ((int16_t)(uint16_t)POWER(n))
#define HIGH(n) ((int16_t)(uint16_t)((POWER(n) - (uint32_t)(int32_t)LOW(n)) >> 16))
#define EIGHT(half, n)                                                                                                 \
	half(n), half((n)-1), half((n)-2), half((n)-3), half((n)-4), half((n)-5), half((n)-6), half((n)-7)
#define BLOCK(half)                                                                                                    \
	{                                                                                                              \
		EIGHT(half, 63), EIGHT(half, 55), EIGHT(half, 47), EIGHT(half, 39), EIGHT(half, 31), EIGHT(half, 23),  \
		    EIGHT(half, 15), EIGHT(half, 7)                                                                    \
	}

enum { BLOCK_BYTES = 64 };

static const int16_t low[BLOCK_BYTES] = BLOCK(LOW), high[BLOCK_BYTES] = BLOCK(HIGH);

/* The hash of a block by itself. No sum is over 64 * 255 * 2^15. */
static inline uint32_t block(const uint8_t *at)
{
	int32_t lows = 0, highs = 0;

	for (unsigned i = 0; i < BLOCK_BYTES; i++) {
		int16_t byte = at[i];
		lows += byte * low[i];
		highs += byte * high[i];
	}
	return (uint32_t)lows + ((uint32_t)highs << 16);
}

uint32_t disk_hash(uint32_t h, struct view bytes)
{
	const uint8_t *at = bytes.at;
	size_t left = bytes.len;

	for (; left >= BLOCK_BYTES; left -= BLOCK_BYTES, at += BLOCK_BYTES)
		h = h * P64 + block(at);
	for (; left > 0; left--, at++)
		h = h * 33 + *at;
	return h;
}

/* As in the library's hash_func.c. Exported, so that the library finds it. */
uint32_t __ham_func4(void *db, const void *bytes, uint32_t len);

__attribute__((used, visibility("default"))) uint32_t __ham_func4(void *db, const void *bytes, uint32_t len)
{
	(void)db;
	return disk_hash(0, view_of(bytes, len));
}
