/* What comes on a connection, frame by frame. */
#include "cluster/peer_inside.h"

#include "base/error.h"
#include "base/log.h"

#include <stdio.h>

static void refuse(struct conn *c, enum peer_goodbye_reason reason, const char *why)
{
	peer_log_refused(c->peers, REFUSED_GOODBYE + reason, peer_goodbye_text(reason), why, c->address,
			 view_str(tls_channel_peer(c->tls)));
	conn_goodbye(c, reason, why);
}

/* --- the link's own --- */

/* An incarnation that we have given up already is no news. */
static void say_removed(struct conn *c)
{
	struct peers *p = c->peers;

	if (c->said != p->incarnation)
		return;
	if (c->peer && c->peer->up)
		peer_say_down(p, c->peer, PEERS_REMOVED);
	else if (!p->stopping)
		p->ops->down(p->owner, view_str(tls_channel_peer(c->tls)), 0, PEERS_REMOVED);
}

static void hear_goodbye(struct conn *c, struct view body)
{
	struct peer_goodbye g;
	char why[96], text[PEER_TEXT_MAX + 1];

	if (peer_goodbye_decode(body, &g) != 0) {
		refuse(c, PEER_BYE_MALFORMED, "GOODBYE is none");
		return;
	}
	snprintf(text, sizeof text, "%.*s", (int)g.text.len, g.text.len ? (const char *)g.text.at : "");
	snprintf(why, sizeof why, "told by the other side: %s", peer_goodbye_text(g.reason));
	if (g.reason == PEER_BYE_LEAVING && c->peer && c->peer->up)
		peer_say_down(c->peers, c->peer, PEERS_LEAVING);
	else if (g.reason == PEER_BYE_DUPLICATE)
		c->gives_way = true;
	else if (g.reason == PEER_BYE_REMOVED)
		say_removed(c);
	else if (g.reason != PEER_BYE_LEAVING)
		peer_log_refused(c->peers, REFUSED_HEARD, why, text, c->address, view_str(tls_channel_peer(c->tls)));
	conn_linger(c, why);
}

/* A time that cannot be is a clock that was set, or a lie: there is no round trip then. */
static void take_time(struct peer *peer, const struct peer_beat *b, uint64_t now_us)
{
	if (b->echo_us > 0 && b->echo_us <= now_us && b->held_us <= now_us - b->echo_us)
		peer->round_us = now_us - b->echo_us - b->held_us;
	peer->beat_sent_us = b->sent_us;
	peer->beat_at_us = now_us;
}

/* Only what this connection has sent confirms anything: the clock of a host outlives its processes. */
static struct lease_time confirmed_by(const struct conn *c, const struct peer_beat *b)
{
	bool ours = b->echo_us > 0 && b->echo_us >= c->first_beat_us && b->echo_us <= c->last_beat_us;

	return (struct lease_time){ours ? b->echo_us / 1000 : 0};
}

static void hear_beat(struct conn *c, struct view body)
{
	struct peers *p = c->peers;
	struct peer_beat b;

	if (peer_beat_decode(body, &b) != 0) {
		refuse(c, PEER_BYE_MALFORMED, "BEAT is none");
		return;
	}
	if (c->kind == PEER_LINK_BULK)
		return; /* it has come: that is all it says */
	bool first = c->peer->beat_sent_us == 0;
	take_time(c->peer, &b, clock_lease_us());
	c->peer->epoch = b.epoch;
	if (!p->stopping)
		p->ops->beat(p->owner, c->peer->name, c->peer->incarnation, &b, confirmed_by(c, &b));
	/* Who relies on its echo is not to wait for the next ones after each change of the connection. */
	if (first && c->state == CONN_OPEN && !p->stopping)
		conn_beat(c);
}

static void hear_credit(struct conn *c, struct view body)
{
	uint32_t bytes;

	if (peer_credit_decode(body, &bytes) != 0)
		refuse(c, PEER_BYE_MALFORMED, "CREDIT is none");
	else if (!peer_window_refill(&c->out, bytes))
		refuse(c, PEER_BYE_MALFORMED, "CREDIT for more than was sent");
	else
		conn_pump(c);
}

/* --- its owner's --- */

static void give_back(struct conn *c, size_t bytes)
{
	size_t due = c->in.out - c->in.dealt;
	uint32_t credit = peer_window_deal(&c->in, bytes < due ? bytes : due);
	struct buf body = {0};

	if (credit == 0)
		return;
	peer_credit_encode(credit, &body);
	if (buf_error(&body))
		conn_shut(c, error_text(buf_error(&body)));
	else
		conn_put(c, PEER_CREDIT, buf_view(&body));
	buf_fini(&body);
}

static void hear_frame(struct conn *c, const struct peer_frame *f)
{
	struct peers *p = c->peers;
	size_t bytes = PEER_HEAD_BYTES + f->body.len;

	if (!peer_window_takes(&c->in, bytes)) {
		refuse(c, PEER_BYE_OVERRUN, "more than its credit");
		return;
	}
	peer_window_spend(&c->in, bytes);
	bool dealt = p->stopping || p->ops->frame(p->owner, c->peer->name, c->peer->incarnation, f->type, f->body);
	if (dealt && c->state == CONN_OPEN)
		give_back(c, bytes);
}

uint64_t peers_connection(const struct peers *p, struct view name, enum peer_link link)
{
	const struct peer *peer = peers_find(p, name);

	return peer && peer->links[link].open ? peer->links[link].open->number : 0;
}

void peers_dealt(struct peers *p, struct view name, uint64_t connection, enum peer_link link, size_t body_bytes,
		 size_t frames)
{
	if (connection != 0 && peers_connection(p, name, link) == connection)
		give_back(peers_find(p, name)->links[link].open, body_bytes + frames * PEER_HEAD_BYTES);
}

/* --- all --- */

static void deal(struct conn *c, const struct peer_frame *f)
{
	switch (f->type) {
	case PEER_HELLO:
		conn_hear_hello(c, f->body);
		break;
	case PEER_GOODBYE:
		hear_goodbye(c, f->body);
		break;
	case PEER_BEAT:
		hear_beat(c, f->body);
		break;
	case PEER_CREDIT:
		hear_credit(c, f->body);
		break;
	case PEER_VIEW:
	case PEER_CONTROL:
	case PEER_REPORT:
		hear_frame(c, f);
		break;
	}
	if (c->state == CONN_OPEN)
		c->peer->links[c->kind].s.frames_in++;
}

void conn_hear(struct conn *c)
{
	struct view rest = buf_view(&c->plain);
	struct peer_frame f;
	enum decode got = DECODE_NEED_MORE;

	while ((c->state == CONN_GREETS || c->state == CONN_OPEN) &&
	       (got = peer_next(&c->decoder, &rest, &f)) == DECODE_OK)
		deal(c, &f);
	if (got == DECODE_MALFORMED && (c->state == CONN_GREETS || c->state == CONN_OPEN))
		refuse(c, PEER_BYE_MALFORMED, c->decoder.reason);
	buf_consume(&c->plain, buf_len(&c->plain) - rest.len);
	if (buf_len(&c->plain) == 0 && c->plain.cap > PEER_BACKLOG_BYTES)
		buf_fini(&c->plain);
}
