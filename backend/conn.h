/* One connection to a backend, and the client side of its protocol. Lives on one worker's loop; owned by that worker's
 * pool, lent to one request at a time (FastCGI multiplexing is refused by PHP-FPM and libfcgi, so it is not used).
 *
 *   CONNECTING --> HELD <--> BUSY      HELD: on its way to the next request, or to where it is kept
 *        |          | ^                 BUSY: lent; only FastCGI comes back reusable
 *        |          v |                 IDLE: kept
 *        |          IDLE
 *        \-----------\--> CLOSING from all of them; freed in the close callback */
#ifndef WEIR_BACKEND_CONN_H
#define WEIR_BACKEND_CONN_H

#include "net/stream.h"
#include "proto/params.h"

struct conn;

/* What the request that has the connection is told. Each may let the connection go (pool_release). */
struct conn_events {
	void (*out)(void *owner, struct view data);      /* a piece of the answer */
	void (*log)(void *owner, struct view data);      /* a piece of what the application wrote to STDERR */
	void (*ended)(void *owner, uint32_t app_status); /* the answer is complete */
	void (*failed)(void *owner, int err);            /* it is dead: ERR_CLOSED, ERR_RESET, ... */
	void (*full)(void *owner);                       /* stop sending the body */
	void (*drained)(void *owner);                    /* go on */
};

enum conn_state { CONN_NEW, CONN_CONNECTING, CONN_HELD, CONN_BUSY, CONN_IDLE, CONN_CLOSING };

struct conn {
	struct net_stream stream;
	struct list link;      /* the pool's list of its state */
	struct pool *pool;     /* borrowed */
	uint16_t app, backend; /* indices */
	uint8_t state;         /* enum conn_state; changed by conn_set_state() only */
	bool kept;             /* it has served a request before */
	bool scgi;
	uint8_t id;    /* of the running request: 1 and 2 in turn, so that no late answer is taken for the next one */
	bool sent_all; /* the request's last byte is in the output */
	bool spoke;    /* a byte of the answer has come */
	bool answered; /* the answer is complete */
	bool junk;     /* something came after the answer */
	struct fcgi_decoder decoder;
	const struct conn_events *events; /* static; while BUSY */
	void *owner;                      /* borrowed; while BUSY */
	struct pool_ticket *ticket;       /* borrowed; while CONNECTING: who waits for it; NULL: nobody any more */
	struct instant idle_since;        /* while IDLE */
	struct net_timer timer;           /* CONNECTING: connect-timeout; IDLE: idle-timeout */
};

struct conn_request {
	uint16_t role;
	const struct params *params;
	struct view drop_prefix;
	const struct param *extra; /* borrowed for the call */
	size_t extra_count;
	uint64_t content_length; /* for SCGI */
	bool keep_alive;
};

/* Writes the request's head. 0 or an error of the buf (a NUL in SCGI, no memory): nothing usable was written then. */
MUST_USE int conn_begin(struct conn *c, const struct conn_request *r);

/* A piece of the stream `type`: FCGI_STDIN, or FCGI_DATA for a filter. */
void conn_body(struct conn *c, uint8_t type, struct view data);
void conn_body_end(struct conn *c, uint8_t type, bool last);

void conn_pause(struct conn *c); /* stop taking the answer */
void conn_resume(struct conn *c);

/* True while the backend cannot have seen any byte of this request. */
static inline bool conn_untouched(const struct conn *c)
{
	return c->stream.taken_bytes == 0;
}

/* Whether the exchange ended so that the connection can serve another one. */
bool conn_reusable(const struct conn *c);

#endif
