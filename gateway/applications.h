/* The applications that weir starts itself: for each `spawn:` backend a socket in run-dir and a group of processes
 * (backend/spawn.h). Main thread.
 *
 *   DOWN <--> UP --> ENDING --> DOWN      freed when DOWN and in no generation any more
 *
 * An application that is in two configurations with the same command and settings is one and the same. */
#ifndef WEIR_GATEWAY_APPLICATIONS_H
#define WEIR_GATEWAY_APPLICATIONS_H

#include "gateway/generation.h"

#include <sys/types.h>

struct applications;

/* NULL: out of memory. The sockets will be owned by uid and gid. */
MUST_USE struct applications *applications_new(struct net_loop *loop, uid_t uid, gid_t gid);

/* Finds or makes what the generation's conf names, with its sockets (RUN-DIR/APP-N.sock, mode 0600); nothing is
 * started. What cannot be made is one line each in `report`, as "SECTION: why", and an error in the end. */
MUST_USE int applications_find(struct applications *as, struct generation *gen, struct buf *report);

/* Starts those of the generation that do not run yet, but not those of an app that is stopped. The pools are there. */
MUST_USE int applications_start(struct applications *as, const struct generation *gen);

/* Stops the app's processes, or starts them again. */
void applications_hold(struct applications *as, const char *app, bool hold);

void applications_reaped(struct applications *as, int pid, int status);

/* The end: calls `stopped` when every process has ended. */
void applications_stop(struct applications *as, void (*stopped)(void *arg), void *arg);

/* Frees what no generation has any more, which must be all. Removes the sockets. */
void applications_free(struct applications **as);

void application_unref(struct application **a);

/* Where it listens. */
const struct net_address *application_address(const struct application *a);

#endif
