/* Links and the core: what comes from other nodes, what HELLO and BEAT say, whom to dial. */
#include "cluster/node_state.h"

#include "base/error.h"
#include "base/log.h"
#include "net/socket.h"
#include "proto/peer_report.h"

#include <stdlib.h>
#include <string.h>

/* --- what this node says --- */

static void on_hello(void *owner, struct peer_hello *out)
{
	const struct cluster *c = owner;
	const struct peer_hello *own = &c->own->hello;

	out->address = own->address;
	out->zone = own->zone;
	out->url = own->url;
	out->witness = own->witness;
	out->votes = own->votes;
	out->leaving = own->leaving;
	out->app_count = own->app_count;
	memcpy(out->apps, own->apps, own->app_count * sizeof own->apps[0]);
	out->epoch = clus_core_epoch(c->core);
	memcpy(out->cluster, clus_core_cluster(c->core), sizeof out->cluster);
}

static uint64_t on_epoch(void *owner)
{
	return clus_core_epoch(((struct cluster *)owner)->core);
}

/* A core whose time stands still vouches for nobody. */
static void on_heard(void *owner, struct view to, struct buf *out)
{
	const struct cluster *c = owner;

	if (!c->ended)
		clus_core_heard(c->core, to, out);
}

/* --- what others say --- */

static void on_named(void *owner, struct view address, struct view name)
{
	struct cluster *c = owner;

	for (size_t i = 0; i < c->first->peer_count; i++) {
		struct clus_event e = {.kind = CLUS_PEER_NAMED, .name = name, .number = i};
		if (view_eq(c->first->peers[i], address))
			node_step(c, &e);
	}
}

/* Only of an address that the view has: whoever was there last may be anywhere now. */
static uint64_t on_dials(void *owner, struct view name, struct view address)
{
	const struct clus_view *v = clus_core_known(((struct cluster *)owner)->core);
	uint16_t m = v ? clus_view_member(v, name) : CLUS_NONE;

	return m != CLUS_NONE && view_eq(v->members[m].address, address) ? v->members[m].incarnation : 0;
}

static void on_up(void *owner, const struct peer_hello *hello)
{
	struct cluster *c = owner;
	struct clus_event e = {.kind = CLUS_LINK_UP, .name = hello->name, .hello = hello};

	node_step(c, &e);
	if (c->peers && peers_is_up(c->peers, hello->name))
		node_say_reached(c, hello->name, true);
}

static void on_down(void *owner, struct view name, uint64_t incarnation, enum peers_why why)
{
	static const enum clus_down downs[] = {
	    [PEERS_REFUSED] = CLUS_DOWN_REFUSED, [PEERS_CLOSED] = CLUS_DOWN_CLOSED,   [PEERS_SILENT] = CLUS_DOWN_SILENT,
	    [PEERS_LEAVING] = CLUS_DOWN_LEAVING, [PEERS_REMOVED] = CLUS_DOWN_REMOVED,
	};
	struct clus_event e = {.kind = CLUS_LINK_DOWN, .name = name, .number = incarnation, .down = downs[why]};

	node_say_reached(owner, name, false);
	node_step(owner, &e);
}

static void take_report(struct cluster *c, struct view name, uint64_t incarnation, struct view body)
{
	struct peer_report report;
	struct clus_event e = {.kind = CLUS_REPORT, .name = name, .report = &report};

	if (peer_report_decode(body, &report) == 0)
		node_step(c, &e);
	else
		peers_refuse(c->peers, name, incarnation, "REPORT is none");
}

static bool on_frame(void *owner, struct view name, uint64_t incarnation, enum peer_type type, struct view body)
{
	struct cluster *c = owner;
	struct clus_event e = {.kind = CLUS_VIEW, .name = name, .bytes = body};

	if (type == PEER_VIEW)
		node_step(c, &e);
	else if (type == PEER_REPORT)
		take_report(c, name, incarnation, body);
	else if (c->control && node_is_voter(c, name))
		c->kind->message(c->control, name, body);
	return true;
}

static void on_beat(void *owner, struct view name, uint64_t incarnation, const struct peer_beat *beat,
		    struct lease_time confirmed)
{
	struct clus_event e = {
	    .kind = CLUS_BEAT, .name = name, .number = incarnation, .beat = beat, .confirmed = confirmed};

	node_step(owner, &e);
}

/* What was refused is said again by whoever has said it. */
static void on_drained(void *owner, struct view name, enum peer_link link)
{
	(void)owner;
	(void)name;
	(void)link;
}

static void on_stopped(void *owner)
{
	node_part_ended(owner);
}

const struct peers_ops node_peers_ops = {
    .hello = on_hello,
    .epoch = on_epoch,
    .heard = on_heard,
    .named = on_named,
    .dials = on_dials,
    .up = on_up,
    .down = on_down,
    .frame = on_frame,
    .beat = on_beat,
    .drained = on_drained,
    .stopped = on_stopped,
};

/* --- whom to dial --- */

static bool has_address(const struct clus_view *v, struct view address)
{
	for (uint16_t i = 0; v && i < v->member_count; i++) {
		if (view_eq(v->members[i].address, address))
			return true;
	}
	return false;
}

/* An address that cannot be dialled was another node's mistake, and is no reason not to dial the rest. */
static bool is_dialled(struct view address)
{
	struct net_address to;

	return net_address_text(&to, address);
}

/* Members by their names; of `peers` those where no member is. */
static size_t gather(const struct cluster *c, const struct clus_view *known, struct peers_target *targets)
{
	size_t count = 0;

	for (uint16_t i = 0; known && i < known->member_count; i++) {
		const struct clus_member *m = &known->members[i];
		if (!view_eq(m->name, c->name) && is_dialled(m->address))
			targets[count++] = (struct peers_target){.address = m->address, .name = m->name};
	}
	for (size_t i = 0; i < c->own->peer_count; i++) {
		/* A view of before the start may be wrong about who is where. */
		if (!has_address(clus_core_view(c->core), c->own->peers[i]) && is_dialled(c->own->peers[i]))
			targets[count++] = (struct peers_target){.address = c->own->peers[i]};
	}
	return count;
}

void node_want(struct cluster *c)
{
	const struct clus_view *known = clus_core_known(c->core);
	uint64_t epoch = known ? known->epoch : 0;
	size_t most = c->own->peer_count + (known ? known->member_count : 0);

	if (!c->peers || (!c->want_again && c->wanted_epoch == epoch))
		return;
	struct peers_target *targets = calloc(most + 1, sizeof *targets);
	int err = targets ? peers_want(c->peers, targets, gather(c, known, targets)) : ERR_NO_MEMORY;
	free(targets);
	if (err)
		log_event(LOG_WARN, "cluster_no_memory", LOG_S("reason", "whom to dial"));
	c->want_again = err != 0;
	if (!err)
		c->wanted_epoch = epoch;
}

bool node_is_led(const struct cluster *c)
{
	const struct clus_view *v = clus_core_view(c->core);

	return clus_core_coordinates(c->core) ||
	       (v && c->peers && peers_is_up(c->peers, v->members[v->coordinator].name));
}
