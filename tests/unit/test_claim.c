/* Claims, sentence by sentence of doc/session-socket.md and session/claim.h, on one thread. The source is included with
 * an allocator that fails on demand. */
#include <stdlib.h>

static void *failing_malloc(size_t n);
static void *failing_aligned_alloc(size_t align, size_t n);

#define malloc failing_malloc
#define aligned_alloc failing_aligned_alloc
#include "session/claim.c"
#undef malloc
#undef aligned_alloc

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

enum { QUEUE = 5 };

/* A request, as far as claims go. */
struct request {
	struct claim claim;
	unsigned grants;
};

static struct claims *claims;
static bool no_memory;

static void *failing_malloc(size_t n)
{
	return no_memory ? NULL : malloc(n);
}

static void *failing_aligned_alloc(size_t align, size_t n)
{
	return no_memory ? NULL : aligned_alloc(align, n);
}

static struct claims *new_claims(void)
{
	struct sess_keys keys;
	uint8_t secret[SESS_SECRET_BYTES] = {7};

	sess_keys_derive(&keys, secret);
	return claims_new(&keys);
}

static int set_up(void **unused)
{
	(void)unused;
	claims = new_claims();
	return claims ? 0 : -1;
}

static int tear_down(void **unused)
{
	struct claims_stats left;

	(void)unused;
	no_memory = false;
	claims_stats(claims, &left);
	/* A test that failed leaves claims on a stack that is no more. */
	if (left.held + left.queued > 0)
		return -1;
	claims_check(claims);
	claims_free(&claims);
	assert_null(claims);
	return 0;
}

static struct sess_id id_of(uint32_t n)
{
	struct sess_id id = {{0}};

	memcpy(id.bytes, &n, sizeof(n));
	return id;
}

/* The statistics take every lock: a grant that came under one would hang here. */
static void note_grant(struct claim *c)
{
	struct claims_stats s;

	claims_stats(claims, &s);
	CONTAINER_OF(c, struct request, claim)->grants++;
}

static enum claim_take take_kind(struct request *r, uint32_t n, bool exclusive)
{
	struct sess_id id = id_of(n);

	*r = (struct request){.claim.granted = note_grant};
	return claim_take(claims, &id, exclusive, &r->claim);
}

static void exclusive(struct request *r, uint32_t n)
{
	assert_int_equal(take_kind(r, n, true), CLAIM_TAKEN);
	assert_int_equal(r->claim.state, CLAIM_HELD);
}

static void waits(struct request *r, uint32_t n)
{
	assert_int_equal(take_kind(r, n, true), CLAIM_WAITS);
	assert_int_equal(r->claim.state, CLAIM_QUEUED);
}

static void shared(struct request *r, uint32_t n)
{
	assert_int_equal(take_kind(r, n, false), CLAIM_TAKEN);
	assert_int_equal(r->claim.state, CLAIM_HELD);
}

/* The grant has come, and is noticed. */
static void granted(struct request *r)
{
	assert_int_equal(r->grants, 1);
	assert_int_equal(r->claim.state, CLAIM_GRANTED);
	claim_granted(claims, &r->claim);
	assert_int_equal(r->claim.state, CLAIM_HELD);
	r->grants = 0;
}

static void release(struct request *r)
{
	claims_check(claims);
	claim_release(claims, &r->claim);
	assert_int_equal(r->claim.state, CLAIM_IDLE);
	assert_null(r->claim.of);
	claims_check(claims);
}

static void touch(uint32_t n, struct claim_touch *t)
{
	struct sess_id id = id_of(n);

	claims_touch(claims, &id, t);
}

static void end_by(uint32_t n, const struct claim_touch *t)
{
	struct sess_id id = id_of(n);

	claims_end(claims, &id, t);
	claims_check(claims);
}

/* By a connection that has just read it. */
static void end(uint32_t n)
{
	struct claim_touch t;

	touch(n, &t);
	end_by(n, &t);
}

static bool may_create(uint32_t n)
{
	struct sess_id id = id_of(n);

	return claims_may_create(claims, &id);
}

static void expect_stats(uint64_t held, uint64_t queued)
{
	struct claims_stats s;

	claims_stats(claims, &s);
	assert_int_equal(s.held, held);
	assert_int_equal(s.queued, queued);
}

/* --- who works, and who waits --- */

static void one_is_held_and_the_others_queue(void **unused)
{
	struct request r[QUEUE];

	(void)unused;
	exclusive(&r[0], 1);
	for (unsigned i = 1; i < QUEUE; i++)
		waits(&r[i], 1);
	expect_stats(1, QUEUE - 1);
	/* First come, first served. */
	for (unsigned i = 0; i < QUEUE - 1; i++) {
		assert_int_equal(r[i + 1].grants, 0);
		release(&r[i]);
		granted(&r[i + 1]);
		expect_stats(1, QUEUE - 2 - i);
	}
	release(&r[QUEUE - 1]);
	expect_stats(0, 0);
	exclusive(&r[0], 1);
	release(&r[0]);
}

static void ids_have_nothing_to_do_with_each_other(void **unused)
{
	struct request a, b, next;

	(void)unused;
	exclusive(&a, 1);
	exclusive(&b, 2);
	waits(&next, 1);
	release(&b);
	assert_int_equal(next.grants, 0);
	end(2);
	release(&a);
	granted(&next);
	assert_true(may_create(1));
	release(&next);
}

/* More than there are buckets. */
static void many_ids_are_told_apart(void **unused)
{
	enum { MANY = 2 * CLAIM_SHARDS * CLAIM_BUCKETS };
	struct request *r = calloc(MANY, sizeof(*r));

	(void)unused;
	assert_non_null(r);
	for (uint32_t n = 0; n < MANY; n++)
		exclusive(&r[n], n);
	expect_stats(MANY, 0);
	claims_check(claims);
	for (uint32_t n = 0; n < MANY; n++) {
		struct request late;
		waits(&late, n);
		claim_release(claims, &r[n].claim);
		granted(&late);
		claim_release(claims, &late.claim);
	}
	expect_stats(0, 0);
	free(r);
}

/* Between the release and the arrival of the grant the id is not free for somebody who comes then. */
static void nobody_overtakes_a_grant(void **unused)
{
	struct request holder, first, late, hasty = {0};
	struct sess_id id = id_of(1);

	(void)unused;
	exclusive(&holder, 1);
	waits(&first, 1);
	release(&holder);
	waits(&late, 1);
	assert_false(claim_try(claims, &id, true, &hasty.claim));
	granted(&first);
	assert_int_equal(late.grants, 0);
	release(&first);
	granted(&late);
	release(&late);
}

static void shared_ones_are_held_side_by_side(void **unused)
{
	struct request r[QUEUE];

	(void)unused;
	for (unsigned i = 0; i < QUEUE; i++)
		shared(&r[i], 1);
	expect_stats(QUEUE, 0);
	for (unsigned i = 0; i < QUEUE; i++)
		release(&r[i]);
	expect_stats(0, 0);
}

static void readers_wait_for_nobody_and_nobody_waits_for_them(void **unused)
{
	struct request first, second, reader[3];

	(void)unused;
	shared(&reader[0], 1);
	exclusive(&first, 1);
	waits(&second, 1);
	shared(&reader[1], 1);
	release(&first);
	shared(&reader[2], 1);
	granted(&second);
	release(&reader[0]);
	release(&second);
	exclusive(&first, 1);
	release(&first);
	release(&reader[2]);
	release(&reader[1]);
}

/* --- claim_try() --- */

static void a_try_takes_what_is_free(void **unused)
{
	struct request r = {.claim.granted = note_grant}, next;
	struct sess_id id = id_of(1);

	(void)unused;
	assert_true(claim_try(claims, &id, true, &r.claim));
	assert_int_equal(r.claim.state, CLAIM_HELD);
	waits(&next, 1);
	release(&r);
	granted(&next);
	assert_true(claim_try(claims, &id, false, &r.claim));
	release(&r);
	release(&next);
}

static void a_try_that_would_wait_leaves_no_trace(void **unused)
{
	struct request holder, r = {0}, next;
	struct sess_id id = id_of(1);

	(void)unused;
	exclusive(&holder, 1);
	assert_false(claim_try(claims, &id, true, &r.claim));
	assert_int_equal(r.claim.state, CLAIM_IDLE);
	assert_null(r.claim.of);
	expect_stats(1, 0);
	waits(&next, 1);
	release(&holder);
	granted(&next);
	release(&next);
}

/* --- giving up --- */

static void who_gives_up_is_passed_over(void **unused)
{
	static const bool stays[QUEUE] = {true, false, true, false, true};
	struct request holder, r[QUEUE];

	(void)unused;
	for (unsigned shift = 0; shift < 2; shift++) {
		exclusive(&holder, 1);
		for (unsigned i = 0; i < QUEUE; i++)
			waits(&r[i], 1);
		for (unsigned i = 0; i < QUEUE; i++) {
			if (stays[i] == (shift == 0))
				continue;
			assert_true(claim_cancel(claims, &r[i].claim));
			assert_int_equal(r[i].claim.state, CLAIM_IDLE);
			assert_null(r[i].claim.of);
			claims_check(claims);
		}
		release(&holder);
		for (unsigned i = 0; i < QUEUE; i++) {
			if (stays[i] == (shift == 0)) {
				granted(&r[i]);
				release(&r[i]);
			}
			assert_int_equal(r[i].grants, 0);
		}
		expect_stats(0, 0);
	}
}

static void giving_up_after_the_grant_is_too_late(void **unused)
{
	struct request holder, r, next;

	(void)unused;
	exclusive(&holder, 1);
	waits(&r, 1);
	waits(&next, 1);
	release(&holder);
	assert_false(claim_cancel(claims, &r.claim));
	assert_int_equal(r.claim.state, CLAIM_GRANTED);
	granted(&r);
	assert_int_equal(next.grants, 0);
	release(&r);
	granted(&next);
	release(&next);
}

static void there_is_nothing_to_cancel_before_and_after(void **unused)
{
	struct request r = {0}, reader;

	(void)unused;
	assert_true(claim_cancel(claims, &r.claim));
	exclusive(&r, 1);
	assert_false(claim_cancel(claims, &r.claim));
	assert_int_equal(r.claim.state, CLAIM_HELD);
	shared(&reader, 1);
	assert_false(claim_cancel(claims, &reader.claim));
	release(&reader);
	release(&r);
	assert_true(claim_cancel(claims, &r.claim));
}

static void what_is_granted_can_be_released_at_once(void **unused)
{
	struct request holder, r, next;

	(void)unused;
	exclusive(&holder, 1);
	waits(&r, 1);
	waits(&next, 1);
	release(&holder);
	release(&r);
	granted(&next);
	release(&next);
	expect_stats(0, 0);
}

static void releasing_an_idle_one_is_safe(void **unused)
{
	struct request r = {0}, holder;

	(void)unused;
	release(&r);
	exclusive(&r, 1);
	release(&r);
	exclusive(&holder, 1);
	release(&r);
	waits(&r, 1);
	release(&holder);
	granted(&r);
	release(&r);
}

/* --- ended stays ended --- */

static void without_claims_a_write_may_create(void **unused)
{
	struct request r;

	(void)unused;
	assert_true(may_create(1));
	end(1);
	assert_true(may_create(1));
	exclusive(&r, 1);
	assert_true(may_create(1));
	release(&r);
	shared(&r, 1);
	assert_true(may_create(1));
	release(&r);
}

/* It may log out, and somebody in, within one request. */
static void who_holds_it_exclusively_has_ended_it(void **unused)
{
	struct request holder;

	(void)unused;
	exclusive(&holder, 1);
	end(1);
	assert_false(holder.claim.elder);
	assert_true(may_create(1));
	release(&holder);
}

static void who_was_queued_creates_nothing_once_it_works(void **unused)
{
	struct request holder, old[2], young;

	(void)unused;
	exclusive(&holder, 1);
	waits(&old[0], 1);
	waits(&old[1], 1);
	end(1);
	waits(&young, 1);
	/* They do no work yet. */
	assert_true(may_create(1));
	release(&holder);
	assert_false(may_create(1));
	granted(&old[0]);
	assert_false(may_create(1));
	release(&old[0]);
	granted(&old[1]);
	assert_false(may_create(1));
	release(&old[1]);
	/* And with the last of them it is over. */
	assert_true(may_create(1));
	granted(&young);
	assert_true(may_create(1));
	release(&young);
}

static void who_gave_up_is_no_elder_any_more(void **unused)
{
	struct request holder, r;
	struct sess_id id = id_of(1);

	(void)unused;
	exclusive(&holder, 1);
	waits(&r, 1);
	end(1);
	assert_true(claim_cancel(claims, &r.claim));
	/* The same request's next claim. */
	assert_int_equal(claim_take(claims, &id, true, &r.claim), CLAIM_WAITS);
	release(&holder);
	granted(&r);
	assert_true(may_create(1));
	release(&r);
}

/* The grant is on its way: its request has not begun, so it was not the one that ended the session. */
static void who_was_granted_and_has_not_begun_is_an_elder(void **unused)
{
	struct request holder, r;

	(void)unused;
	exclusive(&holder, 1);
	waits(&r, 1);
	release(&holder);
	end(1);
	granted(&r);
	assert_false(may_create(1));
	release(&r);
	assert_true(may_create(1));
}

static void whom_another_one_ends_it_under_is_an_elder(void **unused)
{
	struct request r;

	(void)unused;
	exclusive(&r, 1);
	end_by(1, NULL);
	assert_false(may_create(1));
	release(&r);
	assert_true(may_create(1));
}

static void an_elder_that_ends_it_again_stays_one(void **unused)
{
	struct request holder, r;

	(void)unused;
	exclusive(&holder, 1);
	waits(&r, 1);
	end(1);
	release(&holder);
	granted(&r);
	end(1);
	assert_false(may_create(1));
	release(&r);
}

static void each_end_marks_those_who_came_since(void **unused)
{
	struct request holder, queued[2], reader[2];

	(void)unused;
	shared(&reader[0], 1);
	exclusive(&holder, 1);
	waits(&queued[0], 1);
	end(1);
	waits(&queued[1], 1);
	shared(&reader[1], 1);
	end(1);
	release(&holder);
	granted(&queued[0]);
	assert_false(may_create(1));
	release(&queued[0]);
	granted(&queued[1]);
	assert_false(may_create(1));
	release(&queued[1]);
	release(&reader[0]);
	assert_false(may_create(1)); /* the other reader's is the work now */
	release(&reader[1]);
	assert_true(may_create(1));
}

static void side_by_side_one_elder_is_enough(void **unused)
{
	struct request old[2], young[2];

	(void)unused;
	shared(&old[0], 1);
	shared(&old[1], 1);
	assert_true(may_create(1));
	end(1);
	assert_false(may_create(1));
	shared(&young[0], 1);
	assert_false(may_create(1));
	release(&old[1]);
	shared(&young[1], 1);
	assert_false(may_create(1));
	release(&young[0]);
	assert_false(may_create(1));
	release(&old[0]);
	/* The elders have gone. */
	assert_true(may_create(1));
	release(&young[1]);
}

/* Side by side too, who is alone must have ended it, and may begin it anew: as often as it likes. */
static void who_is_alone_has_ended_it(void **unused)
{
	struct request r, young;

	(void)unused;
	shared(&r, 1);
	end(1);
	end(1);
	assert_false(r.claim.elder);
	assert_true(may_create(1));
	/* Who comes later is no elder either, and now there are two who may have ended it. */
	shared(&young, 1);
	assert_true(may_create(1));
	end(1);
	assert_true(r.claim.elder);
	assert_true(young.claim.elder);
	assert_false(may_create(1));
	release(&r);
	assert_false(may_create(1));
	/* Alone, and an elder all the same: the end before may have been another one's. */
	end(1);
	assert_false(may_create(1));
	release(&young);
	assert_true(may_create(1));
}

static void who_is_alone_when_another_one_ends_it_is_an_elder(void **unused)
{
	struct request r;

	(void)unused;
	shared(&r, 1);
	end_by(1, NULL);
	assert_false(may_create(1));
	end(1);
	assert_false(may_create(1));
	release(&r);
	shared(&r, 1);
	assert_true(may_create(1));
	release(&r);
}

/* Of two, one has gone, and with it nothing is left that the other one has not done itself. */
static void who_is_left_alone_has_ended_it(void **unused)
{
	struct request one, two;

	(void)unused;
	shared(&one, 1);
	shared(&two, 1);
	release(&one);
	end(1);
	assert_true(may_create(1));
	release(&two);
}

/* The one that is granted has not begun. So the reader has ended it, and the other one is the elder. */
static void beside_one_that_has_not_begun_a_reader_has_ended_it(void **unused)
{
	struct request holder, next, last, reader;

	(void)unused;
	shared(&reader, 1);
	exclusive(&holder, 1);
	waits(&next, 1);
	waits(&last, 1);
	release(&holder);
	end(1);
	assert_false(reader.claim.elder);
	assert_false(may_create(1));
	granted(&next);
	assert_false(may_create(1));
	release(&next);
	granted(&last);
	assert_false(may_create(1));
	release(&last);
	assert_true(may_create(1));
	release(&reader);
}

static void beside_one_that_has_not_begun_two_readers_are_elders(void **unused)
{
	struct request holder, next, reader[2];

	(void)unused;
	shared(&reader[0], 1);
	shared(&reader[1], 1);
	exclusive(&holder, 1);
	waits(&next, 1);
	release(&holder);
	end(1);
	granted(&next);
	release(&next);
	assert_false(may_create(1));
	release(&reader[0]);
	assert_false(may_create(1));
	release(&reader[1]);
}

/* Whom the exclusive one has ended it under does not become innocent by being alone. */
static void beside_an_exclusive_one_a_single_reader_is_an_elder(void **unused)
{
	struct request holder, reader;

	(void)unused;
	shared(&reader, 1);
	exclusive(&holder, 1);
	end(1);
	assert_true(reader.claim.elder);
	release(&holder);
	end(1);
	assert_false(may_create(1));
	release(&reader);
}

/* A stream that is read all day must not keep its user from logging in again. */
static void beside_an_exclusive_one_readers_do_no_work(void **unused)
{
	struct request reader, out, in;

	(void)unused;
	shared(&reader, 1);
	exclusive(&out, 1);
	end(1);
	assert_true(may_create(1));
	release(&out);
	assert_false(may_create(1)); /* now whoever writes must be the reader */
	exclusive(&in, 1);
	assert_true(may_create(1));
	release(&in);
	assert_false(may_create(1));
	release(&reader);
}

static void beside_an_elder_a_young_reader_does_not_help(void **unused)
{
	struct request holder, old, reader;

	(void)unused;
	exclusive(&holder, 1);
	waits(&old, 1);
	end(1);
	release(&holder);
	granted(&old);
	shared(&reader, 1);
	assert_false(may_create(1));
	release(&old);
	assert_true(may_create(1));
	release(&reader);
}

static void the_end_is_for_one_id(void **unused)
{
	struct request one[2], two[2];

	(void)unused;
	for (unsigned i = 0; i < 2; i++) {
		shared(&one[i], 1);
		shared(&two[i], 2);
	}
	end(2);
	assert_true(may_create(1));
	assert_false(may_create(2));
	for (unsigned i = 0; i < 2; i++) {
		release(&one[i]);
		release(&two[i]);
	}
}

/* --- whose hand it was --- */

static void take_alone(struct request *r, uint32_t n, bool alone)
{
	if (alone)
		exclusive(r, n);
	else
		shared(r, n);
}

/* A connection that ends what it has not read ends another's session. */
static void who_has_not_touched_it_has_not_ended_it(void **unused)
{
	(void)unused;
	for (int alone = 0; alone < 2; alone++) {
		struct claim_touch never = {.moment = 0}, other;
		struct request r;
		take_alone(&r, 1, alone);
		end_by(1, &never);
		assert_true(r.claim.elder);
		assert_false(may_create(1));
		release(&r);
		take_alone(&r, 1, alone);
		touch(2, &other);
		end_by(1, &other);
		assert_false(may_create(1));
		release(&r);
		assert_true(may_create(1));
	}
}

/* A claim that has begun before all others is not older than a touch that never was, of the id of zeros. */
static void never_is_before_the_first_claim(void **unused)
{
	struct claim_touch never = {.moment = 0};
	struct request r;

	(void)unused;
	exclusive(&r, 0);
	end_by(0, &never);
	assert_false(may_create(0));
	release(&r);
}

static void who_touched_it_before_the_claim_began_has_not_ended_it(void **unused)
{
	(void)unused;
	for (int alone = 0; alone < 2; alone++) {
		struct claim_touch before, since;
		struct request r;
		touch(1, &before);
		take_alone(&r, 1, alone);
		touch(1, &since);
		end_by(1, &since);
		assert_true(may_create(1));
		end_by(1, &before);
		assert_false(may_create(1));
		end_by(1, &since); /* once an elder, always one */
		assert_false(may_create(1));
		release(&r);
	}
}

/* What is touched while it waits is touched by others. */
static void a_claim_begins_when_its_grant_has_arrived(void **unused)
{
	struct claim_touch on_its_way, since;
	struct request holder, r;

	(void)unused;
	exclusive(&holder, 1);
	waits(&r, 1);
	release(&holder);
	touch(1, &on_its_way);
	granted(&r);
	touch(1, &since);
	end_by(1, &since);
	assert_false(r.claim.elder);
	end_by(1, &on_its_way);
	assert_true(r.claim.elder);
	release(&r);
}

/* Other claims have begun since; that is nothing to this one. */
static void a_touch_outlasts_the_claims_on_other_ids(void **unused)
{
	struct claim_touch t;
	struct request r, other;

	(void)unused;
	exclusive(&r, 1);
	touch(1, &t);
	for (uint32_t n = 2; n < 100; n++) {
		exclusive(&other, n);
		release(&other);
	}
	end_by(1, &t);
	assert_true(may_create(1));
	release(&r);
}

static void a_touch_of_another_id_is_the_last(void **unused)
{
	struct claim_touch t;
	struct request r;

	(void)unused;
	exclusive(&r, 1);
	touch(1, &t);
	touch(2, &t);
	end_by(1, &t);
	assert_false(may_create(1));
	release(&r);
}

/* A touch since the reader began does not make one that came later its sender. */
static void beside_a_younger_exclusive_one_a_touch_is_too_old(void **unused)
{
	struct claim_touch t;
	struct request reader, holder;

	(void)unused;
	shared(&reader, 1);
	touch(1, &t);
	exclusive(&holder, 1);
	end_by(1, &t);
	assert_true(holder.claim.elder);
	assert_true(reader.claim.elder);
	assert_false(may_create(1));
	release(&holder);
	release(&reader);
}

/* --- memory --- */

static void without_memory_there_are_no_claims(void **unused)
{
	(void)unused;
	no_memory = true;
	assert_null(new_claims());
}

static void a_claim_is_taken_or_nothing_has_changed(void **unused)
{
	struct request r = {0};
	struct sess_id id = id_of(1);

	(void)unused;
	for (unsigned kind = 0; kind < 2; kind++) {
		no_memory = true;
		assert_int_equal(take_kind(&r, 1, kind > 0), CLAIM_NO_MEMORY);
		assert_int_equal(r.claim.state, CLAIM_IDLE);
		assert_null(r.claim.of);
		assert_false(claim_try(claims, &id, kind > 0, &r.claim));
		assert_null(r.claim.of);
		expect_stats(0, 0);
		no_memory = false;
		assert_int_equal(take_kind(&r, 1, kind > 0), CLAIM_TAKEN);
		release(&r);
	}
}

/* Only the first claim on an id needs some. */
static void all_the_rest_needs_no_memory(void **unused)
{
	struct request holder, queued[2], reader;

	(void)unused;
	exclusive(&holder, 1);
	no_memory = true;
	waits(&queued[0], 1);
	waits(&queued[1], 1);
	shared(&reader, 1);
	end(1);
	assert_true(claim_cancel(claims, &queued[0].claim));
	release(&holder);
	granted(&queued[1]);
	assert_false(may_create(1));
	release(&queued[1]);
	release(&reader);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(one_is_held_and_the_others_queue),
	    TEST(ids_have_nothing_to_do_with_each_other),
	    TEST(many_ids_are_told_apart),
	    TEST(nobody_overtakes_a_grant),
	    TEST(shared_ones_are_held_side_by_side),
	    TEST(readers_wait_for_nobody_and_nobody_waits_for_them),
	    TEST(a_try_takes_what_is_free),
	    TEST(a_try_that_would_wait_leaves_no_trace),
	    TEST(who_gives_up_is_passed_over),
	    TEST(giving_up_after_the_grant_is_too_late),
	    TEST(there_is_nothing_to_cancel_before_and_after),
	    TEST(what_is_granted_can_be_released_at_once),
	    TEST(releasing_an_idle_one_is_safe),
	    TEST(without_claims_a_write_may_create),
	    TEST(who_holds_it_exclusively_has_ended_it),
	    TEST(who_was_queued_creates_nothing_once_it_works),
	    TEST(who_gave_up_is_no_elder_any_more),
	    TEST(who_was_granted_and_has_not_begun_is_an_elder),
	    TEST(an_elder_that_ends_it_again_stays_one),
	    TEST(whom_another_one_ends_it_under_is_an_elder),
	    TEST(each_end_marks_those_who_came_since),
	    TEST(side_by_side_one_elder_is_enough),
	    TEST(who_is_alone_has_ended_it),
	    TEST(who_is_alone_when_another_one_ends_it_is_an_elder),
	    TEST(who_is_left_alone_has_ended_it),
	    TEST(beside_one_that_has_not_begun_a_reader_has_ended_it),
	    TEST(beside_one_that_has_not_begun_two_readers_are_elders),
	    TEST(beside_an_exclusive_one_a_single_reader_is_an_elder),
	    TEST(beside_an_exclusive_one_readers_do_no_work),
	    TEST(beside_an_elder_a_young_reader_does_not_help),
	    TEST(the_end_is_for_one_id),
	    TEST(who_has_not_touched_it_has_not_ended_it),
	    TEST(never_is_before_the_first_claim),
	    TEST(who_touched_it_before_the_claim_began_has_not_ended_it),
	    TEST(a_claim_begins_when_its_grant_has_arrived),
	    TEST(a_touch_outlasts_the_claims_on_other_ids),
	    TEST(a_touch_of_another_id_is_the_last),
	    TEST(beside_a_younger_exclusive_one_a_touch_is_too_old),
	    TEST(without_memory_there_are_no_claims),
	    TEST(a_claim_is_taken_or_nothing_has_changed),
	    TEST(all_the_rest_needs_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
