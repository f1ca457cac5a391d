/* Records of Berkeley DB 5.3's log. Pure. The numbers and places are the library's (db.src and txn.src of its source);
 * they stay the same within a version of the log. */
#include "session/disk_op.h"

enum record_type { RECORD_COMMIT = 10, RECORD_ITEM = 41, RECORD_PART = 43 };

enum {
	/* Any record. */
	AT_TYPE = 0,
	AT_TXN = 4,
	AT_BEFORE = 8, /* where the transaction's last record is: a file and a place in it */
	/* These. */
	AT_MODE = 16, /* of a commit its outcome; otherwise the type of the page, and above it what is done */
	AT_PAGE = 24,
	AT_PREV_PAGE = 28, /* of a part */
	AT_PART = 36,
	AT_FORM = 36, /* of an item as it lies on its page; its bytes alone are behind that */
};

enum { OUTCOME_COMMIT = 1, MODE_SHIFT = 8, MODE_ADD = 1, MODE_REMOVE = 2, MODE_ADD_PART = 3 };

/* On a page: a length, the type, bytes, and some to fill up. */
enum {
	FORM_AT_TYPE = 2, /* bit 7: it is deleted */
	FORM_TYPE_MASK = 0x7f,
	FORM_HERE = 1,
	FORM_AT_BYTES = 3,
	FORM_LONG = 3,
	FORM_LONG_AT_PAGE = 4,
	FORM_LONG_AT_LEN = 8,
	FORM_LONG_BYTES = 12,
};

/* What is not there reads as 0. */
static uint32_t number_at(struct view record, size_t at)
{
	uint32_t n = 0;

	if (record.len >= sizeof(n) && at <= record.len - sizeof(n))
		memcpy(&n, record.at + at, sizeof(n));
	return n;
}

/* A length, and so many bytes; fewer where they are not there. */
static struct view counted_at(struct view record, size_t at)
{
	uint32_t len = number_at(record, at);

	(void)view_take(&record, at + sizeof(len));
	return view_take(&record, len);
}

/* A new item is its bytes alone, others have the form of the page; those of inner pages have both. */
static void decode_item(struct view record, uint32_t mode, struct disk_op *out)
{
	struct view form = counted_at(record, AT_FORM);
	struct view bytes = counted_at(record, AT_FORM + 4 + form.len);
	uint8_t type = form.len > FORM_AT_BYTES ? form.at[FORM_AT_TYPE] & FORM_TYPE_MASK : 0;

	if (form.len == 0 && mode == MODE_ADD) {
		out->kind = DISK_OP_ADD;
		out->item = bytes;
	} else if (bytes.len == 0 && mode == MODE_ADD && type == FORM_LONG && form.len == FORM_LONG_BYTES) {
		out->kind = DISK_OP_ADD_LONG;
		out->first_page = number_at(form, FORM_LONG_AT_PAGE);
		out->long_bytes = number_at(form, FORM_LONG_AT_LEN);
	} else if (bytes.len == 0 && mode == MODE_REMOVE && type == FORM_HERE) {
		uint16_t len;
		memcpy(&len, form.at, sizeof(len));
		(void)view_take(&form, FORM_AT_BYTES);
		out->kind = DISK_OP_REMOVE;
		out->item = view_take(&form, len);
	}
}

void disk_op_decode(struct view record, struct disk_op *out)
{
	const uint32_t type = number_at(record, AT_TYPE), mode = number_at(record, AT_MODE) >> MODE_SHIFT;

	*out = (struct disk_op){
	    .begins = number_at(record, AT_TXN) != 0 && number_at(record, AT_BEFORE) == 0,
	};
	if (type == RECORD_ITEM) {
		decode_item(record, mode, out);
	} else if (type == RECORD_PART && mode == MODE_ADD_PART) {
		out->kind = DISK_OP_ADD_PART;
		out->page = number_at(record, AT_PAGE);
		out->prev_page = number_at(record, AT_PREV_PAGE);
		out->item = counted_at(record, AT_PART);
	} else if (type == RECORD_COMMIT && number_at(record, AT_MODE) == OUTCOME_COMMIT) {
		out->kind = DISK_OP_COMMIT;
	}
}
