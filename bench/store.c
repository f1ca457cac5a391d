/* What the disk store costs: fills one, reads it at random, kills a process that works on it, opens it again and
 * empties it. One line of JSON.
 *
 *   store [--dir DIR] [--sessions N] [--bytes N] [--batch N] [--sync none|write|group] [--cache MIB]
 *
 * Links with libweir.a. The folder is made and removed. Times are of the wall clock: a disk is part of it. */
#include "base/clock.h"
#include "session/store.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct bench {
	struct store_options options;
	struct store *store;
	uint32_t sessions, batch;
	size_t bytes;
	uint8_t *state; /* owned */
	double worst_tend_ms;
};

static void must(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "store: %s failed\n", what);
	exit(1);
}

static double clock_ms(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static double now_ms(void)
{
	return clock_ms(CLOCK_MONOTONIC);
}

/* How many a second, and the processor's time for each: that is what others on the machine disturb least. */
struct rate {
	double per_s, cpu_us;
};

static struct rate rate_begin(void)
{
	return (struct rate){now_ms(), clock_ms(CLOCK_PROCESS_CPUTIME_ID)};
}

static struct rate rate_end(struct rate begin, uint32_t count)
{
	return (struct rate){count / (now_ms() - begin.per_s) * 1e3,
			     (clock_ms(CLOCK_PROCESS_CPUTIME_ID) - begin.cpu_us) / count * 1e3};
}

/* Scattered over all keys, as drawn ids are; the order of numbers is not that of keys. */
static struct sess_id id_of(uint32_t n)
{
	uint64_t x = (uint64_t)(n + 1) * UINT64_C(0x9e3779b97f4a7c15);
	struct sess_id id;

	for (unsigned half = 0; half < 2; half++) {
		x ^= x >> 32;
		x *= UINT64_C(0xd6e8feb86659fd93);
		x ^= x >> 32;
		memcpy(id.bytes + 8 * half, &x, sizeof(x));
	}
	return id;
}

static void open_store(struct bench *b)
{
	char why[512] = "";

	if (store_disk.open(&b->store, &b->options, why, sizeof(why)) != 0) {
		fprintf(stderr, "store: %s\n", why);
		exit(1);
	}
}

static void commit(struct bench *b)
{
	must(store_disk.commit(b->store) == 0, "commit");
	double start = now_ms();
	must(store_disk.tend(b->store) == 0, "tend");
	double ms = now_ms() - start;
	b->worst_tend_ms = ms > b->worst_tend_ms ? ms : b->worst_tend_ms;
}

static void put(struct bench *b, uint32_t n)
{
	struct sess_record r = {
	    .id = id_of(n),
	    .app = VIEW("shop"),
	    .version = 1,
	    .created_s = 1700000000,
	    .used_s = 1700000000 + n / 1000,
	    .ttl_s = 1800,
	    .state = view_of(b->state, b->bytes),
	};

	must(store_disk.put(b->store, &r) == 0, "put");
}

static struct rate fill(struct bench *b)
{
	struct rate begin = rate_begin();

	for (uint32_t n = 0; n < b->sessions; n++) {
		put(b, n);
		if (n % b->batch == b->batch - 1)
			commit(b);
	}
	commit(b);
	return rate_end(begin, b->sessions);
}

/* An order that visits each number once, and looks random. */
static uint32_t scattered(const struct bench *b, uint32_t i)
{
	return (uint32_t)((uint64_t)i * 2654435761U % b->sessions);
}

static struct rate get_all(struct bench *b)
{
	struct buf space = {0};
	struct rate begin = rate_begin();

	for (uint32_t i = 0; i < b->sessions; i++) {
		struct sess_id id = id_of(scattered(b, i));
		struct sess_record r;
		must(store_disk.get(b->store, &id, &space, &r) == 0, "get");
	}
	buf_fini(&space);
	return rate_end(begin, b->sessions);
}

static struct rate remove_all(struct bench *b)
{
	struct rate begin = rate_begin();

	for (uint32_t i = 0; i < b->sessions; i++) {
		struct sess_id id = id_of(scattered(b, i));
		must(store_disk.remove(b->store, &id) == 0, "remove");
		if (i % b->batch == b->batch - 1)
			commit(b);
	}
	commit(b);
	return rate_end(begin, b->sessions);
}

/* A child replaces sessions without end; it is killed, and the time to open is that of the recovery. */
static double reopen_after_kill(struct bench *b)
{
	struct timespec wait = {.tv_sec = 1};
	pid_t child = fork();

	must(child >= 0, "fork");
	if (child == 0) {
		open_store(b);
		for (uint32_t i = 0;; i++) {
			put(b, scattered(b, i % b->sessions));
			if (i % b->batch == b->batch - 1)
				commit(b);
		}
	}
	nanosleep(&wait, NULL);
	kill(child, SIGKILL);
	must(waitpid(child, NULL, 0) == child, "waitpid");
	double start = now_ms();
	open_store(b);
	return now_ms() - start;
}

static double file_mib(const struct bench *b, const char *name)
{
	char path[512];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", b->options.dir, name);
	return stat(path, &st) == 0 ? (double)st.st_size / (1 << 20) : 0;
}

static void run(struct bench *b)
{
	struct store_count c;

	open_store(b);
	struct rate puts = fill(b);
	double fill_tend_ms = b->worst_tend_ms;
	store_disk.count(b->store, &c);
	must(c.sessions == b->sessions, "count");
	struct rate gets = get_all(b);
	double start = now_ms();
	store_disk.close(&b->store, true);
	double close_ms = now_ms() - start;
	start = now_ms();
	open_store(b);
	double open_ms = now_ms() - start;
	store_disk.close(&b->store, true);
	double mib = file_mib(b, "sessions.db");
	double reopen_ms = reopen_after_kill(b);
	b->worst_tend_ms = 0;
	struct rate removes = remove_all(b);
	store_disk.close(&b->store, true);
	printf("{\"sessions\": %" PRIu32 ", \"bytes\": %zu, \"puts_per_s\": %.0f, \"put_cpu_us\": %.1f, "
	       "\"gets_per_s\": %.0f, \"get_cpu_us\": %.1f, \"removes_per_s\": %.0f, \"remove_cpu_us\": %.1f, ",
	       b->sessions, b->bytes, puts.per_s, puts.cpu_us, gets.per_s, gets.cpu_us, removes.per_s, removes.cpu_us);
	printf("\"longest_tend_ms\": %.1f, \"longest_tend_removing_ms\": %.1f, \"close_ms\": %.0f, \"open_ms\": %.0f, "
	       "\"reopen_after_kill_ms\": %.0f, \"file_mib\": %.0f}\n",
	       fill_tend_ms, b->worst_tend_ms, close_ms, open_ms, reopen_ms, mib);
}

static enum store_sync sync_of(const char *text)
{
	must(strcmp(text, "none") == 0 || strcmp(text, "write") == 0 || strcmp(text, "group") == 0, "--sync");
	return text[0] == 'n' ? STORE_SYNC_NONE : text[0] == 'w' ? STORE_SYNC_WRITE : STORE_SYNC_GROUP;
}

int main(int argc, char **argv)
{
	struct bench b = {
	    .options = {.dir = "/tmp/weir-bench-store",
			.max_bytes = UINT64_MAX,
			.cache_bytes = 64 << 20,
			.sync = STORE_SYNC_WRITE},
	    .sessions = 1000000,
	    .batch = 512,
	    .bytes = 1024,
	};
	char line[600];

	for (int i = 1; i + 1 < argc; i += 2) {
		const char *value = argv[i + 1];
		if (strcmp(argv[i], "--dir") == 0)
			b.options.dir = value;
		else if (strcmp(argv[i], "--sessions") == 0)
			b.sessions = (uint32_t)strtoul(value, NULL, 10);
		else if (strcmp(argv[i], "--bytes") == 0)
			b.bytes = strtoul(value, NULL, 10);
		else if (strcmp(argv[i], "--batch") == 0)
			b.batch = (uint32_t)strtoul(value, NULL, 10);
		else if (strcmp(argv[i], "--cache") == 0)
			b.options.cache_bytes = strtoull(value, NULL, 10) << 20;
		else if (strcmp(argv[i], "--sync") == 0)
			b.options.sync = sync_of(value);
		else
			must(false, argv[i]);
	}
	must(b.sessions > 0 && b.batch > 0, "arguments");
	must(access(b.options.dir, F_OK) != 0, "--dir: a folder that is not there yet");
	b.state = malloc(b.bytes + 1);
	must(b.state != NULL, "malloc");
	for (size_t i = 0; i < b.bytes; i++)
		b.state[i] = (uint8_t)(i * 131 + i / 7);
	run(&b);
	free(b.state);
	snprintf(line, sizeof(line), "rm -rf -- '%s'", b.options.dir);
	return system(line) == 0 ? 0 : 1;
}
