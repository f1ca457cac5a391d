/* What an operator asks of sessions: list, show, end, pin, unpin, demote, promote. Works on the whole stack, one job at
 * a time, on the stack's thread (session/operate.c). */
#ifndef WEIR_SESSION_OPERATE_H
#define WEIR_SESSION_OPERATE_H

#include "base/mailbox.h"
#include "session/stack.h"

enum stack_op {
	STACK_LIST, /* a page of sessions */
	STACK_SHOW, /* one */
	STACK_END,  /* at once, also while a request holds it: what that commits is dropped */
	STACK_PIN,  /* promote it, and keep it in memory until it is unpinned, expires or ends */
	STACK_UNPIN,
	STACK_DEMOTE,     /* ERR_BUSY: in use; ERR_REFUSED: pinned, or no store below */
	STACK_PROMOTE,    /* into memory */
	STACK_DEMOTE_APP, /* all of `app` that nobody uses; `count` says how many */
};

enum stack_where { STACK_IN_MEMORY, STACK_BELOW, STACK_ANYWHERE };

enum { STACK_PAGE_MAX = 1000, STACK_CURSOR_MAX = 48 };

/* One session, as an operator sees it. */
struct stack_info {
	char name[SESS_NAME_TEXT + 1]; /* its public name */
	uint16_t app;
	enum stack_where where; /* MEMORY: also when an older version is below */
	uint64_t version, state_bytes;
	uint32_t created_s, used_s, ttl_s; /* calendar */
	bool busy, pinned;
	uint32_t waiters;
	int err; /* ERR_MALFORMED, ERR_VERSION: it is below and cannot be read; only the name is known */
};

/* Owned by whoever submits it; must live until `done`. */
struct stack_job {
	struct mail mail; /* the stack's, until done */
	enum stack_op op;
	/* Which session: its public name (found by a search of all), or the value of its cookie (found at once). */
	char key[SESS_ID_TEXT + 1];
	/* LIST: filters, and where to go on: "" is the beginning. */
	bool any_app;
	uint16_t app;
	enum stack_where where;
	uint32_t older_s, younger_s; /* unused for at least / at most; 0: no bound */
	uint32_t max;                /* 1 .. STACK_PAGE_MAX */
	char cursor[STACK_CURSOR_MAX];
	/* The result. */
	int err;               /* ERR_GONE: no such session; ERR_CONFIG: key or cursor is not one */
	struct stack_info *at; /* owned by the job: stack_job_fini(); LIST: a page; others: one */
	size_t count;
	struct sess_state *state;          /* SHOW; counted */
	bool more;                         /* LIST: `cursor` is where the next page begins */
	void (*done)(struct stack_job *j); /* on the stack's thread: it must only post a mail */
};

void stack_submit(struct stack *s, struct stack_job *j);
void stack_job_fini(struct stack_job *j);

#endif
