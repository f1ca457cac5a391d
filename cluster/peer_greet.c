/* HELLO: who the other side is, whether it is let in, and which of two connections stays. */
#include "cluster/peer_inside.h"

#include "base/error.h"
#include "base/log.h"

#include <stdio.h>

static const uint8_t no_cluster[PEER_CLUSTER_BYTES];

static void fill_hello(struct peers *p, enum peer_link kind, struct peer_hello *out)
{
	memset(out, 0, sizeof *out);
	out->version_least = PEER_VERSION_LEAST;
	out->version_greatest = PEER_VERSION_GREATEST;
	out->link = kind;
	out->name = p->name;
	out->incarnation = p->incarnation;
	p->ops->hello(p->owner, out);
}

void conn_say_hello(struct conn *c)
{
	struct peer_hello h;
	struct buf body = {0};

	fill_hello(c->peers, c->kind, &h);
	c->said = h.incarnation;
	peer_hello_encode(&h, &body);
	if (buf_error(&body))
		conn_shut(c, error_text(buf_error(&body)));
	else
		conn_put(c, PEER_HELLO, buf_view(&body));
	buf_fini(&body);
}

bool conn_is_needless(const struct conn *c)
{
	const struct peer *peer = peers_find(c->peers, view_str(tls_channel_peer(c->tls)));

	return peer && peer->links[c->kind].open;
}

static void refuse(struct conn *c, enum peer_goodbye_reason reason, const char *why)
{
	if (reason != PEER_BYE_DUPLICATE)
		peer_log_refused(c->peers, REFUSED_GOODBYE + reason, peer_goodbye_text(reason), why, c->address,
				 view_str(tls_channel_peer(c->tls)));
	conn_goodbye(c, reason, why);
}

static void refuse_version(struct conn *c, struct view body)
{
	uint16_t least = 0, greatest = 0;
	char why[96];

	(void)!peer_hello_versions(body, &least, &greatest);
	snprintf(why, sizeof why, "it speaks %d to %d, this node %d to %d", least, greatest, PEER_VERSION_LEAST,
		 PEER_VERSION_GREATEST);
	refuse(c, PEER_BYE_VERSION, why);
}

static bool is_other_cluster(struct peers *p, const struct peer_hello *h)
{
	struct peer_hello ours;

	fill_hello(p, h->link, &ours);
	return memcmp(ours.cluster, no_cluster, sizeof no_cluster) != 0 &&
	       memcmp(h->cluster, no_cluster, sizeof no_cluster) != 0 &&
	       memcmp(ours.cluster, h->cluster, sizeof no_cluster) != 0;
}

/* False: it was refused. */
static bool is_let_in(struct conn *c, const struct peer_hello *h)
{
	if (view_eq(h->name, c->peers->name)) {
		refuse(c, PEER_BYE_NAME, "it has the name of this node");
	} else if (!view_eq(h->name, view_str(tls_channel_peer(c->tls)))) {
		refuse(c, PEER_BYE_NAME, "its certificate has another name");
	} else if (c->dialled && h->link != c->kind) {
		refuse(c, PEER_BYE_MALFORMED, "HELLO of the other link");
	} else if (is_other_cluster(c->peers, h)) {
		refuse(c, PEER_BYE_CLUSTER, "it is of another cluster of the same name");
	} else {
		return true;
	}
	return false;
}

/* Another process of that name lives. The links of one that is dead are ended by its host, or by their silence; who
 * draws another incarnation ends them first; and whom the owner takes for dead has none. Links that are made anew,
 * because HELLO says something else, are not all away at once. */
static bool is_in_use(const struct peer *peer, uint64_t incarnation)
{
	return peer->incarnation != incarnation &&
	       (peer->links[PEER_LINK_CONTROL].open || peer->links[PEER_LINK_BULK].open);
}

/* The one that was is dead. */
static void bury(struct peers *p, struct peer *peer)
{
	peer_forbid(peer, peer->incarnation);
	if (peer->up)
		peer_say_down(p, peer, PEERS_CLOSED);
}

/* False: the one that is there stays. */
static bool may_take_over(const struct conn *c, const struct peer *peer)
{
	const struct conn *open = peer->links[c->kind].open;

	if (!open)
		return true;
	struct peer_rival rival = {.dialled_by_us = open->dialled, .open_since = open->since};
	return peer_new_one_stays(c->peers->name, peer->name, &rival, c->dialled, net_now(c->peers->loop));
}

static void become_open(struct conn *c, struct peer *peer)
{
	struct link_record *r = &peer->links[c->kind];
	struct conn *old = r->open;

	r->open = c;
	if (old)
		conn_goodbye(old, PEER_BYE_DUPLICATE, NULL);
	c->state = CONN_OPEN;
	c->peer = peer;
	c->since = net_now(c->peers->loop);
	greeter_out(c);
	r->opened++;
	r->s.since = c->since;
	r->s.dialled = c->dialled;
	r->s.resumed = tls_channel_resumed(c->tls);
	peer->heard = c->heard = c->since;
	if (c->kind == PEER_LINK_CONTROL)
		peer->beat_sent_us = 0; /* of a process before, perhaps of a host before */
	dial_done(c);
}

static void tell(struct conn *c, struct peer *peer, const struct peer_hello *h)
{
	struct peers *p = c->peers;

	if (c->kind != PEER_LINK_CONTROL)
		return;
	log_event(LOG_INFO, "peer_up", LOG_V("name", peer->name), LOG_S("address", c->address),
		  LOG_S("dialled", c->dialled ? "yes" : "no"));
	peer->up = true;
	peer->epoch = h->epoch;
	peer->silence_told = false;
	if (!p->stopping)
		p->ops->up(p->owner, h);
	if (c->state == CONN_OPEN)
		conn_beat(c);
}

static void greet(struct conn *c, const struct peer_hello *h)
{
	struct peers *p = c->peers;
	struct peer *peer = peers_obtain(p, h->name);

	if (!peer) {
		refuse(c, PEER_BYE_FULL, "no room for another node");
		return;
	}
	if (peer_is_forbidden(peer, h->incarnation)) {
		refuse(c, PEER_BYE_REMOVED, "its incarnation was removed");
		return;
	}
	if (is_in_use(peer, h->incarnation)) {
		refuse(c, PEER_BYE_NAME, "another process of this name is linked");
		return;
	}
	c->kind = h->link;
	if (peer->incarnation != h->incarnation) {
		bury(p, peer);
	} else if (!may_take_over(c, peer)) {
		refuse(c, PEER_BYE_DUPLICATE, NULL);
		return;
	}
	if (c->state != CONN_GREETS)
		return; /* what was told has ended it */
	peer->incarnation = h->incarnation;
	if (!c->dialled)
		conn_say_hello(c);
	if (c->state != CONN_GREETS)
		return;
	become_open(c, peer);
	tell(c, peer, h);
}

void conn_hear_hello(struct conn *c, struct view body)
{
	struct peer_hello h;
	int err = peer_hello_decode(body, &h);

	if (err == ERR_VERSION)
		refuse_version(c, body);
	else if (err)
		refuse(c, PEER_BYE_MALFORMED, "HELLO is none");
	else if (is_let_in(c, &h))
		greet(c, &h);
}
