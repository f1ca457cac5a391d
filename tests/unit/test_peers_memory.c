/* The N-th allocation fails while two nodes find each other and talk: whatever it was, all is there in the end, for
 * what failed is told or tried again. */
#include "tests/unit/peers_fixture.h"

#include <stdlib.h>

void *__real_malloc(size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
void *__real_calloc(size_t n, size_t bytes);
void *__wrap_calloc(size_t n, size_t bytes);

static unsigned countdown; /* 1: the next one fails; 0: none does */

static bool fails(void)
{
	return countdown > 0 && --countdown == 0;
}

void *__wrap_malloc(size_t bytes)
{
	return fails() ? NULL : __real_malloc(bytes);
}

void *__wrap_realloc(void *old, size_t bytes)
{
	return fails() ? NULL : __real_realloc(old, bytes);
}

void *__wrap_calloc(size_t n, size_t bytes)
{
	return fails() ? NULL : __real_calloc(n, bytes);
}

static struct tls_context *contexts[2];
static uint8_t large[200000];

/* Starts again until it is there. */
static void start(struct node *n, const char *name, uint64_t incarnation, struct tls_context *c)
{
	do {
		struct peers_settings s = {.self = view_str(name),
					   .incarnation = incarnation,
					   .failure_ms = PATIENCE_MS / 2,
					   .seed = incarnation};
		*n = (struct node){.name = name, .incarnation = incarnation, .epoch = 7};
		s.listen_fd = listen_somewhere(&n->port);
		snprintf(n->address, sizeof n->address, "127.0.0.1:%u", n->port);
		int err = peers_start(&n->peers, &loop, &s, c, &node_ops, n);
		assert_true(err == 0 || err == ERR_NO_MEMORY);
	} while (!n->peers);
}

static void wish(struct node *n, const struct node *other, const char *name)
{
	struct peers_target t = {view_str(other->address), view_str(name)};
	int err;

	while ((err = peers_want(n->peers, &t, 1)) != 0)
		assert_int_equal(err, ERR_NO_MEMORY);
}

/* What was on a link that ends is lost: its owner would say it again. */
static void say(struct node *from, const struct node *to, enum peer_type type, struct view body)
{
	struct instant since = clock_now();

	for (unsigned before = to->frames; to->frames == before;) {
		int err = peers_send(from->peers, view_str(to->name), type, body);
		unsigned ups = to->ups;
		net_loop_flush(&loop);
		assert_true(err == 0 || err == ERR_NO_MEMORY || err == ERR_CLOSED);
		while (!err && to->frames == before && to->ups == ups) {
			loop_turn();
			assert_true(instant_since_ms(clock_now(), since) < PATIENCE_MS);
		}
		loop_turn();
	}
}

static void meet_and_talk(void)
{
	start(&alpha, "alpha", 11, contexts[0]);
	start(&beta, "beta", 22, contexts[1]);
	wish(&alpha, &beta, "beta");
	RUN_UNTIL(both_open(&alpha, "beta") && both_open(&beta, "alpha"));
	for (int i = 0; i < 4; i++)
		say(&alpha, &beta, PEER_CONTROL, view_of(large, sizeof large));
	/* More than leaves at once. */
	for (int i = 0; i < 12; i++)
		(void)!peers_send(beta.peers, VIEW("alpha"), PEER_CONTROL, view_of(large, sizeof large));
	say(&beta, &alpha, PEER_REPORT, VIEW("report"));
	RUN_UNTIL(both_open(&alpha, "beta") && both_open(&beta, "alpha"));
	while (peers_forbid(alpha.peers, VIEW("gamma"), 5) != 0)
		;
	node_stop(&alpha);
	node_stop(&beta);
}

static void an_allocation_fails(void **state)
{
	unsigned n = 0;
	bool failed;

	(void)state;
	do {
		countdown = ++n;
		meet_and_talk();
		failed = countdown == 0;
		countdown = 0;
	} while (failed);
	assert_true(n > 50);
}

static int memory_set_up(void **state)
{
	if (peers_folder(state) != 0)
		return -1;
	contexts[0] = load_today("eu", "eu", "alpha");
	contexts[1] = load_today("eu", "eu", "beta");
	return 0;
}

static int memory_tear_down(void **state)
{
	tls_context_unref(&contexts[0]);
	tls_context_unref(&contexts[1]);
	return peers_folder_gone(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(an_allocation_fails, peers_set_up, peers_tear_down),
	};

	return cmocka_run_group_tests(tests, memory_set_up, memory_tear_down);
}
