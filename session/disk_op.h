/* Records of Berkeley DB's log, as far as a salvage must know them (doc/disk-format.md, "Damage"). Pure: one record as
 * a view of bytes, in the machine's own order, as Berkeley DB writes them. */
#ifndef WEIR_SESSION_DISK_OP_H
#define WEIR_SESSION_DISK_OP_H

#include "base/view.h"

enum disk_op_kind {
	DISK_OP_OTHER,
	DISK_OP_ADD,      /* `item` comes into a tree */
	DISK_OP_ADD_PART, /* `item` is a part of a long one and comes onto `page`, behind `prev_page` (0: the first) */
	DISK_OP_ADD_LONG, /* a long one comes into a tree: `long_bytes` that begin on `first_page` */
	DISK_OP_REMOVE,   /* `item`, which is not long, leaves a tree */
	DISK_OP_COMMIT,
};

struct disk_op {
	enum disk_op_kind kind;
	bool begins; /* the first record of a transaction */
	struct view item;
	uint32_t page, prev_page;
	uint32_t first_page, long_bytes;
};

/* A record that is cut short may have fewer bytes, or be another one. */
void disk_op_decode(struct view record, struct disk_op *out);

#endif
