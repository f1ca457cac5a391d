/* A JSON document as text for people. An object is lines of "key  value", an array of objects a table with a head. What
 * a number is says its key, whose end is not shown then (doc/admin-protocol.md): _at a point in time, _s, _ms and _us
 * lengths of time, bytes a size; _base64 is shown as the bytes that it stands for. Pure, but that it walks over
 * jansson's values. */
#ifndef WEIR_GATEWAY_RENDER_H
#define WEIR_GATEWAY_RENDER_H

#include "base/buf.h"
#include "base/clock.h"

#include <jansson.h>

/* Appends the document, ended by a line's end. `now` is what points in time are told from. */
void render(struct buf *out, const json_t *document, struct wall_time now);

/* "3m 20s": the two largest units; and "1.2 MiB". */
void render_duration_us(struct buf *out, uint64_t us);
void render_bytes(struct buf *out, uint64_t bytes);

/* Text that may come from outside: printable UTF-8 as it is. If anything in it would act on a terminal or is not UTF-8,
 * such bytes are \xHH, and a backslash is two. */
void render_text(struct buf *out, struct view text);

#endif
