/* Cookies: reading the Cookie header and writing Set-Cookie (RFC 6265 sections 4.1, 4.2, 5.4). Pure. */
#ifndef WEIR_SESSION_COOKIE_H
#define WEIR_SESSION_COOKIE_H

#include "base/buf.h"
#include "base/view.h"

/* The value of the next cookie called `name` in *header, which is advanced past it; false when there is none.
 * Names are case-sensitive. A browser sends the cookie with the longest path first, so the first one is tried first.
 * Quotes around a value are taken off. Never fails on any bytes. */
bool sess_cookie_next(struct view *header, struct view name, struct view *value);

enum sess_same_site { SESS_SAME_SITE_LAX, SESS_SAME_SITE_STRICT, SESS_SAME_SITE_NONE };
enum sess_cookie_secure { SESS_SECURE_AUTO, SESS_SECURE_ALWAYS, SESS_SECURE_NEVER };

struct sess_cookie_options {
	const char *name;   /* borrowed; a token */
	const char *path;   /* borrowed; "/" */
	const char *domain; /* borrowed; NULL or "": none */
	bool http_only;
	enum sess_same_site same_site;
	enum sess_cookie_secure secure;
};

/* "Set-Cookie: NAME=VALUE; Path=...\r\n". `https`: the request came over HTTPS (for SESS_SECURE_AUTO). */
void sess_cookie_put_set(struct buf *b, const struct sess_cookie_options *o, struct view value, bool https);

/* The same with an empty value and Max-Age=0: the browser forgets the cookie. */
void sess_cookie_put_expire(struct buf *b, const struct sess_cookie_options *o, bool https);

#endif
