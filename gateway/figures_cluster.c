/* The cluster as JSON. A number of 64 bits that only names something is text in hexadecimal digits: JSON's numbers are
 * not wide enough everywhere. */
#include "gateway/figures_cluster.h"

#include "gateway/document.h"
#include "gateway/figures_trouble.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static json_t *hex_number(uint64_t n)
{
	char text[17];

	snprintf(text, sizeof text, "%016" PRIx64, n);
	return json_string(text);
}

static json_t *hex_bytes(const uint8_t *bytes, size_t len)
{
	static const char hex[] = "0123456789abcdef";
	char text[2 * CLUS_ID_BYTES];

	for (size_t i = 0; i < len; i++) {
		text[2 * i] = hex[bytes[i] >> 4];
		text[2 * i + 1] = hex[bytes[i] & 15];
	}
	return json_stringn(text, 2 * len);
}

static void put_view_text(json_t **o, const char *key, struct view text)
{
	document_put(o, key, document_string(text));
}

/* --- how many buckets each member manages of each app --- */

struct counts {
	uint32_t *managed; /* owned; [app * members + member] */
	uint16_t members;
};

/* False: no memory. */
static bool counts_init(struct counts *c, const struct clus_view *v)
{
	c->members = v->member_count;
	c->managed = calloc((size_t)v->app_count * v->member_count + 1, sizeof *c->managed);
	if (!c->managed)
		return false;
	for (uint16_t a = 0; a < v->app_count; a++) {
		for (uint32_t b = 0; b < v->apps[a].buckets; b++) {
			uint16_t m = v->apps[a].map[b].manager;
			if (m != CLUS_NONE)
				c->managed[(size_t)a * c->members + m]++;
		}
	}
	return true;
}

static uint32_t count_of(const struct counts *c, uint16_t app, uint16_t member)
{
	return c->managed[(size_t)app * c->members + member];
}

static uint32_t lost_of(const struct clus_app *a)
{
	uint32_t n = 0;

	for (uint32_t b = 0; b < a->buckets; b++)
		n += a->map[b].lost;
	return n;
}

/* {"shop": 22}, or ["shop 22"]. */
static json_t *tally_new(enum figures_for whom)
{
	return whom == FIGURES_PEOPLE ? json_array() : json_object();
}

static void tally_put(json_t **tally, enum figures_for whom, struct view name, uint32_t count)
{
	char key[CLUS_NAME_MAX + 1], text[CLUS_NAME_MAX + 16];

	snprintf(key, sizeof key, "%.*s", (int)name.len, (const char *)name.at);
	snprintf(text, sizeof text, "%s %" PRIu32, key, count);
	if (whom == FIGURES_PEOPLE)
		document_append(tally, json_string(text));
	else
		document_put_number(tally, key, count);
}

/* --- the view --- */

static json_t *names_of_voters(const struct clus_view *v)
{
	json_t *names = json_array();

	for (uint8_t i = 0; i < v->voter_count; i++)
		document_append(&names, document_string(v->voters[i]));
	return names;
}

static void put_member(json_t **o, const struct clus_view *v, uint16_t m)
{
	const struct clus_member *member = &v->members[m];

	put_view_text(o, "name", member->name);
	document_put(o, "incarnation", hex_number(member->incarnation));
	put_view_text(o, "address", member->address);
	put_view_text(o, "zone", member->zone);
	put_view_text(o, "url", member->url);
	document_put_flag(o, "voter", clus_view_voter(v, member->name) != CLUS_NONE);
	document_put_flag(o, "witness", member->witness);
	document_put_flag(o, "leaving", member->leaving);
}

static json_t *hosted_of(const struct clus_view *v, const struct clus_member *m, enum figures_for whom)
{
	json_t *all = tally_new(whom);

	for (uint16_t i = 0; i < m->hosted_count; i++) {
		const struct clus_app *app = &v->apps[m->hosted[i].app];
		char name[CLUS_NAME_MAX + 1];
		snprintf(name, sizeof name, "%.*s", (int)app->name.len, (const char *)app->name.at);
		if (whom == FIGURES_PEOPLE)
			document_append(&all, json_string(name));
		else
			document_put(&all, name, hex_number(m->hosted[i].digest));
	}
	return all;
}

static json_t *view_app(const struct clus_app *a)
{
	json_t *o = json_object();

	put_view_text(&o, "name", a->name);
	document_put(&o, "digest", hex_number(a->digest));
	document_put_number(&o, "buckets", a->buckets);
	document_put_number(&o, "lost", lost_of(a));
	return o;
}

json_t *figures_view(const struct clus_view *v, enum figures_for whom)
{
	json_t *o = json_object(), *members = json_array(), *apps = json_array();

	document_put(&o, "cluster", hex_bytes(v->cluster, sizeof v->cluster));
	document_put_number(&o, "epoch", v->epoch);
	put_view_text(&o, "coordinator", v->members[v->coordinator].name);
	document_put(&o, "voters", names_of_voters(v));
	for (uint16_t m = 0; m < v->member_count; m++) {
		json_t *member = json_object();
		put_member(&member, v, m);
		document_put(&member, "apps", hosted_of(v, &v->members[m], whom));
		document_append(&members, member);
	}
	for (uint16_t a = 0; a < v->app_count; a++)
		document_append(&apps, view_app(&v->apps[a]));
	document_put(&o, "members", members);
	document_put(&o, "apps", apps);
	return o;
}

/* --- maps --- */

json_t *figures_buckets(const struct clus_view *v, uint16_t app)
{
	const struct clus_app *a = &v->apps[app];
	json_t *runs = json_array();
	uint32_t next;

	for (uint32_t first = 0; first < a->buckets; first = next) {
		struct bucket b = a->map[first];
		json_t *o = json_object();
		next = first + 1;
		while (next < a->buckets && a->map[next].manager == b.manager && a->map[next].lost == b.lost)
			next++;
		document_put_number(&o, "first", first);
		document_put_number(&o, "count", next - first);
		if (b.manager == CLUS_NONE)
			document_put(&o, "manager", json_null());
		else
			put_view_text(&o, "manager", v->members[b.manager].name);
		document_put_flag(&o, "lost", b.lost);
		document_append(&runs, o);
	}
	return runs;
}

static json_t *share(const struct clus_view *v, const struct clus_app *a, uint16_t member, uint32_t count)
{
	uint32_t lost = 0;
	json_t *o = json_object();

	for (uint32_t b = 0; b < a->buckets; b++)
		lost += a->map[b].manager == member && a->map[b].lost;
	put_view_text(&o, "app", a->name);
	if (member == CLUS_NONE)
		document_put(&o, "manager", json_null());
	else
		put_view_text(&o, "manager", v->members[member].name);
	document_put_number(&o, "buckets", count);
	document_put_number(&o, "lost", lost);
	return o;
}

json_t *figures_shares(const struct clus_view *v)
{
	struct counts c;
	json_t *rows = counts_init(&c, v) ? json_array() : NULL;

	for (uint16_t a = 0; a < v->app_count && rows; a++) {
		uint32_t left = v->apps[a].buckets;
		for (uint16_t m = 0; m < v->member_count; m++) {
			uint32_t count = count_of(&c, a, m);
			left -= count;
			if (count > 0)
				document_append(&rows, share(v, &v->apps[a], m, count));
		}
		if (left > 0)
			document_append(&rows, share(v, &v->apps[a], CLUS_NONE, left));
	}
	free(c.managed);
	return rows;
}

/* The manager of most buckets of a[from, to); of equal ones the first. -1: nobody. */
static json_int_t main_manager(const struct clus_app *a, uint32_t from, uint32_t to, uint32_t *count)
{
	uint16_t best = CLUS_NONE;

	for (uint32_t b = from; b < to; b++) {
		uint16_t m = a->map[b].manager;
		if (m != CLUS_NONE)
			count[m]++;
	}
	for (uint32_t b = from; b < to; b++) {
		uint16_t m = a->map[b].manager;
		if (m != CLUS_NONE && (best == CLUS_NONE || count[m] > count[best]))
			best = m;
	}
	for (uint32_t b = from; b < to; b++) {
		if (a->map[b].manager != CLUS_NONE)
			count[a->map[b].manager] = 0;
	}
	return best == CLUS_NONE ? -1 : best;
}

static json_t *map_of(const struct clus_app *a, uint32_t *count)
{
	uint32_t cells = a->buckets < FIGURES_CELLS ? a->buckets : FIGURES_CELLS;
	json_t *o = json_object(), *managers = json_array(), *lost = json_array();

	for (uint32_t i = 0; i < cells; i++) {
		uint32_t from = (uint32_t)((uint64_t)i * a->buckets / cells);
		uint32_t to = (uint32_t)((uint64_t)(i + 1) * a->buckets / cells), b = from;
		document_append(&managers, json_integer(main_manager(a, from, to, count)));
		while (b < to && !a->map[b].lost)
			b++;
		if (b < to)
			document_append(&lost, json_integer(i));
	}
	put_view_text(&o, "app", a->name);
	document_put_number(&o, "buckets", a->buckets);
	document_put(&o, "managers", managers);
	document_put(&o, "lost", lost);
	return o;
}

json_t *figures_maps(const struct clus_view *v)
{
	uint32_t *count = calloc(v->member_count, sizeof *count);
	json_t *maps = count ? json_array() : NULL;

	for (uint16_t a = 0; a < v->app_count && maps; a++)
		document_append(&maps, map_of(&v->apps[a], count));
	free(count);
	return maps;
}

/* --- as this node sees it --- */

static const struct cluster_node_picture *node_named(const struct cluster_picture *p, struct view name)
{
	for (size_t i = 0; i < p->node_count; i++) {
		if (view_eq(name, view_str(p->nodes[i].name)))
			return &p->nodes[i];
	}
	return NULL;
}

/* What is heard of a member, which need not be what the view says of it. */
static void put_heard(json_t **o, const struct member_look *l, const struct clus_member *m)
{
	const struct cluster_picture *p = &l->picture;
	const struct cluster_node_picture *n = node_named(p, m->name);
	bool self = view_eq(m->name, view_str(l->node)), known = self || (n && n->epoch > 0);
	uint64_t linked = self ? p->incarnation : n ? n->incarnation : 0;

	document_put_flag(o, "heard", self || (n && n->heard));
	document_put(o, "epoch", known ? json_integer((json_int_t)(self ? p->epoch : n->epoch)) : json_null());
	document_put(o, "linked_incarnation", linked && linked != m->incarnation ? hex_number(linked) : json_null());
}

static json_t *buckets_of(const struct clus_view *v, const struct counts *c, uint16_t m, enum figures_for whom)
{
	json_t *all = tally_new(whom);

	for (uint16_t i = 0; i < v->members[m].hosted_count; i++) {
		uint16_t app = v->members[m].hosted[i].app;
		tally_put(&all, whom, v->apps[app].name, count_of(c, app, m));
	}
	return all;
}

static json_t *members_of(const struct member_look *l, const struct counts *c, enum figures_for whom)
{
	const struct clus_view *v = &l->picture.view->view;
	json_t *members = json_array();

	for (uint16_t m = 0; m < v->member_count; m++) {
		json_t *o = json_object();
		put_member(&o, v, m);
		put_heard(&o, l, &v->members[m]);
		document_put(&o, "buckets", buckets_of(v, c, m, whom));
		document_append(&members, o);
	}
	return members;
}

/* Nodes that are linked and in no view. */
static json_t *outside(const struct cluster_picture *p)
{
	json_t *rows = json_array();

	for (size_t i = 0; i < p->node_count; i++) {
		const struct cluster_node_picture *n = &p->nodes[i];
		if (p->view && clus_view_member(&p->view->view, view_str(n->name)) != CLUS_NONE)
			continue;
		json_t *o = json_object();
		document_put_text(&o, "name", n->name);
		document_put(&o, "incarnation", n->incarnation ? hex_number(n->incarnation) : json_null());
		document_put_flag(&o, "heard", n->heard);
		document_put(&o, "epoch", n->epoch ? json_integer((json_int_t)n->epoch) : json_null());
		document_append(&rows, o);
	}
	return rows;
}

/* --- settings --- */

static const struct member_app *own_app(const struct member_look *l, struct view name)
{
	for (size_t i = 0; i < l->apps->count; i++) {
		if (view_eq(name, view_str(l->apps->at[i].name)))
			return &l->apps->at[i];
	}
	return NULL;
}

/* The settings that count; NULL: not known here. */
static const char *counting(const struct member_look *l, const struct clus_app *a)
{
	const struct cluster_picture *p = &l->picture;
	const struct member_app *own = own_app(l, a->name);

	if (own && own->digest == a->digest)
		return own->settings;
	for (size_t i = 0; i < p->difference_count; i++) {
		if (view_eq(a->name, view_str(p->differences[i].app)) && p->differences[i].counting)
			return p->differences[i].counting;
	}
	return NULL;
}

/* The settings of a member that has others; NULL: not known here. */
static const char *differing(const struct member_look *l, const struct clus_app *a, struct view node)
{
	const struct cluster_picture *p = &l->picture;
	const struct member_app *own = own_app(l, a->name);

	for (size_t i = 0; i < p->difference_count; i++) {
		const struct cluster_difference *d = &p->differences[i];
		if (view_eq(a->name, view_str(d->app)) && view_eq(node, view_str(d->node)) && d->settings)
			return d->settings;
	}
	return own && view_eq(node, view_str(l->node)) ? own->settings : NULL;
}

static struct view next_word(struct view *line)
{
	size_t len = 0;

	while (len < line->len && line->at[len] != ' ')
		len++;
	struct view word = view_take(line, len);
	(void)view_take(line, 1);
	return word;
}

static bool has_word(struct view line, struct view word)
{
	while (line.len > 0) {
		if (view_eq(next_word(&line), word))
			return true;
	}
	return false;
}

/* The words of `line` that are not in `other`. */
static json_t *other_words(const char *line, const char *other)
{
	struct view rest = view_str(line ? line : "");
	struct buf out = {.max_bytes = 0};

	if (!line || !other)
		return line ? json_string(line) : json_null();
	while (rest.len > 0) {
		struct view word = next_word(&rest);
		if (has_word(view_str(other), word))
			continue;
		if (buf_len(&out) > 0)
			buf_put_u8(&out, ' ');
		buf_put(&out, word);
	}
	json_t *text = buf_error(&out) ? NULL : document_string(buf_view(&out));
	buf_fini(&out);
	return text;
}

/* One row for each member that hosts the app with other settings than those that count. */
static void put_differences(json_t **rows, const struct member_look *l, uint16_t app, enum figures_for whom)
{
	const struct clus_view *v = &l->picture.view->view;
	const struct clus_app *a = &v->apps[app];

	for (uint16_t m = 0; m < v->member_count; m++) {
		const struct clus_hosted *h = clus_view_hosted(v, m, app);
		if (!h || h->digest == a->digest)
			continue;
		const char *has = differing(l, a, v->members[m].name), *counts = counting(l, a);
		json_t *o = json_object();
		if (whom == FIGURES_PEOPLE)
			put_view_text(&o, "app", a->name);
		put_view_text(&o, "node", v->members[m].name);
		if (whom == FIGURES_PEOPLE) {
			document_put(&o, "has", other_words(has, counts));
			document_put(&o, "what_counts", other_words(counts, has));
		} else {
			document_put_text(&o, "settings", has);
		}
		document_append(rows, o);
	}
}

static json_t *managers_of(const struct clus_view *v, const struct counts *c, uint16_t app, enum figures_for whom)
{
	json_t *all = tally_new(whom);

	for (uint16_t m = 0; m < v->member_count; m++) {
		if (count_of(c, app, m) > 0)
			tally_put(&all, whom, v->members[m].name, count_of(c, app, m));
	}
	return all;
}

static json_t *app_of(const struct member_look *l, const struct counts *c, uint16_t app, enum figures_for whom)
{
	const struct clus_view *v = &l->picture.view->view;
	const struct clus_app *a = &v->apps[app];
	json_t *o = json_object(), *disagree = json_array();

	put_view_text(&o, "name", a->name);
	document_put_number(&o, "buckets", a->buckets);
	document_put_number(&o, "lost", lost_of(a));
	document_put(&o, "managers", managers_of(v, c, app, whom));
	if (whom == FIGURES_PEOPLE) {
		json_decref(disagree);
		return o;
	}
	document_put_text(&o, "settings", counting(l, a));
	put_differences(&disagree, l, app, whom);
	document_put(&o, "disagree", disagree);
	return o;
}

/* --- all of it --- */

static void put_node(json_t **o, const struct member_look *l)
{
	const struct cluster_picture *p = &l->picture;
	const struct clus_view *v = p->view ? &p->view->view : NULL;

	document_put_text(o, "name", l->cluster);
	document_put(o, "id", v ? hex_bytes(v->cluster, sizeof v->cluster) : json_null());
	document_put_text(o, "node", l->node);
	document_put(o, "incarnation", hex_number(p->incarnation));
	document_put_text(o, "state", p->state);
	document_put_flag(o, "fenced", !p->may_act);
	document_put_flag(o, "broken", l->broken);
	document_put_number(o, "epoch", p->epoch);
	document_put(o, "coordinator", v ? document_string(v->members[v->coordinator].name) : json_null());
	document_put_flag(o, "majority", p->majority);
	document_put(o, "voters", v ? names_of_voters(v) : json_array());
	document_put_number(o, "fenced_so_far_s", l->fenced_ms / 1000);
	document_put_point(o, "certificate_ends_at", l->certificate_ends_s);
}

static void put_shared(json_t **o, const struct member_look *l, enum figures_for whom)
{
	const struct clus_view *v = &l->picture.view->view;
	json_t *apps = json_array(), *differences = json_array();
	struct counts c;

	if (!counts_init(&c, v)) {
		json_decref(apps);
		document_put(o, "members", NULL);
		json_decref(differences);
		return;
	}
	for (uint16_t a = 0; a < v->app_count; a++) {
		document_append(&apps, app_of(l, &c, a, whom));
		if (whom == FIGURES_PEOPLE)
			put_differences(&differences, l, a, whom);
	}
	document_put(o, "members", members_of(l, &c, whom));
	document_put(o, "apps", apps);
	if (whom == FIGURES_PEOPLE)
		document_put(o, "differences", differences);
	else
		json_decref(differences);
	free(c.managed);
}

json_t *figures_cluster(const struct member_look *l, enum figures_for whom)
{
	json_t *o = json_object();

	put_node(&o, l);
	document_put(&o, "trouble", figures_trouble(l, clock_wall()));
	if (l->picture.view) {
		put_shared(&o, l, whom);
	} else {
		document_put(&o, "members", json_array());
		document_put(&o, "apps", json_array());
	}
	document_put(&o, "outside", outside(&l->picture));
	return o;
}

json_t *figures_links(const struct cluster_picture *p, enum figures_for whom)
{
	json_t *rows = json_array();

	for (size_t i = 0; i < p->link_count; i++) {
		const struct cluster_link_picture *k = &p->links[i];
		bool unknown = whom == FIGURES_PEOPLE && k->round_us == 0;
		json_t *o = json_object();
		document_put_text(&o, "peer", k->peer);
		document_put_text(&o, "link", k->link == PEER_LINK_BULK ? "bulk" : "control");
		document_put_text(&o, "state", k->state);
		document_put_number(&o, "since_ms", k->since_ms);
		document_put(&o, "rtt_us", unknown ? json_null() : json_integer((json_int_t)k->round_us));
		document_put_number(&o, "sent_bytes", k->bytes_out);
		document_put_number(&o, "received_bytes", k->bytes_in);
		document_put_number(&o, "sent_frames", k->frames_out);
		document_put_number(&o, "received_frames", k->frames_in);
		document_put_number(&o, "queued_bytes", k->queued_bytes);
		document_put_number(&o, "credit", k->credit);
		document_put_number(&o, "reconnects", k->reconnects);
		document_put_flag(&o, "dialled", k->dialled);
		document_put_flag(&o, "resumed", k->resumed);
		document_put_text(&o, "last_failure",
				  *k->last_failure || whom == FIGURES_PROGRAMS ? k->last_failure : NULL);
		document_append(&rows, o);
	}
	return rows;
}
