/* The application of the bench: FastCGI over epoll, kept connections, answers of 1 KiB, in one thread. It is as cheap
 * as can be, so that what differs between two runs is the process in the middle.
 *
 * With --session it is an application with a managed session: it counts its visits in a state of the given size, which
 * it sets anew with each answer, and tells the count in the header X-Visits. With --end each answer also tells how long
 * the session may live: until that second, the same for all of them.
 * usage: app LISTEN [--session STATE-BYTES [--end UNIX-SECONDS]] */
#include "bench/record.h"
#include "bench/socket.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <time.h>

enum {
	EVENTS = 64,
	BODY_BYTES = 1024,
	STATE_MAX = 32768,
	STATE_MIN = 24, /* room for the count */
	ANSWER_MAX = STATE_MAX + BODY_BYTES + 1024,
};

struct connection {
	int fd;
	bool keep;
	uint16_t id;          /* of the request that is being read */
	unsigned long visits; /* in the session of that request */
	size_t held;          /* bytes in `in` */
	uint8_t in[REC_MAX_BYTES];
};

struct app {
	int epoll, listener;
	size_t state_bytes; /* 0: no session */
	time_t end;         /* of all sessions; 0: as weir is configured */
	char body[BODY_BYTES];
	char pad[STATE_MAX];
};

/* --- the request --- */

static size_t pair_length(const uint8_t *at, size_t left, size_t *used)
{
	if (left >= 1 && at[0] < 0x80) {
		*used = 1;
		return at[0];
	}
	if (left < 4)
		errx(1, "a pair that is cut");
	*used = 4;
	return (size_t)(at[0] & 0x7f) << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
}

/* Looks for the session's state in one PARAMS record; neither weir nor the peers split pairs as small as these. */
static void params_read(struct connection *c, const uint8_t *at, size_t left)
{
	static const char name[] = "SESSION_DATA";
	while (left > 0) {
		size_t used, used2;
		size_t name_len = pair_length(at, left, &used);
		size_t value_len = pair_length(at + used, left - used, &used2);
		size_t head = used + used2;
		if (name_len > left - head || value_len > left - head - name_len)
			errx(1, "a pair that is cut");
		if (name_len == sizeof name - 1 && value_len >= STATE_MIN && memcmp(at + head, name, name_len) == 0)
			c->visits = strtoul((const char *)at + head + name_len + 2, NULL, 10); /* behind "n=" */
		at += head + name_len + value_len;
		left -= head + name_len + value_len;
	}
}

/* --- the answer --- */

static const char *ttl_write(const struct app *a, char *out, size_t size)
{
	long left = a->end - time(NULL);
	if (a->end == 0)
		return "";
	(void)snprintf(out, size, "Weir-Session-TTL: %ld\r\n", left > 0 ? left : 1);
	return out;
}

static size_t head_write(const struct app *a, const struct connection *c, char *out, size_t size)
{
	char ttl[64];
	int n = 0;
	if (a->state_bytes > 0)
		n = snprintf(out, size, "X-Visits: %lu\r\n%sWeir-Session-Data: n=%019lu&p=%.*s\r\n", c->visits + 1,
			     ttl_write(a, ttl, sizeof ttl), c->visits + 1, (int)(a->state_bytes - STATE_MIN), a->pad);
	n += snprintf(out + n, size - (size_t)n, "Content-Type: text/plain\r\nContent-Length: %d\r\n\r\n", BODY_BYTES);
	return (size_t)n;
}

static bool answer(struct app *a, struct connection *c)
{
	static const uint8_t complete[8];
	static char text[ANSWER_MAX];
	static uint8_t out[ANSWER_MAX + 64];
	size_t len = head_write(a, c, text, sizeof text - BODY_BYTES);
	memcpy(text + len, a->body, BODY_BYTES);
	len += BODY_BYTES;
	size_t n = record_write(out, REC_STDOUT, c->id, text, len);
	n += record_write(out + n, REC_STDOUT, c->id, NULL, 0);
	n += record_write(out + n, REC_END, c->id, complete, sizeof complete);
	return send(c->fd, out, n, MSG_NOSIGNAL) == (ssize_t)n;
}

/* False: the connection is to be closed. */
static bool serve_record(struct app *a, struct connection *c, const struct record *r)
{
	switch (r->type) {
	case REC_BEGIN:
		c->id = r->id;
		c->keep = r->len == 8 && (r->content[2] & 1) != 0;
		c->visits = 0;
		return true;
	case REC_PARAMS:
		if (a->state_bytes > 0)
			params_read(c, r->content, r->len);
		return true;
	case REC_STDIN:
		return r->len > 0 || (answer(a, c) && c->keep);
	default:
		return r->type != REC_ABORT;
	}
}

static bool serve_input(struct app *a, struct connection *c)
{
	struct record r;
	size_t at = 0, whole;
	while ((whole = record_read(c->in + at, c->held - at, &r)) > 0) {
		if (!serve_record(a, c, &r))
			return false;
		at += whole;
	}
	c->held -= at;
	if (at > 0 && c->held > 0)
		memmove(c->in, c->in + at, c->held);
	return true;
}

/* --- connections --- */

static void watch(struct app *a, int fd, void *owner)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = owner};
	if (epoll_ctl(a->epoll, EPOLL_CTL_ADD, fd, &ev) != 0)
		err(1, "epoll_ctl");
}

static void connection_open(struct app *a)
{
	int fd = accept4(a->listener, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		return;
	struct connection *c = malloc(sizeof *c);
	if (c == NULL)
		err(1, "malloc");
	c->fd = fd;
	c->held = 0;
	c->keep = true;
	watch(a, fd, c);
}

static void connection_serve(struct app *a, struct connection *c)
{
	ssize_t got = recv(c->fd, c->in + c->held, sizeof c->in - c->held, MSG_DONTWAIT);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got > 0) {
		c->held += (size_t)got;
		if (serve_input(a, c))
			return;
	}
	(void)close(c->fd);
	free(c);
}

static struct app *app_new(int argc, char **argv)
{
	static struct app a;
	bool session = argc >= 4 && strcmp(argv[2], "--session") == 0;
	bool end = argc == 6 && strcmp(argv[4], "--end") == 0;
	if (argc != 2 && !(session && (argc == 4 || end)))
		errx(2, "usage: app LISTEN [--session STATE-BYTES [--end UNIX-SECONDS]]");
	if (end)
		a.end = strtol(argv[5], NULL, 10);
	if (session) {
		a.state_bytes = strtoul(argv[3], NULL, 10);
		if (a.state_bytes < STATE_MIN || a.state_bytes > STATE_MAX)
			errx(2, "STATE-BYTES is from %d to %d", STATE_MIN, STATE_MAX);
	}
	memset(a.body, 'b', sizeof a.body);
	memset(a.pad, 'p', sizeof a.pad);
	a.epoll = epoll_create1(EPOLL_CLOEXEC);
	a.listener = socket_listen(argv[1]);
	watch(&a, a.listener, NULL);
	return &a;
}

int main(int argc, char **argv)
{
	struct app *a = app_new(argc, argv);
	struct epoll_event events[EVENTS];
	for (;;) {
		int n = epoll_wait(a->epoll, events, EVENTS, -1);
		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr == NULL)
				connection_open(a);
			else
				connection_serve(a, events[i].data.ptr);
		}
	}
}
