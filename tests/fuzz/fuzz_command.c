/* A line of the admin socket, and the same bytes as the head of a reply. Words that were read can be sent again and are
 * the same then; what is asked for lies within them; a complaint is one or two lines of plain text. */
#include "tests/fuzz/fuzz.h"

#include "proto/admin.h"

#include <stdio.h>

static bool plain(struct view text)
{
	for (size_t i = 0; i < text.len; i++) {
		if ((text.at[i] < 0x20 && text.at[i] != '\t' && text.at[i] != '\n') || text.at[i] == 0x7f)
			return false;
	}
	return true;
}

static void send_again(const struct admin_words *words)
{
	static struct admin_words again;
	struct buf line = {.max_bytes = 0};

	for (size_t i = 0; i < words->count; i++) {
		if (i > 0)
			buf_put_u8(&line, ' ');
		EXPECT(admin_word_put(&line, words->at[i]));
	}
	/* Quotes take room that a backslash may not have taken. */
	if (buf_len(&line) < ADMIN_LINE_MAX) {
		struct view exact = copy_exact(buf_view(&line));
		EXPECT(admin_words_read(&again, exact) == NULL);
		free_exact(exact);
		EXPECT(again.count == words->count);
		for (size_t i = 0; i < words->count; i++)
			EXPECT(strcmp(again.at[i], words->at[i]) == 0);
	}
	buf_fini(&line);
}

static bool within(const struct admin_words *words, const char *at)
{
	return !*at || (at >= words->space && at < words->space + sizeof words->space);
}

static void ask(const struct admin_words *words)
{
	struct admin_request r;
	struct buf why = {.max_bytes = 0};
	enum admin_code code = admin_request_read(&r, words, &why);
	struct view text = buf_view(&why);

	EXPECT(buf_error(&why) == 0);
	EXPECT((code == ADMIN_OK) == (text.len == 0));
	EXPECT(code == ADMIN_UNKNOWN_COMMAND || r.command < ADMIN_COMMANDS);
	EXPECT(text.len == 0 || text.at[text.len - 1] == '\n');
	EXPECT(plain(text));
	for (size_t i = 0; i < r.argument_count; i++)
		EXPECT(within(words, r.arguments[i]));
	for (unsigned i = 0; i < ADMIN_OPTIONS; i++)
		EXPECT(!r.options[i] || within(words, r.options[i]));
	if (code == ADMIN_OK && r.command == ADMIN_HELP)
		EXPECT(admin_command_find(r.arguments, r.argument_count) <= ADMIN_COMMANDS);
	buf_fini(&why);
}

static void read_head(struct view line)
{
	struct admin_head head, again;
	struct buf out = {.max_bytes = 0};

	if (!admin_head_read(line, &head))
		return;
	admin_head_put(&out, head.code, head.length, head.next);
	struct view text = buf_view(&out);
	text.len--;
	/* A cursor may hold anything but a blank; it is taken over byte by byte up to a NUL. */
	EXPECT(admin_head_read(text, &again));
	EXPECT(again.code == head.code);
	EXPECT(again.length == head.length);
	EXPECT(strcmp(again.next, head.next) == 0);
	buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct admin_words words;
	struct view line = copy_exact(view_of(data, size));

	if (!admin_words_read(&words, line)) {
		EXPECT(words.count <= ADMIN_WORDS_MAX);
		for (size_t i = 0; i < words.count; i++)
			EXPECT(plain(view_str(words.at[i])));
		send_again(&words);
		ask(&words);
	}
	read_head(line);
	free_exact(line);
	return 0;
}
