/* The stack as requests see it: memory at once, and mails to the stack's thread for the rest. */
#include "session/stack.h"

#include "base/error.h"
#include "base/invariant.h"
#include "base/log.h"
#include "base/thread.h"
#include "session/below.h"
#include "session/carry.h"
#include "session/stack_state.h"

#include <stdlib.h>

enum {
	ROOM_EXTRA_BYTES = 256, /* bytes of a session besides its state, with some to spare */
};

/* --- beginning and end --- */

static int make_parts(struct stack *s, const struct stack_options *o, const struct sess_keys *keys, struct instant now)
{
	struct sess_table_options to = {.max_bytes = o->memory_max, .wall = o->wall, .has_below = o->below != NULL};

	s->table = sess_table_new(&to, keys, now);
	s->dir = strdup(o->store.dir ? o->store.dir : "");
	return s->table && s->dir ? 0 : ERR_NO_MEMORY;
}

static struct stack_settings settings_of(const struct stack *s, const struct stack_options *o)
{
	struct stack_settings set = {
	    .max_pinned = o->max_pinned, .evict = o->evict, .limits = o->evict_limits, .store = o->store};

	set.store.dir = s->dir;
	return set;
}

static void wake_thread(void *arg)
{
	struct stack *s = arg;

	pthread_mutex_lock(&s->wake_lock);
	s->awake = true;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->wake_lock);
}

void stack_wake(struct stack *s)
{
	wake_thread(s);
}

struct stack *stack_new(const struct stack_options *o, const struct sess_keys *keys, struct instant now)
{
	struct stack *s = calloc(1, sizeof *s);
	pthread_condattr_t monotonic;

	if (!s)
		return NULL;
	s->keys = *keys;
	s->below = o->below;
	s->may_expire = o->may_expire;
	s->arg = o->arg;
	pthread_mutex_init(&s->lock, NULL);
	pthread_mutex_init(&s->wake_lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&s->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	mailbox_init(&s->inbox, wake_thread, s);
	list_init(&s->room);
	list_init(&s->forgotten);
	list_init(&s->jobs);
	buf_init(&s->space, 0);
	s->stats.below = o->below ? STACK_BELOW_OPENING : STACK_BELOW_NONE;
	atomic_init(&s->usable, o->below != NULL);
	if (make_parts(s, o, keys, now)) {
		stack_free(&s);
		return NULL;
	}
	s->settings = s->now_settings = settings_of(s, o);
	return s;
}

int stack_start(struct stack *s)
{
	INVARIANT(!s->running);
	int err = thread_start(&s->thread, mover_run, s);
	s->running = err == 0;
	return err;
}

void stack_set(struct stack *s, const struct stack_options *o)
{
	pthread_mutex_lock(&s->lock);
	s->settings = settings_of(s, o);
	s->settings_changed = true;
	pthread_mutex_unlock(&s->lock);
	sess_table_set_max(s->table, o->memory_max);
	wake_thread(s);
}

static void deliver_stop(struct mail *mail)
{
	CONTAINER_OF(mail, struct stack, stop_mail)->stopping = true;
}

void stack_stop(struct stack *s, bool demote, void (*done)(void *), void *arg)
{
	s->stop_demote = demote;
	s->stopped = done;
	s->stopped_arg = arg;
	pthread_mutex_lock(&s->lock);
	s->ending = true;
	pthread_mutex_unlock(&s->lock);
	if (!s->running) {
		mailbox_deliver(&s->inbox);
		operate_give_up(s);
		done(arg);
		return;
	}
	list_init(&s->stop_mail.link);
	s->stop_mail.deliver = deliver_stop;
	mailbox_post(&s->inbox, &s->stop_mail);
}

void stack_hurry(struct stack *s)
{
	atomic_store(&s->hurry, true);
}

void stack_free(struct stack **stack)
{
	struct stack *s = *stack;

	*stack = NULL;
	if (!s)
		return;
	if (s->running)
		pthread_join(s->thread, NULL);
	INVARIANT(s->store == NULL);
	INVARIANT(list_empty(&s->room));
	sess_table_free(&s->table);
	mailbox_fini(&s->inbox);
	buf_fini(&s->space);
	for (uint32_t i = 0; i < s->app_count; i++)
		free(s->apps[i]);
	free(s->apps);
	free(s->dir);
	pthread_cond_destroy(&s->wake);
	pthread_mutex_destroy(&s->wake_lock);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

/* --- apps --- */

static int add_app(struct stack *s, const char *name)
{
	if (s->app_count == UINT16_MAX)
		return ERR_FULL;
	char *copy = strdup(name);
	char **apps = copy ? realloc(s->apps, (s->app_count + 1) * sizeof *apps) : NULL;
	if (!apps) {
		free(copy);
		return ERR_NO_MEMORY;
	}
	apps[s->app_count++] = copy;
	s->apps = apps;
	return 0;
}

int stack_app(struct stack *s, const char *name, uint16_t *out)
{
	int err = 0;
	uint32_t i = 0;

	pthread_mutex_lock(&s->lock);
	while (i < s->app_count && strcmp(s->apps[i], name) != 0)
		i++;
	if (i == s->app_count)
		err = add_app(s, name);
	pthread_mutex_unlock(&s->lock);
	if (!err)
		*out = (uint16_t)i;
	return err;
}

const char *stack_app_name(struct stack *s, uint16_t app)
{
	pthread_mutex_lock(&s->lock);
	INVARIANT(app < s->app_count);
	const char *name = s->apps[app];
	pthread_mutex_unlock(&s->lock);
	return name;
}

/* --- requests --- */

static void deliver_fetch(struct mail *mail)
{
	struct stack_fetch *f = CONTAINER_OF(mail, struct stack_fetch, mail);

	carry_fetch(f->stack, &f->id);
	free(f);
}

static void post_fetch(struct stack *s, const struct sess_id *id)
{
	struct stack_fetch *f = malloc(sizeof *f);

	if (!f) {
		sess_table_fail(s->table, id, SESS_UNAVAILABLE);
		return;
	}
	list_init(&f->mail.link);
	f->mail.deliver = deliver_fetch;
	f->stack = s;
	f->id = *id;
	mailbox_post(&s->inbox, &f->mail);
}

enum sess_open stack_open(struct stack *s, uint16_t app, const struct sess_id *id, enum sess_lock lock,
			  struct sess_waiter *w, struct instant now, struct sess_hold *h)
{
	enum sess_open result = sess_table_open(s->table, app, id, lock, w, now, h);

	if (result == SESS_QUEUED && h->fetch)
		post_fetch(s, id);
	return result;
}

enum sess_open stack_granted(struct stack *s, struct sess_waiter *w, struct sess_hold *h)
{
	return sess_table_granted(s->table, w, h);
}

bool stack_cancel(struct stack *s, struct sess_waiter *w, struct sess_hold *h)
{
	return sess_table_cancel(s->table, w, h);
}

void stack_read(struct stack *s, const struct sess_hold *h, struct sess_snapshot *out)
{
	sess_table_read(s->table, h, out);
}

void stack_close(struct stack *s, struct sess_hold *h, struct instant now)
{
	sess_table_close(s->table, h, now);
}

/* Memory has grown: the thread is told once when it is nearly full. */
static void look_at_room(struct stack *s)
{
	if (!s->below || !sess_table_tight(s->table, HIGH_PERCENT))
		return;
	if (!atomic_exchange_explicit(&s->nudged, true, memory_order_relaxed))
		wake_thread(s);
}

static void deliver_forget(struct mail *mail)
{
	struct stack_forget *f = CONTAINER_OF(mail, struct stack_forget, mail);

	below_forget(f->stack, f);
}

static void post_forget(struct stack *s, struct stack_forget *f, const struct sess_id *id, struct stack_wait *wait)
{
	list_init(&f->mail.link);
	f->mail.deliver = deliver_forget;
	f->stack = s;
	f->id = *id;
	f->wait = wait;
	if (wait)
		wait->forget = f;
	mailbox_post(&s->inbox, &f->mail);
}

int stack_commit(struct stack *s, struct sess_hold *h, const struct sess_commit *c, const struct sess_id *fresh_id,
		 struct instant now, struct stack_wait *wait, struct sess_outcome *out)
{
	struct stack_forget *f = NULL;

	if (s->below && (c->end || c->renew)) {
		f = malloc(sizeof *f);
		if (!f)
			return ERR_NO_MEMORY;
	}
	int err = sess_table_commit(s->table, h, c, fresh_id, now, out);
	if (!err && f && out->forget) {
		post_forget(s, f, &out->forget_id, wait);
		return STACK_WAITS;
	}
	free(f);
	look_at_room(s);
	return err;
}

bool stack_cancel_safe(struct stack *s, struct stack_wait *wait)
{
	pthread_mutex_lock(&s->lock);
	struct stack_forget *f = wait->forget;
	if (f)
		f->wait = NULL;
	wait->forget = NULL;
	pthread_mutex_unlock(&s->lock);
	return f != NULL;
}

int stack_create(struct stack *s, uint16_t app, const struct sess_commit *c, uint32_t ttl_s, const struct sess_id *id,
		 struct instant now)
{
	int err = sess_table_create(s->table, app, c, ttl_s, id, now);

	look_at_room(s);
	return err;
}

enum sess_open stack_peek(struct stack *s, uint16_t app, const struct sess_id *id, struct instant now,
			  struct sess_peek *out)
{
	return sess_table_peek(s->table, app, id, now, out);
}

int stack_write(struct stack *s, uint16_t app, const struct sess_id *id, const struct sess_write *w, struct instant now,
		struct sess_state **before)
{
	int result = sess_table_write(s->table, app, id, w, now, before);

	look_at_room(s);
	return result;
}

int stack_await_gone(struct stack *s, const struct sess_id *id, struct stack_wait *wait)
{
	struct stack_forget *f = malloc(sizeof *f);

	if (!f)
		return ERR_NO_MEMORY;
	post_forget(s, f, id, wait);
	return 0;
}

/* Why nothing will leave memory, whoever needs room there; NULL: something may. Under the lock. */
static const char *why_no_room(const struct stack *s)
{
	if (!s->below)
		return "there is no disk store";
	if (!s->settings.evict->relieves)
		return "nothing moves to disk";
	if (!atomic_load(&s->usable))
		return s->stats.below == STACK_BELOW_FULL ? "the disk store is full" : "the disk store does not work";
	return NULL;
}

void stack_say_full(struct stack *s)
{
	if (atomic_exchange(&s->full, true))
		return;
	pthread_mutex_lock(&s->lock);
	const char *why = why_no_room(s), *evict = s->settings.evict->name;
	pthread_mutex_unlock(&s->lock);
	log_event(LOG_ERROR, "memory_full", LOG_I("max", sess_table_max(s->table)), LOG_S("evict", evict),
		  LOG_S("reason", why ? why : "all that is there is in use or pinned"));
}

bool stack_await_room(struct stack *s, struct stack_wait *wait, uint64_t bytes)
{
	if (bytes + ROOM_EXTRA_BYTES > sess_table_max(s->table))
		return false;
	pthread_mutex_lock(&s->lock);
	bool hope = !why_no_room(s);
	if (hope) {
		wait->queued = true;
		wait->lacks_bytes = bytes + ROOM_EXTRA_BYTES;
		/* Whether room came between the refusal and this call nobody knows: the first wait is a short one. */
		wait->tried_bytes = wait->tried_bytes == 0 ? UINT64_MAX : sess_table_bytes(s->table);
		list_append(&s->room, &wait->link);
		s->stats.room_waits++;
	}
	pthread_mutex_unlock(&s->lock);
	if (hope)
		wake_thread(s);
	else
		stack_say_full(s);
	return hope;
}

bool stack_cancel_room(struct stack *s, struct stack_wait *wait)
{
	pthread_mutex_lock(&s->lock);
	bool queued = wait->queued;
	if (queued) {
		list_remove(&wait->link);
		wait->queued = false;
	}
	pthread_mutex_unlock(&s->lock);
	return queued;
}

bool stack_expire(struct stack *s, uint32_t part, uint32_t of, uint32_t max, struct instant now)
{
	uint32_t shards = sess_table_shards(s->table);
	uint32_t each = max * of / shards + 1;
	bool more = false;

	for (uint32_t i = part; i < shards; i += of)
		more = sess_table_expire(s->table, i, each, now) || more;
	return more;
}

/* --- to look at --- */

void stack_stats(struct stack *s, struct stack_stats *out)
{
	struct sess_table_stats t;

	sess_table_stats(s->table, &t);
	pthread_mutex_lock(&s->lock);
	*out = s->stats;
	out->pinned_max_bytes = s->settings.max_pinned;
	if (s->below)
		out->below_max_bytes = s->settings.store.max_bytes;
	pthread_mutex_unlock(&s->lock);
	out->sessions = t.sessions;
	out->bytes = t.bytes;
	out->max_bytes = t.max_bytes;
	out->waiters = t.waiters;
	out->pinned = t.pinned;
	out->pinned_bytes = t.pinned_bytes;
	out->both = t.both;
	out->created = t.created;
	out->ended = t.ended;
	out->expired = t.expired;
	out->renewed = t.renewed;
}

const char *stack_below_text(enum stack_below b)
{
	static const char *const texts[] = {"none", "opening", "ready", "full", "broken"};

	INVARIANT(b <= STACK_BELOW_BROKEN);
	return texts[b];
}

void stack_check(struct stack *s)
{
	sess_table_check(s->table);
}
