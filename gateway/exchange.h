/* A request and its backend: taking a connection, sending, answering, repeating where that is safe. */
#ifndef WEIR_GATEWAY_EXCHANGE_H
#define WEIR_GATEWAY_EXCHANGE_H

#include "gateway/request.h"

/* The ticket's callback. */
void exchange_ready(struct pool_ticket *t, struct conn *c, int err);

/* Asks for a connection; the request is CONN, RUN or gone afterwards. */
void exchange_start(struct request *r);

/* More body has come while RUN. */
void exchange_body(struct request *r, unsigned which, struct view data);
void exchange_body_end(struct request *r, unsigned which);

/* The stack has told what the answer's head waited for. */
void exchange_stored(struct request *r);

/* The request's timer has fired while RUN. */
void exchange_look(struct request *r);

/* Lets connection and ticket go. False: a grant is on its way. */
bool exchange_give_up(struct request *r);

#endif
