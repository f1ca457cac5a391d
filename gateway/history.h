/* The last minutes, second by second: a ring that the main thread fills and that any thread may read. */
#ifndef WEIR_GATEWAY_HISTORY_H
#define WEIR_GATEWAY_HISTORY_H

#include "gateway/totals.h"

enum {
	HISTORY_POINTS = 300,
	HISTORY_STEP_MS = 1000,
	HISTORY_SUM = 5, /* points that are told as one where there are many rows of them */
	HISTORY_SUMS = HISTORY_POINTS / HISTORY_SUM,
};

/* One second. */
struct history_point {
	uint64_t requests, errors;     /* that ended in it; errors: see totals.h */
	uint64_t p50_us, p99_us;       /* of the answers that applications gave in it; 0: there were none */
	uint64_t demoted, promoted;    /* sessions, in it */
	uint64_t connections, running; /* at its end, as what follows */
	uint64_t memory, below;        /* sessions */
};

/* What a backend has had so far. */
struct history_backend {
	const char *app, *name; /* borrowed during the call */
	uint64_t requests;      /* since the generation began */
};

struct history;

MUST_USE struct history *history_new(void); /* NULL: out of memory */
void history_free(struct history **h);

/* Adds what has happened since the last call, as of one second: rates are brought to one second where the calls are not
 * exactly so far apart. The first call adds nothing. In another `generation` the backends are others, and count anew;
 * those of the same name go on. Main thread only. */
void history_put(struct history *h, const struct totals *t, uint64_t generation, const struct history_backend *backends,
		 size_t backend_count, struct instant now);

/* The points that there are, the oldest first. *taken: how many there have been since the start. */
size_t history_read(struct history *h, struct history_point out[HISTORY_POINTS], uint64_t *taken);

/* The requests of a backend, a sum for each five points, the oldest first; 0: no such backend. A sum does not change
 * any more once it is whole: the last one has the points behind the last multiple of five, if there are any. */
size_t history_read_backend(struct history *h, const char *app, const char *name, uint32_t out[HISTORY_SUMS]);

#endif
