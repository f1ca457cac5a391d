/* What the tests of the disk store share: a folder of the test's own with a store in it, opened, closed, looked at. */
#ifndef WEIR_TESTS_UNIT_DISK_FIXTURE_H
#define WEIR_TESTS_UNIT_DISK_FIXTURE_H

#include "tests/unit/store_contract.h"

#include "base/log.h"
#include "session/disk_room.h"
#include "tests/unit/folder.h"

static char store_dir[80];
static char why[512];

static inline int open_err(void)
{
	why[0] = 0;
	return store_disk.open(&store, &contract.options, why, sizeof(why));
}

static inline void open_store(void)
{
	int err = open_err();

	if (err)
		fail_msg("%s (%s)", error_text(err), why);
}

static inline void close_store(bool orderly)
{
	store_disk.close(&store, orderly);
	assert_null(store);
}

static inline void remove_tree(const char *path)
{
	char line[200];

	snprintf(line, sizeof line, "rm -rf -- '%s'", path);
	if (system(line) != 0)
		fail_msg("%s", line);
}

/* Every id leads to its record and the reverse, and the counters are their sums. */
static inline void expect_in_step(void)
{
	struct store_count sum = {0};
	uint64_t ids = 0;
	DBT key = {0}, data = {0};
	DBC *c = NULL;

	assert_int_equal(store->sessions->cursor(store->sessions, NULL, &c, 0), 0);
	while (c->get(c, &key, &data, DB_NEXT) == 0) {
		struct record_head head;
		struct disk_place place;
		uint8_t bytes[DISK_KEY_BYTES];
		assert_int_equal(record_peek(view_of(data.data, data.size), &head), 0);
		assert_int_equal(disk_place_get(store, &head.id, &place), 0);
		disk_key(&head.id, &place, bytes);
		assert_int_equal(key.size, sizeof(bytes));
		assert_memory_equal(key.data, bytes, sizeof(bytes));
		assert_true(place.expires_s == head.expires_s);
		assert_int_equal(place.bytes, data.size);
		sum.sessions++;
		sum.bytes += data.size;
	}
	c->close(c);
	assert_int_equal(store->ids->cursor(store->ids, NULL, &c, 0), 0);
	while (c->get(c, &key, &data, DB_NEXT) == 0)
		ids++;
	c->close(c);
	assert_int_equal(ids, sum.sessions);
	assert_int_equal(count_of().sessions, sum.sessions);
	assert_int_equal(count_of().bytes, sum.bytes);
}

static inline int fixture_setup(void **state)
{
	(void)state;
	if (folder_make() != 0)
		return -1;
	snprintf(store_dir, sizeof store_dir, "%s/sessions", folder);
	contract.kind = &store_disk;
	contract.options = (struct store_options){
	    .dir = store_dir, .max_bytes = UINT64_C(1) << 40, .cache_bytes = 8 << 20, .sync = STORE_SYNC_WRITE};
	return 0;
}

static inline int fixture_open(void **state)
{
	if (fixture_setup(state) != 0)
		return -1;
	open_store();
	return 0;
}

static inline int fixture_teardown(void **state)
{
	(void)state;
	if (store)
		close_store(true);
	remove_tree(folder);
	return 0;
}

#endif
