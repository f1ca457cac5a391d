/* The status page: weir answers it itself, on the worker that has the request, without a backend (doc/status.md). */
#ifndef WEIR_GATEWAY_STATUS_H
#define WEIR_GATEWAY_STATUS_H

#include "gateway/request.h"

/* Whether the request is for the page; `path` is its path as of facts_path(). */
bool status_wants(const struct request *r, struct view path);

/* Answers it; the request is over then. */
void status_answer(struct request *r);

/* --- between status.c and status_json.c --- */

/* All that the page shows, as one JSON document that can stand inside of HTML: it has no "<". Any thread that knows
 * `gen` to live. Out of memory is an error of `out`. */
void status_put_json(const struct gateway *g, const struct generation *gen, struct buf *out);

#endif
