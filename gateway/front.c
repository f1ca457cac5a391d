/* A front connection's life: bytes, time limits, ending. The protocols are in front_fcgi.c and front_scgi.c. */
#include "gateway/front.h"

#include "base/error.h"
#include "base/invariant.h"
#include "base/log.h"
#include "gateway/share.h"

#include <stdlib.h>
#include <unistd.h>

static const struct net_stream_ops front_ops;

static void on_timer(struct net_timer *timer);

static struct net_loop *loop_of(const struct front *f)
{
	return &f->worker->loop;
}

static bool is_fcgi(const struct front *f)
{
	return f->protocol == CONF_FASTCGI;
}

/* --- states --- */

/* The one place where a front's state and its membership in the worker's list change. */
static void front_set_state(struct front *f, enum front_state state)
{
	INVARIANT(f->state < state || (f->state == FRONT_OPEN && state == FRONT_OPEN));
	f->state = (uint8_t)state;
	if (state == FRONT_CLOSED) {
		list_remove(&f->link);
		net_timer_stop(loop_of(f), &f->timer);
		net_stream_close(&f->stream);
	}
}

static void abort_requests(struct front *f)
{
	while (!list_empty(&f->requests))
		request_abort(CONTAINER_OF(f->requests.next, struct request, link));
}

void front_close(struct front *f, const char *reason)
{
	if (f->state == FRONT_CLOSED)
		return;
	if (reason)
		log_event(LOG_WARN, "front_closed", LOG_S("listener", front_conf(f)->address.text),
			  LOG_S("reason", reason));
	abort_requests(f);
	front_set_state(f, FRONT_CLOSED);
}

/* All output is with the kernel. Closing while input is unread could reset the connection and destroy the answer on its
 * way, so then only the sending side is closed, and the rest of the input is thrown away for a while. */
static void end_now(struct front *f)
{
	if (!f->unread) {
		front_set_state(f, FRONT_CLOSED);
		return;
	}
	net_stream_shutdown(&f->stream);
	front_set_state(f, FRONT_LINGERING);
	net_stream_read_start(&f->stream);
	net_timer_start(loop_of(f), &f->timer, FRONT_LINGER_MS);
}

/* No more requests: what is written leaves, then it closes. */
static void front_finish(struct front *f)
{
	if (f->state != FRONT_OPEN)
		return;
	front_set_state(f, FRONT_ENDING);
	net_stream_flush(&f->stream);
	if (f->state == FRONT_ENDING && !net_stream_full(&f->stream))
		end_now(f);
}

/* A request has left: what follows for the connection. */
static void front_settle(struct front *f)
{
	uint64_t idle_ms = front_conf(f)->idle_timeout_ms;

	if (f->request_count > 0)
		return;
	f->last_read = net_now(loop_of(f));
	if (!f->keep || front_leaving(f))
		front_finish(f);
	else if (idle_ms > 0)
		net_timer_start_before(loop_of(f), &f->timer, idle_ms);
}

void front_drain(struct front *f)
{
	bool idle = f->request_count == 0 && (!is_fcgi(f) || fcgi_decoder_idle(&f->in.fcgi));

	if (idle && f->used)
		front_finish(f);
	else if (idle)
		net_timer_start_before(loop_of(f), &f->timer, FRONT_GRACE_MS);
}

/* --- for requests --- */

void front_put(struct front *f, const struct request *r, struct view data)
{
	struct buf *out = net_stream_out(&f->stream);

	if (!r->own)
		metrics_add(&f->worker->metrics.out_bytes, data.len);
	if (is_fcgi(f))
		fcgi_put_stream(out, FCGI_STDOUT, r->id, data);
	else
		buf_put(out, data);
}

void front_end(struct front *f, const struct request *r, uint32_t app_status, uint8_t protocol_status)
{
	struct buf *out = net_stream_out(&f->stream);

	if (is_fcgi(f)) {
		if (protocol_status == FCGI_REQUEST_COMPLETE)
			fcgi_put_stream_end(out, FCGI_STDOUT, r->id);
		fcgi_put_end(out, r->id, app_status, protocol_status);
	}
	front_settle(f);
}

void front_refuse(struct front *f, uint16_t id, uint8_t protocol_status)
{
	fcgi_put_end(net_stream_out(&f->stream), id, 0, protocol_status);
	front_settle(f);
}

void front_cut(struct front *f, const struct request *r)
{
	/* To close the connection would cut the others too. A status other than COMPLETE is what is left to say so. */
	if (is_fcgi(f) && f->request_count > 0)
		fcgi_put_end(net_stream_out(&f->stream), r->id, 1, FCGI_OVERLOADED);
	else
		front_finish(f);
}

void front_block(struct front *f)
{
	if (f->blockers++ == 0)
		net_stream_read_stop(&f->stream);
}

void front_unblock(struct front *f)
{
	INVARIANT(f->blockers > 0);
	if (--f->blockers > 0 || f->state != FRONT_OPEN)
		return;
	f->last_read = f->unblocked = net_now(loop_of(f));
	net_stream_read_start(&f->stream);
}

struct request *front_request(struct front *f, uint16_t id)
{
	LIST_EACH (node, &f->requests) {
		struct request *r = CONTAINER_OF(node, struct request, link);
		if (r->id == id)
			return r;
	}
	return NULL;
}

/* --- time --- */

/* Since when the client owes the request something; false: nothing. */
static bool owes(const struct request *r, struct instant *since)
{
	if (r->state == REQUEST_HEAD)
		*since = r->since;
	else if (!r->body[0].ended || !r->body[1].ended)
		*since = r->body_at;
	else
		return false;
	return true;
}

/* A head has one deadline for all of it; a body must not be silent for so long. A client that keeps one request waiting
 * loses that one; the others on its connection go on. */
static void look_requests(struct front *f)
{
	uint64_t limit = front_conf(f)->read_timeout_ms;
	struct instant now = net_now(loop_of(f));
	struct instant since;
	uint64_t next = limit;

	LIST_EACH (node, &f->requests) {
		struct request *r = CONTAINER_OF(node, struct request, link);
		/* While weir does not read, nothing can come. */
		if (f->blockers > 0 || !owes(r, &since))
			continue;
		uint64_t gone = instant_since_ms(now, instant_before(since, f->unblocked) ? f->unblocked : since);
		if (gone < limit) {
			next = limit - gone < next ? limit - gone : next;
		} else if (f->request_count == 1) {
			front_close(f, r->state == REQUEST_HEAD ? "no complete request in read-timeout"
								: "no body in read-timeout");
			return;
		} else {
			request_fail(r, 408, "client is silent for read-timeout");
		}
	}
	net_timer_start_before(loop_of(f), &f->timer, next);
}

/* Closes if `limit_ms` have gone by since `since`; looks again when they will have. */
static void look_since(struct front *f, struct instant since, uint64_t limit_ms, const char *reason)
{
	uint64_t gone = instant_since_ms(net_now(loop_of(f)), since);

	if (gone >= limit_ms)
		front_close(f, reason);
	else
		net_timer_start(loop_of(f), &f->timer, limit_ms - gone);
}

static void look_output(struct front *f)
{
	if (f->stream.taken_bytes == f->looked_bytes) {
		front_close(f, "web server takes no output for write-timeout");
		return;
	}
	f->looked_bytes = f->stream.taken_bytes;
	net_timer_start(loop_of(f), &f->timer, front_conf(f)->write_timeout_ms);
}

static void on_timer(struct net_timer *timer)
{
	struct front *f = CONTAINER_OF(timer, struct front, timer);
	const struct conf_listen *c = front_conf(f);

	bool late = front_leaving(f) && !f->used;

	if (f->state == FRONT_LINGERING || late)
		front_close(f, NULL);
	else if (net_stream_full(&f->stream))
		look_output(f);
	else if (f->request_count > 0)
		look_requests(f);
	else if (f->cut || !f->used)
		look_since(f, f->head_since, c->read_timeout_ms, "no complete request in read-timeout");
	else if (c->idle_timeout_ms > 0)
		look_since(f, f->last_read, c->idle_timeout_ms, NULL);
}

/* After each piece of input: the time limit that goes with what is under way now. */
static void note_progress(struct front *f)
{
	bool cut = is_fcgi(f) && !fcgi_decoder_idle(&f->in.fcgi);
	uint64_t limit = front_conf(f)->read_timeout_ms;

	f->last_read = net_now(loop_of(f));
	if (cut && !f->cut)
		f->head_since = f->last_read;
	f->cut = cut;
	if (f->request_count == 0 && !cut)
		limit = front_conf(f)->idle_timeout_ms;
	if (limit > 0)
		net_timer_start_before(loop_of(f), &f->timer, limit);
}

/* The time that goes with what it waits for: the timer looks again no later than after the new limit. */
static void look_sooner(struct front *f)
{
	const struct conf_listen *c = front_conf(f);
	uint64_t limit = c->read_timeout_ms;

	if (f->state != FRONT_OPEN)
		return;
	if (net_stream_full(&f->stream))
		limit = c->write_timeout_ms;
	else if (f->request_count == 0 && !f->cut && f->used)
		limit = c->idle_timeout_ms;
	if (limit > 0)
		net_timer_start_before(loop_of(f), &f->timer, limit);
}

void front_switch(struct front *f, struct generation_share *old)
{
	const struct conf_listen *c = f->share ? NULL : generation_listen(f->worker->share->generation, f->listener);

	if (c) {
		f->conf = c;
		look_sooner(f);
	} else if (!f->share) {
		f->share = share_use(old);
		front_drain(f);
	}
}

/* --- events of the stream --- */

static void on_read(struct net_stream *s, struct view data)
{
	struct front *f = CONTAINER_OF(s, struct front, stream);

	if (f->state != FRONT_OPEN)
		return;
	if (is_fcgi(f))
		front_fcgi_read(f, data);
	else
		front_scgi_read(f, data);
	if (f->state != FRONT_OPEN)
		return;
	note_progress(f);
	/* Answers of weir's own have no backend that could be paused. What the kernel takes at once needs no choking:
	 * only a full stream will say when it has drained. */
	if (net_stream_backlog(&f->stream) > FRONT_BACKLOG_MAX)
		net_stream_flush(&f->stream);
	if (f->state == FRONT_OPEN && !f->choked && net_stream_full(&f->stream) &&
	    net_stream_backlog(&f->stream) > FRONT_BACKLOG_MAX) {
		f->choked = true;
		front_block(f);
	}
}

/* The web server has gone. A clean end between requests is no news. */
static void on_ended(struct net_stream *s, int err)
{
	struct front *f = CONTAINER_OF(s, struct front, stream);
	bool cut = is_fcgi(f) && f->state == FRONT_OPEN && !fcgi_decoder_idle(&f->in.fcgi);

	if (cut || f->heads > 0)
		front_close(f, "web server closed in the middle of a request's head");
	else if (err != ERR_CLOSED && err != ERR_RESET)
		front_close(f, error_text(err));
	else
		front_close(f, NULL);
}

static void on_full(struct net_stream *s)
{
	struct front *f = CONTAINER_OF(s, struct front, stream);

	f->looked_bytes = f->stream.taken_bytes;
	net_timer_start_before(loop_of(f), &f->timer, front_conf(f)->write_timeout_ms);
	LIST_EACH (node, &f->requests)
		request_hold_answer(CONTAINER_OF(node, struct request, link));
}

static void on_drained(struct net_stream *s)
{
	struct front *f = CONTAINER_OF(s, struct front, stream);

	if (f->state == FRONT_ENDING) {
		end_now(f);
		return;
	}
	if (f->choked) {
		f->choked = false;
		front_unblock(f);
	}
	LIST_EACH (node, &f->requests)
		request_resume_answer(CONTAINER_OF(node, struct request, link));
}

static void front_free(struct front *f)
{
	struct worker *w = f->worker;

	atomic_fetch_sub(&f->listener->connections, 1);
	atomic_fetch_sub(&w->front_count, 1);
	if (f->share)
		share_release(f->share);
	buf_fini(&f->values);
	free(f);
	worker_look_quiet(w);
}

static void on_closed(struct net_stream *s)
{
	front_free(CONTAINER_OF(s, struct front, stream));
}

static const struct net_stream_ops front_ops = {
    .read = on_read,
    .ended = on_ended,
    .full = on_full,
    .drained = on_drained,
    .closed = on_closed,
};

static void decoder_init(struct front *f)
{
	if (is_fcgi(f))
		fcgi_decoder_init(&f->in.fcgi, FCGI_SERVER);
	else
		scgi_decoder_init(&f->in.scgi, (uint32_t)front_conf(f)->max_params);
}

void front_new(struct worker *w, struct listener *l, int fd)
{
	struct front *f = calloc(1, sizeof *f);

	if (!f) {
		atomic_fetch_sub(&l->connections, 1);
		atomic_fetch_sub(&w->front_count, 1);
		close(fd);
		worker_look_quiet(w);
		return;
	}
	f->worker = w;
	f->listener = l;
	f->conf = generation_listen(w->share->generation, l);
	INVARIANT(f->conf != NULL);
	f->protocol = f->conf->protocol;
	list_init(&f->requests);
	buf_init(&f->values, FRONT_VALUES_MAX);
	net_timer_init(&f->timer, on_timer);
	decoder_init(f);
	list_init(&f->link);
	if (net_stream_open(&f->stream, &w->loop, &front_ops, fd, l->address.is_unix) != 0) {
		front_free(f);
		return;
	}
	list_append(&w->fronts, &f->link);
	f->head_since = f->last_read = net_now(&w->loop);
	net_timer_start(&w->loop, &f->timer, f->conf->read_timeout_ms);
	net_stream_read_start(&f->stream);
	/* It was accepted before the worker was told to stop. */
	if (w->closing)
		front_close(f, NULL);
	else if (w->draining)
		front_drain(f);
}
