/* setgid before setuid, and a look whether it is true. */
#include "gateway/privilege.h"

#include "base/error.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int privilege_find(struct privilege *p, const struct conf *c, char *why, size_t why_len)
{
	*p = (struct privilege){.uid = geteuid(), .gid = getegid()};
	if (!*c->user) {
		if (p->uid != 0)
			return 0;
		snprintf(why, why_len, "node.user: started as root, so it must say which user to become");
		return ERR_CONFIG;
	}
	const struct passwd *pw = getpwnam(c->user);
	const struct group *gr = *c->group ? getgrnam(c->group) : NULL;
	if (!pw || (*c->group && !gr)) {
		snprintf(why, why_len, "node.user: \"%s\": no such user or group", c->user);
		return ERR_CONFIG;
	}
	if (p->uid != 0 && pw->pw_uid != p->uid) {
		snprintf(why, why_len, "node.user: \"%s\": only root can become another user", c->user);
		return ERR_CONFIG;
	}
	p->user = p->uid == 0 ? strdup(c->user) : NULL;
	p->uid = pw->pw_uid;
	p->gid = gr ? gr->gr_gid : pw->pw_gid;
	return 0;
}

int privilege_drop(const struct privilege *p, char *why, size_t why_len)
{
	if (!p->user)
		return 0;
	if (initgroups(p->user, p->gid) != 0 || setgid(p->gid) != 0 || setuid(p->uid) != 0) {
		snprintf(why, why_len, "node.user: cannot become \"%s\": %s", p->user, strerror(errno));
		return ERR_SYSTEM;
	}
	if (p->uid != 0 && setuid(0) == 0) {
		snprintf(why, why_len, "node.user: root could be had back");
		return ERR_SYSTEM;
	}
	return 0;
}

void privilege_fini(struct privilege *p)
{
	free(p->user);
	p->user = NULL;
}
