/* The policy `bdb`, the owner's side. What the owner says comes to weir-control as bits, or as mails where there are
 * bytes; what there is to tell comes back as mails to the owner's loop. */
#include "cluster/control_bdb_parts.h"

#include "base/error.h"
#include "base/folder.h"
#include "base/invariant.h"
#include "base/log.h"
#include "net/loop.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Terms of 50 ms each would take six years for so many: no node is that far ahead of another. */
#define BDB_TERM_LEAP ((uint64_t)1 << 32)

/* --- names --- */

/* Under the lock; so the next two. The empty name stands for a free number. BDB_PEERS: there is none. */
static unsigned number_of(const struct control *c, struct view name)
{
	unsigned i = 0;

	while (i < BDB_PEERS && !view_eq(bdb_name_view(&c->names[i]), name))
		i++;
	return i;
}

static bool number_for(struct control *c, struct view name, unsigned *out)
{
	unsigned i = number_of(c, name);

	if (i == BDB_PEERS) {
		i = number_of(c, view_of(NULL, 0));
		if (i == BDB_PEERS)
			return false;
		c->names[i].len = (uint8_t)name.len;
		memcpy(c->names[i].bytes, name.at, name.len);
	}
	*out = i;
	return true;
}

static bool is_name(struct view name)
{
	return name.len > 0 && name.len <= CONTROL_NAME_MAX;
}

static void tell_full(struct view name)
{
	log_event(LOG_WARN, "control_names", LOG_V("name", name), LOG_I("most", BDB_PEERS));
}

bool bdb_name_number(struct control *c, struct view name, unsigned *out)
{
	if (!is_name(name))
		return false;
	pthread_mutex_lock(&c->lock);
	bool found = number_for(c, name, out);
	pthread_mutex_unlock(&c->lock);
	if (!found)
		tell_full(name);
	return found;
}

/* Neither the owner nor weir-control means anybody by it; under the lock. */
static bool is_unused(const struct control *c, unsigned i)
{
	const struct bdb_peer *p = &c->peers[i];

	return c->names[i].len > 0 && !c->there[i] && !c->was_away[i] && c->queued[i] == 0 && !p->there && !p->voter &&
	       c->promised_to != i && !(c->role == BDB_FOLLOWS && c->ruler == i);
}

/* Not while Berkeley DB counts votes by these numbers. */
void bdb_names_sweep(struct control *c)
{
	unsigned used = 0;
	bool freed = false;

	pthread_mutex_lock(&c->lock);
	for (unsigned i = 0; i < BDB_PEERS; i++)
		used += c->names[i].len > 0;
	for (unsigned i = 1; i < BDB_PEERS && used > BDB_PEERS / 2 && c->elect_votes == 0; i++) {
		if (!is_unused(c, i))
			continue;
		c->names[i].len = 0;
		c->peers[i] = (struct bdb_peer){0};
		freed = true;
	}
	if (freed && c->unnumbered > 0) {
		c->events |= BDB_EVENT_STORED | (c->voter_count > 0 ? BDB_EVENT_VOTERS : 0);
		c->awake = true;
	}
	pthread_mutex_unlock(&c->lock);
}

void bdb_name_copy(struct control *c, unsigned peer, struct bdb_name *out)
{
	pthread_mutex_lock(&c->lock);
	*out = c->names[peer];
	pthread_mutex_unlock(&c->lock);
}

/* --- to the owner --- */

struct told {
	struct mail mail;
	struct control *c;
	enum bdb_tell what;
	struct buf bytes;
};

static void tell_owner(const struct control *c, enum bdb_tell what, struct view bytes)
{
	switch (what) {
	case BDB_COORDINATES:
		c->ops->coordinates(c->owner, bytes);
		break;
	case BDB_FOLLOWS_NAME:
		c->ops->follows(c->owner, bytes);
		break;
	case BDB_NOBODY:
		c->ops->leaderless(c->owner);
		break;
	case BDB_COMMITTED:
		c->ops->committed(c->owner, bytes);
		break;
	case BDB_LOST:
		c->ops->lost(c->owner, bytes);
		break;
	case BDB_LEARNT:
		c->ops->learnt(c->owner, bytes);
		break;
	}
}

static void deliver_told(struct mail *mail)
{
	struct told *t = CONTAINER_OF(mail, struct told, mail);

	if (!t->c->stopping)
		tell_owner(t->c, t->what, buf_view(&t->bytes));
	buf_fini(&t->bytes);
	free(t);
}

void bdb_tell(struct control *c, enum bdb_tell what, struct view bytes)
{
	if (c->role == BDB_BROKEN)
		return;
	struct told *t = malloc(sizeof(*t));
	if (t) {
		*t = (struct told){.mail = {.deliver = deliver_told}, .c = c, .what = what};
		buf_put(&t->bytes, bytes);
	}
	if (t && buf_error(&t->bytes) == 0) {
		net_loop_post(c->loop, &t->mail);
		return;
	}
	if (t)
		buf_fini(&t->bytes);
	free(t);
	/* The owner would not know where it is. */
	bdb_break(c, ENOMEM, "tell what has happened");
}

static void deliver_broken(struct mail *mail)
{
	struct bdb_last_mail *m = CONTAINER_OF(mail, struct bdb_last_mail, mail);

	if (!m->c->stopping)
		m->c->ops->broken(m->c->owner, m->why);
}

void bdb_tell_broken(struct control *c, const char *why)
{
	c->broken = (struct bdb_last_mail){.mail = {.deliver = deliver_broken}, .c = c};
	snprintf(c->broken.why, sizeof(c->broken.why), "%s", why);
	net_loop_post(c->loop, &c->broken.mail);
}

struct parcel {
	struct mail mail;
	struct control *c;
	struct bdb_name to;
	struct buf bytes;
};

static void deliver_parcel(struct mail *mail)
{
	struct parcel *p = CONTAINER_OF(mail, struct parcel, mail);

	/* False: it is asked for again. */
	if (!p->c->stopping)
		(void)p->c->ops->send(p->c->owner, bdb_name_view(&p->to), buf_view(&p->bytes));
	buf_fini(&p->bytes);
	free(p);
}

bool bdb_post_frame(struct control *c, unsigned peer, const struct control_frame *f)
{
	struct parcel *p = malloc(sizeof(*p));

	if (!p)
		return false;
	*p = (struct parcel){.mail = {.deliver = deliver_parcel}, .c = c};
	buf_init(&p->bytes, 0);
	control_frame_encode(f, &p->bytes);
	bdb_name_copy(c, peer, &p->to);
	if (buf_error(&p->bytes) || buf_len(&p->bytes) > CONTROL_FRAME_MAX) {
		buf_fini(&p->bytes);
		free(p);
		return false;
	}
	net_loop_post(c->loop, &p->mail);
	return true;
}

/* --- from the owner --- */

static void wake_control(void *arg)
{
	struct control *c = arg;

	pthread_mutex_lock(&c->lock);
	c->awake = true;
	pthread_cond_signal(&c->wake);
	pthread_mutex_unlock(&c->lock);
}

/* Under the lock. */
static void raise_event(struct control *c, unsigned bit)
{
	c->events |= bit;
	c->awake = true;
	pthread_cond_signal(&c->wake);
}

static void bdb_on_reached(struct control *c, struct view name, bool there)
{
	unsigned peer = 0;

	if (!is_name(name))
		return;
	pthread_mutex_lock(&c->lock);
	bool found = there ? number_for(c, name, &peer) : (peer = number_of(c, name)) < BDB_PEERS;
	if (found && peer != 0) {
		c->there[peer] = there;
		c->was_away[peer] = c->was_away[peer] || !there;
		c->link[peer] += !there;
		raise_event(c, BDB_EVENT_REACHED);
	}
	pthread_mutex_unlock(&c->lock);
	if (!found && there)
		tell_full(name);
}

static void bdb_on_voters(struct control *c, const struct view *voters, unsigned voter_count)
{
	INVARIANT(voter_count <= CONTROL_VOTERS_MAX);
	pthread_mutex_lock(&c->lock);
	for (unsigned i = 0; i < voter_count; i++) {
		INVARIANT(voters[i].len <= CONTROL_NAME_MAX);
		c->voters[i].len = (uint8_t)voters[i].len;
		memcpy(c->voters[i].bytes, voters[i].at, voters[i].len);
	}
	c->voter_count = voter_count;
	raise_event(c, BDB_EVENT_VOTERS);
	pthread_mutex_unlock(&c->lock);
}

static void bdb_on_step_down(struct control *c)
{
	pthread_mutex_lock(&c->lock);
	raise_event(c, BDB_EVENT_STEP_DOWN);
	pthread_mutex_unlock(&c->lock);
}

struct note {
	struct mail mail;
	struct control *c;
	unsigned peer;
	uint32_t link;                              /* of the peer, by which it came */
	struct bdb_name voters[CONTROL_VOTERS_MAX]; /* of a proposal */
	unsigned voter_count;
	size_t len;
	uint8_t bytes[];
};

static struct note *note_new(struct control *c, struct view bytes, void (*deliver)(struct mail *))
{
	struct note *n = malloc(sizeof(*n) + bytes.len);

	if (!n)
		return NULL;
	*n = (struct note){.mail = {.deliver = deliver}, .c = c, .len = bytes.len};
	if (bytes.len > 0)
		memcpy(n->bytes, bytes.at, bytes.len);
	return n;
}

static size_t cost_of(size_t bytes)
{
	return sizeof(struct note) + bytes;
}

static void tell_malformed(struct control *c, unsigned peer)
{
	struct bdb_peer *p = &c->peers[peer];
	struct bdb_name name;

	if (!p->there || p->malformed)
		return;
	p->malformed = true;
	bdb_name_copy(c, peer, &name);
	log_event(LOG_WARN, "control_message", LOG_V("folder", view_str(c->folder)),
		  LOG_V("node", bdb_name_view(&name)), LOG_S("reason", "malformed"));
}

/* Terms that are made up could use all of them up, and then nobody is elected any more. */
static bool can_be(const struct control *c, const struct control_frame *f)
{
	uint64_t most = c->promise.term + BDB_TERM_LEAP;

	return f->term <= most && f->rank.term <= most && (f->type != CONTROL_ASK || f->number <= most);
}

static void take_message(struct mail *mail)
{
	struct note *n = CONTAINER_OF(mail, struct note, mail);
	struct control *c = n->c;
	struct control_frame f;

	pthread_mutex_lock(&c->lock);
	c->queued[n->peer] -= cost_of(n->len);
	bool is_late = c->link[n->peer] != n->link;
	pthread_mutex_unlock(&c->lock);
	/* What came by a former link may not hold any more: who sent it can have turned to another one meanwhile. */
	bool sound = !is_late && control_frame_decode(view_of(n->bytes, n->len), &f) == 0 && can_be(c, &f);
	if (sound)
		bdb_frame(c, n->peer, &f);
	else if (!is_late)
		tell_malformed(c, n->peer);
	free(n);
}

/* Each has room of its own, so that one that floods takes none of another's. Who is not there has none. */
static bool take_room(struct control *c, struct view from, size_t bytes, unsigned *out, uint32_t *link)
{
	if (!is_name(from))
		return false;
	pthread_mutex_lock(&c->lock);
	unsigned i = number_of(c, from);
	bool room = i != 0 && i < BDB_PEERS && c->there[i] && c->queued[i] + cost_of(bytes) <= BDB_QUEUE_BYTES;
	if (room)
		c->queued[i] += cost_of(bytes);
	*link = room ? c->link[i] : 0;
	pthread_mutex_unlock(&c->lock);
	*out = i;
	return room;
}

/* One that is dropped is one that was lost on its way. */
static void bdb_on_message(struct control *c, struct view from, struct view bytes)
{
	unsigned peer;
	uint32_t link;
	struct note *n;

	if (bytes.len > CONTROL_FRAME_MAX || !take_room(c, from, bytes.len, &peer, &link))
		return;
	n = note_new(c, bytes, take_message);
	if (n) {
		n->peer = peer;
		n->link = link;
		mailbox_post(&c->inbox, &n->mail);
		return;
	}
	pthread_mutex_lock(&c->lock);
	c->queued[peer] -= cost_of(bytes.len);
	pthread_mutex_unlock(&c->lock);
}

static void take_proposal(struct mail *mail)
{
	struct note *n = CONTAINER_OF(mail, struct note, mail);
	struct control *c = n->c;
	struct view bytes = view_of(n->bytes, n->len), voters[CONTROL_VOTERS_MAX];

	for (unsigned i = 0; i < n->voter_count; i++)
		voters[i] = bdb_name_view(&n->voters[i]);
	if (c->role == BDB_RULES && !c->pending)
		(void)bdb_write(c, bytes, voters, n->voter_count);
	else if (c->role != BDB_BROKEN)
		bdb_tell(c, BDB_LOST, bytes);
	free(n);
}

static void bdb_on_propose(struct control *c, struct view bytes, const struct view *voters, unsigned voter_count)
{
	INVARIANT(voter_count <= CONTROL_VOTERS_MAX);
	INVARIANT(bytes.len <= CONTROL_VIEW_MAX);
	struct note *n = note_new(c, bytes, take_proposal);

	if (!n) {
		bdb_on_step_down(c);
		c->ops->lost(c->owner, bytes);
		return;
	}
	n->voter_count = voter_count;
	for (unsigned i = 0; i < voter_count; i++) {
		INVARIANT(voters[i].len <= CONTROL_NAME_MAX);
		n->voters[i].len = (uint8_t)voters[i].len;
		memcpy(n->voters[i].bytes, voters[i].at, voters[i].len);
	}
	mailbox_post(&c->inbox, &n->mail);
}

/* --- start, stop --- */

static void control_free(struct control *c)
{
	bdb_store_close(c);
	bdb_promise_close(c);
	if (c->lock_fd >= 0)
		close(c->lock_fd);
	mailbox_fini(&c->inbox);
	buf_fini(&c->scratch);
	buf_fini(&c->pending_bytes);
	pthread_cond_destroy(&c->wake);
	pthread_cond_destroy(&c->elect_wake);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

static void deliver_end(struct mail *mail)
{
	struct control *c = CONTAINER_OF(mail, struct bdb_last_mail, mail)->c;
	void (*stopped)(void *) = c->stopped;
	void *owner = c->owner;

	pthread_join(c->thread, NULL);
	control_free(c);
	stopped(owner);
}

void bdb_tell_stopped(struct control *c)
{
	c->end = (struct bdb_last_mail){.mail = {.deliver = deliver_end}, .c = c};
	net_loop_post(c->loop, &c->end.mail);
}

static void bdb_on_stop(struct control *c, void (*stopped)(void *owner))
{
	INVARIANT(!c->stopping);
	c->stopping = true;
	c->stopped = stopped;
	pthread_mutex_lock(&c->lock);
	c->ending = true;
	pthread_cond_signal(&c->wake);
	pthread_cond_broadcast(&c->elect_wake);
	pthread_mutex_unlock(&c->lock);
}

static struct control *control_new(const struct control_settings *s, const struct control_ops *ops, void *owner,
				   struct net_loop *loop)
{
	struct control *c = calloc(1, sizeof(*c));
	pthread_condattr_t monotonic;
	unsigned self;

	if (!c)
		return NULL;
	c->ops = ops;
	c->owner = owner;
	c->loop = loop;
	c->lock_fd = c->promise_fd = -1;
	c->priority = s->priority;
	c->failure_ms = s->failure_ms;
	c->election_ms = s->election_ms;
	pthread_mutex_init(&c->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&c->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	pthread_cond_init(&c->elect_wake, NULL);
	mailbox_init(&c->inbox, wake_control, c);
	bool named = bdb_name_number(c, s->self, &self);
	INVARIANT(named);
	c->is_alone = s->voter_count == 1 && view_eq(s->voters[0], s->self);
	c->told_leaderless = true; /* so it begins */
	return c;
}

static int control_open(struct control *c, const struct control_settings *s, char why[BDB_WHY])
{
	if (snprintf(c->folder, sizeof(c->folder), "%s", s->folder) >= (int)sizeof(c->folder)) {
		snprintf(why, BDB_WHY, "the folder's name is too long");
		return ERR_BROKEN;
	}
	if (folder_take(c->folder, &c->lock_fd, why, BDB_WHY) != 0 || bdb_promise_open(c, why) != 0 ||
	    bdb_store_open(c, why) != 0)
		return ERR_BROKEN;
	bdb_set_voters(c, s->voters, s->voter_count);
	c->peers[0].there = c->peers[0].heard = true;
	bdb_head(c);
	return 0;
}

static int bdb_on_start(struct control **out, const struct control_settings *s, const struct control_ops *ops,
			void *owner, struct net_loop *loop, char why[BDB_WHY])
{
	struct control *c = control_new(s, ops, owner, loop);

	if (!c)
		return ERR_NO_MEMORY;
	int err = control_open(c, s, why);
	if (err == 0 && bdb_threads_start(c) != 0) {
		snprintf(why, BDB_WHY, "cannot start threads");
		err = ERR_BROKEN;
	}
	if (err) {
		control_free(c);
		return err;
	}
	*out = c;
	return 0;
}

const struct control_kind control_bdb = {
    .name = "bdb",
    .start = bdb_on_start,
    .reached = bdb_on_reached,
    .message = bdb_on_message,
    .propose = bdb_on_propose,
    .step_down = bdb_on_step_down,
    .voters = bdb_on_voters,
    .stop = bdb_on_stop,
};
