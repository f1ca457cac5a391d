/* Fills weir with sessions: FastCGI clients straight at its listener, each request without a cookie, so that each
 * answer makes one session. Prints one line of JSON. Afterwards it comes back with every STEP-th cookie: a session that
 * is still there counts its second visit, and any other is lost. With --jar it does not come back, but writes all
 * cookies to a file, for bench/load. */
#include "bench/record.h"
#include "bench/socket.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <time.h>

static const char USAGE[] = "usage: fill [--clients N] [--path PATH] [--jar FILE] LISTENER SESSIONS";

enum {
	EVENTS = 64,
	COOKIE_BYTES = 256,
	CLIENTS_MAX = 1000,
	CHECKED_MAX = 10000,
	REQUEST_BYTES = 1024,
	PATH_MAX_BYTES = 100
};

struct client {
	int fd;
	size_t held;
	uint8_t in[REC_MAX_BYTES];
	char text[REC_MAX_BYTES]; /* the answer: what came on STDOUT */
	size_t text_len;
};

struct options {
	unsigned long clients, sessions;
	const char *path, *jar; /* jar: NULL: none */
	const char *where;
};

struct fill {
	struct options opt;
	FILE *jar; /* owned; NULL: none */
	int epoll;
	unsigned long wanted, started, done;
	bool checking; /* the second round */
	unsigned long step, made, kept, errors;
	size_t cookie_count;
	char (*cookies)[COOKIE_BYTES]; /* owned */
};

static double now_s(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* --- requests --- */

/* Names and values up to 127 bytes, or a value of a four-byte length. */
static size_t pair_write(uint8_t *out, const char *name, const char *value)
{
	size_t name_len = strlen(name), value_len = strlen(value), n = 0;
	out[n++] = (uint8_t)name_len;
	if (value_len < 0x80) {
		out[n++] = (uint8_t)value_len;
	} else {
		const uint8_t wide[4] = {0x80, 0, (uint8_t)(value_len >> 8), (uint8_t)value_len};
		memcpy(out + n, wide, sizeof wide);
		n += sizeof wide;
	}
	memcpy(out + n, name, name_len);
	memcpy(out + n + name_len, value, value_len);
	return n + name_len + value_len;
}

static void request_send(struct fill *f, struct client *c)
{
	static const uint8_t begin[8] = {0, 1, 1}; /* responder, keep the connection */
	uint8_t params[REQUEST_BYTES], out[REQUEST_BYTES + 64];
	if (f->started == f->wanted)
		return;
	size_t len = pair_write(params, "REQUEST_METHOD", "GET");
	len += pair_write(params + len, "REQUEST_URI", f->opt.path);
	len += pair_write(params + len, "SCRIPT_NAME", f->opt.path);
	len += pair_write(params + len, "SERVER_PROTOCOL", "HTTP/1.1");
	if (f->checking)
		len += pair_write(params + len, "HTTP_COOKIE", f->cookies[f->started]);
	size_t n = record_write(out, REC_BEGIN, 1, begin, sizeof begin);
	n += record_write(out + n, REC_PARAMS, 1, params, len);
	n += record_write(out + n, REC_PARAMS, 1, NULL, 0);
	n += record_write(out + n, REC_STDIN, 1, NULL, 0);
	f->started++;
	c->text[0] = '\n'; /* so that each header stands behind a line feed */
	c->text_len = 1;
	if (send(c->fd, out, n, MSG_NOSIGNAL) != (ssize_t)n)
		err(1, "send");
}

/* --- answers --- */

static void cookie_keep(struct fill *f, const char *value)
{
	size_t len = strcspn(value, ";\r\n");
	if (len >= COOKIE_BYTES)
		errx(1, "a cookie of %zu bytes", len);
	if (f->jar != NULL) {
		fprintf(f->jar, "%.*s\n", (int)len, value);
		return;
	}
	memcpy(f->cookies[f->cookie_count], value, len);
	f->cookies[f->cookie_count++][len] = '\0';
}

static void answer_end(struct fill *f, struct client *c)
{
	c->text[c->text_len] = '\0';
	const char *cookie = strcasestr(c->text, "\nSet-Cookie: ");
	const char *visits = strcasestr(c->text, "\nX-Visits: ");
	f->done++;
	if (visits == NULL)
		f->errors++;
	else if (f->checking)
		f->kept += visits[11] == '2';
	else if (cookie != NULL && f->made++ % f->step == 0 && f->cookie_count < CHECKED_MAX)
		cookie_keep(f, cookie + 13);
}

static void client_read(struct fill *f, struct client *c)
{
	struct record r;
	size_t at = 0, whole;
	ssize_t got = recv(c->fd, c->in + c->held, sizeof c->in - c->held, MSG_DONTWAIT);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0)
		errx(1, "weir closed a connection after %lu answers", f->done);
	c->held += (size_t)got;
	while ((whole = record_read(c->in + at, c->held - at, &r)) > 0) {
		if (r.type == REC_STDOUT && r.len < sizeof c->text - c->text_len) {
			memcpy(c->text + c->text_len, r.content, r.len);
			c->text_len += r.len;
		} else if (r.type == REC_END) {
			answer_end(f, c);
			request_send(f, c);
		}
		at += whole;
	}
	c->held -= at;
	memmove(c->in, c->in + at, c->held);
}

/* --- run --- */

static void run(struct fill *f, struct client *clients, unsigned long count, unsigned long wanted)
{
	struct epoll_event events[EVENTS];
	f->wanted = wanted;
	f->started = f->done = 0;
	for (unsigned long i = 0; i < count; i++)
		request_send(f, &clients[i]);
	while (f->done < f->wanted) {
		int n = epoll_wait(f->epoll, events, EVENTS, 10000);
		if (n == 0)
			errx(1, "no answer for 10 s after %lu answers", f->done);
		for (int i = 0; i < n; i++)
			client_read(f, events[i].data.ptr);
	}
}

static struct client *clients_connect(const struct fill *f)
{
	struct address weir = address_parse(f->opt.where);
	unsigned long count = f->opt.clients;
	struct client *clients = calloc(count, sizeof *clients);
	if (clients == NULL)
		err(1, "calloc");
	for (unsigned long i = 0; i < count; i++) {
		clients[i].fd = socket_connect(&weir);
		if (clients[i].fd < 0)
			err(1, "%s", f->opt.where);
		struct epoll_event ev = {.events = EPOLLIN, .data.ptr = &clients[i]};
		if (epoll_ctl(f->epoll, EPOLL_CTL_ADD, clients[i].fd, &ev) != 0)
			err(1, "epoll_ctl");
	}
	return clients;
}

static struct options options_read(int argc, char **argv)
{
	struct options o = {.clients = 16, .path = "/"};
	int i = 1;
	for (; i + 1 < argc && strncmp(argv[i], "--", 2) == 0; i += 2) {
		if (strcmp(argv[i], "--clients") == 0)
			o.clients = strtoul(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--path") == 0)
			o.path = argv[i + 1];
		else if (strcmp(argv[i], "--jar") == 0)
			o.jar = argv[i + 1];
		else
			errx(2, "%s", USAGE);
	}
	if (argc - i != 2 || o.clients == 0 || o.clients > CLIENTS_MAX || strlen(o.path) > PATH_MAX_BYTES)
		errx(2, "%s", USAGE);
	o.where = argv[i];
	o.sessions = strtoul(argv[i + 1], NULL, 10);
	if (o.sessions == 0)
		errx(2, "%s", USAGE);
	return o;
}

int main(int argc, char **argv)
{
	struct fill f = {.opt = options_read(argc, argv), .epoll = epoll_create1(EPOLL_CLOEXEC)};
	unsigned long sessions = f.opt.sessions;
	f.step = f.opt.jar != NULL ? 1 : sessions / CHECKED_MAX + 1;
	f.cookies = calloc(CHECKED_MAX, sizeof *f.cookies);
	if (f.cookies == NULL)
		err(1, "calloc");
	if (f.opt.jar != NULL && (f.jar = fopen(f.opt.jar, "w")) == NULL)
		err(1, "%s", f.opt.jar);
	struct client *clients = clients_connect(&f);
	double began = now_s();
	run(&f, clients, f.opt.clients, sessions);
	double took = now_s() - began;
	if (f.jar != NULL && fclose(f.jar) != 0)
		err(1, "%s", f.opt.jar);
	f.checking = true;
	run(&f, clients, f.opt.clients, f.cookie_count);
	printf("{\"sessions\": %lu, \"seconds\": %.3f, \"rate\": %.1f, \"checked\": %zu, \"kept\": %lu, \"errors\": "
	       "%lu}\n",
	       f.made, took, (double)sessions / took, f.cookie_count, f.kept, f.errors);
	free(clients);
	free(f.cookies);
	return f.errors > 0 || f.made != sessions || f.kept != f.cookie_count;
}
