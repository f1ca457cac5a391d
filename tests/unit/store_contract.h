/* What session/store.h promises, tried on any kind of store. The test program says which one in `contract` and lists
 * CONTRACT_TESTS(setup, teardown) among its own, where setup opens an empty store into `store`. */
#ifndef WEIR_TESTS_UNIT_STORE_CONTRACT_H
#define WEIR_TESTS_UNIT_STORE_CONTRACT_H

#include "session/store.h"

#include "base/error.h"

#include <stdio.h>
#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

enum { USED_S = 1700000000, TTL_S = 1800, MANY = 1000 };

static struct contract {
	const struct store_kind *kind;
	struct store_options options;
} contract;

static struct store *store;

/* Scattered over the keys, as drawn ids are. */
static inline struct sess_id id_of(uint32_t n)
{
	struct sess_id id = {{0}};
	uint32_t mixed = n * 2654435761U;

	memcpy(id.bytes, &mixed, sizeof(mixed));
	memcpy(id.bytes + 4, &n, sizeof(n));
	return id;
}

static inline uint32_t number_of(const struct sess_id *id)
{
	uint32_t n;

	memcpy(&n, id->bytes + 4, sizeof(n));
	return n;
}

/* Bytes that only this session in this version has. Good until the next call but seven. */
static inline struct view state_of(uint32_t n, uint64_t version, size_t len)
{
	static uint8_t *slots[8];
	static unsigned turn;
	uint32_t mixed = n * 40503U + (uint32_t)version;
	uint8_t *bytes = realloc(slots[++turn % 8], len + 1);

	assert_non_null(bytes);
	slots[turn % 8] = bytes;
	for (size_t i = 0; i < len; i++) {
		mixed = mixed * 1664525 + 1013904223;
		bytes[i] = (uint8_t)(mixed >> 24);
	}
	return view_of(bytes, len);
}

static inline struct sess_record record_of(uint32_t n, uint64_t version, size_t len)
{
	return (struct sess_record){
	    .id = id_of(n),
	    .app = VIEW("shop"),
	    .version = version,
	    .created_s = USED_S - 7,
	    .used_s = USED_S + n,
	    .ttl_s = TTL_S,
	    .fresh = n % 2 == 0,
	    .pinned = n % 3 == 0,
	    .state = state_of(n, version, len),
	};
}

static inline void put(uint32_t n, uint64_t version, size_t len)
{
	struct sess_record r = record_of(n, version, len);

	assert_int_equal(contract.kind->put(store, &r), 0);
}

static inline void commit(void)
{
	assert_int_equal(contract.kind->commit(store), 0);
}

static inline void take_away(uint32_t n)
{
	struct sess_id id = id_of(n);

	assert_int_equal(contract.kind->remove(store, &id), 0);
}

static inline void expect_same(const struct sess_record *r, uint32_t n, uint64_t version, size_t len)
{
	struct sess_record want = record_of(n, version, len);

	assert_true(sess_id_eq(&r->id, &want.id));
	assert_true(view_eq(r->app, want.app));
	assert_int_equal(r->version, want.version);
	assert_int_equal(r->created_s, want.created_s);
	assert_int_equal(r->used_s, want.used_s);
	assert_int_equal(r->ttl_s, want.ttl_s);
	assert_int_equal(r->fresh, want.fresh);
	assert_int_equal(r->pinned, want.pinned);
	assert_true(view_eq(r->state, want.state));
}

static inline int get_err(uint32_t n)
{
	struct buf space = {0};
	struct sess_id id = id_of(n);
	struct sess_record r;
	int err = contract.kind->get(store, &id, &space, &r);

	buf_fini(&space);
	return err;
}

static inline void expect_there(uint32_t n, uint64_t version, size_t len)
{
	struct buf space = {0};
	struct sess_id id = id_of(n);
	struct sess_record r;

	assert_int_equal(contract.kind->get(store, &id, &space, &r), 0);
	expect_same(&r, n, version, len);
	buf_fini(&space);
}

static inline void expect_gone(uint32_t n)
{
	assert_int_equal(get_err(n), ERR_GONE);
}

static inline struct store_count count_of(void)
{
	struct store_count c;

	contract.kind->count(store, &c);
	return c;
}

/* What a walk met: how often each number, and in which order. */
struct walked {
	uint32_t times[MANY];
	uint32_t count, stop_after, failed;
	struct sess_id last;
};

static inline bool walk_note(void *arg, const struct sess_record *r, int err)
{
	struct walked *w = arg;
	uint32_t n = number_of(&r->id);

	assert_true(n < MANY);
	w->times[n]++;
	w->count++;
	w->failed += err != 0;
	w->last = r->id;
	return w->count != w->stop_after;
}

static inline struct walked walk_all(void)
{
	struct walked w = {0};

	assert_int_equal(contract.kind->scan(store, NULL, walk_note, &w), 0);
	return w;
}

/* Who was told to be gone. */
struct reaped {
	uint32_t times[MANY];
	uint32_t count;
};

static inline void reap_note(void *arg, const struct sess_id *id)
{
	struct reaped *r = arg;

	assert_true(number_of(id) < MANY);
	r->times[number_of(id)]++;
	r->count++;
}

/* How many have gone. */
static inline uint32_t expire(uint32_t now_s, uint32_t max, struct reaped *r)
{
	uint32_t before = r->count;
	bool more;

	assert_int_equal(contract.kind->expire(store, now_s, max, reap_note, r, &more), 0);
	assert_true(more || r->count - before < max);
	return r->count - before;
}

/* --- the promises --- */

static inline void contract_empty(void **state)
{
	struct reaped r = {0};

	(void)state;
	expect_gone(1);
	take_away(1);
	assert_int_equal(expire(UINT32_MAX, MANY, &r), 0);
	commit();
	commit();
	assert_int_equal(walk_all().count, 0);
	assert_int_equal(count_of().sessions, 0);
	assert_int_equal(count_of().bytes, 0);
	assert_int_equal(contract.kind->tend(store), 0);
}

static inline void contract_comes_back(void **state)
{
	static const size_t lens[] = {0, 1, 100, 1024, 4000, 8192, 60000, 300000};

	(void)state;
	for (uint32_t n = 0; n < sizeof lens / sizeof lens[0]; n++)
		put(n, n + 1, lens[n]);
	for (uint32_t n = 0; n < sizeof lens / sizeof lens[0]; n++)
		expect_there(n, n + 1, lens[n]);
	commit();
	for (uint32_t n = 0; n < sizeof lens / sizeof lens[0]; n++)
		expect_there(n, n + 1, lens[n]);
	assert_int_equal(count_of().sessions, sizeof lens / sizeof lens[0]);
	assert_true(count_of().bytes >= 60000 + 300000);
}

static inline void contract_extreme_fields(void **state)
{
	char app[RECORD_APP_MAX];
	struct buf space = {0};
	struct sess_record r = record_of(1, UINT64_MAX, 10), got;

	(void)state;
	memset(app, 'x', sizeof(app));
	r.app = view_of(app, sizeof(app));
	r.created_s = r.used_s = r.ttl_s = UINT32_MAX;
	assert_int_equal(contract.kind->put(store, &r), 0);
	commit();
	assert_int_equal(contract.kind->get(store, &r.id, &space, &got), 0);
	assert_true(view_eq(got.app, r.app));
	assert_true(got.version == UINT64_MAX);
	assert_int_equal(got.created_s, UINT32_MAX);
	assert_int_equal(got.used_s, UINT32_MAX);
	assert_int_equal(got.ttl_s, UINT32_MAX);
	buf_fini(&space);
}

/* What the caller's space held, and that it had failed, is forgotten. */
static inline void contract_space_is_cleared(void **state)
{
	struct buf space = {0};
	struct sess_id id = id_of(1);
	struct sess_record r;

	(void)state;
	put(1, 1, 50);
	buf_put(&space, VIEW("left over"));
	space.err = ERR_TOO_LARGE;
	assert_int_equal(contract.kind->get(store, &id, &space, &r), 0);
	expect_same(&r, 1, 1, 50);
	buf_fini(&space);
}

static inline void contract_put_replaces(void **state)
{
	(void)state;
	put(1, 1, 1000);
	put(2, 1, 1000);
	commit();
	uint64_t bytes = count_of().bytes;
	put(1, 2, 400);
	expect_there(1, 2, 400);
	commit();
	expect_there(1, 2, 400);
	expect_there(2, 1, 1000);
	assert_int_equal(count_of().sessions, 2);
	assert_true(count_of().bytes < bytes);
	put(1, 3, 20000);
	put(1, 4, 90000);
	put(1, 5, 10);
	expect_there(1, 5, 10);
	put(1, 6, 1000);
	commit();
	expect_there(1, 6, 1000);
	assert_int_equal(count_of().sessions, 2);
	assert_int_equal(count_of().bytes, bytes);
	assert_int_equal(walk_all().count, 2);
}

static inline void contract_remove(void **state)
{
	(void)state;
	put(1, 1, 1000);
	put(3, 1, 1000);
	commit();
	uint64_t bytes = count_of().bytes;
	put(2, 1, 70000);
	commit();
	assert_true(count_of().bytes > bytes + 70000);
	take_away(2);
	expect_gone(2);
	commit();
	expect_gone(2);
	take_away(2);
	commit();
	assert_int_equal(count_of().sessions, 2);
	assert_int_equal(count_of().bytes, bytes);
	take_away(1);
	take_away(3);
	commit();
	assert_int_equal(count_of().sessions, 0);
	assert_int_equal(count_of().bytes, 0);
	put(2, 3, 5);
	take_away(2);
	commit();
	expect_gone(2);
	assert_int_equal(count_of().bytes, 0);
}

static inline void contract_the_batch_is_seen(void **state)
{
	struct reaped r = {0};

	(void)state;
	put(1, 1, 10);
	commit();
	put(2, 1, 10);
	put(1, 2, 10);
	put(3, 1, 10);
	take_away(3);
	expect_there(1, 2, 10);
	expect_there(2, 1, 10);
	expect_gone(3);
	assert_int_equal(walk_all().count, 2);
	assert_int_equal(expire(USED_S + 1 + TTL_S, MANY, &r), 1);
	expect_gone(1);
	assert_int_equal(walk_all().count, 1);
	commit();
	assert_int_equal(count_of().sessions, 1);
}

static inline void contract_walk(void **state)
{
	struct walked w;

	(void)state;
	for (uint32_t n = 0; n < MANY; n++)
		put(n, 1, n % 7 == 0 ? 9000 : 20);
	commit();
	w = walk_all();
	assert_int_equal(w.count, MANY);
	for (uint32_t n = 0; n < MANY; n++)
		assert_int_equal(w.times[n], 1);
	/* In pieces, with what is behind the last one gone, and with others put and removed in between. */
	memset(&w, 0, sizeof(w));
	for (uint32_t piece = 1; w.count < piece * 100; piece++) {
		w.stop_after = piece * 100;
		struct sess_id after = w.last;
		assert_int_equal(contract.kind->scan(store, piece > 1 ? &after : NULL, walk_note, &w), 0);
		take_away(number_of(&w.last));
		put(number_of(&w.last) / 2, 2, 30);
		if (piece % 2 == 0)
			commit();
		if (w.count < w.stop_after)
			break;
	}
	assert_true(w.count >= MANY - 10);
	for (uint32_t n = 0; n < MANY; n++)
		assert_true(w.times[n] <= 1);
}

static inline void contract_walk_tells_all(void **state)
{
	struct walked w = {.stop_after = 1};
	struct sess_id behind_all;

	(void)state;
	put(5, 9, 77);
	commit();
	assert_int_equal(contract.kind->scan(store, NULL, walk_note, &w), 0);
	assert_int_equal(w.count, 1);
	memset(behind_all.bytes, 0xff, sizeof(behind_all.bytes));
	assert_int_equal(contract.kind->scan(store, &behind_all, walk_note, &w), 0);
	assert_int_equal(w.count, 1);
}

static inline void contract_expire(void **state)
{
	struct reaped r = {0};

	(void)state;
	for (uint32_t n = 0; n < MANY; n++)
		put(n, 1, 20);
	commit();
	assert_int_equal(expire(USED_S + TTL_S - 1, MANY, &r), 0);
	assert_int_equal(r.count, 0);
	assert_int_equal(expire(USED_S + TTL_S, MANY, &r), 1);
	assert_int_equal(r.times[0], 1);
	expect_gone(0);
	assert_int_equal(expire(USED_S + TTL_S + 100, 30, &r), 30);
	assert_int_equal(expire(USED_S + TTL_S + 100, 30, &r), 30);
	assert_int_equal(expire(USED_S + TTL_S + 100, 30, &r), 30);
	assert_int_equal(expire(USED_S + TTL_S + 100, 30, &r), 10);
	assert_int_equal(expire(USED_S + TTL_S + 100, 30, &r), 0);
	commit();
	for (uint32_t n = 0; n < MANY; n++) {
		assert_int_equal(r.times[n], n <= 100);
		assert_int_equal(get_err(n), n <= 100 ? ERR_GONE : 0);
	}
	assert_int_equal(count_of().sessions, MANY - 101);
	assert_int_equal(expire(UINT32_MAX, MANY, &r), MANY - 101);
	commit();
	assert_int_equal(count_of().sessions, 0);
	assert_int_equal(count_of().bytes, 0);
}

/* A piece of it, and then it says that there is more. */
static inline void contract_expire_goes_on(void **state)
{
	struct reaped r = {0};
	unsigned calls = 0;
	bool more = true;

	(void)state;
	for (uint32_t n = 0; n < 50; n++)
		put(n, 1, n % 2 ? 300000 : 20);
	commit();
	for (; more; calls++) {
		assert_int_equal(contract.kind->expire(store, UINT32_MAX, 20, reap_note, &r, &more), 0);
		commit();
	}
	assert_in_range(calls, 3, 50);
	assert_int_equal(r.count, 50);
	assert_int_equal(count_of().sessions, 0);
}

/* What a session's time was before does not end it, and what was removed does not end twice. */
static inline void contract_expire_by_the_last_put(void **state)
{
	struct sess_record later = record_of(1, 2, 20), sooner = record_of(900, 2, 20);
	struct reaped r = {0};

	(void)state;
	put(1, 1, 20);
	put(900, 1, 20);
	put(3, 1, 20);
	commit();
	later.used_s += 500;
	sooner.used_s -= 890;
	later.state = sooner.state = VIEW("another");
	assert_int_equal(contract.kind->put(store, &later), 0);
	assert_int_equal(contract.kind->put(store, &sooner), 0);
	take_away(3);
	assert_int_equal(expire(USED_S + TTL_S + 400, MANY, &r), 1);
	assert_int_equal(r.times[900], 1);
	assert_int_equal(get_err(1), 0);
	assert_int_equal(expire(USED_S + TTL_S + 501, MANY, &r), 1);
	assert_int_equal(r.times[1], 1);
	commit();
	assert_int_equal(count_of().sessions, 0);
}

/* Over 32 bits of seconds: never in this calendar. */
static inline void contract_expire_far_away(void **state)
{
	struct sess_record r = record_of(1, 1, 5);
	struct reaped reaped = {0};

	(void)state;
	r.ttl_s = UINT32_MAX;
	assert_int_equal(contract.kind->put(store, &r), 0);
	commit();
	assert_int_equal(expire(UINT32_MAX, MANY, &reaped), 0);
	assert_int_equal(get_err(1), 0);
}

static inline void contract_bound(void **state)
{
	struct store_options o = contract.options;
	struct sess_record large = record_of(3, 1, 2000), smaller = record_of(2, 2, 500);

	(void)state;
	put(1, 1, 1000);
	put(2, 1, 1000);
	commit();
	o.max_bytes = count_of().bytes + 1500;
	contract.kind->set(store, &o);
	put(4, 1, 10);
	large.state = state_of(3, 1, 2000); /* good until the next record is made */
	assert_int_equal(contract.kind->put(store, &large), ERR_FULL);
	expect_gone(3);
	put(5, 1, 20);
	commit();
	assert_int_equal(count_of().sessions, 4);
	expect_there(4, 1, 10);
	expect_there(5, 1, 20);
	/* Over the bound what is there may still shrink, and nothing else comes in. */
	o.max_bytes = 100;
	contract.kind->set(store, &o);
	large.state = state_of(3, 1, 2000);
	assert_int_equal(contract.kind->put(store, &large), ERR_FULL);
	smaller.state = state_of(2, 2, 500);
	(void)contract.kind->put(store, &smaller);
	commit();
	contract.kind->set(store, &contract.options);
	put(3, 1, 2000);
	commit();
	expect_there(3, 1, 2000);
	assert_int_equal(count_of().sessions, 5);
}

#define CONTRACT_TEST(name, setup, teardown)                                                                           \
	{                                                                                                              \
#name, name, setup, teardown, NULL                                                                     \
	}

#define CONTRACT_TESTS(setup, teardown)                                                                                \
	CONTRACT_TEST(contract_empty, setup, teardown), CONTRACT_TEST(contract_comes_back, setup, teardown),           \
	    CONTRACT_TEST(contract_extreme_fields, setup, teardown),                                                   \
	    CONTRACT_TEST(contract_space_is_cleared, setup, teardown),                                                 \
	    CONTRACT_TEST(contract_put_replaces, setup, teardown), CONTRACT_TEST(contract_remove, setup, teardown),    \
	    CONTRACT_TEST(contract_the_batch_is_seen, setup, teardown), CONTRACT_TEST(contract_walk, setup, teardown), \
	    CONTRACT_TEST(contract_walk_tells_all, setup, teardown), CONTRACT_TEST(contract_expire, setup, teardown),  \
	    CONTRACT_TEST(contract_expire_goes_on, setup, teardown),                                                   \
	    CONTRACT_TEST(contract_expire_by_the_last_put, setup, teardown),                                           \
	    CONTRACT_TEST(contract_expire_far_away, setup, teardown), CONTRACT_TEST(contract_bound, setup, teardown)

#endif
