/* An authority in a folder: what is done, and in which order. */
#include "tls/pki_inside.h"

#include "base/error.h"
#include "base/invariant.h"

#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>

enum { FILE_BYTES = TLS_NAME_MAX + 8 };

static struct pki begin(const char *dir, char *why)
{
	*why = '\0';
	ERR_clear_error();
	return (struct pki){.dir = dir, .fd = -1, .why = why};
}

static int end(struct pki *p, int err)
{
	pki_folder_close(p);
	ERR_clear_error();
	return err;
}

static int wrong_name(struct pki *p, const char *what)
{
	snprintf(p->why, TLS_LINE_BYTES, "the name of a %s is 1 to %d letters, digits, \"-\", \"_\" and \".\"", what,
		 TLS_NAME_MAX);
	return ERR_CONFIG;
}

/* The list is newer than the one that is there. */
static int write_crl(struct pki *p, struct wall_time now)
{
	X509_CRL *old = pki_crl_read(p);
	ASN1_INTEGER *number = old ? X509_CRL_get_ext_d2i(old, NID_crl_number, NULL, NULL) : NULL;
	int64_t last = 0;

	if (number && ASN1_INTEGER_get_int64(&last, number) != 1)
		last = 0;
	ASN1_INTEGER_free(number);
	X509_CRL_free(old);
	X509_CRL *crl = pki_make_crl(p, now, last + 1);
	int err = crl ? pki_write_crl(p, "crl.pem", crl) : pki_say_openssl(p, "crl.pem");
	X509_CRL_free(crl);
	return err;
}

static int tell(struct pki *p, const X509 *certificate, struct tls_pki_issued *out)
{
	memcpy(out->cluster, p->cluster, sizeof out->cluster);
	out->expires = pki_time_of(X509_get0_notAfter(certificate));
	return pki_serial_text(certificate, out->serial) ? 0 : pki_say_openssl(p, "serial number");
}

/* --- init --- */

/* ca.pem comes last: without it nothing is issued. */
static int make_authority(struct pki *p, struct tls_pki_terms terms, struct tls_pki_issued *out)
{
	p->key = pki_make_key();
	p->authority = p->key ? pki_make_authority(p->cluster, p->key, terms) : NULL;
	if (!p->authority)
		return pki_say_openssl(p, "ca.pem");
	int err = tell(p, p->authority, out);
	if (!err)
		err = pki_index_write(p);
	if (!err)
		err = pki_write_key(p, "ca.key", p->key);
	if (!err)
		err = write_crl(p, terms.now);
	if (!err)
		err = pki_write_certificate(p, "ca.pem", p->authority);
	return err;
}

int tls_pki_init(const char *dir, const char *cluster, struct tls_pki_terms terms, struct tls_pki_issued *out,
		 char why[TLS_LINE_BYTES])
{
	struct pki p = begin(dir, why);

	INVARIANT(terms.days > 0 && terms.days <= TLS_PKI_DAYS_MAX);
	if (!name_is_good(view_str(cluster)))
		return wrong_name(&p, "cluster");
	memcpy(p.cluster, cluster, strlen(cluster) + 1);
	int err = pki_folder_open(&p, true);
	const char *there = err ? NULL : pki_has(&p, "ca.pem") ? "ca.pem" : pki_has(&p, "ca.key") ? "ca.key" : NULL;
	if (there)
		err = pki_say(&p, ERR_BUSY, there, "there is an authority already, and it is never overwritten");
	if (!err)
		err = make_authority(&p, terms, out);
	return end(&p, err);
}

/* --- issue --- */

static int open_authority(struct pki *p)
{
	int err = pki_folder_open(p, false);

	if (!err)
		err = pki_authority_read(p);
	if (!err)
		err = pki_index_read(p);
	return err;
}

/* What could not be told from the authority's own files. */
static int check_node(struct pki *p, const char *node)
{
	if (!name_is_good(view_str(node)))
		return wrong_name(p, "node");
	if (node[0] != '.' && node[0] != '-' && strcmp(node, "ca") != 0 && strcmp(node, "crl") != 0)
		return 0;
	snprintf(p->why, TLS_LINE_BYTES, "a node cannot be called \"%s\" here: its files would be taken for others",
		 node);
	return ERR_CONFIG;
}

static int check_free(struct pki *p, const char *certificate, const char *key, bool force)
{
	const char *there = pki_has(p, certificate) ? certificate : pki_has(p, key) ? key : NULL;

	return there && !force ? pki_say(p, ERR_BUSY, there, "is there already; --force makes another one") : 0;
}

static int note(struct pki *p, const char *node, const X509 *certificate, const struct tls_pki_issued *issued)
{
	struct pki_row row = {.revoked = "-"};

	memcpy(row.serial, issued->serial, sizeof row.serial);
	memcpy(row.node, node, strlen(node) + 1);
	if (!pki_time_text(X509_get0_notAfter(certificate), row.expires))
		return pki_say_openssl(p, "index");
	int err = pki_index_add(p, &row);
	return err ? err : pki_index_write(p);
}

static int issue(struct pki *p, const char *node, const char *names, bool force, struct tls_pki_terms terms,
		 struct tls_pki_issued *out)
{
	char file[FILE_BYTES], key_file[FILE_BYTES];

	snprintf(file, sizeof file, "%s.pem", node);
	snprintf(key_file, sizeof key_file, "%s.key", node);
	int err = check_free(p, file, key_file, force);
	if (err)
		return err;
	if (pki_time_of(X509_get0_notAfter(p->authority)).s <= terms.now.s)
		return pki_say(p, ERR_CONFIG, "ca.pem", "the authority has expired");
	EVP_PKEY *key = pki_make_key();
	X509 *certificate = key ? pki_make_node(p, node, names, key, terms) : NULL;
	err = certificate ? tell(p, certificate, out) : pki_say_openssl(p, file);
	if (!err)
		err = note(p, node, certificate, out);
	if (!err)
		err = pki_write_key(p, key_file, key);
	if (!err)
		err = pki_write_certificate(p, file, certificate);
	X509_free(certificate);
	EVP_PKEY_free(key);
	return err;
}

int tls_pki_issue(const char *dir, const char *node, const char *names, bool force, struct tls_pki_terms terms,
		  struct tls_pki_issued *out, char why[TLS_LINE_BYTES])
{
	struct pki p = begin(dir, why);
	int err = check_node(&p, node);

	INVARIANT(terms.days > 0 && terms.days <= TLS_PKI_DAYS_MAX);
	if (!err && names && !pki_names_are_good(names)) {
		snprintf(why, TLS_LINE_BYTES, "\"%.256s\" is no list of DNS names and IP addresses with commas between",
			 names);
		err = ERR_CONFIG;
	}
	if (!err)
		err = open_authority(&p);
	if (!err)
		err = issue(&p, node, names, force, terms, out);
	return end(&p, err);
}

/* --- revoke --- */

static int mark(struct pki *p, const char *node, struct wall_time now, unsigned *count)
{
	ASN1_TIME *t = ASN1_TIME_set(NULL, (time_t)now.s);
	char text[PKI_TIME_BYTES], reason[TLS_DETAIL_BYTES];
	bool known = false, good = t && pki_time_text(t, text);

	ASN1_TIME_free(t);
	if (!good)
		return pki_say_openssl(p, "index");
	for (size_t i = 0; i < p->count; i++) {
		struct pki_row *row = &p->rows[i];
		if (strcmp(row->node, node) != 0)
			continue;
		known = true;
		if (row->revoked[0] != '-')
			continue;
		memcpy(row->revoked, text, sizeof text);
		++*count;
	}
	if (known)
		return 0;
	snprintf(reason, sizeof reason, "no certificate was issued for a node %s", node);
	return pki_say(p, ERR_GONE, NULL, reason);
}

/* The list is written also where nothing is new: an earlier attempt may not have come so far. */
int tls_pki_revoke(const char *dir, const char *node, struct wall_time now, unsigned *count, char why[TLS_LINE_BYTES])
{
	struct pki p = begin(dir, why);
	unsigned marked = 0;
	int err = name_is_good(view_str(node)) ? open_authority(&p) : wrong_name(&p, "node");

	if (!err)
		err = mark(&p, node, now, &marked);
	if (!err && marked > 0)
		err = pki_index_write(&p);
	if (!err)
		err = write_crl(&p, now);
	if (!err)
		*count = marked;
	return end(&p, err);
}

/* --- list --- */

/* False: it is none, such as one with a month 99, or no memory. */
static bool read_time(const char *text, struct wall_time *out)
{
	ASN1_TIME *t = ASN1_TIME_new();
	bool good = t && ASN1_TIME_set_string(t, text) == 1;

	if (good)
		*out = pki_time_of(t);
	ASN1_TIME_free(t);
	return good;
}

static bool fill(const struct pki_row *row, struct tls_pki_entry *out)
{
	*out = (struct tls_pki_entry){.revoked = {0}};
	memcpy(out->node, row->node, sizeof out->node);
	memcpy(out->serial, row->serial, sizeof out->serial);
	return read_time(row->expires, &out->expires) &&
	       (row->revoked[0] == '-' || read_time(row->revoked, &out->revoked));
}

static int fill_all(struct pki *p, struct tls_pki_list *out)
{
	struct tls_pki_list l = {.count = p->count, .at = calloc(p->count + 1, sizeof *l.at)};

	if (!l.at)
		return pki_say(p, ERR_NO_MEMORY, NULL, error_text(ERR_NO_MEMORY));
	int err = tell(p, p->authority, &l.authority);
	for (size_t i = 0; !err && i < p->count; i++) {
		if (!fill(&p->rows[i], &l.at[i]))
			err = pki_say(p, ERR_CONFIG, "index", "a time in it is none");
	}
	if (err)
		tls_pki_list_fini(&l);
	else
		*out = l;
	return err;
}

int tls_pki_list(const char *dir, struct tls_pki_list *out, char why[TLS_LINE_BYTES])
{
	struct pki p = begin(dir, why);
	int err = pki_folder_open(&p, false);

	if (!err)
		err = pki_certificate_read(&p);
	if (!err)
		err = pki_index_read(&p);
	if (!err)
		err = fill_all(&p, out);
	return end(&p, err);
}

void tls_pki_list_fini(struct tls_pki_list *l)
{
	free(l->at);
	*l = (struct tls_pki_list){.count = 0};
}
