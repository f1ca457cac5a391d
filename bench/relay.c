/* The floor: a relay that looks at nothing. For each accepted connection it opens one to the backend and carries bytes
 * both ways. One thread, level-triggered epoll, one read and one write for each piece, one buffer for all.
 *
 * Whatever stands between web server and application must at least do this much; what weir costs is told as a multiple
 * of it. usage: relay LISTEN BACKEND */
#include "bench/socket.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/epoll.h>

enum { PIECE_BYTES = 65536, EVENTS = 64 };

/* One end of a pair. What could not be written to it waits here, and its peer is not read meanwhile. */
struct end {
	int fd;
	struct end *peer; /* owned by the pair */
	uint8_t *held;    /* owned; NULL: nothing waits */
	size_t held_at, held_len;
	bool dead; /* closed; freed after this round of events */
};

struct relay {
	int epoll, listener;
	struct address backend;
	struct end *graveyard[EVENTS * 2];
	size_t dead_count;
};

static void watch(struct relay *r, int op, int fd, uint32_t events, void *owner)
{
	struct epoll_event ev = {.events = events, .data.ptr = owner};
	if (epoll_ctl(r->epoll, op, fd, &ev) != 0)
		err(1, "epoll_ctl");
}

/* When either side closes, both go, with what was held for the other: the bench always waits for whole answers. */
static void pair_close(struct relay *r, struct end *a)
{
	struct end *ends[2] = {a, a->peer};
	for (int i = 0; i < 2; i++) {
		(void)close(ends[i]->fd);
		ends[i]->dead = true;
		r->graveyard[r->dead_count++] = ends[i];
	}
}

static void graveyard_clear(struct relay *r)
{
	while (r->dead_count > 0) {
		struct end *e = r->graveyard[--r->dead_count];
		free(e->held);
		free(e);
	}
}

static struct end *end_new(int fd)
{
	struct end *e = calloc(1, sizeof *e);
	if (e == NULL)
		err(1, "calloc");
	e->fd = fd;
	return e;
}

static void pair_open(struct relay *r)
{
	int front = accept4(r->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (front < 0)
		return;
	int back = socket_connect(&r->backend);
	if (back < 0) {
		warn("backend");
		(void)close(front);
		return;
	}
	int one = 1;
	(void)setsockopt(front, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* fails on a Unix socket, as it may */
	struct end *a = end_new(front), *b = end_new(back);
	a->peer = b;
	b->peer = a;
	watch(r, EPOLL_CTL_ADD, front, EPOLLIN, a);
	watch(r, EPOLL_CTL_ADD, back, EPOLLIN, b);
}

/* Reads only what can be passed on, waits for room only where something is held. */
static void interest(struct relay *r, struct end *e)
{
	watch(r, EPOLL_CTL_MOD, e->fd, (e->peer->held == NULL ? EPOLLIN : 0u) | (e->held != NULL ? EPOLLOUT : 0u), e);
}

/* Keeps what the socket did not take. */
static void hold(struct relay *r, struct end *to, const uint8_t *at, size_t len)
{
	to->held = malloc(len);
	if (to->held == NULL)
		err(1, "malloc");
	memcpy(to->held, at, len);
	to->held_at = 0;
	to->held_len = len;
	interest(r, to);
	interest(r, to->peer);
}

static void carry(struct relay *r, struct end *from)
{
	static uint8_t piece[PIECE_BYTES];
	struct end *to = from->peer;
	ssize_t got = recv(from->fd, piece, sizeof piece, MSG_DONTWAIT);
	if (got <= 0) {
		if (got == 0 || (errno != EAGAIN && errno != EINTR))
			pair_close(r, from);
		return;
	}
	ssize_t put = send(to->fd, piece, (size_t)got, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (put < 0 && errno != EAGAIN) {
		pair_close(r, from);
		return;
	}
	put = put < 0 ? 0 : put;
	if (put < got)
		hold(r, to, piece + put, (size_t)(got - put));
}

static void flush(struct relay *r, struct end *to)
{
	ssize_t put = send(to->fd, to->held + to->held_at, to->held_len - to->held_at, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (put < 0) {
		if (errno != EAGAIN)
			pair_close(r, to);
		return;
	}
	to->held_at += (size_t)put;
	if (to->held_at < to->held_len)
		return;
	free(to->held);
	to->held = NULL;
	interest(r, to);
	interest(r, to->peer);
}

static void serve(struct relay *r, const struct epoll_event *ev)
{
	struct end *e = ev->data.ptr;
	if (e == NULL) {
		pair_open(r);
		return;
	}
	if (!e->dead && e->held != NULL && (ev->events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0)
		flush(r, e);
	if (!e->dead && e->peer->held == NULL && (ev->events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
		carry(r, e);
	else if (!e->dead && (ev->events & (EPOLLHUP | EPOLLERR)) != 0)
		pair_close(r, e);
}

int main(int argc, char **argv)
{
	if (argc != 3)
		errx(2, "usage: relay LISTEN BACKEND");
	static struct relay r;
	r.listener = socket_listen(argv[1]);
	r.backend = address_parse(argv[2]);
	r.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (r.epoll < 0)
		err(1, "epoll_create1");
	watch(&r, EPOLL_CTL_ADD, r.listener, EPOLLIN, NULL);
	struct epoll_event events[EVENTS];
	for (;;) {
		int n = epoll_wait(r.epoll, events, EVENTS, -1);
		for (int i = 0; i < n; i++)
			serve(&r, &events[i]);
		graveyard_clear(&r);
	}
}
