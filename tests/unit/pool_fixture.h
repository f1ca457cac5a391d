/* Workers with a pool each, requests that the test steers, and applications that answer as they are told. Each worker
 * and each application is a thread. What they share with the test changes under `hub` only. */
#ifndef WEIR_TESTS_UNIT_POOL_FIXTURE_H
#define WEIR_TESTS_UNIT_POOL_FIXTURE_H

#include "backend/pool.h"

#include "base/error.h"
#include "base/log.h"
#include "net/socket.h"
#include "tests/unit/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <cmocka.h>

enum { WORKERS = 3, BACKENDS = 3, LINKS = 64, REQUESTS = 128, PATIENCE_MS = 30000, LOOK_MS = 2 };

static pthread_mutex_t hub = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t hub_changed = PTHREAD_COND_INITIALIZER;

static inline void hub_tell(void)
{
	pthread_cond_broadcast(&hub_changed);
}

/* With `hub` held: until somebody tells, or a moment has passed. */
static inline void hub_wait(void)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += LOOK_MS * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_nsec -= 1000000000L;
		until.tv_sec++;
	}
	pthread_cond_timedwait(&hub_changed, &hub, &until);
}

#define AWAIT(condition)                                                                                               \
	do {                                                                                                           \
		struct instant since_ = clock_now();                                                                   \
		bool in_time_ = true;                                                                                  \
		pthread_mutex_lock(&hub);                                                                              \
		while (!(condition) && in_time_) {                                                                     \
			hub_wait();                                                                                    \
			in_time_ = instant_since_ms(clock_now(), since_) < PATIENCE_MS;                                \
		}                                                                                                      \
		pthread_mutex_unlock(&hub);                                                                            \
		if (!in_time_)                                                                                         \
			fail_msg("in vain: %s", #condition);                                                           \
	} while (0)

/* Nothing that is under way may make the condition true; given some time to do so. */
#define NEVER(condition, ms)                                                                                           \
	do {                                                                                                           \
		struct instant from_ = clock_now();                                                                    \
		AWAIT((condition) || instant_since_ms(clock_now(), from_) > (ms));                                     \
		pthread_mutex_lock(&hub);                                                                              \
		bool came_ = (condition);                                                                              \
		pthread_mutex_unlock(&hub);                                                                            \
		assert_false(came_);                                                                                   \
	} while (0)

/* --- applications --- */

struct app_link {
	int fd;
	struct fcgi_decoder decoder;
	uint16_t id; /* of the request */
	bool asked;  /* a request is complete and not answered */
};

struct application {
	struct net_address address;
	pthread_t thread;
	bool running;
	int listener; /* -1: refuses */
	struct app_link links[LINKS];
	size_t open, most_open;      /* connections */
	unsigned accepted, answered; /* since the beginning */
	bool overlapped;             /* two requests at once on one connection */
	bool accepts, answers, quit; /* what it is told */
	bool closes_after;           /* each answer */
	bool hang_up;                /* closes all now */
	bool babble;                 /* writes something nobody asked for on all, now */
};

static struct application apps[BACKENDS];

static inline void link_close(struct application *a, size_t i)
{
	close(a->links[i].fd);
	a->links[i] = a->links[--a->open];
}

/* False when the connection has ended. */
static inline bool link_read(struct application *a, struct app_link *l)
{
	uint8_t space[4096];
	struct fcgi_event ev;
	ssize_t n;

	while ((n = recv(l->fd, space, sizeof space, MSG_DONTWAIT)) > 0) {
		struct view in = view_of(space, (size_t)n);
		while (fcgi_next(&l->decoder, &in, &ev) == DECODE_OK) {
			if (ev.kind == FCGI_EV_BEGIN && l->asked)
				a->overlapped = true;
			if (ev.kind == FCGI_EV_STREAM_END && ev.type == FCGI_STDIN)
				l->asked = true;
			l->id = ev.id;
		}
	}
	return n < 0 && errno == EAGAIN;
}

static inline void link_answer(struct application *a, struct app_link *l)
{
	struct buf out = {.data = NULL};

	fcgi_put_stream(&out, FCGI_STDOUT, l->id, VIEW("Status: 200 OK\r\n\r\nhello"));
	fcgi_put_end(&out, l->id, 0, FCGI_REQUEST_COMPLETE);
	l->asked = false;
	a->answered++;
	(void)send(l->fd, buf_view(&out).at, buf_len(&out), MSG_NOSIGNAL);
	buf_fini(&out);
}

static inline void application_links(struct application *a)
{
	for (size_t i = a->open; i-- > 0;) {
		struct app_link *l = &a->links[i];
		bool ends = !link_read(a, l) || a->hang_up;
		if (!ends && a->babble)
			(void)send(l->fd, "babble", 6, MSG_NOSIGNAL);
		if (!ends && a->answers && l->asked) {
			link_answer(a, l);
			ends = a->closes_after;
		}
		if (ends)
			link_close(a, i);
	}
	a->hang_up = a->babble = false;
}

/* A pool closes one connection before it opens the next: those that have ended are counted out first. */
static inline void application_accept(struct application *a)
{
	int fd = a->accepts && a->listener >= 0 && a->open < LINKS ? accept(a->listener, NULL, NULL) : -1;

	if (fd < 0)
		return;
	application_links(a);
	a->links[a->open] = (struct app_link){.fd = fd};
	fcgi_decoder_init(&a->links[a->open].decoder, FCGI_SERVER);
	a->open++;
	a->accepted++;
	if (a->open > a->most_open)
		a->most_open = a->open;
}

static inline void *application_run(void *arg)
{
	struct application *a = arg;
	struct pollfd fds[LINKS + 1];

	pthread_mutex_lock(&hub);
	while (!a->quit) {
		nfds_t n = 0;
		application_accept(a);
		application_links(a);
		hub_tell();
		for (size_t i = 0; i < a->open; i++)
			fds[n++] = (struct pollfd){.fd = a->links[i].fd, .events = POLLIN};
		if (a->accepts)
			fds[n++] = (struct pollfd){.fd = a->listener, .events = POLLIN};
		pthread_mutex_unlock(&hub);
		poll(fds, n, LOOK_MS);
		pthread_mutex_lock(&hub);
	}
	while (a->open > 0)
		link_close(a, 0);
	pthread_mutex_unlock(&hub);
	return NULL;
}

static inline int listen_unix(const struct net_address *address, int backlog)
{
	static const struct net_unix_access access = {.mode = 0600, .uid = (uid_t)-1, .gid = (gid_t)-1};
	int fd = -1;

	assert_int_equal(net_listen(address, backlog, &access, &fd), 0);
	return fd;
}

static inline void application_listen(struct application *a)
{
	int fd = listen_unix(&a->address, 64);

	pthread_mutex_lock(&hub);
	a->listener = fd;
	pthread_mutex_unlock(&hub);
}

static inline void application_refuse(struct application *a)
{
	pthread_mutex_lock(&hub);
	close(a->listener);
	a->listener = -1;
	pthread_mutex_unlock(&hub);
}

#define TELL(app, what, value)                                                                                         \
	do {                                                                                                           \
		pthread_mutex_lock(&hub);                                                                              \
		(app).what = (value);                                                                                  \
		pthread_mutex_unlock(&hub);                                                                            \
	} while (0)

/* --- workers --- */

struct worker {
	struct net_loop loop;
	struct pool *pool;
	pthread_t thread;
};

static struct worker workers[WORKERS];
static size_t worker_count;
static struct pool_book book;
static struct pool_shared *shared;
static size_t shared_backends; /* of its app */

/* Set up before bed_make(). */
static struct pool_backend_options options[BACKENDS];
static uint32_t queue_max;

static inline void *worker_run(void *arg)
{
	net_loop_run(&((struct worker *)arg)->loop);
	return NULL;
}

/* --- requests --- */

enum request_state { NEW, WAITING, HELD, RUNNING, DONE, BROKEN, FAILED, CANCELLED };

struct request {
	struct pool_ticket ticket;
	struct worker *w;
	struct conn *conn; /* while HELD or RUNNING */
	enum request_state state;
	int err;
	bool runs;               /* as soon as it has a connection */
	bool was_kept;           /* its connection had served another one */
	bool gave_up;            /* it was cancelled while a grant was on its way */
	unsigned order;          /* in which order it got a connection, from 1 */
	struct request *cancels; /* as soon as this one has given its connection back */
	unsigned rounds;         /* that are left, for the stress */
	uint32_t seed;
};

static struct request requests[REQUESTS];
static size_t request_count;
static unsigned order_last;

static inline void request_set(struct request *r, enum request_state state, int err)
{
	pthread_mutex_lock(&hub);
	r->state = state;
	r->err = err;
	hub_tell();
	pthread_mutex_unlock(&hub);
}

static inline void cancel(struct worker *w, struct request *r)
{
	(void)w;
	if (pool_cancel(&r->ticket)) {
		request_set(r, CANCELLED, 0);
	} else {
		pthread_mutex_lock(&hub);
		r->gave_up = true;
		pthread_mutex_unlock(&hub);
	}
}

static void (*after_request)(struct request *r); /* for the stress; on the worker's thread */

static inline void request_then(void (*what)(struct request *))
{
	pthread_mutex_lock(&hub);
	after_request = what;
	pthread_mutex_unlock(&hub);
}

static inline void request_over(struct request *r, enum request_state state, int err)
{
	if (r->cancels)
		cancel(r->w, r->cancels);
	request_set(r, state, err);
	pthread_mutex_lock(&hub);
	void (*then)(struct request *) = after_request;
	pthread_mutex_unlock(&hub);
	if (then)
		then(r);
}

static inline void on_out(void *owner, struct view data)
{
	(void)owner;
	(void)data;
}

static inline void on_ended(void *owner, uint32_t status)
{
	struct request *r = owner;

	(void)status;
	pool_release(r->conn, true);
	r->conn = NULL;
	request_over(r, DONE, 0);
}

static inline void on_failed(void *owner, int err)
{
	struct request *r = owner;

	pool_release(r->conn, false);
	r->conn = NULL;
	request_over(r, BROKEN, err);
}

static inline void on_pressure(void *owner)
{
	(void)owner;
}

static const struct conn_events events = {
    .out = on_out,
    .log = on_out,
    .ended = on_ended,
    .failed = on_failed,
    .full = on_pressure,
    .drained = on_pressure,
};

/* Sends the request; what the application does ends it. */
static inline void run(struct worker *w, struct request *r)
{
	static const struct params none = {.wire = WIRE_FCGI};
	struct conn_request q = {.role = FCGI_RESPONDER, .params = &none, .keep_alive = true};

	(void)w;
	request_set(r, RUNNING, 0);
	if (conn_begin(r->conn, &q) != 0)
		abort();
	conn_body_end(r->conn, FCGI_STDIN, true);
}

static inline void request_has(struct request *r, struct conn *c)
{
	pool_lend(c, &events, r);
	r->conn = c;
	pthread_mutex_lock(&hub);
	r->was_kept = c->kept;
	r->order = ++order_last;
	pthread_mutex_unlock(&hub);
	request_set(r, HELD, 0);
	if (r->runs)
		run(r->w, r);
}

static inline void on_ready(struct pool_ticket *t, struct conn *c, int err)
{
	struct request *r = CONTAINER_OF(t, struct request, ticket);

	if (c)
		request_has(r, c);
	else if (err == ERR_GONE && r->gave_up)
		request_over(r, CANCELLED, ERR_GONE);
	else
		request_over(r, FAILED, err);
}

static inline void take(struct worker *w, struct request *r)
{
	int err;

	(void)w;
	request_set(r, WAITING, 0);
	struct conn *c = pool_take(&r->ticket, &err);
	if (c)
		request_has(r, c);
	else if (err)
		request_over(r, FAILED, err);
}

static inline void abandon(struct worker *w, struct request *r)
{
	(void)w;
	pool_abandon(r->conn);
	r->conn = NULL;
	request_over(r, DONE, 0);
}

/* The backend did not do its part. */
static inline void blame(struct worker *w, struct request *r)
{
	(void)w;
	pool_release(r->conn, false);
	r->conn = NULL;
	request_over(r, BROKEN, 0);
}

/* --- what the test has a worker do --- */

struct order {
	struct mail mail;
	void (*act)(struct worker *, struct request *);
	struct worker *w;
	struct request *r;
	bool done;
};

static inline void deliver_order(struct mail *mail)
{
	struct order *o = CONTAINER_OF(mail, struct order, mail);

	o->act(o->w, o->r);
	pthread_mutex_lock(&hub);
	o->done = true;
	hub_tell();
	pthread_mutex_unlock(&hub);
}

/* Done on the worker's thread when this returns. */
static inline void ask(struct worker *w, void (*act)(struct worker *, struct request *), struct request *r)
{
	struct order o = {.mail.deliver = deliver_order, .act = act, .w = w, .r = r};

	net_loop_post(&w->loop, &o.mail);
	pthread_mutex_lock(&hub);
	while (!o.done)
		hub_wait();
	pthread_mutex_unlock(&hub);
}

static inline void ask_of(struct request *r, void (*act)(struct worker *, struct request *))
{
	ask(r->w, act, r);
}

static inline void ticket_make(struct worker *w, struct request *r)
{
	pool_ticket_init(&r->ticket, w->pool, 0, on_ready);
}

static inline struct request *request_new(size_t worker)
{
	struct request *r = &requests[request_count++];

	*r = (struct request){.w = &workers[worker], .seed = (uint32_t)request_count};
	ask(r->w, ticket_make, r);
	return r;
}

/* One that has asked, and is HELD, WAITING or FAILED. */
static inline struct request *request_take(size_t worker)
{
	struct request *r = request_new(worker);

	ask_of(r, take);
	return r;
}

static inline struct request *request_hold(size_t worker)
{
	struct request *r = request_take(worker);

	AWAIT(r->state != WAITING);
	assert_int_equal(r->state, HELD);
	return r;
}

static inline void request_finish(struct request *r)
{
	ask_of(r, run);
	AWAIT(r->state != RUNNING);
	assert_int_equal(r->state, DONE);
}

static inline struct pool_backend_stats stats(size_t backend)
{
	struct pool_backend_stats s;

	pool_backend_stats(shared, 0, backend, &s);
	return s;
}

/* --- the whole --- */

static inline int set_up(void **unused)
{
	(void)unused;
	if (folder_make() || log_open(LOG_ERROR, in_folder("log")))
		return -1;
	queue_max = 1000;
	worker_count = request_count = order_last = 0;
	after_request = NULL;
	for (size_t i = 0; i < BACKENDS; i++) {
		char name[16];
		snprintf(name, sizeof name, "app%zu", i);
		apps[i] = (struct application){.listener = -1, .accepts = true, .answers = true};
		if (!net_address_unix(&apps[i].address, in_folder(name)))
			return -1;
		application_listen(&apps[i]);
		options[i] = (struct pool_backend_options){
		    .name = "app",
		    .address = apps[i].address,
		    .keep_alive = true,
		    .connections = 1,
		    .weight = 1,
		    .idle_timeout_ms = 100000,
		    .connect_timeout_ms = 20000,
		    .health = {.fails = 1000, .backoff_min_ms = 100000, .backoff_max_ms = 100000},
		};
	}
	return 0;
}

static inline void bed_make(size_t threads, size_t backends)
{
	struct pool_app_options app = {
	    .name = "shop", .backends = options, .backend_count = backends, .queue = queue_max};

	pool_book_init(&book);
	shared_backends = backends;
	shared = pool_shared_new(&book, &app, 1, threads);
	assert_non_null(shared);
	for (size_t i = 0; i < threads; i++) {
		assert_int_equal(net_loop_init(&workers[i].loop), 0);
		workers[i].pool = pool_new(shared, &workers[i].loop, i);
		assert_non_null(workers[i].pool);
	}
	pool_shared_lead(shared, NULL);
	for (worker_count = 0; worker_count < threads; worker_count++) {
		struct worker *w = &workers[worker_count];
		assert_int_equal(pthread_create(&w->thread, NULL, worker_run, w), 0);
	}
	for (size_t i = 0; i < backends; i++) {
		assert_int_equal(pthread_create(&apps[i].thread, NULL, application_run, &apps[i]), 0);
		apps[i].running = true;
	}
}

static inline void close_pool(struct worker *w, struct request *r)
{
	(void)r;
	pool_close(w->pool);
}

static inline void stop_loop(struct worker *w, struct request *r)
{
	(void)r;
	net_loop_stop(&w->loop);
}

static inline void forget_others(struct worker *w, struct request *r)
{
	(void)w;
	r->cancels = NULL;
}

/* Ends what the test has left over. */
static inline void give_up(struct worker *w, struct request *r)
{
	if (r->conn)
		abandon(w, r);
	else if (r->state == WAITING && !r->gave_up)
		cancel(w, r);
}

static inline int tear_down(void **unused)
{
	bool clean = true;

	(void)unused;
	request_then(NULL);
	for (size_t i = 0; i < request_count; i++)
		ask_of(&requests[i], forget_others);
	for (size_t i = 0; i < request_count; i++) {
		ask_of(&requests[i], give_up);
		AWAIT(requests[i].state != WAITING);
	}
	for (size_t i = 0; i < worker_count; i++)
		ask(&workers[i], close_pool, NULL);
	for (size_t i = 0; worker_count > 0 && i < shared_backends; i++)
		clean = clean && stats(i).open == 0 && stats(i).active == 0 && stats(i).idle == 0;
	for (size_t i = 0; i < worker_count; i++)
		ask(&workers[i], stop_loop, NULL);
	for (size_t i = 0; i < worker_count; i++) {
		pthread_join(workers[i].thread, NULL);
		net_loop_fini(&workers[i].loop);
		pool_free(&workers[i].pool);
	}
	pool_shared_free(&shared);
	for (size_t i = 0; i < BACKENDS; i++) {
		if (apps[i].running) {
			AWAIT(apps[i].open == 0);
			TELL(apps[i], quit, true);
			pthread_join(apps[i].thread, NULL);
		}
		if (apps[i].listener >= 0)
			close(apps[i].listener);
	}
	log_close();
	return folder_remove() || !clean;
}

#endif
