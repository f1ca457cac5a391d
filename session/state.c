/* Making and dropping states. Knows nothing of sessions. */
#include "session/state.h"

#include "base/invariant.h"

#include <stdlib.h>

struct sess_state *sess_state_new(struct view bytes)
{
	INVARIANT(bytes.len <= SESS_STATE_MAX);
	struct sess_state *s = malloc(sizeof(*s) + bytes.len);
	if (!s)
		return NULL;
	atomic_init(&s->refs, 1);
	s->len = (uint32_t)bytes.len;
	if (bytes.len > 0)
		memcpy(s->bytes, bytes.at, bytes.len);
	return s;
}

struct sess_state *sess_state_ref(struct sess_state *s)
{
	uint32_t before = atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);

	INVARIANT(before > 0);
	return s;
}

void sess_state_unref(struct sess_state *s)
{
	if (!s)
		return;
	/* Acquire and release: who frees must see that all others are done with the bytes. */
	uint32_t before = atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel);
	INVARIANT(before > 0);
	if (before == 1)
		free(s);
}
