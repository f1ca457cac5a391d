/* What a view must be, and finding things in it. Its bytes are view_bytes.c's. Pure. */
#include "cluster/view.h"

#include "base/invariant.h"
#include "base/name.h"

/* --- what is sound --- */

static bool is_sound_member(const struct clus_view *v, const struct clus_member *m)
{
	if (!name_is_good(m->name) || m->incarnation == 0 || m->address.len == 0 ||
	    !name_is_visible(m->address, CLUS_ADDRESS_MAX) || (m->zone.len > 0 && !name_is_good(m->zone)) ||
	    !name_is_visible(m->url, CLUS_URL_MAX))
		return false;
	if (m->witness && m->hosted_count > 0)
		return false;
	for (uint16_t i = 0; i < m->hosted_count; i++) {
		if (m->hosted[i].app >= v->app_count || (i > 0 && m->hosted[i].app <= m->hosted[i - 1].app))
			return false;
	}
	return true;
}

static bool are_sound_members(const struct clus_view *v)
{
	if (v->member_count > CLUS_MEMBERS_MAX)
		return false;
	for (uint16_t i = 0; i < v->member_count; i++) {
		if (!is_sound_member(v, &v->members[i]) ||
		    (i > 0 && view_compare(v->members[i - 1].name, v->members[i].name) >= 0))
			return false;
	}
	return true;
}

static bool are_sound_voters(const struct clus_view *v)
{
	if (v->voter_count > CLUS_VOTERS_MAX)
		return false;
	for (uint8_t i = 0; i < v->voter_count; i++) {
		if (!name_is_good(v->voters[i]) || (i > 0 && view_compare(v->voters[i - 1], v->voters[i]) >= 0))
			return false;
	}
	/* So there is a member and a voter. */
	return v->coordinator < v->member_count && clus_view_voter(v, v->members[v->coordinator].name) != CLUS_NONE;
}

/* Every manager may be one, and what nobody manages is lost. */
static bool is_sound_map(const struct clus_view *v, uint16_t app)
{
	uint64_t may[(CLUS_MEMBERS_MAX + 63) / 64] = {0};
	const struct clus_app *a = &v->apps[app];

	for (uint16_t i = 0; i < v->member_count; i++) {
		if (clus_view_may_manage(v, i, app))
			may[i / 64] |= UINT64_C(1) << i % 64;
	}
	for (uint32_t b = 0; b < a->buckets; b++) {
		uint16_t m = a->map[b].manager;
		if (m == BUCKETS_NONE ? !a->map[b].lost : m >= v->member_count || !(may[m / 64] >> m % 64 & 1))
			return false;
	}
	return true;
}

static bool are_sound_apps(const struct clus_view *v)
{
	if (v->app_count > CLUS_APPS_MAX)
		return false;
	for (uint16_t i = 0; i < v->app_count; i++) {
		const struct clus_app *a = &v->apps[i];
		if (!name_is_good(a->name) || (i > 0 && view_compare(v->apps[i - 1].name, a->name) >= 0) ||
		    a->buckets == 0 || a->buckets > BUCKETS_MAX || !is_sound_map(v, i))
			return false;
	}
	return true;
}

bool clus_view_is_sound(const struct clus_view *v)
{
	static const uint8_t none[CLUS_ID_BYTES] = {0};

	return memcmp(v->cluster, none, CLUS_ID_BYTES) != 0 && v->epoch > 0 && v->epoch <= CLUS_EPOCH_MAX &&
	       are_sound_members(v) && are_sound_voters(v) && are_sound_apps(v);
}

/* --- looking things up --- */

uint16_t clus_view_member(const struct clus_view *v, struct view name)
{
	uint16_t from = 0, to = v->member_count;

	while (from < to) {
		uint16_t middle = (uint16_t)((from + to) / 2);
		int order = view_compare(v->members[middle].name, name);
		if (order == 0)
			return middle;
		if (order < 0)
			from = (uint16_t)(middle + 1);
		else
			to = middle;
	}
	return CLUS_NONE;
}

uint16_t clus_view_app(const struct clus_view *v, struct view name)
{
	for (uint16_t i = 0; i < v->app_count; i++) {
		if (view_eq(v->apps[i].name, name))
			return i;
	}
	return CLUS_NONE;
}

uint16_t clus_view_voter(const struct clus_view *v, struct view name)
{
	for (uint8_t i = 0; i < v->voter_count; i++) {
		if (view_eq(v->voters[i], name))
			return i;
	}
	return CLUS_NONE;
}

const struct clus_hosted *clus_view_hosted(const struct clus_view *v, uint16_t member, uint16_t app)
{
	INVARIANT(member < v->member_count);
	const struct clus_member *m = &v->members[member];

	for (uint16_t i = 0; i < m->hosted_count; i++) {
		if (m->hosted[i].app == app)
			return &m->hosted[i];
	}
	return NULL;
}

bool clus_view_may_manage(const struct clus_view *v, uint16_t member, uint16_t app)
{
	INVARIANT(app < v->app_count);
	const struct clus_hosted *hosted = clus_view_hosted(v, member, app);

	return hosted && hosted->digest == v->apps[app].digest && !v->members[member].leaving;
}

/* --- votes --- */

unsigned clus_view_votes(const struct clus_view *v, unsigned voters)
{
	unsigned votes = 0;

	for (uint8_t i = 0; i < v->voter_count; i++)
		votes += voters >> i & 1;
	return votes;
}

void clus_view_fini(struct clus_view *v)
{
	buf_fini(&v->memory);
	*v = (struct clus_view){0};
}
