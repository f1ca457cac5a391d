/* From options and the configuration to paths. */
#include "ctl/place.h"

#include "base/error.h"
#include "conf/conf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CONFIG "/etc/weir/weir.conf"
#define SOCKET "/run/weir/admin.sock"
#define PID_FILE "/run/weir/weir.pid"

static enum ctl_exit no_memory(void)
{
	ctl_say("%s", error_text(ERR_NO_MEMORY));
	return CTL_FAILED;
}

static enum ctl_exit load(const char *path, struct conf **out)
{
	struct buf errors = {.max_bytes = 0};
	int err = conf_load(path, out, &errors);
	struct view lines = buf_view(&errors);
	enum ctl_exit code = CTL_DONE;

	if (err == ERR_NO_MEMORY || buf_error(&errors)) {
		code = no_memory();
	} else if (err) {
		ctl_say("the configuration cannot be used:");
		fwrite(lines.at, 1, lines.len, stderr);
		ctl_say("it says where weir is; so do -s SOCKET and -p FILE together");
		code = CTL_CONFIG;
	}
	buf_fini(&errors);
	return code;
}

static char *first_of(const char *given, const char *configured, const char *otherwise)
{
	return strdup(given ? given : configured ? configured : otherwise);
}

enum ctl_exit ctl_place_find(struct ctl_place *p, const char *config, const char *socket, const char *pid_file)
{
	enum ctl_exit code = CTL_DONE;
	struct conf *c = NULL;

	if (!config && (access(CONFIG, F_OK) == 0 || errno != ENOENT))
		config = CONFIG;
	if (config && (!socket || !pid_file))
		code = load(config, &c);
	if (code != CTL_DONE)
		return code;
	p->socket = first_of(socket, c ? c->admin.socket : NULL, SOCKET);
	p->pid_file = first_of(pid_file, c ? c->pid_file : NULL, PID_FILE);
	if (c)
		conf_free(&c);
	if (p->socket && p->pid_file)
		return CTL_DONE;
	ctl_place_fini(p);
	return no_memory();
}

void ctl_place_fini(struct ctl_place *p)
{
	free(p->socket);
	free(p->pid_file);
	p->socket = p->pid_file = NULL;
}
