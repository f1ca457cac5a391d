/* What an operator asks of sessions: list, show, end, pin, unpin, demote, promote. Works on the whole stack, one job at
 * a time, on the stack's thread (session/operate.c). */
#ifndef WEIR_SESSION_OPERATE_H
#define WEIR_SESSION_OPERATE_H

#include "base/mailbox.h"
#include "session/stack.h"

enum stack_op {
	STACK_LIST, /* a page of sessions; one that comes up from below between two pages may be missing */
	STACK_SHOW, /* one */
	STACK_END,  /* at once, also while a request holds it: what that commits is dropped */
	/* Promote it, and keep it in memory until it is unpinned, expires or ends. ERR_TOO_LARGE: the pinned ones have
	 * no room for it. */
	STACK_PIN,
	STACK_UNPIN,
	STACK_DEMOTE,     /* ERR_BUSY: in use; ERR_REFUSED: pinned, or no store below */
	STACK_PROMOTE,    /* into memory */
	STACK_DEMOTE_APP, /* all of `app` that nobody uses; `count` says how many */
};

enum stack_where { STACK_IN_MEMORY, STACK_BELOW, STACK_ANYWHERE };

/* What a session is, in bits. Of one that cannot be read nothing else is known. */
enum stack_is {
	STACK_IS_BUSY = 1,    /* a request has it, or waits for it */
	STACK_IS_IDLE = 2,    /* the opposite */
	STACK_IS_WAITING = 4, /* a request waits for it */
	STACK_IS_PINNED = 8,
	STACK_IS_FRESH = 16, /* no request has brought it back yet */
	STACK_IS_UNREADABLE = 32,
};

enum { STACK_PAGE_MAX = 1000, STACK_CURSOR_MAX = 48 };

/* One session, as an operator sees it. */
struct stack_info {
	char name[SESS_NAME_TEXT + 1]; /* its public name */
	uint16_t app;
	enum stack_where where; /* MEMORY: also when an older version is below */
	uint64_t version, state_bytes;
	uint32_t created_s, used_s, ttl_s; /* calendar */
	bool busy, pinned, fresh;
	uint32_t waiters;
	struct sess_state *state; /* LIST with states; counted, with the job; of one below only the beginning */
	int err; /* ERR_MALFORMED, ERR_VERSION: it is below and cannot be read; only the name is known */
};

/* How far a job has come. The stack's own. */
struct stack_place {
	struct stack *stack;
	uint32_t now_s; /* when it began */
	/* Where it looks: memory, from this bucket on; then below, behind `id` if that has begun. `where`: or in one
	 * of them only. */
	enum stack_where where;
	uint32_t shard, bucket;
	bool below, begun, stopped, retried;
	uint32_t looked; /* in this turn */
	uint64_t looked_bytes;
	size_t places;     /* that `at` has */
	bool found;        /* `id` is the one that `key` names */
	struct sess_id id; /* of the session, or of the last one that was looked at below */
};

/* Owned by whoever submits it; must live until `done`. Zeroed, then filled in. */
struct stack_job {
	struct mail mail; /* the stack's, until done, as is `place` */
	struct stack_place place;
	enum stack_op op;
	/* Which session: its public name (found by a search of all), or the value of its cookie (found at once). */
	char key[SESS_ID_TEXT + 1];
	/* LIST: filters, and where to go on: "" is the beginning. */
	bool any_app;
	uint16_t app;
	enum stack_where where;
	unsigned is;                 /* bits of enum stack_is, all of which it must have */
	uint32_t older_s, younger_s; /* unused for at least / at most; 0: no bound */
	/* 1 .. STACK_PAGE_MAX. A page may have fewer, also none, and more behind it: one looks at a bounded number. It
	 * has more only where that many share a bucket of memory. */
	uint32_t max;
	bool with_states;
	char cursor[STACK_CURSOR_MAX];
	/* The result. ERR_GONE: no such session, or the stack ends. ERR_CONFIG: key, cursor or max is not one.
	 * ERR_BROKEN: the store below cannot be used; of END, if `at` has the session: what is in memory has ended, and
	 * what is below follows when it can. */
	int err;
	struct stack_info
	    *at;      /* owned by the job: stack_job_fini(); LIST: a page; END: what it was; others: what it is */
	size_t count; /* DEMOTE_APP: how many have left memory, also when `err` ended it */
	struct sess_state *state; /* SHOW; counted */
	bool more;                /* LIST: `cursor` is where the next page begins */
	void *owner;              /* the submitter's */
	/* END, or NULL: the session, `place.id`, is there and ends after this call, unless an error comes back: that is
	 * the job's then, and the session stays. On the stack's thread. */
	int (*ends)(struct stack_job *j);
	/* On the stack's thread, or, when that ends already, in stack_submit(): it must only post a mail. */
	void (*done)(struct stack_job *j);
};

/* Any thread. A job is always answered, also after stack_stop(). */
void stack_submit(struct stack *s, struct stack_job *j);
void stack_job_fini(struct stack_job *j);

#endif
