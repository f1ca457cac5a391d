/* Checks over the whole configuration. Asks the system only whether programs to spawn are there. A field whose value
 * was refused before has its error already: here it is passed over. */
#include "conf/check.h"

#include "conf/check_cluster.h"
#include "conf/check_session.h"
#include "conf/parse.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WHY_BYTES = 200 };

/* Below that a disk store is mostly its own log. */
static const uint64_t disk_least = UINT64_C(16) << 20;

static void report_value(struct conf_report *r, const struct conf_value *v, const char *why)
{
	char name[64];

	snprintf(name, sizeof name, "%s.%s", v->option->section, v->option->name);
	conf_report_add(r, v->line, name, conf_option_shown(v->option, v->text), why);
}

/* Sections that stand once stand once. */
static void check_single(const struct conf_node *parent, struct conf_report *r)
{
	for (size_t i = 0; i < conf_option_count; i++) {
		const struct conf_option *o = &conf_options[i];
		const struct conf_node *n;
		if (o->type != CONF_TYPE_SECTION || o->many || strcmp(o->section, parent->section) != 0)
			continue;
		for (size_t k = 1; (n = conf_tree_child(parent, o->opens, k)); k++)
			conf_report_add(r, n->line, o->opens, n->title, "only one such section is allowed");
	}
}

/* Options that make sense for one kind of address only. */
static void check_only(const struct conf_node *node, const struct conf_address *a, struct conf_report *r)
{
	if (!a->text)
		return;
	for (const struct list *link = node->values.next; link != &node->values; link = link->next) {
		const struct conf_value *v = CONTAINER_OF(link, const struct conf_value, link);
		if (v->option->only == CONF_ONLY_UNIX && a->kind != CONF_UNIX)
			report_value(r, v, "only for unix: addresses");
		if (v->option->only == CONF_ONLY_SPAWN && a->kind != CONF_SPAWN)
			report_value(r, v, "only for spawn: addresses");
	}
}

static bool same_address(const struct conf_address *a, const struct conf_address *b)
{
	return a->text && b->text && conf_address_equal(a, b);
}

static void check_listens(const struct conf *c, const struct conf_node *file, struct conf_report *r)
{
	if (c->listen_count == 0 && !c->cluster.witness)
		conf_report_add(r, 1, "listen", NULL, "missing: at least one is needed");
	for (size_t i = 0; i < c->listen_count; i++) {
		const struct conf_node *node = conf_tree_child(file, "listen", i);
		check_only(node, &c->listens[i].address, r);
		for (size_t k = 0; k < i; k++) {
			if (same_address(&c->listens[i].address, &c->listens[k].address)) {
				conf_report_add(r, node->line, "listen", node->title, "given twice");
				break;
			}
		}
	}
}

/* --- apps ------------------------------------------------------------------------------------------------------ */

static void check_program(const struct conf_node *node, const struct conf_address *a, struct conf_report *r)
{
	struct stat st;

	if (!a->text || a->kind != CONF_SPAWN)
		return;
	if (stat(a->path, &st) != 0)
		conf_report_add(r, node->line, "backend", node->title, "there is no such program");
	else if (!S_ISREG(st.st_mode) || access(a->path, X_OK) != 0)
		conf_report_add(r, node->line, "backend", node->title, "the program cannot be executed");
}

static void check_backends(const struct conf_app *app, const struct conf_node *node, struct conf_report *r)
{
	if (app->backend_count == 0)
		conf_report_add(r, node->line, "app", node->title, "needs at least one backend");
	for (size_t i = 0; i < app->backend_count; i++) {
		const struct conf_backend *b = &app->backends[i];
		const struct conf_node *at = conf_tree_child(node, "backend", i);
		check_only(at, &b->address, r);
		check_program(at, &b->address, r);
		for (size_t k = 0; k < i; k++) {
			if (same_address(&b->address, &app->backends[k].address)) {
				conf_report_add(r, at->line, "backend", at->title, "given twice in this app");
				break;
			}
		}
		const struct conf_value *backoff = conf_tree_value(at, "backoff");
		const struct conf_value *most = conf_tree_value(at, "backoff-max");
		if (b->backoff_min_ms > b->backoff_max_ms && b->backoff_max_ms > 0) /* 0: refused */
			report_value(r, backoff ? backoff : most, "backoff is at most backoff-max");
	}
}

/* The k-th host of an app, or path, as it counts for routing: an app that names no host takes any, one that names no
 * path takes them all, which is "/". False: there are no more. */
static bool nth_side(const struct conf_patterns *p, bool path, size_t k, struct conf_pattern *out)
{
	static char any_host[] = "", any_path[] = "/";
	size_t found = 0;

	for (size_t i = 0; i < p->count; i++) {
		bool is_path = p->at[i].kind == CONF_PATH_PREFIX;
		if (is_path == path && found++ == k) {
			*out = p->at[i];
			return true;
		}
	}
	if (k > 0)
		return false;
	*out = path ? (struct conf_pattern){.kind = CONF_PATH_PREFIX, .text = any_path}
		    : (struct conf_pattern){.kind = CONF_HOST, .text = any_host};
	return true;
}

static bool sides_meet(const struct conf_patterns *a, const struct conf_patterns *b, bool path)
{
	struct conf_pattern x, y;

	for (size_t i = 0; nth_side(a, path, i, &x); i++) {
		for (size_t k = 0; nth_side(b, path, k, &y); k++) {
			if (x.kind == y.kind && strcmp(x.text, y.text) == 0)
				return true;
		}
	}
	return false;
}

static void check_rivals(const struct conf *c, size_t i, const struct conf_node *node, struct conf_report *r)
{
	char why[WHY_BYTES];
	const struct conf_app *app = &c->apps[i];

	for (size_t k = 0; k < i; k++) {
		if (strcmp(node->title, c->apps[k].name) == 0) {
			conf_report_add(r, node->line, "app", node->title, "given twice");
			return;
		}
	}
	for (size_t k = 0; k < i; k++) {
		if (sides_meet(&app->match, &c->apps[k].match, false) &&
		    sides_meet(&app->match, &c->apps[k].match, true)) {
			snprintf(why, sizeof why, "matches the same host and path as app \"%s\"", c->apps[k].name);
			conf_report_add(r, node->line, "app", node->title, why);
			return;
		}
	}
}

/* One pattern twice in one list. */
static void check_repeats(const struct conf_node *node, struct conf_report *r)
{
	for (const struct list *i = node->values.next; i != &node->values; i = i->next) {
		const struct conf_value *v = CONTAINER_OF(i, const struct conf_value, link);
		if (!conf_option_is_list(v->option))
			continue;
		for (const struct list *k = node->values.next; k != i; k = k->next) {
			const struct conf_value *w = CONTAINER_OF(k, const struct conf_value, link);
			if (v->option == w->option && strcmp(v->text, w->text) == 0) {
				report_value(r, v, "given twice");
				break;
			}
		}
	}
}

static void check_apps(const struct conf *c, const struct conf_node *file, struct conf_report *r)
{
	for (size_t i = 0; i < c->app_count; i++) {
		const struct conf_node *node = conf_tree_child(file, "app", i);
		const struct conf_node *session = conf_tree_child(node, "session", 0);
		check_single(node, r);
		check_backends(&c->apps[i], node, r);
		check_rivals(c, i, node, r);
		check_repeats(node, r);
		if (session) {
			check_only(session, &c->apps[i].session.socket, r);
			conf_check_session(c, i, session, r);
			check_repeats(session, r);
		}
	}
}

/* --- what stands once ------------------------------------------------------------------------------------------ */

static void check_store(const struct conf *c, const struct conf_node *store, struct conf_report *r)
{
	const struct conf_value *max = conf_tree_value(conf_tree_child(store, "store.disk", 0), "max");
	const struct conf_value *pinned = conf_tree_value(conf_tree_child(store, "store.memory", 0), "max-pinned");

	if (store)
		check_single(store, r);
	if (max && c->disk.max > 0 && c->disk.max < disk_least)
		report_value(r, max, "at least 16M, or 0: no disk store");
	if (pinned && c->memory.max > 0 && c->memory.max_pinned > c->memory.max) /* 0: refused */
		report_value(r, pinned, "at most max, which is for all sessions");
}

static void check_admin(const struct conf *c, const struct conf_node *file, struct conf_report *r)
{
	const struct conf_value *run_dir = conf_tree_value(conf_tree_child(file, "node", 0), "run-dir");

	if (!c->admin.socket)
		return;
	if (strlen(c->admin.socket) > CONF_UNIX_PATH_MAX && run_dir)
		report_value(r, run_dir, "too long: the path of admin.sock in it has more than 107 bytes");
	for (size_t i = 0; i < c->listen_count; i++) {
		const struct conf_address *a = &c->listens[i].address;
		const struct conf_node *node = conf_tree_child(file, "listen", i);
		if (a->text && a->kind == CONF_UNIX && strcmp(a->path, c->admin.socket) == 0)
			conf_report_add(r, node->line, "listen", node->title, "is the socket of admin");
	}
}

void conf_check(const struct conf *c, const struct conf_tree *tree, struct conf_report *report)
{
	const struct conf_node *status = conf_tree_child(&tree->file, "status", 0);

	check_single(&tree->file, report);
	check_listens(c, &tree->file, report);
	check_apps(c, &tree->file, report);
	check_store(c, conf_tree_child(&tree->file, "store", 0), report);
	check_admin(c, &tree->file, report);
	if (conf_tree_child(&tree->file, "cluster", 0))
		conf_check_cluster(c, &tree->file, report);
	if (status)
		check_repeats(status, report);
}
