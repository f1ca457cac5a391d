/* The admin socket: when it is there, and who is let in (doc/admin-protocol.md). Main thread only.
 *
 *   CLOSED --USR1, always--> OPEN --idle without a client, reload, the end--> CLOSED
 *
 * Clients outlive the socket: who was let in before it closed is served. */
#ifndef WEIR_GATEWAY_ADMIN_H
#define WEIR_GATEWAY_ADMIN_H

#include "base/compiler.h"
#include "conf/sections.h"

struct admin;
struct daemon;
struct net_loop;

/* NULL: out of memory. Nothing is open before admin_set(). */
MUST_USE struct admin *admin_new(struct daemon *d, struct net_loop *loop);

/* From now on as `c` says, which is copied: at the start, and with each reload. */
void admin_set(struct admin *a, const struct conf_admin *c);

/* USR1. */
void admin_signal(struct admin *a);

/* The end: nobody is let in, clients are closed. Commands under way come to their end by mail, which must still be
 * delivered. Safe on NULL and to repeat. */
void admin_close(struct admin *a);
void admin_free(struct admin **a); /* when the loop has ended */

#endif
