/* A table of places in which each session has one slot, that of its id, and shares it with others: who comes later
 * has it. */
#include "session/disk_hint.h"

#include <stdlib.h>

enum { CACHE_PART = 4, SLOTS_MAX = 1 << 22 };

/* Of ids, which are random, so many bits are as good as a hash. */
static uint32_t bits(const struct sess_id *id, unsigned at)
{
	uint32_t n;

	memcpy(&n, id->bytes + at, sizeof n);
	return n;
}

void disk_hints_init(struct disk_hints *h, uint64_t cache_bytes)
{
	uint64_t most = cache_bytes / CACHE_PART / sizeof *h->slots;
	uint32_t count = 1;

	while (count < SLOTS_MAX && count * UINT64_C(2) <= most)
		count *= 2;
	h->slots = calloc(count, sizeof *h->slots);
	h->mask = count - 1;
}

void disk_hints_fini(struct disk_hints *h)
{
	free(h->slots);
	h->slots = NULL;
}

void disk_hint_note(struct disk_hints *h, const struct sess_id *id, const struct disk_place *place)
{
	if (!h->slots || place->expires_s > UINT32_MAX)
		return;
	h->slots[bits(id, 0) & h->mask] = (struct disk_hint){
	    .tag = bits(id, 4),
	    .expires_s = (uint32_t)place->expires_s,
	    .turn = place->turn,
	    .bytes = place->bytes,
	};
}

bool disk_hint_find(const struct disk_hints *h, const struct sess_id *id, struct disk_place *out)
{
	const struct disk_hint *slot = h->slots ? &h->slots[bits(id, 0) & h->mask] : NULL;

	if (!slot || slot->bytes == 0 || slot->tag != bits(id, 4))
		return false;
	*out = (struct disk_place){.expires_s = slot->expires_s, .turn = slot->turn, .bytes = slot->bytes};
	return true;
}
