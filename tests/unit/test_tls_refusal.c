/* Who is not let in, and what both sides know of it afterwards. */
#include "tests/unit/tls_fixture.h"

#include "tls/inside.h"

#include <openssl/err.h>
#include <stdlib.h>

static struct tls_context *alpha, *beta;

static int set_up(void **state)
{
	if (cluster_set_up(state) != 0)
		return -1;
	alpha = load("alpha");
	beta = load("beta");
	return 0;
}

static int tear_down(void **state)
{
	int err = cluster_tear_down(state);

	tls_context_unref(&alpha);
	tls_context_unref(&beta);
	ERR_clear_error();
	return err;
}

/* `other` dials beta, or alpha dials `other`; whose certificate is no good either way. */
static void refused_both_ways(struct tls_context *other, const char *name, const char *reason, const char *heard)
{
	connect_ends(other, beta, "beta");
	assert_failed(listens, reason, false);
	assert_failed(dials, heard, true);
	assert_string_equal(tls_channel_peer(listens.channel), "");
	hang_up();
	connect_ends(alpha, other, name);
	assert_failed(dials, reason, false);
	assert_failed(listens, heard, true);
	hang_up();
}

static void expired(void **state)
{
	(void)state;
	issue_at("eu", "gamma", day(-400));
	struct tls_context *gamma = load_at("eu", "eu", "gamma", day(-300));
	refused_both_ways(gamma, "gamma", "expired", "expired");
	tls_context_unref(&gamma);
}

static void not_yet_valid(void **state)
{
	(void)state;
	issue_at("eu", "gamma", day(10));
	struct tls_context *gamma = load_at("eu", "eu", "gamma", day(20));
	refused_both_ways(gamma, "gamma", "not yet valid", "not yet valid");
	tls_context_unref(&gamma);
}

/* Clocks differ: a certificate that was just made is good where it is still earlier. */
static void made_by_a_clock_that_is_ahead(void **state)
{
	(void)state;
	issue_at("eu", "gamma", (struct wall_time){.s = day(1).s + 3000});
	struct tls_context *gamma = load("gamma");
	connect_ends(gamma, beta, "beta");
	assert_open();
	hang_up();
	tls_context_unref(&gamma);
}

/* Each side would refuse the other; the one that dials is the first to see a certificate. */
static void unknown_authority(void **state)
{
	(void)state;
	make_authority("other", "eu"); /* called the same */
	issue("other", "beta");
	struct tls_context *other = load_at("other", "eu", "beta", day(1));
	connect_ends(alpha, other, "beta");
	assert_failed(dials, "unknown authority", false);
	assert_failed(listens, "unknown authority", true);
	hang_up();
	connect_ends(other, alpha, "alpha");
	assert_failed(dials, "unknown authority", false);
	assert_failed(listens, "unknown authority", true);
	hang_up();
	tls_context_unref(&other);
}

static void wrong_name(void **state)
{
	(void)state;
	connect_ends(alpha, beta, "gamma");
	assert_failed(dials, "wrong name", false);
	assert_string_equal(tls_channel_failure(dials.channel)->detail, "it is beta");
	assert_failed(listens, "wrong name", true);
}

/* A name is not the beginning of another. */
static void part_of_a_name(void **state)
{
	(void)state;
	connect_ends(alpha, beta, "bet");
	assert_failed(dials, "wrong name", false);
	hang_up();
	connect_ends(alpha, beta, "beta2");
	assert_failed(dials, "wrong name", false);
}

static void revoked(void **state)
{
	(void)state;
	issue("eu", "gamma");
	struct tls_context *gamma = load("gamma");
	revoke_node("eu", "gamma");
	tls_context_unref(&alpha);
	tls_context_unref(&beta);
	alpha = load("alpha");
	beta = load("beta");
	refused_both_ways(gamma, "gamma", "revoked", "revoked");
	tls_context_unref(&gamma);
}

/* What was let in is judged by a context that was read later: on both sides, also after a shortened handshake, in which
 * no certificate is shown. */
static void judged_again(void **state)
{
	(void)state;
	issue("eu", "gamma");
	make_authority("other", "eu");
	issue("other", "beta");
	struct tls_context *gamma = load("gamma");
	struct tls_context *other = load_at("other", "eu", "beta", day(1));
	revoke_node("eu", "gamma");
	struct tls_context *later = load("beta");
	for (int resumed = 0; resumed < 2; resumed++) {
		connect_ends(gamma, beta, "beta");
		assert_open();
		assert_int_equal(tls_channel_resumed(listens.channel), resumed);
		assert_int_equal(tls_channel_judge(listens.channel, beta, day(1)), TLS_NO_REASON);
		assert_int_equal(tls_channel_judge(listens.channel, later, day(1)), TLS_REVOKED);
		assert_int_equal(tls_channel_judge(listens.channel, other, day(1)), TLS_UNKNOWN_AUTHORITY);
		assert_int_equal(tls_channel_judge(listens.channel, beta, day(400)), TLS_EXPIRED);
		assert_int_equal(tls_channel_judge(dials.channel, later, day(1)), TLS_NO_REASON);
		assert_int_equal(tls_channel_judge(dials.channel, other, day(1)), TLS_UNKNOWN_AUTHORITY);
		hang_up();
	}
	tls_context_unref(&gamma);
	tls_context_unref(&other);
	tls_context_unref(&later);
}

/* The list may be left out, and then nobody is revoked. */
static void no_list(void **state)
{
	(void)state;
	revoke_node("eu", "alpha");
	struct tls_settings s = settings_of("eu", "eu", "beta");
	struct tls_context *careless = NULL;
	s.crl = NULL;
	assert_int_equal(tls_context_load(&careless, &s, day(1), &said), 0);
	connect_ends(alpha, careless, "beta");
	assert_open();
	hang_up();
	tls_context_unref(&careless);
}

/* The list runs out while the context is in use. */
static void list_that_has_run_out(void **state)
{
	(void)state;
	make_short_crl(day(5));
	tls_context_unref(&beta);
	beta = load("beta");
	assert_int_equal(tls_context_expires(beta).s, day(5).s);
	connect_ends(alpha, beta, "beta");
	assert_open();
	hang_up();
	end_open(&listens, beta, TLS_LISTENS, NULL, day(6));
	end_open(&dials, alpha, TLS_DIALS, "beta", day(6));
	pump();
	assert_failed(listens, "revocation list expired", false);
	assert_failed(dials, "protocol", true); /* it is none of its faults */
}

/* --- certificates that weir does not make --- */

static void refused_odd(struct odd odd, const char *reason, const char *detail)
{
	make_odd(odd);
	end_open(&listens, beta, TLS_LISTENS, NULL, day(1));
	end_open_raw(&dials, TLS_DIALS, "odd", TLS1_3_VERSION);
	pump();
	assert_failed(listens, reason, false);
	if (detail)
		assert_string_equal(tls_channel_failure(listens.channel)->detail, detail);
	hang_up();
	end_open_raw(&listens, TLS_LISTENS, "odd", TLS1_3_VERSION);
	end_open(&dials, alpha, TLS_DIALS, NULL, day(1));
	pump();
	assert_failed(dials, reason, false);
	hang_up();
}

static void wrong_cluster(void **state)
{
	(void)state;
	refused_odd((struct odd){.names = "URI:weir://us/gamma"}, "wrong cluster", "it is of the cluster us");
	refused_odd((struct odd){.names = "URI:weir://eu2/gamma"}, "wrong cluster", NULL);
	refused_odd((struct odd){.names = "URI:weir://EU/gamma"}, "wrong cluster", NULL);
}

static void not_one_name(void **state)
{
	(void)state;
	refused_odd((struct odd){.names = NULL}, "wrong name", "the certificate has no name weir://CLUSTER/NODE");
	refused_odd((struct odd){.names = "DNS:eu,URI:https://eu/gamma,email:weir://eu/gamma"}, "wrong name",
		    "the certificate has no name weir://CLUSTER/NODE");
	refused_odd((struct odd){.names = "URI:weir://eu/gamma,URI:weir://eu/delta"}, "wrong name",
		    "the certificate has more than one name weir://CLUSTER/NODE");
	refused_odd((struct odd){.names = "URI:weir://eu/gamma,URI:weir://eu/"}, "wrong name", NULL);
	static const char *const bad[] = {"URI:weir://eu",        "URI:weir://eu/",    "URI:weir:///gamma",
					  "URI:weir://eu/a/b",    "URI:weir://eu/a b", "URI:weir://eu/a%41",
					  "URI:weir://u@eu/beta", "URI:weir://eu:1/b"};
	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
		refused_odd((struct odd){.names = bad[i]}, "wrong name",
			    "the certificate has a name weir://... that is not CLUSTER/NODE");
}

/* Other names do not matter. */
static void one_name_among_others(void **state)
{
	(void)state;
	make_odd((struct odd){.names = "DNS:x.example.org,URI:https://x/,URI:weir://eu/gamma,IP:10.0.0.1"});
	struct tls_context *gamma = NULL;
	struct tls_settings s = settings_of("eu", "eu", "odd");
	s.node = "gamma";
	assert_int_equal(tls_context_load(&gamma, &s, day(1), &said), 0);
	connect_ends(gamma, beta, "beta");
	assert_open();
	assert_string_equal(tls_channel_peer(listens.channel), "gamma");
	hang_up();
	tls_context_unref(&gamma);
}

static void self_signed(void **state)
{
	(void)state;
	refused_odd((struct odd){.names = "URI:weir://eu/gamma", .self_signed = true}, "unknown authority", NULL);
}

static void not_for_nodes(void **state)
{
	(void)state;
	refused_odd((struct odd){.names = "URI:weir://eu/gamma", .usage = "emailProtection"}, "bad certificate", NULL);
}

/* Every alert that a node sends is heard as what it meant. */
static void alerts(void **state)
{
	(void)state;
	assert_int_equal(tls_reason_of_alert(SSL_AD_CERTIFICATE_EXPIRED), TLS_EXPIRED);
	assert_int_equal(tls_reason_of_alert(SSL_AD_BAD_CERTIFICATE), TLS_NOT_YET_VALID);
	assert_int_equal(tls_reason_of_alert(SSL_AD_UNKNOWN_CA), TLS_UNKNOWN_AUTHORITY);
	assert_int_equal(tls_reason_of_alert(SSL_AD_CERTIFICATE_REVOKED), TLS_REVOKED);
	assert_int_equal(tls_reason_of_alert(SSL_AD_CERTIFICATE_UNKNOWN), TLS_WRONG_NAME);
	assert_int_equal(tls_reason_of_alert(SSL_AD_UNSUPPORTED_CERTIFICATE), TLS_BAD_CERTIFICATE);
	assert_int_equal(tls_reason_of_alert(TLS13_AD_CERTIFICATE_REQUIRED), TLS_NO_CERTIFICATE);
	assert_int_equal(tls_reason_of_alert(SSL_AD_HANDSHAKE_FAILURE), TLS_PROTOCOL);
	assert_int_equal(tls_reason_of_alert(SSL_AD_PROTOCOL_VERSION), TLS_PROTOCOL);
}

/* --- who does not speak as a node does --- */

static bool heard_alert(int alert)
{
	unsigned long e;
	bool some = false;

	while ((e = ERR_get_error()))
		some = some || ERR_GET_REASON(e) == SSL_AD_REASON_OFFSET + alert;
	return some;
}

static void no_certificate(void **state)
{
	(void)state;
	end_open(&listens, beta, TLS_LISTENS, NULL, day(1));
	end_open_raw(&dials, TLS_DIALS, NULL, TLS1_3_VERSION);
	ERR_clear_error();
	pump();
	assert_failed(listens, "no certificate", false);
	assert_int_equal(buf_len(&listens.plain), 0);
}

/* The alert for it, heard: 116 in the handshake's own keys, so only a real one will do. */
static void no_certificate_is_told(void **state)
{
	(void)state;
	end_open(&listens, beta, TLS_LISTENS, NULL, day(1));
	end_open_raw(&dials, TLS_DIALS, NULL, TLS1_3_VERSION);
	raw_step(&dials, view_of(NULL, 0));
	(void)carry(&dials, &listens, SIZE_MAX, SIZE_MAX);
	(void)carry(&listens, &dials, SIZE_MAX, SIZE_MAX);
	ERR_clear_error();
	(void)carry(&dials, &listens, SIZE_MAX, SIZE_MAX);
	assert_failed(listens, "no certificate", false);
	(void)carry(&listens, &dials, SIZE_MAX, SIZE_MAX);
	assert_true(heard_alert(TLS13_AD_CERTIFICATE_REQUIRED));
}

static void older_tls(void **state)
{
	(void)state;
	end_open(&listens, beta, TLS_LISTENS, NULL, day(1));
	end_open_raw(&dials, TLS_DIALS, "alpha", TLS1_2_VERSION);
	pump();
	assert_failed(listens, "protocol", false);
	hang_up();
	end_open_raw(&listens, TLS_LISTENS, "beta", TLS1_2_VERSION);
	end_open(&dials, alpha, TLS_DIALS, "beta", day(1));
	pump();
	assert_state(dials, TLS_FAILED);
	assert_string_equal(tls_reason_text(tls_channel_failure(dials.channel)->reason), "protocol");
}

static void not_tls(void **state)
{
	static const char *const texts[] = {"GET / HTTP/1.1\r\n\r\n", "SSH-2.0-x\r\n", "\x16",
					    "\x80\x2e\x01",           "weir",          "\r"};

	(void)state;
	for (unsigned i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		for (int role = 0; role < 2; role++) {
			bool dialling = role == 1;
			struct end *e = dialling ? &dials : &listens;
			end_open(e, dialling ? alpha : beta, dialling ? TLS_DIALS : TLS_LISTENS, NULL, day(1));
			buf_clear(&e->out);
			for (size_t k = 0; k < strlen(texts[i]); k++)
				end_feed(e, view_of(texts[i] + k, 1));
			if (*texts[i] == '\x16') { /* not yet known */
				assert_state(*e, TLS_HANDSHAKE);
				end_feed(e, VIEW("\x02"));
			}
			assert_failed(*e, "not TLS", false);
			assert_int_equal(buf_len(&e->out), 0);
			hang_up();
		}
	}
}

static void nonsense_in_tls(void **state)
{
	static const uint8_t longest[] = {22, 3, 1, 0xff, 0xff, 1}, empty[] = {22, 3, 1, 0, 0};

	(void)state;
	end_open(&listens, beta, TLS_LISTENS, NULL, day(1));
	end_feed(&listens, view_of(longest, sizeof longest));
	assert_failed(listens, "protocol", false);
	hang_up();
	end_open(&listens, beta, TLS_LISTENS, NULL, day(1));
	for (int i = 0; i < 100; i++)
		end_feed(&listens, view_of(empty, sizeof empty));
	assert_state(listens, TLS_FAILED);
}

/* --- tampered with --- */

static void flip(struct end *e, size_t at)
{
	assert_true(at < buf_len(&e->out));
	e->out.data[e->out.head + at] ^= 0x10;
}

/* Any byte of what carries data. */
static void tampered_data(void **state)
{
	size_t len = 100;

	(void)state;
	for (size_t at = 0; at < len; at++) {
		connect_ends(alpha, beta, "beta");
		assert_open();
		assert_int_equal(tls_channel_write(dials.channel, VIEW("an important message"), &dials.out), 0);
		len = buf_len(&dials.out);
		flip(&dials, at);
		/* A longer record than it is: the rest is waited for. */
		(void)carry(&dials, &listens, SIZE_MAX, SIZE_MAX);
		if (tls_channel_state(listens.channel) == TLS_OPEN && (at == 3 || at == 4))
			end_feed(&listens, view_of((uint8_t[PATH_MAX]){0}, PATH_MAX));
		assert_int_equal(buf_len(&listens.plain), 0);
		assert_failed(listens, "protocol", false);
		hang_up();
	}
}

/* Any byte of the handshake: it never opens on both sides. */
static void tampered_handshake(void **state)
{
	(void)state;
	for (unsigned flight = 0; flight < 3; flight++) {
		for (size_t at = 0, len = 1; at < len; at += 5) {
			end_open(&listens, beta, TLS_LISTENS, NULL, day(1));
			end_open(&dials, alpha, TLS_DIALS, NULL, day(1));
			struct end *from = &dials, *to = &listens;
			for (unsigned i = 0; i < flight; i++) {
				(void)carry(from, to, SIZE_MAX, SIZE_MAX);
				from = to;
				to = from == &dials ? &listens : &dials;
			}
			len = buf_len(&from->out); /* signatures differ in length */
			if (at < len)
				flip(from, at);
			else
				buf_clear(&from->out);
			(void)carry(from, to, SIZE_MAX, SIZE_MAX);
			pump();
			assert_true(tls_channel_state(dials.channel) != TLS_OPEN ||
				    tls_channel_state(listens.channel) != TLS_OPEN);
			hang_up();
		}
	}
}

/* A record that comes again is none. */
static void replayed(void **state)
{
	uint8_t copy[200];

	(void)state;
	connect_ends(alpha, beta, "beta");
	assert_int_equal(tls_channel_write(dials.channel, VIEW("once"), &dials.out), 0);
	struct view v = buf_view(&dials.out);
	assert_true(v.len < sizeof copy);
	memcpy(copy, v.at, v.len);
	(void)carry(&dials, &listens, SIZE_MAX, SIZE_MAX);
	assert_int_equal(buf_len(&listens.plain), 4);
	end_feed(&listens, view_of(copy, v.len));
	assert_failed(listens, "protocol", false);
	assert_int_equal(buf_len(&listens.plain), 4);
}

static void what_has_failed_stays_so(void **state)
{
	(void)state;
	connect_ends(alpha, beta, "gamma");
	buf_clear(&dials.out);
	end_feed(&dials, VIEW("more"));
	tls_channel_end(dials.channel, &dials.out);
	tls_channel_start(dials.channel, &dials.out);
	assert_int_equal(tls_channel_write(dials.channel, VIEW("x"), &dials.out), ERR_CLOSED);
	assert_int_equal(buf_len(&dials.out), 0);
	assert_failed(dials, "wrong name", false);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(expired),
	    TEST(not_yet_valid),
	    TEST(made_by_a_clock_that_is_ahead),
	    TEST(unknown_authority),
	    TEST(wrong_name),
	    TEST(part_of_a_name),
	    TEST(revoked),
	    TEST(judged_again),
	    TEST(no_list),
	    TEST(list_that_has_run_out),
	    TEST(wrong_cluster),
	    TEST(not_one_name),
	    TEST(one_name_among_others),
	    TEST(self_signed),
	    TEST(not_for_nodes),
	    TEST(alerts),
	    TEST(no_certificate),
	    TEST(no_certificate_is_told),
	    TEST(older_tls),
	    TEST(not_tls),
	    TEST(nonsense_in_tls),
	    TEST(tampered_data),
	    TEST(tampered_handshake),
	    TEST(replayed),
	    TEST(what_has_failed_stays_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
