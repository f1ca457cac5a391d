/* The end of a process that has found itself in a state that cannot be. */
#include "base/invariant.h"

#include <stdio.h>
#include <stdlib.h>

void invariant_failed(const char *condition, const char *file, int line)
{
	fprintf(stderr, "weir: invariant broken: %s at %s:%d\n", condition, file, line);
	abort();
}
