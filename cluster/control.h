/* The control plane: who coordinates, and which view is agreed on (doc/cluster.md, "Control plane"). A policy behind a
 * row of functions: `alone` and `bdb`; tests have a simulated one.
 *
 * Nothing here blocks. What it has to tell comes through `ops`, on the thread that has made it, from a mail in that
 * thread's loop or from inside a call; what has to leave for other nodes too. */
#ifndef WEIR_CLUSTER_CONTROL_H
#define WEIR_CLUSTER_CONTROL_H

#include "base/compiler.h"
#include "base/view.h"

struct net_loop;

struct control;

struct control_ops {
	/* This node coordinates from now on. `agreed` is the view that a majority has stored under this very
	 * coordinator: nothing that was ever agreed is newer. It may be one that was `lost` for who proposed it. Empty:
	 * there is none. Views are proposed only after this. */
	void (*coordinates)(void *owner, struct view agreed);
	/* Another one does. */
	void (*follows)(void *owner, struct view name);
	/* Nobody does, as far as is known: an election is under way, or has failed. */
	void (*leaderless)(void *owner);
	/* The view that was proposed has a majority. */
	void (*committed)(void *owner, struct view bytes);
	/* It has none and will not get one: this node does not coordinate any more (leaderless or follows comes too).
	 */
	void (*lost)(void *owner, struct view bytes);
	/* A view that another coordinator has got agreed, as this node's database has it; to begin with, that of before
	 * the start. The same one may come again. */
	void (*learnt)(void *owner, struct view bytes);
	/* Bytes for another node's control_message(); empty name: for all voters that are reached. False: it did not
	 * leave, and the sender asks again. */
	bool (*send)(void *owner, struct view name, struct view bytes);
	/* It cannot go on, `why` is one line. Nothing else is told after it; stop() frees what is left. */
	void (*broken)(void *owner, const char *why);
};

struct control_settings {
	const char *folder; /* of its database; owned by this node alone. Unused: alone */
	struct view self;   /* name */
	unsigned priority; /* 1 and more: the greater one wins where both know as much; 0: coordinates only where nobody
			      else knows as much */
	uint64_t failure_ms;       /* a proposal without a majority within that time is lost */
	uint64_t election_ms;      /* how long one may wait for those that do not answer */
	const struct view *voters; /* names, in their order; self may be among them */
	unsigned voter_count;
};

struct control_kind {
	const char *name;
	/* The settings are read, not kept. 0, ERR_NO_MEMORY, or ERR_BROKEN with a line in `why` (200 bytes). */
	int (*start)(struct control **out, const struct control_settings *s, const struct control_ops *ops, void *owner,
		     struct net_loop *loop, char why[200]);
	/* The link to a voter, or to one that is about to be one, is there, or is there no more. What comes from others
	 * is dropped. */
	void (*reached)(struct control *c, struct view name, bool there);
	void (*message)(struct control *c, struct view from, struct view bytes);
	/* Only while it coordinates, one at a time. The voters in the view count for this proposal already when their
	 * number grows or shrinks by one. */
	void (*propose)(struct control *c, struct view bytes, const struct view *voters, unsigned voter_count);
	/* Not coordinator any more: it hears no majority, or leaves. It stands for election again once another one has
	 * coordinated, or failure_ms has passed. */
	void (*step_down)(struct control *c);
	/* The voters of a view that was installed elsewhere: they count while there is none in the own database. */
	void (*voters)(struct control *c, const struct view *voters, unsigned voter_count);
	/* No function of ops is called after this but `stopped`, in a later turn: then it is freed. */
	void (*stop)(struct control *c, void (*stopped)(void *owner));
};

extern const struct control_kind control_alone, control_bdb;

#endif
