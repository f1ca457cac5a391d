/* The bodies of the frames between nodes: golden bytes there and back, and that nothing else is taken. */
#include "proto/peer_report.h"

#include "base/error.h"
#include "base/name.h"
#include "tests/unit/fail_alloc.h"
#include "tests/unit/guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

/* By hand from doc/peer-protocol.md. */
static const uint8_t hello[] = {
    'w', 'e', 'i', 'r', 0,   1,  0,   2,  1,                                  /* magic, versions, bulk */
    16,  17,  18,  19,  20,  21, 22,  23, 24, 25,  26, 27, 28,  29,  30,  31, /* cluster */
    1,   'a', 1,   2,   3,   4,  5,   6,  7,  8,                              /* name, incarnation */
    0,   0,   0,   0,   0,   0,  1,   2,  2,                                  /* epoch, flags: votes */
    0,   3,   'a', ':', '1', 1,  'z', 0,  1,  'u',                            /* address, zone, URL */
    0,   2,                                                                   /* apps */
    1,   'p', 9,   8,   7,   6,  5,   4,  3,  2,   0,  3,  'k', ' ', '1',     /* name, digest, settings */
    1,   'q', 0,   0,   0,   0,  0,   0,  0,  0,   0,  0,
};
static const uint8_t witness[] = {
    'w', 'e', 'i', 'r', 0,   1,   0,   1,   0,                            /* magic, versions, control */
    0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0, 0, 0, 0, 0, /* never in a view */
    2,   'w', '1', 255, 255, 255, 255, 255, 255, 255, 255,                /* name, incarnation */
    0,   0,   0,   0,   0,   0,   0,   0,   7,                            /* epoch, flags: all */
    0,   1,   'w', 0,   0,   0,   0,   0,                                 /* address; no zone, URL, apps */
};
static const uint8_t goodbye[] = {0, 3, 4, 'w', 'h', 'y', '\n'};
static const uint8_t bare_goodbye[] = {0x12, 0x34, 0};
static const uint8_t beat[] = {
    0, 0, 0, 0,   0, 0,   1,   0, 0, 0, 0, 0, 0, 0, 2, 0,
    0, 0, 0, 0,   0, 0,   3,   0, 0, 0, 0, 0, 0, 0, 4, 0, /* times, epoch */
    0, 2, 1, 'b', 2, 'c', 'c',                            /* heard */
};
static const uint8_t lonely_beat[34] = {1};
static const uint8_t credit[] = {0, 0, 2, 1};
static const uint8_t refused[] = {1, 1, 'b', 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
static const uint8_t leave[] = {3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
static const uint8_t forget[] = {4, 1, 'b', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
static const uint8_t asked[] = {5, 1, 's', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 9, 0, 0, 1, 0};

/* Decodes, and encodes what came out. A failure must leave the output as it was. */
#define BACK(type, decode, encode)                                                                                     \
	static int back_##type(struct view body, struct buf *again)                                                    \
	{                                                                                                              \
		static struct type out, before;                                                                        \
		memset(&out, 0x5a, sizeof out);                                                                        \
		memcpy(&before, &out, sizeof out);                                                                     \
		int err = decode(body, &out);                                                                          \
		if (err)                                                                                               \
			assert_memory_equal(&out, &before, sizeof out);                                                \
		else                                                                                                   \
			encode(&out, again);                                                                           \
		return err;                                                                                            \
	}
BACK(peer_hello, peer_hello_decode, peer_hello_encode)
BACK(peer_goodbye, peer_goodbye_decode, peer_goodbye_encode)
BACK(peer_beat, peer_beat_decode, peer_beat_encode)
BACK(peer_report, peer_report_decode, peer_report_encode)

static int back_credit(struct view body, struct buf *again)
{
	uint32_t bytes = 0x5a5a5a5a;
	int err = peer_credit_decode(body, &bytes);

	if (err)
		assert_int_equal(bytes, 0x5a5a5a5a);
	else
		peer_credit_encode(bytes, again);
	return err;
}

typedef int back_fn(struct view body, struct buf *again);

static const struct vector {
	const char *name;
	back_fn *back;
	struct view body;
} vectors[] = {
#define VECTOR(fn, bytes)                                                                                              \
	{                                                                                                              \
#bytes, fn,                                                                                            \
		{                                                                                                      \
			bytes, sizeof bytes                                                                            \
		}                                                                                                      \
	}
    VECTOR(back_peer_hello, hello),     VECTOR(back_peer_hello, witness),
    VECTOR(back_peer_goodbye, goodbye), VECTOR(back_peer_goodbye, bare_goodbye),
    VECTOR(back_peer_beat, beat),       VECTOR(back_peer_beat, lonely_beat),
    VECTOR(back_credit, credit),        VECTOR(back_peer_report, refused),
    VECTOR(back_peer_report, leave),    VECTOR(back_peer_report, forget),
    VECTOR(back_peer_report, asked),
};

enum { VECTORS = sizeof vectors / sizeof vectors[0] };

static void there_and_back(void **state)
{
	(void)state;
	for (size_t i = 0; i < VECTORS; i++) {
		struct view body = guarded(vectors[i].body);
		struct buf again = {0};
		if (vectors[i].back(body, &again) != 0 || !view_eq(buf_view(&again), body))
			fail_msg("%s", vectors[i].name);
		buf_fini(&again);
	}
}

static void every_cut(void **state)
{
	(void)state;
	for (size_t i = 0; i < VECTORS; i++) {
		for (size_t cut = 0; cut < vectors[i].body.len; cut++) {
			if (vectors[i].back(guarded(view_of(vectors[i].body.at, cut)), NULL) != ERR_MALFORMED)
				fail_msg("%s, cut at %zu", vectors[i].name, cut);
		}
	}
}

static void one_byte_more(void **state)
{
	uint8_t longer[200];

	(void)state;
	for (size_t i = 0; i < VECTORS; i++) {
		size_t len = vectors[i].body.len;
		memcpy(longer, vectors[i].body.at, len);
		longer[len] = 0;
		if (vectors[i].back(guarded(view_of(longer, len + 1)), NULL) != ERR_MALFORMED)
			fail_msg("%s", vectors[i].name);
	}
}

/* Refused, or another value that is written as it came. */
static void every_bit_flipped(void **state)
{
	uint8_t bytes[200];

	(void)state;
	for (size_t i = 0; i < VECTORS; i++) {
		struct view v = vectors[i].body;
		for (size_t bit = 0; bit < v.len * 8; bit++) {
			struct buf again = {0};
			memcpy(bytes, v.at, v.len);
			bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
			struct view body = guarded(view_of(bytes, v.len));
			int err = vectors[i].back(body, &again);
			if (err ? err != ERR_MALFORMED && err != ERR_VERSION : !view_eq(buf_view(&again), body))
				fail_msg("%s, bit %zu: %d", vectors[i].name, bit, err);
			buf_fini(&again);
		}
	}
}

static void no_memory(void **state)
{
	(void)state;
	for (size_t i = 0; i < VECTORS; i++) {
		struct buf again = {0};
		fail_alloc_at(1);
		assert_int_equal(vectors[i].back(vectors[i].body, &again), 0);
		fail_alloc_at(0);
		assert_int_equal(buf_error(&again), ERR_NO_MEMORY);
		buf_fini(&again);
	}
}

/* --- values --- */

static void hello_says(void **state)
{
	static struct peer_hello h;

	(void)state;
	assert_int_equal(peer_hello_decode(view_of(hello, sizeof hello), &h), 0);
	assert_int_equal(h.version_least, 1);
	assert_int_equal(h.version_greatest, 2);
	assert_int_equal(h.link, PEER_LINK_BULK);
	assert_memory_equal(h.cluster, hello + 9, PEER_CLUSTER_BYTES);
	assert_true(view_eq(h.name, VIEW("a")));
	assert_true(h.incarnation == 0x0102030405060708);
	assert_int_equal(h.epoch, 258);
	assert_true(h.votes && !h.witness && !h.leaving);
	assert_true(view_eq(h.address, VIEW("a:1")));
	assert_true(view_eq(h.zone, VIEW("z")));
	assert_true(view_eq(h.url, VIEW("u")));
	assert_int_equal(h.app_count, 2);
	assert_true(view_eq(h.apps[0].name, VIEW("p")));
	assert_true(h.apps[0].digest == 0x0908070605040302);
	assert_true(view_eq(h.apps[0].settings, VIEW("k 1")));
	assert_true(view_eq(h.apps[1].name, VIEW("q")));
	assert_int_equal(peer_hello_decode(view_of(witness, sizeof witness), &h), 0);
	assert_true(h.votes && h.witness && h.leaving);
	assert_int_equal(h.app_count, 0);
}

static void others_say(void **state)
{
	struct peer_goodbye g;
	struct peer_beat b;
	struct peer_report r;
	struct view name;
	uint32_t bytes;

	(void)state;
	assert_int_equal(peer_goodbye_decode(view_of(goodbye, sizeof goodbye), &g), 0);
	assert_int_equal(g.reason, PEER_BYE_MALFORMED);
	assert_true(view_eq(g.text, VIEW("why\n")));
	assert_int_equal(peer_beat_decode(view_of(beat, sizeof beat), &b), 0);
	assert_int_equal(b.sent_us, 256);
	assert_int_equal(b.echo_us, 512);
	assert_int_equal(b.held_us, 768);
	assert_int_equal(b.epoch, 1024);
	assert_int_equal(b.heard_count, 2);
	assert_true(peer_heard_next(&b.heard, &name) && view_eq(name, VIEW("b")));
	assert_true(peer_heard_next(&b.heard, &name) && view_eq(name, VIEW("cc")));
	assert_false(peer_heard_next(&b.heard, &name));
	assert_int_equal(peer_credit_decode(view_of(credit, sizeof credit), &bytes), 0);
	assert_int_equal(bytes, 513);
	assert_int_equal(peer_report_decode(view_of(asked, sizeof asked), &r), 0);
	assert_int_equal(r.kind, PEER_REPORT_ASKED);
	assert_true(view_eq(r.name, VIEW("s")));
	assert_int_equal(r.epoch, 7);
	assert_int_equal(r.first, 9);
	assert_int_equal(r.count, 256);
	assert_int_equal(peer_report_decode(view_of(refused, sizeof refused), &r), 0);
	assert_true(r.incarnation == 0x0102030405060708);
}

static void goodbye_texts(void **state)
{
	(void)state;
	assert_string_equal(peer_goodbye_text(PEER_BYE_LEAVING), "leaving");
	assert_string_equal(peer_goodbye_text(PEER_BYE_FULL), "full");
	assert_string_equal(peer_goodbye_text(0), "unknown");
	assert_string_equal(peer_goodbye_text(65535), "unknown");
}

/* --- what is refused --- */

/* Of a HELLO: `len` bytes at `at` replaced by `with`. */
static int hello_with(size_t at, size_t len, struct view with)
{
	static struct peer_hello h;
	struct buf b = {0};

	buf_put(&b, view_of(hello, at));
	buf_put(&b, with);
	buf_put(&b, view_of(hello + at + len, sizeof hello - at - len));
	int err = peer_hello_decode(guarded(buf_view(&b)), &h);
	buf_fini(&b);
	return err;
}

static void unsound_hellos(void **state)
{
	enum { NAME = 25, INCARNATION = 27, FLAGS = 43, ADDRESS = 44, ZONE = 49, URL = 51, APPS = 54, APP = 56 };

	(void)state;
	assert_int_equal(hello_with(0, 0, VIEW("")), 0);
	assert_int_equal(hello_with(0, 1, VIEW("W")), ERR_MALFORMED);
	assert_int_equal(hello_with(4, 4, VIEW("\0\2\0\1")), ERR_MALFORMED);
	assert_int_equal(hello_with(4, 2, VIEW("\0\0")), ERR_MALFORMED);
	assert_int_equal(hello_with(8, 1, VIEW("\2")), ERR_MALFORMED);
	assert_int_equal(hello_with(NAME, 2, VIEW("\0")), ERR_MALFORMED);
	assert_int_equal(hello_with(NAME, 2, VIEW("\1 ")), ERR_MALFORMED);
	assert_int_equal(hello_with(INCARNATION, 8, VIEW("\0\0\0\0\0\0\0\0")), ERR_MALFORMED);
	assert_int_equal(hello_with(FLAGS, 1, VIEW("\10")), ERR_MALFORMED);
	assert_int_equal(hello_with(FLAGS, 1, VIEW("\1")), ERR_MALFORMED); /* a witness with apps */
	assert_int_equal(hello_with(ADDRESS, 5, VIEW("\0\0")), ERR_MALFORMED);
	assert_int_equal(hello_with(ADDRESS, 5, VIEW("\0\3a 1")), ERR_MALFORMED);
	assert_int_equal(hello_with(ZONE, 2, VIEW("\0")), 0);
	assert_int_equal(hello_with(ZONE, 2, VIEW("\1/")), ERR_MALFORMED);
	assert_int_equal(hello_with(URL, 3, VIEW("\0\0")), 0);
	assert_int_equal(hello_with(URL, 3, VIEW("\0\1\n")), ERR_MALFORMED);
	assert_int_equal(hello_with(APPS, 2, VIEW("\1\1")), ERR_MALFORMED);
	assert_int_equal(hello_with(APP + 1, 1, VIEW("r")), ERR_MALFORMED); /* not in order */
	assert_int_equal(hello_with(APP + 1, 1, VIEW("q")), ERR_MALFORMED); /* twice */
	assert_int_equal(hello_with(APP + 12, 1, VIEW("\n")), ERR_MALFORMED);
}

/* Whatever stands behind the versions: the next weir may say it in other words. */
static void other_versions(void **state)
{
	static struct peer_hello h, ours = {.version_least = 1, .version_greatest = 3};
	uint16_t least = 0, greatest = 0;

	(void)state;
	assert_int_equal(peer_hello_decode(VIEW("weir\0\2\1\3and so on"), &h), ERR_VERSION);
	assert_int_equal(peer_hello_versions(VIEW("weir\0\2\1\3and so on"), &least, &greatest), 0);
	assert_int_equal(least, 2);
	assert_int_equal(greatest, 259);
	assert_int_equal(peer_hello_versions(VIEW("weis\0\2\0\3"), &least, &greatest), ERR_MALFORMED);
	assert_int_equal(peer_hello_versions(VIEW("weir\0\2\0"), &least, &greatest), ERR_MALFORMED);
	assert_int_equal(least, 2);
	assert_int_equal(peer_hello_decode(view_of(hello, sizeof hello), &h), 0);
	assert_int_equal(peer_version_common(&h, &ours), 2);
	assert_int_equal(peer_version_common(&ours, &h), 2);
	ours.version_least = 3;
	assert_int_equal(peer_version_common(&h, &ours), 0);
}

/* A text of `len` bytes in the place of `old` bytes of the HELLO. */
static int hello_with_text(size_t at, size_t old, size_t len, unsigned count_bytes)
{
	static char text[PEER_SETTINGS_MAX + 1];
	struct buf b = {0};

	memset(text, 'x', sizeof text);
	buf_put_text(&b, view_of(text, len), count_bytes);
	int err = hello_with(at, old, buf_view(&b));
	buf_fini(&b);
	return err;
}

static void texts_too_long(void **state)
{
	static const struct {
		size_t at, old, max;
		unsigned count_bytes;
	} texts[] = {
	    {25, 2, PEER_NAME_MAX, 1}, {44, 5, PEER_ADDRESS_MAX, 2},  {49, 2, PEER_NAME_MAX, 1},
	    {51, 3, PEER_URL_MAX, 2},  {66, 5, PEER_SETTINGS_MAX, 2},
	};

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		assert_int_equal(hello_with_text(texts[i].at, texts[i].old, texts[i].max, texts[i].count_bytes), 0);
		assert_int_equal(hello_with_text(texts[i].at, texts[i].old, texts[i].max + 1, texts[i].count_bytes),
				 ERR_MALFORMED);
	}
}

/* The longest of everything goes into a frame. */
static void longest_hello(void **state)
{
	static struct peer_hello h, back;
	static char text[PEER_SETTINGS_MAX + 1], names[PEER_APPS_MAX][PEER_NAME_MAX + 1];
	struct buf b = {0};

	(void)state;
	memset(text, 'x', sizeof text);
	h = (struct peer_hello){.version_least = 1, .version_greatest = 1, .incarnation = 1};
	h.name = h.zone = view_of(text, PEER_NAME_MAX);
	h.address = view_of(text, PEER_ADDRESS_MAX);
	h.url = view_of(text, PEER_URL_MAX);
	for (h.app_count = 0; h.app_count < PEER_APPS_MAX; h.app_count++) {
		snprintf(names[h.app_count], sizeof names[0], "%064d", h.app_count);
		h.apps[h.app_count] = (struct peer_app){.name = view_of(names[h.app_count], PEER_NAME_MAX),
							.settings = view_of(text, PEER_SETTINGS_MAX)};
	}
	peer_hello_encode(&h, &b);
	assert_int_equal(buf_len(&b), peer_body_max(PEER_HELLO));
	assert_int_equal(peer_hello_decode(buf_view(&b), &back), 0);
	assert_int_equal(back.app_count, PEER_APPS_MAX);
	buf_fini(&b);
}

static void heard_lists(void **state)
{
	struct peer_beat b = {0}, out;
	struct buf heard = {0}, body = {0};
	char name[PEER_NAME_MAX + 1];

	(void)state;
	for (b.heard_count = 0; b.heard_count < PEER_HEARD_MAX; b.heard_count++) {
		snprintf(name, sizeof name, "%064d", b.heard_count);
		peer_heard_put(&heard, view_str(name));
	}
	b.heard = buf_view(&heard);
	peer_beat_encode(&b, &body);
	assert_int_equal(buf_len(&body), peer_body_max(PEER_BEAT));
	assert_int_equal(peer_beat_decode(buf_view(&body), &out), 0);
	assert_int_equal(out.heard_count, PEER_HEARD_MAX);
	body.data[body.head + 33]--; /* says one name less than there are */
	assert_int_equal(peer_beat_decode(buf_view(&body), &out), ERR_MALFORMED);
	buf_fini(&heard);
	buf_fini(&body);
}

/* A field that a kind does not have must be 0, and one that it has not. */
static void unsound_reports(void **state)
{
	const struct peer_report sound[] = {
	    {PEER_REPORT_REFUSED, VIEW("b"), 1, 0, 0, 0}, {PEER_REPORT_SILENT, VIEW("b"), 1, 0, 0, 0},
	    {PEER_REPORT_LEAVE, {NULL, 0}, 0, 0, 0, 0},   {PEER_REPORT_FORGET, VIEW("b"), 0, 0, 0, 0},
	    {PEER_REPORT_ASKED, VIEW("b"), 0, 1, 0, 1},   {PEER_REPORT_LOST, VIEW("b"), 0, 1, 2, 1},
	};
	struct peer_report out;

	(void)state;
	for (size_t i = 0; i < sizeof sound / sizeof sound[0]; i++) {
		struct buf b = {0};
		peer_report_encode(&sound[i], &b);
		assert_int_equal(peer_report_decode(buf_view(&b), &out), 0);
		size_t numbers = 2 + sound[i].name.len, first = numbers + 16;
		for (size_t at = numbers + 7; at < buf_len(&b); at += at < first - 1 ? 8 : 4) {
			uint8_t was = b.data[b.head + at];
			bool free_field = sound[i].epoch != 0 && at == first + 3;
			b.data[b.head + at] = was == 0;
			assert_int_equal(peer_report_decode(buf_view(&b), &out), free_field ? 0 : ERR_MALFORMED);
			b.data[b.head + at] = was;
		}
		b.data[b.head] = 7;
		assert_int_equal(peer_report_decode(buf_view(&b), &out), ERR_MALFORMED);
		b.data[b.head] = 0;
		assert_int_equal(peer_report_decode(buf_view(&b), &out), ERR_MALFORMED);
		buf_fini(&b);
	}
	/* Beyond the last bucket that a number can name. */
	struct view over = VIEW("\5\1b\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\xff\xff\xff\xff\0\0\0\1");
	assert_int_equal(peer_report_decode(over, &out), ERR_MALFORMED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(there_and_back),    cmocka_unit_test(every_cut),      cmocka_unit_test(one_byte_more),
	    cmocka_unit_test(every_bit_flipped), cmocka_unit_test(no_memory),      cmocka_unit_test(hello_says),
	    cmocka_unit_test(others_say),        cmocka_unit_test(goodbye_texts),  cmocka_unit_test(unsound_hellos),
	    cmocka_unit_test(other_versions),    cmocka_unit_test(longest_hello),  cmocka_unit_test(heard_lists),
	    cmocka_unit_test(unsound_reports),   cmocka_unit_test(texts_too_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
