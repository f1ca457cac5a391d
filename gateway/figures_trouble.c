/* Trouble in a cluster: first this node's own, then what the view says of others, then what this node sees otherwise
 * than the view. */
#include "gateway/figures_trouble.h"

#include "gateway/document.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

enum { WHAT_BYTES = 256, DAY_S = 24 * 3600 };

__attribute__((format(printf, 3, 4))) static void put(json_t **rows, struct view node, const char *format, ...)
{
	char what[WHAT_BYTES];
	json_t *o = json_object();
	va_list values;

	va_start(values, format);
	vsnprintf(what, sizeof what, format, values);
	va_end(values);
	document_put(&o, "node", document_string(node));
	document_put(&o, "what", document_string(view_str(what)));
	document_append(rows, o);
}

/* --- this node --- */

static void put_certificate(json_t **rows, const struct member_look *l, struct wall_time now)
{
	int64_t left_s = l->certificate_ends_s - now.s;
	struct view self = view_str(l->node);

	if (l->certificate_ends_s == 0 || left_s > MEMBER_WARN_S)
		return;
	if (left_s <= 0)
		put(rows, self,
		    "has a certificate or a revocation list that has ended: links that end are not made again");
	else if (left_s < 2 * DAY_S)
		put(rows, self, "has a certificate or a revocation list that ends in %" PRId64 " hours", left_s / 3600);
	else
		put(rows, self, "has a certificate or a revocation list that ends in %" PRId64 " days", left_s / DAY_S);
}

static void put_own(json_t **rows, const struct member_look *l)
{
	const struct cluster_picture *p = &l->picture;
	struct view self = view_str(l->node);

	if (l->broken)
		put(rows, self,
		    "stays fenced until it is restarted: its control database has failed, the log says how");
	else if (!p->may_act && !p->view)
		put(rows, self, "has not found its cluster yet: requests that need a session get 503");
	else if (!p->may_act)
		put(rows, self, "is fenced: requests that need a session get 503");
	if (p->view && !p->majority)
		put(rows, self, "hears no majority of the voters");
}

/* --- others --- */

static const struct cluster_node_picture *seen(const struct cluster_picture *p, struct view name)
{
	for (size_t i = 0; i < p->node_count; i++) {
		if (view_eq(name, view_str(p->nodes[i].name)))
			return &p->nodes[i];
	}
	return NULL;
}

/* Why the control link to it is not there; "": not known. */
static const char *failure_of(const struct cluster_picture *p, struct view name)
{
	for (size_t i = 0; i < p->link_count; i++) {
		const struct cluster_link_picture *k = &p->links[i];
		if (k->link == PEER_LINK_CONTROL && view_eq(name, view_str(k->peer)))
			return k->last_failure;
	}
	return "";
}

static void put_member(json_t **rows, const struct cluster_picture *p, const struct clus_member *m)
{
	const struct cluster_node_picture *n = seen(p, m->name);

	if (!n || !n->heard) {
		const char *why = failure_of(p, m->name);
		put(rows, m->name, "is not heard%s%s", *why ? ": " : "", why);
		return;
	}
	if (n->incarnation != 0 && n->incarnation != m->incarnation)
		put(rows, m->name, "was restarted, and is not let in again yet");
	if (n->epoch != 0 && n->epoch != p->epoch)
		put(rows, m->name, "goes by view %" PRIu64 ", this node by %" PRIu64, n->epoch, p->epoch);
}

static void put_others(json_t **rows, const struct member_look *l)
{
	const struct cluster_picture *p = &l->picture;
	const struct clus_view *v = &p->view->view;

	for (uint8_t i = 0; i < v->voter_count; i++) {
		if (clus_view_member(v, v->voters[i]) == CLUS_NONE)
			put(rows, v->voters[i], "has a vote and is no member: start it, or forget it");
	}
	for (uint16_t m = 0; m < v->member_count; m++) {
		if (!view_eq(v->members[m].name, view_str(l->node)))
			put_member(rows, p, &v->members[m]);
	}
	for (size_t i = 0; i < p->node_count; i++) {
		struct view name = view_str(p->nodes[i].name);
		if (p->nodes[i].heard && clus_view_member(v, name) == CLUS_NONE)
			put(rows, name, "is linked, and no member");
	}
}

json_t *figures_trouble(const struct member_look *l, struct wall_time now)
{
	json_t *rows = json_array();

	put_own(&rows, l);
	put_certificate(&rows, l, now);
	if (l->picture.view)
		put_others(&rows, l);
	return rows;
}
