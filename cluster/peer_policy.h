/* What two ends of a link must agree on, and how patiently it is dialled: credits, which of two connections stays,
 * back-off (doc/peer-protocol.md). Pure. Private to cluster/peer*.c. */
#ifndef WEIR_CLUSTER_PEER_POLICY_H
#define WEIR_CLUSTER_PEER_POLICY_H

#include "base/clock.h"
#include "base/view.h"
#include "proto/peer.h"

enum {
	PEER_WINDOW = 1 << 20,      /* bytes of frames, heads included, that may be out and not given back */
	PEER_WINDOW_HALF = 1 << 19, /* dealt with: then it is given back */
	PEER_GREET_MS = 5000,       /* connecting, handshake and HELLO together */
	PEER_BACKOFF_FIRST_MS = 50,
	PEER_BACKOFF_MAX_MS = 2000,
};

/* One direction of a link. Both ends count the same bytes, so both know what the other may do. */
struct peer_window {
	uint32_t out;   /* bytes on their way or not given back yet */
	uint32_t dealt; /* at the receiver: of these, dealt with */
};

/* HELLO, GOODBYE, BEAT and CREDIT cost nothing. */
bool peer_is_free(enum peer_type type);

/* Whether a frame of so many bytes may leave, or may have left: the credit holds it, or, since a frame may be longer
 * than all of it, half of the window is there, which is so sooner or later. */
bool peer_window_takes(const struct peer_window *w, size_t bytes);
void peer_window_spend(struct peer_window *w, size_t bytes);
uint32_t peer_window_left(const struct peer_window *w);

/* At the receiver: `bytes` of what came are dealt with. What CREDIT is to be sent now; 0: none yet. */
uint32_t peer_window_deal(struct peer_window *w, size_t bytes);
/* At the sender. False: it was given more than was out. */
MUST_USE bool peer_window_refill(struct peer_window *w, uint32_t bytes);

/* One of two connections of a pair and a kind. */
struct peer_rival {
	bool dialled_by_us;
	struct instant open_since;
};

/* Whether the new connection takes the place of the one that is open. Nobody dials while he has a link. So of one that
 * the same side has dialled before, or that is open for longer than a connection can be under way, the other side knows
 * no more: the new one stays. Otherwise both have dialled at once, and the one that the smaller name dialled stays. */
bool peer_new_one_stays(struct view self, struct view other, const struct peer_rival *open, bool new_is_ours,
			struct instant now);

/* How long to wait before the attempt after `failures` of them; a quarter of it is random. */
uint64_t peer_backoff_ms(unsigned failures, uint32_t random);

#endif
