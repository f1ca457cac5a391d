/* What a command of the session socket can wait for (gateway/socket_state.h): a session that comes from below, the
 * store, a client's lock, a job of the stack's thread. Each wait ends by a mail to the worker, or by the timer. */
#include "gateway/socket_state.h"

#include "base/error.h"
#include "base/invariant.h"

#include <stdlib.h>

enum { MOMENT_MS = 10, PATIENCE_MIN_MS = 1000 };

static void begin(struct socket_client *c, enum socket_wait wait)
{
	INVARIANT(c->wait == SOCKET_WAIT_NONE);
	c->wait = wait;
}

static void over(struct socket_client *c)
{
	c->wait = SOCKET_WAIT_NONE;
	net_timer_stop(&c->worker->loop, &c->timer);
	socket_resume(c);
}

/* How long the command may still wait. */
static uint64_t patience_ms(struct socket_client *c)
{
	struct instant now = socket_now(c);

	uint64_t ms = socket_app(c)->session.lock_wait_ms;

	if (c->task.until.ms == 0)
		c->task.until = instant_add_ms(now, ms > PATIENCE_MIN_MS ? ms : PATIENCE_MIN_MS);
	return instant_before(now, c->task.until) ? instant_since_ms(c->task.until, now) : 0;
}

bool socket_patience_over(struct socket_client *c)
{
	return patience_ms(c) == 0;
}

/* --- a session --- */

static void learn(struct socket_client *c, enum sess_open found)
{
	c->task.absent = found == SESS_ABSENT || found == SESS_ENDED_NOW || found == SESS_RENEWED;
	c->task.unavailable = found == SESS_UNAVAILABLE;
	c->task.placed = c->waiter.placed;
}

/* Any thread. */
static void granted(struct sess_waiter *w)
{
	struct socket_client *c = CONTAINER_OF(w, struct socket_client, waiter);

	net_loop_post(&c->worker->loop, &c->grant);
}

static void on_grant(struct mail *mail)
{
	struct socket_client *c = CONTAINER_OF(mail, struct socket_client, grant);
	enum sess_open found = stack_granted(socket_stack(c), &c->waiter, &c->hold);

	c->awaits_grant = false;
	c->hold.fixed = true;
	if (c->state == SOCKET_CLOSED) {
		stack_close(socket_stack(c), &c->hold, socket_now(c));
		socket_zombie_mail(c);
		return;
	}
	learn(c, found);
	if (c->wait == SOCKET_WAIT_SESSION)
		over(c);
}

static enum sess_open known(const struct socket_client *c)
{
	if (c->hold.session)
		return SESS_OPENED;
	return c->task.unavailable ? SESS_UNAVAILABLE : SESS_ABSENT;
}

enum socket_result socket_open(struct socket_client *c, const struct sess_id *id, enum sess_open *found)
{
	if (c->hold.session || c->task.absent || c->task.unavailable) {
		*found = known(c);
		return SOCKET_DONE;
	}
	if (c->awaits_grant) /* of a command that had no more patience */
		return socket_await_moment(c);
	*found =
	    stack_open(socket_stack(c), socket_stack_app(c), id, SESS_LOCK_NONE, &c->waiter, socket_now(c), &c->hold);
	if (*found != SESS_QUEUED) {
		c->hold.fixed = true;
		learn(c, *found);
		*found = known(c);
		return SOCKET_DONE;
	}
	c->awaits_grant = true;
	begin(c, SOCKET_WAIT_SESSION);
	net_timer_start(&c->worker->loop, &c->timer, patience_ms(c));
	return SOCKET_WAITS;
}

void socket_let_go(struct socket_client *c)
{
	if (c->hold.session && !c->awaits_grant)
		stack_close(socket_stack(c), &c->hold, socket_now(c));
	c->task.absent = c->task.unavailable = c->task.ended = c->task.was = false;
}

/* --- the store --- */

/* The stack's thread. */
static void stored(struct stack_wait *w)
{
	struct socket_client *c = CONTAINER_OF(w, struct socket_client, store_wait);

	net_loop_post(&c->worker->loop, &c->stored);
}

static void on_stored(struct mail *mail)
{
	struct socket_client *c = CONTAINER_OF(mail, struct socket_client, stored);

	c->awaits_store = false;
	if (c->state == SOCKET_CLOSED)
		socket_zombie_mail(c);
	else if (c->wait == SOCKET_WAIT_STORE)
		over(c);
}

enum socket_result socket_await_store(struct socket_client *c)
{
	begin(c, SOCKET_WAIT_STORE);
	c->awaits_store = true;
	net_timer_start(&c->worker->loop, &c->timer, patience_ms(c));
	return SOCKET_WAITS;
}

enum socket_result socket_await_moment(struct socket_client *c)
{
	begin(c, SOCKET_WAIT_RETRY);
	net_timer_start(&c->worker->loop, &c->timer, MOMENT_MS);
	return SOCKET_WAITS;
}

/* --- a client's lock --- */

/* The thread that has freed it. */
static void woken(struct keylock_waiter *w)
{
	struct socket_client *c = CONTAINER_OF(w->owner, struct socket_client, locks);

	net_loop_post(&c->worker->loop, &c->woken);
}

static void on_woken(struct mail *mail)
{
	struct socket_client *c = CONTAINER_OF(mail, struct socket_client, woken);
	struct keylocks *locks = c->worker->gateway->keylocks;

	c->awaits_lock = false;
	keylock_woken(locks, c->parked);
	if (c->state == SOCKET_CLOSED) {
		keylock_drop(locks, &c->locks, socket_now(c));
		socket_zombie_mail(c);
		return;
	}
	c->task.parked = true;
	over(c);
}

/* Until the lock's time may be over, or the command's patience. */
static void start_lock_timer(struct socket_client *c, uint64_t look_ms)
{
	uint64_t ms = patience_ms(c);

	net_timer_start(&c->worker->loop, &c->timer, look_ms < ms ? look_ms : ms);
}

enum socket_result socket_await_lock(struct socket_client *c, bool *taken)
{
	uint64_t look_ms = UINT64_MAX;

	c->parked->owner = &c->locks;
	c->parked->woken = woken;
	*taken = keylock_park(c->worker->gateway->keylocks, c->parked, socket_now(c), &look_ms) == KEYLOCK_TAKEN;
	if (*taken || c->parked->state == KEYLOCK_IDLE)
		return SOCKET_DONE;
	c->awaits_lock = true;
	begin(c, SOCKET_WAIT_LOCK);
	start_lock_timer(c, look_ms);
	return SOCKET_WAITS;
}

void socket_give_up_lock(struct socket_client *c)
{
	if (!keylock_unpark(c->worker->gateway->keylocks, c->parked))
		return; /* it has it, and the mail is on its way */
	c->awaits_lock = false;
	c->task.timed_out = true;
	over(c);
}

static void on_lock_timer(struct socket_client *c)
{
	struct keylocks *locks = c->worker->gateway->keylocks;
	uint64_t look_ms = UINT64_MAX;

	keylock_look(locks, c->parked, socket_now(c), &look_ms);
	if (patience_ms(c) > 0)
		start_lock_timer(c, look_ms);
	else
		socket_give_up_lock(c);
}

/* --- a job --- */

/* The stack's thread. */
static void job_done(struct stack_job *j)
{
	struct socket_client *c = j->owner;

	net_loop_post(&c->worker->loop, &c->job_mail);
}

static void on_job(struct mail *mail)
{
	struct socket_client *c = CONTAINER_OF(mail, struct socket_client, job_mail);

	c->awaits_job = false;
	if (c->state == SOCKET_CLOSED) {
		socket_zombie_mail(c);
		return;
	}
	c->task.job_done = true;
	over(c);
}

enum socket_result socket_await_job(struct socket_client *c)
{
	c->job->owner = c;
	c->job->done = job_done;
	begin(c, SOCKET_WAIT_JOB);
	c->awaits_job = true;
	stack_submit(socket_stack(c), c->job);
	return SOCKET_WAITS;
}

/* --- the timer, and the end --- */

static void on_timer(struct net_timer *timer)
{
	struct socket_client *c = CONTAINER_OF(timer, struct socket_client, timer);

	switch (c->wait) {
	case SOCKET_WAIT_LOCK:
		on_lock_timer(c);
		break;
	case SOCKET_WAIT_SESSION:
		/* If the grant is on its way already, it comes in a moment. */
		if (!stack_cancel(socket_stack(c), &c->waiter, &c->hold))
			break;
		c->awaits_grant = false;
		c->task.unavailable = c->task.timed_out = true;
		over(c);
		break;
	case SOCKET_WAIT_STORE:
		if (c->task.ended)
			break; /* it has ended, and the stack says so when it can */
		c->awaits_store = !stack_cancel_room(socket_stack(c), &c->store_wait);
		c->task.timed_out = true;
		over(c);
		break;
	default:
		over(c);
	}
}

void socket_wait_init(struct socket_client *c)
{
	struct {
		struct mail *mail;
		void (*deliver)(struct mail *);
	} mails[] = {{&c->grant, on_grant}, {&c->stored, on_stored}, {&c->woken, on_woken}, {&c->job_mail, on_job}};

	for (size_t i = 0; i < sizeof mails / sizeof mails[0]; i++) {
		list_init(&mails[i].mail->link);
		mails[i].mail->deliver = mails[i].deliver;
	}
	list_init(&c->waiter.link);
	c->waiter.granted = granted;
	list_init(&c->store_wait.link);
	c->store_wait.done = stored;
	keylock_owner_init(&c->locks);
	net_timer_init(&c->timer, on_timer);
}

void socket_wait_end(struct socket_client *c)
{
	struct keylocks *locks = c->worker->gateway->keylocks;

	net_timer_stop(&c->worker->loop, &c->timer);
	c->wait = SOCKET_WAIT_NONE;
	if (c->awaits_grant)
		c->awaits_grant = !stack_cancel(socket_stack(c), &c->waiter, &c->hold);
	else if (c->hold.session)
		stack_close(socket_stack(c), &c->hold, socket_now(c));
	if (c->awaits_store)
		c->awaits_store = !stack_cancel_room(socket_stack(c), &c->store_wait);
	if (c->awaits_lock)
		c->awaits_lock = !keylock_unpark(locks, c->parked);
	keylock_drop(locks, &c->locks, socket_now(c));
}

bool socket_awaits_mail(const struct socket_client *c)
{
	return c->awaits_grant || c->awaits_store || c->awaits_lock || c->awaits_job;
}
