/* The disk store and pages that change under it: the store breaks, the next open gets over it, what could be read is
 * there, the damaged files are kept, and the log says how many sessions were lost. */
#include "tests/unit/damage_fixture.h"

static void leaf_changed_while_closed(void **state)
{
	char reason[60];

	(void)state;
	open_store();
	fill(0, SESSIONS, 1);
	close_store(true);
	flip_in_page(page_with_records(5));
	snprintf(reason, sizeof reason, "checksum error: page %ld:", page_with_records(5));
	/* Nothing has to be recovered: the page is met when it is read. */
	open_store();
	read_until_broken();
	assert_int_equal(access(in_store(DISK_MARKER), F_OK), 0);
	close_store(true);
	/* Of the page's records only the one with the changed byte is lost. */
	expect_salvaged(SESSIONS - 1, SESSIONS - 1);
	assert_int_equal(missing(0, SESSIONS, 1), 1);
	assert_true(logged("lost=1"));
	assert_true(logged("bad_pages=1"));
	assert_true(logged("recovered=yes"));
	assert_true(logged_with("event=store_broken", reason));
	assert_true(logged_with("event=store_damaged", reason));
}

/* With a batch under way, and with batches that are only in the log yet: those are kept. Pages that have changed in
 * memory heal when they are written, so a few are tried. */
static void leaves_changed_while_at_work(void **state)
{
	uint32_t n = 0;

	(void)state;
	contract.options.cache_bytes = 1 << 20;
	open_store();
	fill(0, SESSIONS, 1);
	assert_int_equal(disk_checkpoint(store), 0);
	fill(SESSIONS, SESSIONS + 50, 1);
	for (unsigned k = 0; k < 8; k++)
		flip_in_page(page_with_records(k * 5));
	put(900, 1, 300);
	while (get_err(n % SESSIONS) == 0)
		assert_in_range(n++, 0, 10 * SESSIONS);
	assert_int_equal(get_err(n % SESSIONS), ERR_BROKEN);
	close_store(true);
	expect_salvaged(SESSIONS + 50 - 8, SESSIONS + 49);
	assert_in_range(missing(0, SESSIONS + 50, 1), 1, 8);
	expect_gone(900);
}

static void page_of_a_long_record_changed(void **state)
{
	(void)state;
	open_store();
	fill(0, SESSIONS, 1);
	close_store(true);
	flip_in_page(page_of(LONG, false, 11));
	open_store();
	read_until_broken();
	close_store(false);
	expect_salvaged(SESSIONS - 1, SESSIONS - 1);
	assert_int_equal(missing(0, SESSIONS, 1), 1);
}

static void inner_pages_changed(void **state)
{
	(void)state;
	open_store();
	fill(0, SESSIONS, 1);
	close_store(true);
	for (unsigned k = 0; page_of(INNER, false, k) >= 0; k++)
		flip_in_page(page_of(INNER, false, k));
	open_store();
	read_until_broken();
	close_store(false);
	expect_salvaged(SESSIONS, SESSIONS);
	assert_int_equal(missing(0, SESSIONS, 1), 0);
}

static void index_leaf_changed(void **state)
{
	struct reaped r = {0};
	bool more;

	(void)state;
	open_store();
	fill(0, SESSIONS, 1);
	close_store(true);
	for (unsigned k = 0; page_of(LEAF, false, k) >= 0; k++) {
		/* The index is built along with the sessions; what was there before is at the begin of the file. */
		if (page_of(LEAF, false, k) > 10)
			flip_in_page(page_of(LEAF, false, k));
	}
	open_store();
	assert_int_equal(store_disk.expire(store, UINT32_MAX, MANY, reap_note, &r, &more), ERR_BROKEN);
	close_store(false);
	expect_salvaged(SESSIONS, SESSIONS);
	assert_int_equal(missing(0, SESSIONS, 1), 0);
}

/* Berkeley DB takes a page of zeros for one that was never written, without a checksum, and would look for ever. */
static void pages_of_zeros(void **state)
{
	static const uint8_t zeros[DISK_PAGE_BYTES];
	static const struct {
		uint8_t type;
		bool records;
		unsigned k;
		uint32_t lost;
	} cases[] = {
	    {LEAF, true, 4, 8}, {INNER, false, 0, 0}, {INNER, false, 1, 0}, {LONG, false, 7, 1}, {LEAF, false, 0, 0}};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		open_store();
		fill(0, SESSIONS, 1);
		close_store(true);
		long page = page_of(cases[i].type, cases[i].records, cases[i].k);
		assert_true(page > 0);
		overwrite(in_store(DISK_FILE), page * DISK_PAGE_BYTES, zeros, sizeof zeros);
		use_all();
		expect_salvaged(SESSIONS - cases[i].lost, SESSIONS);
		assert_in_range(missing(0, SESSIONS, 1), 0, cases[i].lost); /* the log may hold its whole life */
		teardown(state);
		setup(state);
	}
}

/* A page whose type says that it has no checksum. */
static void page_of_a_false_type(void **state)
{
	(void)state;
	for (uint8_t type = 8; type <= 10; type++) {
		open_store();
		fill(0, SESSIONS, 1);
		close_store(true);
		overwrite(in_store(DISK_FILE), page_with_records(6) * DISK_PAGE_BYTES + 25, &type, 1);
		open_store();
		read_until_broken();
		close_store(true);
		expect_salvaged(SESSIONS - 8, SESSIONS - 1);
		teardown(state);
		setup(state);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CONTRACT_TEST(leaf_changed_while_closed, setup, teardown),
	    CONTRACT_TEST(leaves_changed_while_at_work, setup, teardown),
	    CONTRACT_TEST(page_of_a_long_record_changed, setup, teardown),
	    CONTRACT_TEST(inner_pages_changed, setup, teardown),
	    CONTRACT_TEST(index_leaf_changed, setup, teardown),
	    CONTRACT_TEST(pages_of_zeros, setup, teardown),
	    CONTRACT_TEST(page_of_a_false_type, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
