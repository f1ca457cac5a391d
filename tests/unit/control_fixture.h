/* Several controls of the policy `bdb` on the test's loop, with a network in memory whose links can be cut, slow and
 * lossy. What they are told is checked all the time: what was agreed once is known to every later coordinator, and what
 * is learnt was agreed. */
#ifndef WEIR_TESTS_UNIT_CONTROL_FIXTURE_H
#define WEIR_TESTS_UNIT_CONTROL_FIXTURE_H

#include "loop_fixture.h"

#include "base/bigendian.h"
#include "base/list.h"
#include "cluster/control.h"
#include "cluster/control_bytes.h"
#include "folder.h"

#include <fcntl.h>
#include <sys/stat.h>

#ifdef __SANITIZE_THREAD__
/* All reports are of the order in which Berkeley DB takes the latches of its own pages. Of ours it meets only the lock
 * of `struct control`, in on_send() and its like, and nothing of it is called under that one. Races are still told. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
	return "deadlock:libdb-5.3";
}
#endif

/* PATIENCE_LONG_MS: a machine that is busy with something else. FAILURE_MS: in tests that do not wait for it, so long
 * that they do not meet it either. FAILURE_LOSSY_MS: enough to bring a node up to date although much is lost. */
enum {
	NODES = 7,
	NOBODY = -1,
	EPOCHS = 4096,
	VIEW_HEAD = 12,
	VIEW_TURN = 256, /* what fills it is the same again after so many bytes */
	FAILURE_MS = 60000,
	FAILURE_SOON_MS = 2000,
	FAILURE_LOSSY_MS = 5000,
	ELECTION_MS = 100,
	PATIENCE_LONG_MS = 120000,
};

struct node {
	struct control *control; /* NULL: it does not run */
	char name[16], dir[96];
	unsigned priority;
	bool coordinates, broken, stopped;
	int follows;
	unsigned told;                      /* how often */
	uint64_t agreed;                    /* the epoch of the last view that it knows to be agreed on */
	uint64_t proposed, committed, lost; /* epochs */
	size_t agreed_len;
	char why[200];
};

struct packet {
	struct list link;
	int from, to;
	uint64_t due_us;
	size_t len;
	uint8_t bytes[];
};

enum { THREE = 7, FIVE = 31 }; /* nodes, as bits */

static struct node nodes[NODES];
static bool linked[NODES][NODES];           /* both ways */
static bool silent[NODES][NODES];           /* one way: what is sent is lost, and nobody knows */
static unsigned silent_after[NODES][NODES]; /* so many packets; 0: never */
static unsigned loss_percent, delay_us;
static uint64_t packets_sent;
static struct list packets;
static bool was_agreed[EPOCHS];
static uint64_t greatest_agreed, greatest_epoch;
static unsigned seed;
static bool proposers_stop;
static void (*on_packet)(int from, int to, struct view bytes); /* looks at what is sent; NULL: nobody does */
static uint64_t failure_ms;

/* --- a view of the tests: its epoch, who has made it, and something to fill up --- */

static inline uint64_t epoch_of(struct view bytes)
{
	if (bytes.len == 0)
		return 0;
	assert_true(bytes.len >= VIEW_HEAD);
	for (size_t i = VIEW_HEAD; i < bytes.len && i < VIEW_HEAD + VIEW_TURN; i++)
		if (bytes.at[i] != (uint8_t)(bytes.at[7] + i))
			fail_msg("the view is not as it was proposed");
	if (bytes.len > VIEW_HEAD + VIEW_TURN &&
	    memcmp(bytes.at + VIEW_HEAD, bytes.at + VIEW_HEAD + VIEW_TURN, bytes.len - VIEW_HEAD - VIEW_TURN) != 0)
		fail_msg("the view is not as it was proposed");
	return bigendian_get(bytes.at, 8);
}

static inline void agreed(struct node *n, struct view bytes)
{
	uint64_t epoch = epoch_of(bytes);

	if (epoch > n->agreed) {
		n->agreed = epoch;
		n->agreed_len = bytes.len;
	}
}

static inline void note_agreed(uint64_t epoch)
{
	assert_true(epoch < EPOCHS);
	was_agreed[epoch] = true;
	if (epoch > greatest_agreed)
		greatest_agreed = epoch;
}

/* --- what nodes are told --- */

static inline void on_coordinates(void *owner, struct view bytes)
{
	struct node *n = owner;

	assert_false(n->coordinates || n->broken);
	n->coordinates = true;
	n->follows = NOBODY;
	n->told++;
	assert_true(epoch_of(bytes) >= greatest_agreed); /* it knows all that was */
	note_agreed(epoch_of(bytes));
	agreed(n, bytes);
}

/* NOBODY: a name that is linked, and no more. */
static inline int node_of(struct view name)
{
	for (int i = 0; i < NODES; i++)
		if (view_eq(view_str(nodes[i].name), name))
			return i;
	if (!view_starts(name, VIEW("stranger")))
		fail_msg("told a name that nobody has");
	return NOBODY;
}

static inline void on_follows(void *owner, struct view name)
{
	struct node *n = owner;

	assert_false(n->broken);
	n->follows = node_of(name);
	n->coordinates = false;
	n->told++;
}

static inline void on_leaderless(void *owner)
{
	struct node *n = owner;

	assert_false(n->broken);
	n->follows = NOBODY;
	n->coordinates = false;
	n->told++;
}

static inline void on_committed(void *owner, struct view bytes)
{
	struct node *n = owner;

	assert_true(n->coordinates);
	assert_int_equal(epoch_of(bytes), n->proposed);
	assert_true(n->proposed > greatest_agreed);
	n->committed = n->proposed;
	note_agreed(n->committed);
	agreed(n, bytes);
}

static inline void on_lost(void *owner, struct view bytes)
{
	struct node *n = owner;

	assert_false(n->broken);
	assert_int_equal(epoch_of(bytes), n->proposed);
	n->lost = n->proposed;
}

static inline void on_learnt(void *owner, struct view bytes)
{
	/* Who has proposed it may have stopped before it was told. */
	if (proposers_stop)
		note_agreed(epoch_of(bytes));
	assert_true(was_agreed[epoch_of(bytes)]);
	agreed(owner, bytes);
}

static inline bool on_send(void *owner, struct view name, struct view bytes)
{
	int from = (int)((struct node *)owner - nodes), to = node_of(name);

	if (to == NOBODY || !linked[from][to] || !nodes[to].control)
		return false;
	bool lost = silent[from][to] || (loss_percent && (unsigned)rand_r(&seed) % 100 < loss_percent);
	if (silent_after[from][to] > 0 && --silent_after[from][to] == 0)
		silent[from][to] = true;
	if (lost)
		return true;
	if (on_packet)
		on_packet(from, to, bytes);
	struct packet *p = malloc(sizeof(*p) + bytes.len);
	p->from = from;
	p->to = to;
	p->due_us = clock_us() + (delay_us ? (unsigned)rand_r(&seed) % (2 * delay_us) : 0);
	p->len = bytes.len;
	memcpy(p->bytes, bytes.at, bytes.len);
	list_append(&packets, &p->link);
	packets_sent++;
	return true;
}

static inline void on_broken(void *owner, const char *why)
{
	struct node *n = owner;

	assert_false(n->broken);
	n->broken = true;
	n->coordinates = false;
	n->follows = NOBODY;
	snprintf(n->why, sizeof(n->why), "%s", why);
}

static inline void on_stopped(void *owner)
{
	((struct node *)owner)->stopped = true;
}

static const struct control_ops node_ops = {
    .coordinates = on_coordinates,
    .follows = on_follows,
    .leaderless = on_leaderless,
    .committed = on_committed,
    .lost = on_lost,
    .learnt = on_learnt,
    .send = on_send,
    .broken = on_broken,
};

/* --- the network --- */

static inline void network_turn(void)
{
	struct list late;
	struct list *node;

	loop_turn();
	list_init(&late);
	while ((node = list_pop(&packets))) {
		struct packet *p = CONTAINER_OF(node, struct packet, link);
		if (p->due_us > clock_us()) {
			list_append(&late, &p->link);
			continue;
		}
		if (nodes[p->to].control && linked[p->from][p->to])
			control_bdb.message(nodes[p->to].control, view_str(nodes[p->from].name),
					    view_of(p->bytes, p->len));
		free(p);
	}
	list_move_all(&packets, &late);
}

#define WAIT_FOR(condition)                                                                                            \
	do {                                                                                                           \
		struct instant since_ = clock_now();                                                                   \
		while (!(condition)) {                                                                                 \
			if (instant_since_ms(clock_now(), since_) > PATIENCE_LONG_MS)                                  \
				fail_msg("in vain: %s", #condition);                                                   \
			network_turn();                                                                                \
		}                                                                                                      \
	} while (0)

/* For tests that nothing comes. */
static inline void pass_ms(uint64_t ms)
{
	struct instant since = clock_now();

	while (instant_since_ms(clock_now(), since) < ms)
		network_turn();
}

/* What is on its way between them is lost with the link. */
static inline void packets_drop(int a, int b)
{
	struct list keep;
	struct list *node;

	list_init(&keep);
	while ((node = list_pop(&packets))) {
		struct packet *p = CONTAINER_OF(node, struct packet, link);
		if ((p->from == a && p->to == b) || (p->from == b && p->to == a))
			free(p);
		else
			list_append(&keep, node);
	}
	list_move_all(&packets, &keep);
}

static inline void link_set(int a, int b, bool up)
{
	if (a == b || linked[a][b] == up)
		return;
	packets_drop(a, b);
	linked[a][b] = linked[b][a] = up;
	if (nodes[a].control && nodes[b].control) {
		control_bdb.reached(nodes[a].control, view_str(nodes[b].name), up);
		control_bdb.reached(nodes[b].control, view_str(nodes[a].name), up);
	}
}

/* All links between those of the one and those of the other set (bits). */
static inline void links_set(unsigned ones, unsigned others, bool up)
{
	for (int a = 0; a < NODES; a++)
		for (int b = 0; b < NODES; b++)
			if ((ones >> a & 1) && (others >> b & 1))
				link_set(a, b, up);
}

/* --- nodes --- */

static inline unsigned names_of(unsigned set, struct view out[NODES])
{
	unsigned count = 0;

	for (int i = 0; i < NODES; i++)
		if (set >> i & 1)
			out[count++] = view_str(nodes[i].name);
	return count;
}

static inline int node_try(int i, unsigned voters)
{
	struct view names[NODES];
	struct node *n = &nodes[i];
	struct control_settings s = {.folder = n->dir,
				     .self = view_str(n->name),
				     .priority = n->priority,
				     .failure_ms = failure_ms,
				     .election_ms = ELECTION_MS,
				     .voters = names,
				     .voter_count = names_of(voters, names)};

	n->coordinates = n->broken = n->stopped = false;
	n->follows = NOBODY;
	n->agreed = n->committed = n->lost = n->proposed = 0;
	return control_bdb.start(&n->control, &s, &node_ops, n, &loop, n->why);
}

/* Links that are up reach it at once. */
static inline void node_start(int i, unsigned voters)
{
	assert_int_equal(node_try(i, voters), 0);
	for (int k = 0; k < NODES; k++) {
		if (!linked[i][k] || !nodes[k].control || k == i)
			continue;
		control_bdb.reached(nodes[i].control, view_str(nodes[k].name), true);
		control_bdb.reached(nodes[k].control, view_str(nodes[i].name), true);
	}
}

static inline void nodes_start(unsigned set)
{
	for (int i = 0; i < NODES; i++)
		if (set >> i & 1)
			node_start(i, set);
}

static inline void node_stop(int i)
{
	struct node *n = &nodes[i];

	if (!n->control)
		return;
	control_bdb.stop(n->control, on_stopped);
	n->control = NULL;
	n->coordinates = false;
	n->follows = NOBODY;
	for (int k = 0; k < NODES; k++) {
		if (k == i)
			continue;
		packets_drop(i, k);
		if (linked[i][k] && nodes[k].control)
			control_bdb.reached(nodes[k].control, view_str(n->name), false);
	}
	WAIT_FOR(n->stopped);
}

static inline void nodes_stop(unsigned set)
{
	for (int i = 0; i < NODES; i++)
		if (set >> i & 1)
			node_stop(i);
}

/* Who coordinates and is followed by all others of the set; NOBODY: there is none yet. */
static inline int settled(unsigned set)
{
	int who = NOBODY;

	for (int i = 0; i < NODES; i++)
		if ((set >> i & 1) && nodes[i].coordinates)
			who = i;
	for (int i = 0; i < NODES && who != NOBODY; i++)
		if ((set >> i & 1) && i != who && nodes[i].follows != who)
			who = NOBODY;
	return who;
}

static inline int coordinator_of(unsigned set)
{
	WAIT_FOR(settled(set) != NOBODY);
	return settled(set);
}

static inline void propose_with(int i, unsigned voters, size_t filling)
{
	struct view names[NODES];
	uint8_t *bytes = malloc(VIEW_HEAD + filling);
	struct node *n = &nodes[i];

	/* More than it has seen, and than it has proposed. */
	n->proposed = (greatest_epoch = greatest_epoch + 1);
	bigendian_put(bytes, n->proposed, 8);
	memset(bytes + 8, i, 4);
	for (size_t k = VIEW_HEAD; k < VIEW_HEAD + filling && k < VIEW_HEAD + VIEW_TURN; k++)
		bytes[k] = (uint8_t)(bytes[7] + k);
	for (size_t k = VIEW_HEAD + VIEW_TURN; k < VIEW_HEAD + filling; k += VIEW_TURN)
		memcpy(bytes + k, bytes + k - VIEW_TURN,
		       VIEW_HEAD + filling - k < VIEW_TURN ? VIEW_HEAD + filling - k : VIEW_TURN);
	unsigned count = names_of(voters, names);
	control_bdb.propose(n->control, view_of(bytes, VIEW_HEAD + filling), names, count);
	free(bytes);
}

static inline void commit_with(int i, unsigned voters, size_t filling)
{
	propose_with(i, voters, filling);
	WAIT_FOR(nodes[i].committed == nodes[i].proposed || nodes[i].lost == nodes[i].proposed);
	assert_int_equal(nodes[i].committed, nodes[i].proposed);
}

/* All of the set know the last view that was agreed. */
static inline bool all_know(unsigned set)
{
	for (int i = 0; i < NODES; i++)
		if ((set >> i & 1) && nodes[i].agreed != greatest_agreed)
			return false;
	return true;
}

static inline void commit_and_know(int who)
{
	commit_with(who, THREE, 100);
	WAIT_FOR(all_know(THREE));
}

static inline int three_with_a_view(void)
{
	nodes_start(THREE);
	int first = coordinator_of(THREE);
	commit_and_know(first);
	return first;
}

static inline void lose_with(int who, unsigned voters)
{
	const struct node *n = &nodes[who];

	propose_with(who, voters, 100);
	WAIT_FOR(n->committed == n->proposed || (n->lost == n->proposed && !n->coordinates));
	assert_int_equal(n->lost, n->proposed);
}

static inline unsigned without(int i)
{
	return (unsigned)THREE & ~(1U << i);
}

static inline void say(int to, const char *from, const struct control_frame *f)
{
	struct buf bytes = {0};

	control_frame_encode(f, &bytes);
	assert_int_equal(buf_error(&bytes), 0);
	control_bdb.message(nodes[to].control, view_str(from), buf_view(&bytes));
	buf_fini(&bytes);
}

static inline bool remove_all(const char *path)
{
	char command[256];

	snprintf(command, sizeof(command), "rm -rf '%s'", path);
	return system(command) == 0;
}

static inline int control_set_up(void **unused)
{
	memset(nodes, 0, sizeof(nodes));
	memset(silent, 0, sizeof(silent));
	memset(silent_after, 0, sizeof(silent_after));
	memset(was_agreed, 0, sizeof(was_agreed));
	was_agreed[0] = true;
	loss_percent = delay_us = 0;
	failure_ms = FAILURE_MS;
	proposers_stop = false;
	on_packet = NULL;
	greatest_agreed = greatest_epoch = 0;
	seed = 1;
	list_init(&packets);
	if (folder_make_in_memory() != 0)
		return -1;
	for (int i = 0; i < NODES; i++) {
		snprintf(nodes[i].name, sizeof(nodes[i].name), "n%d", i);
		snprintf(nodes[i].dir, sizeof(nodes[i].dir), "%s/n%d", folder, i);
		nodes[i].priority = 100;
		nodes[i].follows = NOBODY;
		for (int k = 0; k < NODES; k++)
			linked[i][k] = i != k;
	}
	return loop_set_up(unused);
}

static inline int control_tear_down(void **unused)
{
	struct list *node;

	nodes_stop(~0U);
	while ((node = list_pop(&packets)))
		free(CONTAINER_OF(node, struct packet, link));
	return loop_tear_down(unused) == 0 && remove_all(folder) ? 0 : -1;
}

#endif
