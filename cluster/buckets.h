/* Who manages which bucket: from the map that was to the map that is next (doc/cluster.md, "Buckets"). Pure; allocates
 * nothing. All arrays are the caller's. */
#ifndef WEIR_CLUSTER_BUCKETS_H
#define WEIR_CLUSTER_BUCKETS_H

#include "base/view.h"

enum {
	BUCKETS_MAX = 65536,                            /* of one map */
	BUCKETS_MANAGERS_MAX = 1000,                    /* members that may manage */
	BUCKETS_MEMBERS_MAX = 2 * BUCKETS_MANAGERS_MAX, /* of a plan: all may have gone, and as many have come */
	BUCKETS_NONE = 0x7fff, /* in the place of a member: nobody. 15 bits, as in a view's bytes */
};

struct bucket {
	uint16_t manager; /* a place in the array of members, or BUCKETS_NONE */
	bool lost;        /* its directory is: the manager has still to ask everybody. Always so without a manager */
};

enum buckets_role {
	BUCKETS_MANAGES, /* gets its share */
	BUCKETS_LEAVES,  /* gets none, and hands over what it has: it leaves, or may not manage any more */
	BUCKETS_GONE,    /* died: what it had is lost */
};

struct buckets_member {
	struct view name; /* borrowed; of those that manage each has another */
	enum buckets_role role;
};

struct buckets_moves {
	uint32_t moved;  /* have another manager than before, or none any more */
	uint32_t handed; /* of these: the old manager can hand the directory to the new one */
	uint32_t lost;   /* in the new map */
};

/* Room to plan in. What it holds before and after means nothing. */
struct buckets_work {
	uint32_t has[BUCKETS_MEMBERS_MAX], share[BUCKETS_MEMBERS_MAX];
	uint16_t order[BUCKETS_MEMBERS_MAX], spare[BUCKETS_MEMBERS_MAX];
};

/* A map that nobody manages yet. What there is in it is not known, so all of it is lost: a session may lie on a disk.
 */
void buckets_init(struct bucket *map, uint32_t count);

/* The next map, into `next`, which may be `map` itself.
 *
 * Those that manage have the same number of buckets each but for one, and no map for which that is true moves fewer.
 * Nobody else has any; where nobody manages, all buckets are without a manager. A bucket is lost when it was, when it
 * had no manager, or when its manager is gone. The same map and the same members give the same result, in whatever
 * order the members stand: names decide, and gone members and those that leave need none.
 *
 * count: 1 to BUCKETS_MAX; n: at most BUCKETS_MEMBERS_MAX, of which BUCKETS_MANAGERS_MAX may manage; managers in `map`
 * are places in `members`. Time: count + n log n. */
struct buckets_moves buckets_plan(const struct bucket *map, uint32_t count, const struct buckets_member *members,
				  uint16_t n, struct buckets_work *work, struct bucket *next);

/* The same map over another array of members: who stood at place i stands at to[i], or nowhere (BUCKETS_NONE), and then
 * manages nothing. */
void buckets_renumber(struct bucket *map, uint32_t count, const uint16_t *to, uint16_t n);

#endif
