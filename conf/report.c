/* Collecting errors. Depends on malloc only. */
#include "conf/report.h"

#include "base/invariant.h"

#include <stdlib.h>

enum { VALUE_SHOWN_BYTES = 200 };

/* What an operator wrote goes to his terminal: control characters must not, and inside of quotes no quote. */
static void put_escaped(struct buf *b, struct view v, bool quoted)
{
	static const char hex[] = "0123456789abcdef";

	for (size_t i = 0; i < v.len; i++) {
		uint8_t byte = v.at[i];
		bool plain = byte >= 0x20 && byte < 0x7f;
		if (plain && !(quoted && (byte == '"' || byte == '\\')))
			buf_put_u8(b, byte);
		else
			buf_put(b, view_of((char[]){'\\', 'x', hex[byte >> 4], hex[byte & 15]}, 4));
	}
}

void conf_report_add(struct conf_report *r, unsigned line, const char *name, const char *value, const char *why)
{
	struct buf b;

	r->found++;
	if (r->count == CONF_REPORT_MAX)
		return;
	buf_init(&b, 0);
	buf_put_str(&b, name);
	buf_put_str(&b, ": ");
	if (value) {
		struct view v = view_str(value);
		buf_put_u8(&b, '"');
		put_escaped(&b, view_take(&v, VALUE_SHOWN_BYTES), true);
		buf_put_str(&b, v.len > 0 ? "...\": " : "\": ");
	}
	put_escaped(&b, view_str(why), false); /* libconfuse's words repeat what it read */
	buf_put_u8(&b, '\0');
	if (buf_error(&b)) {
		r->no_memory = true;
		buf_fini(&b);
		return;
	}
	INVARIANT(b.head == 0);
	r->errors[r->count++] = (struct conf_error){.line = line, .text = (char *)b.data};
}

/* By insertion: stable, and the list is short and nearly in order. */
static void sort(struct conf_report *r)
{
	for (size_t i = 1; i < r->count; i++) {
		struct conf_error e = r->errors[i];
		size_t at = i;
		for (; at > 0 && r->errors[at - 1].line > e.line; at--)
			r->errors[at] = r->errors[at - 1];
		r->errors[at] = e;
	}
}

void conf_report_write(struct conf_report *r, const char *file, struct buf *out)
{
	sort(r);
	for (size_t i = 0; i < r->count; i++) {
		buf_put_str(out, file);
		if (r->errors[i].line > 0) {
			buf_put_u8(out, ':');
			buf_put_u64(out, r->errors[i].line);
		}
		buf_put_str(out, ": ");
		buf_put_str(out, r->errors[i].text);
		buf_put_u8(out, '\n');
	}
	if (r->found > r->count) {
		buf_put_str(out, file);
		buf_put_str(out, ": and ");
		buf_put_u64(out, r->found - r->count);
		buf_put_str(out, " more errors\n");
	}
}

void conf_report_fini(struct conf_report *r)
{
	for (size_t i = 0; i < r->count; i++)
		free(r->errors[i].text);
	*r = (struct conf_report){0};
}
