/* The control plane of the simulated cluster, what its nodes do with their cores' effects, and their lives. Part of
 * tests/clus_sim.h. */
#ifndef WEIR_TESTS_CLUS_CONTROL_H
#define WEIR_TESTS_CLUS_CONTROL_H

#include "tests/clus_sim.h"

/* --- the control plane --- */

static inline void sim_keep(struct sim_bytes *to, struct view bytes, uint64_t epoch, uint64_t term)
{
	uint8_t *copy = malloc(bytes.len + 1);

	if (bytes.len > 0)
		memcpy(copy, bytes.at, bytes.len);
	free(to->at);
	*to = (struct sim_bytes){copy, bytes.len, epoch, term};
}

static inline struct view sim_view(const struct sim_bytes *b)
{
	return view_of(b->at, b->len);
}

/* A word of the control plane comes a little later, and in its turn. */
static inline void sim_word(struct sim *s, unsigned i, enum clus_event_kind kind, struct view bytes)
{
	struct sim_mail *m = sim_post(s, i, i, kind, bytes);

	for (unsigned b = 0; b < CLUS_ID_BYTES; b++)
		m->event.random[b] = (uint8_t)(sim_random(s) | 1);
}

static inline void sim_follow(struct sim *s, unsigned i, int leader)
{
	struct sim_control *c = &s->nodes[i].control;

	if (c->leader == leader && !c->coordinates)
		return;
	if (c->coordinates && c->pending)
		sim_word(s, i, CLUS_LOST, sim_view(&c->proposal));
	c->coordinates = c->pending = c->own = false;
	c->leader = leader;
	c->elect_ms = s->now_ms + 100 + sim_below(s, 500);
	sim_word(s, i, leader < 0 ? CLUS_LEADERLESS : CLUS_FOLLOWS, view_of(NULL, 0));
}

static inline bool sim_is_newer(const struct sim_bytes *a, const struct sim_bytes *b)
{
	return a->term > b->term || (a->term == b->term && a->epoch > b->epoch);
}

static inline void sim_elect(struct sim *s, unsigned i)
{
	struct sim_control *c = &s->nodes[i].control;
	uint64_t term = c->kept.term + 1;
	unsigned votes = 0;

	c->elect_ms = s->now_ms + 100 + sim_below(s, 500);
	if (!(c->kept.voters >> i & 1) || s->now_ms < c->not_before_ms)
		return;
	for (unsigned k = 0; k < s->count; k++) {
		struct sim_control *o = &s->nodes[k].control;
		if (!(c->kept.voters >> k & 1) || (k != i && !sim_linked(s, i, k)) || !o->started)
			continue;
		if ((o->kept.voters >> i & 1) && !sim_is_newer(&o->kept.record, &c->kept.record))
			votes |= 1U << k;
		term = o->kept.term >= term ? o->kept.term + 1 : term;
	}
	if ((unsigned)__builtin_popcount(votes) * 2 <= c->kept.voter_count)
		return;
	for (unsigned k = 0; k < s->count; k++) {
		if (!(votes >> k & 1))
			continue;
		s->nodes[k].control.kept.term = term;
		s->nodes[k].control.not_before_ms = 0;
		if (k != i)
			sim_follow(s, k, (int)i);
	}
	c->coordinates = true;
	c->leader = (int)i;
	sim_word(s, i, CLUS_COORDINATES, sim_view(&c->kept.record));
}

/* Follows who has the greatest term of those that it reaches; has nobody when its own is out of reach. */
static inline void sim_look_for_leader(struct sim *s, unsigned i)
{
	struct sim_control *c = &s->nodes[i].control;

	for (unsigned k = 0; k < s->count; k++) {
		struct sim_control *o = &s->nodes[k].control;
		if (k == i || !sim_linked(s, i, k) || !o->coordinates)
			continue;
		if (o->kept.term > c->kept.term || (o->kept.term == c->kept.term && !c->coordinates)) {
			c->kept.term = o->kept.term;
			sim_follow(s, i, (int)k);
		}
	}
	if (c->coordinates || c->leader < 0)
		return;
	struct sim_control *o = &s->nodes[c->leader].control;
	if ((!sim_linked(s, i, (unsigned)c->leader) || !o->coordinates || o->kept.term != c->kept.term) &&
	    sim_below(s, 20) == 0)
		sim_follow(s, i, -1);
}

static inline void sim_agree(struct sim *s, unsigned i)
{
	struct sim_control *c = &s->nodes[i].control;

	c->pending = false;
	c->own = true;
	if (s->agreed)
		s->agreed(s, sim_view(&c->proposal));
	sim_word(s, i, CLUS_COMMITTED, sim_view(&c->proposal));
	for (unsigned k = 0; k < s->count; k++) {
		if (k != i && (c->acks >> k & 1) && s->nodes[k].core)
			sim_word(s, k, CLUS_LEARNT, sim_view(&c->proposal));
	}
}

static inline void sim_gather(struct sim *s, unsigned i)
{
	struct sim_control *c = &s->nodes[i].control;

	if (c->pending && (unsigned)__builtin_popcount(c->acks & c->proposal_voters) * 2 > c->proposal_count)
		sim_agree(s, i);
	for (unsigned k = 0; c->pending && k < s->count; k++) {
		struct sim_control *o = &s->nodes[k].control;
		bool follows = k == i || (sim_linked(s, i, k) && o->started && o->leader == (int)i);
		if (!(c->proposal_voters >> k & 1) || (c->acks >> k & 1) || !follows || o->kept.term != c->kept.term ||
		    sim_below(s, 4) != 0)
			continue;
		c->acks |= 1U << k;
		sim_keep(&o->kept.record, sim_view(&c->proposal), c->proposal.epoch, c->kept.term);
	}
	if (c->pending && s->now_ms - c->proposal_ms >= SIM_FAILURE_MS)
		sim_follow(s, i, -1);
}

/* Voters that have missed a view get it; what was never agreed on goes. */
static inline void sim_catch_up(struct sim *s, unsigned i)
{
	struct sim_control *c = &s->nodes[i].control;

	for (unsigned k = 0; k < s->count; k++) {
		struct sim_control *o = &s->nodes[k].control;
		if (k == i || !(c->kept.voters >> k & 1) || !sim_linked(s, i, k) || o->leader != (int)i ||
		    !o->started || c->pending || !c->own || sim_below(s, 40) != 0)
			continue;
		if (o->kept.record.term == c->kept.record.term && o->kept.record.epoch == c->kept.record.epoch)
			continue;
		sim_keep(&o->kept.record, sim_view(&c->kept.record), c->kept.record.epoch, c->kept.record.term);
		sim_word(s, k, CLUS_LEARNT, sim_view(&c->kept.record));
	}
}

static inline void sim_control_step(struct sim *s, unsigned i)
{
	struct sim_control *c = &s->nodes[i].control;

	if (!c->started)
		return;
	sim_look_for_leader(s, i);
	if (c->coordinates) {
		sim_gather(s, i);
		sim_catch_up(s, i);
	} else if (c->leader < 0 && s->now_ms >= c->elect_ms) {
		sim_elect(s, i);
	}
}

static inline unsigned sim_names(const struct sim *s, const struct clus_effect *e)
{
	unsigned bits = 0;

	for (unsigned k = 0; k < e->voter_count; k++) {
		int v = sim_find(s, e->voters[k]);
		bits |= v < 0 ? 0 : 1U << v;
	}
	return bits;
}

/* --- what the owner does --- */

static inline void sim_ask(struct sim *s, unsigned i, const struct clus_view *v)
{
	uint16_t me = clus_view_member(v, view_str(s->nodes[i].name));

	for (uint16_t a = 0; !s->no_asking && me != CLUS_NONE && a < v->app_count; a++) {
		for (uint32_t b = 0; b < v->apps[a].buckets; b++) {
			if (v->apps[a].map[b].manager != me || !v->apps[a].map[b].lost)
				continue;
			struct sim_mail *m = sim_post(s, i, i, CLUS_ASKED, view_of(NULL, 0));
			sim_name(m, v->apps[a].name);
			m->due_ms += sim_below(s, 300);
			m->event.first = b;
			m->event.count = 1;
			m->event.number = v->epoch;
		}
	}
	if (me != CLUS_NONE && v->members[me].leaving)
		sim_post(s, i, i, CLUS_HANDED_OVER, view_of(NULL, 0))->due_ms += 100;
}

static inline void sim_installed(struct sim *s, unsigned i, const struct clus_effect *e)
{
	struct sim_node *n = &s->nodes[i];

	sim_say(s, i, "view %llu of %s, %u members, %u voters", (unsigned long long)e->view->epoch,
		(const char *)e->view->members[e->view->coordinator].name.at, e->view->member_count,
		e->view->voter_count);
	assert(e->view->epoch > n->last_epoch);
	n->last_epoch = e->view->epoch;
	memcpy(n->cluster, clus_core_cluster(n->core), sizeof n->cluster);
	if (s->installed)
		s->installed(s, i, e);
	sim_ask(s, i, e->view);
}

static inline void sim_send(struct sim *s, unsigned i, const struct clus_effect *e, enum clus_event_kind kind)
{
	for (unsigned k = 0; k < s->count; k++) {
		if (k == i || s->nodes[i].link[k].id == 0 ||
		    (e->name.len > 0 && !view_eq(e->name, view_str(s->nodes[k].name))))
			continue;
		struct sim_mail *m = sim_post(s, i, k, kind, kind == CLUS_VIEW ? e->bytes : view_of(NULL, 0));
		m->report = e->report;
		sim_name(m, e->report.name);
	}
}

static inline void sim_drop(struct sim *s, unsigned i, struct view name, uint64_t incarnation, bool removed)
{
	int k = sim_find(s, name);

	if (k < 0 || s->nodes[i].link[k].id == 0 || s->nodes[i].link[k].incarnation != incarnation)
		return;
	sim_close(s, i, (unsigned)k, removed ? CLUS_DOWN_REMOVED : CLUS_DOWN_CLOSED);
}

static inline void sim_log(struct sim *s, unsigned i, const struct clus_effect *e)
{
	static const char *const names[] = {
#define SIM_LOG_ROW(name, text) [name] = text,
	    CLUS_LOG_TABLE(SIM_LOG_ROW)
#undef SIM_LOG_ROW
	};
	sim_say(s, i, "%s %.*s%s%.*s%s%.*s%s%.*s", names[e->log], (int)e->name.len, e->name.at, e->app.len ? " " : "",
		(int)e->app.len, e->app.at, e->text.len ? ": " : "", (int)e->text.len, e->text.at,
		e->other.len ? " / " : "", (int)e->other.len, e->other.at);
}

static inline void sim_died(struct sim *s, unsigned i, enum clus_down how);

static inline void sim_do_control(struct sim *s, unsigned i, const struct clus_effect *e)
{
	struct sim_control *c = &s->nodes[i].control;

	switch (e->kind) {
	case CLUS_DO_PROPOSE:
		if (!c->coordinates)
			break;
		sim_keep(&c->proposal, e->bytes, 0, 0);
		struct clus_view v;
		int err = clus_view_decode(e->bytes, &v);
		assert(err == 0);
		c->proposal.epoch = v.epoch;
		c->proposal_voters = sim_names(s, e);
		c->proposal_count = e->voter_count;
		c->proposal_ms = s->now_ms;
		c->pending = true;
		c->acks = 1U << i;
		sim_keep(&c->kept.record, sim_view(&c->proposal), v.epoch, c->kept.term);
		clus_view_fini(&v);
		break;
	case CLUS_DO_STEP_DOWN:
		if (c->coordinates)
			sim_follow(s, i, -1);
		c->not_before_ms = s->now_ms + SIM_FAILURE_MS;
		break;
	default:
		c->kept.voters = sim_names(s, e);
		c->kept.voter_count = e->voter_count;
		c->started = true;
		break;
	}
}

static inline void sim_reincarnate(struct sim *s, unsigned i)
{
	s->nodes[i].hello.incarnation = ++s->incarnations;
	sim_close_all(s, i, CLUS_DOWN_CLOSED);
	struct sim_mail *m = sim_post(s, i, i, CLUS_INCARNATION, view_of(NULL, 0));
	m->event.number = s->nodes[i].hello.incarnation;
	m->due_ms = s->now_ms;
}

static inline void sim_do(struct sim *s, unsigned i, const struct clus_effect *e)
{
	struct sim_node *n = &s->nodes[i];
	int other = sim_find(s, e->name);

	switch (e->kind) {
	case CLUS_DO_PROPOSE:
	case CLUS_DO_STEP_DOWN:
	case CLUS_DO_SET_VOTERS:
		sim_do_control(s, i, e);
		break;
	case CLUS_DO_INSTALL:
		sim_installed(s, i, e);
		break;
	case CLUS_DO_SEND_VIEW:
		sim_send(s, i, e, CLUS_VIEW);
		break;
	case CLUS_DO_SEND_REPORT:
		sim_send(s, i, e, CLUS_REPORT);
		break;
	case CLUS_DO_FENCE:
	case CLUS_DO_UNFENCE:
		n->fenced = e->kind == CLUS_DO_FENCE;
		sim_say(s, i, "%s %.*s", n->fenced ? "fenced" : "unfenced", (int)e->text.len, e->text.at);
		break;
	case CLUS_DO_FORBID:
		if (other >= 0)
			n->forbidden[other] = e->number;
		sim_drop(s, i, e->name, e->number, true);
		break;
	case CLUS_DO_DROP:
		sim_drop(s, i, e->name, e->number, e->bye == PEER_BYE_REMOVED);
		break;
	case CLUS_DO_REDIAL:
		sim_close_all(s, i, CLUS_DOWN_CLOSED);
		break;
	case CLUS_DO_REINCARNATE:
		sim_reincarnate(s, i);
		break;
	case CLUS_DO_STATE:
		n->state = e->state;
		break;
	case CLUS_DO_EXIT:
		sim_say(s, i, "left");
		n->exited = true;
		break;
	case CLUS_DO_LOG:
		sim_log(s, i, e);
		break;
	}
}

static inline void sim_drain(struct sim *s, unsigned i)
{
	struct clus_effect e;

	while (clus_core_next(s->nodes[i].core, &e))
		sim_do(s, i, &e);
}

/* --- lives --- */

static inline void sim_app(struct sim *s, unsigned i, const char *app, uint64_t digest)
{
	struct sim_node *n = &s->nodes[i];
	struct peer_hello *h = &n->hello;

	snprintf(n->settings, sizeof n->settings, "digest=%llu", (unsigned long long)digest);
	h->app_count = 1;
	h->apps[0] = (struct peer_app){.name = view_str(app), .digest = digest, .settings = view_str(n->settings)};
}

/* A node that is not yet started. `peers` is bits. */
static inline void sim_node(struct sim *s, unsigned i, const char *name, unsigned peers)
{
	struct sim_node *n = &s->nodes[i];

	snprintf(n->name, sizeof n->name, "%s", name);
	snprintf(n->address, sizeof n->address, "%s:7400", name);
	n->peers = peers & ~(1U << i);
	n->hello = (struct peer_hello){.name = view_str(n->name), .address = view_str(n->address), .votes = true};
	n->skew_ms = 1 + sim_below(s, 1000000);
	n->rate = 1000;
	sim_app(s, i, "shop", 1);
	s->count = i >= s->count ? i + 1 : s->count;
}

static inline void sim_start(struct sim *s, unsigned i)
{
	struct sim_node *n = &s->nodes[i];
	struct clus_core_settings settings = {.self = &n->hello,
					      .failure_ms = SIM_FAILURE_MS,
					      .buckets = SIM_BUCKETS,
					      .peer_count = (unsigned)__builtin_popcount(n->peers)};

	assert(!n->core);
	memcpy(settings.cluster, n->cluster, sizeof n->cluster);
	n->hello.incarnation = ++s->incarnations;
	n->hello.leaving = false;
	n->core = clus_core_new(&settings, sim_clock(s, i));
	n->fenced = true;
	n->paused = n->exited = n->host_down = false;
	n->last_epoch = 0;
	n->lives++;
	memset(n->forbidden, 0, sizeof n->forbidden);
	for (unsigned k = 0; k < s->count; k++) {
		n->link[k].id = 0;
		n->link[k].dial_ms = s->now_ms + sim_below(s, 50);
	}
	n->control.leader = -1;
	n->control.coordinates = n->control.pending = n->control.own = n->control.started = false;
	n->control.elect_ms = s->now_ms + 100 + sim_below(s, 500);
	n->control.not_before_ms = 0;
	sim_say(s, i, "started");
	if (n->control.kept.record.len > 0) {
		struct clus_event e = {.kind = CLUS_LEARNT, .bytes = sim_view(&n->control.kept.record)};
		sim_step_core(s, i, &e);
	}
	sim_tell(s, i, CLUS_TICK, view_of(NULL, 0), 0);
}

/* What it has posted and not received; with `all` also what it has sent. */
static inline void sim_purge(struct sim *s, unsigned i)
{
	for (struct sim_mail **at = &s->mail; *at;) {
		struct sim_mail *m = *at;
		if (m->to != i) {
			at = &m->next;
			continue;
		}
		*at = m->next;
		free(m->bytes);
		free(m);
	}
}

static inline void sim_died(struct sim *s, unsigned i, enum clus_down how)
{
	struct sim_node *n = &s->nodes[i];

	clus_core_free(&n->core);
	n->paused = false;
	n->control.started = n->control.coordinates = n->control.pending = false;
	if (!n->host_down)
		sim_close_all(s, i, how);
	for (unsigned k = 0; k < s->count; k++)
		n->link[k].id = 0;
	sim_purge(s, i);
}

static inline void sim_kill(struct sim *s, unsigned i)
{
	sim_say(s, i, "killed");
	sim_died(s, i, CLUS_DOWN_CLOSED);
}

/* The host with it: nobody answers, nothing is closed. */
static inline void sim_power_off(struct sim *s, unsigned i)
{
	sim_say(s, i, "powered off");
	s->nodes[i].host_down = true;
	sim_died(s, i, CLUS_DOWN_CLOSED);
}

static inline void sim_pause(struct sim *s, unsigned i, bool paused)
{
	s->nodes[i].paused = paused;
	sim_say(s, i, paused ? "paused" : "resumed");
}

static inline void sim_cut(struct sim *s, unsigned from, unsigned to, bool cut)
{
	s->cut[from][to] = cut;
	sim_say(s, from, "%s to %s", cut ? "cut" : "healed", s->nodes[to].name);
}

/* Connections are refused that way, also the one that is there. */
static inline void sim_refuse(struct sim *s, unsigned from, unsigned to, bool refused)
{
	s->refused[from][to] = refused;
	sim_say(s, from, "%s by a firewall before %s", refused ? "refused" : "no more refused", s->nodes[to].name);
	if (refused)
		sim_close(s, from, to, CLUS_DOWN_CLOSED);
}

/* From all the others, both ways. */
static inline void sim_isolate(struct sim *s, unsigned nodes, bool cut)
{
	for (unsigned i = 0; i < s->count; i++) {
		for (unsigned k = 0; k < s->count; k++) {
			if ((nodes >> i & 1) != (nodes >> k & 1))
				sim_cut(s, i, k, cut);
		}
	}
}

static inline void sim_init(struct sim *s, uint64_t seed)
{
	memset(s, 0, sizeof *s);
	s->seed = s->random = seed;
	s->delay_ms = 10;
	s->now_ms = 1000;
}

static inline void sim_fini(struct sim *s)
{
	for (unsigned i = 0; i < s->count; i++) {
		clus_core_free(&s->nodes[i].core);
		sim_purge(s, i);
		free(s->nodes[i].control.kept.record.at);
		free(s->nodes[i].control.proposal.at);
	}
}

/* --- time --- */

static inline void sim_step(struct sim *s)
{
	s->now_ms += SIM_STEP_MS;
	sim_deliver_all(s);
	for (unsigned i = 0; i < s->count; i++) {
		struct sim_node *n = &s->nodes[i];
		if (!sim_runs(s, i))
			continue;
		if (s->now_ms >= n->tick_ms) {
			n->tick_ms = s->now_ms + SIM_FAILURE_MS / 16;
			sim_tell(s, i, CLUS_TICK, view_of(NULL, 0), 0);
		}
		if (n->exited) {
			sim_died(s, i, CLUS_DOWN_LEAVING);
			continue;
		}
		sim_control_step(s, i);
		sim_beats(s, i);
	}
	sim_dial_all(s);
	if (s->check)
		s->check(s);
}

static inline void sim_run(struct sim *s, uint64_t ms)
{
	for (uint64_t end = s->now_ms + ms; s->now_ms < end;)
		sim_step(s);
}

#endif
