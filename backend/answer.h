/* Reads what a backend sends on a connection that is lent: bytes in, conn_events out. */
#ifndef WEIR_BACKEND_ANSWER_H
#define WEIR_BACKEND_ANSWER_H

#include "backend/conn.h"

/* Handles all of `data`. Stops early when the owner lets the connection go. */
void answer_feed(struct conn *c, struct view data);

/* The stream has ended with `err`. For SCGI a clean end completes the answer. */
void answer_eof(struct conn *c, int err);

#endif
