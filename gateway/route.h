/* Which app a request belongs to, and what its path says about the session. Pure. */
#ifndef WEIR_GATEWAY_ROUTE_H
#define WEIR_GATEWAY_ROUTE_H

#include "base/view.h"
#include "conf/conf.h"

/* The longest matching path wins; of equally long ones an exact host, then a host suffix, then none; then the first in
 * the file. An app without `match` takes what is left. -1: none. */
int route_app(const struct conf *c, struct view host, struct view path);

/* Whether one of the path patterns matches. */
bool route_path_in(const struct conf_patterns *p, struct view path);

#endif
