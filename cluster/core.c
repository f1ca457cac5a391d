/* The core's door: events in, effects out. What each event means is in the other files. Pure, but that it owns memory.
 */
#include "cluster/core_parts.h"

#include "base/error.h"
#include "base/invariant.h"

#include <stdlib.h>

enum { SPARE = 64 }; /* effects that a step may not lose */

/* --- effects --- */

static struct clus_told *told_new(size_t room)
{
	struct clus_told *t = calloc(1, sizeof *t + room);

	if (t)
		t->room = room;
	return t;
}

static void told_free(struct clus_told **list)
{
	while (*list) {
		struct clus_told *next = (*list)->next;
		free(*list);
		*list = next;
	}
}

static struct view told_keep(struct clus_told *t, struct view text)
{
	INVARIANT(text.len <= t->room - t->used);
	uint8_t *at = t->texts + t->used;
	if (text.len > 0)
		memcpy(at, text.at, text.len);
	t->used += text.len;
	return view_of(at, text.len);
}

static struct clus_effect *told_append(struct clus_core *c, struct clus_told *t, enum clus_effect_kind kind)
{
	t->next = NULL;
	t->effect = (struct clus_effect){.kind = kind};
	if (c->last_told)
		c->last_told->next = t;
	else
		c->first_told = t;
	c->last_told = t;
	return &t->effect;
}

struct clus_effect *core_do(struct clus_core *c, enum clus_effect_kind kind, struct view name)
{
	struct clus_told *t = c->spare;

	INVARIANT(t != NULL);
	c->spare = t->next;
	c->spare_count--;
	t->used = 0;
	struct clus_effect *e = told_append(c, t, kind);
	e->name = told_keep(t, name);
	return e;
}

struct clus_effect *core_do_one_of_many(struct clus_core *c, enum clus_effect_kind kind, struct view name,
					struct view app, struct view text, struct view other)
{
	struct clus_told *t = told_new(name.len + app.len + text.len + other.len);

	if (!t)
		return NULL;
	struct clus_effect *e = told_append(c, t, kind);
	e->name = told_keep(t, name);
	e->app = told_keep(t, app);
	e->text = told_keep(t, text);
	e->other = told_keep(t, other);
	return e;
}

/* A line that is not written for want of memory is no harm. */
void core_log(struct clus_core *c, enum clus_log log, struct view name, const char *text, uint64_t number)
{
	struct view none = view_of(NULL, 0);
	struct clus_effect *e = core_do_one_of_many(c, CLUS_DO_LOG, name, none, text ? view_str(text) : none, none);

	if (e) {
		e->log = log;
		e->number = number;
	}
}

void core_do_voters(struct clus_core *c, struct clus_effect *e, const struct clus_view *v)
{
	struct clus_told *t = CONTAINER_OF(e, struct clus_told, effect);

	INVARIANT(t == c->last_told);
	for (uint8_t i = 0; i < v->voter_count; i++)
		e->voters[i] = told_keep(t, v->voters[i]);
	e->voter_count = v->voter_count;
}

/* Those of the last step are gone; there is room for the next. */
static int effects_begin(struct clus_core *c)
{
	while (c->spare_count < SPARE) {
		struct clus_told *t = told_new(EFFECT_ROOM);
		if (!t)
			return ERR_NO_MEMORY;
		t->next = c->spare;
		c->spare = t;
		c->spare_count++;
	}
	told_free(&c->drained);
	told_free(&c->first_told);
	c->last_told = NULL;
	return 0;
}

bool clus_core_next(struct clus_core *c, struct clus_effect *out)
{
	struct clus_told *t = c->first_told;

	if (!t)
		return false;
	c->first_told = t->next;
	if (!c->first_told)
		c->last_told = NULL;
	*out = t->effect;
	t->next = c->drained;
	c->drained = t;
	return true;
}

/* --- life --- */

struct clus_core *clus_core_new(const struct clus_core_settings *s, struct lease_time now)
{
	struct clus_core *c = calloc(1, sizeof *c);

	INVARIANT(s->failure_ms >= 8);
	INVARIANT(s->peer_count <= CLUS_PEERS_MAX);
	INVARIANT(s->buckets >= 1 && s->buckets <= BUCKETS_MAX);
	INVARIANT(s->self->incarnation != 0);
	if (!c)
		return NULL;
	c->failure_ms = s->failure_ms;
	c->buckets = s->buckets;
	c->peer_count = s->peer_count;
	memcpy(c->cluster, s->cluster, CLUS_ID_BYTES);
	c->now = c->swept_at = c->told_at = core_instant(now);
	c->fenced = true;
	c->unvoted = true;
	if (core_facts_copy(&c->self, s->self))
		clus_core_free(&c);
	return c;
}

void clus_core_free(struct clus_core **core)
{
	struct clus_core *c = *core;

	*core = NULL;
	if (!c)
		return;
	core_nodes_free(c);
	buf_fini(&c->self.memory);
	clus_view_fini(&c->view);
	clus_view_fini(&c->agreed);
	struct buf *bufs[] = {&c->view_bytes,   &c->slots,      &c->proposal,   &c->draft_members, &c->draft_sources,
			      &c->draft_hosted, &c->draft_apps, &c->draft_maps, &c->draft_bytes};
	for (size_t i = 0; i < sizeof bufs / sizeof bufs[0]; i++)
		buf_fini(bufs[i]);
	told_free(&c->first_told);
	told_free(&c->drained);
	told_free(&c->spare);
	free(c);
}

/* --- the control plane's events --- */

/* What it has said as coordinator is void. */
static void not_coordinator(struct clus_core *c)
{
	c->controlled = true;
	c->coordinating = c->proposing = c->supported = false;
	clus_view_fini(&c->agreed);
}

static bool is_in(const struct clus_core *c, const struct clus_view *v)
{
	uint16_t m = clus_view_member(v, c->self.name);

	return m != CLUS_NONE && v->members[m].incarnation == c->self.incarnation;
}

static void coordinates(struct clus_core *c, const struct clus_event *e)
{
	not_coordinator(c);
	if (e->bytes.len > 0 && clus_view_decode(e->bytes, &c->agreed) != 0) {
		core_log(c, CLUS_LOG_BAD_VIEW, c->self.name, "what is agreed on cannot be read", 0);
		core_step_down(c, "it cannot read what is agreed on");
		return;
	}
	if (c->agreed.epoch > 0 && !core_is_ours(c, c->agreed.cluster)) {
		core_log(c, CLUS_LOG_OTHER_CLUSTER, c->self.name, "database", 0);
		core_step_down(c, "its database is of another cluster");
		return;
	}
	if (c->agreed.epoch > c->seen_epoch)
		c->seen_epoch = c->agreed.epoch;
	if (c->agreed.epoch < c->view.epoch || (c->agreed.epoch == c->view.epoch && c->installed))
		clus_view_fini(&c->agreed);
	if (c->agreed.epoch > 0 && core_place(c) != CLUS_NONE && !is_in(c, &c->agreed))
		core_reincarnate(c); /* it was taken out, and the others refuse it; its first view waits */
	memcpy(c->random, e->random, CLUS_ID_BYTES);
	c->coordinating = c->first = c->dirty = true;
	c->became_at = c->now;
	core_log(c, CLUS_LOG_COORDINATES, c->self.name, NULL, c->seen_epoch);
	/* It has let somebody else be elected, and nobody was. */
	c->outlasted = c->yielded;
	for (size_t i = 0; i < core_node_count(c); i++)
		core_node_at(c, i)->out = 0;
}

static void committed(struct clus_core *c, struct view bytes)
{
	struct view mine = buf_view(&c->proposal);

	if (!c->coordinating || !c->proposing || !mine.at || !view_eq(bytes, mine))
		return;
	c->proposing = false;
	c->dirty = true;
	if (!core_install(c, bytes, c->self.name)) {
		/* It is agreed on, and we cannot stand for it. */
		core_step_down(c, "it cannot install what is agreed on");
		return;
	}
	clus_view_fini(&c->agreed);
	struct clus_effect *e = core_do(c, CLUS_DO_SEND_VIEW, view_of(NULL, 0));
	e->bytes = buf_view(&c->view_bytes);
	for (size_t i = 0; i < core_node_count(c); i++) {
		core_node_at(c, i)->sent_epoch = c->view.epoch;
		core_node_at(c, i)->sent_at = c->now;
	}
}

static void learnt(struct clus_core *c, struct view bytes)
{
	if (c->coordinating)
		return; /* the control plane will say who does, then */
	if (c->controlled)
		(void)core_install(c, bytes, view_of(NULL, 0));
	else
		core_recall(c, bytes);
}

/* --- the owner's --- */

static void forget(struct clus_core *c, struct view name)
{
	struct clus_node *n = core_node_make(c, name);

	if (!n || n->forgotten)
		return;
	n->forgotten = true;
	n->forgotten_at = c->now;
	c->dirty = true;
}

/* To the coordinator, which may be ourselves. */
static void ask_to_forget(struct clus_core *c, struct view name)
{
	if (core_is_self(c, name) || name.len == 0 || name.len > CLUS_NAME_MAX)
		return;
	if (c->coordinating) {
		forget(c, name);
	} else if (c->view.epoch > 0) {
		struct clus_effect *e = core_do(c, CLUS_DO_SEND_REPORT, c->view.members[c->view.coordinator].name);
		/* The name is the view's, or this event's, whose owner drains before it goes. */
		e->report = (struct peer_report){.kind = PEER_REPORT_FORGET, .name = name};
	}
}

static void own_apps(struct clus_core *c, const struct peer_hello *hello)
{
	struct peer_hello mine = {.name = c->self.name,
				  .address = c->self.address,
				  .zone = hello->zone,
				  .url = hello->url,
				  .incarnation = c->self.incarnation,
				  .witness = c->self.witness,
				  .votes = c->self.votes,
				  .leaving = c->leaving};
	struct clus_facts facts;

	mine.app_count = hello->app_count;
	memcpy(mine.apps, hello->apps, hello->app_count * sizeof mine.apps[0]);
	if (core_facts_copy(&facts, &mine)) {
		core_log(c, CLUS_LOG_NO_MEMORY, c->self.name, "the apps of a reload", 0);
		return;
	}
	buf_fini(&c->self.memory);
	c->self = facts;
	c->too_much = false;
	c->dirty = true;
	(void)core_do(c, CLUS_DO_REDIAL, view_of(NULL, 0));
}

static void new_incarnation(struct clus_core *c, uint64_t incarnation)
{
	if (!c->renewing || incarnation == 0)
		return;
	c->renewing = false;
	c->self.incarnation = incarnation;
	c->lease_at = (struct instant){0};
}

static void peer_named(struct clus_core *c, uint64_t i, struct view name)
{
	if (i >= c->peer_count || name.len == 0 || name.len > CLUS_NAME_MAX)
		return;
	memcpy(c->peer_bytes[i], name.at, name.len);
	c->peers[i] = view_of(c->peer_bytes[i], name.len);
	/* Later a view says who votes; and who is to vote by a proposal that is under way would be let go. */
	c->unvoted = c->unvoted || c->view.epoch == 0;
}

static void report(struct clus_core *c, const struct clus_event *e)
{
	const struct peer_report *r = e->report;
	struct clus_node *n = core_node_find(c, e->name);

	if (!c->coordinating || !n || !n->up)
		return;
	/* Who wants in has no say about those who are. */
	if ((r->kind == PEER_REPORT_REFUSED || r->kind == PEER_REPORT_FORGET) && core_is_out(c, n))
		return;
	switch (r->kind) {
	case PEER_REPORT_REFUSED:
		core_refused(c, r->name, r->incarnation);
		break;
	case PEER_REPORT_SILENT: /* the heard names say it, and say when it is over */
		break;
	case PEER_REPORT_LEAVE:
		core_wants_leave(c, n);
		break;
	case PEER_REPORT_FORGET:
		ask_to_forget(c, r->name);
		break;
	case PEER_REPORT_ASKED:
	case PEER_REPORT_LOST:
		core_slots_report(c, n, r);
		break;
	}
}

static void take_view(struct clus_core *c, const struct clus_event *e)
{
	struct clus_node *n = core_node_find(c, e->name);

	if (n && n->up && !c->coordinating && (!core_may_act(c) || core_has_say(c, n)))
		(void)core_install(c, e->bytes, e->name);
}

/* --- the door --- */

static void dispatch(struct clus_core *c, const struct clus_event *e)
{
	switch (e->kind) {
	case CLUS_TICK:
		core_nodes_sweep(c);
		break;
	case CLUS_PEER_NAMED:
		peer_named(c, e->number, e->name);
		break;
	case CLUS_LINK_UP:
		core_link_up(c, e);
		break;
	case CLUS_LINK_DOWN:
		core_link_down(c, e);
		break;
	case CLUS_BEAT:
		core_beat(c, e);
		break;
	case CLUS_VIEW:
		take_view(c, e);
		break;
	case CLUS_REPORT:
		report(c, e);
		break;
	case CLUS_COORDINATES:
		coordinates(c, e);
		break;
	case CLUS_FOLLOWS:
	case CLUS_LEADERLESS:
	case CLUS_LOST:
		not_coordinator(c);
		break;
	case CLUS_COMMITTED:
		committed(c, e->bytes);
		break;
	case CLUS_LEARNT:
		learnt(c, e->bytes);
		break;
	case CLUS_INCARNATION:
		new_incarnation(c, e->number);
		break;
	case CLUS_OWN_APPS:
		own_apps(c, e->hello);
		break;
	case CLUS_LEAVE:
		c->leave_at = c->leaving ? c->leave_at : c->now;
		c->leaving = c->self.leaving = c->dirty = true;
		break;
	case CLUS_HANDED_OVER:
		c->handed = c->leaving;
		break;
	case CLUS_FORGET:
		ask_to_forget(c, e->name);
		break;
	case CLUS_ASKED:
	case CLUS_NEVER_CAME:
		core_slots_mine(c, e);
		break;
	}
}

int clus_core_step(struct clus_core *c, const struct clus_event *e)
{
	int err = effects_begin(c);

	if (err)
		return err;
	/* A clock that goes back is no reason to trust anybody longer. */
	if (instant_before(c->now, core_instant(e->now)))
		c->now = core_instant(e->now);
	dispatch(c, e);
	core_voters(c);
	core_quorum(c);
	core_judge(c);
	core_propose(c);
	core_slots_tell(c);
	core_leave(c);
	core_review(c);
	return 0;
}

/* --- what one may ask --- */

const struct clus_view *clus_core_view(const struct clus_core *c)
{
	return c->installed ? &c->view : NULL;
}

const struct clus_view *clus_core_known(const struct clus_core *c)
{
	return c->view.epoch > 0 ? &c->view : NULL;
}

uint64_t clus_core_epoch(const struct clus_core *c)
{
	return c->installed ? c->view.epoch : 0;
}

const uint8_t *clus_core_cluster(const struct clus_core *c)
{
	return c->cluster;
}

bool clus_core_coordinates(const struct clus_core *c)
{
	return c->coordinating;
}

enum clus_state clus_core_state(const struct clus_core *c)
{
	return c->state;
}

void clus_core_check(const struct clus_core *c)
{
	INVARIANT(c->seen_epoch >= c->view.epoch);
	INVARIANT(!c->installed || c->view.epoch > 0);
	INVARIANT(!c->proposing || c->coordinating);
	INVARIANT(!c->supported || c->coordinating);
	INVARIANT(c->self.incarnation != 0);
	INVARIANT(c->fenced || core_place(c) != CLUS_NONE);
	INVARIANT(!c->fenced || clus_core_may_act_until(c).ms <= c->now.ms);
	for (size_t i = 0; i < core_node_count(c); i++) {
		const struct clus_node *n = core_node_at(c, i);
		INVARIANT(i == 0 || view_compare(core_node_at(c, i - 1)->name, n->name) < 0);
		INVARIANT(!n->up || n->facts.incarnation != 0);
		INVARIANT(!core_is_self(c, n->name));
	}
}
