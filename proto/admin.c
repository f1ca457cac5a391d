/* Lines of the admin socket: words with quotes, and the first line of a reply. Pure. */
#include "proto/admin.h"

static bool is_blank(uint8_t c)
{
	return c == ' ' || c == '\t';
}

static bool is_control(uint8_t c)
{
	return (c < 0x20 && c != '\t') || c == 0x7f;
}

/* --- reading words --- */

/* Where the reader is: between words, in one, or within its quotes. */
struct splitter {
	struct admin_words *out;
	char *to;
	bool in_word, quoted, escaped;
};

static const char *word_begin(struct splitter *s)
{
	if (s->in_word)
		return NULL;
	if (s->out->count == ADMIN_WORDS_MAX)
		return "too many words, at most 32 are good";
	s->in_word = true;
	s->out->at[s->out->count++] = s->to;
	return NULL;
}

static void word_end(struct splitter *s)
{
	if (s->in_word)
		*s->to++ = '\0';
	s->in_word = false;
}

static const char *split_byte(struct splitter *s, uint8_t c)
{
	if (is_control(c))
		return "a control character";
	if (is_blank(c) && !s->quoted && !s->escaped) {
		word_end(s);
		return NULL;
	}
	const char *why = word_begin(s);
	if (why)
		return why;
	if (s->escaped || (c != '\\' && c != '"')) {
		*s->to++ = (char)c;
		s->escaped = false;
	} else if (c == '\\') {
		s->escaped = true;
	} else {
		s->quoted = !s->quoted;
	}
	return NULL;
}

const char *admin_words_read(struct admin_words *out, struct view line)
{
	struct splitter s = {.out = out, .to = out->space};

	out->count = 0;
	/* A word and its end take no more room than they had in the line, and its end is one byte of that: the last
	 * word's end has the byte that space is larger by. */
	if (line.len >= ADMIN_LINE_MAX)
		return "too long, at most 4096 bytes are good";
	for (size_t i = 0; i < line.len; i++) {
		const char *why = split_byte(&s, line.at[i]);
		if (why)
			return why;
	}
	if (s.escaped)
		return "nothing behind the last backslash";
	if (s.quoted)
		return "a quote that is not closed";
	word_end(&s);
	return NULL;
}

bool admin_word_put(struct buf *out, const char *word)
{
	struct view v = view_str(word);
	bool quote = v.len == 0;

	for (size_t i = 0; i < v.len; i++) {
		if (is_control(v.at[i]))
			return false;
		quote = quote || is_blank(v.at[i]);
	}
	if (quote)
		buf_put_u8(out, '"');
	for (size_t i = 0; i < v.len; i++) {
		if (v.at[i] == '"' || v.at[i] == '\\')
			buf_put_u8(out, '\\');
		buf_put_u8(out, v.at[i]);
	}
	if (quote)
		buf_put_u8(out, '"');
	return true;
}

/* --- the first line of a reply --- */

const char *admin_code_text(enum admin_code code)
{
	static const char *const texts[ADMIN_CODES] = {
	    [ADMIN_OK] = "ok",
	    [ADMIN_UNKNOWN_COMMAND] = "unknown-command",
	    [ADMIN_BAD_LINE] = "bad-line",
	    [ADMIN_BAD_ARGUMENT] = "bad-argument",
	    [ADMIN_NOT_FOUND] = "not-found",
	    [ADMIN_BUSY] = "busy",
	    [ADMIN_REFUSED] = "refused",
	    [ADMIN_UNAVAILABLE] = "unavailable",
	    [ADMIN_FAILED] = "failed",
	    [ADMIN_TOO_MANY] = "too-many",
	    [ADMIN_TOO_LARGE] = "too-large",
	    [ADMIN_TIMEOUT] = "timeout",
	};

	return code < ADMIN_CODES ? texts[code] : texts[ADMIN_FAILED];
}

void admin_head_put(struct buf *out, enum admin_code code, uint64_t length, const char *next)
{
	if (code != ADMIN_OK)
		buf_put_str(out, "error ");
	buf_put_str(out, admin_code_text(code));
	buf_put_u8(out, ' ');
	buf_put_u64(out, length);
	if (next && *next) {
		buf_put_str(out, " next=");
		buf_put_str(out, next);
	}
	buf_put_u8(out, '\n');
}

static struct view next_word(struct view *line)
{
	size_t len = 0;

	while (len < line->len && line->at[len] != ' ')
		len++;
	struct view word = view_take(line, len);
	(void)view_take(line, 1);
	return word;
}

static enum admin_code code_of(struct view text)
{
	for (unsigned i = ADMIN_OK + 1; i < ADMIN_CODES; i++) {
		if (view_eq(text, view_str(admin_code_text((enum admin_code)i))))
			return (enum admin_code)i;
	}
	return ADMIN_FAILED;
}

bool admin_head_read(struct view line, struct admin_head *out)
{
	struct admin_head head = {.code = ADMIN_OK};
	struct view word = next_word(&line), prefix = VIEW("next=");

	if (view_eq(word, VIEW("error")))
		head.code = code_of(next_word(&line));
	else if (!view_eq(word, VIEW("ok")))
		return false;
	if (!view_to_u64(next_word(&line), UINT64_MAX, &head.length))
		return false;
	while (line.len > 0) {
		word = next_word(&line);
		if (!view_starts(word, prefix))
			continue;
		(void)view_take(&word, prefix.len);
		if (word.len >= sizeof head.next)
			return false;
		memcpy(head.next, word.at, word.len);
		head.next[word.len] = '\0';
	}
	*out = head;
	return true;
}
