/* What an operator can ask of the running daemon, be it by a signal or over the admin socket. Main thread only. */
#ifndef WEIR_GATEWAY_CONTROL_H
#define WEIR_GATEWAY_CONTROL_H

#include "gateway/worker.h"

struct daemon;

struct control_status {
	const char *version, *node, *config; /* config: the path of the file */
	const char *state;                   /* "running", "draining", ... */
	uint64_t pid, generation;            /* generation: 1, and one more with each reload */
	int64_t started_s, reloaded_s;       /* calendar; reloaded_s 0: never */
	uint64_t uptime_s;
	unsigned workers;
	uint32_t connections; /* of web servers, over all listeners */
	uint64_t reloads_failed;
};
void control_status(struct daemon *d, struct control_status *out);

/* Reads the configuration again. 0, or an error: nothing has changed then. `report` has one line for each error, or for
 * each option that needs a restart; it is logged as well. */
MUST_USE int control_reload(struct daemon *d, struct buf *report);

/* Leaves in good order, as TERM. */
void control_drain(struct daemon *d);

/* Stops the app: its requests get 503 from now on, its applications are ended when the last request is done, and its
 * sessions are demoted; or starts it again. Outlives a reload. ERR_GONE: no such app. ERR_BUSY: it is so already. */
MUST_USE int control_app(struct daemon *d, const char *name, bool run);

/* No new request to the backend, or again. `app` may be NULL when only one app has such a backend. Outlives a reload.
 * ERR_GONE: no such backend; ERR_MALFORMED: more than one; ERR_BUSY: it is so already. */
MUST_USE int control_backend(struct daemon *d, const char *app, const char *name, bool ready);

/* For those who look: the gateway, its newest generation, the main loop. */
struct gateway *control_gateway(struct daemon *d);
struct net_loop *control_loop(struct daemon *d);

#endif
