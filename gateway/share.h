/* A worker's side of generations: the change to a new one, and the end of an old one (doc/reload.md). On the worker's
 * thread, unless it says otherwise.
 *
 *   sent --> NEWEST --the next one's switch--> OLD --last user gone--> left --last guest gone--> forgotten */
#ifndef WEIR_GATEWAY_SHARE_H
#define WEIR_GATEWAY_SHARE_H

#include "gateway/worker.h"

/* A user keeps the share, and with it the generation. */
struct generation_share *share_use(struct generation_share *s);
void share_release(struct generation_share *s);

/* A connection to a session socket that is in no newer generation belongs to the share, and does not keep it: before it
 * is forgotten the connection is told to close (socket_client_leave()). One whose command is under way belongs to it
 * too, until that is done. */
struct generation_share *share_host(struct generation_share *s);
void share_unhost(struct generation_share *s);

/* Main thread: the worker shall go over to the share; gateway->switched is delivered then. */
void share_switch(struct generation_share *s);

/* Main thread, when all workers have left: gateway->forgotten is delivered when no mail to its pool is on its way, and
 * the connections that it hosts have closed. */
void share_forget(struct generation_share *s);

/* The end of the worker: closes the pools of all its shares. No request may be left. */
void share_close_all(struct worker *w);

#endif
