/* Hints of where records are: what they say, and that a wrong one misleads nobody. */
#include "tests/unit/disk_fixture.h"

#include "session/disk_hint.h"

enum { CACHE_BYTES = 1 << 20, SLOTS = CACHE_BYTES / 4 / 16 };

static struct disk_hints hints;

static struct sess_id id_with(uint32_t slot, uint32_t tag)
{
	struct sess_id id = {{0}};

	memcpy(id.bytes, &slot, sizeof slot);
	memcpy(id.bytes + 4, &tag, sizeof tag);
	return id;
}

static void expect_hint(const struct sess_id *id, const struct disk_place *want)
{
	struct disk_place place;

	assert_int_equal(disk_hint_find(&hints, id, &place), want != NULL);
	if (want) {
		assert_int_equal(place.expires_s, want->expires_s);
		assert_int_equal(place.turn, want->turn);
		assert_int_equal(place.bytes, want->bytes);
	}
}

static void the_last_one_counts(void **state)
{
	const struct disk_place one = {.expires_s = UINT32_MAX, .turn = 7, .bytes = 100},
				two = {.expires_s = 1, .turn = UINT32_MAX, .bytes = UINT32_MAX};
	struct sess_id a = id_with(3, 1), same_slot = id_with(3 + SLOTS, 2), zeros = id_with(0, 0);

	(void)state;
	disk_hints_init(&hints, CACHE_BYTES);
	assert_int_equal(hints.mask, SLOTS - 1);
	expect_hint(&zeros, NULL);
	disk_hint_note(&hints, &a, &one);
	expect_hint(&a, &one);
	expect_hint(&same_slot, NULL);
	disk_hint_note(&hints, &a, &two);
	expect_hint(&a, &two);
	disk_hint_note(&hints, &same_slot, &one);
	expect_hint(&a, NULL);
	expect_hint(&same_slot, &one);
	disk_hints_fini(&hints);
}

static void far_ends_and_want_of_memory(void **state)
{
	const struct disk_place far = {.expires_s = UINT64_C(1) << 32, .bytes = 1};
	struct sess_id a = id_with(1, 1);

	(void)state;
	disk_hints_init(&hints, 0);
	disk_hint_note(&hints, &a, &far);
	expect_hint(&a, NULL);
	disk_hints_fini(&hints);
	disk_hint_note(&hints, &a, &(struct disk_place){.bytes = 1});
	expect_hint(&a, NULL);
}

/* --- in a store --- */

/* As if another session, or the same one at another time, had left it. */
static void mislead(uint32_t n, uint64_t expires_s, uint32_t turn)
{
	struct sess_id id = id_of(n);
	const struct disk_place place = {.expires_s = expires_s, .turn = turn, .bytes = 5};

	disk_hint_note(&store->hints, &id, &place);
}

static void wrong_ones_mislead_nobody(void **state)
{
	(void)state;
	put(1, 1, 100);
	put(2, 1, 100);
	commit();
	mislead(1, 5, 5);
	expect_there(1, 1, 100);
	mislead(1, USED_S, 0);
	expect_there(1, 1, 100);
	expect_there(2, 1, 100);
	mislead(3, USED_S, 1);
	expect_gone(3);
}

/* It moves with its expiry, goes, comes again, and what was undone is not there. */
static void they_follow_the_session(void **state)
{
	struct sess_id id = id_of(1);
	struct disk_place before, place;

	(void)state;
	put(1, 1, 100);
	commit();
	assert_true(disk_hint_find(&store->hints, &id, &before));
	struct sess_record r = record_of(1, 2, 300);
	r.used_s += 50;
	assert_int_equal(store_disk.put(store, &r), 0);
	assert_true(disk_hint_find(&store->hints, &id, &place));
	assert_int_equal(place.expires_s, before.expires_s + 50);
	disk_undo(store);
	expect_there(1, 1, 100);
	assert_true(disk_hint_find(&store->hints, &id, &place));
	assert_int_equal(place.expires_s, before.expires_s);
	take_away(1);
	commit();
	expect_gone(1);
	put(1, 3, 200);
	commit();
	expect_there(1, 3, 200);
}

/* A hint is all that it needs: so the search is spared. */
static void they_spare_the_search(void **state)
{
	struct sess_id id = id_of(1);
	DBT key = {.data = id.bytes, .size = SESS_ID_BYTES};

	(void)state;
	put(1, 1, 100);
	commit();
	assert_int_equal(store->ids->del(store->ids, NULL, &key, 0), 0);
	expect_there(1, 1, 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_last_one_counts),
	    cmocka_unit_test(far_ends_and_want_of_memory),
	    CONTRACT_TEST(wrong_ones_mislead_nobody, fixture_open, fixture_teardown),
	    CONTRACT_TEST(they_follow_the_session, fixture_open, fixture_teardown),
	    CONTRACT_TEST(they_spare_the_search, fixture_open, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
