/* A hierarchical timer wheel: start and stop in constant time, firing cost only for what is due. Pure: the time is
 * handed in. Nodes are embedded by the caller, who owns them; a node must be stopped before its memory goes.
 *
 * Ticks are in a unit that the caller chooses (weir: 10 ms for timers of a worker, 1 s for expiry of sessions).
 * A timer never fires before its tick. Timers of one tick fire in the order in which they were started.
 *
 * A tick is read as digits of 8 bits. A timer lies on the level of the highest digit in which its tick differs from
 * `now`, in the slot of that digit's value; so a slot's level follows from the tick alone, a level's slots are all
 * later than those of the level below, and each timer moves down at most once a level. */
#ifndef WEIR_BASE_WHEEL_H
#define WEIR_BASE_WHEEL_H

#include "base/list.h"

#include <stdint.h>

enum { WHEEL_LEVELS = 4, WHEEL_BITS = 8, WHEEL_SLOTS = 1 << WHEEL_BITS };

/* Timers that one wheel_next() moves down at most: a slot may hold a million. */
enum { WHEEL_SPREAD_MAX = 1024 };

struct wheel_node {
	struct list link; /* linked while the timer runs */
	uint64_t due;     /* tick at which it fires */
};

struct wheel {
	uint64_t now;                                      /* tick up to which everything has fired */
	uint64_t count;                                    /* timers that run */
	uint64_t occupied[WHEEL_LEVELS][WHEEL_SLOTS / 64]; /* one bit a slot that holds nodes */
	struct list slot[WHEEL_LEVELS][WHEEL_SLOTS];
	struct list far; /* beyond the highest level */
	struct list
	    spreading;       /* of a slot that `now` has reached, still to move down; then what was started meanwhile */
	struct list expired; /* due, not yet handed out */
};

void wheel_init(struct wheel *w, uint64_t now);

/* The node may be running: it is moved. A `due` that is not after w->now fires at the next wheel_next(), after what is
 * due already. */
void wheel_start(struct wheel *w, struct wheel_node *n, uint64_t due);
void wheel_stop(struct wheel *w, struct wheel_node *n);

static inline void wheel_node_init(struct wheel_node *n)
{
	list_init(&n->link);
	n->due = 0;
}

static inline bool wheel_running(const struct wheel_node *n)
{
	return list_linked(&n->link);
}

/* Advances towards `now` as far as needed and returns one node that is due, already stopped. NULL when none is left, or
 * when this call has moved enough timers down already: then wheel_wait() is 0, call again, at best after other work.
 * To stop earlier is fine: the rest stays due. A `now` before w->now counts as w->now. */
struct wheel_node *wheel_next(struct wheel *w, uint64_t now);

/* Ticks from w->now until the wheel needs to look again; 0 when there is work now, UINT64_MAX when empty.
 * It may be earlier than the first timer (when a coarse slot has to be spread), never later. */
uint64_t wheel_wait(const struct wheel *w);

#endif
