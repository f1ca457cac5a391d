/* The pool's policy. Pure. */
#include "backend/policy.h"

#include "base/invariant.h"

/* Whether a/wa < b/wb, in whole numbers. */
static bool lighter(uint64_t a, uint64_t wa, uint64_t b, uint64_t wb)
{
	return a * wb < b * wa;
}

int policy_pick(const struct policy_candidate *c, size_t n, size_t start)
{
	int best = POLICY_NONE;

	for (size_t k = 0; k < n; k++) {
		size_t i = (start + k) % n;
		INVARIANT(c[i].weight > 0);
		if (!c[i].usable)
			continue;
		if (best == POLICY_NONE ||
		    lighter((uint64_t)c[i].active + 1, c[i].weight, (uint64_t)c[best].active + 1, c[best].weight))
			best = (int)i;
	}
	return best;
}

bool policy_failed(struct policy_health *h, const struct policy_limits *l, struct instant now)
{
	bool counts = policy_down(h) ? h->trial : h->fails + 1 >= l->fails;

	h->fails++;
	h->trial = false;
	if (!counts)
		return false;
	h->backoff_ms = h->backoff_ms ? h->backoff_ms * 2 : l->backoff_min_ms;
	if (h->backoff_ms > l->backoff_max_ms)
		h->backoff_ms = l->backoff_max_ms;
	if (h->backoff_ms == 0)
		h->backoff_ms = 1;
	h->retry_at = instant_add_ms(now, h->backoff_ms);
	return true;
}

bool policy_succeeded(struct policy_health *h)
{
	bool was_down = policy_down(h);

	*h = (struct policy_health){.fails = 0};
	return was_down;
}

enum policy_admission policy_admit(struct policy_health *h, struct instant now)
{
	if (!policy_down(h))
		return POLICY_ADMITTED;
	if (instant_before(now, h->retry_at))
		return POLICY_REFUSED;
	h->retry_at = instant_add_ms(now, h->backoff_ms);
	h->trial = true;
	return POLICY_TRIAL;
}
