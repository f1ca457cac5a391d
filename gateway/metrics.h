/* What a worker counts of its requests, and the sum over all workers. A worker writes its own counters; any thread may
 * read them, relaxed: each is right, their sum is of about the same moment. */
#ifndef WEIR_GATEWAY_METRICS_H
#define WEIR_GATEWAY_METRICS_H

#include <stdatomic.h>
#include <stdint.h>

/* Bounds of the latency histogram in microseconds; the last bucket has none. */
#define METRICS_BOUNDS                                                                                                 \
	{                                                                                                              \
		100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000,        \
		    5000000, 10000000                                                                                  \
	}
enum { METRICS_BUCKETS = 17 };

/* How a request ended. OK: with the application's answer, whatever its status. */
enum metrics_end { METRICS_OK, METRICS_FAILED, METRICS_ABORTED, METRICS_ENDS };

struct metrics {
	_Atomic uint64_t begun;
	_Atomic uint64_t ended[METRICS_ENDS];
	_Atomic uint64_t status[6];                               /* of answers, by their first digit; 0: unknown */
	_Atomic uint64_t latency[METRICS_BUCKETS], latency_us;    /* from the first variable to the end; of OK only */
	_Atomic uint64_t in_bytes, out_bytes;                     /* of bodies and answers */
	_Atomic uint64_t session_none, session_new, session_live; /* what requests of managed apps were told */
};

/* The same, at rest. */
struct metrics_sum {
	uint64_t begun, ended[METRICS_ENDS], status[6];
	uint64_t latency[METRICS_BUCKETS], latency_us;
	uint64_t in_bytes, out_bytes;
	uint64_t session_none, session_new, session_live;
};

/* The owner's way to count: no locked instruction, for nobody else writes. */
static inline void metrics_add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

/* Adds `m` to `sum`. */
void metrics_gather(const struct metrics *m, struct metrics_sum *sum);

/* The time below which `percent` of the latencies lie, in microseconds, read off the histogram; 0: no requests. */
uint64_t metrics_percentile_us(const struct metrics_sum *sum, double percent);

#endif
