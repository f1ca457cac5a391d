/* The load of the bench: HTTP clients over epoll in one thread, each with one kept connection and one request at a time
 * (a closed loop). Prints one line of JSON.
 *
 * An answer counts when its status is 200 and its body has the length that is expected; with --visits also only when
 * its X-Visits header is one more than the client's last: then the session behind the client's cookie was truly kept
 * and truly written by each request.
 *
 * With --jar each request comes with the next cookie of a file that bench/fill has written, so each in a session of its
 * own, until the file is at its end; its second visit is expected then. With --again it begins anew at the end, and
 * expects one visit more each time: so the file must be longer than there are clients. With --log the file gets two
 * numbers of 64 bits for each answer: when it was there, in microseconds of CLOCK_MONOTONIC, and how many it took.
 * SIGTERM ends the load early, in order. */
#include "bench/samples.h"
#include "bench/socket.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <strings.h>
#include <sys/epoll.h>

enum { EVENTS = 64, IN_BYTES = 65536, OUT_BYTES = 8192, COOKIE_BYTES = 4096, CLIENTS_MAX = 10000, ERRORS_SHOWN = 5 };

static const char USAGE[] =
    "usage: load [--clients N] [--seconds S | --requests R] [--body BYTES] [--cookies] [--visits] "
    "[--jar FILE [--again]] [--log FILE] ADDRESS [PATH]";

struct options {
	unsigned clients;
	double seconds;
	unsigned long requests; /* 0: by time */
	size_t body;            /* bytes expected */
	bool cookies, visits, again;
	const char *jar, *log; /* files; NULL: none */
	const char *where, *path;
};

struct client {
	int fd;
	char cookie[COOKIE_BYTES]; /* "name=value", empty: none yet */
	char out[OUT_BYTES];
	size_t out_len;
	char in[IN_BYTES];
	size_t in_len;
	size_t head, body; /* bytes; head 0: the end of the head is not there yet */
	unsigned status;
	bool close;           /* "Connection: close" */
	unsigned long visits; /* as last told */
	bool visits_wrong;
	uint64_t sent_ns;
};

struct load {
	struct options opt;
	struct address server;
	int epoll;
	struct client *clients; /* owned */
	struct samples samples;
	FILE *jar;             /* owned; NULL: none, or all its cookies are used */
	unsigned long visited; /* how often each of its sessions was, before it was begun (anew) */
	unsigned long started, errors;
	uint64_t end_ns;
};

static volatile sig_atomic_t told_to_end;

static void on_term(int signal)
{
	(void)signal;
	told_to_end = 1;
}

static void complain(struct load *l, const char *what)
{
	if (l->errors++ < ERRORS_SHOWN)
		fprintf(stderr, "load: %s\n", what);
}

/* --- sending --- */

static void request_build(const struct load *l, struct client *c)
{
	int n = snprintf(c->out, sizeof c->out, "GET %s HTTP/1.1\r\nHost: bench\r\n%s%s%s\r\n", l->opt.path,
			 c->cookie[0] != '\0' ? "Cookie: " : "", c->cookie, c->cookie[0] != '\0' ? "\r\n" : "");
	if (n < 0 || (size_t)n >= sizeof c->out)
		errx(1, "the request is too long");
	c->out_len = (size_t)n;
}

static bool wants_more(const struct load *l, uint64_t now)
{
	if (told_to_end || (l->opt.jar != NULL && l->jar == NULL))
		return false;
	return l->opt.requests > 0 ? l->started < l->opt.requests : now < l->end_ns;
}

static void client_connect(struct load *l, struct client *c)
{
	c->fd = socket_connect(&l->server);
	if (c->fd < 0)
		err(1, "%s", l->opt.where);
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
	if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &ev) != 0)
		err(1, "epoll_ctl");
}

static bool jar_next(struct load *l, struct client *c)
{
	if (fgets(c->cookie, sizeof c->cookie, l->jar) != NULL)
		return true;
	if (!l->opt.again)
		return false;
	rewind(l->jar);
	l->visited++;
	return fgets(c->cookie, sizeof c->cookie, l->jar) != NULL;
}

/* The next cookie of the jar, which bench/fill has made with one visit. */
static void jar_take(struct load *l, struct client *c)
{
	if (!jar_next(l, c)) {
		(void)fclose(l->jar);
		l->jar = NULL;
		return;
	}
	c->cookie[strcspn(c->cookie, "\n")] = '\0';
	c->visits = l->visited;
	request_build(l, c);
}

static void client_send(struct load *l, struct client *c)
{
	if (l->jar != NULL)
		jar_take(l, c);
	c->sent_ns = now_ns();
	if (!wants_more(l, c->sent_ns))
		return;
	l->started++;
	c->in_len = c->head = c->body = 0;
	c->close = c->visits_wrong = false;
	if (send(c->fd, c->out, c->out_len, MSG_NOSIGNAL) != (ssize_t)c->out_len)
		complain(l, "a request could not be sent"); /* the close that follows opens a new connection */
}

static void client_reconnect(struct load *l, struct client *c)
{
	(void)close(c->fd);
	client_connect(l, c);
	client_send(l, c);
}

/* --- receiving --- */

static const char *header_value(const char *line, size_t len, const char *name, size_t *value_len)
{
	size_t n = strlen(name);
	if (len <= n || line[n] != ':' || strncasecmp(line, name, n) != 0)
		return NULL;
	const char *value = line + n + 1 + strspn(line + n + 1, " ");
	*value_len = (size_t)(line + len - value);
	return value;
}

static void cookie_take(const struct load *l, struct client *c, const char *value, size_t len)
{
	const char *semicolon = memchr(value, ';', len);
	len = semicolon != NULL ? (size_t)(semicolon - value) : len;
	if (len >= sizeof c->cookie)
		errx(1, "a cookie of %zu bytes", len);
	memcpy(c->cookie, value, len);
	c->cookie[len] = '\0';
	request_build(l, c);
}

static void header_read(const struct load *l, struct client *c, const char *line, size_t len)
{
	size_t n;
	const char *v;
	if ((v = header_value(line, len, "Content-Length", &n)) != NULL) {
		c->body = strtoul(v, NULL, 10);
	} else if (l->opt.cookies && (v = header_value(line, len, "Set-Cookie", &n)) != NULL) {
		cookie_take(l, c, v, n);
	} else if ((v = header_value(line, len, "Connection", &n)) != NULL) {
		c->close = n == 5 && strncasecmp(v, "close", n) == 0;
	} else if (l->opt.visits && (v = header_value(line, len, "X-Visits", &n)) != NULL) {
		unsigned long visits = strtoul(v, NULL, 10);
		c->visits_wrong = visits != c->visits + 1;
		c->visits = visits;
	}
}

static void head_read(const struct load *l, struct client *c)
{
	c->in[c->in_len] = '\0';
	const char *end = strstr(c->in, "\r\n\r\n");
	if (end == NULL)
		return;
	c->head = (size_t)(end - c->in) + 4;
	c->status = c->in_len > 12 ? (unsigned)strtoul(c->in + 9, NULL, 10) : 0; /* behind "HTTP/1.1 " */
	c->visits_wrong = l->opt.visits;                                         /* until the header is seen */
	for (const char *line = strstr(c->in, "\r\n") + 2; line < end + 2;) {
		const char *eol = strstr(line, "\r\n");
		header_read(l, c, line, (size_t)(eol - line));
		line = eol + 2;
	}
}

static void answer_end(struct load *l, struct client *c)
{
	if (c->status != 200)
		complain(l, "an answer is not 200");
	else if (c->body != l->opt.body)
		complain(l, "an answer has a body of another length");
	else if (c->visits_wrong)
		complain(l, "an answer has not counted the visit");
	else
		samples_add(&l->samples, c->sent_ns);
	if (c->close)
		client_reconnect(l, c);
	else
		client_send(l, c);
}

static void client_read(struct load *l, struct client *c)
{
	ssize_t got = recv(c->fd, c->in + c->in_len, sizeof c->in - 1 - c->in_len, MSG_DONTWAIT);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		complain(l, "a connection was closed");
		client_reconnect(l, c);
		return;
	}
	c->in_len += (size_t)got;
	if (c->head == 0)
		head_read(l, c);
	if (c->head > 0 && c->in_len >= c->head + c->body)
		answer_end(l, c);
	else if (c->in_len == sizeof c->in - 1)
		errx(1, "an answer that is too long");
}

/* --- run --- */

static void run(struct load *l)
{
	struct epoll_event events[EVENTS];
	uint64_t now = now_ns();
	l->end_ns = now + (uint64_t)(l->opt.seconds * 1e9);
	for (unsigned i = 0; i < l->opt.clients; i++) {
		client_connect(l, &l->clients[i]);
		request_build(l, &l->clients[i]);
		client_send(l, &l->clients[i]);
	}
	while (l->samples.count + l->errors < l->started || wants_more(l, now)) {
		int n = epoll_wait(l->epoll, events, EVENTS, 5000);
		if (n == 0 && l->samples.count + l->errors < l->started)
			errx(1, "no answer for 5 s");
		for (int i = 0; i < n; i++)
			client_read(l, events[i].data.ptr);
		now = now_ns();
	}
}

static void log_write(const struct load *l)
{
	FILE *f = fopen(l->opt.log, "wb");
	if (f == NULL || fwrite(l->samples.at, sizeof *l->samples.at, l->samples.count, f) != l->samples.count ||
	    fclose(f) != 0)
		err(1, "%s", l->opt.log);
}

/* --- options --- */

static struct options options_read(int argc, char **argv)
{
	struct options o = {.clients = 16, .seconds = 4, .body = 1024, .path = "/"};
	int i = 1;
	for (; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
		const char *name = argv[i] + 2;
		if (strcmp(name, "cookies") == 0) {
			o.cookies = true;
			continue;
		}
		if (strcmp(name, "visits") == 0) {
			o.visits = true;
			continue;
		}
		if (strcmp(name, "again") == 0) {
			o.again = true;
			continue;
		}
		if (++i == argc)
			errx(2, "%s", USAGE);
		if (strcmp(name, "clients") == 0)
			o.clients = (unsigned)strtoul(argv[i], NULL, 10);
		else if (strcmp(name, "seconds") == 0)
			o.seconds = strtod(argv[i], NULL);
		else if (strcmp(name, "requests") == 0)
			o.requests = strtoul(argv[i], NULL, 10);
		else if (strcmp(name, "body") == 0)
			o.body = strtoul(argv[i], NULL, 10);
		else if (strcmp(name, "jar") == 0)
			o.jar = argv[i];
		else if (strcmp(name, "log") == 0)
			o.log = argv[i];
		else
			errx(2, "%s", USAGE);
	}
	if (i >= argc || argc - i > 2 || o.clients == 0 || o.clients > CLIENTS_MAX)
		errx(2, "%s", USAGE);
	o.where = argv[i];
	o.path = argc - i == 2 ? argv[i + 1] : o.path;
	return o;
}

int main(int argc, char **argv)
{
	struct load l = {.opt = options_read(argc, argv), .visited = 1};
	l.server = address_parse(l.opt.where);
	l.epoll = epoll_create1(EPOLL_CLOEXEC);
	l.clients = calloc(l.opt.clients, sizeof *l.clients);
	if (l.clients == NULL || l.epoll < 0)
		err(1, "start");
	if (l.opt.jar != NULL && (l.jar = fopen(l.opt.jar, "r")) == NULL)
		err(1, "%s", l.opt.jar);
	if (signal(SIGTERM, on_term) == SIG_ERR)
		err(1, "signal");
	uint64_t began = now_ns();
	run(&l);
	uint64_t took = now_ns() - began;
	if (l.opt.log != NULL)
		log_write(&l);
	samples_report(&l.samples, took, l.errors);
	bool failed = l.errors > 0;
	free(l.samples.at);
	free(l.clients);
	return failed;
}
