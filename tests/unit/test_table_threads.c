/* Many threads at one table: with the exclusive lock no acknowledged commit is lost, whatever else happens at the same
 * time. To be run under TSan too. The state of a session is a number; each commit writes what it read plus one. */
#include "session/table.h"

#include "base/mailbox.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

enum { THREADS = 4, SLOTS = 8, ROUNDS = 3000, TTL_S = 1000 };

/* A session as the client knows it. Its id changes when it is renewed, and when a new one follows an ended one. */
struct slot {
	pthread_mutex_t lock;
	uint32_t id;
	uint64_t acknowledged; /* commits to the present session, counted while the session's lock is held */
};

struct shared {
	struct sess_table *table;
	struct slot slots[SLOTS];
	_Atomic uint32_t next_id;
	_Atomic uint64_t commits, dropped, renewed_seen, absent_seen, cancelled, cancelled_late;
	bool with_ends; /* sessions are renewed and ended too */
	unsigned slot_count;
};

/* One worker thread with its mailbox. */
struct worker {
	struct shared *shared;
	struct mailbox box;
	sem_t wakes;
	uint64_t random;
	pthread_t thread;
};

struct request {
	struct sess_waiter waiter;
	struct mail mail;
	struct sess_hold hold;
	struct worker *worker;
	bool arrived;
};

static struct sess_id id_of(uint32_t n)
{
	struct sess_id id = {{0}};

	memcpy(id.bytes, &n, sizeof(n));
	return id;
}

static struct instant now_of(void)
{
	return clock_now();
}

static void wake(void *arg)
{
	struct worker *w = arg;

	sem_post(&w->wakes);
}

static void deliver(struct mail *mail)
{
	CONTAINER_OF(mail, struct request, mail)->arrived = true;
}

static void on_granted(struct sess_waiter *w)
{
	struct request *r = CONTAINER_OF(w, struct request, waiter);

	mailbox_post(&r->worker->box, &r->mail);
}

static uint64_t draw(struct worker *w)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return w->random >> 8;
}

/* Lets others in at the places where it hurts most; without it few of the races are met on a small machine. */
static void maybe_yield(struct worker *w)
{
	if (draw(w) % 2)
		sched_yield();
}

static void await_grant(struct request *r)
{
	while (!r->arrived) {
		sem_wait(&r->worker->wakes);
		mailbox_deliver(&r->worker->box);
	}
}

/* Waits, or gives up. What the request has in the end. */
static enum sess_open wait_or_cancel(struct request *r)
{
	struct shared *sh = r->worker->shared;
	bool gives_up = draw(r->worker) % 4 == 0;

	maybe_yield(r->worker);
	if (gives_up && sess_table_cancel(sh->table, &r->waiter, &r->hold)) {
		sh->cancelled++;
		return SESS_QUEUED;
	}
	await_grant(r);
	enum sess_open result = sess_table_granted(sh->table, &r->waiter, &r->hold);
	if (gives_up) {
		sh->cancelled_late++;
		sess_table_close(sh->table, &r->hold, now_of());
		return SESS_QUEUED;
	}
	return result;
}

static uint64_t read_number(struct shared *sh, struct request *r)
{
	struct sess_snapshot snap;
	uint64_t n = 0;

	sess_table_read(sh->table, &r->hold, &snap);
	if (snap.state)
		memcpy(&n, snap.state->bytes, sizeof(n));
	sess_state_unref(snap.state);
	return n;
}

/* A new session in the slot, number 0. */
static void fill_slot(struct shared *sh, struct slot *slot)
{
	static const uint64_t zero = 0;
	struct sess_commit c = {.has_data = true, .data = view_of(&zero, sizeof(zero))};
	uint32_t n = sh->next_id++;
	struct sess_id id = id_of(n);

	if (sess_table_create(sh->table, 0, &c, TTL_S, &id, now_of()))
		abort();
	pthread_mutex_lock(&slot->lock);
	slot->id = n;
	slot->acknowledged = 0;
	pthread_mutex_unlock(&slot->lock);
}

static void use(struct request *r, struct slot *slot, uint32_t opened_id)
{
	struct worker *w = r->worker;
	struct shared *sh = w->shared;
	uint64_t number = read_number(sh, r) + 1;
	uint32_t fresh = sh->next_id++;
	struct sess_id fresh_id = id_of(fresh);
	struct sess_commit c = {.has_data = true, .data = view_of(&number, sizeof(number))};
	struct sess_outcome out;

	maybe_yield(w);
	c.renew = sh->with_ends && draw(w) % 8 == 0;
	c.end = sh->with_ends && draw(w) % 32 == 0;
	if (sess_table_commit(sh->table, &r->hold, &c, &fresh_id, now_of(), &out))
		abort();
	if (out.dropped) {
		sh->dropped++;
		return;
	}
	sh->commits++;
	if (c.end) {
		fill_slot(sh, slot);
		return;
	}
	pthread_mutex_lock(&slot->lock);
	/* Not so only if an end by somebody without the lock has put another session here. */
	if (slot->id == opened_id) {
		slot->acknowledged++;
		if (slot->acknowledged != number)
			abort(); /* an update was lost */
		if (c.renew)
			slot->id = fresh;
	}
	pthread_mutex_unlock(&slot->lock);
}

/* Ends the session without waiting for its lock: the race that a log-out in another window is. */
static void end_without_lock(struct request *r, struct slot *slot)
{
	struct shared *sh = r->worker->shared;
	struct sess_commit c = {.end = true};
	struct sess_outcome out;

	if (sess_table_commit(sh->table, &r->hold, &c, NULL, now_of(), &out))
		abort();
	if (!out.dropped)
		fill_slot(sh, slot);
}

static void one_request(struct worker *w)
{
	struct shared *sh = w->shared;
	struct slot *slot = &sh->slots[draw(w) % sh->slot_count];
	struct request r = {.worker = w, .waiter.granted = on_granted, .mail.deliver = deliver};
	enum sess_lock lock = draw(w) % 8 ? SESS_LOCK_EXCLUSIVE : SESS_LOCK_NONE;

	pthread_mutex_lock(&slot->lock);
	uint32_t n = slot->id;
	pthread_mutex_unlock(&slot->lock);
	struct sess_id id = id_of(n);
	enum sess_open got = sess_table_open(sh->table, 0, &id, lock, &r.waiter, now_of(), &r.hold);
	if (got == SESS_QUEUED)
		got = wait_or_cancel(&r);
	maybe_yield(w);
	sh->renewed_seen += got == SESS_RENEWED;
	sh->absent_seen += got == SESS_ABSENT;
	if (got != SESS_OPENED)
		return;
	if (lock == SESS_LOCK_EXCLUSIVE)
		use(&r, slot, n);
	else if (sh->with_ends && draw(w) % 8 == 0)
		end_without_lock(&r, slot);
	else
		(void)read_number(sh, &r);
	sess_table_close(sh->table, &r.hold, now_of());
}

static void *run(void *arg)
{
	struct worker *w = arg;

	for (unsigned i = 0; i < ROUNDS; i++) {
		one_request(w);
		if (draw(w) % 64 == 0)
			(void)sess_table_expire(w->shared->table, (uint32_t)(draw(w) % 4), 10, now_of());
	}
	return NULL;
}

static void open_table(struct shared *sh, unsigned slot_count, bool with_ends)
{
	struct sess_table_options o = {.max_bytes = 1 << 24, .shards = 4};
	struct sess_keys keys;
	uint8_t secret[SESS_SECRET_BYTES] = {7};

	*sh = (struct shared){.slot_count = slot_count, .with_ends = with_ends};
	sess_keys_derive(&keys, secret);
	sh->table = sess_table_new(&o, &keys, now_of());
	assert_non_null(sh->table);
	for (unsigned i = 0; i < slot_count; i++) {
		pthread_mutex_init(&sh->slots[i].lock, NULL);
		fill_slot(sh, &sh->slots[i]);
	}
}

static void run_threads(struct shared *sh)
{
	struct worker workers[THREADS];

	for (unsigned i = 0; i < THREADS; i++) {
		struct worker *w = &workers[i];
		*w = (struct worker){.shared = sh, .random = UINT64_C(0x9e3779b97f4a7c15) * (i + 1)};
		sem_init(&w->wakes, 0, 0);
		mailbox_init(&w->box, wake, w);
		assert_int_equal(pthread_create(&w->thread, NULL, run, w), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(workers[i].thread, NULL);
	for (unsigned i = 0; i < THREADS; i++) {
		mailbox_fini(&workers[i].box);
		sem_destroy(&workers[i].wakes);
	}
}

/* Every slot's session has the number of the commits that were acknowledged to it. */
static void check_numbers(struct shared *sh)
{
	for (unsigned i = 0; i < sh->slot_count; i++) {
		struct request r = {0};
		struct sess_id id = id_of(sh->slots[i].id);

		assert_int_equal(sess_table_open(sh->table, 0, &id, SESS_LOCK_EXCLUSIVE, &r.waiter, now_of(), &r.hold),
				 SESS_OPENED);
		assert_int_equal(read_number(sh, &r), sh->slots[i].acknowledged);
		sess_table_close(sh->table, &r.hold, now_of());
	}
}

static void close_table(struct shared *sh)
{
	struct sess_table_stats stats;

	sess_table_check(sh->table);
	sess_table_stats(sh->table, &stats);
	assert_int_equal(stats.sessions, sh->slot_count);
	assert_int_equal(stats.waiters, 0);
	assert_int_equal(stats.created, sh->slot_count + stats.ended);
	/* After everything has expired no byte is left. */
	for (uint32_t i = 0; i < sess_table_shards(sh->table); i++) {
		while (sess_table_expire(sh->table, i, 100, instant_add_ms(now_of(), 10000000)))
			;
	}
	sess_table_stats(sh->table, &stats);
	assert_int_equal(stats.bytes, 0);
	assert_int_equal(stats.expired, sh->slot_count);
	sess_table_free(&sh->table);
	for (unsigned i = 0; i < sh->slot_count; i++)
		pthread_mutex_destroy(&sh->slots[i].lock);
}

static void one_session_loses_no_commit(void **unused)
{
	struct shared sh;

	(void)unused;
	open_table(&sh, 1, false);
	run_threads(&sh);
	check_numbers(&sh);
	assert_int_equal(sh.slots[0].acknowledged, sh.commits);
	assert_true(sh.commits > ROUNDS);
	assert_int_equal(sh.dropped + sh.renewed_seen + sh.absent_seen, 0);
	close_table(&sh);
}

static void many_sessions_lose_no_commit(void **unused)
{
	struct shared sh;
	uint64_t sum = 0;

	(void)unused;
	open_table(&sh, SLOTS, false);
	run_threads(&sh);
	check_numbers(&sh);
	for (unsigned i = 0; i < SLOTS; i++)
		sum += sh.slots[i].acknowledged;
	assert_int_equal(sum, sh.commits);
	close_table(&sh);
}

static bool all_races_met(const struct shared *sh)
{
	return sh->dropped && sh->renewed_seen && sh->absent_seen && sh->cancelled && sh->cancelled_late;
}

static void ends_and_renewals_lose_none_either(void **unused)
{
	struct shared sh;
	unsigned tries = 0;
	bool met = false;

	(void)unused;
	for (unsigned slots = 1;; slots = slots % SLOTS + 1) {
		open_table(&sh, slots, true);
		run_threads(&sh);
		check_numbers(&sh);
		met = met || all_races_met(&sh);
		close_table(&sh);
		if (++tries >= SLOTS && (met || tries > 100 * SLOTS))
			break;
	}
	assert_true(met); /* or the test has tested little */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(one_session_loses_no_commit),
	    cmocka_unit_test(many_sessions_lose_no_commit),
	    cmocka_unit_test(ends_and_renewals_lose_none_either),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
