/* From the configuration to pools, and the applications that weir starts itself. Main thread. */
#ifndef WEIR_GATEWAY_POOLS_H
#define WEIR_GATEWAY_POOLS_H

#include "backend/pool.h"
#include "conf/conf.h"

#include <sys/types.h>

/* The processes of all `spawn:` backends, and their sockets in run-dir. */
struct applications;

/* Opens the sockets (RUN-DIR/APP-N.sock, mode 0600, owned by uid and gid). On failure one line in `why`. */
MUST_USE int applications_new(struct applications **out, const struct conf *c, uid_t uid, gid_t gid, char *why,
			      size_t why_len);
/* `pools` hears when no process of a backend runs, and when one does again. */
MUST_USE int applications_start(struct applications *a, struct net_loop *loop, struct pool_shared *pools);
void applications_reaped(struct applications *a, int pid, int status);
/* Calls `stopped` when every process has ended. */
void applications_stop(struct applications *a, void (*stopped)(void *arg), void *arg);
void applications_free(struct applications **a); /* also removes the sockets */

/* The pools for all apps. NULL: out of memory. `a` is only read. */
MUST_USE struct pool_shared *pools_new(struct pool_book *book, const struct conf *c, const struct applications *a);

#endif
