/* A record of a damaged log: whatever it says lies inside of it. */
#include "tests/fuzz/fuzz.h"

#include "session/disk_op.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view record = copy_exact(view_of(data, size));
	struct disk_op op;

	disk_op_decode(record, &op);
	EXPECT(op.item.len <= record.len);
	if (op.item.len > 0) {
		EXPECT(op.item.at >= record.at);
		EXPECT(op.item.at + op.item.len <= record.at + record.len);
	}
	free_exact(record);
	return 0;
}
