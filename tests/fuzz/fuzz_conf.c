/* The configuration. Any text is either taken, with nothing said, or refused, with lines that a terminal can show and
 * that name the file; and it is the same the second time, because libconfuse's lexer keeps state between two readings.
 */
#include "tests/fuzz/fuzz.h"

#include "base/error.h"
#include "conf/conf.h"

static void expect_lines(struct view said)
{
	bool begins = true;

	EXPECT(said.at[said.len - 1] == '\n');
	for (size_t i = 0; i < said.len; i++) {
		uint8_t c = said.at[i];
		EXPECT(c == '\n' || (c >= 0x20 && c < 0x7f));
		EXPECT(!begins || view_starts(view_of(said.at + i, said.len - i), VIEW("file:")));
		begins = c == '\n';
	}
}

/* What everything behind the configuration relies on. */
static void expect_sound(const struct conf *c)
{
	EXPECT(c->workers >= 1);
	EXPECT(c->node != NULL);
	EXPECT(c->log_to != NULL);
	EXPECT(c->listen_count > 0);
	for (size_t i = 0; i < c->listen_count; i++)
		EXPECT(c->listens[i].address.text != NULL);
	for (size_t i = 0; i < c->app_count; i++) {
		const struct conf_app *a = &c->apps[i];
		EXPECT(a->backend_count > 0);
		EXPECT(a->session.cookie != NULL);
		EXPECT(a->session.cookie_path != NULL);
		EXPECT(a->session.ttl_ms >= 1000);
		for (size_t k = 0; k < a->backend_count; k++) {
			EXPECT(a->backends[k].address.text != NULL);
			EXPECT(a->backends[k].backoff_min_ms <= a->backends[k].backoff_max_ms);
		}
	}
}

static int load(struct view text, struct buf *said)
{
	struct conf *c = NULL;
	int err = conf_load_text("file", text, &c, said);

	EXPECT(err == 0 || err == ERR_CONFIG);
	EXPECT((err == 0) == (c != NULL));
	EXPECT((err == 0) == (buf_len(said) == 0));
	if (c)
		expect_sound(c);
	else
		expect_lines(buf_view(said));
	conf_free(&c);
	return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view text = copy_exact(view_of(data, size));
	struct buf once, again;

	buf_init(&once, 0);
	buf_init(&again, 0);
	int err = load(text, &once);
	EXPECT(load(text, &again) == err);
	EXPECT(view_eq(buf_view(&once), buf_view(&again)));
	buf_fini(&once);
	buf_fini(&again);
	free_exact(text);
	return 0;
}
