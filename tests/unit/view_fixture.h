/* A small cluster's view that a test may change as it likes, and its bytes written by hand from doc/cluster.md: also
 * those of views that weir would never write. */
#ifndef WEIR_TESTS_UNIT_VIEW_FIXTURE_H
#define WEIR_TESTS_UNIT_VIEW_FIXTURE_H

#include "base/bigendian.h"
#include "cluster/view.h"

/* Three nodes and a witness. All but beta agree about "shop", delta is leaving; "blog" is at alpha alone. */
struct sample {
	struct clus_hosted alpha[2], beta[1], delta[1];
	struct clus_member members[4];
	struct bucket blog[2], shop[3];
	struct clus_app apps[2];
	struct clus_view view;
};

enum { ALPHA, BETA, DELTA, WITNESS };
enum { BLOG, SHOP };

static inline void sample_init(struct sample *s)
{
	*s = (struct sample){
	    .alpha = {{BLOG, 0xb1}, {SHOP, 0x5051525354555657}},
	    .beta = {{SHOP, 0x5051525354555658}},
	    .delta = {{SHOP, 0x5051525354555657}},
	    .members =
		{
		    {.name = VIEW("alpha"),
		     .incarnation = 0x0a0b0c0d0e0f1011,
		     .address = VIEW("10.0.0.1:7400"),
		     .zone = VIEW("rack-1"),
		     .url = VIEW("https://alpha.example.org"),
		     .hosted_count = 2},
		    {.name = VIEW("beta"), .incarnation = 2, .address = VIEW("[::1]:7400"), .hosted_count = 1},
		    {.name = VIEW("delta"),
		     .incarnation = 3,
		     .address = VIEW("d:1"),
		     .leaving = true,
		     .hosted_count = 1},
		    {.name = VIEW("w"), .incarnation = 4, .address = VIEW("w:1"), .witness = true},
		},
	    .blog = {{BUCKETS_NONE, true}, {ALPHA, false}},
	    .shop = {{ALPHA, false}, {ALPHA, true}, {BUCKETS_NONE, true}},
	    .apps = {{.name = VIEW("blog"), .digest = 0xb1, .buckets = 2},
		     {.name = VIEW("shop"), .digest = 0x5051525354555657, .buckets = 3}},
	    .view =
		{
		    .cluster = {0x20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
		    .epoch = 0x0102030405060708,
		    .coordinator = BETA,
		    .member_count = 4,
		    .app_count = 2,
		    .voter_count = 3,
		    .voters = {VIEW("beta"), VIEW("gone"), VIEW("w")},
		},
	};
	s->members[ALPHA].hosted = s->alpha;
	s->members[BETA].hosted = s->beta;
	s->members[DELTA].hosted = s->delta;
	s->apps[BLOG].map = s->blog;
	s->apps[SHOP].map = s->shop;
	s->view.members = s->members;
	s->view.apps = s->apps;
}

static inline void write_number(struct buf *b, uint64_t n, unsigned bytes)
{
	uint8_t wire[8];

	(void)bigendian_put(wire, n, bytes);
	buf_put(b, view_of(wire, bytes));
}

static inline void write_text(struct buf *b, struct view text, unsigned count_bytes)
{
	write_number(b, text.len, count_bytes);
	buf_put(b, text);
}

enum { VIEW_LENGTH_AT = 6 };

/* Sets the length to what there is. */
static inline void write_length(struct buf *b)
{
	(void)bigendian_put(b->data + b->head + VIEW_LENGTH_AT, buf_len(b), 4);
}

static inline void write_member(struct buf *b, const struct clus_member *m)
{
	write_text(b, m->name, 1);
	write_number(b, m->incarnation, 8);
	write_number(b, (m->witness ? 1U : 0) + (m->leaving ? 2U : 0), 1);
	write_text(b, m->address, 2);
	write_text(b, m->zone, 1);
	write_text(b, m->url, 2);
	write_number(b, m->hosted_count, 2);
	for (unsigned i = 0; i < m->hosted_count; i++) {
		write_number(b, m->hosted[i].app, 2);
		write_number(b, m->hosted[i].digest, 8);
	}
}

/* Whatever the view is. `voters` are view->voter_count names. */
static inline void write_view(struct buf *b, const struct clus_view *v, const struct view *voters)
{
	size_t hosted = 0, buckets = 0;

	for (unsigned i = 0; i < v->member_count; i++)
		hosted += v->members[i].hosted_count;
	for (unsigned i = 0; i < v->app_count; i++)
		buckets += v->apps[i].buckets;
	buf_put_str(b, "view");
	write_number(b, 1, 2);
	write_number(b, 0, 4);
	buf_put(b, view_of(v->cluster, 16));
	write_number(b, v->epoch, 8);
	write_number(b, v->coordinator, 2);
	write_number(b, v->voter_count, 1);
	write_number(b, v->app_count, 2);
	write_number(b, v->member_count, 2);
	write_number(b, hosted, 4);
	write_number(b, buckets, 4);
	for (unsigned i = 0; i < v->voter_count; i++)
		write_text(b, voters[i], 1);
	for (unsigned i = 0; i < v->app_count; i++) {
		write_text(b, v->apps[i].name, 1);
		write_number(b, v->apps[i].digest, 8);
		write_number(b, v->apps[i].buckets, 4);
	}
	for (unsigned i = 0; i < v->member_count; i++)
		write_member(b, &v->members[i]);
	for (unsigned i = 0; i < v->app_count; i++) {
		for (unsigned k = 0; k < v->apps[i].buckets; k++)
			write_number(b, v->apps[i].map[k].manager + (v->apps[i].map[k].lost ? 0x8000U : 0), 2);
	}
	write_length(b);
}

#endif
