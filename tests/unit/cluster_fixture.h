/* Three whole nodes of one cluster in one process: each with its threads, its folder, its certificate and a port of
 * loopback. The test is main: its loop is where they tell what has happened. */
#ifndef WEIR_TESTS_UNIT_CLUSTER_FIXTURE_H
#define WEIR_TESTS_UNIT_CLUSTER_FIXTURE_H

#include "cluster/cluster.h"

#include "base/log.h"
#include "tests/unit/loop_fixture.h"
#include "tests/unit/tls_fixture.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

/* The order of Berkeley DB's own locks is its own business. libuv closes descriptors unseen, so that a number which
 * comes back in a folder that Berkeley DB reads looks shared with a loop that is gone. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
	return "deadlock:libdb\nrace:__os_dirlist";
}

enum { NODES = 3, FAILURE_MS = 800 };

struct node {
	struct cluster *cluster; /* NULL: not there */
	const char *name;
	char address[32];
	uint16_t port;
	const char *settings; /* of its app */
	uint64_t digest;
	const char *zone;
	unsigned lives, left, broken, stopped;
	char why[200], left_why[200];
};

static struct node nodes[NODES];
static unsigned folders;

static inline void on_left(void *owner, const char *reason)
{
	struct node *n = owner;

	n->left++;
	snprintf(n->left_why, sizeof n->left_why, "%s", reason ? reason : "");
}

static inline void on_broken(void *owner, const char *reason)
{
	struct node *n = owner;

	n->broken++;
	snprintf(n->why, sizeof n->why, "%s", reason);
}

static inline void on_stopped(void *owner)
{
	struct node *n = owner;

	n->stopped++;
	cluster_free(&n->cluster);
}

static const struct cluster_ops node_ops = {.left = on_left, .broken = on_broken, .stopped = on_stopped};

static inline int listen_on(uint16_t *port)
{
	struct sockaddr_in at = {
	    .sin_family = AF_INET, .sin_port = htons(*port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof at;
	int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(fd, (struct sockaddr *)&at, sizeof at) != 0 || listen(fd, 128) != 0) {
		close(fd);
		return -1;
	}
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	*port = ntohs(at.sin_port);
	return fd;
}

/* Below those that the kernel gives to connections: a node that is started again must find its own still free. */
static inline uint16_t free_port(void)
{
	static unsigned tried;
	uint16_t port;
	int fd;

	do {
		port = (uint16_t)(20000 + ((unsigned)getpid() * 61 + tried++) % 12000);
		fd = listen_on(&port);
	} while (fd < 0);
	close(fd);
	return port;
}

/* The node's settings; what they point at is good until the next call. */
static inline struct cluster_settings settings_for(const struct node *n, unsigned peers)
{
	static const char *addresses[NODES];
	static struct cluster_app app;
	static char database[PATH_MAX];

	for (unsigned i = 0; i < peers; i++)
		addresses[i] = nodes[i].address;
	app = (struct cluster_app){"shop", n->settings, n->digest};
	snprintf(database, sizeof database, "%s/%s.%u", folder, n->name, folders);
	return (struct cluster_settings){.name = "eu",
					 .node = n->name,
					 .folder = database,
					 .address = n->address,
					 .peers = addresses,
					 .peer_count = peers,
					 .zone = n->zone ? n->zone : "",
					 .url = "",
					 .votes = true,
					 .priority = 100,
					 .buckets = 64,
					 .failure_ms = FAILURE_MS,
					 .election_ms = 100,
					 .apps = &app,
					 .app_count = 1,
					 .listen_fd = -1};
}

static inline struct tls_context *context_of(const struct node *n)
{
	return load_at("eu", "eu", n->name, clock_wall());
}

static inline void node_begin(struct node *n, unsigned peers)
{
	struct cluster_settings s = settings_for(n, peers);

	s.tls = context_of(n);
	s.listen_fd = listen_on(&n->port);
	assert_true(s.listen_fd >= 0);
	if (cluster_start(&n->cluster, &s, &node_ops, n, &loop, n->why) != 0)
		fail_msg("%s", n->why);
	tls_context_unref(&s.tls);
	n->lives++;
	n->left = n->broken = n->stopped = 0;
}

static inline void node_reload(struct node *n)
{
	struct cluster_settings s = settings_for(n, NODES);

	s.tls = context_of(n);
	assert_int_equal(cluster_reload(n->cluster, &s, n->why), 0);
	tls_context_unref(&s.tls);
}

static inline void node_end(struct node *n)
{
	if (!n->cluster)
		return;
	cluster_stop(n->cluster);
	RUN_UNTIL(!n->cluster);
}

static inline void all_start(void)
{
	for (unsigned i = 0; i < NODES; i++)
		node_begin(&nodes[i], NODES);
}

/* --- what they see --- */

static inline uint64_t epoch_of(const struct node *n)
{
	struct cluster_view *v = n->cluster ? cluster_view_take(n->cluster) : NULL;
	uint64_t epoch = v ? v->view.epoch : 0;

	cluster_view_unref(&v);
	return epoch;
}

static inline bool acts(const struct node *n)
{
	return n->cluster && cluster_may_act(n->cluster, clock_lease());
}

static inline bool in_view(const struct node *n, const char *name)
{
	struct cluster_view *v = n->cluster ? cluster_view_take(n->cluster) : NULL;
	bool in = v && clus_view_member(&v->view, view_str(name)) != CLUS_NONE;

	cluster_view_unref(&v);
	return in;
}

static inline bool votes(const struct node *n, const char *name)
{
	struct cluster_view *v = n->cluster ? cluster_view_take(n->cluster) : NULL;
	bool in = v && clus_view_voter(&v->view, view_str(name)) != CLUS_NONE;

	cluster_view_unref(&v);
	return in;
}

static inline const char *coordinator_of(const struct node *n)
{
	static char name[PEER_NAME_MAX + 1];
	struct cluster_view *v = n->cluster ? cluster_view_take(n->cluster) : NULL;

	name[0] = '\0';
	if (v)
		snprintf(name, sizeof name, "%.*s", (int)v->view.members[v->view.coordinator].name.len,
			 (const char *)v->view.members[v->view.coordinator].name.at);
	cluster_view_unref(&v);
	return name;
}

static inline unsigned members_of(const struct node *n)
{
	struct cluster_view *v = n->cluster ? cluster_view_take(n->cluster) : NULL;
	unsigned count = v ? v->view.member_count : 0;

	cluster_view_unref(&v);
	return count;
}

/* All that run have the same view, of so many members, and may act. */
static inline bool are_one(unsigned members)
{
	uint64_t epoch = 0;

	for (unsigned i = 0; i < NODES; i++) {
		const struct node *n = &nodes[i];
		if (!n->cluster)
			continue;
		epoch = epoch ? epoch : epoch_of(n);
		if (epoch == 0 || epoch_of(n) != epoch || members_of(n) != members || !acts(n))
			return false;
	}
	return true;
}

static inline struct node *node_named(const char *name)
{
	for (unsigned i = 0; i < NODES; i++) {
		if (strcmp(nodes[i].name, name) == 0)
			return &nodes[i];
	}
	fail_msg("nobody is called %s", name);
	return NULL;
}

static inline struct node *other_than(const struct node *a, const struct node *b)
{
	for (unsigned i = 0; i < NODES; i++) {
		if (&nodes[i] != a && &nodes[i] != b)
			return &nodes[i];
	}
	return NULL;
}

/* --- a look --- */

struct test_look {
	struct cluster_look look;
	bool done;
};

static inline void look_done(struct cluster_look *look)
{
	CONTAINER_OF(look, struct test_look, look)->done = true;
}

static inline void look_at(struct node *n, struct test_look *l)
{
	memset(l, 0, sizeof *l);
	l->look.done = look_done;
	cluster_look(n->cluster, &l->look);
	RUN_UNTIL(l->done);
}

/* --- life --- */

static inline int cluster_folder(void **state)
{
	static const char *const names[NODES] = {"alpha", "beta", "gamma"};
	struct wall_time yesterday = {clock_wall().s - DAY};

	(void)state;
	if (folder_make() != 0)
		return -1;
	make_authority("eu", "eu");
	for (unsigned i = 0; i < NODES; i++) {
		nodes[i].name = names[i];
		issue_at("eu", names[i], yesterday);
	}
	return log_open(LOG_DEBUG, in_folder("log"));
}

static inline int nodes_set_up(void **state)
{
	folders++;
	for (unsigned i = 0; i < NODES; i++) {
		nodes[i] = (struct node){.name = nodes[i].name, .settings = "mode=managed", .digest = 1};
		nodes[i].port = free_port();
		snprintf(nodes[i].address, sizeof nodes[i].address, "127.0.0.1:%u", nodes[i].port);
	}
	return loop_set_up(state);
}

static inline int nodes_tear_down(void **state)
{
	for (unsigned i = 0; i < NODES; i++) {
		if (nodes[i].cluster)
			cluster_stop(nodes[i].cluster);
	}
	for (unsigned i = 0; i < NODES; i++)
		RUN_UNTIL(!nodes[i].cluster);
	return loop_tear_down(state);
}

static inline int cluster_folder_gone(void **state)
{
	(void)state;
	log_close();
	if (getenv("WEIR_TEST_KEEP")) {
		printf("kept: %s\n", folder);
		return 0;
	}
	return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* Lines of the log with both texts in them. */
static inline unsigned logged(const char *text, const char *other)
{
	char line[LOG_LINE_MAX];
	unsigned count = 0;
	FILE *f = fopen(in_folder("log"), "r");

	while (f && fgets(line, sizeof line, f))
		count += strstr(line, text) != NULL && strstr(line, other) != NULL;
	if (f)
		fclose(f);
	return count;
}

#endif
