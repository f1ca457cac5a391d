/* The status page: who may see it, what is asked for, and the answer as a CGI response. */
#include "gateway/status.h"

#include "base/error.h"
#include "base/log.h"
#include "gateway/front.h"
#include "gateway/health.h"
#include "gateway/openmetrics.h"
#include "gateway/status_page.h"
#include "gateway/watch.h"
#include "proto/cgi.h"

/* What the page needs to know beyond the facts of every request, so it walks over the variables itself. */
struct asked {
	struct view address; /* REMOTE_ADDR; empty: there is none */
	bool allowed;
	struct view query, accept;
	bool head_only;
};

enum form { FORM_PAGE, FORM_JSON, FORM_METRICS, FORM_HEALTH, FORM_UNKNOWN };

bool status_wants(const struct request *r, struct view path)
{
	const char *at = r->share->generation->conf->status.path;

	/* An authorizer is asked whether a request may pass, not for its answer. */
	return at && r->role == FCGI_RESPONDER && view_eq(path, view_str(at));
}

/* --- what is asked --- */

static struct view query_of(struct view uri)
{
	const uint8_t *mark = uri.len > 0 ? memchr(uri.at, '?', uri.len) : NULL;

	return mark ? view_of(mark + 1, uri.len - (size_t)(mark + 1 - uri.at)) : view_of(NULL, 0);
}

/* Where a web server says an address twice, each of them must be allowed. The query is that of the path that was
 * matched, if it has one. */
static struct asked ask(const struct request *r)
{
	const struct conf_networks *allow = &r->share->generation->conf->status.allow;
	struct params params = request_params(r);
	struct params_iter it = params_begin(&params);
	struct asked a = {.head_only = view_eq(r->facts.method, VIEW("HEAD"))};
	bool foreign = false;
	struct param p;

	while (params_next(&it, &p)) {
		if (view_eq(p.name, VIEW("REMOTE_ADDR"))) {
			bool known = conf_networks_hold(allow, (const char *)p.value.at, p.value.len);
			if (!known || !a.address.at)
				a.address = p.value;
			foreign = foreign || !known;
		} else if (view_eq(p.name, VIEW("QUERY_STRING"))) {
			a.query = p.value;
		} else if (view_eq(p.name, VIEW("HTTP_ACCEPT"))) {
			a.accept = p.value;
		}
	}
	struct view in_uri = query_of(r->facts.uri);
	if (in_uri.len > 0)
		a.query = in_uri;
	a.allowed = a.address.len > 0 && !foreign;
	return a;
}

/* Programs that put a query together from names and values end it in "=". */
static bool names(struct view query, struct view word)
{
	return view_eq(query, word) ||
	       (query.len == word.len + 1 && view_starts(query, word) && query.at[word.len] == '=');
}

static enum form form_of(struct view query)
{
	if (query.len == 0)
		return FORM_PAGE;
	if (names(query, VIEW("json")))
		return FORM_JSON;
	if (names(query, VIEW("openmetrics")))
		return FORM_METRICS;
	return names(query, VIEW("health")) ? FORM_HEALTH : FORM_UNKNOWN;
}

static bool holds(struct view text, struct view word)
{
	return text.len > 0 && memmem(text.at, text.len, word.at, word.len) != NULL;
}

/* Who does not say OpenMetrics gets what every program for metrics reads. */
static enum openmetrics_form metrics_form(const struct asked *a)
{
	return holds(a->accept, VIEW("application/openmetrics-text")) ? OPENMETRICS_STRICT : OPENMETRICS_CLASSIC;
}

/* --- the answer --- */

/* The status of the answer. */
static unsigned put_health(const struct gateway *g, struct buf *out)
{
	struct watch_process now;

	watch_process(g->watch, &now);
	const char *why = health_trouble(g, now.state);
	buf_put_str(out, why ? "not ready: " : "ready");
	buf_put_str(out, why ? why : "");
	buf_put_u8(out, '\n');
	return why ? 503 : 200;
}

static unsigned put_body(struct request *r, const struct asked *a, enum form form, struct buf *out)
{
	const struct gateway *g = r->worker->gateway;
	const struct generation *gen = r->share->generation;

	if (form == FORM_METRICS) {
		openmetrics_put(g, gen, metrics_form(a), out);
		return 200;
	}
	if (form == FORM_HEALTH)
		return put_health(g, out);
	if (form == FORM_PAGE)
		buf_put(out, view_of(status_page_top, status_page_top_len));
	status_put_json(g, gen, out);
	if (form == FORM_PAGE)
		buf_put(out, view_of(status_page_bottom, status_page_bottom_len));
	return 200;
}

static const char *type_of(const struct asked *a, enum form form)
{
	if (form == FORM_PAGE)
		return "text/html; charset=utf-8";
	if (form == FORM_JSON)
		return "application/json";
	if (form == FORM_HEALTH)
		return "text/plain; charset=utf-8";
	return openmetrics_type(metrics_form(a));
}

/* The page has nothing from outside, and runs no script but its own. */
static void put_policy(struct buf *out)
{
	buf_put_str(out, "Content-Security-Policy: default-src 'none'; script-src '");
	buf_put_str(out, status_page_script);
	buf_put_str(out, "'; style-src '");
	buf_put_str(out, status_page_style);
	buf_put_str(out, "'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
			 "frame-ancestors 'none'\r\n");
}

static void put_head(struct buf *out, const struct asked *a, enum form form, unsigned status, size_t length)
{
	buf_put_str(out, status == 200 ? "Status: 200 OK" : "Status: 503 Service Unavailable");
	buf_put_str(out, "\r\nContent-Type: ");
	buf_put_str(out, type_of(a, form));
	buf_put_str(out, "\r\nContent-Length: ");
	buf_put_u64(out, length);
	buf_put_str(out, "\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n");
	if (form == FORM_PAGE)
		put_policy(out);
	buf_put_str(out, "\r\n");
}

/* The whole answer, head and body. */
static void finish(struct request *r, const struct asked *a, struct view answer)
{
	size_t head_bytes;

	if (a->head_only && cgi_head_find(answer, 0, &head_bytes) == DECODE_OK)
		answer.len = head_bytes;
	r->head_sent = true;
	front_put(r->front, r, answer);
	request_finish(r, 0);
}

static void finish_error(struct request *r, const struct asked *a, unsigned status)
{
	struct buf *out = &r->worker->scratch;

	buf_clear(out);
	if (status == 405)
		buf_put_str(out, "Allow: GET, HEAD\r\n");
	cgi_put_answer(out, status, 0);
	finish(r, a, buf_view(out));
}

static void finish_form(struct request *r, const struct asked *a, enum form form)
{
	struct net_loop *loop = &r->worker->loop;
	struct buf *out = &r->worker->scratch;
	struct buf body = {.max_bytes = 0};

	net_buf_take(loop, &body);
	unsigned status = put_body(r, a, form, &body);
	buf_clear(out);
	put_head(out, a, form, status, buf_len(&body));
	buf_put(out, buf_view(&body));
	int err = buf_error(&body) ? buf_error(&body) : buf_error(out);
	net_buf_give(loop, &body);
	if (err)
		request_fail(r, 503, error_text(err));
	else
		finish(r, a, buf_view(out));
}

void status_answer(struct request *r)
{
	struct asked a = ask(r);
	enum form form = form_of(a.query);

	r->own = true;
	metrics_add(&r->worker->metrics.status_page, 1);
	if (!a.allowed) {
		log_event(LOG_INFO, "status_refused", LOG_V("address", a.address.len > 0 ? a.address : VIEW("-")));
		finish_error(r, &a, 403);
	} else if (!a.head_only && !view_eq(r->facts.method, VIEW("GET"))) {
		finish_error(r, &a, 405);
	} else if (form == FORM_UNKNOWN) {
		finish_error(r, &a, 400);
	} else {
		finish_form(r, &a, form);
	}
}
