/* One connection: from the socket through TLS to its end. What its frames mean is peer_frames.c's. */
#include "cluster/peer_inside.h"

#include "base/error.h"
#include "base/invariant.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const struct net_stream_ops stream_ops;

/* --- beginning --- */

static struct conn *conn_new(struct peers *p, bool dialled, enum peer_link kind, const char *expected)
{
	struct conn *c = calloc(1, sizeof *c);

	if (!c)
		return NULL;
	c->peers = p;
	c->dialled = dialled;
	c->kind = kind;
	c->number = ++p->conns_made;
	c->since = net_now(p->loop);
	c->deadline = instant_add_ms(c->since, PEER_GREET_MS);
	list_init(&c->link);
	list_init(&c->greeter);
	list_init(&c->queue);
	peer_decoder_init(&c->decoder);
	if (tls_channel_new(&c->tls, p->context, dialled ? TLS_DIALS : TLS_LISTENS, expected, clock_wall()) != 0) {
		free(c);
		return NULL;
	}
	return c;
}

static void conn_free(struct conn *c)
{
	tls_channel_free(&c->tls);
	buf_fini(&c->plain);
	free(c);
}

static void enlist(struct conn *c)
{
	list_append(&c->peers->conns, &c->link);
	c->peers->conn_count++;
	peers_look_soon(c->peers);
}

int conn_accept(struct peers *p, int fd, const char *address)
{
	struct conn *c = conn_new(p, false, PEER_LINK_CONTROL, NULL);

	if (!c) {
		close(fd);
		return ERR_NO_MEMORY;
	}
	int err = net_stream_open(&c->stream, p->loop, &stream_ops, fd, false);
	if (err) {
		conn_free(c);
		return err;
	}
	snprintf(c->address, sizeof c->address, "%s", address);
	c->state = CONN_SHAKES;
	greeter_in(c);
	enlist(c);
	net_stream_read_start(&c->stream);
	return 0;
}

struct conn *conn_dial(struct target *t, enum peer_link kind)
{
	/* A bulk link is the second one to a node that is known by then. */
	const char *expected = t->name[0] ? t->name : kind == PEER_LINK_BULK && t->learned[0] ? t->learned : NULL;
	struct conn *c = conn_new(t->peers, true, kind, expected);

	if (!c)
		return NULL;
	if (net_stream_connect(&c->stream, t->peers->loop, &stream_ops, &t->to) != 0) {
		conn_free(c);
		return NULL;
	}
	snprintf(c->address, sizeof c->address, "%s", t->address);
	c->target = t;
	c->state = CONN_CONNECTS;
	enlist(c);
	return c;
}

/* --- the end --- */

static void remember(struct conn *c, const char *why)
{
	struct link_record *r = &c->peer->links[c->kind];

	if (why)
		snprintf(r->last_failure, sizeof r->last_failure, "%s", why);
	r->s.since = net_now(c->peers->loop);
}

/* It is nobody's link any more. */
static void detach(struct conn *c, const char *why)
{
	struct peers *p = c->peers;
	struct peer *peer = c->peer;
	bool refused = c->state == CONN_CONNECTS && c->stream.host_refused;

	conn_drop_queue(c);
	dial_failed(c, refused);
	if (!peer)
		return;
	remember(c, why);
	c->peer = NULL;
	if (peer->links[c->kind].open != c)
		return;
	peer->links[c->kind].open = NULL;
	peer->missing_since = net_now(p->loop);
	dial_again(p, peer->name, c->kind, instant_since_ms(net_now(p->loop), c->since) > PEER_BACKOFF_MAX_MS);
	if (c->kind == PEER_LINK_CONTROL && peer->up && !c->gives_way)
		peer_say_down(p, peer, PEERS_CLOSED);
}

void conn_shut(struct conn *c, const char *why)
{
	if (c->state == CONN_GONE)
		return;
	enum conn_state was = c->state;
	if (was != CONN_LINGERS)
		detach(c, why);
	c->state = CONN_GONE;
	if (was != CONN_CONNECTS)
		net_stream_flush(&c->stream);
	net_stream_close(&c->stream);
}

/* What was said last is read before the connection goes: closing at once could make the host take it back. */
void conn_linger(struct conn *c, const char *why)
{
	if (c->state == CONN_LINGERS || c->state == CONN_GONE)
		return;
	detach(c, why);
	c->state = CONN_LINGERS;
	c->deadline = instant_add_ms(net_now(c->peers->loop), PEER_LINGER_MS);
	peers_look_soon(c->peers);
	tls_channel_end(c->tls, net_stream_out(&c->stream));
	net_stream_flush(&c->stream);
	if (!net_stream_full(&c->stream))
		net_stream_shutdown(&c->stream);
}

void conn_goodbye(struct conn *c, enum peer_goodbye_reason reason, const char *why)
{
	struct buf body = {0};
	struct peer_goodbye said = {.reason = (uint16_t)reason, .text = view_str(why ? why : "")};

	if (c->state != CONN_GREETS && c->state != CONN_OPEN) {
		conn_shut(c, why);
		return;
	}
	if (said.text.len > PEER_TEXT_MAX)
		said.text.len = PEER_TEXT_MAX;
	peer_goodbye_encode(&said, &body);
	if (buf_error(&body))
		conn_shut(c, why);
	else
		conn_put(c, PEER_GOODBYE, buf_view(&body));
	buf_fini(&body);
	conn_linger(c, why);
}

static void on_closed(struct net_stream *s)
{
	struct conn *c = CONTAINER_OF(s, struct conn, stream);
	struct peers *p = c->peers;

	INVARIANT(c->state == CONN_GONE);
	list_remove(&c->link);
	p->conn_count--;
	greeter_out(c);
	conn_free(c);
	peers_perhaps_gone(p);
}

/* --- TLS --- */

static void fail_tls(struct conn *c)
{
	const struct tls_failure *f = tls_channel_failure(c->tls);
	const char *reason = tls_reason_text(f->reason);
	char why[96];

	snprintf(why, sizeof why, "TLS: %s", reason);
	if (c->state == CONN_SHAKES || c->state == CONN_GREETS)
		peer_log_refused(c->peers, REFUSED_TLS + f->reason, reason,
				 f->heard ? "told by the other side" : f->detail, c->address,
				 view_str(tls_channel_peer(c->tls)));
	if (f->reason == TLS_NOT_TLS)
		conn_shut(c, why);
	else
		conn_linger(c, why);
}

bool conn_is_still_good(struct conn *c)
{
	enum tls_reason reason = tls_channel_judge(c->tls, c->peers->context, clock_wall());
	char why[96];

	if (reason != TLS_REVOKED && reason != TLS_UNKNOWN_AUTHORITY && reason != TLS_NO_MEMORY)
		return true;
	snprintf(why, sizeof why, "TLS: %s", tls_reason_text(reason));
	peer_log_refused(c->peers, REFUSED_TLS + reason, tls_reason_text(reason), "since the last reload", c->address,
			 view_str(tls_channel_peer(c->tls)));
	conn_linger(c, why);
	return false;
}

static void shaken(struct conn *c)
{
	struct peers *p = c->peers;
	struct target *t = c->target;
	struct view name = view_str(tls_channel_peer(c->tls));

	c->state = CONN_GREETS;
	if (c->judged_by_old && !conn_is_still_good(c))
		return;
	if (!c->dialled)
		return;
	if (t) {
		(void)snprintf(t->learned, sizeof t->learned, "%s", tls_channel_peer(c->tls));
		if (t->name[0] == '\0' && !p->stopping)
			p->ops->named(p->owner, view_str(c->address), name);
	}
	if (c->state != CONN_GREETS)
		return; /* what was told has ended it */
	if (view_eq(name, p->name) || conn_is_needless(c))
		conn_linger(c, NULL);
	else
		conn_say_hello(c);
}

static void on_read(struct net_stream *s, struct view data)
{
	struct conn *c = CONTAINER_OF(s, struct conn, stream);

	if (c->state == CONN_LINGERS)
		return;
	tls_channel_feed(c->tls, data, &c->plain, net_stream_out(s));
	enum tls_state tls = tls_channel_state(c->tls);
	if (c->state == CONN_SHAKES && (tls == TLS_OPEN || tls == TLS_ENDED))
		shaken(c);
	if (c->peer) {
		c->peer->heard = c->heard = net_now(c->peers->loop);
		c->peer->links[c->kind].s.bytes_in += data.len;
	}
	conn_hear(c);
	if (c->state == CONN_LINGERS || c->state == CONN_GONE)
		return;
	if (tls == TLS_FAILED)
		fail_tls(c);
	else if (tls == TLS_ENDED)
		conn_shut(c, "closed by the other side");
}

/* --- the socket --- */

static void on_connected(struct net_stream *s, int err)
{
	struct conn *c = CONTAINER_OF(s, struct conn, stream);

	if (err) {
		conn_shut(c, error_text(err));
		return;
	}
	c->state = CONN_SHAKES;
	net_stream_read_start(s);
	tls_channel_start(c->tls, net_stream_out(s));
}

static void on_ended(struct net_stream *s, int err)
{
	conn_shut(CONTAINER_OF(s, struct conn, stream), error_text(err));
}

static void on_full(struct net_stream *s)
{
	(void)s;
}

static void on_drained(struct net_stream *s)
{
	struct conn *c = CONTAINER_OF(s, struct conn, stream);

	if (c->state == CONN_LINGERS)
		net_stream_shutdown(s);
	else
		conn_pump(c);
}

static const struct net_stream_ops stream_ops = {
    .connected = on_connected,
    .read = on_read,
    .ended = on_ended,
    .full = on_full,
    .drained = on_drained,
    .closed = on_closed,
};
