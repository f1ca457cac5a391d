/* Whether this node may serve sessions (doc/cluster.md, "Fencing"). Any thread. */
#ifndef WEIR_GATEWAY_FENCE_H
#define WEIR_GATEWAY_FENCE_H

#include "cluster/cluster.h"
#include "gateway/worker.h"

#define FENCE_REASON "this node is fenced: it hears too little of its cluster"

/* By the clock, not by a loop's time: a process that was stopped for a while goes on in the middle of a turn, with the
 * time of before. And by the one that goes on while the machine is suspended. */
static inline bool fence_is_up(const struct gateway *g)
{
	return g->cluster && !cluster_may_act(g->cluster, clock_lease());
}

#endif
