/* The pool over several workers: who gets a connection, when, and how many there are. */
#include "tests/unit/pool_fixture.h"

/* --- one worker --- */

static void a_connection_is_kept_for_the_next(void **unused)
{
	(void)unused;
	bed_make(1, 1);
	struct request *a = request_hold(0);
	assert_false(a->was_kept);
	request_finish(a);
	assert_int_equal(stats(0).idle, 1);
	assert_int_equal(stats(0).active, 0);
	struct request *b = request_take(0);
	assert_int_equal(b->state, HELD); /* at once */
	assert_true(b->was_kept);
	assert_int_equal(stats(0).idle, 0);
	assert_int_equal(stats(0).active, 1);
	request_finish(b);
	assert_int_equal(apps[0].accepted, 1);
}

/* A2: a backend closes what stays silent. */
static void nothing_is_opened_ahead_of_need(void **unused)
{
	(void)unused;
	options[0].connections = 8;
	bed_make(2, 1);
	request_finish(request_hold(0));
	NEVER(apps[0].accepted > 1, 50);
}

static void without_keep_alive_each_has_its_own(void **unused)
{
	(void)unused;
	options[0].keep_alive = false;
	bed_make(1, 1);
	request_finish(request_hold(0));
	AWAIT(apps[0].open == 0);
	request_finish(request_hold(0));
	assert_int_equal(apps[0].accepted, 2);
}

static void one_that_was_not_finished_is_closed(void **unused)
{
	(void)unused;
	bed_make(1, 1);
	struct request *a = request_hold(0);
	TELL(apps[0], answers, false);
	ask_of(a, run);
	ask_of(a, abandon);
	AWAIT(apps[0].open == 0 && apps[0].accepted == 1);
	assert_int_equal(stats(0).open, 0);
	TELL(apps[0], answers, true);
	request_finish(request_hold(0));
	assert_int_equal(apps[0].accepted, 2);
}

static void what_a_backend_closes_is_forgotten(void **unused)
{
	(void)unused;
	bed_make(1, 1);
	request_finish(request_hold(0));
	TELL(apps[0], hang_up, true);
	AWAIT(stats(0).open == 0);
	assert_int_equal(stats(0).idle, 0);
	request_finish(request_hold(0));
	assert_int_equal(apps[0].accepted, 2);
}

static void one_that_speaks_unasked_is_closed(void **unused)
{
	(void)unused;
	bed_make(1, 1);
	request_finish(request_hold(0));
	TELL(apps[0], babble, true);
	AWAIT(stats(0).open == 0);
	AWAIT(apps[0].open == 0);
}

static void an_idle_connection_is_closed_in_time(void **unused)
{
	(void)unused;
	options[0].idle_timeout_ms = 60;
	bed_make(1, 1);
	struct instant begun = clock_now();
	request_finish(request_hold(0));
	AWAIT(apps[0].open == 0 && apps[0].accepted == 1);
	assert_true(instant_since_ms(clock_now(), begun) + 1 >= 60);
	assert_int_equal(stats(0).open, 0);
	/* A busy one is not idle, however long it takes. */
	struct request *a = request_hold(0);
	NEVER(apps[0].open == 0 && apps[0].accepted == 2, 150);
	request_finish(a);
}

static void first_come_first_served(void **unused)
{
	struct request *r[6];

	(void)unused;
	bed_make(1, 1);
	r[0] = request_hold(0);
	for (size_t i = 1; i < 6; i++) {
		r[i] = request_new(0);
		r[i]->runs = true;
		ask_of(r[i], take);
		assert_int_equal(r[i]->state, WAITING);
	}
	request_finish(r[0]);
	for (size_t i = 1; i < 6; i++) {
		AWAIT(r[i]->state == DONE);
		assert_int_equal(r[i]->order, i + 1);
		assert_true(r[i]->was_kept);
	}
	assert_int_equal(apps[0].accepted, 1);
}

static void the_queue_has_an_end(void **unused)
{
	(void)unused;
	queue_max = 2;
	bed_make(2, 1);
	struct request *a = request_hold(0);
	struct request *b = request_take(0);
	struct request *c = request_take(1);
	struct request *d = request_take(0);
	struct request *e = request_take(1);
	assert_int_equal(b->state, WAITING);
	assert_int_equal(c->state, WAITING);
	assert_int_equal(d->state, FAILED);
	assert_int_equal(d->err, ERR_FULL);
	assert_int_equal(e->err, ERR_FULL);
	ask_of(b, cancel);
	struct request *f = request_take(0);
	assert_int_equal(f->state, WAITING);
	request_finish(a);
}

/* --- several workers --- */

/* A request of this worker may go before an older one of another: its connection is warm. But not long before. */
static void one_of_its_own_goes_first_when_hardly_younger(void **unused)
{
	(void)unused;
	bed_make(2, 1);
	struct request *holds = request_hold(0);
	struct request *other = request_take(1);
	struct request *own = request_take(0);
	bool hardly = instant_since_ms(own->ticket.since, other->ticket.since) <= 50;
	own->runs = other->runs = true;
	request_finish(holds);
	AWAIT(own->state == DONE && other->state == DONE);
	assert_int_equal(own->order < other->order, hardly);
	assert_int_equal(own->was_kept, hardly);
	assert_int_equal(apps[0].most_open, 1);
}

static void an_older_one_elsewhere_goes_first(void **unused)
{
	(void)unused;
	bed_make(2, 1);
	struct request *holds = request_hold(0);
	struct request *other = request_take(1);
	struct instant from = clock_now();
	AWAIT(instant_since_ms(clock_now(), from) > 80);
	struct request *own = request_take(0);
	own->runs = other->runs = true;
	request_finish(holds);
	AWAIT(own->state == DONE && other->state == DONE);
	assert_true(other->order < own->order);
	assert_int_equal(apps[0].most_open, 1);
}

/* A1: none idle while a request waits. */
static void an_idle_connection_elsewhere_gives_way(void **unused)
{
	(void)unused;
	options[0].connections = 2;
	bed_make(3, 1);
	struct request *a = request_hold(0);
	struct request *b = request_hold(1);
	request_finish(a);
	request_finish(b);
	assert_int_equal(stats(0).idle, 2);
	struct request *c = request_hold(2);
	assert_int_equal(stats(0).idle, 1);
	struct request *d = request_hold(2);
	assert_int_equal(stats(0).idle, 0);
	AWAIT(apps[0].accepted == 4);
	assert_int_equal(apps[0].most_open, 2);
	request_finish(c);
	request_finish(d);
}

static void a_slot_goes_to_another_worker(void **unused)
{
	(void)unused;
	bed_make(3, 1);
	struct request *a = request_hold(0);
	struct request *b = request_take(1);
	struct request *c = request_take(2);
	ask_of(a, abandon);
	AWAIT(b->state == HELD);
	assert_int_equal(c->state, WAITING);
	ask_of(b, abandon);
	AWAIT(c->state == HELD && apps[0].accepted == 3);
	assert_int_equal(apps[0].most_open, 1);
}

/* Requests without end from all workers, some given up at any moment. */
enum { STRESS_ROUNDS = 200, STRESS_EACH = 6 };

static void stress_next(struct worker *w, struct request *r)
{
	pthread_mutex_lock(&hub);
	bool goes_on = r->rounds > 0;
	r->rounds -= goes_on;
	r->gave_up = false;
	pthread_mutex_unlock(&hub);
	if (!goes_on)
		return;
	ticket_make(w, r);
	take(w, r);
}

/* From `after_request`, which may be deep in the pool: the next one is taken in a turn of its own. */
struct stress_mail {
	struct mail mail;
	struct request *r;
};
static struct stress_mail stress_mails[REQUESTS];

static void deliver_next(struct mail *mail)
{
	struct request *r = CONTAINER_OF(mail, struct stress_mail, mail)->r;

	stress_next(r->w, r);
}

static void stress_over(struct request *r)
{
	struct stress_mail *m = &stress_mails[r - requests];

	*m = (struct stress_mail){.mail.deliver = deliver_next, .r = r};
	list_init(&m->mail.link);
	net_loop_post(&r->w->loop, &m->mail);
}

static void stress_cancel(struct worker *w, struct request *r)
{
	if (r->state != WAITING || r->gave_up)
		return;
	cancel(w, r);
	if (r->state == CANCELLED)
		stress_over(r);
}

static bool all_over(void)
{
	for (size_t i = 0; i < request_count; i++) {
		bool busy = requests[i].state == WAITING || requests[i].state == HELD || requests[i].state == RUNNING;
		if (busy || requests[i].rounds > 0)
			return false;
	}
	return true;
}

static void stress(bool with_cancels)
{
	uint32_t seed = 99;

	request_then(stress_over);
	for (size_t i = 0; i < WORKERS * STRESS_EACH; i++) {
		struct request *r = request_new(i % WORKERS);
		r->runs = true;
		r->rounds = STRESS_ROUNDS;
	}
	for (size_t i = 0; i < request_count; i++)
		ask_of(&requests[i], stress_next);
	for (;;) {
		pthread_mutex_lock(&hub);
		bool over = all_over();
		pthread_mutex_unlock(&hub);
		if (over || !with_cancels)
			break;
		seed = seed * 1664525 + 1013904223;
		ask_of(&requests[(seed >> 16) % request_count], stress_cancel);
	}
	AWAIT(all_over());
	request_then(NULL);
}

static void there_are_never_too_many(void **unused)
{
	(void)unused;
	options[0].connections = 2;
	options[1].connections = 3;
	bed_make(WORKERS, 2);
	stress(false);
	assert_int_equal(apps[0].answered + apps[1].answered, WORKERS * STRESS_EACH * STRESS_ROUNDS);
	assert_true(apps[0].most_open <= 2);
	assert_true(apps[1].most_open <= 3);
	assert_false(apps[0].overlapped || apps[1].overlapped);
	for (size_t i = 0; i < request_count; i++)
		assert_int_equal(requests[i].state, DONE);
}

static void giving_up_at_any_moment_loses_nothing(void **unused)
{
	(void)unused;
	options[0].connections = 2;
	bed_make(WORKERS, 1);
	stress(true);
	assert_true(apps[0].most_open <= 2);
	assert_false(apps[0].overlapped);
	for (size_t i = 0; i < request_count; i++)
		assert_true(requests[i].state == DONE || requests[i].state == CANCELLED);
	assert_int_equal(stats(0).active, 0);
}

/* A backend that closes after each answer: every connection is new, and every one counts. */
static void a_backend_that_keeps_nothing(void **unused)
{
	(void)unused;
	options[0].connections = 2;
	apps[0].closes_after = true;
	bed_make(WORKERS, 1);
	stress(false);
	assert_true(apps[0].most_open <= 2);
	assert_int_equal(stats(0).active, 0);
	AWAIT(stats(0).open == 0);
}

/* --- giving up --- */

static void giving_up_in_the_queue(void **unused)
{
	(void)unused;
	bed_make(2, 1);
	struct request *a = request_hold(0);
	struct request *b = request_take(1);
	struct request *c = request_take(1);
	ask_of(b, cancel);
	assert_int_equal(b->state, CANCELLED);
	assert_int_equal(b->err, 0);
	request_finish(a);
	AWAIT(c->state == HELD);
	assert_int_equal(b->state, CANCELLED);
}

static int state_seen;

static void take_and_cancel(struct worker *w, struct request *r)
{
	take(w, r);
	state_seen = (int)r->ticket.state;
	cancel(w, r);
}

/* The connection is made all the same, and the next request has it. */
static void giving_up_while_it_connects(void **unused)
{
	(void)unused;
	bed_make(1, 1);
	struct request *a = request_new(0);
	ask_of(a, take_and_cancel);
	assert_int_equal(state_seen, TICKET_CONNECTING);
	assert_int_equal(a->state, CANCELLED);
	AWAIT(stats(0).idle == 1);
	assert_int_equal(stats(0).active, 0);
	struct request *b = request_take(0);
	assert_int_equal(b->state, HELD);
	request_finish(b);
	assert_int_equal(apps[0].accepted, 1);
}

/* The same, but somebody waits for it already. */
static void what_connects_for_nobody_goes_to_who_waits(void **unused)
{
	(void)unused;
	bed_make(2, 1);
	struct request *a = request_new(0);
	ask_of(a, take_and_cancel);
	struct request *b = request_hold(1);
	request_finish(b);
	assert_int_equal(apps[0].most_open, 1);
}

/* The kept connection is on its way to B when B gives up: C has it. */
static void giving_up_with_a_connection_on_its_way(void **unused)
{
	(void)unused;
	bed_make(1, 1);
	struct request *a = request_hold(0);
	struct request *b = request_take(0);
	struct request *c = request_take(0);
	a->cancels = b;
	ask_of(a, run);
	AWAIT(b->state == CANCELLED);
	assert_int_equal(b->err, ERR_GONE);
	AWAIT(c->state == HELD);
	assert_true(c->was_kept);
	assert_int_equal(stats(0).active, 1);
	assert_int_equal(apps[0].accepted, 1);
}

/* The same with a slot, for which no connection was begun. */
static void giving_up_with_a_slot_on_its_way(void **unused)
{
	(void)unused;
	bed_make(1, 1);
	struct request *a = request_hold(0);
	struct request *b = request_take(0);
	struct request *c = request_take(0);
	a->cancels = b;
	ask_of(a, abandon);
	AWAIT(b->state == CANCELLED);
	assert_int_equal(b->err, ERR_GONE);
	AWAIT(c->state == HELD);
	assert_int_equal(stats(0).active, 1);
	AWAIT(apps[0].accepted == 2);
	assert_int_equal(apps[0].most_open, 1);
}

static void nobody_left_the_connection_stays(void **unused)
{
	(void)unused;
	bed_make(1, 1);
	struct request *a = request_hold(0);
	struct request *b = request_take(0);
	a->cancels = b;
	ask_of(a, run);
	AWAIT(b->state == CANCELLED);
	AWAIT(stats(0).idle == 1);
	assert_int_equal(stats(0).active, 0);
	request_finish(request_hold(0));
	assert_int_equal(apps[0].accepted, 1);
}

static void giving_up_nothing_is_fine(void **unused)
{
	(void)unused;
	bed_make(1, 1);
	struct request *a = request_new(0);
	ask_of(a, cancel);
	assert_int_equal(a->state, CANCELLED);
	request_finish(request_hold(0));
}

/* --- a full backlog --- */

static int crowd[16];
static size_t crowd_count;

/* Connections that nobody accepts, until the next would have to wait. */
static void fill_backlog(struct application *a)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	memcpy(un.sun_path, a->address.path, sizeof un.sun_path);
	application_refuse(a);
	a->listener = listen_unix(&a->address, 0);
	a->accepts = false;
	for (crowd_count = 0; crowd_count < 16; crowd_count++) {
		crowd[crowd_count] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
		if (connect(crowd[crowd_count], (struct sockaddr *)&un, sizeof un) != 0)
			break;
	}
	close(crowd[crowd_count]);
	assert_in_range(crowd_count, 1, 15);
}

static void dissolve_crowd(void)
{
	while (crowd_count > 0)
		close(crowd[--crowd_count]);
}

static void look_at_ticket(struct worker *w, struct request *r)
{
	(void)w;
	state_seen = (int)r->ticket.state;
}

static void expect_retries(struct request *r)
{
	do {
		ask_of(r, look_at_ticket);
		assert_true(state_seen == TICKET_CONNECTING || state_seen == TICKET_RETRY);
		assert_int_equal(r->state, WAITING);
	} while (state_seen != TICKET_RETRY);
}

/* A7 */
static void a_full_backlog_is_tried_again(void **unused)
{
	(void)unused;
	options[0].health.fails = 1;
	fill_backlog(&apps[0]);
	bed_make(1, 1);
	struct request *a = request_take(0);
	expect_retries(a);
	assert_false(stats(0).down);
	dissolve_crowd();
	TELL(apps[0], accepts, true);
	AWAIT(a->state == HELD);
	assert_false(stats(0).down);
	request_finish(a);
}

static void giving_up_between_two_tries(void **unused)
{
	(void)unused;
	fill_backlog(&apps[0]);
	bed_make(1, 1);
	struct request *a = request_take(0);
	expect_retries(a);
	ask_of(a, cancel);
	assert_int_equal(a->state, CANCELLED);
	assert_int_equal(stats(0).active, 0);
	assert_int_equal(stats(0).open, 0);
	dissolve_crowd();
	TELL(apps[0], accepts, true);
	NEVER(a->state != CANCELLED, 50);
}

/* --- backends that fail --- */

static void one_refuses_the_next_is_taken(void **unused)
{
	(void)unused;
	application_refuse(&apps[0]);
	application_refuse(&apps[1]);
	bed_make(1, 3);
	for (int i = 0; i < 6; i++)
		request_finish(request_hold(0));
	assert_int_equal(apps[2].answered, 6);
	assert_int_equal(stats(0).open + stats(1).open, 0);
}

static void when_all_refuse_it_is_refused(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < 3; i++)
		application_refuse(&apps[i]);
	bed_make(1, 3);
	for (int i = 0; i < 4; i++) {
		struct request *r = request_take(0);
		AWAIT(r->state != WAITING);
		assert_int_equal(r->state, FAILED);
		assert_int_equal(r->err, ERR_REFUSED);
	}
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(stats(i).open + stats(i).active, 0);
}

/* It has asked all that have room, and waits for the one that has none. */
static void refused_here_it_waits_there(void **unused)
{
	(void)unused;
	application_refuse(&apps[1]);
	bed_make(2, 2);
	struct request *a = request_hold(0);
	struct request *b = request_take(0);
	struct request *c = request_take(1);
	NEVER(b->state != WAITING || c->state != WAITING, 50);
	b->runs = c->runs = true;
	request_finish(a);
	AWAIT(b->state == DONE && c->state == DONE);
	assert_int_equal(apps[0].answered, 3);
}

/* A connection that is never accepted nor refused: TCP, whose queue is full, drops what comes. */
static void silence_at_the_door_ends_in_time(void **unused)
{
	struct net_address *to = &options[0].address;
	struct sockaddr_storage bound;
	socklen_t len = sizeof bound;
	int door = -1;
	int visitors[4];

	(void)unused;
	assert_true(net_address_tcp(to, "127.0.0.1", 0));
	assert_int_equal(net_listen(to, 0, NULL, &door), 0);
	assert_int_equal(getsockname(door, (struct sockaddr *)&bound, &len), 0);
	to->tcp = bound;
	for (size_t i = 0; i < 4; i++) {
		visitors[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)connect(visitors[i], (struct sockaddr *)&bound, len);
	}
	options[0].connect_timeout_ms = 60;
	options[0].weight = 100;
	options[0].health.fails = 1;
	bed_make(1, 2);
	struct request *a = request_hold(0);
	assert_true(stats(0).down);
	request_finish(a);
	assert_int_equal(apps[1].answered, 1);
	for (size_t i = 0; i < 4; i++)
		close(visitors[i]);
	close(door);
}

/* Down: nobody is sent there while another has room. */
static void one_that_fails_is_left_alone(void **unused)
{
	(void)unused;
	options[0].health.fails = 3;
	options[0].weight = 100;
	application_refuse(&apps[0]);
	bed_make(2, 2);
	for (unsigned i = 0; i < 3; i++) {
		assert_false(stats(0).down);
		struct request *r = request_hold(i % 2);
		assert_int_equal(r->ticket.tried, 1);
		request_finish(r);
	}
	assert_true(stats(0).down);
	for (unsigned i = 0; i < 20; i++) {
		struct request *r = request_hold(i % 2);
		assert_int_equal(r->ticket.tried, 0);
		request_finish(r);
	}
}

/* Backend 0 is down; backend 1, which is the better choice by far, is idle. */
static void bed_with_one_down(uint64_t backoff_ms)
{
	options[0].health =
	    (struct policy_limits){.fails = 1, .backoff_min_ms = backoff_ms, .backoff_max_ms = backoff_ms};
	options[1].weight = 100;
	application_refuse(&apps[0]);
	bed_make(1, 2);
	struct request *a = request_hold(0);
	struct request *b = request_take(0); /* no room at 1: asks 0 */
	AWAIT(stats(0).down);
	ask_of(b, cancel);
	request_finish(a);
	assert_int_equal(apps[1].accepted, 1);
	application_listen(&apps[0]);
}

/* Its time has come: the next request finds out. */
static void one_that_is_back_is_used_again(void **unused)
{
	(void)unused;
	bed_with_one_down(40);
	struct instant from = clock_now();
	AWAIT(instant_since_ms(clock_now(), from) > 60);
	struct request *trial = request_hold(0);
	AWAIT(apps[0].accepted == 1);
	assert_true(stats(0).down);
	struct request *other = request_hold(0); /* not while the trial runs */
	assert_int_equal(apps[0].accepted, 1);
	request_finish(other);
	request_finish(trial);
	assert_false(stats(0).down);
}

static void it_is_not_asked_before_its_time(void **unused)
{
	(void)unused;
	bed_with_one_down(100000);
	for (int i = 0; i < 10; i++)
		request_finish(request_hold(0));
	assert_int_equal(apps[0].accepted, 0);
	assert_true(stats(0).down);
}

/* It would be asked at once, and could be silent for the whole connect-timeout. */
static void one_that_is_well_and_busy_is_worth_waiting_for(void **unused)
{
	(void)unused;
	bed_with_one_down(100000);
	struct request *a = request_hold(0);
	struct request *b = request_take(0);
	struct request *c = request_take(0);
	assert_int_equal(b->state, WAITING);
	b->runs = c->runs = true;
	request_finish(a);
	AWAIT(b->state == DONE && c->state == DONE);
	assert_int_equal(apps[0].accepted, 0);
	assert_int_equal(b->ticket.tried | c->ticket.tried, 0);
}

/* Better one that is said to be down than none. */
static void the_only_one_is_asked_though_it_is_down(void **unused)
{
	(void)unused;
	options[0].health.fails = 1;
	application_refuse(&apps[0]);
	bed_make(1, 1);
	struct request *a = request_take(0);
	AWAIT(a->state == FAILED);
	assert_true(stats(0).down);
	application_listen(&apps[0]);
	request_finish(request_hold(0));
	assert_false(stats(0).down);
}

static void only_its_own_failures_count(void **unused)
{
	(void)unused;
	options[0].health.fails = 2;
	bed_make(1, 1);
	for (int i = 0; i < 5; i++)
		ask_of(request_hold(0), abandon);
	ask_of(request_hold(0), blame);
	assert_false(stats(0).down);
	request_finish(request_hold(0)); /* not in a row */
	ask_of(request_hold(0), blame);
	assert_false(stats(0).down);
	ask_of(request_hold(0), blame);
	assert_true(stats(0).down);
}

static void a_backend_that_dies_fails_the_request(void **unused)
{
	(void)unused;
	TELL(apps[0], answers, false);
	bed_make(1, 1);
	struct request *a = request_hold(0);
	ask_of(a, run);
	AWAIT(apps[0].open == 1 && apps[0].links[0].asked);
	TELL(apps[0], hang_up, true);
	AWAIT(a->state == BROKEN);
	assert_true(a->err == ERR_CLOSED || a->err == ERR_RESET);
	assert_int_equal(stats(0).open, 0);
}

/* --- kept connections that may be dead --- */

static void expect_backend_gone(void)
{
	struct instant begun = clock_now();

	pthread_mutex_lock(&hub);
	apps[0].hang_up = true;
	while (apps[0].open > 0 && instant_since_ms(clock_now(), begun) < PATIENCE_MS)
		hub_wait();
	pthread_mutex_unlock(&hub);
}

/* On the worker's thread: its loop cannot hear of the end before the request asks. */
static void take_from_the_dead(struct worker *w, struct request *r)
{
	expect_backend_gone();
	take(w, r);
}

/* One connection, idle for so long that it counts as settled. */
static void bed_with_a_settled_connection(void)
{
	bed_make(1, 1);
	request_finish(request_hold(0));
	struct instant from = clock_now();
	AWAIT(instant_since_ms(clock_now(), from) > 150);
	assert_int_equal(stats(0).idle, 1);
}

/* A6: unnoticed by the client, who sends it again on a fresh one. */
static void a_dead_one_fails_a_request_that_may_be_repeated(void **unused)
{
	(void)unused;
	bed_with_a_settled_connection();
	struct request *a = request_new(0);
	a->runs = true;
	ask_of(a, take_from_the_dead);
	AWAIT(a->state == BROKEN);
	assert_true(a->was_kept);
	struct request *b = request_new(0);
	b->ticket.fresh = true;
	ask_of(b, take);
	AWAIT(b->state == HELD);
	assert_false(b->was_kept);
	request_finish(b);
}

static void a_dead_one_is_not_given_to_the_careful(void **unused)
{
	(void)unused;
	bed_with_a_settled_connection();
	struct request *a = request_new(0);
	a->runs = a->ticket.careful = true;
	ask_of(a, take_from_the_dead);
	AWAIT(a->state == DONE || a->state == BROKEN);
	assert_int_equal(a->state, DONE);
	assert_false(a->was_kept);
	assert_int_equal(apps[0].accepted, 2);
}

static void a_settled_one_is_good_for_the_careful(void **unused)
{
	(void)unused;
	bed_with_a_settled_connection();
	struct request *a = request_new(0);
	a->ticket.careful = true;
	ask_of(a, take);
	assert_int_equal(a->state, HELD);
	assert_true(a->was_kept);
	request_finish(a);
	assert_int_equal(apps[0].accepted, 1);
}

static void who_wants_a_fresh_one_gets_a_fresh_one(void **unused)
{
	(void)unused;
	bed_make(2, 1);
	request_finish(request_hold(0));
	for (size_t w = 0; w < 2; w++) { /* the idle one is here, then elsewhere */
		struct request *a = request_new(w);
		a->ticket.fresh = true;
		ask_of(a, take);
		AWAIT(a->state == HELD);
		assert_false(a->was_kept);
		request_finish(a);
	}
	assert_int_equal(apps[0].accepted, 3);
	assert_int_equal(apps[0].most_open, 1);
}

/* --- the end --- */

static void drain(struct worker *w, struct request *r)
{
	(void)r;
	pool_drain(w->pool);
}

static void a_drained_pool_keeps_nothing(void **unused)
{
	(void)unused;
	options[0].connections = 2;
	bed_make(1, 1);
	struct request *a = request_hold(0);
	request_finish(request_hold(0));
	assert_int_equal(stats(0).idle, 1);
	ask(&workers[0], drain, NULL);
	AWAIT(apps[0].open == 1);
	assert_int_equal(stats(0).idle, 0);
	request_finish(a);
	AWAIT(apps[0].open == 0);
	assert_int_equal(stats(0).open, 0);
	request_finish(request_hold(0)); /* it still serves */
	AWAIT(apps[0].open == 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_connection_is_kept_for_the_next),
	    TEST(nothing_is_opened_ahead_of_need),
	    TEST(without_keep_alive_each_has_its_own),
	    TEST(one_that_was_not_finished_is_closed),
	    TEST(what_a_backend_closes_is_forgotten),
	    TEST(one_that_speaks_unasked_is_closed),
	    TEST(an_idle_connection_is_closed_in_time),
	    TEST(first_come_first_served),
	    TEST(the_queue_has_an_end),
	    TEST(one_of_its_own_goes_first_when_hardly_younger),
	    TEST(an_older_one_elsewhere_goes_first),
	    TEST(an_idle_connection_elsewhere_gives_way),
	    TEST(a_slot_goes_to_another_worker),
	    TEST(there_are_never_too_many),
	    TEST(giving_up_at_any_moment_loses_nothing),
	    TEST(a_backend_that_keeps_nothing),
	    TEST(giving_up_in_the_queue),
	    TEST(giving_up_while_it_connects),
	    TEST(what_connects_for_nobody_goes_to_who_waits),
	    TEST(giving_up_with_a_connection_on_its_way),
	    TEST(giving_up_with_a_slot_on_its_way),
	    TEST(nobody_left_the_connection_stays),
	    TEST(giving_up_nothing_is_fine),
	    TEST(a_full_backlog_is_tried_again),
	    TEST(giving_up_between_two_tries),
	    TEST(one_refuses_the_next_is_taken),
	    TEST(when_all_refuse_it_is_refused),
	    TEST(refused_here_it_waits_there),
	    TEST(silence_at_the_door_ends_in_time),
	    TEST(one_that_fails_is_left_alone),
	    TEST(one_that_is_back_is_used_again),
	    TEST(it_is_not_asked_before_its_time),
	    TEST(one_that_is_well_and_busy_is_worth_waiting_for),
	    TEST(the_only_one_is_asked_though_it_is_down),
	    TEST(only_its_own_failures_count),
	    TEST(a_backend_that_dies_fails_the_request),
	    TEST(a_dead_one_fails_a_request_that_may_be_repeated),
	    TEST(a_dead_one_is_not_given_to_the_careful),
	    TEST(a_settled_one_is_good_for_the_careful),
	    TEST(who_wants_a_fresh_one_gets_a_fresh_one),
	    TEST(a_drained_pool_keeps_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
