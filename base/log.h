/* The log: one line an event, key=value, to stderr or a file. Thread-safe: each line is one write(2).
 *
 *   2026-01-31T12:00:00.123Z level=warn event=front_closed reason="bad version" listener=127.0.0.1:9001
 *
 * Rules: no session state, no whole session id, ever. Bytes from outside are passed as views and escaped: anything
 * but printable ASCII, and the quote and the backslash, becomes \xHH; values are cut at LOG_VALUE_MAX bytes.
 * A target that does not take a line at once (a pipe that nobody reads) loses it: nothing waits for the log. The next
 * line that can be written says how many were lost.
 * A storm of one event is bounded: at most LOG_BURST lines of one event a second, then one line with the number that
 * was left out. */
#ifndef WEIR_BASE_LOG_H
#define WEIR_BASE_LOG_H

#include "base/compiler.h"
#include "base/view.h"

#include <sys/types.h>

enum { LOG_VALUE_MAX = 1024, LOG_LINE_MAX = 4096, LOG_BURST = 200 };

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

struct log_field {
	const char *key;
	enum { LOG_FIELD_STR, LOG_FIELD_INT, LOG_FIELD_VIEW } kind;
	const char *str;
	int64_t number;
	struct view view;
};

#define LOG_S(k, v) ((struct log_field){.key = (k), .kind = LOG_FIELD_STR, .str = (v)})
#define LOG_I(k, v) ((struct log_field){.key = (k), .kind = LOG_FIELD_INT, .number = (int64_t)(v)})
#define LOG_V(k, v) ((struct log_field){.key = (k), .kind = LOG_FIELD_VIEW, .view = (v)})

/* log_event(LOG_WARN, "front_closed", LOG_S("reason", text), LOG_I("fd", 7)); */
#define log_event(level, event, ...)                                                                                   \
	do {                                                                                                           \
		if (log_wants(level))                                                                                  \
			log_write((level), (event), (struct log_field[]){__VA_ARGS__},                                 \
				  sizeof((struct log_field[]){__VA_ARGS__}) / sizeof(struct log_field));               \
	} while (0)

bool log_wants(enum log_level level);
void log_write(enum log_level level, const char *event, const struct log_field *fields, size_t count);

/* Level and target; path "stderr" or a file, which is created 0640 and appended to. 0 or ERR_SYSTEM. */
MUST_USE int log_open(enum log_level level, const char *path);
/* Gives the log's file to a user, who is to write and reopen it after privileges are dropped. ERR_SYSTEM with errno. */
MUST_USE int log_own(uid_t uid, gid_t gid);
MUST_USE int log_reopen(void); /* the same path again, after a rotation; on failure the old file stays */
void log_close(void);

/* "error", "warn", "info", "debug"; false for any other text. */
bool log_level_parse(const char *text, enum log_level *out);
const char *log_level_text(enum log_level level);

/* The level from now on, any thread; log_level_now() is it. */
void log_set_level(enum log_level level);
enum log_level log_level_now(void);

#endif
