/* Values into fields. Asks the system for users and groups, nothing else. */
#include "conf/field.h"

#include "base/error.h"
#include "base/invariant.h"
#include "conf/parse.h"

#include <grp.h>
#include <pwd.h>
#include <stdlib.h>

/* A word is stored as the number of its enum, whatever the enum. */
_Static_assert(sizeof(enum conf_protocol) == sizeof(int) && sizeof(enum log_level) == sizeof(int), "enums are ints");

static bool in_range(const struct conf_option *o, uint64_t n)
{
	return n >= o->min && n <= o->max;
}

static int set_u32(const struct conf_option *o, uint32_t *field, const char *text)
{
	uint64_t n = 0;

	INVARIANT(o->max <= UINT32_MAX);
	if (!conf_parse_number(text, &n) || !in_range(o, n))
		return ERR_CONFIG;
	*field = (uint32_t)n;
	return 0;
}

static int set_u64(const struct conf_option *o, uint64_t *field, const char *text)
{
	uint64_t n = 0;
	bool parsed = o->type == CONF_TYPE_TIME ? conf_parse_time(text, &n) : conf_parse_size(text, &n);

	if (!parsed || !in_range(o, n))
		return ERR_CONFIG;
	*field = n;
	return 0;
}

static int set_word(const struct conf_option *o, void *field, const char *text)
{
	for (int i = 0; i < CONF_WORDS_MAX && o->words[i]; i++) {
		if (strcmp(text, o->words[i]) == 0) {
			memcpy(field, &i, sizeof i);
			return 0;
		}
	}
	return ERR_CONFIG;
}

static bool is_full_path(const char *text)
{
	return text[0] == '/';
}

static bool is_ascii(const char *text, char least, size_t max_bytes)
{
	size_t len = 0;

	while (text[len] >= least && text[len] < 0x7f)
		len++;
	return len <= max_bytes && text[len] == '\0';
}

static bool is_text(enum conf_type type, const char *text)
{
	switch (type) {
	case CONF_TYPE_TOKEN:
		return conf_is_token(text);
	case CONF_TYPE_FILE:
		return is_full_path(text);
	case CONF_TYPE_SOCKET:
		return is_full_path(text) && strlen(text) <= CONF_UNIX_PATH_MAX;
	case CONF_TYPE_LOG:
		return is_full_path(text) || strcmp(text, "stderr") == 0;
	case CONF_TYPE_NAME:
		return *text == '\0' || conf_is_name(text);
	case CONF_TYPE_URL:
		return *text == '\0' || conf_is_url(text);
	case CONF_TYPE_URL_PATH:
		return conf_is_path(text);
	case CONF_TYPE_PLAIN_PATH:
		return conf_is_plain_path(text);
	case CONF_TYPE_DOMAIN:
		return *text == '\0' || conf_is_host(text + (text[0] == '.'));
	case CONF_TYPE_KEY:
		return is_ascii(text, '!', CONF_KEY_MAX);
	case CONF_TYPE_PASSWORD:
		return is_ascii(text, ' ', CONF_PASSWORD_MAX);
	case CONF_TYPE_USER:
		return *text == '\0' || getpwnam(text) != NULL;
	case CONF_TYPE_GROUP:
		return *text == '\0' || getgrnam(text) != NULL;
	default:
		return false;
	}
}

static int set_text(const struct conf_option *o, char **field, const char *text)
{
	if (!is_text(o->type, text))
		return ERR_CONFIG;
	char *copy = strdup(text);
	if (!copy)
		return ERR_NO_MEMORY;
	free(*field);
	*field = copy;
	return 0;
}

static int set_address(struct conf_address *field, const char *text, const char **why)
{
	struct conf_address a;
	int err = conf_address_parse(text, false, &a, why);

	if (err)
		return err;
	conf_address_fini(field);
	*field = a;
	return 0;
}

static int parse_tcp(const char *text, struct conf_address *out)
{
	struct conf_address a;
	const char *why;
	int err = conf_address_parse(text, false, &a, &why);

	if (err)
		return err;
	if (a.kind != CONF_TCP) {
		conf_address_fini(&a);
		return ERR_CONFIG;
	}
	*out = a;
	return 0;
}

static int set_tcp(struct conf_address *field, const char *text)
{
	struct conf_address a;
	int err = parse_tcp(text, &a);

	if (err)
		return err;
	conf_address_fini(field);
	*field = a;
	return 0;
}

static int add_peer(struct conf_addresses *field, const char *text)
{
	struct conf_address *at = realloc(field->at, (field->count + 1) * sizeof *at);

	if (!at)
		return ERR_NO_MEMORY;
	field->at = at;
	int err = parse_tcp(text, &at[field->count]);
	field->count += err == 0;
	return err;
}

static int add_pattern(const struct conf_option *o, struct conf_patterns *field, const char *text)
{
	struct conf_pattern *at = realloc(field->at, (field->count + 1) * sizeof *at);

	if (!at)
		return ERR_NO_MEMORY;
	field->at = at;
	int err = o->type == CONF_TYPE_MATCHES ? conf_match_parse(text, &at[field->count])
					       : conf_path_parse(text, &at[field->count]);
	field->count += err == 0;
	return err;
}

static int add_network(struct conf_networks *field, const char *text)
{
	struct conf_network *at = realloc(field->at, (field->count + 1) * sizeof *at);

	if (!at)
		return ERR_NO_MEMORY;
	field->at = at;
	if (!conf_network_parse(text, &at[field->count]))
		return ERR_CONFIG;
	field->count++;
	return 0;
}

int conf_field_set(const struct conf_option *o, void *base, const char *text, const char **why)
{
	void *field = (char *)base + o->offset;

	switch (o->type) {
	case CONF_TYPE_NUMBER:
		return set_u32(o, field, text);
	case CONF_TYPE_MODE:
		return conf_parse_mode(text, field) ? 0 : ERR_CONFIG;
	case CONF_TYPE_BOOL:
		return conf_parse_bool(text, field) ? 0 : ERR_CONFIG;
	case CONF_TYPE_TIME:
	case CONF_TYPE_SIZE:
		return set_u64(o, field, text);
	case CONF_TYPE_WORD:
		return set_word(o, field, text);
	case CONF_TYPE_MATCHES:
	case CONF_TYPE_PATHS:
		return add_pattern(o, field, text);
	case CONF_TYPE_NETWORKS:
		return add_network(field, text);
	case CONF_TYPE_TCP:
		return set_tcp(field, text);
	case CONF_TYPE_PEERS:
		return add_peer(field, text);
	case CONF_TYPE_ADDRESS:
		return set_address(field, text, why);
	case CONF_TYPE_SECTION:
	case CONF_TYPE_LATER:
		return ERR_CONFIG;
	default:
		return set_text(o, field, text);
	}
}

void conf_patterns_fini(struct conf_patterns *p)
{
	for (size_t i = 0; i < p->count; i++)
		free(p->at[i].text);
	free(p->at);
	*p = (struct conf_patterns){0};
}

void conf_networks_fini(struct conf_networks *n)
{
	free(n->at);
	*n = (struct conf_networks){0};
}
