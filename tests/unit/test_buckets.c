/* The plan of the buckets: balance, the fewest moves, nothing to who leaves, what is lost, and one result whatever the
 * order. Small cases against all maps there are, large ones over drawn histories of members. */
#include "cluster/buckets.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

static struct buckets_work work;

/* --- maps as texts: a letter is a member, a capital one has lost it, '.' is nobody --- */

enum { TEXT_MAX = 32, LETTERS = 26 };

static uint32_t map_of(const char *text, struct bucket *map)
{
	uint32_t count = 0;

	for (; text[count]; count++) {
		char c = text[count];
		map[count] = (struct bucket){BUCKETS_NONE, true};
		if (c != '.')
			map[count] = (struct bucket){(uint16_t)((c | 0x20) - 'a'), c < 'a'};
	}
	return count;
}

static const char *text_of(const struct bucket *map, uint32_t count)
{
	static char text[TEXT_MAX];

	for (uint32_t b = 0; b < count; b++)
		text[b] = map[b].manager == BUCKETS_NONE ? (map[b].lost ? '.' : '?')
							 : (char)((map[b].lost ? 'A' : 'a') + map[b].manager);
	text[count] = 0;
	return text;
}

/* "a" manages, "-a" leaves, all others are gone. */
static struct buckets_moves plan(const char *before, const char *members, const char *after)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
	struct buckets_member m[LETTERS];
	struct bucket map[TEXT_MAX];
	uint32_t count = map_of(before, map);
	enum buckets_role role = BUCKETS_MANAGES;

	for (unsigned i = 0; i < LETTERS; i++)
		m[i] = (struct buckets_member){view_of(letters + i, 1), BUCKETS_GONE};
	for (; *members; members++) {
		if (*members != '-')
			m[*members - 'a'].role = role;
		role = *members == '-' ? BUCKETS_LEAVES : BUCKETS_MANAGES;
	}
	struct buckets_moves moves = buckets_plan(map, count, m, LETTERS, &work, map);
	assert_string_equal(text_of(map, count), after);
	return moves;
}

static void expect_moves(struct buckets_moves got, uint32_t moved, uint32_t handed, uint32_t lost)
{
	assert_int_equal(got.moved, moved);
	assert_int_equal(got.handed, handed);
	assert_int_equal(got.lost, lost);
}

static void the_first_members_share(void **state)
{
	(void)state;
	expect_moves(plan("......", "a", "AAAAAA"), 6, 0, 6);
	expect_moves(plan("......", "bac", "AABBCC"), 6, 0, 6);
	expect_moves(plan("..", "abc", "AB"), 2, 0, 2); /* more members than buckets */
}

static void who_joins_gets_its_share(void **state)
{
	(void)state;
	expect_moves(plan("aaaaaa", "ab", "aaabbb"), 3, 3, 0);
	expect_moves(plan("aaabbb", "abc", "aacbbc"), 2, 2, 0);
	expect_moves(plan("abcabc", "abcd", "abcabd"), 1, 1, 0);
	expect_moves(plan("abcabc", "abc", "abcabc"), 0, 0, 0);
}

static void who_leaves_hands_over(void **state)
{
	(void)state;
	expect_moves(plan("aabbcc", "a-bc", "aaaccc"), 2, 2, 0);
	expect_moves(plan("aaaa", "-a", "...."), 4, 0, 4); /* to nobody */
}

static void who_dies_has_lost_them(void **state)
{
	(void)state;
	expect_moves(plan("aabbcc", "ac", "aaACcc"), 2, 0, 2);
	expect_moves(plan("aabbcc", "", "......"), 6, 0, 6);
}

/* Lost it stays, wherever it goes, until somebody has cleared it in the old map. */
static void lost_until_cleared(void **state)
{
	(void)state;
	expect_moves(plan("aaACcc", "ac", "aaACcc"), 0, 0, 2);
	expect_moves(plan("aaACcc", "a-c", "aaAAaa"), 3, 2, 2);
	expect_moves(plan("aaaccc", "a-c", "aaaaaa"), 3, 3, 0);
	expect_moves(plan("aaaAAA", "ab", "aaaBBB"), 3, 0, 3);
	expect_moves(plan("a.a.", "a", "aAaA"), 2, 0, 2); /* nobody knew what is in them */
	/* Even where a map says otherwise of a bucket without a manager. */
	struct bucket map[1] = {{BUCKETS_NONE, false}};
	struct buckets_member a = {VIEW("a"), BUCKETS_MANAGES};
	(void)buckets_plan(map, 1, &a, 1, &work, map);
	assert_true(map[0].lost);
}

/* The larger shares are where they save a move; where they save none, by name. */
static void who_has_the_most_keeps_the_most(void **state)
{
	(void)state;
	expect_moves(plan("abbbb", "ab", "abbba"), 1, 1, 0);
	expect_moves(plan("bbbbb", "ab", "bbbaa"), 2, 2, 0);
	expect_moves(plan(".....", "ab", "AAABB"), 5, 0, 5);
	expect_moves(plan("aabbccc", "abc", "aabbccc"), 0, 0, 0);
	expect_moves(plan("ddddcba", "abcd", "ddabcba"), 2, 2, 0);
}

/* --- what a plan must be, looked at from outside --- */

struct model {
	struct bucket *map, *next; /* of `count` */
	uint32_t count;
	struct buckets_member *members; /* of `n` */
	uint16_t n;
	char why[160]; /* for who reads a failure */
};

#define HOLDS(m, condition)                                                                                            \
	do {                                                                                                           \
		if (!(condition))                                                                                      \
			fail_msg("%s: not so: %s", (m)->why, #condition);                                              \
	} while (0)

static uint32_t managers_of(const struct model *m)
{
	uint32_t managers = 0;

	for (uint16_t i = 0; i < m->n; i++)
		managers += m->members[i].role == BUCKETS_MANAGES;
	return managers;
}

static void count_of(const struct bucket *map, uint32_t count, uint32_t *has)
{
	memset(has, 0, BUCKETS_MEMBERS_MAX * sizeof has[0]);
	for (uint32_t b = 0; b < count; b++) {
		if (map[b].manager != BUCKETS_NONE)
			has[map[b].manager]++;
	}
}

/* By shares: what can stay at most. The exhaustive test holds it against all maps. */
static uint32_t least_moves(const struct model *m)
{
	static uint32_t has[BUCKETS_MEMBERS_MAX];
	uint32_t managers = managers_of(m), stay = 0, above = 0;

	count_of(m->map, m->count, has);
	if (managers == 0) {
		for (uint32_t b = 0; b < m->count; b++)
			stay += m->map[b].manager == BUCKETS_NONE;
		return m->count - stay;
	}
	for (uint16_t i = 0; i < m->n; i++) {
		uint32_t share = m->count / managers;
		if (m->members[i].role != BUCKETS_MANAGES)
			continue;
		stay += has[i] < share ? has[i] : share;
		above += has[i] > share;
	}
	uint32_t larger = m->count % managers;
	return m->count - stay - (above < larger ? above : larger);
}

static void expect_balance(const struct model *m)
{
	static uint32_t has[BUCKETS_MEMBERS_MAX];
	uint32_t low = UINT32_MAX, high = 0, all = 0;

	count_of(m->next, m->count, has);
	for (uint16_t i = 0; i < m->n; i++) {
		if (m->members[i].role != BUCKETS_MANAGES) {
			HOLDS(m, has[i] == 0);
			continue;
		}
		low = has[i] < low ? has[i] : low;
		high = has[i] > high ? has[i] : high;
		all += has[i];
	}
	HOLDS(m, all == (managers_of(m) > 0 ? m->count : 0));
	HOLDS(m, managers_of(m) == 0 || high - low <= 1);
}

static void expect_good(const struct model *m, struct buckets_moves moves)
{
	uint32_t moved = 0, handed = 0, lost = 0;

	expect_balance(m);
	for (uint32_t b = 0; b < m->count; b++) {
		uint16_t old = m->map[b].manager, new = m->next[b].manager;
		bool knew = old != BUCKETS_NONE && !m->map[b].lost && m->members[old].role != BUCKETS_GONE;
		HOLDS(m, m->next[b].lost == (!knew || new == BUCKETS_NONE));
		moved += old != new;
		handed += old != new && !m->next[b].lost;
		lost += m->next[b].lost;
	}
	HOLDS(m, moved == moves.moved);
	HOLDS(m, handed == moves.handed);
	HOLDS(m, lost == moves.lost);
	HOLDS(m, moved == least_moves(m));
}

/* --- small cases: all of them --- */

enum { SMALL_BUCKETS = 8, SMALL_MEMBERS = 4 };

struct search {
	const struct model *m;
	uint32_t has[SMALL_MEMBERS];
	uint32_t best;
};

/* Every map of buckets b and those behind it over those that manage; `moved` are those before b. */
static void search_all(struct search *s, uint32_t b, uint32_t moved)
{
	uint32_t low = UINT32_MAX, high = 0;

	if (b < s->m->count) {
		for (uint16_t i = 0; i < SMALL_MEMBERS; i++) {
			if (s->m->members[i].role != BUCKETS_MANAGES)
				continue;
			s->has[i]++;
			search_all(s, b + 1, moved + (s->m->map[b].manager != i));
			s->has[i]--;
		}
		return;
	}
	for (uint16_t i = 0; i < SMALL_MEMBERS; i++) {
		if (s->m->members[i].role != BUCKETS_MANAGES)
			continue;
		low = s->has[i] < low ? s->has[i] : low;
		high = s->has[i] > high ? s->has[i] : high;
	}
	if (high - low <= 1 && moved < s->best)
		s->best = moved;
}

/* Who does not manage has left or died, by the bits of `gone`. */
static void set_roles(struct model *m, unsigned managing, unsigned gone)
{
	for (unsigned i = 0; i < SMALL_MEMBERS; i++) {
		m->members[i].role = managing >> i & 1 ? BUCKETS_MANAGES
				     : gone >> i & 1   ? BUCKETS_GONE
						       : BUCKETS_LEAVES;
	}
}

static uint64_t drawn;

static uint32_t draw(uint32_t below)
{
	drawn = drawn * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)((drawn >> 33) % below);
}

static void shuffle_map(struct bucket *map, uint32_t count)
{
	for (uint32_t b = count; b > 1; b--) {
		uint32_t other = draw(b);
		struct bucket t = map[b - 1];
		map[b - 1] = map[other];
		map[other] = t;
	}
}

static void check_small(struct model *m, const char *text)
{
	for (unsigned managing = 0; managing < 1 << SMALL_MEMBERS; managing++) {
		struct search s = {.m = m, .best = UINT32_MAX};
		set_roles(m, managing, 0);
		if (managing != 0) {
			search_all(&s, 0, 0);
			snprintf(m->why, sizeof m->why, "%s over members %x", text, managing);
			HOLDS(m, least_moves(m) == s.best);
		}
		for (unsigned gone = 0; gone < 1 << SMALL_MEMBERS; gone++) {
			set_roles(m, managing, gone);
			/* The number of moves does not depend on the order of buckets; the plan could. */
			shuffle_map(m->map, m->count);
			snprintf(m->why, sizeof m->why, "%s over members %x, gone %x", text_of(m->map, m->count),
				 managing, gone);
			expect_good(m, buckets_plan(m->map, m->count, m->members, m->n, &work, m->next));
		}
	}
}

/* Every number of buckets of every member and of nobody. */
static void all_small_maps_move_the_least(void **state)
{
	struct bucket map[SMALL_BUCKETS], next[SMALL_BUCKETS];
	struct buckets_member members[SMALL_MEMBERS] = {
	    {.name = VIEW("b")}, {.name = VIEW("a")}, {.name = VIEW("d")}, {.name = VIEW("c")}};
	struct model m = {.map = map, .next = next, .members = members, .n = SMALL_MEMBERS};
	char text[TEXT_MAX];
	unsigned maps = 0;

	(void)state;
	for (m.count = 1; m.count <= SMALL_BUCKETS; m.count++) {
		memset(text, '.', m.count);
		text[m.count] = 0;
		/* Texts in which no letter stands before a lesser one, '.' being the least. */
		for (;;) {
			map_of(text, map);
			check_small(&m, text);
			maps++;
			uint32_t at = m.count;
			while (at > 0 && text[at - 1] == 'a' + SMALL_MEMBERS - 1)
				at--;
			if (at == 0)
				break;
			char c = text[at - 1] == '.' ? 'a' : (char)(text[at - 1] + 1);
			memset(text + at - 1, c, m.count - at + 1);
		}
	}
	assert_int_equal(maps, 5 + 15 + 35 + 70 + 126 + 210 + 330 + 495);
}

/* --- histories --- */

enum { NODES_MAX = BUCKETS_MANAGERS_MAX, NAME_ROOM = 8, LARGE_BUCKETS = 16384, HISTORIES = 24, STEPS = 40 };

/* The members are places 0 to n - 1 of `members`. Who has gone is out of it after the next plan; who comes back is
 * another member of that name. */
struct history {
	struct bucket map[LARGE_BUCKETS], next[LARGE_BUCKETS], other[LARGE_BUCKETS];
	struct buckets_member members[BUCKETS_MEMBERS_MAX], shuffled[BUCKETS_MEMBERS_MAX];
	char names[NODES_MAX][NAME_ROOM];
	uint16_t to[BUCKETS_MEMBERS_MAX]; /* from a place to another */
	struct model model;
};

/* A random order of 0 to n - 1. */
static void draw_order(uint16_t *to, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++) {
		uint16_t other = (uint16_t)draw(i + 1U);
		to[i] = to[other];
		to[other] = i;
	}
}

/* The same members in another order: the same names for the same buckets. */
static void expect_same_in_any_order(struct history *h)
{
	struct model *m = &h->model;

	draw_order(h->to, m->n);
	for (uint16_t i = 0; i < m->n; i++)
		h->shuffled[h->to[i]] = m->members[i];
	memcpy(h->other, h->map, m->count * sizeof h->map[0]);
	buckets_renumber(h->other, m->count, h->to, m->n);
	(void)buckets_plan(h->other, m->count, h->shuffled, m->n, &work, h->other);
	for (uint32_t b = 0; b < m->count; b++) {
		uint16_t here = h->next[b].manager, there = h->other[b].manager;
		HOLDS(m, there == (here == BUCKETS_NONE ? BUCKETS_NONE : h->to[here]));
		HOLDS(m, h->next[b].lost == h->other[b].lost);
	}
}

static bool is_there(const struct history *h, struct view name)
{
	for (uint16_t i = 0; i < h->model.n; i++) {
		if (h->members[i].role != BUCKETS_GONE && view_eq(h->members[i].name, name))
			return true;
	}
	return false;
}

static void join(struct history *h, uint32_t nodes, uint32_t times)
{
	while (times-- > 0) {
		struct view name = view_str(h->names[draw(nodes)]);
		if (h->model.n < BUCKETS_MEMBERS_MAX && !is_there(h, name))
			h->members[h->model.n++] = (struct buckets_member){name, BUCKETS_MANAGES};
	}
}

/* Whoever it meets leaves, dies, may not manage for a while, or may again. */
static void part(struct history *h, uint32_t times)
{
	static const enum buckets_role roles[] = {BUCKETS_GONE, BUCKETS_LEAVES, BUCKETS_MANAGES};

	while (times-- > 0 && h->model.n > 0) {
		struct buckets_member *m = &h->members[draw(h->model.n)];
		if (m->role != BUCKETS_GONE)
			m->role = roles[draw(3)];
	}
}

/* Who has gone stands in no member's place any more. */
static void forget_gone(struct history *h)
{
	struct model *m = &h->model;
	uint16_t kept = 0;

	for (uint16_t i = 0; i < m->n; i++) {
		h->to[i] = m->members[i].role == BUCKETS_GONE ? BUCKETS_NONE : kept;
		if (m->members[i].role != BUCKETS_GONE)
			m->members[kept++] = m->members[i];
	}
	buckets_renumber(h->map, m->count, h->to, m->n);
	m->n = kept;
}

static void run_history(struct history *h, uint64_t seed, uint32_t nodes, uint32_t buckets)
{
	drawn = seed;
	h->model = (struct model){.map = h->map, .next = h->next, .count = buckets, .members = h->members};
	buckets_init(h->map, buckets);
	for (uint32_t step = 0; step < STEPS; step++) {
		uint32_t times = draw(4) == 0 ? draw(nodes) + 1 : draw(3);
		if (draw(2) == 0)
			join(h, nodes, times);
		else
			part(h, times);
		if (step == STEPS / 2)
			join(h, nodes, 8 * nodes); /* nearly all at once */
		snprintf(h->model.why, sizeof h->model.why, "seed %llu, %u nodes, %u buckets, step %u",
			 (unsigned long long)seed, nodes, buckets, step);
		expect_good(&h->model, buckets_plan(h->map, buckets, h->members, h->model.n, &work, h->next));
		expect_same_in_any_order(h);
		memcpy(h->map, h->next, buckets * sizeof h->map[0]);
		for (uint32_t b = 0; b < buckets; b++)
			h->map[b].lost = h->map[b].manager == BUCKETS_NONE || (h->map[b].lost && draw(2) == 0);
		forget_gone(h);
	}
}

static void drawn_histories_keep_the_promises(void **state)
{
	static struct history h;
	static const uint32_t buckets[] = {1, 11, 64, 1000, 1024, LARGE_BUCKETS}, nodes[] = {3, 10, 100, NODES_MAX};

	(void)state;
	for (unsigned i = 0; i < NODES_MAX; i++)
		snprintf(h.names[i], NAME_ROOM, "n%u", i);
	for (uint64_t seed = 1; seed <= HISTORIES; seed++)
		run_history(&h, seed, nodes[seed % 4], buckets[seed % 6]);
	run_history(&h, HISTORIES + 1, NODES_MAX, LARGE_BUCKETS);
}

/* As many as can be: all have gone, and as many have come. */
static void all_are_replaced_at_once(void **state)
{
	static struct bucket map[BUCKETS_MAX], next[BUCKETS_MAX];
	static struct buckets_member members[BUCKETS_MEMBERS_MAX];
	static char names[BUCKETS_MANAGERS_MAX][NAME_ROOM];
	struct model m = {.map = map, .next = next, .count = BUCKETS_MAX, .members = members, .n = BUCKETS_MEMBERS_MAX};

	(void)state;
	for (uint16_t i = 0; i < BUCKETS_MANAGERS_MAX; i++) {
		snprintf(names[i], NAME_ROOM, "n%u", i);
		members[i] = (struct buckets_member){view_str(names[i]), BUCKETS_GONE};
		members[BUCKETS_MANAGERS_MAX + i] = (struct buckets_member){view_str(names[i]), BUCKETS_MANAGES};
	}
	for (uint32_t b = 0; b < BUCKETS_MAX; b++)
		map[b] = (struct bucket){(uint16_t)(b % BUCKETS_MANAGERS_MAX), false};
	snprintf(m.why, sizeof m.why, "all replaced");
	struct buckets_moves moves = buckets_plan(map, m.count, members, m.n, &work, next);
	expect_good(&m, moves);
	expect_moves(moves, BUCKETS_MAX, 0, BUCKETS_MAX);
}

/* --- the example of old: 11 buckets over 1, 2, 3, 4 and again 1 nodes --- */

static void eleven_buckets(void **state)
{
	(void)state;
	expect_moves(plan("aaaaaaaaaaa", "a", "aaaaaaaaaaa"), 0, 0, 0);
	expect_moves(plan("aaaaaaaaaaa", "ab", "aaaaaabbbbb"), 5, 5, 0);
	expect_moves(plan("aaaaaabbbbb", "abc", "aaaaccbbbbc"), 3, 3, 0);
	expect_moves(plan("aaaaccbbbbc", "abcd", "aaadccbbbdc"), 2, 2, 0);
	expect_moves(plan("aaadccbbbdc", "abc-d", "aaaaccbbbbc"), 2, 2, 0);
	expect_moves(plan("aaaaccbbbbc", "ab-c", "aaaaaabbbbb"), 3, 3, 0);
	expect_moves(plan("aaaaaabbbbb", "a-b", "aaaaaaaaaaa"), 5, 5, 0);
}

/* --- maps --- */

static void a_new_map_is_nobodys(void **state)
{
	struct bucket map[3] = {{1, false}, {2, false}, {3, false}};

	(void)state;
	buckets_init(map, 2);
	assert_string_equal(text_of(map, 3), "..d");
}

static void members_get_other_places(void **state)
{
	static const uint16_t to[] = {2, BUCKETS_NONE, 0};
	struct bucket map[TEXT_MAX];
	uint32_t count = map_of("aAbBcC.", map);

	(void)state;
	buckets_renumber(map, count, to, 3);
	assert_string_equal(text_of(map, count), "cC..aA.");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_first_members_share),
	    cmocka_unit_test(who_joins_gets_its_share),
	    cmocka_unit_test(who_leaves_hands_over),
	    cmocka_unit_test(who_dies_has_lost_them),
	    cmocka_unit_test(lost_until_cleared),
	    cmocka_unit_test(who_has_the_most_keeps_the_most),
	    cmocka_unit_test(all_small_maps_move_the_least),
	    cmocka_unit_test(drawn_histories_keep_the_promises),
	    cmocka_unit_test(all_are_replaced_at_once),
	    cmocka_unit_test(eleven_buckets),
	    cmocka_unit_test(a_new_map_is_nobodys),
	    cmocka_unit_test(members_get_other_places),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
