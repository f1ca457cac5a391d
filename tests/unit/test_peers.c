/* Links between nodes: how they come about, carry frames, and end. */
#include "tests/unit/peers_fixture.h"

static void two_links(void **state)
{
	(void)state;
	link_up();
	assert_int_equal(alpha.ups, 1);
	assert_int_equal(beta.ups, 1);
	assert_int_equal(alpha.up_incarnation, 22);
	assert_int_equal(beta.up_incarnation, 11);
	assert_true(peers_is_up(alpha.peers, VIEW("beta")));
	assert_false(peers_is_up(alpha.peers, VIEW("gamma")));
	assert_true(status(&alpha, "beta").links[PEER_LINK_CONTROL].dialled);
	assert_false(status(&beta, "alpha").links[PEER_LINK_CONTROL].dialled);
	assert_true(status(&alpha, "beta").links[PEER_LINK_BULK].resumed);
}

static void nobody_knows_the_name(void **state)
{
	(void)state;
	node_start(&alpha, "alpha", 11);
	node_start(&beta, "beta", 22);
	want(&alpha, &beta, "");
	RUN_UNTIL(both_open(&alpha, "beta") && both_open(&beta, "alpha"));
	assert_true(alpha.named >= 1);
	assert_string_equal(alpha.named_address, beta.address);
	assert_string_equal(alpha.named_name, "beta");
	assert_int_equal(beta.named, 0);
}

static void heartbeats(void **state)
{
	(void)state;
	link_up();
	RUN_UNTIL(alpha.beats > 3 && beta.beats > 3 && status(&alpha, "beta").round_us > 0);
	assert_int_equal(alpha.epoch_heard, 7);
	assert_string_equal(alpha.heard, "alpha ");
	assert_string_equal(alpha.heard_to, "beta");
	assert_true(status(&alpha, "beta").round_us < 1000000);
	assert_int_equal(status(&alpha, "beta").epoch, 7);
	RUN_UNTIL(alpha.confirmed.ms > 0);
	assert_true(lease_time_since_ms(clock_lease(), alpha.confirmed) < PATIENCE_MS);
	assert_false(lease_time_before(clock_lease(), alpha.confirmed));
	beta.epoch = 8;
	RUN_UNTIL(alpha.epoch_heard == 8);
	assert_int_equal(alpha.downs[PEERS_SILENT] + beta.downs[PEERS_SILENT], 0);
}

static void frames_go_both_ways(void **state)
{
	(void)state;
	link_up();
	assert_int_equal(peers_send(alpha.peers, VIEW("beta"), PEER_CONTROL, VIEW("to beta")), 0);
	assert_int_equal(peers_send(beta.peers, VIEW("alpha"), PEER_REPORT, VIEW("to alpha")), 0);
	RUN_UNTIL(alpha.frames == 1 && beta.frames == 1);
	assert_string_equal(beta.last_body, "to beta");
	assert_string_equal(alpha.last_body, "to alpha");
	assert_int_equal(peers_send(alpha.peers, VIEW("gamma"), PEER_CONTROL, VIEW("x")), ERR_CLOSED);
	assert_int_equal(peers_send(alpha.peers, VIEW("beta"), PEER_VIEW, view_of(alpha.name, PEER_VIEW_MAX + 1)),
			 ERR_TOO_LARGE);
}

/* Around the length of one record, and of several. */
static void frames_of_any_length(void **state)
{
	static const size_t lengths[] = {0, 1, 16367, 16368, 16369, 32752, 40000, 200000};
	static uint8_t body[200000];

	(void)state;
	for (size_t i = 0; i < sizeof body; i++)
		body[i] = (uint8_t)(i * 7 + i / 251);
	link_up();
	for (unsigned i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
		struct view v = view_of(body, lengths[i]);
		assert_int_equal(peers_send(alpha.peers, VIEW("beta"), PEER_CONTROL, v), 0);
		net_loop_flush(&loop);
		RUN_UNTIL(beta.frames == i + 1);
		assert_int_equal(beta.last_sum, sum_of(v));
	}
}

/* Each knows of one connection of each kind, and one of them has dialled it. */
static bool agree(void)
{
	struct peers_status a = status(&alpha, "beta"), b = status(&beta, "alpha");

	for (size_t kind = 0; kind < PEER_LINKS; kind++) {
		if (a.links[kind].dialled == b.links[kind].dialled)
			return false;
	}
	return both_open(&alpha, "beta") && both_open(&beta, "alpha");
}

/* However often they meet, one of each kind stays at both, and nobody is said to be down for good. */
static void both_dial(void **state)
{
	(void)state;
	for (int round = 0; round < 8; round++) {
		node_start(&alpha, "alpha", 11);
		node_start(&beta, "beta", 22);
		want(&alpha, &beta, "beta");
		want(&beta, &alpha, "alpha");
		RUN_UNTIL(agree());
		unsigned a = alpha.beats, b = beta.beats;
		RUN_UNTIL(alpha.beats > a + 1 && beta.beats > b + 1);
		RUN_UNTIL(agree()); /* a slow rival may have come in between */
		node_stop(&alpha);
		node_stop(&beta);
		assert_int_equal(alpha.downs[PEERS_SILENT] + beta.downs[PEERS_SILENT], 0);
	}
}

static void the_host_refuses(void **state)
{
	(void)state;
	node_start(&alpha, "alpha", 11);
	node_start(&beta, "beta", 22);
	node_stop(&beta);
	want(&alpha, &beta, "beta");
	RUN_UNTIL(alpha.downs[PEERS_REFUSED] >= 2);
	assert_int_equal(alpha.down_incarnation, 0);
	assert_int_equal(alpha.ups, 0);
	/* And when it comes after all, it is found. */
	node_start(&beta, "beta", 23);
	RUN_UNTIL(alpha.ups == 1 && both_open(&alpha, "beta"));
	assert_int_equal(alpha.up_incarnation, 23);
}

static void leaving_is_said(void **state)
{
	(void)state;
	link_up();
	peers_stop(beta.peers);
	RUN_UNTIL(alpha.downs[PEERS_LEAVING] == 1 && !beta.peers);
	RUN_UNTIL(alpha.downs[PEERS_REFUSED] >= 1);
	assert_int_equal(alpha.downs[PEERS_CLOSED], 0);
	assert_int_equal(alpha.down_incarnation, 22);
	assert_int_equal(beta.stops, 1);
}

/* A process that is killed: its host closes all, and says nothing. */
static void killed(void **state)
{
	int fds[64], count = 0;

	(void)state;
	link_up();
	for (int fd = 3; fd < 64; fd++) {
		struct sockaddr_in at = {0};
		socklen_t len = sizeof at;
		if (getsockname(fd, (struct sockaddr *)&at, &len) == 0 && ntohs(at.sin_port) == beta.port)
			fds[count++] = fd;
	}
	assert_int_equal(count, 3);
	for (int i = 0; i < count; i++)
		(void)shutdown(fds[i], SHUT_RDWR);
	RUN_UNTIL(alpha.downs[PEERS_CLOSED] == 1 && alpha.downs[PEERS_REFUSED] >= 1);
	assert_int_equal(alpha.down_incarnation, 22);
	assert_false(peers_is_up(alpha.peers, VIEW("beta")));
}

static void a_new_incarnation(void **state)
{
	(void)state;
	link_up();
	node_stop(&beta);
	node_start(&beta, "beta", 33);
	RUN_UNTIL(alpha.ups == 2 && both_open(&alpha, "beta"));
	assert_int_equal(alpha.up_incarnation, 33);
	assert_int_equal(status(&alpha, "beta").links[PEER_LINK_CONTROL].reconnects, 1);
}

/* Links to alpha as it likes, and what it is told. */
static void greets_in_vain(struct raw *r, const struct peer_hello *h, enum peer_goodbye_reason reason)
{
	raw_connect(r, &alpha, "eu", "eu", "beta");
	raw_greet(r, h);
	RAW_UNTIL(r, r->goodbye.reason == reason);
	raw_close(r);
}

/* Another has its name when it comes back from a long sleep; but not while it is linked. */
static void an_old_incarnation(void **state)
{
	struct raw r, bulk, second;
	struct peer_hello old = raw_hello("beta", 22), new = raw_hello("beta", 33), old_bulk = old;

	(void)state;
	node_start_patient(&alpha, "alpha", 11);
	raw_connect(&r, &alpha, "eu", "eu", "beta");
	raw_greet(&r, &old);
	RAW_UNTIL(&r, alpha.ups == 1);
	for (size_t kind = 0; kind < PEER_LINKS; kind++) {
		new.link = (enum peer_link)kind;
		greets_in_vain(&second, &new, PEER_BYE_NAME);
	}
	assert_int_equal(alpha.ups, 1);
	assert_true(is_open(&alpha, "beta", PEER_LINK_CONTROL));
	assert_int_equal(r.goodbye.reason, 0);
	old_bulk.link = PEER_LINK_BULK;
	raw_connect(&bulk, &alpha, "eu", "eu", "beta");
	raw_greet(&bulk, &old_bulk);
	RAW_UNTIL(&bulk, is_open(&alpha, "beta", PEER_LINK_BULK));
	raw_close(&r); /* so it is while the control link is made anew */
	RUN_UNTIL(alpha.downs[PEERS_CLOSED] == 1);
	new.link = PEER_LINK_CONTROL;
	greets_in_vain(&second, &new, PEER_BYE_NAME);
	raw_close(&bulk);
	RUN_UNTIL(!is_open(&alpha, "beta", PEER_LINK_BULK));
	raw_connect(&second, &alpha, "eu", "eu", "beta");
	raw_greet(&second, &new);
	RAW_UNTIL(&second, alpha.ups == 2);
	greets_in_vain(&r, &old, PEER_BYE_REMOVED);
	assert_int_equal(alpha.ups, 2);
	assert_int_equal(alpha.downs[PEERS_CLOSED], 1);
	raw_close(&second);
}

/* A second process with the name and the certificate of one that lives: it changes nothing, also while the links of the
 * first are made anew, and gets in when that one has ended. */
static void two_of_one_name(void **state)
{
	struct node *twin = &gamma_node;
	unsigned before = logged("told by the other side: name");

	(void)state;
	link_up();
	node_start(twin, "beta", 33);
	want(twin, &alpha, "alpha");
	RUN_UNTIL(logged("told by the other side: name") > before);
	assert_true(logged("another process of this name is linked") >= 1);
	assert_true(logged("told by the other side: name\" detail=\"another process of this name is linked\"") >= 1);
	for (unsigned ups = 2; ups < 6; ups++) {
		peers_redial(beta.peers);
		RUN_UNTIL(alpha.ups >= ups && both_open(&alpha, "beta") && both_open(&beta, "alpha"));
		assert_int_equal(alpha.up_incarnation, 22);
	}
	assert_int_equal(beta.downs[PEERS_REMOVED], 0);
	assert_int_equal(twin->ups, 0);
	node_stop(&beta);
	RUN_UNTIL(alpha.up_incarnation == 33 && both_open(&alpha, "beta"));
	assert_int_equal(twin->ups, 1);
}

/* The host of the first has lost its power: nobody has closed its link. */
static void silence_gives_the_name_back(void **state)
{
	struct raw r;
	struct peer_hello h = raw_hello("beta", 22);
	unsigned before = logged("another process of this name is linked");

	(void)state;
	node_start(&alpha, "alpha", 11);
	raw_connect(&r, &alpha, "eu", "eu", "beta");
	raw_greet(&r, &h);
	RAW_UNTIL(&r, alpha.ups == 1);
	node_start(&beta, "beta", 33);
	want(&beta, &alpha, "alpha");
	RAW_UNTIL(&r, alpha.up_incarnation == 33);
	assert_true(logged("another process of this name is linked") > before);
	assert_int_equal(alpha.downs[PEERS_SILENT], 1);
	assert_int_equal(r.goodbye.reason, PEER_BYE_SILENT);
	raw_close(&r);
}

static void forbidden(void **state)
{
	(void)state;
	link_up();
	assert_int_equal(peers_forbid(alpha.peers, VIEW("beta"), 22), 0);
	assert_false(peers_is_up(alpha.peers, VIEW("beta")));
	assert_int_equal(alpha.downs[PEERS_CLOSED], 1);
	RUN_UNTIL(beta.downs[PEERS_REMOVED] >= 1);
	RUN_UNTIL(logged("its incarnation was removed") >= 1 && beta.downs[PEERS_SILENT] == 1);
	assert_int_equal(alpha.ups, 1);
	node_stop(&beta);
	node_start(&beta, "beta", 23);
	RUN_UNTIL(alpha.ups == 2);
	assert_int_equal(alpha.up_incarnation, 23);
}

/* The process was stopped for longer than failure-timeout. What the others have said meanwhile lies in its sockets, and
 * its timers come before it has read that. */
static void who_has_slept_hears_first(void **state)
{
	(void)state;
	link_up();
	RUN_UNTIL(alpha.beats > 0 && beta.beats > 0);
	unsigned a = alpha.beats, b = beta.beats;
	(void)poll(NULL, 0, FAILURE_MS + FAILURE_MS / 8);
	RUN_UNTIL(alpha.beats > a + 3 && beta.beats > b + 3);
	assert_int_equal(alpha.downs[PEERS_SILENT] + beta.downs[PEERS_SILENT], 0);
	assert_int_equal(alpha.downs[PEERS_CLOSED] + beta.downs[PEERS_CLOSED], 0);
	assert_int_equal(alpha.ups, 1);
}

/* It takes no part any more, and its sockets are there still. */
static void silent(void **state)
{
	struct raw r;
	struct peer_hello h = raw_hello("beta", 22);

	(void)state;
	node_start(&alpha, "alpha", 11);
	raw_connect(&r, &alpha, "eu", "eu", "beta");
	raw_greet(&r, &h);
	RAW_UNTIL(&r, alpha.ups == 1);
	struct instant since = clock_now();
	RUN_UNTIL(alpha.downs[PEERS_SILENT] == 1);
	assert_true(instant_since_ms(clock_now(), since) >= FAILURE_MS - 50);
	RAW_UNTIL(&r, r.goodbye.reason == PEER_BYE_SILENT);
	assert_int_equal(alpha.downs[PEERS_SILENT], 1);
	raw_close(&r);
}

/* One link is silent and the other is not: that one is ended, and the node is there. */
static void one_link_is_silent(void **state)
{
	struct raw raws[PEER_LINKS];
	struct buf body = {0};
	struct peer_beat b = {.sent_us = 1};

	(void)state;
	peer_beat_encode(&b, &body);
	for (size_t cut = 0; cut < PEER_LINKS; cut++) {
		struct raw *lives = &raws[!cut], *dies = &raws[cut];
		struct peer_hello h = raw_hello("beta", 22);
		struct instant since;
		node_start(&alpha, "alpha", 11);
		for (size_t kind = 0; kind < PEER_LINKS; kind++) {
			h.link = (enum peer_link)kind;
			raw_connect(&raws[kind], &alpha, "eu", "eu", "beta");
			raw_greet(&raws[kind], &h);
			RAW_UNTIL(&raws[kind], is_open(&alpha, "beta", h.link));
		}
		for (since = clock_now(); !dies->ended && instant_since_ms(clock_now(), since) < PATIENCE_MS;) {
			raw_send(lives, PEER_BEAT, buf_view(&body));
			(void)raw_turn(lives);
			(void)raw_turn(dies);
			loop_turn();
		}
		assert_int_equal(dies->goodbye.reason, PEER_BYE_SILENT);
		assert_true(dies->beat.sent_us > 0);
		assert_int_equal(lives->goodbye.reason, 0);
		assert_true(is_open(&alpha, "beta", (enum peer_link) !cut));
		assert_int_equal(alpha.downs[PEERS_CLOSED], cut == PEER_LINK_CONTROL);
		assert_int_equal(alpha.downs[PEERS_SILENT], 0);
		assert_int_equal(alpha.beats > 0, cut == PEER_LINK_BULK);
		raw_close(lives);
		raw_close(dies);
		node_stop(&alpha);
	}
	buf_fini(&body);
}

/* Nothing is heard, and nobody refuses: told once, though there was never a link. */
static void unreachable(void **state)
{
	uint16_t port = 0;
	int fd = listen_somewhere(&port); /* it accepts nobody */
	struct node nobody = {.port = port};

	(void)state;
	snprintf(nobody.address, sizeof nobody.address, "127.0.0.1:%u", port);
	node_start(&alpha, "alpha", 11);
	want(&alpha, &nobody, "beta");
	RUN_UNTIL(alpha.downs[PEERS_SILENT] == 1);
	assert_int_equal(alpha.downs[PEERS_REFUSED], 0);
	close(fd);
}

/* What a beat echoes counts when this connection has sent it; a later or an earlier time confirms nothing. */
static void echoes(void **state)
{
	static const struct {
		int64_t off_us;
		bool confirms;
	} cases[] = {{0, true}, {3600 * 1000000LL, false}, {-3600 * 1000000LL, false}};
	struct raw r;
	struct peer_hello h = raw_hello("beta", 22);

	(void)state;
	node_start(&alpha, "alpha", 11);
	raw_connect(&r, &alpha, "eu", "eu", "beta");
	raw_greet(&r, &h);
	RAW_UNTIL(&r, r.beat.sent_us > 0);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct buf body = {0};
		unsigned beats = alpha.beats;
		struct peer_beat b = {.sent_us = 1, .echo_us = r.beat.sent_us + (uint64_t)cases[i].off_us};
		peer_beat_encode(&b, &body);
		raw_send(&r, PEER_BEAT, buf_view(&body));
		buf_fini(&body);
		RAW_UNTIL(&r, alpha.beats == beats + 1);
		assert_int_equal(alpha.confirmed.ms, cases[i].confirms ? b.echo_us / 1000 : 0);
	}
	raw_close(&r);
}

/* The app of its HELLO has changed: links come again, and say so. */
static void says_hello_anew(void **state)
{
	(void)state;
	link_up();
	alpha.epoch = 9;
	peers_redial(alpha.peers);
	RUN_UNTIL(beta.ups == 2 && both_open(&alpha, "beta") && both_open(&beta, "alpha"));
	assert_int_equal(beta.up_epoch, 9);
	assert_int_equal(beta.up_incarnation, 11);
	peers_reincarnate(alpha.peers, 12);
	RUN_UNTIL(beta.ups == 3 && both_open(&alpha, "beta") && both_open(&beta, "alpha"));
	assert_int_equal(beta.up_incarnation, 12);
}

static void dropped(void **state)
{
	(void)state;
	link_up();
	peers_drop(alpha.peers, VIEW("beta"), 23, PEER_BYE_CLUSTER); /* it is another one */
	assert_true(peers_is_up(alpha.peers, VIEW("beta")));
	peers_drop(alpha.peers, VIEW("beta"), 22, PEER_BYE_CLUSTER);
	assert_false(peers_is_up(alpha.peers, VIEW("beta")));
	assert_int_equal(alpha.downs[PEERS_CLOSED], 1);
	RUN_UNTIL(beta.downs[PEERS_CLOSED] == 1 && logged("told by the other side: other cluster") > 0);
	RUN_UNTIL(alpha.ups == 2);
}

static void reload(void **state)
{
	struct tls_context *c = load_today("eu", "eu", "alpha");

	(void)state;
	link_up();
	peers_reload(alpha.peers, c);
	tls_context_unref(&c);
	unsigned beats = alpha.beats;
	RUN_UNTIL(alpha.beats > beats + 2);
	assert_int_equal(alpha.ups, 1);
	assert_int_equal(alpha.downs[PEERS_CLOSED], 0);
	node_start(&gamma_node, "gamma", 44);
	want(&gamma_node, &alpha, "alpha");
	RUN_UNTIL(both_open(&gamma_node, "alpha"));
}

/* lost's context was read before its certificate was revoked; the new one of alpha is read after that. Serials are
 * drawn anew, so that it can be revoked again. */
static struct tls_context *revoke_lost(void)
{
	unsigned count;

	assert_int_equal(
	    tls_pki_revoke(in_folder("eu"), "lost", (struct wall_time){clock_wall().s - 3600}, &count, why), 0);
	return load_today("eu", "eu", "alpha");
}

static struct tls_context *new_lost(void)
{
	issue_at("eu", "lost", (struct wall_time){clock_wall().s - DAY});
	return load_today("eu", "eu", "lost");
}

/* Links of who is revoked end, and it does not come back; those of all others stay the connections that they were. */
static void reload_revokes(void **state)
{
	struct tls_context *c = new_lost();

	(void)state;
	link_up();
	node_start_with(&gamma_node, "lost", 44, PATIENCE_MS, c);
	tls_context_unref(&c);
	want(&gamma_node, &alpha, "alpha");
	RUN_UNTIL(both_open(&gamma_node, "alpha") && both_open(&alpha, "lost"));
	uint64_t control = peers_connection(alpha.peers, VIEW("beta"), PEER_LINK_CONTROL);
	uint64_t bulk = peers_connection(alpha.peers, VIEW("beta"), PEER_LINK_BULK);
	unsigned ups = alpha.ups;
	c = revoke_lost();
	peers_reload(alpha.peers, c);
	tls_context_unref(&c);
	assert_false(is_open(&alpha, "lost", PEER_LINK_CONTROL) || is_open(&alpha, "lost", PEER_LINK_BULK));
	assert_int_equal(alpha.downs[PEERS_CLOSED], 1);
	assert_int_equal(logged("reason=revoked detail=\"since the last reload\""), 1);
	assert_string_equal(status(&alpha, "lost").links[PEER_LINK_CONTROL].last_failure, "TLS: revoked");
	RUN_UNTIL(logged("reason=revoked detail=\"told by the other side\"") > 0);
	unsigned beats = beta.beats;
	RUN_UNTIL(beta.beats > beats + 2);
	assert_int_equal(alpha.ups, ups);
	assert_int_equal(peers_connection(alpha.peers, VIEW("beta"), PEER_LINK_CONTROL), control);
	assert_int_equal(peers_connection(alpha.peers, VIEW("beta"), PEER_LINK_BULK), bulk);
	assert_true(both_open(&alpha, "beta") && !is_open(&alpha, "lost", PEER_LINK_CONTROL));
}

/* Who has not sent his certificate yet, and begun by the old one, is judged by the new one. */
static void reload_amid_a_handshake(void **state)
{
	struct raw r;
	struct tls_context *c = new_lost();
	struct peer_hello h = raw_hello("lost", 44);

	(void)state;
	node_start_patient(&alpha, "alpha", 11);
	raw_connect_with(&r, &alpha, c);
	tls_context_unref(&c);
	(void)raw_turn(&r);
	RUN_UNTIL(recv(r.fd, &(char){0}, 1, MSG_PEEK) == 1); /* it has answered, and was not answered */
	c = revoke_lost();
	peers_reload(alpha.peers, c);
	tls_context_unref(&c);
	unsigned before = logged("reason=revoked");
	raw_greet(&r, &h);
	RAW_UNTIL(&r, r.ended || alpha.ups > 0);
	assert_int_equal(alpha.ups, 0);
	assert_int_equal(logged("reason=revoked"), before + 1);
	raw_close(&r);
}

static void wishes(void **state)
{
	struct peers_target bad[] = {{VIEW("127.0.0.1:0"), VIEW("beta")},    {VIEW("example.org:80"), VIEW("beta")},
				     {VIEW("127.0.0.1"), VIEW("beta")},      {VIEW("::1:80"), VIEW("beta")},
				     {VIEW("[127.0.0.1]:80"), VIEW("beta")}, {VIEW("127.0.0.1:80"), VIEW("a b")},
				     {VIEW("127.0.0.1:65536"), VIEW("")},    {VIEW(":80"), VIEW("")}};
	struct peers_target good = {VIEW("[::1]:9"), VIEW("beta")};

	(void)state;
	node_start(&alpha, "alpha", 11);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(peers_want(alpha.peers, &bad[i], 1), ERR_MALFORMED);
	assert_int_equal(peers_want(alpha.peers, &good, 1), 0);
	assert_int_equal(peers_want(alpha.peers, NULL, 0), 0);
}

/* Its connection has given way to one that never comes, and its host refuses: of that two events come, and the first
 * one changes whom to dial. */
static void wishes_change_amid_an_event(void **state)
{
	struct raw r;
	struct buf body = {0};
	struct peer_goodbye bye = {.reason = PEER_BYE_DUPLICATE};
	struct peer_hello h = raw_hello("beta", 22);
	struct node nobody = {0};

	(void)state;
	close(listen_somewhere(&nobody.port));
	snprintf(nobody.address, sizeof nobody.address, "127.0.0.1:%u", nobody.port);
	node_start_patient(&alpha, "alpha", 11);
	raw_connect(&r, &alpha, "eu", "eu", "beta");
	raw_greet(&r, &h);
	RAW_UNTIL(&r, alpha.ups == 1);
	want(&alpha, &nobody, "beta");
	alpha.gives_up = true;
	peer_goodbye_encode(&bye, &body);
	raw_send(&r, PEER_GOODBYE, buf_view(&body));
	buf_fini(&body);
	RAW_UNTIL(&r, alpha.downs[PEERS_REFUSED] == 1);
	assert_int_equal(alpha.downs[PEERS_CLOSED], 1);
	raw_close(&r);
}

/* Three that know one of each other's addresses; each hears both others. */
static void three(void **state)
{
	(void)state;
	node_start(&gamma_node, "gamma", 44);
	link_up();
	struct peers_target to[] = {{view_str(alpha.address), VIEW("")}, {view_str(beta.address), VIEW("beta")}};
	assert_int_equal(peers_want(gamma_node.peers, to, 2), 0);
	RUN_UNTIL(both_open(&gamma_node, "alpha") && both_open(&gamma_node, "beta"));
	RUN_UNTIL(strcmp(gamma_node.heard, "alpha gamma ") == 0 || strcmp(gamma_node.heard, "beta gamma ") == 0);
	/* No wish any more: what is there stays, and is not dialled again. */
	assert_int_equal(peers_want(gamma_node.peers, NULL, 0), 0);
	node_stop(&beta);
	RUN_UNTIL(gamma_node.downs[PEERS_LEAVING] == 1);
	assert_true(both_open(&gamma_node, "alpha"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, peers_set_up, peers_tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(two_links),
	    TEST(nobody_knows_the_name),
	    TEST(heartbeats),
	    TEST(frames_go_both_ways),
	    TEST(frames_of_any_length),
	    TEST(both_dial),
	    TEST(the_host_refuses),
	    TEST(leaving_is_said),
	    TEST(killed),
	    TEST(a_new_incarnation),
	    TEST(an_old_incarnation),
	    TEST(two_of_one_name),
	    TEST(silence_gives_the_name_back),
	    TEST(forbidden),
	    TEST(who_has_slept_hears_first),
	    TEST(silent),
	    TEST(one_link_is_silent),
	    TEST(unreachable),
	    TEST(echoes),
	    TEST(says_hello_anew),
	    TEST(dropped),
	    TEST(reload),
	    TEST(reload_revokes),
	    TEST(reload_amid_a_handshake),
	    TEST(wishes),
	    TEST(wishes_change_amid_an_event),
	    TEST(three),
	};

	return cmocka_run_group_tests(tests, peers_folder, peers_folder_gone);
}
