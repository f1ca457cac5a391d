/* base64url without padding: 3 bytes are 4 characters; a last group of 1 or 2 bytes is 2 or 3 characters. Pure. */
#include "base/base64.h"

static const char alphabet[64] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* The value of a character plus 1; 0: not of the alphabet. */
static const uint8_t value_plus_1[256] = {
    ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,
    ['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
    ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
    ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
    ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
    ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
    ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
    ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['-'] = 63, ['_'] = 64,
};

void base64_encode(struct view in, char *out)
{
	uint32_t bits = 0; /* only the low `held` bits count */
	unsigned held = 0;

	for (size_t i = 0; i < in.len; i++) {
		bits = bits << 8 | in.at[i];
		held += 8;
		while (held >= 6) {
			held -= 6;
			*out++ = alphabet[bits >> held & 63];
		}
	}
	if (held > 0)
		*out = alphabet[bits << (6 - held) & 63];
}

/* Decodes whole groups of 4 characters into 3 bytes each. */
static bool decode_groups(const uint8_t *in, size_t groups, uint8_t *out)
{
	for (; groups > 0; groups--, in += 4, out += 3) {
		uint32_t a = value_plus_1[in[0]], b = value_plus_1[in[1]];
		uint32_t c = value_plus_1[in[2]], d = value_plus_1[in[3]];
		if (a == 0 || b == 0 || c == 0 || d == 0)
			return false;
		uint32_t bits = (a - 1) << 18 | (b - 1) << 12 | (c - 1) << 6 | (d - 1);
		out[0] = (uint8_t)(bits >> 16);
		out[1] = (uint8_t)(bits >> 8);
		out[2] = (uint8_t)bits;
	}
	return true;
}

/* The 2 or 3 characters of a last, incomplete group. */
static bool decode_rest(struct view in, uint8_t *out)
{
	uint32_t bits = 0;
	unsigned held = 0;

	for (size_t i = 0; i < in.len; i++) {
		uint8_t value = value_plus_1[in.at[i]];
		if (value == 0)
			return false;
		bits = bits << 6 | (uint32_t)(value - 1);
		held += 6;
		if (held >= 8) {
			held -= 8;
			*out++ = (uint8_t)(bits >> held);
		}
	}
	return (bits & ((UINT32_C(1) << held) - 1)) == 0;
}

bool base64_decode(struct view in, uint8_t *out, size_t out_len)
{
	/* The first test keeps the second from overflowing. */
	if (out_len > SIZE_MAX / 8 || in.len != BASE64_LEN(out_len))
		return false;
	size_t groups = in.len / 4;
	if (!decode_groups(in.at, groups, out))
		return false;
	(void)view_take(&in, groups * 4);
	return decode_rest(in, out + groups * 3);
}
