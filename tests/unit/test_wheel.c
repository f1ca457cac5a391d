/* The timer wheel: against a naive model for many seeds, and the corners one by one. */
#include "base/wheel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

enum { TIMERS = 64 };

struct timer {
	struct wheel_node node;
	bool runs;
	uint64_t fires;   /* the tick at which it should: not before it was started */
	uint64_t started; /* order of starts */
};

/* The model keeps all in an array and searches it. */
struct model {
	struct wheel wheel;
	struct timer timers[TIMERS];
	uint64_t starts, now, random;
};

static uint64_t draw(struct model *m)
{
	m->random ^= m->random << 13;
	m->random ^= m->random >> 7;
	m->random ^= m->random << 17;
	return m->random;
}

static struct model *model_new(uint64_t seed, uint64_t now)
{
	struct model *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	wheel_init(&m->wheel, now);
	m->now = now;
	m->random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	for (size_t i = 0; i < TIMERS; i++)
		wheel_node_init(&m->timers[i].node);
	return m;
}

static void model_start(struct model *m, struct timer *t, uint64_t due)
{
	wheel_start(&m->wheel, &t->node, due);
	t->runs = true;
	t->fires = due > m->wheel.now ? due : m->wheel.now;
	t->started = m->starts++;
}

static void model_stop(struct model *m, struct timer *t)
{
	wheel_stop(&m->wheel, &t->node);
	t->runs = false;
}

static struct timer *model_first(struct model *m)
{
	struct timer *first = NULL;

	for (size_t i = 0; i < TIMERS; i++) {
		struct timer *t = &m->timers[i];
		if (!t->runs)
			continue;
		if (!first || t->fires < first->fires || (t->fires == first->fires && t->started < first->started))
			first = t;
	}
	return first;
}

static uint64_t model_count(const struct model *m)
{
	uint64_t n = 0;

	for (size_t i = 0; i < TIMERS; i++) {
		assert_int_equal(m->timers[i].runs, wheel_running(&m->timers[i].node));
		n += m->timers[i].runs;
	}
	return n;
}

/* wheel_wait() says the truth: nothing is missed by sleeping that long, and it is 0 or endless only rightly. */
static void model_check(struct model *m)
{
	struct timer *first = model_first(m);
	uint64_t wait = wheel_wait(&m->wheel);

	assert_int_equal(m->wheel.count, model_count(m));
	if (!first) {
		assert_true(wait == UINT64_MAX);
		return;
	}
	assert_true(wait <= first->fires - m->wheel.now);
	assert_int_equal(wait == 0, first->fires == m->wheel.now);
}

/* Fires up to `most` that are due at `now`; each must be the one that the model expects. */
static void model_advance(struct model *m, uint64_t now, unsigned most)
{
	m->now = now;
	while (most-- > 0) {
		struct timer *expected = model_first(m);
		struct wheel_node *n = wheel_next(&m->wheel, now);

		if (!n) {
			assert_true(!expected || expected->fires > now);
			assert_int_equal(m->wheel.now, now);
			return;
		}
		assert_ptr_equal(CONTAINER_OF(n, struct timer, node), expected);
		assert_true(expected->fires <= now);
		expected->runs = false;
		model_check(m);
	}
}

/* A distance whose size is spread over all levels and beyond. */
static uint64_t draw_distance(struct model *m)
{
	return draw(m) >> (63 - draw(m) % 36);
}

static void one_seed(uint64_t seed)
{
	struct model *m = model_new(seed, seed % 3 ? UINT32_MAX - seed * 7 : seed * 251);

	for (int step = 0; step < 400; step++) {
		struct timer *t = &m->timers[draw(m) % TIMERS];
		uint64_t what = draw(m) % 8;
		uint64_t distance = draw(m) % 64 == 0 ? 0 : draw_distance(m);

		if (what < 4)
			model_start(m, t, m->now + (draw(m) % 4 ? distance : distance & 3));
		else if (what == 4)
			model_stop(m, t);
		else if (what == 5)
			model_advance(m, m->now + distance % 300, (unsigned)(draw(m) % 5));
		else if (what == 6)
			model_advance(m, m->now + distance, UINT32_MAX);
		else if (wheel_wait(&m->wheel) < UINT64_MAX)
			model_advance(m, m->wheel.now + wheel_wait(&m->wheel), UINT32_MAX);
		model_check(m);
	}
	free(m);
}

static void like_the_model_for_many_seeds(void **unused)
{
	(void)unused;
	for (uint64_t seed = 1; seed <= 400; seed++)
		one_seed(seed);
}

static void every_distance_fires_on_its_tick(void **unused)
{
	static const uint64_t starts[] = {0, 1, 255, 256, 65535, UINT32_MAX, UINT64_C(0x1ffffffff)};
	static const uint64_t distances[] = {
	    1,          2,         254,      255,      256,      257,        65535,      65536,
	    65537,      16777215,  16777216, 16777217, 1u << 31, UINT32_MAX, 1ull << 32, (1ull << 32) + 1,
	    1ull << 40, 1ull << 62};
	struct wheel *w = malloc(sizeof(*w));
	struct wheel_node n;

	(void)unused;
	assert_non_null(w);
	wheel_node_init(&n);
	for (size_t s = 0; s < sizeof(starts) / sizeof(starts[0]); s++) {
		for (size_t d = 0; d < sizeof(distances) / sizeof(distances[0]) - 1; d++) {
			uint64_t due = starts[s] + distances[d];
			wheel_init(w, starts[s]);
			wheel_start(w, &n, due);
			assert_null(wheel_next(w, due - 1));
			assert_true(wheel_running(&n));
			assert_ptr_equal(wheel_next(w, due), &n);
			assert_false(wheel_running(&n));
			assert_null(wheel_next(w, due));
		}
	}
	free(w);
}

static void what_has_passed_fires_at_once(void **unused)
{
	struct model *m = model_new(1, 1000);

	(void)unused;
	model_start(m, &m->timers[0], 3);
	model_start(m, &m->timers[1], 1000);
	model_start(m, &m->timers[2], 0);
	assert_int_equal(wheel_wait(&m->wheel), 0);
	for (size_t i = 0; i < 3; i++)
		assert_ptr_equal(wheel_next(&m->wheel, 1000), &m->timers[i].node);
	assert_null(wheel_next(&m->wheel, 1000));
	free(m);
}

static void one_tick_keeps_the_order_of_starts(void **unused)
{
	struct model *m = model_new(1, 0);

	(void)unused;
	for (size_t i = 0; i < 8; i++) /* each from nearer: all levels meet in one tick */
		model_start(m, &m->timers[i], 70000);
	model_advance(m, 65000, UINT32_MAX);
	model_start(m, &m->timers[8], 70000);
	model_advance(m, 69999, UINT32_MAX);
	model_start(m, &m->timers[9], 70000);
	model_start(m, &m->timers[0], 70000); /* moved to the end */
	for (size_t i = 1; i < 10; i++)
		assert_ptr_equal(wheel_next(&m->wheel, 70000), &m->timers[i].node);
	assert_ptr_equal(wheel_next(&m->wheel, 70000), &m->timers[0].node);
	free(m);
}

static void what_is_left_due_stays_due(void **unused)
{
	struct model *m = model_new(1, 0);

	(void)unused;
	for (size_t i = 0; i < 4; i++)
		model_start(m, &m->timers[i], 10 + i);
	assert_ptr_equal(wheel_next(&m->wheel, 50), &m->timers[0].node);
	wheel_stop(&m->wheel, &m->timers[2].node);
	assert_ptr_equal(wheel_next(&m->wheel, 50), &m->timers[1].node);
	assert_ptr_equal(wheel_next(&m->wheel, 50), &m->timers[3].node);
	assert_null(wheel_next(&m->wheel, 50));
	assert_int_equal(m->wheel.count, 0);
	free(m);
}

static void time_that_goes_back_is_ignored(void **unused)
{
	struct model *m = model_new(1, 100);

	(void)unused;
	model_start(m, &m->timers[0], 110);
	assert_null(wheel_next(&m->wheel, 50));
	assert_int_equal(m->wheel.now, 100);
	assert_ptr_equal(wheel_next(&m->wheel, 110), &m->timers[0].node);
	free(m);
}

static void a_stopped_timer_never_fires(void **unused)
{
	struct model *m = model_new(1, 0);

	(void)unused;
	model_start(m, &m->timers[0], 5);
	wheel_stop(&m->wheel, &m->timers[0].node);
	wheel_stop(&m->wheel, &m->timers[0].node);
	assert_true(wheel_wait(&m->wheel) == UINT64_MAX);
	assert_null(wheel_next(&m->wheel, 1000));
	free(m);
}

/* A coarse slot that holds far more than one call moves: no call does more, the order stays, and what is started, moved
 * and stopped in the middle of it takes its place. */
static void a_full_slot_is_spread_in_pieces(void **unused)
{
	enum { MANY = 10 * WHEEL_SPREAD_MAX };
	struct wheel *w = malloc(sizeof(*w));
	struct wheel_node *nodes = calloc(MANY + 2, sizeof(*nodes));
	struct wheel_node *n;
	unsigned pauses = 0;

	(void)unused;
	assert_true(w && nodes);
	wheel_init(w, 0);
	for (size_t i = 0; i < MANY + 2; i++)
		wheel_node_init(&nodes[i]);
	for (size_t i = 0; i < MANY; i++)
		wheel_start(w, &nodes[i], 600 + i % 2);
	assert_null(wheel_next(w, 512)); /* the slot's first tick: the first piece has moved */
	assert_int_equal(wheel_wait(w), 0);
	wheel_start(w, &nodes[MANY], 600);
	wheel_start(w, &nodes[0], 600);
	wheel_start(w, &nodes[MANY + 1], 3); /* long past, in its place all the same */
	wheel_stop(w, &nodes[MANY - 2]);
	wheel_stop(w, &nodes[2]);
	while (!(n = wheel_next(w, 512)))
		pauses++;
	assert_ptr_equal(n, &nodes[MANY + 1]);
	assert_in_range(pauses, 7, 10);
	for (size_t i = 4; i < MANY - 2; i += 2)
		assert_ptr_equal(wheel_next(w, 601), &nodes[i]);
	assert_ptr_equal(wheel_next(w, 601), &nodes[MANY]);
	assert_ptr_equal(wheel_next(w, 601), &nodes[0]);
	for (size_t i = 1; i < MANY; i += 2)
		assert_ptr_equal(wheel_next(w, 601), &nodes[i]);
	assert_null(wheel_next(w, 601));
	assert_int_equal(w->count, 0);
	assert_true(wheel_wait(w) == UINT64_MAX);
	free(nodes);
	free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(like_the_model_for_many_seeds), cmocka_unit_test(every_distance_fires_on_its_tick),
	    cmocka_unit_test(what_has_passed_fires_at_once), cmocka_unit_test(one_tick_keeps_the_order_of_starts),
	    cmocka_unit_test(what_is_left_due_stays_due),    cmocka_unit_test(time_that_goes_back_is_ignored),
	    cmocka_unit_test(a_stopped_timer_never_fires),   cmocka_unit_test(a_full_slot_is_spread_in_pieces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
