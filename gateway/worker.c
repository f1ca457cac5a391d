/* A worker thread: start, drain, close, finish. */
#include "gateway/worker.h"

#include "base/error.h"
#include "base/invariant.h"
#include "base/log.h"
#include "base/thread.h"
#include "gateway/fence.h"
#include "gateway/front.h"
#include "gateway/share.h"
#include "gateway/socket_client.h"

#include <sched.h>
#include <stdlib.h>

enum {
	EXPIRY_MS = 1000,     /* between two looks at the sessions */
	EXPIRY_AGAIN_MS = 10, /* when one look did not end them all */
	EXPIRY_MAX = 512,     /* sessions ended in one look: bounds the pause of requests */
};

/* --- expiry of sessions --- */

/* Each worker looks after its part of memory. Not while the node is fenced: it cannot know what has been done to the
 * sessions elsewhere. */
static void on_expiry(struct net_timer *timer)
{
	struct worker *w = CONTAINER_OF(timer, struct worker, expiry);
	bool more = !fence_is_up(w->gateway) &&
		    stack_expire(w->gateway->stack, w->index, w->gateway->worker_count, EXPIRY_MAX, net_now(&w->loop));

	net_timer_start(&w->loop, timer, more ? EXPIRY_AGAIN_MS : EXPIRY_MS);
}

/* --- the end, step by step --- */

static struct worker *worker_of_mail(struct mail *mail, size_t offset)
{
	return (struct worker *)(void *)((char *)mail - offset);
}

static void stop_listening(struct worker *w)
{
	LIST_EACH (node, &w->listeners)
		listener_close(CONTAINER_OF(node, struct listener, link), false);
}

/* To web servers. Session sockets stay: the requests that run have sessions to store. */
static void deliver_unlisten(struct mail *mail)
{
	struct worker *w = worker_of_mail(mail, offsetof(struct worker, unlisten));

	LIST_EACH (node, &w->listeners) {
		struct listener *l = CONTAINER_OF(node, struct listener, link);
		if (!l->app)
			listener_close(l, !w->closing);
	}
	w->gateway->unlistened(w->gateway, w->index);
}

static void deliver_drain(struct mail *mail)
{
	struct worker *w = worker_of_mail(mail, offsetof(struct worker, drain));

	w->draining = true;
	pool_drain(w->share->pool); /* the older ones are */
	LIST_EACH (node, &w->fronts)
		front_drain(CONTAINER_OF(node, struct front, link));
	worker_look_quiet(w);
}

static void deliver_hang_up(struct mail *mail)
{
	struct worker *w = worker_of_mail(mail, offsetof(struct worker, hang_up));

	w->hung_up = true;
	stop_listening(w);
	LIST_EACH (node, &w->socket_clients)
		socket_client_drain(socket_client_of(node));
	worker_look_quiet(w);
}

/* Requests are given up, connections closed; pools when the last request has gone. */
static void deliver_close(struct mail *mail)
{
	struct worker *w = worker_of_mail(mail, offsetof(struct worker, close));
	unsigned given_up = 0;

	w->draining = w->closing = w->hung_up = true;
	stop_listening(w);
	while (!list_empty(&w->fronts)) {
		struct front *f = CONTAINER_OF(w->fronts.next, struct front, link);
		given_up += f->request_count;
		front_close(f, NULL);
	}
	if (given_up > 0)
		log_event(LOG_WARN, "requests_given_up", LOG_I("worker", w->index), LOG_I("requests", given_up));
	LIST_EACH (node, &w->socket_clients)
		socket_client_close(socket_client_of(node));
	worker_look_quiet(w);
}

void worker_look_quiet(struct worker *w)
{
	if (!w->draining || w->quiet || atomic_load(&w->front_count) > 0 || w->zombies > 0)
		return;
	if (!w->served) {
		w->served = true;
		w->gateway->served(w->gateway, w->index);
	}
	if (!w->hung_up || atomic_load(&w->socket_count) > 0)
		return;
	w->quiet = true;
	w->gateway->quiet(w->gateway, w->index);
}

static void deliver_finish(struct mail *mail)
{
	struct worker *w = worker_of_mail(mail, offsetof(struct worker, finish));

	INVARIANT(w->quiet);
	net_timer_stop(&w->loop, &w->expiry);
	share_close_all(w);
	net_loop_stop(&w->loop);
}

static void post(struct worker *w, struct mail *mail, void (*deliver)(struct mail *))
{
	list_init(&mail->link);
	mail->deliver = deliver;
	net_loop_post(&w->loop, mail);
}

void worker_unlisten(struct worker *w)
{
	post(w, &w->unlisten, deliver_unlisten);
}

void worker_drain(struct worker *w)
{
	post(w, &w->drain, deliver_drain);
}

void worker_hang_up(struct worker *w)
{
	post(w, &w->hang_up, deliver_hang_up);
}

void worker_close(struct worker *w)
{
	post(w, &w->close, deliver_close);
}

void worker_finish(struct worker *w)
{
	post(w, &w->finish, deliver_finish);
}

/* --- the thread --- */

/* A worker that is woken does not interrupt who woke it: the web server or the application goes on with what it has at
 * hand, messages gather, and each of them costs less than a wake-up. Measured beside the bare relay in
 * doc/performance.md. */
static void be_batch(void)
{
	struct sched_param none = {.sched_priority = 0};
	int err = pthread_setschedparam(pthread_self(), SCHED_BATCH, &none);

	if (err)
		log_event(LOG_WARN, "scheduling_not_set", LOG_S("reason", strerror(err)));
}

static void *run(void *arg)
{
	struct worker *w = arg;

	pthread_setname_np(pthread_self(), "weir-worker");
	if (w->share->generation->conf->scheduling == CONF_SCHEDULING_BATCH)
		be_batch();
	net_timer_start(&w->loop, &w->expiry, EXPIRY_MS);
	net_loop_run(&w->loop);
	return NULL;
}

int worker_init(struct worker *w, struct gateway *g, unsigned index)
{
	memset(w, 0, sizeof *w);
	w->gateway = g;
	w->index = index;
	list_init(&w->fronts);
	list_init(&w->socket_clients);
	list_init(&w->spare_requests);
	net_timer_init(&w->expiry, on_expiry);
	list_init(&w->shares);
	list_init(&w->listeners);
	int err = net_loop_init(&w->loop);
	w->made = err == 0;
	return err;
}

int worker_start(struct worker *w, struct generation_share *first)
{
	w->share = first;
	list_append(&w->shares, &first->link);
	int err = thread_start(&w->thread, run, w);
	w->running = err == 0;
	return err;
}

void worker_join(struct worker *w)
{
	pthread_join(w->thread, NULL);
	w->running = false;
}

void worker_fini(struct worker *w)
{
	if (!w->made)
		return;
	INVARIANT(!w->running);
	if (!w->quiet) { /* it never ran: its loop has not been told yet */
		net_loop_stop(&w->loop);
		net_loop_run(&w->loop);
	}
	request_free_spares(w);
	net_loop_fini(&w->loop);
	buf_fini(&w->scratch);
	buf_fini(&w->path);
}
