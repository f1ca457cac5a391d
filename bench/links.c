/* What frames between nodes cost: two ends over loopback, each in a process of its own. One sends CONTROL frames
 * through cluster/peer.c as fast as they are taken; beside it the same bytes go through OpenSSL alone, with SSL_write
 * and SSL_read that block. One line of JSON for each.
 *
 *   links [--mib N] [--rounds N]
 *
 * Links with libweir.a. Certificates are made in a folder that is removed. CPU is of both ends. */
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "cluster/peer.h"
#include "net/loop.h"
#include "tls/pki.h"
#include "tls/tls.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { FRAME_HEAD = PEER_HEAD_BYTES };

static char folder[] = "/tmp/weir-links.XXXXXX";
static uint8_t body[PEER_BODY_MAX];

static void must(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "links: %s failed\n", what);
	exit(1);
}

/* --- certificates --- */

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path);
}

static void make_certificates(void)
{
	static const char *const nodes[] = {"alpha", "beta"};
	struct tls_pki_terms terms = {{clock_wall().s - 3600}, 10};
	struct tls_pki_issued issued;
	char dir[64], why[TLS_LINE_BYTES];

	must(mkdtemp(folder) != NULL, "mkdtemp");
	snprintf(dir, sizeof dir, "%s/eu", folder);
	must(tls_pki_init(dir, "eu", terms, &issued, why) == 0, "pki init");
	for (size_t i = 0; i < 2; i++)
		must(tls_pki_issue(dir, nodes[i], NULL, true, terms, &issued, why) == 0, "pki issue");
}

static const char *file(const char *name, const char *end, char out[96])
{
	snprintf(out, 96, "%s/eu/%s%s", folder, name, end);
	return out;
}

static struct tls_context *context_of(const char *node)
{
	char certificate[96], key[96], authority[96];
	struct tls_settings s = {.cluster = "eu",
				 .node = node,
				 .certificate = file(node, ".pem", certificate),
				 .key = file(node, ".key", key),
				 .authority = file("ca", ".pem", authority)};
	struct tls_context *c;
	struct tls_said said;

	must(tls_context_load(&c, &s, clock_wall(), &said) == 0, said.why);
	return c;
}

/* --- sockets and times --- */

static int listen_somewhere(uint16_t *port, int flags)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof at;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

	must(bind(fd, (struct sockaddr *)&at, sizeof at) == 0 && listen(fd, 16) == 0, "listen");
	must(getsockname(fd, (struct sockaddr *)&at, &len) == 0, "getsockname");
	*port = ntohs(at.sin_port);
	return fd;
}

static double cpu_us(int who)
{
	struct rusage u;

	getrusage(who, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

/* What the receiver tells through a pipe when all has come. */
struct result {
	double seconds, cpu_us;
};

struct run {
	size_t body_bytes;
	uint64_t frames;
	int done; /* the pipe */
};

static void say(const struct run *r, uint64_t begin_us, double begin_cpu)
{
	struct result said = {(double)(clock_us() - begin_us) / 1e6, cpu_us(RUSAGE_SELF) - begin_cpu};

	must(write(r->done, &said, sizeof said) == (ssize_t)sizeof said, "write");
}

/* --- through cluster/peer.c --- */

struct end {
	struct net_loop loop;
	struct peers *peers;
	const struct run *run;
	const char *other;
	uint64_t frames, begin_us;
	double begin_cpu;
	struct net_timer timer;
	bool sends;
};

static void on_hello(void *owner, struct peer_hello *out)
{
	(void)owner;
	out->address = VIEW("127.0.0.1:1");
}

static uint64_t on_epoch(void *owner)
{
	(void)owner;
	return 1;
}

static void on_heard(void *owner, struct view to, struct buf *out)
{
	(void)owner;
	(void)to;
	(void)out;
}

static void on_named(void *owner, struct view address, struct view name)
{
	(void)owner;
	(void)address;
	(void)name;
}

static uint64_t on_dials(void *owner, struct view name, struct view address)
{
	(void)owner;
	(void)name;
	(void)address;
	return 0;
}

static void send_on(struct end *e)
{
	while (e->frames < e->run->frames &&
	       peers_send(e->peers, view_str(e->other), PEER_CONTROL, view_of(body, e->run->body_bytes)) == 0)
		e->frames++;
}

static void begin(struct end *e)
{
	e->begin_us = clock_us();
	e->begin_cpu = cpu_us(RUSAGE_SELF);
}

static void on_up(void *owner, const struct peer_hello *hello)
{
	struct end *e = owner;

	(void)hello;
	begin(e);
	if (e->sends)
		send_on(e);
}

static void on_down(void *owner, struct view name, uint64_t incarnation, enum peers_why why)
{
	struct end *e = owner;

	(void)name;
	(void)incarnation;
	if (e->sends && e->frames == e->run->frames)
		peers_stop(e->peers);
	else
		must(why == PEERS_REFUSED, peers_why_text(why));
}

static bool on_frame(void *owner, struct view name, uint64_t incarnation, enum peer_type type, struct view got)
{
	struct end *e = owner;

	(void)name;
	(void)incarnation;
	(void)type;
	must(got.len == e->run->body_bytes, "length");
	if (++e->frames == e->run->frames) {
		say(e->run, e->begin_us, e->begin_cpu);
		peers_stop(e->peers);
	}
	return true;
}

static void on_beat(void *owner, struct view name, uint64_t incarnation, const struct peer_beat *beat,
		    struct lease_time confirmed)
{
	(void)owner;
	(void)name;
	(void)incarnation;
	(void)beat;
	(void)confirmed;
}

static void on_drained(void *owner, struct view name, enum peer_link link)
{
	(void)name;
	(void)link;
	send_on(owner);
}

static void on_stopped(void *owner)
{
	net_loop_stop(&((struct end *)owner)->loop);
}

static const struct peers_ops ops = {on_hello, on_epoch, on_heard, on_named,   on_dials,  on_up,
				     on_down,  on_frame, on_beat,  on_drained, on_stopped};

/* `to` 0: receives. Answers the processor's time. */
static double be_a_node(const struct run *r, const char *name, const char *other, int listen_fd, uint16_t to)
{
	static struct end e;
	struct tls_context *c = context_of(name);
	char address[32];
	struct peers_settings s = {
	    .self = view_str(name), .incarnation = 1, .failure_ms = 10000, .seed = 1, .listen_fd = listen_fd};

	e = (struct end){.run = r, .other = other, .sends = to != 0};
	must(net_loop_init(&e.loop) == 0, "loop");
	must(peers_start(&e.peers, &e.loop, &s, c, &ops, &e) == 0, "peers_start");
	if (to) {
		snprintf(address, sizeof address, "127.0.0.1:%u", to);
		struct peers_target t = {view_str(address), view_str(other)};
		must(peers_want(e.peers, &t, 1) == 0, "peers_want");
	}
	net_loop_run(&e.loop);
	net_loop_fini(&e.loop);
	tls_context_unref(&c);
	return cpu_us(RUSAGE_SELF) - e.begin_cpu;
}

static double links_receive(const struct run *r, int fd)
{
	(void)fcntl(fd, F_SETFL, O_NONBLOCK);
	return be_a_node(r, "beta", "alpha", fd, 0);
}

static double links_send(const struct run *r, uint16_t port)
{
	return be_a_node(r, "alpha", "beta", -1, port);
}

/* --- OpenSSL alone --- */

static SSL *shake(const char *node, int fd, bool dials)
{
	char certificate[96], key[96];
	SSL_CTX *ctx = SSL_CTX_new(TLS_method());
	int on = 1;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
	must(SSL_CTX_use_certificate_file(ctx, file(node, ".pem", certificate), SSL_FILETYPE_PEM) == 1, "certificate");
	must(SSL_CTX_use_PrivateKey_file(ctx, file(node, ".key", key), SSL_FILETYPE_PEM) == 1, "key");
	SSL *ssl = SSL_new(ctx);
	SSL_CTX_free(ctx);
	SSL_set_fd(ssl, fd);
	must((dials ? SSL_connect(ssl) : SSL_accept(ssl)) == 1, "handshake");
	return ssl;
}

static double plain_receive(const struct run *r, int listen_fd)
{
	int fd = accept(listen_fd, NULL, NULL);
	SSL *ssl = shake("beta", fd, false);
	uint64_t left = r->frames * (FRAME_HEAD + r->body_bytes), begin_us = clock_us();
	double begin_cpu = cpu_us(RUSAGE_SELF);

	while (left > 0) {
		int n = SSL_read(ssl, body, sizeof body);
		must(n > 0, "SSL_read");
		left -= (uint64_t)n;
	}
	say(r, begin_us, begin_cpu);
	SSL_free(ssl);
	close(fd);
	return 0;
}

static double plain_send(const struct run *r, uint16_t port)
{
	struct sockaddr_in to = {
	    .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	must(connect(fd, (struct sockaddr *)&to, sizeof to) == 0, "connect");
	SSL *ssl = shake("alpha", fd, true);
	double begin_cpu = cpu_us(RUSAGE_SELF);

	for (uint64_t i = 0; i < r->frames; i++)
		must(SSL_write(ssl, body, (int)(FRAME_HEAD + r->body_bytes)) > 0, "SSL_write");
	double cpu = cpu_us(RUSAGE_SELF) - begin_cpu;
	SSL_shutdown(ssl);
	while (SSL_read(ssl, body, sizeof body) > 0) {
		/* until the other one has closed: with its tickets unread this host would cut it off */
	}
	SSL_free(ssl);
	close(fd);
	return cpu;
}

/* --- both --- */

static const struct way {
	const char *name;
	double (*receive)(const struct run *r, int listen_fd);
	double (*send)(const struct run *r, uint16_t port);
} ways[] = {{"links", links_receive, links_send}, {"tls", plain_receive, plain_send}};

static struct result measure(const struct way *w, struct run *r)
{
	uint16_t port = 0;
	int fd = listen_somewhere(&port, 0), ends[2], status = 0;
	struct result got;

	must(pipe(ends) == 0, "pipe");
	pid_t child = fork();
	if (child == 0) {
		r->done = ends[1];
		(void)w->receive(r, fd);
		_exit(0);
	}
	close(fd);
	close(ends[1]);
	double cpu = w->send(r, port);
	must(read(ends[0], &got, sizeof got) == (ssize_t)sizeof got, "receiver");
	close(ends[0]);
	must(waitpid(child, &status, 0) == child && status == 0, "receiver");
	got.cpu_us += cpu;
	return got;
}

static void print(const struct way *w, const struct run *r, int round, struct result got)
{
	double frames = (double)r->frames;

	printf("{\"bench\":\"links\",\"way\":\"%s\",\"frame_bytes\":%zu,\"round\":%d,\"frames_per_s\":%.0f,"
	       "\"mb_per_s\":%.0f,\"cpu_us_per_frame\":%.2f}\n",
	       w->name, r->body_bytes, round, frames / got.seconds, frames * (double)r->body_bytes / got.seconds / 1e6,
	       got.cpu_us / frames);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	static const size_t sizes[] = {1024, 64 << 10};
	size_t mib = 512;
	int rounds = 3;

	for (int i = 1; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--mib") == 0)
			mib = (size_t)strtoul(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--rounds") == 0)
			rounds = atoi(argv[i + 1]);
	}
	log_set_level(LOG_ERROR);
	make_certificates();
	for (int round = 1; round <= rounds; round++) {
		for (size_t i = 0; i < 2; i++) {
			for (size_t k = 0; k < 2; k++) {
				struct run r = {.body_bytes = sizes[i], .frames = (mib << 20) / sizes[i]};
				print(&ways[k], &r, round, measure(&ways[k], &r));
			}
		}
	}
	return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}
