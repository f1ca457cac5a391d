/* A session socket's connection, as far as its life goes: it is open and says nothing. */
#include "gateway/socket_client.h"

#include "base/invariant.h"
#include "gateway/share.h"

#include <stdlib.h>
#include <unistd.h>

struct socket_client {
	struct net_stream stream;
	struct worker *worker;          /* borrowed */
	struct listener *listener;      /* borrowed */
	const struct conf_listen *conf; /* of the worker's newest generation, or of `host` */
	struct generation_share *host;  /* hosted; NULL: its listener is in the newest generation */
	struct list link;               /* in worker->socket_clients */
	bool closed;
};

static const struct net_stream_ops client_ops;

struct socket_client *socket_client_of(struct list *link)
{
	return CONTAINER_OF(link, struct socket_client, link);
}

const struct generation_share *socket_client_host(const struct socket_client *c)
{
	return c->host;
}

static void client_free(struct socket_client *c)
{
	struct worker *w = c->worker;

	atomic_fetch_sub(&c->listener->connections, 1);
	atomic_fetch_sub(&w->socket_count, 1);
	if (c->host)
		share_unhost(c->host);
	free(c);
	worker_look_quiet(w);
}

void socket_client_close(struct socket_client *c)
{
	if (c->closed)
		return;
	c->closed = true;
	list_remove(&c->link);
	net_stream_close(&c->stream);
}

void socket_client_drain(struct socket_client *c)
{
	socket_client_close(c);
}

static void belong(struct socket_client *c, struct generation_share *old)
{
	struct generation_share *newest = c->worker->share;
	const struct conf_listen *l = generation_listen(newest->generation, c->listener);

	if (l && c->host) {
		share_unhost(c->host);
		c->host = NULL;
	} else if (!l && !c->host) {
		c->host = share_host(old);
	}
	c->conf = l ? l : generation_listen(c->host->generation, c->listener);
	INVARIANT(c->conf != NULL);
}

void socket_client_switch(struct socket_client *c, struct generation_share *old)
{
	belong(c, old);
}

static void on_read(struct net_stream *s, struct view data)
{
	(void)s;
	(void)data;
}

static void on_ended(struct net_stream *s, int err)
{
	(void)err;
	socket_client_close(CONTAINER_OF(s, struct socket_client, stream));
}

static void on_moved(struct net_stream *s)
{
	(void)s;
}

static void on_closed(struct net_stream *s)
{
	client_free(CONTAINER_OF(s, struct socket_client, stream));
}

static const struct net_stream_ops client_ops = {
    .read = on_read,
    .ended = on_ended,
    .full = on_moved,
    .drained = on_moved,
    .closed = on_closed,
};

void socket_client_new(struct worker *w, struct listener *l, struct generation_share *old, int fd)
{
	struct socket_client *c = calloc(1, sizeof *c);

	if (!c) {
		close(fd);
		atomic_fetch_sub(&l->connections, 1);
		atomic_fetch_sub(&w->socket_count, 1);
		worker_look_quiet(w);
		return;
	}
	c->worker = w;
	c->listener = l;
	list_init(&c->link);
	belong(c, old);
	if (net_stream_open(&c->stream, &w->loop, &client_ops, fd, l->address.is_unix) != 0) {
		client_free(c);
		return;
	}
	list_append(&w->socket_clients, &c->link);
	net_stream_read_start(&c->stream);
}
