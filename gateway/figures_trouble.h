/* What is not as it should be in the cluster, in words: for weirctl and the status page the same. Any thread. */
#ifndef WEIR_GATEWAY_FIGURES_TROUBLE_H
#define WEIR_GATEWAY_FIGURES_TROUBLE_H

#include "gateway/member.h"

#include <jansson.h>

/* An array of {"node": NAME, "what": TEXT}; the text goes on from the name. Empty: all is well. Settings that differ
 * are told elsewhere (figures_cluster()). NULL: memory has run out. */
json_t *figures_trouble(const struct member_look *l, struct wall_time now);

#endif
