/* The plan of the buckets. Pure.
 *
 * Why no map that is balanced moves fewer. Let b buckets be shared by m members, q = b div m, r = b mod m; in a
 * balanced map r members have q + 1 and the others q. A member that has h buckets and gets the share s keeps at most
 * min(h, s) of them, so every balanced map moves at least b - sum min(h, s) buckets, and the plan, in which every
 * member keeps exactly that many, moves no more. It is left to say who gets the larger shares: one adds 1 to the sum
 * for a member with h > q, and nothing for any other. So the sum is greatest when as many of them as can be go to
 * members with h > q, and that is so when they go to those that have the most. */
#include "cluster/buckets.h"

#include "base/invariant.h"

/* --- order: by name, then by what one has, the most first --- */

typedef bool comes_first(const struct buckets_member *members, const struct buckets_work *w, uint16_t a, uint16_t b);

static bool by_name(const struct buckets_member *members, const struct buckets_work *w, uint16_t a, uint16_t b)
{
	(void)w;
	return view_compare(members[a].name, members[b].name) <= 0;
}

static bool by_count(const struct buckets_member *members, const struct buckets_work *w, uint16_t a, uint16_t b)
{
	(void)members;
	return w->has[a] >= w->has[b];
}

/* Two sorted runs of w->order, [from, middle) and [middle, to), into w->spare. Of equals the left one comes first. */
static void merge(const struct buckets_member *members, struct buckets_work *w, comes_first *first, uint32_t from,
		  uint32_t middle, uint32_t to)
{
	uint32_t left = from, right = middle;

	for (uint32_t i = from; i < to; i++) {
		bool take_left = left < middle && (right == to || first(members, w, w->order[left], w->order[right]));
		w->spare[i] = take_left ? w->order[left++] : w->order[right++];
	}
}

static uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* Sorts w->order; equals stay as they were. */
static void sort(const struct buckets_member *members, struct buckets_work *w, comes_first *first, uint32_t n)
{
	for (uint32_t run = 1; run < n; run *= 2) {
		for (uint32_t from = 0; from < n; from += 2 * run)
			merge(members, w, first, from, least(from + run, n), least(from + 2 * run, n));
		memcpy(w->order, w->spare, n * sizeof(w->order[0]));
	}
}

/* --- the plan --- */

static void count_buckets(const struct bucket *map, uint32_t count, uint16_t n, struct buckets_work *w)
{
	memset(w->has, 0, n * sizeof(w->has[0]));
	memset(w->share, 0, n * sizeof(w->share[0]));
	for (uint32_t b = 0; b < count; b++) {
		if (map[b].manager == BUCKETS_NONE)
			continue;
		INVARIANT(map[b].manager < n);
		w->has[map[b].manager]++;
	}
}

/* How many may manage: these are w->order then, in the order in which they get the larger shares. */
static uint32_t find_managers(const struct buckets_member *members, uint16_t n, struct buckets_work *w)
{
	uint32_t managers = 0;

	for (uint16_t i = 0; i < n; i++) {
		if (members[i].role == BUCKETS_MANAGES)
			w->order[managers++] = i;
	}
	INVARIANT(managers <= BUCKETS_MANAGERS_MAX);
	sort(members, w, by_name, managers);
	for (uint32_t i = 1; i < managers; i++)
		INVARIANT(view_compare(members[w->order[i - 1]].name, members[w->order[i]].name) < 0);
	sort(members, w, by_count, managers);
	return managers;
}

/* w->has becomes what a member may keep, w->share what it gets besides. */
static void share_out(uint32_t count, uint16_t n, uint32_t managers, struct buckets_work *w)
{
	for (uint32_t i = 0; i < managers; i++)
		w->share[w->order[i]] = count / managers + (i < count % managers);
	for (uint16_t i = 0; i < n; i++) {
		w->has[i] = least(w->has[i], w->share[i]);
		w->share[i] -= w->has[i];
	}
}

struct buckets_moves buckets_plan(const struct bucket *map, uint32_t count, const struct buckets_member *members,
				  uint16_t n, struct buckets_work *work, struct bucket *next)
{
	struct buckets_moves moves = {0};
	uint32_t managers, getter = 0;

	INVARIANT(count >= 1);
	INVARIANT(count <= BUCKETS_MAX);
	INVARIANT(n <= BUCKETS_MEMBERS_MAX);
	count_buckets(map, count, n, work);
	managers = find_managers(members, n, work);
	share_out(count, n, managers, work);
	for (uint32_t b = 0; b < count; b++) {
		uint16_t old = map[b].manager, new = BUCKETS_NONE;
		bool lost = map[b].lost || old == BUCKETS_NONE || members[old].role == BUCKETS_GONE;
		if (old != BUCKETS_NONE && work->has[old] > 0) {
			work->has[old]--;
			new = old;
		} else if (managers > 0) {
			while (getter < managers && work->share[work->order[getter]] == 0)
				getter++;
			INVARIANT(getter < managers); /* all shares together are all buckets */
			new = work->order[getter];
			work->share[new]--;
		}
		moves.moved += new != old;
		moves.handed += new != old &&new != BUCKETS_NONE && !lost;
		next[b] = (struct bucket){.manager = new, .lost = lost || new == BUCKETS_NONE};
		moves.lost += next[b].lost;
	}
	return moves;
}

/* --- maps --- */

void buckets_init(struct bucket *map, uint32_t count)
{
	for (uint32_t b = 0; b < count; b++)
		map[b] = (struct bucket){.manager = BUCKETS_NONE, .lost = true};
}

void buckets_renumber(struct bucket *map, uint32_t count, const uint16_t *to, uint16_t n)
{
	for (uint32_t b = 0; b < count; b++) {
		if (map[b].manager == BUCKETS_NONE)
			continue;
		INVARIANT(map[b].manager < n);
		map[b].manager = to[map[b].manager];
		map[b].lost = map[b].lost || map[b].manager == BUCKETS_NONE;
	}
}
