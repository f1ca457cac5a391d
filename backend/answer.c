/* A backend's bytes are not trusted: what does not fit the protocol fails the exchange, and nothing else. */
#include "backend/answer.h"

#include "base/error.h"
#include "base/invariant.h"

/* FastCGI 1.0, 5.5: why the application ended the request. */
static int end_error(uint8_t protocol_status)
{
	switch (protocol_status) {
	case FCGI_REQUEST_COMPLETE:
		return 0;
	case FCGI_OVERLOADED:
	case FCGI_CANT_MPX_CONN:
		return ERR_OVERLOADED;
	case FCGI_UNKNOWN_ROLE:
		return ERR_ROLE;
	default:
		return ERR_MALFORMED;
	}
}

static void on_event(struct conn *c, const struct fcgi_event *ev)
{
	if (ev->kind == FCGI_EV_END)
		c->answered = true;
	else if (ev->kind == FCGI_EV_DATA && ev->type == FCGI_STDOUT)
		c->events->out(c->owner, ev->data);
	else if (ev->kind == FCGI_EV_DATA && ev->type == FCGI_STDERR)
		c->events->log(c->owner, ev->data);
	/* The ends of streams say nothing that END_REQUEST does not; management records were not asked for. */
}

static void end_exchange(struct conn *c, const struct fcgi_event *end)
{
	int err = end_error(end->protocol_status);

	if (err)
		c->events->failed(c->owner, err);
	else
		c->events->ended(c->owner, end->app_status);
}

/* The owner may let the connection go in any event; then its state is not BUSY any more. */
static void feed_fcgi(struct conn *c, struct view data)
{
	struct fcgi_event ev, end;
	enum decode rc = DECODE_OK;

	while (c->state == CONN_BUSY && !c->answered) {
		rc = fcgi_next(&c->decoder, &data, &ev);
		if (rc == DECODE_NEED_MORE)
			return;
		if (rc == DECODE_MALFORMED) {
			c->events->failed(c->owner, ERR_MALFORMED);
			return;
		}
		if (ev.id != c->id && ev.id != 0) {
			c->events->failed(c->owner, ERR_MALFORMED); /* an answer to a question that was not put */
			return;
		}
		on_event(c, &ev);
	}
	if (c->state != CONN_BUSY)
		return;
	/* The padding of END_REQUEST may follow, and nothing else. */
	end = ev;
	c->junk = fcgi_next(&c->decoder, &data, &ev) != DECODE_NEED_MORE;
	end_exchange(c, &end);
}

void answer_feed(struct conn *c, struct view data)
{
	INVARIANT(c->state == CONN_BUSY);
	c->spoke = true;
	if (c->scgi)
		c->events->out(c->owner, data);
	else
		feed_fcgi(c, data);
}

void answer_eof(struct conn *c, int err)
{
	INVARIANT(c->state == CONN_BUSY);
	if (c->scgi && c->spoke && err == ERR_CLOSED) {
		c->answered = true;
		c->events->ended(c->owner, 0);
	} else {
		c->events->failed(c->owner, err);
	}
}
