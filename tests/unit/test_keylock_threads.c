/* Many threads, whose connections lock few keys: one at a time has a lock, it passes on in the order in which they
 * came, and none is lost, whoever frees it. To be run under TSan too, which sees an owner that comes before the one
 * before it has gone: what it writes is guarded by the lock alone. */
#include "session/keylock.h"

#include "base/invariant.h"
#include "base/mailbox.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

enum { THREADS = 4, CLIENTS = 6, SLOTS = 4, STEPS = 40000 };

#define NEVER UINT64_MAX

/* A key. Every other one is tame: its lock has no time, and only its owner frees it. The others are freed by anybody at
 * any time, and what is guarded by them then is nothing. */
struct slot {
	struct sess_id id;
	bool tame;
	pthread_mutex_t lock;    /* held while a client asks for the key, so that the order is known */
	uint64_t tickets;        /* guarded by lock */
	uint64_t served;         /* guarded by the key's lock: the last one's ticket */
	uint64_t works;          /* guarded by the key's lock */
	_Atomic uint64_t worked; /* the same from outside */
};

struct shared {
	struct keylocks *locks;
	struct slot slots[SLOTS];
	_Atomic uint64_t clock_ms; /* goes on with the steps */
	_Atomic uint64_t unparked, too_late, woken, busy, dropped, seen_out, stolen;
};

enum { IDLE, WAITING, GIVEN_UP, GONE, WORKING };

struct worker;

/* A connection, which asks for one lock at a time. */
struct client {
	struct keylock_owner owner;
	struct keylock_waiter waiter;
	struct mail mail;
	struct worker *worker;
	struct slot *slot;
	unsigned state;
	uint64_t ticket;
	uint64_t token;
};

/* One worker thread with its mailbox. */
struct worker {
	struct shared *shared;
	struct mailbox box;
	sem_t wakes;
	uint64_t random;
	pthread_t thread;
	struct client clients[CLIENTS];
};

static uint64_t draw(struct worker *w)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return w->random >> 8;
}

static void maybe_yield(struct worker *w)
{
	if (draw(w) % 4 == 0)
		sched_yield();
}

static struct instant now_of(struct shared *sh)
{
	return (struct instant){.ms = sh->clock_ms};
}

static struct view token_of(const struct client *c)
{
	return view_of(&c->token, sizeof(c->token));
}

static bool owns(struct client *c)
{
	uint8_t token[KEYLOCK_TOKEN_MAX];
	size_t len;
	uint64_t left_ms;

	return keylock_get(c->worker->shared->locks, &c->slot->id, now_of(c->worker->shared), token, &len, &left_ms) &&
	       view_eq(token_of(c), view_of(token, len));
}

/* It has the lock. */
static void begin(struct client *c)
{
	c->state = WORKING;
	if (!c->slot->tame)
		return;
	INVARIANT(c->ticket > c->slot->served);
	c->slot->served = c->ticket;
	INVARIANT(owns(c));
}

/* Lets the lock go: with its token, by whoever knows it, or as one that closes. */
static void let_go(struct client *c)
{
	struct shared *sh = c->worker->shared;
	struct view token = token_of(c);

	if (draw(c->worker) % 2) {
		keylock_drop(sh->locks, &c->owner, now_of(sh));
		sh->dropped++;
		return;
	}
	bool freed = keylock_release(sh->locks, &c->slot->id, &token, now_of(sh));
	INVARIANT(freed || !c->slot->tame);
	sh->stolen += !freed;
}

static void finish(struct client *c)
{
	if (c->slot->tame) {
		INVARIANT(c->slot->served == c->ticket);
		INVARIANT(owns(c));
		c->slot->works++;
		c->slot->worked++;
	}
	c->state = IDLE;
	let_go(c);
}

static void deliver(struct mail *mail)
{
	struct client *c = CONTAINER_OF(mail, struct client, mail);

	c->worker->shared->woken++;
	keylock_woken(c->worker->shared->locks, &c->waiter);
	if (c->state == WAITING) {
		begin(c);
		return;
	}
	INVARIANT(c->state == GIVEN_UP || c->state == GONE);
	if (c->state == GIVEN_UP)
		let_go(c);
	c->state = IDLE;
}

static void on_woken(struct keylock_waiter *waiter)
{
	struct client *c = CONTAINER_OF(waiter, struct client, waiter);

	mailbox_post(&c->worker->box, &c->mail);
}

static void ask(struct client *c)
{
	struct worker *w = c->worker;
	struct shared *sh = w->shared;
	struct slot *slot = &sh->slots[draw(w) % SLOTS];
	uint64_t ttl_ms = slot->tame ? 0 : draw(w) % 64;
	uint64_t look_ms = 0;
	enum keylock_take took;

	c->slot = slot;
	c->token = draw(w);
	pthread_mutex_lock(&slot->lock);
	c->ticket = ++slot->tickets;
	if (draw(w) % 4 == 0) {
		took = keylock_take(sh->locks, &slot->id, token_of(c), ttl_ms, &c->owner, now_of(sh));
		sh->busy += took == KEYLOCK_BUSY;
	} else {
		c->waiter.owner = &c->owner;
		c->waiter.id = slot->id;
		c->waiter.ttl_ms = ttl_ms;
		c->waiter.token_len = sizeof(c->token);
		memcpy(c->waiter.token, &c->token, sizeof(c->token));
		took = keylock_park(sh->locks, &c->waiter, now_of(sh), &look_ms);
		c->state = took == KEYLOCK_BUSY ? WAITING : IDLE;
		INVARIANT(took != KEYLOCK_BUSY || !slot->tame || look_ms == NEVER);
	}
	pthread_mutex_unlock(&slot->lock);
	INVARIANT(took != KEYLOCK_NO_ROOM);
	if (took == KEYLOCK_TAKEN)
		begin(c);
}

static void give_up(struct client *c)
{
	struct shared *sh = c->worker->shared;

	if (keylock_unpark(sh->locks, &c->waiter)) {
		sh->unparked++;
		c->state = IDLE;
		return;
	}
	/* It lets go when it has been told; or it closes, and is told all the same. */
	sh->too_late++;
	c->state = draw(c->worker) % 2 ? GIVEN_UP : GONE;
	if (c->state == GONE)
		keylock_drop(sh->locks, &c->owner, now_of(sh));
}

static void look(struct client *c)
{
	struct shared *sh = c->worker->shared;
	uint64_t look_ms = 0;

	keylock_look(sh->locks, &c->waiter, now_of(sh), &look_ms);
	INVARIANT(!c->slot->tame || look_ms == NEVER);
	sh->seen_out += !c->slot->tame && look_ms == NEVER;
}

/* Somebody who has nothing to do with the lock. */
static void disturb(struct worker *w)
{
	struct shared *sh = w->shared;
	struct slot *slot = &sh->slots[draw(w) % SLOTS];

	if (slot->tame)
		return;
	if (draw(w) % 2)
		(void)keylock_release(sh->locks, &slot->id, NULL, now_of(sh));
	else
		(void)keylock_extend(sh->locks, &slot->id, draw(w) % 64, now_of(sh));
}

static void step(struct client *c)
{
	switch (c->state) {
	case IDLE:
		ask(c);
		break;
	case WAITING:
		if (draw(c->worker) % 4 == 0)
			give_up(c);
		else
			look(c);
		break;
	case WORKING:
		finish(c);
		break;
	default:
		break;
	}
}

static bool busy(struct worker *w)
{
	bool any = false;

	for (unsigned i = 0; i < CLIENTS; i++) {
		struct client *c = &w->clients[i];
		if (c->state == WORKING)
			finish(c);
		any = any || c->state != IDLE;
	}
	return any;
}

static void *run(void *arg)
{
	struct worker *w = arg;

	for (unsigned i = 0; i < STEPS; i++) {
		w->shared->clock_ms += i % 2;
		step(&w->clients[draw(w) % CLIENTS]);
		mailbox_deliver(&w->box);
		if (draw(w) % 16 == 0)
			disturb(w);
		if (draw(w) % 256 == 0)
			keylocks_check(w->shared->locks);
		maybe_yield(w);
	}
	while (busy(w)) {
		sem_wait(&w->wakes);
		mailbox_deliver(&w->box);
	}
	return NULL;
}

static void wake(void *arg)
{
	struct worker *w = arg;

	sem_post(&w->wakes);
}

static void open_locks(struct shared *sh)
{
	struct sess_keys keys;
	uint8_t secret[SESS_SECRET_BYTES] = {7};

	*sh = (struct shared){0};
	sess_keys_derive(&keys, secret);
	sh->locks = keylocks_new(&keys);
	assert_non_null(sh->locks);
	for (unsigned i = 0; i < SLOTS; i++) {
		sh->slots[i].id.bytes[0] = (uint8_t)i;
		sh->slots[i].tame = i % 2 == 0;
		pthread_mutex_init(&sh->slots[i].lock, NULL);
	}
}

static void run_threads(struct shared *sh)
{
	static struct worker workers[THREADS];

	for (unsigned i = 0; i < THREADS; i++) {
		struct worker *w = &workers[i];
		*w = (struct worker){.shared = sh, .random = UINT64_C(0x9e3779b97f4a7c15) * (i + 1)};
		sem_init(&w->wakes, 0, 0);
		mailbox_init(&w->box, wake, w);
		for (unsigned k = 0; k < CLIENTS; k++) {
			keylock_owner_init(&w->clients[k].owner);
			w->clients[k].worker = w;
			w->clients[k].waiter.woken = on_woken;
			w->clients[k].mail.deliver = deliver;
		}
		assert_int_equal(pthread_create(&w->thread, NULL, run, w), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(workers[i].thread, NULL);
	for (unsigned i = 0; i < THREADS; i++) {
		mailbox_fini(&workers[i].box);
		sem_destroy(&workers[i].wakes);
		for (unsigned k = 0; k < CLIENTS; k++)
			assert_true(list_empty(&workers[i].clients[k].owner.locks));
	}
}

static void close_locks(struct shared *sh)
{
	keylocks_check(sh->locks);
	for (unsigned i = 0; i < SLOTS; i++) {
		assert_int_equal(sh->slots[i].works, sh->slots[i].worked);
		pthread_mutex_destroy(&sh->slots[i].lock);
	}
	keylocks_free(&sh->locks);
}

static void one_at_a_time_in_the_order_in_which_they_came(void **unused)
{
	struct shared sh;
	bool met = false;

	(void)unused;
	for (unsigned tries = 0; !met && tries < 100; tries++) {
		open_locks(&sh);
		run_threads(&sh);
		met = sh.unparked && sh.too_late && sh.woken && sh.busy && sh.dropped && sh.seen_out && sh.stolen;
		close_locks(&sh);
	}
	assert_true(met); /* or the test has tested little */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(one_at_a_time_in_the_order_in_which_they_came),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
