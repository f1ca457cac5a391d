/* What the parts of the core share. Private to cluster/core*.c. */
#ifndef WEIR_CLUSTER_CORE_STATE_H
#define WEIR_CLUSTER_CORE_STATE_H

#include "cluster/core.h"

enum {
	ROW_WORDS = (CLUS_MEMBERS_MAX + 63) / 64,
	NODES_MAX = 2 * CLUS_MEMBERS_MAX,                    /* that are remembered: members, and who wants to be one */
	EFFECT_ROOM = (CLUS_VOTERS_MAX + 1) * CLUS_NAME_MAX, /* for the texts of one that must not fail */
};

#define EPOCH_LEAP (UINT64_C(1) << 32) /* an epoch so far ahead is made up: they must not run out */

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
	struct instant sent_at;    /* when that was, or the link came */
	uint64_t sent_epoch;       /* of the view that it was sent over this link */
	uint64_t dead;             /* this incarnation is dead for certain, or was removed */
	const char *why;           /* it is dead, or was condemned; a literal */
	uint64_t out, out_epoch;   /* this incarnation is in no view since that epoch or before */
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
	uint8_t cluster[CLUS_ID_BYTES]; /* that this node has been in, also before this start; zeros: none */
	bool installed;                 /* else `view` was recalled: our database has had it before this start */
	bool controlled;                /* the control plane has said who coordinates */
	uint64_t seen_epoch;            /* the largest, of views that were lost as well */
	struct buf slots;               /* struct clus_slot, of all buckets, as the apps follow each other in `view` */
	bool unvoted;                   /* the control plane must be told of voters */
	bool unsettled;                 /* some slot is `mine` and not yet in the view */
	bool tell_now;                  /* and its reports are due */
	struct instant told_at;         /* when reports have left last */

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
	struct instant leave_at, leave_told_at;
	struct instant lease_at; /* when the beat left that the coordinator has confirmed last; .ms 0: none */

	/* effects */
	struct clus_told *first_told, *last_told, *drained; /* owned */
	struct clus_told *spare;                            /* owned; EFFECT_ROOM each */
	unsigned spare_count;

	/* room to build in; means nothing between steps */
	struct buf draft_members, draft_sources, draft_hosted, draft_apps, draft_maps, draft_bytes;
	struct buckets_work work;
};

#endif
