/* The protocol of the admin socket (doc/admin-protocol.md), for both of its sides: the words of a line, what a line
 * asks for (proto/admin_table.h has the commands), the first line of a reply. Pure. */
#ifndef WEIR_PROTO_ADMIN_H
#define WEIR_PROTO_ADMIN_H

#include "proto/admin_table.h"

enum {
	ADMIN_LINE_MAX = 4096, /* bytes of a request, with the end of the line */
	ADMIN_WORDS_MAX = 32,
	ADMIN_CURSOR_MAX = 64, /* characters, with a NUL */
	ADMIN_HEAD_MAX = 256,  /* bytes of the first line of a reply */
};

/* --- the words of a line --- */

struct admin_words {
	size_t count;
	const char *at[ADMIN_WORDS_MAX]; /* into space */
	char space[ADMIN_LINE_MAX + 1];
};

/* `line` is without its end. NULL: *out is filled. Otherwise what is wrong with it. */
MUST_USE const char *admin_words_read(struct admin_words *out, struct view line);

/* Appends the word, quoted where it must be. False when no line can carry it. */
bool admin_word_put(struct buf *out, const char *word);

/* --- what is asked, and what came of it --- */

enum admin_code {
	ADMIN_OK,
	ADMIN_UNKNOWN_COMMAND,
	ADMIN_BAD_LINE,
	ADMIN_BAD_ARGUMENT,
	ADMIN_NOT_FOUND,
	ADMIN_BUSY,
	ADMIN_REFUSED,
	ADMIN_UNAVAILABLE,
	ADMIN_FAILED,
	ADMIN_TOO_MANY,
	ADMIN_TOO_LARGE,
	ADMIN_TIMEOUT,
	ADMIN_CODES
};
const char *admin_code_text(enum admin_code code); /* "not-found" */

struct admin_request {
	enum admin_command_id command;
	size_t argument_count;
	const char *arguments[ADMIN_WORDS_MAX]; /* borrowed from the words, as all of it */
	const char *options[ADMIN_OPTIONS];     /* NULL: not given; "" for one without a value */
};

/* ADMIN_OK, or ADMIN_UNKNOWN_COMMAND or ADMIN_BAD_ARGUMENT with one or two lines of text in `why`. There is a word at
 * least. out->options[ADMIN_JSON] is right in any case. */
MUST_USE enum admin_code admin_request_read(struct admin_request *out, const struct admin_words *words,
					    struct buf *why);

/* --- the first line of a reply --- */

struct admin_head {
	enum admin_code code;        /* ADMIN_FAILED also for one of a newer weir */
	uint64_t length;             /* bytes of the body */
	char next[ADMIN_CURSOR_MAX]; /* "": no further page */
};

/* Appends it, with its end. `next` may be NULL. */
void admin_head_put(struct buf *out, enum admin_code code, uint64_t length, const char *next);
/* `line` is without its end. False: not such a line. */
bool admin_head_read(struct view line, struct admin_head *out);

#endif
