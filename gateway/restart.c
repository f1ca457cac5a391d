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

/* --- the cluster: what the others were told at the start, or agree on ------------------------------------------------
 */

struct number_option {
	const char *name;
	uint64_t value, value_now;
};

static void say_numbers(const struct conf_cluster *c, const struct conf_cluster *now, void (*say)(void *, const char *),
			void *arg)
{
	const struct number_option all[] = {
	    {"cluster.buckets", c->buckets, now->buckets},
	    {"cluster.votes", c->votes, now->votes},
	    {"cluster.priority", c->priority, now->priority},
	    {"cluster.witness", c->witness, now->witness},
	    {"cluster.failure-timeout", c->failure_timeout_ms, now->failure_timeout_ms},
	    {"cluster.election-timeout", c->election_timeout_ms, now->election_timeout_ms},
	};

	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		if (all[i].value != all[i].value_now)
			say(arg, all[i].name);
	}
}

/* An address that is the same as listen moves as little, and is not told of apart. */
static void say_addresses(const struct conf_cluster *c, const struct conf_cluster *now,
			  void (*say)(void *, const char *), void *arg)
{
	bool follows = conf_address_equal(&c->listen, &c->address) && conf_address_equal(&now->listen, &now->address);

	if (!conf_address_equal(&c->listen, &now->listen))
		say(arg, "cluster.listen");
	if (!follows && !conf_address_equal(&c->address, &now->address))
		say(arg, "cluster.address");
}

static void swap_texts(char **a, char **b)
{
	char *t = *a;

	*a = *b;
	*b = t;
}

/* What may change while the node runs. */
static void take_changes(struct conf_cluster *kept, struct conf_cluster *c)
{
	struct conf_addresses peers = kept->peers;

	kept->peers = c->peers;
	c->peers = peers;
	swap_texts(&kept->public_url, &c->public_url);
	swap_texts(&kept->zone, &c->zone);
	swap_texts(&kept->certificate, &c->certificate);
	swap_texts(&kept->key, &c->key);
	swap_texts(&kept->ca, &c->ca);
	swap_texts(&kept->crl, &c->crl);
}

static int keep_cluster(struct conf *c, const struct conf_cluster *now, void (*say)(void *, const char *), void *arg)
{
	struct conf_cluster kept;
	bool both = c->cluster.name && now->name;
	int err = conf_cluster_copy(now, &kept);

	if (err)
		return err;
	if ((c->cluster.name || now->name) && (!both || strcmp(c->cluster.name, now->name) != 0))
		say(arg, "cluster");
	if (both) {
		say_addresses(&c->cluster, now, say, arg);
		say_numbers(&c->cluster, now, say, arg);
		take_changes(&kept, &c->cluster);
	}
	conf_cluster_fini(&c->cluster);
	c->cluster = kept;
	conf_cluster_drop_self(&c->cluster);
	if (c->cluster.witness)
		conf_drop_apps(c); /* it still hosts none */
	return 0;
}

int restart_keep(struct conf *c, const struct conf *now, void (*say)(void *, const char *), void *arg)
{
	int err = keep_in_run_dir(&c->pid_file, now->pid_file, c, now, "weir.pid");

	if (!err)
		err = keep_in_run_dir(&c->admin.socket, now->admin.socket, c, now, "admin.sock");
	if (!err)
		err = keep_texts(c, now, say, arg);
	if (!err)
		err = keep_cluster(c, &now->cluster, say, arg);
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
