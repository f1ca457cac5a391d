/* The commands that only look: status, apps, backends, metrics, help. */
#include "gateway/command_run.h"
#include "gateway/openmetrics.h"

/* A point on the calendar; 0 is never. */
static void put_point(json_t **o, const char *key, int64_t s)
{
	command_put(o, key, s ? json_integer(s) : json_null());
}

/* --- status --- */

static json_t *requests_document(const struct gateway *g)
{
	struct metrics_sum m = {.begun = 0};
	json_t *o = json_object();
	uint64_t ended = 0;

	for (unsigned i = 0; i < g->worker_count; i++)
		metrics_gather(&g->workers[i].metrics, &m);
	for (unsigned i = 0; i < METRICS_ENDS; i++)
		ended += m.ended[i];
	command_put_number(&o, "begun", m.begun);
	command_put_number(&o, "running", m.begun > ended ? m.begun - ended : 0);
	command_put_number(&o, "ok", m.ended[METRICS_OK]);
	command_put_number(&o, "failed", m.ended[METRICS_FAILED]);
	command_put_number(&o, "aborted", m.ended[METRICS_ABORTED]);
	for (unsigned i = 2; i <= 5; i++) {
		const char key[] = {(char)('0' + i), 'x', 'x', '\0'};
		command_put_number(&o, key, m.status[i]);
	}
	command_put_number(&o, "p50_us", metrics_percentile_us(&m, 50));
	command_put_number(&o, "p99_us", metrics_percentile_us(&m, 99));
	command_put_number(&o, "in_bytes", m.in_bytes);
	command_put_number(&o, "out_bytes", m.out_bytes);
	return o;
}

static json_t *memory_document(const struct stack_stats *s)
{
	json_t *o = json_object();

	command_put_number(&o, "sessions", s->sessions);
	command_put_number(&o, "pinned", s->pinned);
	command_put_number(&o, "pinned_bytes", s->pinned_bytes);
	command_put_number(&o, "pinned_max_bytes", s->pinned_max_bytes);
	command_put_number(&o, "bytes", s->bytes);
	command_put_number(&o, "max_bytes", s->max_bytes);
	command_put_number(&o, "waiters", s->waiters);
	command_put_number(&o, "room_waits", s->room_waits);
	command_put_number(&o, "created", s->created);
	command_put_number(&o, "renewed", s->renewed);
	command_put_number(&o, "ended", s->ended);
	command_put_number(&o, "expired", s->expired);
	return o;
}

static json_t *disk_document(const struct stack_stats *s)
{
	json_t *o = json_object();

	command_put_text(&o, "state", stack_below_text(s->below));
	command_put_text(&o, "trouble", *s->trouble ? s->trouble : NULL);
	if (s->below == STACK_BELOW_NONE)
		return o;
	command_put_number(&o, "sessions", s->below_sessions);
	command_put_number(&o, "in_memory_too", s->both);
	command_put_number(&o, "bytes", s->below_bytes);
	command_put_number(&o, "max_bytes", s->below_max_bytes);
	command_put_number(&o, "demoted", s->demoted);
	command_put_number(&o, "promoted", s->promoted);
	command_put_number(&o, "missed", s->missed);
	command_put_number(&o, "expired", s->below_expired);
	command_put_number(&o, "unreadable", s->unreadable);
	command_put_number(&o, "troubles", s->troubles);
	return o;
}

void command_status(struct command *c)
{
	struct gateway *g = control_gateway(c->daemon);
	struct control_status s;
	struct stack_stats stats;
	json_t *o = json_object();

	control_status(c->daemon, &s);
	stack_stats(g->stack, &stats);
	command_put_text(&o, "version", s.version);
	command_put_text(&o, "node", s.node);
	command_put_text(&o, "state", s.state);
	command_put_number(&o, "pid", s.pid);
	command_put_text(&o, "config", s.config);
	command_put_number(&o, "generation", s.generation);
	put_point(&o, "started_at", s.started_s);
	command_put_number(&o, "uptime_s", s.uptime_s);
	put_point(&o, "reloaded_at", s.reloaded_s);
	command_put_number(&o, "reloads_failed", s.reloads_failed);
	command_put_text(&o, "log_level", log_level_text(log_level_now()));
	command_put_number(&o, "workers", s.workers);
	command_put_number(&o, "connections", s.connections);
	command_put(&o, "requests", requests_document(g));
	command_put(&o, "memory", memory_document(&stats));
	command_put(&o, "disk", disk_document(&stats));
	command_answer(c, o);
}

/* --- apps, backends --- */

static json_t *app_document(const struct generation *g, size_t i)
{
	struct generation_app a;
	json_t *o = json_object();

	generation_app(g, i, &a);
	command_put_text(&o, "app", a.name);
	command_put_text(&o, "state", a.stopped ? "stopped" : "running");
	command_put_text(&o, "sessions", a.sessions);
	command_put_number(&o, "backends", a.backends);
	command_put_number(&o, "waiting", a.waiting);
	command_put_number(&o, "queue", a.queue);
	return o;
}

void command_apps(struct command *c)
{
	const struct generation *g = control_gateway(c->daemon)->generation;
	json_t *o = json_object(), *apps = json_array();

	for (size_t i = 0; i < g->conf->app_count; i++)
		command_append(&apps, app_document(g, i));
	command_put(&o, "apps", apps);
	command_answer(c, o);
}

static const char *backend_state(const struct generation_backend *b)
{
	if (b->drained)
		return "drained";
	if (b->suspended)
		return "suspended";
	return b->down ? "down" : "ready";
}

static json_t *backend_document(const struct generation *g, size_t app, size_t i)
{
	struct generation_backend b;
	json_t *o = json_object();

	generation_backend(g, app, i, &b);
	command_put_text(&o, "app", b.app);
	command_put_text(&o, "backend", b.name);
	command_put_text(&o, "protocol", b.protocol);
	command_put_text(&o, "state", backend_state(&b));
	command_put_number(&o, "active", b.active);
	command_put_number(&o, "idle", b.idle);
	command_put_number(&o, "open", b.open);
	command_put_number(&o, "connections", b.connections);
	command_put_number(&o, "weight", b.weight);
	command_put_number(&o, "requests", b.requests);
	command_put_number(&o, "failures", b.failures);
	return o;
}

void command_backends(struct command *c)
{
	const struct generation *g = control_gateway(c->daemon)->generation;
	json_t *o = json_object(), *backends = json_array();

	for (size_t i = 0; i < g->conf->app_count; i++) {
		for (size_t k = 0; k < g->conf->apps[i].backend_count; k++)
			command_append(&backends, backend_document(g, i, k));
	}
	command_put(&o, "backends", backends);
	command_answer(c, o);
}

/* --- texts that are no documents --- */

void command_metrics(struct command *c)
{
	const struct gateway *g = control_gateway(c->daemon);
	enum openmetrics_form form = command_option(c, ADMIN_OPENMETRICS) ? OPENMETRICS_STRICT : OPENMETRICS_CLASSIC;

	openmetrics_put(g, g->generation, form, &c->text);
	if (!c->json) {
		command_answer_text(c);
		return;
	}
	json_t *o = json_object();
	command_put_text(&o, "type", openmetrics_type(form));
	command_put(&o, "metrics", command_string(buf_view(&c->text)));
	command_answer(c, o);
}

void command_help(struct command *c)
{
	const struct admin_request *r = &c->request;
	enum admin_command_id id = admin_command_find(r->arguments, r->argument_count);

	if (r->argument_count > 0 && id == ADMIN_COMMANDS) {
		command_fail(c, ADMIN_NOT_FOUND, "there is no such command");
	} else if (c->json) {
		admin_help_put_json(&c->text);
		command_answer_text(c);
	} else if (r->argument_count > 0) {
		admin_command_put_help(&c->text, id);
		command_answer_text(c);
	} else {
		admin_help_put(&c->text);
		command_answer_text(c);
	}
}
