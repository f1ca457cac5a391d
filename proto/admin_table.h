/* The commands of the admin socket and their options: what there is to ask. Part of proto/admin.h. Pure. */
#ifndef WEIR_PROTO_ADMIN_TABLE_H
#define WEIR_PROTO_ADMIN_TABLE_H

#include "base/buf.h"

enum admin_command_id {
	ADMIN_STATUS,
	ADMIN_HEALTH,
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
	ADMIN_PKI_LIST,
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

#endif
