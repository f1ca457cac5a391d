/* Many threads that claim few ids: one at a time works exclusively, every grant arrives once, nobody overtakes, and an
 * end marks whom it should, whatever else happens at the same time. To be run under TSan too, which sees a holder that
 * comes before the one before it has gone: what it writes is guarded by the claim alone. */
#include "session/claim.h"

#include "base/invariant.h"
#include "base/mailbox.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

enum { THREADS = 4, REQUESTS = 6, SLOTS = 4, STEPS = 40000 };

struct request;

/* An id. In every other one the test looks on: each call is made under the slot's lock, so that the order in which they
 * come is known. In the others nothing keeps the threads from each other. */
struct slot {
	struct sess_id id;
	bool watched;
	pthread_mutex_t lock;
	uint64_t tickets, ends;  /* guarded by lock, as are `begun` and `holder` */
	uint64_t begun;          /* works that have begun, where it is watched */
	struct request *holder;  /* works exclusively */
	uint64_t served;         /* guarded by the claim: the last one's ticket */
	unsigned inside;         /* guarded by the claim */
	uint64_t works;          /* guarded by the claim */
	_Atomic uint64_t worked; /* the same from outside */
};

struct shared {
	struct claims *claims;
	struct slot slots[SLOTS];
	_Atomic uint64_t cancelled, too_late, granted, beside, refused, stale;
};

enum { IDLE, WAITING, GIVEN_UP, RELEASED, WORKING, READING };

struct worker;

struct request {
	struct claim claim;
	struct mail mail;
	struct worker *worker;
	struct slot *slot;
	unsigned state;
	uint64_t ticket;
	uint64_t born;   /* ends that it knows of; guarded by the slot's lock */
	uint64_t begun;  /* its work's number in the slot */
	bool may_create; /* no elder, so far; guarded by the slot's lock while it works */
};

/* One worker thread with its mailbox. */
struct worker {
	struct shared *shared;
	struct mailbox box;
	sem_t wakes;
	uint64_t random;
	pthread_t thread;
	struct claim_touch touch; /* as of one connection */
	struct slot *touched;     /* what it is of, and when */
	uint64_t touched_at;
	struct request requests[REQUESTS];
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

static void look_on(struct slot *slot)
{
	if (slot->watched)
		pthread_mutex_lock(&slot->lock);
}

static void look_away(struct slot *slot)
{
	if (slot->watched)
		pthread_mutex_unlock(&slot->lock);
}

/* It has the claim. The slot is looked on. */
static void begin(struct request *r)
{
	struct slot *slot = r->slot;

	r->state = WORKING;
	slot->inside++;
	INVARIANT(slot->inside == 1);
	r->may_create = claims_may_create(r->worker->shared->claims, &slot->id);
	r->worker->shared->refused += !r->may_create;
	if (!slot->watched)
		return;
	slot->holder = r;
	r->begun = ++slot->begun;
	INVARIANT(r->may_create == (r->born == slot->ends));
	INVARIANT(r->ticket > slot->served);
	slot->served = r->ticket;
}

static void finish(struct request *r)
{
	struct shared *sh = r->worker->shared;
	struct slot *slot = r->slot;

	look_on(slot);
	if (r->state == WORKING) {
		/* In a slot that nobody looks on, an end may have come from whoever. */
		INVARIANT(!slot->watched || claims_may_create(sh->claims, &slot->id) == r->may_create);
		INVARIANT(slot->inside == 1);
		slot->inside--;
		slot->works++;
		slot->worked++;
		slot->holder = NULL;
	}
	r->state = IDLE;
	claim_release(sh->claims, &r->claim);
	look_away(slot);
}

static void deliver(struct mail *mail)
{
	struct request *r = CONTAINER_OF(mail, struct request, mail);
	struct shared *sh = r->worker->shared;

	sh->granted++;
	if (r->state == RELEASED) {
		r->state = IDLE;
		return;
	}
	look_on(r->slot);
	claim_granted(sh->claims, &r->claim);
	if (r->state == WAITING) {
		begin(r);
		look_away(r->slot);
		return;
	}
	INVARIANT(r->state == GIVEN_UP);
	r->state = IDLE;
	claim_release(sh->claims, &r->claim);
	look_away(r->slot);
}

static void on_granted(struct claim *c)
{
	struct request *r = CONTAINER_OF(c, struct request, claim);

	mailbox_post(&r->worker->box, &r->mail);
}

static void start(struct request *r)
{
	struct worker *w = r->worker;
	struct slot *slot = &w->shared->slots[draw(w) % SLOTS];
	bool exclusive = draw(w) % 8 != 0;

	r->slot = slot;
	look_on(slot);
	if (slot->watched) {
		r->ticket = ++slot->tickets;
		r->born = slot->ends;
	}
	if (exclusive && draw(w) % 8 == 0) {
		if (claim_try(w->shared->claims, &slot->id, true, &r->claim))
			begin(r);
		look_away(slot);
		return;
	}
	enum claim_take took = claim_take(w->shared->claims, &slot->id, exclusive, &r->claim);
	INVARIANT(took != CLAIM_NO_MEMORY);
	INVARIANT(exclusive || took == CLAIM_TAKEN);
	w->shared->beside += !exclusive;
	r->state = !exclusive ? READING : WAITING;
	if (exclusive && took == CLAIM_TAKEN)
		begin(r);
	look_away(slot);
}

static void give_up(struct request *r)
{
	struct worker *w = r->worker;

	look_on(r->slot);
	if (claim_cancel(w->shared->claims, &r->claim)) {
		w->shared->cancelled++;
		r->state = IDLE;
	} else {
		/* Released when the grant has come, or at once. */
		w->shared->too_late++;
		r->state = draw(w) % 2 ? GIVEN_UP : RELEASED;
		if (r->state == RELEASED)
			claim_release(w->shared->claims, &r->claim);
	}
	look_away(r->slot);
}

/* Whether the one at work in a slot that is looked on is taken for who has ended it by this touch. */
static bool is_spared(const struct slot *slot, const struct worker *w)
{
	return w->touched == slot && slot->holder && slot->holder->begun <= w->touched_at;
}

/* The worker's connection ends a session: it has touched it last, or another, a while ago or just now. */
static void end(struct worker *w)
{
	struct slot *slot = &w->shared->slots[draw(w) % SLOTS];

	look_on(slot);
	if (draw(w) % 2) {
		claims_touch(w->shared->claims, &slot->id, &w->touch);
		w->touched = slot;
		w->touched_at = slot->begun;
	}
	claims_end(w->shared->claims, &slot->id, &w->touch);
	if (slot->watched) {
		bool spared = is_spared(slot, w);
		slot->ends++;
		w->shared->stale += w->touched == slot && slot->holder && !spared;
		if (slot->holder && !spared)
			slot->holder->may_create = false;
		if (slot->holder && slot->holder->may_create)
			slot->holder->born = slot->ends;
	}
	look_away(slot);
}

static void step(struct request *r)
{
	switch (r->state) {
	case IDLE:
		start(r);
		break;
	case WAITING:
		if (draw(r->worker) % 4 == 0)
			give_up(r);
		break;
	case WORKING:
	case READING:
		finish(r);
		break;
	default:
		break;
	}
}

static bool busy(struct worker *w)
{
	bool any = false;

	for (unsigned i = 0; i < REQUESTS; i++) {
		struct request *r = &w->requests[i];
		if (r->state == WORKING || r->state == READING)
			finish(r);
		any = any || r->state != IDLE;
	}
	return any;
}

static void *run(void *arg)
{
	struct worker *w = arg;

	for (unsigned i = 0; i < STEPS; i++) {
		step(&w->requests[draw(w) % REQUESTS]);
		mailbox_deliver(&w->box);
		if (draw(w) % 16 == 0)
			end(w);
		if (draw(w) % 256 == 0)
			claims_check(w->shared->claims);
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

static void open_claims(struct shared *sh)
{
	struct sess_keys keys;
	uint8_t secret[SESS_SECRET_BYTES] = {7};

	*sh = (struct shared){0};
	sess_keys_derive(&keys, secret);
	sh->claims = claims_new(&keys);
	assert_non_null(sh->claims);
	for (unsigned i = 0; i < SLOTS; i++) {
		sh->slots[i].id.bytes[0] = (uint8_t)i;
		sh->slots[i].watched = i % 2 == 0;
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
		for (unsigned k = 0; k < REQUESTS; k++) {
			w->requests[k].worker = w;
			w->requests[k].claim.granted = on_granted;
			w->requests[k].mail.deliver = deliver;
		}
		assert_int_equal(pthread_create(&w->thread, NULL, run, w), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(workers[i].thread, NULL);
	for (unsigned i = 0; i < THREADS; i++) {
		mailbox_fini(&workers[i].box);
		sem_destroy(&workers[i].wakes);
	}
}

static void close_claims(struct shared *sh)
{
	struct claims_stats stats;

	claims_check(sh->claims);
	claims_stats(sh->claims, &stats);
	assert_int_equal(stats.held, 0);
	assert_int_equal(stats.queued, 0);
	for (unsigned i = 0; i < SLOTS; i++) {
		assert_int_equal(sh->slots[i].works, sh->slots[i].worked);
		assert_int_equal(sh->slots[i].inside, 0);
		pthread_mutex_destroy(&sh->slots[i].lock);
	}
	claims_free(&sh->claims);
}

static void one_at_a_time_in_the_order_in_which_they_came(void **unused)
{
	struct shared sh;
	bool met = false;

	(void)unused;
	for (unsigned tries = 0; !met && tries < 100; tries++) {
		open_claims(&sh);
		run_threads(&sh);
		met = sh.cancelled && sh.too_late && sh.granted && sh.beside && sh.refused && sh.stale;
		close_claims(&sh);
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
