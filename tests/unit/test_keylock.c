/* Locks of clients, sentence by sentence of session/keylock.h, on one thread. The source is included with an allocator
 * that fails on demand. */
#include <stdlib.h>

static void *failing_malloc(size_t n);
static void *failing_calloc(size_t n, size_t each);

#define malloc failing_malloc
#define calloc failing_calloc
#include "session/keylock.c"
#undef malloc
#undef calloc

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

enum { OWNERS = 4, WAITERS = 8, KEY = 1, OTHER = 2 };

#define T0 5000
#define NEVER UINT64_MAX

/* A connection, and a parked SET of it. */
struct client {
	struct keylock_waiter waiter;
	unsigned calls;
};

static struct keylocks *locks;
static struct keylock_owner owners[OWNERS];
static struct client clients[WAITERS];
static bool no_memory;

static void *failing_malloc(size_t n)
{
	return no_memory ? NULL : malloc(n);
}

static void *failing_calloc(size_t n, size_t each)
{
	return no_memory ? NULL : calloc(n, each);
}

static struct instant at(uint64_t ms)
{
	return (struct instant){.ms = T0 + ms};
}

static struct sess_id id_of(uint32_t n)
{
	struct sess_id id = {{0}};

	memcpy(id.bytes, &n, sizeof(n));
	return id;
}

static struct keylocks *new_locks(void)
{
	struct sess_keys keys;
	uint8_t secret[SESS_SECRET_BYTES] = {7};

	sess_keys_derive(&keys, secret);
	return keylocks_new(&keys);
}

/* The mutex is taken: a call that came under it would hang here. */
static void note_call(struct keylock_waiter *w)
{
	keylocks_check(locks);
	CONTAINER_OF(w, struct client, waiter)->calls++;
}

static int set_up(void **unused)
{
	(void)unused;
	no_memory = false;
	locks = new_locks();
	for (unsigned i = 0; i < OWNERS; i++)
		keylock_owner_init(&owners[i]);
	for (unsigned i = 0; i < WAITERS; i++)
		clients[i] = (struct client){.waiter.woken = note_call};
	return locks ? 0 : -1;
}

static int tear_down(void **unused)
{
	(void)unused;
	no_memory = false;
	for (unsigned i = 0; i < WAITERS; i++) {
		if (clients[i].waiter.state == KEYLOCK_PARKED)
			(void)keylock_unpark(locks, &clients[i].waiter);
	}
	keylocks_check(locks);
	for (unsigned i = 0; i < OWNERS; i++) {
		keylock_drop(locks, &owners[i], at(0));
		assert_true(list_empty(&owners[i].locks));
	}
	keylocks_check(locks);
	keylocks_free(&locks); /* which wants all of them free */
	assert_null(locks);
	return 0;
}

static enum keylock_take take(uint32_t n, const char *token, uint64_t ttl_ms, unsigned owner, uint64_t now_ms)
{
	struct sess_id id = id_of(n);

	return keylock_take(locks, &id, view_str(token), ttl_ms, &owners[owner], at(now_ms));
}

/* As take(), parked if need be. When to look; 0: it was taken. */
static uint64_t park(unsigned client, uint32_t n, const char *token, uint64_t ttl_ms, unsigned owner, uint64_t now_ms)
{
	struct keylock_waiter *w = &clients[client].waiter;
	uint64_t look_ms = 0;

	w->owner = &owners[owner];
	w->id = id_of(n);
	w->ttl_ms = ttl_ms;
	w->token_len = strlen(token);
	memcpy(w->token, token, w->token_len);
	enum keylock_take took = keylock_park(locks, w, at(now_ms), &look_ms);
	assert_int_not_equal(took, KEYLOCK_NO_ROOM);
	assert_int_equal(w->state, took == KEYLOCK_BUSY ? KEYLOCK_PARKED : KEYLOCK_IDLE);
	keylocks_check(locks);
	return look_ms;
}

static uint64_t look(unsigned client, uint64_t now_ms)
{
	uint64_t look_ms = 0;

	keylock_look(locks, &clients[client].waiter, at(now_ms), &look_ms);
	return look_ms;
}

/* It has been told, once, and knows. */
static void woken(unsigned client)
{
	struct client *c = &clients[client];

	assert_int_equal(c->calls, 1);
	c->calls = 0;
	assert_int_equal(c->waiter.state, KEYLOCK_WOKEN);
	keylock_woken(locks, &c->waiter);
	assert_int_equal(c->waiter.state, KEYLOCK_IDLE);
}

static void asleep(unsigned client)
{
	assert_int_equal(clients[client].calls, 0);
	assert_int_equal(clients[client].waiter.state, KEYLOCK_PARKED);
}

static void expect_lock(uint32_t n, const char *token, uint64_t left_ms, uint64_t now_ms)
{
	uint8_t got[KEYLOCK_TOKEN_MAX];
	size_t len = 0;
	uint64_t left = 0;
	struct sess_id id = id_of(n);

	assert_true(keylock_get(locks, &id, at(now_ms), got, &len, &left));
	assert_int_equal(len, strlen(token));
	assert_memory_equal(got, token, len);
	assert_int_equal(left, left_ms);
}

static void expect_free(uint32_t n, uint64_t now_ms)
{
	uint8_t got[KEYLOCK_TOKEN_MAX];
	size_t len = 77;
	uint64_t left = 77;
	struct sess_id id = id_of(n);

	assert_false(keylock_get(locks, &id, at(now_ms), got, &len, &left));
	assert_int_equal(len, 77);
	assert_int_equal(left, 77);
}

static bool release(uint32_t n, const char *token, uint64_t now_ms)
{
	struct sess_id id = id_of(n);
	struct view v = token ? view_str(token) : (struct view){0};

	return keylock_release(locks, &id, token ? &v : NULL, at(now_ms));
}

static bool extend(uint32_t n, uint64_t ttl_ms, uint64_t now_ms)
{
	struct sess_id id = id_of(n);

	return keylock_extend(locks, &id, ttl_ms, at(now_ms));
}

/* --- taking, seeing, freeing --- */

static void what_is_taken_is_busy_for_all(void **unused)
{
	(void)unused;
	expect_free(KEY, 0);
	assert_int_equal(take(KEY, "mine", 1000, 0, 0), KEYLOCK_TAKEN);
	assert_int_equal(take(KEY, "theirs", 1000, 1, 1), KEYLOCK_BUSY);
	assert_int_equal(take(KEY, "mine", 1000, 0, 2), KEYLOCK_BUSY);
	expect_lock(KEY, "mine", 997, 3);
	/* Another key is another lock. */
	assert_int_equal(take(OTHER, "theirs", 0, 1, 3), KEYLOCK_TAKEN);
	expect_lock(OTHER, "theirs", NEVER, 3);
	expect_lock(KEY, "mine", 997, 3);
}

static void it_is_freed_with_its_token_only(void **unused)
{
	(void)unused;
	assert_false(release(KEY, "mine", 0));
	assert_int_equal(take(KEY, "mine", 0, 0, 0), KEYLOCK_TAKEN);
	assert_false(release(KEY, "theirs", 0));
	assert_false(release(KEY, "min", 0));
	assert_false(release(KEY, "mine!", 0));
	assert_false(release(KEY, "", 0));
	expect_lock(KEY, "mine", NEVER, 0);
	assert_true(release(KEY, "mine", 0));
	expect_free(KEY, 0);
	assert_false(release(KEY, "mine", 0));
	assert_int_equal(take(KEY, "theirs", 0, 1, 0), KEYLOCK_TAKEN);
}

/* As DEL does it, on whatever connection. */
static void or_without_asking_for_the_token(void **unused)
{
	(void)unused;
	assert_int_equal(take(KEY, "mine", 0, 0, 0), KEYLOCK_TAKEN);
	assert_true(release(KEY, NULL, 0));
	assert_false(release(KEY, NULL, 0));
	expect_free(KEY, 0);
	assert_true(list_empty(&owners[0].locks));
}

static void tokens_have_any_length_up_to_the_bound(void **unused)
{
	uint8_t longest[KEYLOCK_TOKEN_MAX + 1], got[KEYLOCK_TOKEN_MAX];
	struct sess_id id = id_of(KEY);
	struct view v = view_of(longest, KEYLOCK_TOKEN_MAX + 1);
	size_t len;
	uint64_t left, look_ms;

	(void)unused;
	memset(longest, 'x', sizeof(longest));
	assert_int_equal(keylock_take(locks, &id, v, 0, &owners[0], at(0)), KEYLOCK_NO_ROOM);
	clients[0].waiter.token_len = KEYLOCK_TOKEN_MAX + 1;
	assert_int_equal(keylock_park(locks, &clients[0].waiter, at(0), &look_ms), KEYLOCK_NO_ROOM);
	assert_int_equal(clients[0].waiter.state, KEYLOCK_IDLE);
	v.len--;
	assert_int_equal(keylock_take(locks, &id, v, 0, &owners[0], at(0)), KEYLOCK_TAKEN);
	assert_true(keylock_get(locks, &id, at(0), got, &len, &left));
	assert_int_equal(len, KEYLOCK_TOKEN_MAX);
	assert_memory_equal(got, longest, len);
	assert_true(keylock_release(locks, &id, &v, at(0)));
	assert_int_equal(take(KEY, "", 0, 0, 0), KEYLOCK_TAKEN);
	expect_lock(KEY, "", NEVER, 0);
	assert_false(release(KEY, "x", 0));
	assert_true(release(KEY, "", 0));
}

static void many_keys_are_told_apart(void **unused)
{
	enum { MANY = 3 * KEYLOCK_BUCKETS };
	char token[16];

	(void)unused;
	for (uint32_t n = 0; n < MANY; n++) {
		snprintf(token, sizeof(token), "t%u", n);
		assert_int_equal(take(n, token, 0, n % OWNERS, 0), KEYLOCK_TAKEN);
	}
	keylocks_check(locks);
	for (uint32_t n = 0; n < MANY; n++) {
		snprintf(token, sizeof(token), "t%u", n);
		expect_lock(n, token, NEVER, 0);
		if (n % 3 == 0)
			assert_true(release(n, token, 0));
	}
	keylocks_check(locks);
	for (uint32_t n = 0; n < MANY; n++)
		assert_int_equal(take(n, "new", 0, 0, 0), n % 3 == 0 ? KEYLOCK_TAKEN : KEYLOCK_BUSY);
}

/* --- its time --- */

static void a_lock_goes_with_its_time(void **unused)
{
	(void)unused;
	assert_int_equal(take(KEY, "mine", 100, 0, 0), KEYLOCK_TAKEN);
	expect_lock(KEY, "mine", 1, 99);
	assert_int_equal(take(KEY, "theirs", 100, 1, 99), KEYLOCK_BUSY);
	expect_free(KEY, 100);
	assert_true(list_empty(&owners[0].locks));
	assert_int_equal(take(KEY, "theirs", 100, 1, 100), KEYLOCK_TAKEN);
	assert_false(release(KEY, "mine", 100));
	expect_lock(KEY, "theirs", 100, 100);
	assert_false(release(KEY, "theirs", 200));
	assert_false(extend(KEY, 100, 200));
}

static void a_lock_without_a_time_stays(void **unused)
{
	(void)unused;
	assert_int_equal(take(KEY, "mine", 0, 0, 0), KEYLOCK_TAKEN);
	assert_int_equal(take(OTHER, "mine", UINT64_MAX - 1, 0, 0), KEYLOCK_TAKEN);
	expect_lock(KEY, "mine", NEVER, UINT64_C(1) << 60);
	expect_lock(OTHER, "mine", NEVER, UINT64_C(1) << 60);
}

static void its_time_can_be_changed(void **unused)
{
	(void)unused;
	assert_false(extend(KEY, 100, 0));
	assert_int_equal(take(KEY, "mine", 100, 0, 0), KEYLOCK_TAKEN);
	assert_true(extend(KEY, 200, 50));
	expect_lock(KEY, "mine", 1, 249);
	assert_true(extend(KEY, 10, 249));
	expect_lock(KEY, "mine", 1, 258);
	assert_true(extend(KEY, 0, 258));
	expect_lock(KEY, "mine", NEVER, 10000);
	assert_true(extend(KEY, 100, 10000));
	expect_free(KEY, 10100);
}

/* Threads read the clock on their own. */
static void a_slower_clock_brings_nothing_back(void **unused)
{
	(void)unused;
	assert_int_equal(take(KEY, "mine", 100, 0, 0), KEYLOCK_TAKEN);
	expect_free(KEY, 100);
	expect_free(KEY, 99);
	/* Nor does it cut anything short. */
	assert_int_equal(take(KEY, "theirs", 100, 1, 98), KEYLOCK_TAKEN);
	assert_int_equal(take(KEY, "mine", 100, 0, 99), KEYLOCK_BUSY);
	expect_lock(KEY, "theirs", 1, 199);
	expect_free(KEY, 200);
}

/* --- parked --- */

static void a_free_lock_is_taken_at_once(void **unused)
{
	(void)unused;
	assert_int_equal(park(0, KEY, "mine", 100, 0, 0), 0);
	expect_lock(KEY, "mine", 100, 0);
	assert_int_equal(clients[0].calls, 0);
}

static void first_come_first_served(void **unused)
{
	char token[2] = "0";

	(void)unused;
	assert_int_equal(take(KEY, "holder", 0, 0, 0), KEYLOCK_TAKEN);
	for (unsigned i = 0; i < WAITERS; i++) {
		token[0] = (char)('0' + i);
		park(i, KEY, token, 1000 + i, 1 + i % 3, i);
	}
	assert_true(release(KEY, "holder", 100));
	for (unsigned i = 0; i < WAITERS; i++) {
		token[0] = (char)('0' + i);
		for (unsigned k = i + 1; k < WAITERS; k++)
			asleep(k);
		/* Its time has begun when it got it. */
		expect_lock(KEY, token, 1000 + i, 100 + i);
		woken(i);
		assert_true(release(KEY, token, 101 + i));
	}
	expect_free(KEY, 200);
}

static void nobody_overtakes_who_is_parked(void **unused)
{
	(void)unused;
	assert_int_equal(take(KEY, "holder", 0, 0, 0), KEYLOCK_TAKEN);
	park(0, KEY, "first", 0, 1, 0);
	assert_true(release(KEY, "holder", 1));
	/* The mail is on its way. */
	assert_int_equal(take(KEY, "late", 0, 2, 1), KEYLOCK_BUSY);
	assert_false(release(KEY, "holder", 1));
	woken(0);
	assert_int_equal(take(KEY, "late", 0, 2, 1), KEYLOCK_BUSY);
	expect_lock(KEY, "first", NEVER, 1);
}

/* Its time is over, and the first who comes is not the first who waits. */
static void nobody_overtakes_when_time_is_over_either(void **unused)
{
	(void)unused;
	assert_int_equal(take(KEY, "holder", 100, 0, 0), KEYLOCK_TAKEN);
	park(0, KEY, "first", 100, 1, 0);
	assert_int_equal(take(KEY, "late", 100, 2, 150), KEYLOCK_BUSY);
	woken(0);
	expect_lock(KEY, "first", 100, 150);
}

static void who_gives_up_is_passed_over(void **unused)
{
	(void)unused;
	assert_int_equal(take(KEY, "holder", 0, 0, 0), KEYLOCK_TAKEN);
	park(0, KEY, "0", 0, 1, 0);
	park(1, KEY, "1", 0, 2, 0);
	park(2, KEY, "2", 0, 3, 0);
	park(3, KEY, "3", 0, 3, 0);
	assert_true(keylock_unpark(locks, &clients[1].waiter));
	assert_int_equal(clients[1].waiter.state, KEYLOCK_IDLE);
	assert_true(keylock_unpark(locks, &clients[3].waiter));
	assert_true(keylock_unpark(locks, &clients[0].waiter));
	keylocks_check(locks);
	assert_true(release(KEY, NULL, 0));
	woken(2);
	assert_true(release(KEY, "2", 0));
	expect_free(KEY, 0);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(clients[i].calls, 0);
}

static void giving_up_when_it_was_woken_is_too_late(void **unused)
{
	(void)unused;
	assert_int_equal(take(KEY, "holder", 0, 0, 0), KEYLOCK_TAKEN);
	park(0, KEY, "next", 0, 1, 0);
	assert_true(release(KEY, NULL, 0));
	assert_false(keylock_unpark(locks, &clients[0].waiter));
	expect_lock(KEY, "next", NEVER, 0);
	woken(0);
}

/* --- when to look --- */

static void who_waits_sees_the_time_out(void **unused)
{
	(void)unused;
	assert_int_equal(take(KEY, "holder", 100, 0, 0), KEYLOCK_TAKEN);
	assert_int_equal(park(0, KEY, "first", 30, 1, 10), 90);
	assert_int_equal(look(0, 60), 40);
	asleep(0);
	assert_int_equal(look(0, 100), NEVER);
	woken(0);
	expect_lock(KEY, "first", 30, 100);
}

static void behind_a_lock_without_a_time_nobody_looks(void **unused)
{
	(void)unused;
	assert_int_equal(take(KEY, "holder", 0, 0, 0), KEYLOCK_TAKEN);
	assert_int_equal(park(0, KEY, "first", 0, 1, 0), NEVER);
	assert_int_equal(park(1, KEY, "second", 7, 2, 0), NEVER);
	assert_int_equal(look(0, 1000), NEVER);
	asleep(0);
	/* Nor for the sake of those who were there before. */
	assert_true(keylock_unpark(locks, &clients[0].waiter));
	assert_true(keylock_unpark(locks, &clients[1].waiter));
	assert_int_equal(park(0, KEY, "first", 0, 1, 1000), NEVER);
	assert_int_equal(park(1, KEY, "second", 0, 2, 1000), NEVER);
}

static void a_time_that_was_extended_is_waited_for(void **unused)
{
	(void)unused;
	assert_int_equal(take(KEY, "holder", 100, 0, 0), KEYLOCK_TAKEN);
	assert_int_equal(park(0, KEY, "first", 0, 1, 0), 100);
	assert_true(extend(KEY, 100, 50));
	assert_int_equal(look(0, 100), 50);
	asleep(0);
	(void)look(0, 150);
	woken(0);
}

/* Who was parked earlier gets the lock in between, for a shorter time than its owner had it: the last one, which looks
 * when it was told to and at no other time, has it at the very moment when that is over. */
static void who_waits_sees_the_time_of_those_before_it_out(void **unused)
{
	uint64_t now = 0, next;

	(void)unused;
	assert_int_equal(take(KEY, "holder", 10000, 0, 0), KEYLOCK_TAKEN);
	assert_int_equal(park(0, KEY, "first", 40, 1, 0), 10000);
	park(1, KEY, "second", 0, 2, 0);
	next = park(2, KEY, "third", 500, 3, 0);
	while (now + next < 70) {
		now += next;
		next = look(2, now);
	}
	assert_true(keylock_unpark(locks, &clients[1].waiter));
	assert_true(release(KEY, "holder", 70));
	woken(0); /* it has it until 110, and hangs */
	for (unsigned i = 0; clients[2].waiter.state == KEYLOCK_PARKED; i++) {
		assert_true(i < 100);
		asleep(2);
		now += next;
		next = look(2, now);
	}
	assert_int_equal(now, 110);
	woken(2);
}

/* There is no other who would do it: any call sees to what is over. */
static void any_call_frees_what_is_over(void **unused)
{
	(void)unused;
	assert_int_equal(take(KEY, "holder", 100, 0, 0), KEYLOCK_TAKEN);
	park(0, KEY, "first", 100, 1, 0);
	expect_free(OTHER, 99);
	asleep(0);
	expect_free(OTHER, 100);
	woken(0);
	assert_int_equal(take(OTHER, "", 0, 2, 200), KEYLOCK_TAKEN);
	assert_true(list_empty(&owners[1].locks));
	expect_free(KEY, 200);
}

static void its_own_lock_is_freed_however_much_else_is_over(void **unused)
{
	enum { MANY = 5 * KEYLOCK_BATCH };

	(void)unused;
	for (uint32_t n = 0; n < MANY; n++)
		assert_int_equal(take(n, "old", 100, 0, 0), KEYLOCK_TAKEN);
	park(0, MANY - 1, "first", 0, 1, 0);
	park(1, MANY - 2, "first", 0, 1, 0);
	assert_int_equal(look(0, 100), NEVER);
	woken(0);
	assert_false(release(MANY - 3, "old", 100));
	expect_lock(MANY - 2, "first", NEVER, 100);
	woken(1);
}

/* --- the connection closes --- */

static void all_locks_go_with_their_owner(void **unused)
{
	enum { MANY = 3 * KEYLOCK_DROP + 1 };

	(void)unused;
	for (uint32_t n = 0; n < MANY; n++)
		assert_int_equal(take(n, "mine", 0, 0, 0), KEYLOCK_TAKEN);
	assert_int_equal(take(MANY, "theirs", 0, 1, 0), KEYLOCK_TAKEN);
	park(0, 0, "first", 0, 1, 0);
	park(1, MANY - 1, "first", 0, 2, 0);
	keylock_drop(locks, &owners[0], at(0));
	keylocks_check(locks);
	woken(0);
	woken(1);
	expect_lock(0, "first", NEVER, 0);
	expect_lock(MANY - 1, "first", NEVER, 0);
	expect_lock(MANY, "theirs", NEVER, 0);
	for (uint32_t n = 1; n < MANY - 1; n++)
		expect_free(n, 0);
	keylock_drop(locks, &owners[0], at(0)); /* nothing is left */
}

/* It is its owner's since it was handed on, whether its owner knows it or not. */
static void a_lock_that_is_on_its_way_goes_too(void **unused)
{
	(void)unused;
	assert_int_equal(take(KEY, "holder", 0, 0, 0), KEYLOCK_TAKEN);
	park(0, KEY, "first", 0, 1, 0);
	park(1, KEY, "second", 0, 2, 0);
	assert_true(release(KEY, NULL, 0));
	assert_false(keylock_unpark(locks, &clients[0].waiter));
	keylock_drop(locks, &owners[1], at(0));
	expect_lock(KEY, "second", NEVER, 0);
	woken(0);
	woken(1);
	expect_lock(KEY, "second", NEVER, 0);
}

static void who_freed_it_before_has_nothing_to_drop(void **unused)
{
	(void)unused;
	assert_int_equal(take(KEY, "mine", 0, 0, 0), KEYLOCK_TAKEN);
	assert_true(release(KEY, "mine", 0)); /* by another connection */
	assert_int_equal(take(KEY, "theirs", 0, 1, 0), KEYLOCK_TAKEN);
	keylock_drop(locks, &owners[0], at(0));
	expect_lock(KEY, "theirs", NEVER, 0);
}

/* --- bounds and memory --- */

static void there_is_room_for_so_many(void **unused)
{
	uint64_t look_ms;

	(void)unused;
	for (uint32_t n = 0; n < KEYLOCKS_MAX; n++)
		assert_int_equal(take(n, "", n == 77 ? 100 : 0, n % 2, 0), KEYLOCK_TAKEN);
	assert_int_equal(take(KEYLOCKS_MAX, "", 0, 0, 0), KEYLOCK_NO_ROOM);
	clients[0].waiter.id = id_of(KEYLOCKS_MAX);
	assert_int_equal(keylock_park(locks, &clients[0].waiter, at(0), &look_ms), KEYLOCK_NO_ROOM);
	assert_int_equal(clients[0].waiter.state, KEYLOCK_IDLE);
	/* Of those that are there nothing else is said, and they can be waited for. */
	assert_int_equal(take(1, "", 0, 0, 0), KEYLOCK_BUSY);
	park(0, 1, "next", 0, 2, 0);
	/* What is over makes room, though nobody asks for it. */
	assert_int_equal(take(KEYLOCKS_MAX, "", 0, 0, 99), KEYLOCK_NO_ROOM);
	assert_int_equal(take(KEYLOCKS_MAX, "", 0, 0, 100), KEYLOCK_TAKEN);
	assert_int_equal(take(77, "", 0, 0, 100), KEYLOCK_NO_ROOM);
	assert_true(release(1, NULL, 100)); /* to the next one */
	woken(0);
	assert_int_equal(take(77, "", 0, 0, 100), KEYLOCK_NO_ROOM);
	assert_true(release(2, NULL, 100));
	assert_int_equal(take(77, "", 0, 0, 100), KEYLOCK_TAKEN);
}

static void without_memory_there_are_no_locks(void **unused)
{
	(void)unused;
	no_memory = true;
	assert_null(new_locks());
}

static void a_lock_is_taken_or_nothing_has_changed(void **unused)
{
	uint64_t look_ms = 77;

	(void)unused;
	no_memory = true;
	assert_int_equal(take(KEY, "mine", 100, 0, 0), KEYLOCK_NO_ROOM);
	clients[0].waiter.id = id_of(KEY);
	assert_int_equal(keylock_park(locks, &clients[0].waiter, at(0), &look_ms), KEYLOCK_NO_ROOM);
	assert_int_equal(clients[0].waiter.state, KEYLOCK_IDLE);
	assert_int_equal(look_ms, 77);
	assert_true(list_empty(&owners[0].locks));
	expect_free(KEY, 0);
	no_memory = false;
	assert_int_equal(take(KEY, "mine", 100, 0, 0), KEYLOCK_TAKEN);
}

/* Who is parked has room for its token already. */
static void all_the_rest_needs_no_memory(void **unused)
{
	(void)unused;
	assert_int_equal(take(KEY, "", 100, 0, 0), KEYLOCK_TAKEN);
	no_memory = true;
	assert_int_equal(take(KEY, "late", 100, 1, 0), KEYLOCK_BUSY);
	assert_int_equal(park(0, KEY, "the first one", 100, 1, 0), 100);
	park(1, KEY, "the second one", 100, 2, 0);
	park(2, KEY, "third", 100, 3, 0);
	assert_true(release(KEY, "", 50));
	expect_lock(KEY, "the first one", 100, 50);
	woken(0);
	(void)look(1, 150);
	woken(1);
	assert_true(extend(KEY, 10, 150));
	expect_lock(KEY, "the second one", 10, 150);
	keylock_drop(locks, &owners[2], at(150));
	woken(2);
	expect_lock(KEY, "third", 100, 150);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(what_is_taken_is_busy_for_all),
	    TEST(it_is_freed_with_its_token_only),
	    TEST(or_without_asking_for_the_token),
	    TEST(tokens_have_any_length_up_to_the_bound),
	    TEST(many_keys_are_told_apart),
	    TEST(a_lock_goes_with_its_time),
	    TEST(a_lock_without_a_time_stays),
	    TEST(its_time_can_be_changed),
	    TEST(a_slower_clock_brings_nothing_back),
	    TEST(a_free_lock_is_taken_at_once),
	    TEST(first_come_first_served),
	    TEST(nobody_overtakes_who_is_parked),
	    TEST(nobody_overtakes_when_time_is_over_either),
	    TEST(who_gives_up_is_passed_over),
	    TEST(giving_up_when_it_was_woken_is_too_late),
	    TEST(who_waits_sees_the_time_out),
	    TEST(behind_a_lock_without_a_time_nobody_looks),
	    TEST(a_time_that_was_extended_is_waited_for),
	    TEST(who_waits_sees_the_time_of_those_before_it_out),
	    TEST(any_call_frees_what_is_over),
	    TEST(its_own_lock_is_freed_however_much_else_is_over),
	    TEST(all_locks_go_with_their_owner),
	    TEST(a_lock_that_is_on_its_way_goes_too),
	    TEST(who_freed_it_before_has_nothing_to_drop),
	    TEST(there_is_room_for_so_many),
	    TEST(without_memory_there_are_no_locks),
	    TEST(a_lock_is_taken_or_nothing_has_changed),
	    TEST(all_the_rest_needs_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
