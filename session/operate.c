/* What operators ask of sessions (session/operate.h). Jobs come by mail; each turn of the stack's thread does a bounded
 * piece of one of them, so that requests do not wait for an operator who looks at millions of sessions. */
#include "session/operate.h"

#include "base/error.h"
#include "base/invariant.h"
#include "session/below.h"
#include "session/carry.h"
#include "session/key.h"
#include "session/stack_state.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* One piece; of it under the lock of a shard. Records are read as a whole, so that below the bytes count too. */
enum { LOOK_MEMORY = 20000, LOOK_LOCKED = 500, LOOK_BELOW = 4000, LOOK_BELOW_BYTES = 8 << 20 };

/* The job goes on in the next turn. Any other answer is its result. */
enum { AGAIN = 1 };

/* --- what is told of a session --- */

static void put_name(const struct stack *s, const struct sess_id *id, struct stack_info *out)
{
	sess_id_name(&s->keys, id, out->name);
	out->name[SESS_NAME_TEXT] = '\0';
}

/* Without its name, which most of those that a walk meets do not need. */
static struct stack_info info_of_view(const struct sess_view *v)
{
	return (struct stack_info){
	    .app = v->app,
	    .where = STACK_IN_MEMORY,
	    .version = v->version,
	    .state_bytes = v->state ? v->state->len : 0,
	    .created_s = v->created_s,
	    .used_s = v->used_s,
	    .ttl_s = v->ttl_s,
	    .busy = v->busy,
	    .pinned = v->pinned,
	    .fresh = v->fresh,
	    .waiters = v->waiters,
	};
}

static int info_of_record(struct stack *s, const struct sess_record *r, struct stack_info *out)
{
	struct stack_info info = {
	    .where = STACK_BELOW,
	    .version = r->version,
	    .state_bytes = r->state.len,
	    .created_s = r->created_s,
	    .used_s = r->used_s,
	    .ttl_s = r->ttl_s,
	    .pinned = r->pinned,
	    .fresh = r->fresh,
	};
	int err = carry_app(s, r, &info.app);

	put_name(s, &r->id, &info);
	if (!err)
		*out = info;
	return err;
}

static struct stack_info info_of_unreadable(const struct stack *s, const struct sess_id *id, int err)
{
	struct stack_info info = {.where = STACK_BELOW, .err = err};

	put_name(s, id, &info);
	return info;
}

static int tell_memory(struct stack *s, struct stack_job *j)
{
	struct sess_view v;
	int err = sess_table_look(s->table, &j->place.id, &v);

	if (err)
		return err;
	j->at[0] = info_of_view(&v);
	put_name(s, &v.id, &j->at[0]);
	j->count = 1;
	if (j->op == STACK_SHOW)
		j->state = v.state;
	else
		sess_state_unref(v.state);
	return 0;
}

static int tell_below(struct stack *s, struct stack_job *j)
{
	struct sess_record r;
	int err = below_read(s, &j->place.id, &r);

	if (err == ERR_MALFORMED || err == ERR_VERSION) {
		j->at[0] = info_of_unreadable(s, &j->place.id, err);
		j->count = 1;
		return 0;
	}
	if (!err)
		err = info_of_record(s, &r, &j->at[0]);
	if (!err && j->op == STACK_SHOW && r.state.len > 0) {
		j->state = sess_state_new(r.state);
		err = j->state ? 0 : ERR_NO_MEMORY;
	}
	j->count = !err;
	return err;
}

static int tell(struct stack *s, struct stack_job *j)
{
	int err = tell_memory(s, j);

	return err ? tell_below(s, j) : 0;
}

/* --- walks over all sessions, a piece at a time --- */

/* Memory, until `max` sessions or more were visited or a shard has come to its end. */
static void walk_memory(struct stack *s, struct stack_job *j, uint32_t max,
			void (*visit)(void *, const struct sess_view *))
{
	struct stack_place *p = &j->place;

	if (sess_table_walk(s->table, p->shard, &p->bucket, max, visit, j))
		return;
	p->shard++;
	p->below = p->shard == sess_table_shards(s->table);
}

/* The visitor of a walk below has seen the session. False: this was enough for one turn. */
static bool pass(struct stack_place *p, const struct sess_record *r)
{
	p->id = r->id;
	p->begun = true;
	p->looked++;
	p->looked_bytes += r->state.len;
	p->stopped = p->looked == LOOK_BELOW || p->looked_bytes >= LOOK_BELOW_BYTES;
	return !p->stopped;
}

/* The store below. Afterwards `stopped` says that there may be more. */
static int walk_below(struct stack *s, struct stack_job *j, store_visit *visit)
{
	struct stack_place *p = &j->place;
	struct sess_id after = p->id;

	p->stopped = false;
	p->looked = 0;
	p->looked_bytes = 0;
	if (!s->store)
		return s->below ? ERR_BROKEN : 0;
	return below_result(s, s->below->scan(s->store, p->begun ? &after : NULL, visit, j));
}

/* --- a page --- */

static unsigned is_what(const struct stack_info *i)
{
	if (i->err)
		return STACK_IS_UNREADABLE;
	return (i->busy ? STACK_IS_BUSY : STACK_IS_IDLE) | (i->waiters > 0 ? STACK_IS_WAITING : 0u) |
	       (i->pinned ? STACK_IS_PINNED : 0u) | (i->fresh ? STACK_IS_FRESH : 0u);
}

/* Whether the filters let it through. What has expired is gone, also where nobody has swept yet. Of what cannot be read
 * nobody knows whose it is, and since when. */
static bool matches(const struct stack_job *j, const struct stack_info *i)
{
	uint32_t now_s = j->place.now_s;
	uint32_t unused_s = !i->busy && now_s > i->used_s ? now_s - i->used_s : 0;

	if (j->is & ~is_what(i))
		return false;
	if (i->err)
		return j->any_app && !j->older_s && !j->younger_s;
	if (!i->busy && (uint64_t)i->used_s + i->ttl_s <= now_s)
		return false;
	return (j->any_app || i->app == j->app) && unused_s >= j->older_s &&
	       (j->younger_s == 0 || unused_s <= j->younger_s);
}

/* Nobody looks where there can be none. */
static enum stack_where where_of(const struct stack_job *j)
{
	if (j->where != STACK_ANYWHERE)
		return j->where;
	if (j->is & (STACK_IS_BUSY | STACK_IS_WAITING))
		return STACK_IN_MEMORY;
	return j->is & STACK_IS_UNREADABLE ? STACK_BELOW : STACK_ANYWHERE;
}

/* Counts on where there is no place left: list_bucket() sees to it. */
static void list_view(void *arg, const struct sess_view *v)
{
	struct stack_job *j = arg;
	struct stack_place *p = &j->place;
	struct stack_info info = info_of_view(v);

	p->looked++;
	if (!matches(j, &info))
		return;
	if (j->count < p->places) {
		j->at[j->count] = info;
		put_name(p->stack, &v->id, &j->at[j->count]);
		if (j->with_states && v->state)
			j->at[j->count].state = sess_state_ref(v->state);
	}
	j->count++;
}

/* What was told of the last ones is taken back. */
static void shorten(struct stack_job *j, size_t count)
{
	for (size_t i = count; i < j->count && i < j->place.places; i++)
		sess_state_unref(j->at[i].state);
	j->count = count;
}

static int reserve(struct stack_job *j, size_t places)
{
	struct stack_info *at = realloc(j->at, places * sizeof *at);

	if (!at)
		return ERR_NO_MEMORY;
	j->at = at;
	j->place.places = places;
	return 0;
}

/* One bucket of memory. Buckets are never torn, or the next page would not know what of one was told: one that has no
 * room on the page begins the next one, and the page has room for a whole one at least. True in *full: go back. */
static int list_bucket(struct stack *s, struct stack_job *j, bool *full)
{
	struct stack_place before = j->place;
	size_t count = j->count;

	walk_memory(s, j, 1, list_view);
	if (j->count <= j->place.places)
		return 0;
	size_t needs = j->count - count;
	shorten(j, count);
	before.looked = j->place.looked;
	j->place = before;
	*full = count > 0;
	return *full ? 0 : reserve(j, needs);
}

static bool is_in_memory(struct stack *s, const struct sess_id *id)
{
	struct sess_view v;

	if (sess_table_look(s->table, id, &v))
		return false;
	sess_state_unref(v.state);
	return true;
}

/* As much as a key and its length need. */
static struct view beginning_of(struct view state)
{
	return view_take(&state, SESS_KEY_HEAD_BYTES + SESS_KEY_MAX);
}

static bool list_record(void *arg, const struct sess_record *r, int err)
{
	struct stack_job *j = arg;
	struct stack_place *p = &j->place;
	struct sess_record own = *r;
	struct stack_info info;

	if (j->count == p->places) {
		p->stopped = true;
		return false;
	}
	bool more = pass(p, r);
	if (is_in_memory(p->stack, &r->id) || sess_table_owes(p->stack->table, &r->id))
		return more;
	below_from_record(p->stack, &own);
	if (err)
		info = info_of_unreadable(p->stack, &r->id, err);
	else if (info_of_record(p->stack, &own, &info))
		return more;
	if (!matches(j, &info))
		return more;
	if (j->with_states && !err)
		info.state = sess_state_new(beginning_of(r->state));
	j->at[j->count++] = info;
	return more;
}

static void put_cursor(struct stack_job *j)
{
	const struct stack_place *p = &j->place;
	size_t len;

	if (!p->below) {
		snprintf(j->cursor, sizeof j->cursor, "m:%" PRIu32 ":%" PRIu32, p->shard, p->bucket);
		return;
	}
	len = (size_t)snprintf(j->cursor, sizeof j->cursor, "d:");
	for (unsigned i = 0; i < SESS_ID_BYTES && p->begun; i++, len += 2)
		snprintf(j->cursor + len, sizeof j->cursor - len, "%02x", p->id.bytes[i]);
}

static bool hex_digit(char c, uint8_t *out)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = c ? strchr(digits, c) : NULL;

	if (at)
		*out = (uint8_t)(at - digits);
	return at != NULL;
}

static bool parse_id(struct view text, struct sess_id *out)
{
	uint8_t high, low;

	if (text.len != 2 * SESS_ID_BYTES)
		return false;
	for (unsigned i = 0; i < SESS_ID_BYTES; i++) {
		if (!hex_digit((char)text.at[2 * i], &high) || !hex_digit((char)text.at[2 * i + 1], &low))
			return false;
		out->bytes[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

static bool parse_bucket(struct view text, uint32_t shards, struct stack_place *out)
{
	const uint8_t *colon = text.len ? memchr(text.at, ':', text.len) : NULL;
	uint64_t shard, bucket;

	if (!colon)
		return false;
	struct view first = view_take(&text, (size_t)(colon - text.at));
	(void)view_take(&text, 1);
	if (!view_to_u64(first, shards - 1, &shard) || !view_to_u64(text, UINT32_MAX, &bucket))
		return false;
	out->shard = (uint32_t)shard;
	out->bucket = (uint32_t)bucket;
	return true;
}

/* Where the page begins. */
static int parse_cursor(struct stack *s, struct stack_job *j)
{
	struct view text = view_of(j->cursor, strnlen(j->cursor, sizeof j->cursor));
	struct stack_place *p = &j->place;

	p->below = p->where == STACK_BELOW;
	if (text.len == 0)
		return 0;
	bool memory = view_starts(text, VIEW("m:")), below = view_starts(text, VIEW("d:"));
	(void)view_take(&text, 2);
	if (memory && p->where != STACK_BELOW)
		return parse_bucket(text, sess_table_shards(s->table), p) ? 0 : ERR_CONFIG;
	p->below = true;
	p->begun = text.len > 0;
	return below && p->where != STACK_IN_MEMORY && (!p->begun || parse_id(text, &p->id)) ? 0 : ERR_CONFIG;
}

static int list(struct stack *s, struct stack_job *j)
{
	struct stack_place *p = &j->place;
	bool full = false;
	int err = 0;

	while (!err && !full && !p->below && j->count < p->places && p->looked < LOOK_MEMORY)
		err = list_bucket(s, j, &full);
	if (err)
		return err;
	bool goes_below = s->below && p->where != STACK_IN_MEMORY;
	j->more = !p->below || goes_below;
	if (p->below && goes_below && j->count < p->places) {
		err = walk_below(s, j, list_record);
		j->more = err || p->stopped;
		/* What there is of memory is told first. */
		err = j->count > 0 ? 0 : err;
	}
	if (!err && j->more)
		put_cursor(j);
	return err;
}

/* --- which session: at once by the value of its cookie, or by a search for its name --- */

static bool has_name(const struct stack_job *j, const struct sess_id *id)
{
	char name[SESS_NAME_TEXT];

	sess_id_name(&j->place.stack->keys, id, name);
	return memcmp(name, j->key, sizeof name) == 0;
}

static int parse_key(struct stack *s, struct stack_job *j)
{
	size_t len = strnlen(j->key, sizeof j->key);

	j->place.found = len == SESS_ID_TEXT && sess_id_decode(&s->keys, view_of(j->key, len), &j->place.id);
	if (j->place.found)
		return 0;
	return len == SESS_NAME_TEXT && strspn(j->key, "0123456789abcdef") == len ? 0 : ERR_CONFIG;
}

static void compare_view(void *arg, const struct sess_view *v)
{
	struct stack_job *j = arg;

	j->place.looked++;
	if (j->place.found || !has_name(j, &v->id))
		return;
	j->place.found = true;
	j->place.id = v->id;
}

static bool compare_record(void *arg, const struct sess_record *r, int err)
{
	struct stack_job *j = arg;

	(void)err;
	bool more = pass(&j->place, r);
	j->place.found = has_name(j, &r->id);
	return more && !j->place.found;
}

/* A session that moves while it is searched for is met all the same: what leaves memory before the search has come to
 * it is below by the time that the search is, and what comes up from below stays there too. */
static int find(struct stack *s, struct stack_job *j)
{
	struct stack_place *p = &j->place;

	p->looked = 0;
	while (!p->found && !p->below && p->looked < LOOK_MEMORY)
		walk_memory(s, j, LOOK_LOCKED, compare_view);
	if (p->found)
		return 0;
	if (!p->below)
		return AGAIN;
	int err = walk_below(s, j, compare_record);
	if (err || p->found)
		return err;
	return p->stopped ? AGAIN : ERR_GONE;
}

/* --- what is done to one session --- */

static int promote(struct stack *s, struct stack_job *j)
{
	if (is_in_memory(s, &j->place.id))
		return 0;
	int err = carry_up(s, &j->place.id);
	/* A request has asked for it, and its mail is on its way. */
	if (err == ERR_BUSY && !j->place.retried) {
		j->place.retried = true;
		return AGAIN;
	}
	return err;
}

static int pin(struct stack *s, struct stack_job *j)
{
	int err = promote(s, j);

	if (err)
		return err;
	if (j->op == STACK_UNPIN)
		return sess_table_unpin(s->table, &j->place.id);
	return sess_table_pin(s->table, &j->place.id, s->now_settings.max_pinned);
}

static int demote(struct stack *s, struct stack_job *j)
{
	int err = s->below ? tell(s, j) : ERR_REFUSED;

	if (!err && j->at[0].where == STACK_IN_MEMORY)
		err = carry_down(s, &j->place.id);
	return err;
}

static int end(struct stack *s, struct stack_job *j)
{
	int err = tell(s, j);

	if (!err && j->ends)
		err = j->ends(j);
	return err ? err : below_end(s, &j->place.id);
}

static int run_one(struct stack *s, struct stack_job *j)
{
	int err = j->place.found ? 0 : find(s, j);

	if (err)
		return err;
	switch (j->op) {
	case STACK_END:
		return end(s, j);
	case STACK_PIN:
	case STACK_UNPIN:
		err = pin(s, j);
		break;
	case STACK_DEMOTE:
		err = demote(s, j);
		break;
	case STACK_PROMOTE:
		err = promote(s, j);
		break;
	default:
		break;
	}
	return err ? err : tell(s, j);
}

/* What is used from now on stays: otherwise a busy app's would never come to an end. */
static int demote_app(struct stack *s, struct stack_job *j)
{
	struct stack_place *p = &j->place;
	struct sess_reason why = {.one_app = true, .app = j->app, .used_until_s = p->now_s + 1};
	uint64_t left = 0;
	int err = s->below ? carry_down_next(s, &why, &p->shard, &p->bucket, &left) : ERR_REFUSED;

	j->count += left;
	return !err && p->shard < sess_table_shards(s->table) ? AGAIN : err;
}

/* --- jobs --- */

static int begin(struct stack *s, struct stack_job *j)
{
	j->place = (struct stack_place){.stack = s, .now_s = sess_table_now_s(s->table, clock_now())};
	switch (j->op) {
	case STACK_LIST:
		j->place.where = where_of(j);
		if (j->max < 1 || j->max > STACK_PAGE_MAX || parse_cursor(s, j))
			return ERR_CONFIG;
		return reserve(j, j->max);
	case STACK_DEMOTE_APP:
		return 0;
	default:
		return parse_key(s, j) ? ERR_CONFIG : reserve(j, 1);
	}
}

static int run(struct stack *s, struct stack_job *j)
{
	switch (j->op) {
	case STACK_LIST:
		return list(s, j);
	case STACK_DEMOTE_APP:
		return demote_app(s, j);
	default:
		return run_one(s, j);
	}
}

static void finish(struct stack_job *j, int err)
{
	j->err = err;
	if (err && j->op != STACK_DEMOTE_APP && j->op != STACK_END)
		j->count = 0;
	j->done(j);
}

static struct stack_job *job_of(struct list *link)
{
	return CONTAINER_OF(CONTAINER_OF(link, struct mail, link), struct stack_job, mail);
}

static void deliver_job(struct mail *mail)
{
	struct stack_job *j = CONTAINER_OF(mail, struct stack_job, mail);
	struct stack *s = j->place.stack;
	int err = begin(s, j);

	if (err)
		finish(j, err);
	else
		list_append(&s->jobs, &mail->link);
}

bool operate_some(struct stack *s)
{
	struct list *link = list_pop(&s->jobs);

	if (!link)
		return false;
	int result = run(s, job_of(link));
	/* They take turns, so that a short one does not wait for a long one. */
	if (result == AGAIN)
		list_append(&s->jobs, link);
	else
		finish(job_of(link), result);
	return !list_empty(&s->jobs);
}

void operate_give_up(struct stack *s)
{
	struct list *link;

	while ((link = list_pop(&s->jobs)))
		finish(job_of(link), ERR_GONE);
}

void stack_submit(struct stack *s, struct stack_job *j)
{
	j->at = NULL;
	j->count = 0;
	j->state = NULL;
	j->more = false;
	j->place = (struct stack_place){.stack = s};
	list_init(&j->mail.link);
	j->mail.deliver = deliver_job;
	/* Posted under the lock: nothing comes behind the mail that stops the thread. */
	pthread_mutex_lock(&s->lock);
	bool open = !s->ending;
	if (open)
		mailbox_post(&s->inbox, &j->mail);
	pthread_mutex_unlock(&s->lock);
	if (!open)
		finish(j, ERR_GONE);
}

void stack_job_fini(struct stack_job *j)
{
	shorten(j, 0);
	free(j->at);
	sess_state_unref(j->state);
	j->at = NULL;
	j->state = NULL;
	j->count = 0;
}
