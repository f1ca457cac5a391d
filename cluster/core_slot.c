/* What managers say of their buckets: that they have asked everybody, or that a directory never came. Pure.
 *
 * A node says it over and over until the view says it too, so that nothing is missing when the coordinator changes.
 * What was said is void when the bucket has had another manager meanwhile: a word names the epoch that its speaker has
 * installed, and counts if the manager has been the same since. */
#include "cluster/core_parts.h"

enum { TELLS_MAX = 32 }; /* reports at once; the others follow */

struct clus_slot *core_slots(const struct clus_core *c, uint16_t app)
{
	struct clus_slot *s = (void *)c->slots.data;

	for (uint16_t a = 0; a < app; a++)
		s += c->view.apps[a].buckets;
	return s;
}

void core_places_before(const struct clus_view *before, const struct clus_view *next, uint16_t *old)
{
	for (uint16_t i = 0; i < next->member_count; i++) {
		old[i] = clus_view_member(before, next->members[i].name);
		if (old[i] != CLUS_NONE && before->members[old[i]].incarnation != next->members[i].incarnation)
			old[i] = CLUS_NONE;
	}
}

static void renew_app(const struct clus_core *c, const struct clus_view *next, uint16_t app, const uint16_t *old,
		      struct clus_slot *to)
{
	const struct clus_app *a = &next->apps[app];
	uint16_t before = old ? clus_view_app(&c->view, a->name) : CLUS_NONE;
	bool same = before != CLUS_NONE && c->view.apps[before].buckets == a->buckets;
	const struct clus_slot *from = same ? core_slots(c, before) : NULL;

	for (uint32_t b = 0; b < a->buckets; b++) {
		uint16_t now = a->map[b].manager;
		to[b] = (struct clus_slot){.since = next->epoch};
		if (!same || now == BUCKETS_NONE || old[now] == CLUS_NONE ||
		    c->view.apps[before].map[b].manager != old[now])
			continue;
		to[b] = from[b];
		uint8_t said = a->map[b].lost ? MARK_LOST : MARK_KNOWN;
		if (to[b].mine == said)
			to[b].mine = MARK_NONE;
		if (to[b].mark == said)
			to[b].mark = MARK_NONE;
	}
}

int core_slots_renew(struct clus_core *c, const struct clus_view *next, bool follows, struct buf *out)
{
	uint16_t old[CLUS_MEMBERS_MAX];
	size_t buckets = 0;

	if (follows)
		core_places_before(&c->view, next, old);
	for (uint16_t a = 0; a < next->app_count; a++)
		buckets += next->apps[a].buckets;
	struct clus_slot *s = (void *)buf_reserve(out, buckets * sizeof *s + 1);
	if (!s)
		return buf_error(out);
	buf_commit(out, buckets * sizeof *s);
	for (uint16_t a = 0; a < next->app_count; a++) {
		renew_app(c, next, a, follows ? old : NULL, s);
		s += next->apps[a].buckets;
	}
	return 0;
}

/* The buckets are there, in the view that counts. */
static bool is_range(const struct clus_core *c, uint16_t app, uint32_t first, uint32_t count)
{
	return app != CLUS_NONE && count <= c->view.apps[app].buckets && first <= c->view.apps[app].buckets - count;
}

void core_slots_mine(struct clus_core *c, const struct clus_event *e)
{
	uint16_t me = core_place(c), app = me == CLUS_NONE ? CLUS_NONE : clus_view_app(&c->view, e->name);
	uint8_t said = e->kind == CLUS_ASKED ? MARK_KNOWN : MARK_LOST;

	if (!is_range(c, app, e->first, e->count))
		return;
	struct clus_slot *s = core_slots(c, app);
	for (uint32_t b = e->first; b < e->first + e->count; b++) {
		const struct bucket *bucket = &c->view.apps[app].map[b];
		if (bucket->manager != me || s[b].since > e->number)
			continue;
		s[b].mine = bucket->lost == (said == MARK_LOST) ? MARK_NONE : said;
		c->unsettled = c->unsettled || s[b].mine != MARK_NONE;
		c->tell_now = true;
	}
}

void core_slots_report(struct clus_core *c, const struct clus_node *from, const struct peer_report *r)
{
	uint16_t m = c->installed ? clus_view_member(&c->view, from->name) : CLUS_NONE;
	uint16_t app = m == CLUS_NONE ? CLUS_NONE : clus_view_app(&c->view, r->name);

	if (!is_range(c, app, r->first, r->count) || c->view.members[m].incarnation != from->facts.incarnation)
		return;
	struct clus_slot *s = core_slots(c, app);
	for (uint32_t b = r->first; b < r->first + r->count; b++) {
		if (c->view.apps[app].map[b].manager != m || s[b].since > r->epoch)
			continue;
		s[b].mark = r->kind == PEER_REPORT_ASKED ? MARK_KNOWN : MARK_LOST;
		c->dirty = true;
	}
}

static void tell(struct clus_core *c, uint16_t app, uint32_t first, uint32_t count, uint8_t said)
{
	struct clus_effect *e = core_do(c, CLUS_DO_SEND_REPORT, c->view.members[c->view.coordinator].name);

	e->report = (struct peer_report){.kind = said == MARK_KNOWN ? PEER_REPORT_ASKED : PEER_REPORT_LOST,
					 .name = c->view.apps[app].name,
					 .epoch = c->view.epoch,
					 .first = first,
					 .count = count};
}

/* How many were told. */
static unsigned tell_app(struct clus_core *c, uint16_t app, unsigned most)
{
	struct clus_slot *s = core_slots(c, app);
	uint32_t buckets = c->view.apps[app].buckets;
	unsigned told = 0;

	for (uint32_t b = 0, end; b < buckets && told < most; b = end) {
		for (end = b + 1; end < buckets && s[end].mine == s[b].mine; end++)
			;
		if (s[b].mine == MARK_NONE)
			continue;
		told++;
		if (!c->coordinating)
			tell(c, app, b, end - b, s[b].mine);
		for (uint32_t k = b; c->coordinating && k < end; k++)
			s[k].mark = s[k].mine;
		c->dirty = c->dirty || c->coordinating;
	}
	return told;
}

void core_slots_tell(struct clus_core *c)
{
	unsigned told = 0;

	if (!c->unsettled || core_place(c) == CLUS_NONE ||
	    (!c->tell_now && instant_since_ms(c->now, c->told_at) < c->failure_ms / 8))
		return;
	c->tell_now = false;
	c->told_at = c->now;
	for (uint16_t a = 0; a < c->view.app_count && told < TELLS_MAX; a++)
		told += tell_app(c, a, TELLS_MAX - told);
	c->unsettled = told > 0;
}
