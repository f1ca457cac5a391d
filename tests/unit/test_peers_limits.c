/* More than there is room for, and ends amid all: bounded, told once a second, and links are left alone. */
#include "tests/unit/peers_fixture.h"

#include <sys/resource.h>

static uint8_t large[50000];

/* Descriptors that this process may have; the caller gives the old number back. */
static rlim_t allow(rlim_t count)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	rlim_t old = limit.rlim_cur;
	limit.rlim_cur = count < limit.rlim_max ? count : limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	return old;
}

static unsigned ended_of(struct raw *raws, unsigned count)
{
	unsigned ended = 0;

	for (unsigned i = 0; i < count; i++)
		ended += !raw_turn(&raws[i]);
	return ended;
}

static void still_beating(void)
{
	unsigned a = alpha.beats, b = beta.beats;

	RUN_UNTIL(alpha.beats > a + 4 && beta.beats > b + 4);
	assert_int_equal(alpha.ups + beta.ups, 2);
	assert_int_equal(alpha.downs[PEERS_CLOSED] + beta.downs[PEERS_CLOSED], 0);
	assert_true(both_open(&alpha, "beta") && both_open(&beta, "alpha"));
}

enum { MANY = 2000, AT_ONCE = 200 };

static struct raw raws[MANY];

static void half_open(void **state)
{
	rlim_t old = allow(MANY + PEERS_GREETING_MAX + 100);
	struct instant since = clock_now();

	(void)state;
	link_up();
	for (unsigned i = 0; i < MANY; i++) {
		raw_connect(&raws[i], &beta, NULL, NULL, NULL);
		if (i % AT_ONCE == AT_ONCE - 1)
			RUN_UNTIL(ended_of(raws, i + 1) >= i + 1 - PEERS_GREETING_MAX);
	}
	assert_true(ended_of(raws, MANY) >= MANY - PEERS_GREETING_MAX);
	assert_true(logged("too many that have not greeted") >= 1);
	assert_true(logged("too many that have not greeted") <= 1 + instant_since_ms(clock_now(), since) / 1000);
	still_beating();
	/* And after their time they make room for others. */
	RUN_UNTIL(ended_of(raws, MANY) == MANY);
	assert_true(logged("not greeted in time") >= 1);
	node_start(&gamma_node, "gamma", 44);
	want(&gamma_node, &beta, "beta");
	RUN_UNTIL(gamma_node.ups == 1);
	for (unsigned i = 0; i < MANY; i++)
		raw_close(&raws[i]);
	(void)allow(old);
}

/* From another address than all the others, which have 127.0.0.1. */
static void raw_connect_from(struct raw *r, const char *host, const struct node *to, const char *name)
{
	struct tls_context *c = load_today("eu", "eu", name);
	struct sockaddr_in from = {.sin_family = AF_INET};
	struct sockaddr_in at = {
	    .sin_family = AF_INET, .sin_port = htons(to->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	*r = (struct raw){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
	assert_int_equal(inet_pton(AF_INET, host, &from.sin_addr), 1);
	assert_int_equal(bind(r->fd, (struct sockaddr *)&from, sizeof from), 0);
	assert_int_equal(connect(r->fd, (struct sockaddr *)&at, sizeof at), 0);
	assert_int_equal(fcntl(r->fd, F_SETFL, O_NONBLOCK), 0);
	peer_decoder_init(&r->decoder);
	assert_int_equal(tls_channel_new(&r->tls, c, TLS_DIALS, NULL, clock_wall()), 0);
	tls_channel_start(r->tls, &r->out);
	tls_context_unref(&c);
}

/* One address takes no more places than are its own, and keeps them taken: whoever comes from another gets in. A place
 * is no longer taken when its connection is open. */
static void one_address(void **state)
{
	enum { SOME = 2 * PEERS_GREETING_MAX };
	struct raw linked, other;
	struct peer_hello gammas = raw_hello("gamma", 44), alphas = raw_hello("alpha", 11);

	(void)state;
	node_start_patient(&beta, "beta", 22);
	raw_connect(&linked, &beta, "eu", "eu", "gamma");
	raw_greet(&linked, &gammas);
	RAW_UNTIL(&linked, beta.ups == 1);
	for (unsigned i = 0; i < SOME; i++)
		raw_connect(&raws[i], &beta, NULL, NULL, NULL);
	RUN_UNTIL(ended_of(raws, SOME) >= SOME - PEERS_GREETING_EACH);
	assert_int_equal(ended_of(raws, SOME), SOME - PEERS_GREETING_EACH);
	assert_true(logged("reason=\"too many that have not greeted\" detail=\"of this address\"") >= 1);
	raw_connect_from(&other, "127.0.0.2", &beta, "alpha");
	raw_greet(&other, &alphas);
	RAW_UNTIL(&other, beta.ups == 2 || other.ended);
	assert_int_equal(beta.ups, 2);
	assert_int_equal(ended_of(raws, SOME), SOME - PEERS_GREETING_EACH);
	for (unsigned i = 0; i < SOME; i++)
		raw_close(&raws[i]);
	raw_close(&linked);
	raw_close(&other);
}

static rlim_t enough;

/* Reading the log takes a descriptor. */
static unsigned logged_without(const char *text)
{
	rlim_t none = allow(enough);
	unsigned count = logged(text);

	(void)allow(none);
	return count;
}

/* Refusals that the lines with this text tell of, from the one of that number on. */
static unsigned left_out_after(const char *text, unsigned first)
{
	char line[LOG_LINE_MAX];
	unsigned count = 0, lines = 0;
	FILE *f = fopen(in_folder("log"), "r");

	while (f && fgets(line, sizeof line, f)) {
		const char *at = strstr(line, text) ? strstr(line, "left_out=") : NULL;
		if (at && lines++ >= first)
			count += 1 + (unsigned)strtoul(at + strlen("left_out="), NULL, 10);
	}
	if (f)
		fclose(f);
	return count;
}

static unsigned last_left_out(const char *text)
{
	char line[LOG_LINE_MAX];
	unsigned count = 0;
	FILE *f = fopen(in_folder("log"), "r");

	while (f && fgets(line, sizeof line, f)) {
		const char *at = strstr(line, text) ? strstr(line, "left_out=") : NULL;
		if (at)
			count = (unsigned)strtoul(at + strlen("left_out="), NULL, 10);
	}
	if (f)
		fclose(f);
	return count;
}

/* Of many within a second the first has a line; the last one has its own when that is over, though nobody comes then,
 * and counts those in between. */
static void all_are_counted(void **state)
{
	enum { SOME = 7 };
	const char *line = "event=peer_refused reason=\"not TLS\"";
	unsigned before = logged(line), sum = 0;

	(void)state;
	node_start_patient(&beta, "beta", 22);
	struct instant since = clock_now();
	for (unsigned i = 0; i < SOME; i++) {
		raw_connect(&raws[i], &beta, NULL, NULL, NULL);
		raw_write(&raws[i], VIEW("GET / HTTP/1.1\r\n\r\n"));
	}
	RUN_UNTIL(ended_of(raws, SOME) == SOME);
	bool at_once = instant_since_ms(clock_now(), since) < 1000;
	RUN_UNTIL((sum = left_out_after(line, before)) == SOME);
	if (at_once)
		assert_int_equal(logged(line), before + 2);
	for (unsigned i = 0; i < SOME; i++)
		raw_close(&raws[i]);
}

/* What waits is written when it stops. */
static void counted_at_the_end(void **state)
{
	enum { SOME = 5 };
	const char *line = "event=peer_refused reason=\"not TLS\"";
	unsigned before = logged(line);

	(void)state;
	node_start_patient(&beta, "beta", 22);
	for (unsigned i = 0; i < SOME; i++) {
		raw_connect(&raws[i], &beta, NULL, NULL, NULL);
		raw_write(&raws[i], VIEW("GET / HTTP/1.1\r\n\r\n"));
	}
	RUN_UNTIL(ended_of(raws, SOME) == SOME);
	node_stop(&beta);
	assert_int_equal(left_out_after(line, before), SOME);
	for (unsigned i = 0; i < SOME; i++)
		raw_close(&raws[i]);
}

/* Somebody waits and there is no descriptor for him: it is tried now and then, and he is let in when there is one. */
static void no_descriptor(void **state)
{
	struct raw r;

	(void)state;
	link_up();
	raw_connect(&r, &beta, NULL, NULL, NULL);
	int next = dup(0);
	close(next);
	enough = allow((rlim_t)next);
	RUN_UNTIL(logged_without("no file descriptor") == 2);
	still_beating();
	(void)allow(enough);
	unsigned tries = last_left_out("no file descriptor");
	assert_true(tries > 0 && tries <= 12);
	raw_write(&r, VIEW("GET / HTTP/1.1\r\n\r\n"));
	RAW_UNTIL(&r, r.ended);
	assert_int_equal(logged("reason=\"not TLS\""), 1);
	raw_close(&r);
}

/* It stops at any moment, also with connections in every state. */
static void stops_amid_all(void **state)
{
	struct raw plain, shaken;

	(void)state;
	node_start(&gamma_node, "gamma", 44);
	link_up();
	raw_connect(&plain, &beta, NULL, NULL, NULL);
	raw_connect(&shaken, &beta, "eu", "eu", "gamma");
	RAW_UNTIL(&shaken, tls_channel_state(shaken.tls) == TLS_OPEN);
	for (int i = 0; i < 100; i++)
		(void)!peers_send(beta.peers, VIEW("alpha"), PEER_CONTROL, view_of(large, 50000));
	want(&beta, &gamma_node, "gamma");
	peers_stop(beta.peers);
	peers_stop(beta.peers);
	RUN_UNTIL(!beta.peers);
	assert_int_equal(beta.stops, 1);
	raw_close(&plain);
	raw_close(&shaken);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, peers_set_up, peers_tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(half_open),       TEST(one_address),        TEST(no_descriptor),
	    TEST(all_are_counted), TEST(counted_at_the_end), TEST(stops_amid_all),
	};

	return cmocka_run_group_tests(tests, peers_folder, peers_folder_gone);
}
