/* The rules of the core, one by one (doc/cluster.md, "Why fencing is safe"): each with a core alone. */
#include "tests/clus_one.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

enum { T = ONE_T };

static struct one one;

static const char *const others[] = {"beta", "delta", "echo", "gamma"};

/* alpha(1) with beta(2), delta(3), echo(4), gamma(5): `bits` of these. */
static void beats(unsigned bits, uint64_t epoch)
{
	for (unsigned i = 0; i < 4; i++) {
		if (bits >> i & 1)
			one_beat(&one, others[i], epoch, "alpha beta delta echo gamma ");
	}
}

static void ups(unsigned bits, uint64_t epoch)
{
	for (unsigned i = 0; i < 4; i++) {
		if (bits >> i & 1)
			one_up(&one, others[i], i + 2, epoch);
	}
}

static const struct one_view FIVE = {.epoch = 10,
				     .cluster = 3,
				     .coordinator = 1,
				     .count = 5,
				     .names = {"alpha", "beta", "delta", "echo", "gamma"},
				     .incarnations = {1, 2, 3, 4, 5},
				     .managers = "000111223344"};

static void learn(const struct one_view *v)
{
	struct buf bytes = {0};

	one_tell(&one, CLUS_FOLLOWS, view_of(NULL, 0));
	one_tell(&one, CLUS_LEARNT, one_make(&bytes, v));
	buf_fini(&bytes);
}

static void coordinates(const struct one_view *v)
{
	struct buf bytes = {0};

	one_tell(&one, CLUS_COORDINATES, one_make(&bytes, v));
	buf_fini(&bytes);
}

/* A member of FIVE, linked to all of them, that becomes coordinator; its first view is installed here. */
static void take_over(void)
{
	one_begin(&one, "alpha", 1, 4);
	learn(&FIVE);
	ups(15, 10);
	coordinates(&FIVE);
	one_commit(&one);
	assert_int_equal(one_epoch(&one), 11);
}

/* Somebody else's votes may still be given to the one before: nobody is named, nothing is taken out. */
static void nobody_is_named_before_there_is_support(void **state)
{
	(void)state;
	take_over();
	beats(15, 10);
	assert_false(one_names(&one, "beta"));
	assert_false(one_may_act(&one));
	beats(1, 11); /* two of five */
	assert_false(one_names(&one, "beta"));
	beats(2, 11);
	assert_true(one_names(&one, "beta"));
	assert_true(one_may_act(&one));
	one_end(&one);
}

/* Its last beat is older than failure-timeout when the coordinator changes: it has all of it from the support on. */
static void a_silent_member_has_the_whole_timeout_from_the_support_on(void **state)
{
	(void)state;
	one_begin(&one, "alpha", 1, 4);
	learn(&FIVE);
	ups(15, 10);
	one_down(&one, "delta", CLUS_DOWN_CLOSED, 3);
	one.now_ms += 5 * T;
	beats(13, 10);
	coordinates(&FIVE);
	one_commit(&one);
	for (unsigned i = 0; i < 8; i++) { /* without support, it is not taken out at all */
		one_tick(&one, T / 8 - 1);
		beats(13, 10);
		assert_true(one_proposes(&one, "delta"));
	}
	beats(13, 11);
	uint64_t supported_ms = one.now_ms;
	while (one.now_ms + T / 8 < supported_ms + T) {
		one_tick(&one, T / 8);
		one_commit(&one);
		beats(13, one_epoch(&one));
		assert_true(one_proposes(&one, "delta"));
	}
	one_tick(&one, T / 8);
	assert_false(one_proposes(&one, "delta"));
	one_end(&one);
}

/* The same for one that an operator takes out: it may have been named until then. */
static void forgotten_before_the_support(void **state)
{
	(void)state;
	take_over();
	one_step(&one, (struct clus_event){.kind = CLUS_FORGET, .name = VIEW("delta")});
	one_tick(&one, T / 2);
	beats(15, 11);
	uint64_t supported_ms = one.now_ms;
	assert_false(one_names(&one, "delta"));
	while (one.now_ms + T / 8 < supported_ms + T) {
		one_tick(&one, T / 8);
		one_commit(&one);
		beats(15, one_epoch(&one));
		assert_true(one_proposes(&one, "delta"));
	}
	one_tick(&one, T / 8);
	assert_false(one_proposes(&one, "delta"));
	assert_int_equal(one.proposed.voter_count, 4);
	one_end(&one);
}

/* What is proposed may have been lost, and the voters have another coordinator's view of that epoch. */
static void the_epoch_of_a_proposal_is_no_support(void **state)
{
	(void)state;
	take_over();
	beats(15, 11);
	one_up(&one, "zeta", 9, 0);
	assert_int_equal(one.proposed.epoch, 12);
	uint64_t end_ms = one.now_ms + T / 2;
	while (one.now_ms < end_ms) {
		one_tick(&one, T / 16);
		beats(15, 12);
	}
	assert_false(one_names(&one, "beta"));
	assert_false(one_may_act(&one));
	one_end(&one);
	/* Of an epoch that is not even proposed, somebody else's view. */
	take_over();
	beats(15, 11);
	beats(1, 12);
	assert_false(clus_core_coordinates(one.core));
	assert_int_equal(one.did[CLUS_DO_STEP_DOWN], 1);
	one_end(&one);
}

/* But when we hear that it is agreed on, they have supported us. */
static void a_proposal_that_others_have_first(void **state)
{
	(void)state;
	take_over();
	beats(15, 11);
	one_up(&one, "zeta", 9, 0);
	one_tick(&one, T / 4);
	beats(15, 12);
	assert_true(clus_core_coordinates(one.core));
	one_commit(&one);
	one_tick(&one, T / 4);
	assert_true(one_names(&one, "beta"));
	assert_true(one_may_act(&one));
	one_end(&one);
}

static void without_a_majority_nobody_is_named(void **state)
{
	(void)state;
	take_over();
	beats(15, 11);
	uint64_t supported_ms = one.now_ms;
	one_tick(&one, T / 8 * 3 - 1);
	beats(1, 11);
	assert_true(one_names(&one, "beta"));
	one_tick(&one, 1);
	beats(1, 11);
	assert_false(one_names(&one, "beta"));
	assert_true(one_may_act(&one));
	one.now_ms = supported_ms + T / 2;
	one_tick(&one, 0);
	assert_false(one_may_act(&one));
	assert_false(clus_core_coordinates(one.core));
	one_end(&one);
}

static void never_supported_it_steps_down(void **state)
{
	(void)state;
	take_over();
	one_tick(&one, T - 1);
	assert_true(clus_core_coordinates(one.core));
	one_tick(&one, T / 16);
	assert_false(clus_core_coordinates(one.core));
	one_end(&one);
}

/* A member: it acts on what has left it, not on what has come. */
static void a_member_acts_by_what_its_coordinator_has_echoed(void **state)
{
	(void)state;
	one_begin(&one, "alpha", 1, 4);
	learn(&FIVE);
	ups(15, 10);
	one_beat(&one, "delta", 10, "alpha "); /* not the coordinator */
	assert_false(one_may_act(&one));
	one_beat(&one, "beta", 10, ""); /* does not name us */
	assert_false(one_may_act(&one));
	one_beat(&one, "beta", 10, "alpha ");
	assert_int_equal(clus_core_may_act_until(one.core).ms, one.now_ms + T / 2);
	uint64_t echoed_ms = one.now_ms;
	one_tick(&one, T / 4);
	struct buf names = {0};
	peer_heard_put(&names, VIEW("alpha"));
	struct peer_beat b = {.epoch = 10, .heard_count = 1, .heard = buf_view(&names)};
	one_step(&one,
		 (struct clus_event){.kind = CLUS_BEAT, .name = VIEW("beta"), .beat = &b, .confirmed = {echoed_ms}});
	assert_int_equal(clus_core_may_act_until(one.core).ms, echoed_ms + T / 2);
	buf_fini(&names);
	one.now_ms = echoed_ms + T / 2;
	one_tick(&one, 0);
	assert_int_equal(clus_core_state(one.core), CLUS_FENCED);
	one_end(&one);
}

/* A first view that was never agreed on is in our database: it says nothing of the cluster. */
static void a_recalled_view_does_not_bind(void **state)
{
	struct one_view mine = FIVE, theirs = FIVE;
	struct buf bytes = {0};

	(void)state;
	mine.cluster = 8;
	theirs.epoch = 2;
	for (unsigned kept = 0; kept < 2; kept++) {
		one_begin(&one, "alpha", 6, 4);
		if (kept) {
			clus_core_free(&one.core);
			struct peer_hello h = one_hello("alpha", 6);
			struct clus_core_settings s = {
			    .self = &h, .failure_ms = T, .buckets = ONE_BUCKETS, .peer_count = 4};
			memset(s.cluster, 8, sizeof s.cluster);
			one.core = clus_core_new(&s, (struct lease_time){one.now_ms});
		}
		one_tell(&one, CLUS_LEARNT, one_make(&bytes, &mine));
		assert_int_equal(clus_core_cluster(one.core)[0], kept ? 8 : 0);
		struct peer_hello h = one_hello("beta", 2);
		memset(h.cluster, 3, sizeof h.cluster);
		one_step(&one, (struct clus_event){.kind = CLUS_LINK_UP, .name = h.name, .hello = &h});
		assert_int_equal(one.did[CLUS_DO_DROP], kept);
		assert_true(!kept || one.bye == PEER_BYE_CLUSTER);
		one_tell(&one, CLUS_FOLLOWS, view_of(NULL, 0));
		one_tell(&one, CLUS_LEARNT, one_make(&bytes, &theirs));
		assert_int_equal(one_epoch(&one), kept ? 0 : 2);
		assert_int_equal(clus_core_cluster(one.core)[0], kept ? 8 : 3);
		one_end(&one);
	}
	buf_fini(&bytes);
}

/* The database has a view that we have not installed: who has got a bucket with it may never have got its directory. */
static void what_was_handed_over_unseen_is_lost(void **state)
{
	struct one_view next = FIVE;

	(void)state;
	next.epoch = 11;
	next.managers = "000112223344"; /* bucket 5 is delta's now */
	one_begin(&one, "alpha", 1, 4);
	learn(&FIVE);
	ups(15, 10);
	coordinates(&next);
	assert_int_equal(one.proposed.epoch, 12);
	for (unsigned b = 0; b < ONE_BUCKETS; b++)
		assert_int_equal(one.proposed.apps[0].map[b].lost, b == 5);
	one_end(&one);
	/* One more that was missed: nothing is known. */
	next.epoch = 12;
	one_begin(&one, "alpha", 1, 4);
	learn(&FIVE);
	ups(15, 10);
	coordinates(&next);
	for (unsigned b = 0; b < ONE_BUCKETS; b++)
		assert_true(one.proposed.apps[0].map[b].lost);
	one_end(&one);
}

static void one_new_incarnation_at_a_time(void **state)
{
	struct one_view without = FIVE;

	(void)state;
	one_begin(&one, "alpha", 1, 4);
	learn(&FIVE);
	ups(15, 10);
	one_down(&one, "delta", CLUS_DOWN_REMOVED, 3);
	assert_int_equal(one.did[CLUS_DO_REINCARNATE], 1);
	without.epoch = 11;
	without.incarnations[0] = 99;
	learn(&without);
	assert_int_equal(one_epoch(&one), 11);
	assert_int_equal(one.did[CLUS_DO_REINCARNATE], 1);
	one_end(&one);
}

/* It is elected, and was taken out by a view that it has not installed. The others refuse what it was. */
static void a_coordinator_that_was_taken_out(void **state)
{
	static const struct one_view without = {.epoch = 11,
						.cluster = 3,
						.count = 4,
						.names = {"beta", "delta", "echo", "gamma"},
						.incarnations = {2, 3, 4, 5},
						.managers = "000111222333"};
	struct one_view voters = FIVE;

	(void)state;
	one_begin(&one, "alpha", 1, 4);
	learn(&FIVE);
	ups(15, 10);
	voters.epoch = 11;
	voters.incarnations[0] = 77; /* a life of ours that is over */
	coordinates(&voters);
	assert_int_equal(one.did[CLUS_DO_REINCARNATE], 1);
	assert_int_equal(one.did[CLUS_DO_PROPOSE], 0);
	one_step(&one, (struct clus_event){.kind = CLUS_INCARNATION, .number = 78});
	assert_int_equal(one.did[CLUS_DO_PROPOSE], 1);
	uint16_t m = clus_view_member(&one.proposed, VIEW("alpha"));
	assert_int_equal(one.proposed.members[m].incarnation, 78);
	one_end(&one);
	/* Without a vote either, it proposes nothing at all. */
	one_begin(&one, "alpha", 1, 4);
	learn(&FIVE);
	coordinates(&without);
	one_step(&one, (struct clus_event){.kind = CLUS_INCARNATION, .number = 78});
	assert_int_equal(one.did[CLUS_DO_PROPOSE], 0);
	one_end(&one);
}

static void others_have_taken_the_coordinator_out(void **state)
{
	(void)state;
	take_over();
	one_down(&one, "delta", CLUS_DOWN_REMOVED, 3);
	assert_false(clus_core_coordinates(one.core));
	assert_int_equal(one.did[CLUS_DO_STEP_DOWN], 1);
	assert_int_equal(one.did[CLUS_DO_REINCARNATE], 1);
	one_end(&one);
}

/* It was a member once, and nobody here remembers that it was taken out. */
static void who_comes_with_an_old_view_must_know_the_new_one_first(void **state)
{
	(void)state;
	take_over();
	beats(15, 11);
	one_up(&one, "zeta", 9, 4);
	one_commit(&one);
	one_beat(&one, "zeta", 4, "");
	one_tick(&one, T / 8);
	assert_false(one_proposes(&one, "zeta"));
	one_beat(&one, "zeta", one_epoch(&one), "");
	assert_true(one_proposes(&one, "zeta"));
	one_end(&one);
	/* Who has none at all is new. */
	take_over();
	one_up(&one, "zeta", 9, 0);
	assert_true(one_proposes(&one, "zeta"));
	one_end(&one);
}

/* A beat of before the new connection says nothing of it; nor does one that is not yet. */
static void only_what_left_on_this_link_is_confirmed(void **state)
{
	struct peer_beat b = {.epoch = 11};

	(void)state;
	take_over();
	ups(1, 11); /* greets again, with the epoch that would support us */
	ups(2, 11);
	one_tick(&one, T / 16);
	assert_false(one_names(&one, "beta"));
	for (unsigned i = 0; i < 2; i++)
		one_step(&one, (struct clus_event){.kind = CLUS_BEAT,
						   .name = view_str(others[i]),
						   .beat = &b,
						   .confirmed = {one.now_ms + 1}});
	assert_false(one_names(&one, "beta"));
	beats(3, 11);
	assert_true(one_names(&one, "beta"));
	ups(3, 11); /* what the connections before have echoed is of these */
	one_tick(&one, T / 8 * 3);
	assert_false(one_names(&one, "beta"));
	one_end(&one);
}

/* Dead for certain while it is linked still: said of the incarnation that is in the view, and of no other. */
static void refused_is_said_of_one_incarnation(void **state)
{
	struct peer_report r = {.kind = PEER_REPORT_REFUSED, .name = VIEW("delta"), .incarnation = 3};
	struct clus_event e = {.kind = CLUS_REPORT, .name = VIEW("beta"), .report = &r};

	(void)state;
	take_over();
	beats(15, 11);
	one_step(&one, e); /* we have a link to it */
	one_tick(&one, T / 8);
	assert_true(one_proposes(&one, "delta"));
	one_down(&one, "delta", CLUS_DOWN_CLOSED, 99); /* of another one */
	r.incarnation = 3;
	one_step(&one, e);
	assert_true(one_proposes(&one, "delta"));
	one_down(&one, "delta", CLUS_DOWN_CLOSED, 3);
	r.incarnation = 98;
	one_step(&one, e);
	one_tick(&one, T / 8);
	assert_true(one_proposes(&one, "delta"));
	r.incarnation = 3;
	one_step(&one, e);
	assert_false(one_proposes(&one, "delta"));
	assert_false(one_names(&one, "delta"));
	one_commit(&one);
	/* It comes back as what it was. */
	one_up(&one, "delta", 3, 10);
	assert_int_equal(one.bye, PEER_BYE_REMOVED);
	one_tick(&one, T / 8);
	assert_false(one_proposes(&one, "delta"));
	one_end(&one);
}

/* And it is reported of that one alone: the coordinator takes a member's word for it. */
static void a_refusal_of_before_is_not_reported(void **state)
{
	(void)state;
	one_begin(&one, "alpha", 1, 4);
	learn(&FIVE);
	ups(13, 10);
	one_beat(&one, "beta", 10, "alpha ");
	unsigned before = one.did[CLUS_DO_SEND_REPORT];
	one_down(&one, "delta", CLUS_DOWN_REFUSED, 99);
	one_down(&one, "delta", CLUS_DOWN_REFUSED, 0);
	assert_int_equal(one.did[CLUS_DO_SEND_REPORT], before);
	one_down(&one, "delta", CLUS_DOWN_REFUSED, 3);
	assert_int_equal(one.did[CLUS_DO_SEND_REPORT], before + 1);
	one_end(&one);
}

/* It is linked, and has still to learn which view it is not in. */
static void who_is_no_member_has_no_say(void **state)
{
	struct peer_report r = {.kind = PEER_REPORT_REFUSED, .name = VIEW("delta"), .incarnation = 3};
	struct clus_event e = {.kind = CLUS_REPORT, .name = VIEW("yuri"), .report = &r};

	(void)state;
	take_over();
	beats(15, 11);
	one_up(&one, "yuri", 8, 5);
	one_down(&one, "delta", CLUS_DOWN_CLOSED, 3);
	one_step(&one, e);
	assert_true(one_proposes(&one, "delta"));
	r = (struct peer_report){.kind = PEER_REPORT_FORGET, .name = VIEW("echo")};
	one_step(&one, e);
	assert_true(one_names(&one, "echo"));
	e.name = VIEW("beta");
	one_step(&one, e);
	assert_false(one_names(&one, "echo"));
	one_end(&one);
}

/* A view of these, as `from` sends it. */
static void sends(const char *from, const struct one_view *v)
{
	struct buf bytes = {0};

	one_step(&one, (struct clus_event){.kind = CLUS_VIEW, .name = view_str(from), .bytes = one_make(&bytes, v)});
	buf_fini(&bytes);
}

/* alpha, a member of FIVE that beta coordinates; yuri is linked, and no member. */
static void follow(void)
{
	one_begin(&one, "alpha", 1, 4);
	learn(&FIVE);
	ups(15, 10);
	one_beat(&one, "beta", 10, "alpha ");
	one_up(&one, "yuri", 8, 0);
	assert_true(one_may_act(&one));
}

/* Right in every byte, and nobody has agreed on it. */
static void who_is_no_member_gives_no_view(void **state)
{
	struct one_view next = FIVE;

	(void)state;
	follow();
	next.epoch = 11;
	next.coordinator = 0;
	sends("yuri", &next);
	assert_int_equal(one_epoch(&one), 10);
	sends("gamma", &next);
	assert_int_equal(one_epoch(&one), 11);
	one_end(&one);
}

/* All whom it knows may have been replaced while it was away. */
static void who_hears_no_coordinator_takes_views_of_anybody(void **state)
{
	struct one_view next = FIVE;

	(void)state;
	follow();
	one_tick(&one, T / 2 - 1);
	next.epoch = 11;
	sends("yuri", &next);
	assert_int_equal(one_epoch(&one), 10);
	one.now_ms += 1; /* by the clock, not by the last look at it */
	sends("yuri", &next);
	assert_int_equal(one_epoch(&one), 11);
	one_end(&one);
	/* So does who is in no view. */
	one_begin(&one, "alpha", 9, 4);
	learn(&FIVE);
	one_up(&one, "yuri", 8, 0);
	sends("yuri", &next);
	assert_int_equal(one_epoch(&one), 11);
	one_end(&one);
}

static void who_is_no_member_makes_nobody_step_down(void **state)
{
	(void)state;
	take_over();
	beats(15, 11);
	one_up(&one, "yuri", 8, 0);
	one_beat(&one, "yuri", 50, "");
	assert_true(clus_core_coordinates(one.core));
	assert_int_equal(one.did[CLUS_DO_STEP_DOWN], 0);
	one_beat(&one, "gamma", 50, "");
	assert_false(clus_core_coordinates(one.core));
	one_end(&one);
	/* Also before it has begun, and where the view that it begins with is not installed. */
	one_begin(&one, "alpha", 9, 4);
	ups(15, 10);
	one_up(&one, "yuri", 8, 0);
	coordinates(&FIVE);
	one_beat(&one, "yuri", 50, "");
	assert_true(clus_core_coordinates(one.core));
	one_beat(&one, "gamma", 50, "");
	assert_false(clus_core_coordinates(one.core));
	one_end(&one);
}

/* Who has refused a view says by its beats that it is without it. */
static void a_view_is_sent_again_to_who_does_not_have_it(void **state)
{
	(void)state;
	take_over();
	beats(15, 10);
	unsigned before = one.did[CLUS_DO_SEND_VIEW];
	one_tick(&one, T / 4);
	beats(15, 10);
	assert_int_equal(one.did[CLUS_DO_SEND_VIEW], before);
	one_tick(&one, T / 4);
	beats(1, 10);
	beats(1, 10);
	beats(14, 11);
	assert_int_equal(one.did[CLUS_DO_SEND_VIEW], before + 1);
	one_end(&one);
}

/* They must not run out: a member, too, can have gone mad. */
static void an_epoch_that_is_made_up_is_refused(void **state)
{
	const uint64_t leap = UINT64_C(1) << 32;
	struct one_view next = FIVE;

	(void)state;
	follow();
	next.epoch = 10 + leap;
	sends("beta", &next);
	assert_int_equal(one_epoch(&one), 10);
	assert_int_equal(one.logged[CLUS_LOG_BAD_VIEW], 1);
	next.epoch = 9 + leap;
	sends("beta", &next);
	assert_int_equal(one_epoch(&one), 9 + leap);
	one_end(&one);
	take_over();
	beats(15, 11);
	one_beat(&one, "gamma", 11 + leap, "");
	assert_true(clus_core_coordinates(one.core));
	assert_int_equal(one.did[CLUS_DO_DROP], 1);
	assert_int_equal(one.bye, PEER_BYE_MALFORMED);
	one_up(&one, "zeta", 9, 11 + leap);
	assert_int_equal(one.did[CLUS_DO_DROP], 2);
	one_tick(&one, T / 8);
	assert_false(one_proposes(&one, "zeta"));
	one_beat(&one, "gamma", 10 + leap, "");
	assert_false(clus_core_coordinates(one.core));
	one_end(&one);
}

/* It is linked, and a proposal that nobody has agreed on yet is without it. */
static void who_is_not_in_the_proposal_is_not_named(void **state)
{
	(void)state;
	take_over();
	beats(15, 11);
	one_step(&one, (struct clus_event){.kind = CLUS_FORGET, .name = VIEW("delta")});
	for (uint64_t end_ms = one.now_ms + T; one.now_ms < end_ms;) {
		one_tick(&one, T / 8);
		beats(15, 11);
	}
	assert_false(one_proposes(&one, "delta"));
	one_down(&one, "delta", CLUS_DOWN_CLOSED, 3);
	ups(2, 11);
	assert_false(one_names(&one, "delta"));
	assert_true(one_names(&one, "beta"));
	one_end(&one);
}

/* One vote a view, and none before there is support. */
static void votes_change_one_by_one(void **state)
{
	(void)state;
	take_over();
	one_up(&one, "xeno", 7, 0);
	one_up(&one, "yuri", 8, 0);
	one_up(&one, "zeta", 9, 0);
	one_step(&one, (struct clus_event){.kind = CLUS_FORGET, .name = VIEW("nobody")});
	one_commit(&one);
	assert_true(one_proposes(&one, "zeta"));
	assert_int_equal(one.proposed.voter_count, 5);
	beats(15, one_epoch(&one));
	assert_int_equal(one.proposed.voter_count, 6);
	unsigned before = one.proposed.voter_count;
	one_commit(&one);
	assert_int_equal(one.proposed.voter_count, before + 1);
	one_tick(&one, T / 8);
	one_commit(&one);
	assert_int_equal(one.proposed.voter_count, CLUS_VOTERS_MAX);
	one_end(&one);
}

static unsigned votes_in(const struct clus_view *a, const struct clus_view *b)
{
	unsigned both = 0;

	for (uint8_t i = 0; i < a->voter_count; i++)
		both += clus_view_voter(b, a->voters[i]) != CLUS_NONE;
	return both;
}

/* An operator takes two out at the same time as two others come: the second change waits until the first is agreed on.
 */
static void votes_asked_for_at_once_change_one_after_the_other(void **state)
{
	struct clus_view *now = &one.proposed;

	(void)state;
	take_over();
	beats(15, 11);
	one_down(&one, "echo", CLUS_DOWN_SILENT, 4);
	one_down(&one, "gamma", CLUS_DOWN_SILENT, 5);
	for (unsigned i = 0; i < 12; i++) {
		one_tick(&one, T / 8);
		one_commit(&one);
		beats(3, one_epoch(&one));
	}
	assert_false(one_has(&one, "echo") || one_has(&one, "gamma"));
	assert_int_equal(now->voter_count, 5);
	beats(3, one_epoch(&one));
	one_up(&one, "xeno", 7, 0); /* is proposed; the others are found together, behind it */
	one_step(&one, (struct clus_event){.kind = CLUS_FORGET, .name = VIEW("echo")});
	one_step(&one, (struct clus_event){.kind = CLUS_FORGET, .name = VIEW("gamma")});
	one_up(&one, "yuri", 8, 0);
	unsigned views = 0, changes = 0;
	for (unsigned proposals = one.did[CLUS_DO_PROPOSE]; clus_core_epoch(one.core) < now->epoch; views++) {
		const struct clus_view *before = clus_core_view(one.core);
		unsigned both = votes_in(before, now), changed = before->voter_count + now->voter_count - 2 * both;
		assert_true(changed <= 1);
		changes += changed;
		/* Nothing else is proposed until that is agreed on. */
		beats(3, one_epoch(&one));
		one_tick(&one, T / 16);
		assert_int_equal(one.did[CLUS_DO_PROPOSE], proposals);
		struct buf copy = {0};
		buf_put(&copy, buf_view(&one.proposal));
		one_tell(&one, CLUS_COMMITTED, buf_view(&copy));
		buf_fini(&copy);
		beats(3, one_epoch(&one));
		proposals = one.did[CLUS_DO_PROPOSE];
	}
	assert_true(views >= 4);
	assert_int_equal(changes, 4);
	assert_true(clus_view_voter(now, VIEW("echo")) == CLUS_NONE && clus_view_voter(now, VIEW("xeno")) != CLUS_NONE);
	assert_true(clus_view_voter(now, VIEW("gamma")) == CLUS_NONE &&
		    clus_view_voter(now, VIEW("yuri")) != CLUS_NONE);
	one_end(&one);
}

static void who_may_not_vote_does_not(void **state)
{
	struct peer_hello h = one_hello("zeta", 9);

	(void)state;
	take_over();
	beats(15, 11);
	h.votes = false;
	one_step(&one, (struct clus_event){.kind = CLUS_LINK_UP, .name = h.name, .hello = &h});
	one_commit(&one);
	one_tick(&one, T / 8);
	one_commit(&one);
	assert_true(one_has(&one, "zeta"));
	assert_int_equal(one.proposed.voter_count, 5);
	one_end(&one);
}

/* Whoever becomes coordinator says so with a view of its own, and with an epoch that nobody has proposed before. */
static void the_first_view_is_always_proposed(void **state)
{
	struct one_view mine = FIVE;

	(void)state;
	mine.coordinator = 0;
	one_begin(&one, "alpha", 1, 4);
	learn(&mine);
	ups(15, 10);
	coordinates(&mine);
	assert_int_equal(one.did[CLUS_DO_PROPOSE], 1);
	assert_int_equal(one.proposed.epoch, 11);
	one_tell(&one, CLUS_LOST, buf_view(&one.proposal));
	coordinates(&mine);
	assert_int_equal(one.proposed.epoch, 12);
	one_commit(&one);
	unsigned before = one.did[CLUS_DO_PROPOSE];
	one_tick(&one, T / 8); /* and nothing more when there is nothing to say */
	assert_int_equal(one.did[CLUS_DO_PROPOSE], before);
	one_end(&one);
}

/* Its vote is needed: of the five voters two are there besides it. */
static void a_vote_that_is_needed_stays(void **state)
{
	(void)state;
	take_over();
	beats(15, 11);
	one_down(&one, "echo", CLUS_DOWN_CLOSED, 4);
	one_down(&one, "gamma", CLUS_DOWN_CLOSED, 5);
	one.now_ms += 1;
	for (unsigned i = 0; i < 12; i++) {
		one_tick(&one, T / 8);
		one_commit(&one);
		beats(3, one_epoch(&one));
	}
	assert_false(one_has(&one, "echo"));
	assert_int_equal(clus_core_view(one.core)->voter_count, 5);
	one_step(&one, (struct clus_event){.kind = CLUS_FORGET, .name = VIEW("delta")});
	for (unsigned i = 0; i < 12; i++) {
		one_tick(&one, T / 8);
		one_commit(&one);
		beats(3, one_epoch(&one));
	}
	/* Two of the four that would be left are no majority. */
	assert_true(clus_view_voter(clus_core_view(one.core), VIEW("delta")) != CLUS_NONE);
	assert_int_equal(one.logged[CLUS_LOG_VOTE_NEEDED], 1);
	one_end(&one);
}

/* Its coordinator can take it out, however long that takes. One that does not answer cannot. */
static void who_leaves_waits_for_a_coordinator_that_answers(void **state)
{
	(void)state;
	one_begin(&one, "alpha", 1, 4);
	learn(&FIVE);
	ups(15, 10);
	one_beat(&one, "beta", 10, "alpha ");
	one_tell(&one, CLUS_LEAVE, view_of(NULL, 0));
	for (unsigned i = 0; i < 80; i++) {
		one_tick(&one, T / 8);
		beats(14, 10);
		one_beat(&one, "beta", 10, "alpha ");
	}
	assert_int_equal(one.did[CLUS_DO_EXIT], 0);
	one_tell(&one, CLUS_LEAVE, view_of(NULL, 0));
	for (unsigned i = 0; i < 15; i++) {
		one_tick(&one, T / 8);
		beats(14, 10);
	}
	one_tick(&one, T / 8 - 1);
	assert_int_equal(one.did[CLUS_DO_EXIT], 0);
	one_tick(&one, 1);
	assert_int_equal(one.did[CLUS_DO_EXIT], 1);
	assert_int_equal(clus_core_state(one.core), CLUS_GONE);
	one_end(&one);
}

/* It has been without one for long: it has all the time from the word on. */
static void who_is_cut_off_and_leaves_has_its_time(void **state)
{
	(void)state;
	one_begin(&one, "alpha", 1, 4);
	learn(&FIVE);
	ups(15, 10);
	one_tick(&one, 10 * T);
	one_tell(&one, CLUS_LEAVE, view_of(NULL, 0));
	one_tick(&one, T);
	one_tell(&one, CLUS_LEAVE, view_of(NULL, 0)); /* once more changes nothing */
	one_tick(&one, T - 1);
	assert_int_equal(one.did[CLUS_DO_EXIT], 0);
	one_tick(&one, 1);
	assert_int_equal(one.did[CLUS_DO_EXIT], 1);
	one_end(&one);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(nobody_is_named_before_there_is_support),
	    cmocka_unit_test(a_silent_member_has_the_whole_timeout_from_the_support_on),
	    cmocka_unit_test(forgotten_before_the_support),
	    cmocka_unit_test(the_epoch_of_a_proposal_is_no_support),
	    cmocka_unit_test(a_proposal_that_others_have_first),
	    cmocka_unit_test(without_a_majority_nobody_is_named),
	    cmocka_unit_test(never_supported_it_steps_down),
	    cmocka_unit_test(a_member_acts_by_what_its_coordinator_has_echoed),
	    cmocka_unit_test(a_recalled_view_does_not_bind),
	    cmocka_unit_test(what_was_handed_over_unseen_is_lost),
	    cmocka_unit_test(one_new_incarnation_at_a_time),
	    cmocka_unit_test(a_coordinator_that_was_taken_out),
	    cmocka_unit_test(others_have_taken_the_coordinator_out),
	    cmocka_unit_test(who_comes_with_an_old_view_must_know_the_new_one_first),
	    cmocka_unit_test(only_what_left_on_this_link_is_confirmed),
	    cmocka_unit_test(refused_is_said_of_one_incarnation),
	    cmocka_unit_test(a_refusal_of_before_is_not_reported),
	    cmocka_unit_test(who_is_no_member_has_no_say),
	    cmocka_unit_test(who_is_no_member_gives_no_view),
	    cmocka_unit_test(who_hears_no_coordinator_takes_views_of_anybody),
	    cmocka_unit_test(who_is_no_member_makes_nobody_step_down),
	    cmocka_unit_test(a_view_is_sent_again_to_who_does_not_have_it),
	    cmocka_unit_test(an_epoch_that_is_made_up_is_refused),
	    cmocka_unit_test(who_is_not_in_the_proposal_is_not_named),
	    cmocka_unit_test(votes_change_one_by_one),
	    cmocka_unit_test(votes_asked_for_at_once_change_one_after_the_other),
	    cmocka_unit_test(who_may_not_vote_does_not),
	    cmocka_unit_test(the_first_view_is_always_proposed),
	    cmocka_unit_test(a_vote_that_is_needed_stays),
	    cmocka_unit_test(who_leaves_waits_for_a_coordinator_that_answers),
	    cmocka_unit_test(who_is_cut_off_and_leaves_has_its_time),
	};
	setvbuf(stdout, NULL, _IOLBF, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
