/* Managed sessions: the session side of a request. Depends on session/ and proto/cgi. */
#include "gateway/managed.h"

#include "base/error.h"
#include "base/invariant.h"
#include "base/log.h"
#include "base/random.h"
#include "gateway/fence.h"
#include "proto/cgi.h"
#include "session/cookie.h"

enum { COOKIES_TRIED_MAX = 8 }; /* of one name in one request */

static uint16_t app_index(const struct request *r)
{
	return r->share->generation->stack_apps[r->app - r->share->generation->conf->apps];
}

static struct stack *stack_of(const struct request *r)
{
	return r->worker->gateway->stack;
}

static struct instant now_of(const struct request *r)
{
	return net_now(&r->worker->loop);
}

/* --- before the backend --- */

/* The cookie's session is not there (any more): what follows for the client. */
static void session_missing(struct request *r, enum sess_open open)
{
	if (open == SESS_RENEWED) {
		r->drop_cookie = false;
		r->sealed = true;
	} else {
		r->drop_cookie = true;
	}
}

/* The hold is there. Another request may have ended or renewed the session all the same, since it was opened. */
static void read_session(struct request *r)
{
	r->drop_cookie = r->sealed = false;
	stack_read(stack_of(r), &r->hold, &r->snapshot);
	if (!r->snapshot.ended)
		return;
	stack_close(stack_of(r), &r->hold, now_of(r));
	r->sealed = true;
}

static enum sess_open open_id(struct request *r, const struct sess_id *id)
{
	bool shared = r->app->session.lock == CONF_LOCK_SHARED;
	enum sess_lock lock = r->read_only || shared ? SESS_LOCK_NONE : SESS_LOCK_EXCLUSIVE;

	return stack_open(stack_of(r), app_index(r), id, lock, &r->waiter, now_of(r), &r->hold);
}

/* One cookie after the other, until a session is there or is waited for. */
static enum keeper_open try_cookies(struct request *r)
{
	struct view name = view_str(r->app->session.cookie);
	struct view value;
	struct sess_id id;

	while (r->cookies_tried < COOKIES_TRIED_MAX && sess_cookie_next(&r->cookies, name, &value)) {
		enum sess_open open = SESS_ABSENT;
		r->cookies_tried++;
		if (sess_id_decode(&r->worker->gateway->keys, value, &id))
			open = open_id(r, &id);
		switch (open) {
		case SESS_QUEUED:
			r->awaits_grant = true;
			return KEEPER_WAIT;
		case SESS_OPENED:
			read_session(r);
			return KEEPER_READY;
		case SESS_UNAVAILABLE:
			return KEEPER_UNAVAILABLE;
		default:
			if (!r->sealed)
				session_missing(r, open);
		}
	}
	return KEEPER_READY;
}

static enum keeper_open managed_open(struct request *r)
{
	r->cookies = r->facts.cookie;
	r->cookies_tried = 0;
	return try_cookies(r);
}

static enum keeper_open managed_granted(struct request *r)
{
	enum sess_open open = stack_granted(stack_of(r), &r->waiter, &r->hold);

	r->awaits_grant = false;
	switch (open) {
	case SESS_OPENED:
		read_session(r);
		return KEEPER_READY;
	case SESS_UNAVAILABLE:
		return KEEPER_UNAVAILABLE;
	case SESS_ABSENT:
		/* The store below does not have it either. */
		if (!r->sealed)
			session_missing(r, open);
		return try_cookies(r);
	default:
		/* It was there when the request came, and was ended or renewed since: this request must not make
		 * another. */
		session_missing(r, open);
		r->sealed = true;
		return KEEPER_READY;
	}
}

static void managed_grant_back(struct request *r)
{
	r->awaits_grant = false;
	(void)stack_granted(stack_of(r), &r->waiter, &r->hold);
	stack_close(stack_of(r), &r->hold, now_of(r));
}

static void managed_count(struct request *r)
{
	struct metrics *m = &r->worker->metrics;

	if (!r->hold.session)
		metrics_add(&m->session_none, 1);
	else
		metrics_add(r->snapshot.fresh ? &m->session_new : &m->session_live, 1);
}

static void managed_close(struct request *r)
{
	if (r->awaits_grant)
		r->awaits_grant = !stack_cancel(stack_of(r), &r->waiter, &r->hold);
	else if (r->hold.session)
		stack_close(stack_of(r), &r->hold, now_of(r));
	if (r->awaits_store && r->waits == REQUEST_WAITS_ROOM)
		r->awaits_store = !stack_cancel_room(stack_of(r), &r->store_wait);
	else if (r->awaits_store)
		r->awaits_store = !stack_cancel_safe(stack_of(r), &r->store_wait);
}

static bool managed_wait_no_more(struct request *r)
{
	INVARIANT(r->waits == REQUEST_WAITS_SAFE);
	if (!stack_cancel_safe(stack_of(r), &r->store_wait))
		return false;
	r->awaits_store = false;
	log_event(LOG_ERROR, "session_end_not_stored", LOG_S("app", r->app->name),
		  LOG_S("reason", "not removed within lock-wait"));
	return true;
}

static void managed_params(const struct request *r, struct keeper_params *out)
{
	const struct sess_snapshot *s = &r->snapshot;
	struct param *p = out->extra;

	out->drop_prefix = r->facts.session_names ? VIEW(FACTS_SESSION_PREFIX) : view_of(NULL, 0);
	if (!r->hold.session) {
		p[0] = (struct param){VIEW("SESSION_STATE"), VIEW("none")};
		out->extra_count = 1;
		return;
	}
	sess_id_name(&r->worker->gateway->keys, &r->hold.id, out->name);
	struct view data = s->state ? view_of(s->state->bytes, s->state->len) : view_of(NULL, 0);
	p[0] = (struct param){VIEW("SESSION_STATE"), s->fresh ? VIEW("new") : VIEW("live")};
	p[1] = (struct param){VIEW("SESSION_ID"), view_of(out->name, sizeof out->name)};
	p[2] = (struct param){VIEW("SESSION_DATA"), data};
	p[3] = (struct param){VIEW("SESSION_CREATED"), decimal((uint64_t)s->created.s, out->created)};
	p[4] = (struct param){VIEW("SESSION_TTL"), decimal(s->ttl_s, out->ttl)};
	out->extra_count = KEEPER_PARAMS;
}

/* --- after the backend --- */

#define SESSION_HEADER "Weir-Session-"

/* Also where the line is no good header: what is meant for the gateway does not go on to the client. */
static bool is_session_line(struct view line)
{
	struct view text = view_trim(line);

	/* Few lines begin with a W: that settles most of them. */
	return text.len >= strlen(SESSION_HEADER) && (text.at[0] | 0x20) == 'w' &&
	       view_eq_nocase(view_of(text.at, strlen(SESSION_HEADER)), VIEW(SESSION_HEADER));
}

static bool is_folded(struct view line)
{
	return line.at[0] == ' ' || line.at[0] == '\t';
}

/* A value that makes no sense is an application's mistake: it is logged and does nothing. */
static void bad_value(const struct request *r, const struct cgi_header *h)
{
	log_event(LOG_WARN, "session_header_ignored", LOG_S("app", r->app->name), LOG_V("name", h->name));
}

static bool is_one(struct view value)
{
	return view_eq(value, VIEW("1"));
}

/* Text without CR, LF and NUL; a line holds no LF. */
static bool is_state(struct view v)
{
	return !memchr(v.at, 0, v.len) && !memchr(v.at, '\r', v.len);
}

static void take_session_header(const struct request *r, const struct cgi_header *h, struct sess_commit *c)
{
	if (h->name.len <= strlen(SESSION_HEADER)) {
		bad_value(r, h);
		return;
	}
	struct view what = view_of(h->name.at + strlen(SESSION_HEADER), h->name.len - strlen(SESSION_HEADER));
	uint64_t ttl_s;

	if (view_eq_nocase(what, VIEW("Data")) && is_state(h->value)) {
		c->has_data = true;
		c->data = h->value;
	} else if (view_eq_nocase(what, VIEW("TTL")) && view_to_u64(h->value, UINT32_MAX / 2, &ttl_s) && ttl_s > 0) {
		c->has_ttl = true;
		c->ttl_s = (uint32_t)ttl_s;
	} else if (view_eq_nocase(what, VIEW("Renew")) && is_one(h->value)) {
		c->renew = true;
	} else if (view_eq_nocase(what, VIEW("End")) && is_one(h->value)) {
		c->end = true;
	} else {
		bad_value(r, h);
	}
}

/* Copies the head's lines up to the empty one without session headers, which go to *c. *head is left at the empty line.
 * False: no header at all. */
static bool filter_head(const struct request *r, struct view *head, struct buf *out, struct sess_commit *c)
{
	struct cgi_header h;
	struct view rest = *head;
	const uint8_t *from = head->at; /* of a run of lines that stay */
	bool some = false, removed = false;

	while (cgi_header_next(&rest, &h)) {
		*head = rest;
		some = some || h.name.len > 0;
		/* RFC 3875 section 6.3 has no folded lines; one behind a line of ours would carry state. */
		removed = is_session_line(h.line) || (removed && is_folded(h.line));
		if (!removed)
			continue;
		buf_put(out, view_of(from, (size_t)(h.line.at - from)));
		from = rest.at;
		if (!is_folded(h.line))
			take_session_header(r, &h, c);
	}
	buf_put(out, view_of(from, (size_t)(head->at - from)));
	return some;
}

static struct sess_cookie_options cookie_options(const struct conf_session *s)
{
	return (struct sess_cookie_options){
	    .name = s->cookie,
	    .path = s->cookie_path,
	    .domain = s->cookie_domain,
	    .http_only = s->cookie_http_only,
	    .same_site = (enum sess_same_site)s->cookie_same_site,
	    .secure = (enum sess_cookie_secure)s->cookie_secure,
	};
}

static void put_cookie(const struct request *r, const struct sess_outcome *o, struct buf *out)
{
	struct sess_cookie_options options = cookie_options(&r->app->session);
	char text[SESS_ID_TEXT];

	if (o->cookie == SESS_COOKIE_SET) {
		sess_id_encode(&r->worker->gateway->keys, &o->id, text);
		sess_cookie_put_set(out, &options, view_of(text, sizeof text), r->facts.https);
	} else if (o->cookie == SESS_COOKIE_EXPIRE || r->drop_cookie) {
		sess_cookie_put_expire(out, &options, r->facts.https);
	}
}

static int create(struct request *r, const struct sess_commit *c, const struct sess_id *id, struct sess_outcome *o)
{
	uint32_t ttl_s = (uint32_t)(r->app->session.ttl_ms / 1000);
	int err = stack_create(stack_of(r), app_index(r), c, ttl_s, id, now_of(r));

	if (!err) {
		o->cookie = SESS_COOKIE_SET;
		o->id = *id;
	}
	return err;
}

static int commit(struct request *r, const struct sess_commit *c, struct sess_outcome *o)
{
	struct sess_id id;
	bool creates = !r->hold.session && c->has_data && !c->end && !r->sealed;

	if (!(c->has_data || c->has_ttl || c->renew || c->end))
		return 0;
	if (r->read_only || r->stateless) {
		log_event(LOG_WARN, "session_change_ignored", LOG_S("app", r->app->name),
			  LOG_S("reason", r->read_only ? "path is read-only" : "path is stateless"));
		return 0;
	}
	/* What the cluster may have given to another node by now is not touched any more. */
	if (fence_is_up(r->worker->gateway))
		return ERR_REFUSED;
	if ((creates || c->renew) && random_fill(&id, sizeof id) != 0)
		return ERR_SYSTEM;
	if (creates)
		return create(r, c, &id, o);
	if (!r->hold.session)
		return 0;
	return stack_commit(stack_of(r), &r->hold, c, &id, now_of(r), &r->store_wait, o);
}

static bool managed_state_too_large(const struct request *r, struct view head)
{
	struct cgi_header h;

	while (cgi_header_next(&head, &h)) {
		if (h.line.len > r->app->session.max_size && is_session_line(h.line))
			return true;
	}
	/* What is left is a line without its end. */
	return head.len > r->app->session.max_size && is_session_line(head);
}

static unsigned later(struct request *r, enum request_waits why)
{
	r->waits = (uint8_t)why;
	r->awaits_store = true;
	return KEEPER_LATER;
}

static const char *why_not_stored(const struct request *r, int err)
{
	if (err == ERR_REFUSED)
		metrics_add(&r->worker->metrics.fenced_requests, 1);
	if (err == ERR_REFUSED)
		return FENCE_REASON;
	return err == ERR_FULL ? KEEPER_NO_ROOM : "session cannot be stored";
}

static unsigned managed_answer(struct request *r, struct view head, struct buf *out, const char **reason)
{
	struct sess_commit c = {.has_data = false};
	struct sess_outcome o = {.cookie = SESS_COOKIE_KEEP};
	struct view rest = head;

	if (!filter_head(r, &rest, out, &c)) {
		*reason = "answer has no header";
		return 502;
	}
	if (c.has_data && c.data.len > r->app->session.max_size) {
		*reason = KEEPER_STATE_TOO_LARGE;
		return 413;
	}
	int err = commit(r, &c, &o);
	if (err == ERR_FULL && stack_await_room(stack_of(r), &r->store_wait, c.data.len))
		return later(r, REQUEST_WAITS_ROOM);
	if (err < 0) {
		*reason = why_not_stored(r, err);
		return 503;
	}
	put_cookie(r, &o, out);
	buf_put(out, rest.len ? rest : VIEW("\r\n"));
	return err == STACK_WAITS ? later(r, REQUEST_WAITS_SAFE) : 0;
}

const struct keeper keeper_managed = {
    .open = managed_open,
    .granted = managed_granted,
    .grant_back = managed_grant_back,
    .count = managed_count,
    .close = managed_close,
    .params = managed_params,
    .answer = managed_answer,
    .wait_no_more = managed_wait_no_more,
    .state_too_large = managed_state_too_large,
};
