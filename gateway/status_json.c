/* The document behind the page: the figures of gateway/figures.h, and what came of them in the last five minutes. */
#include "gateway/status.h"

#include "base/error.h"
#include "base/version.h"
#include "gateway/document.h"
#include "gateway/figures.h"
#include "gateway/figures_cluster.h"
#include "gateway/watch.h"

#include <jansson.h>
#include <stdlib.h>

/* --- the history --- */

/* One field of all points. */
static json_t *column(const struct history_point *points, size_t count, size_t offset)
{
	json_t *array = json_array();

	for (size_t i = 0; i < count; i++) {
		uint64_t value;
		memcpy(&value, (const char *)&points[i] + offset, sizeof value);
		document_append(&array, json_integer(value < INT64_MAX ? (json_int_t)value : INT64_MAX));
	}
	return array;
}

static json_t *history(const struct gateway *g)
{
	static const struct {
		const char *key;
		size_t offset;
	} columns[] = {
	    {"requests", offsetof(struct history_point, requests)},
	    {"errors", offsetof(struct history_point, errors)},
	    {"p50_us", offsetof(struct history_point, p50_us)},
	    {"p99_us", offsetof(struct history_point, p99_us)},
	    {"demoted", offsetof(struct history_point, demoted)},
	    {"promoted", offsetof(struct history_point, promoted)},
	    {"connections", offsetof(struct history_point, connections)},
	    {"running", offsetof(struct history_point, running)},
	    {"memory", offsetof(struct history_point, memory)},
	    {"below", offsetof(struct history_point, below)},
	};
	struct history_point *points = malloc(HISTORY_POINTS * sizeof *points);
	json_t *o = points ? json_object() : NULL;
	uint64_t taken = 0;
	size_t count = points ? history_read(watch_history(g->watch), points, &taken) : 0;

	document_put_number(&o, "step_s", HISTORY_STEP_MS / 1000);
	document_put_number(&o, "points", taken);
	for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
		document_put(&o, columns[i].key, column(points, count, columns[i].offset));
	free(points);
	return o;
}

/* --- apps and backends --- */

static json_t *sums(const struct gateway *g, const char *app, const char *backend)
{
	uint32_t five[HISTORY_SUMS];
	size_t count = history_read_backend(watch_history(g->watch), app, backend, five);
	json_t *array = json_array();

	for (size_t i = 0; i < count; i++)
		document_append(&array, json_integer(five[i]));
	return array;
}

static json_t *app(const struct gateway *g, const struct generation *gen, size_t i)
{
	const struct conf_app *a = &gen->conf->apps[i];
	json_t *o = figures_app(gen, i), *backends = json_array();

	for (size_t k = 0; k < a->backend_count; k++) {
		json_t *backend = figures_backend(gen, i, k);
		document_put(&backend, "requests_5s", sums(g, a->name, a->backends[k].address.text));
		document_append(&backends, backend);
	}
	document_put(&o, "backends", backends);
	return o;
}

/* --- the cluster --- */

/* null: there is none, or nothing is known of it yet. */
static json_t *cluster(const struct gateway *g)
{
	struct member_look *l = g->member ? member_take(g->member) : NULL;

	if (!l)
		return json_null();
	json_t *o = figures_cluster(l, FIGURES_PROGRAMS);
	document_put(&o, "maps", l->picture.view ? figures_maps(&l->picture.view->view) : json_array());
	document_put(&o, "links", figures_links(&l->picture, FIGURES_PROGRAMS));
	member_unref(&l);
	return o;
}

/* --- all of it --- */

static json_t *document(const struct gateway *g, const struct generation *gen)
{
	struct totals t;
	struct watch_process now;
	json_t *o = json_object(), *apps = json_array();

	totals_gather(g, &t);
	watch_process(g->watch, &now);
	for (size_t i = 0; i < gen->conf->app_count; i++)
		document_append(&apps, app(g, gen, i));
	document_put_text(&o, "version", WEIR_VERSION);
	document_put_text(&o, "node", gen->conf->node);
	document_put_text(&o, "state", now.state);
	document_put_point(&o, "started_at", now.started_s);
	document_put_number(&o, "uptime_s", now.uptime_s);
	document_put_number(&o, "generation", now.generation);
	document_put_point(&o, "reloaded_at", now.reloaded_s);
	document_put_number(&o, "reloads_failed", now.reloads_failed);
	document_put_number(&o, "workers", g->worker_count);
	document_put_number(&o, "connections", t.connections);
	document_put(&o, "requests", figures_requests(&t));
	document_put(&o, "memory", figures_memory(&t.sessions));
	document_put(&o, "disk", figures_disk(&t.sessions));
	document_put(&o, "apps", apps);
	document_put(&o, "cluster", cluster(g));
	document_put(&o, "history", history(g));
	return o;
}

/* "<" only stands inside of strings, where its escape means the same. */
static int put(const char *bytes, size_t len, void *arg)
{
	struct buf *out = arg;
	struct view rest = view_of(bytes, len);

	while (rest.len > 0) {
		const uint8_t *mark = memchr(rest.at, '<', rest.len);
		buf_put(out, view_take(&rest, mark ? (size_t)(mark - rest.at) : rest.len));
		if (mark) {
			(void)view_take(&rest, 1);
			buf_put_str(out, "\\u003c");
		}
	}
	return buf_error(out) ? -1 : 0;
}

void status_put_json(const struct gateway *g, const struct generation *gen, struct buf *out)
{
	json_t *o = document(g, gen);

	if (!o || json_dump_callback(o, put, out, JSON_COMPACT) != 0)
		out->err = ERR_NO_MEMORY;
	json_decref(o);
}
