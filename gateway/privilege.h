/* Giving up root. Main thread only, before any other thread starts. */
#ifndef WEIR_GATEWAY_PRIVILEGE_H
#define WEIR_GATEWAY_PRIVILEGE_H

#include "conf/conf.h"

#include <sys/types.h>

struct privilege {
	uid_t uid;
	gid_t gid;
	char *user; /* owned; NULL: stay who we are */
};

/* Who to become. On failure one line in `why`: started as root without `user`, or not as root with another one. */
MUST_USE int privilege_find(struct privilege *p, const struct conf *c, char *why, size_t why_len);

/* Becomes that user, for good. */
MUST_USE int privilege_drop(const struct privilege *p, char *why, size_t why_len);

void privilege_fini(struct privilege *p);

#endif
