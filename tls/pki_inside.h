/* What the parts of the authority share: private to tls/pki*.c.
 *
 *   pki.c        what is done, and in which order
 *   pki_make.c   keys, certificates and revocation lists
 *   pki_folder.c the folder: its lock, files in and out, the index */
#ifndef WEIR_TLS_PKI_INSIDE_H
#define WEIR_TLS_PKI_INSIDE_H

#include "tls/names.h"
#include "tls/pki.h"

#include <openssl/evp.h>

enum { PKI_TIME_BYTES = 16 }; /* "20260131120000Z" and a NUL */

/* A line of the index. */
struct pki_row {
	char serial[TLS_SERIAL_BYTES];
	char node[TLS_NAME_MAX + 1];
	char expires[PKI_TIME_BYTES];
	char revoked[PKI_TIME_BYTES]; /* "-": it is not */
};

struct pki {
	const char *dir;      /* borrowed */
	int fd;               /* owned: the folder, locked; -1: none */
	struct pki_row *rows; /* owned */
	size_t count;
	X509 *authority; /* owned; NULL: not read */
	EVP_PKEY *key;   /* owned; the same */
	char cluster[TLS_NAME_MAX + 1];
	char *why; /* borrowed; TLS_LINE_BYTES */
};

/* Both fill p->why; the first returns `err`. `file` NULL: the folder itself. */
int pki_say(struct pki *p, int err, const char *file, const char *reason);
int pki_say_errno(struct pki *p, const char *file);
/* What OpenSSL says. */
int pki_say_openssl(struct pki *p, const char *doing);

/* --- pki_folder.c --- */

/* Opens and locks it. */
MUST_USE int pki_folder_open(struct pki *p, bool make);
void pki_folder_close(struct pki *p);
bool pki_has(const struct pki *p, const char *file);
/* p->authority, p->cluster; then p->key too. */
MUST_USE int pki_certificate_read(struct pki *p);
MUST_USE int pki_authority_read(struct pki *p);
MUST_USE int pki_index_read(struct pki *p);
MUST_USE int pki_index_write(struct pki *p);
MUST_USE int pki_index_add(struct pki *p, const struct pki_row *row);
/* The revocation list that is there; NULL: none, or not readable. */
X509_CRL *pki_crl_read(const struct pki *p);
MUST_USE int pki_write_certificate(struct pki *p, const char *file, X509 *certificate);
MUST_USE int pki_write_key(struct pki *p, const char *file, EVP_PKEY *key);
MUST_USE int pki_write_crl(struct pki *p, const char *file, X509_CRL *crl);

/* --- pki_make.c --- */

/* Each is NULL where it could not be made; OpenSSL's queue says why. */
EVP_PKEY *pki_make_key(void);
X509 *pki_make_authority(const char *cluster, EVP_PKEY *key, struct tls_pki_terms terms);
/* `names` NULL: none but the node's own. It is well formed (pki_names_are_good()). */
X509 *pki_make_node(const struct pki *p, const char *node, const char *names, EVP_PKEY *key,
		    struct tls_pki_terms terms);
/* Of the index, with `number`; good as long as the authority: nobody would renew it. */
X509_CRL *pki_make_crl(const struct pki *p, struct wall_time now, int64_t number);
bool pki_names_are_good(const char *names);
/* False: OpenSSL has no memory. */
bool pki_serial_text(const X509 *certificate, char out[TLS_SERIAL_BYTES]);
bool pki_time_text(const ASN1_TIME *t, char out[PKI_TIME_BYTES]);
struct wall_time pki_time_of(const ASN1_TIME *t);

#endif
