/* The document behind the page. Its keys are those of the admin socket's documents where they mean the same. */
#include "gateway/status.h"

#include "base/error.h"
#include "base/version.h"
#include "gateway/render.h"
#include "gateway/watch.h"

#include <jansson.h>
#include <stdlib.h>

/* --- values: each takes what it is given, and is NULL when memory has run out or something given was NULL --- */

struct entry {
	const char *key; /* NULL: the end */
	json_t *value;
};

static json_t *object(const struct entry *entries)
{
	json_t *o = json_object();
	bool whole = o != NULL;

	for (const struct entry *e = entries; e->key; e++) {
		if (!whole)
			json_decref(e->value);
		else
			whole = json_object_set_new(o, e->key, e->value) == 0;
	}
	if (whole)
		return o;
	json_decref(o);
	return NULL;
}

#define OBJECT(...) object((const struct entry[]){__VA_ARGS__, {NULL, NULL}})

static json_t *number(uint64_t n)
{
	return json_integer(n < INT64_MAX ? (json_int_t)n : INT64_MAX);
}

/* A point on the calendar; 0 is never. */
static json_t *point(int64_t s)
{
	return s > 0 ? json_integer(s) : json_null();
}

/* Names in the configuration may have any bytes. */
static json_t *text(const char *s)
{
	struct buf clean = {.max_bytes = 0};
	json_t *string = NULL;

	render_text(&clean, view_str(s));
	struct view v = buf_view(&clean);
	if (!buf_error(&clean))
		string = json_stringn(v.len > 0 ? (const char *)v.at : "", v.len);
	buf_fini(&clean);
	return string;
}

/* --- process, requests --- */

static json_t *requests(const struct totals *t)
{
	const struct metrics_sum *m = &t->requests;

	return OBJECT({"begun", number(m->begun)}, {"running", number(totals_running(t))},
		      {"ok", number(m->ended[METRICS_OK])}, {"failed", number(m->ended[METRICS_FAILED])},
		      {"aborted", number(m->ended[METRICS_ABORTED])}, {"1xx", number(m->status[1])},
		      {"2xx", number(m->status[2])}, {"3xx", number(m->status[3])}, {"4xx", number(m->status[4])},
		      {"5xx", number(m->status[5])}, {"no_status", number(m->status[METRICS_STATUS_NONE])},
		      {"errors", number(totals_errors(t))}, {"p50_us", number(metrics_percentile_us(m, 50))},
		      {"p99_us", number(metrics_percentile_us(m, 99))}, {"in_bytes", number(m->in_bytes)},
		      {"out_bytes", number(m->out_bytes)}, {"session_none", number(m->session_none)},
		      {"session_new", number(m->session_new)}, {"session_live", number(m->session_live)},
		      {"status_page", number(m->status_page)});
}

/* --- stores --- */

static json_t *memory(const struct stack_stats *s)
{
	return OBJECT({"sessions", number(s->sessions)}, {"bytes", number(s->bytes)},
		      {"max_bytes", number(s->max_bytes)}, {"pinned", number(s->pinned)},
		      {"pinned_bytes", number(s->pinned_bytes)}, {"pinned_max_bytes", number(s->pinned_max_bytes)},
		      {"waiters", number(s->waiters)}, {"room_waits", number(s->room_waits)},
		      {"created", number(s->created)}, {"renewed", number(s->renewed)}, {"ended", number(s->ended)},
		      {"expired", number(s->expired)});
}

static json_t *disk(const struct stack_stats *s)
{
	json_t *state = json_string(stack_below_text(s->below));
	json_t *trouble = *s->trouble ? text(s->trouble) : json_null();

	if (s->below == STACK_BELOW_NONE)
		return OBJECT({"state", state}, {"trouble", trouble});
	return OBJECT({"state", state}, {"trouble", trouble}, {"sessions", number(s->below_sessions)},
		      {"in_memory_too", number(s->both)}, {"bytes", number(s->below_bytes)},
		      {"max_bytes", number(s->below_max_bytes)}, {"demoted", number(s->demoted)},
		      {"promoted", number(s->promoted)}, {"missed", number(s->missed)},
		      {"expired", number(s->below_expired)}, {"unreadable", number(s->unreadable)},
		      {"troubles", number(s->troubles)});
}

/* --- the history --- */

static void append(json_t **array, json_t *value)
{
	if (*array && json_array_append_new(*array, value) == 0)
		return;
	if (!*array)
		json_decref(value);
	json_decref(*array);
	*array = NULL;
}

/* One field of all points. */
static json_t *column(const struct history_point *points, size_t count, size_t offset)
{
	json_t *array = json_array();

	for (size_t i = 0; i < count; i++) {
		uint64_t value;
		memcpy(&value, (const char *)&points[i] + offset, sizeof value);
		append(&array, number(value));
	}
	return array;
}

#define COLUMN(name)                                                                                                   \
	{                                                                                                              \
#name, column(points, count, offsetof(struct history_point, name))                                     \
	}

static json_t *history(const struct gateway *g)
{
	struct history_point *points = malloc(HISTORY_POINTS * sizeof *points);

	if (!points)
		return NULL;
	uint64_t taken;
	size_t count = history_read(watch_history(g->watch), points, &taken);
	json_t *o = OBJECT({"step_s", number(HISTORY_STEP_MS / 1000)}, {"points", number(taken)}, COLUMN(requests),
			   COLUMN(errors), COLUMN(p50_us), COLUMN(p99_us), COLUMN(demoted), COLUMN(promoted),
			   COLUMN(connections), COLUMN(running), COLUMN(memory), COLUMN(below));
	free(points);
	return o;
}

/* --- apps and backends --- */

static json_t *sums(const struct gateway *g, const struct generation_backend *b)
{
	uint32_t five[HISTORY_SUMS];
	size_t count = history_read_backend(watch_history(g->watch), b->app, b->name, five);
	json_t *array = json_array();

	for (size_t i = 0; i < count; i++)
		append(&array, number(five[i]));
	return array;
}

static const char *backend_state(const struct generation_backend *b)
{
	if (b->drained)
		return "drained";
	if (b->suspended)
		return "suspended";
	return b->down ? "down" : "ready";
}

static json_t *backend(const struct gateway *g, const struct generation *gen, size_t app, size_t i)
{
	struct generation_backend b;

	generation_backend(gen, app, i, &b);
	return OBJECT({"backend", text(b.name)}, {"protocol", json_string(b.protocol)},
		      {"state", json_string(backend_state(&b))}, {"active", number(b.active)}, {"idle", number(b.idle)},
		      {"open", number(b.open)}, {"connections", number(b.connections)}, {"weight", number(b.weight)},
		      {"requests", number(b.requests)}, {"failures", number(b.failures)}, {"requests_5s", sums(g, &b)});
}

static json_t *app(const struct gateway *g, const struct generation *gen, size_t i)
{
	struct generation_app a;
	json_t *backends = json_array();

	generation_app(gen, i, &a);
	for (size_t k = 0; k < gen->conf->apps[i].backend_count; k++)
		append(&backends, backend(g, gen, i, k));
	return OBJECT({"app", text(a.name)}, {"state", json_string(a.stopped ? "stopped" : "running")},
		      {"sessions", json_string(a.sessions)}, {"waiting", number(a.waiting)}, {"queue", number(a.queue)},
		      {"backends", backends});
}

/* --- all of it --- */

static json_t *document(const struct gateway *g, const struct generation *gen)
{
	struct totals t;
	struct watch_process now;
	json_t *apps = json_array();

	totals_gather(g, &t);
	watch_process(g->watch, &now);
	for (size_t i = 0; i < gen->conf->app_count; i++)
		append(&apps, app(g, gen, i));
	return OBJECT({"version", json_string(WEIR_VERSION)}, {"node", text(gen->conf->node)},
		      {"state", json_string(now.state)}, {"started_at", point(now.started_s)},
		      {"uptime_s", number(now.uptime_s)}, {"generation", number(now.generation)},
		      {"reloaded_at", point(now.reloaded_s)}, {"reloads_failed", number(now.reloads_failed)},
		      {"workers", number(g->worker_count)}, {"connections", number(t.connections)},
		      {"requests", requests(&t)}, {"memory", memory(&t.sessions)}, {"disk", disk(&t.sessions)},
		      {"apps", apps}, {"history", history(g)});
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
