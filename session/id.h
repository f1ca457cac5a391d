/* Session ids (doc/sessions.md). An id is 128 random bits; its cookie value is base64url(id || MAC), 32 characters,
 * where MAC is the first 64 bits of SipHash-2-4(secret, id). A value with a wrong MAC is refused on the spot. Pure. */
#ifndef WEIR_SESSION_ID_H
#define WEIR_SESSION_ID_H

#include "base/siphash.h"
#include "base/view.h"

enum { SESS_ID_BYTES = 16, SESS_ID_TEXT = 32, SESS_NAME_TEXT = 16 };

struct sess_id {
	uint8_t bytes[SESS_ID_BYTES];
};

/* The keys that one secret gives: for the MAC, for the table's hash, for public names, and for the two halves of the
 * ids of adopted sessions (session/key.h). */
struct sess_keys {
	struct siphash_key mac, hash, name, adopted[2];
};

enum { SESS_SECRET_BYTES = 32 };
void sess_keys_derive(struct sess_keys *k, const uint8_t secret[SESS_SECRET_BYTES]);

static inline bool sess_id_eq(const struct sess_id *a, const struct sess_id *b)
{
	return memcmp(a->bytes, b->bytes, SESS_ID_BYTES) == 0;
}

/* The cookie's value; SESS_ID_TEXT characters, no NUL. */
void sess_id_encode(const struct sess_keys *k, const struct sess_id *id, char out[SESS_ID_TEXT]);

/* False for a wrong length, a foreign character, a second spelling or a wrong MAC (compared in constant time). */
bool sess_id_decode(const struct sess_keys *k, struct view text, struct sess_id *out);

/* The public name, for logs and SESSION_ID: SESS_NAME_TEXT hexadecimal digits, no NUL. It does not give the id away. */
void sess_id_name(const struct sess_keys *k, const struct sess_id *id, char out[SESS_NAME_TEXT]);

#endif
