/* What a million sessions cost: fills a session table and prints resident memory against the payload, and the time of
 * each operation with one thread and with two.
 *
 *   table_memory [SESSIONS [BYTES]]
 *
 * Links with libweir.a. Memory is what the kernel says is resident, less what was resident before the table. */
#include "base/clock.h"
#include "session/table.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { TTL_S = 1800, MAX_THREADS = 2 };

struct job {
	struct sess_table *table;
	struct sess_commit commit;
	uint32_t first, step, count; /* this thread's sessions: first, first + step ... below count */
	uint32_t prime;              /* the order of visits is scattered as that of requests is */
	void (*run)(struct job *job, uint32_t n);
};

static struct sess_id id_of(uint32_t n)
{
	struct sess_id id = {{0}};

	memcpy(id.bytes, &n, sizeof(n));
	return id;
}

/* CLOCK_MONOTONIC, or CLOCK_PROCESS_CPUTIME_ID, which other programs on the machine do not disturb. */
static double now_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static uint64_t resident_bytes(void)
{
	uint64_t pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (!f || fscanf(f, "%*u %" SCNu64, &pages) != 1)
		exit(1);
	fclose(f);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void must(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "table_memory: %s failed\n", what);
	exit(1);
}

static void run_create(struct job *j, uint32_t n)
{
	struct sess_id id = id_of(n);

	must(sess_table_create(j->table, 0, &j->commit, TTL_S, &id, clock_now()) == 0, "create");
}

static void visit(struct job *j, uint32_t n, bool reads, bool commits)
{
	struct sess_id id = id_of(n);
	struct sess_waiter w = {0};
	struct sess_hold h = {0};
	struct sess_snapshot snap;
	struct sess_outcome out;

	must(sess_table_open(j->table, 0, &id, SESS_LOCK_EXCLUSIVE, &w, clock_now(), &h) == SESS_OPENED, "open");
	if (reads) {
		sess_table_read(j->table, &h, &snap);
		sess_state_unref(snap.state);
	}
	if (commits)
		must(sess_table_commit(j->table, &h, &j->commit, NULL, clock_now(), &out) == 0, "commit");
	sess_table_close(j->table, &h, clock_now());
}

static void run_open_close(struct job *j, uint32_t n)
{
	visit(j, n, false, false);
}

static void run_open_read_commit_close(struct job *j, uint32_t n)
{
	visit(j, n, true, true);
}

static void run_absent(struct job *j, uint32_t n)
{
	struct sess_id id = id_of(~n);
	struct sess_waiter w = {0};
	struct sess_hold h = {0};

	must(sess_table_open(j->table, 0, &id, SESS_LOCK_EXCLUSIVE, &w, clock_now(), &h) == SESS_ABSENT, "absent");
}

static void *thread(void *arg)
{
	struct job *j = arg;

	for (uint32_t i = j->first; i < j->count; i += j->step)
		j->run(j, (uint32_t)((uint64_t)i * j->prime % j->count));
	return NULL;
}

static void measure(const char *what, const struct job *job, uint32_t threads, void (*run)(struct job *, uint32_t))
{
	struct job jobs[MAX_THREADS];
	pthread_t ids[MAX_THREADS];
	double start = now_ns(CLOCK_MONOTONIC), cpu_start = now_ns(CLOCK_PROCESS_CPUTIME_ID);

	for (uint32_t i = 0; i < threads; i++) {
		jobs[i] = *job;
		jobs[i].run = run;
		jobs[i].first = i;
		jobs[i].step = threads;
		must(pthread_create(&ids[i], NULL, thread, &jobs[i]) == 0, "pthread_create");
	}
	for (uint32_t i = 0; i < threads; i++)
		pthread_join(ids[i], NULL);
	double ns = now_ns(CLOCK_MONOTONIC) - start, cpu_ns = now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_start;
	printf("%-26s threads=%u cpu_ns=%.0f elapsed_ns=%.0f per_s=%.0f\n", what, threads, cpu_ns / job->count,
	       ns / job->count, job->count / ns * 1e9);
}

static void print_memory(const char *when, uint64_t before, uint64_t payload)
{
	uint64_t resident = resident_bytes() - before;

	printf("%-26s resident=%" PRIu64 " payload=%" PRIu64 " ratio=%.4f\n", when, resident, payload,
	       (double)resident / (double)payload);
}

static struct sess_table *make_table(void)
{
	struct sess_table_options o = {.max_bytes = UINT64_MAX};
	struct sess_keys keys;
	uint8_t secret[SESS_SECRET_BYTES] = {1};

	sess_keys_derive(&keys, secret);
	struct sess_table *t = sess_table_new(&o, &keys, clock_now());
	must(t != NULL, "sess_table_new");
	return t;
}

static void expire_everything(struct sess_table *t, uint32_t count)
{
	struct instant later = instant_add_ms(clock_now(), 2 * TTL_S * 1000);
	double start = now_ns(CLOCK_PROCESS_CPUTIME_ID), worst = 0;

	for (uint32_t i = 0; i < sess_table_shards(t); i++) {
		bool more;
		do {
			double from = now_ns(CLOCK_PROCESS_CPUTIME_ID);
			more = sess_table_expire(t, i, 256, later);
			double ns = now_ns(CLOCK_PROCESS_CPUTIME_ID) - from;
			worst = ns > worst ? ns : worst;
		} while (more);
	}
	printf("%-26s cpu_ns=%.0f longest_call_cpu_ns=%.0f\n", "expire, 256 a call",
	       (now_ns(CLOCK_PROCESS_CPUTIME_ID) - start) / count, worst);
}

static void fill_and_measure(uint32_t threads, uint32_t count, size_t bytes)
{
	uint8_t *state = calloc(1, bytes + 1);
	uint64_t payload = (uint64_t)count * bytes;
	uint64_t before = resident_bytes();
	struct job job = {
	    .table = make_table(),
	    .commit = {.has_data = true, .data = view_of(state, bytes)},
	    .count = count,
	    .prime = 2654435761,
	};

	must(state != NULL, "calloc");
	measure("create", &job, threads, run_create);
	print_memory("after create", before, payload);
	measure("open, close", &job, threads, run_open_close);
	measure("open, read, commit, close", &job, threads, run_open_read_commit_close);
	print_memory("after a commit of each", before, payload);
	measure("open an absent id", &job, threads, run_absent);
	expire_everything(job.table, count);
	sess_table_free(&job.table);
	free(state);
}

int main(int argc, char **argv)
{
	uint32_t count = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1000000;
	size_t bytes = argc > 2 ? strtoul(argv[2], NULL, 10) : 1024;

	must(count > 0 && bytes > 0, "arguments");
	for (uint32_t threads = 1; threads <= MAX_THREADS; threads++) {
		/* A process each: what one has freed would be resident in the other. */
		pid_t child = fork();
		int status = 0;
		must(child >= 0, "fork");
		if (child == 0) {
			fill_and_measure(threads, count, bytes);
			return 0;
		}
		must(waitpid(child, &status, 0) == child && status == 0, "the measurement");
	}
	return 0;
}
