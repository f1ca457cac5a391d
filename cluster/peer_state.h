/* What cluster/peer*.c share: the set of nodes, whom to dial, and the connections. Private to them.
 *
 *   peers --owns--> peer (a node by name) --borrows--> conn that is open, one a kind of link
 *         --owns--> target (an address)   --borrows--> conn that is being dialled, one a kind
 *         --owns--> conn, which dies in its stream's `closed` */
#ifndef WEIR_CLUSTER_PEER_STATE_H
#define WEIR_CLUSTER_PEER_STATE_H

#include "base/list.h"
#include "base/name.h"
#include "cluster/peer.h"
#include "cluster/peer_policy.h"
#include "net/stream.h"
#include "tls/tls.h"

enum {
	PEER_LINGER_MS = 1000,          /* for the other side to read a GOODBYE */
	PEER_LOOK_MS = 100,             /* how often deadlines are looked at */
	PEER_BACKLOG_BYTES = 256 << 10, /* encrypted and not taken by the kernel: then frames wait in their queue */
};

/* DIALLED: CONNECTS --> SHAKES --> GREETS --> OPEN --> LINGERS --> GONE     Any state may go to GONE at once,
 * others:               SHAKES --> GREETS --> OPEN --> LINGERS --> GONE     and to LINGERS when TLS is up. */
enum conn_state { CONN_CONNECTS, CONN_SHAKES, CONN_GREETS, CONN_OPEN, CONN_LINGERS, CONN_GONE };

struct queued {
	struct list link;
	enum peer_type type;
	size_t body_bytes, len; /* len: with its head */
	uint8_t body[];
};

struct conn {
	struct net_stream stream;
	struct list link; /* in peers->conns */
	struct peers *peers;
	struct target *target; /* that has dialled it, while it wants it; NULL: the other side has, or forgotten */
	struct peer *peer;     /* from OPEN on */
	enum conn_state state;
	enum peer_link kind;
	uint64_t number; /* among all that there ever were */
	bool dialled;
	struct list greeter; /* in peers->greeters */
	bool gives_way;      /* to another connection of the pair: the node is not down */
	bool judged_by_old;  /* its handshake had begun before a reload */
	bool renew;          /* what its HELLO has said holds no more */
	uint64_t said;       /* our incarnation in its HELLO */
	uint64_t dead;       /* who is, if the host refuses */
	char address[64];    /* of the other side, for the log */
	struct tls_channel *tls;
	struct peer_decoder decoder;
	struct buf plain; /* decrypted, not a whole frame yet */
	struct peer_window in, out;
	uint64_t sequence;                    /* of the last frame sent */
	uint64_t first_beat_us, last_beat_us; /* sent, by clock_lease_us(); 0: none */
	struct instant since, deadline, heard;
	struct list queue; /* of struct queued */
	size_t queued_bytes, control_bytes, report_bytes;
	bool refused_some; /* drained is owed */
};

struct link_record {
	struct conn *open;
	struct peers_link_status s; /* what outlives a connection */
	uint64_t opened;
	char last_failure[96];
};

struct peer {
	char name_text[NAME_BYTES_MAX + 1];
	struct view name;
	uint64_t incarnation; /* 0: never up */
	uint64_t epoch;       /* that it has said */
	bool up;              /* said to the owner, and not yet that it is down */
	bool silence_told;
	bool wanted;
	struct instant heard, missing_since;
	uint64_t forbidden[PEERS_FORBIDDEN_MAX];
	unsigned forbidden_next;
	uint64_t beat_sent_us, beat_at_us; /* of the last BEAT heard: its time, and ours (clock_lease_us()) */
	uint64_t round_us;
	struct link_record links[PEER_LINKS];
};

struct dial {
	struct net_timer timer;
	struct target *target;
	struct conn *conn;
	unsigned failures;
};

struct target {
	struct peers *peers;
	struct net_address to;
	char address[64];
	char name[NAME_BYTES_MAX + 1];    /* "": whoever */
	char learned[NAME_BYTES_MAX + 1]; /* who was there last */
	struct dial dials[PEER_LINKS];
	bool stays; /* while peers_want() sorts out */
};

enum { PEER_KINDS_OF_REFUSAL = 32 };

struct refusals {
	struct instant next;
	bool said, waits;  /* waits: the last one that was left out, to be written when `next` has come */
	unsigned left_out; /* before that */
	char reason[96], detail[TLS_DETAIL_BYTES], address[64], name[NAME_BYTES_MAX + 1];
};

struct peers {
	struct net_loop *loop;
	struct tls_context *context;
	const struct peers_ops *ops;
	void *owner;
	char name_text[NAME_BYTES_MAX + 1];
	struct view name;
	uint64_t incarnation, failure_ms, beat_ms, random;
	struct peer **peers; /* by name */
	size_t peer_count, peer_room;
	struct target **targets;
	size_t target_count;
	struct list conns;
	size_t conn_count;
	uint64_t conns_made;
	struct list greeters; /* conns that were accepted and are not open */
	unsigned greeting;    /* how many */
	uv_poll_t listener;
	int listen_fd;
	bool listening, listener_paused, stopping;
	struct net_timer beat, look, redial;
	struct instant last_beat;
	struct buf scratch, heard; /* used within a call */
	struct refusals refusals[PEER_KINDS_OF_REFUSAL];
	struct mail gone; /* posted when nothing is left */
};

#endif
