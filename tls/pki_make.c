/* Keys, certificates and revocation lists, in memory. */
#include "tls/pki_inside.h"

#include <arpa/inet.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>

enum { SERIAL_BITS = 127, DAY_S = 86400, HOST_MAX = 253 };

EVP_PKEY *pki_make_key(void)
{
	return EVP_EC_gen("P-256");
}

/* --- small pieces --- */

static bool set_serial(X509 *x)
{
	BIGNUM *n = BN_new();
	bool good = n && BN_rand(n, SERIAL_BITS, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
		    BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x)) != NULL;

	BN_free(n);
	return good;
}

static bool add_entry(X509_NAME *name, int nid, const char *text)
{
	return X509_NAME_add_entry_by_NID(name, nid, MBSTRING_ASC, (const unsigned char *)text, -1, -1, 0) == 1;
}

/* The kind keeps a node apart from an authority whose cluster is called like it: RFC 5280 calls a certificate
 * self-issued whose issuer has the subject's name. */
static bool set_subject(X509_NAME *name, const char *kind, const char *common)
{
	return add_entry(name, NID_organizationName, "weir") && add_entry(name, NID_organizationalUnitName, kind) &&
	       add_entry(name, NID_commonName, common);
}

/* Not longer than `limit`, where there is one. */
static bool set_times(X509 *x, struct tls_pki_terms terms, const ASN1_TIME *limit)
{
	time_t end = (time_t)terms.now.s + (time_t)terms.days * DAY_S;

	if (!ASN1_TIME_set(X509_getm_notBefore(x), (time_t)terms.now.s - TLS_PKI_EARLY_S))
		return false;
	if (limit && X509_cmp_time(limit, &end) < 0)
		return X509_set1_notAfter(x, limit) == 1;
	return ASN1_TIME_set(X509_getm_notAfter(x), end) != NULL;
}

/* Only for texts of this file: OpenSSL reads them as configuration. */
static bool add_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX context;

	X509V3_set_ctx(&context, issuer, x, NULL, NULL, 0);
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	bool good = e && X509_add_ext(x, e, -1) == 1;
	X509_EXTENSION_free(e);
	return good;
}

static X509 *begin(EVP_PKEY *key, const char *kind, const char *common)
{
	X509 *x = X509_new();

	if (x && X509_set_version(x, X509_VERSION_3) == 1 && set_serial(x) && X509_set_pubkey(x, key) == 1 &&
	    set_subject(X509_get_subject_name(x), kind, common))
		return x;
	X509_free(x);
	return NULL;
}

X509 *pki_make_authority(const char *cluster, EVP_PKEY *key, struct tls_pki_terms terms)
{
	X509 *x = begin(key, "authority", cluster);

	if (x && X509_set_issuer_name(x, X509_get_subject_name(x)) == 1 && set_times(x, terms, NULL) &&
	    add_extension(x, x, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
	    add_extension(x, x, NID_key_usage, "critical,keyCertSign,cRLSign") &&
	    add_extension(x, x, NID_subject_key_identifier, "hash") && X509_sign(x, key, EVP_sha256()) > 0)
		return x;
	X509_free(x);
	return NULL;
}

/* --- names of hosts --- */

/* The next of a list with commas; false at its end. */
static bool next_name(const char **list, char out[HOST_MAX + 1])
{
	size_t len = *list ? strcspn(*list, ",") : 0;

	if (!*list)
		return false;
	snprintf(out, HOST_MAX + 1, "%.*s", (int)(len > HOST_MAX ? HOST_MAX + 1 : len), *list);
	*list = (*list)[len] == ',' ? *list + len + 1 : NULL;
	return true;
}

static bool is_address(const char *name)
{
	struct in6_addr address;

	return inet_pton(AF_INET, name, &address) == 1 || inet_pton(AF_INET6, name, &address) == 1;
}

/* A DNS name or the beginning of one: labels of letters, digits and "-", or a "*" for the first. */
static bool is_host(const char *name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-";
	const char *at = name[0] == '*' && name[1] == '.' ? name + 2 : name;

	for (;;) {
		size_t len = strspn(at, letters);
		if (len == 0 || len > 63 || at[0] == '-' || at[len - 1] == '-')
			return false;
		if (at[len] == '\0')
			return true;
		if (at[len] != '.')
			return false;
		at += len + 1;
	}
}

bool pki_names_are_good(const char *names)
{
	char name[HOST_MAX + 1];

	for (const char *list = names; list;) {
		if (strcspn(list, ",") > HOST_MAX)
			return false;
		if (next_name(&list, name) && !is_address(name) && !is_host(name))
			return false;
	}
	return true;
}

static bool add_name(GENERAL_NAMES *names, int type, const char *text)
{
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_IA5STRING *string = NULL;

	if (!name)
		return false;
	if (type == GEN_IPADD)
		string = a2i_IPADDRESS(text);
	else if ((string = ASN1_IA5STRING_new()) && ASN1_STRING_set(string, text, -1) != 1) {
		ASN1_IA5STRING_free(string);
		string = NULL;
	}
	if (string)
		GENERAL_NAME_set0_value(name, type, string);
	if (string && sk_GENERAL_NAME_push(names, name))
		return true;
	GENERAL_NAME_free(name);
	return false;
}

static bool add_names(X509 *x, const char *cluster, const char *node, const char *list)
{
	GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
	char text[HOST_MAX + 1];
	bool good = names != NULL;

	snprintf(text, sizeof text, TLS_NAME_SCHEME "%s/%s", cluster, node);
	good = good && add_name(names, GEN_URI, text);
	while (good && next_name(&list, text))
		good = add_name(names, is_address(text) ? GEN_IPADD : GEN_DNS, text);
	good = good && X509_add1_ext_i2d(x, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) == 1;
	GENERAL_NAMES_free(names);
	return good;
}

X509 *pki_make_node(const struct pki *p, const char *node, const char *names, EVP_PKEY *key, struct tls_pki_terms terms)
{
	X509 *x = begin(key, "node", node);

	if (x && X509_set_issuer_name(x, X509_get_subject_name(p->authority)) == 1 &&
	    set_times(x, terms, X509_get0_notAfter(p->authority)) &&
	    add_extension(x, p->authority, NID_basic_constraints, "critical,CA:FALSE") &&
	    add_extension(x, p->authority, NID_key_usage, "critical,digitalSignature") &&
	    add_extension(x, p->authority, NID_ext_key_usage, "serverAuth,clientAuth") &&
	    add_extension(x, p->authority, NID_subject_key_identifier, "hash") &&
	    add_extension(x, p->authority, NID_authority_key_identifier, "keyid:always") &&
	    add_names(x, p->cluster, node, names) && X509_sign(x, p->key, EVP_sha256()) > 0)
		return x;
	X509_free(x);
	return NULL;
}

/* --- revocation --- */

static bool add_revoked(X509_CRL *crl, const struct pki_row *row)
{
	X509_REVOKED *r = X509_REVOKED_new();
	ASN1_TIME *when = ASN1_TIME_new();
	ASN1_INTEGER *serial = NULL;
	BIGNUM *n = NULL;
	bool good = r && when && ASN1_TIME_set_string_X509(when, row->revoked) == 1 && BN_hex2bn(&n, row->serial) > 0 &&
		    (serial = BN_to_ASN1_INTEGER(n, NULL)) && X509_REVOKED_set_serialNumber(r, serial) == 1 &&
		    X509_REVOKED_set_revocationDate(r, when) == 1 && X509_CRL_add0_revoked(crl, r) == 1;

	BN_free(n);
	ASN1_INTEGER_free(serial);
	ASN1_TIME_free(when);
	if (!good)
		X509_REVOKED_free(r);
	return good;
}

static bool set_number(X509_CRL *crl, int64_t number)
{
	ASN1_INTEGER *n = ASN1_INTEGER_new();
	bool good =
	    n && ASN1_INTEGER_set_int64(n, number) == 1 && X509_CRL_add1_ext_i2d(crl, NID_crl_number, n, 0, 0) == 1;

	ASN1_INTEGER_free(n);
	return good;
}

static bool set_crl_issuer(X509_CRL *crl, X509 *authority)
{
	X509V3_CTX context;

	X509V3_set_ctx(&context, authority, NULL, NULL, crl, 0);
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &context, NID_authority_key_identifier, "keyid:always");
	bool good = e && X509_CRL_add_ext(crl, e, -1) == 1 &&
		    X509_CRL_set_issuer_name(crl, X509_get_subject_name(authority)) == 1;
	X509_EXTENSION_free(e);
	return good;
}

X509_CRL *pki_make_crl(const struct pki *p, struct wall_time now, int64_t number)
{
	X509_CRL *crl = X509_CRL_new();
	ASN1_TIME *begin_at = ASN1_TIME_set(NULL, (time_t)now.s - TLS_PKI_EARLY_S);
	bool good = crl && begin_at && X509_CRL_set_version(crl, X509_CRL_VERSION_2) == 1 &&
		    set_crl_issuer(crl, p->authority) && X509_CRL_set1_lastUpdate(crl, begin_at) == 1 &&
		    X509_CRL_set1_nextUpdate(crl, X509_get0_notAfter(p->authority)) == 1;

	for (size_t i = 0; good && i < p->count; i++)
		good = p->rows[i].revoked[0] == '-' || add_revoked(crl, &p->rows[i]);
	good =
	    good && set_number(crl, number) && X509_CRL_sort(crl) == 1 && X509_CRL_sign(crl, p->key, EVP_sha256()) > 0;
	ASN1_TIME_free(begin_at);
	if (good)
		return crl;
	X509_CRL_free(crl);
	return NULL;
}

/* --- texts --- */

bool pki_serial_text(const X509 *certificate, char out[TLS_SERIAL_BYTES])
{
	BIGNUM *n = ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), NULL);
	char *text = n ? BN_bn2hex(n) : NULL;
	bool good = text && strlen(text) < TLS_SERIAL_BYTES;

	if (good)
		memcpy(out, text, strlen(text) + 1);
	OPENSSL_free(text);
	BN_free(n);
	return good;
}

bool pki_time_text(const ASN1_TIME *t, char out[PKI_TIME_BYTES])
{
	ASN1_GENERALIZEDTIME *g = ASN1_TIME_to_generalizedtime(t, NULL);
	bool good = g && ASN1_STRING_length(g) < PKI_TIME_BYTES;

	if (good) {
		memcpy(out, ASN1_STRING_get0_data(g), (size_t)ASN1_STRING_length(g));
		out[ASN1_STRING_length(g)] = '\0';
	}
	ASN1_GENERALIZEDTIME_free(g);
	return good;
}

struct wall_time pki_time_of(const ASN1_TIME *t)
{
	ASN1_TIME *zero = ASN1_TIME_set(NULL, 0);
	int days = 0, seconds = 0;

	if (zero)
		(void)ASN1_TIME_diff(&days, &seconds, zero, t);
	ASN1_TIME_free(zero);
	return (struct wall_time){.s = (int64_t)days * DAY_S + seconds};
}
