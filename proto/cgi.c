/* The head of a CGI response: finding its end, walking its lines, and the gateway's own small answers. Pure; depends on
 * base/ only. Views point into the caller's bytes. */
#include "proto/cgi.h"

enum decode cgi_head_find(struct view in, size_t from, size_t *head_bytes)
{
	while (from < in.len) {
		const uint8_t *lf = memchr(in.at + from, '\n', in.len - from);
		if (!lf)
			return DECODE_NEED_MORE;
		size_t at = (size_t)(lf - in.at);
		/* Looking back from the line's end, not forward to it, makes any `from` a right place to go on. */
		size_t line = at > 0 && in.at[at - 1] == '\r' ? at - 1 : at;
		if (line == 0 || in.at[line - 1] == '\n') {
			*head_bytes = at + 1;
			return DECODE_OK;
		}
		from = at + 1;
	}
	return DECODE_NEED_MORE;
}

/* The next line of *head with its end, which is cut off; empty when there is no whole line. */
static struct view next_line(struct view *head)
{
	const uint8_t *lf = head->len > 0 ? memchr(head->at, '\n', head->len) : NULL;

	return lf ? view_take(head, (size_t)(lf - head->at) + 1) : view_of(head->at, 0);
}

static struct view without_end(struct view line)
{
	line.len--;
	if (line.len > 0 && line.at[line.len - 1] == '\r')
		line.len--;
	return line;
}

static bool blank(uint8_t c)
{
	return c == ' ' || c == '\t';
}

bool cgi_header_next(struct view *head, struct cgi_header *out)
{
	struct view line = next_line(head);

	if (line.len == 0)
		return false;
	struct view text = without_end(line);
	if (text.len == 0)
		return false;
	const uint8_t *colon = memchr(text.at, ':', text.len);
	*out = (struct cgi_header){.line = line, .name = view_of(text.at, 0), .value = view_of(text.at, 0)};
	/* A line that begins with a blank would go on with the one before; RFC 3875 section 6.3 has no such lines. */
	if (!colon || blank(text.at[0]))
		return true;
	size_t name = (size_t)(colon - text.at);
	out->value = view_trim(view_of(colon + 1, text.len - name - 1));
	/* A blank before the colon is wrong as well, but must not hide a header from whoever looks for its name. */
	out->name = view_trim(view_of(text.at, name));
	return true;
}

const char *cgi_status_text(unsigned status)
{
	switch (status) {
	case 200:
		return "OK";
	case 307:
		return "Temporary Redirect";
	case 400:
		return "Bad Request";
	case 403:
		return "Forbidden";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 408:
		return "Request Timeout";
	case 411:
		return "Length Required";
	case 413:
		return "Content Too Large"; /* RFC 9110 section 15.5.14 */
	case 431:
		return "Request Header Fields Too Large";
	case 500:
		return "Internal Server Error";
	case 502:
		return "Bad Gateway";
	case 503:
		return "Service Unavailable";
	case 504:
		return "Gateway Timeout";
	default:
		return "Error";
	}
}

static size_t digits_of(unsigned n)
{
	size_t digits = 1;

	while (n >= 10) {
		n /= 10;
		digits++;
	}
	return digits;
}

static void put_status_line(struct buf *b, unsigned status)
{
	buf_put_u64(b, status);
	buf_put_u8(b, ' ');
	buf_put_str(b, cgi_status_text(status));
}

void cgi_put_answer(struct buf *b, unsigned status, unsigned retry_after_s)
{
	buf_put_str(b, "Status: ");
	put_status_line(b, status);
	buf_put_str(b, "\r\nContent-Type: text/plain\r\nContent-Length: ");
	buf_put_u64(b, digits_of(status) + 1 + strlen(cgi_status_text(status)) + 1);
	buf_put_str(b, "\r\nCache-Control: no-store\r\n");
	if (retry_after_s > 0) {
		buf_put_str(b, "Retry-After: ");
		buf_put_u64(b, retry_after_s);
		buf_put_str(b, "\r\n");
	}
	buf_put_str(b, "\r\n");
	put_status_line(b, status);
	buf_put_u8(b, '\n');
}
