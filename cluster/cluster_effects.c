/* What the core has decided, done; and what the control plane says, told to the core. */
#include "cluster/node_state.h"

#include "base/error.h"
#include "base/log.h"
#include "base/random.h"
#include "proto/peer_report.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the control plane --- */

static void say(struct cluster *c, enum clus_event_kind kind, struct view name, struct view bytes)
{
	struct clus_event e = {.kind = kind, .name = name, .bytes = bytes};

	if (kind == CLUS_COORDINATES && random_fill(e.random, sizeof e.random) != 0) {
		node_break(c, "no random numbers");
		return;
	}
	if (kind != CLUS_LEARNT)
		c->asked = false;
	if (c->coordinating && (kind == CLUS_FOLLOWS || kind == CLUS_LEADERLESS))
		log_event(LOG_INFO, "coordinator_ended", LOG_V("name", c->name));
	if (kind == CLUS_COORDINATES || kind == CLUS_FOLLOWS || kind == CLUS_LEADERLESS)
		c->coordinating = kind == CLUS_COORDINATES;
	node_step(c, &e);
}

static void on_coordinates(void *owner, struct view agreed)
{
	say(owner, CLUS_COORDINATES, VIEW(""), agreed);
}

static void on_follows(void *owner, struct view name)
{
	say(owner, CLUS_FOLLOWS, name, VIEW(""));
}

static void on_leaderless(void *owner)
{
	say(owner, CLUS_LEADERLESS, VIEW(""), VIEW(""));
}

static void on_committed(void *owner, struct view bytes)
{
	node_log_committed(bytes);
	say(owner, CLUS_COMMITTED, VIEW(""), bytes);
}

static void on_lost(void *owner, struct view bytes)
{
	say(owner, CLUS_LOST, VIEW(""), bytes);
}

static void on_learnt(void *owner, struct view bytes)
{
	say(owner, CLUS_LEARNT, VIEW(""), bytes);
}

static bool on_send(void *owner, struct view name, struct view bytes)
{
	struct cluster *c = owner;
	bool sent = false;

	if (!c->peers)
		return false;
	if (name.len > 0)
		return peers_send(c->peers, name, PEER_CONTROL, bytes) == 0;
	for (unsigned i = 0; i < c->voter_count; i++)
		sent = peers_send(c->peers, view_str(c->voters[i]), PEER_CONTROL, bytes) == 0 || sent;
	return sent;
}

static void on_broken(void *owner, const char *why)
{
	node_break(owner, why);
}

static const struct control_ops control_ops = {
    .coordinates = on_coordinates,
    .follows = on_follows,
    .leaderless = on_leaderless,
    .committed = on_committed,
    .lost = on_lost,
    .learnt = on_learnt,
    .send = on_send,
    .broken = on_broken,
};

bool node_is_voter(const struct cluster *c, struct view name)
{
	for (unsigned i = 0; i < c->voter_count; i++) {
		if (view_eq(view_str(c->voters[i]), name))
			return true;
	}
	return false;
}

void node_say_reached(struct cluster *c, struct view name, bool there)
{
	if (c->control && node_is_voter(c, name))
		c->kind->reached(c->control, name, there);
}

/* Who has become one is told of; who is none any more is reached no more. */
static void take_voters(struct cluster *c, const struct clus_effect *e)
{
	char old[CLUS_VOTERS_MAX][PEER_NAME_MAX + 1];
	unsigned old_count = c->voter_count;

	memcpy(old, c->voters, sizeof old);
	c->voter_count = e->voter_count;
	memset(c->voters, 0, sizeof c->voters);
	for (unsigned i = 0; i < e->voter_count; i++)
		memcpy(c->voters[i], e->voters[i].at, e->voters[i].len);
	for (unsigned i = 0; c->control && i < old_count; i++) {
		if (!node_is_voter(c, view_str(old[i])))
			c->kind->reached(c->control, view_str(old[i]), false);
	}
	for (unsigned i = 0; c->control && c->peers && i < c->voter_count; i++) {
		if (peers_is_up(c->peers, view_str(c->voters[i])))
			c->kind->reached(c->control, view_str(c->voters[i]), true);
	}
}

static void start_control(struct cluster *c, const struct clus_effect *e)
{
	const struct control_settings s = {.folder = c->folder,
					   .self = c->name,
					   .priority = c->own->hello.votes ? c->priority : 0,
					   .failure_ms = c->failure_ms,
					   .election_ms = c->election_ms,
					   .voters = e->voters,
					   .voter_count = e->voter_count};
	char why[NODE_WHY] = "";
	int err = c->kind->start(&c->control, &s, &control_ops, c, &c->loop, why);

	if (err == 0) {
		c->running++;
		take_voters(c, e);
		return;
	}
	c->control = NULL;
	c->start_err = err;
	node_break(c, why[0] ? why : error_text(err));
}

static void set_voters(struct cluster *c, const struct clus_effect *e)
{
	if (!c->control) {
		start_control(c, e);
		return;
	}
	c->kind->voters(c->control, e->voters, e->voter_count);
	take_voters(c, e);
}

/* Since the first question that is open. */
static void wait_for_answer(struct cluster *c)
{
	if (!c->asked)
		c->asked_ticks = 0;
	c->asked = true;
}

/* A voter that is new in it counts for it already. */
static void propose(struct cluster *c, const struct clus_effect *e)
{
	if (!c->control)
		return;
	for (unsigned i = 0; c->peers && i < e->voter_count; i++) {
		if (!node_is_voter(c, e->voters[i]) && peers_is_up(c->peers, e->voters[i]) &&
		    c->voter_count < CLUS_VOTERS_MAX) {
			memset(c->voters[c->voter_count], 0, sizeof c->voters[0]);
			memcpy(c->voters[c->voter_count++], e->voters[i].at, e->voters[i].len);
			c->kind->reached(c->control, e->voters[i], true);
		}
	}
	wait_for_answer(c);
	c->kind->propose(c->control, e->bytes, e->voters, e->voter_count);
}

/* It answers where it has said last that this node coordinates. */
static void step_down(struct cluster *c)
{
	if (!c->control)
		return;
	if (c->coordinating)
		wait_for_answer(c);
	c->kind->step_down(c->control);
}

/* --- views --- */

void node_publish(struct cluster *c)
{
	const struct clus_view *v = clus_core_view(c->core);
	struct cluster_view *next = v ? calloc(1, sizeof *next) : NULL;
	struct buf bytes = {0};

	if (!v || c->published) {
		free(next);
		return;
	}
	clus_view_encode(v, &bytes);
	if (!next || buf_error(&bytes) || clus_view_decode(buf_view(&bytes), &next->view) != 0) {
		log_event(LOG_WARN, "cluster_no_memory", LOG_S("reason", "a view for the workers"));
		free(next);
		buf_fini(&bytes);
		return; /* fenced until it is there; the next tick tries again */
	}
	buf_fini(&bytes);
	next->refs = 1;
	pthread_mutex_lock(&c->view_lock);
	struct cluster_view *old = c->view;
	c->view = next;
	pthread_mutex_unlock(&c->view_lock);
	cluster_view_unref(&old);
	c->published = true;
}

/* Nothing lies at this node that others must get before it goes: sessions do not move yet. */
static void perhaps_handed_over(struct cluster *c, const struct clus_view *v)
{
	uint16_t m = clus_view_member(v, c->name);
	struct clus_event e = {.kind = CLUS_HANDED_OVER};

	if (m != CLUS_NONE && v->members[m].leaving && v->members[m].incarnation == c->incarnation)
		node_step(c, &e);
}

/* Once in a cluster's life, before this node may act in it. */
static void keep_id(struct cluster *c, const uint8_t id[CLUS_ID_BYTES])
{
	char why[NODE_WHY];

	if (memcmp(c->kept_id, id, CLUS_ID_BYTES) == 0)
		return;
	memcpy(c->kept_id, id, CLUS_ID_BYTES);
	if (node_id_write(c->folder, id) == 0)
		return;
	snprintf(why, sizeof why, "%.100s/cluster: %s", c->folder, strerror(errno));
	node_break(c, why);
}

static void install(struct cluster *c, const struct clus_effect *e)
{
	node_log_installed(e->view, e->bytes);
	keep_id(c, e->view->cluster);
	c->published = false;
	node_publish(c);
	perhaps_handed_over(c, e->view);
}

/* --- to other nodes --- */

/* Who has not got it for want of memory gets it with the next link. */
static void send_view_to(struct cluster *c, struct view name, struct view bytes)
{
	int err = peers_send(c->peers, name, PEER_VIEW, bytes);

	if (err == ERR_NO_MEMORY)
		peers_drop(c->peers, name, peers_incarnation(c->peers, name), PEER_BYE_FULL);
}

struct to_all {
	struct cluster *c;
	struct view bytes;
};

static void send_view_to_one(void *arg, const struct peers_status *s)
{
	const struct to_all *all = arg;

	send_view_to(all->c, s->name, all->bytes);
}

static void send_view(struct cluster *c, const struct clus_effect *e)
{
	struct to_all all = {c, e->bytes};

	if (e->name.len > 0)
		send_view_to(c, e->name, e->bytes);
	else
		peers_each(c->peers, send_view_to_one, &all);
}

/* One that is lost is said again, or can be seen by others. */
static void send_report(struct cluster *c, const struct clus_effect *e)
{
	struct buf body = {0};

	peer_report_encode(&e->report, &body);
	if (buf_error(&body) || peers_send(c->peers, e->name, PEER_REPORT, buf_view(&body)) != 0)
		log_event(LOG_DEBUG, "report_lost", LOG_V("name", e->name));
	buf_fini(&body);
}

static void forbid(struct cluster *c, const struct clus_effect *e)
{
	if (peers_forbid(c->peers, e->name, e->number) != 0)
		log_event(LOG_WARN, "cluster_no_memory", LOG_V("name", e->name), LOG_S("reason", "who is not let in"));
}

/* --- this node --- */

static void reincarnate(struct cluster *c)
{
	struct clus_event e = {.kind = CLUS_INCARNATION};

	if (random_fill(&e.number, sizeof e.number) != 0) {
		node_break(c, "no random numbers");
		return;
	}
	e.number = e.number ? e.number : 1;
	c->incarnation = e.number;
	log_event(LOG_INFO, "reincarnated", LOG_V("name", c->name));
	peers_reincarnate(c->peers, c->incarnation);
	node_step(c, &e);
}

static void do_for_links(struct cluster *c, const struct clus_effect *e)
{
	if (!c->peers)
		return;
	switch (e->kind) {
	case CLUS_DO_SEND_VIEW:
		send_view(c, e);
		break;
	case CLUS_DO_SEND_REPORT:
		send_report(c, e);
		break;
	case CLUS_DO_FORBID:
		forbid(c, e);
		break;
	case CLUS_DO_DROP:
		if (e->bye == PEER_BYE_MALFORMED) /* by what it greets with, or by a beat */
			peers_refuse(c->peers, e->name, e->number, "its epoch is made up");
		else
			peers_drop(c->peers, e->name, e->number, e->bye);
		break;
	case CLUS_DO_REDIAL:
		peers_redial(c->peers);
		break;
	default:
		reincarnate(c);
		break;
	}
}

void node_do(struct cluster *c, const struct clus_effect *e)
{
	switch (e->kind) {
	case CLUS_DO_PROPOSE:
		propose(c, e);
		break;
	case CLUS_DO_STEP_DOWN:
		step_down(c);
		break;
	case CLUS_DO_SET_VOTERS:
		set_voters(c, e);
		break;
	case CLUS_DO_INSTALL:
		install(c, e);
		break;
	case CLUS_DO_SEND_VIEW:
	case CLUS_DO_SEND_REPORT:
	case CLUS_DO_FORBID:
	case CLUS_DO_DROP:
	case CLUS_DO_REDIAL:
	case CLUS_DO_REINCARNATE:
		do_for_links(c, e);
		break;
	case CLUS_DO_FENCE:
		log_event(LOG_WARN, "fenced", LOG_V("reason", e->text));
		break;
	case CLUS_DO_UNFENCE:
		log_event(LOG_INFO, "unfenced", LOG_V("name", c->name));
		break;
	case CLUS_DO_STATE:
		log_event(LOG_INFO, "cluster_state", LOG_S("state", node_state_text(e->state)));
		break;
	case CLUS_DO_EXIT:
		node_say_left(c, e->text);
		break;
	case CLUS_DO_LOG:
		node_log(e);
		break;
	}
}
