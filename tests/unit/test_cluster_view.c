/* A view's bytes: the golden ones, there and back, and that nothing unsound is taken. */
#include "cluster/view.h"

#include "base/error.h"
#include "tests/unit/fail_alloc.h"
#include "tests/unit/guard.h"
#include "tests/unit/view_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

/* By hand from doc/cluster.md: one node, one app of two buckets. */
static const uint8_t golden[] = {
    'v', 'i', 'e',  'w',                                                        /* magic */
    0,   1,                                                                     /* format */
    0,   0,   0,    105,                                                        /* length */
    16,  17,  18,   19,   20,  21, 22,  23, 24, 25,  26, 27, 28, 29, 30, 31,    /* cluster */
    0,   0,   0,    0,    0,   0,  1,   2,                                      /* epoch */
    0,   0,                                                                     /* coordinator */
    1,   0,   1,    0,    1,                                                    /* voters, apps, members */
    0,   0,   0,    1,    0,   0,  0,   2,                                      /* hosted, buckets, of all together */
    1,   'a',                                                                   /* a voter */
    4,   's', 'h',  'o',  'p', 9,  8,   7,  6,  5,   4,  3,  2,  0,  0,  0,  2, /* an app: name, digest, buckets */
    1,   'a', 1,    2,    3,   4,  5,   6,  7,  8,   0,                         /* a member: name, incarnation, flags */
    0,   3,   'a',  ':',  '1', 1,  'z', 0,  1,  'u',                            /* address, zone, URL */
    0,   1,   0,    0,    9,   8,  7,   6,  5,  4,   3,  2,                     /* one app: which, its digest */
    0,   0,   0xff, 0xff,                                                       /* managed by a; by nobody, lost */
};

static struct view bytes_of(struct buf *b)
{
	assert_int_equal(buf_error(b), 0);
	return buf_view(b);
}

static void expect_same(struct view a, struct view b)
{
	assert_int_equal(a.len, b.len);
	assert_memory_equal(a.at, b.at, a.len);
}

/* A failure must not leave half a view. */
static void expect_refused(struct view bytes, int err, const char *what)
{
	struct clus_view out, before;

	memset(&out, 0x5a, sizeof(out));
	memcpy(&before, &out, sizeof(out));
	int got = clus_view_decode(bytes, &out);
	if (got != err)
		fail_msg("%s: %d", what, got);
	assert_memory_equal(&out, &before, sizeof(out));
}

/* Decoded from memory that is gone by then, and encoded again. */
static void expect_back(struct view bytes)
{
	struct clus_view v;
	struct buf again = {0};

	assert_int_equal(clus_view_decode(guarded(bytes), &v), 0);
	memset(guard_end() - bytes.len, 0xee, bytes.len);
	clus_view_encode(&v, &again);
	expect_same(bytes_of(&again), bytes);
	buf_fini(&again);
	clus_view_fini(&v);
	assert_null(v.memory.data);
	assert_int_equal(v.member_count, 0);
}

static void golden_bytes(void **state)
{
	struct clus_view v;

	(void)state;
	assert_int_equal(clus_view_decode(guarded(view_of(golden, sizeof golden)), &v), 0);
	assert_memory_equal(v.cluster, golden + 10, CLUS_ID_BYTES);
	assert_int_equal(v.epoch, 258);
	assert_int_equal(v.coordinator, 0);
	assert_int_equal(v.voter_count, 1);
	assert_true(view_eq(v.voters[0], VIEW("a")));
	assert_int_equal(v.app_count, 1);
	assert_true(view_eq(v.apps[0].name, VIEW("shop")));
	assert_true(v.apps[0].digest == 0x0908070605040302);
	assert_int_equal(v.apps[0].buckets, 2);
	assert_int_equal(v.apps[0].map[0].manager, 0);
	assert_false(v.apps[0].map[0].lost);
	assert_int_equal(v.apps[0].map[1].manager, BUCKETS_NONE);
	assert_true(v.apps[0].map[1].lost);
	assert_int_equal(v.member_count, 1);
	assert_true(view_eq(v.members[0].name, VIEW("a")));
	assert_true(v.members[0].incarnation == 0x0102030405060708);
	assert_true(view_eq(v.members[0].address, VIEW("a:1")));
	assert_true(view_eq(v.members[0].zone, VIEW("z")));
	assert_true(view_eq(v.members[0].url, VIEW("u")));
	assert_false(v.members[0].witness);
	assert_false(v.members[0].leaving);
	assert_int_equal(v.members[0].hosted_count, 1);
	assert_int_equal(v.members[0].hosted[0].app, 0);
	assert_true(v.members[0].hosted[0].digest == 0x0908070605040302);
	clus_view_fini(&v);
	expect_back(view_of(golden, sizeof golden));
}

/* It appends, and writes what the document says. */
static void a_cluster_there_and_back(void **state)
{
	struct sample s;
	struct buf by_hand = {0}, out = {0};

	(void)state;
	sample_init(&s);
	write_view(&by_hand, &s.view, s.view.voters);
	buf_put_str(&out, "before");
	clus_view_encode(&s.view, &out);
	buf_consume(&out, 6);
	expect_same(bytes_of(&out), bytes_of(&by_hand));
	expect_back(buf_view(&out));
	buf_fini(&out);
	buf_fini(&by_hand);
}

static void flags_are_kept(void **state)
{
	struct sample s;
	struct buf out = {0};
	struct clus_view v;

	(void)state;
	sample_init(&s);
	clus_view_encode(&s.view, &out);
	assert_int_equal(clus_view_decode(bytes_of(&out), &v), 0);
	for (uint16_t i = 0; i < v.member_count; i++) {
		assert_int_equal(v.members[i].leaving, i == DELTA);
		assert_int_equal(v.members[i].witness, i == WITNESS);
	}
	assert_true(v.apps[SHOP].map[1].lost);
	assert_int_equal(v.apps[SHOP].map[1].manager, ALPHA);
	clus_view_fini(&v);
	buf_fini(&out);
}

/* --- bytes that are none --- */

static void every_truncation(void **state)
{
	struct sample s;
	struct buf whole = {0}, cut = {0};

	(void)state;
	sample_init(&s);
	clus_view_encode(&s.view, &whole);
	struct view bytes = bytes_of(&whole);
	for (size_t len = 0; len < bytes.len; len++) {
		expect_refused(guarded(view_of(bytes.at, len)), ERR_MALFORMED, "cut");
		/* And where the length has been cut with it. */
		buf_clear(&cut);
		buf_put(&cut, view_of(bytes.at, len));
		if (len >= VIEW_LENGTH_AT + 4)
			write_length(&cut);
		expect_refused(guarded(buf_view(&cut)), ERR_MALFORMED, "cut, and the length said so");
	}
	buf_put_u8(&whole, 0);
	expect_refused(buf_view(&whole), ERR_MALFORMED, "a byte more");
	write_length(&whole);
	expect_refused(buf_view(&whole), ERR_MALFORMED, "a byte more, and the length said so");
	buf_fini(&cut);
	buf_fini(&whole);
}

/* What is still taken is what encoding it gives: nothing of a view has two spellings. */
static void every_byte_changed(void **state)
{
	struct sample s;
	struct buf whole = {0};
	unsigned taken = 0, refused = 0;

	(void)state;
	sample_init(&s);
	clus_view_encode(&s.view, &whole);
	for (size_t i = whole.head; i < whole.tail; i++) {
		for (unsigned change = 1; change < 256; change++) {
			struct clus_view v;
			whole.data[i] ^= (uint8_t)change;
			int err = clus_view_decode(guarded(buf_view(&whole)), &v);
			if (err == 0) {
				clus_view_fini(&v);
				expect_back(buf_view(&whole));
				taken++;
			} else {
				assert_true(err == ERR_MALFORMED || err == ERR_VERSION);
				refused++;
			}
			whole.data[i] ^= (uint8_t)change;
		}
	}
	assert_true(taken > 5000); /* epochs, digests, incarnations and letters are free */
	assert_true(refused > taken);
	buf_fini(&whole);
}

/* One byte of the golden ones. */
static void expect_patched(size_t at, uint8_t byte, int err)
{
	uint8_t bytes[sizeof golden];
	char what[32];

	memcpy(bytes, golden, sizeof golden);
	bytes[at] = byte;
	snprintf(what, sizeof what, "byte %zu is %u", at, byte);
	expect_refused(guarded(view_of(bytes, sizeof bytes)), err, what);
}

enum { AT_HOSTED = 41, AT_BUCKETS = 45, AT_APP_BUCKETS = 67, AT_FLAGS = 78, AT_HOSTS = 90 };

static void bytes_that_cannot_be(void **state)
{
	(void)state;
	expect_patched(0, 'V', ERR_MALFORMED);
	expect_patched(5, 0, ERR_MALFORMED);
	expect_patched(VIEW_LENGTH_AT + 3, sizeof golden + 1, ERR_MALFORMED);
	expect_patched(VIEW_LENGTH_AT, 1, ERR_MALFORMED);
	expect_patched(AT_FLAGS, 4, ERR_MALFORMED);
	expect_patched(AT_FLAGS, 0x80, ERR_MALFORMED);
	/* Counts that are not those of what follows: none of them is believed. */
	for (unsigned i = 0; i < 4; i++) {
		expect_patched(AT_HOSTED + i, 0xff, ERR_MALFORMED);
		expect_patched(AT_BUCKETS + i, 0xff, ERR_MALFORMED);
		expect_patched(AT_APP_BUCKETS - 3 + i, 0xff, ERR_MALFORMED);
	}
	expect_patched(AT_HOSTED + 3, 0, ERR_MALFORMED);
	expect_patched(AT_HOSTED + 3, 2, ERR_MALFORMED);
	expect_patched(AT_BUCKETS + 3, 1, ERR_MALFORMED);
	expect_patched(AT_BUCKETS + 3, 3, ERR_MALFORMED);
	expect_patched(AT_APP_BUCKETS, 1, ERR_MALFORMED);
	expect_patched(AT_APP_BUCKETS, 3, ERR_MALFORMED);
	expect_patched(AT_HOSTS, 0, ERR_MALFORMED);
	expect_patched(AT_HOSTS, 2, ERR_MALFORMED);
}

/* All that an older weir knows of a view of tomorrow. */
static void of_a_newer_format(void **state)
{
	uint8_t bytes[38];

	(void)state;
	memset(bytes, 0xee, sizeof bytes);
	memcpy(bytes, golden, VIEW_LENGTH_AT);
	bytes[5] = 2;
	for (size_t len = VIEW_LENGTH_AT + 4; len <= sizeof bytes; len++) {
		(void)bigendian_put(bytes + VIEW_LENGTH_AT, len, 4);
		expect_refused(guarded(view_of(bytes, len)), len < 34 ? ERR_MALFORMED : ERR_VERSION, "newer");
	}
	expect_refused(guarded(view_of(bytes, sizeof bytes - 1)), ERR_MALFORMED, "newer, cut");
	expect_patched(4, 0xff, ERR_VERSION);
	bytes[0] = 'V';
	expect_refused(guarded(view_of(bytes, sizeof bytes)), ERR_MALFORMED, "newer, another magic");
}

/* --- views that cannot be --- */

#define BREAKS(name, ...)                                                                                              \
	static void name(struct sample *s)                                                                             \
	{                                                                                                              \
		__VA_ARGS__;                                                                                           \
	}
BREAKS(no_cluster, memset(s->view.cluster, 0, CLUS_ID_BYTES))
BREAKS(no_epoch, s->view.epoch = 0)
BREAKS(last_epoch, s->view.epoch = CLUS_EPOCH_MAX + 1)
BREAKS(no_members, s->view.member_count = 0)
BREAKS(coordinator_unknown, s->view.coordinator = 4)
BREAKS(coordinator_none, s->view.coordinator = CLUS_NONE)
BREAKS(coordinator_without_vote, s->view.coordinator = ALPHA)
BREAKS(no_voters, s->view.voter_count = 0)
BREAKS(voter_twice, s->view.voters[1] = VIEW("beta"))
BREAKS(voters_unsorted, s->view.voters[1] = VIEW("alpha"))
BREAKS(voter_without_name, s->view.voters[0] = VIEW(""))
BREAKS(voter_with_slash, s->view.voters[1] = VIEW("go/ne"))
BREAKS(member_twice, s->members[ALPHA].name = VIEW("beta"))
BREAKS(members_unsorted, s->members[ALPHA].name = VIEW("c"))
BREAKS(member_without_name, s->members[ALPHA].name = VIEW(""))
BREAKS(member_with_blank, s->members[ALPHA].name = VIEW("al pha"))
BREAKS(member_with_nul, s->members[ALPHA].name = VIEW("a\0a"))
BREAKS(member_with_eighth_bit, s->members[ALPHA].name = VIEW("a\xc1"))
BREAKS(no_incarnation, s->members[BETA].incarnation = 0)
BREAKS(no_address, s->members[BETA].address = VIEW(""))
BREAKS(address_with_blank, s->members[BETA].address = VIEW("a b"))
BREAKS(zone_with_slash, s->members[BETA].zone = VIEW("a/b"))
BREAKS(url_with_newline, s->members[BETA].url = VIEW("https://a\nb"))
BREAKS(url_with_del, s->members[BETA].url = VIEW("https://a\x7f"))
BREAKS(witness_hosts, s->members[DELTA].witness = true)
BREAKS(hosts_unknown, s->delta[0].app = 2)
BREAKS(hosts_twice, s->alpha[0].app = SHOP; buckets_init(s->blog, 2); buckets_init(s->shop, 3))
BREAKS(hosts_unsorted, s->alpha[0].app = SHOP; s->alpha[1].app = BLOG; buckets_init(s->blog, 2);
       buckets_init(s->shop, 3))
BREAKS(app_twice, s->apps[BLOG].name = VIEW("shop"))
BREAKS(apps_unsorted, s->apps[BLOG].name = VIEW("z"))
BREAKS(app_without_name, s->apps[BLOG].name = VIEW(""))
BREAKS(app_without_buckets, s->apps[BLOG].buckets = 0)
BREAKS(manager_unknown, s->shop[0].manager = 4)
BREAKS(manager_far, s->shop[0].manager = BUCKETS_NONE - 1)
BREAKS(manager_disagrees, s->shop[0].manager = BETA)
BREAKS(manager_leaves, s->shop[0].manager = DELTA)
BREAKS(manager_is_witness, s->shop[0].manager = WITNESS)
BREAKS(manager_does_not_host, s->alpha[1].app = SHOP; s->blog[0].manager = BETA)
BREAKS(nobodys_but_known, s->shop[2].lost = false)

static void no_unsound_view_is_taken(void **state)
{
#define CASE(name)                                                                                                     \
	{                                                                                                              \
#name, name                                                                                            \
	}
	static const struct {
		const char *name;
		void (*breaks)(struct sample *s);
	} cases[] = {
	    CASE(no_cluster),
	    CASE(no_epoch),
	    CASE(last_epoch),
	    CASE(no_members),
	    CASE(coordinator_unknown),
	    CASE(coordinator_none),
	    CASE(coordinator_without_vote),
	    CASE(no_voters),
	    CASE(voter_twice),
	    CASE(voters_unsorted),
	    CASE(voter_without_name),
	    CASE(voter_with_slash),
	    CASE(member_twice),
	    CASE(members_unsorted),
	    CASE(member_without_name),
	    CASE(member_with_blank),
	    CASE(member_with_nul),
	    CASE(member_with_eighth_bit),
	    CASE(no_incarnation),
	    CASE(no_address),
	    CASE(address_with_blank),
	    CASE(zone_with_slash),
	    CASE(url_with_newline),
	    CASE(url_with_del),
	    CASE(witness_hosts),
	    CASE(hosts_unknown),
	    CASE(hosts_twice),
	    CASE(hosts_unsorted),
	    CASE(app_twice),
	    CASE(apps_unsorted),
	    CASE(app_without_name),
	    CASE(app_without_buckets),
	    CASE(manager_unknown),
	    CASE(manager_far),
	    CASE(manager_disagrees),
	    CASE(manager_leaves),
	    CASE(manager_is_witness),
	    CASE(manager_does_not_host),
	    CASE(nobodys_but_known),
	};
	struct buf b = {0};
	struct sample s;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		sample_init(&s);
		assert_true(clus_view_is_sound(&s.view));
		cases[i].breaks(&s);
		if (clus_view_is_sound(&s.view))
			fail_msg("%s is sound", cases[i].name);
		buf_clear(&b);
		write_view(&b, &s.view, s.view.voters);
		expect_refused(guarded(bytes_of(&b)), ERR_MALFORMED, cases[i].name);
	}
	buf_fini(&b);
}

/* --- limits: what is allowed to the last byte, and not one more --- */

static void expect_limit(struct sample *s, bool taken, const char *what)
{
	struct buf b = {0};
	struct clus_view v;

	assert_true(clus_view_is_sound(&s->view) == taken);
	write_view(&b, &s->view, s->view.voters);
	if (taken) {
		assert_int_equal(clus_view_decode(bytes_of(&b), &v), 0);
		clus_view_fini(&v);
	} else {
		expect_refused(bytes_of(&b), ERR_MALFORMED, what);
	}
	buf_fini(&b);
}

static void texts_have_a_length(void **state)
{
	static char text[CLUS_URL_MAX + 1];
	struct sample s;

	(void)state;
	memset(text, 'a', sizeof text);
	for (unsigned more = 0; more < 2; more++) {
		sample_init(&s);
		s.members[ALPHA].name = view_of(text, CLUS_NAME_MAX + more);
		expect_limit(&s, !more, "a member's name");
		sample_init(&s);
		s.apps[BLOG].name = view_of(text, CLUS_NAME_MAX + more);
		expect_limit(&s, !more, "an app's name");
		sample_init(&s);
		s.view.voters[0] = view_of(text, CLUS_NAME_MAX + more);
		s.view.coordinator = WITNESS;
		expect_limit(&s, !more, "a voter");
		sample_init(&s);
		s.members[ALPHA].zone = view_of(text, CLUS_NAME_MAX + more);
		expect_limit(&s, !more, "a zone");
		sample_init(&s);
		s.members[ALPHA].address = view_of(text, CLUS_ADDRESS_MAX + more);
		expect_limit(&s, !more, "an address");
		sample_init(&s);
		s.members[ALPHA].url = view_of(text, CLUS_URL_MAX + more);
		expect_limit(&s, !more, "a URL");
		sample_init(&s);
		s.view.epoch = CLUS_EPOCH_MAX + more;
		expect_limit(&s, !more, "an epoch");
	}
}

static void at_most_seven_vote(void **state)
{
	const struct view voters[] = {VIEW("1"), VIEW("2"), VIEW("3"), VIEW("4"),
				      VIEW("5"), VIEW("6"), VIEW("w"), VIEW("x")};
	struct buf b = {0};
	struct clus_view v;
	struct sample s;

	(void)state;
	sample_init(&s);
	s.view.coordinator = WITNESS;
	s.view.voter_count = 7;
	write_view(&b, &s.view, voters);
	assert_int_equal(clus_view_decode(guarded(bytes_of(&b)), &v), 0);
	clus_view_fini(&v);
	s.view.voter_count = 8;
	assert_false(clus_view_is_sound(&s.view));
	buf_clear(&b);
	write_view(&b, &s.view, voters);
	expect_refused(guarded(bytes_of(&b)), ERR_MALFORMED, "eight");
	buf_fini(&b);
}

/* Names of one length are in order when their numbers are. */
enum { NUMBER_ROOM = 8, MANY = CLUS_MEMBERS_MAX + 1 };

static char numbers[MANY][NUMBER_ROOM];

static struct view number(unsigned i)
{
	snprintf(numbers[i], NUMBER_ROOM, "n%04u", i);
	return view_str(numbers[i]);
}

static void at_most_a_thousand_members(void **state)
{
	static struct clus_member many[MANY];
	struct sample s;

	(void)state;
	for (unsigned i = 0; i < MANY; i++)
		many[i] = (struct clus_member){.name = number(i), .incarnation = 1, .address = VIEW("a:1")};
	sample_init(&s);
	s.view.members = many;
	s.view.app_count = 0;
	s.view.voters[1] = many[999].name;
	s.view.coordinator = 999;
	s.view.member_count = CLUS_MEMBERS_MAX;
	expect_limit(&s, true, "1000");
	s.view.member_count = CLUS_MEMBERS_MAX + 1;
	expect_limit(&s, false, "1001");
}

static void at_most_256_apps(void **state)
{
	static struct clus_app many[CLUS_APPS_MAX + 1];
	static const struct bucket nobodys = {BUCKETS_NONE, true};
	struct sample s;

	(void)state;
	for (unsigned i = 0; i <= CLUS_APPS_MAX; i++)
		many[i] = (struct clus_app){.name = number(i), .buckets = 1, .map = &nobodys};
	sample_init(&s);
	s.view.apps = many;
	s.view.app_count = CLUS_APPS_MAX;
	expect_limit(&s, true, "256");
	s.view.app_count = CLUS_APPS_MAX + 1;
	expect_limit(&s, false, "257");
}

static void at_most_65536_buckets(void **state)
{
	static struct bucket map[BUCKETS_MAX + 1];
	struct sample s;

	(void)state;
	buckets_init(map, BUCKETS_MAX + 1);
	sample_init(&s);
	s.apps[SHOP].map = map;
	s.apps[SHOP].buckets = BUCKETS_MAX;
	expect_limit(&s, true, "65536");
	s.apps[SHOP].buckets = BUCKETS_MAX + 1;
	expect_limit(&s, false, "65537");
}

/* Of the whole: 1 MiB, so that it goes into one frame. */
static void at_most_a_mebibyte(void **state)
{
	static struct clus_member many[CLUS_MEMBERS_MAX];
	static struct bucket map[BUCKETS_MAX];
	static char text[CLUS_URL_MAX];
	struct clus_app apps[2] = {{.name = VIEW("a"), .buckets = BUCKETS_MAX, .map = map},
				   {.name = VIEW("b"), .buckets = 1, .map = map}};
	struct buf b = {0};
	struct sample s;

	(void)state;
	memset(text, 'u', sizeof text);
	buckets_init(map, BUCKETS_MAX);
	for (unsigned i = 0; i < CLUS_MEMBERS_MAX; i++)
		many[i] = (struct clus_member){.name = number(i),
					       .incarnation = 1,
					       .address = view_of(text, CLUS_ADDRESS_MAX),
					       .zone = view_of(text, CLUS_NAME_MAX),
					       .url = view_of(text, CLUS_URL_MAX)};
	sample_init(&s);
	s.view.coordinator = 0;
	s.view.voters[1] = many[0].name;
	s.view.members = many;
	s.view.member_count = CLUS_MEMBERS_MAX;
	s.view.apps = apps;
	write_view(&b, &s.view, s.view.voters);
	size_t room = CLUS_VIEW_BYTES_MAX - buf_len(&b);
	apps[1].buckets += (uint32_t)(room / 2);
	s.view.voters[2] = room % 2 ? VIEW("ww") : VIEW("w");
	buf_clear(&b);
	clus_view_encode(&s.view, &b);
	assert_int_equal(bytes_of(&b).len, CLUS_VIEW_BYTES_MAX);
	expect_limit(&s, true, "1 MiB");
	s.view.voters[2] = room % 2 ? VIEW("www") : VIEW("ww");
	buf_clear(&b);
	clus_view_encode(&s.view, &b);
	assert_int_equal(buf_error(&b), ERR_TOO_LARGE);
	assert_int_equal(buf_len(&b), 0);
	buf_clear(&b);
	write_view(&b, &s.view, s.view.voters);
	expect_refused(bytes_of(&b), ERR_MALFORMED, "1 MiB and a byte");
	buf_fini(&b);
}

static void without_memory(void **state)
{
	struct buf b = {0};
	struct sample s;

	(void)state;
	sample_init(&s);
	fail_alloc_at(1);
	clus_view_encode(&s.view, &b);
	fail_alloc_at(0);
	assert_int_equal(buf_error(&b), ERR_NO_MEMORY);
	assert_int_equal(buf_len(&b), 0);
	fail_alloc_at(1);
	expect_refused(view_of(golden, sizeof golden), ERR_NO_MEMORY, "no memory");
	fail_alloc_at(0);
	buf_fini(&b);
}

/* --- looking things up --- */

static void all_that_is_there_is_found(void **state)
{
	struct sample s;

	(void)state;
	sample_init(&s);
	for (uint16_t i = 0; i < s.view.member_count; i++)
		assert_int_equal(clus_view_member(&s.view, s.members[i].name), i);
	assert_int_equal(clus_view_member(&s.view, VIEW("")), CLUS_NONE);
	assert_int_equal(clus_view_member(&s.view, VIEW("alph")), CLUS_NONE);
	assert_int_equal(clus_view_member(&s.view, VIEW("alphaa")), CLUS_NONE);
	assert_int_equal(clus_view_member(&s.view, VIEW("gone")), CLUS_NONE);
	assert_int_equal(clus_view_member(&s.view, VIEW("z")), CLUS_NONE);
	assert_int_equal(clus_view_app(&s.view, VIEW("blog")), BLOG);
	assert_int_equal(clus_view_app(&s.view, VIEW("shop")), SHOP);
	assert_int_equal(clus_view_app(&s.view, VIEW("sho")), CLUS_NONE);
	assert_int_equal(clus_view_voter(&s.view, VIEW("beta")), 0);
	assert_int_equal(clus_view_voter(&s.view, VIEW("gone")), 1);
	assert_int_equal(clus_view_voter(&s.view, VIEW("w")), 2);
	assert_int_equal(clus_view_voter(&s.view, VIEW("alpha")), CLUS_NONE);
}

static void who_may_manage(void **state)
{
	struct sample s;

	(void)state;
	sample_init(&s);
	assert_ptr_equal(clus_view_hosted(&s.view, ALPHA, SHOP), &s.alpha[1]);
	assert_ptr_equal(clus_view_hosted(&s.view, BETA, SHOP), &s.beta[0]);
	assert_null(clus_view_hosted(&s.view, BETA, BLOG));
	assert_null(clus_view_hosted(&s.view, WITNESS, SHOP));
	assert_true(clus_view_may_manage(&s.view, ALPHA, SHOP));
	assert_true(clus_view_may_manage(&s.view, ALPHA, BLOG));
	assert_false(clus_view_may_manage(&s.view, BETA, BLOG));
	assert_false(clus_view_may_manage(&s.view, BETA, SHOP));  /* disagrees */
	assert_false(clus_view_may_manage(&s.view, DELTA, SHOP)); /* leaves */
	assert_false(clus_view_may_manage(&s.view, WITNESS, SHOP));
	s.beta[0].digest--;
	s.members[DELTA].leaving = false;
	assert_true(clus_view_may_manage(&s.view, BETA, SHOP));
	assert_true(clus_view_may_manage(&s.view, DELTA, SHOP));
}

static void more_than_half_of_the_votes(void **state)
{
	static const unsigned majority[] = {1, 2, 2, 3, 3, 4, 4};
	struct clus_view v = {0};

	(void)state;
	for (unsigned n = 1; n <= CLUS_VOTERS_MAX; n++) {
		v.voter_count = (uint8_t)n;
		assert_int_equal(clus_view_majority(&v), majority[n - 1]);
		for (unsigned voters = 0; voters < 1 << CLUS_VOTERS_MAX; voters++) {
			unsigned votes = 0;
			for (unsigned i = 0; i < n; i++)
				votes += (voters & 1U << i) != 0;
			assert_int_equal(clus_view_votes(&v, voters), votes);
			assert_int_equal(clus_view_is_majority(&v, voters), 2 * votes > n);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(golden_bytes),
	    cmocka_unit_test(a_cluster_there_and_back),
	    cmocka_unit_test(flags_are_kept),
	    cmocka_unit_test(every_truncation),
	    cmocka_unit_test(every_byte_changed),
	    cmocka_unit_test(bytes_that_cannot_be),
	    cmocka_unit_test(of_a_newer_format),
	    cmocka_unit_test(no_unsound_view_is_taken),
	    cmocka_unit_test(texts_have_a_length),
	    cmocka_unit_test(at_most_seven_vote),
	    cmocka_unit_test(at_most_a_thousand_members),
	    cmocka_unit_test(at_most_256_apps),
	    cmocka_unit_test(at_most_65536_buckets),
	    cmocka_unit_test(at_most_a_mebibyte),
	    cmocka_unit_test(without_memory),
	    cmocka_unit_test(all_that_is_there_is_found),
	    cmocka_unit_test(who_may_manage),
	    cmocka_unit_test(more_than_half_of_the_votes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
