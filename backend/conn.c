/* The client side of FastCGI and SCGI on one connection. Depends on net/ and proto/. */
#include "backend/conn.h"

#include "base/error.h"
#include "base/invariant.h"

int conn_begin(struct conn *c, const struct conn_request *r)
{
	struct buf *out = net_stream_out(&c->stream);

	INVARIANT(c->state == CONN_BUSY);
	net_stream_mark(&c->stream);
	c->id = c->id == 1 ? 2 : 1;
	c->sent_all = r->role == FCGI_AUTHORIZER; /* 6.3: it has no body */
	c->spoke = false;
	c->answered = false;
	c->junk = false;
	if (c->scgi) {
		params_put_scgi(out, r->params, r->content_length, r->drop_prefix, r->extra, r->extra_count);
	} else {
		fcgi_put_begin(out, c->id, r->role, r->keep_alive ? FCGI_KEEP_CONN : 0);
		params_put_fcgi(out, c->id, r->params, r->drop_prefix, r->extra, r->extra_count);
	}
	return buf_error(out);
}

void conn_body(struct conn *c, uint8_t type, struct view data)
{
	struct buf *out = net_stream_out(&c->stream);

	if (c->scgi)
		buf_put(out, data);
	else
		fcgi_put_stream(out, type, c->id, data);
}

void conn_body_end(struct conn *c, uint8_t type, bool last)
{
	if (!c->scgi)
		fcgi_put_stream_end(net_stream_out(&c->stream), type, c->id);
	c->sent_all = last;
}

void conn_pause(struct conn *c)
{
	net_stream_read_stop(&c->stream);
}

void conn_resume(struct conn *c)
{
	net_stream_read_start(&c->stream);
}

bool conn_reusable(const struct conn *c)
{
	return !c->scgi && c->answered && c->sent_all && !c->junk && !c->stream.ended && !c->stream.deaf &&
	       !net_stream_full(&c->stream) && fcgi_decoder_idle(&c->decoder);
}
