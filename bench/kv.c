/* The load of the bench for what speaks Redis's protocol: clients over epoll in one thread, each with one connection
 * and one command at a time (a closed loop, no pipelining), as the processes of an application are. Prints one line of
 * JSON.
 *
 * The keys are PREFIX0, PREFIX1 ... and are drawn at random; before a load of GET all of them are written. A reply
 * counts when it is byte for byte what has to come. usage: kv [--clients N] [--seconds S] [--bytes B] [--keys K]
 * [--prefix P] get|set ADDRESS */
#include "bench/samples.h"
#include "bench/socket.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/epoll.h>

enum { EVENTS = 64, HEAD_BYTES = 512, BYTES_MAX = 1 << 20, CLIENTS_MAX = 10000, TTL_S = 3600, ERRORS_SHOWN = 5 };

static const char USAGE[] = "usage: kv [--clients N] [--seconds S] [--bytes B] [--keys K] [--prefix P] get|set ADDRESS";

struct options {
	unsigned clients;
	double seconds;
	size_t bytes; /* of a value */
	unsigned long keys;
	const char *prefix, *where;
	bool get;
};

struct client {
	int fd;
	size_t in_len;
	bool waits; /* for a reply */
	uint64_t sent_ns;
	char *in; /* owned; room for one reply and a byte */
};

struct kv {
	struct options opt;
	struct address server;
	int epoll;
	struct client *clients; /* owned */
	struct samples samples;
	unsigned long errors;
	uint64_t random;
	char *out; /* owned; the command being sent: its value stays where it is from one to the next */
	size_t value_at;
	char *expected; /* owned */
	size_t expected_len;
};

static uint64_t random_next(struct kv *k)
{
	k->random ^= k->random << 13;
	k->random ^= k->random >> 7;
	k->random ^= k->random << 17;
	return k->random;
}

/* --- commands --- */

static size_t get_write(const struct kv *k, char *out, unsigned long key)
{
	char name[HEAD_BYTES / 2];
	int len = snprintf(name, sizeof name, "%s%lu", k->opt.prefix, key);
	return (size_t)snprintf(out, HEAD_BYTES, "*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n", len, name);
}

/* SETEX, as phpredis does it. *out: where it begins in k->out, in front of the value. */
static size_t set_write(const struct kv *k, char **out, unsigned long key)
{
	char name[HEAD_BYTES / 2], head[HEAD_BYTES];
	int len = snprintf(name, sizeof name, "%s%lu", k->opt.prefix, key);
	size_t n = (size_t)snprintf(head, sizeof head, "*4\r\n$5\r\nSETEX\r\n$%d\r\n%s\r\n$4\r\n%d\r\n$%zu\r\n", len,
				    name, TTL_S, k->opt.bytes);
	*out = k->out + k->value_at - n;
	memcpy(*out, head, n);
	return n + k->opt.bytes + 2;
}

static void client_send(struct kv *k, struct client *c)
{
	unsigned long key = (unsigned long)(random_next(k) % k->opt.keys);
	char *out = k->out;
	size_t len = k->opt.get ? get_write(k, out, key) : set_write(k, &out, key);

	c->sent_ns = now_ns();
	c->in_len = 0;
	c->waits = true;
	for (size_t done = 0; done < len;) {
		ssize_t n = send(c->fd, out + done, len - done, MSG_NOSIGNAL);
		if (n <= 0)
			err(1, "send");
		done += (size_t)n;
	}
}

/* False: there is more to come. */
static bool client_read(struct kv *k, struct client *c)
{
	ssize_t got = recv(c->fd, c->in + c->in_len, k->expected_len + 1 - c->in_len, MSG_DONTWAIT);

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (got <= 0)
		errx(1, "a connection was closed");
	c->in_len += (size_t)got;
	if (c->in[0] != k->expected[0])
		errx(1, "a reply that is none: %.*s", (int)c->in_len, c->in);
	if (c->in_len < k->expected_len)
		return false;
	c->waits = false;
	if (c->in_len == k->expected_len && memcmp(c->in, k->expected, c->in_len) == 0)
		samples_add(&k->samples, c->sent_ns);
	else if (k->errors++ < ERRORS_SHOWN)
		fprintf(stderr, "kv: another reply: %.60s\n", c->in);
	return true;
}

/* --- run --- */

static void client_open(struct kv *k, struct client *c)
{
	c->in = malloc(k->expected_len + 2);
	c->fd = socket_connect(&k->server);
	if (c->fd < 0 || c->in == NULL)
		err(1, "%s", k->opt.where);
	c->in[k->expected_len + 1] = '\0';
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
	if (epoll_ctl(k->epoll, EPOLL_CTL_ADD, c->fd, &ev) != 0)
		err(1, "epoll_ctl");
}

static void expect(struct kv *k)
{
	int n = k->opt.get ? sprintf(k->expected, "$%zu\r\n", k->opt.bytes) : sprintf(k->expected, "+OK\r\n");

	k->expected_len = (size_t)n;
	if (k->opt.get) {
		memcpy(k->expected + n, k->out + k->value_at, k->opt.bytes + 2);
		k->expected_len += k->opt.bytes + 2;
	}
}

/* Every key, one after the other. */
static void fill(struct kv *k)
{
	int fd = socket_connect(&k->server);
	if (fd < 0)
		err(1, "%s", k->opt.where);
	for (unsigned long key = 0; key < k->opt.keys; key++) {
		char *out, reply[128];
		size_t len = set_write(k, &out, key);
		if (send(fd, out, len, MSG_NOSIGNAL) != (ssize_t)len)
			err(1, "send");
		ssize_t n = recv(fd, reply, sizeof reply - 1, 0);
		if (n < 5 || memcmp(reply, "+OK\r\n", 5) != 0)
			errx(1, "a key cannot be written: %.*s", n > 0 ? (int)n : 0, reply);
	}
	(void)close(fd);
}

static void run(struct kv *k)
{
	struct epoll_event events[EVENTS];
	uint64_t now = now_ns(), end = now + (uint64_t)(k->opt.seconds * 1e9);
	unsigned waiting = k->opt.clients;

	for (unsigned i = 0; i < k->opt.clients; i++)
		client_send(k, &k->clients[i]);
	while (waiting > 0) {
		int n = epoll_wait(k->epoll, events, EVENTS, 5000);
		if (n == 0)
			errx(1, "no reply for 5 s");
		now = now_ns();
		for (int i = 0; i < n; i++) {
			struct client *c = events[i].data.ptr;
			if (!c->waits || !client_read(k, c))
				continue;
			if (now < end)
				client_send(k, c);
			else
				waiting--;
		}
	}
}

static struct options options_read(int argc, char **argv)
{
	struct options o = {.clients = 16, .seconds = 4, .bytes = 1024, .keys = 1000, .prefix = "bench:"};
	int i = 1;
	for (; i + 1 < argc && strncmp(argv[i], "--", 2) == 0; i += 2) {
		const char *name = argv[i] + 2, *value = argv[i + 1];
		if (strcmp(name, "clients") == 0)
			o.clients = (unsigned)strtoul(value, NULL, 10);
		else if (strcmp(name, "seconds") == 0)
			o.seconds = strtod(value, NULL);
		else if (strcmp(name, "bytes") == 0)
			o.bytes = strtoul(value, NULL, 10);
		else if (strcmp(name, "keys") == 0)
			o.keys = strtoul(value, NULL, 10);
		else if (strcmp(name, "prefix") == 0)
			o.prefix = value;
		else
			errx(2, "%s", USAGE);
	}
	if (argc - i != 2 || o.clients == 0 || o.clients > CLIENTS_MAX || o.keys == 0 || o.bytes > BYTES_MAX ||
	    strlen(o.prefix) > HEAD_BYTES / 4 || (strcmp(argv[i], "get") != 0 && strcmp(argv[i], "set") != 0))
		errx(2, "%s", USAGE);
	o.get = strcmp(argv[i], "get") == 0;
	o.where = argv[i + 1];
	return o;
}

int main(int argc, char **argv)
{
	struct kv k = {.opt = options_read(argc, argv), .random = 88172645463325252u, .value_at = HEAD_BYTES};
	k.server = address_parse(k.opt.where);
	k.epoll = epoll_create1(EPOLL_CLOEXEC);
	k.clients = calloc(k.opt.clients, sizeof *k.clients);
	k.out = malloc(HEAD_BYTES + k.opt.bytes + 2);
	k.expected = malloc(HEAD_BYTES + k.opt.bytes);
	if (k.epoll < 0 || k.clients == NULL || k.out == NULL || k.expected == NULL)
		err(1, "start");
	memset(k.out + HEAD_BYTES, 'v', k.opt.bytes);
	memcpy(k.out + HEAD_BYTES + k.opt.bytes, "\r\n", 2);
	expect(&k);
	if (k.opt.get)
		fill(&k);
	for (unsigned i = 0; i < k.opt.clients; i++)
		client_open(&k, &k.clients[i]);
	uint64_t began = now_ns();
	run(&k);
	samples_report(&k.samples, now_ns() - began, k.errors);
	for (unsigned i = 0; i < k.opt.clients; i++)
		free(k.clients[i].in);
	free(k.clients);
	free(k.samples.at);
	free(k.out);
	free(k.expected);
	return k.errors > 0;
}
