/* The bytes of the control plane (doc/cluster.md, "Control plane"): what its nodes say to each other, the record that
 * holds the view, and the file of what a node has promised. Pure. What is decoded points into the input. */
#ifndef WEIR_CLUSTER_CONTROL_BYTES_H
#define WEIR_CLUSTER_CONTROL_BYTES_H

#include "base/buf.h"
#include "base/view.h"

enum {
	CONTROL_NAME_MAX = 64,
	CONTROL_VOTERS_MAX = 7,
	CONTROL_VIEW_MAX = 1 << 20,
	CONTROL_FRAME_MAX = (1 << 20) + (64 << 10), /* a CONTROL frame's body */
	CONTROL_PROMISE_BYTES = 64,
	CONTROL_RECORD_HEAD_MAX = 27 + CONTROL_VOTERS_MAX * (1 + CONTROL_NAME_MAX),
};

/* How much a node knows: its record was written in this term, as this one since the first. */
struct control_rank {
	uint64_t term, number;
};

/* < 0, 0 or > 0. */
int control_rank_compare(struct control_rank a, struct control_rank b);

enum control_frame_type {
	CONTROL_STATE = 1,   /* where I stand. `number`: of a ruler, which of its records is agreed */
	CONTROL_LIBRARY = 2, /* of Berkeley DB: `control` and `rec` */
	CONTROL_ASK = 3,     /* let me rule in the term `number` */
	CONTROL_PROMISE = 4, /* yes, and I heed no earlier one any more */
	CONTROL_REFUSE = 5,  /* no */
	CONTROL_STORED = 6,  /* I have your record `number` of this term on my disk */
};

enum control_standing {
	CONTROL_LEADERLESS = 0,
	CONTROL_FOLLOWS = 1,
	CONTROL_RULES = 2,
};

struct control_frame {
	enum control_frame_type type;
	enum control_standing standing;
	uint64_t term; /* the latest that it has promised to heed; a ruler's own */
	struct control_rank rank;
	uint64_t number;
	struct view control, rec;
};

void control_frame_encode(const struct control_frame *f, struct buf *out);
/* 0 or ERR_MALFORMED; *out is untouched then. */
MUST_USE int control_frame_decode(struct view in, struct control_frame *out);

struct control_record {
	struct control_rank rank;
	struct view voters[CONTROL_VOTERS_MAX];
	unsigned voter_count;
	struct view bytes; /* the view; empty: there has been none yet */
};

void control_record_encode(const struct control_record *r, struct buf *out);
/* All of it. 0 or ERR_MALFORMED. */
MUST_USE int control_record_decode(struct view in, struct control_record *out);
/* The same of its first CONTROL_RECORD_HEAD_MAX bytes: all but `bytes`. */
MUST_USE int control_record_decode_head(struct view in, struct control_record *out);

/* What a node must not forget. */
struct control_promise {
	uint64_t term;              /* the latest that it has promised to heed */
	struct control_rank stored; /* the greatest record that it has said to have */
	struct control_rank agreed; /* the latest of which it knows that it is agreed */
};

void control_promise_encode(const struct control_promise *p, uint8_t out[CONTROL_PROMISE_BYTES]);
MUST_USE int control_promise_decode(struct view in, struct control_promise *out);

#endif
