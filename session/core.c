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
	    .farewell = SESS_ENDED_NOW,
	    .in_table = true,
	    .fresh = true,
	};
	wheel_node_init(&s->timer);
	list_init(&s->queue);
}

void sess_core_init_fetching(struct session *s, const struct sess_id *id, uint16_t app, uint32_t now_s)
{
	sess_core_init(s, id, app, now_s, 0);
	s->phase = SESS_FETCHING;
	s->below = true;
}

bool sess_core_acquire(struct session *s, enum sess_lock lock, struct sess_waiter *w)
{
	INVARIANT(s->phase != SESS_ENDED);
	INVARIANT(s->refs < UINT32_MAX);
	s->refs++;
	if (s->phase == SESS_LIVE && lock == SESS_LOCK_NONE)
		return true;
	if (s->phase == SESS_LIVE && !s->held) {
		INVARIANT(list_empty(&s->queue));
		s->held = true;
		return true;
	}
	INVARIANT(w->state == SESS_WAITER_IDLE);
	w->state = SESS_WAITER_QUEUED;
	w->lock = lock;
	list_append(&s->queue, &w->link);
	return false;
}

static struct sess_waiter *waiter_of(struct list *link)
{
	return CONTAINER_OF(link, struct sess_waiter, link);
}

/* Takes `w` off the queue it is in. */
static struct sess_waiter *wake(struct sess_waiter *w)
{
	INVARIANT(w->state == SESS_WAITER_QUEUED);
	list_remove(&w->link);
	w->state = SESS_WAITER_GRANTED;
	return w;
}

static struct sess_waiter *wake_first(struct session *s)
{
	return list_empty(&s->queue) ? NULL : wake(waiter_of(s->queue.next));
}

static void wake_all(struct session *s, struct list *woken)
{
	struct sess_waiter *w;

	while ((w = wake_first(s)))
		list_append(woken, &w->link);
}

void sess_core_arrive(struct session *s, struct list *woken)
{
	INVARIANT(s->phase == SESS_FETCHING);
	s->phase = SESS_LIVE;
	LIST_EACH (link, &s->queue) {
		struct sess_waiter *w = waiter_of(link);
		bool takes = w->lock == SESS_LOCK_EXCLUSIVE;
		if (takes && s->held)
			continue;
		s->held = s->held || takes;
		list_append(woken, &wake(w)->link);
	}
}

void sess_core_fail(struct session *s, enum sess_open farewell, struct list *woken)
{
	INVARIANT(s->phase == SESS_FETCHING);
	wake_all(s, woken);
	s->phase = SESS_ENDED;
	s->farewell = farewell & 15u;
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

bool sess_core_touch_fixed(struct session *s, uint32_t now_s)
{
	uint64_t deadline_s = sess_core_deadline_s(s);

	if (now_s <= s->used_s || now_s >= deadline_s)
		return false;
	if (s->ttl_s != SESS_TTL_NEVER)
		s->ttl_s = (uint32_t)(deadline_s - now_s);
	s->used_s = now_s;
	return true;
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

	INVARIANT(s->phase == SESS_LIVE);
	if (sess_core_in_use(s))
		wake_all(s, woken);
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
	fresh->pinned = old->pinned;
	old->tombstone = true;
	old->farewell = SESS_RENEWED;
}

void sess_core_check(const struct session *s)
{
	bool ended = s->phase == SESS_ENDED;
	bool live = s->phase == SESS_LIVE;

	INVARIANT(s->refs > 0);
	INVARIANT(!live || !sess_core_in_use(s) || s->held || list_empty(&s->queue));
	INVARIANT(!ended || list_linked(&s->queue) == s->owing);
	INVARIANT(!s->owing || (s->tombstone && s->in_table));
	INVARIANT(live || !s->held);
	INVARIANT(live || !s->state);
	INVARIANT(!s->leaving || live);
	INVARIANT(!s->tombstone || ended);
	INVARIANT(!ended || s->tombstone || !s->in_table);
	INVARIANT(s->in_table || !wheel_running(&s->timer));
	/* What nobody uses must be found by the wheel, or it would stay for ever. */
	INVARIANT(!s->in_table || sess_core_in_use(s) || s->phase == SESS_FETCHING || s->owing ||
		  wheel_running(&s->timer));
	/* What nobody uses must be found by the evicter. */
	INVARIANT(!live || sess_core_in_use(s) || s->pinned || s->leaving || list_linked(&s->queue));
}
