/* What is told of the cluster, as JSON: on the admin socket and on the status page the same (doc/status.md has the
 * keys). NULL: memory has run out. Any thread. */
#ifndef WEIR_GATEWAY_FIGURES_CLUSTER_H
#define WEIR_GATEWAY_FIGURES_CLUSTER_H

#include "gateway/member.h"

#include <jansson.h>

/* For programs, or for people: those get lists where programs get objects, and of settings only what differs. */
enum figures_for { FIGURES_PROGRAMS, FIGURES_PEOPLE };

/* How this node sees the cluster. */
json_t *figures_cluster(const struct member_look *l, enum figures_for whom);
/* The view alone: the same on all nodes that have it. */
json_t *figures_view(const struct clus_view *v, enum figures_for whom);
/* The map of an app (a place in the view): runs of buckets. */
json_t *figures_buckets(const struct clus_view *v, uint16_t app);
/* How many buckets of each app each member manages. */
json_t *figures_shares(const struct clus_view *v);
json_t *figures_links(const struct cluster_picture *p, enum figures_for whom);

/* The maps as pictures: of each app at most FIGURES_CELLS cells, in each the member that manages most of it. */
enum { FIGURES_CELLS = 512 };
json_t *figures_maps(const struct clus_view *v);

#endif
