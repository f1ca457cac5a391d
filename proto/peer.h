/* The frames between nodes (doc/peer-protocol.md): heads, and the bodies of all types. Pure: bytes in, frames out;
 * values in, bytes out. Nothing here allocates but the buf that is handed in. What is decoded points into the input. */
#ifndef WEIR_PROTO_PEER_H
#define WEIR_PROTO_PEER_H

#include "base/buf.h"
#include "base/view.h"
#include "proto/decode.h"

enum {
	PEER_LINKS = 2,
	PEER_VERSION_LEAST = 1, /* that this weir speaks */
	PEER_VERSION_GREATEST = 1,
	PEER_HEAD_BYTES = 16,
	PEER_BODY_MAX = (1 << 20) + (64 << 10), /* bytes; each type has a bound of its own, this is the greatest */
	PEER_VIEW_MAX = 1 << 20,
	PEER_CLUSTER_BYTES = 16, /* of a cluster's id */
	PEER_NAME_MAX = 64,
	PEER_ADDRESS_MAX = 260,
	PEER_URL_MAX = 512,
	PEER_TEXT_MAX = 255,      /* of GOODBYE */
	PEER_SETTINGS_MAX = 2048, /* bytes: an app's settings as one line of text */
	PEER_APPS_MAX = 256,
	PEER_HEARD_MAX = 1000, /* names in a BEAT */
};

enum peer_type {
	PEER_HELLO = 1,
	PEER_GOODBYE = 2,
	PEER_BEAT = 3,
	PEER_CREDIT = 4,
	PEER_VIEW = 5,
	PEER_CONTROL = 6,
	PEER_REPORT = 7,
};

enum peer_link { PEER_LINK_CONTROL = 0, PEER_LINK_BULK = 1 };

struct peer_frame {
	enum peer_type type;
	uint16_t stream; /* 0: of the link itself */
	uint64_t sequence;
	struct view body; /* borrowed from the input */
};

/* One direction of one connection. Before its HELLO nothing else is taken but GOODBYE. */
struct peer_decoder {
	uint64_t next; /* sequence number that must come */
	bool greeted;
	enum peer_link link; /* says which types may come; of the HELLO */
	const char *reason;  /* set when MALFORMED; a string literal */
};

void peer_decoder_init(struct peer_decoder *d);

/* The next whole frame of *in, which is advanced past it. NEED_MORE: not all of it is there, *in is untouched, and it
 * is bounded: a head that promises more than its type may have is MALFORMED at once. MALFORMED: an unknown type or
 * flag, a sequence number out of turn, a body too long, a type that this link does not carry, a frame before HELLO, a
 * second HELLO. After MALFORMED every call answers MALFORMED. */
MUST_USE enum decode peer_next(struct peer_decoder *d, struct view *in, struct peer_frame *out);

/* Bytes that the whole frame at the start of `in` takes, head included, so that its owner can make room; 0: the head is
 * not there yet. */
size_t peer_frame_bytes(struct view in);

/* The bound of a type, and whether the link carries it. */
uint32_t peer_body_max(enum peer_type type);
bool peer_type_is_on(enum peer_type type, enum peer_link link);

/* The head of a frame whose body follows at once. */
void peer_put_head(struct buf *b, enum peer_type type, uint16_t stream, uint64_t sequence, size_t body_bytes);

/* --- bodies. Each decoder answers 0 or ERR_MALFORMED, and leaves *out untouched then; what it accepts has exactly the
 * bytes that encoding gives. Encoders write the body alone; errors stay in the buf. --- */

struct peer_app {
	struct view name;
	uint64_t digest;      /* of `settings` */
	struct view settings; /* "mode=managed cookie=... ", for people: shown where nodes disagree */
};

struct peer_hello {
	uint16_t version_least, version_greatest;
	enum peer_link link;
	uint8_t cluster[PEER_CLUSTER_BYTES]; /* all 0: it has never been in a view */
	struct view name;
	uint64_t incarnation; /* not 0 */
	uint64_t epoch;       /* of the view it has installed; 0: none */
	struct view address, zone, url;
	bool witness, votes, leaving;
	uint16_t app_count;
	struct peer_app apps[PEER_APPS_MAX]; /* in the order of their names, each once */
};

void peer_hello_encode(const struct peer_hello *h, struct buf *out);
/* ERR_VERSION too: it is of a node with which there is no common version. What stands behind the versions may then be
 * anything; these are always at the same place, for the message. */
MUST_USE int peer_hello_decode(struct view body, struct peer_hello *out);
MUST_USE int peer_hello_versions(struct view body, uint16_t *least, uint16_t *greatest);
/* The version that both speak, or 0. */
uint16_t peer_version_common(const struct peer_hello *a, const struct peer_hello *b);

#define PEER_GOODBYE_TABLE(ROW)                                                                                        \
	ROW(PEER_BYE_LEAVING, 1, "leaving")     /* the process ends */                                                 \
	ROW(PEER_BYE_DUPLICATE, 2, "duplicate") /* the other connection of the pair stays */                           \
	ROW(PEER_BYE_MALFORMED, 3, "malformed")                                                                        \
	ROW(PEER_BYE_VERSION, 4, "version")                                                                            \
	ROW(PEER_BYE_CLUSTER, 5, "other cluster") /* another cluster id */                                             \
	ROW(PEER_BYE_NAME, 6, "name")             /* not the name of its certificate, our own, or in use */            \
	ROW(PEER_BYE_REMOVED, 7, "removed")       /* an incarnation that was taken out of the view */                  \
	ROW(PEER_BYE_SILENT, 8, "silent")                                                                              \
	ROW(PEER_BYE_OVERRUN, 9, "overrun") /* sent more than its credit */                                            \
	ROW(PEER_BYE_FULL, 10, "full")      /* no room, no memory */

enum peer_goodbye_reason {
#define PEER_GOODBYE_ROW(name, number, text) name = (number),
	PEER_GOODBYE_TABLE(PEER_GOODBYE_ROW)
#undef PEER_GOODBYE_ROW
};

const char *peer_goodbye_text(unsigned reason); /* "unknown": a number that this version does not know */

struct peer_goodbye {
	uint16_t reason; /* any number */
	struct view text;
};

void peer_goodbye_encode(const struct peer_goodbye *g, struct buf *out);
MUST_USE int peer_goodbye_decode(struct view body, struct peer_goodbye *out);

struct peer_beat {
	uint64_t sent_us; /* the sender's clock */
	uint64_t echo_us; /* sent_us of the last beat that it has heard; 0: none */
	uint64_t held_us; /* how long ago that was */
	uint64_t epoch;   /* installed */
	uint16_t heard_count;
	struct view heard; /* the names that it hears, one after the other: peer_heard_next() */
};

/* Cuts the next name off `rest`, which begins as beat.heard. False: there is none. */
bool peer_heard_next(struct view *rest, struct view *name);
void peer_heard_put(struct buf *out, struct view name); /* to a buf that becomes beat.heard */
void peer_beat_encode(const struct peer_beat *b, struct buf *out);
MUST_USE int peer_beat_decode(struct view body, struct peer_beat *out);

void peer_credit_encode(uint32_t bytes, struct buf *out);
MUST_USE int peer_credit_decode(struct view body, uint32_t *bytes);

#endif
