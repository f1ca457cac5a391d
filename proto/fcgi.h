/* FastCGI 1.0: the record layer, for both sides (Brown, "FastCGI Specification", 29 April 1996; section numbers below
 * are its). Pure: bytes in, events out; events in, bytes out. Nothing here allocates but the buf that is handed in.
 *
 * The decoder never holds stream content: it hands out the bytes of PARAMS, STDIN, STDOUT, STDERR and DATA as they
 * arrive, in pieces that point into the input. It holds less than 8 bytes: a header or a small body that was cut. */
#ifndef WEIR_PROTO_FCGI_H
#define WEIR_PROTO_FCGI_H

#include "base/buf.h"
#include "base/view.h"
#include "proto/decode.h"

enum {
	FCGI_VERSION = 1,
	FCGI_HEADER_BYTES = 8,
	FCGI_BODY_BYTES = 8,      /* of BEGIN_REQUEST, END_REQUEST and UNKNOWN_TYPE, 8 */
	FCGI_CONTENT_MAX = 65535, /* of one record, 3.3 */
	FCGI_PADDING_MAX = 255,
	FCGI_LENGTH_MAX = 0x7fffffff, /* of a name or a value, 3.4 */
	FCGI_PAIR_PREFIX_MAX = 8,     /* the two lengths before them */
};

enum fcgi_type { /* 8, record types */
		 FCGI_BEGIN_REQUEST = 1,
		 FCGI_ABORT_REQUEST = 2,
		 FCGI_END_REQUEST = 3,
		 FCGI_PARAMS = 4,
		 FCGI_STDIN = 5,
		 FCGI_STDOUT = 6,
		 FCGI_STDERR = 7,
		 FCGI_DATA = 8,
		 FCGI_GET_VALUES = 9,
		 FCGI_GET_VALUES_RESULT = 10,
		 FCGI_UNKNOWN_TYPE = 11,
};

enum fcgi_role { FCGI_RESPONDER = 1, FCGI_AUTHORIZER = 2, FCGI_FILTER = 3 }; /* 5.1 */

enum { FCGI_KEEP_CONN = 1 }; /* flag of BEGIN_REQUEST, 5.1 */

enum fcgi_protocol_status { /* 5.5 */
			    FCGI_REQUEST_COMPLETE = 0,
			    FCGI_CANT_MPX_CONN = 1,
			    FCGI_OVERLOADED = 2,
			    FCGI_UNKNOWN_ROLE = 3,
};

enum fcgi_event_kind {
	FCGI_EV_BEGIN,        /* BEGIN_REQUEST: role, flags */
	FCGI_EV_ABORT,        /* ABORT_REQUEST */
	FCGI_EV_END,          /* END_REQUEST: app_status, protocol_status */
	FCGI_EV_DATA,         /* a piece of the stream `type` (PARAMS, STDIN, STDOUT, STDERR, DATA), never empty */
	FCGI_EV_STREAM_END,   /* the empty record that ends the stream `type`, 3.3 */
	FCGI_EV_VALUES,       /* a piece of a GET_VALUES or GET_VALUES_RESULT record, `type` says which; never empty */
	FCGI_EV_VALUES_END,   /* the end of that record (also of an empty one) */
	FCGI_EV_UNKNOWN_TYPE, /* UNKNOWN_TYPE: the peer did not know `unknown` */
	FCGI_EV_FOREIGN,      /* a record of type `type`, which FastCGI 1.0 does not know; its content is skipped.
				 A server answers a management record (id 0) with UNKNOWN_TYPE, 4.2 */
};

struct fcgi_event {
	enum fcgi_event_kind kind;
	uint8_t type;
	uint16_t id;             /* 0: a management record, 3.3 */
	uint16_t role;           /* BEGIN; any number the peer sent */
	uint8_t flags;           /* BEGIN */
	uint32_t app_status;     /* END */
	uint8_t protocol_status; /* END */
	uint8_t unknown;         /* UNKNOWN_TYPE */
	struct view data;        /* DATA, VALUES; borrowed from the input */
};

/* Which record types make sense here: a server takes requests, a client takes answers. Others are malformed. */
enum fcgi_side { FCGI_SERVER, FCGI_CLIENT };

struct fcgi_decoder {
	enum fcgi_side side;
	enum { FCGI_ST_HEADER, FCGI_ST_BODY, FCGI_ST_CONTENT, FCGI_ST_PADDING, FCGI_ST_BAD } state;
	uint8_t held[8]; /* a header or a fixed body that is not complete yet */
	uint8_t held_len;
	uint8_t type;
	uint16_t id;
	uint32_t content_left; /* bytes; wider than the wire's 16 bits on purpose (sums with padding) */
	uint32_t padding_left; /* bytes to skip, also of the content of a foreign record */
	const char *reason;    /* set when MALFORMED; a string literal */
};

void fcgi_decoder_init(struct fcgi_decoder *d, enum fcgi_side side);

/* The next event from *in, which is advanced past what was consumed. On NEED_MORE all of *in is consumed.
 * MALFORMED for: a version other than 1; a type that belongs to the other side; a fixed body (BEGIN, ABORT, END,
 * UNKNOWN_TYPE) of a wrong length (ABORT: anything but 0; others: anything but 8); an application record with id 0 or
 * a management record with another id. After MALFORMED every call answers MALFORMED. */
MUST_USE enum decode fcgi_next(struct fcgi_decoder *d, struct view *in, struct fcgi_event *ev);

/* Whether the input may end here without cutting a record. */
bool fcgi_decoder_idle(const struct fcgi_decoder *d);

void fcgi_decoder_check(const struct fcgi_decoder *d); /* INVARIANTs */

/* --- encoding; errors stay in the buf. The id of an application record is never 0 --- */

void fcgi_put_begin(struct buf *b, uint16_t id, uint16_t role, uint8_t flags);
void fcgi_put_abort(struct buf *b, uint16_t id);
void fcgi_put_end(struct buf *b, uint16_t id, uint32_t app_status, uint8_t protocol_status);
void fcgi_put_unknown_type(struct buf *b, uint8_t type);

/* A piece of a stream as one or more records, padded to 8 bytes; nothing for an empty view. */
void fcgi_put_stream(struct buf *b, uint8_t type, uint16_t id, struct view data);
/* The empty record that ends a stream. */
void fcgi_put_stream_end(struct buf *b, uint8_t type, uint16_t id);
/* The 8 header bytes of a record, for content that the caller writes right behind it. content <= FCGI_CONTENT_MAX. */
void fcgi_header_write(uint8_t out[FCGI_HEADER_BYTES], uint8_t type, uint16_t id, size_t content, size_t padding);

/* The answer to GET_VALUES (4.1): of the names in `asked` (encoded pairs) those that are known, with their values.
 * FCGI_MAX_CONNS, FCGI_MAX_REQS, FCGI_MPXS_CONNS, each once at most. DECODE_MALFORMED, and nothing written, when
 * `asked` is not a list of pairs. */
MUST_USE enum decode fcgi_put_values_result(struct buf *b, struct view asked, uint32_t max_conns, uint32_t max_reqs,
					    bool multiplexes);

/* --- name-value pairs, 3.4 --- */

struct param {
	struct view name, value;
};

/* The next pair of *in. NEED_MORE: *in is empty (a clean end) or ends inside a pair; *in and *out are untouched then.
 * MALFORMED never happens: every byte string is a prefix of some list of pairs. Lengths are checked against what is
 * left, never added up first (libfcgi CVE-2025-23016). */
MUST_USE enum decode fcgi_pair_next(struct view *in, struct param *out);

size_t fcgi_pair_bytes(struct param p);            /* encoded length */
void fcgi_put_pair(struct buf *b, struct param p); /* lengths over FCGI_LENGTH_MAX set ERR_TOO_LARGE */
/* The lengths alone, for a pair that the caller cuts; returns how many bytes they take. Both <= FCGI_LENGTH_MAX. */
size_t fcgi_pair_prefix_write(uint8_t out[FCGI_PAIR_PREFIX_MAX], struct param p);

#endif
