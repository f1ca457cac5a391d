/* What a worker counts of its requests, and the sum over all workers. A worker writes its own counters; any thread may
 * read them, relaxed: each is right, their sum is of about the same moment. Requests for the status page are not in
 * them, but in status_page. */
#ifndef WEIR_GATEWAY_METRICS_H
#define WEIR_GATEWAY_METRICS_H

#include "base/view.h"

#include <stdatomic.h>
#include <stdint.h>

/* Bounds of the latency histogram in microseconds, inclusive; the last bucket has none. */
#define METRICS_BOUNDS                                                                                                 \
	{                                                                                                              \
		100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000,        \
		    5000000, 10000000                                                                                  \
	}
enum { METRICS_BUCKETS = 17 };
extern const uint32_t metrics_bounds_us[METRICS_BUCKETS - 1];

/* How a request ended. OK: with the application's answer, whatever its status. FAILED: with an answer of weir's own,
 * refused, or with the application's answer cut. ABORTED: the web server went away or took it back. */
enum metrics_end { METRICS_OK, METRICS_FAILED, METRICS_ABORTED, METRICS_ENDS };

/* Of answers: 1 to 5, the first digit of the status; NONE: cut, refused, or no status. */
enum { METRICS_STATUS_NONE, METRICS_STATUS_CLASSES = 6 };

struct metrics {
	_Atomic uint64_t begun; /* its variables are complete, or it ended before */
	_Atomic uint64_t ended[METRICS_ENDS];
	_Atomic uint64_t status[METRICS_STATUS_CLASSES];          /* of OK and FAILED */
	_Atomic uint64_t latency[METRICS_BUCKETS], latency_us;    /* from the first variable to the end; of OK only */
	_Atomic uint64_t in_bytes, out_bytes;                     /* of bodies and answers */
	_Atomic uint64_t session_none, session_new, session_live; /* what there was for requests, of apps with any */
	_Atomic uint64_t session_dropped; /* writes to adopted sessions that had ended under who wrote */
	_Atomic uint64_t fenced_requests, fenced_commands; /* that were refused because the node is fenced */
	_Atomic uint64_t status_page;                      /* requests for the status page */
};

/* The same, at rest. */
struct metrics_sum {
	uint64_t begun, ended[METRICS_ENDS], status[METRICS_STATUS_CLASSES];
	uint64_t latency[METRICS_BUCKETS], latency_us;
	uint64_t in_bytes, out_bytes;
	uint64_t session_none, session_new, session_live, session_dropped;
	uint64_t fenced_requests, fenced_commands;
	uint64_t status_page;
};

/* The owner's way to count: no locked instruction, for nobody else writes. */
static inline void metrics_add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

/* An answer of the application has taken that long. */
void metrics_latency(struct metrics *m, uint64_t us);

/* The class of a CGI answer by its head (RFC 3875 section 6.3.3): that of Status; without one 3 where there is a
 * Location, else 2. */
unsigned metrics_status_class(struct view head);

/* Adds `m` to `sum`. */
void metrics_gather(const struct metrics *m, struct metrics_sum *sum);

/* How many latencies the histogram holds. */
uint64_t metrics_latencies(const struct metrics_sum *sum);

/* The time below which `percent` of the latencies lie, in microseconds, read off the histogram: within a bucket they
 * are taken to lie evenly, in the last one at its beginning. 0: no requests. */
uint64_t metrics_percentile_us(const struct metrics_sum *sum, double percent);

#endif
