/* Who the other side is, and whether it is let in. The same for a certificate that is shown and for one that a
 * shortened handshake stands on; and what both sides are told of it. */
#include "tls/inside.h"

#include <openssl/err.h>
#include <stdio.h>

const char *tls_reason_text(enum tls_reason reason)
{
	static const char *const texts[] = {
#define TEXT_ROW(name, text) [name] = text,
	    TLS_REASON_TABLE(TEXT_ROW)
#undef TEXT_ROW
	};

	return texts[reason];
}

/* --- reasons and alerts --- */

/* OpenSSL chooses the alert by the error of the verification, so each reason is given the error whose alert it has in
 * doc/peer-protocol.md. 29 is an error that OpenSSL has no alert for, which makes it certificate_unknown. */
static const struct {
	enum tls_reason reason;
	int error, alert;
} alerts[] = {
    {TLS_EXPIRED, X509_V_ERR_CERT_HAS_EXPIRED, SSL_AD_CERTIFICATE_EXPIRED},
    {TLS_NOT_YET_VALID, X509_V_ERR_CERT_REJECTED, SSL_AD_BAD_CERTIFICATE},
    {TLS_UNKNOWN_AUTHORITY, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, SSL_AD_UNKNOWN_CA},
    {TLS_REVOKED, X509_V_ERR_CERT_REVOKED, SSL_AD_CERTIFICATE_REVOKED},
    {TLS_WRONG_NAME, X509_V_ERR_SUBJECT_ISSUER_MISMATCH, SSL_AD_CERTIFICATE_UNKNOWN},
    {TLS_WRONG_CLUSTER, X509_V_ERR_SUBJECT_ISSUER_MISMATCH, SSL_AD_CERTIFICATE_UNKNOWN},
    {TLS_BAD_CERTIFICATE, X509_V_ERR_INVALID_PURPOSE, SSL_AD_UNSUPPORTED_CERTIFICATE},
    {TLS_CRL_EXPIRED, X509_V_ERR_APPLICATION_VERIFICATION, SSL_AD_HANDSHAKE_FAILURE},
    {TLS_NO_MEMORY, X509_V_ERR_OUT_OF_MEM, SSL_AD_INTERNAL_ERROR},
};

enum { ALERTS = sizeof alerts / sizeof alerts[0] };

enum tls_reason tls_reason_of_alert(int alert)
{
	if (alert == TLS13_AD_CERTIFICATE_REQUIRED)
		return TLS_NO_CERTIFICATE;
	/* These two are OpenSSL's for much else. */
	if (alert == SSL_AD_HANDSHAKE_FAILURE || alert == SSL_AD_INTERNAL_ERROR)
		return TLS_PROTOCOL;
	for (unsigned i = 0; i < ALERTS; i++) {
		if (alerts[i].alert == alert)
			return alerts[i].reason;
	}
	return TLS_PROTOCOL;
}

static int error_of(enum tls_reason reason)
{
	for (unsigned i = 0; i < ALERTS; i++) {
		if (alerts[i].reason == reason)
			return alerts[i].error;
	}
	return X509_V_ERR_APPLICATION_VERIFICATION;
}

static enum tls_reason reason_of(int error)
{
	switch (error) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
		return TLS_EXPIRED;
	case X509_V_ERR_CERT_NOT_YET_VALID:
		return TLS_NOT_YET_VALID;
	case X509_V_ERR_CERT_REVOKED:
		return TLS_REVOKED;
	case X509_V_ERR_CRL_HAS_EXPIRED:
	case X509_V_ERR_CRL_NOT_YET_VALID:
		return TLS_CRL_EXPIRED;
	case X509_V_ERR_OUT_OF_MEM:
		return TLS_NO_MEMORY;
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
	case X509_V_ERR_UNABLE_TO_GET_CRL:
	case X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER:
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_CERT_SIGNATURE_FAILURE:
	case X509_V_ERR_CERT_UNTRUSTED:
		return TLS_UNKNOWN_AUTHORITY;
	default:
		return TLS_BAD_CERTIFICATE;
	}
}

/* --- the name --- */

static bool fail(struct tls_failure *failure, enum tls_reason reason, const char *format, const char *a, const char *b)
{
	failure->reason = reason;
	failure->heard = false;
	/* Only the formats below. */
	snprintf(failure->detail, sizeof failure->detail, "%s%s%s", format, a, b);
	return false;
}

bool tls_verify_name(const struct tls_channel *c, X509 *certificate, char node[TLS_NAME_MAX + 1],
		     struct tls_failure *failure)
{
	struct tls_identity who;
	const char *why;

	if (!tls_identity_read(certificate, &who, &why))
		return fail(failure, TLS_WRONG_NAME, "the certificate ", why, "");
	if (strcmp(who.cluster, c->context->cluster) != 0)
		return fail(failure, TLS_WRONG_CLUSTER, "it is of the cluster ", who.cluster, "");
	if (*c->expected && strcmp(who.node, c->expected) != 0)
		return fail(failure, TLS_WRONG_NAME, "it is ", who.node, "");
	memcpy(node, who.node, sizeof who.node);
	return true;
}

/* --- the certificate --- */

int tls_verify(X509_STORE_CTX *store, void *unused)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls_channel *c = SSL_get_app_data(ssl);
	char node[TLS_NAME_MAX + 1];
	bool good = false;

	(void)unused;
	if (X509_verify_cert(store) == 1) {
		good = tls_verify_name(c, X509_STORE_CTX_get0_cert(store), node, &c->verdict);
	} else {
		int error = X509_STORE_CTX_get_error(store);
		(void)fail(&c->verdict, reason_of(error), X509_verify_cert_error_string(error), "", "");
	}
	X509_STORE_CTX_set_error(store, good ? X509_V_OK : error_of(c->verdict.reason));
	return good;
}

/* 0 or OpenSSL's error. */
static int verify_as(X509_STORE *trusted, X509 *leaf, STACK_OF(X509) * chain, const char *purpose, struct wall_time now)
{
	X509_STORE_CTX *store = X509_STORE_CTX_new();
	int error = X509_V_ERR_OUT_OF_MEM;

	if (!store || X509_STORE_CTX_init(store, trusted, leaf, chain) != 1)
		goto out;
	if (X509_STORE_CTX_set_default(store, purpose) != 1)
		goto out;
	X509_VERIFY_PARAM_set_auth_level(X509_STORE_CTX_get0_param(store), TLS_SECURITY_LEVEL);
	X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(store), (time_t)now.s);
	if (X509_verify_cert(store) == 1) {
		error = X509_V_OK;
	} else {
		error = X509_STORE_CTX_get_error(store);
		error = error == X509_V_OK ? X509_V_ERR_UNSPECIFIED : error;
	}
out:
	X509_STORE_CTX_free(store);
	return error;
}

bool tls_verify_again(const struct tls_channel *c, X509 *leaf, STACK_OF(X509) * chain)
{
	const char *purpose = c->role == TLS_DIALS ? "ssl_server" : "ssl_client";
	char node[TLS_NAME_MAX + 1];
	struct tls_failure ignored;

	return leaf && verify_as(SSL_CTX_get_cert_store(c->context->ssl), leaf, chain, purpose, c->now) == X509_V_OK &&
	       tls_verify_name(c, leaf, node, &ignored);
}

enum tls_reason tls_channel_judge(const struct tls_channel *c, const struct tls_context *context, struct wall_time now)
{
	const char *purpose = c->role == TLS_DIALS ? "ssl_server" : "ssl_client";
	X509 *leaf = SSL_get0_peer_certificate(c->ssl);

	if (c->state != TLS_OPEN || !leaf)
		return TLS_NO_REASON;
	int error =
	    verify_as(SSL_CTX_get_cert_store(context->ssl), leaf, SSL_get_peer_cert_chain(c->ssl), purpose, now);
	ERR_clear_error();
	return error == X509_V_OK ? TLS_NO_REASON : reason_of(error);
}

static const char *own_text(int error)
{
	switch (error) {
	case X509_V_OK:
		return NULL;
	case X509_V_ERR_CERT_HAS_EXPIRED:
		return "the certificate, or one above it, has expired";
	case X509_V_ERR_CERT_NOT_YET_VALID:
		return "the certificate, or one above it, is not yet valid";
	case X509_V_ERR_CERT_REVOKED:
		return "the certificate is revoked";
	case X509_V_ERR_UNABLE_TO_GET_CRL:
		return "the revocation list is not of this certificate's authority";
	case X509_V_ERR_INVALID_PURPOSE:
		return "the certificate must be good for both servers and clients";
	default:
		return reason_of(error) == TLS_UNKNOWN_AUTHORITY ? "the certificate is not of the cluster's authority"
								 : X509_verify_cert_error_string(error);
	}
}

const char *tls_verify_own(X509_STORE *trusted, const struct tls_loaded *l, struct wall_time now)
{
	int error = verify_as(trusted, l->own, l->chain, "ssl_server", now);

	if (error == X509_V_OK)
		error = verify_as(trusted, l->own, l->chain, "ssl_client", now);
	return own_text(error);
}
