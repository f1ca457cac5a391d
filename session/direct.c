/* Sessions by their id alone (session/direct.h). */
#include "session/direct.h"

#include "base/error.h"
#include "base/invariant.h"
#include "session/shard.h"

#include <stdlib.h>

/* The live session of this id and app, or NULL. One that has expired is ended on the way. */
static struct session *find_live(struct shard *sh, uint16_t app, const struct sess_id *id, uint32_t hash,
				 uint32_t now_s, struct shard_after *after)
{
	struct session *s = shard_find(sh, id, hash);

	if (!s || s->phase != SESS_LIVE || s->app != app)
		return NULL;
	if (!sess_core_expired(s, now_s))
		return s;
	shard_expire(sh, s, after);
	return NULL;
}

/* Among the idle it moves to the end, where those lie that were used last. */
static void move_to_end(struct shard *sh, struct session *s)
{
	if (sess_core_in_use(s))
		return;
	shard_wanted(s);
	shard_rest(sh, s);
}

/* --- to look --- */

/* Counted from the second in which it began, as the deadline is. What lives has one to live at least. */
static uint64_t left_s(const struct session *s, uint32_t now_up_s)
{
	uint64_t deadline_s = sess_core_deadline_s(s);

	if (s->ttl_s == SESS_TTL_NEVER)
		return SESS_TTL_NEVER;
	return deadline_s > now_up_s ? deadline_s - now_up_s : 1;
}

enum sess_open sess_table_peek(struct sess_table *t, uint16_t app, const struct sess_id *id, struct instant now,
			       struct sess_peek *out)
{
	uint32_t hash = table_hash(t, id), now_s = table_now_s(t, now);
	struct shard *sh = shard_of(t, hash);
	enum sess_open result = SESS_OPENED;
	struct shard_after after;

	shard_after_init(&after);
	pthread_mutex_lock(&sh->lock);
	struct session *s = find_live(sh, app, id, hash, now_s, &after);
	if (s) {
		out->state = s->state ? sess_state_ref(s->state) : NULL;
		out->left_s = left_s(s, table_now_up_s(t, now));
		if (sess_core_touch_fixed(s, now_s))
			move_to_end(sh, s);
	} else {
		struct session *other = shard_find(sh, id, hash);
		bool known = other ? other->phase != SESS_FETCHING : !t->has_below;
		result = known ? SESS_ABSENT : SESS_QUEUED;
	}
	pthread_mutex_unlock(&sh->lock);
	shard_after_run(t, &after);
	return result;
}

/* --- to write --- */

/* Memory that was had before the lock. */
struct spare {
	struct sess_state *state; /* owned; NULL: no bytes */
	struct session *session;  /* owned; NULL: not yet */
};

static int spare_state(struct spare *sp, const struct sess_write *w)
{
	if (!w->has_data || w->head.len + w->data.len == 0)
		return 0;
	if (w->head.len > SESS_STATE_MAX || w->data.len > SESS_STATE_MAX - w->head.len)
		return ERR_FULL;
	sp->state = sess_state_join(w->head, w->data);
	return sp->state ? 0 : ERR_NO_MEMORY;
}

static void set_ttl(struct session *s, uint32_t ttl_s, uint32_t now_s)
{
	uint64_t before_s = sess_core_deadline_s(s);

	sess_core_touch(s, now_s);
	s->ttl_s = ttl_s;
	s->outlived = s->outlived || (sess_core_deadline_s(s) < before_s && (s->below || s->leaving));
}

static int replace(struct sess_table *t, struct shard *sh, struct session *s, const struct sess_write *w,
		   struct spare *sp, uint32_t now_up_s, struct shard_after *after, struct sess_state **before)
{
	if (before && s->state)
		*before = sess_state_ref(s->state);
	if (w->only == SESS_WRITE_NEW)
		return SESS_THERE;
	if (w->has_data && !table_bytes_change(t, sess_state_cost(sp->state), sess_state_cost(s->state)))
		return ERR_FULL;
	if (w->has_data) {
		shard_uncount_pinned(sh, s, s->state);
		shard_count_pinned(sh, s, sp->state);
		after->state = sess_core_store(s, sp->state);
		sp->state = NULL;
	}
	if (w->has_ttl)
		set_ttl(s, w->ttl_s, now_up_s);
	else
		(void)sess_core_touch_fixed(s, now_up_s);
	move_to_end(sh, s);
	return SESS_WRITTEN;
}

/* Nothing live is in memory. What there may be instead decides whether a new one may be made. */
static int may_create(const struct sess_table *t, const struct shard *sh, const struct sess_id *id, uint32_t hash,
		      const struct sess_write *w)
{
	const struct session *s = shard_find(sh, id, hash);

	if (s && s->phase == SESS_FETCHING)
		return SESS_ASK;
	/* Since it was asked for, one may have been made here and have left for below again. */
	if (!s && t->has_below && !(w->absent && w->placed == sh->placed))
		return SESS_ASK;
	if (!w->has_data || w->only == SESS_WRITE_THERE)
		return SESS_MISSING;
	return s ? SESS_OWING : SESS_WRITTEN;
}

static int create(struct sess_table *t, struct shard *sh, struct spare *sp)
{
	struct session *s = sp->session;

	if (!table_bytes_change(t, sizeof *s + sess_state_cost(sp->state), 0))
		return ERR_FULL;
	s->state = sp->state;
	*sp = (struct spare){0};
	shard_insert(sh, s);
	shard_rest(sh, s);
	sh->created++;
	sh->placed++;
	return SESS_WRITTEN;
}

int sess_table_write(struct sess_table *t, uint16_t app, const struct sess_id *id, const struct sess_write *w,
		     struct instant now, struct sess_state **before)
{
	uint32_t hash = table_hash(t, id), now_up_s = table_now_up_s(t, now);
	struct shard *sh = shard_of(t, hash);
	struct spare sp = {0};
	struct shard_after after;
	int result = spare_state(&sp, w);
	bool again = result == 0;

	shard_after_init(&after);
	while (again) {
		again = false;
		pthread_mutex_lock(&sh->lock);
		struct session *s = find_live(sh, app, id, hash, table_now_s(t, now), &after);
		result = s ? replace(t, sh, s, w, &sp, now_up_s, &after, before) : may_create(t, sh, id, hash, w);
		if (!s && result == SESS_WRITTEN && sp.session)
			result = create(t, sh, &sp);
		else
			again = !s && result == SESS_WRITTEN;
		pthread_mutex_unlock(&sh->lock);
		/* Memory is had without the lock; then it looks again. */
		if (again && !(sp.session = malloc(sizeof *sp.session))) {
			result = ERR_NO_MEMORY;
			again = false;
		} else if (again) {
			sess_core_init(sp.session, id, app, now_up_s, w->has_ttl ? w->ttl_s : SESS_TTL_NEVER);
			sp.session->hash = hash;
		}
	}
	sess_state_unref(sp.state);
	free(sp.session);
	shard_after_run(t, &after);
	return result;
}
