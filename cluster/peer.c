/* The set of nodes: life, heartbeats, silence, and what is told of it. Connections are peer_conn.c's. */
#include "cluster/peer_inside.h"

#include "base/error.h"
#include "base/invariant.h"
#include "base/log.h"

#include <stdlib.h>
#include <unistd.h>

const char *peers_why_text(enum peers_why why)
{
	static const char *const texts[] = {"refused", "closed", "silent", "leaving", "removed"};

	return texts[why];
}

/* --- nodes by name --- */

static size_t place_of(const struct peers *p, struct view name)
{
	size_t low = 0, high = p->peer_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (view_compare(p->peers[middle]->name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct peer *peers_find(const struct peers *p, struct view name)
{
	size_t at = place_of(p, name);

	return at < p->peer_count && view_eq(p->peers[at]->name, name) ? p->peers[at] : NULL;
}

/* Forgets those that nobody dials and that have no link; never inside an event. */
static void prune(struct peers *p)
{
	size_t kept = 0;

	if (p->peer_count <= PEERS_MAX / 2)
		return;
	for (size_t i = 0; i < p->peer_count; i++) {
		struct peer *peer = p->peers[i];
		if (peer->wanted || peer->up || peer->links[0].open || peer->links[1].open)
			p->peers[kept++] = peer;
		else
			free(peer);
	}
	p->peer_count = kept;
}

static bool make_room(struct peers *p)
{
	if (p->peer_count >= PEERS_MAX)
		return false;
	if (p->peer_count < p->peer_room)
		return true;
	size_t room = p->peer_room ? 2 * p->peer_room : 16;
	struct peer **more = realloc(p->peers, room * sizeof(struct peer *));
	if (!more)
		return false;
	p->peers = more;
	p->peer_room = room;
	return true;
}

struct peer *peers_obtain(struct peers *p, struct view name)
{
	struct peer *peer = peers_find(p, name);

	INVARIANT(name_is_good(name));
	if (peer || !make_room(p))
		return peer;
	peer = calloc(1, sizeof *peer);
	if (!peer)
		return NULL;
	memcpy(peer->name_text, name.at, name.len);
	peer->name = view_of(peer->name_text, name.len);
	peer->heard = net_now(p->loop);
	size_t at = place_of(p, name);
	memmove(p->peers + at + 1, p->peers + at, (p->peer_count - at) * sizeof(struct peer *));
	p->peers[at] = peer;
	p->peer_count++;
	return peer;
}

bool peer_is_forbidden(const struct peer *peer, uint64_t incarnation)
{
	for (size_t i = 0; i < PEERS_FORBIDDEN_MAX; i++) {
		if (peer->forbidden[i] == incarnation)
			return true;
	}
	return false;
}

void peer_forbid(struct peer *peer, uint64_t incarnation)
{
	if (incarnation == 0 || peer_is_forbidden(peer, incarnation))
		return;
	peer->forbidden[peer->forbidden_next++ % PEERS_FORBIDDEN_MAX] = incarnation;
}

int peers_forbid(struct peers *p, struct view name, uint64_t incarnation)
{
	struct peer *peer = peers_obtain(p, name);

	if (!peer)
		return ERR_NO_MEMORY;
	peer_forbid(peer, incarnation);
	if (peer->incarnation != incarnation)
		return 0;
	peers_drop(p, name, incarnation, PEER_BYE_REMOVED);
	return 0;
}

void peers_drop(struct peers *p, struct view name, uint64_t incarnation, enum peer_goodbye_reason reason)
{
	struct peer *peer = peers_find(p, name);

	if (!peer || peer->incarnation != incarnation)
		return;
	for (size_t kind = 0; kind < PEER_LINKS; kind++) {
		if (peer->links[kind].open)
			conn_goodbye(peer->links[kind].open, reason, peer_goodbye_text(reason));
	}
	if (peer->up)
		peer_say_down(p, peer, PEERS_CLOSED);
}

void peers_refuse(struct peers *p, struct view name, uint64_t incarnation, const char *why)
{
	struct peer *peer = peers_find(p, name);
	struct conn *c = peer ? peer->links[PEER_LINK_CONTROL].open : NULL;

	if (peer && peer->incarnation == incarnation)
		peer_log_refused(p, REFUSED_GOODBYE + PEER_BYE_MALFORMED, peer_goodbye_text(PEER_BYE_MALFORMED), why,
				 c ? c->address : "", name);
	peers_drop(p, name, incarnation, PEER_BYE_MALFORMED);
}

bool peers_is_up(const struct peers *p, struct view name)
{
	const struct peer *peer = peers_find(p, name);

	return peer && peer->links[PEER_LINK_CONTROL].open;
}

uint64_t peers_incarnation(const struct peers *p, struct view name)
{
	return peers_is_up(p, name) ? peers_find(p, name)->incarnation : 0;
}

/* --- what its owner is told --- */

void peer_say_down(struct peers *p, struct peer *peer, enum peers_why why)
{
	if (peer->up)
		log_event(LOG_INFO, "peer_down", LOG_V("name", peer->name), LOG_S("reason", peers_why_text(why)));
	peer->up = false;
	peer->silence_told = peer->silence_told || why == PEERS_SILENT;
	if (!p->stopping)
		p->ops->down(p->owner, peer->name, peer->incarnation, why);
}

/* --- time --- */

/* One of two links may be cut alone: then it is dialled again, and the node is not silent. */
static void close_silent(const struct peers *p, struct peer *peer, struct instant now)
{
	for (size_t kind = 0; kind < PEER_LINKS; kind++) {
		struct conn *c = peer->links[kind].open;
		if (c && instant_since_ms(now, c->heard) >= p->failure_ms)
			conn_goodbye(c, PEER_BYE_SILENT, "nothing heard for failure-timeout");
	}
}

/* An `up` peer whose connection gave way to another one that did not come is down after a while. */
static void look_at(struct peers *p, struct peer *peer, struct instant now)
{
	bool linked = peer->links[PEER_LINK_CONTROL].open != NULL;
	bool silent = instant_since_ms(now, peer->heard) >= p->failure_ms;

	if (!linked && peer->up && instant_since_ms(now, peer->missing_since) >= p->beat_ms)
		peer_say_down(p, peer, PEERS_CLOSED);
	close_silent(p, peer, now);
	if (!silent || peer->silence_told || (!linked && !peer->wanted && peer->incarnation == 0))
		return;
	peer_say_down(p, peer, PEERS_SILENT);
}

/* Whoever did not run himself has not listened either: what came meanwhile is read before others are judged. */
static bool has_slept(const struct peers *p, struct instant now)
{
	return instant_since_ms(now, p->last_beat) > p->failure_ms / 2;
}

static void on_beat(struct net_timer *t)
{
	struct peers *p = CONTAINER_OF(t, struct peers, beat);
	struct instant now = net_now(p->loop);
	bool slept = has_slept(p, now);

	p->last_beat = now;
	for (size_t i = 0; i < p->peer_count; i++) {
		struct peer *peer = p->peers[i];
		for (size_t kind = 0; kind < PEER_LINKS; kind++) {
			if (peer->links[kind].open)
				conn_beat(peer->links[kind].open);
		}
	}
	for (size_t i = 0; !slept && !p->stopping && i < p->peer_count; i++)
		look_at(p, p->peers[i], now);
	prune(p);
	if (!p->stopping)
		net_timer_start(p->loop, &p->beat, p->beat_ms);
}

static void on_look(struct net_timer *t)
{
	struct peers *p = CONTAINER_OF(t, struct peers, look);
	struct instant now = net_now(p->loop);
	bool more = false;

	LIST_EACH (node, &p->conns) {
		struct conn *c = CONTAINER_OF(node, struct conn, link);
		if (c->state == CONN_OPEN || c->state == CONN_GONE)
			continue;
		if (instant_before(now, c->deadline)) {
			more = true;
		} else if (c->state == CONN_LINGERS) {
			conn_shut(c, NULL);
		} else {
			peer_log_refused(p, REFUSED_LATE, "not greeted in time", "", c->address,
					 view_str(c->tls ? tls_channel_peer(c->tls) : ""));
			conn_shut(c, "not greeted in time");
		}
	}
	listener_resume(p);
	more = peer_log_flush(p, false) || more;
	if (more)
		peers_look_soon(p);
}

void peers_look_soon(struct peers *p)
{
	net_timer_start_before(p->loop, &p->look, PEER_LOOK_MS);
}

/* --- our own HELLO --- */

static bool has_greeted(const struct conn *c)
{
	return c->kind == PEER_LINK_CONTROL && (c->state == CONN_OPEN || c->state == CONN_GREETS);
}

static void on_redial(struct net_timer *t)
{
	struct peers *p = CONTAINER_OF(t, struct peers, redial);

	LIST_EACH (node, &p->conns) {
		struct conn *c = CONTAINER_OF(node, struct conn, link);
		if (!c->renew || !has_greeted(c))
			continue;
		net_timer_start(p->loop, &p->redial, 1);
		conn_linger(c, NULL);
		return;
	}
}

void peers_redial(struct peers *p)
{
	LIST_EACH (node, &p->conns) {
		struct conn *c = CONTAINER_OF(node, struct conn, link);
		c->renew = c->renew || has_greeted(c);
	}
	net_timer_start(p->loop, &p->redial, 0);
}

void peers_reincarnate(struct peers *p, uint64_t incarnation)
{
	INVARIANT(incarnation != 0);
	p->incarnation = incarnation;
	LIST_EACH (node, &p->conns) {
		struct conn *c = CONTAINER_OF(node, struct conn, link);
		if (c->state == CONN_OPEN || c->state == CONN_GREETS)
			conn_linger(c, NULL);
	}
	dial_all(p);
}

/* --- life --- */

int peers_start(struct peers **out, struct net_loop *loop, const struct peers_settings *s, struct tls_context *context,
		const struct peers_ops *ops, void *owner)
{
	struct peers *p = calloc(1, sizeof *p);

	INVARIANT(name_is_good(s->self));
	INVARIANT(s->incarnation != 0);
	INVARIANT(s->failure_ms > 0);
	if (!p) {
		if (s->listen_fd >= 0)
			close(s->listen_fd);
		return ERR_NO_MEMORY;
	}
	p->loop = loop;
	int err = listener_start(p, s->listen_fd);
	if (err) {
		free(p);
		return err;
	}
	p->context = tls_context_ref(context);
	p->ops = ops;
	p->owner = owner;
	memcpy(p->name_text, s->self.at, s->self.len);
	p->name = view_of(p->name_text, s->self.len);
	p->incarnation = s->incarnation;
	p->failure_ms = s->failure_ms;
	p->beat_ms = s->failure_ms / 8 ? s->failure_ms / 8 : 1;
	p->random = s->seed;
	list_init(&p->conns);
	list_init(&p->greeters);
	net_timer_init(&p->beat, on_beat);
	net_timer_init(&p->look, on_look);
	net_timer_init(&p->redial, on_redial);
	p->last_beat = net_now(loop);
	net_timer_start(loop, &p->beat, p->beat_ms);
	*out = p;
	return 0;
}

void peers_reload(struct peers *p, struct tls_context *context)
{
	struct tls_context *old = p->context;

	p->context = tls_context_ref(context);
	tls_context_unref(&old);
	LIST_EACH (node, &p->conns) {
		struct conn *c = CONTAINER_OF(node, struct conn, link);
		if (c->state == CONN_CONNECTS || c->state == CONN_SHAKES)
			c->judged_by_old = true;
		else if (c->state == CONN_GREETS || c->state == CONN_OPEN)
			(void)conn_is_still_good(c);
	}
}

void peers_stop(struct peers *p)
{
	if (p->stopping)
		return;
	p->stopping = true;
	net_timer_stop(p->loop, &p->beat);
	net_timer_stop(p->loop, &p->redial);
	targets_free(p);
	listener_stop(p);
	LIST_EACH (node, &p->conns) {
		struct conn *c = CONTAINER_OF(node, struct conn, link);
		if (c->state == CONN_OPEN || c->state == CONN_GREETS)
			conn_goodbye(c, PEER_BYE_LEAVING, NULL);
		else if (c->state != CONN_LINGERS)
			conn_shut(c, NULL);
	}
	peers_perhaps_gone(p);
}

static void on_gone(struct mail *mail)
{
	struct peers *p = CONTAINER_OF(mail, struct peers, gone);
	const struct peers_ops *ops = p->ops;
	void *owner = p->owner;

	net_timer_stop(p->loop, &p->look);
	(void)peer_log_flush(p, true);
	for (size_t i = 0; i < p->peer_count; i++)
		free(p->peers[i]);
	free(p->peers);
	buf_fini(&p->scratch);
	buf_fini(&p->heard);
	tls_context_unref(&p->context);
	free(p);
	ops->stopped(owner);
}

void peers_perhaps_gone(struct peers *p)
{
	if (!p->stopping || p->conn_count > 0 || p->listening || p->gone.deliver)
		return;
	p->gone.deliver = on_gone;
	net_loop_post(p->loop, &p->gone);
}

/* --- what there is --- */

static struct peers_link_status status_of(const struct link_record *r)
{
	struct peers_link_status s = r->s;
	const struct conn *c = r->open;

	s.state = c ? "open" : s.state ? s.state : "none";
	s.reconnects = r->opened > 0 ? r->opened - 1 : 0;
	s.last_failure = r->last_failure;
	s.credit = c ? peer_window_left(&c->out) : 0;
	s.queued_bytes = c ? c->queued_bytes : 0;
	return s;
}

void peers_each(const struct peers *p, void (*each)(void *arg, const struct peers_status *s), void *arg)
{
	for (size_t i = 0; i < p->peer_count; i++) {
		const struct peer *peer = p->peers[i];
		struct peers_status s = {.name = peer->name,
					 .incarnation = peer->incarnation,
					 .epoch = peer->epoch,
					 .round_us = peer->round_us,
					 .heard = peer->heard};
		for (size_t kind = 0; kind < PEER_LINKS; kind++)
			s.links[kind] = status_of(&peer->links[kind]);
		each(arg, &s);
	}
}
