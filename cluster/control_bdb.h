/* The policy `bdb` (doc/cluster.md, "Control plane"): private to cluster/control_bdb*.c.
 *
 *   control_bdb_parts.h    what these files have for each other
 *   control_bdb.c          the owner's side: mails in and out, names, start and stop
 *   control_bdb_run.c      the two threads
 *   control_bdb_term.c     who rules: elections, terms, promises
 *   control_bdb_agree.c    what is agreed: records, and who has stored them
 *   control_bdb_store.c    Berkeley DB: its environment, its messages, its errors
 *   control_bdb_promise.c  the file of what this node has promised
 *
 *   FOLDER/lock      the process that has it
 *   FOLDER/promise   `struct control_promise`
 *   FOLDER/db        Berkeley DB's environment; the replicated database is db/control.db
 *   FOLDER/damaged   the last one that was damaged
 *
 * Fields belong to weir-control, but those under `lock`, and those of the owner's thread. */
#ifndef WEIR_CLUSTER_CONTROL_BDB_H
#define WEIR_CLUSTER_CONTROL_BDB_H

#include "base/clock.h"
#include "base/mailbox.h"
#include "cluster/control.h"
#include "cluster/control_bytes.h"

#include <db.h>
#include <limits.h>

enum {
	BDB_PEERS = 64, /* names at a time; a peer's number is Berkeley DB's id of it; 0: this node */
	BDB_WHY = 200,
	BDB_QUEUE_BYTES = 4 << 20, /* of a peer's messages that wait; more are dropped, as by a bad network */
	BDB_AGAIN_MS = 50,         /* until what was not answered is said again */
};

enum bdb_role {
	BDB_LEADERLESS,
	BDB_FOLLOWS,
	BDB_ASKS,     /* Berkeley DB's election has named it, a majority has yet to promise */
	BDB_CONFIRMS, /* a majority has promised; what it knows is written anew, and no majority has stored that yet */
	BDB_RULES,
	BDB_BROKEN,
};

/* What weir-control has to look at; bits that need no memory. What Berkeley DB has told: */
enum {
	BDB_EVENT_ELECTED = 1,
	BDB_EVENT_STORED = 2,
	BDB_EVENT_JOIN_FAILURE = 4,
	BDB_EVENT_PANIC = 8,
	/* What the owner has. */
	BDB_EVENT_REACHED = 16,
	BDB_EVENT_VOTERS = 32,
	BDB_EVENT_STEP_DOWN = 64,
};

enum bdb_tell { BDB_COORDINATES, BDB_FOLLOWS_NAME, BDB_NOBODY, BDB_COMMITTED, BDB_LOST, BDB_LEARNT };

struct bdb_name {
	uint8_t len;
	uint8_t bytes[CONTROL_NAME_MAX];
};

struct bdb_peer {
	bool there, voter, heard; /* heard: the next four are of this link */
	enum control_standing standing;
	uint64_t term;
	struct control_rank rank;
	uint64_t promised; /* this term, to us */
	bool refused;      /* the term that we ask for */
	bool malformed;    /* it has sent what cannot be: that was logged, once for each link */
	uint64_t stored;   /* the record of our term that it has */
};

/* Kept ready, for want of memory. */
struct bdb_last_mail {
	struct mail mail;
	struct control *c;
	char why[BDB_WHY];
};

struct control {
	/* The owner's thread. */
	const struct control_ops *ops; /* borrowed */
	void *owner;                   /* borrowed */
	struct net_loop *loop;         /* borrowed */
	void (*stopped)(void *owner);
	bool stopping;
	pthread_t thread;
	struct bdb_last_mail broken, end;

	/* Any thread. */
	pthread_mutex_t lock;
	pthread_cond_t wake;                        /* of weir-control */
	struct mailbox inbox;                       /* to weir-control */
	bool awake;                                 /* lock: there is something for weir-control */
	bool ending;                                /* lock */
	unsigned events;                            /* lock */
	struct bdb_name names[BDB_PEERS];           /* lock; an empty one is free */
	bool there[BDB_PEERS];                      /* lock: as the owner has it */
	bool was_away[BDB_PEERS];                   /* lock: it was not, since weir-control has looked */
	uint32_t link[BDB_PEERS];                   /* lock: counts the links to it */
	struct bdb_name voters[CONTROL_VOTERS_MAX]; /* lock: that the owner has told */
	unsigned voter_count;                       /* lock */
	struct control_frame head;                  /* lock: what stands in the head of each frame */
	bool mute;                                  /* lock: what Berkeley DB sends does not leave */
	size_t queued[BDB_PEERS];                   /* lock: bytes in the inbox, for each peer */
	unsigned elect_sites, elect_votes;          /* lock: an election is wanted or under way; 0: none is */
	pthread_cond_t elect_wake;                  /* of weir-elect; and of who waits for it */
	char why[BDB_WHY];                          /* lock: what Berkeley DB said first of what is wrong */
	int panic;                                  /* lock */

	/* weir-control. */
	char folder[PATH_MAX];
	int lock_fd;    /* owned */
	int promise_fd; /* owned; -1: none */
	DB_ENV *env;    /* owned; NULL: none */
	DB *db;         /* owned; NULL: not open */
	pthread_t elect_thread;
	uint64_t failure_ms, election_ms;
	unsigned priority;

	enum bdb_role role;
	unsigned ruler;       /* a peer; of FOLLOWS */
	unsigned promised_to; /* who has the promise of promise.term */
	uint64_t seen_term;   /* the latest of which anybody has told */
	struct control_promise promise;
	bool record_known;        /* otherwise Berkeley DB is about to make it the same as the ruler's */
	struct control_rank rank; /* of the record that is stored here; 0, 0: none */
	struct bdb_peer peers[BDB_PEERS];
	bool is_alone;       /* the only voter, as far as the owner knows */
	bool is_new;         /* there was no promise file, sound or not */
	unsigned unnumbered; /* voters that have no number, for want of free ones; they count all the same */
	bool has_voters;     /* its voters are of a record, which knows better than the owner */

	/* Of a ruler: the record that waits for a majority. */
	bool pending;
	struct control_rank pending_rank;
	struct buf pending_bytes; /* the view */
	struct instant deadline;  /* of it, or of who asks */

	uint64_t announced; /* the record of this term that the ruler has told is agreed */
	struct instant elect_at, again_at;
	bool told_leaderless;
	bool stands_back;       /* the owner has stepped down, and nobody has ruled since */
	struct instant back_at; /* it does so no longer */
	struct buf scratch;
};

#endif
