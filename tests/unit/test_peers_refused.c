/* Who is not let in, what ends a link, and that both leave the other links alone. */
#include "tests/unit/peers_fixture.h"

/* Ends with an alert or a close, and with one line of the log. */
static void expect_refused(struct raw *r, const char *line)
{
	unsigned before = logged(line);

	RAW_UNTIL(r, r->ended);
	assert_int_equal(logged(line), before + 1);
	raw_close(r);
}

/* Waits for GOODBYE with the reason. */
static void expect_goodbye(struct raw *r, enum peer_goodbye_reason reason)
{
	RAW_UNTIL(r, r->ended || r->goodbye.reason != 0);
	if (r->goodbye.reason != reason)
		fail_msg("%s instead of %s", peer_goodbye_text(r->goodbye.reason), peer_goodbye_text(reason));
	RAW_UNTIL(r, r->ended);
	raw_close(r);
}

static void plain_tcp(void **state)
{
	struct raw r;

	(void)state;
	node_start(&alpha, "alpha", 11);
	raw_connect(&r, &alpha, NULL, NULL, NULL);
	raw_write(&r, VIEW("GET / HTTP/1.1\r\n\r\n"));
	expect_refused(&r, "event=peer_refused reason=\"not TLS\"");
}

/* Somebody who trusts everybody, with a certificate of eu's authority or none. */
static void expect_refused_alone(const char *certificate, const char *line)
{
	struct raw r;
	unsigned before = logged(line);

	node_start(&alpha, "alpha", 11);
	raw_connect(&r, &alpha, NULL, NULL, NULL);
	end_open_raw(&dials, TLS_DIALS, certificate, TLS1_3_VERSION);
	raw_step(&dials, view_of(NULL, 0));
	struct instant since = clock_now();
	while (!r.ended && instant_since_ms(clock_now(), since) < PATIENCE_MS) {
		uint8_t got[4096];
		buf_put(&r.out, buf_view(&dials.out));
		buf_clear(&dials.out);
		ssize_t n = recv(r.fd, got, sizeof got, MSG_PEEK);
		if (n > 0) {
			(void)!recv(r.fd, got, (size_t)n, 0);
			raw_step(&dials, view_of(got, (size_t)n));
		}
		(void)raw_turn(&r);
		loop_turn();
	}
	assert_true(r.ended);
	assert_int_equal(logged(line), before + 1);
	assert_int_equal(alpha.ups, 0);
	hang_up();
	raw_close(&r);
}

static void without_a_certificate(void **state)
{
	(void)state;
	expect_refused_alone(NULL, "event=peer_refused reason=\"no certificate\"");
}

/* What a good node has sent, to the byte, is nothing when it is sent once more: the other side's part of the keys is
 * another one each time. */
static void recorded(void **state)
{
	struct raw good, again;
	struct peer_hello h = raw_hello("beta", 22);
	struct buf record = {0};

	(void)state;
	node_start_patient(&alpha, "alpha", 11);
	raw_connect(&good, &alpha, "eu", "eu", "beta");
	for (struct instant since = clock_now(); tls_channel_state(good.tls) != TLS_OPEN;) {
		buf_put(&record, buf_view(&good.out)); /* raw_turn() sends all of it */
		assert_true(raw_turn(&good) && buf_len(&good.out) <= 65536);
		assert_true(instant_since_ms(clock_now(), since) < PATIENCE_MS);
		loop_turn();
	}
	raw_greet(&good, &h);
	buf_put(&record, buf_view(&good.out)); /* the rest of the handshake, and HELLO */
	RAW_UNTIL(&good, alpha.ups == 1);
	raw_connect(&again, &alpha, NULL, NULL, NULL);
	raw_write(&again, buf_view(&record));
	expect_refused(&again, "event=peer_refused reason=protocol");
	assert_true(raw_turn(&good) && is_open(&alpha, "beta", PEER_LINK_CONTROL));
	assert_int_equal(alpha.ups, 1);
	assert_int_equal(alpha.downs[PEERS_CLOSED], 0);
	buf_fini(&record);
	raw_close(&good);
}

/* One authority may have signed for several clusters. */
static void a_cluster_beside(void **state)
{
	(void)state;
	make_odd((struct odd){.names = "URI:weir://us/odd", .from = {clock_wall().s - DAY}});
	expect_refused_alone("odd", "event=peer_refused reason=\"wrong cluster\"");
}

static void wrong_certificates(void **state)
{
	static const struct {
		const char *dir, *cluster, *line;
	} strangers[] = {
	    {"us", "us", "event=peer_refused reason=\"unknown authority\""},
	    {"other", "eu", "event=peer_refused reason=\"unknown authority\""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof strangers / sizeof strangers[0]; i++) {
		struct raw r;
		node_start(&alpha, "alpha", 11);
		raw_connect(&r, &alpha, strangers[i].dir, strangers[i].cluster, "beta");
		/* It does not trust alpha either: whoever finds out first says so. */
		RAW_UNTIL(&r, r.ended || tls_channel_state(r.tls) == TLS_FAILED);
		RAW_UNTIL(&r, r.ended);
		assert_true(logged(strangers[i].line) >= 1);
		assert_int_equal(alpha.ups, 0);
		raw_close(&r);
		node_stop(&alpha);
	}
}

static void expect_stranger(struct tls_context *c, const char *line)
{
	struct raw r;

	node_start(&alpha, "alpha", 11);
	raw_connect_with(&r, &alpha, c);
	tls_context_unref(&c);
	expect_refused(&r, line);
	assert_int_equal(alpha.ups, 0);
	node_stop(&alpha);
}

/* It was good when its process began. */
static void expired(void **state)
{
	(void)state;
	expect_stranger(load_at("eu", "eu", "late", (struct wall_time){clock_wall().s - 10 * DAY}),
			"event=peer_refused reason=expired");
}

static void revoked(void **state)
{
	struct tls_settings s = settings_of("eu", "eu", "lost");
	struct tls_context *c = NULL;
	unsigned count;

	(void)state;
	s.crl = NULL; /* it has not heard of it */
	assert_int_equal(tls_context_load(&c, &s, clock_wall(), &said), 0);
	assert_int_equal(
	    tls_pki_revoke(in_folder("eu"), "lost", (struct wall_time){clock_wall().s - 3600}, &count, why), 0);
	expect_stranger(c, "event=peer_refused reason=revoked");
}

/* gamma listens where beta is looked for. */
static void another_node(void **state)
{
	unsigned before = logged("event=peer_refused reason=\"wrong name\"");

	(void)state;
	node_start(&alpha, "alpha", 11);
	node_start(&gamma_node, "gamma", 44);
	want(&alpha, &gamma_node, "beta");
	RUN_UNTIL(logged("event=peer_refused reason=\"wrong name\"") > before);
	assert_int_equal(alpha.ups + gamma_node.ups, 0);
}

static void itself(void **state)
{
	(void)state;
	node_start(&alpha, "alpha", 11);
	want(&alpha, &alpha, "");
	RUN_UNTIL(alpha.named >= 1);
	assert_string_equal(alpha.named_name, "alpha");
	want(&alpha, &alpha, "beta");
	unsigned before = logged("reason=\"wrong name\"");
	RUN_UNTIL(logged("reason=\"wrong name\"") > before);
	assert_int_equal(alpha.ups, 0);
}

static void hellos(void **state)
{
	struct raw r;
	struct peer_hello h;

	(void)state;
	node_start(&alpha, "alpha", 11);
	raw_connect(&r, &alpha, "eu", "eu", "beta");
	h = raw_hello("gamma", 5);
	raw_greet(&r, &h);
	expect_goodbye(&r, PEER_BYE_NAME);

	raw_connect(&r, &alpha, "eu", "eu", "beta");
	h = raw_hello("beta", 5);
	h.version_least = h.version_greatest = 2;
	raw_greet(&r, &h);
	expect_goodbye(&r, PEER_BYE_VERSION);
	assert_int_equal(logged("it speaks 2 to 2, this node 1 to 1"), 1);

	raw_connect(&r, &alpha, "eu", "eu", "beta");
	RAW_UNTIL(&r, tls_channel_state(r.tls) == TLS_OPEN);
	raw_send(&r, PEER_HELLO, VIEW("weir"));
	expect_goodbye(&r, PEER_BYE_MALFORMED);

	raw_connect(&r, &alpha, "eu", "eu", "beta");
	RAW_UNTIL(&r, tls_channel_state(r.tls) == TLS_OPEN);
	raw_send(&r, PEER_REPORT, VIEW("x"));
	expect_goodbye(&r, PEER_BYE_MALFORMED);
	assert_int_equal(alpha.ups, 0);
}

/* Two clusters of one name and one authority; who was never in one is let in. */
static void another_cluster(void **state)
{
	struct raw r;
	struct peer_hello h = raw_hello("beta", 5);

	(void)state;
	alpha.cluster[0] = 1;
	node_start(&alpha, "alpha", 11);
	h.cluster[0] = 2;
	raw_connect(&r, &alpha, "eu", "eu", "beta");
	raw_greet(&r, &h);
	expect_goodbye(&r, PEER_BYE_CLUSTER);
	assert_int_equal(alpha.ups, 0);
	h.cluster[0] = 0;
	raw_connect(&r, &alpha, "eu", "eu", "beta");
	raw_greet(&r, &h);
	RAW_UNTIL(&r, alpha.ups == 1);
	raw_close(&r);
}

/* alpha has dialled beta; of two at once its own connection stays, for its name is the smaller one. */
static void a_rival(void **state)
{
	struct raw r;
	struct peer_hello h = raw_hello("beta", 22);

	(void)state;
	link_up();
	raw_connect(&r, &alpha, "eu", "eu", "beta");
	raw_greet(&r, &h);
	expect_goodbye(&r, PEER_BYE_DUPLICATE);
	assert_int_equal(alpha.ups, 1);
	assert_true(both_open(&alpha, "beta"));
}

/* Whoever dials again has lost the connection that is still there at the other side. */
static void dialled_again(void **state)
{
	struct raw first, second;
	struct peer_hello h = raw_hello("beta", 22);

	(void)state;
	node_start(&alpha, "alpha", 11);
	raw_connect(&first, &alpha, "eu", "eu", "beta");
	raw_greet(&first, &h);
	RAW_UNTIL(&first, alpha.ups == 1);
	raw_connect(&second, &alpha, "eu", "eu", "beta");
	raw_greet(&second, &h);
	RAW_UNTIL(&second, alpha.ups == 2);
	expect_goodbye(&first, PEER_BYE_DUPLICATE);
	assert_int_equal(alpha.downs[PEERS_CLOSED], 0);
	raw_close(&second);
}

static void malformed_frames(void **state)
{
	static const struct {
		const char *what;
		struct {
			enum peer_type type;
			uint64_t sequence;
			size_t len;
		} frames[3];
		enum peer_goodbye_reason reason;
	} cases[] = {
	    {"out of order", {{PEER_REPORT, 2, 1}, {PEER_REPORT, 4, 1}}, PEER_BYE_MALFORMED},
	    {"replayed", {{PEER_REPORT, 2, 1}, {PEER_REPORT, 2, 1}}, PEER_BYE_MALFORMED},
	    {"a second HELLO", {{PEER_HELLO, 2, 9}}, PEER_BYE_MALFORMED},
	    {"BEAT that is none", {{PEER_BEAT, 2, 3}}, PEER_BYE_MALFORMED},
	    {"CREDIT that is none", {{PEER_CREDIT, 2, 3}}, PEER_BYE_MALFORMED},
	    {"CREDIT for nothing", {{PEER_CREDIT, 2, 4}}, PEER_BYE_MALFORMED},
	};
	static const uint8_t body[16] = {1};

	(void)state;
	node_start(&alpha, "alpha", 11);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct raw r;
		struct buf b = {0};
		struct peer_hello h = raw_hello("beta", 100 + i);
		unsigned ups = alpha.ups, closed = alpha.downs[PEERS_CLOSED];
		raw_connect(&r, &alpha, "eu", "eu", "beta");
		raw_greet(&r, &h);
		RAW_UNTIL(&r, alpha.ups == ups + 1);
		for (size_t f = 0; f < 3 && cases[i].frames[f].sequence > 0; f++) {
			peer_put_head(&b, cases[i].frames[f].type, 0, cases[i].frames[f].sequence,
				      cases[i].frames[f].len);
			buf_put(&b, view_of(body, cases[i].frames[f].len));
		}
		raw_write(&r, buf_view(&b));
		buf_fini(&b);
		expect_goodbye(&r, cases[i].reason);
		assert_int_equal(alpha.downs[PEERS_CLOSED], closed + 1);
	}
}

/* The head alone is enough. */
static void too_long(void **state)
{
	struct raw r;
	struct peer_hello h = raw_hello("beta", 5);

	(void)state;
	node_start(&alpha, "alpha", 11);
	raw_connect(&r, &alpha, "eu", "eu", "beta");
	raw_greet(&r, &h);
	RAW_UNTIL(&r, alpha.ups == 1);
	raw_write(&r, view_of("\0\x11\0\1\6\0\0\0\0\0\0\0\0\0\0\2", 16));
	expect_goodbye(&r, PEER_BYE_MALFORMED);
	assert_true(logged("frame too long for its type") >= 1);
}

/* --- credits --- */

static uint8_t large[PEER_BODY_MAX];

static void overrun(void **state)
{
	struct raw r;
	struct peer_hello h = raw_hello("beta", 5);

	(void)state;
	struct tls_context *c = load_today("eu", "eu", "alpha");
	node_start_with(&alpha, "alpha", 11, 10000, c);
	tls_context_unref(&c);
	raw_connect(&r, &alpha, "eu", "eu", "beta");
	raw_greet(&r, &h);
	RAW_UNTIL(&r, alpha.ups == 1);
	alpha.puts_off = true;
	raw_send(&r, PEER_CONTROL, view_of(large, 600000));
	raw_send(&r, PEER_CONTROL, view_of(large, 400000));
	RAW_UNTIL(&r, alpha.frames == 2);
	raw_send(&r, PEER_CONTROL, view_of(large, 100000));
	expect_goodbye(&r, PEER_BYE_OVERRUN);
	assert_int_equal(alpha.frames, 2);
}

/* Who does not deal with what comes gets no more than the window; what waits is bounded; then all comes, in order. */
static void a_slow_receiver(void **state)
{
	unsigned sent = 0;

	(void)state;
	struct tls_context *a = load_today("eu", "eu", "alpha"), *b = load_today("eu", "eu", "beta");
	node_start_with(&alpha, "alpha", 11, 20000, a);
	node_start_with(&beta, "beta", 22, 20000, b);
	tls_context_unref(&a);
	tls_context_unref(&b);
	want(&alpha, &beta, "beta");
	RUN_UNTIL(both_open(&alpha, "beta"));
	beta.puts_off = true;
	while (sent < 1000 && peers_send(alpha.peers, VIEW("beta"), PEER_CONTROL, view_of(large, 50000)) == 0)
		sent++;
	assert_true((size_t)sent * 50016 > PEERS_CONTROL_MAX);
	assert_true((size_t)sent * 50016 <= PEERS_CONTROL_MAX + (1 << 20));
	assert_int_equal(peers_send(alpha.peers, VIEW("beta"), PEER_CONTROL, view_of(large, 50000)), ERR_BUSY);
	RUN_UNTIL(beta.frames == (1 << 20) / 50016);
	loop_settle();
	assert_int_equal(beta.frames, (1 << 20) / 50016);
	assert_int_equal(alpha.drains, 0);
	assert_true(status(&alpha, "beta").links[PEER_LINK_CONTROL].queued_bytes > 0);
	/* Only the newest view, before all that waits. */
	assert_int_equal(peers_send(alpha.peers, VIEW("beta"), PEER_VIEW, view_of(large, 1 << 20)), 0);
	assert_int_equal(peers_send(alpha.peers, VIEW("beta"), PEER_VIEW, view_of(large, PEER_VIEW_MAX)), 0);
	assert_int_equal(peers_send(alpha.peers, VIEW("beta"), PEER_VIEW, VIEW("newest")), 0);
	while (sent < 10000 && peers_send(alpha.peers, VIEW("beta"), PEER_REPORT, view_of(large, 90)) == 0)
		sent++;
	assert_int_equal(peers_send(alpha.peers, VIEW("beta"), PEER_REPORT, view_of(large, 90)), ERR_BUSY);
	unsigned before = beta.frames;
	beta.puts_off = false;
	peers_dealt(beta.peers, VIEW("alpha"), beta.put_off_connection + 1, PEER_LINK_CONTROL, beta.put_off_bytes,
		    beta.put_off_frames);
	loop_settle();
	assert_int_equal(beta.frames, before);
	peers_dealt(beta.peers, VIEW("alpha"), beta.put_off_connection, PEER_LINK_CONTROL, beta.put_off_bytes,
		    beta.put_off_frames);
	RUN_UNTIL(beta.frames > before);
	RUN_UNTIL(beta.views == 1);
	RUN_UNTIL(beta.frames == sent + 1);
	assert_int_equal(beta.views, 1);
	assert_int_equal(alpha.drains, 1);
	assert_int_equal(peers_send(alpha.peers, VIEW("beta"), PEER_CONTROL, view_of(large, PEER_BODY_MAX)), 0);
	RUN_UNTIL(beta.frames == sent + 2);
	assert_int_equal(alpha.downs[PEERS_CLOSED] + beta.downs[PEERS_CLOSED], 0);
}

static uint32_t credit_of_alpha(void)
{
	return status(&alpha, "beta").links[PEER_LINK_CONTROL].credit;
}

/* What came on a connection that is there no more gives nothing back to the next one. */
static void credits_of_one_connection(void **state)
{
	enum { BYTES = 600000 };

	(void)state;
	node_start_patient(&alpha, "alpha", 11);
	node_start_patient(&beta, "beta", 22);
	want(&alpha, &beta, "beta");
	RUN_UNTIL(both_open(&alpha, "beta") && both_open(&beta, "alpha"));
	beta.puts_off = true;
	assert_int_equal(peers_send(alpha.peers, VIEW("beta"), PEER_CONTROL, view_of(large, BYTES)), 0);
	RUN_UNTIL(beta.frames == 1);
	uint64_t first = beta.put_off_connection;
	peers_redial(alpha.peers);
	RUN_UNTIL(alpha.ups == 2 && beta.ups == 2);
	assert_int_equal(peers_send(alpha.peers, VIEW("beta"), PEER_CONTROL, view_of(large, BYTES)), 0);
	RUN_UNTIL(beta.frames == 2);
	uint32_t left = credit_of_alpha();
	peers_dealt(beta.peers, VIEW("alpha"), first, PEER_LINK_CONTROL, BYTES, 1);
	loop_settle();
	assert_int_equal(credit_of_alpha(), left);
	peers_dealt(beta.peers, VIEW("alpha"), beta.put_off_connection, PEER_LINK_CONTROL, BYTES, 1);
	RUN_UNTIL(credit_of_alpha() == left + PEER_HEAD_BYTES + BYTES);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, peers_set_up, peers_tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(plain_tcp),        TEST(without_a_certificate),
	    TEST(recorded),         TEST(wrong_certificates),
	    TEST(expired),          TEST(revoked),
	    TEST(a_cluster_beside), TEST(another_node),
	    TEST(itself),           TEST(hellos),
	    TEST(another_cluster),  TEST(a_rival),
	    TEST(dialled_again),    TEST(malformed_frames),
	    TEST(too_long),         TEST(overrun),
	    TEST(a_slow_receiver),  TEST(credits_of_one_connection),
	};

	return cmocka_run_group_tests(tests, peers_folder, peers_folder_gone);
}
