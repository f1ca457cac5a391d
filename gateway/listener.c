/* Accepting connections and spreading them over the workers. */
#include "gateway/listener.h"

#include "base/error.h"
#include "base/invariant.h"
#include "base/log.h"
#include "gateway/front.h"

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

int listener_open(struct listener *l, const struct conf_listen *c, char *why, size_t why_len)
{
	struct net_unix_access access = access_of(c);
	struct net_address address;
	bool ok = c->address.kind == CONF_UNIX ? net_address_unix(&address, c->address.path)
					       : net_address_tcp(&address, c->address.host, c->address.port);

	*l = (struct listener){.conf = c, .fd = -1, .reserve = -1};
	if (!ok) {
		snprintf(why, why_len, "listen \"%s\": not an address", c->address.text);
		return ERR_CONFIG;
	}
	int err = net_listen(&address, (int)c->backlog, &access, &l->fd);
	if (err) {
		snprintf(why, why_len, "listen \"%s\": %s", c->address.text,
			 err == ERR_BUSY ? "another process listens there" : strerror(errno));
		return err;
	}
	l->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return 0;
}

/* --- handing over to another worker --- */

struct handover {
	struct mail mail;
	struct worker *worker;
	struct listener *listener;
	int fd;
};

static void deliver_handover(struct mail *mail)
{
	struct handover *h = CONTAINER_OF(mail, struct handover, mail);

	front_new(h->worker, h->listener, h->fd);
	free(h);
}

static void give_to(struct worker *w, struct listener *l, int fd)
{
	struct handover *h = w == l->worker ? NULL : calloc(1, sizeof *h);

	atomic_fetch_add(&w->front_count, 1);
	if (!h) {
		if (w != l->worker) {
			atomic_fetch_sub(&w->front_count, 1);
			atomic_fetch_add(&l->worker->front_count, 1);
		}
		front_new(l->worker, l, fd);
		return;
	}
	list_init(&h->mail.link);
	h->mail.deliver = deliver_handover;
	h->worker = w;
	h->listener = l;
	h->fd = fd;
	net_loop_post(&w->loop, &h->mail);
}

/* The worker with the fewest front connections; the polling one if it is among them. */
static struct worker *least_busy(struct listener *l)
{
	struct gateway *g = l->worker->gateway;
	struct worker *best = l->worker;

	for (unsigned i = 0; i < g->worker_count; i++) {
		struct worker *w = &g->workers[i];
		if (atomic_load(&w->front_count) < atomic_load(&best->front_count))
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
	log_event(LOG_ERROR, "connection_refused", LOG_S("listener", l->conf->address.text),
		  LOG_S("reason", "no file descriptors left"));
}

static void take(struct listener *l, int fd)
{
	if (atomic_fetch_add(&l->connections, 1) >= l->conf->max_connections) {
		atomic_fetch_sub(&l->connections, 1);
		close(fd);
		log_event(LOG_WARN, "connection_refused", LOG_S("listener", l->conf->address.text),
			  LOG_S("reason", "max-connections are open"));
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

static void listener_stop(struct listener *l)
{
	if (!l->worker)
		return;
	net_timer_stop(&l->worker->loop, &l->rest);
	l->worker = NULL;
	uv_close((uv_handle_t *)&l->poll, NULL);
}

int listener_start(struct listener *l, struct worker *w)
{
	if (uv_poll_init(&w->loop.uv, &l->poll, l->fd) != 0)
		return ERR_SYSTEM;
	l->worker = w;
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
	if (l->conf->address.kind == CONF_UNIX)
		unlink(l->conf->address.path);
	close(l->fd);
	if (l->reserve >= 0)
		close(l->reserve);
	l->fd = l->reserve = -1;
}
