/* SipHash-2-4 against the vectors of its authors: key 00..0f, input 00, 01, 02 ... of each length. */
#include "base/siphash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

/* The reference implementation's vectors (veorq/SipHash, vectors.h) for the lengths 0 to 15, read as numbers. */
static const uint64_t vectors[16] = {
    UINT64_C(0x726fdb47dd0e0e31), UINT64_C(0x74f839c593dc67fd), UINT64_C(0x0d6c8009d9a94f5a),
    UINT64_C(0x85676696d7fb7e2d), UINT64_C(0xcf2794e0277187b7), UINT64_C(0x18765564cd99a68d),
    UINT64_C(0xcbc9466e58fee3ce), UINT64_C(0xab0200f58b01d137), UINT64_C(0x93f5f5799a932462),
    UINT64_C(0x9e0082df0ba9e4b0), UINT64_C(0x7a5dbbc594ddb9f3), UINT64_C(0xf4b32f46226bada7),
    UINT64_C(0x751e8fbc860ee5fb), UINT64_C(0x14ea5627c0843d90), UINT64_C(0xf723ca908e7af2ee),
    UINT64_C(0xa129ca6149be45e5),
};

static struct siphash_key paper_key(void)
{
	uint8_t bytes[16];

	for (uint8_t i = 0; i < 16; i++)
		bytes[i] = i;
	return siphash_key_load(bytes);
}

static void the_vectors_of_the_authors(void **unused)
{
	uint8_t input[16];

	(void)unused;
	for (uint8_t i = 0; i < 16; i++)
		input[i] = i;
	for (size_t len = 0; len < 16; len++)
		assert_int_equal(siphash(paper_key(), view_of(input, len)), vectors[len]);
}

static void the_key_is_little_endian(void **unused)
{
	(void)unused;
	assert_int_equal(paper_key().k0, UINT64_C(0x0706050403020100));
	assert_int_equal(paper_key().k1, UINT64_C(0x0f0e0d0c0b0a0908));
}

static void input_need_not_be_aligned(void **unused)
{
	uint8_t input[32];

	(void)unused;
	for (size_t shift = 0; shift < 9; shift++) {
		for (uint8_t i = 0; i < 15; i++)
			input[shift + i] = i;
		assert_int_equal(siphash(paper_key(), view_of(input + shift, 15)), vectors[15]);
	}
}

static void no_bytes_may_have_no_place(void **unused)
{
	(void)unused;
	assert_int_equal(siphash(paper_key(), view_of(NULL, 0)), vectors[0]);
}

static void every_bit_of_key_and_input_counts(void **unused)
{
	uint8_t input[40] = {0};
	uint64_t plain = siphash(paper_key(), view_of(input, sizeof(input)));

	(void)unused;
	for (size_t bit = 0; bit < sizeof(input) * 8; bit++) {
		input[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_true(siphash(paper_key(), view_of(input, sizeof(input))) != plain);
		input[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	for (unsigned bit = 0; bit < 64; bit++) {
		struct siphash_key key = paper_key();
		key.k0 ^= UINT64_C(1) << bit;
		assert_true(siphash(key, view_of(input, sizeof(input))) != plain);
		key = paper_key();
		key.k1 ^= UINT64_C(1) << bit;
		assert_true(siphash(key, view_of(input, sizeof(input))) != plain);
	}
}

/* Wherever the input is cut in two, also where a piece is empty and has no place. */
static void two_pieces_are_one_input(void **unused)
{
	uint8_t whole[40], head[40], tail[40];

	(void)unused;
	for (uint8_t i = 0; i < sizeof(whole); i++)
		whole[i] = (uint8_t)(0x80 + i * 7);
	for (size_t len = 0; len <= sizeof(whole); len++) {
		for (size_t cut = 0; cut <= len; cut++) {
			struct view a = view_of(cut > 0 ? head : NULL, cut);
			struct view b = view_of(cut < len ? tail : NULL, len - cut);
			memcpy(head, whole, cut);
			memcpy(tail, whole + cut, len - cut);
			assert_int_equal(siphash_joined(paper_key(), a, b), siphash(paper_key(), view_of(whole, len)));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_vectors_of_the_authors),        cmocka_unit_test(the_key_is_little_endian),
	    cmocka_unit_test(input_need_not_be_aligned),         cmocka_unit_test(no_bytes_may_have_no_place),
	    cmocka_unit_test(every_bit_of_key_and_input_counts), cmocka_unit_test(two_pieces_are_one_input),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
