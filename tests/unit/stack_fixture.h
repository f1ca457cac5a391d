/* What the tests of the stack share: a stack with its thread over a store that obeys (fake_store.h), requests, and a
 * clock that only the test moves. What the stack's thread does is waited for with AWAIT(). */
#ifndef WEIR_TESTS_UNIT_STACK_FIXTURE_H
#define WEIR_TESTS_UNIT_STACK_FIXTURE_H

#include "session/operate.h"
#include "session/stack_state.h"
#include "tests/unit/fake_store.h"

#include "base/clock.h"
#include "base/log.h"

#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

enum { TTL_S = 1000, WALL_S = 1700000000, IDLE_S = 60, SESSION_BYTES = 120 };

/* --- the clock: instead of base/clock.c --- */

static _Atomic uint64_t clock_ms = 10000000;
static _Atomic int64_t clock_step_s; /* by which the calendar was set since */

struct instant clock_now(void)
{
	return (struct instant){.ms = clock_ms};
}

struct wall_time clock_wall(void)
{
	return (struct wall_time){.s = WALL_S + (int64_t)(clock_ms / 1000) - 10000 + clock_step_s};
}

uint64_t clock_us(void)
{
	return clock_ms * 1000;
}

/* --- the stack --- */

static struct stack *stack;
static struct stack_options options;
static struct sess_keys keys;
static uint16_t app, other_app;
static _Atomic bool stopped;

static inline void pause_a_little(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
}

#define AWAIT(condition)                                                                                               \
	do {                                                                                                           \
		unsigned tries_ = 0;                                                                                   \
		while (!(condition)) {                                                                                 \
			if (++tries_ > 50000)                                                                          \
				fail_msg("never: %s", #condition);                                                     \
			pause_a_little();                                                                              \
		}                                                                                                      \
	} while (0)

static inline struct stack_stats stats(void)
{
	struct stack_stats s;

	stack_stats(stack, &s);
	return s;
}

/* --- the log --- */

static char log_dir[] = "/tmp/weir-stack-XXXXXX";
static char log_path[64];

static inline void open_log(void)
{
	if (!log_path[0]) {
		assert_non_null(mkdtemp(log_dir));
		snprintf(log_path, sizeof log_path, "%s/log", log_dir);
	}
	unlink(log_path);
	assert_int_equal(log_open(LOG_INFO, log_path), 0);
}

/* How many lines have this text. */
static inline unsigned logged(const char *text)
{
	char line[2048];
	unsigned n = 0;
	FILE *f = fopen(log_path, "r");

	assert_non_null(f);
	while (fgets(line, sizeof line, f))
		n += strstr(line, text) != NULL;
	fclose(f);
	return n;
}

static inline int remove_log(void **unused)
{
	(void)unused;
	log_close();
	unlink(log_path);
	return rmdir(log_dir);
}

static inline void start_stack(void)
{
	options.wall = clock_wall();
	stack = stack_new(&options, &keys, clock_now());
	assert_non_null(stack);
	assert_int_equal(stack_app(stack, "shop", &app), 0);
	assert_int_equal(stack_app(stack, "forum", &other_app), 0);
	assert_int_equal(stack_start(stack), 0);
}

static inline void on_stopped(void *arg)
{
	(void)arg;
	stopped = true;
}

static inline void stop_stack(bool demote)
{
	stopped = false;
	stack_check(stack);
	stack_stop(stack, demote, on_stopped, NULL);
	AWAIT(stopped);
	stack_free(&stack);
	assert_null(stack);
}

static inline int set_up(void **unused)
{
	uint8_t secret[SESS_SECRET_BYTES] = {7};

	(void)unused;
	fake_reset();
	open_log();
	clock_step_s = 0;
	sess_keys_derive(&keys, secret);
	options = (struct stack_options){
	    .memory_max = 1 << 24,
	    .max_pinned = 1 << 23,
	    .evict = &evict_idle,
	    .evict_limits = {.after_s = IDLE_S},
	    .below = &fake_kind,
	    .store = {.dir = "nowhere", .max_bytes = 1 << 30},
	};
	start_stack();
	return 0;
}

static inline int tear_down(void **unused)
{
	(void)unused;
	for (enum fake_op op = 0; op < FAKE_OPS; op++)
		fake_go(op);
	if (stack) {
		assert_int_equal(stats().waiters, 0);
		stop_stack(false);
	}
	fake_reset();
	return 0;
}

/* Time goes by, and the stack's thread looks. */
static inline void pass_ms(uint64_t ms)
{
	clock_ms += ms;
	stack_wake(stack);
}

static inline void pass_s(uint64_t s)
{
	pass_ms(s * 1000);
}

static inline uint32_t wall_s(void)
{
	return (uint32_t)(WALL_S + clock_ms / 1000 - 10000);
}

/* --- what operators ask; also the way to wait for a turn of the thread --- */

struct ask {
	struct stack_job job;
	unsigned place; /* among those that are done */
	_Atomic bool done;
};

static inline void on_job(struct stack_job *j)
{
	static _Atomic unsigned done;
	struct ask *a = CONTAINER_OF(j, struct ask, job);

	a->place = ++done;
	a->done = true;
}

static inline void submit(struct ask *a)
{
	a->done = false;
	a->job.done = on_job;
	stack_submit(stack, &a->job);
}

static inline int ask(struct ask *a)
{
	submit(a);
	AWAIT(a->done);
	return a->job.err;
}

static inline void set_key(struct ask *a, uint32_t n)
{
	struct sess_id id = id_of(n);

	memset(a->job.key, 0, sizeof a->job.key);
	sess_id_encode(&keys, &id, a->job.key);
}

/* One operation on one session. */
static inline int ask_for(enum stack_op op, uint32_t n)
{
	struct ask a = {.job.op = op};

	set_key(&a, n);
	int err = ask(&a);
	stack_job_fini(&a.job);
	return err;
}

/* A whole turn of the thread, from its beginning. */
static inline void turn(void)
{
	struct ask a = {.job = {.op = STACK_LIST, .where = STACK_IN_MEMORY, .app = 999, .max = 1}};

	for (int i = 0; i < 2; i++) {
		assert_int_equal(ask(&a), 0);
		stack_job_fini(&a.job);
		a.job.cursor[0] = '\0';
	}
}

/* The next commit is of what the test does, and not of the thread's housekeeping. */
static inline void stop_commit(void)
{
	turn();
	fake_stop(FAKE_COMMIT);
}

/* --- requests --- */

struct request {
	struct sess_waiter waiter; /* first: the test's way back */
	struct sess_hold hold;
	struct stack_wait wait;
	_Atomic unsigned grants, dones;
};

static inline void note_grant(struct sess_waiter *w)
{
	CONTAINER_OF(w, struct request, waiter)->grants++;
}

static inline void note_done(struct stack_wait *w)
{
	CONTAINER_OF(w, struct request, wait)->dones++;
}

static inline void init_request(struct request *r)
{
	memset(r, 0, sizeof *r);
	r->waiter.granted = note_grant;
	r->wait.done = note_done;
}

static inline enum sess_open open_for(struct request *r, uint16_t for_app, uint32_t n, enum sess_lock lock)
{
	struct sess_id id = id_of(n);

	init_request(r);
	return stack_open(stack, for_app, &id, lock, &r->waiter, clock_now(), &r->hold);
}

static inline enum sess_open granted(struct request *r)
{
	AWAIT(r->grants == 1);
	r->grants = 0;
	return stack_granted(stack, &r->waiter, &r->hold);
}

/* Opens for the lock, and waits if it must. */
static inline enum sess_open open_one(struct request *r, uint32_t n)
{
	enum sess_open got = open_for(r, app, n, SESS_LOCK_EXCLUSIVE);

	return got == SESS_QUEUED ? granted(r) : got;
}

static inline void close_one(struct request *r)
{
	stack_close(stack, &r->hold, clock_now());
	assert_null(r->hold.session);
}

static inline struct sess_commit data(const char *text)
{
	return (struct sess_commit){.has_data = true, .data = view_str(text)};
}

static inline int try_create(uint32_t n, const char *text)
{
	struct sess_commit c = data(text);
	struct sess_id id = id_of(n);

	return stack_create(stack, app, &c, TTL_S, &id, clock_now());
}

static inline void create(uint32_t n, const char *text)
{
	assert_int_equal(try_create(n, text), 0);
}

/* 0, STACK_WAITS or an error. */
static inline int commit(struct request *r, struct sess_commit c, uint32_t fresh, struct sess_outcome *out)
{
	struct sess_id id = id_of(fresh);
	struct sess_outcome unused;

	return stack_commit(stack, &r->hold, &c, &id, clock_now(), &r->wait, out ? out : &unused);
}

static inline void expect_state(struct request *r, const char *text)
{
	struct sess_snapshot snap;

	stack_read(stack, &r->hold, &snap);
	assert_false(snap.ended);
	assert_int_equal(snap.state ? snap.state->len : 0, strlen(text));
	if (snap.state)
		assert_memory_equal(snap.state->bytes, text, snap.state->len);
	sess_state_unref(snap.state);
}

static inline void expect_session(uint32_t n, const char *text)
{
	struct request r;

	assert_int_equal(open_one(&r, n), SESS_OPENED);
	expect_state(&r, text);
	close_one(&r);
}

static inline void expect_open(uint32_t n, enum sess_open want)
{
	struct request r;

	enum sess_open got = open_one(&r, n);
	assert_int_equal(r.hold.session != NULL, got == SESS_OPENED);
	close_one(&r); /* so that a test that fails here does not fail at its end again */
	assert_int_equal(got, want);
}

/* Changes the state of a session. */
static inline void change(uint32_t n, const char *text)
{
	struct request r;

	assert_int_equal(open_one(&r, n), SESS_OPENED);
	assert_int_equal(commit(&r, data(text), 0, NULL), 0);
	close_one(&r);
}

static inline bool in_memory(uint32_t n)
{
	struct sess_id id = id_of(n);
	struct sess_view v;

	if (sess_table_look(stack->table, &id, &v))
		return false;
	sess_state_unref(v.state);
	return true;
}

/* Moves one down, by an operator. */
static inline void demote(uint32_t n)
{
	assert_int_equal(ask_for(STACK_DEMOTE, n), 0);
	assert_false(in_memory(n));
	assert_true(fake_has(n));
}

/* A session that is only below. */
static inline void create_below(uint32_t n, const char *text)
{
	create(n, text);
	demote(n);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
