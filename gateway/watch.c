/* The look of each second. */
#include "gateway/watch.h"

#include <pthread.h>
#include <stdlib.h>

struct watch {
	struct daemon *daemon;   /* borrowed */
	struct history *history; /* owned */
	struct net_timer timer;
	struct instant due; /* when the next look should be: late ones must not add up */
	pthread_mutex_t lock;
	struct watch_process process; /* guarded by lock */
};

/* --- the look --- */

static size_t count_backends(const struct conf *c)
{
	size_t n = 0;

	for (size_t i = 0; i < c->app_count; i++)
		n += c->apps[i].backend_count;
	return n;
}

static void look_backends(const struct generation *g, struct history_backend *out)
{
	struct generation_backend b;

	for (size_t i = 0; i < g->conf->app_count; i++) {
		for (size_t k = 0; k < g->conf->apps[i].backend_count; k++) {
			generation_backend(g, i, k, &b);
			*out++ = (struct history_backend){.app = b.app, .name = b.name, .requests = b.requests};
		}
	}
}

static void look(struct watch *w)
{
	const struct gateway *g = control_gateway(w->daemon);
	size_t count = count_backends(g->generation->conf);
	struct history_backend *backends = calloc(count ? count : 1, sizeof *backends);
	struct control_status s;
	struct totals t;

	control_status(w->daemon, &s);
	pthread_mutex_lock(&w->lock);
	w->process = (struct watch_process){
	    .state = s.state,
	    .generation = s.generation,
	    .reloads_failed = s.reloads_failed,
	    .uptime_s = s.uptime_s,
	    .started_s = s.started_s,
	    .reloaded_s = s.reloaded_s,
	};
	pthread_mutex_unlock(&w->lock);
	totals_gather(g, &t);
	if (backends)
		look_backends(g->generation, backends);
	history_put(w->history, &t, s.generation, backends, backends ? count : 0, net_now(control_loop(w->daemon)));
	free(backends);
}

static void on_timer(struct net_timer *timer)
{
	struct watch *w = CONTAINER_OF(timer, struct watch, timer);
	struct net_loop *loop = control_loop(w->daemon);
	struct instant now = net_now(loop);

	look(w);
	do
		w->due = instant_add_ms(w->due, HISTORY_STEP_MS);
	while (!instant_before(now, w->due));
	net_timer_start(loop, timer, instant_since_ms(w->due, now));
}

/* --- life --- */

struct watch *watch_new(struct daemon *d)
{
	struct watch *w = calloc(1, sizeof *w);

	if (!w)
		return NULL;
	w->daemon = d;
	w->process.state = "starting";
	net_timer_init(&w->timer, on_timer);
	pthread_mutex_init(&w->lock, NULL);
	w->history = history_new();
	if (!w->history)
		watch_free(&w);
	return w;
}

void watch_start(struct watch *w)
{
	struct net_loop *loop = control_loop(w->daemon);

	look(w);
	w->due = instant_add_ms(net_now(loop), HISTORY_STEP_MS);
	net_timer_start(loop, &w->timer, HISTORY_STEP_MS);
}

void watch_stop(struct watch *w)
{
	if (w)
		net_timer_stop(control_loop(w->daemon), &w->timer);
}

void watch_free(struct watch **ww)
{
	struct watch *w = *ww;

	if (!w)
		return;
	history_free(&w->history);
	pthread_mutex_destroy(&w->lock);
	free(w);
	*ww = NULL;
}

/* --- for the other threads --- */

void watch_process(struct watch *w, struct watch_process *out)
{
	pthread_mutex_lock(&w->lock);
	*out = w->process;
	pthread_mutex_unlock(&w->lock);
}

struct history *watch_history(struct watch *w)
{
	return w->history;
}
