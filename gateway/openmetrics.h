/* All that is counted, as metrics for Prometheus and its kin (doc/status.md has the list). */
#ifndef WEIR_GATEWAY_OPENMETRICS_H
#define WEIR_GATEWAY_OPENMETRICS_H

#include "gateway/worker.h"

/* OPENMETRICS: OpenMetrics 1.0, where a counter's family has no _total. CLASSIC: the text format 0.0.4 of Prometheus,
 * where it has; this is what `promtool check metrics` and the text files of node_exporter want. The samples are the
 * same, and both end in "# EOF", which is a comment in the second. */
enum openmetrics_form { OPENMETRICS, OPENMETRICS_CLASSIC };

#define OPENMETRICS_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"
#define OPENMETRICS_CLASSIC_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Any thread that knows `gen` to live. */
void openmetrics_put(const struct gateway *g, const struct generation *gen, enum openmetrics_form form,
		     struct buf *out);

/* Of the newest generation; main thread only. */
static inline void metrics_put_openmetrics(struct gateway *g, struct buf *out)
{
	openmetrics_put(g, g->generation, OPENMETRICS, out);
}

#endif
