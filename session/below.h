/* The store below, as the stack's thread has it (session/below.c). For the files of the stack only. */
#ifndef WEIR_SESSION_BELOW_H
#define WEIR_SESSION_BELOW_H

#include "session/stack_state.h"

void below_open(struct stack *s); /* when it is not open and its time has come */
void below_publish(struct stack *s);

/* Records have the calendar's times, and sessions in memory those of the table, which never jump (doc/stores.md). */
void below_look_at_clock(struct stack *s); /* whether the calendar was set */
void below_to_record(const struct stack *s, struct sess_record *r);
void below_from_record(const struct stack *s, struct sess_record *r);

/* What the store has said: ERR_BROKEN closes it, to be opened again later. Returns err. */
int below_result(struct stack *s, int err);

/* Reads one session into s->space, with the table's times. As `get` of the store, and ERR_GONE for what has ended or
 * expired. */
int below_read(struct stack *s, const struct sess_id *id, struct sess_record *out);

/* What has ended: the mail of a request, and the end of a batch that has removals. */
void below_forget(struct stack *s, struct stack_forget *f); /* f is taken */
void below_commit_forgotten(struct stack *s);
void below_lose_batch(struct stack *s, int err); /* it has come to nothing */

/* Ends one session in memory and below, and commits. ERR_NO_MEMORY: nothing has changed; ERR_BROKEN and others: what is
 * below is removed when the store can be used again. */
int below_end(struct stack *s, const struct sess_id *id);

/* A piece of what has ended in memory and is still below: sess_table_owed(). True: there is more. */
bool below_settle(struct stack *s);
bool below_owes(struct stack *s);

/* A piece of housekeeping, now and then: what has expired, and what the store has to do for itself. True: there is
 * more.
 */
bool below_tend(struct stack *s);

#endif
