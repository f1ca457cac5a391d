/* What is told of requests, stores, apps and backends, as JSON: on the admin socket and on the status page the same
 * (doc/status.md has the keys). NULL: memory has run out. Any thread that knows the generation to live. */
#ifndef WEIR_GATEWAY_FIGURES_H
#define WEIR_GATEWAY_FIGURES_H

#include "gateway/totals.h"

#include <jansson.h>

json_t *figures_requests(const struct totals *t);
json_t *figures_memory(const struct stack_stats *s);
json_t *figures_disk(const struct stack_stats *s);
json_t *figures_app(const struct generation *g, size_t app); /* without its backends */
json_t *figures_backend(const struct generation *g, size_t app, size_t backend);

#endif
