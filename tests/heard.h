/* The names of a BEAT, as long as proto/peer.c has not come to this branch. */
#ifndef WEIR_TESTS_HEARD_H
#define WEIR_TESTS_HEARD_H

#include "proto/peer.h"

bool peer_heard_next(struct view *rest, struct view *name)
{
	if (rest->len == 0)
		return false;
	size_t len = rest->at[0];
	(void)view_take(rest, 1);
	*name = view_take(rest, len);
	return true;
}

void peer_heard_put(struct buf *out, struct view name)
{
	buf_put_u8(out, (uint8_t)name.len);
	buf_put(out, name);
}

#endif
