/* Views that count from now on: what has changed with them, for the log and for whom it concerns. Pure. */
#include "cluster/core_parts.h"

#include "base/error.h"
#include "base/invariant.h"

/* --- what has changed --- */

static bool has_same(const struct clus_view *v, const struct clus_member *m)
{
	uint16_t i = clus_view_member(v, m->name);

	return i != CLUS_NONE && v->members[i].incarnation == m->incarnation;
}

/* It must not come back as what it was, nor go on believing that it is in. */
static void has_gone(struct clus_core *c, const struct clus_member *m)
{
	struct view none = view_of(NULL, 0);

	if (core_is_self(c, m->name)) {
		if (m->incarnation == c->self.incarnation && !c->leaving)
			core_reincarnate(c);
		return;
	}
	struct clus_node *n = core_node_make(c, m->name);
	const char *why = n && (n->condemned || n->dead == m->incarnation) ? n->why : NULL;
	core_log(c, m->leaving ? CLUS_LOG_LEFT : CLUS_LOG_REMOVED, m->name, why, m->incarnation);
	if (n) {
		n->dead = m->incarnation;
		n->why = why;
	}
	struct clus_effect *e = core_do_one_of_many(c, CLUS_DO_FORBID, m->name, none, none, none);
	if (e)
		e->number = m->incarnation;
}

static void tell_members(struct clus_core *c, const struct clus_view *next)
{
	for (uint16_t i = 0; i < c->view.member_count; i++) {
		if (!has_same(next, &c->view.members[i]))
			has_gone(c, &c->view.members[i]);
	}
	for (uint16_t i = 0; i < next->member_count; i++) {
		if (!has_same(&c->view, &next->members[i]))
			core_log(c, CLUS_LOG_JOINED, next->members[i].name, NULL, next->members[i].incarnation);
	}
}

/* --- settings that differ --- */

static struct view settings_of(const struct clus_facts *f, struct view app, uint64_t digest)
{
	for (uint16_t i = 0; i < f->app_count; i++) {
		if (f->apps[i].digest == digest && view_eq(f->apps[i].name, app))
			return f->apps[i].settings;
	}
	return view_of(NULL, 0);
}

struct view clus_core_settings_of(const struct clus_core *c, struct view app, uint64_t digest)
{
	struct view found = settings_of(&c->self, app, digest);

	for (size_t i = 0; found.len == 0 && i < core_node_count(c); i++)
		found = settings_of(&core_node_at(c, i)->facts, app, digest);
	return found;
}

/* The view before has said the same. */
static bool is_told(const struct clus_core *c, const struct clus_member *m, const struct clus_app *a, uint64_t digest)
{
	uint16_t app = clus_view_app(&c->view, a->name), i = clus_view_member(&c->view, m->name);

	if (app == CLUS_NONE || i == CLUS_NONE || !has_same(&c->view, m) || c->view.apps[app].digest != a->digest)
		return false;
	const struct clus_hosted *h = clus_view_hosted(&c->view, i, app);
	return h && h->digest == digest;
}

static void tell_settings(struct clus_core *c, const struct clus_view *next)
{
	for (uint16_t i = 0; i < next->member_count; i++) {
		const struct clus_member *m = &next->members[i];
		if (!c->coordinating && !core_is_self(c, m->name))
			continue;
		for (uint16_t k = 0; k < m->hosted_count; k++) {
			const struct clus_app *a = &next->apps[m->hosted[k].app];
			uint64_t digest = m->hosted[k].digest;
			if (digest == a->digest || is_told(c, m, a, digest))
				continue;
			struct clus_effect *e = core_do_one_of_many(c, CLUS_DO_LOG, m->name, a->name,
								    clus_core_settings_of(c, a->name, digest),
								    clus_core_settings_of(c, a->name, a->digest));
			if (e)
				e->log = CLUS_LOG_SETTINGS;
		}
	}
}

/* --- voters --- */

static bool are_same_voters(const struct clus_view *a, const struct clus_view *b)
{
	if (a->voter_count != b->voter_count)
		return false;
	for (uint8_t i = 0; i < a->voter_count; i++) {
		if (!view_eq(a->voters[i], b->voters[i]))
			return false;
	}
	return true;
}

/* Before there is a view: ourselves and our peers. One whose name is not known counts as one, so that no majority is
 * found too early. */
static void first_voters(struct clus_core *c, struct clus_view *v)
{
	static const char nameless[CLUS_PEERS_MAX][3] = {"?1", "?2", "?3", "?4", "?5", "?6"};

	v->voters[v->voter_count++] = c->self.name;
	for (unsigned i = 0; i < c->peer_count; i++) {
		struct view name = c->peers[i].len ? c->peers[i] : view_of(nameless[i], 2);
		if (clus_view_voter(v, name) == CLUS_NONE)
			v->voters[v->voter_count++] = name;
	}
}

void core_voters(struct clus_core *c)
{
	struct clus_view first = {0};

	if (!c->unvoted)
		return;
	c->unvoted = false;
	if (c->view.epoch == 0)
		first_voters(c, &first);
	struct clus_effect *e = core_do(c, CLUS_DO_SET_VOTERS, view_of(NULL, 0));
	core_do_voters(c, e, c->view.epoch > 0 ? &c->view : &first);
}

/* --- taking a view --- */

/* A view that was only recalled says nothing of the cluster: it may be a first one that was never agreed on. */
bool core_is_ours(const struct clus_core *c, const uint8_t cluster[CLUS_ID_BYTES])
{
	static const uint8_t none[CLUS_ID_BYTES] = {0};

	return memcmp(c->cluster, none, CLUS_ID_BYTES) == 0 || memcmp(c->cluster, cluster, CLUS_ID_BYTES) == 0;
}

/* What was recalled may not have been agreed on. What is agreed on has at least its epoch, unless both are first views
 * of their own. */
static bool is_late(const struct clus_core *c, const struct clus_view *v)
{
	if (c->installed)
		return v->epoch <= c->view.epoch;
	return v->epoch < c->view.epoch && memcmp(v->cluster, c->view.cluster, CLUS_ID_BYTES) == 0;
}

/* Everything that can fail, before anything has changed. */
static int prepare(struct clus_core *c, struct clus_view *v, struct view bytes, struct buf *copy, struct buf *slots)
{
	bool follows = c->installed && v->epoch == c->view.epoch + 1;

	buf_put(copy, bytes);
	return buf_error(copy) ? buf_error(copy) : core_slots_renew(c, v, follows, slots);
}

static void replace(struct clus_core *c, struct clus_view *v, struct buf *bytes, struct buf *slots)
{
	c->unvoted = c->unvoted || !are_same_voters(&c->view, v);
	clus_view_fini(&c->view);
	buf_fini(&c->view_bytes);
	buf_fini(&c->slots);
	c->view = *v;
	c->view_bytes = *bytes;
	c->slots = *slots;
	if (c->seen_epoch < v->epoch)
		c->seen_epoch = v->epoch;
}

static void put_in_force(struct clus_core *c, struct clus_view *v, struct buf *bytes, struct buf *slots)
{
	if (c->installed)
		tell_members(c, v);
	tell_settings(c, v);
	replace(c, v, bytes, slots);
	memcpy(c->cluster, c->view.cluster, CLUS_ID_BYTES);
	c->installed = true;
	c->tell_now = c->unsettled;
	for (size_t i = 0; i < core_node_count(c); i++)
		core_node_at(c, i)->condemned = false;
	struct clus_effect *e = core_do(c, CLUS_DO_INSTALL, view_of(NULL, 0));
	e->view = &c->view;
	e->bytes = buf_view(&c->view_bytes);
}

static int decode(struct clus_core *c, struct view bytes, struct view from, struct clus_view *v)
{
	int err = clus_view_decode(bytes, v);

	if (err == ERR_NO_MEMORY)
		core_log(c, CLUS_LOG_NO_MEMORY, from, "a view", 0);
	else if (err)
		core_log(c, CLUS_LOG_BAD_VIEW, from, err == ERR_VERSION ? "it is of a newer format" : "malformed", 0);
	return err;
}

bool core_install(struct clus_core *c, struct view bytes, struct view from)
{
	struct clus_view v;
	struct buf copy = {0}, slots = {0};

	if (decode(c, bytes, from, &v))
		return false;
	bool ours = core_is_ours(c, v.cluster), made_up = core_is_made_up(c, v.epoch);
	if (!ours)
		core_log(c, CLUS_LOG_OTHER_CLUSTER, from, "view", v.epoch);
	else if (made_up)
		core_log(c, CLUS_LOG_BAD_VIEW, from, "its epoch is made up", v.epoch);
	if (!ours || made_up || is_late(c, &v)) {
		clus_view_fini(&v);
		return false;
	}
	if (prepare(c, &v, bytes, &copy, &slots)) {
		core_log(c, CLUS_LOG_NO_MEMORY, from, "a view", v.epoch);
		buf_fini(&copy);
		buf_fini(&slots);
		clus_view_fini(&v);
		return false;
	}
	put_in_force(c, &v, &copy, &slots);
	return true;
}

void core_recall(struct clus_core *c, struct view bytes)
{
	struct clus_view v;
	struct buf copy = {0}, slots = {0};

	if (c->installed || decode(c, bytes, c->self.name, &v))
		return;
	buf_put(&copy, bytes);
	if (buf_error(&copy) || v.epoch < c->view.epoch) {
		buf_fini(&copy);
		clus_view_fini(&v);
		return;
	}
	replace(c, &v, &copy, &slots);
}
