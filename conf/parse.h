/* Values of the configuration: times, sizes, addresses, patterns. Pure, except that addresses and patterns own copies
 * made with malloc. Times, sizes and conf_parse_address() are declared in conf/conf.h. */
#ifndef WEIR_CONF_PARSE_H
#define WEIR_CONF_PARSE_H

#include "conf/conf.h"

/* Bytes of a Unix socket's path, without the NUL: what struct sockaddr_un holds. */
enum { CONF_UNIX_PATH_MAX = 107 };

/* Decimal digits only. */
bool conf_parse_number(const char *text, uint64_t *out);

/* Permission bits in octal: "0660", "660". */
bool conf_parse_mode(const char *text, uint32_t *out);

/* yes, true, on; no, false, off. */
bool conf_parse_bool(const char *text, bool *out);

/* A cookie name or the like (RFC 7230 section 3.2.6 "token"). */
bool conf_is_token(const char *text);

/* 1 to 64 letters, digits, '-', '_', '.': the names of nodes and apps, which stand in logs and paths. */
bool conf_is_name(const char *text);

/* Host names and domains: 1 to 253 letters, digits, '-', '_', '.'. */
bool conf_is_host(const char *text);

/* "http://HOST" or "https://HOST", both with ":PORT" or without, at most CONF_URL_MAX bytes. */
bool conf_is_url(const char *text);

/* Begins with '/', printable, none of the characters that end a path or a header field: blank ? # ; */
bool conf_is_path(const char *text);

/* The same, and no segment of it is empty, "." or ".."; it may end in '/'. */
bool conf_is_plain_path(const char *text);

/* 0, ERR_NO_MEMORY, or ERR_CONFIG and in *why what is wrong with it. *out is untouched on failure. */
MUST_USE int conf_address_parse(const char *text, bool allow_spawn, struct conf_address *out, const char **why);

/* "host:NAME", "host:*.NAME", "path:/PREFIX". Hosts become lower case. A prefix has no empty, "." or ".." segment, but
 * may end in '/'. 0, ERR_CONFIG or ERR_NO_MEMORY; *out is untouched on failure. */
MUST_USE int conf_match_parse(const char *text, struct conf_pattern *out);

/* "/PREFIX" or "*SUFFIX". */
MUST_USE int conf_path_parse(const char *text, struct conf_pattern *out);

#endif
