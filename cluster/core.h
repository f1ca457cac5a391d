/* The cluster core: who is a member, who is dead, may this node act, and what the next view is (doc/cluster.md). Pure:
 * no system call, no clock, no randomness; time comes inside events. Links, the control plane and the owner are told by
 * effects, which the caller drains after each step. One thread's; it owns all that it needs memory for. */
#ifndef WEIR_CLUSTER_CORE_H
#define WEIR_CLUSTER_CORE_H

#include "base/clock.h"
#include "base/compiler.h"
#include "cluster/view.h"
#include "proto/peer_report.h"

struct clus_core;

enum { CLUS_PEERS_MAX = CLUS_VOTERS_MAX - 1 }; /* addresses in `peers`: they vote for the first coordinator */

struct clus_core_settings {
	const struct peer_hello *self;  /* what our HELLOs say; epoch and cluster do not matter */
	uint64_t failure_ms;            /* failure-timeout; at least 8 */
	uint32_t buckets;               /* of the map of an app that is new in the view */
	uint8_t cluster[CLUS_ID_BYTES]; /* clus_core_cluster() of its last life; zeros: none */
	unsigned peer_count;            /* addresses in `peers`, at most CLUS_PEERS_MAX */
};

enum clus_event_kind {
	/* links. `name` is whom it is about; only the control link counts */
	CLUS_TICK,       /* every failure-timeout / 16 or oftener */
	CLUS_PEER_NAMED, /* the address `number` in `peers` is that of `name`, which may be our own */
	CLUS_LINK_UP,    /* hello */
	CLUS_LINK_DOWN,  /* down; number: incarnation, or 0. REFUSED: that of clus_core_known() at the dialling */
	CLUS_BEAT,       /* beat; confirmed: when the beat that it echoes had left us */
	CLUS_VIEW,       /* bytes */
	CLUS_REPORT,     /* report */
	/* the control plane (cluster/control.h) */
	CLUS_COORDINATES, /* bytes: what is agreed on; random: the id of the cluster if it is made now */
	CLUS_FOLLOWS,
	CLUS_LEADERLESS,
	CLUS_COMMITTED, /* bytes */
	CLUS_LOST,
	CLUS_LEARNT, /* bytes; before the first of the five above: what the database has had before this start */
	/* the owner */
	CLUS_INCARNATION, /* number: the new one that was asked for; all links are made anew with it */
	CLUS_OWN_APPS,    /* hello: after a reload; of it, only the apps, the zone and the url are read */
	CLUS_LEAVE,
	CLUS_HANDED_OVER, /* leaving, and what others were to get of us has reached them */
	CLUS_FORGET,      /* name */
	CLUS_ASKED,       /* name of an app, first, count: what is in these buckets of ours is known.
			   * number: the epoch that was installed when the asking began */
	CLUS_NEVER_CAME,  /* the same: who was to give them died before */
};

enum clus_down { CLUS_DOWN_CLOSED, CLUS_DOWN_REFUSED, CLUS_DOWN_SILENT, CLUS_DOWN_LEAVING, CLUS_DOWN_REMOVED };

struct clus_event {
	enum clus_event_kind kind;
	struct lease_time now; /* never goes back */
	struct view name, bytes;
	const struct peer_hello *hello;
	const struct peer_beat *beat;
	const struct peer_report *report;
	struct lease_time confirmed; /* .ms 0: it echoes none */
	enum clus_down down;
	uint64_t number;
	uint32_t first, count;
	uint8_t random[CLUS_ID_BYTES];
};

enum clus_state { CLUS_SEEKING, CLUS_MEMBER, CLUS_FENCED, CLUS_LEAVING, CLUS_GONE };

/* ROW(name, text): lines for the log. name: a node; text, other, number as said. */
#define CLUS_LOG_TABLE(ROW)                                                                                            \
	ROW(CLUS_LOG_JOINED, "member_joined")   /* number: incarnation */                                              \
	ROW(CLUS_LOG_LEFT, "member_left")       /* in good order */                                                    \
	ROW(CLUS_LOG_REMOVED, "member_removed") /* text: why, if this node knows */                                    \
	ROW(CLUS_LOG_SETTINGS, "app_settings_differ")                                                                  \
	/* name: the node; app; text: its settings, other: those that count; empty: not known here */                  \
	ROW(CLUS_LOG_REFUSED, "join_refused")          /* text: why */                                                 \
	ROW(CLUS_LOG_NAME_IN_USE, "name_in_use")       /* number: the incarnation that was refused */                  \
	ROW(CLUS_LOG_OTHER_CLUSTER, "other_cluster")   /* text: what of it came */                                     \
	ROW(CLUS_LOG_BAD_VIEW, "view_refused")         /* text: why */                                                 \
	ROW(CLUS_LOG_COORDINATES, "coordinator_began") /* number: the epoch that it begins after */                    \
	ROW(CLUS_LOG_STEPPED_DOWN, "stepped_down")     /* text: why */                                                 \
	ROW(CLUS_LOG_VOTE_NEEDED, "leave_waits")       /* the vote of a node that leaves: without it, no majority */   \
	ROW(CLUS_LOG_NO_MEMORY, "cluster_no_memory")   /* text: for what; it is tried again */

enum clus_log {
#define CLUS_LOG_ROW(name, text) name,
	CLUS_LOG_TABLE(CLUS_LOG_ROW)
#undef CLUS_LOG_ROW
};

enum clus_effect_kind {
	CLUS_DO_PROPOSE,     /* bytes, voters: to the control plane */
	CLUS_DO_STEP_DOWN,   /* and no election is stood for until another one has, or failure-timeout is over */
	CLUS_DO_SET_VOTERS,  /* the same; starts the control plane. "?1": a peer's name not known yet */
	CLUS_DO_INSTALL,     /* view, bytes: it counts from now on */
	CLUS_DO_SEND_VIEW,   /* bytes; name: to whom; empty: to all that are linked */
	CLUS_DO_SEND_REPORT, /* name, report */
	CLUS_DO_FENCE,       /* text: why. Holds from the moment at which clus_core_may_act_until() was reached */
	CLUS_DO_UNFENCE,
	CLUS_DO_FORBID, /* name, number: this incarnation is refused from now on; a link to it ends with `removed` */
	CLUS_DO_DROP,   /* name, number: this link ends, with `bye` */
	CLUS_DO_REDIAL, /* our HELLO has changed: links are made anew */
	CLUS_DO_REINCARNATE, /* draw another incarnation and say CLUS_INCARNATION */
	CLUS_DO_STATE,       /* state */
	CLUS_DO_EXIT,        /* left: nothing more is to be waited for. text: why in vain; empty: the others know */
	CLUS_DO_LOG,         /* log, name, app, text, other, number */
};

struct clus_effect {
	enum clus_effect_kind kind;
	enum clus_state state;
	enum clus_log log;
	enum peer_goodbye_reason bye;
	struct view name, app, text, other, bytes;
	uint64_t number;
	const struct clus_view *view;
	struct peer_report report;
	struct view voters[CLUS_VOTERS_MAX];
	unsigned voter_count;
};

/* NULL without memory. The settings are copied. */
MUST_USE struct clus_core *clus_core_new(const struct clus_core_settings *s, struct lease_time now);
void clus_core_free(struct clus_core **c);

/* 0, or ERR_NO_MEMORY: nothing has happened, the event may be given again. Effects that were not drained are gone. */
MUST_USE int clus_core_step(struct clus_core *c, const struct clus_event *e);
/* The next one, in order; what it points at is there until the next step. False: that was all. */
MUST_USE bool clus_core_next(struct clus_core *c, struct clus_effect *out);
/* Sessions may be served and buckets managed before this instant, by whoever looks at the clock first. .ms 0: fenced.
 */
struct lease_time clus_core_may_act_until(const struct clus_core *c);
/* The names that our next BEAT to `to` says we hear, appended with peer_heard_put(). */
void clus_core_heard(const struct clus_core *c, struct view to, struct buf *out);
/* The view that counts; NULL: none yet. And the epoch that our HELLOs and BEATs say. */
const struct clus_view *clus_core_view(const struct clus_core *c);
uint64_t clus_core_epoch(const struct clus_core *c);
/* The cluster that it has been in: for HELLOs, and to be kept over a start. Zeros: none yet. */
const uint8_t *clus_core_cluster(const struct clus_core *c);
/* Whom to dial besides `peers`: the members of this view, which may be that of before the start. NULL: none. */
const struct clus_view *clus_core_known(const struct clus_core *c);
bool clus_core_coordinates(const struct clus_core *c);
enum clus_state clus_core_state(const struct clus_core *c);
/* The app's settings with this digest, of anybody who has said them; empty: not known here. */
struct view clus_core_settings_of(const struct clus_core *c, struct view app, uint64_t digest);
void clus_core_check(const struct clus_core *c); /* INVARIANTs */

#endif
