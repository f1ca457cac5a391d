/* What only the main thread can tell, kept so that any thread can read it: once a second it looks at the daemon's state
 * and adds to the history. */
#ifndef WEIR_GATEWAY_WATCH_H
#define WEIR_GATEWAY_WATCH_H

#include "gateway/control.h"
#include "gateway/history.h"

struct watch;

/* Main thread. start: when the workers are made; looks at once, and then each second until stop. */
MUST_USE struct watch *watch_new(struct daemon *d); /* NULL: out of memory */
void watch_start(struct watch *w);
void watch_stop(struct watch *w); /* safe to repeat, and when w is NULL */
void watch_free(struct watch **w);

/* --- any thread --- */

/* At most a second old. */
struct watch_process {
	const char *state; /* as of control_status; static */
	uint64_t generation, reloads_failed, uptime_s;
	int64_t started_s, reloaded_s; /* calendar; 0: never */
};
void watch_process(struct watch *w, struct watch_process *out);

struct history *watch_history(struct watch *w);

#endif
