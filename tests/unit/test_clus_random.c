/* A cluster under an adversary with a seed: nodes are killed, stopped and started, links cut and healed, operators
 * leave and forget; what must hold is looked at after every step, and when the faults stop, all come together again. */
#include "tests/clus_random.h"

#include <setjmp.h>
#include <cmocka.h>

static void random_faults(void **state)
{
	static struct sim sim;

	(void)state;
	for (uint64_t seed = 1; seed <= 6; seed++)
		random_run(&sim, seed, 60000, false);
}

/* Otherwise a seed could not be played again. */
static void the_same_seed_is_the_same_run(void **state)
{
	static struct sim sim;

	(void)state;
	uint64_t first = random_run(&sim, 77, 20000, false);
	assert_int_equal(random_run(&sim, 77, 20000, false), first);
	assert_int_not_equal(random_run(&sim, 78, 20000, false), first);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(random_faults),
	    cmocka_unit_test(the_same_seed_is_the_same_run),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
