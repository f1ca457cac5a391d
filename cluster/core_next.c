/* The next view: the one before, and what is known since. Pure. */
#include "cluster/core_parts.h"

#include "base/error.h"
#include "base/invariant.h"

/* Where all formats have the epoch (doc/cluster.md, "The bytes of a view"). */
enum { EPOCH_AT = 4 + 2 + 4 + CLUS_ID_BYTES, EPOCH_BYTES = 8 };
enum {
	REFUSED_AT_ONCE = 8, /* joins that are found to be too much, before the next event */
	SHY_MAX = 64,        /* failure-timeouts: who is out of reach of most, over and over, stays out that long */
	SHY_FORGOTTEN = 8,   /* after so many times what it was kept out for, it begins anew */
};

static struct clus_member *drafted(const struct clus_core *c)
{
	return (void *)c->draft_members.data;
}

/* --- members --- */

static void add_member(struct clus_core *c, struct clus_draft *d, struct clus_member m, struct clus_source from)
{
	if (d->view.member_count >= CLUS_MEMBERS_MAX) {
		d->failed = d->full = true;
		return;
	}
	buf_put(&c->draft_members, view_of(&m, sizeof m));
	buf_put(&c->draft_sources, view_of(&from, sizeof from));
	d->failed = buf_error(&c->draft_members) || buf_error(&c->draft_sources);
	d->view.member_count++;
}

/* Whether one more may come in or change; `n` NULL: ourselves. */
static bool admit(const struct clus_core *c, struct clus_draft *d, struct clus_node *n)
{
	if (d->admitted == d->admit || (n ? n->too_much : c->too_much))
		return false;
	d->admitted++;
	d->last = n;
	return true;
}

/* Whoever has installed anything must first have a view that is without it: an incarnation that was taken out, and has
 * not heard of it, becomes another one by this, also where nobody remembers it. */
static bool knows_it_is_out(const struct clus_draft *d, struct clus_node *n)
{
	if (n->out != n->facts.incarnation) {
		n->out = n->facts.incarnation;
		n->out_epoch = d->base ? d->base->epoch : 0;
	}
	return n->epoch == 0 || n->epoch >= n->out_epoch;
}

static bool is_joiner(const struct clus_core *c, const struct clus_node *n)
{
	return n->up && !n->facts.leaving && !n->wants_leave && n->facts.incarnation != n->dead && core_hears(c, n) &&
	       !instant_before(c->now, n->shy_until);
}

/* What it says of itself is not what the view says. */
static bool has_changed(const struct clus_view *base, const struct clus_member *m, const struct clus_facts *f)
{
	if (m->hosted_count != f->app_count || m->witness != f->witness || !view_eq(m->address, f->address) ||
	    !view_eq(m->zone, f->zone) || !view_eq(m->url, f->url))
		return true;
	for (uint16_t i = 0; i < f->app_count; i++) {
		if (!view_eq(base->apps[m->hosted[i].app].name, f->apps[i].name) ||
		    m->hosted[i].digest != f->apps[i].digest)
			return true;
	}
	return false;
}

static void stays(struct clus_core *c, struct clus_draft *d, uint16_t place, struct clus_node *n)
{
	struct clus_member m = d->base->members[place];
	struct clus_source from = {.old = place};
	bool self = core_is_self(c, m.name), speaks = n && n->up && n->facts.incarnation == m.incarnation;

	if (self && has_changed(d->base, &m, &c->self) && admit(c, d, NULL))
		from.facts = &c->self;
	if (speaks && has_changed(d->base, &m, &n->facts) && admit(c, d, n))
		from.facts = &n->facts;
	m.leaving = m.leaving || (self ? c->leaving : speaks && (n->wants_leave || n->facts.leaving));
	add_member(c, d, m, from);
}

static void joins(struct clus_core *c, struct clus_draft *d, const struct clus_facts *f, struct view name)
{
	add_member(c, d, (struct clus_member){.name = name, .incarnation = f->incarnation},
		   (struct clus_source){.facts = f, .old = CLUS_NONE});
}

/* --- voters --- */

static bool has_voter(const struct clus_view *v, struct view name)
{
	return clus_view_voter(v, name) != CLUS_NONE;
}

static void add_voter(struct clus_view *v, struct view name)
{
	uint8_t i = v->voter_count++;

	for (; i > 0 && view_compare(v->voters[i - 1], name) > 0; i--)
		v->voters[i] = v->voters[i - 1];
	v->voters[i] = name;
}

static void remove_voter(struct clus_view *v, struct view name)
{
	uint16_t i = clus_view_voter(v, name);

	INVARIANT(i != CLUS_NONE);
	v->voter_count--;
	memmove(&v->voters[i], &v->voters[i + 1], (v->voter_count - i) * sizeof v->voters[0]);
}

/* With these voters a majority would be there to agree. */
static bool would_agree(const struct clus_core *c, const struct clus_view *v)
{
	unsigned there = 0;

	for (uint8_t i = 0; i < v->voter_count; i++) {
		const struct clus_node *n = core_node_find(c, v->voters[i]);
		there += core_is_self(c, v->voters[i]) || (n && n->up && core_hears(c, n));
	}
	return there >= clus_view_majority(v);
}

/* The vote of `name` goes with this view: false if it may not, since another has changed, or its vote is needed. */
static bool take_vote(struct clus_core *c, struct clus_draft *d, struct view name)
{
	struct clus_view without = d->view;

	if (!c->supported || d->votes_changed)
		return false;
	remove_voter(&without, name);
	if (without.voter_count == 0 || !would_agree(c, &without)) {
		if (!c->vote_needed)
			core_log(c, CLUS_LOG_VOTE_NEEDED, name, NULL, 0);
		c->vote_needed = d->vote_needed = true;
		return false;
	}
	d->view = without;
	d->votes_changed = true;
	return true;
}

/* Who leaves in good order, or is taken out, goes together with its vote. Not one that was leaving and is there again:
 * where all end at once and start again, votes would be taken and given until one alone has all. */
static bool may_go(struct clus_core *c, struct clus_draft *d, const struct clus_member *m, const struct clus_node *n)
{
	bool is_back = n && n->up && n->facts.incarnation != m->incarnation && !n->facts.leaving;
	bool orderly = (m->leaving && !is_back) || (n && n->forgotten);

	return !orderly || !has_voter(&d->view, m->name) || take_vote(c, d, m->name);
}

/* A forgotten name that is no member any more may have a vote still. */
static void forget_votes(struct clus_core *c, struct clus_draft *d)
{
	for (size_t i = 0; i < core_node_count(c); i++) {
		struct clus_node *n = core_node_at(c, i);
		if (!n->forgotten || (d->base && clus_view_member(d->base, n->name) != CLUS_NONE))
			continue;
		if (!has_voter(&d->view, n->name))
			n->forgotten = false;
		else
			(void)take_vote(c, d, n->name);
	}
}

/* One a view, by name. */
static void give_vote(struct clus_core *c, struct clus_draft *d)
{
	if (!c->supported || d->votes_changed)
		return;
	for (uint16_t i = 0; i < d->view.member_count && d->view.voter_count < CLUS_VOTERS_MAX; i++) {
		const struct clus_member *m = &drafted(c)[i];
		const struct clus_node *n = core_node_find(c, m->name);
		struct clus_view with = d->view;
		if (m->leaving || has_voter(&d->view, m->name) || !n || !n->up || !n->facts.votes ||
		    n->facts.incarnation != m->incarnation || n->forgotten || !core_hears(c, n))
			continue;
		add_voter(&with, m->name);
		if (!would_agree(c, &with))
			continue;
		d->view = with;
		d->votes_changed = true;
		return;
	}
}

/* Who has elected us. False: too many of them have no name yet: those that agree on this view might have nobody in
 * common with others who elect somebody else. */
static bool name_first_voters(struct clus_core *c, struct clus_view *v)
{
	unsigned nameless = 0;

	add_voter(v, c->self.name);
	for (unsigned i = 0; i < c->peer_count; i++) {
		if (c->peers[i].len == 0)
			nameless++;
		else if (!has_voter(v, c->peers[i]))
			add_voter(v, c->peers[i]);
	}
	return nameless <= 1;
}

/* --- all of it --- */

/* One name: a member of before, a node that is linked, or both. */
static void draft_name(struct clus_core *c, struct clus_draft *d, uint16_t place, struct clus_node *n)
{
	if (place != CLUS_NONE) {
		const struct clus_member *m = &d->base->members[place];
		if (core_is_self(c, m->name) && m->incarnation != c->self.incarnation) {
			joins(c, d, &c->self, c->self.name);
			return;
		}
		if (!core_verdict(c, m, n) || !may_go(c, d, m, n)) {
			stays(c, d, place, n);
			return;
		}
	}
	bool again = place != CLUS_NONE && n && n->facts.incarnation == d->base->members[place].incarnation;
	c->retry = c->retry || (n && n->up && instant_before(c->now, n->shy_until));
	if (n && !again && is_joiner(c, n) && knows_it_is_out(d, n) && admit(c, d, n))
		joins(c, d, &n->facts, n->name);
}

/* Members of before, and of the nodes those that come in, in the order of their names. */
static void draft_members(struct clus_core *c, struct clus_draft *d)
{
	uint16_t place = 0, count = d->base ? d->base->member_count : 0;
	size_t i = 0, nodes = core_node_count(c);
	bool self_in = d->base && clus_view_member(d->base, c->self.name) != CLUS_NONE;

	while (!d->failed && (place < count || i < nodes || !self_in)) {
		struct clus_node *n = i < nodes ? core_node_at(c, i) : NULL;
		struct view old = place < count ? d->base->members[place].name : view_of(NULL, 0);
		bool base_first = place < count && (!n || view_compare(old, n->name) <= 0);
		struct view name = base_first ? old : n ? n->name : c->self.name;
		if (!self_in && view_compare(c->self.name, name) <= 0) {
			joins(c, d, &c->self, c->self.name);
			self_in = true;
			continue;
		}
		struct clus_node *same = n && view_eq(n->name, name) ? n : NULL;
		i += same != NULL;
		draft_name(c, d, base_first ? place : CLUS_NONE, same);
		place = (uint16_t)(place + base_first);
	}
}

/* The encoded draft is what there is already. */
static bool is_same(const struct clus_core *c)
{
	struct view a = buf_view(&c->draft_bytes), b = buf_view(&c->view_bytes);
	size_t tail = EPOCH_AT + EPOCH_BYTES;

	return a.at && b.at && a.len == b.len && a.len > tail && memcmp(a.at, b.at, EPOCH_AT) == 0 &&
	       memcmp(a.at + tail, b.at + tail, a.len - tail) == 0;
}

static void begin(struct clus_core *c, struct clus_draft *d, unsigned admitted)
{
	const struct clus_view *base = c->agreed.epoch > 0 ? &c->agreed : c->view.epoch > 0 ? &c->view : NULL;

	*d = (struct clus_draft){.base = base, .admit = admitted};
	d->view.epoch = c->seen_epoch + 1;
	memcpy(d->view.cluster, base ? base->cluster : c->random, CLUS_ID_BYTES);
	if (base) {
		memcpy(d->view.voters, base->voters, sizeof d->view.voters);
		d->view.voter_count = base->voter_count;
	}
	buf_clear(&c->draft_members);
	buf_clear(&c->draft_sources);
	buf_clear(&c->draft_bytes);
}

/* True: c->draft_bytes are a view. False: there is none, d->failed says whether for want of memory or room. */
static bool draft(struct clus_core *c, struct clus_draft *d, unsigned admitted)
{
	begin(c, d, admitted);
	if (!d->base && !name_first_voters(c, &d->view))
		return false;
	/* A vote that is missing may be the coordinator's own: its database was that of a voter. */
	if (!has_voter(&d->view, c->self.name))
		return false;
	draft_members(c, d);
	d->view.members = drafted(c);
	forget_votes(c, d);
	give_vote(c, d);
	c->vote_needed = c->vote_needed && (d->vote_needed || !c->supported); /* told once, until nobody's is */
	if (d->failed || !core_draft_apps(c, d)) {
		d->failed = true;
		return false;
	}
	d->view.coordinator = clus_view_member(&d->view, c->self.name);
	clus_view_encode(&d->view, &c->draft_bytes);
	d->failed = buf_error(&c->draft_bytes) != 0;
	d->full = d->full || buf_error(&c->draft_bytes) == ERR_TOO_LARGE;
	return !d->failed;
}

/* The one who came last is too much. */
static void refuse_last(struct clus_core *c, const struct clus_draft *d)
{
	if (d->last)
		d->last->too_much = true;
	else
		c->too_much = true;
	core_log(c, CLUS_LOG_REFUSED, d->last ? d->last->name : c->self.name,
		 d->view.member_count >= CLUS_MEMBERS_MAX ? "there are as many members as may be"
							  : "the view would be too long",
		 0);
}

/* Everybody at once. Where that does not fit, one: the others are in the views that follow, and of those who are too
 * much it is known who they are. */
static bool draft_what_fits(struct clus_core *c, struct clus_draft *d)
{
	bool done = draft(c, d, UINT32_MAX);

	for (unsigned refused = 0; !done && d->failed && d->full && refused <= REFUSED_AT_ONCE; refused++) {
		done = draft(c, d, 1);
		if (!done && d->full && d->admitted == 1)
			refuse_last(c, d);
		else if (!done)
			break;
	}
	return done;
}

static void keep_out(const struct clus_core *c, struct clus_node *n)
{
	bool again = n->shy_ms > 0 && instant_before(c->now, instant_add_ms(n->shy_until, SHY_FORGOTTEN * n->shy_ms));
	uint64_t most = SHY_MAX * c->failure_ms, ms = again ? n->shy_ms * 2 : c->failure_ms;

	n->shy_ms = ms < most ? ms : most;
	n->shy_until = instant_add_ms(c->now, n->shy_ms);
}

/* Who is not in the proposal is not vouched for from now on, and will know why it went. */
static void condemn(struct clus_core *c, const struct clus_draft *d)
{
	for (uint16_t i = 0; d->base && i < d->base->member_count; i++) {
		const struct clus_member *m = &d->base->members[i];
		struct clus_node *n = core_node_find(c, m->name);
		uint16_t place = clus_view_member(&d->view, m->name);
		if (!n)
			continue;
		n->condemned = place == CLUS_NONE || d->view.members[place].incarnation != m->incarnation;
		if (!n->condemned)
			continue;
		n->why = core_verdict(c, m, n);
		if (n->up && n->suspected)
			keep_out(c, n);
	}
}

void core_propose(struct clus_core *c)
{
	struct clus_draft d;

	if (!c->coordinating || c->proposing || !c->dirty || c->exited || c->renewing)
		return;
	if (c->seen_epoch >= CLUS_EPOCH_MAX) {
		core_step_down(c, "there are no more epochs");
		return;
	}
	c->dirty = false;
	if (!draft_what_fits(c, &d)) {
		c->retry = true; /* with the next judgement */
		if (d.failed && !d.full)
			core_log(c, CLUS_LOG_NO_MEMORY, c->self.name, "the next view", 0);
		return;
	}
	if (!c->first && is_same(c))
		return;
	condemn(c, &d);
	struct buf swap = c->proposal;
	c->proposal = c->draft_bytes;
	c->draft_bytes = swap;
	c->first_epoch = c->first ? d.view.epoch : c->first_epoch;
	c->seen_epoch = c->proposal_epoch = d.view.epoch;
	c->first = false;
	c->proposing = true;
	struct clus_effect *e = core_do(c, CLUS_DO_PROPOSE, view_of(NULL, 0));
	e->bytes = buf_view(&c->proposal);
	core_do_voters(c, e, &d.view);
}
