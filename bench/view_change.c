/* What a view change costs the core of a large cluster: at the coordinator, which loses a member and gets one, and at
 * a node, which installs what comes of it; and a beat to the coordinator. One line of JSON with the milliseconds at the
 * median.
 *
 *   view_change [members [apps [buckets [runs]]]] (1000 4 16384 51)
 *
 * Links with libweir.a. */
#include "bench/samples.h"
#include "cluster/core.h"

enum { NAME_ROOM = 16, T_MS = 8000, RUNS_MAX = 1000 };

struct bench {
	struct clus_core *coordinator, *node;
	char names[CLUS_MEMBERS_MAX][NAME_ROOM], apps[CLUS_APPS_MAX][NAME_ROOM];
	struct peer_hello hello;
	struct buf view, heard;
	bool proposed;
	uint64_t now_ms, incarnations;
	unsigned members, app_count, buckets, runs;
	double propose_ms[RUNS_MAX], commit_ms[RUNS_MAX], install_ms[RUNS_MAX], beat_ms[RUNS_MAX];
};

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double median(double *of, unsigned count)
{
	qsort(of, count, sizeof *of, by_size);
	return of[count / 2];
}

/* How long the step takes, with what it says being taken off. */
static double step_ms(struct bench *b, struct clus_core *c, struct clus_event e)
{
	struct clus_effect effect;
	uint64_t begin = now_ns();

	e.now = (struct lease_time){b->now_ms};
	memset(e.random, 7, sizeof e.random);
	if (clus_core_step(c, &e) != 0)
		errx(1, "no memory");
	uint64_t end = now_ns();
	while (clus_core_next(c, &effect)) {
		if (effect.kind != CLUS_DO_PROPOSE)
			continue;
		buf_clear(&b->view);
		buf_put(&b->view, effect.bytes);
		b->proposed = true;
	}
	return (double)(end - begin) / 1e6;
}

static void hello(struct bench *b, unsigned i)
{
	b->hello.name = view_str(b->names[i]);
	b->hello.address = VIEW("192.0.2.100:7400");
	b->hello.incarnation = ++b->incarnations;
	b->hello.app_count = (uint16_t)b->app_count;
	for (unsigned a = 0; a < b->app_count; a++)
		b->hello.apps[a] = (struct peer_app){view_str(b->apps[a]), 1, VIEW("mode=managed")};
}

static double joins(struct bench *b, unsigned i)
{
	hello(b, i);
	return step_ms(b, b->coordinator,
		       (struct clus_event){.kind = CLUS_LINK_UP, .name = b->hello.name, .hello = &b->hello});
}

/* The last step's proposal is agreed on; how long that takes here, and at the node. */
static void agree(struct bench *b, double *commit_ms, double *install_ms)
{
	while (b->proposed) {
		struct buf copy = {0};
		buf_put(&copy, buf_view(&b->view));
		b->proposed = false;
		*commit_ms =
		    step_ms(b, b->coordinator, (struct clus_event){.kind = CLUS_COMMITTED, .bytes = buf_view(&copy)});
		bool again = b->proposed;
		*install_ms = step_ms(b, b->node, (struct clus_event){.kind = CLUS_LEARNT, .bytes = buf_view(&copy)});
		b->proposed = again;
		buf_fini(&copy);
	}
}

static double beat(struct bench *b, unsigned i)
{
	struct peer_beat beat = {.epoch = clus_core_epoch(b->coordinator),
				 .heard_count = (uint16_t)b->members,
				 .heard = buf_view(&b->heard)};

	return step_ms(b, b->coordinator,
		       (struct clus_event){
			   .kind = CLUS_BEAT, .name = view_str(b->names[i]), .beat = &beat, .confirmed = {b->now_ms}});
}

static struct clus_core *core(struct bench *b, unsigned i)
{
	hello(b, i);
	struct clus_core_settings s = {.self = &b->hello, .failure_ms = T_MS, .buckets = b->buckets};
	struct clus_core *c = clus_core_new(&s, (struct lease_time){b->now_ms});
	if (!c)
		errx(1, "no memory");
	return c;
}

static void begin(struct bench *b)
{
	double unused;

	for (unsigned i = 0; i < b->members; i++) {
		snprintf(b->names[i], NAME_ROOM, "node-%04u", i);
		peer_heard_put(&b->heard, view_str(b->names[i]));
	}
	for (unsigned a = 0; a < b->app_count; a++)
		snprintf(b->apps[a], NAME_ROOM, "app-%03u", a);
	b->now_ms = 1000;
	b->coordinator = core(b, 0);
	b->node = core(b, b->members - 1);
	(void)step_ms(b, b->node, (struct clus_event){.kind = CLUS_FOLLOWS});
	(void)step_ms(b, b->coordinator, (struct clus_event){.kind = CLUS_COORDINATES});
	agree(b, &unused, &unused);
	for (unsigned i = 1; i < b->members; i++) {
		(void)joins(b, i);
		agree(b, &unused, &unused);
	}
}

static void run(struct bench *b, unsigned run)
{
	unsigned i = 1 + run % (b->members - 1);
	double unused;

	/* A member is started again: the old incarnation is out, the new one in. */
	(void)step_ms(b, b->coordinator, (struct clus_event){.kind = CLUS_LINK_DOWN, .name = view_str(b->names[i])});
	agree(b, &unused, &unused);
	b->propose_ms[run] = joins(b, i);
	agree(b, &b->commit_ms[run], &b->install_ms[run]);
	b->beat_ms[run] = beat(b, i);
	agree(b, &unused, &unused);
}

static unsigned number(const char *text, unsigned most)
{
	unsigned long n = strtoul(text, NULL, 10);
	if (n < 2 || n > most)
		errx(1, "%s: 2 to %u", text, most);
	return (unsigned)n;
}

int main(int argc, char **argv)
{
	static struct bench b;

	b.members = argc > 1 ? number(argv[1], CLUS_MEMBERS_MAX) : CLUS_MEMBERS_MAX;
	b.app_count = argc > 2 ? number(argv[2], CLUS_APPS_MAX) : 4;
	b.buckets = argc > 3 ? number(argv[3], BUCKETS_MAX) : 16384;
	b.runs = argc > 4 ? number(argv[4], RUNS_MAX) : 51;
	begin(&b);
	for (unsigned i = 0; i < b.runs; i++)
		run(&b, i);
	printf("{\"members\": %u, \"apps\": %u, \"buckets\": %u, \"view_bytes\": %zu, \"propose_ms\": %.3f, "
	       "\"commit_ms\": %.3f, \"install_ms\": %.3f, \"beat_ms\": %.3f}\n",
	       b.members, b.app_count, b.buckets, buf_len(&b.view), median(b.propose_ms, b.runs),
	       median(b.commit_ms, b.runs), median(b.install_ms, b.runs), median(b.beat_ms, b.runs));
	clus_core_free(&b.coordinator);
	clus_core_free(&b.node);
	buf_fini(&b.view);
	buf_fini(&b.heard);
	return 0;
}
