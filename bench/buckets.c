/* What the plan of the buckets costs: a large cluster that loses one member, gets one, and begins. One line of JSON
 * with the milliseconds at the median.
 *
 *   buckets [nodes [buckets [runs]]] (1000 16384 1001)
 *
 * Links with libweir.a. */
#include "bench/samples.h"
#include "cluster/buckets.h"

enum { NAME_ROOM = 16 };

struct bench {
	struct bucket map[BUCKETS_MAX], next[BUCKETS_MAX];
	struct buckets_member members[BUCKETS_MANAGERS_MAX];
	char names[BUCKETS_MANAGERS_MAX][NAME_ROOM];
	struct buckets_work work;
	uint16_t nodes;
	uint32_t buckets, runs;
	double *took_ms; /* owned; of each run */
};

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* The same plan over and over; *moved is how many buckets it moves. */
static double median_ms(struct bench *b, uint32_t *moved)
{
	for (uint32_t i = 0; i < b->runs; i++) {
		uint64_t begin = now_ns();
		*moved = buckets_plan(b->map, b->buckets, b->members, b->nodes, &b->work, b->next).moved;
		b->took_ms[i] = (double)(now_ns() - begin) / 1e6;
	}
	qsort(b->took_ms, b->runs, sizeof b->took_ms[0], by_size);
	return b->took_ms[b->runs / 2];
}

static uint32_t number(const char *text, uint32_t most)
{
	unsigned long n = strtoul(text, NULL, 10);
	if (n == 0 || n > most)
		errx(1, "%s: 1 to %u", text, most);
	return (uint32_t)n;
}

int main(int argc, char **argv)
{
	static struct bench b;
	uint32_t begins, dies, joins;

	b.nodes = (uint16_t)(argc > 1 ? number(argv[1], BUCKETS_MANAGERS_MAX) : 1000);
	b.buckets = argc > 2 ? number(argv[2], BUCKETS_MAX) : 16384;
	b.runs = argc > 3 ? number(argv[3], 1000000) : 1001;
	b.took_ms = malloc(b.runs * sizeof b.took_ms[0]);
	if (b.took_ms == NULL)
		err(1, "malloc");
	/* Names that share their beginning, as hosts' do, in an order that is not theirs. */
	for (uint32_t i = 0; i < b.nodes; i++) {
		snprintf(b.names[i], NAME_ROOM, "node-%05u", i * 7919 % 10007);
		b.members[i] = (struct buckets_member){view_str(b.names[i]), BUCKETS_MANAGES};
	}
	buckets_init(b.map, b.buckets);
	double begin_ms = median_ms(&b, &begins);
	memcpy(b.map, b.next, sizeof b.map);
	b.members[b.nodes / 2].role = BUCKETS_GONE;
	double die_ms = median_ms(&b, &dies);
	memcpy(b.map, b.next, sizeof b.map);
	b.members[b.nodes / 2].role = BUCKETS_MANAGES;
	double join_ms = median_ms(&b, &joins);
	printf("{\"nodes\": %u, \"buckets\": %u, \"begin_ms\": %.3f, \"begin_moved\": %u, \"die_ms\": %.3f, "
	       "\"die_moved\": %u, "
	       "\"join_ms\": %.3f, \"join_moved\": %u}\n",
	       b.nodes, b.buckets, begin_ms, begins, die_ms, dies, join_ms, joins);
	free(b.took_ms);
	return 0;
}
