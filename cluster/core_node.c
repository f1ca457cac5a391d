/* The other nodes: what their HELLOs say, which are linked, what their beats tell. Pure, but that it owns memory. */
#include "cluster/core_parts.h"

#include "base/error.h"
#include "base/invariant.h"

#include <stdlib.h>

/* --- facts --- */

static size_t facts_bytes(const struct peer_hello *h)
{
	size_t bytes = h->app_count * sizeof(struct peer_app) + h->name.len + h->address.len + h->zone.len + h->url.len;

	for (uint16_t i = 0; i < h->app_count; i++)
		bytes += h->apps[i].name.len + h->apps[i].settings.len;
	return bytes;
}

static struct view keep(uint8_t **at, struct view text)
{
	struct view kept = view_of(*at, text.len);

	if (text.len > 0)
		memcpy(*at, text.at, text.len);
	*at += text.len;
	return kept;
}

int core_facts_copy(struct clus_facts *to, const struct peer_hello *from)
{
	struct clus_facts f = {.incarnation = from->incarnation,
			       .witness = from->witness,
			       .votes = from->votes,
			       .leaving = from->leaving,
			       .app_count = from->witness ? 0 : from->app_count};
	size_t bytes = facts_bytes(from);
	uint8_t *at = buf_reserve(&f.memory, bytes);

	if (!at)
		return ERR_NO_MEMORY;
	buf_commit(&f.memory, bytes);
	struct peer_app *apps = (void *)at;
	at += from->app_count * sizeof(struct peer_app);
	f.apps = apps;
	f.name = keep(&at, from->name);
	f.address = keep(&at, from->address);
	f.zone = keep(&at, from->zone);
	f.url = keep(&at, from->url);
	for (uint16_t i = 0; i < from->app_count; i++) {
		apps[i].digest = from->apps[i].digest;
		apps[i].name = keep(&at, from->apps[i].name);
		apps[i].settings = keep(&at, from->apps[i].settings);
	}
	*to = f;
	return 0;
}

/* --- the table --- */

size_t core_node_count(const struct clus_core *c)
{
	return buf_len(&c->nodes) / sizeof(struct clus_node *);
}

static struct clus_node **node_slot(const struct clus_core *c, size_t i)
{
	return (struct clus_node **)(void *)(c->nodes.data + c->nodes.head) + i;
}

struct clus_node *core_node_at(const struct clus_core *c, size_t i)
{
	return *node_slot(c, i);
}

/* Where it is, or would be. */
static size_t node_place(const struct clus_core *c, struct view name)
{
	size_t from = 0, to = core_node_count(c);

	while (from < to) {
		size_t middle = (from + to) / 2;
		if (view_compare(core_node_at(c, middle)->name, name) < 0)
			from = middle + 1;
		else
			to = middle;
	}
	return from;
}

struct clus_node *core_node_find(const struct clus_core *c, struct view name)
{
	size_t i = node_place(c, name);

	return i < core_node_count(c) && view_eq(core_node_at(c, i)->name, name) ? core_node_at(c, i) : NULL;
}

struct clus_node *core_node_make(struct clus_core *c, struct view name)
{
	size_t i = node_place(c, name), count = core_node_count(c);

	if (i < count && view_eq(core_node_at(c, i)->name, name))
		return core_node_at(c, i);
	if (count >= NODES_MAX || name.len == 0 || name.len > CLUS_NAME_MAX)
		return NULL;
	c->nodes.err = 0; /* there was no room once: that is over */
	if (!buf_reserve(&c->nodes, sizeof(void *)))
		return NULL;
	struct clus_node *n = calloc(1, sizeof *n);
	if (!n)
		return NULL;
	memcpy(n->name_bytes, name.at, name.len);
	n->name = view_of(n->name_bytes, name.len);
	buf_commit(&c->nodes, sizeof(void *));
	memmove(node_slot(c, i + 1), node_slot(c, i), (count - i) * sizeof(void *));
	*node_slot(c, i) = n;
	return n;
}

static void node_free(struct clus_node *n)
{
	buf_fini(&n->facts.memory);
	free(n);
}

void core_nodes_free(struct clus_core *c)
{
	for (size_t i = 0; i < core_node_count(c); i++)
		node_free(core_node_at(c, i));
	buf_fini(&c->nodes);
}

/* Somebody who is neither linked nor in a view nor waited for. */
static bool is_forgettable(const struct clus_core *c, const struct clus_node *n)
{
	if (n->up || n->forgotten || clus_view_member(&c->view, n->name) != CLUS_NONE)
		return false;
	if (c->agreed.epoch > 0 && clus_view_member(&c->agreed, n->name) != CLUS_NONE)
		return false;
	return !instant_before(c->now, n->shy_until) && instant_since_ms(c->now, n->heard_at) >= 4 * c->failure_ms;
}

void core_nodes_sweep(struct clus_core *c)
{
	size_t kept = 0, count = core_node_count(c);

	if (instant_since_ms(c->now, c->swept_at) < c->failure_ms)
		return;
	c->swept_at = c->now;
	for (size_t i = 0; i < count; i++) {
		struct clus_node *n = core_node_at(c, i);
		if (is_forgettable(c, n))
			node_free(n);
		else
			*node_slot(c, kept++) = n;
	}
	c->nodes.tail = c->nodes.head + kept * sizeof(void *);
}

/* --- links --- */

static void drop(struct clus_core *c, struct view name, uint64_t incarnation, enum peer_goodbye_reason bye)
{
	struct clus_effect *e = core_do(c, CLUS_DO_DROP, name);

	e->number = incarnation;
	e->bye = bye;
}

static bool is_other_cluster(const struct clus_core *c, const uint8_t cluster[CLUS_ID_BYTES])
{
	static const uint8_t none[CLUS_ID_BYTES] = {0};

	return memcmp(cluster, none, CLUS_ID_BYTES) != 0 && !core_is_ours(c, cluster);
}

/* Another incarnation of that name is alive, and has the right to it. */
static bool is_in_use(const struct clus_core *c, const struct clus_node *n, uint64_t incarnation)
{
	uint16_t m = clus_view_member(&c->view, n->name);

	return n->up && n->facts.incarnation != incarnation && core_hears(c, n) && m != CLUS_NONE &&
	       c->view.members[m].incarnation == n->facts.incarnation;
}

static const char its_host_refuses[] = "its host refuses connections";

/* It was taken for dead since its host refuses connections, and is a member still: something between us has said that.
 * A coordinator has begun to take it out; nobody else has the right to refuse a member. */
static bool lives_after_all(const struct clus_core *c, const struct peer_hello *h, const struct clus_node *n)
{
	uint16_t m = c->installed ? clus_view_member(&c->view, h->name) : CLUS_NONE;

	return !c->coordinating && h->incarnation == n->dead && n->why == its_host_refuses && m != CLUS_NONE &&
	       c->view.members[m].incarnation == h->incarnation;
}

/* True: the link stays not. */
static bool refuse(struct clus_core *c, const struct peer_hello *h, struct clus_node *n)
{
	if (lives_after_all(c, h, n))
		n->dead = 0;
	if (is_other_cluster(c, h->cluster)) {
		if (n->told_cluster != h->incarnation)
			core_log(c, CLUS_LOG_OTHER_CLUSTER, h->name, "HELLO", 0);
		n->told_cluster = h->incarnation;
		drop(c, h->name, h->incarnation, PEER_BYE_CLUSTER);
	} else if (core_is_made_up(c, h->epoch)) {
		drop(c, h->name, h->incarnation, PEER_BYE_MALFORMED);
	} else if (h->incarnation == n->dead) {
		drop(c, h->name, h->incarnation, PEER_BYE_REMOVED);
	} else if (is_in_use(c, n, h->incarnation)) {
		if (n->told_name != h->incarnation)
			core_log(c, CLUS_LOG_NAME_IN_USE, h->name, NULL, h->incarnation);
		n->told_name = h->incarnation;
		drop(c, h->name, h->incarnation, PEER_BYE_NAME);
	} else {
		return false;
	}
	if (!n->up)
		n->heard_at = c->now; /* so that what was told of it is remembered while it tries */
	return true;
}

/* The coordinator sends to everybody; a voter relays, for who does not reach the coordinator; and to who is no member
 * at all everybody does, so that it learns whom to dial. So not each member sends it to who comes back. */
void core_send_view(struct clus_core *c, struct clus_node *n)
{
	bool mine = c->coordinating || clus_view_voter(&c->view, c->self.name) != CLUS_NONE ||
		    clus_view_member(&c->view, n->name) == CLUS_NONE;

	if (!c->installed || !mine || !n->up || n->epoch >= c->view.epoch || n->sent_epoch >= c->view.epoch)
		return;
	struct clus_effect *e =
	    core_do_one_of_many(c, CLUS_DO_SEND_VIEW, n->name, view_of(NULL, 0), view_of(NULL, 0), view_of(NULL, 0));
	if (!e)
		return;
	e->bytes = buf_view(&c->view_bytes);
	n->sent_epoch = c->view.epoch;
	n->sent_at = c->now;
}

/* Who wants to get in may be linked to us alone, and must learn who coordinates now. Others may have told it meanwhile,
 * so it is given some time. And a member may have refused what its coordinator has sent, since it did not know it:
 * when it has heard of no other one for so long, it takes it. */
static void send_again(struct clus_core *c, struct clus_node *n)
{
	bool mine = c->coordinating || clus_view_member(&c->view, n->name) == CLUS_NONE;

	if (!mine || n->epoch >= c->view.epoch || instant_since_ms(c->now, n->sent_at) < c->failure_ms / 2)
		return;
	n->sent_epoch = 0;
	core_send_view(c, n);
}

/* What is said of an incarnation is not said of the next. */
static void become(struct clus_core *c, struct clus_node *n, struct clus_facts *facts)
{
	uint16_t m = clus_view_member(&c->view, n->name);

	if (m != CLUS_NONE && c->view.members[m].incarnation != facts->incarnation) {
		n->dead = c->view.members[m].incarnation;
		n->why = "it was started again";
	}
	if (n->facts.incarnation != facts->incarnation)
		n->suspected = n->forgotten = n->condemned = false;
	buf_fini(&n->facts.memory);
	n->facts = *facts;
	n->up = n->heard = true;
	n->heard_at = c->now;
	n->confirmed = (struct instant){0};
	n->sent_epoch = n->row_epoch = 0;
	n->sent_at = c->now;
	n->wants_leave = n->too_much = false;
	c->dirty = true;
}

void core_link_up(struct clus_core *c, const struct clus_event *e)
{
	const struct peer_hello *h = e->hello;
	struct clus_facts facts;

	if (core_is_self(c, h->name)) {
		core_log(c, CLUS_LOG_NAME_IN_USE, h->name, NULL, h->incarnation);
		drop(c, h->name, h->incarnation, PEER_BYE_NAME);
		return;
	}
	struct clus_node *n = core_node_make(c, h->name);
	if (n && refuse(c, h, n))
		return;
	if (!n || core_facts_copy(&facts, h)) {
		core_log(c, CLUS_LOG_NO_MEMORY, h->name, "another node", 0);
		drop(c, h->name, h->incarnation, PEER_BYE_FULL);
		return;
	}
	if (n->up && n->facts.incarnation != h->incarnation)
		drop(c, h->name, n->facts.incarnation, PEER_BYE_REMOVED);
	become(c, n, &facts);
	n->epoch = h->epoch;
	core_send_view(c, n);
}

/* Only what holds for the incarnation in the view. */
static void is_dead(struct clus_core *c, struct clus_node *n, const char *why)
{
	uint16_t m = clus_view_member(&c->view, n->name);

	if (m == CLUS_NONE)
		return;
	n->dead = c->view.members[m].incarnation;
	n->why = why;
	c->dirty = true;
}

void core_refused(struct clus_core *c, struct view name, uint64_t incarnation)
{
	uint16_t m = clus_view_member(&c->view, name);

	if (m == CLUS_NONE || c->view.members[m].incarnation != incarnation || core_is_self(c, name))
		return;
	struct clus_node *n = core_node_make(c, name);
	if (n && !n->up)
		is_dead(c, n, its_host_refuses);
}

/* The coordinator must know, should it have no way to its host itself. */
static void tell_refused(struct clus_core *c, uint16_t m)
{
	if (c->coordinating || !c->installed || m == c->view.coordinator || core_place(c) == CLUS_NONE)
		return;
	struct clus_effect *e = core_do(c, CLUS_DO_SEND_REPORT, c->view.members[c->view.coordinator].name);
	e->report = (struct peer_report){.kind = PEER_REPORT_REFUSED,
					 .name = c->view.members[m].name,
					 .incarnation = c->view.members[m].incarnation};
}

void core_link_down(struct clus_core *c, const struct clus_event *e)
{
	struct clus_node *n = core_node_find(c, e->name);

	if (core_is_self(c, e->name))
		return;
	if (e->down == CLUS_DOWN_REMOVED)
		core_was_removed(c, e->name);
	if (n && n->up && (e->number == 0 || e->number == n->facts.incarnation)) {
		n->up = false;
		n->row_epoch = 0;
		c->dirty = true;
		if (e->down == CLUS_DOWN_LEAVING)
			is_dead(c, n, "its process has ended");
	}
	/* Only of the incarnation that was dialled: another one may have come in since. */
	uint16_t m = clus_view_member(&c->view, e->name);
	if (e->down == CLUS_DOWN_REFUSED && !(n && n->up) && m != CLUS_NONE &&
	    c->view.members[m].incarnation == e->number) {
		core_refused(c, e->name, e->number);
		tell_refused(c, m);
	}
}

void core_wants_leave(struct clus_core *c, struct clus_node *n)
{
	uint16_t m = clus_view_member(&c->view, n->name);

	c->dirty = true;
	n->wants_leave = true;
	/* It says so again behind a beat that knows it: now nothing is left to be got from it. */
	if (m != CLUS_NONE && c->view.members[m].leaving && n->epoch >= c->view.epoch)
		n->handed = n->facts.incarnation;
}

/* --- beats --- */

/* Whom it hears: names and members are both in order. */
static void take_row(struct clus_core *c, struct clus_node *n, struct view heard)
{
	const struct clus_view *v = &c->view;
	struct view name;
	uint16_t m = 0;

	memset(n->row, 0, sizeof n->row);
	while (peer_heard_next(&heard, &name)) {
		int order = -1;
		while (m < v->member_count && (order = view_compare(v->members[m].name, name)) < 0)
			m++;
		/* Whoever names itself says nothing by it. */
		if (m < v->member_count && order == 0 && !view_eq(name, n->name))
			n->row[m / 64] |= UINT64_C(1) << m % 64;
	}
	n->row_epoch = v->epoch;
}

static bool names_us(const struct clus_core *c, struct view heard)
{
	struct view name;

	while (peer_heard_next(&heard, &name)) {
		if (core_is_self(c, name))
			return true;
	}
	return false;
}

/* The coordinator of the view that counts, this incarnation. */
static bool is_our_coordinator(const struct clus_core *c, const struct clus_node *n)
{
	const struct clus_member *m = &c->view.members[c->view.coordinator];

	return c->installed && view_eq(m->name, n->name) && m->incarnation == n->facts.incarnation;
}

/* It may wait to be let in, until it says that it knows the view without it. */
bool core_is_out(const struct clus_core *c, const struct clus_node *n)
{
	uint16_t m = clus_view_member(&c->view, n->name);

	return m == CLUS_NONE || c->view.members[m].incarnation != n->facts.incarnation;
}

void core_beat(struct clus_core *c, const struct clus_event *e)
{
	struct clus_node *n = core_node_find(c, e->name);
	struct instant confirmed = core_instant(e->confirmed);

	if (!n || !n->up)
		return;
	if (core_is_made_up(c, e->beat->epoch)) {
		drop(c, n->name, n->facts.incarnation, PEER_BYE_MALFORMED);
		return;
	}
	n->heard = true;
	n->heard_at = c->now;
	c->dirty = c->dirty || (n->epoch != e->beat->epoch && core_is_out(c, n));
	n->epoch = e->beat->epoch;
	if (instant_before(n->confirmed, confirmed) && !instant_before(c->now, confirmed))
		n->confirmed = confirmed;
	if (c->coordinating && core_is_ahead(c, n) && core_has_say(c, n)) {
		core_step_down(c, "others have a newer view");
	} else if (c->coordinating) {
		take_row(c, n, e->beat->heard);
		core_send_view(c, n);
	} else if (is_our_coordinator(c, n) && names_us(c, e->beat->heard) &&
		   instant_before(c->lease_at, n->confirmed)) {
		c->lease_at = n->confirmed;
	}
	send_again(c, n);
}

void clus_core_heard(const struct clus_core *c, struct view to, struct buf *out)
{
	if (c->coordinating) {
		if (core_vouches(c, to))
			peer_heard_put(out, to);
		return;
	}
	if (!c->installed || !view_eq(c->view.members[c->view.coordinator].name, to))
		return;
	for (size_t i = 0, put = 0; i < core_node_count(c) && put < PEER_HEARD_MAX; i++) {
		const struct clus_node *n = core_node_at(c, i);
		if (n->up && core_hears(c, n)) {
			peer_heard_put(out, n->name);
			put++;
		}
	}
}
