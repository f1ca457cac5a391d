/* What must hold in the simulated cluster after every step, and whether it is at rest. Part of tests/clus_sim.h. */
#ifndef WEIR_TESTS_CLUS_CHECK_H
#define WEIR_TESTS_CLUS_CHECK_H

#include "base/siphash.h"
#include "tests/clus_control.h"

enum { CHECK_EPOCHS = 4096 };

/* Of one run. */
static struct {
	uint64_t bytes[CHECK_EPOCHS];  /* a hash of the view of each epoch that was agreed on; 0: none was */
	struct clus_view last;         /* agreed on; owned */
	uint64_t tenure[SIM_BUCKETS];  /* of "shop": since when its manager has it */
	bool in[CHECK_EPOCHS];         /* by incarnation: has installed a view with itself in it */
	bool gone[CHECK_EPOCHS];       /* by incarnation: has been in, and a view is without it */
	uint64_t out_ms[CHECK_EPOCHS]; /* by incarnation: when a view was agreed on that is the first without it */
	uint64_t views;
} checked;

#define SIM_HOLDS(s, condition, ...)                                                                                   \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "seed %llu at %llu ms: not so: %s: ", (unsigned long long)(s)->seed,           \
				(unsigned long long)(s)->now_ms, #condition);                                          \
			fprintf(stderr, __VA_ARGS__);                                                                  \
			fprintf(stderr, "\n  replay: build/asan/tests/sim/sim %llu 1 verbose\n",                       \
				(unsigned long long)(s)->seed);                                                        \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

static inline uint64_t check_hash(struct view bytes)
{
	return siphash((struct siphash_key){1, 2}, bytes) | 1;
}

static inline bool check_may_act(const struct sim *s, unsigned i)
{
	return s->nodes[i].core && lease_time_before(sim_clock(s, i), clus_core_may_act_until(s->nodes[i].core));
}

static inline void check_balance(struct sim *s, const struct clus_view *v)
{
	for (uint16_t a = 0; a < v->app_count; a++) {
		uint32_t has[SIM_NODES] = {0}, low = UINT32_MAX, high = 0;
		for (uint32_t b = 0; b < v->apps[a].buckets; b++) {
			if (v->apps[a].map[b].manager != BUCKETS_NONE)
				has[v->apps[a].map[b].manager]++;
		}
		for (uint16_t m = 0; m < v->member_count; m++) {
			if (!clus_view_may_manage(v, m, a))
				continue;
			low = has[m] < low ? has[m] : low;
			high = has[m] > high ? has[m] : high;
		}
		SIM_HOLDS(s, high == 0 || high - low <= 1, "epoch %llu", (unsigned long long)v->epoch);
	}
}

static inline uint64_t check_manager(const struct clus_view *v, uint16_t app, uint32_t b)
{
	uint16_t m = app == CLUS_NONE ? BUCKETS_NONE : v->apps[app].map[b].manager;

	return m == BUCKETS_NONE ? 0 : v->members[m].incarnation;
}

/* A bucket is never lost no more by itself. (That the word was of this tenure: the unit tests.) */
static inline void check_lost(struct sim *s, const struct clus_view *old, const struct clus_view *v)
{
	uint16_t app = clus_view_app(v, VIEW("shop")), was = clus_view_app(old, VIEW("shop"));

	for (uint32_t b = 0; app != CLUS_NONE && b < v->apps[app].buckets; b++) {
		uint64_t now = check_manager(v, app, b), before = check_manager(old, was, b);
		bool lost = v->apps[app].map[b].lost, there = false;
		for (uint16_t m = 0; m < v->member_count; m++)
			there = there || v->members[m].incarnation == before;
		SIM_HOLDS(s, lost || (before != 0 && there) || old->epoch == 0, "bucket %u of epoch %llu is lost", b,
			  (unsigned long long)v->epoch);
		checked.tenure[b] = now == before ? checked.tenure[b] : v->epoch;
	}
}

static inline bool check_has(const struct clus_view *v, const struct clus_member *m)
{
	uint16_t i = clus_view_member(v, m->name);

	return i != CLUS_NONE && v->members[i].incarnation == m->incarnation;
}

/* An incarnation that was taken out comes not back. */
static inline void check_gone(struct sim *s, const struct clus_view *old, const struct clus_view *v)
{
	for (uint16_t m = 0; m < old->member_count; m++) {
		uint64_t incarnation = old->members[m].incarnation;
		if (check_has(v, &old->members[m]))
			continue;
		checked.gone[incarnation] = checked.in[incarnation];
		checked.out_ms[incarnation] = s->now_ms;
	}
	for (uint16_t m = 0; m < v->member_count; m++)
		SIM_HOLDS(s, !checked.gone[v->members[m].incarnation], "incarnation %llu is back in epoch %llu",
			  (unsigned long long)v->members[m].incarnation, (unsigned long long)v->epoch);
}

/* One vote is given or taken with a view, and no more: so majorities of two views that follow each other meet. */
static inline void check_votes(struct sim *s, const struct clus_view *old, const struct clus_view *v)
{
	unsigned changed = 0;

	for (uint8_t i = 0; i < old->voter_count; i++)
		changed += clus_view_voter(v, old->voters[i]) == CLUS_NONE;
	for (uint8_t i = 0; i < v->voter_count; i++)
		changed += clus_view_voter(old, v->voters[i]) == CLUS_NONE;
	SIM_HOLDS(s, changed <= 1 || old->epoch == 0, "%u votes changed with epoch %llu", changed,
		  (unsigned long long)v->epoch);
	for (unsigned i = 0; i < s->count; i++)
		SIM_HOLDS(s, s->nodes[i].hello.votes || clus_view_voter(v, view_str(s->nodes[i].name)) == CLUS_NONE,
			  "%s votes in epoch %llu", s->nodes[i].name, (unsigned long long)v->epoch);
}

static inline void check_agreed(struct sim *s, struct view bytes)
{
	struct clus_view v;
	int err = clus_view_decode(bytes, &v);

	SIM_HOLDS(s, err == 0, "%d", err);
	SIM_HOLDS(s, v.epoch < CHECK_EPOCHS, "too many views");
	SIM_HOLDS(s, checked.bytes[v.epoch] == 0, "epoch %llu twice", (unsigned long long)v.epoch);
	SIM_HOLDS(s, v.epoch > checked.last.epoch, "epoch %llu after %llu", (unsigned long long)v.epoch,
		  (unsigned long long)checked.last.epoch);
	SIM_HOLDS(s, checked.last.epoch == 0 || memcmp(v.cluster, checked.last.cluster, CLUS_ID_BYTES) == 0,
		  "two clusters");
	checked.bytes[v.epoch] = check_hash(bytes);
	if (s->verbose) {
		printf("%8.3f agreed %llu:", (double)s->now_ms / 1000, (unsigned long long)v.epoch);
		for (uint16_t m = 0; m < v.member_count; m++)
			printf(" %.*s(%llu)", (int)v.members[m].name.len, (const char *)v.members[m].name.at,
			       (unsigned long long)v.members[m].incarnation);
		printf("\n");
	}
	check_balance(s, &v);
	check_lost(s, &checked.last, &v);
	check_gone(s, &checked.last, &v);
	check_votes(s, &checked.last, &v);
	clus_view_fini(&checked.last);
	checked.last = v;
	checked.views++;
}

/* What counts anywhere was agreed on, and is the same everywhere. */
static inline void check_installed(struct sim *s, unsigned i, const struct clus_effect *e)
{
	SIM_HOLDS(s, checked.bytes[e->view->epoch] == check_hash(e->bytes), "%s has another epoch %llu",
		  s->nodes[i].name, (unsigned long long)e->view->epoch);
	uint16_t m = clus_view_member(e->view, view_str(s->nodes[i].name));
	if (m != CLUS_NONE && e->view->members[m].incarnation == s->nodes[i].hello.incarnation)
		checked.in[s->nodes[i].hello.incarnation] = true;
}

/* Who is believed to be dead has no time to fence itself. Where that was a lie it acts for what was left of its right,
 * and not longer (doc/cluster.md: let a firewall drop). Its clock may be slower by some hundredths. */
static inline bool check_outlasts_a_lie(const struct sim *s, const struct sim_node *n)
{
	uint64_t incarnation = n->hello.incarnation;

	return n->lied_about == incarnation && checked.out_ms[incarnation] > 0 &&
	       s->now_ms - checked.out_ms[incarnation] <= SIM_FAILURE_MS / 2 * 33 / 32;
}

/* Who may act is in the newest view that is agreed on, as the incarnation that it is: also where that view has not come
 * yet, and in a process that stands still. */
static inline void check_fences(struct sim *s)
{
	for (unsigned i = 0; i < s->count; i++) {
		if (!check_may_act(s, i))
			continue;
		uint16_t m = clus_view_member(&checked.last, view_str(s->nodes[i].name));
		bool left = clus_core_state(s->nodes[i].core) == CLUS_LEAVING || s->nodes[i].exited;
		bool lied = check_outlasts_a_lie(s, &s->nodes[i]);
		SIM_HOLDS(s,
			  left || lied ||
			      (m != CLUS_NONE && checked.last.members[m].incarnation == s->nodes[i].hello.incarnation),
			  "%s acts, and is not in epoch %llu", s->nodes[i].name,
			  (unsigned long long)checked.last.epoch);
	}
}

static inline void check_begin(struct sim *s)
{
	memset(&checked, 0, sizeof checked);
	s->check = check_fences;
	s->agreed = check_agreed;
	s->installed = check_installed;
}

static inline void check_end(struct sim *s)
{
	clus_view_fini(&checked.last);
	checked.last = (struct clus_view){0};
	sim_fini(s);
}

/* What the view says of it is what it says itself; a witness hosts nothing. */
static inline bool check_is_told(const struct clus_view *v, const struct clus_member *m, const struct peer_hello *h)
{
	uint16_t count = h->witness ? 0 : h->app_count;
	bool same = m->hosted_count == count && m->witness == h->witness && view_eq(m->zone, h->zone);

	for (uint16_t i = 0; same && i < count; i++)
		same = view_eq(v->apps[m->hosted[i].app].name, h->apps[i].name) &&
		       m->hosted[i].digest == h->apps[i].digest;
	return same;
}

/* Exactly `nodes` (bits) are in one view that all of them have, may act, and nothing is lost. */
static inline bool check_is_settled(const struct sim *s, unsigned nodes)
{
	unsigned coordinators = 0;

	for (unsigned i = 0; i < s->count; i++) {
		uint16_t m = clus_view_member(&checked.last, view_str(s->nodes[i].name));
		if (!(nodes >> i & 1)) {
			if (m != CLUS_NONE)
				return false;
			continue;
		}
		if (!s->nodes[i].core || m == CLUS_NONE || !check_may_act(s, i) ||
		    checked.last.members[m].incarnation != s->nodes[i].hello.incarnation ||
		    clus_core_epoch(s->nodes[i].core) != checked.last.epoch ||
		    !check_is_told(&checked.last, &checked.last.members[m], &s->nodes[i].hello))
			return false;
		coordinators += clus_core_coordinates(s->nodes[i].core);
	}
	for (uint16_t a = 0; a < checked.last.app_count; a++) {
		for (uint32_t b = 0; !s->no_asking && b < checked.last.apps[a].buckets; b++) {
			if (checked.last.apps[a].map[b].lost)
				return false;
		}
	}
	return coordinators == 1;
}

/* Waits for it; false: not within that time. */
static inline bool check_settles(struct sim *s, unsigned nodes, uint64_t ms)
{
	for (uint64_t end = s->now_ms + ms; s->now_ms < end && !check_is_settled(s, nodes);)
		sim_step(s);
	return check_is_settled(s, nodes);
}

#endif
