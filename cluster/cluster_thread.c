/* The cluster's thread: the core's steps one after the other, its time, and its end. */
#include "cluster/node_state.h"

#include "base/error.h"
#include "base/invariant.h"
#include "base/log.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	TICKS = 16,
	TICK_MS = 10,
	HANGS_TICKS = 4 * TICKS, /* so many without an answer of the control plane, ... */
	HANGS_MS = 5000,         /* ... but for so long at least */
};

/* --- steps --- */

static struct view keep(uint8_t **at, struct view text)
{
	struct view kept = view_of(*at, text.len);

	if (text.len > 0)
		memcpy(*at, text.at, text.len);
	*at += text.len;
	return kept;
}

/* Only what links and the control plane say from inside a call comes amid effects: it has no more than name and bytes.
 */
static void step_later(struct cluster *c, const struct clus_event *e)
{
	INVARIANT(!e->hello && !e->beat && !e->report);
	struct node_event *n = malloc(sizeof *n + e->name.len + e->bytes.len);

	if (!n) {
		node_break(c, error_text(ERR_NO_MEMORY));
		return;
	}
	uint8_t *at = n->texts;
	n->event = *e;
	n->event.name = keep(&at, e->name);
	n->event.bytes = keep(&at, e->bytes);
	list_init(&n->link);
	list_append(&c->events, &n->link);
}

/* Without memory: who has said it says it again with a new link; what nobody says again may not be lost. */
static void step_failed(struct cluster *c, const struct clus_event *e)
{
	bool of_link = e->kind == CLUS_LINK_UP || e->kind == CLUS_VIEW || e->kind == CLUS_REPORT;

	if (e->kind == CLUS_TICK || e->kind == CLUS_BEAT || e->kind == CLUS_FORGET)
		log_event(LOG_WARN, "cluster_no_memory", LOG_S("reason", "a step"));
	else if (of_link && c->peers)
		peers_drop(c->peers, e->name, peers_incarnation(c->peers, e->name), PEER_BYE_FULL);
	else
		node_break(c, error_text(ERR_NO_MEMORY));
}

static void step_now(struct cluster *c, struct clus_event *e)
{
	struct clus_effect effect;

	c->stepping = true;
	e->now = clock_lease();
	if (clus_core_step(c->core, e) != 0) {
		step_failed(c, e);
	} else {
		while (!c->ended && clus_core_next(c->core, &effect))
			node_do(c, &effect);
	}
	c->stepping = false;
}

/* The right to act is that of the view which the workers have. */
static void give_right(struct cluster *c)
{
	uint64_t until_ms = c->ended || !c->published ? 0 : clus_core_may_act_until(c->core).ms;

	atomic_store_explicit(&c->may_act_until_ms, until_ms, memory_order_release);
	atomic_store_explicit(&c->led, !c->ended && node_is_led(c), memory_order_release);
}

void node_step(struct cluster *c, struct clus_event *e)
{
	struct list *next;

	if (c->ended)
		return;
	if (c->stepping) {
		step_later(c, e);
		return;
	}
	step_now(c, e);
	while ((next = list_pop(&c->events)) != NULL) {
		struct node_event *n = CONTAINER_OF(next, struct node_event, link);
		if (!c->ended)
			step_now(c, &n->event);
		free(n);
	}
	if (!c->ended)
		node_want(c);
	give_right(c);
}

/* Its disk, as a rule. The others see a ruler that lives and would follow it for ever. Ticks are counted and not time:
 * a process that was stopped has not waited. */
static bool control_hangs(struct cluster *c, uint64_t tick_ms)
{
	if (!c->asked)
		return false;
	c->asked_ticks++;
	return c->asked_ticks > HANGS_TICKS && c->asked_ticks * tick_ms > HANGS_MS;
}

void node_on_tick(struct net_timer *t)
{
	struct cluster *c = CONTAINER_OF(t, struct cluster, tick);
	struct clus_event e = {.kind = CLUS_TICK};
	uint64_t ms = c->failure_ms / TICKS > TICK_MS ? c->failure_ms / TICKS : TICK_MS;

	net_timer_start(&c->loop, t, ms);
	if (control_hangs(c, ms)) {
		node_break(c, "the control plane does not answer: is its disk there?");
		return;
	}
	if (!c->published)
		node_publish(c);
	node_step(c, &e);
}

/* --- what main asks for --- */

void node_say_left(struct cluster *c, struct view in_vain)
{
	if (c->left_said)
		return;
	c->left_said = true;
	snprintf(c->left_why, sizeof c->left_why, "%.*s", (int)in_vain.len, (const char *)in_vain.at);
	net_loop_post(c->main, &c->left);
}

/* Who is broken has nobody to tell. */
void node_leave(struct cluster *c)
{
	struct clus_event e = {.kind = CLUS_LEAVE};

	c->own->hello.leaving = c->leaving = true;
	if (c->broke)
		node_say_left(c, view_str(c->why));
	else
		node_step(c, &e);
}

void node_take_own(struct cluster *c, struct node_own *own)
{
	bool same = node_own_says_same(c->own, own);
	struct clus_event e = {.kind = same ? CLUS_TICK : CLUS_OWN_APPS, .hello = &own->hello};

	own->hello.leaving = c->own->hello.leaving;
	if (c->own != c->first)
		node_own_free(&c->own);
	c->own = own;
	c->want_again = true;
	if (c->peers)
		peers_reload(c->peers, own->tls);
	node_step(c, &e);
}

/* --- the end --- */

static void perhaps_over(struct cluster *c)
{
	if (!c->stopping || c->running > 0 || c->closed)
		return;
	c->closed = true;
	net_loop_stop(&c->loop);
}

void node_part_ended(struct cluster *c)
{
	INVARIANT(c->running > 0);
	c->running--;
	perhaps_over(c);
}

static void on_control_stopped(void *owner)
{
	node_part_ended(owner);
}

/* Fenced, and without a say; what is under way comes to nothing. */
static void fall_silent(struct cluster *c)
{
	struct control *control = c->control;

	if (c->ended)
		return;
	c->ended = true;
	give_right(c);
	net_timer_stop(&c->loop, &c->tick);
	c->control = NULL;
	if (control)
		c->kind->stop(control, on_control_stopped);
}

/* Others are told that nothing of this process acts any more. */
static void end_links(struct cluster *c)
{
	struct peers *peers = c->peers;

	net_timer_stop(&c->loop, &c->farewell);
	c->peers = NULL;
	if (peers)
		peers_stop(peers);
}

void node_on_farewell(struct net_timer *t)
{
	end_links(CONTAINER_OF(t, struct cluster, farewell));
}

/* The workers go on. What one of them has asked the fence for just now is done within the time that each fenced node
 * has for it: until then nobody may take this one for dead, neither by a word nor because its socket is closed. */
void node_break(struct cluster *c, const char *why)
{
	if (c->ended)
		return;
	snprintf(c->why, sizeof c->why, "%s", why);
	fall_silent(c);
	if (c->starting) {
		end_links(c);
		return;
	}
	c->broke = true;
	log_event(LOG_ERROR, "cluster_broken", LOG_V("reason", view_str(why)));
	net_loop_post(c->main, &c->broken);
	if (c->leaving)
		node_say_left(c, view_str(c->why));
	net_timer_start(&c->loop, &c->farewell, c->failure_ms / 2);
}

/* Its owner has ended the workers before. */
void node_stop(struct cluster *c)
{
	c->stopping = true;
	fall_silent(c);
	end_links(c);
	perhaps_over(c);
}

void *node_run(void *arg)
{
	struct cluster *c = arg;

	(void)pthread_setname_np(pthread_self(), "weir-cluster");
	net_timer_start(&c->loop, &c->tick, TICK_MS);
	net_loop_run(&c->loop);
	net_loop_post(c->main, &c->gone);
	return NULL;
}
