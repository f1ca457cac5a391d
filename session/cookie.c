/* Cookies, read tolerantly (RFC 6265 section 5.4 says what browsers send) and written strictly (section 4.1). Pure. */
#include "session/cookie.h"

/* Cuts up to the first `stop` off *v, and the stop itself, which is not part of what is returned. */
static struct view take_until(struct view *v, uint8_t stop)
{
	const uint8_t *end = v->len > 0 ? memchr(v->at, stop, v->len) : NULL;

	if (!end)
		return view_take(v, v->len);
	struct view head = view_take(v, (size_t)(end - v->at));
	(void)view_take(v, 1);
	return head;
}

/* Without what stands for a blank to one application or another: PHP and Python take vertical tabs and form feeds off
 * as well. No name or value begins or ends with a control character. */
static struct view trim(struct view v)
{
	while (v.len > 0 && v.at[0] <= ' ')
		(void)view_take(&v, 1);
	while (v.len > 0 && v.at[v.len - 1] <= ' ')
		v.len--;
	return v;
}

static struct view unquote(struct view v)
{
	if (v.len >= 2 && v.at[0] == '"' && v.at[v.len - 1] == '"')
		return view_of(v.at + 1, v.len - 2);
	return v;
}

bool sess_cookie_next(struct view *header, struct view name, struct view *value)
{
	while (header->len > 0) {
		struct view rest = take_until(header, ';');
		size_t whole = rest.len;
		struct view found = take_until(&rest, '=');
		bool has_value = found.len < whole;

		if (!has_value || !view_eq(trim(found), name))
			continue;
		*value = unquote(trim(rest));
		return true;
	}
	return false;
}

static void put_text(struct buf *b, const char *before, const char *text)
{
	buf_put_str(b, before);
	buf_put_str(b, text);
}

static void put_cookie(struct buf *b, const struct sess_cookie_options *o, struct view value, const char *age,
		       bool https)
{
	static const char *const same_site[] = {
	    [SESS_SAME_SITE_LAX] = "Lax",
	    [SESS_SAME_SITE_STRICT] = "Strict",
	    [SESS_SAME_SITE_NONE] = "None",
	};

	put_text(b, "Set-Cookie: ", o->name);
	buf_put_u8(b, '=');
	buf_put(b, value);
	put_text(b, "; Path=", o->path && o->path[0] ? o->path : "/");
	if (o->domain && o->domain[0])
		put_text(b, "; Domain=", o->domain);
	buf_put_str(b, age);
	if (o->http_only)
		buf_put_str(b, "; HttpOnly");
	if (o->secure == SESS_SECURE_ALWAYS || (o->secure == SESS_SECURE_AUTO && https))
		buf_put_str(b, "; Secure");
	put_text(b, "; SameSite=", same_site[o->same_site]);
	buf_put_str(b, "\r\n");
}

void sess_cookie_put_set(struct buf *b, const struct sess_cookie_options *o, struct view value, bool https)
{
	put_cookie(b, o, value, "", https);
}

void sess_cookie_put_expire(struct buf *b, const struct sess_cookie_options *o, bool https)
{
	put_cookie(b, o, VIEW(""), "; Max-Age=0", https);
}
