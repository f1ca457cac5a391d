/* Nodes of one cluster in one process and one loop, over loopback, and what each of them was told; and a raw one that
 * says what it likes. Certificates are made once, as of today. */
#ifndef WEIR_TESTS_UNIT_PEERS_FIXTURE_H
#define WEIR_TESTS_UNIT_PEERS_FIXTURE_H

#include "cluster/peer.h"

#include "base/log.h"
#include "net/socket.h"
#include "proto/peer_report.h"
#include "tests/unit/loop_fixture.h"
#include "tests/unit/tls_fixture.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

enum { FAILURE_MS = 1000 };

struct node {
	struct peers *peers; /* NULL: not there */
	const char *name;
	uint64_t incarnation;
	uint16_t port;
	char address[32];
	uint8_t cluster[PEER_CLUSTER_BYTES];
	unsigned ups, downs[5], named, frames, views, beats, drains, stops;
	uint64_t up_incarnation, up_epoch, down_incarnation;
	size_t put_off_bytes, put_off_frames, body_bytes;
	uint64_t put_off_connection; /* of the last that was put off */
	bool puts_off, gives_up;     /* gives_up: wants nobody any more when it hears that one is down */
	char last_body[32], heard[200];
	uint64_t last_sum; /* of the last body */
	uint64_t epoch, epoch_heard;
	struct lease_time confirmed;
	char named_address[32], named_name[32];
	char heard_to[32]; /* for whom it was asked last */
};

static struct node alpha, beta, gamma_node;

static inline void node_hello(void *owner, struct peer_hello *out)
{
	struct node *n = owner;

	out->address = view_str(n->address);
	out->epoch = n->epoch;
	memcpy(out->cluster, n->cluster, PEER_CLUSTER_BYTES);
}

static inline uint64_t node_epoch(void *owner)
{
	return ((struct node *)owner)->epoch;
}

static inline void hear_one(void *arg, const struct peers_status *s)
{
	if (s->links[PEER_LINK_CONTROL].state && strcmp(s->links[PEER_LINK_CONTROL].state, "open") == 0)
		peer_heard_put(arg, s->name);
}

static inline void node_heard(void *owner, struct view to, struct buf *out)
{
	struct node *n = owner;

	snprintf(n->heard_to, sizeof n->heard_to, "%.*s", (int)to.len, (const char *)to.at);
	peers_each(n->peers, hear_one, out);
}

static inline void node_named(void *owner, struct view address, struct view name)
{
	struct node *n = owner;

	n->named++;
	snprintf(n->named_address, sizeof n->named_address, "%.*s", (int)address.len, (const char *)address.at);
	snprintf(n->named_name, sizeof n->named_name, "%.*s", (int)name.len, (const char *)name.at);
}

static inline uint64_t node_dials(void *owner, struct view name, struct view address)
{
	(void)name;
	(void)address;
	return ((struct node *)owner)->up_incarnation;
}

static inline void node_up(void *owner, const struct peer_hello *h)
{
	struct node *n = owner;

	n->ups++;
	n->up_incarnation = h->incarnation;
	n->up_epoch = h->epoch;
}

static inline void node_down(void *owner, struct view name, uint64_t incarnation, enum peers_why reason)
{
	struct node *n = owner;

	(void)name;
	n->downs[reason]++;
	n->down_incarnation = incarnation;
	if (n->gives_up)
		assert_int_equal(peers_want(n->peers, NULL, 0), 0);
}

static inline uint64_t sum_of(struct view v)
{
	uint64_t sum = v.len;

	for (size_t i = 0; i < v.len; i++)
		sum = sum * 31 + v.at[i];
	return sum;
}

static inline bool node_frame(void *owner, struct view name, uint64_t incarnation, enum peer_type type,
			      struct view body)
{
	struct node *n = owner;

	(void)incarnation;
	n->frames++;
	n->views += type == PEER_VIEW;
	n->body_bytes += body.len;
	n->last_sum = sum_of(body);
	snprintf(n->last_body, sizeof n->last_body, "%.*s", (int)(body.len < 31 ? body.len : 31),
		 body.len ? (const char *)body.at : "");
	if (n->puts_off) {
		n->put_off_bytes += body.len;
		n->put_off_frames++;
		n->put_off_connection = peers_connection(n->peers, name, PEER_LINK_CONTROL);
	}
	return !n->puts_off;
}

static inline void node_beat(void *owner, struct view name, uint64_t incarnation, const struct peer_beat *b,
			     struct lease_time confirmed)
{
	struct node *n = owner;
	struct view rest = b->heard, next;

	(void)name;
	(void)incarnation;
	n->beats++;
	n->confirmed = confirmed;
	n->epoch_heard = b->epoch;
	n->heard[0] = '\0';
	while (peer_heard_next(&rest, &next))
		snprintf(n->heard + strlen(n->heard), sizeof n->heard - strlen(n->heard), "%.*s ", (int)next.len,
			 (const char *)next.at);
}

static inline void node_drained(void *owner, struct view name, enum peer_link link)
{
	(void)name;
	(void)link;
	((struct node *)owner)->drains++;
}

static inline void node_stopped(void *owner)
{
	struct node *n = owner;

	n->stops++;
	n->peers = NULL;
}

static const struct peers_ops node_ops = {node_hello, node_epoch, node_heard, node_named,   node_dials,  node_up,
					  node_down,  node_frame, node_beat,  node_drained, node_stopped};

static inline struct tls_context *load_today(const char *dir, const char *cluster, const char *name)
{
	return load_at(dir, cluster, name, clock_wall());
}

static inline int listen_somewhere(uint16_t *port)
{
	struct sockaddr_in at = {
	    .sin_family = AF_INET, .sin_port = htons(*port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof at;
	int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
	assert_int_equal(listen(fd, 1024), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	*port = ntohs(at.sin_port);
	return fd;
}

static inline void node_start_with(struct node *n, const char *name, uint64_t incarnation, uint64_t failure_ms,
				   struct tls_context *c)
{
	uint16_t port = n->port;
	uint8_t cluster[PEER_CLUSTER_BYTES];

	memcpy(cluster, n->cluster, sizeof cluster);
	*n = (struct node){.name = name, .incarnation = incarnation, .port = port, .epoch = 7};
	memcpy(n->cluster, cluster, sizeof cluster);
	struct peers_settings s = {.self = view_str(name),
				   .incarnation = incarnation,
				   .failure_ms = failure_ms,
				   .seed = incarnation,
				   .listen_fd = listen_somewhere(&n->port)};
	snprintf(n->address, sizeof n->address, "127.0.0.1:%u", n->port);
	assert_int_equal(peers_start(&n->peers, &loop, &s, c, &node_ops, n), 0);
}

static inline void node_start(struct node *n, const char *name, uint64_t incarnation)
{
	struct tls_context *c = load_today("eu", "eu", name);

	node_start_with(n, name, incarnation, FAILURE_MS, c);
	tls_context_unref(&c);
}

/* Silence is nothing that comes within a test. */
static inline void node_start_patient(struct node *n, const char *name, uint64_t incarnation)
{
	struct tls_context *c = load_today("eu", "eu", name);

	node_start_with(n, name, incarnation, PATIENCE_MS, c);
	tls_context_unref(&c);
}

static inline void node_stop(struct node *n)
{
	if (!n->peers)
		return;
	peers_stop(n->peers);
	RUN_UNTIL(!n->peers);
}

static inline void want(struct node *n, const struct node *other, const char *name)
{
	struct peers_target t = {view_str(other->address), view_str(name)};

	assert_int_equal(peers_want(n->peers, &t, 1), 0);
}

/* --- what there is --- */

struct look {
	struct view name;
	struct peers_status found;
	bool there;
};

static inline void look_one(void *arg, const struct peers_status *s)
{
	struct look *l = arg;

	if (view_eq(s->name, l->name)) {
		l->found = *s;
		l->there = true;
	}
}

static inline struct peers_status status(const struct node *n, const char *name)
{
	struct look l = {.name = view_str(name)};

	peers_each(n->peers, look_one, &l);
	if (!l.there)
		memset(&l.found, 0, sizeof l.found);
	return l.found;
}

static inline bool is_open(const struct node *n, const char *name, enum peer_link link)
{
	const char *state = status(n, name).links[link].state;

	return state && strcmp(state, "open") == 0;
}

static inline bool both_open(const struct node *n, const char *name)
{
	return is_open(n, name, PEER_LINK_CONTROL) && is_open(n, name, PEER_LINK_BULK);
}

/* alpha dials beta, and both links are there. */
static inline void link_up(void)
{
	node_start(&alpha, "alpha", 11);
	node_start(&beta, "beta", 22);
	want(&alpha, &beta, "beta");
	RUN_UNTIL(both_open(&alpha, "beta") && both_open(&beta, "alpha"));
}

/* --- one that says what it likes --- */

struct raw {
	int fd;
	struct tls_channel *tls; /* NULL: plain */
	struct buf out, plain;
	struct peer_decoder decoder;
	struct peer_frame frame; /* the last that came */
	uint8_t last[300];
	struct peer_goodbye goodbye;
	struct peer_beat beat; /* the last that came */
	uint64_t sequence;
	unsigned frames;
	bool ended;
};

/* Without a context it is plain TCP. */
static inline void raw_connect_with(struct raw *r, const struct node *to, struct tls_context *c)
{
	struct sockaddr_in at = {
	    .sin_family = AF_INET, .sin_port = htons(to->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	*r = (struct raw){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
	assert_int_equal(connect(r->fd, (struct sockaddr *)&at, sizeof at), 0);
	assert_int_equal(fcntl(r->fd, F_SETFL, O_NONBLOCK), 0);
	peer_decoder_init(&r->decoder);
	if (!c)
		return;
	assert_int_equal(tls_channel_new(&r->tls, c, TLS_DIALS, NULL, clock_wall()), 0);
	tls_channel_start(r->tls, &r->out);
}

static inline void raw_connect(struct raw *r, const struct node *to, const char *dir, const char *cluster,
			       const char *name)
{
	struct tls_context *c = name ? load_today(dir, cluster, name) : NULL;

	raw_connect_with(r, to, c);
	tls_context_unref(&c);
}

static inline void raw_frames(struct raw *r)
{
	struct view rest = buf_view(&r->plain);

	while (peer_next(&r->decoder, &rest, &r->frame) == DECODE_OK) {
		r->frames++;
		if (r->frame.type == PEER_BEAT)
			assert_int_equal(peer_beat_decode(r->frame.body, &r->beat), 0);
		if (r->frame.type == PEER_GOODBYE) {
			memcpy(r->last, r->frame.body.at, r->frame.body.len);
			assert_int_equal(peer_goodbye_decode(view_of(r->last, r->frame.body.len), &r->goodbye), 0);
		}
	}
	buf_consume(&r->plain, buf_len(&r->plain) - rest.len);
}

/* Sends and takes what it can; false: the other side has ended. */
static inline bool raw_turn(struct raw *r)
{
	static uint8_t space[65536];
	ssize_t n;

	if (buf_len(&r->out) > 0 && (n = send(r->fd, buf_view(&r->out).at, buf_len(&r->out), MSG_NOSIGNAL)) > 0)
		buf_consume(&r->out, (size_t)n);
	n = r->ended ? -1 : recv(r->fd, space, sizeof space, 0);
	if (n > 0 && r->tls) {
		tls_channel_feed(r->tls, view_of(space, (size_t)n), &r->plain, &r->out);
		raw_frames(r);
	}
	r->ended = r->ended || n == 0 || (n < 0 && errno != EAGAIN);
	return !r->ended;
}

#define RAW_UNTIL(r, condition) RUN_UNTIL((raw_turn(r), (condition)))

static inline void raw_write(struct raw *r, struct view bytes)
{
	if (r->tls)
		assert_int_equal(tls_channel_write(r->tls, bytes, &r->out), 0);
	else
		buf_put(&r->out, bytes);
}

static inline void raw_send(struct raw *r, enum peer_type type, struct view body)
{
	struct buf b = {0};

	peer_put_head(&b, type, 0, ++r->sequence, body.len);
	buf_put(&b, body);
	raw_write(r, buf_view(&b));
	buf_fini(&b);
}

static inline struct peer_hello raw_hello(const char *name, uint64_t incarnation)
{
	return (struct peer_hello){.version_least = 1,
				   .version_greatest = 1,
				   .name = view_str(name),
				   .incarnation = incarnation,
				   .address = VIEW("127.0.0.1:1")};
}

static inline void raw_greet(struct raw *r, const struct peer_hello *h)
{
	struct buf body = {0};

	RAW_UNTIL(r, tls_channel_state(r->tls) == TLS_OPEN);
	peer_hello_encode(h, &body);
	raw_send(r, PEER_HELLO, buf_view(&body));
	buf_fini(&body);
}

static inline void raw_close(struct raw *r)
{
	tls_channel_free(&r->tls);
	buf_fini(&r->out);
	buf_fini(&r->plain);
	close(r->fd);
}

/* --- life --- */

static inline int peers_folder(void **state)
{
	struct wall_time yesterday = {clock_wall().s - DAY};

	(void)state;
	if (folder_make() != 0)
		return -1;
	make_authority("eu", "eu");
	make_authority("us", "us");
	make_authority("other", "eu");
	issue_at("eu", "alpha", yesterday);
	issue_at("eu", "beta", yesterday);
	issue_at("eu", "gamma", yesterday);
	issue_at("eu", "late", (struct wall_time){clock_wall().s - 366 * DAY});
	issue_at("eu", "lost", yesterday);
	issue_at("us", "beta", yesterday);
	issue_at("other", "beta", yesterday);
	return log_open(LOG_DEBUG, in_folder("log"));
}

static inline int peers_set_up(void **state)
{
	alpha = beta = gamma_node = (struct node){0};
	return loop_set_up(state);
}

static inline int peers_tear_down(void **state)
{
	node_stop(&alpha);
	node_stop(&beta);
	node_stop(&gamma_node);
	return loop_tear_down(state);
}

static inline int peers_folder_gone(void **state)
{
	(void)state;
	log_close();
	return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* Lines of the log with the text in them. */
static inline unsigned logged(const char *text)
{
	char line[LOG_LINE_MAX];
	unsigned count = 0;
	FILE *f = fopen(in_folder("log"), "r");

	while (f && fgets(line, sizeof line, f))
		count += strstr(line, text) != NULL;
	if (f)
		fclose(f);
	return count;
}

#endif
