/* The section session of an app. Part of conf/conf.h. */
#ifndef WEIR_CONF_SESSION_H
#define WEIR_CONF_SESSION_H

#include "conf/address.h"

#include <stddef.h>

enum conf_session_mode { CONF_SESSION_NONE, CONF_SESSION_MANAGED, CONF_SESSION_ADOPTED };
enum conf_lock { CONF_LOCK_EXCLUSIVE, CONF_LOCK_SHARED };
enum conf_same_site { CONF_SAME_SITE_LAX, CONF_SAME_SITE_STRICT, CONF_SAME_SITE_NONE };
enum conf_cookie_format { CONF_COOKIE_PLAIN, CONF_COOKIE_EXPRESS };
enum conf_secure { CONF_SECURE_AUTO, CONF_SECURE_ALWAYS, CONF_SECURE_NEVER };

/* What a path or host must look like. */
struct conf_pattern {
	enum { CONF_HOST, CONF_HOST_SUFFIX, CONF_PATH_PREFIX, CONF_PATH_SUFFIX } kind;
	char *text; /* HOST_SUFFIX: with the leading dot; PATH_SUFFIX: without the star; owned */
};

struct conf_patterns {
	struct conf_pattern *at; /* owned */
	size_t count;
};

struct conf_session {
	enum conf_session_mode mode;
	char *cookie, *cookie_path, *cookie_domain; /* owned; domain "" : none */
	bool cookie_http_only;
	enum conf_same_site cookie_same_site;
	enum conf_secure cookie_secure;
	uint64_t ttl_ms;
	uint64_t max_size; /* bytes of state */
	enum conf_lock lock;
	uint64_t lock_wait_ms;
	struct conf_patterns read_only, stateless;
	/* ADOPTED: the session socket and what stands behind it. */
	struct conf_address socket; /* text NULL: none */
	char *key;                  /* what the keys of sessions begin with; "": all keys are; owned */
	enum conf_cookie_format cookie_format;
	char *password;                    /* "": none; owned */
	uint32_t socket_mode;              /* as those of listen */
	char *socket_owner, *socket_group; /* the same; owned */
	uint32_t socket_connections;       /* over all workers */
};

#endif
