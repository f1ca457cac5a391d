/* The apps of the next view: which there are, whose settings count, and who manages what. Pure. */
#include "cluster/core_parts.h"

#include "base/invariant.h"

/* What is said of each app while the members are looked through. */
struct app_hosts {
	bool agree;         /* somebody who stays has the settings that counted */
	bool some, willing; /* somebody hosts it; somebody who stays */
	uint64_t first, first_willing;
};

static struct clus_app *apps(const struct clus_core *c)
{
	return (void *)c->draft_apps.data;
}

static const struct clus_source *source(const struct clus_core *c, uint16_t i)
{
	return (const struct clus_source *)(void *)c->draft_sources.data + i;
}

/* Where it stands among those in order, or would. */
static uint16_t app_place(const struct clus_core *c, const struct clus_draft *d, struct view name, bool *there)
{
	uint16_t from = 0, to = d->view.app_count;

	while (from < to) {
		uint16_t middle = (uint16_t)((from + to) / 2);
		int order = view_compare(apps(c)[middle].name, name);
		*there = order == 0;
		if (order == 0)
			return middle;
		if (order < 0)
			from = (uint16_t)(middle + 1);
		else
			to = middle;
	}
	*there = false;
	return from;
}

static bool add_app(struct clus_core *c, struct clus_draft *d, struct view name)
{
	bool there;
	uint16_t at = app_place(c, d, name, &there);

	if (there)
		return true;
	d->full = d->full || d->view.app_count >= CLUS_APPS_MAX;
	if (d->view.app_count >= CLUS_APPS_MAX || !buf_reserve(&c->draft_apps, sizeof(struct clus_app)))
		return false;
	buf_commit(&c->draft_apps, sizeof(struct clus_app));
	memmove(apps(c) + at + 1, apps(c) + at, (d->view.app_count - at) * sizeof(struct clus_app));
	apps(c)[at] = (struct clus_app){.name = name};
	d->view.app_count++;
	return true;
}

/* Of all members together, how many (member, app) pairs there are in *hosted. */
static bool find_apps(struct clus_core *c, struct clus_draft *d, size_t *hosted)
{
	bool used[CLUS_APPS_MAX] = {false};

	buf_clear(&c->draft_apps);
	*hosted = 0;
	for (uint16_t i = 0; i < d->view.member_count; i++) {
		const struct clus_facts *f = source(c, i)->facts;
		const struct clus_member *m = &d->view.members[i];
		*hosted += f ? f->app_count : m->hosted_count;
		for (uint16_t k = 0; f && k < f->app_count; k++) {
			if (!add_app(c, d, f->apps[k].name))
				return false;
		}
		for (uint16_t k = 0; !f && k < m->hosted_count; k++)
			used[m->hosted[k].app] = true;
	}
	for (uint16_t i = 0; d->base && i < d->base->app_count; i++) {
		if (used[i] && !add_app(c, d, d->base->apps[i].name))
			return false;
	}
	return true;
}

/* What the facts say, and places as they are in this view. */
static bool fill_members(struct clus_core *c, struct clus_draft *d, size_t hosted)
{
	uint16_t to[CLUS_APPS_MAX];
	bool there = true;

	buf_clear(&c->draft_hosted);
	struct clus_hosted *at = (void *)buf_reserve(&c->draft_hosted, hosted * sizeof *at + 1);
	if (!at)
		return false;
	for (uint16_t i = 0; d->base && i < d->base->app_count; i++)
		to[i] = app_place(c, d, d->base->apps[i].name, &there);
	for (uint16_t i = 0; i < d->view.member_count; i++) {
		const struct clus_facts *f = source(c, i)->facts;
		struct clus_member *m = (struct clus_member *)(void *)c->draft_members.data + i;
		const struct clus_hosted *before = m->hosted;
		if (f) {
			m->address = f->address;
			m->zone = f->zone;
			m->url = f->url;
			m->witness = f->witness;
			m->hosted_count = f->app_count;
		}
		m->hosted = at;
		for (uint16_t k = 0; k < m->hosted_count; k++, at++) {
			at->app = f ? app_place(c, d, f->apps[k].name, &there) : to[before[k].app];
			at->digest = f ? f->apps[k].digest : before[k].digest;
			INVARIANT(!f || there);
		}
	}
	return true;
}

/* The settings that count stay so while somebody has them who stays; then those of the first who does. */
static void choose_settings(struct clus_core *c, struct clus_draft *d, const uint16_t *old)
{
	struct app_hosts hosts[CLUS_APPS_MAX];

	memset(hosts, 0, sizeof hosts);
	for (uint16_t i = 0; i < d->view.member_count; i++) {
		const struct clus_member *m = &d->view.members[i];
		for (uint16_t k = 0; k < m->hosted_count; k++) {
			struct app_hosts *h = &hosts[m->hosted[k].app];
			uint16_t before = old[m->hosted[k].app];
			if (!h->some)
				h->first = m->hosted[k].digest;
			h->some = true;
			if (m->leaving)
				continue;
			if (!h->willing)
				h->first_willing = m->hosted[k].digest;
			h->willing = true;
			h->agree =
			    h->agree || (before != CLUS_NONE && d->base->apps[before].digest == m->hosted[k].digest);
		}
	}
	for (uint16_t a = 0; a < d->view.app_count; a++) {
		const struct clus_app *before = old[a] == CLUS_NONE ? NULL : &d->base->apps[old[a]];
		const struct app_hosts *h = &hosts[a];
		bool keeps = before && (h->agree || !h->willing);
		apps(c)[a].digest = keeps ? before->digest : h->willing ? h->first_willing : h->first;
		/* How many buckets there are is of the settings: new ones, new maps. */
		apps(c)[a].buckets = keeps ? before->buckets : c->buckets;
	}
}

/* We begin with a view that we have not installed; perhaps nobody has. A bucket that has changed hands with it, or with
 * one before that we have missed, may have been handed over to nobody, and who had it before may be gone. */
static void doubt_map(const struct clus_core *c, const struct clus_view *base, uint16_t app, struct bucket *map)
{
	bool follows = c->installed && base->epoch == c->view.epoch + 1;
	uint16_t before = follows ? clus_view_app(&c->view, base->apps[app].name) : CLUS_NONE;
	const struct clus_app *was = before == CLUS_NONE ? NULL : &c->view.apps[before];
	uint16_t place[CLUS_MEMBERS_MAX];

	if (was && was->buckets != base->apps[app].buckets)
		was = NULL;
	core_places_before(&c->view, base, place);
	for (uint32_t b = 0; b < base->apps[app].buckets; b++) {
		uint16_t m = map[b].manager;
		if (!was || m == BUCKETS_NONE || place[m] == CLUS_NONE || was->map[b].manager != place[m])
			map[b].lost = true;
	}
}

/* The map before, with what its managers have said since. False: it begins anew. */
static bool map_before(const struct clus_core *c, const struct clus_draft *d, uint16_t old, uint32_t buckets,
		       struct bucket *map)
{
	if (old == CLUS_NONE || d->base->apps[old].buckets != buckets)
		return false;
	memcpy(map, d->base->apps[old].map, buckets * sizeof *map);
	if (d->base != &c->view || !c->installed) {
		doubt_map(c, d->base, old, map);
		return true;
	}
	const struct clus_slot *slots = core_slots(c, old);
	for (uint32_t b = 0; b < buckets; b++) {
		if (slots[b].mark == MARK_KNOWN)
			map[b].lost = map[b].manager == BUCKETS_NONE;
		else if (slots[b].mark == MARK_LOST)
			map[b].lost = true;
	}
	return true;
}

/* Members of before and of now in one row: those of now first, then who is there no more. to[]: where those of before
 * are in it. Returns how many. */
static uint16_t line_up(const struct clus_core *c, const struct clus_draft *d, uint16_t *to)
{
	uint16_t count = d->view.member_count;

	for (uint16_t i = 0; d->base && i < d->base->member_count; i++)
		to[i] = CLUS_NONE;
	for (uint16_t i = 0; i < d->view.member_count; i++) {
		if (source(c, i)->old != CLUS_NONE)
			to[source(c, i)->old] = i;
	}
	for (uint16_t i = 0; d->base && i < d->base->member_count; i++) {
		if (to[i] == CLUS_NONE)
			to[i] = count++;
	}
	return count;
}

static void plan(struct clus_core *c, struct clus_draft *d, const uint16_t *old, struct bucket *map)
{
	struct buckets_member row[BUCKETS_MEMBERS_MAX];
	uint16_t to[CLUS_MEMBERS_MAX], count = line_up(c, d, to);

	d->view.apps = apps(c);
	for (uint16_t i = 0; i < count; i++)
		row[i] = (struct buckets_member){.role = BUCKETS_GONE};
	for (uint16_t a = 0; a < d->view.app_count; a++) {
		uint32_t buckets = apps(c)[a].buckets;
		for (uint16_t i = 0; i < d->view.member_count; i++)
			row[i] = (struct buckets_member){d->view.members[i].name, clus_view_may_manage(&d->view, i, a)
										      ? BUCKETS_MANAGES
										      : BUCKETS_LEAVES};
		if (map_before(c, d, old[a], buckets, map))
			buckets_renumber(map, buckets, to, d->base->member_count);
		else
			buckets_init(map, buckets);
		(void)buckets_plan(map, buckets, row, count, &c->work, map);
		apps(c)[a].map = map;
		map += buckets;
	}
}

bool core_draft_apps(struct clus_core *c, struct clus_draft *d)
{
	uint16_t old[CLUS_APPS_MAX];
	size_t hosted, buckets = 0;

	if (!find_apps(c, d, &hosted) || !fill_members(c, d, hosted))
		return false;
	for (uint16_t a = 0; a < d->view.app_count; a++)
		old[a] = d->base ? clus_view_app(d->base, apps(c)[a].name) : CLUS_NONE;
	choose_settings(c, d, old);
	for (uint16_t a = 0; a < d->view.app_count; a++)
		buckets += apps(c)[a].buckets;
	buf_clear(&c->draft_maps);
	struct bucket *map = (void *)buf_reserve(&c->draft_maps, buckets * sizeof *map + 1);
	if (!map)
		return false;
	plan(c, d, old, map);
	return true;
}
