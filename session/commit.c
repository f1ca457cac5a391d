/* What a response changes: commit, renewal, end and creation. All memory is had before the lock is taken, and nothing
 * is changed before it is sure that all of it can be: an error leaves everything as it was. */
#include "session/shard.h"

#include "base/error.h"
#include "base/invariant.h"

#include <stdlib.h>

/* What was made ready without the lock. What is used is taken out; the rest is freed at the end. */
struct draft {
	struct sess_state *state; /* owned; NULL: no bytes */
	struct session *session;  /* owned; for a creation or a renewal */
};

static void draft_fini(struct draft *d)
{
	sess_state_unref(d->state);
	free(d->session);
}

static int draft_state(struct draft *d, const struct sess_commit *c)
{
	if (!c->has_data || c->data.len == 0)
		return 0;
	if (c->data.len > SESS_STATE_MAX)
		return ERR_FULL;
	d->state = sess_state_new(c->data);
	return d->state ? 0 : ERR_NO_MEMORY;
}

static int draft_session(struct draft *d, const struct sess_table *t, uint16_t app, const struct sess_id *id,
			 uint32_t ttl_s, struct instant now)
{
	d->session = malloc(sizeof(*d->session));
	if (!d->session)
		return ERR_NO_MEMORY;
	sess_core_init(d->session, id, app, table_now_up_s(t, now), ttl_s);
	d->session->hash = table_hash(t, id);
	return 0;
}

/* Two shards are always locked in the order of their addresses, so that two renewals never wait for each other. */
static void lock_both(struct shard *a, struct shard *b)
{
	pthread_mutex_lock(a < b ? &a->lock : &b->lock);
	if (a != b)
		pthread_mutex_lock(a < b ? &b->lock : &a->lock);
}

static void unlock_both(struct shard *a, struct shard *b)
{
	pthread_mutex_unlock(&a->lock);
	if (a != b)
		pthread_mutex_unlock(&b->lock);
}

/* Both ids change under both locks: no look-up sees neither, none sees both. */
static void renew(struct sess_table *t, struct sess_hold *h, struct session *fresh, struct instant now,
		  struct shard_after *after)
{
	struct session *old = h->session;
	struct shard *from = shard_of(t, old->hash);
	struct shard *to = shard_of(t, fresh->hash);

	shard_insert(to, fresh);
	sess_core_renew(old, fresh, h->locked, &after->woken);
	shard_count_pinned(to, fresh, fresh->state);
	shard_uncount(from, old, fresh->state);
	from->renewed++;
	if (old->below)
		shard_owe(from, old);
	wheel_start(&from->wheel, &old->timer, (uint64_t)table_now_up_s(t, now) + t->tombstone_s);
	h->session = fresh;
}

/* Or will be in a moment. */
static bool may_be_below(const struct session *s)
{
	return s->below || s->leaving;
}

/* Under the locks of both shards; the session is live and does not end. */
static int store(struct sess_table *t, struct sess_hold *h, const struct sess_commit *c, struct draft *d,
		 struct instant now, struct shard_after *after)
{
	struct session *s = h->session;
	struct session *fresh = d->session;
	uint64_t sub = c->has_data ? sess_state_cost(s->state) : 0;
	uint64_t add = sess_state_cost(d->state) + (fresh ? sizeof(*fresh) : 0);

	if (fresh && shard_find(shard_of(t, fresh->hash), &fresh->id, fresh->hash))
		return ERR_BUSY;
	if (!table_bytes_change(t, add, sub))
		return ERR_FULL;
	if (c->has_data) {
		shard_uncount_pinned(shard_of(t, s->hash), s, s->state);
		shard_count_pinned(shard_of(t, s->hash), s, d->state);
		after->state = sess_core_store(s, d->state);
		d->state = NULL;
	}
	if (c->has_ttl) {
		s->outlived = s->outlived || (c->ttl_s < s->ttl_s && may_be_below(s));
		s->ttl_s = c->ttl_s;
	}
	if (fresh) {
		d->session = NULL;
		renew(t, h, fresh, now, after);
	}
	return 0;
}

static int commit_end(struct sess_table *t, struct sess_hold *h, struct sess_outcome *out)
{
	struct shard *sh = shard_of(t, h->session->hash);
	struct shard_after after;

	shard_after_init(&after);
	pthread_mutex_lock(&sh->lock);
	bool dropped = h->session->phase == SESS_ENDED;
	*out = (struct sess_outcome){
	    .cookie = dropped ? SESS_COOKIE_KEEP : SESS_COOKIE_EXPIRE,
	    .dropped = dropped,
	    .forget = may_be_below(h->session),
	    .forget_id = h->session->id,
	};
	if (!dropped) {
		shard_end(sh, h->session, &after);
		sh->ended++;
	}
	pthread_mutex_unlock(&sh->lock);
	shard_after_run(t, &after);
	return 0;
}

static int commit_store(struct sess_table *t, struct sess_hold *h, const struct sess_commit *c, struct draft *d,
			struct instant now, struct sess_outcome *out)
{
	struct shard *old = shard_of(t, h->session->hash);
	struct shard *fresh = d->session ? shard_of(t, d->session->hash) : old;
	struct shard_after after;
	int err = 0;

	shard_after_init(&after);
	lock_both(old, fresh);
	bool dropped = h->session->phase == SESS_ENDED;
	struct sess_outcome result = {.dropped = dropped};
	if (!dropped && c->renew) {
		result.forget = may_be_below(h->session);
		result.forget_id = h->session->id;
	}
	if (!dropped)
		err = store(t, h, c, d, now, &after);
	unlock_both(old, fresh);
	shard_after_run(t, &after);
	if (err)
		return err;
	if (!dropped && c->renew) {
		result.cookie = SESS_COOKIE_SET;
		result.id = h->session->id;
	}
	*out = result;
	return 0;
}

int sess_table_commit(struct sess_table *t, struct sess_hold *h, const struct sess_commit *c,
		      const struct sess_id *fresh_id, struct instant now, struct sess_outcome *out)
{
	struct draft d = {0};

	INVARIANT(h->session != NULL);
	if (c->end)
		return commit_end(t, h, out);
	int err = draft_state(&d, c);
	if (!err && c->renew)
		err = draft_session(&d, t, h->session->app, fresh_id, 0, now);
	if (!err)
		err = commit_store(t, h, c, &d, now, out);
	draft_fini(&d);
	return err;
}

/* Under the shard's lock. */
static int insert(struct sess_table *t, struct shard *sh, struct draft *d)
{
	struct session *s = d->session;

	if (shard_find(sh, &s->id, s->hash))
		return ERR_BUSY;
	if (!table_bytes_change(t, session_bytes(d->state), 0))
		return ERR_FULL;
	s->state = d->state;
	*d = (struct draft){0};
	shard_insert(sh, s);
	shard_rest(sh, s);
	sh->created++;
	return 0;
}

int sess_table_create(struct sess_table *t, uint16_t app, const struct sess_commit *c, uint32_t ttl_s,
		      const struct sess_id *id, struct instant now)
{
	struct draft d = {0};
	int err = draft_state(&d, c);

	if (!err)
		err = draft_session(&d, t, app, id, c->has_ttl ? c->ttl_s : ttl_s, now);
	if (!err) {
		struct shard *sh = shard_of(t, d.session->hash);
		pthread_mutex_lock(&sh->lock);
		err = insert(t, sh, &d);
		pthread_mutex_unlock(&sh->lock);
	}
	draft_fini(&d);
	return err;
}
