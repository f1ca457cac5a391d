/* The variables of a request, whatever wire they came over. Pure.
 *
 * A request keeps the bytes as they arrived (`raw`) and the wire's name; it is checked once, when complete, and walked
 * whenever somebody needs it. There is no index to build or to free. */
#ifndef WEIR_PROTO_PARAMS_H
#define WEIR_PROTO_PARAMS_H

#include "proto/fcgi.h"

enum wire { WIRE_FCGI, WIRE_SCGI };

struct params {
	enum wire wire;
	struct view
	    raw; /* FCGI: the content of the PARAMS stream. SCGI: the content of the header netstring. Borrowed */
};

/* Whether `raw` is a whole list of pairs: FCGI 3.4; SCGI: name NUL value NUL, no empty name. *reason is set when not.
 */
bool params_check(const struct params *p, const char **reason);

struct params_iter {
	enum wire wire;
	struct view rest;
};

struct params_iter params_begin(const struct params *p);
/* False at the end. Only for params that passed params_check(). */
bool params_next(struct params_iter *it, struct param *out);

/* The first variable of that name; false when there is none. */
bool params_find(const struct params *p, struct view name, struct view *value);

/* Writes a request's variables for a backend: those of `p` but the ones whose name starts with `drop_prefix` (empty:
 * none is dropped), then `extra`. */

/* FastCGI: PARAMS records and the empty one that ends them. A pair is never split across two records where it fits in
 * one (PHP reads each record on its own); records are filled up to 65,535 bytes and padded. A pair that is larger
 * begins in a fresh record, and so does what follows it. */
void params_put_fcgi(struct buf *b, uint16_t id, const struct params *p, struct view drop_prefix,
		     const struct param *extra, size_t extra_count);

/* SCGI: the netstring, CONTENT_LENGTH first with the given value, then SCGI=1, then the rest (those two are not taken
 * from `p` again, and must not be in `extra`). A NUL or an empty name cannot be said in SCGI: ERR_MALFORMED in the buf;
 * a netstring of more than nine digits: ERR_TOO_LARGE. Nothing is written then. */
void params_put_scgi(struct buf *b, const struct params *p, uint64_t content_length, struct view drop_prefix,
		     const struct param *extra, size_t extra_count);

#endif
