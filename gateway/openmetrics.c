/* Metrics as text. Names and units are those of Prometheus' conventions: base units, counters end in _total. */
#include "gateway/openmetrics.h"

#include "base/version.h"
#include "gateway/member.h"
#include "gateway/render.h"
#include "gateway/watch.h"

#include <sys/resource.h>

enum kind { GAUGE, COUNTER, HISTOGRAM };

struct family {
	const char *name; /* of a counter without _total */
	enum kind kind;
	const char *unit; /* the name ends in it; NULL: none */
	const char *help; /* without a backslash and a line's end */
};

struct label {
	const char *name, *value;
};

/* What all functions here are given. */
struct put {
	struct buf *out;
	enum openmetrics_form form;
	const struct family *family; /* the samples are of this one */
};

/* --- lines --- */

static const char *suffix_of(const struct family *f)
{
	return f->kind == COUNTER ? "_total" : "";
}

static void put_metadata(const struct put *p, const char *what, const char *text)
{
	buf_put_str(p->out, "# ");
	buf_put_str(p->out, what);
	buf_put_str(p->out, " ");
	buf_put_str(p->out, p->family->name);
	if (p->form == OPENMETRICS_CLASSIC)
		buf_put_str(p->out, suffix_of(p->family));
	buf_put_str(p->out, " ");
	buf_put_str(p->out, text);
	buf_put_str(p->out, "\n");
}

/* All samples of it follow at once. */
static void begin(struct put *p, const struct family *f)
{
	static const char *const kinds[] = {"gauge", "counter", "histogram"};

	p->family = f;
	put_metadata(p, "TYPE", kinds[f->kind]);
	if (f->unit && p->form == OPENMETRICS_STRICT)
		put_metadata(p, "UNIT", f->unit);
	put_metadata(p, "HELP", f->help);
}

/* Both forms escape the backslash, the quote and the line's end; render_text() leaves none of the last. */
static void put_value(struct buf *out, const char *text)
{
	struct buf clean = {.max_bytes = 0};

	render_text(&clean, view_str(text));
	if (buf_error(&clean))
		out->err = buf_error(&clean);
	struct view rest = buf_view(&clean);
	while (rest.len > 0) {
		struct view byte = view_take(&rest, 1);
		if (view_eq(byte, VIEW("\\")) || view_eq(byte, VIEW("\"")))
			buf_put_u8(out, '\\');
		buf_put(out, byte);
	}
	buf_fini(&clean);
}

/* The beginning of a sample, up to its value. Labels end with a NULL name. */
static void put_name(const struct put *p, const char *suffix, const struct label *labels)
{
	buf_put_str(p->out, p->family->name);
	buf_put_str(p->out, suffix);
	for (const struct label *l = labels; l && l->name; l++) {
		buf_put_str(p->out, l == labels ? "{" : ",");
		buf_put_str(p->out, l->name);
		buf_put_str(p->out, "=\"");
		put_value(p->out, l->value);
		buf_put_str(p->out, "\"");
	}
	buf_put_str(p->out, labels && labels->name ? "} " : " ");
}

static void put_sample(const struct put *p, const struct label *labels, uint64_t value)
{
	put_name(p, suffix_of(p->family), labels);
	buf_put_u64(p->out, value);
	buf_put_str(p->out, "\n");
}

#define LABELS(...) ((const struct label[]){__VA_ARGS__, {NULL, NULL}})

/* A family of one sample without labels. */
static void put_one(struct put *p, const struct family *f, uint64_t value)
{
	begin(p, f);
	put_sample(p, NULL, value);
}

/* "0.00025", "1.0": never without a point, as OpenMetrics wants a histogram's bounds to be. */
static void put_seconds(struct buf *out, uint64_t us)
{
	uint64_t rest = us % 1000000;
	char digits[6];
	size_t len = sizeof digits;

	for (size_t i = sizeof digits; i > 0; rest /= 10)
		digits[--i] = (char)('0' + rest % 10);
	while (len > 1 && digits[len - 1] == '0')
		len--;
	buf_put_u64(out, us / 1000000);
	buf_put_str(out, ".");
	buf_put(out, view_of(digits, len));
}

static void put_one_us(struct put *p, const struct family *f, uint64_t us)
{
	begin(p, f);
	put_name(p, suffix_of(f), NULL);
	put_seconds(p->out, us);
	buf_put_str(p->out, "\n");
}

/* --- the process --- */

static uint64_t cpu_us(void)
{
	struct rusage u;

	if (getrusage(RUSAGE_SELF, &u) != 0)
		return 0;
	return ((uint64_t)u.ru_utime.tv_sec + (uint64_t)u.ru_stime.tv_sec) * 1000000 + (uint64_t)u.ru_utime.tv_usec +
	       (uint64_t)u.ru_stime.tv_usec;
}

static void put_process(struct put *p, const struct gateway *g, const struct generation *gen)
{
	static const struct family build = {"weir_build_info", GAUGE, NULL,
					    "The version, and the node's name. Always 1."},
				   start = {"weir_process_start_time_seconds", GAUGE, "seconds",
					    "When the process started, since 1970."},
				   cpu = {"weir_process_cpu_seconds", COUNTER, "seconds",
					  "Processor time of all threads."},
				   draining = {"weir_draining", GAUGE, NULL, "1 while weir is on its way to its end."},
				   workers = {"weir_workers", GAUGE, NULL, "Threads that serve requests."},
				   reloads = {"weir_config_reloads", COUNTER, NULL,
					      "Configurations that were read and taken after the first."},
				   refused = {"weir_config_reloads_refused", COUNTER, NULL,
					      "Configurations that were read and refused."};
	struct watch_process now;

	watch_process(g->watch, &now);
	begin(p, &build);
	put_sample(p, LABELS({"version", WEIR_VERSION}, {"node", gen->conf->node}), 1);
	put_one_us(p, &start, now.started_s > 0 ? (uint64_t)now.started_s * 1000000 : 0);
	put_one_us(p, &cpu, cpu_us());
	put_one(p, &draining, strcmp(now.state, "starting") != 0 && strcmp(now.state, "running") != 0);
	put_one(p, &workers, g->worker_count);
	put_one(p, &reloads, now.generation > 0 ? now.generation - 1 : 0);
	put_one(p, &refused, now.reloads_failed);
}

/* --- requests --- */

static void put_ends(struct put *p, const struct metrics_sum *m)
{
	static const struct family ended = {"weir_requests_ended", COUNTER, NULL,
					    "Requests by how they ended: with the application's answer, with one of "
					    "weir's own or a cut one, or because the web server went away."};
	static const char *const ends[METRICS_ENDS] = {"ok", "failed", "aborted"};

	begin(p, &ended);
	for (size_t i = 0; i < METRICS_ENDS; i++)
		put_sample(p, LABELS({"end", ends[i]}), m->ended[i]);
}

static void put_responses(struct put *p, const struct metrics_sum *m)
{
	static const struct family responses = {"weir_responses", COUNTER, NULL,
						"Answers by their status; none: cut, refused, or without a status."};
	static const char *const classes[METRICS_STATUS_CLASSES] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};

	begin(p, &responses);
	for (size_t i = 0; i < METRICS_STATUS_CLASSES; i++)
		put_sample(p, LABELS({"class", classes[i]}), m->status[i]);
}

static void put_latency(struct put *p, const struct metrics_sum *m)
{
	static const struct family duration = {"weir_request_duration_seconds", HISTOGRAM, "seconds",
					       "From the first variable of a request to the end of the application's "
					       "answer."};
	uint64_t below = 0;

	begin(p, &duration);
	for (size_t i = 0; i < METRICS_BUCKETS - 1; i++) {
		below += m->latency[i];
		buf_put_str(p->out, "weir_request_duration_seconds_bucket{le=\"");
		put_seconds(p->out, metrics_bounds_us[i]);
		buf_put_str(p->out, "\"} ");
		buf_put_u64(p->out, below);
		buf_put_str(p->out, "\n");
	}
	below += m->latency[METRICS_BUCKETS - 1];
	put_name(p, "_bucket", LABELS({"le", "+Inf"}));
	buf_put_u64(p->out, below);
	buf_put_str(p->out, "\nweir_request_duration_seconds_sum ");
	put_seconds(p->out, m->latency_us);
	buf_put_str(p->out, "\nweir_request_duration_seconds_count ");
	buf_put_u64(p->out, below);
	buf_put_str(p->out, "\n");
}

static void put_requests(struct put *p, const struct totals *t)
{
	static const struct family
	    connections = {"weir_front_connections", GAUGE, NULL, "Connections of web servers."},
	    begun = {"weir_requests", COUNTER, NULL, "Requests that have begun, without those for the status page."},
	    running = {"weir_requests_running", GAUGE, NULL, "Requests that have begun and not ended."},
	    in = {"weir_request_body_bytes", COUNTER, "bytes", "Bodies of requests."},
	    out = {"weir_response_bytes", COUNTER, "bytes", "Answers, with their heads."},
	    told = {"weir_session_requests", COUNTER, NULL,
		    "Requests of apps with sessions, by what the application was told of it or can find."},
	    dropped = {"weir_session_writes_dropped", COUNTER, NULL,
		       "Writes to adopted sessions that had ended under who wrote."},
	    page = {"weir_status_requests", COUNTER, NULL, "Requests for the status page."};
	const struct metrics_sum *m = &t->requests;

	put_one(p, &connections, t->connections);
	put_one(p, &begun, m->begun);
	put_one(p, &running, totals_running(t));
	put_ends(p, m);
	put_responses(p, m);
	put_latency(p, m);
	put_one(p, &in, m->in_bytes);
	put_one(p, &out, m->out_bytes);
	begin(p, &told);
	put_sample(p, LABELS({"state", "none"}), m->session_none);
	put_sample(p, LABELS({"state", "new"}), m->session_new);
	put_sample(p, LABELS({"state", "live"}), m->session_live);
	put_one(p, &dropped, m->session_dropped);
	put_one(p, &page, m->status_page);
}

/* --- sessions --- */

static bool has_below(const struct stack_stats *s)
{
	return s->below != STACK_BELOW_NONE;
}

/* A number of each store that there is. */
static void put_stores(struct put *p, const struct family *f, const struct stack_stats *s, uint64_t memory,
		       uint64_t below)
{
	begin(p, f);
	put_sample(p, LABELS({"store", "memory"}), memory);
	if (has_below(s))
		put_sample(p, LABELS({"store", "disk"}), below);
}

static void put_store_sizes(struct put *p, const struct stack_stats *s)
{
	static const struct family sessions = {"weir_sessions", GAUGE, NULL,
					       "Sessions in each store. Those in both count in both."},
				   bytes = {"weir_session_bytes", GAUGE, "bytes",
					    "What the sessions of each store take."},
				   max = {"weir_session_max_bytes", GAUGE, "bytes", "What they may take at most."},
				   expired = {"weir_sessions_expired", COUNTER, NULL,
					      "Sessions that came to the end of their time."},
				   up = {"weir_store_up", GAUGE, NULL, "1 while the store can be read."},
				   full = {"weir_store_full", GAUGE, NULL, "1 while the store takes nothing more."};
	bool readable = s->below == STACK_BELOW_READY || s->below == STACK_BELOW_FULL;

	put_stores(p, &sessions, s, s->sessions, s->below_sessions);
	put_stores(p, &bytes, s, s->bytes, s->below_bytes);
	put_stores(p, &max, s, s->max_bytes, s->below_max_bytes);
	put_stores(p, &expired, s, s->expired, s->below_expired);
	put_stores(p, &up, s, 1, readable);
	if (!has_below(s))
		return;
	begin(p, &full);
	put_sample(p, LABELS({"store", "disk"}), s->below == STACK_BELOW_FULL);
}

static void put_session_events(struct put *p, const struct stack_stats *s)
{
	static const struct family created = {"weir_sessions_created", COUNTER, NULL, "Sessions that were made."},
				   renewed = {"weir_sessions_renewed", COUNTER, NULL, "Sessions that got a new id."},
				   ended = {"weir_sessions_ended", COUNTER, NULL,
					    "Sessions that an application or an operator ended."},
				   pinned = {"weir_sessions_pinned", GAUGE, NULL,
					     "Sessions that stay in memory because an operator said so."},
				   pinned_bytes = {"weir_session_pinned_bytes", GAUGE, "bytes", "What they take."},
				   pinned_max = {"weir_session_pinned_max_bytes", GAUGE, "bytes",
						 "What they may take; no more are pinned then."},
				   waiters = {"weir_session_waiters", GAUGE, NULL, "Requests that wait for a session."},
				   room = {"weir_session_room_waits", COUNTER, NULL,
					   "Requests that waited for room in memory."};

	put_one(p, &created, s->created);
	put_one(p, &renewed, s->renewed);
	put_one(p, &ended, s->ended);
	put_one(p, &pinned, s->pinned);
	put_one(p, &pinned_bytes, s->pinned_bytes);
	put_one(p, &pinned_max, s->pinned_max_bytes);
	put_one(p, &waiters, s->waiters);
	put_one(p, &room, s->room_waits);
}

static void put_moves(struct put *p, const struct stack_stats *s)
{
	static const struct family
	    both = {"weir_sessions_in_both", GAUGE, NULL, "Sessions that are in memory and on disk."},
	    demoted = {"weir_sessions_demoted", COUNTER, NULL, "Sessions that went from memory to disk."},
	    promoted = {"weir_sessions_promoted", COUNTER, NULL, "Sessions that came from disk to memory."},
	    missed = {"weir_sessions_missed", COUNTER, NULL, "Sessions that were asked for and were not there."},
	    unreadable = {"weir_sessions_unreadable", COUNTER, NULL,
			  "Sessions on disk that are damaged or of a newer format."},
	    troubles = {"weir_store_troubles", COUNTER, NULL,
			"Times that the store on disk broke or could not be opened, until it was open again."};

	if (!has_below(s))
		return;
	put_one(p, &both, s->both);
	put_one(p, &demoted, s->demoted);
	put_one(p, &promoted, s->promoted);
	put_one(p, &missed, s->missed);
	put_one(p, &unreadable, s->unreadable);
	put_one(p, &troubles, s->troubles);
}

/* --- apps and backends --- */

static uint64_t app_waiting(const struct generation_app *a)
{
	return a->waiting;
}

static uint64_t app_queue(const struct generation_app *a)
{
	return a->queue;
}

static uint64_t app_running(const struct generation_app *a)
{
	return !a->stopped;
}

static void put_apps(struct put *p, const struct generation *g)
{
	static const struct {
		struct family family;
		uint64_t (*value)(const struct generation_app *a);
	} rows[] = {
	    {{"weir_app_up", GAUGE, NULL, "0: stopped by an operator."}, app_running},
	    {{"weir_app_queue", GAUGE, NULL, "Requests that wait for a connection to a backend."}, app_waiting},
	    {{"weir_app_queue_limit", GAUGE, NULL, "How many may wait."}, app_queue},
	};
	struct generation_app a;

	for (size_t row = 0; g->conf->app_count > 0 && row < sizeof rows / sizeof *rows; row++) {
		begin(p, &rows[row].family);
		for (size_t i = 0; i < g->conf->app_count; i++) {
			generation_app(g, i, &a);
			put_sample(p, LABELS({"app", a.name}), rows[row].value(&a));
		}
	}
}

static uint64_t backend_up(const struct generation_backend *b)
{
	return !b->down && !b->suspended;
}

static uint64_t backend_drained(const struct generation_backend *b)
{
	return b->drained;
}

static uint64_t backend_limit(const struct generation_backend *b)
{
	return b->connections;
}

static uint64_t backend_requests(const struct generation_backend *b)
{
	return b->requests;
}

static uint64_t backend_failures(const struct generation_backend *b)
{
	return b->failures;
}

/* Without a value: its connections, by what they do. */
static void put_backend(const struct put *p, const struct generation_backend *b,
			uint64_t (*value)(const struct generation_backend *b))
{
	if (value) {
		put_sample(p, LABELS({"app", b->app}, {"backend", b->name}), value(b));
		return;
	}
	put_sample(p, LABELS({"app", b->app}, {"backend", b->name}, {"state", "active"}), b->active);
	put_sample(p, LABELS({"app", b->app}, {"backend", b->name}, {"state", "idle"}), b->idle);
}

static void put_backends(struct put *p, const struct generation *g)
{
	static const struct {
		struct family family;
		uint64_t (*value)(const struct generation_backend *b);
	} rows[] = {
	    {{"weir_backend_up", GAUGE, NULL, "0: left alone after failures, or no process of it runs."}, backend_up},
	    {{"weir_backend_drained", GAUGE, NULL, "1: gets no new request, an operator said so."}, backend_drained},
	    {{"weir_backend_connections", GAUGE, NULL, "Connections with a request, and those that are kept."}, NULL},
	    {{"weir_backend_connections_limit", GAUGE, NULL, "Connections that may be open."}, backend_limit},
	    {{"weir_backend_requests", COUNTER, NULL, "Requests since the configuration was read."}, backend_requests},
	    {{"weir_backend_failures", COUNTER, NULL,
	      "Times that the backend failed: no connection, a broken one, a malformed or late answer."},
	     backend_failures},
	};
	struct generation_backend b;

	for (size_t row = 0; g->conf->app_count > 0 && row < sizeof rows / sizeof *rows; row++) {
		begin(p, &rows[row].family);
		for (size_t i = 0; i < g->conf->app_count; i++) {
			for (size_t k = 0; k < g->conf->apps[i].backend_count; k++) {
				generation_backend(g, i, k, &b);
				put_backend(p, &b, rows[row].value);
			}
		}
	}
}

/* --- the cluster --- */

static void put_fences(struct put *p, const struct gateway *g, const struct totals *t, const struct member_look *l)
{
	static const struct family fenced = {"weir_cluster_fenced", GAUGE, NULL,
					     "1 while requests that need a session get 503."},
				   seconds = {"weir_cluster_fenced_seconds", COUNTER, "seconds",
					      "How long it was so, to a second or so."},
				   refused = {"weir_cluster_fenced_refusals", COUNTER, NULL,
					      "Requests, and commands of session sockets, refused because of it."};

	put_one(p, &fenced, !cluster_may_act(g->cluster, clock_lease()));
	put_one_us(p, &seconds, l->fenced_ms * 1000);
	begin(p, &refused);
	put_sample(p, LABELS({"kind", "request"}), t->requests.fenced_requests);
	put_sample(p, LABELS({"kind", "command"}), t->requests.fenced_commands);
}

static void put_state(struct put *p, const struct cluster_picture *c)
{
	static const struct family state = {"weir_cluster_state", GAUGE, NULL, "1 for the state that this node is in."};
	static const char *const states[] = {"seeking", "member", "fenced", "leaving"};

	begin(p, &state);
	for (size_t i = 0; i < sizeof states / sizeof *states; i++)
		put_sample(p, LABELS({"state", states[i]}), strcmp(c->state, states[i]) == 0);
}

static void put_links(struct put *p, const struct cluster_picture *c)
{
	static const struct family links = {"weir_cluster_links", GAUGE, NULL,
					    "Links to other nodes by their state; two to each node are good."},
				   reconnects = {"weir_cluster_link_reconnects", GAUGE, NULL,
						 "How often the links that there are now were made anew, in all."};
	static const char *const states[] = {"open", "dialling", "none"};
	uint64_t again = 0;

	begin(p, &links);
	for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
		uint64_t n = 0;
		for (size_t k = 0; k < c->link_count; k++)
			n += strcmp(c->links[k].state, states[i]) == 0;
		put_sample(p, LABELS({"state", states[i]}), n);
	}
	for (size_t k = 0; k < c->link_count; k++)
		again += c->links[k].reconnects;
	put_one(p, &reconnects, again);
}

/* A name that has its end. */
static const char *name_of(struct view name, char out[CLUS_NAME_MAX + 1])
{
	memcpy(out, name.at, name.len);
	out[name.len] = '\0';
	return out;
}

/* Without `mine`: those that are lost, whosever they are. */
static void put_buckets(struct put *p, const struct family *f, const struct clus_view *v, uint16_t self, bool mine)
{
	char name[CLUS_NAME_MAX + 1];

	if (v->app_count > 0)
		begin(p, f);
	for (uint16_t a = 0; a < v->app_count; a++) {
		uint64_t n = 0;
		for (uint32_t b = 0; b < v->apps[a].buckets; b++)
			n += mine ? self != CLUS_NONE && v->apps[a].map[b].manager == self : v->apps[a].map[b].lost;
		put_sample(p, LABELS({"app", name_of(v->apps[a].name, name)}), n);
	}
}

static void put_view(struct put *p, const struct clus_view *v, uint16_t self)
{
	static const struct family members = {"weir_cluster_members", GAUGE, NULL, "Members in the view."},
				   voters = {"weir_cluster_voters", GAUGE, NULL, "Nodes whose votes count."},
				   buckets = {"weir_cluster_buckets", GAUGE, NULL, "Buckets that this node manages."},
				   lost = {"weir_cluster_buckets_lost", GAUGE, NULL,
					   "Buckets whose manager has still to ask all others for their sessions."},
				   disagree = {"weir_cluster_disagreements", GAUGE, NULL,
					       "Members that host an app with other settings than those that count."};
	uint64_t others = 0;

	put_one(p, &members, v->member_count);
	put_one(p, &voters, v->voter_count);
	put_buckets(p, &buckets, v, self, true);
	put_buckets(p, &lost, v, self, false);
	for (uint16_t m = 0; m < v->member_count; m++) {
		for (uint16_t i = 0; i < v->members[m].hosted_count; i++) {
			const struct clus_hosted *h = &v->members[m].hosted[i];
			others += h->digest != v->apps[h->app].digest;
		}
	}
	put_one(p, &disagree, others);
}

static void put_cluster(struct put *p, const struct gateway *g, const struct totals *t)
{
	static const struct family epoch = {"weir_cluster_epoch", GAUGE, NULL, "Of the view; 0: there is none."},
				   coordinator = {"weir_cluster_coordinator", GAUGE, NULL,
						  "1 while this node coordinates."},
				   majority = {"weir_cluster_majority", GAUGE, NULL,
					       "1 while it hears a majority of the voters."},
				   broken = {"weir_cluster_broken", GAUGE, NULL,
					     "1: its control database has failed, and it is fenced until a restart."},
				   ends = {"weir_cluster_certificate_end_seconds", GAUGE, "seconds",
					   "When its certificate ends, or its revocation list, since 1970."};
	struct member_look *l = g->member ? member_take(g->member) : NULL;

	if (!l)
		return;
	const struct cluster_picture *c = &l->picture;
	put_fences(p, g, t, l);
	put_state(p, c);
	put_one(p, &epoch, c->epoch);
	put_one(p, &coordinator, c->coordinates);
	put_one(p, &majority, c->majority);
	put_one(p, &broken, l->broken);
	put_one_us(p, &ends, l->certificate_ends_s > 0 ? (uint64_t)l->certificate_ends_s * 1000000 : 0);
	put_links(p, c);
	if (c->view)
		put_view(p, &c->view->view, clus_view_member(&c->view->view, view_str(l->node)));
	member_unref(&l);
}

const char *openmetrics_type(enum openmetrics_form form)
{
	return form == OPENMETRICS_STRICT ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
					  : "text/plain; version=0.0.4; charset=utf-8";
}

void openmetrics_put(const struct gateway *g, const struct generation *gen, enum openmetrics_form form, struct buf *out)
{
	struct put p = {.out = out, .form = form};
	struct totals t;

	totals_gather(g, &t);
	put_process(&p, g, gen);
	put_requests(&p, &t);
	put_store_sizes(&p, &t.sessions);
	put_session_events(&p, &t.sessions);
	put_moves(&p, &t.sessions);
	put_apps(&p, gen);
	put_backends(&p, gen);
	put_cluster(&p, g, &t);
	buf_put_str(out, "# EOF\n");
}
