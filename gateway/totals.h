/* All that is counted at one moment: what the status page, the metrics and the history are made of. Any thread. */
#ifndef WEIR_GATEWAY_TOTALS_H
#define WEIR_GATEWAY_TOTALS_H

#include "gateway/worker.h"

struct totals {
	struct metrics_sum requests;
	struct stack_stats sessions;
	uint32_t connections; /* of web servers */
};
void totals_gather(const struct gateway *g, struct totals *out);

/* Requests that have begun and not ended. */
uint64_t totals_running(const struct totals *t);

/* Answers that the client has to take for a failure of the site: 5xx, whoever gave it, and those without a status. */
uint64_t totals_errors(const struct totals *t);

#endif
