/* setgid before setuid, and a look whether it is true. */
#include "gateway/privilege.h"

#include "base/error.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
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

/* A folder with this bit gives its own group to what is made in it. */
static bool folder_gives_group(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : NULL;
	struct stat st;
	bool gives = folder && stat(folder, &st) == 0 && (st.st_mode & S_ISGID) && st.st_gid != 0;

	free(folder);
	return gives;
}

static bool is_named(const char *name)
{
	return name && *name;
}

bool privilege_shuts_out(const struct privilege *p, const struct conf_listen *c)
{
	if (!p->user || p->uid == 0 || c->protocol != CONF_RESP || c->address.kind != CONF_UNIX)
		return false;
	if (is_named(c->owner) || is_named(c->group) || (c->mode & S_IWOTH))
		return false;
	return !folder_gives_group(c->address.path);
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
