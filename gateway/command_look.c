/* The commands that only look: status, apps, backends, metrics, help. */
#include "gateway/command_run.h"
#include "gateway/figures.h"
#include "gateway/health.h"
#include "gateway/member.h"
#include "gateway/openmetrics.h"

/* A line or two; `weirctl cluster` tells more. */
static void put_cluster(json_t **o, const struct gateway *g)
{
	struct member_look *l = g->member ? member_take(g->member) : NULL;
	json_t *cluster = json_object();

	if (!l) {
		json_decref(cluster);
		return;
	}
	document_put_text(&cluster, "name", l->cluster);
	document_put_text(&cluster, "state", l->picture.state);
	document_put_number(&cluster, "epoch", l->picture.epoch);
	document_put_flag(&cluster, "fenced", !l->picture.may_act);
	document_put(o, "cluster", cluster);
	member_unref(&l);
}

void command_status(struct command *c)
{
	struct gateway *g = control_gateway(c->daemon);
	struct control_status s;
	struct totals t;
	json_t *o = json_object();

	control_status(c->daemon, &s);
	totals_gather(g, &t);
	document_put_text(&o, "version", s.version);
	document_put_text(&o, "node", s.node);
	document_put_text(&o, "state", s.state);
	document_put_number(&o, "pid", s.pid);
	document_put_text(&o, "config", s.config);
	document_put_number(&o, "generation", s.generation);
	document_put_point(&o, "started_at", s.started_s);
	document_put_number(&o, "uptime_s", s.uptime_s);
	document_put_point(&o, "reloaded_at", s.reloaded_s);
	document_put_number(&o, "reloads_failed", s.reloads_failed);
	document_put_text(&o, "log_level", log_level_text(log_level_now()));
	document_put_number(&o, "workers", s.workers);
	document_put_number(&o, "connections", s.connections);
	put_cluster(&o, g);
	document_put(&o, "requests", figures_requests(&t));
	document_put(&o, "memory", figures_memory(&t.sessions));
	document_put(&o, "disk", figures_disk(&t.sessions));
	command_answer(c, o);
}

void command_health(struct command *c)
{
	struct control_status s;

	control_status(c->daemon, &s);
	const char *why = health_trouble(control_gateway(c->daemon), s.state);
	if (why) {
		command_fail(c, ADMIN_UNAVAILABLE, "not ready: %s", why);
		return;
	}
	json_t *o = json_object();
	document_put_flag(&o, "ready", true);
	command_answer(c, o);
}

/* --- apps, backends --- */

static json_t *app_document(const struct generation *g, size_t i)
{
	json_t *o = figures_app(g, i);

	document_put_number(&o, "backends", g->conf->apps[i].backend_count);
	return o;
}

void command_apps(struct command *c)
{
	const struct generation *g = control_gateway(c->daemon)->generation;
	json_t *o = json_object(), *apps = json_array();

	for (size_t i = 0; i < g->conf->app_count; i++)
		document_append(&apps, app_document(g, i));
	document_put(&o, "apps", apps);
	command_answer(c, o);
}

void command_backends(struct command *c)
{
	const struct generation *g = control_gateway(c->daemon)->generation;
	json_t *o = json_object(), *backends = json_array();

	for (size_t i = 0; i < g->conf->app_count; i++) {
		for (size_t k = 0; k < g->conf->apps[i].backend_count; k++)
			document_append(&backends, figures_backend(g, i, k));
	}
	document_put(&o, "backends", backends);
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
	document_put_text(&o, "type", openmetrics_type(form));
	document_put(&o, "metrics", document_string(buf_view(&c->text)));
	command_answer(c, o);
}

void command_help(struct command *c)
{
	const struct admin_request *r = &c->request;
	bool some = c->json ? admin_help_put_json(&c->text, r->arguments, r->argument_count)
			    : admin_help_put(&c->text, r->arguments, r->argument_count);

	if (some)
		command_answer_text(c);
	else
		command_fail(c, ADMIN_NOT_FOUND, "there is no such command");
}
