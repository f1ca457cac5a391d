/* Whom to dial, and when again. A target dials its control link, and its bulk link once that is open. */
#include "cluster/peer_inside.h"

#include "base/error.h"
#include "base/log.h"
#include "net/socket.h"

#include <stdio.h>
#include <stdlib.h>

/* xorshift: only spreads attempts in time. */
static uint32_t random_next(struct peers *p)
{
	uint64_t x = p->random ? p->random : 0x9e3779b97f4a7c15;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	p->random = x;
	return (uint32_t)(x >> 32);
}

static struct view name_of(const struct target *t)
{
	return view_str(t->name[0] ? t->name : t->learned);
}

/* Whether the target's node has the link already. */
static bool is_linked(const struct target *t, enum peer_link kind)
{
	const struct peer *peer = peers_find(t->peers, name_of(t));

	return peer && peer->links[kind].open;
}

static void wait_again(struct dial *d)
{
	struct peers *p = d->target->peers;

	net_timer_start(p->loop, &d->timer, peer_backoff_ms(d->failures, random_next(p)));
	d->failures += d->failures < 30;
}

static void dial_now(struct dial *d)
{
	struct target *t = d->target;
	enum peer_link kind = d == &t->dials[PEER_LINK_BULK] ? PEER_LINK_BULK : PEER_LINK_CONTROL;

	if (t->peers->stopping || d->conn || is_linked(t, kind))
		return;
	if (kind == PEER_LINK_BULK && !is_linked(t, PEER_LINK_CONTROL))
		return;
	d->conn = conn_dial(t, kind);
	if (!d->conn)
		wait_again(d);
	else if (name_of(t).len > 0)
		d->conn->dead = t->peers->ops->dials(t->peers->owner, name_of(t), view_str(t->address));
}

static void on_timer(struct net_timer *timer)
{
	dial_now(CONTAINER_OF(timer, struct dial, timer));
}

void dial_again(struct peers *p, struct view name, enum peer_link kind, bool lasted)
{
	for (size_t i = 0; !p->stopping && i < p->target_count; i++) {
		struct dial *d = &p->targets[i]->dials[kind];
		if (!view_eq(name_of(p->targets[i]), name) || d->conn)
			continue;
		if (lasted)
			net_timer_start(p->loop, &d->timer, d->failures = 0);
		else
			wait_again(d);
	}
}

/* Its bulk link is next. Whoever was found at an address without a name is dialled there again. */
void dial_done(struct conn *c)
{
	struct target *t = c->target;

	if (t) {
		c->target = NULL;
		t->dials[c->kind].conn = NULL;
		(void)snprintf(t->learned, sizeof t->learned, "%s", tls_channel_peer(c->tls));
	}
	if (c->kind == PEER_LINK_CONTROL)
		dial_again(c->peers, c->peer->name, PEER_LINK_BULK, true);
}

/* Told of each node that is named; whoever else was there last may be anywhere now. */
static void say_refused(struct target *t, uint64_t incarnation)
{
	struct peers *p = t->peers;
	struct peer *peer = peers_find(p, name_of(t));

	if (!peer || peer->links[PEER_LINK_CONTROL].open || peer->links[PEER_LINK_BULK].open)
		return;
	if (peer->up)
		peer_say_down(p, peer, PEERS_CLOSED); /* its owner may want other targets now: `t` is gone */
	if (!p->stopping)
		p->ops->down(p->owner, peer->name, incarnation, PEERS_REFUSED);
}

void dial_failed(struct conn *c, bool refused)
{
	struct target *t = c->target;

	if (!t)
		return;
	struct dial *d = &t->dials[c->kind];
	c->target = NULL;
	d->conn = NULL;
	wait_again(d);
	if (refused)
		say_refused(t, c->dead);
}

/* --- the set of targets --- */

static bool same(const struct target *t, const struct peers_target *want)
{
	return view_eq(view_str(t->address), want->address) && view_eq(view_str(t->name), want->name);
}

static bool is_good(const struct peers_target *want)
{
	struct net_address to;

	return want->address.len < sizeof((struct target *)0)->address && net_address_text(&to, want->address) &&
	       (want->name.len == 0 || name_is_good(want->name));
}

static struct target *target_new(struct peers *p, const struct peers_target *want)
{
	struct target *t = calloc(1, sizeof *t);

	if (!t)
		return NULL;
	t->peers = p;
	(void)net_address_text(&t->to, want->address);
	memcpy(t->address, want->address.at, want->address.len);
	if (want->name.len > 0)
		memcpy(t->name, want->name.at, want->name.len);
	for (size_t kind = 0; kind < PEER_LINKS; kind++) {
		t->dials[kind].target = t;
		net_timer_init(&t->dials[kind].timer, on_timer);
	}
	return t;
}

/* What it has dialled goes on by itself. */
static void target_free(struct target *t)
{
	for (size_t kind = 0; kind < PEER_LINKS; kind++) {
		net_timer_stop(t->peers->loop, &t->dials[kind].timer);
		if (t->dials[kind].conn)
			t->dials[kind].conn->target = NULL;
	}
	free(t);
}

void targets_free(struct peers *p)
{
	for (size_t i = 0; i < p->target_count; i++)
		target_free(p->targets[i]);
	free(p->targets);
	p->targets = NULL;
	p->target_count = 0;
}

static struct target *find_old(struct peers *p, const struct peers_target *want)
{
	for (size_t i = 0; i < p->target_count; i++) {
		if (!p->targets[i]->stays && same(p->targets[i], want))
			return p->targets[i];
	}
	return NULL;
}

/* Those that are there already and new ones, in the order wanted. NULL: no memory, and nothing has changed. */
static struct target **gather(struct peers *p, const struct peers_target *wants, size_t count)
{
	struct target **next = calloc(count ? count : 1, sizeof(struct target *));

	for (size_t i = 0; next && i < count; i++) {
		bool known = wants[i].name.len == 0 || peers_obtain(p, wants[i].name);
		struct target *old = find_old(p, &wants[i]);
		if (old)
			old->stays = true;
		next[i] = !known ? NULL : old ? old : target_new(p, &wants[i]);
		if (next[i])
			continue;
		while (i-- > 0) {
			if (!next[i]->stays)
				target_free(next[i]);
		}
		free(next);
		next = NULL;
	}
	return next;
}

static void mark_wanted(struct peers *p)
{
	for (size_t i = 0; i < p->peer_count; i++)
		p->peers[i]->wanted = false;
	for (size_t i = 0; i < p->target_count; i++) {
		struct peer *peer = p->targets[i]->name[0] ? peers_find(p, name_of(p->targets[i])) : NULL;
		if (peer)
			peer->wanted = true;
	}
}

void dial_all(struct peers *p)
{
	for (size_t i = 0; i < p->target_count; i++) {
		struct target *t = p->targets[i];
		if (!t->dials[PEER_LINK_CONTROL].conn && !is_linked(t, PEER_LINK_CONTROL))
			net_timer_start_before(p->loop, &t->dials[PEER_LINK_CONTROL].timer, 0);
		else if (!t->dials[PEER_LINK_BULK].conn && !is_linked(t, PEER_LINK_BULK))
			net_timer_start_before(p->loop, &t->dials[PEER_LINK_BULK].timer, 0);
	}
}

int peers_want(struct peers *p, const struct peers_target *targets, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (!is_good(&targets[i]))
			return ERR_MALFORMED;
	}
	struct target **next = gather(p, targets, count);
	for (size_t i = 0; i < p->target_count; i++) {
		if (next && !p->targets[i]->stays)
			target_free(p->targets[i]);
		else
			p->targets[i]->stays = false;
	}
	if (!next)
		return ERR_NO_MEMORY;
	free(p->targets);
	p->targets = next;
	p->target_count = count;
	mark_wanted(p);
	dial_all(p);
	return 0;
}
