/* The commands of the admin socket: one row a command. Help, errors of usage, and weirctl's own checks come from it. To
 * add one: a row here, an id in proto/admin.h, a function in gateway/command.c, a paragraph in doc/weirctl.8. Pure. */
#include "proto/admin.h"

#define BIT(option) (UINT32_C(1) << (option))

/* No quote and no backslash in these texts: they go into JSON as they are. */
const struct admin_option admin_options[ADMIN_OPTIONS] = {
    [ADMIN_JSON] = {"--json", NULL, "answer in JSON"},
    [ADMIN_APP] = {"--app", "APP", "only sessions of this app"},
    [ADMIN_IN] = {"--in", "memory|disk", "only sessions that are there"},
    [ADMIN_IS] = {"--is", "STATE", "only sessions that are all of these: " ADMIN_IS_WORDS},
    [ADMIN_OLDER] = {"--older", "TIME", "only sessions unused for this long, such as 90s, 30m or 2d"},
    [ADMIN_YOUNGER] = {"--younger", "TIME", "only sessions used within this time"},
    [ADMIN_LIMIT] = {"--limit", "NUMBER", "how many at most, 1 to 1000; otherwise 100"},
    [ADMIN_CURSOR] = {"--cursor", "CURSOR", "go on where a page ended"},
    [ADMIN_ALL] = {"--all", NULL, "all pages, one after the other (of weirctl)"},
    [ADMIN_STATE] = {"--state", NULL, "show its state too, which may hold secrets"},
    [ADMIN_CLUSTER] = {"--cluster", "NAME", "the cluster's name, which stands in every certificate"},
    [ADMIN_NAMES] = {"--names", "LIST", "more names of its host: DNS names, IP addresses, commas between"},
    [ADMIN_DAYS] = {"--days", "NUMBER",
		    "how long it is good for, 1 to 36500; otherwise 3650 (pki init), 365 (pki issue)"},
    [ADMIN_FORCE] = {"--force", NULL, "also where there is one already"},
    [ADMIN_OPENMETRICS] = {"--openmetrics", NULL, "in the OpenMetrics format instead"},
};

enum {
	OF_SESSIONS = BIT(ADMIN_APP) | BIT(ADMIN_IN) | BIT(ADMIN_IS) | BIT(ADMIN_OLDER) | BIT(ADMIN_YOUNGER) |
		      BIT(ADMIN_LIMIT) | BIT(ADMIN_CURSOR) | BIT(ADMIN_ALL)
};

const struct admin_command admin_commands[ADMIN_COMMANDS] = {
    [ADMIN_STATUS] = {"status", "", 0, false, "how weir does: requests, sessions, stores", false},
    [ADMIN_HEALTH] = {"health", "", 0, false, "whether clients should be sent here; fails where not", false},
    [ADMIN_APPS] = {"apps", "", 0, false, "the apps, and how many requests wait", false},
    [ADMIN_APP_START] = {"app start", "APP", 0, true, "let the app have requests again", false},
    [ADMIN_APP_STOP] = {"app stop", "APP", 0, true, "give the app no requests (503), and demote its sessions", false},
    [ADMIN_BACKENDS] = {"backends", "", 0, false, "the backends, and how they do", false},
    [ADMIN_BACKEND_DRAIN] = {"backend drain", "[APP] NAME", 0, true, "give the backend no new requests", false},
    [ADMIN_BACKEND_READY] = {"backend ready", "[APP] NAME", 0, true, "let the backend have requests again", false},
    [ADMIN_SESSIONS] = {"sessions", "", OF_SESSIONS, false, "a page of sessions", false},
    [ADMIN_SESSION_SHOW] = {"session show", "ID", BIT(ADMIN_STATE), false, "one session", false},
    [ADMIN_SESSION_END] = {"session end", "ID", 0, true, "end the session at once", false},
    [ADMIN_SESSION_PIN] = {"session pin", "ID", 0, true, "bring the session to memory and keep it there", false},
    [ADMIN_SESSION_UNPIN] = {"session unpin", "ID", 0, true, "let the session leave memory again", false},
    [ADMIN_SESSION_DEMOTE] = {"session demote", "ID", 0, true, "move the session to disk", false},
    [ADMIN_SESSION_PROMOTE] = {"session promote", "ID", 0, true, "bring the session to memory", false},
    [ADMIN_CLUSTER_FORGET] = {"cluster forget", "NAME", 0, true, "take a node and its vote out of the cluster", false},
    [ADMIN_CLUSTER_SHOW] = {"cluster", "", 0, false, "the cluster as this node sees it: members, votes, buckets",
			    false},
    [ADMIN_VIEW] = {"view", "", 0, false, "the view that this node goes by", false},
    [ADMIN_BUCKETS] = {"buckets", "[APP]", 0, false, "who manages how many buckets of the apps, or which of one",
		       false},
    [ADMIN_LINKS] = {"links", "", 0, false, "the connections to other nodes", false},
    [ADMIN_RELOAD] = {"reload", "", 0, true, "read the configuration again", false},
    [ADMIN_DRAIN] = {"drain", "", 0, true, "end in good order, as the signal TERM does", false},
    [ADMIN_LOG_LEVEL] = {"log-level", "[LEVEL]", 0, true, "show the log level, or set it: error, warn, info, debug",
			 false},
    [ADMIN_METRICS] = {"metrics", "", BIT(ADMIN_OPENMETRICS), false, "all figures, in the text format of Prometheus",
		       false},
    [ADMIN_PKI_INIT] = {"pki init", "DIR", BIT(ADMIN_CLUSTER) | BIT(ADMIN_DAYS), true,
			"make a cluster's authority in a new folder (of weirctl)", true},
    [ADMIN_PKI_ISSUE] = {"pki issue", "DIR NODE", BIT(ADMIN_NAMES) | BIT(ADMIN_DAYS) | BIT(ADMIN_FORCE), true,
			 "make a node's key and certificate (of weirctl)", true},
    [ADMIN_PKI_LIST] = {"pki list", "DIR", 0, false, "what an authority has issued (of weirctl)", true},
    [ADMIN_PKI_REVOKE] = {"pki revoke", "DIR NODE", 0, true,
			  "put a node's certificates on the revocation list (of weirctl)", true},
    [ADMIN_HELP] = {"help", "[COMMAND] ...", 0, false, "the commands, or one of them", false},
};

/* --- the arguments of a row --- */

/* The next word of `rest`; len 0 at the end. */
static struct view spec_next(struct view *rest)
{
	size_t len = 0;

	while (rest->len > 0 && rest->at[0] == ' ')
		(void)view_take(rest, 1);
	while (len < rest->len && rest->at[len] != ' ')
		len++;
	return view_take(rest, len);
}

static bool spec_optional(struct view word)
{
	return word.at[0] == '[' || view_eq(word, VIEW("..."));
}

/* The first that must be there and is not; len 0: none. */
static struct view spec_missing(const struct admin_command *c, size_t given)
{
	struct view rest = view_str(c->arguments), word;

	while ((word = spec_next(&rest)).len > 0) {
		if (spec_optional(word))
			continue;
		if (given == 0)
			return word;
		given--;
	}
	return word;
}

static size_t spec_max(const struct admin_command *c)
{
	struct view rest = view_str(c->arguments), word;
	size_t n = 0;

	while ((word = spec_next(&rest)).len > 0) {
		if (view_eq(word, VIEW("...")))
			return ADMIN_WORDS_MAX;
		n++;
	}
	return n;
}

static bool takes(const struct admin_command *c, unsigned option)
{
	return option == ADMIN_JSON || (c->options & BIT(option));
}

/* --- finding a command --- */

/* Whether the name begins with this word, as its first of two. */
static bool in_group(const struct admin_command *c, struct view word)
{
	struct view name = view_str(c->name);

	return view_starts(name, word) && name.len > word.len && name.at[word.len] == ' ';
}

/* A blank in a word of the line is none in a name. */
static bool is_named(const struct admin_command *c, const char *const *words, size_t count)
{
	struct view name = view_str(c->name), first = view_str(words[0]);

	if (!strchr(c->name, ' '))
		return view_eq(name, first);
	if (count < 2 || strchr(words[0], ' ') || !in_group(c, first))
		return false;
	(void)view_take(&name, first.len + 1);
	return view_eq(name, view_str(words[1]));
}

enum admin_command_id admin_command_find(const char *const *words, size_t count)
{
	for (unsigned i = 0; count > 0 && i < ADMIN_COMMANDS; i++) {
		if (is_named(&admin_commands[i], words, count))
			return (enum admin_command_id)i;
	}
	return ADMIN_COMMANDS;
}

/* --- texts --- */

static void put_pad(struct buf *out, size_t from, size_t to)
{
	for (; from < to; from++)
		buf_put_u8(out, ' ');
}

/* The command as it is typed: name and arguments. */
static size_t put_call(struct buf *out, const struct admin_command *c)
{
	size_t before = buf_len(out);

	buf_put_str(out, c->name);
	if (*c->arguments) {
		buf_put_u8(out, ' ');
		buf_put_str(out, c->arguments);
	}
	return buf_len(out) - before;
}

static size_t put_option(struct buf *out, const struct admin_option *o)
{
	size_t before = buf_len(out);

	buf_put_str(out, o->name);
	if (o->value) {
		buf_put_u8(out, ' ');
		buf_put_str(out, o->value);
	}
	return buf_len(out) - before;
}

static void put_usage(struct buf *out, const struct admin_command *c)
{
	buf_put_str(out, "usage: ");
	(void)put_call(out, c);
	/* What goes with all comes last. */
	for (unsigned i = 1; i <= ADMIN_OPTIONS; i++) {
		if (!takes(c, i % ADMIN_OPTIONS))
			continue;
		buf_put_str(out, " [");
		(void)put_option(out, &admin_options[i % ADMIN_OPTIONS]);
		buf_put_u8(out, ']');
	}
	buf_put_u8(out, '\n');
}

enum { CALL_WIDTH = 26 };

static void put_line(struct buf *out, const struct admin_command *c)
{
	put_pad(out, put_call(out, c), CALL_WIDTH);
	buf_put_str(out, c->help);
	buf_put_u8(out, '\n');
}

static void put_at_length(struct buf *out, const struct admin_command *c)
{
	put_usage(out, c);
	buf_put_str(out, "\n");
	put_line(out, c);
	for (unsigned i = 0; i < ADMIN_OPTIONS; i++) {
		if (!takes(c, i))
			continue;
		put_pad(out, 0, 2);
		put_pad(out, put_option(out, &admin_options[i]) + 2, CALL_WIDTH);
		buf_put_str(out, admin_options[i].help);
		buf_put_u8(out, '\n');
	}
}

static bool is_meant(const struct admin_command *c, const char *const *words, size_t count)
{
	return count == 0 || is_named(c, words, count) || (count == 1 && in_group(c, view_str(words[0])));
}

bool admin_help_put(struct buf *out, const char *const *words, size_t count)
{
	enum admin_command_id id = admin_command_find(words, count);
	bool some = id != ADMIN_COMMANDS;

	if (some)
		put_at_length(out, &admin_commands[id]);
	for (unsigned i = 0; some && count == 1 && i < ADMIN_COMMANDS; i++) {
		if (in_group(&admin_commands[i], view_str(words[0])))
			put_line(out, &admin_commands[i]);
	}
	for (unsigned i = 0; id == ADMIN_COMMANDS && i < ADMIN_COMMANDS; i++) {
		if (!is_meant(&admin_commands[i], words, count))
			continue;
		put_line(out, &admin_commands[i]);
		some = true;
	}
	return some;
}

static void put_json(struct buf *out, const char *before, const char *text)
{
	buf_put_str(out, before);
	buf_put_u8(out, '"');
	buf_put_str(out, text);
	buf_put_u8(out, '"');
}

static void put_command_json(struct buf *out, const struct admin_command *c)
{
	const char *before = "[";

	put_json(out, "{\"command\":", c->name);
	put_json(out, ",\"arguments\":", c->arguments);
	buf_put_str(out, ",\"options\":");
	for (unsigned k = 0; k < ADMIN_OPTIONS; k++) {
		if (takes(c, k)) {
			put_json(out, before, admin_options[k].name);
			before = ",";
		}
	}
	buf_put_str(out, c->changes ? "],\"changes\":true" : "],\"changes\":false");
	put_json(out, ",\"help\":", c->help);
	buf_put_u8(out, '}');
}

bool admin_help_put_json(struct buf *out, const char *const *words, size_t count)
{
	const char *before = "[";

	for (unsigned i = 0; i < ADMIN_COMMANDS; i++) {
		if (!is_meant(&admin_commands[i], words, count))
			continue;
		buf_put_str(out, before);
		put_command_json(out, &admin_commands[i]);
		before = ",";
	}
	if (*before == '[')
		return false;
	buf_put_str(out, "]\n");
	return true;
}

/* --- a request --- */

enum { SHOWN_MAX = 64 }; /* bytes of a word of the request in an answer */

static void put_shown(struct buf *out, struct view word)
{
	buf_put(out, view_take(&word, SHOWN_MAX));
	if (word.len > 0)
		buf_put_str(out, "...");
}

/* Plain words and options, apart; what is wrong with the options is told only when the command is known. */
struct sorter {
	struct admin_request *out;
	const char *plain[ADMIN_WORDS_MAX];
	size_t plain_count;
	struct view wrong; /* the option at fault */
	const char *why;   /* NULL: none is */
};

static void option_wrong(struct sorter *s, struct view word, const char *why)
{
	if (s->why)
		return;
	s->wrong = word;
	s->why = why;
}

/* `word` begins with two dashes. True when it takes the next word. */
static bool sort_option(struct sorter *s, const char *word, const char *next)
{
	struct view name = view_str(word);
	const char *equals = strchr(word, '=');
	unsigned i = 0;

	if (equals)
		name.len = (size_t)(equals - word);
	while (i < ADMIN_OPTIONS && !view_eq(name, view_str(admin_options[i].name)))
		i++;
	if (i == ADMIN_OPTIONS) {
		option_wrong(s, name, "is no option of it");
		return false;
	}
	const char *value = equals ? equals + 1 : next;
	if (s->out->options[i] && admin_options[i].value)
		option_wrong(s, name, "is there twice");
	else if (admin_options[i].value && !value)
		option_wrong(s, name, "needs a value");
	else if (!admin_options[i].value && equals)
		option_wrong(s, name, "takes no value");
	s->out->options[i] = admin_options[i].value && value ? value : "";
	return admin_options[i].value && !equals && next;
}

static void sort_words(struct sorter *s, const struct admin_words *words)
{
	bool plain = false;

	for (size_t i = 0; i < words->count; i++) {
		const char *word = words->at[i];

		if (plain || !view_starts(view_str(word), VIEW("--")))
			s->plain[s->plain_count++] = word;
		else if (word[2] == '\0')
			plain = true;
		else if (sort_option(s, word, i + 1 < words->count ? words->at[i + 1] : NULL))
			i++;
	}
}

/* Whether there are two words, the first of which a command begins with. */
static bool half_known(const struct sorter *s)
{
	bool known = false;

	for (unsigned i = 0; i < ADMIN_COMMANDS; i++)
		known = known || in_group(&admin_commands[i], view_str(s->plain[0]));
	return known && s->plain_count > 1;
}

static enum admin_code unknown_command(const struct sorter *s, struct buf *why)
{
	const char *before = "; there are: ";

	if (s->plain_count == 0) {
		buf_put_str(why, "there are only options and no command; help shows the commands\n");
		return ADMIN_UNKNOWN_COMMAND;
	}
	buf_put_str(why, "unknown command \"");
	put_shown(why, view_str(s->plain[0]));
	if (half_known(s)) {
		buf_put_u8(why, ' ');
		put_shown(why, view_str(s->plain[1]));
	}
	buf_put_u8(why, '"');
	for (unsigned i = 0; i < ADMIN_COMMANDS; i++) {
		if (in_group(&admin_commands[i], view_str(s->plain[0]))) {
			buf_put_str(why, before);
			buf_put_str(why, admin_commands[i].name);
			before = ", ";
		}
	}
	buf_put_str(why, *before == ';' ? "; help shows the commands\n" : "\n");
	return ADMIN_UNKNOWN_COMMAND;
}

static enum admin_code wrong_usage(const struct admin_command *c, struct view word, const char *what, struct buf *why)
{
	buf_put_str(why, c->name);
	buf_put_str(why, ": \"");
	put_shown(why, word);
	buf_put_str(why, "\" ");
	buf_put_str(why, what);
	buf_put_u8(why, '\n');
	put_usage(why, c);
	return ADMIN_BAD_ARGUMENT;
}

static enum admin_code check_usage(struct sorter *s, const struct admin_command *c, struct buf *why)
{
	for (unsigned i = 0; i < ADMIN_OPTIONS; i++) {
		if (s->out->options[i] && !takes(c, i))
			option_wrong(s, view_str(admin_options[i].name), "is no option of it");
	}
	if (s->why)
		return wrong_usage(c, s->wrong, s->why, why);
	struct view missing = spec_missing(c, s->out->argument_count);
	if (missing.len > 0)
		return wrong_usage(c, missing, "is missing", why);
	size_t max = spec_max(c);
	if (s->out->argument_count > max)
		return wrong_usage(c, view_str(s->out->arguments[max]), "is too much", why);
	return ADMIN_OK;
}

enum admin_code admin_request_read(struct admin_request *out, const struct admin_words *words, struct buf *why)
{
	struct sorter s = {.out = out};

	memset(out, 0, sizeof *out);
	out->command = ADMIN_COMMANDS;
	sort_words(&s, words);
	out->command = admin_command_find(s.plain, s.plain_count);
	if (out->command == ADMIN_COMMANDS)
		return unknown_command(&s, why);
	const struct admin_command *c = &admin_commands[out->command];
	size_t own = strchr(c->name, ' ') ? 2 : 1;
	out->argument_count = s.plain_count - own;
	memcpy(out->arguments, s.plain + own, out->argument_count * sizeof *s.plain);
	return check_usage(&s, c, why);
}
