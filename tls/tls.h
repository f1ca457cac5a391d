/* Encrypted, mutually authenticated channels between the nodes of one cluster: TLS 1.3 and nothing else.
 *
 *   struct tls_context   certificate, key, authority, revocation list: what one (re)load has read. Immutable, counted
 *   struct tls_channel   one connection: cipher bytes in, plain bytes out, and back. It knows no socket
 *
 * A node is who its certificate says: the one subject alternative name that is a URI `weir://CLUSTER/NODE`. Whom the
 * cluster's own authority has not signed is nobody; the system's authorities count nothing.
 *
 * A context may be counted from any thread; a context's channels are all used by one thread. */
#ifndef WEIR_TLS_TLS_H
#define WEIR_TLS_TLS_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/name.h"

enum {
	TLS_NAME_MAX = NAME_BYTES_MAX, /* of a cluster's or a node's name */
	TLS_LINE_BYTES = 1024,
	TLS_DETAIL_BYTES = 256,
	TLS_REKEY_RECORDS =
	    1 << 16,              /* of one key: far below what AES-GCM bears (RFC 8446 section 5.5), and still rare */
	TLS_PLAIN_MAX = 16 << 10, /* of one record: so much a channel holds back at most in each direction */
};

/* --- contexts --- */

struct tls_settings {
	const char *cluster, *node;
	const char *certificate; /* PEM: the node's, then what is between it and the authority */
	const char *key;         /* PEM, not encrypted */
	const char *authority;   /* PEM: one or several, each of them self-signed */
	const char *crl;         /* PEM: one for each authority that is in use; NULL: nobody is revoked */
};

struct tls_said {
	char why[TLS_LINE_BYTES];     /* one line, "FILE: reason"; "" when it went well */
	char warning[TLS_LINE_BYTES]; /* the same, of what is no error; "": none */
};

struct tls_context;

/* Reads the files and tries the node's own certificate on itself. 0, ERR_CONFIG with a line in said->why, or
 * ERR_NO_MEMORY. Tickets and sessions of other contexts mean nothing to the new one. */
MUST_USE int tls_context_load(struct tls_context **out, const struct tls_settings *s, struct wall_time now,
			      struct tls_said *said);
struct tls_context *tls_context_ref(struct tls_context *c);
void tls_context_unref(struct tls_context **c);
/* When the first of the node's own certificate, those above it, and the revocation list ends. */
struct wall_time tls_context_expires(const struct tls_context *c);

/* --- channels --- */

enum tls_role { TLS_DIALS, TLS_LISTENS };

/*           start, feed              feed             end
 * HANDSHAKE -----------> OPEN ----------------> ENDED      the other side sends no more
 *     |                    |
 *     +--------------------+-----------------> FAILED
 *
 * The side that dials is OPEN as soon as it is content itself; only what it reads then tells that the other one is. */
enum tls_state { TLS_HANDSHAKE, TLS_OPEN, TLS_ENDED, TLS_FAILED };

#define TLS_REASON_TABLE(ROW)                                                                                          \
	ROW(TLS_NO_REASON, "none")                                                                                     \
	ROW(TLS_EXPIRED, "expired")                                                                                    \
	ROW(TLS_NOT_YET_VALID, "not yet valid")                                                                        \
	ROW(TLS_UNKNOWN_AUTHORITY, "unknown authority")                                                                \
	ROW(TLS_WRONG_NAME, "wrong name")                                                                              \
	ROW(TLS_WRONG_CLUSTER, "wrong cluster")                                                                        \
	ROW(TLS_REVOKED, "revoked")                                                                                    \
	ROW(TLS_NO_CERTIFICATE, "no certificate")                                                                      \
	ROW(TLS_BAD_CERTIFICATE, "bad certificate") /* it may not be used for this, its key is too weak ... */         \
	ROW(TLS_CRL_EXPIRED, "revocation list expired")                                                                \
	ROW(TLS_NOT_TLS, "not TLS")                                                                                    \
	ROW(TLS_PROTOCOL, "protocol") /* not TLS 1.3, tampered with, nonsense */                                       \
	ROW(TLS_NO_MEMORY, "out of memory")

enum tls_reason {
#define TLS_REASON_ROW(name, text) name,
	TLS_REASON_TABLE(TLS_REASON_ROW)
#undef TLS_REASON_ROW
};

const char *tls_reason_text(enum tls_reason reason);

struct tls_failure {
	enum tls_reason reason;
	bool heard;                    /* the other side has said so, in an alert (doc/peer-protocol.md) */
	char detail[TLS_DETAIL_BYTES]; /* more words, for the log, where there are any; bytes of the other side may be
					  in it */
};

struct tls_channel;

/* `peer` is the node that must be there; NULL: whichever of the cluster. Counts the context, which stays as it is for
 * this channel. Certificates are judged as of `now`. 0 or ERR_NO_MEMORY. */
MUST_USE int tls_channel_new(struct tls_channel **out, struct tls_context *context, enum tls_role role,
			     const char *peer, struct wall_time now);
void tls_channel_free(struct tls_channel **c);

enum tls_state tls_channel_state(const struct tls_channel *c);
/* The other node's name, from OPEN on; before "". */
const char *tls_channel_peer(const struct tls_channel *c);
bool tls_channel_resumed(const struct tls_channel *c);
/* What the other side, in OPEN, would be told by this context as of `now`; TLS_NO_REASON: it would be let in. */
enum tls_reason tls_channel_judge(const struct tls_channel *c, const struct tls_context *context, struct wall_time now);
/* Good until the channel is freed. */
const struct tls_failure *tls_channel_failure(const struct tls_channel *c);

/* In all of these `out` gets cipher bytes that are to be sent, also when the channel fails: an alert tells the other
 * side why. A buffer that takes no more fails the channel. */

/* Who dials speaks first. Once. */
void tls_channel_start(struct tls_channel *c, struct buf *out);
/* All of `cipher` is taken; `plain` grows by TLS_PLAIN_MAX + cipher.len at most, which is for its owner to bound: who
 * has enough does not read from the network. In ENDED and FAILED what comes is dropped. */
void tls_channel_feed(struct tls_channel *c, struct view cipher, struct buf *plain, struct buf *out);
/* All of `plain` is taken; `out` grows by it and 22 bytes for each TLS_PLAIN_MAX that was begun, and now and then by
 * the news of a new key. 0; ERR_BUSY before OPEN; ERR_CLOSED after tls_channel_end(), ENDED and FAILED. */
MUST_USE int tls_channel_write(struct tls_channel *c, struct view plain, struct buf *out);
/* Says that no more will be written. What the other side still sends can be read until ENDED. Safe to repeat. */
void tls_channel_end(struct tls_channel *c, struct buf *out);

#endif
