/* Adopted sessions are named by their applications: from a key or a cookie to a session's id, and the name that lies in
 * front of the state (doc/session-socket.md, "Ids"). Pure. */
#ifndef WEIR_SESSION_KEY_H
#define WEIR_SESSION_KEY_H

#include "base/buf.h"
#include "session/id.h"

enum { SESS_KEY_MAX = 256, SESS_KEY_HEAD_BYTES = 2 };

/* 1 to SESS_KEY_MAX bytes, none of them a blank or a control character. */
bool sess_key_is_good(struct view text);

/* The id of the session that `app` calls `text`, which need not be good: 128 bits under the node's secret. */
void sess_key_id(const struct sess_keys *k, const char *app, struct view text, struct sess_id *out);

enum sess_key_format { SESS_KEY_PLAIN, SESS_KEY_EXPRESS };

/* The text that a cookie's value gives, percent-decoded into `space` where it must be (borrowed from there or from
 * `value`); a percent sign that no two digits follow stands for itself. Plain: without the backslashes of a quoted
 * string, too. False: it gives none that is good. */
bool sess_key_of_cookie(enum sess_key_format format, struct view value, char space[SESS_KEY_MAX], struct view *out);

/* The same of the Set-Cookie headers called `name` in the head of a CGI answer: of the last that gives one, which is
 * the one that a browser keeps (PHP sends two for session_start() and session_regenerate_id() in one request). One that
 * has the browser forget it gives none (Max-Age=0: PHP deletes with the value "deleted"). The header's name in any
 * case, the cookie's in its own. */
bool sess_key_of_answer(enum sess_key_format format, struct view head, struct view name, char space[SESS_KEY_MAX],
			struct view *out);

/* A state as it is stored: the text's length (2 bytes, big endian), the text, the application's bytes. The part in
 * front of these, in `space`: */
struct view sess_key_head(struct view text, uint8_t space[SESS_KEY_HEAD_BYTES + SESS_KEY_MAX]);
/* False: it is none. */
bool sess_key_split_state(struct view state, struct view *text, struct view *bytes);

#endif
