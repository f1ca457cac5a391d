/* Who may be relied on: our right to act, the coordinator's majority, and whom it takes for dead (doc/cluster.md,
 * "Why fencing is safe"). Pure. */
#include "cluster/core_parts.h"

#include "base/invariant.h"

static struct instant later(struct instant a, struct instant b)
{
	return instant_before(a, b) ? b : a;
}

static bool is_over(const struct clus_core *c, struct instant since, uint64_t ms)
{
	return instant_since_ms(c->now, since) >= ms;
}

bool core_is_self(const struct clus_core *c, struct view name)
{
	return view_eq(c->self.name, name);
}

uint16_t core_place(const struct clus_core *c)
{
	uint16_t m = c->installed && !c->renewing ? clus_view_member(&c->view, c->self.name) : CLUS_NONE;

	return m != CLUS_NONE && c->view.members[m].incarnation == c->self.incarnation ? m : CLUS_NONE;
}

bool core_hears(const struct clus_core *c, const struct clus_node *n)
{
	return n->heard && !is_over(c, n->heard_at, c->failure_ms);
}

static bool is_of(const struct clus_view *v, struct view name)
{
	return v->epoch > 0 && (clus_view_member(v, name) != CLUS_NONE || clus_view_voter(v, name) != CLUS_NONE);
}

bool core_has_say(const struct clus_core *c, const struct clus_node *n)
{
	if (core_place(c) == CLUS_NONE && c->agreed.epoch == 0)
		return true;
	return is_of(&c->view, n->name) || is_of(&c->agreed, n->name);
}

bool core_is_made_up(const struct clus_core *c, uint64_t epoch)
{
	return epoch > c->seen_epoch && epoch - c->seen_epoch >= EPOCH_LEAP;
}

/* --- the coordinator's majority --- */

bool core_is_ahead(const struct clus_core *c, const struct clus_node *n)
{
	bool begun = c->installed && !c->first && c->view.epoch >= c->first_epoch;

	if (!begun)
		return n->epoch > c->seen_epoch;
	return n->epoch > c->view.epoch && !(c->proposing && n->epoch == c->proposal_epoch);
}

/* Votes for us: who has installed a view of ours can install none of the coordinator before us any more. One with the
 * epoch of our proposal may have it before we hear that it is agreed on, or another coordinator's of that epoch: that
 * counts when we have heard it. */
static bool supports(const struct clus_core *c, const struct clus_node *n)
{
	return n && n->up && n->epoch >= c->first_epoch && n->epoch <= c->view.epoch && n->confirmed.ms > 0;
}

/* Since when `need` of the instants, which are sorted here, are reached. */
static struct instant reached_by(struct instant *at, unsigned count, unsigned need)
{
	INVARIANT(need >= 1);
	INVARIANT(need <= count);
	for (unsigned i = 1; i < count; i++) {
		for (unsigned k = i; k > 0 && instant_before(at[k - 1], at[k]); k--) {
			struct instant swap = at[k];
			at[k] = at[k - 1];
			at[k - 1] = swap;
		}
	}
	return at[need - 1];
}

void core_quorum(struct clus_core *c)
{
	struct instant at[CLUS_VOTERS_MAX];
	unsigned count = 0;

	if (!c->coordinating || !c->installed || c->first || c->view.epoch < c->first_epoch)
		return;
	for (uint8_t i = 0; i < c->view.voter_count; i++) {
		const struct clus_node *n = core_node_find(c, c->view.voters[i]);
		if (core_is_self(c, c->view.voters[i]))
			at[count++] = c->now;
		else if (supports(c, n))
			at[count++] = n->confirmed;
	}
	if (count < clus_view_majority(&c->view))
		return;
	c->quorum_at = later(c->quorum_at, reached_by(at, count, clus_view_majority(&c->view)));
	if (!c->supported) {
		c->supported = c->dirty = true;
		c->supported_at = c->now;
	}
	if (core_place(c) != CLUS_NONE)
		c->lease_at = later(c->lease_at, c->quorum_at);
}

void core_step_down(struct clus_core *c, const char *why)
{
	c->coordinating = c->proposing = c->supported = false;
	clus_view_fini(&c->agreed);
	(void)core_do(c, CLUS_DO_STEP_DOWN, view_of(NULL, 0));
	core_log(c, CLUS_LOG_STEPPED_DOWN, c->self.name, why, 0);
}

/* --- members --- */

bool core_vouches(const struct clus_core *c, struct view name)
{
	const struct clus_node *n = core_node_find(c, name);
	uint16_t m = c->installed ? clus_view_member(&c->view, name) : CLUS_NONE;

	if (!c->supported || is_over(c, c->quorum_at, c->failure_ms / 8 * 3) || m == CLUS_NONE || !n || !n->up)
		return false;
	return n->facts.incarnation == c->view.members[m].incarnation && n->dead != n->facts.incarnation &&
	       !n->suspected && !n->forgotten && !n->condemned;
}

const char *core_verdict(const struct clus_core *c, const struct clus_member *m, const struct clus_node *n)
{
	struct instant since = c->supported_at;

	if (core_is_self(c, m->name))
		return NULL;
	if (n && n->dead == m->incarnation)
		return n->why ? n->why : "it was removed";
	if (n && n->up && n->facts.incarnation != m->incarnation)
		return "it was started again";
	/* Until here it was certain. What follows lets the time pass in which it fences itself. */
	if (!c->supported)
		return NULL;
	if (n && m->leaving && n->handed == m->incarnation)
		return "it has handed over";
	if (n && n->heard && n->facts.incarnation == m->incarnation)
		since = later(since, n->heard_at);
	if (is_over(c, since, c->failure_ms))
		return "nothing was heard of it";
	if (n && n->suspected && is_over(c, later(n->suspected_at, c->supported_at), c->failure_ms))
		return "most members do not reach it";
	if (n && n->forgotten && is_over(c, later(n->forgotten_at, c->supported_at), c->failure_ms))
		return "an operator has taken it out";
	return NULL;
}

/* How many of the members whose beats are of this view hear each; returns how many there are of these. */
static unsigned count_rows(const struct clus_core *c, uint16_t hearing[CLUS_MEMBERS_MAX])
{
	unsigned rows = 0;

	memset(hearing, 0, CLUS_MEMBERS_MAX * sizeof hearing[0]);
	for (size_t i = 0; i < core_node_count(c); i++) {
		const struct clus_node *n = core_node_at(c, i);
		if (!n->up || n->row_epoch != c->view.epoch || clus_view_member(&c->view, n->name) == CLUS_NONE)
			continue;
		rows++;
		for (uint16_t m = 0; m < c->view.member_count; m++)
			hearing[m] = (uint16_t)(hearing[m] + (n->row[m / 64] >> m % 64 & 1));
	}
	return rows;
}

/* `lack` of the others do not hear it, `hear` do; of the rest nothing is known yet, and nothing changes by them. */
static void suspect(struct clus_core *c, struct clus_node *n, unsigned others, unsigned hear, unsigned lack)
{
	if (lack * 2 > others) {
		if (!n->suspected)
			n->suspected_at = c->now;
		n->suspected = true;
	} else if (hear * 2 >= others) {
		n->suspected = false;
	}
}

static void suspect_members(struct clus_core *c)
{
	uint16_t hearing[CLUS_MEMBERS_MAX];
	unsigned rows = count_rows(c, hearing);

	for (uint16_t m = 0; m < c->view.member_count; m++) {
		struct clus_node *n = core_node_find(c, c->view.members[m].name);
		if (!n || !n->up)
			continue;
		/* Its own row says nothing of itself, and we hear it. */
		unsigned told = rows - (n->row_epoch == c->view.epoch ? 1 : 0);
		suspect(c, n, c->view.member_count - 1U, hearing[m] + 1U, told - hearing[m]);
	}
}

void core_judge(struct clus_core *c)
{
	if (!c->coordinating || instant_since_ms(c->now, c->judged_at) < c->failure_ms / 16)
		return;
	c->judged_at = c->now;
	if (c->supported ? is_over(c, c->quorum_at, c->failure_ms / 2) : is_over(c, c->became_at, c->failure_ms)) {
		core_step_down(c, "it hears no majority of the voters");
		return;
	}
	c->dirty = c->dirty || c->retry;
	c->retry = false;
	if (!c->installed || !c->supported)
		return;
	suspect_members(c);
	for (uint16_t m = 0; !c->dirty && m < c->view.member_count; m++)
		c->dirty = core_verdict(c, &c->view.members[m], core_node_find(c, c->view.members[m].name)) != NULL;
}

/* --- ourselves --- */

/* Somebody whom we take for a member says so. It may be long ago that we were. */
void core_was_removed(struct clus_core *c, struct view by)
{
	if (c->renewing || c->view.epoch == 0 || clus_view_member(&c->view, by) == CLUS_NONE)
		return;
	if (c->coordinating)
		core_step_down(c, "others have taken it out");
	if (c->leaving)
		c->removed = true;
	else
		core_reincarnate(c);
}

void core_reincarnate(struct clus_core *c)
{
	if (c->renewing)
		return; /* asked for already: of two answers, one would be lost */
	c->renewing = true;
	c->lease_at = (struct instant){0};
	(void)core_do(c, CLUS_DO_REINCARNATE, view_of(NULL, 0));
}

bool core_may_act(const struct clus_core *c)
{
	return core_place(c) != CLUS_NONE && c->lease_at.ms > 0 && !is_over(c, c->lease_at, c->failure_ms / 2);
}

struct lease_time clus_core_may_act_until(const struct clus_core *c)
{
	return (struct lease_time){c->fenced ? 0 : c->lease_at.ms + c->failure_ms / 2};
}

static enum clus_state state_of(const struct clus_core *c)
{
	if (c->exited)
		return CLUS_GONE;
	if (core_place(c) == CLUS_NONE)
		return CLUS_SEEKING;
	if (c->leaving)
		return CLUS_LEAVING;
	return c->fenced ? CLUS_FENCED : CLUS_MEMBER;
}

void core_review(struct clus_core *c)
{
	bool fenced = !core_may_act(c);
	const char *why = core_place(c) == CLUS_NONE ? "the view is without this node"
						     : "nothing of the coordinator for half of failure-timeout";

	if (fenced != c->fenced) {
		struct clus_effect *e = core_do(c, fenced ? CLUS_DO_FENCE : CLUS_DO_UNFENCE, view_of(NULL, 0));
		e->text = fenced ? view_str(why) : view_of(NULL, 0);
		c->fenced = fenced;
	}
	if (state_of(c) != c->state) {
		c->state = state_of(c);
		core_do(c, CLUS_DO_STATE, view_of(NULL, 0))->state = c->state;
	}
}

/* --- leaving --- */

static void say_leave(struct clus_core *c)
{
	if (c->leave_told && instant_since_ms(c->now, c->leave_told_at) < c->failure_ms / 8)
		return;
	c->leave_told = true;
	c->leave_told_at = c->now;
	struct clus_effect *e = core_do(c, CLUS_DO_SEND_REPORT, c->view.members[c->view.coordinator].name);
	e->report = (struct peer_report){.kind = PEER_REPORT_LEAVE};
}

static void exit_now(struct clus_core *c, const char *in_vain)
{
	c->exited = true;
	if (c->coordinating)
		core_step_down(c, "it leaves");
	core_do(c, CLUS_DO_EXIT, view_of(NULL, 0))->text = in_vain ? view_str(in_vain) : view_of(NULL, 0);
}

/* For so long nobody has answered who could take it out: the others are gone, or are no majority. */
static bool leaves_in_vain(const struct clus_core *c)
{
	return !c->coordinating && is_over(c, later(c->leave_at, c->lease_at), 2 * c->failure_ms);
}

/* A coordinator cannot write the view that is without it: it lets another one be elected first, which does. Should none
 * be, it goes as it is. */
void core_leave(struct clus_core *c)
{
	uint16_t place = core_place(c);

	if (!c->leaving || c->exited)
		return;
	if (place == CLUS_NONE || c->removed || (c->coordinating && (c->view.member_count == 1 || c->outlasted))) {
		exit_now(c, NULL);
	} else if (leaves_in_vain(c)) {
		exit_now(c, "no coordinator has answered for twice failure-timeout");
	} else if (!c->view.members[place].leaving || c->handed) {
		if (!c->coordinating) {
			say_leave(c);
		} else if (c->view.members[place].leaving && !c->yielded) {
			c->yielded = true;
			core_step_down(c, "it leaves");
		}
	}
}
