/* Certificates of an authority that is there already: a root, another authority in between, and a node below that; keys
 * of RSA and of elliptic curves; with revocation lists of both authorities, and without. */
#include "tests/unit/tls_fixture.h"

#define WRONG_LIST "the revocation list is not of this certificate's authority"
#define STRANGE "the certificate is not of the cluster's authority"
#define FOR_CA "critical,keyCertSign,cRLSign"

struct party {
	const char *name;
	EVP_PKEY *key; /* owned, as all of it; of the whole run */
	X509 *x;
	unsigned serial;
};

/* Both nodes have a certificate of `between`, unless a test gives them another one. */
static struct party root = {.name = "root", .serial = 1}, between = {.name = "between", .serial = 2},
		    alpha = {.name = "alpha", .serial = 3}, beta = {.name = "beta", .serial = 4};
static struct party *const parties[] = {&root, &between, &alpha, &beta};

enum { PARTIES = sizeof parties / sizeof parties[0], RSA_BITS = 2048 };

/* --- their files --- */

static void certify(struct party *p, const struct party *by)
{
	char uri[64];
	bool node = p == &alpha || p == &beta;

	snprintf(uri, sizeof uri, "URI:weir://eu/%s", p->name);
	X509_free(p->x);
	p->x = X509_new();
	X509_set_version(p->x, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(p->x), p->serial);
	ASN1_TIME_set(X509_getm_notBefore(p->x), day(-1).s);
	ASN1_TIME_set(X509_getm_notAfter(p->x), day(100).s);
	X509_NAME_add_entry_by_NID(X509_get_subject_name(p->x), NID_commonName, MBSTRING_ASC, (const uint8_t *)p->name,
				   -1, -1, 0);
	X509_set_issuer_name(p->x, X509_get_subject_name(by->x));
	X509_set_pubkey(p->x, p->key);
	odd_extension(p->x, NID_basic_constraints, node ? "critical,CA:FALSE" : "critical,CA:TRUE");
	odd_extension(p->x, NID_key_usage, node ? "critical,digitalSignature" : FOR_CA);
	odd_extension(p->x, NID_subject_alt_name, node ? uri : NULL);
	odd_extension(p->x, NID_ext_key_usage, node ? "serverAuth,clientAuth" : NULL);
	assert_true(X509_sign(p->x, by->key, EVP_sha256()) > 0);
}

/* `second` may be NULL. */
static void write_certificates(const char *file, const struct party *first, const struct party *second)
{
	FILE *f = fopen(in_folder(file), "w");

	assert_non_null(f);
	PEM_write_X509(f, first->x);
	if (second)
		PEM_write_X509(f, second->x);
	fclose(f);
}

static void write_key(const char *file, const struct party *p)
{
	FILE *f = fopen(in_folder(file), "w");

	assert_non_null(f);
	PEM_write_PrivateKey(f, p->key, NULL, NULL, 0, NULL, NULL);
	fclose(f);
	chmod(in_folder(file), 0600);
}

static void add_revoked(X509_CRL *crl, const struct party *revoked)
{
	X509_REVOKED *r = X509_REVOKED_new();
	ASN1_TIME *when = ASN1_TIME_set(NULL, day(0).s);

	X509_REVOKED_set_serialNumber(r, X509_get_serialNumber(revoked->x));
	X509_REVOKED_set_revocationDate(r, when);
	assert_int_equal(X509_CRL_add0_revoked(crl, r), 1);
	ASN1_TIME_free(when);
}

/* pki/crl.pem, anew or with one more; good until `until`. `revoked` may be NULL. */
static void write_list(const char *mode, const struct party *by, const struct party *revoked, struct wall_time until)
{
	X509_CRL *crl = X509_CRL_new();
	ASN1_TIME *from = ASN1_TIME_set(NULL, day(0).s), *to = ASN1_TIME_set(NULL, until.s);
	FILE *f = fopen(in_folder("pki/crl.pem"), mode);

	assert_non_null(f);
	X509_CRL_set_version(crl, X509_CRL_VERSION_2);
	X509_CRL_set_issuer_name(crl, X509_get_subject_name(by->x));
	X509_CRL_set1_lastUpdate(crl, from);
	X509_CRL_set1_nextUpdate(crl, to);
	if (revoked)
		add_revoked(crl, revoked);
	assert_true(X509_CRL_sign(crl, by->key, EVP_sha256()) > 0);
	PEM_write_X509_CRL(f, crl);
	fclose(f);
	ASN1_TIME_free(from);
	ASN1_TIME_free(to);
	X509_CRL_free(crl);
}

static void write_lists(const struct party *revoked_by_root, const struct party *revoked_by_between)
{
	write_list("w", &root, revoked_by_root, day(50));
	write_list("a", &between, revoked_by_between, day(50));
}

/* --- life --- */

static void make_keys(bool rsa)
{
	for (unsigned i = 0; i < PARTIES; i++) {
		EVP_PKEY_free(parties[i]->key);
		parties[i]->key = rsa ? EVP_RSA_gen(RSA_BITS) : EVP_EC_gen("P-384");
		assert_non_null(parties[i]->key);
	}
}

static int use_rsa(void **state)
{
	(void)state;
	make_keys(true);
	return 0;
}

static int use_curves(void **state)
{
	(void)state;
	make_keys(false);
	return 0;
}

/* The authority is of RSA, one node is, and the other is not. */
static int use_both(void **state)
{
	(void)state;
	make_keys(true);
	EVP_PKEY_free(beta.key);
	beta.key = EVP_EC_gen("P-256");
	return 0;
}

static int forget_keys(void **state)
{
	(void)state;
	for (unsigned i = 0; i < PARTIES; i++) {
		X509_free(parties[i]->x);
		EVP_PKEY_free(parties[i]->key);
		parties[i]->x = NULL;
		parties[i]->key = NULL;
	}
	return 0;
}

static int set_up(void **state)
{
	(void)state;
	if (folder_make() != 0 || mkdir(in_folder("pki"), 0700) != 0)
		return -1;
	/* A root has signed itself: its name is there only when it is. */
	X509_free(root.x);
	root.x = X509_new();
	X509_NAME_add_entry_by_NID(X509_get_subject_name(root.x), NID_commonName, MBSTRING_ASC, (const uint8_t *)"root",
				   -1, -1, 0);
	struct party self = root;
	root.x = NULL;
	certify(&root, &self);
	X509_free(self.x);
	certify(&between, &root);
	certify(&alpha, &between);
	certify(&beta, &between);
	write_certificates("pki/ca.pem", &root, NULL);
	write_certificates("pki/alpha.pem", &alpha, &between);
	write_certificates("pki/beta.pem", &beta, &between);
	write_key("pki/alpha.key", &alpha);
	write_key("pki/beta.key", &beta);
	write_lists(NULL, NULL);
	return 0;
}

static struct tls_context *load_party(const struct party *p, bool lists)
{
	struct tls_settings s = settings_of("pki", "eu", p->name);
	struct tls_context *c = NULL;

	if (!lists)
		s.crl = NULL;
	if (tls_context_load(&c, &s, day(1), &said) != 0)
		fail_msg("%s", said.why);
	return c;
}

static void refused_at_load(const struct party *p, const char *reason)
{
	struct tls_settings s = settings_of("pki", "eu", p->name);
	struct tls_context *c = NULL;

	assert_int_equal(tls_context_load(&c, &s, day(1), &said), ERR_CONFIG);
	assert_non_null(strstr(said.why, reason));
}

/* A handshake, and what it was. */
static void meet(struct tls_context *from, struct tls_context *to, bool shortened)
{
	connect_ends(from, to, "beta");
	assert_open();
	assert_int_equal(tls_channel_resumed(dials.channel), shortened);
	assert_int_equal(tls_channel_resumed(listens.channel), shortened);
	assert_string_equal(tls_channel_peer(dials.channel), "beta");
	assert_string_equal(tls_channel_peer(listens.channel), "alpha");
}

/* As often as links are made anew. */
static void meet_again_and_again(bool lists, bool shortened)
{
	struct tls_context *from = load_party(&alpha, lists), *to = load_party(&beta, lists);

	for (int i = 0; i < 3; i++) {
		meet(from, to, i > 0 && shortened);
		hang_up();
	}
	tls_context_unref(&from);
	tls_context_unref(&to);
}

/* --- who is let in --- */

/* The certificates are shown each time: tickets have no room for those in between. */
static void a_chain_is_let_in(void **state)
{
	(void)state;
	meet_again_and_again(true, false);
}

static void also_without_lists(void **state)
{
	(void)state;
	meet_again_and_again(false, false);
}

/* Who listens may have a chain: its certificates are kept by who dials, and judged again with all that is above them.
 */
static void a_node_of_the_root_itself_is_resumed(void **state)
{
	(void)state;
	certify(&alpha, &root);
	write_certificates("pki/alpha.pem", &alpha, NULL);
	meet_again_and_again(true, true);
}

/* Where all have the authority in between beside the root, nobody needs to show it. */
static void an_authority_in_between_may_be_in_ca(void **state)
{
	(void)state;
	write_certificates("pki/ca.pem", &root, &between);
	write_certificates("pki/alpha.pem", &alpha, NULL);
	write_certificates("pki/beta.pem", &beta, NULL);
	meet_again_and_again(true, true);
}

/* The other side has it in `ca`, and this one shows it all the same. */
static void shown_although_it_is_known(void **state)
{
	(void)state;
	write_certificates("pki/ca.pem", &between, &root);
	meet_again_and_again(true, true);
}

static void the_first_end_counts(void **state)
{
	(void)state;
	struct tls_context *c = load_party(&alpha, true);
	assert_int_equal(tls_context_expires(c).s, day(50).s);
	tls_context_unref(&c);
	c = load_party(&alpha, false);
	assert_int_equal(tls_context_expires(c).s, day(100).s);
	tls_context_unref(&c);
}

/* --- who is not --- */

static void a_list_of_each_is_needed(void **state)
{
	(void)state;
	write_list("w", &root, NULL, day(50));
	refused_at_load(&alpha, WRONG_LIST);
	write_list("w", &between, NULL, day(50));
	refused_at_load(&alpha, WRONG_LIST);
	write_list("a", &root, NULL, day(50));
	meet_again_and_again(true, false); /* in any order */
}

static void either_list_may_run_out(void **state)
{
	(void)state;
	write_list("w", &root, NULL, day(50));
	write_list("a", &between, NULL, day(0));
	refused_at_load(&alpha, "the revocation list has expired");
	write_list("w", &root, NULL, day(0));
	write_list("a", &between, NULL, day(50));
	refused_at_load(&alpha, "the revocation list has expired");
}

static void half_a_chain_is_refused(void **state)
{
	(void)state;
	write_certificates("pki/alpha.pem", &alpha, NULL);
	refused_at_load(&alpha, STRANGE);
	write_certificates("pki/alpha.pem", &alpha, &between);
	write_certificates("pki/ca.pem", &between, NULL); /* which has not signed itself */
	refused_at_load(&alpha, STRANGE);
}

/* beta is of the root itself, so only alpha is hit. In a new handshake, by who listens and by who dials, and of links
 * that are there. */
static void alpha_is_out(struct tls_context *from, struct tls_context *now)
{
	connect_ends(from, now, "beta");
	assert_failed(listens, "revoked", false);
	assert_failed(dials, "revoked", true);
	hang_up();
	end_open(&listens, from, TLS_LISTENS, NULL, day(1));
	end_open(&dials, now, TLS_DIALS, "alpha", day(1));
	pump();
	assert_failed(dials, "revoked", false);
	assert_failed(listens, "revoked", true);
	hang_up();
}

static void alpha_is_revoked(const struct party *by_root, const struct party *by_between)
{
	certify(&beta, &root);
	write_certificates("pki/beta.pem", &beta, NULL);
	struct tls_context *from = load_party(&alpha, true), *to = load_party(&beta, true);
	write_lists(by_root, by_between);
	struct tls_context *now = load_party(&beta, true);
	refused_at_load(&alpha, "the certificate is revoked");
	meet(from, to, false);
	assert_int_equal(tls_channel_judge(listens.channel, to, day(1)), TLS_NO_REASON);
	assert_int_equal(tls_channel_judge(listens.channel, now, day(1)), TLS_REVOKED);
	assert_int_equal(tls_channel_judge(dials.channel, now, day(1)), TLS_NO_REASON);
	hang_up();
	end_open(&listens, from, TLS_LISTENS, NULL, day(1));
	end_open(&dials, to, TLS_DIALS, "alpha", day(1));
	pump();
	assert_open();
	assert_int_equal(tls_channel_judge(dials.channel, to, day(1)), TLS_NO_REASON);
	assert_int_equal(tls_channel_judge(dials.channel, now, day(1)), TLS_REVOKED);
	hang_up();
	alpha_is_out(from, now);
	tls_context_unref(&from);
	tls_context_unref(&to);
	tls_context_unref(&now);
}

static void a_node_that_is_revoked(void **state)
{
	(void)state;
	alpha_is_revoked(NULL, &alpha);
}

static void an_authority_that_is_revoked(void **state)
{
	(void)state;
	alpha_is_revoked(&between, NULL);
}

/* Its session is kept, and is of no use once a list says so: the ticket is shown to who has read the list. */
static void a_link_that_was_resumed_is_judged(void **state)
{
	(void)state;
	certify(&alpha, &root);
	write_certificates("pki/alpha.pem", &alpha, NULL);
	struct tls_context *from = load_party(&alpha, true), *to = load_party(&beta, true);
	meet(from, to, false);
	hang_up();
	meet(from, to, true);
	write_lists(NULL, &beta);
	struct tls_context *now = load_party(&alpha, true);
	assert_int_equal(tls_channel_judge(dials.channel, from, day(1)), TLS_NO_REASON);
	assert_int_equal(tls_channel_judge(dials.channel, now, day(1)), TLS_REVOKED);
	assert_int_equal(tls_channel_judge(listens.channel, to, day(1)), TLS_NO_REASON);
	hang_up();
	tls_context_unref(&from);
	tls_context_unref(&to);
	tls_context_unref(&now);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, cluster_tear_down)

static const struct CMUnitTest tests[] = {
    TEST(a_chain_is_let_in),
    TEST(also_without_lists),
    TEST(a_node_of_the_root_itself_is_resumed),
    TEST(an_authority_in_between_may_be_in_ca),
    TEST(shown_although_it_is_known),
    TEST(the_first_end_counts),
    TEST(a_list_of_each_is_needed),
    TEST(either_list_may_run_out),
    TEST(half_a_chain_is_refused),
    TEST(a_node_that_is_revoked),
    TEST(an_authority_that_is_revoked),
    TEST(a_link_that_was_resumed_is_judged),
};

int main(void)
{
	int failed = cmocka_run_group_tests_name("RSA", tests, use_rsa, forget_keys);

	failed += cmocka_run_group_tests_name("elliptic curves", tests, use_curves, forget_keys);
	return failed + cmocka_run_group_tests_name("both", tests, use_both, forget_keys);
}
