/* What a load says of files that are no good: before the old context is gone, and with the file's name. */
#include "tests/unit/tls_fixture.h"

#include <fcntl.h>

static void assert_load(const struct tls_settings *s, struct wall_time now, const char *file, const char *reason)
{
	struct tls_context *c = (struct tls_context *)&said;
	char expect[TLS_LINE_BYTES];

	assert_int_equal(tls_context_load(&c, s, now, &said), ERR_CONFIG);
	assert_ptr_equal(c, &said);
	snprintf(expect, sizeof expect, "%s: %s", file, reason);
	assert_string_equal(said.why, expect);
}

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	fputs(text, f);
	fclose(f);
}

static void all_is_well(void **state)
{
	(void)state;
	struct tls_context *c = load("alpha"), *same = tls_context_ref(c);
	assert_int_equal(tls_context_expires(c).s, day(365).s);
	tls_context_unref(&c);
	assert_null(c);
	assert_int_equal(tls_context_expires(same).s, day(365).s);
	tls_context_unref(&same);
}

/* Each of the files in turn. */
static void no_such_file(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct tls_settings s = settings_of("eu", "eu", "alpha");
		const char **at = (const char **[]){&s.certificate, &s.key, &s.authority, &s.crl}[i];
		*at = in_folder("absent");
		assert_load(&s, day(1), *at, "No such file or directory");
		*at = folder;
		assert_load(&s, day(1), *at, "is not a file");
	}
}

static void a_pipe_does_not_hold_it_up(void **state)
{
	(void)state;
	struct tls_settings s = settings_of("eu", "eu", "alpha");
	s.key = in_folder("pipe");
	assert_int_equal(mkfifo(s.key, 0600), 0);
	assert_load(&s, day(1), s.key, "is not a file");
}

static void not_in_pem_form(void **state)
{
	static const char *const whats[] = {"certificate", "private key", "certificate", "revocation list"};
	char reason[100];

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct tls_settings s = settings_of("eu", "eu", "alpha");
		const char **at = (const char **[]){&s.certificate, &s.key, &s.authority, &s.crl}[i];
		*at = in_folder("nonsense");
		snprintf(reason, sizeof reason, "has no %s in PEM form", whats[i]);
		write_file(*at, "");
		assert_load(&s, day(1), *at, reason);
		write_file(*at, "nonsense\n");
		assert_load(&s, day(1), *at, reason);
	}
	struct tls_settings s = settings_of("eu", "eu", "alpha");
	s.certificate = in_folder("nonsense");
	write_file(s.certificate, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
	assert_load(&s, day(1), s.certificate, "has a damaged certificate");
	s = settings_of("eu", "eu", "alpha");
	s.authority = in_folder("nonsense");
	write_file(s.authority, "-----BEGIN CERTIFICATE-----\nAAAA\n");
	assert_load(&s, day(1), s.authority, "has a damaged certificate");
	s = settings_of("eu", "eu", "alpha");
	s.key = s.certificate;
	assert_load(&s, day(1), s.key, "has no private key in PEM form");
}

static void a_key_of_another(void **state)
{
	(void)state;
	struct tls_settings s = settings_of("eu", "eu", "alpha");
	s.key = in_folder("eu/beta.key");
	assert_load(&s, day(1), s.key, "the key does not fit the certificate");
}

static void a_key_with_a_password(void **state)
{
	(void)state;
	struct tls_settings s = settings_of("eu", "eu", "alpha");
	EVP_PKEY *key = read_pem("eu/alpha.key", read_pkey);
	FILE *f = fopen(s.key, "w");
	PEM_write_PrivateKey(f, key, EVP_aes_128_cbc(), (const unsigned char *)"secret", 6, NULL, NULL);
	fclose(f);
	EVP_PKEY_free(key);
	assert_load(&s, day(1), s.key, "the key is encrypted, and nobody is there to be asked for its password");
}

static void a_key_that_others_can_read(void **state)
{
	static const mode_t bad[] = {0644, 0604, 0620, 0602}, good[] = {0600, 0400, 0640};

	(void)state;
	struct tls_settings s = settings_of("eu", "eu", "alpha");
	char expect[TLS_LINE_BYTES];
	for (unsigned i = 0; i < 4; i++) {
		struct tls_context *c;
		chmod(s.key, bad[i]);
		assert_int_equal(tls_context_load(&c, &s, day(1), &said), 0);
		snprintf(expect, sizeof expect, "%s: the key can be read or changed by others (mode %04o)", s.key,
			 bad[i]);
		assert_string_equal(said.warning, expect);
		tls_context_unref(&c);
	}
	for (unsigned i = 0; i < 3; i++) {
		struct tls_context *c;
		chmod(s.key, good[i]);
		assert_int_equal(tls_context_load(&c, &s, day(1), &said), 0);
		assert_string_equal(said.warning, "");
		tls_context_unref(&c);
	}
}

static void out_of_its_time(void **state)
{
	(void)state;
	struct tls_settings s = settings_of("eu", "eu", "alpha");
	s.crl = NULL;
	assert_load(&s, day(366), s.certificate, "the certificate, or one above it, has expired");
	assert_load(&s, day(-1), s.certificate, "the certificate, or one above it, is not yet valid");
}

static void of_another(void **state)
{
	char reason[300];

	(void)state;
	struct tls_settings s = settings_of("eu", "eu", "alpha");
	for (int i = 0; i < 2; i++) {
		s.cluster = i ? "us" : "eu";
		s.node = i ? "alpha" : "gamma";
		snprintf(reason, sizeof reason,
			 "the certificate is of node alpha of cluster eu, and this is node %s of cluster %s", s.node,
			 s.cluster);
		assert_load(&s, day(1), s.certificate, reason);
	}
}

static void of_another_authority(void **state)
{
	(void)state;
	make_authority("other", "eu");
	struct tls_settings s = settings_of("eu", "eu", "alpha");
	s.authority = in_folder("other/ca.pem");
	s.crl = NULL;
	assert_load(&s, day(1), s.certificate, "the certificate is not of the cluster's authority");
	s = settings_of("eu", "eu", "alpha");
	s.crl = in_folder("other/crl.pem");
	assert_load(&s, day(1), s.certificate, "the revocation list is not of this certificate's authority");
}

/* Two authorities, while one takes over from the other. */
static void two_authorities(void **state)
{
	char command[3 * PATH_MAX];

	(void)state;
	make_authority("other", "eu");
	issue("other", "beta");
	snprintf(command, sizeof command, "cd %s && for f in ca crl; do cat eu/$f.pem other/$f.pem >$f.pem; done",
		 folder);
	assert_int_equal(system(command), 0);
	struct tls_context *c[2];
	for (int i = 0; i < 2; i++) {
		struct tls_settings s = settings_of(i ? "other" : "eu", "eu", i ? "beta" : "alpha");
		s.authority = in_folder("ca.pem");
		s.crl = in_folder("crl.pem");
		assert_int_equal(tls_context_load(&c[i], &s, day(1), &said), 0);
	}
	connect_ends(c[0], c[1], "beta");
	assert_open();
	hang_up();
	tls_context_unref(&c[0]);
	tls_context_unref(&c[1]);
}

static void revoked_itself(void **state)
{
	(void)state;
	revoke_node("eu", "alpha");
	struct tls_settings s = settings_of("eu", "eu", "alpha");
	assert_load(&s, day(1), s.certificate, "the certificate is revoked");
}

static void a_list_out_of_its_time(void **state)
{
	(void)state;
	make_short_crl(day(5));
	struct tls_settings s = settings_of("eu", "eu", "alpha");
	assert_load(&s, day(6), s.crl, "the revocation list has expired");
	assert_load(&s, day(-1), s.crl, "the revocation list is not yet valid");
}

static void a_certificate_that_is_for_something_else(void **state)
{
	(void)state;
	make_odd((struct odd){.names = "URI:weir://eu/odd", .usage = "serverAuth"});
	struct tls_settings s = settings_of("eu", "eu", "odd");
	assert_load(&s, day(1), s.certificate, "the certificate must be good for both servers and clients");
	make_odd((struct odd){.names = "DNS:odd"});
	assert_load(&s, day(1), s.certificate, "the certificate has no name weir://CLUSTER/NODE");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, cluster_set_up, cluster_tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(all_is_well),
	    TEST(no_such_file),
	    TEST(a_pipe_does_not_hold_it_up),
	    TEST(not_in_pem_form),
	    TEST(a_key_of_another),
	    TEST(a_key_with_a_password),
	    TEST(a_key_that_others_can_read),
	    TEST(out_of_its_time),
	    TEST(of_another),
	    TEST(of_another_authority),
	    TEST(two_authorities),
	    TEST(revoked_itself),
	    TEST(a_list_out_of_its_time),
	    TEST(a_certificate_that_is_for_something_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
