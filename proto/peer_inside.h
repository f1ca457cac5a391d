/* Sizes that follow from the bodies of the frames. Private to proto/peer*.c. */
#ifndef WEIR_PROTO_PEER_INSIDE_H
#define WEIR_PROTO_PEER_INSIDE_H

#include "base/name.h"
#include "proto/peer.h"
#include "proto/peer_report.h"

enum {
	PEER_MAGIC_BYTES = 4,
	PEER_HELLO_FIXED = PEER_MAGIC_BYTES + 2 + 2 + 1 + PEER_CLUSTER_BYTES + 8 + 8 + 1 + 2,
	PEER_HELLO_TEXTS = 1 + PEER_NAME_MAX + 2 + PEER_ADDRESS_MAX + 1 + PEER_NAME_MAX + 2 + PEER_URL_MAX,
	PEER_APP_MAX = 1 + PEER_NAME_MAX + 8 + 2 + PEER_SETTINGS_MAX,
	PEER_HELLO_MAX = PEER_HELLO_FIXED + PEER_HELLO_TEXTS + PEER_APPS_MAX * PEER_APP_MAX,
	PEER_GOODBYE_MAX = 2 + 1 + PEER_TEXT_MAX,
	PEER_BEAT_MAX = 8 + 8 + 8 + 8 + 2 + PEER_HEARD_MAX * (1 + PEER_NAME_MAX),
	PEER_CREDIT_BYTES = 4,
	PEER_REPORT_MAX = 1 + 1 + PEER_NAME_MAX + 8 + 8 + 4 + 4,
};

_Static_assert((int)PEER_HELLO_MAX <= (int)PEER_BODY_MAX, "a HELLO goes into a frame");

#endif
