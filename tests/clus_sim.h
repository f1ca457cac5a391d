/* Several nodes' cores in one process: a clock that is only a number, links that are cut and healed, processes that are
 * killed, stopped and started again, and a control plane of a few lines (one coordinator, elected by a majority of the
 * voters; a view is agreed on when a majority has stored it). The same seed gives the same run.
 *
 * What must hold is looked at after every step: tests/clus_check.h. */
#ifndef WEIR_TESTS_CLUS_SIM_H
#define WEIR_TESTS_CLUS_SIM_H

#include "cluster/core.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	SIM_NODES = 8,
	SIM_STEP_MS = 5,
	SIM_FAILURE_MS = 2000,
	SIM_BUCKETS = 24,
	SIM_LINES = 400,
	SIM_LINE = 160,
};

/* One frame under way, or a word of the control plane to its own core (from == to). */
struct sim_mail {
	struct sim_mail *next;
	unsigned from, to;
	uint64_t due_ms, link; /* link: which connection it is on; another one by now: it is gone */
	struct clus_event event;
	struct peer_beat beat;
	struct peer_report report;
	uint64_t sent_ms, echo_ms; /* of a beat: the sender's clock, and the receiver's */
	char name[CLUS_NAME_MAX + 1];
	size_t len;
	uint8_t *bytes; /* owned */
};

struct sim_bytes {
	uint8_t *at; /* owned */
	size_t len;
	uint64_t epoch, term;
};

/* One node's control plane. What is in `kept` outlives its process. */
struct sim_control {
	struct {
		uint64_t term;
		struct sim_bytes record;
		unsigned voters;      /* bits: nodes */
		unsigned voter_count; /* with those that have no name yet */
	} kept;
	bool coordinates, started, pending;
	int leader;             /* -1: none */
	uint64_t elect_ms;      /* it tries then */
	uint64_t not_before_ms; /* it has stepped down */
	struct sim_bytes proposal;
	unsigned proposal_voters, proposal_count, acks;
	uint64_t proposal_ms;
	bool own; /* its record is agreed on in this term */
};

struct sim_node {
	char name[16];
	struct peer_hello hello;
	char address[32];
	char settings[64];
	struct clus_core *core; /* NULL: not running */
	bool paused, host_down, exited;
	unsigned peers; /* bits: its `peers` */
	struct sim_control control;
	struct {
		uint64_t id;                /* 0: not linked */
		uint64_t heard_ms, seen_ms; /* our clock, then; the other's when its last beat left */
		uint64_t dial_ms;
		uint64_t incarnation; /* of the other one */
	} link[SIM_NODES];
	uint64_t forbidden[SIM_NODES];
	uint64_t lied_about; /* of this incarnation somebody has heard that its host refuses, and it lived */
	uint64_t tick_ms, beat_ms;
	uint64_t skew_ms, rate; /* its clock: skew + now * rate / 1000 */
	uint64_t last_epoch;    /* installed in this life */
	uint64_t lives;
	uint8_t cluster[CLUS_ID_BYTES]; /* on its disk */
	bool fenced;
	enum clus_state state;
	char lines[SIM_LINES][SIM_LINE];
	unsigned line_count;
};

struct sim {
	uint64_t now_ms, seed, random, links, incarnations;
	unsigned count;
	struct sim_node nodes[SIM_NODES];
	bool cut[SIM_NODES][SIM_NODES];     /* from, to */
	bool refused[SIM_NODES][SIM_NODES]; /* from, to: something on the way says that nobody listens */
	struct sim_mail *mail;              /* in the order of sending */
	unsigned delay_ms;                  /* of a frame, at most */
	bool verbose;
	uint64_t trace; /* a hash of all that has happened */
	bool no_asking; /* nobody says what is in lost buckets */
	void (*check)(struct sim *s);
	void (*agreed)(struct sim *s, struct view bytes);
	void (*installed)(struct sim *s, unsigned i, const struct clus_effect *e);
};

/* --- chance and words --- */

static inline uint64_t sim_random(struct sim *s)
{
	uint64_t z = s->random += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static inline uint64_t sim_below(struct sim *s, uint64_t n)
{
	return sim_random(s) % n;
}

__attribute__((format(printf, 3, 4))) static inline void sim_say(struct sim *s, unsigned i, const char *format, ...)
{
	struct sim_node *n = &s->nodes[i];
	char *line = n->lines[n->line_count % SIM_LINES];
	va_list args;

	va_start(args, format);
	vsnprintf(line, SIM_LINE, format, args);
	va_end(args);
	n->line_count++;
	if (s->verbose)
		printf("%8.3f %-6s %s\n", (double)s->now_ms / 1000, n->name, line);
	for (const char *p = line; *p; p++)
		s->trace = (s->trace ^ (uint8_t)*p) * UINT64_C(0x100000001b3);
	s->trace = (s->trace ^ (s->now_ms << 8 ^ i)) * UINT64_C(0x100000001b3);
}

/* How many of its lines have this in them. */
static inline unsigned sim_said(const struct sim *s, unsigned i, const char *what)
{
	const struct sim_node *n = &s->nodes[i];
	unsigned found = 0;

	for (unsigned k = 0; k < n->line_count && k < SIM_LINES; k++)
		found += strstr(n->lines[k], what) != NULL;
	return found;
}

static inline struct lease_time sim_clock(const struct sim *s, unsigned i)
{
	return (struct lease_time){s->nodes[i].skew_ms + s->now_ms * s->nodes[i].rate / 1000};
}

static inline int sim_find(const struct sim *s, struct view name)
{
	for (unsigned i = 0; i < s->count; i++) {
		if (view_eq(view_str(s->nodes[i].name), name))
			return (int)i;
	}
	return -1;
}

/* A process that takes turns. */
static inline bool sim_runs(const struct sim *s, unsigned i)
{
	return s->nodes[i].core && !s->nodes[i].paused;
}

static inline bool sim_reach(const struct sim *s, unsigned i, unsigned k)
{
	return sim_runs(s, i) && sim_runs(s, k) && !s->cut[i][k] && !s->cut[k][i];
}

/* The control planes' messages go over links. */
static inline bool sim_linked(const struct sim *s, unsigned i, unsigned k)
{
	return sim_reach(s, i, k) && s->nodes[i].link[k].id != 0 && s->nodes[i].link[k].id == s->nodes[k].link[i].id;
}

/* --- mail --- */

static inline struct sim_mail *sim_post(struct sim *s, unsigned from, unsigned to, enum clus_event_kind kind,
					struct view bytes)
{
	struct sim_mail *m = calloc(1, sizeof *m), **at = &s->mail;

	m->from = from;
	m->to = to;
	m->event.kind = kind;
	m->link = from == to ? 0 : s->nodes[from].link[to].id;
	m->due_ms = s->now_ms + sim_below(s, s->delay_ms + 1);
	m->bytes = malloc(bytes.len + 1);
	m->len = bytes.len;
	if (bytes.len > 0)
		memcpy(m->bytes, bytes.at, bytes.len);
	while (*at)
		at = &(*at)->next;
	*at = m;
	return m;
}

static inline void sim_name(struct sim_mail *m, struct view name)
{
	assert(name.len <= CLUS_NAME_MAX);
	if (name.len > 0)
		memcpy(m->name, name.at, name.len);
}

static inline void sim_drain(struct sim *s, unsigned i);

/* The core's step, and all that follows from it. */
static inline void sim_step_core(struct sim *s, unsigned i, struct clus_event *e)
{
	e->now = sim_clock(s, i);
	assert(s->nodes[i].core);
	int err = clus_core_step(s->nodes[i].core, e);
	assert(err == 0);
	clus_core_check(s->nodes[i].core);
	sim_drain(s, i);
}

static inline void sim_tell(struct sim *s, unsigned i, enum clus_event_kind kind, struct view name, uint64_t number)
{
	struct clus_event e = {.kind = kind, .name = name, .number = number};

	if (s->nodes[i].core)
		sim_step_core(s, i, &e);
}

/* --- links --- */

static inline void sim_link_gone(struct sim *s, unsigned i, unsigned k, enum clus_down why)
{
	uint64_t incarnation = s->nodes[i].link[k].incarnation;

	if (s->nodes[i].link[k].id == 0)
		return;
	s->nodes[i].link[k].id = 0;
	s->nodes[i].link[k].dial_ms = s->now_ms + 50 + sim_below(s, 200);
	if (!s->nodes[i].core)
		return;
	struct sim_mail *m = sim_post(s, i, i, CLUS_LINK_DOWN, view_of(NULL, 0));
	m->event.down = why;
	m->event.number = incarnation;
	m->due_ms = s->now_ms;
	sim_name(m, view_str(s->nodes[k].name));
}

/* i ends it; k hears of it if anything of i reaches it. */
static inline void sim_close(struct sim *s, unsigned i, unsigned k, enum clus_down other)
{
	uint64_t id = s->nodes[i].link[k].id;

	if (id == 0)
		return;
	sim_link_gone(s, i, k, CLUS_DOWN_CLOSED);
	if (s->nodes[k].link[i].id == id && !s->cut[i][k])
		sim_link_gone(s, k, i, other);
}

static inline void sim_close_all(struct sim *s, unsigned i, enum clus_down other)
{
	for (unsigned k = 0; k < s->count; k++) {
		if (k != i)
			sim_close(s, i, k, other);
	}
}

static inline bool sim_knows(const struct sim *s, unsigned i, unsigned k)
{
	const struct clus_view *v = s->nodes[i].core ? clus_core_known(s->nodes[i].core) : NULL;

	return (s->nodes[i].peers >> k & 1) || (v && clus_view_member(v, view_str(s->nodes[k].name)) != CLUS_NONE);
}

static inline void sim_greet(struct sim *s, unsigned i, unsigned k)
{
	struct peer_hello hello = s->nodes[k].hello;
	struct clus_event up = {.kind = CLUS_LINK_UP, .hello = &hello};

	hello.epoch = clus_core_epoch(s->nodes[k].core);
	memcpy(hello.cluster, clus_core_cluster(s->nodes[k].core), sizeof hello.cluster);
	s->nodes[i].link[k].incarnation = hello.incarnation;
	s->nodes[i].link[k].heard_ms = s->now_ms;
	s->nodes[i].link[k].seen_ms = 0;
	up.name = hello.name;
	if (s->nodes[i].peers >> k & 1)
		sim_tell(s, i, CLUS_PEER_NAMED, view_str(s->nodes[k].name),
			 (uint64_t)__builtin_popcount(s->nodes[i].peers & ((1U << k) - 1)));
	sim_step_core(s, i, &up);
}

/* k's host answers that nobody listens, or a firewall does. */
static inline void sim_is_refused(struct sim *s, unsigned i, unsigned k)
{
	struct sim_mail *m = sim_post(s, i, i, CLUS_LINK_DOWN, view_of(NULL, 0));
	const struct clus_view *v = clus_core_known(s->nodes[i].core);
	uint16_t known = v ? clus_view_member(v, view_str(s->nodes[k].name)) : CLUS_NONE;

	m->due_ms = s->now_ms;
	m->event.down = CLUS_DOWN_REFUSED;
	m->event.number = known == CLUS_NONE ? 0 : v->members[known].incarnation;
	sim_name(m, view_str(s->nodes[k].name));
	if (s->nodes[k].core && m->event.number == s->nodes[k].hello.incarnation)
		s->nodes[k].lied_about = m->event.number;
}

static inline void sim_dial(struct sim *s, unsigned i, unsigned k)
{
	struct sim_node *a = &s->nodes[i], *b = &s->nodes[k];

	a->link[k].dial_ms = s->now_ms + 50 + sim_below(s, 300);
	if (s->cut[i][k] || s->cut[k][i] || b->host_down)
		return;
	if (!b->core || s->refused[i][k]) {
		sim_is_refused(s, i, k);
		return;
	}
	if (b->paused)
		return;
	if (a->forbidden[k] == b->hello.incarnation || b->forbidden[i] == a->hello.incarnation) {
		unsigned out = a->forbidden[k] == b->hello.incarnation ? k : i;
		struct sim_mail *m = sim_post(s, out, out, CLUS_LINK_DOWN, view_of(NULL, 0));
		m->event.down = CLUS_DOWN_REMOVED;
		sim_name(m, view_str(s->nodes[out == i ? k : i].name));
		return;
	}
	/* One side may still have another connection, of an incarnation before: it is told by HELLO alone. */
	a->link[k].id = b->link[i].id = ++s->links;
	sim_greet(s, i, k);
	if (a->core && b->core && a->link[k].id == b->link[i].id && a->link[k].id != 0)
		sim_greet(s, k, i);
}

static inline void sim_dial_all(struct sim *s)
{
	for (unsigned i = 0; i < s->count; i++) {
		for (unsigned k = 0; k < s->count; k++) {
			if (i != k && sim_runs(s, i) && s->nodes[i].link[k].id == 0 &&
			    s->nodes[i].link[k].dial_ms <= s->now_ms && sim_knows(s, i, k))
				sim_dial(s, i, k);
		}
	}
}

static inline void sim_beat(struct sim *s, unsigned i, unsigned k)
{
	struct buf heard = {0};

	clus_core_heard(s->nodes[i].core, view_str(s->nodes[k].name), &heard);
	struct sim_mail *m = sim_post(s, i, k, CLUS_BEAT, buf_view(&heard));
	m->beat.epoch = clus_core_epoch(s->nodes[i].core);
	m->sent_ms = sim_clock(s, i).ms;
	m->echo_ms = s->nodes[i].link[k].seen_ms;
	buf_fini(&heard);
}

static inline void sim_beats(struct sim *s, unsigned i)
{
	if (s->now_ms < s->nodes[i].beat_ms)
		return;
	s->nodes[i].beat_ms = s->now_ms + SIM_FAILURE_MS / 8;
	for (unsigned k = 0; k < s->count; k++) {
		if (s->nodes[i].link[k].id == 0)
			continue;
		if (s->now_ms - s->nodes[i].link[k].heard_ms >= SIM_FAILURE_MS) {
			uint64_t id = s->nodes[i].link[k].id;
			sim_link_gone(s, i, k, CLUS_DOWN_SILENT);
			if (s->nodes[k].link[i].id == id && !s->cut[i][k])
				sim_link_gone(s, k, i, CLUS_DOWN_CLOSED);
		} else {
			sim_beat(s, i, k);
		}
	}
}

static inline bool sim_is_due(const struct sim *s, const struct sim_mail *m)
{
	return m->due_ms <= s->now_ms && !s->nodes[m->to].paused && !s->cut[m->from][m->to];
}

static inline void sim_deliver(struct sim *s, struct sim_mail *m)
{
	struct sim_node *n = &s->nodes[m->to];

	if (!n->core || (m->from != m->to && (m->link == 0 || n->link[m->from].id != m->link)))
		return;
	m->event.name = m->from == m->to ? view_str(m->name) : view_str(s->nodes[m->from].name);
	m->event.bytes = m->beat.heard = view_of(m->bytes, m->len);
	m->event.beat = &m->beat;
	m->event.report = &m->report;
	m->report.name = view_str(m->name);
	if (m->from != m->to)
		n->link[m->from].heard_ms = s->now_ms;
	if (m->event.kind == CLUS_BEAT) {
		n->link[m->from].seen_ms = m->sent_ms;
		m->event.confirmed = (struct lease_time){m->echo_ms};
	}
	sim_step_core(s, m->to, &m->event);
}

/* What waits before it on the same way goes first: on a link, or from the control plane. */
static inline bool sim_is_behind(const struct sim *s, const struct sim_mail *m)
{
	bool own = m->from == m->to;

	if (own && (m->event.kind < CLUS_COORDINATES || m->event.kind > CLUS_LEARNT))
		return false;
	for (const struct sim_mail *k = s->mail; k != m; k = k->next) {
		bool word = k->event.kind >= CLUS_COORDINATES && k->event.kind <= CLUS_LEARNT;
		if (k->from == m->from && k->to == m->to && (!own || word))
			return true;
	}
	return false;
}

static inline void sim_deliver_all(struct sim *s)
{
	for (struct sim_mail **at = &s->mail; *at;) {
		struct sim_mail *m = *at;
		if (!sim_is_due(s, m) || sim_is_behind(s, m)) {
			at = &m->next;
			continue;
		}
		*at = m->next;
		sim_deliver(s, m);
		free(m->bytes);
		free(m);
		at = &s->mail; /* the list may be another one now */
	}
}

#endif
