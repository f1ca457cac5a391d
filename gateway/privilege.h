/* Giving up root. Main thread only, before any other thread starts. */
#ifndef WEIR_GATEWAY_PRIVILEGE_H
#define WEIR_GATEWAY_PRIVILEGE_H

#include "conf/conf.h"

#include <sys/types.h>

#define PRIVILEGE_SHUTS_OUT "bound as root, and without socket-group only root can connect"

struct privilege {
	uid_t uid;
	gid_t gid;
	char *user; /* owned; NULL: stay who we are */
};

/* Who to become. On failure one line in `why`: started as root without `user`, or not as root with another one. */
MUST_USE int privilege_find(struct privilege *p, const struct conf *c, char *why, size_t why_len);

/* Whether nobody but root can connect to this session socket, which is bound before root is given up: it is root's, and
 * nothing says who else may. Sockets for web servers are not looked at: a web server connects as root, as a rule. */
bool privilege_shuts_out(const struct privilege *p, const struct conf_listen *c);

/* Becomes that user, for good. */
MUST_USE int privilege_drop(const struct privilege *p, char *why, size_t why_len);

void privilege_fini(struct privilege *p);

#endif
