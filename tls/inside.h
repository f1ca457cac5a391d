/* What the parts of tls/ share: private to tls/context.c, load.c, verify.c, cache.c and channel.c.
 *
 *   load.c     files into certificates, keys and revocation lists
 *   context.c  these into one SSL_CTX
 *   verify.c   who the other side is, and whether it is let in; reasons and alerts
 *   cache.c    sessions that a later handshake may be shortened with
 *   channel.c  one connection */
#ifndef WEIR_TLS_INSIDE_H
#define WEIR_TLS_INSIDE_H

#include "base/list.h"
#include "tls/names.h"
#include "tls/tls.h"

#include <openssl/ssl.h>
#include <stdatomic.h>

enum { TLS_SECURITY_LEVEL = 2 }; /* OpenSSL's: 112 bits */

/* --- load.c --- */

struct tls_loaded {
	X509 *own;              /* owned, as all of it */
	STACK_OF(X509) * chain; /* above `own` */
	EVP_PKEY *key;
	STACK_OF(X509) * authority;
	STACK_OF(X509_CRL) * crls; /* empty: no file was given */
};

MUST_USE int tls_load(struct tls_loaded *out, const struct tls_settings *s, struct tls_said *said);
void tls_loaded_fini(struct tls_loaded *l);

/* --- cache.c --- */

/* By the name of who listens; newest first. */
struct tls_cache {
	struct list entries;
	size_t count;
};

void tls_cache_init(struct tls_cache *c);
void tls_cache_fini(struct tls_cache *c);
/* Takes over the session, or frees it where there is no room; counts the chain. */
void tls_cache_put(struct tls_cache *c, const char *peer, SSL_SESSION *session, STACK_OF(X509) * chain);
/* Removes the newest for `peer`: a ticket is shown once. Both are the caller's then. False: there is none. */
bool tls_cache_take(struct tls_cache *c, const char *peer, SSL_SESSION **session, STACK_OF(X509) * *chain);

/* --- context.c --- */

struct tls_context {
	atomic_uint users;
	SSL_CTX *ssl;    /* owned */
	BIO_METHOD *bio; /* owned; of the channels */
	char cluster[TLS_NAME_MAX + 1];
	struct wall_time expires;
	struct tls_cache cache; /* of the thread that uses the channels */
};

/* --- channel.c --- */

struct tls_channel {
	struct tls_context *context; /* counted */
	SSL *ssl;                    /* owned */
	enum tls_role role;
	enum tls_state state;
	bool ending;                     /* tls_channel_end() was called */
	unsigned first;                  /* bytes of the first record's head that were seen */
	char expected[TLS_NAME_MAX + 1]; /* "": whoever it is */
	char peer[TLS_NAME_MAX + 1];
	struct wall_time now;
	uint64_t records;           /* that were written with the present key, about */
	struct tls_failure verdict; /* of tls_verify(), before OpenSSL fails for it */
	struct tls_failure failure;

	/* While a call of the channel's is under way. */
	struct view in;  /* borrowed: what is left of it */
	struct buf *out; /* borrowed */
};

/* A channel's way to its bytes. NULL: no memory. */
BIO_METHOD *tls_bio_method(void);

/* --- verify.c --- */

/* OpenSSL's whole decision on the other side's certificate. */
int tls_verify(X509_STORE_CTX *store, void *unused);
/* Whether what was let in once would be today. `leaf` may be NULL: then not. */
bool tls_verify_again(const struct tls_channel *c, X509 *leaf, STACK_OF(X509) * chain);
/* The node's own certificate, as the others will see it: NULL, or what is wrong with it, static. */
const char *tls_verify_own(X509_STORE *trusted, const struct tls_loaded *l, struct wall_time now);
/* Whether `certificate` is that of whom the channel wants; *failure otherwise. */
bool tls_verify_name(const struct tls_channel *c, X509 *certificate, char node[TLS_NAME_MAX + 1],
		     struct tls_failure *failure);
/* What an alert of the other side means. */
enum tls_reason tls_reason_of_alert(int alert);

#endif
