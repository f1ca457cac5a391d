/* A connection from a web server: FastCGI or SCGI, server side. Owned by its worker; it owns its requests.
 *
 *   OPEN --> ENDING (answers leave, nothing is read) --> LINGERING (sending half closed, input thrown away)
 *     \----------\-----------------------------------------\--> closed
 *
 * A broken byte stream closes the connection with one log line; its requests are aborted. */
#ifndef WEIR_GATEWAY_FRONT_H
#define WEIR_GATEWAY_FRONT_H

#include "gateway/listener.h"
#include "gateway/request.h"
#include "proto/scgi.h"

enum {
	FRONT_VALUES_MAX = 1024,    /* content of a GET_VALUES record */
	FRONT_GRACE_MS = 1000,      /* for the first request of a new connection, while the worker drains */
	FRONT_LINGER_MS = 2000,     /* for the web server to read the last answer */
	FRONT_BACKLOG_MAX = 262144, /* answers that nobody takes: above it nothing more is read */
};

struct front {
	struct net_stream stream;
	struct worker *worker;          /* borrowed */
	struct listener *listener;      /* borrowed */
	const struct conf_listen *conf; /* its limits; of the worker's newest generation, or of `share` */
	struct generation_share *share; /* counted; NULL: its listener is in the newest generation */
	enum conf_protocol protocol;    /* that it was accepted with */
	struct list link;               /* in worker->fronts */
	struct list requests;           /* of struct request; owned */
	unsigned request_count;
	unsigned heads;    /* requests whose variables are not complete */
	unsigned blockers; /* requests that cannot take more body now */
	union {
		struct fcgi_decoder fcgi;
		struct scgi_decoder scgi;
	} in;
	struct buf values; /* content of a GET_VALUES record */
	struct net_timer timer;
	struct instant head_since; /* when the connection came, or when a record began that is not complete */
	struct instant last_read;
	struct instant unblocked; /* when weir began to read again: a head cannot go on before */
	uint64_t looked_bytes;    /* of output taken, when the timer last looked */
	uint8_t state;            /* enum front_state; changed by front_set_state() only */
	bool cut;                 /* the input so far ends inside a record */
	bool used;                /* it has had a request */
	bool choked;              /* reading stopped because of FRONT_BACKLOG_MAX */
	bool keep;                /* stays open when its requests are done */
	bool unread;              /* a request ended before all of its body was read */
};

enum front_state { FRONT_OPEN, FRONT_ENDING, FRONT_LINGERING, FRONT_CLOSED };

/* A new connection; `fd` is taken over. Counts itself in l->connections and w->front_count. */
void front_new(struct worker *w, struct listener *l, int fd);

/* Closes as soon as its requests are done; at once if there are none. */
void front_drain(struct front *f);

/* The worker has gone over from `old` to its new share: takes its limits from there, or drains if its listener is not
 * there any more. */
void front_switch(struct front *f, struct generation_share *old);

/* Whether it is to close as soon as its requests are done. */
static inline bool front_leaving(const struct front *f)
{
	return f->worker->draining || f->share;
}

/* Closes now; its requests are aborted. `reason` is logged when it is not NULL. */
void front_close(struct front *f, const char *reason);

/* --- for requests --- */

/* A piece of the answer. */
void front_put(struct front *f, const struct request *r, struct view data);
/* The answer is complete. The request must be off the list already. */
void front_end(struct front *f, const struct request *r, uint32_t app_status, uint8_t protocol_status);
/* The answer cannot be completed: the web server must see that it was cut. The same. */
void front_cut(struct front *f, const struct request *r);

/* END_REQUEST for an id that has no request (any more). */
void front_refuse(struct front *f, uint16_t id, uint8_t protocol_status);

/* Reading stops while at least one request blocks it. */
void front_block(struct front *f);
void front_unblock(struct front *f);

static inline const struct conf_listen *front_conf(const struct front *f)
{
	return f->conf;
}

/* --- for the protocols --- */

void front_fcgi_read(struct front *f, struct view data);
void front_scgi_read(struct front *f, struct view data);
/* The request with this id, or NULL. */
struct request *front_request(struct front *f, uint16_t id);

#endif
