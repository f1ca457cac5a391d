/* A Cookie header, and what it holds taken for session ids. The search must agree with a plain one; a value must lie
 * inside of the header; an id that opens must have exactly the spelling that sealing it gives. */
#include "tests/fuzz/fuzz.h"

#include "session/cookie.h"
#include "session/id.h"

static bool blank(uint8_t c)
{
	return c <= ' ';
}

/* Byte by byte, as the definition has it: pairs between semicolons, the name before the first '=', without blanks. */
static size_t plain_count(struct view header, struct view name)
{
	size_t count = 0, start = 0;

	for (size_t i = 0; i <= header.len; i++) {
		size_t from = start, to = start;

		if (i < header.len && header.at[i] != ';')
			continue;
		while (to < i && header.at[to] != '=')
			to++;
		start = i + 1;
		if (to == i)
			continue;
		while (from < to && blank(header.at[from]))
			from++;
		while (to > from && blank(header.at[to - 1]))
			to--;
		count += view_eq(view_of(header.at + from, to - from), name);
	}
	return count;
}

static void decode(const struct sess_keys *k, struct view text)
{
	struct view exact = copy_exact(text);
	struct sess_id id;
	char again[SESS_ID_TEXT];

	if (sess_id_decode(k, exact, &id)) {
		sess_id_encode(k, &id, again);
		EXPECT(view_eq(exact, view_of(again, sizeof(again))));
	}
	free_exact(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t secret[SESS_SECRET_BYTES]; /* zeros: the corpus holds ids that open */
	struct view header = copy_exact(view_of(data, size)), rest = header, value;
	struct sess_keys keys;
	size_t count = 0;

	sess_keys_derive(&keys, secret);
	while (sess_cookie_next(&rest, VIEW("WEIRSID"), &value)) {
		EXPECT(value.len == 0 || (value.at >= header.at && value.at + value.len <= header.at + header.len));
		EXPECT(!memchr(value.len > 0 ? (const void *)value.at : "", ';', value.len));
		decode(&keys, value);
		count++;
	}
	EXPECT(rest.len == 0);
	EXPECT(count == plain_count(header, VIEW("WEIRSID")));
	decode(&keys, header);
	free_exact(header);
	return 0;
}
