/* Sessions that move, the table's side of it (session/move.h): collecting, leaving, placeholders, tombstones and walks,
 * on one thread. What the stack does with it is in test_stack*.c. */
#include "tests/unit/table_fixture.h"

#include "session/move.h"

static int set_up_below(void **unused)
{
	struct sess_table_options o = {
	    .max_bytes = 1 << 20, .shards = 4, .tombstone_s = TOMBSTONE_S, .wall = {WALL_S}, .has_below = true};
	struct sess_keys keys;
	uint8_t secret[SESS_SECRET_BYTES] = {7};

	(void)unused;
	sess_keys_derive(&keys, secret);
	table = sess_table_new(&o, &keys, at_ms(0));
	return table ? 0 : -1;
}

#undef TEST
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_below, tear_down)

static const struct sess_reason ALL = {.evict = NULL};

static uint32_t collect(const struct sess_reason *why, uint64_t now_s, struct sess_leaver *out, uint32_t max)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < sess_table_shards(table); i++) {
		uint64_t bytes = UINT64_MAX;
		n += sess_table_collect(table, i, why, at_s(now_s), max - n, &bytes, out + n);
	}
	return n;
}

static bool left(struct sess_leaver *l, enum sess_stored stored, const struct sess_reason *why)
{
	l->stored = stored;
	return sess_table_left(table, l, why);
}

static struct sess_record record_of(uint32_t n, const char *text)
{
	return (struct sess_record){
	    .id = id_of(n),
	    .app = VIEW("shop"),
	    .version = 5,
	    .created_s = WALL_S - 10,
	    .used_s = WALL_S,
	    .ttl_s = TTL_S,
	    .state = view_str(text),
	};
}

/* --- down --- */

static void all_that_nobody_uses_is_collected_once(void **unused)
{
	struct sess_leaver out[10];
	struct request r;

	(void)unused;
	for (uint32_t n = 0; n < 5; n++)
		create(n, "a", n);
	assert_int_equal(open_s(&r, 2, 5), SESS_OPENED);
	assert_int_equal(collect(&ALL, 5, out, 10), 4);
	sess_table_check(table);
	struct sess_leaver again[10];
	assert_int_equal(collect(&ALL, 5, again, 10), 0);
	for (int i = 0; i < 4; i++)
		assert_true(left(&out[i], SESS_STORED, &ALL));
	close_s(&r, 5);
	assert_int_equal(stats().sessions, 1);
	expect_session(2, "a", 5);
}

static void the_oldest_are_collected_first_and_no_more_than_asked(void **unused)
{
	struct sess_leaver out[10];
	uint64_t bytes = 1;
	uint32_t used_s;

	(void)unused;
	sess_table_free(&table);
	table = new_table(1 << 20, 1);
	assert_false(sess_table_oldest(table, 0, &used_s));
	for (uint32_t n = 0; n < 5; n++)
		create(n, "0123456789", n);
	assert_true(sess_table_oldest(table, 0, &used_s));
	assert_int_equal(used_s, WALL_S);
	/* Two by number; then by bytes, one at least. */
	bytes = UINT64_MAX;
	assert_int_equal(sess_table_collect(table, 0, &ALL, at_s(5), 2, &bytes, out), 2);
	assert_true(sess_id_eq(&out[0].id, &(struct sess_id){{0}}));
	bytes = 1;
	assert_int_equal(sess_table_collect(table, 0, &ALL, at_s(5), 8, &bytes, out + 2), 1);
	assert_int_equal(bytes, 0);
	assert_int_equal(sess_table_collect(table, 0, &ALL, at_s(5), 8, &bytes, out + 3), 0);
	assert_true(sess_table_oldest(table, 0, &used_s));
	assert_int_equal(used_s, WALL_S + 3);
	for (int i = 0; i < 3; i++)
		assert_false(left(&out[i], SESS_NOT_STORED, &ALL));
	assert_int_equal(stats().sessions, 5);
}

static void a_reason_names_an_app_or_a_time(void **unused)
{
	struct sess_leaver out[10];
	struct sess_reason other = {.one_app = true, .app = OTHER_APP};
	struct sess_reason old = {.used_until_s = WALL_S + 2};

	(void)unused;
	for (uint32_t n = 0; n < 5; n++)
		create(n, "a", n);
	assert_int_equal(collect(&other, 5, out, 10), 0);
	assert_int_equal(collect(&old, 5, out, 10), 3);
	for (int i = 0; i < 3; i++)
		assert_true(left(&out[i], SESS_STORED, &old));
	assert_int_equal(stats().both, 0);
}

/* A piece is a bounded one, whoever the sessions belong to: the shard's lock is held for it. Those that come and go
 * meanwhile harm nobody. */
static void a_walk_collects_all_of_an_app_in_pieces(void **unused)
{
	enum { OTHERS = 3000, MINE = 40 };
	static struct sess_leaver out[MINE];
	struct sess_reason mine = {.one_app = true, .app = APP, .used_until_s = WALL_S + 5};
	uint32_t shard = 0, bucket = 0, pieces = 0, found = 0;
	struct sess_commit c = data("x");
	struct request r;

	(void)unused;
	for (uint32_t n = 0; n < OTHERS; n++) {
		struct sess_id id = id_of(1000 + n);
		assert_int_equal(sess_table_create(table, OTHER_APP, &c, TTL_S, &id, at_s(0)), 0);
	}
	for (uint32_t n = 0; n < MINE; n++)
		create(n, "a", n == 7 ? 6 : 5);
	struct sess_id pinned = id_of(8);
	assert_int_equal(sess_table_pin(table, &pinned, UINT64_MAX), 0);
	assert_int_equal(open_s(&r, 9, 5), SESS_OPENED);
	for (; shard < sess_table_shards(table); pieces++) {
		uint64_t bytes = UINT64_MAX;
		uint32_t n = sess_table_collect_next(table, &shard, &bucket, &mine, at_s(5), 2, &bytes, out);
		assert_in_range(n, 0, 2);
		found += n;
		for (uint32_t i = 0; i < n; i++)
			assert_true(left(&out[i], SESS_STORED, &mine));
		create(5000 + pieces, "new", 6);
		sess_table_check(table);
	}
	assert_int_equal(found, MINE - 3);
	assert_in_range(pieces, OTHERS / 600, OTHERS / 20);
	close_s(&r, 5);
	assert_int_equal(stats().sessions, OTHERS + 3 + pieces);
	mine.app = APP + OTHER_APP; /* nobody's */
	for (pieces = shard = 0; shard < sess_table_shards(table); pieces++) {
		uint64_t bytes = UINT64_MAX;
		assert_int_equal(sess_table_collect_next(table, &shard, &bucket, &mine, at_s(5), 2, &bytes, out), 0);
	}
	assert_in_range(pieces, OTHERS / 600, 20);
}

/* Wherever it is cut short. */
static void a_walk_that_is_cut_short_misses_nothing(void **unused)
{
	enum { MINE = 60, ROUNDS = 20 };
	struct sess_leaver out[1];

	(void)unused;
	for (uint32_t round = 0; round < ROUNDS; round++) {
		uint32_t shard = 0, bucket = 0, found = 0;
		sess_table_free(&table);
		table = new_table(1 << 20, 1);
		for (uint32_t n = 0; n < MINE; n++)
			create(round * MINE + n, "a", 0);
		while (shard == 0) {
			uint64_t bytes = UINT64_MAX;
			uint32_t n = sess_table_collect_next(table, &shard, &bucket, &ALL, at_s(1), 1, &bytes, out);
			if (n > 0)
				assert_true(left(&out[0], SESS_STORED, &ALL));
			found += n;
		}
		assert_int_equal(found, MINE);
	}
}

static void pinned_ones_leave_only_where_that_is_said(void **unused)
{
	struct sess_leaver out[10];
	struct sess_reason end = {.pinned_too = true};
	struct sess_id id = id_of(1);

	(void)unused;
	create(1, "a", 0);
	create(2, "b", 0);
	assert_int_equal(sess_table_pin(table, &id, UINT64_MAX), 0);
	assert_int_equal(sess_table_collect_one(table, &id, out), ERR_REFUSED);
	assert_int_equal(collect(&ALL, 0, out, 10), 1);
	assert_true(left(&out[0], SESS_STORED, &ALL));
	assert_int_equal(collect(&end, 0, out, 10), 1);
	assert_true(out[0].pinned);
	assert_true(left(&out[0], SESS_STORED, &end));
	assert_int_equal(stats().sessions, 0);
	assert_int_equal(stats().pinned, 0);
	/* One that was in the way of such a collection, and not taken, is nobody else's later. */
	create(1, "a", 0);
	create(3, "c", 0);
	id = id_of(1);
	assert_int_equal(sess_table_pin(table, &id, UINT64_MAX), 0);
	id = id_of(3);
	assert_int_equal(sess_table_pin(table, &id, UINT64_MAX), 0);
	assert_int_equal(collect(&end, 0, out, 0), 0);
	sess_table_check(table);
	assert_int_equal(collect(&ALL, 0, out, 10), 0);
	sess_table_check(table);
}

/* Bytes of the pinned ones are counted through all that can happen to them; sess_table_check() compares. */
static void what_pinned_ones_take_is_known(void **unused)
{
	struct sess_commit both = {.renew = true, .has_data = true, .data = VIEW("longer than it was")};
	struct sess_id id = id_of(1);
	struct sess_leaver out[10];
	struct sess_reason end = {.pinned_too = true};
	struct request r;

	(void)unused;
	create(1, "12345", 0);
	uint64_t five = stats().bytes;
	assert_int_equal(sess_table_pin(table, &id, five - 1), ERR_TOO_LARGE);
	assert_int_equal(stats().pinned_bytes, 0);
	assert_int_equal(sess_table_pin(table, &id, five), 0);
	assert_int_equal(sess_table_pin(table, &id, 0), 0); /* it is */
	assert_int_equal(stats().pinned_bytes, five);
	create(2, "12345", 0);
	id = id_of(2);
	assert_int_equal(sess_table_pin(table, &id, 2 * five - 1), ERR_TOO_LARGE);
	assert_int_equal(sess_table_pinned_bytes(table), five);
	/* It grows, also with a new id. */
	assert_int_equal(open_s(&r, 1, 0), SESS_OPENED);
	commit(&r, data("1234567890"), 0, 0);
	assert_int_equal(stats().pinned_bytes, five + 5);
	sess_table_check(table);
	commit(&r, both, 5, 0);
	close_s(&r, 0);
	assert_int_equal(stats().pinned_bytes, five - 5 + both.data.len);
	sess_table_check(table);
	/* It leaves, and comes. */
	assert_int_equal(collect(&end, 0, out, 10), 2);
	for (int i = 0; i < 2; i++)
		assert_true(left(&out[i], SESS_STORED, &end));
	assert_int_equal(stats().pinned_bytes, 0);
	struct sess_record up = record_of(5, "123456");
	up.pinned = true;
	assert_int_equal(sess_table_expect(table, &up.id, at_s(0)), 0);
	assert_int_equal(sess_table_arrive(table, APP, &up), 0);
	assert_int_equal(stats().pinned_bytes, five + 1);
	sess_table_check(table);
	struct sess_record over = record_of(5, "1");
	over.pinned = true;
	assert_int_equal(sess_table_put(table, APP, &over), 0);
	assert_int_equal(stats().pinned_bytes, five - 4);
	/* It ends. */
	id = id_of(5);
	assert_int_equal(sess_table_end(table, &id), 0);
	assert_int_equal(stats().pinned_bytes, 0);
	create(6, "x", 0);
	id = id_of(6);
	assert_int_equal(sess_table_pin(table, &id, UINT64_MAX), 0);
	expire_all(TTL_S + 1);
	assert_int_equal(stats().pinned_bytes, 0);
	create(7, "x", TTL_S + 1);
	id = id_of(7);
	assert_int_equal(sess_table_pin(table, &id, UINT64_MAX), 0);
	assert_int_equal(sess_table_unpin(table, &id), 0);
	assert_int_equal(stats().pinned_bytes, 0);
	assert_int_equal(sess_table_unpin(table, &up.id), ERR_GONE);
}

static void one_is_collected_by_its_id(void **unused)
{
	struct sess_leaver out, again;
	struct sess_id id = id_of(1), none = id_of(9);
	struct request r;

	(void)unused;
	create(1, "a", 0);
	assert_int_equal(sess_table_collect_one(table, &none, &out), ERR_GONE);
	assert_int_equal(open_s(&r, 1, 0), SESS_OPENED);
	assert_int_equal(sess_table_collect_one(table, &id, &out), ERR_BUSY);
	close_s(&r, 0);
	assert_int_equal(sess_table_collect_one(table, &id, &out), 0);
	assert_int_equal(sess_table_collect_one(table, &id, &again), ERR_BUSY);
	assert_memory_equal(out.state->bytes, "a", 1);
	assert_int_equal(out.app, APP);
	assert_true(left(&out, SESS_STORED, &ALL));
	assert_int_equal(sess_table_collect_one(table, &id, &out), ERR_GONE);
	assert_int_equal(stats().bytes, 0);
}

/* --- up --- */

static void what_is_expected_comes_or_not(void **unused)
{
	struct sess_id id = id_of(1);
	struct sess_record r = record_of(1, "five");
	struct request a;

	(void)unused;
	assert_int_equal(sess_table_arrive(table, APP, &r), ERR_GONE);
	assert_int_equal(sess_table_expect(table, &id, at_s(0)), 0);
	assert_int_equal(sess_table_expect(table, &id, at_s(0)), ERR_BUSY);
	assert_int_equal(open_s(&a, 1, 0), SESS_QUEUED);
	assert_false(a.hold.fetch); /* it was asked for already */
	assert_int_equal(sess_table_arrive(table, APP, &r), 0);
	assert_int_equal(sess_table_arrive(table, APP, &r), ERR_GONE);
	assert_int_equal(sess_table_expect(table, &id, at_s(0)), ERR_BUSY);
	assert_int_equal(granted(&a), SESS_OPENED);
	expect_state(&a, "five");
	close_s(&a, 0);
	assert_int_equal(stats().both, 1);
	struct sess_id none = id_of(2);
	assert_int_equal(sess_table_expect(table, &none, at_s(0)), 0);
	sess_table_fail(table, &none, SESS_ABSENT);
	sess_table_fail(table, &none, SESS_ABSENT);
	sess_table_fail(table, &id, SESS_ABSENT); /* it is there */
	expect_session(1, "five", 0);
}

static void what_has_no_room_is_still_expected(void **unused)
{
	struct sess_id id = id_of(1);
	static char large[1 << 20];
	struct request a;

	(void)unused;
	memset(large, 'x', sizeof large - 1);
	struct sess_record r = record_of(1, large);
	assert_int_equal(open_s(&a, 1, 0), SESS_QUEUED);
	assert_true(a.hold.fetch);
	assert_int_equal(sess_table_arrive(table, APP, &r), ERR_FULL);
	sess_table_check(table);
	sess_table_set_max(table, 1 << 22);
	assert_int_equal(sess_table_arrive(table, APP, &r), 0);
	assert_int_equal(granted(&a), SESS_OPENED);
	close_s(&a, 0);
	assert_int_equal(sess_table_end(table, &id), 0);
}

static void what_does_not_come_says_why(void **unused)
{
	struct sess_id id = id_of(1);
	struct request a, b;

	(void)unused;
	assert_int_equal(open_s(&a, 1, 0), SESS_QUEUED);
	assert_int_equal(open_at(&b, 1, SESS_LOCK_NONE, at_s(0)), SESS_QUEUED);
	sess_table_fail(table, &id, SESS_UNAVAILABLE);
	/* A new look-up is a new question. */
	struct request c;
	assert_int_equal(open_s(&c, 1, 0), SESS_QUEUED);
	assert_true(c.hold.fetch);
	assert_int_equal(granted(&a), SESS_UNAVAILABLE);
	assert_int_equal(granted(&b), SESS_UNAVAILABLE);
	sess_table_fail(table, &id, SESS_ABSENT);
	assert_int_equal(granted(&c), SESS_ABSENT);
	assert_int_equal(stats().bytes, 0);
}

/* --- what has ended, and is below --- */

static uint32_t owed(struct sess_id *ids, uint32_t max)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < sess_table_shards(table); i++)
		n += sess_table_owed(table, i, max - n, ids + n);
	return n;
}

static void create_both(uint32_t n)
{
	struct sess_id id = id_of(n);
	struct sess_record r = record_of(n, "a");

	assert_int_equal(sess_table_expect(table, &id, at_s(0)), 0);
	assert_int_equal(sess_table_arrive(table, APP, &r), 0);
}

static void what_has_ended_is_owed_until_it_is_settled(void **unused)
{
	struct sess_id ids[4], id = id_of(1);

	(void)unused;
	create_both(1);
	create(2, "b", 0);
	struct sess_id other = id_of(2);
	assert_int_equal(sess_table_end(table, &id), 0);
	assert_int_equal(sess_table_end(table, &id), ERR_GONE);
	assert_int_equal(sess_table_end(table, &other), 0); /* it was never below */
	assert_int_equal(owed(ids, 4), 1);
	assert_true(sess_id_eq(&ids[0], &id));
	assert_true(sess_table_owes(table, &id));
	expect_absent(1, 0);
	assert_int_equal(sess_table_expect(table, &id, at_s(0)), ERR_GONE);
	assert_int_equal(stats().sessions, 0);
	assert_int_equal(stats().both, 0);
	expire_all(1000);
	assert_int_equal(owed(ids, 4), 1);
	sess_table_check(table);
	sess_table_settle(table, &id);
	assert_false(sess_table_owes(table, &id));
	sess_table_settle(table, &id);
	assert_int_equal(stats().bytes, 0);
	/* Asked for once more it is looked for below. */
	struct request r;
	assert_int_equal(open_s(&r, 1, 1000), SESS_QUEUED);
	sess_table_fail(table, &id, SESS_ABSENT);
	assert_int_equal(granted(&r), SESS_ABSENT);
}

static void what_was_renewed_is_remembered_and_owed(void **unused)
{
	struct sess_id ids[4], id = id_of(1);
	struct request r;

	(void)unused;
	for (int settled_first = 0; settled_first < 2; settled_first++) {
		uint64_t s = settled_first ? 10 : 0;
		create_both(1);
		assert_int_equal(open_s(&r, 1, s), SESS_OPENED);
		struct sess_outcome out = commit(&r, (struct sess_commit){.renew = true}, 2, s);
		assert_true(out.forget);
		assert_true(sess_id_eq(&out.forget_id, &id));
		close_s(&r, s);
		assert_int_equal(owed(ids, 4), 1);
		assert_int_equal(open_s(&r, 1, s), SESS_RENEWED);
		if (settled_first) {
			sess_table_settle(table, &id);
			assert_int_equal(open_s(&r, 1, s), SESS_RENEWED);
		} else {
			expire_all(s + TOMBSTONE_S + 1);
			expect_absent(1, s + TOMBSTONE_S + 1);
			sess_table_settle(table, &id);
		}
		struct sess_id fresh = id_of(2);
		assert_int_equal(sess_table_end(table, &fresh), 0);
		expire_all(s + TOMBSTONE_S + 2);
		assert_int_equal(stats().bytes, 0);
	}
}

/* An operator ends what is below only, or on its way up. */
static void what_is_not_here_can_be_buried(void **unused)
{
	struct sess_id ids[4];
	struct request r;

	(void)unused;
	for (uint32_t n = 1; n < 4; n++) {
		struct sess_id id = id_of(n);
		if (n == 2)
			assert_int_equal(open_s(&r, n, 0), SESS_QUEUED);
		if (n == 3)
			create(n, "here, and perhaps below", 0);
		assert_int_equal(sess_table_bury(table, &id, at_s(0)), 0);
		assert_int_equal(sess_table_bury(table, &id, at_s(0)), 0);
		if (n == 2)
			assert_int_equal(granted(&r), SESS_ABSENT);
		expect_absent(n, 0);
		sess_table_check(table);
		assert_int_equal(owed(ids, 4), n);
		assert_int_equal(stats().ended, n);
		struct sess_record late = record_of(n, "late");
		assert_int_equal(sess_table_arrive(table, APP, &late), ERR_GONE);
	}
	for (uint32_t n = 1; n < 4; n++)
		sess_table_settle(table, &ids[n - 1]);
	assert_int_equal(stats().bytes, 0);
}

/* --- looking --- */

static void a_look_tells_what_is_there(void **unused)
{
	struct sess_id id = id_of(1), none = id_of(2);
	struct sess_view v;
	struct request a, b;

	(void)unused;
	create(1, "state", 3);
	assert_int_equal(sess_table_look(table, &none, &v), ERR_GONE);
	assert_int_equal(open_s(&a, 1, 3), SESS_OPENED);
	assert_int_equal(open_s(&b, 1, 3), SESS_QUEUED);
	assert_int_equal(sess_table_look(table, &id, &v), 0);
	assert_true(sess_id_eq(&v.id, &id));
	assert_int_equal(v.app, APP);
	assert_int_equal(v.version, 1);
	assert_int_equal(v.created_s, WALL_S + 3);
	assert_int_equal(v.used_s, WALL_S + 3);
	assert_int_equal(v.ttl_s, TTL_S);
	assert_true(v.busy && v.fresh && !v.pinned);
	assert_int_equal(v.waiters, 1);
	close_s(&a, 3);
	assert_int_equal(granted(&b), SESS_OPENED);
	close_s(&b, 3);
	/* The state is counted. */
	assert_int_equal(sess_table_end(table, &id), 0);
	assert_memory_equal(v.state->bytes, "state", 5);
	sess_state_unref(v.state);
	/* What is on its way, or was replaced, is not there. */
	assert_int_equal(sess_table_expect(table, &none, at_s(3)), 0);
	assert_int_equal(sess_table_look(table, &none, &v), ERR_GONE);
	assert_int_equal(sess_table_pin(table, &none, UINT64_MAX), ERR_GONE);
	sess_table_fail(table, &none, SESS_ABSENT);
}

enum { WALKED = 4000 };

struct walk {
	uint8_t times[WALKED];
	uint32_t count;
};

static void note_visit(void *arg, const struct sess_view *v)
{
	struct walk *w = arg;
	uint32_t n;

	memcpy(&n, v->id.bytes, sizeof n);
	w->times[n]++;
	w->count++;
}

/* The table doubles its buckets several times on the way. */
static void a_walk_meets_each_session_once(void **unused)
{
	static struct walk w;
	uint32_t next = 300;

	(void)unused;
	w = (struct walk){0};
	for (uint32_t n = 0; n < next; n++)
		create(n, "", 0);
	for (uint32_t i = 0; i < sess_table_shards(table); i++) {
		uint32_t bucket = 0;
		bool more = true;
		while (more) {
			uint32_t before = w.count;
			more = sess_table_walk(table, i, &bucket, 7, note_visit, &w);
			assert_true(!more || w.count >= before + 7);
			for (uint32_t k = 0; k < 40 && next < WALKED; k++)
				create(next++, "", 0);
		}
		assert_int_equal(bucket, 0);
	}
	assert_int_equal(next, WALKED);
	for (uint32_t n = 0; n < WALKED; n++) {
		assert_true(w.times[n] <= 1);
		assert_true(n >= 300 || w.times[n] == 1);
	}
}

/* --- what is below lives longer --- */

enum { MANY = 6000 }; /* so many that a shard is walked in pieces */

static void bring(uint32_t n)
{
	struct sess_id id = id_of(n);
	struct sess_record r = record_of(n, "a");

	assert_int_equal(sess_table_expect(table, &id, at_s(0)), 0);
	assert_int_equal(sess_table_arrive(table, APP, &r), 0);
}

/* How many pieces it took. */
static uint32_t outlive_all(void)
{
	uint32_t pieces = 0;

	for (uint32_t i = 0; i < sess_table_shards(table); i++) {
		uint32_t bucket = 0;
		do
			pieces++;
		while (sess_table_outlive(table, i, &bucket));
	}
	return pieces;
}

static uint32_t owed_after_expiry(void)
{
	static struct sess_id ids[MANY];
	uint32_t n = 0;

	for (uint32_t i = 0; i < sess_table_shards(table); i++) {
		while (sess_table_expire(table, i, 100, at_s(TTL_S + 1)))
			;
		n += sess_table_owed(table, i, MANY - n, ids + n);
	}
	assert_int_equal(stats().sessions, 0);
	for (uint32_t i = 0; i < n; i++)
		sess_table_settle(table, &ids[i]);
	return n;
}

static void all_that_are_below_are_outlived_piece_by_piece(void **unused)
{
	(void)unused;
	sess_table_set_max(table, 1 << 24);
	for (uint32_t n = 0; n < MANY; n++)
		bring(n);
	create(MANY, "only in memory", 0);
	assert_true(outlive_all() > sess_table_shards(table) * 2);
	sess_table_check(table);
	assert_int_equal(owed_after_expiry(), MANY);
}

/* A record that was written since has the time of the session. */
static void what_is_stored_again_is_outlived_no_more(void **unused)
{
	struct sess_leaver out[2];

	(void)unused;
	bring(1);
	bring(2);
	(void)outlive_all();
	assert_int_equal(collect(&ALL, 0, out, 2), 2);
	for (int i = 0; i < 2; i++) {
		bool stays = out[i].id.bytes[0] == 1;
		expect_session(out[i].id.bytes[0], "a", 0);
		out[i].version -= stays; /* it was changed meanwhile */
		assert_int_equal(left(&out[i], stays ? SESS_STORED : SESS_MAYBE_STORED, &ALL), false);
	}
	assert_int_equal(owed_after_expiry(), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(all_that_nobody_uses_is_collected_once),
	    TEST(the_oldest_are_collected_first_and_no_more_than_asked),
	    TEST(a_reason_names_an_app_or_a_time),
	    TEST(a_walk_collects_all_of_an_app_in_pieces),
	    TEST(a_walk_that_is_cut_short_misses_nothing),
	    TEST(pinned_ones_leave_only_where_that_is_said),
	    TEST(what_pinned_ones_take_is_known),
	    TEST(one_is_collected_by_its_id),
	    TEST(what_is_expected_comes_or_not),
	    TEST(what_has_no_room_is_still_expected),
	    TEST(what_does_not_come_says_why),
	    TEST(what_has_ended_is_owed_until_it_is_settled),
	    TEST(what_was_renewed_is_remembered_and_owed),
	    TEST(what_is_not_here_can_be_buried),
	    TEST(a_look_tells_what_is_there),
	    TEST(a_walk_meets_each_session_once),
	    TEST(all_that_are_below_are_outlived_piece_by_piece),
	    TEST(what_is_stored_again_is_outlived_no_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
