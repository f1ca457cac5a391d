/* Texts that may be a name or an address, wherever they come from: configuration, certificates, frames, views. Pure. */
#ifndef WEIR_BASE_NAME_H
#define WEIR_BASE_NAME_H

#include "base/view.h"

enum { NAME_BYTES_MAX = 64 };

/* The name of a cluster, a node, a zone or an app: 1 to NAME_BYTES_MAX letters, digits, "-", "_", ".". It can stand in
 * logs, paths and URIs as it is. */
bool name_is_good(struct view name);

/* At most `max` bytes of printable ASCII without blanks; may be empty. Addresses and URLs, which stand in logs, pages
 * and headers. */
bool name_is_visible(struct view text, size_t max);

#endif
