/* Bytes from a disk taken for a session's record. What is accepted has exactly the bytes that encoding it gives; with
 * a right checksum put to its end, so that the fuzzer gets behind it, the same holds. */
#include "tests/fuzz/fuzz.h"

#include "base/error.h"
#include "session/record.h"

enum { ID_AT = 12, CHECKSUM_BYTES = 8 };

static void decode(struct view bytes, const struct sess_id *id)
{
	struct view exact = copy_exact(bytes);
	struct record_head head;
	struct sess_record r;
	int peeked = record_peek(exact, &head), err = record_decode(exact, id, &r);

	EXPECT(err == 0 || err == ERR_MALFORMED || err == ERR_VERSION);
	if (err != ERR_MALFORMED) {
		EXPECT(peeked == 0);
		EXPECT(sess_id_eq(&head.id, id));
	}
	if (err == 0) {
		struct buf again = {0};
		record_encode(&r, &again);
		EXPECT(buf_error(&again) == 0);
		EXPECT(view_eq(buf_view(&again), exact));
		EXPECT(head.version == r.version);
		EXPECT(head.expires_s == record_expires_s(&r));
		buf_fini(&again);
	}
	free_exact(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct siphash_key key = siphash_key_load((const uint8_t *)"weir-session-v1");
	struct sess_id id = {{0}};

	if (size >= ID_AT + SESS_ID_BYTES)
		memcpy(id.bytes, data + ID_AT, SESS_ID_BYTES);
	decode(view_of(data, size), &id);
	if (size < CHECKSUM_BYTES)
		return 0;
	uint8_t *sealed = malloc(size);
	EXPECT(sealed != NULL);
	memcpy(sealed, data, size);
	uint64_t sum = siphash(key, view_of(sealed, size - CHECKSUM_BYTES));
	for (unsigned i = 0; i < CHECKSUM_BYTES; i++)
		sealed[size - CHECKSUM_BYTES + i] = (uint8_t)(sum >> (56 - 8 * i));
	decode(view_of(sealed, size), &id);
	free(sealed);
	return 0;
}
