/* base64url: RFC 4648's examples, every length, and one spelling only for each value. */
#include "base/base64.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void the_examples_of_rfc_4648(void **unused)
{
	static const struct {
		const char *bytes, *text;
	} cases[] = {
	    {"", ""},           {"f", "Zg"},          {"fo", "Zm8"},          {"foo", "Zm9v"},
	    {"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"}, {"\xfb\xff\xfe", "-__-"},
	};

	(void)unused;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct view bytes = view_str(cases[i].bytes);
		struct view text = view_str(cases[i].text);
		char out[16] = {0};
		uint8_t back[16];

		assert_int_equal(BASE64_LEN(bytes.len), text.len);
		base64_encode(bytes, out);
		assert_string_equal(out, cases[i].text);
		assert_true(base64_decode(text, back, bytes.len));
		assert_memory_equal(back, bytes.at, bytes.len);
	}
}

static void there_and_back_for_every_length(void **unused)
{
	uint8_t bytes[64], back[64];
	char text[BASE64_LEN(64) + 1];
	uint32_t random = 1;

	(void)unused;
	for (size_t len = 0; len <= sizeof(bytes); len++) {
		for (size_t i = 0; i < len; i++) {
			random = random * 1664525 + 1013904223;
			bytes[i] = (uint8_t)(random >> 24);
		}
		memset(text, '!', sizeof(text));
		base64_encode(view_of(bytes, len), text);
		assert_int_equal(text[BASE64_LEN(len)], '!');
		assert_true(base64_decode(view_of(text, BASE64_LEN(len)), back, len));
		assert_memory_equal(back, bytes, len);
	}
}

static void foreign_characters_are_refused(void **unused)
{
	uint8_t out[3];
	unsigned good = 0;

	(void)unused;
	for (unsigned c = 0; c < 256; c++) {
		for (size_t at = 0; at < 4; at++) {
			uint8_t text[4] = {'A', 'A', 'A', 'A'};
			text[at] = (uint8_t)c;
			good += base64_decode(view_of(text, 4), out, 3);
		}
	}
	assert_int_equal(good, 64 * 4);
	assert_false(base64_decode(VIEW("AA+A"), out, 3));
	assert_false(base64_decode(VIEW("AA/A"), out, 3));
	assert_false(base64_decode(VIEW("AA=="), out, 1));
}

static void wrong_lengths_are_refused(void **unused)
{
	uint8_t out[8];

	(void)unused;
	assert_true(base64_decode(VIEW("AAAA"), out, 3));
	assert_false(base64_decode(VIEW("AAA"), out, 3));
	assert_false(base64_decode(VIEW("AAAAA"), out, 3));
	assert_false(base64_decode(VIEW(""), out, 1));
	assert_false(base64_decode(VIEW("A"), out, 0));
	assert_false(base64_decode(VIEW("A"), out, SIZE_MAX));
}

static void unused_bits_must_be_zero(void **unused)
{
	uint8_t out[2];

	(void)unused;
	assert_true(base64_decode(VIEW("Zg"), out, 1));
	assert_false(base64_decode(VIEW("Zh"), out, 1));
	assert_false(base64_decode(VIEW("Zo"), out, 1));
	assert_true(base64_decode(VIEW("Zm8"), out, 2));
	assert_false(base64_decode(VIEW("Zm9"), out, 2));
	assert_false(base64_decode(VIEW("Zm-"), out, 2));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_examples_of_rfc_4648),       cmocka_unit_test(there_and_back_for_every_length),
	    cmocka_unit_test(foreign_characters_are_refused), cmocka_unit_test(wrong_lengths_are_refused),
	    cmocka_unit_test(unused_bits_must_be_zero),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
