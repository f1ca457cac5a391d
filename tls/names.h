/* The name in a certificate: the URI `weir://CLUSTER/NODE` among its subject alternative names. Private to tls/. */
#ifndef WEIR_TLS_NAMES_H
#define WEIR_TLS_NAMES_H

#include "tls/tls.h"

#include <openssl/x509v3.h>

#define TLS_NAME_SCHEME "weir://"

enum { TLS_URI_BYTES = sizeof TLS_NAME_SCHEME + 2 * TLS_NAME_MAX + 1 };

struct tls_identity {
	char cluster[TLS_NAME_MAX + 1], node[TLS_NAME_MAX + 1];
};

/* False: there is none, more than one, or one that is not well formed; then *why says so, static. */
MUST_USE bool tls_identity_read(const X509 *certificate, struct tls_identity *out, const char **why);

#endif
