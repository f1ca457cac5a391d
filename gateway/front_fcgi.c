/* FastCGI 1.0 from the web server: several requests at once on one connection, management records, roles. */
#include "base/log.h"
#include "gateway/front.h"

/* It never becomes a request. */
static void refuse(struct front *f, uint16_t id, uint8_t protocol_status)
{
	struct metrics *m = &f->worker->metrics;

	metrics_add(&m->begun, 1);
	metrics_add(&m->ended[METRICS_FAILED], 1);
	metrics_add(&m->status[METRICS_STATUS_NONE], 1);
	front_refuse(f, id, protocol_status);
}

static void on_begin(struct front *f, const struct fcgi_event *ev)
{
	bool known = ev->role == FCGI_RESPONDER || ev->role == FCGI_AUTHORIZER || ev->role == FCGI_FILTER;
	bool keep = ev->flags & FCGI_KEEP_CONN;
	struct request *r;

	if (front_request(f, ev->id)) {
		front_close(f, "request id is in use");
		return;
	}
	f->used = true;
	/* One request without KEEP_CONN is enough to close the connection when all are done. */
	f->keep = keep && (f->keep || f->request_count == 0);
	/* On a connection that never runs out of requests the drain would have no end. */
	bool late = front_leaving(f) && f->request_count > 0;

	if (!known) {
		refuse(f, ev->id, FCGI_UNKNOWN_ROLE);
	} else if (late || f->request_count >= front_conf(f)->max_requests) {
		refuse(f, ev->id, FCGI_OVERLOADED);
	} else if (!(r = request_new(f, ev->id, ev->role, keep))) {
		refuse(f, ev->id, FCGI_OVERLOADED);
	} else {
		list_append(&f->requests, &r->link);
		f->request_count++;
		f->heads++;
	}
}

static void on_abort(struct front *f, const struct fcgi_event *ev)
{
	struct request *r = front_request(f, ev->id);

	if (!r)
		return;
	/* 5.4: an aborted request is answered with END_REQUEST all the same. */
	r->body[0].ended = r->body[1].ended = true;
	request_abort(r);
	front_refuse(f, ev->id, FCGI_REQUEST_COMPLETE);
}

/* Records of an id that is not active any more were under way when its answer left: they are nobody's. */
static void on_data(struct front *f, const struct fcgi_event *ev)
{
	struct request *r = front_request(f, ev->id);

	if (!r)
		return;
	if (ev->type == FCGI_PARAMS && r->state == REQUEST_HEAD)
		(void)request_head(r, ev->data);
	else if (ev->type == FCGI_PARAMS || r->state == REQUEST_HEAD)
		front_close(f, "records out of order");
	else
		request_body(r, ev->type == FCGI_DATA, ev->data);
}

static void on_stream_end(struct front *f, const struct fcgi_event *ev)
{
	struct request *r = front_request(f, ev->id);

	if (!r)
		return;
	if (ev->type == FCGI_PARAMS && r->state == REQUEST_HEAD)
		request_head_end(r);
	else if (ev->type == FCGI_PARAMS || r->state == REQUEST_HEAD)
		front_close(f, "records out of order");
	else
		request_body_end(r, ev->type == FCGI_DATA);
}

static void on_values(struct front *f, const struct fcgi_event *ev)
{
	buf_put(&f->values, ev->data);
	if (buf_error(&f->values))
		front_close(f, "GET_VALUES record is too large");
}

static void on_values_end(struct front *f)
{
	const struct conf_listen *c = front_conf(f);
	struct buf *out = net_stream_out(&f->stream);
	enum decode rc = fcgi_put_values_result(out, buf_view(&f->values), c->max_connections, c->max_requests, true);

	buf_fini(&f->values);
	if (rc != DECODE_OK)
		front_close(f, "GET_VALUES record is no list of pairs");
}

static void on_event(struct front *f, const struct fcgi_event *ev)
{
	switch (ev->kind) {
	case FCGI_EV_BEGIN:
		on_begin(f, ev);
		break;
	case FCGI_EV_ABORT:
		on_abort(f, ev);
		break;
	case FCGI_EV_DATA:
		on_data(f, ev);
		break;
	case FCGI_EV_STREAM_END:
		on_stream_end(f, ev);
		break;
	case FCGI_EV_VALUES:
		on_values(f, ev);
		break;
	case FCGI_EV_VALUES_END:
		on_values_end(f);
		break;
	case FCGI_EV_FOREIGN:
		if (ev->id == 0)
			fcgi_put_unknown_type(net_stream_out(&f->stream), ev->type);
		break;
	case FCGI_EV_END:
	case FCGI_EV_UNKNOWN_TYPE:
		break; /* the decoder lets neither pass on this side */
	}
}

void front_fcgi_read(struct front *f, struct view data)
{
	struct fcgi_event ev;
	enum decode rc;

	while (f->state == FRONT_OPEN && (rc = fcgi_next(&f->in.fcgi, &data, &ev)) != DECODE_NEED_MORE) {
		if (rc == DECODE_MALFORMED) {
			front_close(f, f->in.fcgi.reason);
			return;
		}
		on_event(f, &ev);
	}
}
