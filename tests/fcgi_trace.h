/* What a decoder said about some input, as text that does not depend on where the input was cut: pieces of one stream
 * that follow each other are joined. For tests and fuzz targets. */
#ifndef WEIR_TESTS_FCGI_TRACE_H
#define WEIR_TESTS_FCGI_TRACE_H

#include "proto/fcgi.h"

#include <stdarg.h>
#include <stdio.h>

enum { TRACE_SHOWN_MAX = 64 }; /* bytes of a piece that are written out; more become a length and a sum */

struct trace {
	struct fcgi_decoder decoder;
	struct buf text; /* one line an event */
	struct buf data; /* the pieces not yet written as text */
	uint8_t data_type;
	uint16_t data_id;
	bool bad; /* MALFORMED was said */
};

static inline void trace_init(struct trace *t, enum fcgi_side side)
{
	*t = (struct trace){.bad = false};
	fcgi_decoder_init(&t->decoder, side);
}

static inline void trace_fini(struct trace *t)
{
	buf_fini(&t->text);
	buf_fini(&t->data);
}

static inline void PRINTF_LIKE(2, 3) trace_say(struct trace *t, const char *fmt, ...)
{
	char line[160];
	va_list args;

	va_start(args, fmt);
	vsnprintf(line, sizeof line, fmt, args);
	va_end(args);
	buf_put_str(&t->text, line);
}

static inline void trace_flush(struct trace *t)
{
	struct view v = buf_view(&t->data);
	uint64_t sum = UINT64_C(0xcbf29ce484222325);

	if (v.len == 0)
		return;
	trace_say(t, "DATA type=%u id=%u ", t->data_type, t->data_id);
	for (size_t i = 0; i < v.len; i++) {
		if (v.len <= TRACE_SHOWN_MAX)
			trace_say(t, v.at[i] > ' ' && v.at[i] < 127 && v.at[i] != '\\' ? "%c" : "\\x%02x", v.at[i]);
		sum = (sum ^ v.at[i]) * UINT64_C(0x100000001b3);
	}
	if (v.len > TRACE_SHOWN_MAX)
		trace_say(t, "len=%zu sum=%016llx", v.len, (unsigned long long)sum);
	trace_say(t, "\n");
	buf_clear(&t->data);
}

static inline void trace_event(struct trace *t, const struct fcgi_event *ev)
{
	if (ev->kind == FCGI_EV_DATA || ev->kind == FCGI_EV_VALUES) {
		if (t->data_type != ev->type || t->data_id != ev->id)
			trace_flush(t);
		t->data_type = ev->type;
		t->data_id = ev->id;
		trace_say(t, "%s", ev->data.len == 0 ? "EMPTY PIECE\n" : "");
		buf_put(&t->data, ev->data);
		return;
	}
	trace_flush(t);
	switch (ev->kind) {
	case FCGI_EV_BEGIN:
		trace_say(t, "BEGIN id=%u role=%u flags=%u\n", ev->id, ev->role, ev->flags);
		break;
	case FCGI_EV_END:
		trace_say(t, "END id=%u app=%u status=%u\n", ev->id, ev->app_status, ev->protocol_status);
		break;
	case FCGI_EV_UNKNOWN_TYPE:
		trace_say(t, "UNKNOWN_TYPE id=%u unknown=%u\n", ev->id, ev->unknown);
		break;
	default: {
		static const char *const names[] = {[FCGI_EV_ABORT] = "ABORT",
						    [FCGI_EV_STREAM_END] = "STREAM_END",
						    [FCGI_EV_VALUES_END] = "VALUES_END",
						    [FCGI_EV_FOREIGN] = "FOREIGN"};
		trace_say(t, "%s type=%u id=%u\n", names[ev->kind], ev->type, ev->id);
		break;
	}
	}
}

/* The next piece of input. */
static inline void trace_feed(struct trace *t, struct view in)
{
	struct fcgi_event ev;
	enum decode answer;

	while ((answer = fcgi_next(&t->decoder, &in, &ev)) == DECODE_OK)
		trace_event(t, &ev);
	if (answer == DECODE_NEED_MORE) {
		if (in.len > 0)
			trace_say(t, "INPUT LEFT\n");
	} else if (!t->bad) {
		trace_flush(t);
		trace_say(t, "MALFORMED %s\n", t->decoder.reason);
		t->bad = true;
	}
}

/* The end of the input; the text is complete. */
static inline struct view trace_end(struct trace *t)
{
	trace_flush(t);
	if (!t->bad && !fcgi_decoder_idle(&t->decoder))
		trace_say(t, "CUT\n");
	return buf_view(&t->text);
}

#endif
