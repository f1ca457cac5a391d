/* What needs a restart, as RELOADING in weir.conf(5) has it. */
#include "gateway/restart.h"

#include "base/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct text_option {
	const char *name;
	size_t at; /* of a char * in struct conf */
};

static const struct text_option text_options[] = {
    {"node", offsetof(struct conf, node)},
    {"node.state-dir", offsetof(struct conf, state_dir)},
    {"node.run-dir", offsetof(struct conf, run_dir)},
    {"node.user", offsetof(struct conf, user)},
    {"node.group", offsetof(struct conf, group)},
    {"node.pid-file", offsetof(struct conf, pid_file)},
};

static char **text_of(const struct conf *c, size_t at)
{
	return (char **)(void *)((char *)c + at);
}

/* Whether `path` is what it is where nothing else is said. */
static bool is_in(const char *path, const char *dir, const char *name)
{
	size_t len = strlen(dir);

	return strncmp(path, dir, len) == 0 && path[len] == '/' && strcmp(path + len + 1, name) == 0;
}

/* What stands in run-dir unless it is said stays there with it. */
static int keep_in_run_dir(char **path, const char *path_now, const struct conf *c, const struct conf *now,
			   const char *name)
{
	if (strcmp(c->run_dir, now->run_dir) == 0 || !is_in(*path, c->run_dir, name) ||
	    !is_in(path_now, now->run_dir, name))
		return 0;
	free(*path);
	*path = strdup(path_now);
	return *path ? 0 : ERR_NO_MEMORY;
}

static int keep_texts(struct conf *c, const struct conf *now, void (*say)(void *, const char *), void *arg)
{
	for (size_t i = 0; i < sizeof text_options / sizeof *text_options; i++) {
		const struct text_option *o = &text_options[i];
		char **text = text_of(c, o->at);
		if (strcmp(*text, *text_of(now, o->at)) == 0)
			continue;
		say(arg, o->name);
		free(*text);
		*text = strdup(*text_of(now, o->at));
		if (!*text)
			return ERR_NO_MEMORY;
	}
	return 0;
}

int restart_keep(struct conf *c, const struct conf *now, void (*say)(void *, const char *), void *arg)
{
	int err = keep_in_run_dir(&c->pid_file, now->pid_file, c, now, "weir.pid");

	if (!err)
		err = keep_in_run_dir(&c->admin.socket, now->admin.socket, c, now, "admin.sock");
	if (!err)
		err = keep_texts(c, now, say, arg);
	if (c->workers != now->workers)
		say(arg, "node.workers");
	if (c->scheduling != now->scheduling)
		say(arg, "node.scheduling");
	if (c->disk.cache != now->disk.cache)
		say(arg, "store.disk.cache");
	if ((c->disk.max == 0) != (now->disk.max == 0)) {
		say(arg, "store.disk.max");
		c->disk.max = now->disk.max;
	}
	c->workers = now->workers;
	c->scheduling = now->scheduling;
	c->disk.cache = now->disk.cache;
	return err;
}
