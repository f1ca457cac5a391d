/* Values of the configuration. Depends on malloc and on the C library's address parser; asks the system nothing. */
#include "conf/parse.h"

#include "base/error.h"
#include "base/name.h"

#include <arpa/inet.h>
#include <stdlib.h>

enum { TOKEN_MAX_BYTES = 64, HOST_MAX_BYTES = 253 };

struct unit {
	const char *name;
	uint64_t factor;
};

static bool parse_with_unit(const char *text, const struct unit *units, size_t count, uint64_t *out)
{
	size_t digits = strspn(text, "0123456789");
	uint64_t n;

	if (!view_to_u64(view_of(text, digits), UINT64_MAX, &n))
		return false;
	for (size_t i = 0; i < count; i++) {
		if (strcmp(text + digits, units[i].name) != 0)
			continue;
		if (n > UINT64_MAX / units[i].factor)
			return false;
		*out = n * units[i].factor;
		return true;
	}
	return false;
}

bool conf_parse_time(const char *text, uint64_t *ms)
{
	static const struct unit units[] = {
	    {"ms", 1}, {"s", 1000}, {"m", UINT64_C(60000)}, {"h", UINT64_C(3600000)}, {"d", UINT64_C(86400000)},
	};

	if (strcmp(text, "0") == 0) {
		*ms = 0;
		return true;
	}
	return parse_with_unit(text, units, sizeof units / sizeof *units, ms);
}

bool conf_parse_size(const char *text, uint64_t *bytes)
{
	static const struct unit units[] = {{"", 1}, {"k", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}};

	return parse_with_unit(text, units, sizeof units / sizeof *units, bytes);
}

bool conf_parse_number(const char *text, uint64_t *out)
{
	return view_to_u64(view_str(text), UINT64_MAX, out);
}

bool conf_parse_mode(const char *text, uint32_t *out)
{
	uint32_t mode = 0;
	size_t len = strlen(text);

	if (len < 3 || len > 4 || strspn(text, "01234567") != len)
		return false;
	for (const char *c = text; *c; c++)
		mode = mode * 8 + (uint32_t)(*c - '0');
	if (mode > 0777)
		return false;
	*out = mode;
	return true;
}

bool conf_parse_bool(const char *text, bool *out)
{
	static const char *const words[] = {"no", "yes", "false", "true", "off", "on"};

	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		if (strcmp(text, words[i]) == 0) {
			*out = i % 2 == 1;
			return true;
		}
	}
	return false;
}

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

static bool only(const char *text, const char *allowed, size_t max_bytes)
{
	size_t len = strspn(text, allowed);

	return len > 0 && len <= max_bytes && text[len] == '\0';
}

bool conf_is_token(const char *text)
{
	return only(text, LETTERS DIGITS "!#$%&'*+-.^_`|~", TOKEN_MAX_BYTES);
}

bool conf_is_name(const char *text)
{
	return name_is_good(view_str(text));
}

bool conf_is_host(const char *text)
{
	return only(text, LETTERS DIGITS "-_.", HOST_MAX_BYTES) && text[0] != '.';
}

bool conf_is_path(const char *text)
{
	if (text[0] != '/')
		return false;
	for (const char *c = text; *c; c++) {
		if ((unsigned char)*c <= ' ' || *c == 0x7f || strchr("?#;", *c))
			return false;
	}
	return true;
}

/* --- addresses ------------------------------------------------------------------------------------------------- */

void conf_address_fini(struct conf_address *a)
{
	free(a->text);
	free(a->host);
	free(a->path);
	for (char **word = a->argv; word && *word; word++)
		free(*word);
	free(a->argv);
	*a = (struct conf_address){0};
}

static int parse_unix(const char *path, struct conf_address *a, const char **why)
{
	if (path[0] != '/') {
		*why = "the path of a Unix socket begins with /";
		return ERR_CONFIG;
	}
	if (strlen(path) > CONF_UNIX_PATH_MAX) {
		*why = "the path of a Unix socket is at most 107 bytes long";
		return ERR_CONFIG;
	}
	a->kind = CONF_UNIX;
	a->path = strdup(path);
	return a->path ? 0 : ERR_NO_MEMORY;
}

static int split_words(const char *text, struct conf_address *a)
{
	size_t count = 0;

	/* Every word but the last takes at least two bytes. */
	a->argv = calloc(strlen(text) / 2 + 2, sizeof *a->argv);
	if (!a->argv)
		return ERR_NO_MEMORY;
	for (text += strspn(text, " \t"); *text; text += strspn(text, " \t")) {
		size_t len = strcspn(text, " \t");
		a->argv[count] = strndup(text, len);
		if (!a->argv[count++])
			return ERR_NO_MEMORY;
		text += len;
	}
	return 0;
}

static int parse_spawn(const char *command, struct conf_address *a, const char **why)
{
	a->kind = CONF_SPAWN;
	if (command[0] != '/') {
		*why = "the program is given with its full path: \"spawn:/path/to/program\"";
		return ERR_CONFIG;
	}
	int err = split_words(command, a);
	if (err)
		return err;
	a->path = strdup(a->argv[0]);
	return a->path ? 0 : ERR_NO_MEMORY;
}

static bool is_numeric_host(const char *host, bool brackets)
{
	uint8_t bytes[sizeof(struct in6_addr)];

	return inet_pton(brackets ? AF_INET6 : AF_INET, host, bytes) == 1;
}

static int parse_tcp(const char *text, struct conf_address *a, const char **why)
{
	const char *colon = strrchr(text, ':');
	bool brackets = text[0] == '[' && colon && colon > text + 1 && colon[-1] == ']';
	uint64_t port;

	*why = "an address is \"127.0.0.1:9001\", \"[::1]:9001\" or \"unix:/path\"";
	if (!colon)
		return ERR_CONFIG;
	a->kind = CONF_TCP;
	a->host = brackets ? strndup(text + 1, (size_t)(colon - text) - 2) : strndup(text, (size_t)(colon - text));
	if (!a->host)
		return ERR_NO_MEMORY;
	if (!is_numeric_host(a->host, brackets)) {
		*why = "the host is a numeric address, an IPv6 address in brackets";
		return ERR_CONFIG;
	}
	if (!view_to_u64(view_str(colon + 1), UINT16_MAX, &port) || port == 0) {
		*why = "the port is a number from 1 to 65535";
		return ERR_CONFIG;
	}
	a->port = (uint16_t)port;
	return 0;
}

int conf_address_parse(const char *text, bool allow_spawn, struct conf_address *out, const char **why)
{
	struct conf_address a = {0};
	struct view v = view_str(text);
	int err;

	a.text = strdup(text);
	if (!a.text)
		return ERR_NO_MEMORY;
	if (view_starts(v, VIEW("unix:"))) {
		err = parse_unix(text + strlen("unix:"), &a, why);
	} else if (view_starts(v, VIEW("spawn:")) && !allow_spawn) {
		*why = "only a backend can be spawned";
		err = ERR_CONFIG;
	} else if (view_starts(v, VIEW("spawn:"))) {
		err = parse_spawn(text + strlen("spawn:"), &a, why);
	} else {
		err = parse_tcp(text, &a, why);
	}
	if (err)
		conf_address_fini(&a);
	else
		*out = a;
	return err;
}

bool conf_parse_address(const char *text, bool allow_spawn, struct conf_address *out)
{
	const char *why;

	return conf_address_parse(text, allow_spawn, out, &why) == 0;
}

bool conf_address_equal(const struct conf_address *a, const struct conf_address *b)
{
	if (a->kind != b->kind)
		return false;
	switch (a->kind) {
	case CONF_UNIX:
		return strcmp(a->path, b->path) == 0;
	case CONF_SPAWN:
		return strcmp(a->text, b->text) == 0;
	case CONF_TCP:
		break;
	}
	uint8_t x[sizeof(struct in6_addr)] = {0}, y[sizeof(struct in6_addr)] = {0};
	int family = strchr(a->host, ':') ? AF_INET6 : AF_INET;

	return a->port == b->port && inet_pton(family, a->host, x) == 1 && inet_pton(family, b->host, y) == 1 &&
	       memcmp(x, y, sizeof x) == 0;
}

/* --- patterns -------------------------------------------------------------------------------------------------- */

static int host_parse(const char *text, struct conf_pattern *out)
{
	bool suffix = view_starts(view_str(text), VIEW("*."));

	text += suffix; /* the dot stays */
	if (!conf_is_host(text + suffix))
		return ERR_CONFIG;
	char *copy = strdup(text);
	if (!copy)
		return ERR_NO_MEMORY;
	for (char *c = copy; *c; c++) {
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c + ('a' - 'A'));
	}
	*out = (struct conf_pattern){.kind = suffix ? CONF_HOST_SUFFIX : CONF_HOST, .text = copy};
	return 0;
}

/* Requests are matched by a path that has no such segments any more: a pattern with one would never match. */
static bool has_odd_segment(const char *path)
{
	for (const char *at = path + 1; *at; at++) {
		size_t len = strcspn(at, "/");
		if (len == 0 || (len <= 2 && strspn(at, ".") == len))
			return true;
		at += len;
		if (!*at)
			return false;
	}
	return false;
}

bool conf_is_plain_path(const char *text)
{
	return conf_is_path(text) && !has_odd_segment(text);
}

static int path_parse(const char *path, struct conf_pattern *out)
{
	if (!conf_is_plain_path(path))
		return ERR_CONFIG;
	char *copy = strdup(path);
	if (!copy)
		return ERR_NO_MEMORY;
	*out = (struct conf_pattern){.kind = CONF_PATH_PREFIX, .text = copy};
	return 0;
}

int conf_match_parse(const char *text, struct conf_pattern *out)
{
	if (view_starts(view_str(text), VIEW("host:")))
		return host_parse(text + strlen("host:"), out);
	if (view_starts(view_str(text), VIEW("path:")))
		return path_parse(text + strlen("path:"), out);
	return ERR_CONFIG;
}

static bool is_suffix(const char *text)
{
	for (const char *c = text; *c; c++) {
		if ((unsigned char)*c <= ' ' || *c == 0x7f || strchr("*?#;", *c))
			return false;
	}
	return *text != '\0';
}

int conf_path_parse(const char *text, struct conf_pattern *out)
{
	if (text[0] != '*')
		return path_parse(text, out);
	if (!is_suffix(text + 1))
		return ERR_CONFIG;
	char *copy = strdup(text + 1);
	if (!copy)
		return ERR_NO_MEMORY;
	*out = (struct conf_pattern){.kind = CONF_PATH_SUFFIX, .text = copy};
	return 0;
}
