/* A session outside memory, and its bytes in a store (doc/disk-format.md). Pure. */
#ifndef WEIR_SESSION_RECORD_H
#define WEIR_SESSION_RECORD_H

#include "base/buf.h"
#include "session/id.h"

enum {
	RECORD_FORMAT = 1,      /* written by this version; greater ones are refused with ERR_VERSION */
	RECORD_APP_MAX = 64,    /* bytes of an app's name */
	RECORD_HEAD_BYTES = 48, /* at the front of a record: enough for record_peek() */
};

struct sess_record {
	struct sess_id id;
	struct view app;            /* the app's name, 1 to RECORD_APP_MAX bytes; borrowed */
	uint64_t version;           /* of the state; grows with each commit */
	uint32_t created_s, used_s; /* calendar, seconds since 1970-01-01 UTC */
	uint32_t ttl_s;
	bool fresh;        /* no request has brought it back yet: SESSION_STATE=new */
	bool pinned;       /* an operator wants it in memory */
	struct view state; /* borrowed */
};

/* The second at which it expires if nobody uses it. */
static inline uint64_t record_expires_s(const struct sess_record *r)
{
	return (uint64_t)r->used_s + r->ttl_s;
}

/* Appends the record's bytes. One of 4 GiB or more is ERR_TOO_LARGE in `out`. */
void record_encode(const struct sess_record *r, struct buf *out);

/* 0; ERR_MALFORMED: damaged (length, checksum, or another id than `id`); ERR_VERSION: well formed, of a newer format.
 * *out borrows from `bytes` and is untouched on failure. */
MUST_USE int record_decode(struct view bytes, const struct sess_id *id, struct sess_record *out);

/* What stands at the same place in a record of any format, this one and later ones. */
struct record_head {
	struct sess_id id;
	uint64_t version, expires_s;
};

/* From the first RECORD_HEAD_BYTES or more of a record, without a look at the checksum: 0 or ERR_MALFORMED, which
 * leaves *out as it was. */
MUST_USE int record_peek(struct view bytes, struct record_head *out);

#endif
