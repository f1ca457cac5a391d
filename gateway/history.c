/* The ring of seconds. Depends on nothing but what is handed in. */
#include "gateway/history.h"

#include <pthread.h>
#include <stdlib.h>

/* The requests of one backend; its points lie as those of the ring do. */
struct series {
	char *app, *name; /* owned */
	uint64_t last;    /* the counter at the last call */
	uint32_t points[HISTORY_POINTS];
};

struct history {
	pthread_mutex_t lock; /* over all that readers see */
	struct history_point points[HISTORY_POINTS];
	size_t next, count;
	uint64_t taken;         /* points since the start */
	struct series **series; /* owned, as its elements; in the order of the generation's backends */
	size_t series_count;
	/* The main thread's own: */
	struct totals last;
	uint64_t generation;
	struct instant at; /* of `last`; 0: not called yet */
};

struct history *history_new(void)
{
	struct history *h = calloc(1, sizeof *h);

	if (h)
		pthread_mutex_init(&h->lock, NULL);
	return h;
}

static void series_free(struct series *s)
{
	if (!s)
		return;
	free(s->app);
	free(s->name);
	free(s);
}

static void series_drop(struct series **all, size_t count)
{
	for (size_t i = 0; i < count; i++)
		series_free(all[i]);
	free(all);
}

void history_free(struct history **hh)
{
	struct history *h = *hh;

	if (!h)
		return;
	series_drop(h->series, h->series_count);
	pthread_mutex_destroy(&h->lock);
	free(h);
	*hh = NULL;
}

/* --- backends --- */

static struct series *series_new(const struct history_backend *b)
{
	struct series *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	s->app = strdup(b->app);
	s->name = strdup(b->name);
	if (s->app && s->name)
		return s;
	series_free(s);
	return NULL;
}

static size_t series_find(struct series *const *all, size_t count, const char *app, const char *name)
{
	size_t i = 0;

	while (i < count && (!all[i] || strcmp(all[i]->app, app) != 0 || strcmp(all[i]->name, name) != 0))
		i++;
	return i;
}

/* A new generation: backends that stay keep their points. Without memory there are no series until it works. */
static void series_renew(struct history *h, const struct history_backend *backends, size_t count)
{
	struct series **fresh = calloc(count ? count : 1, sizeof *fresh);
	bool whole = fresh != NULL;

	for (size_t i = 0; fresh && i < count; i++) {
		size_t old = series_find(h->series, h->series_count, backends[i].app, backends[i].name);
		if (old < h->series_count) {
			fresh[i] = h->series[old];
			fresh[i]->last = 0;
			h->series[old] = NULL;
		} else {
			fresh[i] = series_new(&backends[i]);
		}
		whole = whole && fresh[i];
	}
	series_drop(h->series, h->series_count);
	if (!whole && fresh)
		series_drop(fresh, count);
	h->series = whole ? fresh : NULL;
	h->series_count = whole ? count : 0;
}

/* --- one second --- */

/* What has grown from `before` to `now` in `ms`, brought to one second. */
static uint32_t rate(uint64_t now, uint64_t before, uint64_t ms)
{
	uint64_t grown = now > before ? now - before : 0;
	uint64_t per_second = (grown * HISTORY_STEP_MS + ms / 2) / ms;

	return per_second < UINT32_MAX ? (uint32_t)per_second : UINT32_MAX;
}

static uint64_t ended(const struct totals *t)
{
	return t->requests.ended[METRICS_OK] + t->requests.ended[METRICS_FAILED] + t->requests.ended[METRICS_ABORTED];
}

static struct history_point point_of(const struct totals *before, const struct totals *now, uint64_t ms)
{
	struct metrics_sum in_it = {.begun = 0};

	for (size_t i = 0; i < METRICS_BUCKETS; i++)
		in_it.latency[i] = now->requests.latency[i] - before->requests.latency[i];
	return (struct history_point){
	    .requests = rate(ended(now), ended(before), ms),
	    .errors = rate(totals_errors(now), totals_errors(before), ms),
	    .p50_us = metrics_percentile_us(&in_it, 50),
	    .p99_us = metrics_percentile_us(&in_it, 99),
	    .demoted = rate(now->sessions.demoted, before->sessions.demoted, ms),
	    .promoted = rate(now->sessions.promoted, before->sessions.promoted, ms),
	    .connections = now->connections,
	    .running = totals_running(now),
	    .memory = now->sessions.sessions,
	    .below = now->sessions.below_sessions,
	};
}

/* Under the lock. `ms` 0: nothing but the counters to go on from. */
static void put_backends(struct history *h, const struct history_backend *backends, uint64_t ms)
{
	for (size_t i = 0; i < h->series_count; i++) {
		struct series *s = h->series[i];
		if (ms > 0)
			s->points[h->next] = rate(backends[i].requests, s->last, ms);
		s->last = backends[i].requests;
	}
}

void history_put(struct history *h, const struct totals *t, uint64_t generation, const struct history_backend *backends,
		 size_t backend_count, struct instant now)
{
	bool first = h->at.ms == 0;
	uint64_t ms = instant_since_ms(now, h->at);

	if (!first && ms == 0)
		return;
	pthread_mutex_lock(&h->lock);
	if (first || generation != h->generation || h->series_count != backend_count)
		series_renew(h, backends, backend_count);
	if (!first)
		h->points[h->next] = point_of(&h->last, t, ms);
	put_backends(h, backends, first ? 0 : ms);
	if (!first) {
		h->next = (h->next + 1) % HISTORY_POINTS;
		h->count += h->count < HISTORY_POINTS;
		h->taken++;
	}
	pthread_mutex_unlock(&h->lock);
	h->last = *t;
	h->generation = generation;
	h->at = now;
}

/* --- reading --- */

/* Where the oldest of the points lies. Under the lock. */
static size_t oldest(const struct history *h)
{
	return (h->next + HISTORY_POINTS - h->count) % HISTORY_POINTS;
}

size_t history_read(struct history *h, struct history_point out[HISTORY_POINTS], uint64_t *taken)
{
	pthread_mutex_lock(&h->lock);
	size_t count = h->count;
	*taken = h->taken;
	for (size_t i = 0; i < count; i++)
		out[i] = h->points[(oldest(h) + i) % HISTORY_POINTS];
	pthread_mutex_unlock(&h->lock);
	return count;
}

/* Under the lock. */
static size_t sum_up(const struct history *h, const struct series *s, uint32_t out[HISTORY_SUMS])
{
	/* The oldest points, when the ring has cut through their sum, are left out. */
	size_t first = (size_t)((HISTORY_SUM - (h->taken - h->count) % HISTORY_SUM) % HISTORY_SUM);
	size_t sums = 0;

	for (size_t i = first; i < h->count; i++) {
		uint32_t value = s->points[(oldest(h) + i) % HISTORY_POINTS];
		if ((i - first) % HISTORY_SUM == 0)
			out[sums++] = 0;
		out[sums - 1] = value < UINT32_MAX - out[sums - 1] ? out[sums - 1] + value : UINT32_MAX;
	}
	return sums;
}

size_t history_read_backend(struct history *h, const char *app, const char *name, uint32_t out[HISTORY_SUMS])
{
	size_t sums = 0;

	pthread_mutex_lock(&h->lock);
	size_t at = series_find(h->series, h->series_count, app, name);
	if (at < h->series_count)
		sums = sum_up(h, h->series[at], out);
	pthread_mutex_unlock(&h->lock);
	return sums;
}
