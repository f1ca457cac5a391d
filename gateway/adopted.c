/* Adopted sessions: the request's side. Depends on session/ and proto/cgi.
 *
 *   cookies --> ids --> claims, one after the other --> sessions brought up, one after the other --> ready
 *
 * A browser may have more than one cookie of the name (of different paths or domains), and applications do not agree
 * which of them counts. So all their ids are claimed, in the ids' own order: whoever wants two of them wants them in
 * the same order, and nobody waits for somebody who waits for him. */
#include "gateway/adopted.h"

#include "base/invariant.h"
#include "gateway/worker.h"
#include "session/claim.h"
#include "session/cookie.h"
#include "session/key.h"

#include <stdlib.h>

enum {
	IDS_MAX = 4,     /* of one request */
	COOKIES_MAX = 8, /* looked at for them */
};

struct adopted_id {
	struct request *request; /* borrowed: whose it is */
	struct sess_id id;
	struct claim claim;
	struct sess_hold hold;
};

/* What a request has of adopted sessions. Owned by it; lives until no grant is on its way. */
struct adopted {
	unsigned count;           /* of `ids` */
	unsigned claimed, opened; /* of them; while a grant is awaited it is that of the next one */
	struct adopted_id ids[IDS_MAX];
	struct claim fresh; /* of the id that the answer's cookie gives */
};

static struct claims *claims_of(const struct request *r)
{
	return r->worker->gateway->claims;
}

static struct stack *stack_of(const struct request *r)
{
	return r->worker->gateway->stack;
}

static struct instant now_of(const struct request *r)
{
	return net_now(&r->worker->loop);
}

static bool is_exclusive(const struct request *r)
{
	return r->app->session.lock == CONF_LOCK_EXCLUSIVE && !r->read_only;
}

/* --- ids --- */

static enum sess_key_format format_of(const struct request *r)
{
	static const enum sess_key_format formats[] = {
	    [CONF_COOKIE_PLAIN] = SESS_KEY_PLAIN,
	    [CONF_COOKIE_EXPRESS] = SESS_KEY_EXPRESS,
	};

	return formats[r->app->session.cookie_format];
}

static void id_of_text(const struct request *r, struct view text, struct sess_id *id)
{
	sess_key_id(&r->worker->gateway->keys, r->app->name, text, id);
}

/* Into its place; one that is there already is not put in again. */
static void put_id(struct adopted *a, const struct sess_id *id)
{
	unsigned at = 0;

	while (at < a->count && memcmp(a->ids[at].id.bytes, id->bytes, SESS_ID_BYTES) < 0)
		at++;
	if (at < a->count && sess_id_eq(&a->ids[at].id, id))
		return;
	for (unsigned i = a->count++; i > at; i--)
		a->ids[i].id = a->ids[i - 1].id;
	a->ids[at].id = *id;
}

static void put_ids(const struct request *r, struct adopted *a)
{
	struct view name = view_str(r->app->session.cookie), header = r->facts.cookie, value, text;
	char space[SESS_KEY_MAX];
	struct sess_id id;

	for (unsigned i = 0; i < COOKIES_MAX && sess_cookie_next(&header, name, &value); i++) {
		if (a->count == IDS_MAX || !sess_key_of_cookie(format_of(r), value, space, &text))
			continue;
		id_of_text(r, text, &id);
		put_id(a, &id);
	}
}

/* --- before the backend --- */

/* Any thread. */
static void claim_is_granted(struct claim *c)
{
	struct request *r = CONTAINER_OF(c, struct adopted_id, claim)->request;

	net_loop_post(&r->worker->loop, &r->grant);
}

static enum keeper_open await_grant(struct request *r)
{
	r->awaits_grant = true;
	return KEEPER_WAIT;
}

static enum keeper_open claim_all(struct request *r, struct adopted *a)
{
	for (; a->claimed < a->count; a->claimed++) {
		struct adopted_id *at = &a->ids[a->claimed];
		enum claim_take take = claim_take(claims_of(r), &at->id, is_exclusive(r), &at->claim);
		if (take == CLAIM_WAITS)
			return await_grant(r);
		if (take == CLAIM_NO_MEMORY)
			return KEEPER_UNAVAILABLE;
	}
	return KEEPER_READY;
}

/* To be in memory is all that is wanted of it: an adopted session is not prolonged by requests. */
static enum keeper_open open_all(struct request *r, struct adopted *a)
{
	uint16_t app = r->share->generation->stack_apps[r->app - r->share->generation->conf->apps];

	for (; a->opened < a->count; a->opened++) {
		struct adopted_id *at = &a->ids[a->opened];
		enum sess_open open =
		    stack_open(stack_of(r), app, &at->id, SESS_LOCK_NONE, &r->waiter, now_of(r), &at->hold);
		at->hold.fixed = true;
		if (open == SESS_QUEUED)
			return await_grant(r);
		if (open == SESS_UNAVAILABLE)
			return KEEPER_UNAVAILABLE;
	}
	return KEEPER_READY;
}

static enum keeper_open go_on(struct request *r)
{
	enum keeper_open open = claim_all(r, r->adopted);

	return open == KEEPER_READY ? open_all(r, r->adopted) : open;
}

static enum keeper_open adopted_open(struct request *r)
{
	struct adopted *a = calloc(1, sizeof *a);

	r->adopted = a;
	if (!a)
		return KEEPER_UNAVAILABLE;
	put_ids(r, a);
	for (unsigned i = 0; i < a->count; i++) {
		a->ids[i].request = r;
		a->ids[i].claim.granted = claim_is_granted;
	}
	return go_on(r);
}

/* Takes the grant that has arrived. False: nobody can say whether there is such a session. */
static bool take_grant(struct request *r, struct adopted *a)
{
	enum sess_open open = SESS_OPENED;

	r->awaits_grant = false;
	if (a->claimed < a->count) {
		claim_granted(claims_of(r), &a->ids[a->claimed++].claim);
	} else {
		open = stack_granted(stack_of(r), &r->waiter, &a->ids[a->opened].hold);
		a->opened++;
	}
	return open != SESS_UNAVAILABLE;
}

static enum keeper_open adopted_granted(struct request *r)
{
	return take_grant(r, r->adopted) ? go_on(r) : KEEPER_UNAVAILABLE;
}

/* --- the end --- */

/* Lets all go that it has, and then itself, unless a grant is on its way. */
static void let_go(struct request *r)
{
	struct adopted *a = r->adopted;

	for (unsigned i = 0; i < a->opened; i++)
		stack_close(stack_of(r), &a->ids[i].hold, now_of(r));
	for (unsigned i = 0; i < a->claimed; i++)
		claim_release(claims_of(r), &a->ids[i].claim);
	claim_release(claims_of(r), &a->fresh);
	if (r->awaits_grant)
		return;
	free(a);
	r->adopted = NULL;
}

static void adopted_grant_back(struct request *r)
{
	(void)take_grant(r, r->adopted);
	let_go(r);
}

static void adopted_close(struct request *r)
{
	struct adopted *a = r->adopted;

	if (!a)
		return;
	if (r->awaits_grant && a->claimed < a->count)
		r->awaits_grant = !claim_cancel(claims_of(r), &a->ids[a->claimed].claim);
	else if (r->awaits_grant)
		r->awaits_grant = !stack_cancel(stack_of(r), &r->waiter, &a->ids[a->opened].hold);
	let_go(r);
}

static void adopted_count(struct request *r)
{
	struct metrics *m = &r->worker->metrics;
	bool live = false;

	for (unsigned i = 0; r->adopted && i < r->adopted->opened; i++)
		live = live || r->adopted->ids[i].hold.session;
	metrics_add(live ? &m->session_live : &m->session_none, 1);
}

/* --- the answer --- */

/* A request that comes with the new cookie while this one still runs waits for it, like one with the old. Nobody waits
 * in the middle of an answer: where somebody has that id already he keeps it. False then, and where there is none. */
static bool claim_fresh(struct request *r, struct view head)
{
	struct adopted *a = r->adopted;
	char space[SESS_KEY_MAX];
	struct sess_id id;
	struct view text;

	if (!sess_key_of_answer(format_of(r), head, view_str(r->app->session.cookie), space, &text))
		return false;
	id_of_text(r, text, &id);
	for (unsigned i = 0; i < a->count; i++) {
		if (sess_id_eq(&a->ids[i].id, &id))
			return false;
	}
	return claim_try(claims_of(r), &id, is_exclusive(r), &a->fresh);
}

static unsigned adopted_answer(struct request *r, struct view head, struct buf *out, const char **reason)
{
	unsigned status = keeper_copy_head(head, out, reason);

	if (status || r->stateless)
		return status;
	(void)claim_fresh(r, head);
	if (!r->read_only)
		tail_begin(&r->tail, r->facts.method, head);
	return 0;
}

static void adopted_params(const struct request *r, struct keeper_params *out)
{
	keeper_none.params(r, out);
}

const struct keeper keeper_adopted = {
    .open = adopted_open,
    .granted = adopted_granted,
    .grant_back = adopted_grant_back,
    .count = adopted_count,
    .close = adopted_close,
    .params = adopted_params,
    .answer = adopted_answer,
};
