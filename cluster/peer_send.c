/* What leaves: at once where the credit and the kernel take it, otherwise from a bounded queue. */
#include "cluster/peer_inside.h"

#include "base/error.h"
#include "base/invariant.h"

#include <stdlib.h>

/* --- a frame leaves --- */

void conn_put(struct conn *c, enum peer_type type, struct view body)
{
	struct buf *b = &c->peers->scratch;
	struct buf *out = net_stream_out(&c->stream);
	size_t before = buf_len(out);

	/* One record where it fits; of more, only what shares the first one with the head is copied. */
	buf_clear(b);
	peer_put_head(b, type, 0, c->sequence + 1, body.len);
	buf_put(b, view_take(&body, TLS_PLAIN_MAX - PEER_HEAD_BYTES));
	if (buf_error(b) || tls_channel_write(c->tls, buf_view(b), out) != 0 ||
	    tls_channel_write(c->tls, body, out) != 0) {
		conn_shut(c, buf_error(b) ? error_text(buf_error(b)) : "TLS has ended");
		return;
	}
	c->sequence++;
	if (!c->peer)
		return;
	c->peer->links[c->kind].s.frames_out++;
	c->peer->links[c->kind].s.bytes_out += buf_len(out) - before;
}

/* Bounds what is encrypted and waits for the kernel. */
static bool has_room(struct conn *c)
{
	if (net_stream_backlog(&c->stream) > PEER_BACKLOG_BYTES)
		net_stream_flush(&c->stream);
	return net_stream_backlog(&c->stream) <= PEER_BACKLOG_BYTES;
}

static bool may_leave(struct conn *c, size_t body_bytes)
{
	return peer_window_takes(&c->out, PEER_HEAD_BYTES + body_bytes) && has_room(c);
}

static void leave(struct conn *c, enum peer_type type, struct view body)
{
	peer_window_spend(&c->out, PEER_HEAD_BYTES + body.len);
	conn_put(c, type, body);
}

/* --- the queue --- */

/* The bytes of one kind that wait; NULL: a VIEW, of which there is one. */
static size_t *waiting(struct conn *c, enum peer_type type)
{
	return type == PEER_CONTROL ? &c->control_bytes : type == PEER_REPORT ? &c->report_bytes : NULL;
}

static void take_out(struct conn *c, struct queued *q)
{
	size_t *bytes = waiting(c, q->type);

	list_remove(&q->link);
	c->queued_bytes -= q->len;
	if (bytes)
		*bytes -= q->len;
}

static void drop_old_view(struct conn *c)
{
	struct queued *first = CONTAINER_OF(c->queue.next, struct queued, link);

	if (list_empty(&c->queue) || first->type != PEER_VIEW)
		return;
	take_out(c, first);
	free(first);
}

/* The newest view goes before all else. */
static void put_in(struct conn *c, struct queued *q)
{
	size_t *bytes = waiting(c, q->type);

	c->queued_bytes += q->len;
	if (bytes)
		*bytes += q->len;
	if (q->type == PEER_VIEW) {
		drop_old_view(c);
		list_prepend(&c->queue, &q->link);
	} else {
		list_append(&c->queue, &q->link);
	}
}

static int enqueue(struct conn *c, enum peer_type type, struct view body)
{
	size_t *bytes = waiting(c, type);
	size_t max = type == PEER_CONTROL ? PEERS_CONTROL_MAX : PEERS_REPORT_MAX;

	if (bytes && body.len + PEER_HEAD_BYTES > max - *bytes) {
		c->refused_some = true;
		return ERR_BUSY;
	}
	struct queued *q = malloc(sizeof *q + body.len);
	if (!q)
		return ERR_NO_MEMORY;
	list_init(&q->link);
	q->type = type;
	q->body_bytes = body.len;
	q->len = body.len + PEER_HEAD_BYTES;
	if (body.len > 0)
		memcpy(q->body, body.at, body.len);
	put_in(c, q);
	return 0;
}

void conn_drop_queue(struct conn *c)
{
	for (struct list *node; (node = list_pop(&c->queue)) != NULL;)
		free(CONTAINER_OF(node, struct queued, link));
	c->queued_bytes = c->control_bytes = c->report_bytes = 0;
	c->refused_some = false;
}

static void tell_drained(struct conn *c)
{
	struct peers *p = c->peers;

	if (!c->refused_some || c->control_bytes > PEERS_CONTROL_MAX / 2 || c->report_bytes > PEERS_REPORT_MAX / 2)
		return;
	c->refused_some = false;
	if (!p->stopping)
		p->ops->drained(p->owner, c->peer->name, c->kind);
}

void conn_pump(struct conn *c)
{
	while (c->state == CONN_OPEN && !list_empty(&c->queue)) {
		struct queued *q = CONTAINER_OF(c->queue.next, struct queued, link);
		if (!may_leave(c, q->body_bytes))
			break;
		take_out(c, q);
		leave(c, q->type, view_of(q->body, q->body_bytes));
		free(q);
	}
	if (c->state == CONN_OPEN)
		tell_drained(c);
}

int peers_send(struct peers *p, struct view name, enum peer_type type, struct view body)
{
	const struct peer *peer = peers_find(p, name);
	struct conn *c = peer ? peer->links[PEER_LINK_CONTROL].open : NULL;

	INVARIANT(!peer_is_free(type));
	if (body.len > peer_body_max(type))
		return ERR_TOO_LARGE;
	if (!c || p->stopping)
		return ERR_CLOSED;
	if (type == PEER_VIEW)
		drop_old_view(c);
	if (!list_empty(&c->queue) || !may_leave(c, body.len))
		return enqueue(c, type, body);
	leave(c, type, body);
	return c->state == CONN_OPEN ? 0 : ERR_CLOSED;
}

/* --- heartbeats --- */

/* Without memory it says that it hears nobody. */
static void list_heard(struct peers *p, const struct peer *peer, struct peer_beat *b)
{
	struct view rest, name;

	buf_clear(&p->heard);
	p->ops->heard(p->owner, peer->name, &p->heard);
	b->heard = buf_error(&p->heard) ? VIEW("") : buf_view(&p->heard);
	for (rest = b->heard; peer_heard_next(&rest, &name);)
		b->heard_count++;
	INVARIANT(b->heard_count <= PEER_HEARD_MAX);
}

/* None while the kernel takes nothing: what waits there is a sign of life as good. */
void conn_beat(struct conn *c)
{
	struct peers *p = c->peers;
	struct peer *peer = c->peer;
	struct buf body = {0};
	uint64_t now_us = clock_lease_us();
	struct peer_beat b = {.sent_us = now_us,
			      .echo_us = peer->beat_sent_us,
			      .held_us = peer->beat_sent_us ? now_us - peer->beat_at_us : 0,
			      .epoch = p->ops->epoch(p->owner)};

	if (net_stream_full(&c->stream))
		return;
	if (c->kind == PEER_LINK_CONTROL)
		list_heard(p, peer, &b);
	else
		b = (struct peer_beat){.sent_us = now_us};
	peer_beat_encode(&b, &body);
	if (buf_error(&body))
		conn_shut(c, error_text(buf_error(&body)));
	else
		conn_put(c, PEER_BEAT, buf_view(&body));
	buf_fini(&body);
	c->first_beat_us = c->first_beat_us ? c->first_beat_us : now_us;
	c->last_beat_us = now_us;
}
