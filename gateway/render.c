/* From JSON to text. Nothing is kept between two calls. */
#include "gateway/render.h"

enum {
	GAP = 2,        /* blanks between two columns */
	INDENT = 2,     /* of what is inside of an object in an object */
	DEPTH_MAX = 8,  /* deeper is not shown: nothing of weir's is */
	TABLE_MAX = 32, /* columns; more are not shown */
};

/* --- text --- */

/* The bytes of the character at the beginning of `v`, where it is one that a terminal shows; 0: it is not. */
static size_t printable_len(struct view v)
{
	uint8_t c = v.at[0];
	size_t len = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;

	if (len == 1)
		return c >= 0x20 && c != 0x7f;
	if (len == 0 || v.len < len)
		return 0;
	for (size_t i = 1; i < len; i++) {
		if ((v.at[i] & 0xc0) != 0x80)
			return 0;
	}
	uint8_t d = v.at[1];
	/* Second spellings, surrogates, beyond the last; then U+0080 to U+009F, which are control characters. */
	if ((c == 0xe0 && d < 0xa0) || (c == 0xed && d > 0x9f) || (c == 0xf0 && d < 0x90) || (c == 0xf4 && d > 0x8f))
		return 0;
	if (c == 0xc2 && d < 0xa0)
		return 0;
	/* Marks that turn the direction of what follows, or break the line: U+200E, F, U+2028 to E, U+2066 to 9. */
	if (c == 0xe2 && d == 0x80 && (v.at[2] == 0x8e || v.at[2] == 0x8f || (v.at[2] >= 0xa8 && v.at[2] <= 0xae)))
		return 0;
	if (c == 0xe2 && d == 0x81 && v.at[2] >= 0xa6 && v.at[2] <= 0xa9)
		return 0;
	return len;
}

static bool all_printable(struct view v)
{
	while (v.at && v.len > 0) {
		size_t len = printable_len(v);
		if (len == 0)
			return false;
		(void)view_take(&v, len);
	}
	return true;
}

static void put_escaped(struct buf *out, uint8_t byte)
{
	static const char hex[] = "0123456789abcdef";

	buf_put(out, view_of((char[]){'\\', 'x', hex[byte >> 4], hex[byte & 15]}, 4));
}

void render_text(struct buf *out, struct view text)
{
	if (all_printable(text)) {
		buf_put(out, text);
		return;
	}
	while (text.at && text.len > 0) {
		size_t len = printable_len(text);
		if (len == 0)
			put_escaped(out, view_take(&text, 1).at[0]);
		else if (text.at[0] == '\\')
			buf_put(out, (view_take(&text, 1), VIEW("\\\\")));
		else
			buf_put(out, view_take(&text, len));
	}
}

/* --- numbers --- */

/* A count with a unit; nothing for 0, unless it is all there is. */
static void put_units(struct buf *out, const uint64_t *counts, const char *const *units, size_t n)
{
	size_t first = 0;

	while (first + 1 < n && counts[first] == 0)
		first++;
	buf_put_u64(out, counts[first]);
	buf_put_str(out, units[first]);
	if (first + 1 < n && counts[first + 1] > 0) {
		buf_put_u8(out, ' ');
		buf_put_u64(out, counts[first + 1]);
		buf_put_str(out, units[first + 1]);
	}
}

void render_duration_us(struct buf *out, uint64_t us)
{
	static const char *const long_units[] = {"d", "h", "m", "s"};
	uint64_t s = us / 1000000;
	const uint64_t counts[] = {s / 86400, s / 3600 % 24, s / 60 % 60, s % 60};

	if (us < 1000) {
		buf_put_u64(out, us);
		buf_put_str(out, us == 0 ? "s" : "us");
	} else if (us < 1000000) {
		buf_put_u64(out, us / 1000);
		if (us < 10000 && us / 100 % 10 > 0) {
			buf_put_u8(out, '.');
			buf_put_u64(out, us / 100 % 10);
		}
		buf_put_str(out, "ms");
	} else if (s < 10 && us / 100000 % 10 > 0) {
		buf_put_u64(out, s);
		buf_put_u8(out, '.');
		buf_put_u64(out, us / 100000 % 10);
		buf_put_u8(out, 's');
	} else {
		put_units(out, counts, long_units, 4);
	}
}

/* The tenths are cut, not rounded: what is full is never shown before it is. */
void render_bytes(struct buf *out, uint64_t bytes)
{
	static const char *const units[] = {" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"};
	unsigned unit = 0;

	while (bytes >> unit * 10 >= 1024)
		unit++;
	uint64_t whole = bytes >> unit * 10, rest = bytes - (whole << unit * 10);
	uint64_t tenths = rest * 10 >> unit * 10;
	buf_put_u64(out, whole);
	if (whole < 100 && tenths > 0) {
		buf_put_u8(out, '.');
		buf_put_u64(out, tenths);
	}
	buf_put_str(out, units[unit]);
}

static void put_point(struct buf *out, int64_t at_s, struct wall_time now)
{
	if (at_s == now.s) {
		buf_put_str(out, "now");
	} else if (at_s < now.s) {
		render_duration_us(out, (uint64_t)(now.s - at_s) * 1000000);
		buf_put_str(out, " ago");
	} else {
		buf_put_str(out, "in ");
		render_duration_us(out, (uint64_t)(at_s - now.s) * 1000000);
	}
}

/* --- what a key says of its value --- */

enum meaning { PLAIN, POINT, SECONDS, MILLISECONDS, MICROSECONDS, SIZE, BASE64 };

/* ...and the part of it that is shown. */
static enum meaning meaning_of(struct view *key)
{
	static const struct {
		const char *end;
		enum meaning meaning;
	} ends[] = {
	    {"_at", POINT},  {"_ms", MILLISECONDS}, {"_us", MICROSECONDS},
	    {"_s", SECONDS}, {"_base64", BASE64},   {"_bytes", SIZE},
	};

	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
		struct view end = view_str(ends[i].end);
		if (view_ends(*key, end) && key->len > end.len) {
			key->len -= end.len;
			return ends[i].meaning;
		}
	}
	return view_ends(*key, VIEW("bytes")) ? SIZE : PLAIN;
}

static void put_key(struct buf *out, const char *key)
{
	struct view shown = view_str(key);

	(void)meaning_of(&shown);
	for (size_t i = 0; i < shown.len; i++)
		buf_put_u8(out, shown.at[i] == '_' ? ' ' : shown.at[i]);
}

static void put_number(struct buf *out, enum meaning meaning, json_int_t n, struct wall_time now)
{
	uint64_t size = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;

	if (meaning == POINT) {
		put_point(out, n, now);
		return;
	}
	if (n < 0)
		buf_put_u8(out, '-');
	if (meaning == SIZE)
		render_bytes(out, size);
	else if (meaning == SECONDS && size < UINT64_MAX / 1000000)
		render_duration_us(out, size * 1000000);
	else if (meaning == MILLISECONDS && size < UINT64_MAX / 1000)
		render_duration_us(out, size * 1000);
	else if (meaning == MICROSECONDS)
		render_duration_us(out, size);
	else
		buf_put_u64(out, size);
}

static unsigned sextet(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A' + 0u;
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26u;
	if (c >= '0' && c <= '9')
		return c - '0' + 52u;
	return c == '+' ? 62 : c == '/' ? 63 : 64;
}

static void put_base64(struct buf *out, struct view text)
{
	struct buf bytes = {.max_bytes = 0};
	uint32_t bits = 0;
	unsigned held = 0;

	for (size_t i = 0; i < text.len && sextet(text.at[i]) < 64; i++) {
		bits = bits << 6 | sextet(text.at[i]);
		held += 6;
		if (held >= 8) {
			held -= 8;
			buf_put_u8(&bytes, (uint8_t)(bits >> held));
		}
	}
	if (buf_error(&bytes))
		out->err = buf_error(&bytes);
	render_text(out, buf_view(&bytes));
	buf_fini(&bytes);
}

static void put_string(struct buf *out, enum meaning meaning, const json_t *value)
{
	struct view text = view_of(json_string_value(value), json_string_length(value));

	if (meaning == BASE64)
		put_base64(out, text);
	else
		render_text(out, text);
}

/* What is not known or does not apply; of the two that tell of a session's end, that there is none. */
static void put_null(struct buf *out, const char *key)
{
	bool endless = strcmp(key, "ttl_s") == 0 || strcmp(key, "expires_at") == 0;

	buf_put_str(out, endless ? "never" : "-");
}

static void put_list(struct buf *out, const json_t *array, struct wall_time now);

/* A value in one line. */
static void put_scalar(struct buf *out, const char *key, const json_t *value, struct wall_time now)
{
	struct view shown = view_str(key);
	enum meaning meaning = meaning_of(&shown);

	switch (json_typeof(value)) {
	case JSON_STRING:
		put_string(out, meaning, value);
		break;
	case JSON_INTEGER:
		put_number(out, meaning, json_integer_value(value), now);
		break;
	case JSON_TRUE:
		buf_put_str(out, "yes");
		break;
	case JSON_FALSE:
		buf_put_str(out, "no");
		break;
	case JSON_ARRAY:
		put_list(out, value, now);
		break;
	default:
		put_null(out, key);
	}
}

/* Several values in one line. */
static void put_list(struct buf *out, const json_t *array, struct wall_time now)
{
	for (size_t i = 0; i < json_array_size(array); i++) {
		const json_t *item = json_array_get(array, i);
		if (i > 0)
			buf_put_str(out, ", ");
		if (json_is_array(item))
			buf_put_u8(out, '-');
		else
			put_scalar(out, "", item, now);
	}
}

/* --- lines and tables --- */

/* Characters, taken to be one column each. */
static size_t width_of(struct view text)
{
	size_t width = 0;

	for (size_t i = 0; text.at && i < text.len; i++)
		width += (text.at[i] & 0xc0) != 0x80;
	return width;
}

static void put_blanks(struct buf *out, size_t n)
{
	for (size_t i = 0; i < n; i++)
		buf_put_u8(out, ' ');
}

struct column {
	const char *key; /* borrowed from the document */
	size_t width;
	bool right; /* numbers */
};

struct table {
	struct column columns[TABLE_MAX];
	size_t count;
	struct buf *cell; /* the text of one cell, to measure it */
	struct wall_time now;
};

static struct column *column_of(struct table *t, const char *key)
{
	for (size_t i = 0; i < t->count; i++) {
		if (strcmp(t->columns[i].key, key) == 0)
			return &t->columns[i];
	}
	if (t->count == TABLE_MAX)
		return NULL;
	buf_clear(t->cell);
	put_key(t->cell, key);
	t->columns[t->count] = (struct column){.key = key, .width = width_of(buf_view(t->cell)), .right = true};
	return &t->columns[t->count++];
}

static struct view cell_of(struct table *t, const char *key, const json_t *value)
{
	buf_clear(t->cell);
	if (value)
		put_scalar(t->cell, key, value, t->now);
	return buf_view(t->cell);
}

static void measure_row(struct table *t, const json_t *row)
{
	for (void *i = json_object_iter((json_t *)row); i; i = json_object_iter_next((json_t *)row, i)) {
		const json_t *value = json_object_iter_value(i);
		struct column *c = column_of(t, json_object_iter_key(i));
		if (!c)
			continue;
		size_t width = width_of(cell_of(t, c->key, value));
		c->width = width > c->width ? width : c->width;
		c->right = c->right && (json_is_integer(value) || json_is_null(value));
	}
}

/* The cell that was made last. No blanks behind the last column. */
static void put_cell(struct buf *out, struct table *t, size_t i)
{
	struct view text = buf_view(t->cell);
	size_t width = width_of(text), room = t->columns[i].width;
	size_t pad = room > width ? room - width : 0;

	if (i > 0)
		put_blanks(out, GAP);
	if (t->columns[i].right)
		put_blanks(out, pad);
	buf_put(out, text);
	if (!t->columns[i].right && i + 1 < t->count)
		put_blanks(out, pad);
}

static void put_upper(struct buf *out, const char *key)
{
	struct view shown = view_str(key);

	(void)meaning_of(&shown);
	for (size_t i = 0; i < shown.len; i++) {
		uint8_t c = shown.at[i] == '_' ? ' ' : shown.at[i];
		buf_put_u8(out, c >= 'a' && c <= 'z' ? (uint8_t)(c - ('a' - 'A')) : c);
	}
}

static void put_table(struct buf *out, const json_t *rows, struct wall_time now, size_t indent)
{
	struct buf cell = {.max_bytes = 0};
	struct table t = {.cell = &cell, .now = now};

	for (size_t i = 0; i < json_array_size(rows); i++)
		measure_row(&t, json_array_get(rows, i));
	put_blanks(out, indent);
	for (size_t i = 0; i < t.count; i++) {
		buf_clear(&cell);
		put_upper(&cell, t.columns[i].key);
		put_cell(out, &t, i);
	}
	buf_put_u8(out, '\n');
	for (size_t row = 0; row < json_array_size(rows); row++) {
		put_blanks(out, indent);
		for (size_t i = 0; i < t.count; i++) {
			const char *key = t.columns[i].key;
			(void)cell_of(&t, key, json_object_get(json_array_get(rows, row), key));
			put_cell(out, &t, i);
		}
		buf_put_u8(out, '\n');
	}
	if (buf_error(&cell))
		out->err = buf_error(&cell);
	buf_fini(&cell);
}

/* An array of objects is a table, even when it is empty; then there is no telling what its columns would be. */
static bool is_table(const json_t *value)
{
	return json_is_array(value) && (json_array_size(value) == 0 || json_is_object(json_array_get(value, 0)));
}

static size_t key_width(const json_t *object)
{
	size_t widest = 0;

	for (void *i = json_object_iter((json_t *)object); i; i = json_object_iter_next((json_t *)object, i)) {
		const json_t *value = json_object_iter_value(i);
		struct view key = view_str(json_object_iter_key(i));
		if (json_is_object(value) || is_table(value))
			continue;
		(void)meaning_of(&key);
		widest = width_of(key) > widest ? width_of(key) : widest;
	}
	return widest;
}

static void put_member(struct buf *out, const char *key, const json_t *value, size_t width, size_t indent,
		       struct wall_time now)
{
	struct view shown = view_str(key);

	(void)meaning_of(&shown);
	put_blanks(out, indent);
	put_key(out, key);
	put_blanks(out, width - width_of(shown) + GAP);
	put_scalar(out, key, value, now);
	buf_put_u8(out, '\n');
}

static void put_object(struct buf *out, const json_t *object, struct wall_time now, size_t indent);

/* What has lines of its own: an object within, or a table. */
static void put_part(struct buf *out, const char *key, const json_t *value, struct wall_time now, size_t indent)
{
	put_blanks(out, indent);
	put_key(out, key);
	if (json_is_array(value) && json_array_size(value) == 0) {
		buf_put_str(out, "  none\n");
		return;
	}
	buf_put_u8(out, '\n');
	if (json_is_object(value) && indent < DEPTH_MAX * INDENT)
		put_object(out, value, now, indent + INDENT);
	else if (json_is_array(value))
		put_table(out, value, now, indent + INDENT);
}

static void put_object(struct buf *out, const json_t *object, struct wall_time now, size_t indent)
{
	size_t width = key_width(object);

	for (void *i = json_object_iter((json_t *)object); i; i = json_object_iter_next((json_t *)object, i)) {
		const char *key = json_object_iter_key(i);
		const json_t *value = json_object_iter_value(i);
		if (json_is_object(value) || is_table(value))
			put_part(out, key, value, now, indent);
		else
			put_member(out, key, value, width, indent, now);
	}
}

/* An object with nothing but a table is that table. */
static const json_t *only_table(const json_t *document)
{
	void *first = json_is_object(document) ? json_object_iter((json_t *)document) : NULL;
	const json_t *value = first ? json_object_iter_value(first) : NULL;

	return json_object_size(document) == 1 && value && is_table(value) ? value : NULL;
}

void render(struct buf *out, const json_t *document, struct wall_time now)
{
	const json_t *table = is_table(document) ? document : only_table(document);

	if (table && json_array_size(table) == 0) {
		buf_put_str(out, "none\n");
	} else if (table) {
		put_table(out, table, now, 0);
	} else if (json_is_object(document)) {
		put_object(out, document, now, 0);
	} else {
		put_scalar(out, "", document, now);
		buf_put_u8(out, '\n');
	}
}
