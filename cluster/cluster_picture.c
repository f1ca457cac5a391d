/* What the cluster's thread sees, for people. */
#include "cluster/node_state.h"

#include "base/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- nodes and links --- */

struct count {
	size_t nodes;
};

static void count_one(void *arg, const struct peers_status *s)
{
	(void)s;
	((struct count *)arg)->nodes++;
}

static void copy_name(char to[PEER_NAME_MAX + 1], struct view name)
{
	memset(to, 0, PEER_NAME_MAX + 1);
	memcpy(to, name.at, name.len);
}

struct filling {
	const struct cluster *c;
	struct cluster_picture *p;
};

static void fill_link(struct cluster_link_picture *l, const struct peers_status *s, enum peer_link link,
		      struct instant now)
{
	const struct peers_link_status *from = &s->links[link];

	copy_name(l->peer, s->name);
	*l = (struct cluster_link_picture){
	    .link = link,
	    .state = from->state,
	    .since_ms = instant_since_ms(now, from->since),
	    .round_us = s->round_us,
	    .bytes_in = from->bytes_in,
	    .bytes_out = from->bytes_out,
	    .frames_in = from->frames_in,
	    .frames_out = from->frames_out,
	    .queued_bytes = from->queued_bytes,
	    .reconnects = from->reconnects,
	    .credit = from->credit,
	    .dialled = from->dialled,
	    .resumed = from->resumed,
	};
	copy_name(l->peer, s->name);
	snprintf(l->last_failure, sizeof l->last_failure, "%s", from->last_failure ? from->last_failure : "");
}

static bool is_open(const struct peers_status *s)
{
	return strcmp(s->links[PEER_LINK_CONTROL].state, "open") == 0;
}

static void fill_node(void *arg, const struct peers_status *s)
{
	const struct filling *f = arg;
	struct cluster_node_picture *n = &f->p->nodes[f->p->node_count++];
	struct instant now = net_now(&f->c->loop);
	bool open = is_open(s);

	copy_name(n->name, s->name);
	n->incarnation = open ? s->incarnation : 0;
	n->epoch = s->epoch;
	n->heard = open && instant_since_ms(now, s->heard) < f->c->failure_ms;
	for (size_t kind = 0; kind < PEER_LINKS; kind++)
		fill_link(&f->p->links[f->p->link_count++], s, (enum peer_link)kind, now);
}

static int fill_nodes(const struct cluster *c, struct cluster_picture *p)
{
	struct count count = {0};
	struct filling filling = {c, p};

	if (c->peers)
		peers_each(c->peers, count_one, &count);
	p->nodes = calloc(count.nodes + 1, sizeof *p->nodes);
	p->links = calloc(count.nodes * PEER_LINKS + 1, sizeof *p->links);
	if (!p->nodes || !p->links)
		return ERR_NO_MEMORY;
	if (c->peers)
		peers_each(c->peers, fill_node, &filling);
	return 0;
}

static bool hears(const struct cluster *c, const struct cluster_picture *p, struct view name)
{
	if (view_eq(name, c->name))
		return true;
	for (size_t i = 0; i < p->node_count; i++) {
		if (p->nodes[i].heard && view_eq(view_str(p->nodes[i].name), name))
			return true;
	}
	return false;
}

static bool hears_majority(const struct cluster *c, const struct cluster_picture *p, const struct clus_view *v)
{
	unsigned heard = 0;

	for (uint8_t i = 0; i < v->voter_count; i++)
		heard += hears(c, p, v->voters[i]);
	return heard >= clus_view_majority(v);
}

/* --- settings that differ --- */

static size_t count_differences(const struct clus_view *v)
{
	size_t count = 0;

	for (uint16_t m = 0; m < v->member_count; m++) {
		for (uint16_t i = 0; i < v->members[m].hosted_count; i++)
			count += v->members[m].hosted[i].digest != v->apps[v->members[m].hosted[i].app].digest;
	}
	return count;
}

/* NULL: it is not known, or there is no memory, which `err` says. */
static char *text_of(const struct cluster *c, struct view app, uint64_t digest, int *err)
{
	struct view text = clus_core_settings_of(c->core, app, digest);
	char *copy = text.len > 0 ? calloc(1, text.len + 1) : NULL;

	if (text.len > 0 && !copy)
		*err = ERR_NO_MEMORY;
	if (copy)
		memcpy(copy, text.at, text.len);
	return copy;
}

static int fill_difference(const struct cluster *c, struct cluster_difference *d, const struct clus_member *m,
			   const struct clus_app *a, uint64_t digest)
{
	int err = 0;

	copy_name(d->app, a->name);
	copy_name(d->node, m->name);
	d->settings = text_of(c, a->name, digest, &err);
	d->counting = text_of(c, a->name, a->digest, &err);
	return err;
}

static int fill_differences(const struct cluster *c, struct cluster_picture *p, const struct clus_view *v)
{
	int err = 0;

	p->differences = calloc(count_differences(v) + 1, sizeof *p->differences);
	if (!p->differences)
		return ERR_NO_MEMORY;
	for (uint16_t m = 0; m < v->member_count; m++) {
		for (uint16_t i = 0; !err && i < v->members[m].hosted_count; i++) {
			const struct clus_hosted *h = &v->members[m].hosted[i];
			if (h->digest != v->apps[h->app].digest)
				err = fill_difference(c, &p->differences[p->difference_count++], &v->members[m],
						      &v->apps[h->app], h->digest);
		}
	}
	return err;
}

/* --- all --- */

/* The right to act ends by itself, before the core has its next look. */
static enum clus_state state_of(const struct cluster *c, bool may_act)
{
	enum clus_state state = clus_core_state(c->core);

	return c->ended || (state == CLUS_MEMBER && !may_act) ? CLUS_FENCED : state;
}

static int fill(struct cluster *c, struct cluster_picture *p)
{
	const struct clus_view *v = clus_core_view(c->core);
	int err = fill_nodes(c, p);

	p->incarnation = c->incarnation;
	p->epoch = clus_core_epoch(c->core);
	p->coordinates = !c->ended && clus_core_coordinates(c->core);
	p->may_act = cluster_may_act(c, clock_lease());
	snprintf(p->state, sizeof p->state, "%s", node_state_text(state_of(c, p->may_act)));
	if (err || !v)
		return err;
	p->majority = hears_majority(c, p, v);
	p->view = cluster_view_take(c);
	return fill_differences(c, p, v);
}

static void deliver_done(struct mail *mail)
{
	struct cluster_look *look = CONTAINER_OF(mail, struct cluster_look, mail);

	look->done(look);
}

static void answer(struct cluster_look *look, int err)
{
	look->err = err;
	if (err)
		cluster_picture_fini(&look->picture);
	look->mail.deliver = deliver_done;
	net_loop_post(look->cluster->main, &look->mail);
}

static void deliver_look(struct mail *mail)
{
	struct cluster_look *look = CONTAINER_OF(mail, struct cluster_look, mail);

	answer(look, fill(look->cluster, &look->picture));
}

void cluster_look(struct cluster *c, struct cluster_look *look)
{
	look->cluster = c;
	memset(&look->picture, 0, sizeof look->picture);
	list_init(&look->mail.link);
	look->mail.deliver = deliver_look;
	if (c->stop_asked)
		answer(look, ERR_STOPPED);
	else
		net_loop_post(&c->loop, &look->mail);
}

void cluster_picture_fini(struct cluster_picture *p)
{
	for (size_t i = 0; i < p->difference_count; i++) {
		free(p->differences[i].settings);
		free(p->differences[i].counting);
	}
	free(p->differences);
	free(p->nodes);
	free(p->links);
	cluster_view_unref(&p->view);
	memset(p, 0, sizeof *p);
}
