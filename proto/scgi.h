/* SCGI 1 (Schemenauer, "SCGI: A Simple Common Gateway Interface alternative", 2008-06-23), server side: the netstring
 * that opens a request. What follows it is the body, CONTENT_LENGTH bytes; the answer is raw CGI output up to the end
 * of the connection. The client side is params_put_scgi(). Pure. */
#ifndef WEIR_PROTO_SCGI_H
#define WEIR_PROTO_SCGI_H

#include "base/buf.h"
#include "proto/decode.h"

/* Bound on the headers of one request: web servers take fewer, and it bounds the search for names given twice. */
enum { SCGI_NAMES_MAX = 512 };

struct scgi_decoder {
	enum { SCGI_ST_LENGTH, SCGI_ST_HEADER, SCGI_ST_COMMA, SCGI_ST_DONE, SCGI_ST_BAD } state;
	uint32_t max_bytes; /* bound on the netstring's content */
	uint32_t left;      /* bytes of the netstring still to come */
	uint8_t digits;     /* seen of the length */
	bool too_large;     /* MALFORMED because of max_bytes, and for no other reason */
	const char *reason; /* set when MALFORMED; a string literal */
};

void scgi_decoder_init(struct scgi_decoder *d, uint32_t max_bytes);

/* Feeds *in, which is advanced past what was consumed; the netstring's content is appended to `header`.
 * OK: the header is complete (the body begins at *in). MALFORMED: no digit, a leading zero, over nine digits, a length
 * over max_bytes, a missing ':' or ','; `header` out of memory or over its own bound. After OK every call answers OK
 * and takes nothing; after MALFORMED every call answers MALFORMED. */
MUST_USE enum decode scgi_feed(struct scgi_decoder *d, struct view *in, struct buf *header);

/* The header's own rules, once it is complete and passed params_check(): CONTENT_LENGTH comes first and is a number,
 * SCGI is "1", no name twice, at most SCGI_NAMES_MAX names. False sets *reason. */
bool scgi_check(struct view header, uint64_t *content_length, const char **reason);

#endif
