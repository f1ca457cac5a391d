/* Memory as a store: the contract of session/store.h, and what it says of a table that others use too. */
#include "tests/unit/store_contract.h"

#include "session/table.h"

static struct sess_table *table;

static int set_up(void **state)
{
	struct sess_table_options o = {.max_bytes = 1 << 28, .shards = 4, .wall = {USED_S}};
	uint8_t secret[SESS_SECRET_BYTES] = {7};
	struct sess_keys keys;
	char why[100];

	(void)state;
	sess_keys_derive(&keys, secret);
	table = sess_table_new(&o, &keys, (struct instant){.ms = 5000});
	assert_non_null(table);
	contract.kind = &store_memory;
	contract.options = (struct store_options){.max_bytes = 1 << 28, .table = table};
	return contract.kind->open(&store, &contract.options, why, sizeof why);
}

static int tear_down(void **state)
{
	struct sess_table_stats stats;

	(void)state;
	contract.kind->close(&store, true);
	assert_null(store);
	sess_table_check(table);
	sess_table_stats(table, &stats);
	assert_int_equal(stats.both, 0);
	sess_table_free(&table);
	return 0;
}

/* An application's request and the store see the same. */
static void what_was_put_can_be_opened(void **state)
{
	struct sess_id id = id_of(2);
	struct sess_waiter w = {0};
	struct sess_hold h;
	struct sess_snapshot snap;
	struct instant now = {.ms = 6000};

	(void)state;
	put(2, 7, 40);
	assert_int_equal(sess_table_open(table, 0, &id, SESS_LOCK_EXCLUSIVE, &w, now, &h), SESS_OPENED);
	sess_table_read(table, &h, &snap);
	assert_true(view_eq(view_of(snap.state->bytes, snap.state->len), state_of(2, 7, 40)));
	assert_int_equal(snap.ttl_s, TTL_S);
	assert_int_equal(snap.created.s, USED_S - 7);
	assert_true(snap.fresh);
	sess_state_unref(snap.state);
	sess_table_close(table, &h, now);
}

/* Another version must not come under a request that holds this one. */
static void what_is_used_is_not_replaced(void **state)
{
	struct sess_id id = id_of(2);
	struct sess_waiter w = {0};
	struct sess_hold h;
	struct instant now = {.ms = 6000};

	(void)state;
	put(2, 7, 40);
	assert_int_equal(sess_table_open(table, 0, &id, SESS_LOCK_NONE, &w, now, &h), SESS_OPENED);
	uint64_t bytes = count_of().bytes;
	struct sess_record r = record_of(2, 8, 40);
	assert_int_equal(contract.kind->put(store, &r), ERR_BUSY);
	assert_int_equal(count_of().bytes, bytes);
	sess_table_close(table, &h, now);
	expect_there(2, 7, 40);
	put(2, 8, 40);
	expect_there(2, 8, 40);
}

static void a_refused_put_leaves_what_is_there(void **state)
{
	struct store_options o = contract.options;

	(void)state;
	put(1, 1, 100);
	o.max_bytes = count_of().bytes + 1000;
	contract.kind->set(store, &o);
	struct sess_record large = record_of(1, 2, 2000);
	assert_int_equal(contract.kind->put(store, &large), ERR_FULL);
	expect_there(1, 1, 100);
	assert_int_equal(count_of().sessions, 1);
}

static void names_of_apps_are_kept_apart(void **state)
{
	struct sess_record a = record_of(1, 1, 0), b = record_of(2, 1, 0), got;
	struct buf space = {0};

	(void)state;
	a.app = VIEW("shop");
	b.app = VIEW("shopping");
	assert_int_equal(contract.kind->put(store, &a), 0);
	assert_int_equal(contract.kind->put(store, &b), 0);
	assert_int_equal(contract.kind->get(store, &a.id, &space, &got), 0);
	assert_true(view_eq(got.app, VIEW("shop")));
	assert_int_equal(contract.kind->get(store, &b.id, &space, &got), 0);
	assert_true(view_eq(got.app, VIEW("shopping")));
	buf_fini(&space);
}

static void pinned_ones_are_counted(void **state)
{
	struct sess_table_stats stats;

	(void)state;
	put(3, 1, 5); /* every third is */
	put(4, 1, 5);
	put(3, 2, 5);
	sess_table_stats(table, &stats);
	assert_int_equal(stats.pinned, 1);
	take_away(3);
	sess_table_stats(table, &stats);
	assert_int_equal(stats.pinned, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CONTRACT_TESTS(set_up, tear_down),
	    CONTRACT_TEST(what_was_put_can_be_opened, set_up, tear_down),
	    CONTRACT_TEST(what_is_used_is_not_replaced, set_up, tear_down),
	    CONTRACT_TEST(a_refused_put_leaves_what_is_there, set_up, tear_down),
	    CONTRACT_TEST(names_of_apps_are_kept_apart, set_up, tear_down),
	    CONTRACT_TEST(pinned_ones_are_counted, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
