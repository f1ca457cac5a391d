/* The configuration: one file becomes one immutable struct (doc weir.conf(5)). Defaults, ranges and help text of every
 * option stand in one table, conf/options.c. */
#ifndef WEIR_CONF_CONF_H
#define WEIR_CONF_CONF_H

#include "base/buf.h"
#include "base/log.h"
#include "conf/cluster.h"
#include "conf/sections.h"
#include "conf/session.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* RESP: the session socket of an app; no file can say so, the app's session section does. */
enum conf_protocol { CONF_FASTCGI, CONF_SCGI, CONF_RESP };

struct conf_listen {
	struct conf_address address;
	enum conf_protocol protocol;
	size_t app;          /* RESP: whose session socket it is */
	uint32_t mode;       /* Unix: permission bits of the socket */
	char *owner, *group; /* Unix: names; NULL: unchanged; owned */
	uint32_t backlog;
	uint32_t max_connections;  /* of this listener, over all workers */
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
	uint64_t drain_timeout_ms;   /* TERM: for requests that run */
	struct conf_listen *listens; /* the sections `listen`, then the session sockets */
	size_t listen_count;
	struct conf_app *apps;
	size_t app_count;
	struct conf_memory memory;
	struct conf_disk disk;
	struct conf_admin admin;
	struct conf_status status;
	struct conf_cluster cluster;
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

/* Takes all apps out, and their session sockets. */
void conf_drop_apps(struct conf *c);

void conf_free(struct conf **c);

/* The word of store.memory.evict: the name of an evicter. */
const char *conf_memory_evict(const struct conf *c);

/* All sections and options, one a line: what is allowed, the default, the meaning. */
void conf_help(struct buf *out);

/* "30m" -> 1,800,000: ms, s, m, h, d; "0" needs no unit. "1M" -> bytes: k, M, G, powers of 1024; no unit: bytes.
 * False for anything else, overflow included. */
bool conf_parse_time(const char *text, uint64_t *ms);
bool conf_parse_size(const char *text, uint64_t *bytes);

#endif
