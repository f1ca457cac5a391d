/* The look at the text before libconfuse. Why it is there, beyond unknown options: libconfuse drops characters that it
 * cannot place, puts the environment into values, and counts a line too many after a comment of the C kind. Here all
 * that is either reported or taken out.
 *
 *   items := { NAME ("=" | "+=") value  |  NAME [title] "{" items "}" }
 *   value := string | "{" [ string { "," string } ] "}"
 *   title := string                       string := word | "..." | '...' */
#include "conf/scan.h"

#include "conf/options.h"

enum token_kind { TOKEN_END, TOKEN_WORD, TOKEN_STRING, TOKEN_MARK, TOKEN_BROKEN };

struct token {
	enum token_kind kind;
	char mark;       /* MARK: = + { } , where + is += */
	size_t from, to; /* in the text; of a string with its quotes */
	unsigned line;
};

struct scan {
	char *text; /* borrowed */
	size_t len, at;
	unsigned line;
	struct conf_report *report; /* borrowed */
	enum conf_scan result;
};

static void blank(struct scan *s, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++) {
		if (s->text[i] != '\n')
			s->text[i] = ' ';
	}
}

/* Nothing behind `end` will be read. */
static void stop(struct scan *s, size_t end, enum conf_scan result)
{
	s->text[end] = '\0';
	s->len = s->at = end;
	s->result = result;
}

/* --- tokens ---------------------------------------------------------------------------------------------------- */

static bool is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("-_.:/@%[]", c));
}

static bool looking_at(const struct scan *s, const char *what)
{
	return strncmp(s->text + s->at, what, strlen(what)) == 0;
}

static void skip_line_comment(struct scan *s)
{
	size_t end = s->at + strcspn(s->text + s->at, "\n");

	blank(s, s->at, end);
	s->at = end;
}

static bool skip_block_comment(struct scan *s)
{
	const char *close = strstr(s->text + s->at + 2, "*/");

	if (!close) {
		conf_report_add(s->report, s->line, "syntax", NULL, "the comment does not end");
		stop(s, s->at, CONF_SCAN_BROKEN);
		return false;
	}
	size_t end = (size_t)(close - s->text) + 2;
	for (size_t i = s->at; i < end; i++)
		s->line += s->text[i] == '\n';
	blank(s, s->at, end);
	s->at = end;
	return true;
}

/* A character that begins nothing: libconfuse would drop it without a word. */
static void refuse_character(struct scan *s)
{
	char shown[2] = {s->text[s->at], '\0'};

	conf_report_add(s->report, s->line, "syntax", shown, "must stand in quotes");
	blank(s, s->at, s->at + 1);
	s->at++;
}

/* To the next token; false where a comment has no end. */
static bool skip_blanks(struct scan *s)
{
	while (s->at < s->len) {
		char c = s->text[s->at];
		if (c == '\n') {
			s->line++;
			s->at++;
		} else if (c == ' ' || c == '\t') {
			s->at++;
		} else if (c == '\r') {
			blank(s, s->at, s->at + 1);
		} else if (c == '#' || looking_at(s, "//")) {
			skip_line_comment(s);
		} else if (looking_at(s, "/*")) {
			if (!skip_block_comment(s))
				return false;
		} else if (is_word(c) || strchr("={},\"'", c) || looking_at(s, "+=")) {
			return true;
		} else {
			refuse_character(s);
		}
	}
	return true;
}

static struct token broken_string(struct scan *s, struct token t, const char *why)
{
	conf_report_add(s->report, t.line, "syntax", NULL, why);
	stop(s, t.from, CONF_SCAN_BROKEN);
	t.kind = TOKEN_BROKEN;
	return t;
}

/* Escapes are for the quote and the backslash alone; a string ends on its line, so that a forgotten quote is found
 * where it is missing. */
static struct token next_string(struct scan *s, struct token t)
{
	char quote = s->text[s->at];

	for (s->at++; s->at < s->len && s->text[s->at] != '\n'; s->at++) {
		char c = s->text[s->at], then = s->text[s->at + 1];
		if (c == quote) {
			t.kind = TOKEN_STRING;
			t.to = ++s->at;
			return t;
		}
		if (c == '\\' && then != quote && then != '\\')
			return broken_string(s, t, "a backslash stands before a quote or a backslash only");
		if (c == '\\')
			s->at++;
		if (c == '$' && then == '{' && quote == '"')
			return broken_string(s, t,
					     "the environment is not put into values: write '${' in single quotes");
	}
	return broken_string(s, t, "the string does not end on its line");
}

static struct token next_word(struct scan *s, struct token t)
{
	t.kind = TOKEN_WORD;
	while (s->at < s->len && is_word(s->text[s->at])) {
		if (s->at > t.from && (looking_at(s, "//") || looking_at(s, "/*"))) {
			conf_report_add(s->report, t.line, "syntax", NULL, "// and /* must stand in quotes");
			stop(s, t.from, CONF_SCAN_BROKEN);
			t.kind = TOKEN_BROKEN;
			return t;
		}
		s->at++;
	}
	t.to = s->at;
	return t;
}

static struct token next(struct scan *s)
{
	struct token t = {.kind = TOKEN_BROKEN};

	if (!skip_blanks(s))
		return t;
	t = (struct token){.kind = TOKEN_END, .from = s->at, .to = s->at, .line = s->line};
	if (s->at == s->len)
		return t;
	char c = s->text[s->at];
	if (c == '"' || c == '\'')
		return next_string(s, t);
	if (is_word(c))
		return next_word(s, t);
	t.kind = TOKEN_MARK;
	t.mark = c;
	s->at += c == '+' ? 2 : 1;
	t.to = s->at;
	return t;
}

static bool is_mark(struct token t, char mark)
{
	return t.kind == TOKEN_MARK && t.mark == mark;
}

static bool is_string(struct token t)
{
	return t.kind == TOKEN_WORD || t.kind == TOKEN_STRING;
}

/* --- what stands behind a name --------------------------------------------------------------------------------- */

enum shape_kind { SHAPE_BROKEN, SHAPE_VALUE, SHAPE_LIST, SHAPE_SECTION };

struct shape {
	enum shape_kind kind;
	struct token shown; /* the value or the title; END: none */
	struct token last;  /* token read last: of a section its opening brace */
};

static struct shape next_list(struct scan *s, struct shape shape)
{
	struct token t = next(s);

	shape.shown = is_string(t) ? t : (struct token){.kind = TOKEN_END};
	while (is_string(t)) {
		t = next(s);
		if (is_mark(t, ','))
			t = next(s);
		else if (!is_mark(t, '}'))
			break;
	}
	shape.kind = is_mark(t, '}') ? SHAPE_LIST : SHAPE_BROKEN;
	shape.last = t;
	return shape;
}

static struct shape next_shape(struct scan *s)
{
	struct token t = next(s);
	struct shape shape = {.kind = SHAPE_BROKEN, .last = t};

	if (is_mark(t, '=') || is_mark(t, '+')) {
		shape.last = t = next(s);
		if (is_mark(t, '{'))
			return next_list(s, shape);
		if (is_string(t)) {
			shape.kind = SHAPE_VALUE;
			shape.shown = t;
		}
		return shape;
	}
	if (is_string(t)) {
		shape.shown = t;
		shape.last = t = next(s);
	}
	if (is_mark(t, '{'))
		shape.kind = SHAPE_SECTION;
	return shape;
}

/* To the brace that closes a section that is not looked into; false when there is none. */
static bool skip_section(struct scan *s)
{
	size_t depth = 1;

	while (depth > 0) {
		struct token t = next(s);
		if (t.kind == TOKEN_END || t.kind == TOKEN_BROKEN)
			return false;
		depth += is_mark(t, '{');
		depth -= is_mark(t, '}');
	}
	return true;
}

/* --- items ----------------------------------------------------------------------------------------------------- */

static struct view token_view(const struct scan *s, struct token t)
{
	return view_of(s->text + t.from, t.to - t.from);
}

/* SECTION.NAME: "VALUE": WHY, at the line of the name. */
static void report_item(struct scan *s, const char *section, struct token name, struct token shown, const char *why)
{
	struct buf full, value;

	buf_init(&full, 0);
	buf_init(&value, 0);
	conf_option_put_name(section, token_view(s, name), &full);
	buf_put_u8(&full, '\0');
	struct view v = token_view(s, shown);
	if (shown.kind == TOKEN_STRING)
		v = view_of(v.at + 1, v.len - 2);
	buf_put(&value, v);
	buf_put_u8(&value, '\0');
	if (buf_error(&full) || buf_error(&value))
		s->report->no_memory = true;
	else
		conf_report_add(s->report, name.line, (char *)full.data, is_string(shown) ? (char *)value.data : NULL,
				why);
	buf_fini(&full);
	buf_fini(&value);
}

static void report_unknown(struct scan *s, const char *section, struct token name, struct token shown)
{
	struct buf why;

	buf_init(&why, 0);
	buf_put_str(&why, "unknown; ");
	conf_option_put_known(section, &why);
	buf_put_u8(&why, '\0');
	if (buf_error(&why))
		s->report->no_memory = true;
	else
		report_item(s, section, name, shown, (char *)why.data);
	buf_fini(&why);
}

/* What is wrong with this shape behind a known name; NULL: nothing. */
static const char *misplaced(const struct conf_option *o, const struct shape *shape)
{
	bool section = shape->kind == SHAPE_SECTION;
	bool titled = shape->shown.kind != TOKEN_END;

	if (o->type == CONF_TYPE_LATER)
		return "not built yet in this version";
	if (o->type == CONF_TYPE_SECTION && !section)
		return "a section: its options stand in braces, without an equal sign";
	if (o->type == CONF_TYPE_SECTION && o->title && !titled)
		return "needs a title before the brace";
	if (o->type == CONF_TYPE_SECTION && !o->title && titled)
		return "has no title";
	if (o->type != CONF_TYPE_SECTION && section)
		return "an option: NAME = VALUE";
	if (o->type != CONF_TYPE_SECTION && shape->kind == SHAPE_LIST && !conf_option_is_list(o))
		return "takes one value, not a list";
	if (shape->kind == SHAPE_LIST && !titled)
		return "an empty list says nothing: leave it out";
	return NULL;
}

/* libconfuse notes the line of the brace: move it up to the name. Nothing but blanks is between the two. */
static void pull_brace(struct scan *s, struct token name, const struct shape *shape)
{
	size_t to = shape->shown.kind == TOKEN_END ? name.to : shape->shown.to;
	char there = s->text[to];

	s->text[to] = s->text[shape->last.from];
	if (to != shape->last.from)
		s->text[shape->last.from] = there;
}

static bool scan_items(struct scan *s, const char *section, unsigned line);

static bool scan_item(struct scan *s, const char *section, struct token name)
{
	const struct conf_option *o = conf_option_find(section, token_view(s, name));
	struct shape shape = next_shape(s);

	if (shape.last.kind == TOKEN_BROKEN)
		return false;
	if (shape.kind == SHAPE_BROKEN && o) {
		stop(s, shape.last.to, CONF_SCAN_CUT);
		return false;
	}
	const char *why = o ? misplaced(o, &shape) : NULL;
	if (o && !why) {
		if (shape.kind != SHAPE_SECTION)
			return true;
		pull_brace(s, name, &shape);
		return scan_items(s, o->opens, name.line);
	}
	if (o)
		report_item(s, section, name, shape.shown, why);
	else
		report_unknown(s, section, name, shape.shown);
	if (shape.kind == SHAPE_BROKEN || (shape.kind == SHAPE_SECTION && !skip_section(s))) {
		stop(s, name.from, CONF_SCAN_BROKEN);
		return false;
	}
	blank(s, name.from, s->at);
	return true;
}

/* To the end of the section that began at `line`, 0: the file; false when the scan is over. Sections nest as deep as
 * the table says, no deeper. */
static bool scan_items(struct scan *s, const char *section, unsigned line)
{
	bool top = line == 0;

	for (;;) {
		struct token t = next(s);
		if (t.kind == TOKEN_BROKEN)
			return false;
		if (is_mark(t, '}') && !top)
			return true;
		if (t.kind == TOKEN_END && !top) { /* libconfuse does not mind */
			conf_report_add(s->report, line, section, NULL, "the section is not closed");
			s->result = CONF_SCAN_BROKEN;
		}
		if (t.kind == TOKEN_END)
			return false;
		if (t.kind == TOKEN_STRING) { /* libconfuse would take it for a name */
			(void)broken_string(s, t, "a name stands without quotes");
			return false;
		}
		if (t.kind != TOKEN_WORD) {
			stop(s, t.to, CONF_SCAN_CUT);
			return false;
		}
		if (!scan_item(s, section, t))
			return false;
	}
}

enum conf_scan conf_scan(char *text, size_t len, struct conf_report *report)
{
	struct scan s = {.text = text, .len = len, .line = 1, .report = report, .result = CONF_SCAN_WHOLE};

	(void)scan_items(&s, "", 0);
	return s.result;
}
