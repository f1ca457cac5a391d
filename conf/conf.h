/* The configuration: one file becomes one immutable struct (doc weir.conf(5)). Defaults, ranges and help text of every
 * option stand in one table, conf/options.c. */
#ifndef WEIR_CONF_CONF_H
#define WEIR_CONF_CONF_H

#include "base/buf.h"
#include "base/log.h"
#include "conf/sections.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum conf_protocol { CONF_FASTCGI, CONF_SCGI };

enum conf_address_kind { CONF_TCP, CONF_UNIX, CONF_SPAWN };

/* "127.0.0.1:9001", "[::1]:9001", "unix:/path", "spawn:/path/to/program arg arg" */
struct conf_address {
	enum conf_address_kind kind;
	char *text; /* as written; owned */
	char *host; /* TCP: numeric address without brackets; owned */
	uint16_t port;
	char *path;  /* UNIX: the socket; SPAWN: the program; owned */
	char **argv; /* SPAWN: words, argv[0] is the program, NULL at the end; owned */
};

struct conf_listen {
	struct conf_address address;
	enum conf_protocol protocol;
	uint32_t mode;       /* Unix: permission bits of the socket */
	char *owner, *group; /* Unix: names; NULL: unchanged; owned */
	uint32_t backlog;
	uint32_t max_connections;  /* front connections of this listener, over all workers */
	uint32_t max_requests;     /* at once on one FastCGI connection */
	uint64_t max_params;       /* bytes of one request's variables */
	uint64_t max_body;         /* bytes of one request's body; 0: no limit */
	uint64_t read_timeout_ms;  /* silence in the middle of a request */
	uint64_t write_timeout_ms; /* a client that takes nothing */
	uint64_t idle_timeout_ms;  /* a connection without a request; 0: for ever */
};

struct conf_backend {
	struct conf_address address;
	enum conf_protocol protocol;
	uint32_t connections; /* at most, over all workers */
	uint32_t weight;
	bool keep_alive;
	uint64_t idle_timeout_ms; /* a kept connection without a request */
	uint64_t connect_timeout_ms;
	uint32_t fails; /* failures in a row before it is left alone */
	uint64_t backoff_min_ms, backoff_max_ms;
	uint32_t processes;       /* SPAWN */
	uint64_t stop_timeout_ms; /* SPAWN: from TERM to KILL */
};

enum conf_session_mode { CONF_SESSION_NONE, CONF_SESSION_MANAGED };
enum conf_lock { CONF_LOCK_EXCLUSIVE, CONF_LOCK_SHARED };
enum conf_same_site { CONF_SAME_SITE_LAX, CONF_SAME_SITE_STRICT, CONF_SAME_SITE_NONE };
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
};

struct conf_app {
	char *name;                 /* owned */
	struct conf_patterns match; /* empty: takes what is left */
	struct conf_backend *backends;
	size_t backend_count;
	uint64_t timeout_ms;    /* a backend that is silent */
	uint64_t queue_wait_ms; /* for a free backend connection */
	uint32_t queue;         /* requests waiting at once; more are refused at once */
	uint64_t max_header;    /* bytes of a response's head */
	struct conf_session session;
};

enum conf_scheduling { CONF_SCHEDULING_BATCH, CONF_SCHEDULING_NORMAL };

struct conf {
	char *node; /* name; owned */
	uint32_t workers;
	char *state_dir, *run_dir; /* owned */
	char *pid_file;            /* owned */
	char *user, *group;        /* "" : not given; owned */
	enum conf_scheduling scheduling;
	uint64_t drain_timeout_ms; /* TERM: for requests that run */
	struct conf_listen *listens;
	size_t listen_count;
	struct conf_app *apps;
	size_t app_count;
	struct conf_memory memory;
	struct conf_disk disk;
	struct conf_admin admin;
	struct conf_status status;
	enum log_level log_level;
	char *log_to; /* "stderr" or a path; owned */
};

/* Reads and checks `path`. On success *out is a new conf. On ERR_CONFIG every error found is in `errors`, one a line:
 *   FILE:LINE: OPTION: "VALUE": what is allowed
 * ERR_NO_MEMORY as usual. *out is untouched on failure.
 * One thread at a time: libconfuse keeps state of its own. */
MUST_USE int conf_load(const char *path, struct conf **out, struct buf *errors);

/* The same for a text that was read already; `name` stands in the errors instead of the path. */
MUST_USE int conf_load_text(const char *name, struct view text, struct conf **out, struct buf *errors);

void conf_free(struct conf **c);

/* The word of store.memory.evict: the name of an evicter. */
const char *conf_memory_evict(const struct conf *c);

/* All sections and options, one a line: what is allowed, the default, the meaning. */
void conf_help(struct buf *out);

/* "30m" -> 1,800,000: ms, s, m, h, d; "0" needs no unit. "1M" -> bytes: k, M, G, powers of 1024; no unit: bytes.
 * False for anything else, overflow included. */
bool conf_parse_time(const char *text, uint64_t *ms);
bool conf_parse_size(const char *text, uint64_t *bytes);

/* False: not an address of a known kind (spawn only where allowed). Frees nothing it did not make. */
bool conf_parse_address(const char *text, bool allow_spawn, struct conf_address *out);
void conf_address_fini(struct conf_address *a);

#endif
