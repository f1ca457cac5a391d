/* Many seeds of the simulated cluster, or one of them told line by line.
 *
 *   sim [first seed [how many [verbose]]] (1 200) */
#include "tests/clus_random.h"

enum { RUN_MS = 120000 };

int main(int argc, char **argv)
{
	static struct sim sim;
	uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1,
		 count = argc > 2 ? strtoull(argv[2], NULL, 10) : 200;
	uint64_t views = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (uint64_t seed = first; seed < first + count; seed++) {
		random_run(&sim, seed, RUN_MS, argc > 3);
		views += checked.views;
	}
	printf("sim: seeds %llu to %llu, %llu views agreed on; replay one: %s SEED 1 verbose\n",
	       (unsigned long long)first, (unsigned long long)(first + count - 1), (unsigned long long)views, argv[0]);
	return 0;
}
