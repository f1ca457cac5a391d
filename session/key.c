/* Ids of adopted sessions: what an application's text, its cookie and its answer give. Pure; depends on base/ and
 * proto/ only. What browsers send is read as the applications read it: if weir saw another text than they do, a client
 * could spell its cookie so that nobody waits for it. */
#include "session/key.h"

#include "base/hex.h"
#include "base/invariant.h"
#include "proto/cgi.h"
#include "session/cookie.h"

bool sess_key_is_good(struct view text)
{
	unsigned bad = 0;

	if (text.len < 1 || text.len > SESS_KEY_MAX)
		return false;
	for (size_t i = 0; i < text.len; i++)
		bad |= (unsigned)(text.at[i] <= ' ') | (unsigned)(text.at[i] == 0x7f);
	return bad == 0;
}

void sess_key_id(const struct sess_keys *k, const char *app, struct view text, struct sess_id *out)
{
	struct view name = view_of(app, strlen(app) + 1); /* with its NUL, so that no two pairs are one text */

	_Static_assert(sizeof out->bytes == 2 * sizeof(uint64_t), "two hashes are an id");
	for (size_t half = 0; half < 2; half++) {
		uint64_t hash = siphash_joined(k->adopted[half], name, text);
		for (size_t i = 0; i < sizeof hash; i++)
			out->bytes[half * sizeof hash + i] = (uint8_t)(hash >> (8 * i));
	}
}

/* --- cookies --- */

/* The next byte of *v, which is not empty. A percent sign that no two digits follow stands for itself. */
static uint8_t take_decoded(struct view *v)
{
	uint8_t c;

	if (v->at[0] == '%' && v->len >= 3 && hex_byte(v->at + 1, &c)) {
		(void)view_take(v, 3);
		return c;
	}
	return view_take(v, 1).at[0];
}

static bool is_octal(uint8_t c, uint8_t most)
{
	return c >= '0' && c <= most;
}

/* The same of a text that may have been between quotes, where Python's frameworks read a backslash and three octal
 * digits, or any other byte, as one (http.cookies). Nobody's ids have backslashes: so it does not matter who else reads
 * them otherwise. */
static uint8_t take_unquoted(struct view *v)
{
	if (v->at[0] != '\\' || v->len < 2)
		return take_decoded(v);
	(void)view_take(v, 1);
	if (v->len < 3 || !is_octal(v->at[0], '3') || !is_octal(v->at[1], '7') || !is_octal(v->at[2], '7'))
		return view_take(v, 1).at[0];
	struct view o = view_take(v, 3);
	return (uint8_t)((o.at[0] - '0') << 6 | (o.at[1] - '0') << 3 | (o.at[2] - '0'));
}

static bool take_plain(struct view value, char space[SESS_KEY_MAX], struct view *out)
{
	size_t len = 0;

	if (value.len == 0 || (!memchr(value.at, '%', value.len) && !memchr(value.at, '\\', value.len))) {
		*out = value;
		return true;
	}
	for (; value.len > 0; len++) {
		if (len == SESS_KEY_MAX)
			return false;
		space[len] = (char)take_unquoted(&value);
	}
	*out = view_of(space, len);
	return true;
}

/* "s:", the text, a dot and the signature, in which no dot can be (cookie-signature for Node.js). The signature may be
 * longer than the space: it is looked at and not kept. "j:", which is Express's for JSON, is no session. */
static bool take_signed(struct view value, char space[SESS_KEY_MAX], struct view *out)
{
	size_t len = 0, dot = SIZE_MAX;

	if (value.len == 0 || take_decoded(&value) != 's' || value.len == 0 || take_decoded(&value) != ':')
		return false;
	for (; value.len > 0; len++) {
		uint8_t c = take_decoded(&value);
		if (c == '.')
			dot = len;
		if (len < SESS_KEY_MAX)
			space[len] = (char)c;
	}
	if (dot > SESS_KEY_MAX)
		return false;
	*out = view_of(space, dot);
	return true;
}

bool sess_key_of_cookie(enum sess_key_format format, struct view value, char space[SESS_KEY_MAX], struct view *out)
{
	struct view text;
	bool taken = format == SESS_KEY_EXPRESS ? take_signed(value, space, &text) : take_plain(value, space, &text);

	if (!taken || !sess_key_is_good(text))
		return false;
	*out = text;
	return true;
}

/* Up to the next semicolon, which is cut off as well. */
static struct view take_part(struct view *v)
{
	const uint8_t *end = v->len > 0 ? memchr(v->at, ';', v->len) : NULL;

	if (!end)
		return view_take(v, v->len);
	struct view part = view_take(v, (size_t)(end - v->at));
	(void)view_take(v, 1);
	return part;
}

/* Max-Age of 0 or below (RFC 6265 section 5.2.2) in a cookie's attributes: the browser is to forget it. */
static bool is_expired(struct view attributes)
{
	while (attributes.len > 0) {
		struct view part = view_trim(take_part(&attributes));
		const uint8_t *equals = part.len > 0 ? memchr(part.at, '=', part.len) : NULL;
		if (!equals)
			continue;
		struct view name = view_trim(view_take(&part, (size_t)(equals - part.at)));
		(void)view_take(&part, 1);
		part = view_trim(part);
		if (view_eq_nocase(name, VIEW("Max-Age")) && (view_eq(part, VIEW("0")) || view_starts(part, VIEW("-"))))
			return true;
	}
	return false;
}

bool sess_key_of_answer(enum sess_key_format format, struct view head, struct view name, char space[SESS_KEY_MAX],
			struct view *out)
{
	struct cgi_header h;
	struct view last = VIEW(""), value, text;

	while (cgi_header_next(&head, &h)) {
		if (!view_eq_nocase(h.name, VIEW("Set-Cookie")))
			continue;
		struct view cookie = take_part(&h.value);
		if (sess_cookie_next(&cookie, name, &value) && !is_expired(h.value) &&
		    sess_key_of_cookie(format, value, space, &text))
			last = value;
	}
	/* Again: one behind it that gives no id has used the space. */
	return sess_key_of_cookie(format, last, space, out);
}

/* --- states --- */

struct view sess_key_head(struct view text, uint8_t space[SESS_KEY_HEAD_BYTES + SESS_KEY_MAX])
{
	INVARIANT(text.len <= SESS_KEY_MAX);
	space[0] = (uint8_t)(text.len >> 8);
	space[1] = (uint8_t)text.len;
	memcpy(space + SESS_KEY_HEAD_BYTES, text.at, text.len);
	return view_of(space, SESS_KEY_HEAD_BYTES + text.len);
}

bool sess_key_split_state(struct view state, struct view *text, struct view *bytes)
{
	if (state.len < SESS_KEY_HEAD_BYTES)
		return false;
	struct view head = view_take(&state, SESS_KEY_HEAD_BYTES);
	size_t len = (size_t)head.at[0] << 8 | head.at[1];
	if (len > state.len || !sess_key_is_good(view_of(state.at, len)))
		return false;
	*text = view_take(&state, len);
	*bytes = state;
	return true;
}
