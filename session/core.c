/* The session core (session/core.h). Pure. */
#include "session/core.h"

#include "base/invariant.h"

_Static_assert(sizeof(struct session) <= 104, "with malloc's header it fits a block of 112 bytes");

void sess_core_init(struct session *s, const struct sess_id *id, uint16_t app, uint32_t now_s, uint32_t ttl_s)
{
	*s = (struct session){
	    .id = *id,
	    .version = 1,
	    .created_s = now_s,
	    .used_s = now_s,
	    .ttl_s = ttl_s,
	    .refs = 1,
	    .app = app,
	    .phase = SESS_LIVE,
	    .in_table = true,
	    .fresh = true,
	};
	wheel_node_init(&s->timer);
	list_init(&s->waiters);
}

bool sess_core_acquire(struct session *s, enum sess_lock lock, struct sess_waiter *w)
{
	INVARIANT(s->phase == SESS_LIVE);
	INVARIANT(s->refs < UINT32_MAX);
	s->refs++;
	if (lock == SESS_LOCK_NONE)
		return true;
	if (!s->held) {
		INVARIANT(list_empty(&s->waiters));
		s->held = true;
		return true;
	}
	INVARIANT(w->state == SESS_WAITER_IDLE);
	w->state = SESS_WAITER_QUEUED;
	list_append(&s->waiters, &w->link);
	return false;
}

static struct sess_waiter *wake_first(struct session *s)
{
	struct list *first = list_pop(&s->waiters);

	if (!first)
		return NULL;
	struct sess_waiter *w = CONTAINER_OF(first, struct sess_waiter, link);
	INVARIANT(w->state == SESS_WAITER_QUEUED);
	w->state = SESS_WAITER_GRANTED;
	return w;
}

struct sess_waiter *sess_core_release(struct session *s)
{
	if (s->phase == SESS_ENDED)
		return NULL; /* the end has taken the lock and woken all */
	INVARIANT(s->held);
	struct sess_waiter *next = wake_first(s);
	/* Handed over, never open in between: nobody can overtake the queue. */
	s->held = next != NULL;
	return next;
}

bool sess_core_cancel(struct sess_waiter *w)
{
	INVARIANT(w->state != SESS_WAITER_IDLE);
	if (w->state == SESS_WAITER_GRANTED)
		return false;
	list_remove(&w->link);
	w->state = SESS_WAITER_IDLE;
	return true;
}

bool sess_core_granted(const struct session *s, struct sess_waiter *w)
{
	INVARIANT(w->state == SESS_WAITER_GRANTED);
	w->state = SESS_WAITER_IDLE;
	return s->phase == SESS_LIVE;
}

uint64_t sess_core_deadline_s(const struct session *s)
{
	return (uint64_t)s->used_s + s->ttl_s;
}

bool sess_core_expired(const struct session *s, uint64_t now_s)
{
	return s->phase == SESS_LIVE && !sess_core_in_use(s) && now_s >= sess_core_deadline_s(s);
}

void sess_core_touch(struct session *s, uint32_t now_s)
{
	/* Threads read the clock on their own; a slower one must not turn it back. */
	if (now_s > s->used_s)
		s->used_s = now_s;
}

struct sess_state *sess_core_store(struct session *s, struct sess_state *state)
{
	struct sess_state *old = s->state;

	INVARIANT(s->phase == SESS_LIVE);
	s->state = state;
	s->version++;
	return old;
}

struct sess_state *sess_core_end(struct session *s, struct list *woken)
{
	struct sess_state *state = s->state;
	struct sess_waiter *w;

	INVARIANT(s->phase == SESS_LIVE);
	while ((w = wake_first(s)))
		list_append(woken, &w->link);
	s->phase = SESS_ENDED;
	s->held = false;
	s->state = NULL;
	return state;
}

void sess_core_renew(struct session *old, struct session *fresh, bool locked, struct list *woken)
{
	INVARIANT(fresh->app == old->app);
	INVARIANT(!locked || old->held);
	INVARIANT(old->refs > 1);
	fresh->version = old->version;
	fresh->created_s = old->created_s;
	fresh->used_s = old->used_s;
	fresh->ttl_s = old->ttl_s;
	fresh->fresh = old->fresh;
	fresh->held = locked;
	fresh->refs++;
	old->refs--;
	fresh->state = sess_core_end(old, woken);
	old->tombstone = true;
}

void sess_core_check(const struct session *s)
{
	bool ended = s->phase == SESS_ENDED;

	INVARIANT(s->refs > 0);
	INVARIANT(s->held || list_empty(&s->waiters));
	INVARIANT(!ended || !s->held);
	INVARIANT(!ended || !s->state);
	INVARIANT(!s->tombstone || ended);
	INVARIANT(!ended || s->tombstone || !s->in_table);
	INVARIANT(s->in_table || !wheel_running(&s->timer));
	/* What nobody uses must be found by the wheel, or it would stay for ever. */
	INVARIANT(!s->in_table || sess_core_in_use(s) || wheel_running(&s->timer));
}
