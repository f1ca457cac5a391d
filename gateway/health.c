/* Ready is who runs and is not fenced. Neither backends nor the store below count: each node behind one load balancer
 * has the same trouble with those, and to send everybody away would help nobody. */
#include "gateway/health.h"

#include "gateway/fence.h"

#include <string.h>

const char *health_trouble(const struct gateway *g, const char *state)
{
	if (strcmp(state, "starting") == 0)
		return "weir is starting";
	if (strcmp(state, "running") != 0)
		return "weir is ending";
	return fence_is_up(g) ? FENCE_REASON : NULL;
}
