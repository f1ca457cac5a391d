/* What the parts of the core share. Private to cluster/core*.c. */
#ifndef WEIR_CLUSTER_CORE_STATE_H
#define WEIR_CLUSTER_CORE_STATE_H

#include "cluster/core.h"

enum {
	ROW_WORDS = (CLUS_MEMBERS_MAX + 63) / 64,
	NODES_MAX = 2 * CLUS_MEMBERS_MAX,                    /* that are remembered: members, and who wants to be one */
	EFFECT_ROOM = (CLUS_VOTERS_MAX + 1) * CLUS_NAME_MAX, /* for the texts of one that must not fail */
};

/* What a HELLO says. */
struct clus_facts {
	struct view name, address, zone, url; /* in `memory`, as the apps */
	uint64_t incarnation;
	bool witness, votes, leaving;
	uint16_t app_count;
	const struct peer_app *apps;
	struct buf memory; /* owned */
};

/* Another node: a member, or one that is linked. What is said of it is of facts.incarnation while it is `up`. */
struct clus_node {
	struct view name;        /* in name_bytes */
	struct clus_facts facts; /* of the last HELLO; incarnation 0: none was heard */
	bool up, heard;
	struct instant heard_at;   /* the last sign of life, if `heard` */
	struct instant confirmed;  /* our newest beat that it has echoed had left then; .ms 0: none */
	uint64_t epoch;            /* that it has installed, as far as we know */
	uint64_t sent_epoch;       /* of the view that it was sent over this link */
	uint64_t dead;             /* this incarnation is dead for certain, or was removed */
	const char *why;           /* it is dead, or was condemned; a literal */
	uint64_t handed;           /* this incarnation is leaving, and has handed over */
	bool wants_leave;          /* has said so over this link */
	bool condemned;            /* the proposal under way is without it */
	bool suspected, forgotten; /* since... */
	struct instant suspected_at, forgotten_at;
	struct instant shy_until; /* was unreachable for too many: it is not let in before */
	uint64_t shy_ms;
	bool too_much;           /* with what its HELLO says, the view would not fit: told once */
	uint64_t told_cluster;   /* this incarnation is of another cluster: told */
	uint64_t told_name;      /* this incarnation has a name that is in use: told */
	uint64_t row_epoch;      /* `row` is about the members of this view */
	uint64_t row[ROW_WORDS]; /* whom it hears */
	uint8_t name_bytes[CLUS_NAME_MAX];
};

/* What is known of a bucket besides the view. */
enum clus_mark { MARK_NONE, MARK_KNOWN, MARK_LOST };
struct clus_slot {
	uint64_t since; /* the epoch since which its manager has it, as far as this node has seen every view */
	uint8_t mine;   /* enum clus_mark: what the owner has said of it, until the view says so too */
	uint8_t mark;   /* what its manager has reported, until the view says so */
};

/* An effect with the texts that it points at. */
struct clus_told {
	struct clus_told *next;
	struct clus_effect effect;
	size_t room, used;
	uint8_t texts[];
};

struct clus_core {
	uint64_t failure_ms;
	uint32_t buckets;
	struct instant now;
	struct clus_facts self;

	/* links */
	struct buf nodes; /* struct clus_node *, owned, in the order of their names */
	unsigned peer_count;
	struct view peers[CLUS_PEERS_MAX]; /* names as far as they are known; in peer_bytes */
	uint8_t peer_bytes[CLUS_PEERS_MAX][CLUS_NAME_MAX];
	struct instant swept_at;

	/* views */
	struct clus_view view; /* epoch 0: none */
	struct buf view_bytes;
	bool installed;         /* else `view` was recalled: our database has had it before this start */
	bool controlled;        /* the control plane has said who coordinates */
	uint64_t seen_epoch;    /* the largest, of views that were lost as well */
	struct buf slots;       /* struct clus_slot, of all buckets, as the apps follow each other in `view` */
	bool unvoted;           /* the control plane must be told of voters */
	bool unsettled;         /* some slot is `mine` and not yet in the view */
	bool tell_now;          /* and its reports are due */
	struct instant told_at; /* when reports have left last */

	/* as coordinator */
	bool coordinating, proposing, dirty, retry, first; /* first: its first view is not yet proposed */
	bool vote_needed;                                  /* told that somebody cannot leave */
	bool too_much;                                     /* with our own facts, the view would not fit */
	struct instant judged_at;
	struct instant became_at;
	struct clus_view agreed; /* what it begins with; epoch 0: with `view` */
	uint8_t random[CLUS_ID_BYTES];
	struct buf proposal;
	uint64_t proposal_epoch, first_epoch;
	bool supported; /* a majority of voters has had a view of ours: whoever was before us has none any more */
	struct instant supported_at, quorum_at;

	/* as member */
	enum clus_state state;
	bool fenced, leaving, handed, exited, renewing, leave_told;
	bool removed;            /* while leaving: others say that it is out */
	bool yielded, outlasted; /* it has stepped down to leave; and was elected again */
	struct instant leave_told_at;
	struct instant lease_at; /* when the beat left that the coordinator has confirmed last; .ms 0: none */

	/* effects */
	struct clus_told *first_told, *last_told, *drained; /* owned */
	struct clus_told *spare;                            /* owned; EFFECT_ROOM each */
	unsigned spare_count;

	/* room to build in; means nothing between steps */
	struct buf draft_members, draft_sources, draft_hosted, draft_apps, draft_maps, draft_bytes;
	struct buckets_work work;
};

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
	unsigned admit, admitted; /* how many may come in or change, and did */
	struct clus_node *last;   /* of these; NULL: ourselves, or none */
	bool votes_changed;
	bool failed, full; /* no memory; or it would not fit */
};
/* Apps, who hosts them, and maps. False: no memory, or too many apps. */
bool core_draft_apps(struct clus_core *c, struct clus_draft *d);

/* --- core_install.c --- */

/* Of bytes that are agreed on. False: they are not, or too old; with `why` logged if it is worth it. */
bool core_install(struct clus_core *c, struct view bytes, struct view from);
void core_recall(struct clus_core *c, struct view bytes);
void core_voters(struct clus_core *c);

/* --- core_slot.c: what managers say of their buckets --- */

struct clus_slot *core_slots(const struct clus_core *c, uint16_t app);
int core_slots_renew(struct clus_core *c, const struct clus_view *next, bool follows, struct buf *out);
void core_slots_mine(struct clus_core *c, const struct clus_event *e);
void core_slots_report(struct clus_core *c, const struct clus_node *from, const struct peer_report *r);
void core_slots_tell(struct clus_core *c);

#endif
