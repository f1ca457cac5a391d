/* The disk store and kill -9: a child works batch by batch and tells each commit; it is killed at a random moment; what
 * it told is there, whole batches only, once, and with the right bytes.
 *
 * The work of a batch follows from its number, so that the parent knows what every number of batches leaves. */
#include "tests/unit/disk_fixture.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SESSIONS = 400, OPS = 40, ROUNDS = 25, KILL_WITHIN_BATCHES = 20, KILL_WITHIN_US = 10000, MARK = 999 };

struct model {
	uint64_t version[SESSIONS]; /* 0: is not there */
	size_t len[SESSIONS];
	uint64_t batches;
};

static uint32_t mix(uint64_t a, uint64_t b)
{
	uint64_t x = (a + 1) * UINT64_C(0x9e3779b97f4a7c15) ^ (b + 1) * UINT64_C(0xc2b2ae3d27d4eb4f);

	x ^= x >> 29;
	x *= UINT64_C(0xbf58476d1ce4e5b9);
	return (uint32_t)(x >> 32);
}

struct op {
	uint32_t n;
	bool puts;
	size_t len;
};

static struct op op_of(uint64_t batch, unsigned i)
{
	uint32_t r = mix(batch, i);

	return (struct op){
	    .n = r % SESSIONS,
	    .puts = r / SESSIONS % 4 != 0,
	    .len = mix(r, batch) % 16 == 0 ? mix(i, r) % 30000 : mix(i, r) % 1500,
	};
}

static void model_step(struct model *m)
{
	m->batches++;
	for (unsigned i = 0; i < OPS; i++) {
		struct op op = op_of(m->batches, i);
		m->version[op.n] = op.puts ? m->batches : 0;
		m->len[op.n] = op.len;
	}
}

/* The child: never comes back. */
static void work(uint64_t done, int pipe_fd)
{
	open_store();
	for (uint64_t batch = done + 1;; batch++) {
		for (unsigned i = 0; i < OPS; i++) {
			struct op op = op_of(batch, i);
			if (op.puts)
				put(op.n, batch, op.len);
			else
				take_away(op.n);
		}
		put(MARK, batch, 8);
		commit();
		if (write(pipe_fd, &batch, sizeof(batch)) != sizeof(batch))
			_exit(1);
		if (mix(batch, 1) % 8 == 0 && disk_checkpoint(store) != 0)
			_exit(2);
		if (mix(batch, 2) % 64 == 0) {
			close_store(mix(batch, 3) % 2);
			open_store();
		}
	}
}

/* Some batches and a moment later. */
static uint64_t run_and_kill(uint64_t done, uint32_t after_batches, uint32_t after_us)
{
	struct timespec wait = {.tv_nsec = (long)after_us * 1000};
	uint64_t told = done, batch;
	int ends[2], status = 0;

	assert_int_equal(pipe(ends), 0);
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		close(ends[0]);
		work(done, ends[1]);
	}
	close(ends[1]);
	while (told < done + after_batches && read(ends[0], &batch, sizeof(batch)) == sizeof(batch))
		told = batch;
	nanosleep(&wait, NULL);
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	while (read(ends[0], &batch, sizeof(batch)) == sizeof(batch))
		told = batch;
	close(ends[0]);
	return told;
}

static void expect_model(const struct model *m)
{
	uint64_t there = m->batches > 0;

	for (uint32_t n = 0; n < SESSIONS; n++) {
		if (m->version[n]) {
			expect_there(n, m->version[n], m->len[n]);
			there++;
		} else {
			expect_gone(n);
		}
	}
	assert_int_equal(count_of().sessions, there);
	assert_int_equal(walk_all().count, there);
	expect_in_step();
}

/* How many batches the store holds, by the mark that each of them writes. */
static uint64_t batches_there(void)
{
	struct buf space = {0};
	struct sess_id id = id_of(MARK);
	struct sess_record r = {0};
	int err = store_disk.get(store, &id, &space, &r);

	assert_true(err == 0 || err == ERR_GONE);
	buf_fini(&space);
	return r.version;
}

static void crash(enum store_sync sync)
{
	struct model m = {0};
	uint32_t seed = (uint32_t)time(NULL);
	const char *given = getenv("SEED");

	if (given)
		seed = (uint32_t)strtoul(given, NULL, 10);
	print_message("SEED=%u\n", seed);
	contract.options.sync = sync;
	for (unsigned round = 0; round < ROUNDS; round++) {
		uint64_t told =
		    run_and_kill(m.batches, mix(seed, round) % KILL_WITHIN_BATCHES, mix(round, seed) % KILL_WITHIN_US);
		open_store();
		uint64_t there = batches_there();
		if (sync != STORE_SYNC_NONE)
			assert_in_range(there, told, told + 1);
		assert_in_range(there, m.batches, told + 1);
		while (m.batches < there)
			model_step(&m);
		expect_model(&m);
		close_store(round % 2);
	}
	assert_true(m.batches > ROUNDS);
}

static void killed_with_sync_none(void **state)
{
	(void)state;
	crash(STORE_SYNC_NONE);
}

static void killed_with_sync_write(void **state)
{
	(void)state;
	crash(STORE_SYNC_WRITE);
}

static void killed_with_sync_group(void **state)
{
	(void)state;
	crash(STORE_SYNC_GROUP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CONTRACT_TEST(killed_with_sync_none, fixture_setup, fixture_teardown),
	    CONTRACT_TEST(killed_with_sync_write, fixture_setup, fixture_teardown),
	    CONTRACT_TEST(killed_with_sync_group, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
