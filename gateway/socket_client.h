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

/* A new connection; `fd` is taken over. */
void socket_client_new(struct worker *w, struct listener *l, int fd);

/* Closes now. Safe while a command waits. */
void socket_client_close(struct socket_client *c);

/* The worker has gone over from `old` to its new share: takes its settings from there, or keeps the old ones where its
 * listener is not there any more. */
void socket_client_switch(struct socket_client *c, struct generation_share *old);

/* The client behind a link of worker->socket_clients. */
struct socket_client *socket_client_of(struct list *link);

#endif
