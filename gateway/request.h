/* The life of one request, from its first variable to the last byte of its answer. Owned by its front connection; after
 * its end it lives on only while a mail for it is on its way (a zombie).
 *
 *   HEAD --> LENGTH --> LOCK --> CONN --> RUN --> (gone)
 *      \------\---------\--------\--------\-----> (gone), with an answer of weir's own or without
 *
 *   HEAD    variables arrive
 *   LENGTH  an SCGI backend needs the body's length and the client did not say it: the body is collected
 *   LOCK    waits for the session, or for its lock; holds no backend connection
 *   CONN    waits for a backend connection
 *   RUN     has one: the body goes to it, the answer comes from it. Its head may wait for room in memory, or for a
 *           removal below (enum request_waits) */
#ifndef WEIR_GATEWAY_REQUEST_H
#define WEIR_GATEWAY_REQUEST_H

#include "gateway/facts.h"
#include "gateway/tail.h"
#include "gateway/worker.h"

struct adopted;
struct keeper;

enum {
	REQUEST_HOLD_MAX = 65536, /* body kept for a repetition, and read ahead while the request waits */
	REQUEST_HOLD_SHARED_MAX =
	    1 << 20,            /* the same on a connection that carries other requests too: it cannot be stopped */
	REQUEST_SPARE_MAX = 64, /* structs kept for reuse by a worker */
};

/* ROOM: memory is full; nothing is committed, and `answer` is what the backend sent. SAFE: committed, but a version of
 * a session that has ended is still below; `answer` is what the client gets. */
enum request_waits { REQUEST_WAITS_NOT, REQUEST_WAITS_ROOM, REQUEST_WAITS_SAFE };

enum request_state { REQUEST_HEAD, REQUEST_LENGTH, REQUEST_LOCK, REQUEST_CONN, REQUEST_RUN, REQUEST_GONE };

/* A body stream: STDIN, or DATA of a filter. */
struct request_stream {
	struct buf hold; /* as far as it was kept */
	bool ended;      /* the client has sent all of it */
};

struct request {
	struct list link;               /* in front->requests */
	struct worker *worker;          /* borrowed */
	struct front *front;            /* borrowed; NULL when GONE */
	struct generation_share *share; /* counted; what it began in */
	const struct conf_app *app;     /* borrowed; NULL before it is known */
	const struct keeper *keeper;    /* who keeps the app's sessions; static */
	uint16_t id, role;
	uint8_t state; /* enum request_state */
	bool keep;     /* FCGI_KEEP_CONN */
	bool stateless, read_only;
	bool drop_cookie;   /* the client's cookie is good for nothing: tell it */
	bool sealed;        /* the session was ended or renewed under it: it may not create one */
	bool blocking;      /* it asked the front to stop reading */
	bool held_all;      /* `hold` has the whole body so far: it can be sent again */
	bool overloaded;    /* the last backend said that it is */
	bool repeated;      /* on a fresh connection, because the kept one was stale */
	bool answer_begun;  /* a byte of the answer came from the backend */
	bool head_sent;     /* a byte of the answer went to the web server */
	bool awaits_grant;  /* a lock's grant may be on its way */
	bool awaits_store;  /* word from the stack may be on its way */
	bool answer_done;   /* the backend has said all, while the head still waits for its commit */
	uint8_t waits;      /* enum request_waits: why the answer's head does */
	uint8_t status;     /* of the answer, by its first digit (gateway/metrics.h) */
	bool own;           /* weir is the application: it is not counted with the others */
	bool awaits_ticket; /* a connection's grant is on its way */
	struct buf head;    /* the variables, as they arrived */
	struct facts facts; /* views into `head` */
	struct request_stream body[2];
	uint64_t body_bytes;
	struct buf answer;   /* an answer's head that is not complete yet */
	size_t answer_seen;  /* bytes of it that were searched */
	size_t answer_head;  /* WAITS_ROOM: bytes of the head in `answer` */
	uint32_t app_status; /* answer_done: what the backend ended with */
	struct view cookies; /* those that were not tried yet; in `head` */
	unsigned cookies_tried;
	struct adopted *adopted; /* owned by adopted.c; NULL: nothing */
	struct tail tail;        /* of the answer */
	struct sess_hold hold;
	struct sess_waiter waiter;
	struct mail grant;
	struct stack_wait store_wait;
	struct mail stored;
	struct sess_snapshot snapshot;
	struct pool_ticket ticket;
	struct conn *conn; /* lent */
	struct net_timer timer;
	struct instant since;   /* when it began */
	uint64_t began_us;      /* the same, for its latency */
	struct instant body_at; /* when the head was complete, or the last piece of the body came */
	uint64_t looked_bytes;  /* of the body taken by the backend, when the timer last looked */
	struct instant active;  /* last sign of life of the backend */
};

/* --- for the front's protocol --- */

/* NULL: out of memory. */
struct request *request_new(struct front *f, uint16_t id, uint16_t role, bool keep);
/* A piece of the variables. False: the request is over (too large), with an answer. */
bool request_head(struct request *r, struct view data);
/* The variables are complete. */
void request_head_end(struct request *r);
/* A piece of the body; which: 0 STDIN, 1 DATA. */
void request_body(struct request *r, unsigned which, struct view data);
void request_body_end(struct request *r, unsigned which);
/* The client is gone, or has taken the request back. No answer. The request is GONE afterwards. */
void request_abort(struct request *r);

/* The front's output is full: stop taking the answer; and go on. */
void request_hold_answer(struct request *r);
void request_resume_answer(struct request *r);

/* --- between request.c, exchange.c and who keeps sessions --- */

/* Ends the request with an answer of weir's own, or by cutting the one that has begun. */
void request_fail(struct request *r, unsigned status, const char *reason);
/* Ends it with what the backend sent. */
void request_finish(struct request *r, uint32_t app_status);

/* Ends it with a FastCGI protocol status and no answer. */
void request_refuse(struct request *r, uint8_t protocol_status);

/* The front stops reading, and goes on, as far as this request is concerned. */
void request_block(struct request *r);
void request_unblock(struct request *r);

/* The one place where the state changes; only along the arrows above, and from RUN to CONN for a repetition. */
void request_set_state(struct request *r, enum request_state to);

/* The ticket's grant came back after the request had ended. */
void request_ticket_back(struct request *r);

/* The variables as the backend's encoder wants them. */
struct params request_params(const struct request *r);

/* A struct for reuse, or freed, once no mail is on its way. */
void request_bury(struct request *r);
void request_free_spares(struct worker *w);

#endif
