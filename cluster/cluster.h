/* The cluster as the rest of weir sees it: one thread with links, the core and the control plane (doc/cluster.md). All
 * functions are for the main thread, except where it says any thread. Events come on the main thread's loop. */
#ifndef WEIR_CLUSTER_CLUSTER_H
#define WEIR_CLUSTER_CLUSTER_H

#include "base/clock.h"
#include "base/compiler.h"
#include "base/mailbox.h"
#include "cluster/view.h"
#include "proto/peer.h"

struct cluster;
struct net_loop;
struct tls_context;

struct cluster_app {
	const char *name;
	const char *settings; /* what all nodes must agree on, one line */
	uint64_t digest;      /* of it */
};

/* Borrowed for the call. */
struct cluster_settings {
	const char *name, *node;  /* of the cluster and of this node */
	const char *folder;       /* of the control plane's database; made where it is missing */
	const char *address;      /* what others dial, "ADDR:PORT" */
	const char *const *peers; /* addresses */
	size_t peer_count;
	const char *zone, *url; /* "": none */
	bool votes, witness;
	unsigned priority;
	uint32_t buckets;
	uint64_t failure_ms, election_ms;
	const struct cluster_app *apps; /* in any order */
	size_t app_count;
	struct tls_context *tls; /* counted */
	int listen_fd;           /* listening and non-blocking; taken over by cluster_start(), also when it fails */
};

struct cluster_ops {
	/* After cluster_leave(): the others know; or `why` it was given up, since it is broken, or no coordinator has
	 * answered for twice failure-timeout. Once. */
	void (*left)(void *owner, const char *why);
	/* It cannot go on (the control plane's database), `why` is one line. This node is fenced from now on. */
	void (*broken)(void *owner, const char *why);
	/* After cluster_stop(): nothing of it runs any more. */
	void (*stopped)(void *owner);
};

/* 0; ERR_NO_MEMORY, ERR_SYSTEM, ERR_BROKEN with a line in `why` (200 bytes). */
MUST_USE int cluster_start(struct cluster **out, const struct cluster_settings *s, const struct cluster_ops *ops,
			   void *owner, struct net_loop *main, char why[200]);
/* What a reload may change: peers, certificates, zone, url, apps. ERR_NO_MEMORY, ERR_TOO_LARGE with a line in `why`,
 * and nothing has changed. */
MUST_USE int cluster_reload(struct cluster *c, const struct cluster_settings *s, char why[200]);
/* In good order: the others take over its buckets. `left` tells. */
void cluster_leave(struct cluster *c);
/* An operator takes NAME out, and its vote. 0; ERR_GONE: it is no member and no voter; ERR_REFUSED: it is this node or
 * the coordinator, which must leave or end themselves; ERR_BUSY: there is no coordinator who would hear it;
 * ERR_NO_MEMORY. It has happened when a view without it is there. */
MUST_USE int cluster_forget(struct cluster *c, struct view name);
/* Ends without a word to the others but GOODBYE, which they take for the end of the process: when nobody acts on
 * cluster_may_act() any more. `stopped` tells; then cluster_free(). */
void cluster_stop(struct cluster *c);
void cluster_free(struct cluster **c);

/* --- any thread --- */

/* Whether sessions may be served at this moment: `now` is clock_lease(). It costs one load. */
bool cluster_may_act(const struct cluster *c, struct lease_time now);

/* A view that is shared: counted, never changed. */
struct cluster_view {
	struct clus_view view;
	_Atomic unsigned refs;
};

/* The one that is installed, counted for the caller; NULL: none. */
struct cluster_view *cluster_view_take(struct cluster *c);
void cluster_view_unref(struct cluster_view **v);

/* --- for people --- */

struct cluster_node_picture {
	char name[PEER_NAME_MAX + 1];
	uint64_t incarnation; /* that is linked; 0: none */
	uint64_t epoch;       /* that it says it has installed */
	bool heard;
};

struct cluster_link_picture {
	char peer[PEER_NAME_MAX + 1];
	enum peer_link link;
	const char *state; /* "none", "dialling", "open"; static */
	uint64_t since_ms; /* how long it has been so */
	uint64_t round_us; /* 0: not known */
	uint64_t bytes_in, bytes_out, frames_in, frames_out, queued_bytes, reconnects;
	uint32_t credit;
	bool dialled, resumed;
	char last_failure[96]; /* "": none */
};

/* Settings of an app that are not those that count. */
struct cluster_difference {
	char app[PEER_NAME_MAX + 1], node[PEER_NAME_MAX + 1];
	char *settings, *counting; /* owned; NULL: not known here */
};

struct cluster_picture {
	char state[16]; /* "seeking", "member", "fenced", "leaving" */
	uint64_t incarnation, epoch;
	bool coordinates, may_act;
	bool majority;                          /* of the voters are heard */
	struct cluster_view *view;              /* counted; NULL: none */
	struct cluster_node_picture *nodes;     /* owned; all that are known besides this one */
	struct cluster_link_picture *links;     /* owned */
	struct cluster_difference *differences; /* owned */
	size_t node_count, link_count, difference_count;
};

/* What the cluster's thread sees now. `done` comes on the main thread with `picture` filled, which is the caller's to
 * end with cluster_picture_fini(); err ERR_NO_MEMORY, or ERR_STOPPED after cluster_stop(): it is not filled. At the
 * latest `stopped` comes after it. */
struct cluster_look {
	struct mail mail; /* used meanwhile */
	struct cluster_picture picture;
	int err;
	void (*done)(struct cluster_look *look);
	struct cluster *cluster; /* used meanwhile */
};

void cluster_look(struct cluster *c, struct cluster_look *look);
void cluster_picture_fini(struct cluster_picture *p);

#endif
