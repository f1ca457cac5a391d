/* The timer wheel: placing, stopping, moving down, firing. Pure.
 *
 * What holds between calls: a node that runs is in `spreading`; or in `expired` if its tick is not after `now`; or in
 * the slot that level_of() and its tick name. A slot's bit is set exactly when the slot holds nodes. `now` never passes
 * a slot's first tick without emptying the slot into `spreading`, and stays there until `spreading` is empty; so no
 * node has to know its level, and nodes of one tick never change their order. */
#include "base/wheel.h"

#include "base/invariant.h"

#include <string.h>

enum { WORD_BITS = 64, DIGIT_MASK = WHEEL_SLOTS - 1 };

#define WHEEL_SPAN (UINT64_C(1) << (WHEEL_BITS * WHEEL_LEVELS)) /* ticks that all levels cover */

static inline unsigned digit_of(uint64_t tick, unsigned level)
{
	return (unsigned)(tick >> (WHEEL_BITS * level)) & DIGIT_MASK;
}

/* The highest digit in which the two differ; WHEEL_LEVELS or more: far. They do differ. */
static inline unsigned level_of(uint64_t a, uint64_t b)
{
	return (unsigned)(WORD_BITS - 1 - __builtin_clzll(a ^ b)) / WHEEL_BITS;
}

static inline void slot_mark(struct wheel *w, unsigned level, unsigned index)
{
	w->occupied[level][index / WORD_BITS] |= UINT64_C(1) << (index % WORD_BITS);
}

static inline void slot_clear(struct wheel *w, unsigned level, unsigned index)
{
	w->occupied[level][index / WORD_BITS] &= ~(UINT64_C(1) << (index % WORD_BITS));
}

static void place(struct wheel *w, struct wheel_node *n)
{
	if (n->due <= w->now) {
		list_append(&w->expired, &n->link);
		return;
	}
	unsigned level = level_of(n->due, w->now);
	if (level >= WHEEL_LEVELS) {
		list_append(&w->far, &n->link);
		return;
	}
	unsigned index = digit_of(n->due, level);
	list_append(&w->slot[level][index], &n->link);
	slot_mark(w, level, index);
}

void wheel_init(struct wheel *w, uint64_t now)
{
	w->now = now;
	w->count = 0;
	memset(w->occupied, 0, sizeof(w->occupied));
	for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
		for (unsigned index = 0; index < WHEEL_SLOTS; index++)
			list_init(&w->slot[level][index]);
	}
	list_init(&w->far);
	list_init(&w->spreading);
	list_init(&w->expired);
}

void wheel_start(struct wheel *w, struct wheel_node *n, uint64_t due)
{
	wheel_stop(w, n);
	n->due = due;
	if (list_empty(&w->spreading))
		place(w, n);
	else
		list_append(&w->spreading, &n->link); /* not before what was started earlier */
	w->count++;
}

void wheel_stop(struct wheel *w, struct wheel_node *n)
{
	if (!wheel_running(n))
		return;
	INVARIANT(w->count > 0);
	list_remove(&n->link);
	w->count--;
	if (n->due <= w->now)
		return;
	unsigned level = level_of(n->due, w->now);
	if (level >= WHEEL_LEVELS)
		return;
	unsigned index = digit_of(n->due, level);
	if (list_empty(&w->slot[level][index]))
		slot_clear(w, level, index);
}

/* The first occupied slot of the level after `index`; WHEEL_SLOTS: none. */
static unsigned slot_after(const struct wheel *w, unsigned level, unsigned index)
{
	unsigned from = index + 1;

	for (unsigned word = from / WORD_BITS; word < WHEEL_SLOTS / WORD_BITS; word++) {
		uint64_t bits = w->occupied[level][word];
		if (word == from / WORD_BITS)
			bits &= UINT64_MAX << (from % WORD_BITS);
		if (bits)
			return word * WORD_BITS + (unsigned)__builtin_ctzll(bits);
	}
	return WHEEL_SLOTS;
}

uint64_t wheel_wait(const struct wheel *w)
{
	if (!list_empty(&w->expired) || !list_empty(&w->spreading))
		return 0;
	for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
		unsigned digit = digit_of(w->now, level);
		unsigned index = slot_after(w, level, digit);
		uint64_t below = (UINT64_C(1) << (WHEEL_BITS * level)) - 1;
		if (index < WHEEL_SLOTS)
			return ((uint64_t)(index - digit) << (WHEEL_BITS * level)) - (w->now & below);
	}
	if (!list_empty(&w->far))
		return WHEEL_SPAN - (w->now & (WHEEL_SPAN - 1));
	return UINT64_MAX;
}

/* `now` has just become the first tick of at least one slot. At most one of the lists taken here holds nodes: those of
 * the levels below are of the digits that have just ended. */
static void enter(struct wheel *w)
{
	INVARIANT(list_empty(&w->spreading));
	INVARIANT(list_empty(&w->expired));
	if ((w->now & (WHEEL_SPAN - 1)) == 0)
		list_move_all(&w->spreading, &w->far);
	for (unsigned level = WHEEL_LEVELS; level-- > 0;) {
		uint64_t below = (UINT64_C(1) << (WHEEL_BITS * level)) - 1;
		unsigned index = digit_of(w->now, level);
		if ((w->now & below) != 0)
			continue;
		slot_clear(w, level, index);
		list_move_all(level > 0 ? &w->spreading : &w->expired, &w->slot[level][index]);
	}
}

/* Moves nodes down, no more than *budget, which is lessened. */
static void spread(struct wheel *w, unsigned *budget)
{
	struct list *node;

	while (*budget > 0 && (node = list_pop(&w->spreading))) {
		place(w, CONTAINER_OF(node, struct wheel_node, link));
		(*budget)--;
	}
}

struct wheel_node *wheel_next(struct wheel *w, uint64_t now)
{
	unsigned budget = WHEEL_SPREAD_MAX;

	while (list_empty(&w->expired)) {
		spread(w, &budget);
		if (!list_empty(&w->spreading) || !list_empty(&w->expired) || w->now >= now)
			break;
		uint64_t wait = wheel_wait(w);
		if (wait > now - w->now) {
			w->now = now;
			break;
		}
		w->now += wait;
		enter(w);
	}
	struct list *first = list_pop(&w->expired);
	if (!first)
		return NULL;
	w->count--;
	return CONTAINER_OF(first, struct wheel_node, link);
}
