/* One core alone: a test says what its links, its control plane and its owner tell it, and looks at what it does. */
#ifndef WEIR_TESTS_CLUS_ONE_H
#define WEIR_TESTS_CLUS_ONE_H

#include "cluster/core.h"
#include "base/error.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* What surrounds each step: a test may let allocations fail in it. */
#ifndef ONE_STEPS
#define ONE_STEPS(begins) ((void)(begins))
#endif

enum { ONE_T = 1600, ONE_BUCKETS = 12, ONE_FROM = 1000 };

struct one {
	struct clus_core *core;
	uint64_t now_ms;
	struct buf proposal; /* the last */
	struct clus_view proposed;
	unsigned did[CLUS_DO_LOG + 1];
	unsigned logged[CLUS_LOG_NO_MEMORY + 1];
	enum peer_goodbye_reason bye; /* of the last DROP */
	int err;
	bool refuses; /* an error is for the test to see */
};

static inline void one_note(struct one *o, const struct clus_effect *e)
{
	o->did[e->kind]++;
	if (e->kind == CLUS_DO_LOG)
		o->logged[e->log]++;
	if (e->kind == CLUS_DO_DROP)
		o->bye = e->bye;
	if (e->kind != CLUS_DO_PROPOSE)
		return;
	buf_clear(&o->proposal);
	buf_put(&o->proposal, e->bytes);
	clus_view_fini(&o->proposed);
	int err = clus_view_decode(e->bytes, &o->proposed);
	assert(err == 0);
}

static inline void one_step(struct one *o, struct clus_event e)
{
	struct clus_effect effect;

	e.now = (struct lease_time){o->now_ms};
	ONE_STEPS(true);
	o->err = clus_core_step(o->core, &e);
	ONE_STEPS(false);
	assert(o->err == 0 || o->refuses);
	while (o->err == 0 && clus_core_next(o->core, &effect))
		one_note(o, &effect);
	clus_core_check(o->core);
}

static inline struct peer_hello one_hello(const char *name, uint64_t incarnation)
{
	struct peer_hello h = {
	    .name = view_str(name), .address = VIEW("host:7400"), .incarnation = incarnation, .votes = true};

	h.app_count = 1;
	h.apps[0] = (struct peer_app){VIEW("shop"), 1, VIEW("digest=1")};
	return h;
}

static inline void one_begin(struct one *o, const char *name, uint64_t incarnation, unsigned peers)
{
	struct peer_hello h = one_hello(name, incarnation);
	struct clus_core_settings s = {.self = &h, .failure_ms = ONE_T, .buckets = ONE_BUCKETS, .peer_count = peers};

	*o = (struct one){.now_ms = ONE_FROM};
	o->core = clus_core_new(&s, (struct lease_time){o->now_ms});
	assert(o->core);
}

static inline void one_end(struct one *o)
{
	clus_core_free(&o->core);
	buf_fini(&o->proposal);
	clus_view_fini(&o->proposed);
}

static inline void one_tell(struct one *o, enum clus_event_kind kind, struct view bytes)
{
	struct clus_event e = {.kind = kind, .bytes = bytes};

	memset(e.random, 7, sizeof e.random);
	one_step(o, e);
}

static inline void one_tick(struct one *o, uint64_t ms)
{
	o->now_ms += ms;
	one_tell(o, CLUS_TICK, view_of(NULL, 0));
}

static inline void one_up(struct one *o, const char *name, uint64_t incarnation, uint64_t epoch)
{
	struct peer_hello h = one_hello(name, incarnation);

	h.epoch = epoch;
	one_step(o, (struct clus_event){.kind = CLUS_LINK_UP, .name = h.name, .hello = &h});
}

/* It echoes what has left us now, and hears `heard`: names in their order, each with a blank after it. */
static inline void one_beat(struct one *o, const char *name, uint64_t epoch, const char *heard)
{
	struct buf names = {0};
	struct peer_beat b = {.epoch = epoch};

	for (const char *end; *heard; heard = end + 1) {
		end = strchr(heard, ' ');
		peer_heard_put(&names, view_of((const uint8_t *)heard, (size_t)(end - heard)));
		b.heard_count++;
	}
	b.heard = buf_view(&names);
	one_step(o,
		 (struct clus_event){.kind = CLUS_BEAT, .name = view_str(name), .beat = &b, .confirmed = {o->now_ms}});
	buf_fini(&names);
}

static inline void one_down(struct one *o, const char *name, enum clus_down why, uint64_t incarnation)
{
	one_step(
	    o, (struct clus_event){.kind = CLUS_LINK_DOWN, .name = view_str(name), .down = why, .number = incarnation});
}

/* What is proposed, and then each one that follows from it. */
static inline void one_commit(struct one *o)
{
	for (unsigned before = 0; before != o->did[CLUS_DO_PROPOSE];) {
		struct buf copy = {0};
		before = o->did[CLUS_DO_PROPOSE];
		buf_put(&copy, buf_view(&o->proposal));
		one_tell(o, CLUS_COMMITTED, buf_view(&copy));
		buf_fini(&copy);
	}
}

static inline uint64_t one_epoch(const struct one *o)
{
	return clus_core_epoch(o->core);
}

static inline bool one_has(const struct one *o, const char *name)
{
	const struct clus_view *v = clus_core_view(o->core);

	return v && clus_view_member(v, view_str(name)) != CLUS_NONE;
}

static inline bool one_proposes(const struct one *o, const char *name)
{
	return clus_view_member(&o->proposed, view_str(name)) != CLUS_NONE;
}

static inline bool one_names(const struct one *o, const char *name)
{
	struct buf heard = {0};

	clus_core_heard(o->core, view_str(name), &heard);
	bool some = buf_len(&heard) > 0;
	buf_fini(&heard);
	return some;
}

static inline bool one_may_act(const struct one *o)
{
	return lease_time_before((struct lease_time){o->now_ms}, clus_core_may_act_until(o->core));
}

/* A view of these members, who vote; of "shop", bucket b is managed by managers[b] - '0'. */
struct one_view {
	uint64_t epoch, cluster;
	unsigned coordinator, count;
	const char *names[5];
	uint64_t incarnations[5];
	const char *managers;
};

static inline struct view one_make(struct buf *out, const struct one_view *from)
{
	struct clus_member members[5];
	struct clus_hosted hosted = {.app = 0, .digest = 1};
	struct bucket map[ONE_BUCKETS];
	struct clus_app app = {VIEW("shop"), 1, ONE_BUCKETS, map};
	struct clus_view v = {.epoch = from->epoch,
			      .coordinator = (uint16_t)from->coordinator,
			      .member_count = (uint16_t)from->count,
			      .app_count = 1,
			      .voter_count = (uint8_t)from->count,
			      .members = members,
			      .apps = &app};

	memset(v.cluster, (int)from->cluster, sizeof v.cluster);
	for (unsigned i = 0; i < from->count; i++) {
		v.voters[i] = view_str(from->names[i]);
		members[i] = (struct clus_member){.name = v.voters[i],
						  .incarnation = from->incarnations[i],
						  .address = VIEW("host:7400"),
						  .hosted_count = 1,
						  .hosted = &hosted};
	}
	for (unsigned b = 0; b < ONE_BUCKETS; b++)
		map[b] = (struct bucket){.manager = (uint16_t)(from->managers[b] - '0')};
	buf_clear(out);
	clus_view_encode(&v, out);
	assert(buf_error(out) == 0);
	return buf_view(out);
}

#endif
