/* Replies of Redis's protocol, RESP2 and RESP3. Pure; depends on base/ only. Each reply asks the buffer for all of its
 * room at once: without memory it is not there at all, rather than in part. */
#include "proto/resp.h"

#include "base/decimal.h"

enum { WHAT_MAX = 128 }; /* as Redis's "%.128s" */

static uint8_t *append(uint8_t *to, struct view bytes)
{
	if (bytes.len > 0)
		memcpy(to, bytes.at, bytes.len);
	return to + bytes.len;
}

/* A byte that says what it is, text, CR LF. */
static void put_line(struct buf *b, char kind, struct view text)
{
	size_t bytes = 1 + text.len + 2;
	uint8_t *to = buf_reserve(b, bytes);

	if (!to)
		return;
	*to++ = (uint8_t)kind;
	(void)append(append(to, text), VIEW("\r\n"));
	buf_commit(b, bytes);
}

static void put_count(struct buf *b, char kind, uint64_t count)
{
	char digits[DECIMAL_MAX];

	put_line(b, kind, decimal(count, digits));
}

void resp_put_simple(struct buf *b, const char *text)
{
	put_line(b, '+', view_str(text));
}

void resp_put_error(struct buf *b, const char *text)
{
	put_line(b, '-', view_str(text));
}

void resp_put_error_of(struct buf *b, const char *before, struct view what, const char *behind)
{
	struct view head = view_str(before), shown = view_take(&what, WHAT_MAX), tail = view_str(behind);
	size_t bytes = 1 + head.len + shown.len + tail.len + 2;
	uint8_t *to = buf_reserve(b, bytes);

	if (!to)
		return;
	*to++ = '-';
	to = append(to, head);
	for (size_t i = 0; i < shown.len; i++)
		*to++ = shown.at[i] >= ' ' && shown.at[i] <= '~' ? shown.at[i] : '.';
	(void)append(append(to, tail), VIEW("\r\n"));
	buf_commit(b, bytes);
}

void resp_put_integer(struct buf *b, int64_t n)
{
	char text[1 + DECIMAL_MAX];
	struct view digits = decimal(n < 0 ? 0 - (uint64_t)n : (uint64_t)n, text + 1);

	if (n < 0) {
		size_t at = sizeof text - digits.len - 1;
		text[at] = '-';
		digits = view_of(text + at, digits.len + 1);
	}
	put_line(b, ':', digits);
}

void resp_put_bulk(struct buf *b, struct view bytes)
{
	char text[DECIMAL_MAX];
	struct view digits = decimal(bytes.len, text);
	size_t all = 1 + digits.len + 2 + bytes.len + 2;
	uint8_t *to = buf_reserve(b, all);

	if (!to)
		return;
	*to++ = '$';
	to = append(append(to, digits), VIEW("\r\n"));
	(void)append(append(to, bytes), VIEW("\r\n"));
	buf_commit(b, all);
}

void resp_put_null(struct buf *b, enum resp_version v)
{
	if (v == RESP_3)
		put_line(b, '_', VIEW(""));
	else
		put_line(b, '$', VIEW("-1"));
}

void resp_put_null_array(struct buf *b, enum resp_version v)
{
	if (v == RESP_3)
		put_line(b, '_', VIEW(""));
	else
		put_line(b, '*', VIEW("-1"));
}

void resp_put_array(struct buf *b, size_t count)
{
	put_count(b, '*', count);
}

void resp_put_map(struct buf *b, enum resp_version v, size_t pairs)
{
	if (v == RESP_3)
		put_count(b, '%', pairs);
	else
		put_count(b, '*', 2 * pairs);
}
