/* Figures as JSON. */
#include "gateway/figures.h"

#include "gateway/document.h"

json_t *figures_requests(const struct totals *t)
{
	static const char *const classes[METRICS_STATUS_CLASSES] = {"no_status", "1xx", "2xx", "3xx", "4xx", "5xx"};
	const struct metrics_sum *m = &t->requests;
	json_t *o = json_object();

	document_put_number(&o, "begun", m->begun);
	document_put_number(&o, "running", totals_running(t));
	document_put_number(&o, "ok", m->ended[METRICS_OK]);
	document_put_number(&o, "failed", m->ended[METRICS_FAILED]);
	document_put_number(&o, "aborted", m->ended[METRICS_ABORTED]);
	for (unsigned i = 1; i <= METRICS_STATUS_CLASSES; i++)
		document_put_number(&o, classes[i % METRICS_STATUS_CLASSES], m->status[i % METRICS_STATUS_CLASSES]);
	document_put_number(&o, "errors", totals_errors(t));
	document_put_number(&o, "p50_us", metrics_percentile_us(m, 50));
	document_put_number(&o, "p99_us", metrics_percentile_us(m, 99));
	document_put_number(&o, "in_bytes", m->in_bytes);
	document_put_number(&o, "out_bytes", m->out_bytes);
	document_put_number(&o, "session_none", m->session_none);
	document_put_number(&o, "session_new", m->session_new);
	document_put_number(&o, "session_live", m->session_live);
	document_put_number(&o, "session_dropped", m->session_dropped);
	document_put_number(&o, "fenced", m->fenced_requests);
	document_put_number(&o, "fenced_commands", m->fenced_commands);
	document_put_number(&o, "status_page", m->status_page);
	return o;
}

json_t *figures_memory(const struct stack_stats *s)
{
	json_t *o = json_object();

	document_put_number(&o, "sessions", s->sessions);
	document_put_number(&o, "bytes", s->bytes);
	document_put_number(&o, "max_bytes", s->max_bytes);
	document_put_number(&o, "pinned", s->pinned);
	document_put_number(&o, "pinned_size_bytes", s->pinned_bytes);
	document_put_number(&o, "pinned_max_bytes", s->pinned_max_bytes);
	document_put_number(&o, "waiters", s->waiters);
	document_put_number(&o, "room_waits", s->room_waits);
	document_put_number(&o, "created", s->created);
	document_put_number(&o, "renewed", s->renewed);
	document_put_number(&o, "ended", s->ended);
	document_put_number(&o, "expired", s->expired);
	return o;
}

json_t *figures_disk(const struct stack_stats *s)
{
	json_t *o = json_object();

	document_put_text(&o, "state", stack_below_text(s->below));
	document_put_text(&o, "trouble", *s->trouble ? s->trouble : NULL);
	if (s->below == STACK_BELOW_NONE)
		return o;
	document_put_number(&o, "sessions", s->below_sessions);
	document_put_number(&o, "in_memory_too", s->both);
	document_put_number(&o, "bytes", s->below_bytes);
	document_put_number(&o, "max_bytes", s->below_max_bytes);
	document_put_number(&o, "demoted", s->demoted);
	document_put_number(&o, "promoted", s->promoted);
	document_put_number(&o, "missed", s->missed);
	document_put_number(&o, "expired", s->below_expired);
	document_put_number(&o, "unreadable", s->unreadable);
	document_put_number(&o, "troubles", s->troubles);
	return o;
}

json_t *figures_app(const struct generation *g, size_t app)
{
	struct generation_app a;
	json_t *o = json_object();

	generation_app(g, app, &a);
	document_put_text(&o, "app", a.name);
	document_put_text(&o, "state", a.stopped ? "stopped" : "running");
	document_put_text(&o, "sessions", a.sessions);
	document_put_number(&o, "waiting", a.waiting);
	document_put_number(&o, "queue", a.queue);
	return o;
}

static const char *backend_state(const struct generation_backend *b)
{
	if (b->drained)
		return "drained";
	if (b->suspended)
		return "suspended";
	return b->down ? "down" : "ready";
}

json_t *figures_backend(const struct generation *g, size_t app, size_t backend)
{
	struct generation_backend b;
	json_t *o = json_object();

	generation_backend(g, app, backend, &b);
	document_put_text(&o, "app", b.app);
	document_put_text(&o, "backend", b.name);
	document_put_text(&o, "protocol", b.protocol);
	document_put_text(&o, "state", backend_state(&b));
	document_put_number(&o, "active", b.active);
	document_put_number(&o, "idle", b.idle);
	document_put_number(&o, "open", b.open);
	document_put_number(&o, "connections", b.connections);
	document_put_number(&o, "weight", b.weight);
	document_put_number(&o, "requests", b.requests);
	document_put_number(&o, "failures", b.failures);
	return o;
}
