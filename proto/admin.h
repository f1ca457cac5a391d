/* The protocol of the admin socket (doc/admin-protocol.md), for both of its sides: the words of a line, the table of
 * commands, what a line asks for, the first line of a reply. Pure. */
#ifndef WEIR_PROTO_ADMIN_H
#define WEIR_PROTO_ADMIN_H

#include "base/buf.h"

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

/* --- what there is to ask --- */

enum admin_command_id {
	ADMIN_STATUS,
	ADMIN_APPS,
	ADMIN_APP_START,
	ADMIN_APP_STOP,
	ADMIN_BACKENDS,
	ADMIN_BACKEND_DRAIN,
	ADMIN_BACKEND_READY,
	ADMIN_SESSIONS,
	ADMIN_SESSION_SHOW,
	ADMIN_SESSION_END,
	ADMIN_SESSION_PIN,
	ADMIN_SESSION_UNPIN,
	ADMIN_SESSION_DEMOTE,
	ADMIN_SESSION_PROMOTE,
	ADMIN_CLUSTER_FORGET, /* before the one word that it begins with */
	ADMIN_CLUSTER_SHOW,
	ADMIN_VIEW,
	ADMIN_BUCKETS,
	ADMIN_LINKS,
	ADMIN_RELOAD,
	ADMIN_DRAIN,
	ADMIN_LOG_LEVEL,
	ADMIN_METRICS,
	ADMIN_PKI_INIT, /* weirctl does these itself; weir knows nothing of them */
	ADMIN_PKI_ISSUE,
	ADMIN_PKI_REVOKE,
	ADMIN_HELP,
	ADMIN_COMMANDS
};

enum admin_option_id {
	ADMIN_JSON,
	ADMIN_APP,
	ADMIN_IN,
	ADMIN_IS,
	ADMIN_OLDER,
	ADMIN_YOUNGER,
	ADMIN_LIMIT,
	ADMIN_CURSOR,
	ADMIN_ALL, /* weirctl asks for page after page; weir itself knows nothing of it */
	ADMIN_STATE,
	ADMIN_OPENMETRICS,
	ADMIN_CLUSTER,
	ADMIN_NAMES,
	ADMIN_DAYS,
	ADMIN_FORCE,
	ADMIN_OPTIONS
};

/* What --is takes: one of them, or several with commas between. */
#define ADMIN_IS_WORDS "busy, idle, waiting, pinned, fresh, unreadable"

struct admin_option {
	const char *name;  /* with the two dashes */
	const char *value; /* what it takes; NULL: nothing */
	const char *help;
};

struct admin_command {
	const char *name;      /* one word or two */
	const char *arguments; /* "[APP] NAME": what stands in brackets may be left out; "...": and more of it */
	uint32_t options;      /* bits, by enum admin_option_id; ADMIN_JSON goes with all */
	bool changes;          /* something: it is logged */
	const char *help;      /* one line */
	bool local;            /* weirctl's own, without a weir */
};

extern const struct admin_option admin_options[ADMIN_OPTIONS];
extern const struct admin_command admin_commands[ADMIN_COMMANDS];

/* Help on what the words name: a command, at length; those that begin with a word, such as "session", or all of them if
 * there is no word, one a line. The same as JSON, one array. False: they name nothing. */
MUST_USE bool admin_help_put(struct buf *out, const char *const *words, size_t count);
MUST_USE bool admin_help_put_json(struct buf *out, const char *const *words, size_t count);
/* The command of these words. ADMIN_COMMANDS: there is none. */
enum admin_command_id admin_command_find(const char *const *words, size_t count);

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
