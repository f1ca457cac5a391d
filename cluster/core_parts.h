/* What the parts of the core do for each other. Private to cluster/core*.c. */
#ifndef WEIR_CLUSTER_CORE_PARTS_H
#define WEIR_CLUSTER_CORE_PARTS_H

#include "cluster/core_state.h"

/* Inside the core there is one clock only: each instant is one of the lease's. */
static inline struct instant core_instant(struct lease_time t)
{
	return (struct instant){t.ms};
}

/* --- core.c: effects --- */

/* One that must not fail: at most SPARE in a step. */
struct clus_effect *core_do(struct clus_core *c, enum clus_effect_kind kind, struct view name);
/* One of many; NULL without memory. Texts are copied. */
struct clus_effect *core_do_one_of_many(struct clus_core *c, enum clus_effect_kind kind, struct view name,
					struct view app, struct view text, struct view other);
void core_log(struct clus_core *c, enum clus_log log, struct view name, const char *text, uint64_t number);
void core_do_voters(struct clus_core *c, struct clus_effect *e, const struct clus_view *v);

/* --- core_node.c --- */

int core_facts_copy(struct clus_facts *to, const struct peer_hello *from);
size_t core_node_count(const struct clus_core *c);
struct clus_node *core_node_at(const struct clus_core *c, size_t i);
struct clus_node *core_node_find(const struct clus_core *c, struct view name);
/* Found or made; NULL: no memory, or too many. */
struct clus_node *core_node_make(struct clus_core *c, struct view name);
void core_nodes_sweep(struct clus_core *c);
void core_nodes_free(struct clus_core *c);
void core_link_up(struct clus_core *c, const struct clus_event *e);
void core_link_down(struct clus_core *c, const struct clus_event *e);
void core_beat(struct clus_core *c, const struct clus_event *e);
void core_send_view(struct clus_core *c, struct clus_node *n);
/* This incarnation is no member of the view. */
bool core_is_out(const struct clus_core *c, const struct clus_node *n);
void core_refused(struct clus_core *c, struct view name, uint64_t incarnation);
void core_wants_leave(struct clus_core *c, struct clus_node *n);

/* --- core_judge.c --- */

bool core_is_self(const struct clus_core *c, struct view name);
/* Our place in the view that counts; CLUS_NONE: it is without us, this incarnation. */
uint16_t core_place(const struct clus_core *c);
bool core_hears(const struct clus_core *c, const struct clus_node *n);
/* NULL: it stays. Otherwise why it does not. */
const char *core_verdict(const struct clus_core *c, const struct clus_member *m, const struct clus_node *n);
void core_judge(struct clus_core *c);
void core_quorum(struct clus_core *c);
/* It has installed a view that is not ours, while we coordinate: somebody else does. */
bool core_is_ahead(const struct clus_core *c, const struct clus_node *n);
/* Its word about a newer view counts: it is a member or a voter, or we are in no view and nothing is agreed on. */
bool core_has_say(const struct clus_core *c, const struct clus_node *n);
/* No cluster has had so many views since the last one that was seen. */
bool core_is_made_up(const struct clus_core *c, uint64_t epoch);
bool core_may_act(const struct clus_core *c);
bool core_vouches(const struct clus_core *c, struct view name);
void core_was_removed(struct clus_core *c, struct view by);
void core_reincarnate(struct clus_core *c);
void core_leave(struct clus_core *c);
void core_step_down(struct clus_core *c, const char *why);
/* State and fence as they are now, told if they have changed. */
void core_review(struct clus_core *c);

/* --- core_next.c, core_maps.c: the next view --- */

/* Proposes one, if it is ours to do and there is something new. */
void core_propose(struct clus_core *c);

/* Where a drafted member's facts come from. */
struct clus_source {
	const struct clus_facts *facts; /* NULL: as they were in the view before */
	uint16_t old;                   /* its place there, the same incarnation; or CLUS_NONE */
};

/* A view in the making. Names are borrowed from the view before, and from the facts of nodes. */
struct clus_draft {
	const struct clus_view *base; /* NULL: the first of all */
	struct clus_view view;
	unsigned admit, admitted;        /* how many may come in or change, and did */
	struct clus_node *last;          /* of these; NULL: ourselves, or none */
	bool votes_changed, vote_needed; /* needed: of somebody who would go */
	bool failed, full;               /* no memory; or it would not fit */
};
/* Apps, who hosts them, and maps. False: no memory, or too many apps. */
bool core_draft_apps(struct clus_core *c, struct clus_draft *d);

/* --- core_install.c --- */

/* Of bytes that are agreed on. False: they are not, or too old; with `why` logged if it is worth it. */
bool core_install(struct clus_core *c, struct view bytes, struct view from);
void core_recall(struct clus_core *c, struct view bytes);
bool core_is_ours(const struct clus_core *c, const uint8_t cluster[CLUS_ID_BYTES]);
void core_voters(struct clus_core *c);

/* --- core_slot.c: what managers say of their buckets --- */

/* Where members of `next` stood before, the same incarnation, or CLUS_NONE. */
void core_places_before(const struct clus_view *before, const struct clus_view *next, uint16_t *old);
struct clus_slot *core_slots(const struct clus_core *c, uint16_t app);
int core_slots_renew(struct clus_core *c, const struct clus_view *next, bool follows, struct buf *out);
void core_slots_mine(struct clus_core *c, const struct clus_event *e);
void core_slots_report(struct clus_core *c, const struct clus_node *from, const struct peer_report *r);
void core_slots_tell(struct clus_core *c);

#endif
