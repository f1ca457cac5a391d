/* Files become one SSL_CTX, after they were tried on the node itself: what the others would refuse is told at load. */
#include "tls/inside.h"

#include "base/error.h"
#include "base/invariant.h"

#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	TICKETS = 2,                /* a pair has two links, which come back together */
	TICKET_S = 3600,            /* how long a session can be taken up again */
	CERTIFICATES_MAX = 32 << 10 /* bytes of a chain that the other side sends */
};

#define SUITES "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define GROUPS "X25519:P-256:P-384"

static int say(struct tls_said *said, const char *path, const char *reason)
{
	snprintf(said->why, sizeof said->why, "%s: %s", path, reason);
	return ERR_CONFIG;
}

/* --- points in time --- */

static int64_t seconds_of(const ASN1_TIME *t)
{
	ASN1_TIME *zero = ASN1_TIME_set(NULL, 0);
	int days = 0, seconds = 0;
	bool good = zero && ASN1_TIME_diff(&days, &seconds, zero, t) == 1;

	ASN1_TIME_free(zero);
	return good ? (int64_t)days * 86400 + seconds : INT64_MAX;
}

static int64_t earlier(int64_t a, const ASN1_TIME *t)
{
	int64_t b = t ? seconds_of(t) : INT64_MAX;

	return a < b ? a : b;
}

/* Of the authorities only those that the certificate stands on would count; they outlive what they have signed. */
static int64_t first_end(const struct tls_loaded *l)
{
	int64_t end = earlier(INT64_MAX, X509_get0_notAfter(l->own));

	for (int i = 0; i < sk_X509_num(l->chain); i++)
		end = earlier(end, X509_get0_notAfter(sk_X509_value(l->chain, i)));
	for (int i = 0; i < sk_X509_CRL_num(l->crls); i++)
		end = earlier(end, X509_CRL_get0_nextUpdate(sk_X509_CRL_value(l->crls, i)));
	return end;
}

/* --- what is trusted --- */

/* OpenSSL would refuse every certificate for a list that has run out: better to say so before the old one is gone. */
static int check_crl_times(const struct tls_loaded *l, const struct tls_settings *s, struct wall_time now,
			   struct tls_said *said)
{
	for (int i = 0; i < sk_X509_CRL_num(l->crls); i++) {
		const X509_CRL *crl = sk_X509_CRL_value(l->crls, i);
		if (earlier(INT64_MAX, X509_CRL_get0_nextUpdate(crl)) < now.s)
			return say(said, s->crl, "the revocation list has expired");
		if (seconds_of(X509_CRL_get0_lastUpdate(crl)) > now.s)
			return say(said, s->crl, "the revocation list is not yet valid");
	}
	return 0;
}

static bool trust(X509_STORE *trusted, const struct tls_loaded *l)
{
	bool good = true;

	for (int i = 0; i < sk_X509_num(l->authority); i++)
		good = X509_STORE_add_cert(trusted, sk_X509_value(l->authority, i)) == 1 && good;
	for (int i = 0; i < sk_X509_CRL_num(l->crls); i++)
		good = X509_STORE_add_crl(trusted, sk_X509_CRL_value(l->crls, i)) == 1 && good;
	if (sk_X509_CRL_num(l->crls) > 0)
		good = X509_STORE_set_flags(trusted, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL) == 1 && good;
	return good;
}

static int check_own(X509_STORE *trusted, const struct tls_loaded *l, const struct tls_settings *s,
		     struct wall_time now, struct tls_said *said)
{
	struct tls_identity who;
	char reason[TLS_DETAIL_BYTES];
	const char *why = tls_verify_own(trusted, l, now);

	if (why)
		return say(said, s->certificate, why);
	if (!tls_identity_read(l->own, &who, &why)) {
		snprintf(reason, sizeof reason, "the certificate %s", why);
		return say(said, s->certificate, reason);
	}
	if (strcmp(who.cluster, s->cluster) == 0 && strcmp(who.node, s->node) == 0)
		return 0;
	snprintf(reason, sizeof reason,
		 "the certificate is of node %s of cluster %s, and this is node %s of cluster %s", who.node,
		 who.cluster, s->node, s->cluster);
	return say(said, s->certificate, reason);
}

/* --- sessions --- */

/* A new ticket of who listens; the session is ours where we return 1. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
	struct tls_channel *c = SSL_get_app_data(ssl);

	if (c->state != TLS_OPEN)
		return 0;
	tls_cache_put(&c->context->cache, c->peer, session, SSL_get_peer_cert_chain(ssl));
	return 1;
}

/* A ticket of ours comes back. Who would not be let in today has to show its certificate, and hears why not. (Tickets
 * carry the certificate, and nothing that may be between it and the authority: who needs that shows it every time.) */
static SSL_TICKET_RETURN on_ticket(SSL *ssl, SSL_SESSION *session, const unsigned char *key, size_t key_len,
				   SSL_TICKET_STATUS status, void *unused)
{
	const struct tls_channel *c = SSL_get_app_data(ssl);

	(void)key;
	(void)key_len;
	(void)unused;
	if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW)
		return SSL_TICKET_RETURN_IGNORE_RENEW;
	return tls_verify_again(c, SSL_SESSION_get0_peer(session), NULL) ? SSL_TICKET_RETURN_USE_RENEW
									 : SSL_TICKET_RETURN_IGNORE_RENEW;
}

static bool set_sessions(SSL_CTX *ssl)
{
	static const unsigned char cluster[] = "weir";

	SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(ssl, on_session);
	SSL_CTX_set_timeout(ssl, TICKET_S);
	return SSL_CTX_set_session_ticket_cb(ssl, NULL, on_ticket, NULL) == 1 &&
	       SSL_CTX_set_num_tickets(ssl, TICKETS) == 1 &&
	       SSL_CTX_set_session_id_context(ssl, cluster, sizeof cluster - 1) == 1;
}

/* --- the context --- */

static bool set_protocol(SSL_CTX *ssl)
{
	SSL_CTX_set_security_level(ssl, TLS_SECURITY_LEVEL);
	SSL_CTX_set_options(ssl, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_mode(ssl, SSL_MODE_NO_AUTO_CHAIN | SSL_MODE_RELEASE_BUFFERS | SSL_MODE_AUTO_RETRY);
	SSL_CTX_set_max_cert_list(ssl, CERTIFICATES_MAX);
	SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_cert_verify_callback(ssl, tls_verify, NULL);
	return SSL_CTX_set_min_proto_version(ssl, TLS1_3_VERSION) == 1 &&
	       SSL_CTX_set_max_proto_version(ssl, TLS1_3_VERSION) == 1 && SSL_CTX_set_max_early_data(ssl, 0) == 1 &&
	       SSL_CTX_set_recv_max_early_data(ssl, 0) == 1 && SSL_CTX_set_ciphersuites(ssl, SUITES) == 1 &&
	       SSL_CTX_set1_groups_list(ssl, GROUPS) == 1;
}

static int build(struct tls_context *c, const struct tls_loaded *l, const struct tls_settings *s, struct wall_time now,
		 struct tls_said *said)
{
	c->ssl = SSL_CTX_new(TLS_method());
	c->bio = tls_bio_method();
	if (!c->ssl || !c->bio || !set_protocol(c->ssl) || !set_sessions(c->ssl))
		return ERR_NO_MEMORY;
	if (!trust(SSL_CTX_get_cert_store(c->ssl), l))
		return ERR_NO_MEMORY;
	int err = check_crl_times(l, s, now, said);
	if (!err)
		err = check_own(SSL_CTX_get_cert_store(c->ssl), l, s, now, said);
	if (err)
		return err;
	/* OpenSSL has its own mind about keys that are too weak. */
	if (SSL_CTX_use_cert_and_key(c->ssl, l->own, l->key, l->chain, 1) != 1)
		return say(said, s->certificate, "OpenSSL does not take the certificate and its key");
	c->expires.s = first_end(l);
	return 0;
}

int tls_context_load(struct tls_context **out, const struct tls_settings *s, struct wall_time now,
		     struct tls_said *said)
{
	struct tls_loaded loaded = {.own = NULL};
	struct tls_context *c = calloc(1, sizeof *c);

	INVARIANT(name_is_good(view_str(s->cluster)) && name_is_good(view_str(s->node)));
	*said = (struct tls_said){.why = ""};
	if (!c)
		return ERR_NO_MEMORY;
	atomic_init(&c->users, 1);
	tls_cache_init(&c->cache);
	memcpy(c->cluster, s->cluster, strlen(s->cluster) + 1);
	int err = tls_load(&loaded, s, said);
	if (!err)
		err = build(c, &loaded, s, now, said);
	tls_loaded_fini(&loaded);
	ERR_clear_error();
	if (err)
		tls_context_unref(&c);
	else
		*out = c;
	return err;
}

struct tls_context *tls_context_ref(struct tls_context *c)
{
	unsigned before = atomic_fetch_add(&c->users, 1);

	INVARIANT(before > 0);
	return c;
}

void tls_context_unref(struct tls_context **c)
{
	struct tls_context *gone = *c;

	*c = NULL;
	if (!gone || atomic_fetch_sub(&gone->users, 1) > 1)
		return;
	tls_cache_fini(&gone->cache);
	SSL_CTX_free(gone->ssl);
	BIO_meth_free(gone->bio);
	free(gone);
}

struct wall_time tls_context_expires(const struct tls_context *c)
{
	return c->expires;
}
