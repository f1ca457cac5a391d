/* The inside of a session socket's connection, shared by gateway/socket_*.c only.
 *
 * A command that cannot be done at once says SOCKET_WAITS, after it has begun to wait. Its bytes stay in the input, and
 * when the wait is over it is run again from its first line; what it knows by then is in `task`. So a command changes
 * nothing before its last wait, or notes in the task that it has. */
#ifndef WEIR_GATEWAY_SOCKET_STATE_H
#define WEIR_GATEWAY_SOCKET_STATE_H

#include "gateway/socket_client.h"
#include "net/stream.h"
#include "proto/resp.h"
#include "session/claim.h"
#include "session/keylock.h"
#include "session/operate.h"

enum socket_result { SOCKET_DONE, SOCKET_WAITS };

enum socket_state { SOCKET_OPEN, SOCKET_ENDING, SOCKET_CLOSED };

/* What the command under way waits for. */
enum socket_wait {
	SOCKET_WAIT_NONE,
	SOCKET_WAIT_SESSION, /* for it to come from below: `waiter` */
	SOCKET_WAIT_STORE,   /* for what has ended to be gone from below, or for room: `stored` */
	SOCKET_WAIT_RETRY,   /* a moment, to try again */
	SOCKET_WAIT_LOCK,    /* `parked` */
	SOCKET_WAIT_JOB,     /* `job` */
};

/* What the command under way has done and learnt. Zeroed when it is done. */
struct socket_task {
	size_t at;          /* the argument that is its turn; 0: it has not begun */
	int64_t count;      /* the result so far */
	struct buf partial; /* the reply so far; owned */
	/* of the session that is its turn: */
	bool absent;      /* the store below does not have it; `placed` goes with that */
	bool unavailable; /* nobody can say */
	bool ended;       /* it is at its end, and only waits for that to be safe */
	bool was;         /* it was this command that has ended it */
	bool undoes;      /* what it has written must not be there: it ends it */
	bool asked_gone;  /* it has waited for what was below to go */
	uint64_t placed;
	/* of the whole: */
	bool timed_out; /* its patience is over */
	bool parked;    /* it has the lock, or had to give up */
	bool job_done;
	struct instant until; /* when its patience is over; 0: it has not waited yet */
};

struct socket_client {
	struct net_stream stream;
	struct worker *worker;          /* borrowed */
	struct listener *listener;      /* borrowed */
	const struct conf_listen *conf; /* of the worker's newest generation, or of `host` */
	struct generation_share *host;  /* hosted; NULL: its listener is in the newest generation */
	bool switches;                  /* to the newest, when what is under way is done; it has a host until then */
	struct list link;               /* in worker->socket_clients */
	enum socket_state state;
	enum resp_version version;
	bool authenticated;
	bool quits;                  /* after the reply under way */
	bool drains;                 /* after what has come of commands */
	bool mute;                   /* the client has said all, and may still listen */
	bool gone;                   /* it does not */
	bool paused;                 /* not read, because a command waits or replies are not taken */
	bool stream_closed;          /* CLOSED, and the stream is the client's again */
	struct buf in;               /* what has come and is not done, from the command under way on */
	size_t need;                 /* bytes of `in` at which it is worth to look again */
	struct buf unquoted;         /* words of an inline command */
	struct resp_command command; /* that under way: it is whole, and waits; or what has come of the next one */
	struct socket_task task;
	struct claim_touch touch; /* what it has read or written last */
	char *name;               /* CLIENT SETNAME; owned; NULL: none */

	/* MULTI */
	bool multi, multi_bad; /* bad: a command was refused, so EXEC does nothing */
	bool exec;             /* EXEC runs what is in `queue` */
	struct buf queue;      /* commands as they came; owned */
	size_t queue_count;
	size_t queue_at; /* bytes of it that are done */

	/* waiting; each `awaits` says that a mail may be on its way */
	enum socket_wait wait;
	struct net_timer timer;
	struct sess_waiter waiter;
	struct sess_hold hold;
	struct mail grant;
	bool awaits_grant;
	struct stack_wait store_wait;
	struct mail stored;
	bool awaits_store;
	struct keylock_owner locks;
	struct keylock_waiter *parked; /* owned; NULL: it has never parked */
	struct mail woken;
	bool awaits_lock;
	bool impatient; /* it was told nil for this lock, and is told so at once from now on: */
	struct sess_id impatient_of;
	struct stack_job *job; /* owned */
	struct mail job_mail;
	bool awaits_job;

	struct net_timer output; /* replies that nobody takes */
	uint64_t looked_bytes;
};

/* --- for commands --- */

const struct conf_app *socket_app(const struct socket_client *c);
uint16_t socket_stack_app(const struct socket_client *c);
struct stack *socket_stack(const struct socket_client *c);
struct instant socket_now(const struct socket_client *c);
struct buf *socket_out(struct socket_client *c); /* where the reply goes */
uint64_t socket_max_size(const struct socket_client *c);

/* --- waiting: socket_wait.c. Each returns SOCKET_WAITS, or DONE after an error reply --- */

void socket_wait_init(struct socket_client *c);
/* The session of this id: *found OPENED (`hold` has it until the command is done), or ABSENT or UNAVAILABLE. */
enum socket_result socket_open(struct socket_client *c, const struct sess_id *id, enum sess_open *found);
/* After STACK_WAITS, or after stack_await_room() and stack_await_gone(). */
enum socket_result socket_await_store(struct socket_client *c);
/* A moment. */
enum socket_result socket_await_moment(struct socket_client *c);
/* The client's lock; c->parked is filled in. task.parked afterwards. *taken: it has it at once. */
enum socket_result socket_await_lock(struct socket_client *c, bool *taken);
/* c->job is filled in. task.job_done afterwards. */
enum socket_result socket_await_job(struct socket_client *c);
/* Whether the patience of the command under way is over; begins to count when it is asked for the first time. */
bool socket_patience_over(struct socket_client *c);
/* Gives up what is waited for, and what is held. */
void socket_wait_end(struct socket_client *c);
bool socket_awaits_mail(const struct socket_client *c);
/* Who waits for a client's lock is told that it is not to be had. */
void socket_give_up_lock(struct socket_client *c);
/* The session that a command has opened goes back. */
void socket_let_go(struct socket_client *c);

/* --- socket_client.c, for socket_wait.c --- */

/* The wait is over: the command under way is run again. */
void socket_resume(struct socket_client *c);
/* A mail has arrived for a client that is closed. */
void socket_zombie_mail(struct socket_client *c);

#endif
