/* SipHash-2-4 after the paper "SipHash: a fast short-input PRF" (Aumasson, Bernstein 2012), section 2. Pure. */
#include "base/siphash.h"

struct sip {
	uint64_t v0, v1, v2, v3;
};

/* The compiler makes one load of it where the machine is little endian. */
static inline uint64_t load_le64(const uint8_t *p)
{
	return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24 |
	       (uint64_t)p[4] << 32 | (uint64_t)p[5] << 40 | (uint64_t)p[6] << 48 | (uint64_t)p[7] << 56;
}

static inline uint64_t rotl(uint64_t x, unsigned bits)
{
	return x << bits | x >> (64 - bits);
}

static inline void sip_round(struct sip *s)
{
	s->v0 += s->v1;
	s->v2 += s->v3;
	s->v1 = rotl(s->v1, 13) ^ s->v0;
	s->v3 = rotl(s->v3, 16) ^ s->v2;
	s->v0 = rotl(s->v0, 32);
	s->v2 += s->v1;
	s->v0 += s->v3;
	s->v1 = rotl(s->v1, 17) ^ s->v2;
	s->v3 = rotl(s->v3, 21) ^ s->v0;
	s->v2 = rotl(s->v2, 32);
}

static inline void sip_word(struct sip *s, uint64_t word)
{
	s->v3 ^= word;
	sip_round(s);
	sip_round(s);
	s->v0 ^= word;
}

struct siphash_key siphash_key_load(const uint8_t bytes[16])
{
	return (struct siphash_key){.k0 = load_le64(bytes), .k1 = load_le64(bytes + 8)};
}

static inline struct sip sip_begin(struct siphash_key key)
{
	return (struct sip){
	    .v0 = key.k0 ^ UINT64_C(0x736f6d6570736575),
	    .v1 = key.k1 ^ UINT64_C(0x646f72616e646f6d),
	    .v2 = key.k0 ^ UINT64_C(0x6c7967656e657261),
	    .v3 = key.k1 ^ UINT64_C(0x7465646279746573),
	};
}

/* The whole words of *data, which is advanced past them. */
static inline void sip_words(struct sip *s, struct view *data)
{
	for (; data->len >= 8; data->at += 8, data->len -= 8)
		sip_word(s, load_le64(data->at));
}

/* Bytes of *data into *word, which holds `have` of them, until it is full. The number that it holds then. */
static inline unsigned fill_word(uint64_t *word, unsigned have, struct view *data)
{
	for (; have < 8 && data->len > 0; data->at++, data->len--)
		*word |= (uint64_t)*data->at << (8 * have++);
	return have;
}

/* `last`: the bytes that are no whole word; `len`: of all bytes. */
static inline uint64_t sip_end(struct sip *s, uint64_t last, size_t len)
{
	sip_word(s, last | (uint64_t)(len & 0xff) << 56);
	s->v2 ^= 0xff;
	for (int i = 0; i < 4; i++)
		sip_round(s);
	return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

uint64_t siphash(struct siphash_key key, struct view data)
{
	struct sip s = sip_begin(key);
	size_t len = data.len;
	uint64_t last = 0;

	sip_words(&s, &data);
	(void)fill_word(&last, 0, &data);
	return sip_end(&s, last, len);
}

uint64_t siphash_joined(struct siphash_key key, struct view head, struct view tail)
{
	struct sip s = sip_begin(key);
	size_t len = head.len + tail.len;
	uint64_t word = 0;

	sip_words(&s, &head);
	if (fill_word(&word, fill_word(&word, 0, &head), &tail) == 8) {
		sip_word(&s, word);
		sip_words(&s, &tail);
		word = 0;
		(void)fill_word(&word, 0, &tail);
	}
	return sip_end(&s, word, len);
}
