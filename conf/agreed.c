/* The line of what nodes must agree on. Pure. */
#include "conf/agreed.h"

#include "base/invariant.h"
#include "base/siphash.h"
#include "conf/options.h"

/* Bytes of a value that are written; the longest that any option but cookie-path can have is shorter. */
enum { SHOWN_MAX = 256 };

/* It keeps nobody out: whoever may say a line to another node has that node's trust. */
static const struct siphash_key digest_key = {.k0 = UINT64_C(0x7765697220616772), .k1 = UINT64_C(0x6565642073657474)};

uint64_t conf_agreed_digest(struct view line)
{
	return siphash(digest_key, line);
}

static void put_hex(struct buf *out, uint64_t n, unsigned digits)
{
	static const char hex[] = "0123456789abcdef";

	while (digits-- > 0)
		buf_put_u8(out, (uint8_t)hex[n >> digits * 4 & 15]);
}

static void put_escaped(struct buf *out, struct view v)
{
	for (size_t i = 0; i < v.len; i++) {
		if (v.at[i] > ' ' && v.at[i] < 0x7f && v.at[i] != '%') {
			buf_put_u8(out, v.at[i]);
		} else {
			buf_put_u8(out, '%');
			put_hex(out, v.at[i], 2);
		}
	}
}

static void put_text(struct view text, struct buf *out)
{
	struct view rest = text;

	put_escaped(out, view_take(&rest, SHOWN_MAX));
	if (rest.len > 0) {
		buf_put_str(out, "...%%"); /* stands in no value */
		put_hex(out, siphash(digest_key, text), 16);
	}
}

static bool goes_with(const struct conf_option *o, enum conf_session_mode mode)
{
	if (o->with == CONF_WITH_MANAGED)
		return mode == CONF_SESSION_MANAGED;
	if (o->with == CONF_WITH_ADOPTED)
		return mode == CONF_SESSION_ADOPTED;
	/* Without sessions it is of no matter what they would be like. */
	return mode != CONF_SESSION_NONE || strcmp(o->name, "mode") == 0;
}

static void put_section(const char *section, const void *base, enum conf_session_mode mode, struct buf *out)
{
	for (size_t i = 0; i < conf_option_count; i++) {
		const struct conf_option *o = &conf_options[i];
		if (!o->agreed || strcmp(o->section, section) != 0 || !goes_with(o, mode))
			continue;
		const char *text = conf_option_text(o, base);
		buf_put_str(out, buf_len(out) > 0 ? " " : "");
		buf_put_str(out, o->name);
		buf_put_u8(out, '=');
		if (text)
			put_text(view_str(text), out);
		else
			conf_option_put_value(o, base, out);
	}
}

void conf_agreed_put(const struct conf_app *app, const struct conf_cluster *c, struct buf *out)
{
	enum conf_session_mode mode = app->session.mode;

	INVARIANT(buf_len(out) == 0);
	put_section("session", &app->session, mode, out);
	/* Of these all count, whatever the mode. */
	put_section("cluster", c, CONF_SESSION_MANAGED, out);
	INVARIANT(buf_error(out) || buf_len(out) <= CONF_AGREED_MAX);
}
