/* Links to the other nodes: two TLS connections a pair (doc/peer-protocol.md). Listens, dials whom its owner wants,
 * says HELLO, sends heartbeats, notices who has gone, and carries frames with credits and bounded queues.
 *
 * One `struct peers` belongs to one loop's thread, and so do all functions and events here. Who is a member, and what a
 * frame means, is its owner's. */
#ifndef WEIR_CLUSTER_PEER_H
#define WEIR_CLUSTER_PEER_H

#include "base/clock.h"
#include "base/compiler.h"
#include "proto/peer.h"

struct net_loop;
struct tls_context;

enum {
	PEERS_MAX = 2048,            /* nodes that are known at a time */
	PEERS_GREETING_MAX = 64,     /* connections that others have dialled and that are not open yet */
	PEERS_GREETING_EACH = 16,    /* of these from one address: nobody takes all places */
	PEERS_CONTROL_MAX = 4 << 20, /* bytes of CONTROL that wait for one node */
	PEERS_REPORT_MAX = 256 << 10,
	PEERS_FORBIDDEN_MAX = 8, /* the last incarnations of a name that are refused */
};

enum peers_why {
	PEERS_REFUSED, /* there is no link, and its host refuses the connection: its process is dead */
	PEERS_CLOSED,  /* the control link has ended; it is dialled again */
	PEERS_SILENT,  /* nothing was heard for the failure-timeout */
	PEERS_LEAVING, /* it has said that its process ends */
	PEERS_REMOVED, /* it refuses this incarnation of ours, which was taken out of the view */
};

const char *peers_why_text(enum peers_why why);

/* Views are good until the event returns. In all of them but the questions hello, epoch, heard and dials, all functions
 * of this header may be called. */
struct peers_ops {
	/* What HELLO says of this node; versions, link, name and incarnation are set already. Borrowed until the
	 * event returns. */
	void (*hello)(void *owner, struct peer_hello *out);
	uint64_t (*epoch)(void *owner); /* installed: for BEAT */
	/* The names that the next BEAT to `to` says we hear: peer_heard_put(). */
	void (*heard)(void *owner, struct view to, struct buf *out);
	/* Who is at the address of a target without a name, by its certificate; it may be this node itself. */
	void (*named)(void *owner, struct view address, struct view name);
	/* Dialling begins: the incarnation that is dead if the host refuses; 0: none is known to be there. */
	uint64_t (*dials)(void *owner, struct view name, struct view address);
	/* The control link is open. Also when a new incarnation has come, or another connection has taken the place of
	 * the one that was: what was under way may be lost then. */
	void (*up)(void *owner, const struct peer_hello *hello);
	/* CLOSED, and REFUSED or SILENT after it when it turns out so; up may come in between. REFUSED comes with each
	 * attempt that is refused, with what `dials` has said; REMOVED with each that is told so. Of a node that was
	 * never up the incarnation is 0. */
	void (*down)(void *owner, struct view name, uint64_t incarnation, enum peers_why why);
	/* VIEW, CONTROL, REPORT. False: it is dealt with later, and peers_dealt() will say so; the sender waits for
	 * that when there is much of it. */
	bool (*frame)(void *owner, struct view name, uint64_t incarnation, enum peer_type type, struct view body);
	/* `confirmed`: when our beat that it echoes had left us; .ms 0: it echoes none of this connection. */
	void (*beat)(void *owner, struct view name, uint64_t incarnation, const struct peer_beat *beat,
		     struct lease_time confirmed);
	/* A frame was refused with ERR_BUSY, and there is room again. */
	void (*drained)(void *owner, struct view name, enum peer_link link);
	/* After peers_stop(): nothing is left of it. */
	void (*stopped)(void *owner);
};

struct peers_settings {
	struct view self;     /* name, as in its certificate */
	uint64_t incarnation; /* not 0 */
	uint64_t failure_ms;  /* failure-timeout */
	uint64_t seed;        /* of the random part of waiting */
	int listen_fd;        /* a listening, non-blocking TCP socket, owned from now on; -1: it only dials */
};

struct peers;

/* Settings are copied; `ops` and `owner` are borrowed, the context is counted. 0, ERR_NO_MEMORY or ERR_SYSTEM; the
 * listening socket is closed then. */
MUST_USE int peers_start(struct peers **out, struct net_loop *loop, const struct peers_settings *s,
			 struct tls_context *context, const struct peers_ops *ops, void *owner);
/* Says GOODBYE to all; `stopped` comes in a later turn, and no other event any more. */
void peers_stop(struct peers *p);
/* New connections use it. Those that are there stay as they are, also when a certificate of theirs has expired since;
 * but who is revoked by it, or of an authority that it does not know, has none any more. */
void peers_reload(struct peers *p, struct tls_context *context);

struct peers_target {
	struct view address; /* numeric "ADDR:PORT" or "[ADDR]:PORT"; names of hosts are not looked up */
	struct view name;    /* empty: whoever of the cluster is there */
};

/* Whom to dial from now on, in place of those before. Links to others stay. 0; ERR_MALFORMED: an address or a name is
 * none; ERR_NO_MEMORY. On failure all is as before. */
MUST_USE int peers_want(struct peers *p, const struct peers_target *targets, size_t count);

/* 0; ERR_CLOSED: there is no link; ERR_BUSY: too much waits, `drained` will come; ERR_NO_MEMORY. A VIEW takes the place
 * of one that still waits, and is never refused as busy. VIEW, CONTROL and REPORT only. */
MUST_USE int peers_send(struct peers *p, struct view name, enum peer_type type, struct view body);
/* The number of the connection that is the link now; 0: none. In ops->frame, the one that the frame has come on. */
uint64_t peers_connection(const struct peers *p, struct view name, enum peer_link link);
/* What ops->frame has put off: bodies of so many bytes in so many frames that came on this connection. Nothing happens
 * when it is there no more: the next one has credits of its own. */
void peers_dealt(struct peers *p, struct view name, uint64_t connection, enum peer_link link, size_t body_bytes,
		 size_t frames);
/* That incarnation is let in no more; its links end with GOODBYE `removed`. ERR_NO_MEMORY. */
MUST_USE int peers_forbid(struct peers *p, struct view name, uint64_t incarnation);
/* The links to that incarnation end with this GOODBYE; `down` says so with CLOSED. */
void peers_drop(struct peers *p, struct view name, uint64_t incarnation, enum peer_goodbye_reason reason);
/* The same with `malformed`, for what only the owner can see, and with a line that says why. */
void peers_refuse(struct peers *p, struct view name, uint64_t incarnation, const char *why);
/* HELLO says something else from now on: control links are made anew, one after the other. */
void peers_redial(struct peers *p);
/* This node is another one from now on: all links are made anew, at once. */
void peers_reincarnate(struct peers *p, uint64_t incarnation);
bool peers_is_up(const struct peers *p, struct view name);
uint64_t peers_incarnation(const struct peers *p, struct view name); /* that is linked; 0: none */

struct peers_link_status {
	const char *state; /* "none", "dialling", "open" */
	struct instant since;
	bool dialled;                                        /* by us */
	bool resumed;                                        /* TLS's shortened handshake */
	uint64_t bytes_in, bytes_out, frames_in, frames_out; /* of all connections of this link */
	uint64_t queued_bytes;
	uint32_t credit;          /* left to send with */
	uint64_t reconnects;      /* opened again */
	const char *last_failure; /* "": none */
};

struct peers_status {
	struct view name;
	uint64_t incarnation; /* 0: never up */
	uint64_t epoch;       /* that it has said last */
	uint64_t round_us;    /* 0: not known */
	struct instant heard;
	struct peers_link_status links[PEER_LINKS];
};

/* Each node that is known, by name. */
void peers_each(const struct peers *p, void (*each)(void *arg, const struct peers_status *s), void *arg);

#endif
