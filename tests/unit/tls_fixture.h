/* A cluster "eu" with an authority of its own, and whoever is not let in. Certificates are weir's own (tls/pki.h), or
 * made here where those cannot be wrong enough. */
#ifndef WEIR_TESTS_UNIT_TLS_FIXTURE_H
#define WEIR_TESTS_UNIT_TLS_FIXTURE_H

#include "base/error.h"
#include "tests/unit/folder.h"
#include "tls/pki.h"
#include "tls/tls.h"

#include <ftw.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <cmocka.h>

enum { DAY = 86400, NOW = 1800000000 };

static char why[TLS_LINE_BYTES];
static struct tls_said said;

static inline struct wall_time day(int64_t n)
{
	return (struct wall_time){.s = NOW + n * DAY};
}

static inline void make_authority(const char *dir, const char *cluster)
{
	struct tls_pki_issued issued;

	assert_int_equal(tls_pki_init(in_folder(dir), cluster, (struct tls_pki_terms){day(-1000), 3650}, &issued, why),
			 0);
}

/* Good from `from` on, for a year. */
static inline void issue_at(const char *dir, const char *node, struct wall_time from)
{
	struct tls_pki_issued issued;

	if (tls_pki_issue(in_folder(dir), node, NULL, true, (struct tls_pki_terms){from, 365}, &issued, why) != 0)
		fail_msg("%s", why);
}

static inline void issue(const char *dir, const char *node)
{
	issue_at(dir, node, day(0));
}

static inline void revoke_node(const char *dir, const char *node)
{
	unsigned count;

	assert_int_equal(tls_pki_revoke(in_folder(dir), node, day(0), &count, why), 0);
}

static char paths[4][PATH_MAX];

/* What is in `dir` for the node; good until the next call. */
static inline struct tls_settings settings_of(const char *dir, const char *cluster, const char *node)
{
	snprintf(paths[0], PATH_MAX, "%s/%s/%s.pem", folder, dir, node);
	snprintf(paths[1], PATH_MAX, "%s/%s/%s.key", folder, dir, node);
	snprintf(paths[2], PATH_MAX, "%s/%s/ca.pem", folder, dir);
	snprintf(paths[3], PATH_MAX, "%s/%s/crl.pem", folder, dir);
	return (struct tls_settings){.cluster = cluster,
				     .node = node,
				     .certificate = paths[0],
				     .key = paths[1],
				     .authority = paths[2],
				     .crl = paths[3]};
}

static inline struct tls_context *load_at(const char *dir, const char *cluster, const char *node, struct wall_time now)
{
	struct tls_settings s = settings_of(dir, cluster, node);
	struct tls_context *c = NULL;

	if (tls_context_load(&c, &s, now, &said) != 0)
		fail_msg("%s", said.why);
	assert_string_equal(said.warning, "");
	return c;
}

static inline struct tls_context *load(const char *node)
{
	return load_at("eu", "eu", node, day(1));
}

/* --- certificates that weir would not make --- */

struct odd {
	const char *names; /* OpenSSL's notation; NULL: none */
	const char *usage; /* the same */
	bool self_signed;
	struct wall_time from; /* .s 0: day(-1); for 101 days */
};

static inline void odd_extension(X509 *x, int nid, const char *value)
{
	X509_EXTENSION *e = value ? X509V3_EXT_conf_nid(NULL, NULL, nid, value) : NULL;

	if (!value)
		return;
	assert_non_null(e);
	assert_int_equal(X509_add_ext(x, e, -1), 1);
	X509_EXTENSION_free(e);
}

static inline void *read_pem(const char *file, void *(*read)(FILE *f))
{
	FILE *f = fopen(in_folder(file), "r");
	void *what = f ? read(f) : NULL;

	assert_non_null(what);
	fclose(f);
	return what;
}

static inline void *read_x509(FILE *f)
{
	return PEM_read_X509(f, NULL, NULL, NULL);
}

static inline void *read_pkey(FILE *f)
{
	return PEM_read_PrivateKey(f, NULL, NULL, NULL);
}

/* eu/odd.pem and eu/odd.key, by the authority of eu. */
static inline void make_odd(struct odd odd)
{
	EVP_PKEY *key = EVP_EC_gen("P-256"), *by = odd.self_signed ? key : read_pem("eu/ca.key", read_pkey);
	X509 *x = X509_new(), *authority = read_pem("eu/ca.pem", read_x509);
	int64_t from = odd.from.s ? odd.from.s : day(-1).s;
	FILE *f;

	X509_set_version(x, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 7);
	ASN1_TIME_set(X509_getm_notBefore(x), from);
	ASN1_TIME_set(X509_getm_notAfter(x), from + 101 * DAY);
	X509_NAME_add_entry_by_NID(X509_get_subject_name(x), NID_commonName, MBSTRING_ASC, (const uint8_t *)"odd", -1,
				   -1, 0);
	X509_set_issuer_name(x, X509_get_subject_name(odd.self_signed ? x : authority));
	X509_set_pubkey(x, key);
	odd_extension(x, NID_subject_alt_name, odd.names);
	odd_extension(x, NID_ext_key_usage, odd.usage);
	assert_true(X509_sign(x, by, EVP_sha256()) > 0);
	f = fopen(in_folder("eu/odd.pem"), "w");
	PEM_write_X509(f, x);
	fclose(f);
	f = fopen(in_folder("eu/odd.key"), "w");
	PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
	fclose(f);
	chmod(in_folder("eu/odd.key"), 0600);
	if (!odd.self_signed)
		EVP_PKEY_free(by);
	EVP_PKEY_free(key);
	X509_free(authority);
	X509_free(x);
}

/* eu/crl.pem: nobody is revoked, and it is good from day(0) until `until`. */
static inline void make_short_crl(struct wall_time until)
{
	X509 *authority = read_pem("eu/ca.pem", read_x509);
	EVP_PKEY *key = read_pem("eu/ca.key", read_pkey);
	X509_CRL *crl = X509_CRL_new();
	ASN1_TIME *from = ASN1_TIME_set(NULL, day(0).s), *to = ASN1_TIME_set(NULL, until.s);

	X509_CRL_set_version(crl, X509_CRL_VERSION_2);
	X509_CRL_set_issuer_name(crl, X509_get_subject_name(authority));
	X509_CRL_set1_lastUpdate(crl, from);
	X509_CRL_set1_nextUpdate(crl, to);
	assert_true(X509_CRL_sign(crl, key, EVP_sha256()) > 0);
	FILE *f = fopen(in_folder("eu/crl.pem"), "w");
	PEM_write_X509_CRL(f, crl);
	fclose(f);
	ASN1_TIME_free(from);
	ASN1_TIME_free(to);
	X509_CRL_free(crl);
	EVP_PKEY_free(key);
	X509_free(authority);
}

/* --- two ends --- */

struct end {
	struct tls_channel *channel; /* owned; NULL: */
	SSL *raw;                    /* owned: OpenSSL without weir */
	struct buf out, plain;
};

static struct end dials, listens;

static inline void end_open(struct end *e, struct tls_context *c, enum tls_role role, const char *peer,
			    struct wall_time now)
{
	assert_int_equal(tls_channel_new(&e->channel, c, role, peer, now), 0);
	tls_channel_start(e->channel, &e->out);
}

/* `node` NULL: without a certificate. */
static inline void end_open_raw(struct end *e, enum tls_role role, const char *node, int version)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_method());
	struct tls_settings s = settings_of("eu", "eu", node ? node : "none");

	SSL_CTX_set_max_proto_version(ctx, version);
	if (node) {
		assert_int_equal(SSL_CTX_use_certificate_file(ctx, s.certificate, SSL_FILETYPE_PEM), 1);
		assert_int_equal(SSL_CTX_use_PrivateKey_file(ctx, s.key, SSL_FILETYPE_PEM), 1);
	}
	if (role == TLS_LISTENS)
		SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
	e->raw = SSL_new(ctx);
	SSL_CTX_free(ctx);
	SSL_set_bio(e->raw, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	if (role == TLS_DIALS)
		SSL_set_connect_state(e->raw);
	else
		SSL_set_accept_state(e->raw);
	if (role == TLS_DIALS)
		SSL_do_handshake(e->raw);
}

static inline void raw_step(struct end *e, struct view bytes)
{
	char *at;

	if (bytes.len > 0)
		BIO_write(SSL_get_rbio(e->raw), bytes.at, (int)bytes.len);
	uint8_t *to = buf_reserve(&e->plain, 1000);
	int n = SSL_read(e->raw, to, 1000);
	if (n > 0)
		buf_commit(&e->plain, (size_t)n);
	long len = BIO_get_mem_data(SSL_get_wbio(e->raw), &at);
	buf_put(&e->out, view_of(at, (size_t)len));
	(void)BIO_reset(SSL_get_wbio(e->raw));
}

static inline void end_feed(struct end *e, struct view bytes)
{
	if (e->raw)
		raw_step(e, bytes);
	else
		tls_channel_feed(e->channel, bytes, &e->plain, &e->out);
}

/* What `from` has said, in pieces; the bytes are the other end's alone, so that a read beyond them is seen. */
static inline bool carry(struct end *from, struct end *to, size_t first, size_t piece)
{
	bool some = buf_len(&from->out) > 0;

	for (size_t n = first; buf_len(&from->out) > 0; n = piece) {
		struct view v = buf_view(&from->out);
		v.len = v.len < n ? v.len : n;
		if (v.len == 0)
			continue;
		uint8_t *copy = malloc(v.len);
		memcpy(copy, v.at, v.len);
		buf_consume(&from->out, v.len);
		end_feed(to, view_of(copy, v.len));
		free(copy);
	}
	return some;
}

/* Until both are silent. */
static inline void pump_in(size_t first, size_t piece)
{
	bool some = true;

	if (dials.raw)
		raw_step(&dials, view_of(NULL, 0));
	while (some) {
		some = carry(&dials, &listens, first, piece);
		some = carry(&listens, &dials, first, piece) || some;
	}
}

static inline void pump(void)
{
	pump_in(SIZE_MAX, SIZE_MAX);
}

static inline void end_close(struct end *e)
{
	tls_channel_free(&e->channel);
	SSL_free(e->raw);
	e->raw = NULL;
	buf_fini(&e->out);
	buf_fini(&e->plain);
}

static inline void hang_up(void)
{
	end_close(&dials);
	end_close(&listens);
}

/* A handshake as of day(1). */
static inline void connect_ends(struct tls_context *from, struct tls_context *to, const char *peer)
{
	end_open(&listens, to, TLS_LISTENS, NULL, day(1));
	end_open(&dials, from, TLS_DIALS, peer, day(1));
	pump();
}

#define assert_state(end, expect) assert_int_equal(tls_channel_state((end).channel), expect)
#define assert_failed(end, why_not, was_heard)                                                                         \
	do {                                                                                                           \
		assert_state(end, TLS_FAILED);                                                                         \
		assert_string_equal(tls_reason_text(tls_channel_failure((end).channel)->reason), why_not);             \
		assert_int_equal(tls_channel_failure((end).channel)->heard, was_heard);                                \
	} while (0)

static inline void assert_open(void)
{
	if (tls_channel_state(listens.channel) == TLS_FAILED)
		fail_msg("who listens: %s, %s", tls_reason_text(tls_channel_failure(listens.channel)->reason),
			 tls_channel_failure(listens.channel)->detail);
	assert_state(dials, TLS_OPEN);
	assert_state(listens, TLS_OPEN);
}

/* --- life --- */

static inline int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path);
}

static inline int cluster_set_up(void **state)
{
	(void)state;
	if (folder_make() != 0)
		return -1;
	make_authority("eu", "eu");
	issue("eu", "alpha");
	issue("eu", "beta");
	return 0;
}

static inline int cluster_tear_down(void **state)
{
	(void)state;
	hang_up();
	return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

#endif
