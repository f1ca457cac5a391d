/* Pools of two generations side by side, over the same book: what they share, and what an operator says to both. */
#include "tests/unit/pool_fixture.h"

#include "base/error.h"

static struct pool *old_pools[WORKERS];
static struct pool_shared *old_shared;

static void drain_old(struct worker *w, struct request *r)
{
	(void)r;
	pool_drain(old_pools[w - workers]);
}

static void close_old(struct worker *w, struct request *r)
{
	(void)r;
	pool_close(old_pools[w - workers]);
}

static void nothing(struct worker *w, struct request *r)
{
	(void)w;
	(void)r;
}

static void make_next(size_t backends)
{
	struct pool_app_options app = {
	    .name = "shop", .backends = options, .backend_count = backends, .queue = queue_max};

	old_shared = shared;
	shared_backends = backends;
	shared = pool_shared_new(&book, &app, 1, worker_count);
	assert_non_null(shared);
	for (size_t i = 0; i < worker_count; i++) {
		old_pools[i] = workers[i].pool;
		workers[i].pool = pool_new(shared, &workers[i].loop, i);
		assert_non_null(workers[i].pool);
	}
}

/* A reload: requests that are made from now on are of the new generation. */
static void next_generation(size_t backends)
{
	make_next(backends);
	pool_shared_lead(shared, old_shared);
	for (size_t i = 0; i < worker_count; i++)
		ask(&workers[i], drain_old, NULL);
}

/* The end of the old one: its requests are done. Each worker has nothing of it in its mailbox after the second round.
 */
static void end_old(void)
{
	if (!old_shared)
		return;
	for (size_t i = 0; i < worker_count; i++)
		ask(&workers[i], close_old, NULL);
	for (size_t i = 0; i < worker_count; i++)
		ask(&workers[i], nothing, NULL);
	for (size_t i = 0; i < worker_count; i++)
		pool_free(&old_pools[i]);
	pool_shared_free(&old_shared);
}

static int tear_down_both(void **unused)
{
	request_then(NULL);
	for (size_t i = 0; i < request_count; i++)
		ask_of(&requests[i], give_up);
	for (size_t i = 0; i < request_count; i++)
		AWAIT(requests[i].state != WAITING);
	end_old();
	int err = tear_down(unused);
	return err || !list_empty(&book.lines);
}

/* --- what goes over --- */

static void slots_are_counted_over_generations(void **unused)
{
	(void)unused;
	bed_make(2, 1);
	struct request *a = request_hold(0);
	next_generation(1);
	struct request *b = request_take(1), *c = request_take(0);
	NEVER(b->state != WAITING || c->state != WAITING, 50);
	assert_int_equal(stats(0).open, 1);
	request_finish(a);
	AWAIT(b->state == HELD);
	assert_int_equal(c->state, WAITING);
	request_finish(b);
	AWAIT(c->state == HELD);
	request_finish(c);
	assert_int_equal(apps[0].most_open, 1);
}

/* The connection that a request of the old generation gives back is not kept: its pool is not used any more. */
static void an_old_connection_is_not_kept(void **unused)
{
	(void)unused;
	options[0].connections = 2;
	bed_make(1, 1);
	request_finish(request_hold(0));
	struct request *a = request_hold(0);
	next_generation(1);
	request_finish(a);
	AWAIT(apps[0].open == 0);
	struct request *b = request_hold(0);
	assert_false(b->was_kept);
}

static void idle_ones_go_at_once(void **unused)
{
	(void)unused;
	options[0].connections = 2;
	bed_make(2, 1);
	struct request *a = request_hold(0), *b = request_hold(1);
	request_finish(a);
	request_finish(b);
	assert_int_equal(stats(0).idle, 2);
	next_generation(1);
	assert_int_equal(stats(0).idle, 0);
	assert_int_equal(stats(0).open, 0);
	AWAIT(apps[0].open == 0);
}

/* Who came first is served first. On one worker, so that none is preferred for its warm connection. */
static void the_queue_is_one(void **unused)
{
	struct request *r[5];

	(void)unused;
	bed_make(1, 1);
	struct request *first = request_hold(0);
	r[0] = request_take(0);
	r[1] = request_take(0);
	next_generation(1);
	for (size_t i = 2; i < 5; i++)
		r[i] = request_take(0);
	request_finish(first);
	for (size_t i = 0; i < 5; i++) {
		AWAIT(r[i]->state == HELD);
		assert_int_equal(r[i]->order, 2 + i);
		request_finish(r[i]);
	}
}

/* One of the old generation waits while the new one keeps connections idle elsewhere. */
static void idle_ones_of_the_new_go_to_who_waits_in_the_old(void **unused)
{
	(void)unused;
	options[0].connections = 2;
	bed_make(2, 1);
	struct request *a = request_hold(0), *b = request_hold(0);
	struct request *waits = request_take(0);
	next_generation(1);
	struct request *c = request_take(1);
	request_finish(a); /* its slot is the oldest one's */
	AWAIT(waits->state == HELD);
	request_finish(b);
	AWAIT(c->state == HELD);
	request_finish(c);
	assert_int_equal(stats(0).idle, 1);
	/* Again of the old one: a repetition. Both slots are the new one's, one of them for nothing. */
	struct request *again = request_new(0);
	request_finish(waits);
	pool_ticket_init(&again->ticket, old_pools[0], 0, on_ready);
	struct request *d = request_hold(1), *e = request_hold(1);
	request_finish(d);
	assert_int_equal(stats(0).open, 2);
	assert_int_equal(stats(0).idle, 1);
	ask_of(again, take);
	AWAIT(again->state == HELD);
	request_finish(again);
	request_finish(e);
}

static void a_lower_limit_is_reached_in_time(void **unused)
{
	struct request *r[3], *n[3];

	(void)unused;
	options[0].connections = 3;
	bed_make(2, 1);
	for (size_t i = 0; i < 3; i++)
		r[i] = request_hold(i % 2);
	options[0].connections = 1;
	next_generation(1);
	for (size_t i = 0; i < 3; i++)
		n[i] = request_take(i % 2);
	request_finish(r[0]);
	request_finish(r[1]);
	NEVER(n[0]->state != WAITING, 50);
	assert_int_equal(stats(0).open, 1);
	request_finish(r[2]);
	for (size_t i = 0; i < 3; i++) {
		AWAIT(n[0]->state == HELD || n[1]->state == HELD || n[2]->state == HELD);
		for (size_t k = 0; k < 3; k++) {
			if (n[k]->state == HELD) {
				assert_int_equal(stats(0).open, 1);
				request_finish(n[k]);
				break;
			}
		}
	}
}

static void a_higher_limit_serves_who_waits(void **unused)
{
	(void)unused;
	bed_make(1, 1);
	struct request *a = request_hold(0), *b = request_take(0);
	NEVER(b->state != WAITING, 20);
	options[0].connections = 2;
	next_generation(1);
	AWAIT(b->state == HELD);
	request_finish(b);
	request_finish(a);
}

static void health_goes_over(void **unused)
{
	(void)unused;
	options[0].health.fails = 1;
	options[0].connections = 2;
	bed_make(1, 2);
	struct request *a = request_hold(0);
	ask_of(a, blame);
	size_t bad = stats(0).down ? 0 : 1;
	assert_true(stats(bad).down);
	next_generation(2);
	assert_true(stats(bad).down);
	assert_int_equal(stats(bad).failures, 0); /* those are counted anew */
	struct request *b = request_hold(0);
	request_finish(b);
	assert_int_equal(stats(1 - bad).requests, 1);
	assert_int_equal(stats(bad).requests, 0);
}

/* By app, address and protocol; the place in the list says nothing. */
static void a_backend_is_known_by_its_address(void **unused)
{
	struct pool_backend_options swapped = options[0];

	(void)unused;
	options[0].connections = 4;
	bed_make(1, 2);
	assert_int_equal(pool_backend_drain(shared, 0, 0, true), 0);
	swapped = options[0];
	options[0] = options[1];
	options[1] = swapped;
	next_generation(2);
	assert_false(stats(0).drained);
	assert_true(stats(1).drained);
	end_old();
	options[1].scgi = true;
	next_generation(2);
	assert_false(stats(1).drained);
}

/* --- what an operator says --- */

static void a_drained_backend_gets_nothing(void **unused)
{
	(void)unused;
	options[0].connections = options[1].connections = 4;
	bed_make(2, 2);
	request_finish(request_hold(0));
	request_finish(request_hold(1));
	assert_int_equal(pool_backend_drain(shared, 0, 0, true), 0);
	assert_int_equal(pool_backend_drain(shared, 0, 0, true), ERR_BUSY);
	AWAIT(stats(0).open == 0);
	unsigned before = apps[0].accepted;
	for (int i = 0; i < 6; i++)
		request_finish(request_hold((size_t)i % 2));
	assert_int_equal(apps[0].accepted, before);
	assert_int_equal(pool_backend_drain(shared, 0, 0, false), 0);
	struct request *held[5];
	for (int i = 0; i < 5; i++)
		held[i] = request_hold(0);
	assert_true(stats(0).active > 0);
	for (int i = 0; i < 5; i++)
		request_finish(held[i]);
}

/* What becomes free at it is not for those who wait for another one as well. */
static void a_slot_of_a_drained_one_is_for_nobody(void **unused)
{
	(void)unused;
	bed_make(1, 2);
	struct request *held[2], *waits;
	held[0] = request_hold(0);
	held[1] = request_hold(0);
	waits = request_take(0);
	size_t drained = held[0]->conn->backend;
	assert_int_equal(pool_backend_drain(shared, 0, drained, true), 0);
	request_finish(held[0]);
	NEVER(waits->state != WAITING, 50);
	assert_int_equal(stats(drained).open, 0);
	request_finish(held[1]);
	AWAIT(waits->state == HELD);
	assert_true(waits->conn->backend != drained);
	request_finish(waits);
}

static void who_waits_for_a_drained_one_alone_is_refused(void **unused)
{
	(void)unused;
	bed_make(2, 1);
	struct request *runs = request_hold(0), *old = request_take(1);
	next_generation(1);
	struct request *waits = request_take(0);
	assert_int_equal(pool_backend_drain(shared, 0, 0, true), 0);
	AWAIT(old->state == FAILED && waits->state == FAILED);
	assert_int_equal(old->err, ERR_DRAINED);
	assert_int_equal(waits->err, ERR_DRAINED);
	struct request *late = request_take(1);
	assert_int_equal(late->state, FAILED); /* at once */
	assert_int_equal(late->err, ERR_DRAINED);
	assert_int_equal(runs->state, HELD);
	request_finish(runs);
	assert_int_equal(pool_backend_drain(shared, 0, 0, false), 0);
	request_finish(request_hold(1));
}

/* It has tried the other one: to wait would be in vain, and that it is drained is not the whole story. */
static void tried_and_drained_is_refused(void **unused)
{
	(void)unused;
	bed_make(1, 2);
	assert_int_equal(pool_backend_drain(shared, 0, 0, true), 0);
	struct request *r = request_new(0);
	r->ticket.tried = 1 << 1;
	ask_of(r, take);
	assert_int_equal(r->state, FAILED);
	assert_int_equal(r->err, ERR_REFUSED);
}

static void a_stopped_app_refuses(void **unused)
{
	(void)unused;
	bed_make(2, 2);
	struct request *a = request_hold(0), *b = request_hold(1), *waits = request_take(0);
	assert_int_equal(pool_app_stop(shared, 0, true), 0);
	assert_int_equal(pool_app_stop(shared, 0, true), ERR_BUSY);
	AWAIT(waits->state == FAILED);
	assert_int_equal(waits->err, ERR_STOPPED);
	next_generation(2);
	assert_true(pool_app_stopped(shared, 0));
	assert_true(pool_app_busy(shared, 0)); /* in the old one */
	struct request *late = request_take(1);
	assert_int_equal(late->state, FAILED);
	assert_int_equal(late->err, ERR_STOPPED);
	request_finish(a);
	request_finish(b);
	AWAIT(stats(0).open + stats(1).open == 0);
	assert_false(pool_app_busy(shared, 0));
	assert_int_equal(pool_app_stop(shared, 0, false), 0);
	request_finish(request_hold(0));
}

static void kept_ones_of_a_stopped_app_are_closed(void **unused)
{
	(void)unused;
	options[0].connections = 2;
	bed_make(2, 1);
	struct request *a = request_hold(0), *b = request_hold(1);
	request_finish(a);
	request_finish(b);
	assert_int_equal(stats(0).idle, 2);
	assert_int_equal(pool_app_stop(shared, 0, true), 0);
	AWAIT(stats(0).open == 0);
}

/* Cancelled while its refusal is on its way: nothing was granted, so nothing is given back. */
static void cancel_and_stop(struct worker *w, struct request *r)
{
	assert_int_equal(pool_app_stop(shared, 0, true), 0);
	cancel(w, r);
}

static void a_refusal_may_come_too_late(void **unused)
{
	(void)unused;
	bed_make(1, 1);
	struct request *a = request_hold(0), *waits = request_take(0);
	ask_of(waits, cancel_and_stop);
	AWAIT(waits->state == CANCELLED);
	assert_int_equal(waits->err, ERR_GONE);
	assert_int_equal(stats(0).active, 1);
	request_finish(a);
}

/* Its processes are looked after by somebody who outlives the generation. */
static void a_target_outlives_its_pools(void **unused)
{
	(void)unused;
	bed_make(1, 2);
	struct pool_target *t = pool_target_ref(shared, 0, 0);
	pool_target_suspend(t, true);
	assert_true(stats(0).suspended);
	options[0] = options[1];
	next_generation(1);
	end_old();
	pool_target_suspend(t, false); /* nobody has it */
	pool_target_unref(&t);
	assert_null(t);
	assert_false(stats(0).suspended);
}

static void what_was_refused_is_taken_back(void **unused)
{
	(void)unused;
	bed_make(1, 1);
	struct pool_shared *before = shared;
	options[0].connections = 7;
	make_next(2);
	for (size_t i = 0; i < worker_count; i++) {
		pool_free(&workers[i].pool);
		workers[i].pool = old_pools[i];
	}
	pool_shared_free(&shared);
	shared = before;
	shared_backends = 1;
	old_shared = NULL;
	struct request *a = request_hold(0), *b = request_take(0);
	NEVER(b->state != WAITING, 20); /* the limit is the old one */
	request_finish(a);
	AWAIT(b->state == HELD);
	request_finish(b);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down_both)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(slots_are_counted_over_generations),
	    TEST(an_old_connection_is_not_kept),
	    TEST(idle_ones_go_at_once),
	    TEST(the_queue_is_one),
	    TEST(idle_ones_of_the_new_go_to_who_waits_in_the_old),
	    TEST(a_lower_limit_is_reached_in_time),
	    TEST(a_higher_limit_serves_who_waits),
	    TEST(health_goes_over),
	    TEST(a_backend_is_known_by_its_address),
	    TEST(a_drained_backend_gets_nothing),
	    TEST(a_slot_of_a_drained_one_is_for_nobody),
	    TEST(who_waits_for_a_drained_one_alone_is_refused),
	    TEST(tried_and_drained_is_refused),
	    TEST(a_stopped_app_refuses),
	    TEST(kept_ones_of_a_stopped_app_are_closed),
	    TEST(a_refusal_may_come_too_late),
	    TEST(a_target_outlives_its_pools),
	    TEST(what_was_refused_is_taken_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
