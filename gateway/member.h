/* This node as a member of its cluster: what the configuration says of that, brought to cluster/cluster.h, and a look
 * at the cluster each second, kept so that any thread can read it (doc/cluster.md). Main thread, but where it says
 * otherwise. Without a section cluster there is none of this. */
#ifndef WEIR_GATEWAY_MEMBER_H
#define WEIR_GATEWAY_MEMBER_H

#include "cluster/cluster.h"
#include "conf/conf.h"

#include <stdatomic.h>

struct member;
struct net_loop;
struct notify;

struct member_ops {
	/* It has left the cluster in good order, or has given up to. After member_leave(), once. */
	void (*left)(void *owner);
	/* Nothing of it runs any more. After member_stop(), once. */
	void (*stopped)(void *owner);
};

enum {
	MEMBER_WHY_BYTES = 1200,
	MEMBER_WARN_S = 7 * 24 * 3600, /* before the end of a certificate */
};

/* While weir may still be root: certificates are read, and the socket is bound. *out NULL: there is no such section.
 * Otherwise an error, with a line in `why` unless it is memory. */
MUST_USE int member_new(struct member **out, const struct conf *c, char why[MEMBER_WHY_BYTES]);
/* After weir has become another user: warns of files that only root can read, since no reload could be done then. */
void member_try_files(const struct conf *c);
/* Before the workers and the stack start: they ask the fence. `notify` is told what to show of it. */
MUST_USE int member_start(struct member *m, const struct conf *c, struct net_loop *loop, struct notify *notify,
			  const struct member_ops *ops, void *owner, char why[MEMBER_WHY_BYTES]);
/* NULL before the start. */
struct cluster *member_cluster(const struct member *m);

/* A reload in two steps: reads the certificates anew. Then goes over to the conf; after an error nothing has changed.
 * What is wrong is a line in `report`, unless it is memory. */
MUST_USE int member_try(struct member *m, const struct conf *c, struct buf *report);
MUST_USE int member_reload(struct member *m, const struct conf *c, struct buf *report);

void member_leave(struct member *m);
void member_stop(struct member *m); /* also one that was never started: then `stopped` comes before this returns */
void member_free(struct member **m);

/* --- what is known of the cluster; for any thread --- */

/* An app of this node's, as the others are told of it. */
struct member_app {
	char *name, *settings; /* owned */
	uint64_t digest;
};

/* Never changed; counted. */
struct member_apps {
	_Atomic unsigned refs;
	size_t count;
	struct member_app at[];
};

/* How the cluster was at one moment. Counted, never changed. */
struct member_look {
	_Atomic unsigned refs;
	struct cluster_picture picture;
	struct member_apps *apps;   /* counted */
	char *cluster, *node;       /* names; owned */
	uint64_t fenced_ms;         /* in all, to a second or so */
	int64_t certificate_ends_s; /* calendar */
	bool broken;                /* the control plane has given up */
};

/* At most a second or two old, counted for the caller; NULL: there was none yet. Any thread. */
struct member_look *member_take(struct member *m);
void member_unref(struct member_look **look);

/* Takes the picture over, in any case, as what is known now; counted for the caller. NULL: no memory. */
struct member_look *member_see(struct member *m, struct cluster_picture *picture);

#endif
