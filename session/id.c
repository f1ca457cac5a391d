/* Session ids: drawn by the caller, sealed and checked here. Pure. */
#include "session/id.h"

#include "base/base64.h"

enum { MAC_BYTES = 8, SEALED_BYTES = SESS_ID_BYTES + MAC_BYTES };

_Static_assert(BASE64_LEN(SEALED_BYTES) == SESS_ID_TEXT, "a cookie's value is id and MAC");
_Static_assert(SEALED_BYTES % 3 == 0, "no unused bits in the last character");

/* Half a key. The halves of the secret are used one after the other: all of its entropy goes in, and equal halves do
 * not cancel out. The label is one for each use, so that no key says anything of another. */
static uint64_t derive_half(const uint8_t secret[SESS_SECRET_BYTES], uint8_t label)
{
	struct siphash_key second = siphash_key_load(secret + 16);

	second.k0 ^= siphash(siphash_key_load(secret), view_of(&label, 1));
	return siphash(second, view_of(&label, 1));
}

static struct siphash_key derive(const uint8_t secret[SESS_SECRET_BYTES], uint8_t label)
{
	return (struct siphash_key){
	    .k0 = derive_half(secret, label),
	    .k1 = derive_half(secret, (uint8_t)(label + 1)),
	};
}

void sess_keys_derive(struct sess_keys *k, const uint8_t secret[SESS_SECRET_BYTES])
{
	k->mac = derive(secret, 0);
	k->hash = derive(secret, 2);
	k->name = derive(secret, 4);
	k->adopted[0] = derive(secret, 6);
	k->adopted[1] = derive(secret, 8);
}

static void mac_of(const struct sess_keys *k, const uint8_t id[SESS_ID_BYTES], uint8_t mac[MAC_BYTES])
{
	uint64_t tag = siphash(k->mac, view_of(id, SESS_ID_BYTES));

	for (unsigned i = 0; i < MAC_BYTES; i++)
		mac[i] = (uint8_t)(tag >> (8 * i));
}

void sess_id_encode(const struct sess_keys *k, const struct sess_id *id, char out[SESS_ID_TEXT])
{
	uint8_t sealed[SEALED_BYTES];

	memcpy(sealed, id->bytes, SESS_ID_BYTES);
	mac_of(k, id->bytes, sealed + SESS_ID_BYTES);
	base64_encode(view_of(sealed, sizeof(sealed)), out);
}

bool sess_id_decode(const struct sess_keys *k, struct view text, struct sess_id *out)
{
	uint8_t sealed[SEALED_BYTES];
	uint8_t mac[MAC_BYTES];
	unsigned differs = 0;

	if (!base64_decode(text, sealed, sizeof(sealed)))
		return false;
	mac_of(k, sealed, mac);
	/* All bytes are looked at: the time must not tell how many are right. */
	for (unsigned i = 0; i < MAC_BYTES; i++)
		differs |= (unsigned)(mac[i] ^ sealed[SESS_ID_BYTES + i]);
	if (differs != 0)
		return false;
	memcpy(out->bytes, sealed, SESS_ID_BYTES);
	return true;
}

void sess_id_name(const struct sess_keys *k, const struct sess_id *id, char out[SESS_NAME_TEXT])
{
	static const char digits[] = "0123456789abcdef";
	uint64_t name = siphash(k->name, view_of(id->bytes, SESS_ID_BYTES));

	for (unsigned i = 0; i < SESS_NAME_TEXT; i++)
		out[i] = digits[name >> (60 - 4 * i) & 15];
}
