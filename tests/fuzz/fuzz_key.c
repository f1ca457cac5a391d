/* Any bytes taken for a cookie's value, for the head of an answer, and for a state. What is taken is a good text that
 * lies where it may; decoding agrees with a plain one; a state that is taken is put together again as it was. */
#include "tests/fuzz/fuzz.h"

#include "session/key.h"

#include <stdio.h>

static bool lies_in(struct view v, struct view in)
{
	return v.at >= in.at && v.len <= in.len && (size_t)(v.at - in.at) <= in.len - v.len;
}

/* Percent decoding, and that of a quoted string, as the definitions have it, by other hands. In memory of its own. */
static struct view plain_decode(struct view v, bool quoted)
{
	char *to = malloc(v.len + 1);
	size_t len = 0;

	EXPECT(to != NULL);
	for (size_t i = 0; i < v.len; i++) {
		char digits[3] = {0};
		unsigned byte = 0;
		int used = 0;
		if (quoted && v.at[i] == '\\' && v.len - i > 1) {
			char octal[4] = {0};
			memcpy(octal, v.at + i + 1, v.len - i > 3 ? 3 : 0);
			bool number = strspn(octal, "01234567") == 3 && octal[0] < '4';
			to[len++] = number ? (char)strtoul(octal, NULL, 8) : (char)v.at[i + 1];
			i += number ? 3 : 1;
			continue;
		}
		if (v.at[i] == '%' && v.len - i > 2)
			memcpy(digits, v.at + i + 1, 2);
		bool escaped = digits[0] > ' ' && digits[0] != '+' && digits[0] != '-' &&
			       sscanf(digits, "%2x%n", &byte, &used) == 1 && used == 2 && digits[1] != 'x' &&
			       digits[1] != 'X';
		to[len++] = escaped ? (char)byte : (char)v.at[i];
		i += escaped ? 2 : 0;
	}
	return view_of(to, len);
}

/* The text within a decoded cookie, from its ends. */
static struct view plain_text(enum sess_key_format format, struct view decoded)
{
	if (format == SESS_KEY_PLAIN)
		return decoded;
	if (!view_starts(decoded, VIEW("s:")))
		return view_of(NULL, 0);
	(void)view_take(&decoded, 2);
	while (decoded.len > 0 && decoded.at[decoded.len - 1] != '.')
		decoded.len--;
	return view_take(&decoded, decoded.len > 0 ? decoded.len - 1 : 0);
}

static void cookie(enum sess_key_format format, struct view value)
{
	char space[SESS_KEY_MAX];
	struct view text = VIEW(""), decoded = plain_decode(value, format == SESS_KEY_PLAIN),
		    wanted = plain_text(format, decoded);
	bool taken = sess_key_of_cookie(format, value, space, &text);

	EXPECT(taken == sess_key_is_good(wanted));
	EXPECT(!taken || view_eq(text, wanted));
	EXPECT(!taken || lies_in(text, value) || lies_in(text, view_of(space, sizeof space)));
	free_exact(decoded);
}

static void state(struct view bytes)
{
	struct view text, rest;
	uint8_t space[SESS_KEY_HEAD_BYTES + SESS_KEY_MAX];

	if (!sess_key_split_state(bytes, &text, &rest))
		return;
	EXPECT(sess_key_is_good(text));
	EXPECT(lies_in(text, bytes));
	EXPECT(lies_in(rest, bytes));
	struct view head = sess_key_head(text, space);
	EXPECT(head.len + rest.len == bytes.len);
	EXPECT(view_starts(bytes, head));
}

static void answer(enum sess_key_format format, struct view head)
{
	char space[SESS_KEY_MAX];
	struct view text;

	if (!sess_key_of_answer(format, head, VIEW("SID"), space, &text))
		return;
	EXPECT(sess_key_is_good(text));
	EXPECT(lies_in(text, head) || lies_in(text, view_of(space, sizeof space)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view in = copy_exact(view_of(data, size));

	cookie(SESS_KEY_PLAIN, in);
	cookie(SESS_KEY_EXPRESS, in);
	answer(SESS_KEY_PLAIN, in);
	answer(SESS_KEY_EXPRESS, in);
	state(in);
	free_exact(in);
	return 0;
}
