/* The policy `alone`: one node, which coordinates from its first turn on and with which everything is agreed. It keeps
 * the last view in memory alone: nobody else has gone on meanwhile, so after a restart it begins a new cluster. */
#include "cluster/control.h"

#include "base/buf.h"
#include "base/error.h"
#include "net/loop.h"

#include <stdlib.h>

struct control {
	const struct control_ops *ops; /* borrowed */
	void *owner;                   /* borrowed */
	struct net_loop *loop;         /* borrowed */
	struct buf agreed;
	struct mail begin, end;
	bool begun, stopping, coordinates;
	void (*stopped)(void *owner);
};

static void deliver_end(struct mail *mail)
{
	struct control *c = CONTAINER_OF(mail, struct control, end);
	void (*stopped)(void *) = c->stopped;
	void *owner = c->owner;

	buf_fini(&c->agreed);
	free(c);
	stopped(owner);
}

/* Stepping down is undone a turn later: nobody else could take over. */
static void deliver_begin(struct mail *mail)
{
	struct control *c = CONTAINER_OF(mail, struct control, begin);

	c->begun = false;
	if (c->stopping)
		return;
	c->coordinates = true;
	c->ops->coordinates(c->owner, buf_view(&c->agreed));
}

static void begin(struct control *c)
{
	if (c->begun)
		return;
	c->begun = true;
	net_loop_post(c->loop, &c->begin);
}

static int alone_start(struct control **out, const struct control_settings *s, const struct control_ops *ops,
		       void *owner, struct net_loop *loop, char why[200])
{
	struct control *c = calloc(1, sizeof(*c));

	(void)s;
	(void)why;
	if (!c)
		return ERR_NO_MEMORY;
	*c = (struct control){
	    .ops = ops,
	    .owner = owner,
	    .loop = loop,
	    .begin = {.deliver = deliver_begin},
	    .end = {.deliver = deliver_end},
	};
	begin(c);
	*out = c;
	return 0;
}

static void alone_reached(struct control *c, struct view name, bool there)
{
	(void)c;
	(void)name;
	(void)there;
}

static void alone_message(struct control *c, struct view from, struct view bytes)
{
	(void)c;
	(void)from;
	(void)bytes;
}

static bool keep(struct control *c, struct view bytes)
{
	struct buf copy = {0};

	buf_put(&copy, bytes);
	if (buf_error(&copy)) {
		buf_fini(&copy);
		return false;
	}
	buf_fini(&c->agreed);
	c->agreed = copy;
	return true;
}

static void alone_step_down(struct control *c)
{
	if (!c->coordinates)
		return;
	c->coordinates = false;
	c->ops->leaderless(c->owner);
	begin(c);
}

static void alone_propose(struct control *c, struct view bytes, const struct view *voters, unsigned voter_count)
{
	(void)voters;
	(void)voter_count;
	bool kept = c->coordinates && keep(c, bytes);
	if (kept)
		c->ops->committed(c->owner, bytes);
	else
		c->ops->lost(c->owner, bytes);
	if (c->coordinates && !kept)
		alone_step_down(c);
}

static void alone_voters(struct control *c, const struct view *voters, unsigned voter_count)
{
	(void)c;
	(void)voters;
	(void)voter_count;
}

/* Behind `begin`, which may be on its way: mails keep their order. */
static void alone_stop(struct control *c, void (*stopped)(void *owner))
{
	c->stopping = true;
	c->stopped = stopped;
	net_loop_post(c->loop, &c->end);
}

const struct control_kind control_alone = {
    .name = "alone",
    .start = alone_start,
    .reached = alone_reached,
    .message = alone_message,
    .propose = alone_propose,
    .step_down = alone_step_down,
    .voters = alone_voters,
    .stop = alone_stop,
};
