/* The policy `alone`: it coordinates from its first turn on, and all that it is given is agreed. */
#include "loop_fixture.h"

#include "base/error.h"
#include "cluster/control.h"
#include "fail_alloc.h"

#include <stdio.h>

static struct control *control;
static char told[200]; /* a letter for each, and its view */
static bool stopped;

static void note(char what, struct view bytes)
{
	size_t at = strlen(told);

	snprintf(told + at, sizeof(told) - at, "%c%.*s ", what, (int)bytes.len, (const char *)bytes.at);
}

static void on_coordinates(void *owner, struct view agreed)
{
	assert_ptr_equal(owner, &control);
	note('C', agreed);
}

static void on_leaderless(void *owner)
{
	(void)owner;
	note('-', VIEW(""));
}

static void on_committed(void *owner, struct view bytes)
{
	(void)owner;
	note('+', bytes);
}

static void on_lost(void *owner, struct view bytes)
{
	(void)owner;
	note('!', bytes);
}

static void on_stopped(void *owner)
{
	assert_ptr_equal(owner, &control);
	stopped = true;
}

/* Nothing else is ever told. */
static const struct control_ops ops = {
    .coordinates = on_coordinates, .leaderless = on_leaderless, .committed = on_committed, .lost = on_lost};

static int set_up(void **state)
{
	const struct control_settings s = {.self = VIEW("a"), .priority = 100};
	char why[200];

	(void)state;
	stopped = false;
	told[0] = 0;
	return loop_set_up(state) || control_alone.start(&control, &s, &ops, &control, &loop, why) ? -1 : 0;
}

static int tear_down(void **state)
{
	if (!stopped)
		control_alone.stop(control, on_stopped);
	RUN_UNTIL(stopped);
	return loop_tear_down(state);
}

static void propose(const char *bytes)
{
	struct view a = VIEW("a");

	control_alone.propose(control, view_str(bytes), &a, 1);
}

static void it_coordinates_at_once_and_agrees(void **state)
{
	(void)state;
	assert_string_equal(told, ""); /* not from inside start() */
	RUN_UNTIL(told[0]);
	propose("one");
	propose("two");
	assert_string_equal(told, "C +one +two ");
}

static void before_it_coordinates_a_proposal_is_lost(void **state)
{
	(void)state;
	propose("early");
	assert_string_equal(told, "!early ");
	loop_settle();
	assert_string_equal(told, "!early C ");
}

static void it_steps_down_for_a_turn(void **state)
{
	(void)state;
	control_alone.step_down(control); /* of nothing */
	RUN_UNTIL(told[0]);
	propose("one");
	control_alone.step_down(control);
	control_alone.step_down(control);
	propose("two");
	loop_settle();
	assert_string_equal(told, "C +one - !two Cone ");
}

static void what_others_say_is_nothing_to_it(void **state)
{
	const struct view voters[] = {VIEW("a"), VIEW("b")};

	(void)state;
	RUN_UNTIL(told[0]);
	control_alone.reached(control, VIEW("b"), true);
	control_alone.message(control, VIEW("b"), VIEW("bytes"));
	control_alone.voters(control, voters, 2);
	control_alone.reached(control, VIEW("b"), false);
	propose("one");
	loop_settle();
	assert_string_equal(told, "C +one ");
}

static void nothing_is_told_after_stop(void **state)
{
	(void)state;
	control_alone.stop(control, on_stopped);
	assert_false(stopped);
	RUN_UNTIL(stopped);
	assert_string_equal(told, "");
}

/* What was agreed stays. */
static void without_memory_a_proposal_is_lost(void **state)
{
	(void)state;
	RUN_UNTIL(told[0]);
	propose("one");
	fail_alloc_at(1);
	propose("two");
	loop_settle();
	assert_string_equal(told, "C +one !two - Cone ");
	propose("three");
	assert_string_equal(told, "C +one !two - Cone +three ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	    CASE(it_coordinates_at_once_and_agrees), CASE(before_it_coordinates_a_proposal_is_lost),
	    CASE(it_steps_down_for_a_turn),          CASE(what_others_say_is_nothing_to_it),
	    CASE(nothing_is_told_after_stop),        CASE(without_memory_a_proposal_is_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
