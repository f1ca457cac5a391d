/* Commands of Redis's protocol: bytes in, views of them out. Pure: keeps nothing between two calls, depends on base/
 * only. A bulk string is jumped over by its length; only headers and inline commands are read byte by byte. What is
 * taken, what is refused and with which words is what Redis does (networking.c, sdssplitargs() in sds.c), but that a
 * line's CR must be followed by its LF, and a bulk string by both. */
#include "proto/resp.h"

#include "base/compiler.h"
#include "base/error.h"
#include "base/hex.h"

enum { DIGITS_MAX = 18 }; /* below 10^18: no sum of lengths overflows */

struct reader {
	struct view in;
	size_t at;          /* read so far */
	size_t need;        /* NEED_MORE */
	const char *reason; /* MALFORMED */
};

static enum decode need_more(struct reader *r, size_t need)
{
	r->need = need;
	return DECODE_NEED_MORE;
}

static enum decode malformed(struct reader *r, const char *reason)
{
	r->reason = reason;
	return DECODE_MALFORMED;
}

/* NULL, which an empty input may be, has no offsets. */
static struct view rest_of(const struct reader *r)
{
	return r->at > 0 ? view_of(r->in.at + r->at, r->in.len - r->at) : r->in;
}

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

/* --- lines --- */

/* Looks for `stop` where a line begins. OK: it is `*len` bytes on. */
static enum decode find_in_line(struct reader *r, uint8_t stop, const char *too_big, size_t *len)
{
	struct view rest = rest_of(r);
	const uint8_t *found = NULL;

	if (rest.len > 0)
		found = memchr(rest.at, stop, rest.len > RESP_INLINE_MAX ? RESP_INLINE_MAX + 1 : rest.len);
	if (!found)
		return rest.len > RESP_INLINE_MAX ? malformed(r, too_big) : need_more(r, r->in.len + 1);
	*len = (size_t)(found - rest.at);
	return DECODE_OK;
}

/* --- headers: a byte that says of what, a number, CR LF --- */

struct header_rule {
	uint8_t first;
	bool negative; /* means 0, and is no fault */
	const char *too_big, *invalid;
};

static const struct header_rule multibulk = {'*', true, "too big mbulk count string", "invalid multibulk length"};
static const struct header_rule bulk = {'$', false, "too big bulk count string", "invalid bulk length"};

/* By the byte that was got. */
#define GOT(c) "expected '$', got '" c "'"
static const char *const no_bulk[] = {
    GOT(" "), GOT("!"), GOT("\""), GOT("#"), GOT("$"), GOT("%"),  GOT("&"), GOT("'"), GOT("("), GOT(")"), GOT("*"),
    GOT("+"), GOT(","), GOT("-"),  GOT("."), GOT("/"), GOT("0"),  GOT("1"), GOT("2"), GOT("3"), GOT("4"), GOT("5"),
    GOT("6"), GOT("7"), GOT("8"),  GOT("9"), GOT(":"), GOT(";"),  GOT("<"), GOT("="), GOT(">"), GOT("?"), GOT("@"),
    GOT("A"), GOT("B"), GOT("C"),  GOT("D"), GOT("E"), GOT("F"),  GOT("G"), GOT("H"), GOT("I"), GOT("J"), GOT("K"),
    GOT("L"), GOT("M"), GOT("N"),  GOT("O"), GOT("P"), GOT("Q"),  GOT("R"), GOT("S"), GOT("T"), GOT("U"), GOT("V"),
    GOT("W"), GOT("X"), GOT("Y"),  GOT("Z"), GOT("["), GOT("\\"), GOT("]"), GOT("^"), GOT("_"), GOT("`"), GOT("a"),
    GOT("b"), GOT("c"), GOT("d"),  GOT("e"), GOT("f"), GOT("g"),  GOT("h"), GOT("i"), GOT("j"), GOT("k"), GOT("l"),
    GOT("m"), GOT("n"), GOT("o"),  GOT("p"), GOT("q"), GOT("r"),  GOT("s"), GOT("t"), GOT("u"), GOT("v"), GOT("w"),
    GOT("x"), GOT("y"), GOT("z"),  GOT("{"), GOT("|"), GOT("}"),  GOT("~"),
};
_Static_assert(sizeof no_bulk / sizeof no_bulk[0] == '~' - ' ' + 1, "one for each printable character");

/* Control characters stay out of error messages and logs. */
static const char *no_bulk_reason(uint8_t got)
{
	return no_bulk[(got >= ' ' && got <= '~' ? got : '.') - ' '];
}

/* A minus and a number that has no zero in front. */
static bool is_negative(struct view number)
{
	if (number.len < 2 || number.len > 1 + DIGITS_MAX || number.at[0] != '-' || number.at[1] == '0')
		return false;
	for (size_t i = 1; i < number.len; i++) {
		if (!is_digit(number.at[i]))
			return false;
	}
	return true;
}

/* A header as clients send it, whole. False: it may be anything, and nothing was read. */
static inline bool read_plain_header(struct reader *r, uint8_t first, uint64_t *out)
{
	const uint8_t *line = r->in.at + r->at;
	size_t left = r->in.len - r->at, i = 2;

	if (left < sizeof "$0\r\n" - 1 || line[0] != first || !is_digit(line[1]))
		return false;
	uint64_t n = (uint64_t)(line[1] - '0');
	for (; i < left && i <= DIGITS_MAX && is_digit(line[i]); i++)
		n = n * 10 + (uint64_t)(line[i] - '0');
	if (left - i < 2 || line[i] != '\r' || line[i + 1] != '\n' || (i > 2 && line[1] == '0'))
		return false;
	r->at += i + 2;
	*out = n;
	return true;
}

static enum decode read_other_header(struct reader *r, const struct header_rule *rule, uint64_t *out)
{
	const uint8_t *line = r->in.at + r->at;
	size_t len = 0;
	enum decode answer = find_in_line(r, '\r', rule->too_big, &len);

	if (answer != DECODE_OK)
		return answer;
	if (r->at + len + 2 > r->in.len)
		return need_more(r, r->at + len + 2);
	if (line[0] != rule->first)
		return malformed(r, no_bulk_reason(line[0]));
	if (!rule->negative || line[len + 1] != '\n' || !is_negative(view_of(line + 1, len - 1)))
		return malformed(r, rule->invalid);
	r->at += len + 2;
	*out = 0;
	return DECODE_OK;
}

static inline enum decode read_header(struct reader *r, const struct header_rule *rule, uint64_t *out)
{
	return LIKELY(read_plain_header(r, rule->first, out)) ? DECODE_OK : read_other_header(r, rule, out);
}

/* --- the arguments' memory --- */

static struct view *views_of(uint8_t *data)
{
	return (struct view *)(void *)data; /* malloc's, so it is aligned */
}

/* The place of the next argument, which is one when it is counted; NULL: no memory. */
static struct view *next_arg(struct resp_command *c)
{
	if (LIKELY(c->got < RESP_ARGS_FEW))
		return &c->few[c->got];
	if (c->got == RESP_ARGS_FEW) {
		buf_clear(&c->many);
		buf_put(&c->many, view_of(c->few, sizeof c->few));
	}
	return views_of(buf_reserve(&c->many, sizeof(struct view)));
}

static void count_arg(struct resp_command *c)
{
	if (c->got >= RESP_ARGS_FEW)
		buf_commit(&c->many, sizeof(struct view));
	c->got++;
}

/* Those that are counted. Their memory moves when there is a place for one more. */
static struct view *args_of(struct resp_command *c)
{
	return c->got <= RESP_ARGS_FEW ? c->few : views_of(c->many.data);
}

static enum decode is_whole(struct resp_command *c)
{
	c->args = args_of(c);
	c->count = c->got;
	return DECODE_OK;
}

void resp_command_forget(struct resp_command *c)
{
	if (UNLIKELY(c->many.data || buf_error(&c->many)))
		buf_fini(&c->many);
	c->args = NULL;
	c->count = c->got = c->wanted = c->read = 0;
}

/* --- arrays --- */

/* `room`: what the arguments may still have. */
static inline enum decode read_bulk(struct reader *r, const struct resp_limits *limits, size_t *room, struct view *arg)
{
	uint64_t len = 0;
	enum decode answer = read_header(r, &bulk, &len);

	if (UNLIKELY(answer != DECODE_OK))
		return answer;
	if (UNLIKELY(len > limits->bulk_bytes || len > *room))
		return malformed(r, bulk.invalid);
	const uint8_t *at = r->in.at + r->at;
	if (r->in.len - r->at < len + 2)
		return need_more(r, r->at + len + 2);
	if (UNLIKELY(at[len] != '\r' || at[len + 1] != '\n'))
		return malformed(r, bulk.invalid);
	*arg = view_of(at, len);
	*room -= len;
	r->at += len + 2;
	return DECODE_OK;
}

/* Of the bytes that were read before, which may have moved. */
static void move_args(struct resp_command *c, const uint8_t *base)
{
	if (c->base == base)
		return;
	struct view *args = args_of(c);
	for (size_t i = 0; i < c->got; i++)
		args[i].at = base + (args[i].at - c->base);
	c->base = base;
}

static enum decode begin_array(struct reader *r, const struct resp_limits *limits, struct resp_command *out)
{
	uint64_t count = 0;
	enum decode answer = read_header(r, &multibulk, &count);

	if (answer != DECODE_OK)
		return answer;
	if (count > limits->args)
		return malformed(r, multibulk.invalid);
	out->base = r->in.at;
	out->read = r->at;
	out->wanted = count;
	out->room = limits->command_bytes;
	return DECODE_OK;
}

static enum decode read_array(struct reader *r, const struct resp_limits *limits, struct resp_command *out)
{
	if (out->read == 0) {
		enum decode answer = begin_array(r, limits, out);
		if (UNLIKELY(answer != DECODE_OK))
			return answer;
	}
	move_args(out, r->in.at);
	r->at = out->read;
	while (out->got < out->wanted) {
		struct view *arg = next_arg(out);
		if (UNLIKELY(!arg))
			return malformed(r, error_text(buf_error(&out->many)));
		enum decode answer = read_bulk(r, limits, &out->room, arg);
		if (UNLIKELY(answer != DECODE_OK))
			return answer;
		count_arg(out);
		out->read = r->at;
	}
	return is_whole(out);
}

/* --- inline commands --- */

static const char too_big_inline[] = "too big inline request";
static const char unbalanced[] = "unbalanced quotes in request";

static bool is_space(uint8_t c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Not all that is_space(): so does Redis. */
static bool ends_word(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* What stands behind a backslash within double quotes, which is one byte at least. */
static uint8_t take_escape(struct view *line)
{
	uint8_t c;

	if (line->len >= 3 && line->at[0] == 'x' && hex_byte(line->at + 1, &c)) {
		(void)view_take(line, 3);
		return c;
	}
	c = view_take(line, 1).at[0];
	switch (c) {
	case 'n':
		return '\n';
	case 'r':
		return '\r';
	case 't':
		return '\t';
	case 'b':
		return '\b';
	case 'a':
		return '\a';
	default:
		return c;
	}
}

/* Behind an opening quote, up to the closing one, which only a blank or the line's end may follow. False: it is not
 * there. *to: where the bytes go, advanced. */
static bool take_quoted(struct view *line, uint8_t quote, uint8_t **to)
{
	while (line->len > 0) {
		uint8_t c = view_take(line, 1).at[0];
		if (c == quote)
			return line->len == 0 || is_space(line->at[0]);
		if (c == '\\' && quote == '"' && line->len > 0)
			c = take_escape(line);
		else if (c == '\\' && quote == '\'' && line->len > 0 && line->at[0] == '\'')
			c = view_take(line, 1).at[0];
		*(*to)++ = c;
	}
	return false;
}

/* The next word of *line, which begins with it. */
static enum decode read_word(struct reader *r, struct view *line, struct buf *space, struct view *word)
{
	size_t len = 0;

	while (len < line->len && !ends_word(line->at[len]) && line->at[len] != '"' && line->at[len] != '\'')
		len++;
	/* Unquoting makes nothing longer: what is reserved for the first quote is enough for all others of the line. */
	uint8_t *to = len < line->len && !ends_word(line->at[len]) ? buf_reserve(space, line->len) : NULL;
	*word = view_take(line, len);
	if (line->len == 0 || ends_word(line->at[0]))
		return DECODE_OK;
	if (!to)
		return malformed(r, error_text(buf_error(space)));
	const uint8_t *from = to;
	if (len > 0)
		memcpy(to, word->at, len);
	to += len;
	if (!take_quoted(line, view_take(line, 1).at[0], &to))
		return malformed(r, unbalanced);
	*word = view_of(from, (size_t)(to - from));
	buf_commit(space, word->len);
	return DECODE_OK;
}

static enum decode read_words(struct reader *r, struct view line, const struct resp_limits *limits, struct buf *space,
			      struct resp_command *out)
{
	size_t room = limits->command_bytes;

	buf_clear(space);
	out->got = 0;
	for (;;) {
		while (line.len > 0 && is_space(line.at[0]))
			(void)view_take(&line, 1);
		if (line.len == 0)
			break;
		if (out->got == limits->args)
			return malformed(r, too_big_inline);
		struct view *word = next_arg(out);
		if (!word)
			return malformed(r, error_text(buf_error(&out->many)));
		enum decode answer = read_word(r, &line, space, word);
		if (answer != DECODE_OK)
			return answer;
		if (word->len > limits->bulk_bytes || word->len > room)
			return malformed(r, too_big_inline);
		room -= word->len;
		count_arg(out);
	}
	return is_whole(out);
}

static enum decode read_inline(struct reader *r, const struct resp_limits *limits, struct buf *space,
			       struct resp_command *out)
{
	size_t len = 0;
	enum decode answer = find_in_line(r, '\n', too_big_inline, &len);

	if (answer != DECODE_OK)
		return answer;
	r->at = len + 1;
	/* With its CR, if it has one, which ends a word as a blank does. */
	return read_words(r, view_of(r->in.at, len), limits, space, out);
}

enum decode resp_command_decode(struct view in, const struct resp_limits *limits, struct buf *space,
				struct resp_command *out, size_t *consumed, size_t *need, const char **reason)
{
	struct reader r = {.in = in};
	bool array = out->read > 0 || (in.len > 0 && in.at[0] == '*');
	enum decode answer = array ? read_array(&r, limits, out) : read_inline(&r, limits, space, out);

	if (LIKELY(answer == DECODE_OK))
		*consumed = r.at;
	else if (answer == DECODE_NEED_MORE)
		*need = r.need;
	else
		*reason = r.reason;
	return answer;
}
