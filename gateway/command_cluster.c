/* The commands about the cluster. What links and nodes do is asked of the cluster's thread; its answer comes back to
 * the main loop by mail. A view is at hand. */
#include "gateway/command_run.h"

#include "base/error.h"
#include "gateway/figures_cluster.h"

#include <stdlib.h>

/* False, and the command has failed: there is no cluster. */
static bool in_cluster(struct command *c)
{
	if (control_gateway(c->daemon)->cluster)
		return true;
	command_fail(c, ADMIN_UNAVAILABLE, "this node is in no cluster: its configuration has no section cluster");
	return false;
}

static enum figures_for whom(const struct command *c)
{
	return c->json ? FIGURES_PROGRAMS : FIGURES_PEOPLE;
}

/* --- what the cluster's thread is asked --- */

struct visit {
	struct cluster_look look;
	struct command *command; /* borrowed; waits, even when its client has gone */
};

static json_t *cluster_document(const struct command *c, struct cluster_picture *picture)
{
	struct member_look *l = member_see(control_gateway(c->daemon)->member, picture);
	json_t *o = l ? figures_cluster(l, whom(c)) : NULL;

	member_unref(&l);
	return o;
}

static json_t *links_document(const struct command *c, struct cluster_picture *picture)
{
	json_t *o = json_object();

	document_put(&o, "links", figures_links(picture, whom(c)));
	cluster_picture_fini(picture);
	return o;
}

static void visited(struct cluster_look *look)
{
	struct visit *v = CONTAINER_OF(look, struct visit, look);
	struct command *c = v->command;
	json_t *o = NULL;

	if (!look->err && c->request.command == ADMIN_LINKS)
		o = links_document(c, &look->picture);
	else if (!look->err)
		o = cluster_document(c, &look->picture);
	free(v);
	command_answer(c, o);
}

void command_visit(struct command *c)
{
	if (!in_cluster(c))
		return;
	struct visit *v = calloc(1, sizeof *v);
	if (!v) {
		command_fail(c, ADMIN_FAILED, "%s", error_text(ERR_NO_MEMORY));
		return;
	}
	v->command = c;
	list_init(&v->look.mail.link);
	v->look.done = visited;
	cluster_look(control_gateway(c->daemon)->cluster, &v->look);
}

/* --- the view --- */

/* Counted; NULL, and the command has failed: there is none. */
static struct cluster_view *take_view(struct command *c)
{
	if (!in_cluster(c))
		return NULL;
	struct cluster_view *v = cluster_view_take(control_gateway(c->daemon)->cluster);
	if (!v)
		command_fail(c, ADMIN_UNAVAILABLE, "this node has no view yet: it has not found its cluster");
	return v;
}

void command_view(struct command *c)
{
	struct cluster_view *v = take_view(c);

	if (!v)
		return;
	json_t *o = figures_view(&v->view, whom(c));
	cluster_view_unref(&v);
	command_answer(c, o);
}

static json_t *map_document(const struct command *c, const struct clus_view *v, uint16_t app)
{
	json_t *o = json_object();

	if (c->json) {
		document_put(&o, "app", document_string(v->apps[app].name));
		document_put_number(&o, "epoch", v->epoch);
	}
	document_put(&o, "buckets", figures_buckets(v, app));
	return o;
}

static json_t *shares_document(const struct command *c, const struct clus_view *v)
{
	json_t *o = json_object();

	if (c->json)
		document_put_number(&o, "epoch", v->epoch);
	document_put(&o, "shares", figures_shares(v));
	return o;
}

void command_buckets(struct command *c)
{
	struct cluster_view *v = take_view(c);
	bool one = c->request.argument_count > 0;
	json_t *o = NULL;

	if (!v)
		return;
	uint16_t app = one ? clus_view_app(&v->view, view_str(c->request.arguments[0])) : CLUS_NONE;
	if (!one)
		o = shares_document(c, &v->view);
	else if (app != CLUS_NONE)
		o = map_document(c, &v->view, app);
	cluster_view_unref(&v);
	if (one && app == CLUS_NONE)
		command_fail(c, ADMIN_NOT_FOUND, "no app of this name has buckets");
	else
		command_answer(c, o);
}

/* --- the operator's word --- */

void command_forget(struct command *c)
{
	const char *name = c->request.arguments[0];

	if (!in_cluster(c) || !command_needs_running(c, true))
		return;
	int err = cluster_forget(control_gateway(c->daemon)->cluster, view_str(name));
	if (err == ERR_GONE) {
		command_fail(c, ADMIN_NOT_FOUND, "there is no member and no voter of this name");
	} else if (err == ERR_REFUSED) {
		command_fail(c, ADMIN_REFUSED, "%s is this node or coordinates: drain it, or end its process", name);
	} else if (err == ERR_BUSY) {
		command_fail(c, ADMIN_UNAVAILABLE, "there is no coordinator who could take it out");
	} else if (err) {
		command_fail(c, ADMIN_FAILED, "%s", error_text(err));
	} else {
		json_t *o = json_object();
		document_put_text(&o, "node", name);
		document_put_text(&o, "state", "being taken out");
		command_answer(c, o);
	}
}
