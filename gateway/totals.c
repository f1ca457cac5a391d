/* Adding up what the workers count. Takes no lock but those of stack_stats(). */
#include "gateway/totals.h"

void totals_gather(const struct gateway *g, struct totals *out)
{
	memset(out, 0, sizeof *out);
	for (unsigned i = 0; i < g->worker_count; i++) {
		metrics_gather(&g->workers[i].metrics, &out->requests);
		out->connections += atomic_load(&g->workers[i].front_count);
	}
	stack_stats(g->stack, &out->sessions);
}

uint64_t totals_running(const struct totals *t)
{
	const struct metrics_sum *r = &t->requests;
	uint64_t ended = r->ended[METRICS_OK] + r->ended[METRICS_FAILED] + r->ended[METRICS_ABORTED];

	/* The counters of a worker that runs are not all of the same moment. */
	return r->begun > ended ? r->begun - ended : 0;
}

uint64_t totals_errors(const struct totals *t)
{
	return t->requests.status[5] + t->requests.status[METRICS_STATUS_NONE];
}
