/* What it costs to move sessions between memory and disk, through the whole stack: sessions of so many bytes are
 * created, demoted all, and each asked for again. Prints one line of JSON for each way to sync.
 *
 *   stack DIR [SESSIONS [BYTES [LOOKUPS-AT-ONCE]]]
 *
 * Links with libweir.a. DIR is made, and what is in it is removed at the end. */
#include "base/clock.h"
#include "session/operate.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { TTL_S = 3600, MAX_AT_ONCE = 1024 };

/* A count that one thread waits for and another raises. The waiting one is woken when it is reached, not each time that
 * it grows. */
struct tally {
	pthread_mutex_t lock;
	pthread_cond_t reached;
	uint64_t count, awaited;
};

static struct tally tally = {.lock = PTHREAD_MUTEX_INITIALIZER, .reached = PTHREAD_COND_INITIALIZER};

static void raise_tally(void)
{
	pthread_mutex_lock(&tally.lock);
	if (++tally.count == tally.awaited)
		pthread_cond_signal(&tally.reached);
	pthread_mutex_unlock(&tally.lock);
}

static void wait_tally(uint64_t count)
{
	pthread_mutex_lock(&tally.lock);
	tally.awaited = count;
	while (tally.count < count)
		pthread_cond_wait(&tally.reached, &tally.lock);
	pthread_mutex_unlock(&tally.lock);
}

static void must(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "stack: %s failed\n", what);
	exit(1);
}

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static struct sess_id id_of(uint32_t n)
{
	struct sess_id id = {{0}};

	/* Scattered, as random ids are. */
	uint64_t x = (n + 1) * UINT64_C(0x9e3779b97f4a7c15);
	x ^= x >> 32;
	x *= UINT64_C(0xd6e8feb86659fd93);
	memcpy(id.bytes, &x, sizeof x);
	memcpy(id.bytes + 8, &n, sizeof n);
	return id;
}

struct bench {
	struct stack *stack;
	uint16_t app;
	uint32_t sessions, bytes, at_once;
};

static struct stack *start(const char *dir, enum store_sync sync)
{
	struct sess_keys keys;
	uint8_t secret[SESS_SECRET_BYTES] = {1};
	struct stack_options o = {
	    .memory_max = UINT64_C(1) << 40,
	    .evict = evict_find("never"),
	    .below = &store_disk,
	    .store = {.dir = dir, .max_bytes = UINT64_C(1) << 40, .cache_bytes = 64 << 20, .sync = sync},
	    .wall = clock_wall(),
	};

	sess_keys_derive(&keys, secret);
	struct stack *s = stack_new(&o, &keys, clock_now());
	must(s && stack_start(s) == 0, "start");
	return s;
}

static void create_all(const struct bench *b)
{
	uint8_t *data = calloc(1, b->bytes);
	struct sess_commit c = {.has_data = true, .data = {data, b->bytes}};

	must(data != NULL, "memory");
	for (uint32_t n = 0; n < b->sessions; n++) {
		struct sess_id id = id_of(n);
		must(stack_create(b->stack, b->app, &c, TTL_S, &id, clock_now()) == 0, "create");
	}
	free(data);
}

static void job_done(struct stack_job *j)
{
	(void)j;
	raise_tally();
}

static double demote_all(const struct bench *b)
{
	struct stack_job job = {.op = STACK_DEMOTE_APP, .app = b->app, .done = job_done};
	double began = now_s();

	tally.count = 0;
	stack_submit(b->stack, &job);
	wait_tally(1);
	double took = now_s() - began;
	must(job.err == 0 && job.count == b->sessions, "demote");
	stack_job_fini(&job);
	return b->sessions / took;
}

static void granted(struct sess_waiter *w)
{
	(void)w;
	raise_tally();
}

/* So many look-ups are on their way at most, as if so many requests waited; of them the older half is answered before
 * new ones are sent, as a worker's loop takes many answers at once. Look-ups are answered in the order of their coming.
 */
struct lookups {
	struct sess_waiter waiters[MAX_AT_ONCE];
	struct sess_hold holds[MAX_AT_ONCE];
	uint32_t sent, taken;
};

static void send_lookup(const struct bench *b, struct lookups *l)
{
	uint32_t at = l->sent % b->at_once;
	struct sess_id id = id_of((uint32_t)((uint64_t)l->sent++ * 7919 % b->sessions));

	l->waiters[at] = (struct sess_waiter){.granted = granted};
	must(stack_open(b->stack, b->app, &id, SESS_LOCK_EXCLUSIVE, &l->waiters[at], clock_now(), &l->holds[at]) ==
		 SESS_QUEUED,
	     "look-up");
}

static void take_answer(const struct bench *b, struct lookups *l)
{
	uint32_t at = l->taken++ % b->at_once;

	must(stack_granted(b->stack, &l->waiters[at], &l->holds[at]) == SESS_OPENED, "promote");
	stack_close(b->stack, &l->holds[at], clock_now());
}

static double promote_all(const struct bench *b)
{
	static struct lookups l;
	double began = now_s();

	tally.count = 0;
	l.sent = l.taken = 0;
	while (l.taken < b->sessions) {
		while (l.sent < b->sessions && l.sent - l.taken < b->at_once)
			send_lookup(b, &l);
		uint32_t half = l.taken + (l.sent - l.taken + 1) / 2;
		wait_tally(half);
		while (l.taken < half)
			take_answer(b, &l);
	}
	return b->sessions / (now_s() - began);
}

static void stopped(void *arg)
{
	(void)arg;
	raise_tally();
}

static void stop(struct bench *b)
{
	tally.count = 0;
	stack_stop(b->stack, false, stopped, NULL);
	wait_tally(1);
	stack_free(&b->stack);
}

static void clear(const char *dir)
{
	char command[512];

	snprintf(command, sizeof command, "rm -rf '%s'", dir);
	must(system(command) == 0, "clearing");
}

int main(int argc, char **argv)
{
	static const char *const names[] = {"none", "write", "group"};

	if (argc < 2) {
		fputs("usage: stack DIR [SESSIONS [BYTES [LOOKUPS-AT-ONCE]]]\n", stderr);
		return 2;
	}
	for (enum store_sync sync = STORE_SYNC_NONE; sync <= STORE_SYNC_GROUP; sync++) {
		struct bench b = {
		    .sessions = argc > 2 ? (uint32_t)atol(argv[2]) : 200000,
		    .bytes = argc > 3 ? (uint32_t)atol(argv[3]) : 1024,
		    .at_once = argc > 4 ? (uint32_t)atol(argv[4]) : 64,
		};
		must(b.at_once > 0 && b.at_once <= MAX_AT_ONCE && b.sessions > 7919, "the arguments");
		clear(argv[1]);
		b.stack = start(argv[1], sync);
		must(stack_app(b.stack, "bench", &b.app) == 0, "app");
		create_all(&b);
		double demote = demote_all(&b);
		double promote = promote_all(&b);
		stop(&b);
		printf("{\"sync\": \"%s\", \"sessions\": %" PRIu32 ", \"bytes\": %" PRIu32
		       ", \"demote_per_s\": %.0f, \"promote_per_s\": %.0f}\n",
		       names[sync], b.sessions, b.bytes, demote, promote);
		fflush(stdout);
	}
	clear(argv[1]);
	return 0;
}
