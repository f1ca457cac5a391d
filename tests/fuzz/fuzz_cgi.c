/* The head of a CGI response. First byte: where the rest is cut. The end of the head must be the same however the bytes
 * arrive, agree with a plain search, and the lines must cover the head without a gap. */
#include "tests/fuzz/fuzz.h"

#include "proto/cgi.h"

/* Byte by byte, as the definition has it: a line that is empty or holds one CR alone. 0 when there is none. */
static size_t plain_search(struct view in)
{
	size_t line = 0;

	for (size_t i = 0; i < in.len; i++) {
		if (in.at[i] != '\n')
			continue;
		if (i == line || (i == line + 1 && in.at[line] == '\r'))
			return i + 1;
		line = i + 1;
	}
	return 0;
}

static size_t search(struct view in, struct cutter *cut)
{
	size_t have = 0, searched = 0, head = 0;
	struct view rest = in;

	do {
		have += cutter_next(cut, &rest).len;
		struct view part = copy_exact(view_of(in.at, have));
		enum decode answer = cgi_head_find(part, searched, &head);
		free_exact(part);
		if (answer == DECODE_OK)
			return head;
		EXPECT(answer == DECODE_NEED_MORE);
		EXPECT(head == 0);
		searched = have;
	} while (have < in.len);
	return 0;
}

static void lines(struct view in, size_t head_bytes)
{
	struct view head = copy_exact(view_of(in.at, head_bytes)), rest = head;
	struct cgi_header h;
	const uint8_t *at = head.at;

	while (cgi_header_next(&rest, &h)) {
		EXPECT(h.line.at == at);
		EXPECT(h.line.len > 1);
		EXPECT(h.line.at[h.line.len - 1] == '\n');
		EXPECT(h.name.len + h.value.len < h.line.len);
		EXPECT(h.name.len == 0 || h.name.at == h.line.at);
		EXPECT(h.name.len == 0 || !memchr(h.name.at, ':', h.name.len));
		EXPECT(h.value.len == 0 || h.value.at > h.line.at);
		at += h.line.len;
	}
	size_t left = head_bytes - (size_t)(at - head.at);
	EXPECT(head_bytes == 0 || (left > 0 && left <= 2)); /* the empty line */
	free_exact(head);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view in = view_of(data, size);

	if (size < 1 || size > 4096) /* pieces are copied whole each time */
		return 0;
	struct cutter cut = cutter_of(data[0]), bytewise = cutter_of(0);
	(void)view_take(&in, 1);
	size_t head = plain_search(in), whole = 0;
	enum decode answer = cgi_head_find(in, 0, &whole);
	EXPECT((answer == DECODE_OK) == (head > 0));
	EXPECT(whole == head);
	EXPECT(search(in, &cut) == head);
	EXPECT(search(in, &bytewise) == head);
	lines(in, head);
	return 0;
}
