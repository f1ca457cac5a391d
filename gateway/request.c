/* A request's states, from its variables to its end. What happens with a backend is in exchange.c, what happens with a
 * session behind keeper.h. */
#include "gateway/request.h"

#include "base/error.h"
#include "base/invariant.h"
#include "base/log.h"
#include "gateway/exchange.h"
#include "gateway/fence.h"
#include "gateway/front.h"
#include "gateway/keeper.h"
#include "gateway/route.h"
#include "gateway/share.h"
#include "gateway/status.h"
#include "proto/cgi.h"

#include <stdlib.h>

enum { RETRY_AFTER_S = 1 };

static void on_timer(struct net_timer *timer);
static void on_grant(struct mail *mail);
static void on_stored(struct mail *mail);
static void stored(struct stack_wait *wait);
static void granted(struct sess_waiter *waiter);

/* --- memory --- */

static struct request *request_alloc(struct worker *w)
{
	struct list *spare = list_pop(&w->spare_requests);

	if (!spare)
		return calloc(1, sizeof(struct request));
	w->spare_request_count--;
	struct request *r = CONTAINER_OF(spare, struct request, link);
	memset(r, 0, sizeof *r);
	return r;
}

struct request *request_new(struct front *f, uint16_t id, uint16_t role, bool keep)
{
	struct request *r = request_alloc(f->worker);

	if (!r)
		return NULL;
	list_init(&r->link);
	list_init(&r->grant.link);
	list_init(&r->waiter.link);
	r->worker = f->worker;
	r->front = f;
	r->share = share_use(f->worker->share);
	r->keeper = &keeper_none;
	r->id = id;
	r->role = role;
	r->keep = keep;
	r->held_all = true;
	r->since = net_now(&f->worker->loop);
	r->began_us = clock_us();
	r->body[0].ended = role == FCGI_AUTHORIZER;
	r->body[1].ended = role != FCGI_FILTER;
	r->grant.deliver = on_grant;
	r->waiter.granted = granted;
	list_init(&r->stored.link);
	list_init(&r->store_wait.link);
	r->stored.deliver = on_stored;
	r->store_wait.done = stored;
	net_timer_init(&r->timer, on_timer);
	net_buf_take(&r->worker->loop, &r->head);
	return r;
}

static bool awaits_mail(const struct request *r)
{
	return r->awaits_grant || r->awaits_store || r->awaits_ticket;
}

void request_bury(struct request *r)
{
	struct worker *w = r->worker;

	INVARIANT(r->state == REQUEST_GONE);
	if (awaits_mail(r))
		return;
	INVARIANT(r->adopted == NULL);
	sess_state_unref(r->snapshot.state);
	net_buf_give(&w->loop, &r->head);
	net_buf_give(&w->loop, &r->answer);
	net_buf_give(&w->loop, &r->body[0].hold);
	net_buf_give(&w->loop, &r->body[1].hold);
	share_release(r->share);
	if (w->spare_request_count < REQUEST_SPARE_MAX) {
		list_append(&w->spare_requests, &r->link);
		w->spare_request_count++;
	} else {
		free(r);
	}
}

void request_free_spares(struct worker *w)
{
	struct list *node;

	while ((node = list_pop(&w->spare_requests)))
		free(CONTAINER_OF(node, struct request, link));
	w->spare_request_count = 0;
}

/* A mail that a zombie waited for has arrived. */
static void zombie_mail(struct request *r)
{
	if (!awaits_mail(r)) {
		r->worker->zombies--;
		worker_look_quiet(r->worker);
	}
	request_bury(r);
}

/* --- states --- */

void request_set_state(struct request *r, enum request_state to)
{
#define TO(state) (1u << REQUEST_##state)
	static const unsigned allowed[] = {
	    [REQUEST_HEAD] = TO(LENGTH) | TO(GONE), [REQUEST_LENGTH] = TO(LOCK) | TO(CONN) | TO(GONE),
	    [REQUEST_LOCK] = TO(CONN) | TO(GONE),   [REQUEST_CONN] = TO(RUN) | TO(CONN) | TO(GONE),
	    [REQUEST_RUN] = TO(CONN) | TO(GONE),    [REQUEST_GONE] = 0,
	};
#undef TO

	INVARIANT(allowed[r->state] & (1u << to));
	INVARIANT(to != REQUEST_RUN || r->conn);
	INVARIANT(to != REQUEST_CONN || !r->conn);
	r->state = (uint8_t)to;
}

/* --- the end --- */

/* Lets everything go but the memory and the front. */
static void release(struct request *r)
{
	net_timer_stop(&r->worker->loop, &r->timer);
	r->keeper->close(r);
	r->awaits_ticket = !exchange_give_up(r);
	if (awaits_mail(r))
		r->worker->zombies++;
}

void request_unblock(struct request *r)
{
	if (r->blocking) {
		r->blocking = false;
		front_unblock(r->front);
	}
}

static void leave(struct request *r)
{
	struct front *f = r->front;

	request_unblock(r);
	list_remove(&r->link);
	f->request_count--;
	if (r->state == REQUEST_HEAD)
		f->heads--;
	if (!r->body[0].ended || !r->body[1].ended)
		f->unread = true;
	request_set_state(r, REQUEST_GONE);
}

/* To be called once, before it leaves its state. */
static void count_end(struct request *r, enum metrics_end how)
{
	struct metrics *m = &r->worker->metrics;

	if (r->own)
		return;
	if (r->state == REQUEST_HEAD)
		metrics_add(&m->begun, 1);
	metrics_add(&m->ended[how], 1);
	metrics_add(&m->in_bytes, r->body_bytes);
	if (how == METRICS_OK)
		metrics_latency(m, clock_us() - r->began_us);
	if (how != METRICS_ABORTED)
		metrics_add(&m->status[r->status], 1);
}

void request_abort(struct request *r)
{
	count_end(r, METRICS_ABORTED);
	release(r);
	leave(r);
	r->front = NULL;
	request_bury(r);
}

/* The query may hold what is nobody's business. */
static struct view uri_path(const struct request *r)
{
	struct view uri = r->facts.uri;
	const uint8_t *mark = uri.len ? memchr(uri.at, '?', uri.len) : NULL;

	return mark ? view_of(uri.at, (size_t)(mark - uri.at)) : uri;
}

static void log_failure(const struct request *r, unsigned status, const char *reason)
{
	log_event(status >= 500 ? LOG_WARN : LOG_INFO, "request_failed", LOG_S("app", r->app ? r->app->name : "-"),
		  LOG_I("status", status), LOG_S("reason", reason), LOG_V("method", r->facts.method),
		  LOG_V("path", uri_path(r)));
}

void request_fail(struct request *r, unsigned status, const char *reason)
{
	struct front *f = r->front;
	struct buf *scratch = &r->worker->scratch;

	log_failure(r, status, reason);
	r->status = r->head_sent ? METRICS_STATUS_NONE : (uint8_t)(status / 100);
	count_end(r, METRICS_FAILED);
	release(r);
	leave(r);
	if (r->head_sent) {
		front_cut(f, r);
	} else {
		buf_clear(scratch);
		cgi_put_answer(scratch, status, status == 503 ? RETRY_AFTER_S : 0);
		front_put(f, r, buf_view(scratch));
		front_end(f, r, 0, FCGI_REQUEST_COMPLETE);
	}
	r->front = NULL;
	request_bury(r);
}

/* The lock is free before the client can know that the answer is complete. */
static void end(struct request *r, uint32_t app_status, uint8_t protocol_status)
{
	struct front *f = r->front;

	release(r);
	leave(r);
	front_end(f, r, app_status, protocol_status);
	r->front = NULL;
	request_bury(r);
}

void request_refuse(struct request *r, uint8_t protocol_status)
{
	r->status = METRICS_STATUS_NONE;
	count_end(r, METRICS_FAILED);
	end(r, 0, protocol_status);
}

void request_finish(struct request *r, uint32_t app_status)
{
	count_end(r, METRICS_OK);
	end(r, app_status, FCGI_REQUEST_COMPLETE);
}

/* --- the way to the backend --- */

struct params request_params(const struct request *r)
{
	enum wire wire = r->front->protocol == CONF_SCGI ? WIRE_SCGI : WIRE_FCGI;

	return (struct params){.wire = wire, .raw = buf_view(&r->head)};
}

static void session_opened(struct request *r, enum keeper_open open)
{
	if (open == KEEPER_FENCED)
		metrics_add(&r->worker->metrics.fenced_requests, 1);
	if (open == KEEPER_UNAVAILABLE || open == KEEPER_FENCED) {
		request_fail(r, 503, open == KEEPER_FENCED ? FENCE_REASON : "session cannot be looked up");
		return;
	}
	r->keeper->count(r);
	exchange_start(r);
}

/* It needs a session, and this node may serve none now. */
static bool is_fenced(const struct request *r)
{
	return !r->stateless && r->keeper != &keeper_none && fence_is_up(r->worker->gateway);
}

static void open_session(struct request *r)
{
	enum keeper_open open = KEEPER_READY;

	if (is_fenced(r))
		open = KEEPER_FENCED;
	else if (!r->stateless)
		open = r->keeper->open(r);

	if (open == KEEPER_WAIT) {
		request_set_state(r, REQUEST_LOCK);
		net_timer_start(&r->worker->loop, &r->timer, r->app->session.lock_wait_ms);
		return;
	}
	session_opened(r, open);
}

static bool has_scgi_backend(const struct conf_app *app)
{
	for (size_t i = 0; i < app->backend_count; i++) {
		if (app->backends[i].protocol == CONF_SCGI)
			return true;
	}
	return false;
}

static bool is_stopped(const struct request *r)
{
	const struct generation *g = r->share->generation;

	return pool_app_stopped(g->pools, (size_t)(r->app - g->conf->apps));
}

/* Which app, and what its configuration says of the path. False: no app. */
static bool find_app(struct request *r, struct view path)
{
	const struct conf *conf = r->share->generation->conf;
	int app = route_app(conf, facts_host(&r->facts), path);

	if (app < 0)
		return false;
	r->app = &conf->apps[app];
	r->keeper = keeper_of(r->app->session.mode);
	r->stateless = route_path_in(&r->app->session.stateless, path);
	r->read_only = route_path_in(&r->app->session.read_only, path);
	return true;
}

/* An app may answer it; if not it is over. */
static bool head_is_good(struct request *r, struct view path)
{
	uint64_t max_body = front_conf(r->front)->max_body;

	if (r->facts.bad_length)
		request_fail(r, 400, "content length is no number");
	else if (max_body && r->facts.content_length > max_body)
		request_fail(r, 413, "body over max-body");
	else if (!find_app(r, path))
		request_fail(r, 404, "no app matches");
	else if (is_stopped(r))
		request_fail(r, 503, "app is stopped");
	else if (r->role != FCGI_RESPONDER && has_scgi_backend(r->app))
		request_refuse(r, FCGI_UNKNOWN_ROLE);
	else
		return true;
	return false;
}

void request_head_end(struct request *r)
{
	struct front *f = r->front;
	struct buf *path = &r->worker->path;
	struct params params = request_params(r);

	if (buf_error(&r->head) || !facts_gather(&r->facts, &params)) {
		front_close(f, buf_error(&r->head) ? error_text(buf_error(&r->head)) : "variables end inside a pair");
		return;
	}
	f->heads--;
	request_set_state(r, REQUEST_LENGTH);
	r->body_at = net_now(&r->worker->loop);
	facts_path(&r->facts, path);
	if (status_wants(r, buf_view(path))) {
		status_answer(r);
		return;
	}
	metrics_add(&r->worker->metrics.begun, 1);
	if (head_is_good(r, buf_view(path)) && (!has_scgi_backend(r->app) || r->facts.has_length))
		open_session(r);
	/* Else the body is collected first: SCGI says its length before it. */
}

bool request_head(struct request *r, struct view data)
{
	if (buf_len(&r->head) + data.len > front_conf(r->front)->max_params) {
		request_fail(r, 431, "variables over max-params");
		return false;
	}
	buf_put(&r->head, data);
	return true;
}

/* --- the body --- */

/* Reads ahead while there is no connection, up to a bound; then the front stops reading. */
static void hold_body(struct request *r, unsigned which, struct view data)
{
	struct buf *hold = &r->body[which].hold;

	if (!hold->data)
		net_buf_take(&r->worker->loop, hold);
	buf_put(hold, data);
	if (buf_error(hold)) {
		request_fail(r, 503, error_text(buf_error(hold)));
		return;
	}
	if (buf_len(hold) <= REQUEST_HOLD_MAX || r->blocking)
		return;
	if (r->state == REQUEST_LENGTH) {
		request_fail(r, 411, "body without length is too large to collect");
	} else if (r->front->request_count > 1) {
		/* Blocking would stop the others on this connection, and one of them may hold what this one waits for.
		 */
		if (buf_len(hold) > REQUEST_HOLD_SHARED_MAX)
			request_fail(r, 503, "body arrives faster than the backend is free");
	} else {
		request_block(r);
	}
}

void request_body(struct request *r, unsigned which, struct view data)
{
	uint64_t max_body = front_conf(r->front)->max_body;

	if (r->body[which].ended)
		return;
	r->body_bytes += data.len;
	r->body_at = net_now(&r->worker->loop);
	if (max_body && r->body_bytes > max_body)
		request_fail(r, 413, "body over max-body");
	else if (r->state == REQUEST_RUN)
		exchange_body(r, which, data);
	else
		hold_body(r, which, data);
}

void request_body_end(struct request *r, unsigned which)
{
	if (r->body[which].ended)
		return;
	r->body[which].ended = true;
	if (r->state == REQUEST_RUN) {
		exchange_body_end(r, which);
	} else if (r->state == REQUEST_LENGTH && which == 0) {
		r->facts.content_length = r->body_bytes;
		r->facts.has_length = true;
		open_session(r);
	}
}

void request_block(struct request *r)
{
	if (!r->blocking) {
		r->blocking = true;
		front_block(r->front);
	}
}

/* --- events --- */

/* Any thread: the lock is this request's now. */
static void granted(struct sess_waiter *waiter)
{
	struct request *r = CONTAINER_OF(waiter, struct request, waiter);

	net_loop_post(&r->worker->loop, &r->grant);
}

static void on_grant(struct mail *mail)
{
	struct request *r = CONTAINER_OF(mail, struct request, grant);

	if (r->state == REQUEST_GONE) {
		r->keeper->grant_back(r);
		zombie_mail(r);
		return;
	}
	enum keeper_open open = r->keeper->granted(r);
	if (open == KEEPER_WAIT)
		return; /* another cookie, another session; the time goes on */
	net_timer_stop(&r->worker->loop, &r->timer);
	session_opened(r, is_fenced(r) ? KEEPER_FENCED : open);
}

/* The stack's thread: there is room, or what was committed is safe. */
static void stored(struct stack_wait *wait)
{
	struct request *r = CONTAINER_OF(wait, struct request, store_wait);

	net_loop_post(&r->worker->loop, &r->stored);
}

static void on_stored(struct mail *mail)
{
	struct request *r = CONTAINER_OF(mail, struct request, stored);

	r->awaits_store = false;
	if (r->state == REQUEST_GONE)
		zombie_mail(r);
	else
		exchange_stored(r);
}

void request_ticket_back(struct request *r)
{
	r->awaits_ticket = false;
	zombie_mail(r);
}

static void on_timer(struct net_timer *timer)
{
	struct request *r = CONTAINER_OF(timer, struct request, timer);

	if (r->state == REQUEST_LOCK)
		request_fail(r, 503, "session lock not free in lock-wait");
	else if (r->state == REQUEST_CONN)
		request_fail(r, 503, "no backend connection free in queue-wait");
	else if (r->state == REQUEST_RUN)
		exchange_look(r);
}

void request_hold_answer(struct request *r)
{
	if (r->state == REQUEST_RUN && r->conn)
		conn_pause(r->conn);
}

void request_resume_answer(struct request *r)
{
	if (r->state != REQUEST_RUN)
		return;
	r->active = net_now(&r->worker->loop);
	if (r->conn && !r->waits)
		conn_resume(r->conn);
}
