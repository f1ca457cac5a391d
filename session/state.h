/* A session's state: opaque bytes that never change once they are here. Shared by the session and by requests that
 * still send them; counted, so that a commit need not wait for a slow reader. */
#ifndef WEIR_SESSION_STATE_H
#define WEIR_SESSION_STATE_H

#include "base/compiler.h"
#include "base/view.h"

#include <stdatomic.h>

struct sess_state {
	_Atomic uint32_t refs;
	uint32_t len; /* bytes */
	uint8_t bytes[];
};

enum { SESS_STATE_MAX = 1 << 30 }; /* bytes; the application's own limit is far below */

/* A copy of the bytes with one reference; NULL: out of memory. */
MUST_USE struct sess_state *sess_state_new(struct view bytes);
/* The same of two, one behind the other. */
MUST_USE struct sess_state *sess_state_join(struct view head, struct view tail);

struct sess_state *sess_state_ref(struct sess_state *s);
void sess_state_unref(struct sess_state *s); /* NULL is fine */

/* What it costs in memory; 0 for NULL. */
static inline uint64_t sess_state_cost(const struct sess_state *s)
{
	return s ? sizeof(*s) + s->len : 0;
}

#endif
