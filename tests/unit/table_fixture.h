/* What the tests of the session table share: one table, requests that open and close, a clock in seconds. */
#ifndef WEIR_TESTS_TABLE_FIXTURE_H
#define WEIR_TESTS_TABLE_FIXTURE_H

#include "session/core.h"
#include "session/table.h"

#include "base/error.h"

#include <stdio.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

enum { APP = 2, OTHER_APP = 3, TTL_S = 30, WALL_S = 1700000000, TOMBSTONE_S = 10 };

#define T0 5000 /* ms on the clock when the table begins */

/* A request: what it holds, and whether its grant has arrived. */
struct request {
	struct sess_waiter waiter; /* first: the test's way back */
	struct sess_hold hold;
	unsigned grants;
};

static struct sess_table *table;

static inline struct instant at_ms(uint64_t ms)
{
	return (struct instant){.ms = T0 + ms};
}

static inline struct instant at_s(uint64_t s)
{
	return at_ms(s * 1000);
}

static inline struct sess_id id_of(uint32_t n)
{
	struct sess_id id = {{0}};

	memcpy(id.bytes, &n, sizeof(n));
	return id;
}

/* The statistics take every lock: a grant that came under one would hang here. */
static inline void note_grant(struct sess_waiter *w)
{
	struct sess_table_stats s;

	sess_table_stats(table, &s);
	CONTAINER_OF(w, struct request, waiter)->grants++;
}

static inline struct sess_table *new_table(uint64_t max_bytes, uint32_t shards)
{
	struct sess_table_options o = {
	    .max_bytes = max_bytes, .shards = shards, .tombstone_s = TOMBSTONE_S, .wall = {WALL_S}};
	struct sess_keys keys;
	uint8_t secret[SESS_SECRET_BYTES] = {7};

	sess_keys_derive(&keys, secret);
	return sess_table_new(&o, &keys, at_ms(0));
}

static inline int set_up(void **unused)
{
	(void)unused;
	table = new_table(1 << 20, 4);
	return table ? 0 : -1;
}

static inline int tear_down(void **unused)
{
	struct sess_table_stats stats;

	(void)unused;
	sess_table_check(table);
	sess_table_stats(table, &stats);
	assert_int_equal(stats.waiters, 0);
	sess_table_free(&table);
	assert_null(table);
	return 0;
}

static inline struct sess_commit data(const char *text)
{
	return (struct sess_commit){.has_data = true, .data = view_str(text)};
}

static inline void create(uint32_t n, const char *text, uint64_t now_s)
{
	struct sess_commit c = data(text);
	struct sess_id id = id_of(n);

	assert_int_equal(sess_table_create(table, APP, &c, TTL_S, &id, at_s(now_s)), 0);
}

static inline enum sess_open open_at(struct request *r, uint32_t n, enum sess_lock lock, struct instant now)
{
	struct sess_id id = id_of(n);

	*r = (struct request){.waiter.granted = note_grant};
	return sess_table_open(table, APP, &id, lock, &r->waiter, now, &r->hold);
}

static inline enum sess_open open_s(struct request *r, uint32_t n, uint64_t now_s)
{
	return open_at(r, n, SESS_LOCK_EXCLUSIVE, at_s(now_s));
}

static inline enum sess_open granted(struct request *r)
{
	assert_int_equal(r->grants, 1);
	r->grants = 0;
	return sess_table_granted(table, &r->waiter, &r->hold);
}

static inline void close_s(struct request *r, uint64_t now_s)
{
	sess_table_close(table, &r->hold, at_s(now_s));
	assert_null(r->hold.session);
}

static inline struct sess_outcome commit(struct request *r, struct sess_commit c, uint32_t fresh, uint64_t now_s)
{
	struct sess_outcome out = {0};
	struct sess_id id = id_of(fresh);

	assert_int_equal(sess_table_commit(table, &r->hold, &c, &id, at_s(now_s), &out), 0);
	return out;
}

static inline struct sess_outcome end(struct request *r)
{
	return commit(r, (struct sess_commit){.end = true}, 0, 0);
}

static inline void expect_state(struct request *r, const char *text)
{
	struct sess_snapshot snap;

	sess_table_read(table, &r->hold, &snap);
	assert_int_equal(snap.state ? snap.state->len : 0, strlen(text));
	if (snap.state)
		assert_memory_equal(snap.state->bytes, text, snap.state->len);
	sess_state_unref(snap.state);
}

/* Opens at `now_s`, expects the state, closes. */
static inline void expect_session(uint32_t n, const char *text, uint64_t now_s)
{
	struct request r;

	assert_int_equal(open_s(&r, n, now_s), SESS_OPENED);
	expect_state(&r, text);
	close_s(&r, now_s);
}

static inline void expect_absent(uint32_t n, uint64_t now_s)
{
	struct request r;

	assert_int_equal(open_s(&r, n, now_s), SESS_ABSENT);
	assert_null(r.hold.session);
}

static inline struct sess_table_stats stats(void)
{
	struct sess_table_stats s;

	sess_table_stats(table, &s);
	return s;
}

/* Runs the wheels of all shards. */
static inline void expire_all(uint64_t now_s)
{
	for (uint32_t i = 0; i < sess_table_shards(table); i++) {
		while (sess_table_expire(table, i, 3, at_s(now_s)))
			;
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
