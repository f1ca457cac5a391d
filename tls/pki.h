/* An authority of the cluster's own, in a folder, for those who have none: what `weirctl pki` does. Needs no running
 * weir, and weir does not need it: certificates of another authority are as good, if they have the names (tls/tls.h).
 *
 *   DIR/ca.pem    the authority's certificate      weir.conf: cluster { ca }
 *   DIR/ca.key    its key, 0600: whoever has it can be any node. It belongs on no node
 *   DIR/crl.pem   who is revoked                   cluster { crl }
 *   DIR/index     what was issued: a line a certificate, SERIAL NODE EXPIRES REVOKED (or "-")
 *   DIR/NODE.pem  a node's certificate             cluster { certificate }
 *   DIR/NODE.key  its key, 0600                    cluster { key }
 *
 * Each file is written beside its place, synced, and moved there. The index comes first: nothing is issued that could
 * not be revoked. Two at once wait for each other.
 *
 * All fill `why` (at most TLS_LINE_BYTES) with one line where they fail, and return ERR_CONFIG: what was asked for, or
 * what is in the folder, is no good; ERR_BUSY: it is there already; ERR_GONE: it is not there; ERR_SYSTEM or
 * ERR_NO_MEMORY. */
#ifndef WEIR_TLS_PKI_H
#define WEIR_TLS_PKI_H

#include "tls/tls.h"

enum {
	TLS_PKI_AUTHORITY_DAYS = 3650,
	TLS_PKI_NODE_DAYS = 365,
	TLS_PKI_DAYS_MAX = 36500,
	TLS_PKI_EARLY_S = 3600, /* a certificate is good from so long ago: clocks differ */
	TLS_SERIAL_BYTES = 41,  /* in hexadecimal, with a NUL */
};

struct tls_pki_terms {
	struct wall_time now; /* when it is issued */
	unsigned days;        /* how long it is good for, 1 to TLS_PKI_DAYS_MAX */
};

struct tls_pki_issued {
	char cluster[TLS_NAME_MAX + 1];
	char serial[TLS_SERIAL_BYTES];
	struct wall_time expires;
};

/* Makes the folder (its parent must be there), the authority and an empty revocation list. ERR_BUSY: the folder has an
 * authority; that is never overwritten. */
MUST_USE int tls_pki_init(const char *dir, const char *cluster, struct tls_pki_terms terms, struct tls_pki_issued *out,
			  char why[TLS_LINE_BYTES]);
/* A new key and a certificate for the node, at most as long good as the authority. `names`: further names of the host,
 * DNS names and IP addresses with commas between, or NULL. ERR_BUSY: there is a file of that name, and no `force`; with
 * it the older certificate stays as good as it was. */
MUST_USE int tls_pki_issue(const char *dir, const char *node, const char *names, bool force, struct tls_pki_terms terms,
			   struct tls_pki_issued *out, char why[TLS_LINE_BYTES]);
/* Puts all certificates of the node on the revocation list; who is there already, stays. *count of them are new.
 * ERR_GONE: none was issued. */
MUST_USE int tls_pki_revoke(const char *dir, const char *node, struct wall_time now, unsigned *count,
			    char why[TLS_LINE_BYTES]);

struct tls_pki_entry {
	char node[TLS_NAME_MAX + 1];
	char serial[TLS_SERIAL_BYTES];
	struct wall_time expires;
	struct wall_time revoked; /* 0: it is not */
};

struct tls_pki_list {
	struct tls_pki_issued authority;
	struct tls_pki_entry *at; /* owned; in the order in which they were issued */
	size_t count;
};

/* What the authority has issued; its key need not be there. After success tls_pki_list_fini(). */
MUST_USE int tls_pki_list(const char *dir, struct tls_pki_list *out, char why[TLS_LINE_BYTES]);
void tls_pki_list_fini(struct tls_pki_list *l);

#endif
