/* Berkeley DB's checksum of pages and log records, sixteen bytes at a time. Pure.
 *
 * The library takes three cycles for each byte, which made the greater part of all that the store cost: 6 us for a page
 * that is read. It calls its own function by the dynamic linker, like any other that it exports, so that a program
 * that has one of this name gets its own called instead. Where a build of the library does not look there, nothing
 * happens but that it is slow again. */
#include "session/disk_hash.h"

#define P2 UINT32_C(1089)    /* 33^2 */
#define P4 UINT32_C(1185921) /* 33^4 */

enum { STEP_BYTES = 16 };

static inline uint64_t load_le64(const uint8_t *p)
{
	return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24 |
	       (uint64_t)p[4] << 32 | (uint64_t)p[5] << 40 | (uint64_t)p[6] << 48 | (uint64_t)p[7] << 56;
}

/* The hash of eight bytes: first four pairs of them side by side in 16 bits each, which none overflows (255 * 34), then
 * two fours in 32 bits. */
static inline uint32_t eight(const uint8_t *at)
{
	const uint64_t bytes = UINT64_C(0x00ff00ff00ff00ff), pairs = UINT64_C(0x0000ffff0000ffff);
	uint64_t x = load_le64(at);

	x = (x & bytes) * 33 + (x >> 8 & bytes);
	x = (x & pairs) * P2 + (x >> 16 & pairs);
	return (uint32_t)x * P4 + (uint32_t)(x >> 32);
}

uint32_t disk_hash(uint32_t h, struct view bytes)
{
	const uint8_t *at = bytes.at;
	size_t left = bytes.len;

	for (; left >= STEP_BYTES; left -= STEP_BYTES, at += STEP_BYTES)
		h = h * (P4 * P4 * P4 * P4) + eight(at) * (P4 * P4) + eight(at + 8);
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
