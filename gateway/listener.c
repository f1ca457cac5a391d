/* Accepting connections and spreading them over the workers. */
#include "gateway/listener.h"

#include "base/error.h"
#include "base/invariant.h"
#include "base/log.h"
#include "gateway/front.h"
#include "gateway/socket_client.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	ACCEPT_BATCH = 16, /* connections taken in one turn */
	REST_MS = 100,     /* when there is no descriptor even to refuse with */
};

/* Names were checked with the configuration; they can only vanish in between. */
static struct net_unix_access access_of(const struct conf_listen *c)
{
	struct net_unix_access a = {.mode = (mode_t)c->mode, .uid = (uid_t)-1, .gid = (gid_t)-1};
	const struct passwd *pw = c->owner && *c->owner ? getpwnam(c->owner) : NULL;
	const struct group *gr = c->group && *c->group ? getgrnam(c->group) : NULL;

	if (pw)
		a.uid = pw->pw_uid;
	if (gr)
		a.gid = gr->gr_gid;
	return a;
}

static bool address_of(const struct conf_listen *c, struct net_address *out)
{
	return c->address.kind == CONF_UNIX ? net_address_unix(out, c->address.path)
					    : net_address_tcp(out, c->address.host, c->address.port);
}

/* --- making and freeing --- */

static void deliver_start(struct mail *mail);

static const char *why_not(const struct conf_listen *c, int err)
{
	if (err == ERR_BUSY)
		return "another process listens there";
	if (err != ERR_SYSTEM)
		return error_text(err);
	if (errno == EACCES && c->address.kind == CONF_TCP && geteuid() != 0)
		return "Permission denied: weir is not root (any more), and only root can bind this port";
	return strerror(errno);
}

void listener_put_why(const struct conf_listen *c, const char *why, struct buf *report)
{
	buf_put_str(report, c->protocol == CONF_RESP ? "session.socket \"" : "listen \"");
	buf_put_str(report, c->address.text);
	buf_put_str(report, "\": ");
	buf_put_str(report, why);
	buf_put_str(report, "\n");
}

static void listener_free(struct listener *l)
{
	listener_close(l, false);
	free(l->name);
	free(l->app);
	free(l);
}

struct listener *listener_new(const struct conf_listen *c, const char *app, struct buf *report, int *err)
{
	struct listener *l = calloc(1, sizeof *l);

	*err = ERR_NO_MEMORY;
	if (!l)
		return NULL;
	l->fd = l->reserve = -1;
	l->conf = c;
	l->access = access_of(c);
	l->backlog = (int)c->backlog;
	list_init(&l->link);
	list_init(&l->start.link);
	list_init(&l->stop.link);
	l->start.deliver = deliver_start;
	l->name = strdup(c->address.text);
	l->app = app ? strdup(app) : NULL;
	if (!l->name || (app && !l->app))
		goto fail;
	*err = address_of(c, &l->address) ? net_listen(&l->address, l->backlog, &l->access, &l->fd) : ERR_CONFIG;
	if (*err) {
		listener_put_why(c, why_not(c, *err), report);
		goto fail;
	}
	l->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
	l->users = 1;
	return l;
fail:
	listener_free(l);
	return NULL;
}

void listener_unref(struct listener **ls)
{
	struct listener *l = *ls;

	*ls = NULL;
	if (!l || --l->users > 0)
		return;
	INVARIANT(!l->worker);
	INVARIANT(atomic_load(&l->connections) == 0);
	listener_free(l);
}

bool listener_at(const struct listener *l, const struct conf_listen *c)
{
	struct net_address a;

	return address_of(c, &a) && net_address_equal(&a, &l->address);
}

bool listener_serves(const struct listener *l, const char *app)
{
	return l->app && app ? strcmp(l->app, app) == 0 : l->app == app;
}

bool listener_adjust(struct listener *l, const struct conf_listen *c)
{
	struct net_unix_access a = access_of(c);
	int why = 0;

	if (l->backlog != (int)c->backlog && listen(l->fd, (int)c->backlog) != 0)
		why = errno;
	else
		l->backlog = (int)c->backlog;
	if (!l->address.is_unix || (a.mode == l->access.mode && a.uid == l->access.uid && a.gid == l->access.gid)) {
		errno = why;
		return why == 0;
	}
	if (net_unix_access_set(l->address.path, &a) == 0)
		l->access = a;
	else
		why = errno;
	errno = why;
	return why == 0;
}

/* --- handing over to a worker --- */

/* How many connections of its kind the worker has, also those on their way to it. */
static atomic_uint *count_of(const struct listener *l, struct worker *w)
{
	return l->app ? &w->socket_count : &w->front_count;
}

/* On the worker's thread. `share` is the worker's of the newest generation that the polling worker knows to name the
 * listener; whichever of the two has gone over to a newer one first, a session socket's connection belongs to the
 * newest of this worker's that does. */
static void open_on(struct worker *w, struct listener *l, struct generation_share *share, int fd)
{
	if (!l->app) {
		front_new(w, l, fd);
	} else if (w->hung_up) {
		close(fd);
		atomic_fetch_sub(&l->connections, 1);
		atomic_fetch_sub(&w->socket_count, 1);
		worker_look_quiet(w);
	} else {
		socket_client_new(w, l, generation_listen(w->share->generation, l) ? NULL : share, fd);
	}
}

struct handover {
	struct mail mail;
	struct generation_share *share;
	struct listener *listener;
	int fd;
};

static void deliver_handover(struct mail *mail)
{
	struct handover *h = CONTAINER_OF(mail, struct handover, mail);

	open_on(h->share->worker, h->listener, h->share, h->fd);
	free(h);
}

static void give_to(struct worker *w, struct listener *l, int fd)
{
	struct generation_share *shares = l->generation->shares;
	struct handover *h = w == l->worker ? NULL : calloc(1, sizeof *h);

	if (!h) {
		w = l->worker;
		atomic_fetch_add(count_of(l, w), 1);
		open_on(w, l, &shares[w->index], fd);
		return;
	}
	atomic_fetch_add(count_of(l, w), 1);
	list_init(&h->mail.link);
	h->mail.deliver = deliver_handover;
	h->share = &shares[w->index];
	h->listener = l;
	h->fd = fd;
	net_loop_post(&w->loop, &h->mail);
}

/* The worker with the fewest connections of its kind; the polling one if it is among them. */
static struct worker *least_busy(struct listener *l)
{
	struct gateway *g = l->worker->gateway;
	struct worker *best = l->worker;

	for (unsigned i = 0; i < g->worker_count; i++) {
		struct worker *w = &g->workers[i];
		if (atomic_load(count_of(l, w)) < atomic_load(count_of(l, best)))
			best = w;
	}
	return best;
}

/* --- accepting --- */

static void on_readable(uv_poll_t *poll, int status, int events);

static void on_rested(struct net_timer *timer)
{
	struct listener *l = CONTAINER_OF(timer, struct listener, rest);

	uv_poll_start(&l->poll, UV_READABLE, on_readable);
}

/* Descriptors or memory have run out. One connection is refused with the reserve, so that whoever it is hears of it;
 * where even that fails the listener rests, for its socket stays readable and the loop would spin. */
static void run_out(struct listener *l)
{
	if (l->reserve >= 0)
		close(l->reserve);
	int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0)
		close(fd);
	l->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		uv_poll_stop(&l->poll);
		net_timer_start(&l->worker->loop, &l->rest, REST_MS);
		return;
	}
	log_event(LOG_ERROR, "connection_refused", LOG_S("listener", l->name),
		  LOG_S("reason", "no file descriptors left"));
}

/* As Redis says it. */
static const char too_many[] = "-ERR max number of clients reached\r\n";

static void take(struct listener *l, int fd)
{
	if (atomic_fetch_add(&l->connections, 1) >= l->conf->max_connections) {
		atomic_fetch_sub(&l->connections, 1);
		if (l->app)
			(void)send(fd, too_many, sizeof too_many - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
		close(fd);
		log_event(LOG_WARN, "connection_refused", LOG_S("listener", l->name),
			  LOG_S("reason", l->app ? "socket-connections are open" : "max-connections are open"));
		return;
	}
	give_to(least_busy(l), l, fd);
}

/* Accepts up to `max` connections. */
static void accept_some(struct listener *l, int max)
{
	for (int i = 0; i < max; i++) {
		int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0)
			take(l, fd);
		else if (errno == EAGAIN)
			return;
		else if (errno != EINTR && errno != ECONNABORTED) {
			run_out(l);
			return;
		}
	}
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct listener *l = poll->data;

	(void)status;
	(void)events;
	accept_some(l, ACCEPT_BATCH);
	net_loop_flush(&l->worker->loop);
}

static void on_poll_closed(uv_handle_t *handle)
{
	struct listener *l = handle->data;
	struct worker *w = l->handed_to;

	l->poll_made = false;
	if (!l->removing)
		return;
	/* Whom it has handed connections to knows of them: the mails were sent before this one. */
	l->stop.deliver = w->gateway->removed;
	net_loop_post(w->gateway->main, &l->stop);
}

static void listener_stop(struct listener *l)
{
	if (!l->worker)
		return;
	net_timer_stop(&l->worker->loop, &l->rest);
	list_remove(&l->link);
	l->worker = NULL;
	uv_close((uv_handle_t *)&l->poll, on_poll_closed);
}

static int listener_start(struct listener *l, struct worker *w)
{
	if (uv_poll_init(&w->loop.uv, &l->poll, l->fd) != 0)
		return ERR_SYSTEM;
	l->poll_made = true;
	l->worker = w;
	list_append(&w->listeners, &l->link);
	net_timer_init(&l->rest, on_rested);
	l->poll.data = l;
	if (uv_poll_start(&l->poll, UV_READABLE, on_readable) == 0)
		return 0;
	listener_stop(l);
	return ERR_SYSTEM;
}

void listener_close(struct listener *l, bool accept_pending)
{
	if (l->fd < 0)
		return;
	if (l->worker && accept_pending)
		accept_some(l, (int)l->conf->backlog);
	listener_stop(l);
	if (l->address.is_unix)
		unlink(l->address.path);
	close(l->fd);
	if (l->reserve >= 0)
		close(l->reserve);
	l->fd = l->reserve = -1;
}

/* --- from the main thread --- */

static void deliver_start(struct mail *mail)
{
	struct listener *l = CONTAINER_OF(mail, struct listener, start);

	if (listener_start(l, l->handed_to) != 0)
		log_event(LOG_ERROR, "listener_failed", LOG_S("listener", l->name));
}

void listener_poll(struct listener *l, struct generation *gen, struct worker *w)
{
	l->generation = gen;
	l->handed_to = w;
	net_loop_post(&w->loop, &l->start);
}

static void deliver_stop(struct mail *mail)
{
	struct listener *l = CONTAINER_OF(mail, struct listener, stop);

	l->removing = true;
	listener_close(l, true);
	if (!l->poll_made) { /* it could not be polled, or is closed already, since the daemon ends */
		l->stop.deliver = l->handed_to->gateway->removed;
		net_loop_post(l->handed_to->gateway->main, &l->stop);
	}
}

void listener_remove(struct listener *l)
{
	l->going = true;
	l->stop.deliver = deliver_stop;
	net_loop_post(&l->handed_to->loop, &l->stop);
}
