/* SipHash-2-4 (Aumasson, Bernstein 2012): a keyed 64-bit hash. Used as MAC of session ids, as hash of tables that an
 * outsider could aim at, and for public names. Pure. */
#ifndef WEIR_BASE_SIPHASH_H
#define WEIR_BASE_SIPHASH_H

#include "base/view.h"

struct siphash_key {
	uint64_t k0, k1;
};

/* The key whose 16 bytes are given, little endian, as in the paper. */
struct siphash_key siphash_key_load(const uint8_t bytes[16]);

uint64_t siphash(struct siphash_key key, struct view data);

/* siphash() of `head` with `tail` behind it, which need not lie there. */
uint64_t siphash_joined(struct siphash_key key, struct view head, struct view tail);

#endif
