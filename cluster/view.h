/* A view: the numbered picture of the cluster, and its bytes (doc/cluster.md, "A view"). Pure; allocates nothing but in
 * the buffer that a decoded view owns. Who has a view never changes it. */
#ifndef WEIR_CLUSTER_VIEW_H
#define WEIR_CLUSTER_VIEW_H

#include "base/buf.h"
#include "base/name.h"
#include "cluster/buckets.h"

enum {
	CLUS_VIEW_FORMAT = 1,          /* written by this version; greater ones are refused with ERR_VERSION */
	CLUS_VIEW_BYTES_MAX = 1 << 20, /* encoded: it must go into one frame */
	CLUS_ID_BYTES = 16,
	CLUS_MEMBERS_MAX = BUCKETS_MANAGERS_MAX,
	CLUS_VOTERS_MAX = 7,
	CLUS_APPS_MAX = 256,
	CLUS_NAME_MAX = NAME_BYTES_MAX, /* of a name or a zone */
	CLUS_ADDRESS_MAX = 260,         /* bytes: a name of the DNS and a port */
	CLUS_URL_MAX = 512,             /* bytes */
	CLUS_NONE = BUCKETS_NONE,       /* in the place of a member, a voter or an app: none */
};

/* The next epoch can always be said, also where numbers have a sign. */
#define CLUS_EPOCH_MAX ((uint64_t)INT64_MAX - 1)

struct clus_hosted {
	uint16_t app;    /* a place in the view's apps */
	uint64_t digest; /* of this member's settings */
};

struct clus_member {
	struct view name;
	uint64_t incarnation; /* not 0 */
	struct view address;  /* where it listens for others */
	struct view zone;     /* may be empty */
	struct view url;      /* its public-url; may be empty */
	bool witness;         /* hosts no app */
	bool leaving;         /* manages nothing any more */
	uint16_t hosted_count;
	const struct clus_hosted *hosted; /* by app */
};

struct clus_app {
	struct view name;
	uint64_t digest; /* of the settings that count: who hosts it with others manages nothing of it */
	uint32_t buckets;
	const struct bucket *map; /* a manager is a place in the view's members */
};

/* All that it points at is borrowed from `memory`, or, where somebody has made it by hand to encode it, from him. */
struct clus_view {
	uint8_t cluster[CLUS_ID_BYTES]; /* not all 0 */
	uint64_t epoch;                 /* 1 to CLUS_EPOCH_MAX */
	uint16_t coordinator;           /* a place in `members`; its name is a voter's */
	uint16_t member_count;          /* 1 to CLUS_MEMBERS_MAX */
	uint16_t app_count;
	uint8_t voter_count;                 /* 1 to CLUS_VOTERS_MAX */
	struct view voters[CLUS_VOTERS_MAX]; /* names, in their order, each once; not all need be members */
	const struct clus_member *members;   /* in the order of their names, each name once */
	const struct clus_app *apps;         /* the same */
	struct buf memory;                   /* owned */
};

/* Whether it keeps all that is said above and in doc/cluster.md. Balance is not looked at: it is the coordinator's. */
MUST_USE bool clus_view_is_sound(const struct clus_view *v);

/* Appends the bytes of a view that is sound. One of more than CLUS_VIEW_BYTES_MAX is ERR_TOO_LARGE in `out`. */
void clus_view_encode(const struct clus_view *v, struct buf *out);

/* 0; ERR_MALFORMED: not the bytes of a sound view; ERR_VERSION: well formed, of a newer format; ERR_NO_MEMORY. On
 * success *out owns memory of its own (clus_view_fini()), and nothing of `bytes` is needed any more; it is untouched on
 * failure. What is accepted has exactly the bytes that encoding it gives. */
MUST_USE int clus_view_decode(struct view bytes, struct clus_view *out);

/* Frees; leaves a zeroed struct. */
void clus_view_fini(struct clus_view *v);

/* --- looking things up: places, or CLUS_NONE --- */

uint16_t clus_view_member(const struct clus_view *v, struct view name);
uint16_t clus_view_app(const struct clus_view *v, struct view name);
uint16_t clus_view_voter(const struct clus_view *v, struct view name);

/* How a member hosts an app; NULL: not at all. Both are places. */
const struct clus_hosted *clus_view_hosted(const struct clus_view *v, uint16_t member, uint16_t app);

/* It hosts the app with the settings that count, and is not leaving. */
bool clus_view_may_manage(const struct clus_view *v, uint16_t member, uint16_t app);

/* --- votes: bit i is the voter at place i, so that one that says it twice counts once --- */

unsigned clus_view_votes(const struct clus_view *v, unsigned voters);

/* How many votes are more than half of all. */
static inline unsigned clus_view_majority(const struct clus_view *v)
{
	return v->voter_count / 2U + 1;
}

static inline bool clus_view_is_majority(const struct clus_view *v, unsigned voters)
{
	return clus_view_votes(v, voters) >= clus_view_majority(v);
}

#endif
