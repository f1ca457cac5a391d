/* Making and dropping states. Knows nothing of sessions. */
#include "session/state.h"

#include "base/invariant.h"

#include <stdlib.h>

struct sess_state *sess_state_join(struct view head, struct view tail)
{
	INVARIANT(head.len <= SESS_STATE_MAX);
	INVARIANT(tail.len <= SESS_STATE_MAX - head.len);
	struct sess_state *s = malloc(sizeof(*s) + head.len + tail.len);
	if (!s)
		return NULL;
	atomic_init(&s->refs, 1);
	s->len = (uint32_t)(head.len + tail.len);
	if (head.len > 0)
		memcpy(s->bytes, head.at, head.len);
	if (tail.len > 0)
		memcpy(s->bytes + head.len, tail.at, tail.len);
	return s;
}

struct sess_state *sess_state_new(struct view bytes)
{
	return sess_state_join(bytes, view_of(NULL, 0));
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
