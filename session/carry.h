/* Sessions on their way up and down (session/carry.c), on the stack's thread. For the files of the stack only. */
#ifndef WEIR_SESSION_CARRY_H
#define WEIR_SESSION_CARRY_H

#include "session/stack_state.h"

void carry_fetch(struct stack *s, const struct sess_id *id); /* the mail of a request */

/* Reads one session into memory, which must not have it. 0: it is there; ERR_GONE, ERR_MALFORMED, ERR_VERSION,
 * ERR_FULL, ERR_BROKEN, ERR_BUSY (it is on its way). */
int carry_up(struct stack *s, const struct sess_id *id);

/* Moves one session down that is in memory. 0, or as sess_table_collect_one(); ERR_FULL, ERR_BROKEN. */
int carry_down(struct stack *s, const struct sess_id *id);

/* One batch of what nobody uses. *done: how many have left, or with why->once were refused. 0: with a *done of 0 there
 * are no more; ERR_FULL, ERR_NO_MEMORY (some were refused, or the batch was); ERR_BROKEN. */
int carry_down_some(struct stack *s, const struct sess_reason *why, uint64_t *done);

enum { CARRY_LOW_PERCENT = 85 }; /* of memory's bound: so far it is emptied when it is tight */

/* One batch of what the evicter wants moved, and that makes room for `more_bytes`. How many have left; 0: no more do
 * for now. */
uint64_t carry_down_evicted(struct stack *s, uint64_t more_bytes);

/* Whether a store that was full has room again, for what has ended or expired there. */
void carry_look_full(struct stack *s);

/* The number of the record's app. As stack_app(). */
int carry_app(struct stack *s, const struct sess_record *r, uint16_t *out);

#endif
