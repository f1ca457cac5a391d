/* The cluster for main: begins and ends it, and carries what main asks for to its thread. */
#include "cluster/cluster.h"

#include "base/error.h"
#include "base/invariant.h"
#include "base/log.h"
#include "base/name.h"
#include "base/random.h"
#include "base/thread.h"
#include "cluster/node_state.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- what the thread has to say, on main --- */

static void deliver_left(struct mail *mail)
{
	struct cluster *c = CONTAINER_OF(mail, struct cluster, left);

	c->ops->left(c->owner, c->left_why[0] ? c->left_why : NULL);
}

static void deliver_broken(struct mail *mail)
{
	struct cluster *c = CONTAINER_OF(mail, struct cluster, broken);

	c->ops->broken(c->owner, c->why);
}

static void deliver_gone(struct mail *mail)
{
	struct cluster *c = CONTAINER_OF(mail, struct cluster, gone);

	pthread_join(c->thread, NULL);
	net_loop_fini(&c->loop);
	c->ops->stopped(c->owner);
}

/* --- what main asks for, on the thread --- */

static void deliver_leave(struct mail *mail)
{
	node_leave(CONTAINER_OF(mail, struct cluster, leave));
}

static void deliver_stop(struct mail *mail)
{
	node_stop(CONTAINER_OF(mail, struct cluster, stop));
}

struct order {
	struct mail mail;
	struct cluster *c;
	struct node_own *own; /* owned; a reload */
	char name[PEER_NAME_MAX + 1];
};

static void deliver_forget(struct mail *mail)
{
	struct order *o = CONTAINER_OF(mail, struct order, mail);
	struct clus_event e = {.kind = CLUS_FORGET, .name = view_str(o->name)};

	node_step(o->c, &e);
	free(o);
}

static void deliver_reload(struct mail *mail)
{
	struct order *o = CONTAINER_OF(mail, struct order, mail);

	node_take_own(o->c, o->own);
	free(o);
}

static struct order *order_new(struct cluster *c, void (*deliver)(struct mail *mail))
{
	struct order *o = calloc(1, sizeof *o);

	if (!o)
		return NULL;
	o->c = c;
	o->mail.deliver = deliver;
	list_init(&o->mail.link);
	return o;
}

/* --- start --- */

static void cluster_dispose(struct cluster *c)
{
	cluster_view_unref(&c->view);
	clus_core_free(&c->core);
	if (c->first != c->own)
		node_own_free(&c->first);
	node_own_free(&c->own);
	pthread_mutex_destroy(&c->view_lock);
	free(c->folder);
	free(c);
}

static void mail_init(struct mail *mail, void (*deliver)(struct mail *mail))
{
	list_init(&mail->link);
	mail->deliver = deliver;
}

static struct cluster *cluster_new(const struct cluster_settings *s, const struct cluster_ops *ops, void *owner,
				   struct net_loop *main)
{
	struct cluster *c = calloc(1, sizeof *c);

	if (!c)
		return NULL;
	c->main = main;
	c->ops = ops;
	c->owner = owner;
	c->kind = &control_bdb;
	c->failure_ms = s->failure_ms;
	c->election_ms = s->election_ms;
	c->priority = s->priority;
	snprintf(c->name_text, sizeof c->name_text, "%s", s->node);
	c->name = view_str(c->name_text);
	c->want_again = true;
	list_init(&c->events);
	pthread_mutex_init(&c->view_lock, NULL);
	net_timer_init(&c->tick, node_on_tick);
	net_timer_init(&c->farewell, node_on_farewell);
	mail_init(&c->leave, deliver_leave);
	mail_init(&c->stop, deliver_stop);
	mail_init(&c->left, deliver_left);
	mail_init(&c->broken, deliver_broken);
	mail_init(&c->gone, deliver_gone);
	c->folder = strdup(s->folder);
	return c;
}

static int prepare(struct cluster *c, const struct cluster_settings *s, char why[NODE_WHY])
{
	int err = c->folder ? node_own_new(&c->own, s, why) : ERR_NO_MEMORY;

	if (err)
		return err == ERR_NO_MEMORY ? err : ERR_BROKEN;
	c->first = c->own;
	if (c->own->peer_count > CLUS_PEERS_MAX) {
		snprintf(why, NODE_WHY, "more than %d peers besides this node", CLUS_PEERS_MAX);
		return ERR_BROKEN;
	}
	err = node_id_read(c->folder, c->kept_id, why);
	if (err)
		return err;
	if (random_fill(&c->incarnation, sizeof c->incarnation) != 0)
		return ERR_SYSTEM;
	c->incarnation = c->incarnation ? c->incarnation : 1;
	c->own->hello.incarnation = c->incarnation;
	struct clus_core_settings cs = {.self = &c->own->hello,
					.failure_ms = s->failure_ms,
					.buckets = s->buckets,
					.peer_count = (unsigned)c->own->peer_count};
	memcpy(cs.cluster, c->kept_id, sizeof cs.cluster);
	c->core = clus_core_new(&cs, clock_lease());
	return c->core ? net_loop_init(&c->loop) : ERR_NO_MEMORY;
}

/* All of the thread's is made here, before the thread is there: so what is wrong with it can be said at once. */
static int begin(struct cluster *c, int listen_fd, char why[NODE_WHY])
{
	struct peers_settings ps = {.self = c->name,
				    .incarnation = c->incarnation,
				    .failure_ms = c->failure_ms,
				    .seed = c->incarnation,
				    .listen_fd = listen_fd};
	struct clus_event first = {.kind = CLUS_TICK};
	int err = peers_start(&c->peers, &c->loop, &ps, c->own->tls, &node_peers_ops, c);

	if (err)
		return err;
	c->running++;
	c->starting = true;
	node_step(c, &first);
	c->starting = false;
	if (c->ended) {
		snprintf(why, NODE_WHY, "%s", c->why);
		return c->start_err ? c->start_err : ERR_NO_MEMORY;
	}
	return thread_start(&c->thread, node_run, c);
}

static int fail(struct cluster *c, int err, char why[NODE_WHY])
{
	if (why[0] == '\0')
		snprintf(why, NODE_WHY, "%s", error_text(err));
	if (c)
		cluster_dispose(c);
	return err;
}

int cluster_start(struct cluster **out, const struct cluster_settings *s, const struct cluster_ops *ops, void *owner,
		  struct net_loop *main, char why[200])
{
	INVARIANT(name_is_good(view_str(s->node)));
	INVARIANT(s->failure_ms >= 8);
	struct cluster *c = cluster_new(s, ops, owner, main);
	int err = c ? prepare(c, s, why) : ERR_NO_MEMORY;

	if (err) {
		close(s->listen_fd);
		if (err != ERR_BROKEN)
			why[0] = '\0';
		return fail(c, err, why);
	}
	why[0] = '\0';
	err = begin(c, s->listen_fd, why);
	if (err == 0) {
		*out = c;
		return 0;
	}
	/* Its parts end as they do in the thread. */
	node_stop(c);
	net_loop_run(&c->loop);
	net_loop_fini(&c->loop);
	return fail(c, err, why);
}

/* --- meanwhile --- */

int cluster_reload(struct cluster *c, const struct cluster_settings *s, char why[200])
{
	struct order *o = order_new(c, deliver_reload);
	int err = o ? node_own_new(&o->own, s, why) : ERR_NO_MEMORY;

	if (err || c->stop_asked) {
		if (o)
			node_own_free(&o->own);
		free(o);
		return err;
	}
	o->own->hello.incarnation = 1; /* said with each link */
	net_loop_post(&c->loop, &o->mail);
	return 0;
}

void cluster_leave(struct cluster *c)
{
	if (c->leave_asked || c->stop_asked)
		return;
	c->leave_asked = true;
	net_loop_post(&c->loop, &c->leave);
}

/* Nobody takes himself out, and only the coordinator takes others out: these two end. */
static int may_forget(const struct cluster *c, const struct clus_view *v, struct view name)
{
	if (view_eq(name, c->name) || view_eq(name, v->members[v->coordinator].name))
		return ERR_REFUSED;
	if (clus_view_member(v, c->name) == CLUS_NONE)
		return ERR_BUSY; /* the coordinator does not listen to who is out */
	return clus_view_member(v, name) == CLUS_NONE && clus_view_voter(v, name) == CLUS_NONE ? ERR_GONE : 0;
}

int cluster_forget(struct cluster *c, struct view name)
{
	struct cluster_view *v = cluster_view_take(c);
	int err = c->stop_asked || !v || !atomic_load_explicit(&c->led, memory_order_acquire) ? ERR_BUSY : 0;

	if (!err)
		err = may_forget(c, &v->view, name);
	cluster_view_unref(&v);
	if (err)
		return err;
	struct order *o = order_new(c, deliver_forget);
	if (!o)
		return ERR_NO_MEMORY;
	memcpy(o->name, name.at, name.len);
	net_loop_post(&c->loop, &o->mail);
	return 0;
}

void cluster_stop(struct cluster *c)
{
	if (c->stop_asked)
		return;
	c->stop_asked = true;
	atomic_store_explicit(&c->may_act_until_ms, 0, memory_order_release);
	net_loop_post(&c->loop, &c->stop);
}

void cluster_free(struct cluster **c)
{
	if (*c)
		cluster_dispose(*c);
	*c = NULL;
}

/* --- any thread --- */

bool cluster_may_act(const struct cluster *c, struct lease_time now)
{
	return now.ms < atomic_load_explicit(&c->may_act_until_ms, memory_order_acquire);
}

struct cluster_view *cluster_view_take(struct cluster *c)
{
	pthread_mutex_lock(&c->view_lock);
	struct cluster_view *v = c->view;
	if (v)
		atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed);
	pthread_mutex_unlock(&c->view_lock);
	return v;
}

void cluster_view_unref(struct cluster_view **p)
{
	struct cluster_view *v = *p;

	*p = NULL;
	if (!v || atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel) > 1)
		return;
	clus_view_fini(&v->view);
	free(v);
}
