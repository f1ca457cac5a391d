/* Sessions that the application keeps itself, through its session socket (doc/session-socket.md): the request's side.
 * It claims the id that its cookie gives, before it takes a connection, and has the session in memory while it runs. */
#ifndef WEIR_GATEWAY_ADOPTED_H
#define WEIR_GATEWAY_ADOPTED_H

#include "gateway/keeper.h"

/* Variables and headers are not touched. The tail of an answer is held back (r->tail). */
extern const struct keeper keeper_adopted;

#endif
