/* REPORT: what a node tells the coordinator (doc/cluster.md, "Failure"). Part of proto/peer.h; pure. */
#ifndef WEIR_PROTO_PEER_REPORT_H
#define WEIR_PROTO_PEER_REPORT_H

#include "proto/peer.h"

enum peer_report_kind {
	PEER_REPORT_REFUSED = 1, /* connecting to `name` is refused by its host: its process is dead */
	PEER_REPORT_SILENT = 2,  /* nothing of `name` for the whole failure-timeout */
	PEER_REPORT_LEAVE = 3,   /* the sender wants to leave in good order */
	PEER_REPORT_FORGET = 4,  /* an operator takes `name` out, and its vote */
	PEER_REPORT_ASKED =
	    5, /* the sender knows what is in these buckets of the app `name`: they are not lost any more */
	PEER_REPORT_LOST = 6, /* their directory never came */
};

struct peer_report {
	enum peer_report_kind kind;
	struct view name;     /* of a node or an app; empty: LEAVE */
	uint64_t incarnation; /* REFUSED, SILENT: the one that is meant; else 0 */
	uint64_t epoch; /* ASKED, LOST: the view that the sender has installed, and manages these buckets in; else 0 */
	uint32_t first, count; /* ASKED, LOST: buckets; else 0 */
};

void peer_report_encode(const struct peer_report *r, struct buf *out);
MUST_USE int peer_report_decode(struct view body, struct peer_report *out);

#endif
