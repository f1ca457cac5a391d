/* Bytes from a node or a control database taken for a cluster's view. What is accepted is sound, keeps nothing of the
 * input, is found again by its names, and has exactly the bytes that encoding it gives. With the length set to what
 * there is, so that the fuzzer gets behind it, the same holds. */
#include "tests/fuzz/fuzz.h"

#include "base/bigendian.h"
#include "base/error.h"
#include "cluster/view.h"

enum { LENGTH_AT = 6 };

static void look_up_all(const struct clus_view *v)
{
	for (uint16_t i = 0; i < v->member_count; i++)
		EXPECT(clus_view_member(v, v->members[i].name) == i);
	for (uint16_t i = 0; i < v->app_count; i++)
		EXPECT(clus_view_app(v, v->apps[i].name) == i);
	for (uint8_t i = 0; i < v->voter_count; i++)
		EXPECT(clus_view_voter(v, v->voters[i]) == i);
	for (uint16_t app = 0; app < v->app_count; app++) {
		for (uint32_t b = 0; b < v->apps[app].buckets; b++) {
			uint16_t manager = v->apps[app].map[b].manager;
			EXPECT(manager == BUCKETS_NONE || clus_view_may_manage(v, manager, app));
		}
	}
}

static void decode(struct view bytes)
{
	struct view exact = copy_exact(bytes);
	struct clus_view v;
	int err = clus_view_decode(exact, &v);

	free_exact(exact);
	EXPECT(err == 0 || err == ERR_MALFORMED || err == ERR_VERSION);
	if (err)
		return;
	struct buf again = {0};
	EXPECT(clus_view_is_sound(&v));
	look_up_all(&v);
	clus_view_encode(&v, &again);
	EXPECT(buf_error(&again) == 0);
	EXPECT(view_eq(buf_view(&again), bytes));
	buf_fini(&again);
	clus_view_fini(&v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	decode(view_of(data, size));
	if (size < LENGTH_AT + 4)
		return 0;
	struct view copy = copy_exact(view_of(data, size));
	uint8_t *sealed = (uint8_t *)(uintptr_t)copy.at;
	(void)bigendian_put(sealed + LENGTH_AT, size, 4);
	decode(copy);
	free_exact(copy);
	return 0;
}
