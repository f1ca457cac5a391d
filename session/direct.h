/* Sessions looked at and written by their id alone, without a hold: what the session socket does for applications that
 * keep their sessions themselves (doc/session-socket.md). The table's side; the gateway calls the same through
 * session/stack.h. Any thread; nothing here waits.
 *
 * Such a session lives until the time that its last write gave it: being used does not prolong it. */
#ifndef WEIR_SESSION_DIRECT_H
#define WEIR_SESSION_DIRECT_H

#include "session/hold.h"

struct sess_table;

struct sess_peek {
	struct sess_state *state; /* counted; NULL: no bytes */
	uint64_t left_s;          /* until it expires; SESS_TTL_NEVER: it does not */
};

/* OPENED: *out is filled. ABSENT. QUEUED: memory alone cannot say: open it, which brings it up, and look again. */
enum sess_open sess_table_peek(struct sess_table *t, uint16_t app, const struct sess_id *id, struct instant now,
			       struct sess_peek *out);

enum sess_write_if { SESS_WRITE_ALWAYS, SESS_WRITE_NEW, SESS_WRITE_THERE };

struct sess_write {
	enum sess_write_if only;
	bool has_data; /* the state becomes `head` and `data` together; creates the session where there is none */
	struct view head, data; /* borrowed */
	bool has_ttl;           /* it expires after so long from now; else when it would have anyway */
	uint32_t ttl_s;         /* SESS_TTL_NEVER: never */
	/* What an open has said of this id: that it is absent, and its waiter's `placed`. */
	bool absent;
	uint64_t placed;
};

enum sess_written {
	SESS_WRITTEN,
	SESS_THERE,   /* only if new, and there is one */
	SESS_MISSING, /* there is none, and this writes no new one */
	SESS_ASK,     /* memory alone cannot say: open it, and write again with what that said */
	SESS_OWING,   /* one has ended, and what is below of it must go first: stack_await_gone(), then write again */
};

/* An enum sess_written; or ERR_FULL or ERR_NO_MEMORY, and nothing has changed. *before: the state until now, counted
 * (SET with GET); may be NULL. */
int sess_table_write(struct sess_table *t, uint16_t app, const struct sess_id *id, const struct sess_write *w,
		     struct instant now, struct sess_state **before);

#endif
