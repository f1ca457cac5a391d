/* Session ids: what was sealed opens again, and nothing else does. */
#include "session/id.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static struct sess_keys keys_of(uint8_t seed)
{
	struct sess_keys k;
	uint8_t secret[SESS_SECRET_BYTES];

	for (uint8_t i = 0; i < SESS_SECRET_BYTES; i++)
		secret[i] = (uint8_t)(seed + i);
	sess_keys_derive(&k, secret);
	return k;
}

static struct sess_id id_of(uint8_t seed)
{
	struct sess_id id;

	for (uint8_t i = 0; i < SESS_ID_BYTES; i++)
		id.bytes[i] = (uint8_t)(seed * 37 + i * 11);
	return id;
}

static bool opens(const struct sess_keys *k, struct view text)
{
	struct sess_id id;

	return sess_id_decode(k, text, &id);
}

static void what_was_sealed_opens(void **unused)
{
	struct sess_keys k = keys_of(1);

	(void)unused;
	for (uint8_t seed = 0; seed < 255; seed++) {
		struct sess_id id = id_of(seed), back;
		char text[SESS_ID_TEXT + 1];

		text[SESS_ID_TEXT] = '!';
		sess_id_encode(&k, &id, text);
		assert_int_equal(text[SESS_ID_TEXT], '!');
		assert_true(sess_id_decode(&k, view_of(text, SESS_ID_TEXT), &back));
		assert_true(sess_id_eq(&id, &back));
	}
}

static void one_changed_character_is_refused(void **unused)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	struct sess_keys k = keys_of(1);
	struct sess_id id = id_of(1);
	char text[SESS_ID_TEXT];

	(void)unused;
	sess_id_encode(&k, &id, text);
	for (size_t at = 0; at < SESS_ID_TEXT; at++) {
		char right = text[at];
		for (size_t c = 0; c < 64; c++) {
			text[at] = alphabet[c];
			assert_int_equal(opens(&k, view_of(text, SESS_ID_TEXT)), alphabet[c] == right);
		}
		text[at] = right;
	}
}

static void any_other_byte_is_refused(void **unused)
{
	struct sess_keys k = keys_of(1);
	struct sess_id id = id_of(1);
	uint8_t text[SESS_ID_TEXT];
	unsigned opened = 0;

	(void)unused;
	sess_id_encode(&k, &id, (char *)text);
	for (size_t at = 0; at < SESS_ID_TEXT; at++) {
		uint8_t right = text[at];
		for (unsigned c = 0; c < 256; c++) {
			text[at] = (uint8_t)c;
			opened += opens(&k, view_of(text, SESS_ID_TEXT));
		}
		text[at] = right;
	}
	assert_int_equal(opened, SESS_ID_TEXT);
}

static void too_short_and_too_long_are_refused(void **unused)
{
	struct sess_keys k = keys_of(1);
	struct sess_id id = id_of(1);
	char text[2 * SESS_ID_TEXT];

	(void)unused;
	memset(text, 'A', sizeof(text));
	sess_id_encode(&k, &id, text);
	for (size_t len = 0; len <= sizeof(text); len++)
		assert_int_equal(opens(&k, view_of(text, len)), len == SESS_ID_TEXT);
	assert_false(opens(&k, view_of(NULL, 0)));
}

static void a_second_spelling_is_refused(void **unused)
{
	struct sess_keys k = keys_of(1);
	char text[SESS_ID_TEXT + 2];
	bool has_special = false;

	(void)unused;
	/* An id whose text has a character that plain base64 writes in another way. */
	for (uint8_t seed = 0; !has_special; seed++) {
		struct sess_id id = id_of(seed);
		sess_id_encode(&k, &id, text);
		has_special = memchr(text, '-', SESS_ID_TEXT) != NULL;
	}
	assert_true(opens(&k, view_of(text, SESS_ID_TEXT)));
	*(char *)memchr(text, '-', SESS_ID_TEXT) = '+';
	assert_false(opens(&k, view_of(text, SESS_ID_TEXT)));
	text[SESS_ID_TEXT] = text[SESS_ID_TEXT + 1] = '=';
	assert_false(opens(&k, view_of(text, SESS_ID_TEXT + 2)));
}

static void another_secret_opens_nothing(void **unused)
{
	struct sess_keys ours = keys_of(1), theirs = keys_of(2);
	struct sess_id id = id_of(1);
	char text[SESS_ID_TEXT];

	(void)unused;
	sess_id_encode(&theirs, &id, text);
	assert_false(opens(&ours, view_of(text, SESS_ID_TEXT)));
}

/* Both halves of the secret and each purpose give keys of their own. */
static void keys_differ(void **unused)
{
	uint8_t secret[SESS_SECRET_BYTES] = {0};
	struct sess_keys a, b;

	(void)unused;
	sess_keys_derive(&a, secret);
	assert_true(a.mac.k0 != a.hash.k0 && a.hash.k0 != a.name.k0 && a.mac.k0 != a.name.k0);
	assert_true(a.mac.k0 != a.mac.k1 && a.hash.k0 != a.hash.k1 && a.name.k0 != a.name.k1);
	for (size_t at = 0; at < SESS_SECRET_BYTES; at++) {
		secret[at] = 1;
		sess_keys_derive(&b, secret);
		secret[at] = 0;
		assert_true(a.mac.k0 != b.mac.k0 && a.mac.k1 != b.mac.k1);
		assert_true(a.hash.k0 != b.hash.k0 && a.name.k0 != b.name.k0);
	}
}

static void a_name_is_hexadecimal_and_its_own(void **unused)
{
	struct sess_keys k = keys_of(1);
	struct sess_id one = id_of(1), two = id_of(2);
	char name[SESS_NAME_TEXT], again[SESS_NAME_TEXT], other[SESS_NAME_TEXT];

	(void)unused;
	sess_id_name(&k, &one, name);
	sess_id_name(&k, &one, again);
	sess_id_name(&k, &two, other);
	assert_memory_equal(name, again, SESS_NAME_TEXT);
	assert_memory_not_equal(name, other, SESS_NAME_TEXT);
	for (size_t i = 0; i < SESS_NAME_TEXT; i++)
		assert_non_null(memchr("0123456789abcdef", name[i], 16));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_was_sealed_opens),
	    cmocka_unit_test(one_changed_character_is_refused),
	    cmocka_unit_test(any_other_byte_is_refused),
	    cmocka_unit_test(too_short_and_too_long_are_refused),
	    cmocka_unit_test(a_second_spelling_is_refused),
	    cmocka_unit_test(another_secret_opens_nothing),
	    cmocka_unit_test(keys_differ),
	    cmocka_unit_test(a_name_is_hexadecimal_and_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
