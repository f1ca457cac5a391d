/* An authority in a folder: what it makes, what it does not overwrite, what is left when it is cut short. */
#include "tests/unit/tls_fixture.h"

#include <fcntl.h>
#include <unistd.h>

static struct tls_pki_issued issued;
static const struct tls_pki_terms terms = {{NOW}, 100};

static void assert_why(int err, int expect, const char *reason)
{
	char line[TLS_LINE_BYTES];

	assert_int_equal(err, expect);
	snprintf(line, sizeof line, "%s/%s", folder, reason);
	assert_string_equal(
	    why,
	    *reason == '"' || strncmp(reason, "the name", 8) == 0 || strncmp(reason, "a node", 6) == 0 ? reason : line);
}

static mode_t mode_of(const char *file)
{
	struct stat st;

	assert_int_equal(stat(in_folder(file), &st), 0);
	return st.st_mode & 07777;
}

static char *text_of(const char *file)
{
	static char text[2][8192];
	static unsigned next;
	char *at = text[next++ % 2];
	FILE *f = fopen(in_folder(file), "r");

	assert_non_null(f);
	at[fread(at, 1, sizeof text[0] - 1, f)] = '\0';
	fclose(f);
	return at;
}

static void modes_do_not_depend_on_the_mask(void **state)
{
	static const mode_t masks[] = {0, 022, 0777};

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		char dir[16], file[64];
		snprintf(dir, sizeof dir, "m%u", i);
		mode_t old = umask(i == 2 ? 077 : masks[i]);
		make_authority(dir, "us");
		umask(masks[i]);
		issue(dir, "alpha");
		umask(old);
		assert_int_equal(mode_of(dir), 0700);
		static const struct {
			const char *name;
			mode_t mode;
		} files[] = {{"ca.key", 0600},    {"ca.pem", 0644},    {"crl.pem", 0644},
			     {"alpha.key", 0600}, {"alpha.pem", 0644}, {"index", 0644}};
		for (unsigned k = 0; k < 6; k++) {
			snprintf(file, sizeof file, "%s/%s", dir, files[k].name);
			assert_int_equal(mode_of(file), files[k].mode);
		}
	}
}

static void an_authority_is_never_overwritten(void **state)
{
	(void)state;
	char *before = text_of("eu/ca.key");
	assert_why(tls_pki_init(in_folder("eu"), "eu", terms, &issued, why), ERR_BUSY,
		   "eu/ca.pem: there is an authority already, and it is never overwritten");
	remove(in_folder("eu/ca.pem"));
	assert_why(tls_pki_init(in_folder("eu"), "eu", terms, &issued, why), ERR_BUSY,
		   "eu/ca.key: there is an authority already, and it is never overwritten");
	assert_string_equal(text_of("eu/ca.key"), before);
}

static void a_node_is_not_overwritten_without_force(void **state)
{
	(void)state;
	char *before = text_of("eu/alpha.pem");
	const char *dir = in_folder("eu");
	assert_why(tls_pki_issue(dir, "alpha", NULL, false, terms, &issued, why), ERR_BUSY,
		   "eu/alpha.pem: is there already; --force makes another one");
	assert_string_equal(text_of("eu/alpha.pem"), before);
	remove(in_folder("eu/alpha.pem"));
	assert_why(tls_pki_issue(dir, "alpha", NULL, false, terms, &issued, why), ERR_BUSY,
		   "eu/alpha.key: is there already; --force makes another one");
	assert_int_equal(tls_pki_issue(dir, "alpha", NULL, true, terms, &issued, why), 0);
	tls_context_unref(&(struct tls_context *){load("alpha")});
}

static void it_ends_with_its_authority(void **state)
{
	(void)state;
	struct tls_pki_terms long_ones = {day(0), 36500};
	assert_int_equal(tls_pki_issue(in_folder("eu"), "gamma", NULL, false, long_ones, &issued, why), 0);
	assert_int_equal(issued.expires.s, day(2650).s);
	assert_string_equal(issued.cluster, "eu");
	long_ones.now = day(2650);
	assert_why(tls_pki_issue(in_folder("eu"), "delta", NULL, false, long_ones, &issued, why), ERR_CONFIG,
		   "eu/ca.pem: the authority has expired");
}

/* All that a node was ever given. */
static void every_certificate_of_a_node_is_revoked(void **state)
{
	unsigned count = 77;
	struct tls_context *old = load("alpha"), *beta;

	(void)state;
	issue("eu", "alpha");
	struct tls_context *new = load("alpha");
	assert_int_equal(tls_pki_revoke(in_folder("eu"), "alpha", day(1), &count, why), 0);
	assert_int_equal(count, 2);
	assert_int_equal(tls_pki_revoke(in_folder("eu"), "alpha", day(1), &count, why), 0);
	assert_int_equal(count, 0);
	beta = load("beta");
	for (int i = 0; i < 2; i++) {
		connect_ends(i ? new : old, beta, "beta");
		assert_failed(listens, "revoked", false);
		hang_up();
	}
	issue("eu", "alpha"); /* the next one is good */
	struct tls_context *next = load("alpha");
	connect_ends(next, beta, "beta");
	assert_open();
	hang_up();
	tls_context_unref(&old);
	tls_context_unref(&new);
	tls_context_unref(&next);
	tls_context_unref(&beta);
}

static long crl_number(void)
{
	FILE *f = fopen(in_folder("eu/crl.pem"), "r");
	X509_CRL *crl = PEM_read_X509_CRL(f, NULL, NULL, NULL);
	ASN1_INTEGER *number = X509_CRL_get_ext_d2i(crl, NID_crl_number, NULL, NULL);
	long n = ASN1_INTEGER_get(number);

	fclose(f);
	ASN1_INTEGER_free(number);
	X509_CRL_free(crl);
	return n;
}

/* The index was written, and the list was not: to revoke again is the way out. */
static void a_revocation_that_was_cut_short(void **state)
{
	unsigned count;

	(void)state;
	char before[8192];
	strcpy(before, text_of("eu/crl.pem"));
	assert_int_equal(crl_number(), 1);
	revoke_node("eu", "alpha");
	assert_int_equal(crl_number(), 2);
	FILE *f = fopen(in_folder("eu/crl.pem"), "w");
	fputs(before, f);
	fclose(f);
	assert_int_equal(tls_pki_revoke(in_folder("eu"), "alpha", day(1), &count, why), 0);
	struct tls_settings s = settings_of("eu", "eu", "alpha");
	struct tls_context *c;
	assert_int_equal(tls_context_load(&c, &s, day(1), &said), ERR_CONFIG);
	assert_non_null(strstr(said.why, "is revoked"));
}

static void what_is_not_there(void **state)
{
	unsigned count;

	(void)state;
	assert_why(tls_pki_revoke(in_folder("eu"), "gamma", day(1), &count, why), ERR_GONE,
		   "eu: no certificate was issued for a node gamma");
	assert_why(tls_pki_revoke(in_folder("none"), "gamma", day(1), &count, why), ERR_GONE,
		   "none: No such file or directory");
	assert_why(tls_pki_init(in_folder("none/none"), "eu", terms, &issued, why), ERR_GONE,
		   "none/none: No such file or directory");
	mkdir(in_folder("empty"), 0700);
	assert_why(tls_pki_issue(in_folder("empty"), "gamma", NULL, false, terms, &issued, why), ERR_GONE,
		   "empty: has no authority; pki init makes one");
}

static void names_that_are_refused(void **state)
{
	static const char *const lists[] = {"",           ",",     "a,",       "a b", "a..b", "-a",   "a-",
					    "10.0.0.1/8", "URI:x", "a\nDNS:b", "*",   "a.*",  "a,,b", "a_b"};
	char expect[200];

	(void)state;
	static const char *const nodes[] = {"ca", "crl", ".hidden", "-x", "..", "."};
	for (unsigned i = 0; i < 6; i++) {
		snprintf(expect, sizeof expect,
			 "a node cannot be called \"%s\" here: its files would be taken for others", nodes[i]);
		assert_why(tls_pki_issue(in_folder("eu"), nodes[i], NULL, true, terms, &issued, why), ERR_CONFIG,
			   expect);
	}
	assert_why(tls_pki_issue(in_folder("eu"), "../x", NULL, true, terms, &issued, why), ERR_CONFIG,
		   "the name of a node is 1 to 64 letters, digits, \"-\", \"_\" and \".\"");
	assert_why(tls_pki_init(in_folder("new"), "e u", terms, &issued, why), ERR_CONFIG,
		   "the name of a cluster is 1 to 64 letters, digits, \"-\", \"_\" and \".\"");
	for (unsigned i = 0; i < sizeof lists / sizeof lists[0]; i++) {
		snprintf(expect, sizeof expect, "\"%s\" is no list of DNS names and IP addresses with commas between",
			 lists[i]);
		assert_why(tls_pki_issue(in_folder("eu"), "gamma", lists[i], false, terms, &issued, why), ERR_CONFIG,
			   expect);
	}
	assert_int_equal(
	    tls_pki_issue(in_folder("eu"), "gamma", "a,*.b-c.d,10.0.0.1,::1,A9", false, terms, &issued, why), 0);
}

/* A node may be called like its cluster. */
static void the_same_name_for_all(void **state)
{
	(void)state;
	issue("eu", "eu");
	struct tls_context *same = load("eu"), *beta = load("beta");
	connect_ends(same, beta, "beta");
	assert_open();
	assert_string_equal(tls_channel_peer(listens.channel), "eu");
	hang_up();
	tls_context_unref(&same);
	tls_context_unref(&beta);
}

/* What a crash has left beside a file's place is in nobody's way, and followed nowhere. */
static void what_was_left_half_done(void **state)
{
	(void)state;
	assert_int_equal(symlink("/dev/null", in_folder("eu/gamma.key.new")), 0);
	FILE *f = fopen(in_folder("eu/gamma.pem.new"), "w");
	fclose(f);
	issue("eu", "gamma");
	tls_context_unref(&(struct tls_context *){load("gamma")});
	assert_int_equal(access(in_folder("eu/gamma.key.new"), F_OK), -1);
	assert_int_equal(access(in_folder("eu/gamma.pem.new"), F_OK), -1);
}

static void a_damaged_index(void **state)
{
	static const char *const bad[] = {"x",
					  "12 alpha 20271126180632Z",
					  "xx alpha 20271126180632Z -",
					  "12 al/pha 20271126180632Z -",
					  "12 alpha 2027 -",
					  "12 alpha 20271126180632Z - -",
					  "12 alpha 20271126180632Z 1",
					  "",
					  "12  20271126180632Z -"};
	unsigned count;

	(void)state;
	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		FILE *f = fopen(in_folder("eu/index"), "w");
		fprintf(f, "12 alpha 20271126180632Z -\n%s\n", bad[i]);
		fclose(f);
		assert_why(tls_pki_revoke(in_folder("eu"), "alpha", day(1), &count, why), ERR_CONFIG,
			   "eu/index: line 2 is not SERIAL NODE EXPIRES REVOKED");
	}
}

static void what_was_issued(void **state)
{
	struct tls_pki_list l;

	(void)state;
	revoke_node("eu", "alpha");
	issue("eu", "alpha");
	assert_int_equal(tls_pki_issue(in_folder("eu"), "gamma", NULL, false, terms, &issued, why), 0);
	remove(in_folder("eu/ca.key"));
	assert_int_equal(tls_pki_list(in_folder("eu"), &l, why), 0);
	assert_string_equal(l.authority.cluster, "eu");
	assert_int_equal(l.authority.expires.s, day(2650).s);
	assert_true(l.count >= 3);
	const struct tls_pki_entry *last = &l.at[l.count - 1], *again = &l.at[l.count - 2];
	assert_string_equal(last->node, "gamma");
	assert_string_equal(last->serial, issued.serial);
	assert_int_equal(last->expires.s, day(100).s);
	assert_int_equal(last->revoked.s, 0);
	assert_string_equal(again->node, "alpha");
	assert_int_equal(again->revoked.s, 0);
	unsigned revoked = 0;
	for (size_t i = 0; i < l.count; i++)
		revoked += strcmp(l.at[i].node, "alpha") == 0 && l.at[i].revoked.s == day(0).s;
	assert_int_equal(revoked, 1);
	tls_pki_list_fini(&l);
	FILE *f = fopen(in_folder("eu/index"), "w");
	fputs("12 alpha 20279926180632Z -\n", f);
	fclose(f);
	assert_int_equal(tls_pki_list(in_folder("eu"), &l, why), ERR_CONFIG);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, cluster_set_up, cluster_tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(modes_do_not_depend_on_the_mask),
	    TEST(an_authority_is_never_overwritten),
	    TEST(a_node_is_not_overwritten_without_force),
	    TEST(it_ends_with_its_authority),
	    TEST(every_certificate_of_a_node_is_revoked),
	    TEST(a_revocation_that_was_cut_short),
	    TEST(what_is_not_there),
	    TEST(names_that_are_refused),
	    TEST(the_same_name_for_all),
	    TEST(what_was_left_half_done),
	    TEST(a_damaged_index),
	    TEST(what_was_issued),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
