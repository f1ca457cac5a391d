/* SCGI from the web server: one request a connection, the end of the answer is the end of the connection. */
#include "base/error.h"
#include "gateway/front.h"

static struct request *the_request(struct front *f)
{
	return list_empty(&f->requests) ? NULL : CONTAINER_OF(f->requests.next, struct request, link);
}

static struct request *begin(struct front *f)
{
	struct request *r = request_new(f, 1, FCGI_RESPONDER, false);

	if (!r) {
		front_close(f, error_text(ERR_NO_MEMORY));
		return NULL;
	}
	list_append(&f->requests, &r->link);
	f->request_count++;
	f->heads++;
	f->used = true;
	return r;
}

/* The header netstring; true when it is complete and the request goes on. */
static bool read_header(struct front *f, struct request *r, struct view *data)
{
	struct scgi_decoder *d = &f->in.scgi;
	enum decode rc = scgi_feed(d, data, &r->head);
	const char *reason;

	if (rc == DECODE_NEED_MORE)
		return false;
	if (rc == DECODE_MALFORMED && d->too_large) {
		request_fail(r, 431, "variables over max-params");
		return false;
	}
	if (rc == DECODE_MALFORMED) {
		front_close(f, d->reason);
		return false;
	}
	struct params params = request_params(r);
	uint64_t length;
	if (!params_check(&params, &reason) || !scgi_check(params.raw, &length, &reason)) {
		front_close(f, reason);
		return false;
	}
	request_head_end(r);
	return the_request(f) == r;
}

/* What comes after CONTENT_LENGTH bytes belongs to nobody. */
static void read_body(struct request *r, struct view data)
{
	uint64_t left = r->facts.content_length - r->body_bytes;

	if (data.len > left)
		data.len = (size_t)left;
	bool last = data.len == left;
	struct front *f = r->front;
	if (data.len > 0)
		request_body(r, 0, data);
	if (last && the_request(f) == r)
		request_body_end(r, 0);
}

void front_scgi_read(struct front *f, struct view data)
{
	struct request *r = the_request(f);

	if (!r && !f->used)
		r = begin(f);
	if (!r)
		return;
	if (r->state == REQUEST_HEAD && !read_header(f, r, &data))
		return;
	if (!r->body[0].ended)
		read_body(r, data);
}
