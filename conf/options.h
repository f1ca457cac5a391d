/* The table of all options: what exists, its default, what is allowed and what it means. Everything else in conf/ is
 * derived from it: what libconfuse accepts, the checks, the error texts, the help and the check of the man page. */
#ifndef WEIR_CONF_OPTIONS_H
#define WEIR_CONF_OPTIONS_H

#include "conf/conf.h"

enum conf_type {
	CONF_TYPE_NUMBER, /* uint32_t; min..max */
	CONF_TYPE_MODE,   /* uint32_t */
	CONF_TYPE_BOOL,   /* bool */
	CONF_TYPE_TIME,   /* uint64_t, milliseconds; min..max */
	CONF_TYPE_SIZE,   /* uint64_t, bytes; min..max */
	CONF_TYPE_WORD,   /* an enum: the place in `words` */
	CONF_TYPE_TOKEN,  /* the rest up to the lists: char *, owned, NULL without a default */
	CONF_TYPE_FILE,
	CONF_TYPE_SOCKET,
	CONF_TYPE_LOG,
	CONF_TYPE_NAME,
	CONF_TYPE_URL,
	CONF_TYPE_URL_PATH,
	CONF_TYPE_PLAIN_PATH,
	CONF_TYPE_DOMAIN,
	CONF_TYPE_KEY,
	CONF_TYPE_PASSWORD,
	CONF_TYPE_USER,
	CONF_TYPE_GROUP,
	CONF_TYPE_ADDRESS,  /* struct conf_address, none to spawn */
	CONF_TYPE_TCP,      /* struct conf_address, TCP */
	CONF_TYPE_PEERS,    /* struct conf_addresses, TCP */
	CONF_TYPE_MATCHES,  /* struct conf_patterns, of hosts and paths */
	CONF_TYPE_PATHS,    /* struct conf_patterns, of paths */
	CONF_TYPE_NETWORKS, /* struct conf_networks */
	CONF_TYPE_SECTION,  /* no field */
	CONF_TYPE_LATER     /* known and refused: not built yet */
};

/* Only for addresses of one kind. */
enum conf_only { CONF_ONLY_ANY, CONF_ONLY_UNIX, CONF_ONLY_SPAWN };

/* Only with one mode of the section session. */
enum conf_with { CONF_WITH_ANY, CONF_WITH_MANAGED, CONF_WITH_ADOPTED };

enum { CONF_WORDS_MAX = 8, CONF_KEY_MAX = 128, CONF_PASSWORD_MAX = 128 };

struct conf_option {
	const char *section; /* the section that it stands in; "": the file */
	const char *name;
	enum conf_type type;
	const char *preset;      /* the default, as it would be written, of a list without braces; NULL: none */
	const char *preset_note; /* what happens without a default; NULL: nothing */
	bool required;           /* wherever its section stands, with the mode that it is for */
	uint64_t min, max;
	const char *words[CONF_WORDS_MAX]; /* WORD: in the order of the enum */
	enum conf_only only;
	enum conf_with with;
	bool agreed;       /* must be alike on all nodes of a cluster (conf/agreed.h) */
	size_t offset;     /* of the field in the struct that its section fills */
	const char *opens; /* SECTION: what the options inside call their section */
	const char *title; /* SECTION: what stands behind its name; NULL: nothing */
	bool many;         /* SECTION: may stand more than once */
	const char *help;
};

extern const struct conf_option conf_options[];
extern const size_t conf_option_count;

/* NULL when there is none. */
const struct conf_option *conf_option_find(const char *section, struct view name);

/* Whether it takes one value or a list of them, rather than being a section. */
bool conf_option_has_value(const struct conf_option *o);
bool conf_option_is_list(const struct conf_option *o);

/* Its value in `base`, the struct that its section fills: of a number, time, size, word, or yes and no as it would be
 * written, in one spelling only; of the texts the text, of others NULL. */
const char *conf_option_text(const struct conf_option *o, const void *base);
void conf_option_put_value(const struct conf_option *o, const void *base, struct buf *out);

/* How a value of it stands in an error: NULL for what is nobody's business. */
const char *conf_option_shown(const struct conf_option *o, const char *text);

/* "a time from 1s to 3650d". */
void conf_option_put_allowed(const struct conf_option *o, struct buf *out);

/* "missing: a time from 1s to 3650d". */
void conf_option_put_missing(const struct conf_option *o, struct buf *out);

/* "session.ttl"; for a section of the file itself "session". */
void conf_option_put_name(const char *section, struct view name, struct buf *out);

/* Tells in `out` of a section's options: "known here: ttl, max-size". */
void conf_option_put_known(const char *section, struct buf *out);

#endif
