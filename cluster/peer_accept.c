/* The listening socket: takes in whoever comes, up to a bound. */
#include "cluster/peer_inside.h"

#include "base/error.h"
#include "base/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ACCEPT_BATCH = 64 };

static void address_text(const struct sockaddr_storage *from, char out[64])
{
	char host[INET6_ADDRSTRLEN] = "?";

	if (from->ss_family == AF_INET6) {
		struct sockaddr_in6 v6;
		memcpy(&v6, from, sizeof v6);
		(void)inet_ntop(AF_INET6, &v6.sin6_addr, host, sizeof host);
		snprintf(out, 64, "[%s]:%u", host, ntohs(v6.sin6_port));
	} else {
		struct sockaddr_in v4;
		memcpy(&v4, from, sizeof v4);
		(void)inet_ntop(AF_INET, &v4.sin_addr, host, sizeof host);
		snprintf(out, 64, "%s:%u", host, ntohs(v4.sin_port));
	}
}

/* --- places of those that have not greeted --- */

void greeter_in(struct conn *c)
{
	list_append(&c->peers->greeters, &c->greeter);
	c->peers->greeting++;
}

void greeter_out(struct conn *c)
{
	if (!list_linked(&c->greeter))
		return;
	list_remove(&c->greeter);
	c->peers->greeting--;
}

/* Without the port. */
static struct view host_of(const char *address)
{
	const char *colon = strrchr(address, ':');

	return colon ? view_of(address, (size_t)(colon - address)) : view_str(address);
}

static unsigned greeting_from(const struct peers *p, const char *address)
{
	struct view host = host_of(address);
	unsigned count = 0;

	LIST_EACH (node, &p->greeters)
		count += view_eq(host_of(CONTAINER_OF(node, struct conn, greeter)->address), host);
	return count;
}

/* NULL: there is a place for him. Otherwise whose are taken. */
static const char *crowded(const struct peers *p, const char *address)
{
	if (p->greeting >= PEERS_GREETING_MAX)
		return "of all addresses";
	return greeting_from(p, address) >= PEERS_GREETING_EACH ? "of this address" : NULL;
}

/* --- the socket --- */

/* False: there is nobody more, or no descriptor. */
static bool accept_one(struct peers *p)
{
	struct sockaddr_storage from;
	socklen_t len = sizeof from;
	char address[64];
	memset(&from, 0, sizeof from);
	int fd = accept4(p->listen_fd, (struct sockaddr *)&from, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)) {
		/* It would be reported again and again: the next look at deadlines tries once more. */
		peer_log_refused(p, REFUSED_MANY, "no file descriptor", "", "", VIEW(""));
		(void)uv_poll_stop(&p->listener);
		p->listener_paused = true;
		peers_look_soon(p);
	}
	if (fd < 0)
		return errno == ECONNABORTED || errno == EINTR;
	address_text(&from, address);
	const char *whose = crowded(p, address);
	if (whose) {
		close(fd);
		peer_log_refused(p, REFUSED_MANY, "too many that have not greeted", whose, address, VIEW(""));
	} else if (conn_accept(p, fd, address) != 0) {
		peer_log_refused(p, REFUSED_MANY, "out of memory", "", address, VIEW(""));
	}
	return true;
}

static void on_listener(uv_poll_t *poll, int status, int events)
{
	struct peers *p = poll->data;

	(void)status;
	(void)events;
	for (int i = 0; i < ACCEPT_BATCH && accept_one(p); i++)
		;
	net_loop_flush(p->loop);
}

int listener_start(struct peers *p, int fd)
{
	p->listen_fd = fd;
	if (fd < 0)
		return 0;
	if (uv_poll_init(&p->loop->uv, &p->listener, fd) != 0) {
		close(fd);
		return ERR_SYSTEM;
	}
	p->listening = true;
	p->listener.data = p;
	(void)uv_poll_start(&p->listener, UV_READABLE, on_listener);
	return 0;
}

void listener_resume(struct peers *p)
{
	if (!p->listener_paused || p->stopping)
		return;
	p->listener_paused = false;
	(void)uv_poll_start(&p->listener, UV_READABLE, on_listener);
}

static void on_closed(uv_handle_t *handle)
{
	struct peers *p = handle->data;

	p->listening = false;
	peers_perhaps_gone(p);
}

void listener_stop(struct peers *p)
{
	if (!p->listening || p->listen_fd < 0)
		return;
	uv_close((uv_handle_t *)&p->listener, on_closed);
	close(p->listen_fd);
	p->listen_fd = -1;
}
