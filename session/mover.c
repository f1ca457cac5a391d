/* The stack's thread: the only user of the store below (doc/stores.md).
 *
 * One turn: the mails (look-ups below first come first served, removals), then one batch of what the evicter wants
 * moved, then a piece of expiry, of what operators ask, and of housekeeping. A look-up waits for these at most. */
#include "base/error.h"
#include "base/log.h"
#include "base/thread.h"
#include "session/below.h"
#include "session/carry.h"
#include "session/stack_state.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

enum {
	TURN_MS = 1000,     /* between two turns without a reason */
	TURN_ROOM_MS = 50,  /* while requests wait for room */
	CROWD_PERCENT = 10, /* so much is freed at once for those who wait for room */
	FAILURES_MAX = 3,   /* of the store at the end, without a success in between */
};

/* --- one turn --- */

static void look_tight(struct stack *s)
{
	bool tight = sess_table_tight(s->table, HIGH_PERCENT);

	if (!tight && atomic_exchange(&s->full, false))
		log_event(LOG_INFO, "memory_has_room", LOG_I("bytes", sess_table_bytes(s->table)));
	if (tight)
		s->tight = true;
	else if (!sess_table_tight(s->table, CARRY_LOW_PERCENT))
		s->tight = false;
}

static struct stack_wait *wait_of(struct list *link)
{
	return CONTAINER_OF(link, struct stack_wait, link);
}

/* What those lack who wait for room: all of them, but that a crowd does not empty memory; at least the first. */
static uint64_t wanted_room(struct stack *s)
{
	uint64_t most = sess_table_max(s->table) / 100 * CROWD_PERCENT;
	uint64_t bytes = 0;

	pthread_mutex_lock(&s->lock);
	LIST_EACH (link, &s->room) {
		if (bytes > 0 && bytes + wait_of(link)->lacks_bytes > most)
			break;
		bytes += wait_of(link)->lacks_bytes;
	}
	pthread_mutex_unlock(&s->lock);
	return bytes;
}

/* Those who wait for room try again when memory holds less than when they last tried; when there is room, which may
 * have come before they waited; or when none will come, to hear that. True: some still wait. */
static bool serve_room(struct stack *s)
{
	struct list ready;
	struct list *link;
	uint64_t bytes = sess_table_bytes(s->table), most = sess_table_max(s->table);
	bool hope = s->now_settings.evict->relieves && atomic_load(&s->usable);

	list_init(&ready);
	pthread_mutex_lock(&s->lock);
	LIST_EACH (node, &s->room) {
		struct stack_wait *w = wait_of(node);
		if (hope && w->tried_bytes <= bytes && bytes + w->lacks_bytes > most)
			continue;
		w->queued = false;
		list_remove(node);
		list_append(&ready, node);
	}
	bool some = !list_empty(&s->room);
	pthread_mutex_unlock(&s->lock);
	while ((link = list_pop(&ready))) {
		wait_of(link)->done(wait_of(link));
	}
	return some;
}

static void take_settings(struct stack *s)
{
	pthread_mutex_lock(&s->lock);
	bool changed = s->settings_changed;
	s->settings_changed = false;
	if (changed)
		s->now_settings = s->settings;
	pthread_mutex_unlock(&s->lock);
	if (changed && s->store)
		s->below->set(s->store, &s->now_settings.store);
}

/* How long to wait for the next one. */
static uint64_t turn(struct stack *s)
{
	take_settings(s);
	below_look_at_clock(s);
	below_open(s);
	mailbox_deliver(&s->inbox);
	below_commit_forgotten(s);
	atomic_store(&s->nudged, false);
	look_tight(s);
	carry_look_full(s);
	bool more = carry_down_evicted(s, wanted_room(s)) > 0;
	more = below_settle(s) || more;
	more = below_tend(s) || more;
	more = operate_some(s) || more;
	below_publish(s);
	bool wait_for_room = serve_room(s);
	if (more)
		return 0;
	return wait_for_room ? TURN_ROOM_MS : TURN_MS;
}

static void rest(struct stack *s, uint64_t ms)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += (time_t)(ms / 1000);
	until.tv_nsec += (long)(ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&s->wake_lock);
	while (!s->awake && pthread_cond_timedwait(&s->wake, &s->wake_lock, &until) != ETIMEDOUT)
		;
	s->awake = false;
	pthread_mutex_unlock(&s->wake_lock);
}

/* --- the end --- */

/* A store that is broken may be there again by now: at the end nothing is gained by waiting. */
static bool open_again(struct stack *s)
{
	s->retry_at.ms = 0;
	below_open(s);
	return s->store != NULL;
}

/* Each of them once; but a batch with which the store fails goes back, and is tried again. The last error. */
static int demote_each(struct stack *s)
{
	struct sess_reason why = {.evict = NULL, .pinned_too = true, .once = true};
	int last = 0;

	for (unsigned failures = 0; failures < FAILURES_MAX && !atomic_load(&s->hurry);) {
		uint64_t done;
		if (!open_again(s))
			return ERR_BROKEN;
		int err = carry_down_some(s, &why, &done);
		last = err ? err : last;
		if (!err && done == 0)
			break;
		failures = done > 0 ? 0 : failures + 1;
	}
	return last;
}

static void demote_for_good(struct stack *s)
{
	uint64_t before = s->stats.demoted;
	struct sess_table_stats t;

	sess_table_stats(s->table, &t);
	if (t.sessions == 0)
		return;
	log_event(LOG_INFO, "demoting", LOG_I("sessions", t.sessions));
	int err = demote_each(s);
	sess_table_stats(s->table, &t);
	if (t.sessions == 0)
		log_event(LOG_INFO, "demoted", LOG_I("sessions", s->stats.demoted - before));
	else
		log_event(LOG_ERROR, "sessions_lost", LOG_I("sessions", t.sessions),
			  LOG_S("reason", err ? error_text(err) : "told to hurry"));
}

static void settle_for_good(struct stack *s)
{
	for (unsigned failures = 0; failures < FAILURES_MAX && below_owes(s) && open_again(s);)
		failures = below_settle(s) ? 0 : failures + 1;
}

void *mover_run(void *arg)
{
	struct stack *s = arg;
	uint64_t wait_ms = 0;

	pthread_setname_np(pthread_self(), "weir-store");
	thread_step_back(); /* what it does is mostly for later; not last of all, for some requests wait for it */
	while (!s->stopping) {
		if (wait_ms > 0)
			rest(s, wait_ms);
		wait_ms = turn(s);
	}
	operate_give_up(s);
	if (s->stop_demote && s->below)
		demote_for_good(s);
	settle_for_good(s);
	if (s->store)
		s->below->close(&s->store, true);
	s->stopped(s->stopped_arg);
	return NULL;
}
