/* The two threads: weir-control, which does all there is to do, and weir-elect, which waits for elections. */
#include "cluster/control_bdb_parts.h"

#include "base/error.h"
#include "base/log.h"
#include "base/thread.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* --- weir-elect --- */

static void elect_once(struct control *c, unsigned sites, unsigned votes)
{
	pthread_mutex_unlock(&c->lock);
	int ret = c->env->rep_elect(c->env, sites, votes, 0);
	pthread_mutex_lock(&c->lock);
	if (ret == DB_RUNRECOVERY)
		c->events |= BDB_EVENT_PANIC;
}

static void *run_elections(void *arg)
{
	struct control *c = arg;

	(void)pthread_setname_np(pthread_self(), "weir-elect");
	pthread_mutex_lock(&c->lock);
	while (!c->ending) {
		if (c->elect_votes == 0) {
			pthread_cond_wait(&c->elect_wake, &c->lock);
			continue;
		}
		elect_once(c, c->elect_sites, c->elect_votes);
		c->elect_votes = 0;
		c->awake = true;
		pthread_cond_broadcast(&c->elect_wake);
		pthread_cond_signal(&c->wake);
	}
	/* One that was wanted meanwhile is not held: nobody is to wait for it. */
	c->elect_votes = 0;
	pthread_cond_broadcast(&c->elect_wake);
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

void bdb_elect(struct control *c, unsigned sites, unsigned votes)
{
	pthread_mutex_lock(&c->lock);
	c->elect_sites = sites;
	c->elect_votes = c->ending ? 0 : votes;
	pthread_cond_broadcast(&c->elect_wake);
	pthread_mutex_unlock(&c->lock);
}

bool bdb_elect_is_idle(struct control *c)
{
	pthread_mutex_lock(&c->lock);
	bool idle = c->elect_votes == 0;
	pthread_mutex_unlock(&c->lock);
	return idle;
}

void bdb_elect_idle(struct control *c)
{
	pthread_mutex_lock(&c->lock);
	while (c->elect_votes != 0)
		pthread_cond_wait(&c->elect_wake, &c->lock);
	pthread_mutex_unlock(&c->lock);
}

/* --- weir-control --- */

/* It stays so: no step that is under way meanwhile takes another role. */
void bdb_break(struct control *c, int ret, const char *doing)
{
	char why[BDB_WHY];

	if (c->role == BDB_BROKEN)
		return;
	snprintf(why, sizeof(why), "%.80s: cannot %s: %s", c->folder, doing, bdb_store_strerror(c, ret));
	log_event(LOG_ERROR, "control_broken", LOG_V("folder", view_str(c->folder)), LOG_S("doing", doing),
		  LOG_S("reason", bdb_store_strerror(c, ret)));
	bool lost = c->role == BDB_RULES && c->pending;
	c->pending = false;
	if (lost)
		bdb_tell(c, BDB_LOST, buf_view(&c->pending_bytes));
	if (c->role == BDB_BROKEN)
		return; /* by that, and told */
	c->role = BDB_BROKEN;
	bdb_tell_broken(c, why);
}

/* What it knew is no part of the ruler's any more, and the ruler cannot say what is. */
static void renew(struct control *c)
{
	if (c->role == BDB_BROKEN)
		return;
	log_event(LOG_WARN, "control_renewed", LOG_V("folder", view_str(c->folder)));
	bdb_elect_idle(c);
	int ret = bdb_store_renew(c);
	if (ret)
		bdb_break(c, ret, "begin anew");
	else
		bdb_look(c);
}

static void take_voters(struct control *c)
{
	struct bdb_name names[CONTROL_VOTERS_MAX];
	struct view voters[CONTROL_VOTERS_MAX];

	pthread_mutex_lock(&c->lock);
	unsigned count = c->voter_count;
	memcpy(names, c->voters, sizeof(names));
	pthread_mutex_unlock(&c->lock);
	for (unsigned i = 0; i < count; i++)
		voters[i] = bdb_name_view(&names[i]);
	if (!c->has_voters)
		bdb_set_voters(c, voters, count);
}

/* A link that was away for a moment is another one. */
static void take_reached(struct control *c)
{
	bool there[BDB_PEERS], was_away[BDB_PEERS];

	pthread_mutex_lock(&c->lock);
	memcpy(there, c->there, sizeof(there));
	memcpy(was_away, c->was_away, sizeof(was_away));
	memset(c->was_away, 0, sizeof(c->was_away));
	pthread_mutex_unlock(&c->lock);
	for (unsigned i = 1; i < BDB_PEERS; i++) {
		if (!there[i] || was_away[i])
			bdb_reached(c, i, false);
	}
	for (unsigned i = 1; i < BDB_PEERS; i++) {
		if (there[i])
			bdb_reached(c, i, true);
	}
}

static void handle_events(struct control *c, unsigned events)
{
	if (events & BDB_EVENT_PANIC)
		bdb_break(c, DB_RUNRECOVERY, "go on");
	if (events & BDB_EVENT_VOTERS)
		take_voters(c);
	if (events & BDB_EVENT_REACHED)
		take_reached(c);
	if (c->role == BDB_BROKEN)
		return;
	if (events & BDB_EVENT_STEP_DOWN)
		bdb_stand_back(c);
	if (events & BDB_EVENT_JOIN_FAILURE)
		renew(c);
	if (events & BDB_EVENT_STORED)
		bdb_look(c);
	if (events & BDB_EVENT_ELECTED)
		bdb_elected(c);
}

static struct timespec in_ms(uint64_t ms)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += (time_t)(ms / 1000);
	t.tv_nsec += (long)(ms % 1000) * 1000000;
	if (t.tv_nsec >= 1000000000) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000;
	}
	return t;
}

/* Until there is something, or the time has come. False: it is to end. */
static bool wait_for_more(struct control *c, uint64_t wait_ms, unsigned *events)
{
	struct timespec until = in_ms(wait_ms == UINT64_MAX ? 0 : wait_ms);
	int err = 0;

	pthread_mutex_lock(&c->lock);
	while (!c->awake && !c->ending && err == 0) {
		if (wait_ms == UINT64_MAX)
			pthread_cond_wait(&c->wake, &c->lock);
		else
			err = pthread_cond_timedwait(&c->wake, &c->lock, &until);
	}
	c->awake = false;
	*events = c->events;
	c->events = 0;
	bool go_on = !c->ending;
	pthread_mutex_unlock(&c->lock);
	return go_on;
}

static void begin(struct control *c)
{
	bdb_look(c);
	if (c->role == BDB_BROKEN)
		return;
	if (!bdb_promise_mend(c)) {
		bdb_break(c, EIO, "write its promise");
		return;
	}
	bdb_head(c);
	if (c->rank.number > 0 && control_rank_compare(c->promise.agreed, c->rank) == 0)
		bdb_learn(c);
	int ret = bdb_store_join(c);
	if (ret)
		bdb_break(c, ret, "start");
}

static void *run_control(void *arg)
{
	struct control *c = arg;
	uint64_t wait_ms = 0;
	unsigned events;

	(void)pthread_setname_np(pthread_self(), "weir-control");
	begin(c);
	while (wait_for_more(c, wait_ms, &events)) {
		if (c->role != BDB_BROKEN)
			handle_events(c, events);
		mailbox_deliver(&c->inbox);
		bdb_names_sweep(c);
		wait_ms = c->role == BDB_BROKEN ? UINT64_MAX : bdb_tick(c);
	}
	c->role = BDB_BROKEN;
	mailbox_deliver(&c->inbox); /* to be freed */
	pthread_join(c->elect_thread, NULL);
	bdb_store_close(c);
	bdb_promise_close(c);
	bdb_tell_stopped(c);
	return NULL;
}

int bdb_threads_start(struct control *c)
{
	if (thread_start(&c->elect_thread, run_elections, c) != 0)
		return ERR_SYSTEM;
	if (thread_start(&c->thread, run_control, c) == 0)
		return 0;
	pthread_mutex_lock(&c->lock);
	c->ending = true;
	pthread_cond_broadcast(&c->elect_wake);
	pthread_mutex_unlock(&c->lock);
	pthread_join(c->elect_thread, NULL);
	return ERR_SYSTEM;
}
