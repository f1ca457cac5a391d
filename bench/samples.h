/* What the loads of the bench note of each answer, and the one line of JSON that they print at the end. */
#ifndef WEIR_BENCH_SAMPLES_H
#define WEIR_BENCH_SAMPLES_H

#include <err.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* One good answer. */
struct sample {
	uint64_t at_us, took_us;
};

struct samples {
	struct sample *at; /* owned */
	size_t count, room;
};

static inline uint64_t now_ns(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline void samples_add(struct samples *s, uint64_t sent_ns)
{
	if (s->count == s->room) {
		s->room = s->room * 2 + 65536;
		s->at = realloc(s->at, s->room * sizeof *s->at);
		if (s->at == NULL)
			err(1, "realloc");
	}
	uint64_t now = now_ns();
	s->at[s->count++] = (struct sample){.at_us = now / 1000, .took_us = (now - sent_ns) / 1000};
}

static inline int sample_by_time(const void *a, const void *b)
{
	const struct sample *x = a, *y = b;
	return (x->took_us > y->took_us) - (x->took_us < y->took_us);
}

static inline void samples_report(struct samples *s, uint64_t took_ns, unsigned long errors)
{
	size_t n = s->count;
	if (n > 0)
		qsort(s->at, n, sizeof *s->at, sample_by_time);
	printf("{\"requests\": %zu, \"seconds\": %.3f, \"rate\": %.1f, \"p50_us\": %lu, \"p99_us\": %lu, "
	       "\"max_us\": %lu, \"errors\": %lu}\n",
	       n, (double)took_ns / 1e9, (double)n * 1e9 / (double)took_ns, n > 0 ? s->at[n / 2].took_us : 0,
	       n > 0 ? s->at[n * 99 / 100].took_us : 0, n > 0 ? s->at[n - 1].took_us : 0, errors);
}

#endif
