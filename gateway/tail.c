/* The held tail of an answer. */
#include "gateway/tail.h"

#include "base/invariant.h"
#include "proto/cgi.h"

/* The media type without its parameters (RFC 9110 section 8.3.1). */
static bool is_event_stream(struct view type)
{
	const uint8_t *end = type.len > 0 ? memchr(type.at, ';', type.len) : NULL;
	struct view name = end ? view_of(type.at, (size_t)(end - type.at)) : type;

	return view_eq_nocase(view_trim(name), VIEW("text/event-stream"));
}

/* Answers that have no body, whatever the application says (RFC 9110 sections 9.3.2, 15.3.5 and 15.4.5). */
static bool is_bodiless(struct view status)
{
	struct view code = view_of(status.at, status.len < 3 ? status.len : 3);

	return view_eq(code, VIEW("204")) || view_eq(code, VIEW("304"));
}

void tail_begin(struct tail *t, struct view method, struct view head)
{
	struct cgi_header h;
	bool stream = false;

	t->bare = view_eq(method, VIEW("HEAD"));
	while (cgi_header_next(&head, &h)) {
		stream = stream || (view_eq_nocase(h.name, VIEW("Content-Type")) && is_event_stream(h.value));
		t->bare = t->bare || (view_eq_nocase(h.name, VIEW("Status")) && is_bodiless(h.value));
	}
	t->holds = !stream;
	t->bare = t->bare && t->holds;
}

struct view tail_release(struct tail *t)
{
	size_t len = t->held;

	t->held = false;
	return view_of(&t->byte, len);
}

struct view tail_hold(struct tail *t, struct view piece)
{
	INVARIANT(!t->held);
	if (!t->holds || piece.len == 0)
		return piece;
	t->held = true;
	t->byte = piece.at[piece.len - 1];
	return view_of(piece.at, piece.len - 1);
}
