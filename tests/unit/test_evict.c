/* The evicters: which sessions move down. */
#include "session/evict.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

enum { NOW_S = 1700000000, AFTER_S = 600 };

static bool wants(const struct evict_kind *e, bool tight, uint32_t used_s)
{
	struct evict_limits limits = {.after_s = AFTER_S};
	struct evict_look look = {.now_s = NOW_S, .tight = tight};

	return e->wants(&limits, &look, used_s);
}

static void idle_wants_what_is_unused_for_a_time(void **unused)
{
	(void)unused;
	assert_true(wants(&evict_idle, false, NOW_S - AFTER_S));
	assert_true(wants(&evict_idle, false, 0));
	assert_false(wants(&evict_idle, false, NOW_S - AFTER_S + 1));
	assert_false(wants(&evict_idle, false, NOW_S));
	/* A use is rounded up: it may lie ahead. */
	assert_false(wants(&evict_idle, false, NOW_S + 1));
	assert_false(wants(&evict_idle, false, UINT32_MAX));
}

static void idle_wants_all_when_memory_is_tight(void **unused)
{
	(void)unused;
	assert_true(wants(&evict_idle, true, NOW_S));
	assert_true(wants(&evict_idle, true, NOW_S + 1));
}

static void lru_wants_only_when_memory_is_tight(void **unused)
{
	(void)unused;
	assert_true(wants(&evict_lru, true, NOW_S));
	assert_false(wants(&evict_lru, false, 0));
}

static void never_and_ttl_want_nothing(void **unused)
{
	(void)unused;
	for (int tight = 0; tight < 2; tight++) {
		assert_false(wants(&evict_never, tight, 0));
		assert_false(wants(&evict_ttl, tight, 0));
	}
}

static void only_some_make_room(void **unused)
{
	(void)unused;
	assert_true(evict_idle.relieves);
	assert_true(evict_lru.relieves);
	assert_false(evict_never.relieves);
	assert_false(evict_ttl.relieves);
}

/* Who says that it makes room takes something when there is none, and the reverse. */
static void they_are_found_by_their_names(void **unused)
{
	static const struct evict_kind *const kinds[] = {&evict_never, &evict_idle, &evict_lru, &evict_ttl};

	(void)unused;
	for (size_t i = 0; i < 4; i++) {
		assert_ptr_equal(evict_find(kinds[i]->name), kinds[i]);
		assert_int_equal(kinds[i]->relieves, wants(kinds[i], true, NOW_S));
	}
	assert_null(evict_find("fifo"));
	assert_null(evict_find(""));
	assert_null(evict_find("idle "));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(idle_wants_what_is_unused_for_a_time),
	    cmocka_unit_test(idle_wants_all_when_memory_is_tight),
	    cmocka_unit_test(lru_wants_only_when_memory_is_tight),
	    cmocka_unit_test(never_and_ttl_want_nothing),
	    cmocka_unit_test(only_some_make_room),
	    cmocka_unit_test(they_are_found_by_their_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
