/* A connection to an app's session socket: Redis's protocol, server side (doc/session-socket.md). Owned by its worker;
 * everything here is touched by the worker's thread only.
 *
 *   OPEN --> ENDING (replies leave, nothing is read) --> CLOSED --> freed, when no mail is on its way to it
 *
 * One command is under way at a time; while it waits nothing more is read. */
#ifndef WEIR_GATEWAY_SOCKET_CLIENT_H
#define WEIR_GATEWAY_SOCKET_CLIENT_H

#include "gateway/listener.h"

struct socket_client;

/* A new connection; `fd` is taken over. It is counted already, in l->connections and w->socket_count, and has to be
 * taken off both when it is freed, with worker_look_quiet() after it. `old`: the listener is not in the worker's newest
 * generation (any more); what `old` says of it holds, and hosts the connection (share_host()). NULL: it is. */
void socket_client_new(struct worker *w, struct listener *l, struct generation_share *old, int fd);

/* The worker has gone over from `old` to its new share: the settings are those of the newest generation that names the
 * listener, from the next command on. It may be in the new one again after it was not in `old`. */
void socket_client_switch(struct socket_client *c, struct generation_share *old);

/* The share that hosts it is to be forgotten. */
void socket_client_leave(struct socket_client *c);

/* Closes as soon as what has come of commands is answered; who waits for a lock is told nil now. */
void socket_client_drain(struct socket_client *c);

/* Closes now. Safe to repeat, and while a command waits. */
void socket_client_close(struct socket_client *c);

/* The client behind a link of worker->socket_clients. */
struct socket_client *socket_client_of(struct list *link);

/* The share that hosts it; NULL: its listener is in the worker's newest generation. */
const struct generation_share *socket_client_host(const struct socket_client *c);

#endif
