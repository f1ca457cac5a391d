/* What the gateway itself needs to know of a request's variables (RFC 3875 section 4.1), gathered in one walk. Pure. */
#ifndef WEIR_GATEWAY_FACTS_H
#define WEIR_GATEWAY_FACTS_H

#include "base/compiler.h"
#include "proto/params.h"

/* Names that begin so are set by weir in managed mode, and by nobody else. */
#define FACTS_SESSION_PREFIX "SESSION_"

struct facts {
	struct view method, uri, script_name, path_info, host, server_name, cookie; /* borrowed from the params */
	struct view https_value, scheme;                                            /* the same */
	uint64_t content_length;
	bool has_length;
	bool bad_length; /* CONTENT_LENGTH is there and is no number */
	bool https;
	bool idempotent;    /* RFC 9110 section 9.2.2 */
	bool session_names; /* some name begins with SESSION_: weir's own, which a managed request must not bring */
};

/* False when the variables end inside a pair (see params_check). */
MUST_USE bool facts_gather(struct facts *f, const struct params *p);

/* The path that apps are matched by: of REQUEST_URI (else SCRIPT_NAME PATH_INFO), without scheme, host and query,
 * percent-decoded once, without empty, "." and ".." segments. For matching only: what the application gets is not
 * touched. Written to `out`, which is cleared first. */
void facts_path(const struct facts *f, struct buf *out);

/* The host of HTTP_HOST (else SERVER_NAME) without port. */
struct view facts_host(const struct facts *f);

#endif
