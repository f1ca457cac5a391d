/* The adversary. Part of tests/clus_sim.h. */
#ifndef WEIR_TESTS_CLUS_RANDOM_H
#define WEIR_TESTS_CLUS_RANDOM_H

#include "tests/clus_check.h"

enum { RANDOM_CALM_MS = 60000 };

/* Other settings, an app more or less, none at all, another zone. */
static inline void random_reload(struct sim *s, unsigned i)
{
	static const char *const zones[] = {"", "north", "south"};
	struct peer_hello *h = &s->nodes[i].hello;
	struct clus_event e = {.kind = CLUS_OWN_APPS, .hello = h};

	sim_app(s, i, "shop", 1 + sim_below(s, 3));
	h->apps[1] = h->apps[0];
	h->apps[0].name = VIEW("blog"); /* in the order of names */
	h->app_count = (uint16_t)sim_below(s, 3);
	if (h->app_count == 1 && sim_below(s, 4) != 0)
		h->apps[0] = h->apps[1];
	h->zone = view_str(zones[sim_below(s, 3)]);
	sim_say(s, i, "reloads with %u apps, %s", h->app_count, s->nodes[i].settings);
	sim_step_core(s, i, &e);
}

/* What never changes while it runs. */
static inline void random_part(struct sim *s, unsigned i)
{
	struct peer_hello *h = &s->nodes[i].hello;

	h->witness = sim_below(s, 4) == 0;
	h->votes = h->witness || sim_below(s, 3) != 0;
	sim_say(s, i, "is%s, and votes%s", h->witness ? " a witness" : " none", h->votes ? "" : " not");
}

static inline void random_fault(struct sim *s)
{
	unsigned i = (unsigned)sim_below(s, s->count), k = (unsigned)sim_below(s, s->count);
	struct sim_node *n = &s->nodes[i];

	switch (sim_below(s, 12)) {
	case 0:
		if (n->core)
			sim_kill(s, i);
		break;
	case 1:
		if (n->core)
			sim_power_off(s, i);
		break;
	case 2:
	case 3:
		if (!n->core)
			sim_start(s, i);
		break;
	case 4:
		if (n->core)
			sim_pause(s, i, !n->paused);
		break;
	case 5:
	case 6:
		if (i != k)
			sim_cut(s, i, k, !s->cut[i][k]);
		break;
	case 7:
		sim_isolate(s, 1U << i | 1U << k, sim_below(s, 2) != 0);
		break;
	case 8: /* a connection breaks and comes again */
		if (i != k)
			sim_close(s, i, k, CLUS_DOWN_CLOSED);
		break;
	case 9:
		if (i != k)
			sim_refuse(s, i, k, !s->refused[i][k]);
		break;
	case 10:
		if (sim_runs(s, i))
			random_reload(s, i);
		break;
	default:
		if (sim_runs(s, i) && sim_below(s, 3) == 0) {
			bool leaves = sim_below(s, 2) != 0;
			sim_say(s, i, leaves ? "leaves" : "forgets %s", s->nodes[k].name);
			sim_tell(s, i, leaves ? CLUS_LEAVE : CLUS_FORGET, view_str(s->nodes[k].name), 0);
		}
		break;
	}
}

static inline void random_calm(struct sim *s)
{
	memset(s->cut, 0, sizeof s->cut);
	memset(s->refused, 0, sizeof s->refused);
	for (unsigned i = 0; i < s->count; i++) {
		sim_say(s, i, "calm");
		if (!s->nodes[i].core || s->nodes[i].exited || clus_core_state(s->nodes[i].core) == CLUS_LEAVING ||
		    s->nodes[i].hello.leaving) {
			if (s->nodes[i].core)
				sim_kill(s, i);
			sim_start(s, i);
		}
		s->nodes[i].paused = false;
	}
}

/* Faults for so long, then none: all are one cluster again. A hash of what has happened. */
static inline uint64_t random_run(struct sim *s, uint64_t seed, uint64_t ms, bool verbose)
{
	static const char *const names[] = {"alpha", "beta", "gamma", "delta", "echo", "foxtrot", "golf"};

	sim_init(s, seed);
	s->verbose = verbose;
	check_begin(s);
	unsigned count = 3 + (unsigned)sim_below(s, 5), all = (1U << count) - 1;
	s->delay_ms = 1 + (unsigned)sim_below(s, 60);
	for (unsigned i = 0; i < count; i++) {
		/* The first three begin, and vote; the others come in by them. */
		sim_node(s, i, names[i], i < 3 ? 7 : 1U << sim_below(s, 3));
		s->nodes[i].rate = 970 + sim_below(s, 61);
		if (i >= 3)
			random_part(s, i);
		sim_start(s, i);
	}
	while (s->now_ms < ms) {
		sim_run(s, 20 + sim_below(s, 1500));
		random_fault(s);
	}
	random_calm(s);
	SIM_HOLDS(s, check_settles(s, all, RANDOM_CALM_MS), "the cluster does not come together again");
	check_end(s);
	return s->trace;
}

#endif
