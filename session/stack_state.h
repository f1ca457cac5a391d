/* The inside of the stack, shared by stack.c (what requests call), mover.c (its thread), carry.c (sessions up and
 * down), below.c (the store below) and operate.c (what operators ask). Nobody else includes this.
 *
 * Who may touch what: the table has its own locks; `lock` guards what it says; all that is behind "the thread" belongs
 * to the stack's thread alone, which is also the only one that uses the store below. */
#ifndef WEIR_SESSION_STACK_STATE_H
#define WEIR_SESSION_STACK_STATE_H

#include "base/mailbox.h"
#include "session/move.h"
#include "session/stack.h"

#include <pthread.h>
#include <stdatomic.h>

/* Sessions that move down together: so many, or of so many bytes. */
enum { MOVER_BATCH = 512, MOVER_BATCH_BYTES = 4 << 20 };

enum { HIGH_PERCENT = 90 }; /* of memory's bound: above it memory is tight, and the thread is told */

/* What a reload may change. */
struct stack_settings {
	uint64_t max_pinned;
	const struct evict_kind *evict;
	struct evict_limits limits;
	struct store_options store; /* its dir is owned by the stack */
};

/* A look-up below; made by stack_open(), freed by the thread. */
struct stack_fetch {
	struct mail mail;
	struct stack *stack;
	struct sess_id id;
};

/* A session has ended, and what is below of it must go. The same. */
struct stack_forget {
	struct mail mail;
	struct stack *stack;
	struct sess_id id;
	struct stack_wait *wait; /* borrowed; guarded by the stack's lock; NULL: nobody waits (any more) */
};

struct stack {
	struct sess_table *table; /* owned */
	struct sess_keys keys;
	const struct store_kind *below; /* NULL: memory only */
	char *dir;                      /* owned */
	bool (*may_expire)(void *arg);  /* NULL: always */
	void *arg;                      /* borrowed */

	pthread_mutex_t lock;
	struct stack_settings settings;
	bool settings_changed;
	bool ending; /* no job is taken any more */
	char **apps; /* owned; names by number */
	uint32_t app_count;
	struct list room;         /* of struct stack_wait: requests that wait for room in memory */
	struct stack_stats stats; /* what the thread knows; of the table's part nothing */

	/* waking the thread */
	struct mailbox inbox;
	pthread_mutex_t wake_lock;
	pthread_cond_t wake;
	bool awake;         /* guarded by wake_lock */
	atomic_bool nudged; /* memory is nearly full, and the thread was told */
	atomic_bool hurry;  /* the end, without demoting */
	atomic_bool usable; /* the store below takes what memory has too much of */
	atomic_bool full;   /* somebody found no room in memory, and that was logged */

	pthread_t thread;
	bool running; /* there is a thread */
	struct mail stop_mail;
	bool stop_demote;
	void (*stopped)(void *arg);
	void *stopped_arg;

	/* the thread */
	struct store *store; /* owned; NULL: not open */
	struct stack_settings now_settings;
	int64_t ahead_s; /* what the calendar is ahead of the table's seconds: it was set since these began */
	struct instant retry_at, trouble_at, tended_at;
	uint64_t retry_ms;
	struct instant
	    full_until; /* it has refused sessions for want of room, and is not asked before this; 0: it has room */
	uint64_t full_bytes;   /* what it held then */
	char trouble[160];     /* as last logged */
	struct list forgotten; /* of struct stack_forget: removed in the batch that is under way */
	struct list jobs;      /* of struct stack_job: under way, borrowed */
	bool stopping, tight, expiring;
	uint32_t next_shard;
	struct buf space; /* of a record that is read */
	struct sess_leaver batch[MOVER_BATCH];
};

/* Any thread. */
void stack_wake(struct stack *s);

void stack_count(struct stack *s, uint64_t *counter, uint64_t n); /* one of s->stats */

/* Somebody found no room in memory, and none will come for him. Logged once, until it has room again. */
void stack_say_full(struct stack *s);

/* --- the thread, mover.c --- */

void *mover_run(void *stack);

/* --- the thread, operate.c --- */

/* A piece of one job. True: there is more to do. */
bool operate_some(struct stack *s);
void operate_give_up(struct stack *s);

#endif
