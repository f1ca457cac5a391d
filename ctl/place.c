/* From options and the configuration to paths. */
#include "ctl/place.h"

#include "base/error.h"
#include "conf/conf.h"
#include "ctl/ctl.h"

#include <stdlib.h>
#include <unistd.h>

#define CONFIG "/etc/weir/weir.conf"
#define SOCKET "/run/weir/admin.sock"
#define PID_FILE "/run/weir/weir.pid"

static struct conf *load(const char *path)
{
	struct buf errors = {.max_bytes = 0};
	struct conf *c = NULL;

	if (conf_load(path, &c, &errors) != 0)
		ctl_say("%s cannot be used, weir -t -c %s says why; looking at %s", path, path, SOCKET);
	buf_fini(&errors);
	return c;
}

static char *first_of(const char *given, const char *configured, const char *otherwise)
{
	return strdup(given ? given : configured ? configured : otherwise);
}

int ctl_place_find(struct ctl_place *p, const char *config, const char *socket, const char *pid_file)
{
	struct conf *c = NULL;

	if (!socket || !pid_file) {
		if (config)
			c = load(config);
		else if (access(CONFIG, F_OK) == 0)
			c = load(CONFIG);
	}
	p->socket = first_of(socket, c ? c->admin.socket : NULL, SOCKET);
	p->pid_file = first_of(pid_file, c ? c->pid_file : NULL, PID_FILE);
	if (c)
		conf_free(&c);
	if (p->socket && p->pid_file)
		return 0;
	ctl_place_fini(p);
	return ERR_NO_MEMORY;
}

void ctl_place_fini(struct ctl_place *p)
{
	free(p->socket);
	free(p->pid_file);
	p->socket = p->pid_file = NULL;
}
