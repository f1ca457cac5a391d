/* The daemon's own struct, shared by daemon.c (start, signals, the end), reload.c and control.c. Nobody else includes
 * this. Main thread only. */
#ifndef WEIR_GATEWAY_DAEMON_STATE_H
#define WEIR_GATEWAY_DAEMON_STATE_H

#include "gateway/admin.h"
#include "gateway/applications.h"
#include "gateway/control.h"
#include "gateway/member.h"
#include "gateway/notify.h"
#include "gateway/pidfile.h"
#include "gateway/privilege.h"

enum daemon_state {
	DAEMON_STARTING,
	DAEMON_RUNNING,
	DAEMON_DRAINING,
	DAEMON_CLOSING,
	DAEMON_LEAVING, /* from here on there are no workers */
	DAEMON_STORING,
	DAEMON_STOPPING,
};

enum { DAEMON_SIGNALS = 6 };

/* From a worker: how far it has got on the way to the end. */
struct progress {
	struct mail unlistened, served, quiet;
	struct daemon *daemon;
};

/* A reload after its file was found good. */
enum reload_step { RELOAD_NONE, RELOAD_UNLISTEN, RELOAD_SWITCH };

struct daemon {
	struct gateway gateway; /* first: a worker's gateway is the daemon's */
	const char *path;       /* of the configuration; borrowed */
	struct net_loop loop;
	uv_signal_t signals[DAEMON_SIGNALS];
	struct privilege privilege;
	struct pidfile pidfile;
	struct notify notify;
	struct pool_book book;
	struct applications *applications; /* owned */
	struct admin *admin;               /* owned; NULL: not running yet */
	struct progress *progress;         /* one for each worker */
	struct net_timer drain, member_ends;
	unsigned workers_started, workers_unlistened, workers_served, workers_quiet;
	enum daemon_state state;
	bool hung_up;      /* no request is left, so that session sockets close */
	bool hurry;        /* INT: sessions in memory are not stored */
	bool member_hangs; /* the cluster has not ended in time: the process ends without it */
	struct mail stored;
	/* Generations and reloads. */
	struct list generations;   /* owned; the oldest first */
	struct generation *before; /* of the reload under way: the one that was the newest; it lives */
	enum reload_step reload;
	bool reload_again;   /* asked for meanwhile */
	unsigned removing;   /* listeners whose end is waited for */
	unsigned next_polls; /* the worker, modulo their number, that gets the next listener */
	uint64_t numbers;    /* generations so far */
	uint64_t reloads_failed;
	struct wall_time started, reloaded;
	struct instant started_at;
	/* Apps that an operator has stopped and that still have requests, and sessions that are demoted. */
	struct list stops, demotions;
	struct net_timer stops_look;
};

static inline const struct conf *daemon_conf(const struct daemon *d)
{
	return d->gateway.generation->conf;
}

/* --- daemon.c --- */

/* TERM. */
void daemon_drain(struct daemon *d);

/* --- reload.c --- */

/* Takes over the first conf, in any case. ERR_NO_MEMORY. */
MUST_USE int reload_init(struct daemon *d, struct conf *first);
/* The first generation: what may need root, and the rest. What is wrong is said in `report`. */
MUST_USE int reload_first_find(struct daemon *d, struct buf *report);
MUST_USE int reload_first_fill(struct daemon *d);
/* All workers run: they get their listeners. */
void reload_first_listen(struct daemon *d);
/* HUP: now, or after the reload that is under way. */
void reload_signal(struct daemon *d);
/* The daemon ends: what is left of a reload is left out. `all`: session sockets too, for which no request is left. */
void reload_abandon(struct daemon *d, bool all);
/* All generations; no thread runs any more, and no mail is on its way. */
void reload_fini(struct daemon *d);

/* --- control.c --- */

void control_init(struct daemon *d);
/* The same; the stack has ended. */
void control_fini(struct daemon *d);

#endif
