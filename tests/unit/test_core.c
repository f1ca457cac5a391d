/* The session core: one session's life, step by step. */
#include "session/core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static const struct sess_id some_id = {{1, 2, 3}};

static struct session *live(struct session *s)
{
	sess_core_init(s, &some_id, 3, 100, 30);
	return s;
}

/* As the table does it when a request closes. */
static void drop(struct session *s)
{
	assert_true(s->refs > 1);
	s->refs--;
}

static void a_new_session_is_live_and_fresh(void **unused)
{
	struct session s;

	(void)unused;
	live(&s);
	assert_int_equal(s.phase, SESS_LIVE);
	assert_true(s.fresh);
	assert_int_equal(s.refs, 1);
	assert_false(sess_core_in_use(&s));
	assert_true(sess_id_eq(&s.id, &some_id));
}

static void the_lock_has_one_holder_and_a_queue(void **unused)
{
	struct session s;
	struct sess_waiter w[3] = {0};

	(void)unused;
	live(&s);
	assert_true(sess_core_acquire(&s, SESS_LOCK_EXCLUSIVE, NULL));
	for (size_t i = 0; i < 3; i++)
		assert_false(sess_core_acquire(&s, SESS_LOCK_EXCLUSIVE, &w[i]));
	assert_int_equal(s.refs, 5);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(w[i].state, SESS_WAITER_QUEUED);
		assert_ptr_equal(sess_core_release(&s), &w[i]);
		assert_int_equal(w[i].state, SESS_WAITER_GRANTED);
		assert_true(s.held);
		assert_true(sess_core_granted(&s, &w[i]));
		assert_int_equal(w[i].state, SESS_WAITER_IDLE);
	}
	assert_null(sess_core_release(&s));
	assert_false(s.held);
	sess_core_check(&s);
}

/* Between the release and the arrival of the grant the lock is not free for somebody who comes then. */
static void nobody_overtakes_a_grant(void **unused)
{
	struct session s;
	struct sess_waiter first = {0}, late = {0};

	(void)unused;
	live(&s);
	assert_true(sess_core_acquire(&s, SESS_LOCK_EXCLUSIVE, NULL));
	assert_false(sess_core_acquire(&s, SESS_LOCK_EXCLUSIVE, &first));
	assert_ptr_equal(sess_core_release(&s), &first);
	assert_false(sess_core_acquire(&s, SESS_LOCK_EXCLUSIVE, &late));
	assert_true(sess_core_granted(&s, &first));
	assert_ptr_equal(sess_core_release(&s), &late);
}

static void readers_never_wait(void **unused)
{
	struct session s;

	(void)unused;
	live(&s);
	assert_true(sess_core_acquire(&s, SESS_LOCK_EXCLUSIVE, NULL));
	assert_true(sess_core_acquire(&s, SESS_LOCK_NONE, NULL));
	assert_true(sess_core_acquire(&s, SESS_LOCK_NONE, NULL));
	assert_null(sess_core_release(&s));
	assert_false(s.held);
}

static void who_gives_up_is_passed_over(void **unused)
{
	struct session s;
	struct sess_waiter w[3] = {0};

	(void)unused;
	live(&s);
	assert_true(sess_core_acquire(&s, SESS_LOCK_EXCLUSIVE, NULL));
	for (size_t i = 0; i < 3; i++)
		assert_false(sess_core_acquire(&s, SESS_LOCK_EXCLUSIVE, &w[i]));
	assert_true(sess_core_cancel(&w[1]));
	assert_int_equal(w[1].state, SESS_WAITER_IDLE);
	assert_ptr_equal(sess_core_release(&s), &w[0]);
	assert_ptr_equal(sess_core_release(&s), &w[2]);
	assert_null(sess_core_release(&s));
}

static void giving_up_after_the_grant_is_too_late(void **unused)
{
	struct session s;
	struct sess_waiter w = {0};

	(void)unused;
	live(&s);
	assert_true(sess_core_acquire(&s, SESS_LOCK_EXCLUSIVE, NULL));
	assert_false(sess_core_acquire(&s, SESS_LOCK_EXCLUSIVE, &w));
	assert_ptr_equal(sess_core_release(&s), &w);
	assert_false(sess_core_cancel(&w));
	assert_int_equal(w.state, SESS_WAITER_GRANTED);
	assert_true(sess_core_granted(&s, &w));
	assert_null(sess_core_release(&s));
}

static void the_end_wakes_all_and_takes_the_lock(void **unused)
{
	struct session s;
	struct sess_waiter w[2] = {0};
	struct sess_state *state = (struct sess_state *)(void *)&s; /* only its address counts */
	struct list woken;

	(void)unused;
	live(&s);
	list_init(&woken);
	assert_null(sess_core_store(&s, state));
	assert_true(sess_core_acquire(&s, SESS_LOCK_EXCLUSIVE, NULL));
	assert_false(sess_core_acquire(&s, SESS_LOCK_EXCLUSIVE, &w[0]));
	assert_false(sess_core_acquire(&s, SESS_LOCK_EXCLUSIVE, &w[1]));
	assert_ptr_equal(sess_core_end(&s, &woken), state);
	assert_int_equal(s.phase, SESS_ENDED);
	assert_null(s.state);
	for (size_t i = 0; i < 2; i++) {
		assert_ptr_equal(list_pop(&woken), &w[i].link);
		assert_false(sess_core_cancel(&w[i]));
		assert_false(sess_core_granted(&s, &w[i]));
	}
	assert_true(list_empty(&woken));
	assert_null(sess_core_release(&s)); /* the former holder's */
}

static void a_grant_that_the_end_overtakes_gives_nothing(void **unused)
{
	struct session s;
	struct sess_waiter w = {0};
	struct list woken;

	(void)unused;
	live(&s);
	list_init(&woken);
	assert_true(sess_core_acquire(&s, SESS_LOCK_EXCLUSIVE, NULL));
	assert_false(sess_core_acquire(&s, SESS_LOCK_EXCLUSIVE, &w));
	assert_ptr_equal(sess_core_release(&s), &w);
	(void)sess_core_end(&s, &woken);
	assert_true(list_empty(&woken)); /* told once, not twice */
	assert_false(sess_core_granted(&s, &w));
}

static void it_expires_on_its_second_when_nobody_has_it(void **unused)
{
	struct session s;
	struct list woken;

	(void)unused;
	live(&s);
	list_init(&woken);
	assert_int_equal(sess_core_deadline_s(&s), 130);
	assert_false(sess_core_expired(&s, 129));
	assert_true(sess_core_expired(&s, 130));
	sess_core_touch(&s, 110);
	sess_core_touch(&s, 105); /* a slower clock */
	assert_false(sess_core_expired(&s, 139));
	assert_true(sess_core_expired(&s, 140));
	assert_true(sess_core_acquire(&s, SESS_LOCK_NONE, NULL));
	assert_false(sess_core_expired(&s, 1000000));
	drop(&s);
	assert_true(sess_core_expired(&s, 140));
	(void)sess_core_end(&s, &woken);
	assert_false(sess_core_expired(&s, 140)); /* once only */
}

static void the_longest_time_to_live_does_not_overflow(void **unused)
{
	struct session s;

	(void)unused;
	sess_core_init(&s, &some_id, 0, 100, UINT32_MAX);
	assert_int_equal(sess_core_deadline_s(&s), UINT64_C(100) + UINT32_MAX);
	assert_false(sess_core_expired(&s, 1000));
}

static void a_store_raises_the_version(void **unused)
{
	struct session s;
	uint64_t before = live(&s)->version;

	(void)unused;
	assert_null(sess_core_store(&s, NULL));
	assert_true(s.version > before);
}

static void renewal_moves_everything_to_the_new_id(void **unused)
{
	static const struct sess_id new_id = {{9}};
	struct session old, fresh;
	struct sess_state *state = (struct sess_state *)(void *)&old; /* only its address counts */
	struct sess_waiter w = {0};
	struct list woken;

	(void)unused;
	live(&old);
	list_init(&woken);
	assert_null(sess_core_store(&old, state));
	old.fresh = false;
	assert_true(sess_core_acquire(&old, SESS_LOCK_EXCLUSIVE, NULL));
	assert_false(sess_core_acquire(&old, SESS_LOCK_EXCLUSIVE, &w));
	sess_core_init(&fresh, &new_id, 3, 500, 7);
	sess_core_renew(&old, &fresh, true, &woken);
	assert_ptr_equal(fresh.state, state);
	assert_int_equal(fresh.created_s, 100);
	assert_int_equal(fresh.used_s, 100);
	assert_int_equal(fresh.ttl_s, 30);
	assert_int_equal(fresh.version, old.version);
	assert_int_equal(fresh.refs, 2);
	assert_true(fresh.held);
	assert_false(fresh.fresh);
	assert_true(old.tombstone);
	assert_int_equal(old.phase, SESS_ENDED);
	assert_int_equal(old.refs, 2); /* the table and the waiter */
	assert_null(old.state);
	assert_ptr_equal(list_pop(&woken), &w.link);
	assert_false(sess_core_granted(&old, &w));
	assert_null(sess_core_release(&fresh));
}

/* In an app whose lock is shared, the one who renews has no lock to take along. */
static void renewal_without_the_lock_takes_none_along(void **unused)
{
	static const struct sess_id new_id = {{9}};
	struct session old, fresh;
	struct list woken;

	(void)unused;
	live(&old);
	list_init(&woken);
	assert_true(sess_core_acquire(&old, SESS_LOCK_NONE, NULL));
	sess_core_init(&fresh, &new_id, 3, 500, 7);
	sess_core_renew(&old, &fresh, false, &woken);
	assert_false(fresh.held);
	assert_true(sess_core_acquire(&fresh, SESS_LOCK_EXCLUSIVE, NULL));
}

/* --- on its way up --- */

static struct session *fetching(struct session *s)
{
	sess_core_init_fetching(s, &some_id, 3, 100);
	return s;
}

static void what_is_fetched_makes_everybody_wait(void **unused)
{
	struct session s;
	struct sess_waiter w[2] = {0};

	(void)unused;
	fetching(&s);
	assert_int_equal(s.phase, SESS_FETCHING);
	assert_false(sess_core_expired(&s, UINT64_MAX));
	assert_false(sess_core_acquire(&s, SESS_LOCK_NONE, &w[0]));
	assert_false(sess_core_acquire(&s, SESS_LOCK_EXCLUSIVE, &w[1]));
	assert_false(s.held);
	assert_int_equal(s.refs, 3);
	sess_core_check(&s);
	assert_true(sess_core_cancel(&w[0]));
	drop(&s);
	assert_true(sess_core_cancel(&w[1]));
	drop(&s);
	assert_false(sess_core_in_use(&s));
	sess_core_check(&s);
}

/* Readers all at once, of those for the lock the first. */
static void its_arrival_serves_who_can_be_served(void **unused)
{
	struct session s;
	struct sess_waiter w[5] = {0};
	static const enum sess_lock locks[] = {SESS_LOCK_NONE, SESS_LOCK_EXCLUSIVE, SESS_LOCK_NONE, SESS_LOCK_EXCLUSIVE,
					       SESS_LOCK_NONE};
	static const int served[] = {0, 1, 2, 4};
	struct list woken;

	(void)unused;
	fetching(&s);
	list_init(&woken);
	for (int i = 0; i < 5; i++)
		assert_false(sess_core_acquire(&s, locks[i], &w[i]));
	sess_core_arrive(&s, &woken);
	assert_int_equal(s.phase, SESS_LIVE);
	assert_true(s.held);
	sess_core_check(&s);
	for (int i = 0; i < 4; i++) {
		assert_ptr_equal(list_pop(&woken), &w[served[i]].link);
		assert_true(sess_core_granted(&s, &w[served[i]]));
	}
	assert_true(list_empty(&woken));
	assert_int_equal(w[3].state, SESS_WAITER_QUEUED);
	assert_ptr_equal(sess_core_release(&s), &w[3]);
	assert_true(sess_core_granted(&s, &w[3]));
	assert_null(sess_core_release(&s));
}

static void it_arrives_for_readers_alone_or_for_nobody(void **unused)
{
	struct session s;
	struct sess_waiter w = {0};
	struct list woken;

	(void)unused;
	fetching(&s);
	list_init(&woken);
	assert_false(sess_core_acquire(&s, SESS_LOCK_NONE, &w));
	sess_core_arrive(&s, &woken);
	assert_false(s.held);
	assert_ptr_equal(list_pop(&woken), &w.link);
	assert_true(sess_core_granted(&s, &w));
	assert_true(sess_core_acquire(&s, SESS_LOCK_EXCLUSIVE, NULL));
	fetching(&s);
	sess_core_arrive(&s, &woken);
	assert_true(list_empty(&woken));
	assert_false(s.held);
	assert_false(sess_core_in_use(&s));
}

static void it_fails_with_a_word_for_those_who_wait(void **unused)
{
	struct session s;
	struct sess_waiter w[2] = {0};
	struct list woken;

	(void)unused;
	fetching(&s);
	list_init(&woken);
	assert_false(sess_core_acquire(&s, SESS_LOCK_EXCLUSIVE, &w[0]));
	assert_false(sess_core_acquire(&s, SESS_LOCK_NONE, &w[1]));
	sess_core_fail(&s, SESS_UNAVAILABLE, &woken);
	assert_int_equal(s.phase, SESS_ENDED);
	assert_int_equal(s.farewell, SESS_UNAVAILABLE);
	for (int i = 0; i < 2; i++) {
		assert_ptr_equal(list_pop(&woken), &w[i].link);
		assert_false(sess_core_cancel(&w[i]));
		assert_false(sess_core_granted(&s, &w[i]));
	}
	assert_true(list_empty(&woken));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_new_session_is_live_and_fresh),
	    cmocka_unit_test(the_lock_has_one_holder_and_a_queue),
	    cmocka_unit_test(nobody_overtakes_a_grant),
	    cmocka_unit_test(readers_never_wait),
	    cmocka_unit_test(who_gives_up_is_passed_over),
	    cmocka_unit_test(giving_up_after_the_grant_is_too_late),
	    cmocka_unit_test(the_end_wakes_all_and_takes_the_lock),
	    cmocka_unit_test(a_grant_that_the_end_overtakes_gives_nothing),
	    cmocka_unit_test(it_expires_on_its_second_when_nobody_has_it),
	    cmocka_unit_test(the_longest_time_to_live_does_not_overflow),
	    cmocka_unit_test(a_store_raises_the_version),
	    cmocka_unit_test(renewal_moves_everything_to_the_new_id),
	    cmocka_unit_test(renewal_without_the_lock_takes_none_along),
	    cmocka_unit_test(what_is_fetched_makes_everybody_wait),
	    cmocka_unit_test(its_arrival_serves_who_can_be_served),
	    cmocka_unit_test(it_arrives_for_readers_alone_or_for_nobody),
	    cmocka_unit_test(it_fails_with_a_word_for_those_who_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
