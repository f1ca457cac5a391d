/* The pool's policy: which backend gets the next request, and how long one that fails is left alone. Pure.
 *
 *   WELL --fails in a row--> DOWN --retry_at--> one trial request --ok--> WELL
 *                             ^ back-off doubles  |
 *                             +------- fails -----+ */
#ifndef WEIR_BACKEND_POLICY_H
#define WEIR_BACKEND_POLICY_H

#include "base/clock.h"

#include <stddef.h>

struct policy_candidate {
	uint32_t weight; /* at least 1 */
	uint32_t active; /* requests that run on it */
	bool usable;
};

enum { POLICY_NONE = -1 };

/* Least connections, by weight: the usable one with the smallest (active + 1) / weight. Of equals the first at or
 * after `start`, so that a caller who counts `start` up spreads idle load. POLICY_NONE when none is usable. */
int policy_pick(const struct policy_candidate *c, size_t n, size_t start);

struct policy_limits {
	uint32_t fails;          /* in a row, until it is left alone; at least 1 */
	uint64_t backoff_min_ms; /* the first time it is left alone */
	uint64_t backoff_max_ms; /* the longest */
};

struct policy_health {
	uint32_t fails;          /* in a row */
	bool trial;              /* while down: a trial is under way */
	uint64_t backoff_ms;     /* 0: well */
	struct instant retry_at; /* while down: when the next trial may go */
};

static inline bool policy_down(const struct policy_health *h)
{
	return h->backoff_ms > 0;
}

/* True when this failure took it down, or kept it down after a trial. What fails while it is down and no trial is under
 * way had begun before, and says nothing new. */
bool policy_failed(struct policy_health *h, const struct policy_limits *l, struct instant now);

/* True when it was down and is well again. */
bool policy_succeeded(struct policy_health *h);

enum policy_admission {
	POLICY_REFUSED,
	POLICY_ADMITTED,
	POLICY_TRIAL, /* it is down and its time has come: this one request finds out, and should go there now */
};

/* Whether a request may be sent. After a TRIAL the next one comes only after another back-off, or when it is well. */
enum policy_admission policy_admit(struct policy_health *h, struct instant now);

#endif
