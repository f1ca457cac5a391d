/* The head of a CGI response (RFC 3875 section 6): header lines, each ended by LF or CRLF, up to an empty line. Pure.
 */
#ifndef WEIR_PROTO_CGI_H
#define WEIR_PROTO_CGI_H

#include "base/buf.h"
#include "proto/decode.h"

struct cgi_header {
	struct view line;  /* the whole line with its end of line, as the application wrote it */
	struct view name;  /* up to the colon, without blanks before it */
	struct view value; /* without blanks at both ends */
};

/* Looks for the end of the head in in[from..), where in[0..from) was searched before in vain. OK sets *head_bytes,
 * which includes the empty line. NEED_MORE otherwise. */
MUST_USE enum decode cgi_head_find(struct view in, size_t from, size_t *head_bytes);

/* The next header line of *head, which is advanced. False at the empty line or the end. A line without a colon,
 * with an empty name, or that begins with a blank is handed out with name.len == 0. */
bool cgi_header_next(struct view *head, struct cgi_header *out);

/* A small response of the gateway's own: Status, Content-Type text/plain, Cache-Control: no-store, Retry-After when
 * not 0, and a body of one line "STATUS TEXT\n". */
void cgi_put_answer(struct buf *b, unsigned status, unsigned retry_after_s);

/* The reason phrase of a status that weir sends itself; "Error" for any other. */
const char *cgi_status_text(unsigned status);

#endif
