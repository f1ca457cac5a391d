/* A request and its backend. The rules of repeating are in exchange_failed(); doc/backends.md says why. */
#include "gateway/exchange.h"

#include "base/error.h"
#include "base/invariant.h"
#include "base/log.h"
#include "gateway/front.h"
#include "gateway/keeper.h"
#include "proto/cgi.h"

enum {
	JOIN_MAX = 16384,   /* an answer's head and up to so much body leave as one record */
	SAFE_MIN_MS = 1000, /* an end has so long to be stored, where lock-wait is shorter */
};

static const uint8_t stream_type[2] = {FCGI_STDIN, FCGI_DATA};

static const struct conn_events events;

/* --- to the backend --- */

static void drop_hold(struct request *r)
{
	r->held_all = false;
	net_buf_give(&r->worker->loop, &r->body[0].hold);
	net_buf_give(&r->worker->loop, &r->body[1].hold);
}

static bool sent_all(const struct request *r)
{
	return r->body[0].ended && r->body[1].ended;
}

/* What SCGI may be sent of `data`, whose last byte is the body's `upto`-th: no more than was announced. */
static struct view within_length(const struct request *r, struct view data, uint64_t upto)
{
	uint64_t before = upto - data.len;
	uint64_t room = r->facts.content_length > before ? r->facts.content_length - before : 0;

	return room < data.len ? view_of(data.at, (size_t)room) : data;
}

static void send_body(struct request *r, unsigned which, struct view data, uint64_t upto)
{
	if (r->conn->scgi)
		data = within_length(r, data, upto);
	if (data.len > 0)
		conn_body(r->conn, stream_type[which], data);
}

static void send_held(struct request *r)
{
	for (unsigned which = 0; which < 2; which++) {
		struct view held = buf_view(&r->body[which].hold);
		if (held.len > 0)
			send_body(r, which, held, held.len);
		if (r->body[which].ended && r->role != FCGI_AUTHORIZER && (which == 0 || r->role == FCGI_FILTER))
			conn_body_end(r->conn, stream_type[which], sent_all(r));
	}
	if (buf_len(&r->body[0].hold) + buf_len(&r->body[1].hold) > REQUEST_HOLD_MAX)
		drop_hold(r);
}

static int send_head(struct request *r)
{
	struct keeper_params more;
	struct params params = request_params(r);
	const struct conf_backend *b = &r->app->backends[r->conn->backend];

	r->keeper->params(r, &more);
	struct conn_request q = {
	    .role = r->role,
	    .params = &params,
	    .drop_prefix = more.drop_prefix,
	    .extra = more.extra,
	    .extra_count = more.extra_count,
	    .content_length = r->facts.content_length,
	    .keep_alive = b->keep_alive,
	};

	return conn_begin(r->conn, &q);
}

/* An SCGI application would wait for the rest for ever. */
static bool too_short(const struct request *r)
{
	return r->conn->scgi && r->body[0].ended && r->body_bytes < r->facts.content_length;
}

static void begin(struct request *r, struct conn *c)
{
	struct net_loop *loop = &r->worker->loop;

	pool_lend(c, &events, r);
	r->conn = c;
	request_set_state(r, REQUEST_RUN);
	if (too_short(r)) {
		request_fail(r, 400, "body is shorter than its length");
		return;
	}
	int err = send_head(r);
	if (err) {
		request_fail(r, err == ERR_MALFORMED ? 400 : 503, "request cannot be passed on");
		return;
	}
	send_held(r);
	request_unblock(r);
	r->active = net_now(loop);
	net_timer_start(loop, &r->timer, r->app->timeout_ms);
	if (net_stream_full(&r->front->stream))
		conn_pause(c);
}

static void refused(struct request *r, int err)
{
	if (err == ERR_FULL)
		request_fail(r, 503, "queue for backend connections is full");
	else if (err == ERR_NO_MEMORY)
		request_fail(r, 503, error_text(err));
	else if (err == ERR_STOPPED)
		request_fail(r, 503, "app is stopped");
	else if (err == ERR_DRAINED)
		request_fail(r, 503, "every backend is drained");
	else if (r->overloaded)
		request_fail(r, 503, "every backend is overloaded");
	else
		request_fail(r, 502, "no backend can be reached");
}

static void take(struct request *r)
{
	int err;

	request_set_state(r, REQUEST_CONN);
	net_timer_start(&r->worker->loop, &r->timer, r->app->queue_wait_ms);
	struct conn *c = pool_take(&r->ticket, &err);
	if (c)
		begin(r, c);
	else if (err)
		refused(r, err);
}

void exchange_start(struct request *r)
{
	size_t app = (size_t)(r->app - r->share->generation->conf->apps);

	pool_ticket_init(&r->ticket, r->share->pool, (uint16_t)app, exchange_ready);
	r->ticket.careful = !r->facts.idempotent;
	take(r);
}

void exchange_ready(struct pool_ticket *t, struct conn *c, int err)
{
	struct request *r = CONTAINER_OF(t, struct request, ticket);

	if (err == ERR_GONE) {
		request_ticket_back(r);
		return;
	}
	INVARIANT(r->state == REQUEST_CONN);
	if (c)
		begin(r, c);
	else
		refused(r, err);
}

void exchange_body(struct request *r, unsigned which, struct view data)
{
	struct buf *hold = &r->body[which].hold;

	r->active = net_now(&r->worker->loop);
	if (r->answer_done)
		return;
	send_body(r, which, data, r->body_bytes);
	if (!r->held_all)
		return;
	if (r->answer_begun || buf_len(hold) + data.len > REQUEST_HOLD_MAX) {
		drop_hold(r);
		return;
	}
	if (!hold->data)
		net_buf_take(&r->worker->loop, hold);
	buf_put(hold, data);
	if (buf_error(hold))
		drop_hold(r);
}

void exchange_body_end(struct request *r, unsigned which)
{
	if (r->answer_done)
		return;
	if (too_short(r)) {
		request_fail(r, 400, "body is shorter than its length");
		return;
	}
	conn_body_end(r->conn, stream_type[which], sent_all(r));
}

/* --- from the backend --- */

static struct conn *detach(struct request *r)
{
	struct conn *c = r->conn;

	r->conn = NULL;
	return c;
}

/* The backend did not do its part. */
static void fail_backend(struct request *r, unsigned status, const char *reason)
{
	if (r->conn)
		pool_release(detach(r), false);
	request_fail(r, status, reason);
}

/* The head cannot leave yet: the backend is not read meanwhile. `kept` is what goes on with the request, followed by
 * `body`; either may lie in r->answer, and `kept` in the scratch buffer. */
static void wait_for_stack(struct request *r, struct view kept, struct view body)
{
	struct net_loop *loop = &r->worker->loop;
	struct buf all = {.max_bytes = 0};
	bool again = r->answer_head > 0, safe = r->waits == REQUEST_WAITS_SAFE;
	uint64_t wait_ms = r->app->session.lock_wait_ms;

	net_buf_take(loop, &all);
	buf_put(&all, kept);
	buf_put(&all, body);
	net_buf_give(loop, &r->answer);
	r->answer = all;
	r->answer_head = kept.len;
	if (buf_error(&all)) {
		request_fail(r, 503, error_text(buf_error(&all)));
		return;
	}
	if (r->conn)
		conn_pause(r->conn);
	if (safe || !again)
		net_timer_start(loop, &r->timer, safe && wait_ms < SAFE_MIN_MS ? SAFE_MIN_MS : wait_ms);
}

static void put_some(struct request *r, struct view data)
{
	if (data.len > 0)
		front_put(r->front, r, data);
}

/* A piece of the answer goes to the client, as far as it may. */
static void put_answer(struct request *r, struct view data)
{
	if (data.len == 0)
		return;
	put_some(r, tail_release(&r->tail));
	put_some(r, tail_hold(&r->tail, data));
}

/* The application has said all: what was held back may go. */
static void finish(struct request *r, uint32_t app_status)
{
	put_some(r, tail_release(&r->tail));
	request_finish(r, app_status);
}

/* A body behind an answer that has none is left out, so that the head's last byte can be held. */
static void put_head(struct request *r, struct buf *head, struct view body)
{
	bool join = body.len <= JOIN_MAX && !r->tail.bare;

	r->head_sent = true;
	r->status = (uint8_t)metrics_status_class(buf_view(head));
	if (join)
		buf_put(head, body);
	put_answer(r, buf_view(head));
	if (!join && !r->tail.bare)
		put_answer(r, body);
}

/* The head is complete: what it says of the session is committed before any of it leaves. True: it is on its way. */
static bool answer_head(struct request *r, struct view head, struct view body)
{
	struct buf *out = &r->worker->scratch;
	const char *reason = NULL;

	buf_clear(out);
	unsigned status = r->keeper->answer(r, head, out, &reason);
	if ((!status || status == KEEPER_LATER) && buf_error(out)) {
		status = 503;
		reason = error_text(buf_error(out));
	}
	if (status == KEEPER_LATER) {
		r->status = (uint8_t)metrics_status_class(buf_view(out));
		wait_for_stack(r, r->waits == REQUEST_WAITS_ROOM ? head : buf_view(out), body);
		return false;
	}
	if (status == 502)
		fail_backend(r, status, reason);
	else if (status)
		request_fail(r, status, reason);
	if (status)
		return false;
	put_head(r, out, body);
	net_buf_give(&r->worker->loop, &r->answer);
	return true;
}

/* Bound on an answer's head: the state travels in it. */
static size_t head_max(const struct request *r)
{
	return (size_t)(r->app->max_header + (r->keeper->state_too_large ? r->app->session.max_size : 0));
}

/* Nothing is wrong with the backend: the application said too much. */
static void head_too_large(struct request *r, struct view head)
{
	bool state = r->keeper->state_too_large && r->keeper->state_too_large(r, head);

	pool_abandon(detach(r));
	if (state)
		request_fail(r, 413, KEEPER_STATE_TOO_LARGE);
	else
		request_fail(r, 502, "answer's head over max-header");
}

static void collect_head(struct request *r, struct view data)
{
	struct view all = data;
	size_t head_bytes;

	if (buf_len(&r->answer) > 0) {
		buf_put(&r->answer, data);
		all = buf_view(&r->answer);
	}
	if (buf_error(&r->answer)) {
		request_fail(r, 503, error_text(buf_error(&r->answer)));
		return;
	}
	if (cgi_head_find(all, r->answer_seen, &head_bytes) == DECODE_OK && head_bytes <= head_max(r)) {
		struct view head = view_take(&all, head_bytes);
		(void)answer_head(r, head, all);
		return;
	}
	if (all.len > head_max(r)) {
		head_too_large(r, all);
		return;
	}
	r->answer_seen = all.len;
	if (buf_len(&r->answer) == 0) {
		net_buf_take(&r->worker->loop, &r->answer);
		buf_put(&r->answer, data);
	}
}

/* What was on its way already when the backend was told to pause. */
static void collect_rest(struct request *r, struct view data)
{
	buf_put(&r->answer, data);
	if (buf_error(&r->answer))
		request_fail(r, 503, error_text(buf_error(&r->answer)));
}

static void on_out(void *owner, struct view data)
{
	struct request *r = owner;

	r->active = net_now(&r->worker->loop);
	if (!r->answer_begun) {
		r->answer_begun = true;
		drop_hold(r);
	}
	if (r->head_sent && !r->tail.bare)
		put_answer(r, data);
	else if (r->head_sent)
		return;
	else if (r->waits)
		collect_rest(r, data);
	else
		collect_head(r, data);
}

static void on_log(void *owner, struct view data)
{
	struct request *r = owner;

	r->active = net_now(&r->worker->loop);
	log_event(LOG_WARN, "app_stderr", LOG_S("app", r->app->name), LOG_V("text", data));
}

static void on_ended(void *owner, uint32_t app_status)
{
	struct request *r = owner;

	if (!r->head_sent && !r->waits) {
		fail_backend(r, 502, "answer ended before its head was complete");
		return;
	}
	struct conn *c = detach(r);
	if (r->waits) {
		r->answer_done = true;
		r->app_status = app_status;
		pool_release(c, true);
		return;
	}
	/* The session first: whoever waits for its lock is told before the connection is free for others. */
	r->keeper->close(r);
	pool_release(c, true);
	finish(r, app_status);
}

static bool connection_died(int err)
{
	return err == ERR_CLOSED || err == ERR_RESET || err == ERR_SYSTEM;
}

/* Repeated is only what can be sent again whole, of which no answer byte has come, and which has not run: because the
 * method may run twice, or because the backend has not seen a byte of it, or because it said so (OVERLOADED). */
static void exchange_failed(void *owner, int err)
{
	struct request *r = owner;
	bool may = r->held_all && !r->answer_begun &&
		   (r->facts.idempotent || conn_untouched(r->conn) || err == ERR_OVERLOADED);
	/* Malformed, too, where nothing was answered yet: a late answer to the request before. */
	bool stale =
	    r->conn->kept && !r->answer_begun && !r->repeated && (connection_died(err) || err == ERR_MALFORMED);
	uint16_t backend = r->conn->backend;

	if (err == ERR_ROLE && !r->answer_begun) {
		pool_abandon(detach(r));
		request_refuse(r, FCGI_UNKNOWN_ROLE);
		return;
	}
	r->overloaded = err == ERR_OVERLOADED;
	if (stale)
		pool_abandon(detach(r));
	else
		pool_release(detach(r), false);
	if (may && stale) {
		r->repeated = true;
		r->ticket.fresh = true;
		take(r);
	} else if (may && (connection_died(err) || r->overloaded)) {
		r->ticket.tried |= UINT64_C(1) << backend;
		take(r);
	} else if (r->overloaded) {
		request_fail(r, 503, "backend is overloaded");
	} else {
		request_fail(r, 502, err == ERR_MALFORMED ? "backend's answer is malformed" : error_text(err));
	}
}

static void on_full(void *owner)
{
	request_block(owner);
}

static void on_drained(void *owner)
{
	struct request *r = owner;

	r->active = net_now(&r->worker->loop);
	request_unblock(r);
}

static const struct conn_events events = {
    .out = on_out,
    .log = on_log,
    .ended = on_ended,
    .failed = exchange_failed,
    .full = on_full,
    .drained = on_drained,
};

/* Silence counts only while it is the backend's turn. */
static bool backends_turn(const struct request *r)
{
	bool body_comes = (!r->body[0].ended || !r->body[1].ended) && !r->blocking;

	return !body_comes && !net_stream_full(&r->front->stream);
}

void exchange_look(struct request *r)
{
	struct net_loop *loop = &r->worker->loop;

	if (r->waits == REQUEST_WAITS_ROOM) {
		request_fail(r, 503, KEEPER_NO_ROOM);
		return;
	}
	if (r->waits && r->keeper->wait_no_more(r)) {
		exchange_stored(r);
		return;
	}
	if (r->waits || !r->conn) {
		r->active = net_now(loop);
		net_timer_start(loop, &r->timer, r->app->timeout_ms);
		return;
	}
	/* Not while the client is to send or to read, and not while the backend takes the body, however slowly. */
	bool takes = r->conn->stream.taken_bytes != r->looked_bytes;
	r->looked_bytes = r->conn->stream.taken_bytes;
	if (takes || !backends_turn(r))
		r->active = net_now(loop);
	uint64_t silent = instant_since_ms(net_now(loop), r->active);
	if (silent >= r->app->timeout_ms)
		fail_backend(r, 504, "backend is silent for timeout");
	else
		net_timer_start(loop, &r->timer, r->app->timeout_ms - silent);
}

void exchange_stored(struct request *r)
{
	uint8_t waited = r->waits;
	struct view all = buf_view(&r->answer);

	r->waits = REQUEST_WAITS_NOT;
	if (waited == REQUEST_WAITS_ROOM) {
		struct view head = view_take(&all, r->answer_head);
		if (!answer_head(r, head, all))
			return;
	} else {
		r->head_sent = true;
		put_answer(r, all);
		net_buf_give(&r->worker->loop, &r->answer);
	}
	r->active = net_now(&r->worker->loop);
	net_timer_start(&r->worker->loop, &r->timer, r->app->timeout_ms);
	if (r->answer_done)
		finish(r, r->app_status);
	else if (!net_stream_full(&r->front->stream))
		conn_resume(r->conn);
}

bool exchange_give_up(struct request *r)
{
	if (r->conn)
		pool_abandon(detach(r));
	if (r->state != REQUEST_CONN)
		return true;
	return pool_cancel(&r->ticket);
}
