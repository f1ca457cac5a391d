/* What cluster/cluster*.c share: one node of the cluster, its thread, and what ties the core to links and control
 * plane. Private to them.
 *
 *   main            struct cluster, its mails, the thread
 *   weir-cluster    loop, core, peers, control, own, events: nobody else touches them
 *   any             may_act_until_ms, led, and view under view_lock */
#ifndef WEIR_CLUSTER_NODE_STATE_H
#define WEIR_CLUSTER_NODE_STATE_H

#include "base/list.h"
#include "cluster/cluster.h"
#include "cluster/control.h"
#include "cluster/core.h"
#include "cluster/peer.h"
#include "net/loop.h"

#include <pthread.h>

enum { NODE_WHY = 200 };

/* The settings that a reload may change, and the address: a copy, in one piece of memory. */
struct node_own {
	struct peer_hello hello; /* but for cluster, epoch, link; views into `texts` */
	struct tls_context *tls; /* counted */
	struct view *peers;      /* addresses, without our own */
	size_t peer_count;
	uint8_t *texts; /* owned */
};

/* An event that came amid another one's effects. */
struct node_event {
	struct list link;
	struct clus_event event; /* its name and bytes lie in `texts` */
	uint8_t texts[];
};

struct cluster {
	/* of main */
	struct net_loop *main;
	const struct cluster_ops *ops;
	void *owner;
	bool leave_asked, stop_asked;
	pthread_t thread;

	/* mails to the thread, and from it, each at most once */
	struct mail leave, stop;
	struct mail left, broken, gone;
	char why[NODE_WHY];      /* with `broken` */
	char left_why[NODE_WHY]; /* with `left`; empty: it was not in vain */

	/* of all */
	_Atomic uint64_t may_act_until_ms; /* a struct lease_time */
	_Atomic bool led;                  /* there is a coordinator, and a way to it */
	pthread_mutex_t view_lock;
	struct cluster_view *view; /* counted; NULL: none */

	/* of the thread */
	struct net_loop loop;
	struct clus_core *core;
	struct peers *peers; /* NULL: it ends */
	const struct control_kind *kind;
	struct control *control; /* NULL: not started, or it ends */
	unsigned running;        /* of peers and control */
	bool stepping, starting, ended, stopping, closed, coordinating;
	bool broke, leaving, left_said;
	int start_err;
	struct net_timer tick, farewell; /* farewell: it is broken, and the others are told when it runs out */
	bool asked;                      /* the control plane, which owes an answer, ... */
	unsigned asked_ticks;            /* ... for so long */
	struct list events;              /* of struct node_event */
	struct node_own *own, *first;    /* owned; first: with which it was started, may be the same */
	char name_text[PEER_NAME_MAX + 1];
	struct view name;
	uint64_t incarnation, failure_ms, election_ms;
	unsigned priority;
	uint8_t kept_id[CLUS_ID_BYTES];                  /* what FOLDER/cluster says */
	char *folder;                                    /* owned */
	uint64_t wanted_epoch;                           /* whose members are dialled */
	bool want_again, published;                      /* published: `view` is what the core has installed */
	char voters[CLUS_VOTERS_MAX][PEER_NAME_MAX + 1]; /* whom the control plane is told of */
	unsigned voter_count;
};

/* cluster_own.c. ERR_NO_MEMORY, ERR_TOO_LARGE with a line in `why`. */
MUST_USE int node_own_new(struct node_own **out, const struct cluster_settings *s, char why[NODE_WHY]);
void node_own_free(struct node_own **own);
bool node_own_says_same(const struct node_own *a, const struct node_own *b); /* in HELLO */

/* cluster_id.c: the cluster it has been in; zeros: none yet. ERR_BROKEN with `why`; ERR_SYSTEM with errno. */
MUST_USE int node_id_read(const char *dir, uint8_t id[CLUS_ID_BYTES], char why[NODE_WHY]);
MUST_USE int node_id_write(const char *dir, const uint8_t id[CLUS_ID_BYTES]);

/* cluster_thread.c */
void node_step(struct cluster *c, struct clus_event *e); /* later, when it comes amid effects */
void node_break(struct cluster *c, const char *why);
void node_stop(struct cluster *c);
void node_take_own(struct cluster *c, struct node_own *own);
void node_leave(struct cluster *c);
void node_say_left(struct cluster *c, struct view in_vain); /* in_vain: why; empty: it was not */
void node_on_tick(struct net_timer *t);
void node_on_farewell(struct net_timer *t);
void *node_run(void *c);
void node_part_ended(struct cluster *c);

/* cluster_links.c */
extern const struct peers_ops node_peers_ops;
void node_want(struct cluster *c);
bool node_is_led(const struct cluster *c);

/* cluster_effects.c */
void node_do(struct cluster *c, const struct clus_effect *e);
void node_publish(struct cluster *c);
void node_say_reached(struct cluster *c, struct view name, bool there);
bool node_is_voter(const struct cluster *c, struct view name);

/* cluster_log.c */
void node_log(const struct clus_effect *e);
void node_log_installed(const struct clus_view *v, struct view bytes);
void node_log_committed(struct view bytes);
const char *node_state_text(enum clus_state state);

#endif
