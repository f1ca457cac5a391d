/* Credits, rivals and back-off. Pure. */
#include "cluster/peer_policy.h"

#include "base/invariant.h"

bool peer_is_free(enum peer_type type)
{
	return type == PEER_HELLO || type == PEER_GOODBYE || type == PEER_BEAT || type == PEER_CREDIT;
}

uint32_t peer_window_left(const struct peer_window *w)
{
	return w->out < PEER_WINDOW ? PEER_WINDOW - w->out : 0;
}

bool peer_window_takes(const struct peer_window *w, size_t bytes)
{
	size_t need = bytes < PEER_WINDOW_HALF ? bytes : PEER_WINDOW_HALF;

	return need <= peer_window_left(w);
}

void peer_window_spend(struct peer_window *w, size_t bytes)
{
	INVARIANT(bytes <= PEER_HEAD_BYTES + PEER_BODY_MAX);
	w->out += (uint32_t)bytes;
}

uint32_t peer_window_deal(struct peer_window *w, size_t bytes)
{
	INVARIANT(bytes <= w->out - w->dealt);
	w->dealt += (uint32_t)bytes;
	if (w->dealt < PEER_WINDOW_HALF)
		return 0;
	uint32_t back = w->dealt;
	w->out -= back;
	w->dealt = 0;
	return back;
}

bool peer_window_refill(struct peer_window *w, uint32_t bytes)
{
	if (bytes > w->out)
		return false;
	w->out -= bytes;
	return true;
}

bool peer_new_one_stays(struct view self, struct view other, const struct peer_rival *open, bool new_is_ours,
			struct instant now)
{
	INVARIANT(view_compare(self, other) != 0);
	if (open->dialled_by_us == new_is_ours || instant_since_ms(now, open->open_since) > PEER_GREET_MS)
		return true;
	return new_is_ours == (view_compare(self, other) < 0);
}

uint64_t peer_backoff_ms(unsigned failures, uint32_t random)
{
	uint64_t ms = PEER_BACKOFF_FIRST_MS;

	while (failures-- > 0 && ms < PEER_BACKOFF_MAX_MS)
		ms *= 2;
	if (ms > PEER_BACKOFF_MAX_MS)
		ms = PEER_BACKOFF_MAX_MS;
	return ms - ms / 4 + random % (ms / 4 + 1);
}
