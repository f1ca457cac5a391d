/* All that is counted, as metrics for Prometheus and its kin (doc/status.md has the list). */
#ifndef WEIR_GATEWAY_OPENMETRICS_H
#define WEIR_GATEWAY_OPENMETRICS_H

#include "gateway/worker.h"

/* CLASSIC: the text format 0.0.4 of Prometheus, where a counter's family has _total; this is what `promtool check
 * metrics` and the text files of node_exporter want, and what everybody gets who does not ask for the other by name.
 * STRICT: OpenMetrics 1.0, where it has not. The samples are the same, and both end in "# EOF", which is a comment in
 * the first. */
enum openmetrics_form { OPENMETRICS_CLASSIC, OPENMETRICS_STRICT };

/* Any thread that knows `gen` to live. */
void openmetrics_put(const struct gateway *g, const struct generation *gen, enum openmetrics_form form,
		     struct buf *out);
const char *openmetrics_type(enum openmetrics_form form);

#endif
