/* The table of options, and how its rows read in words. Pure. */
#include "conf/options.h"

#include "base/invariant.h"

#define SECOND UINT64_C(1000)
#define HOUR (3600 * SECOND)
#define DAY (24 * HOUR)
#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

/* One row. AT: the field in the struct that the section fills. */
#define AT(type, field) .offset = offsetof(struct type, field)
#define SECTION(of, called, in, ...)                                                                                   \
	{                                                                                                              \
		.section = (of), .name = (called), .type = CONF_TYPE_SECTION, .opens = (in), __VA_ARGS__               \
	}
#define OPTION(of, called, kind, ...)                                                                                  \
	{                                                                                                              \
		.section = (of), .name = (called), .type = CONF_TYPE_##kind, __VA_ARGS__                               \
	}
#define EVICTER(name, NAME) #name,
#define LATER(of, called)                                                                                              \
	{                                                                                                              \
		.section = (of), .name = (called), .type = CONF_TYPE_LATER                                             \
	}

const struct conf_option conf_options[] = {
    SECTION("", "node", "node", .title = "NAME", .help = "This process. Without it the name is the host name."),
    SECTION("", "listen", "listen", .title = "ADDRESS", .many = true,
	    .help = "A socket for web servers: 127.0.0.1:9001, [::1]:9001 or unix:/path."),
    SECTION("", "app", "app", .title = "NAME", .many = true, .help = "An application."),
    SECTION("", "store", "store", .help = "Where sessions are kept."),
    SECTION("", "log", "log", .help = "The log."),
    SECTION("", "admin", "admin", .help = "The socket for who runs this process."),
    SECTION("", "status", "status", .help = "A page that tells how the process does. Without it there is none."),
    SECTION("", "cluster", "cluster", .title = "NAME",
	    .help = "The cluster that this node belongs to. Without it the node is alone."),

    OPTION("node", "workers", NUMBER, .preset_note = "the number of processors", .min = 1, .max = 256,
	   AT(conf, workers), .help = "Threads that serve requests."),
    OPTION("node", "state-dir", FILE, .preset = "/var/lib/weir", AT(conf, state_dir),
	   .help = "Folder for what outlives the process."),
    OPTION("node", "run-dir", FILE, .preset = "/run/weir", AT(conf, run_dir),
	   .help = "Folder for what ends with the process."),
    OPTION("node", "pid-file", FILE, .preset_note = "weir.pid in run-dir", AT(conf, pid_file),
	   .help = "Holds the number of the process while it runs."),
    OPTION("node", "user", USER, .preset = "", AT(conf, user), .help = "User to become after the sockets are bound."),
    OPTION("node", "group", GROUP, .preset = "", AT(conf, group),
	   .help = "Group to become; empty: the group of the user."),
    OPTION("node", "drain-timeout", TIME, .preset = "30s", .min = 0, .max = DAY, AT(conf, drain_timeout_ms),
	   .help = "After TERM, how long requests that run may take."),
    OPTION("node", "scheduling", WORD, .preset = "batch", .words = {"batch", "normal"}, AT(conf, scheduling),
	   .help = "How the kernel schedules the workers; batch: who wakes one is not interrupted by it."),

    OPTION("listen", "protocol", WORD, .required = true, .words = {"fastcgi", "scgi"}, AT(conf_listen, protocol),
	   .help = "What the web server speaks."),
    OPTION("listen", "mode", MODE, .preset = "0660", .only = CONF_ONLY_UNIX, AT(conf_listen, mode),
	   .help = "Permission bits of the socket."),
    OPTION("listen", "owner", USER, .only = CONF_ONLY_UNIX, .preset_note = "unchanged", AT(conf_listen, owner),
	   .help = "Owner of the socket."),
    OPTION("listen", "group", GROUP, .only = CONF_ONLY_UNIX, .preset_note = "unchanged", AT(conf_listen, group),
	   .help = "Group of the socket."),
    OPTION("listen", "backlog", NUMBER, .preset = "1024", .min = 1, .max = 65535, AT(conf_listen, backlog),
	   .help = "Connections that the kernel holds until they are accepted."),
    OPTION("listen", "max-connections", NUMBER, .preset = "4096", .min = 1, .max = 1000000,
	   AT(conf_listen, max_connections), .help = "Connections at once, over all workers."),
    OPTION("listen", "max-requests", NUMBER, .preset = "128", .min = 1, .max = 65535, AT(conf_listen, max_requests),
	   .help = "Requests at once on one FastCGI connection."),
    OPTION("listen", "max-params", SIZE, .preset = "64k", .min = KIB, .max = 16 * MIB, AT(conf_listen, max_params),
	   .help = "Bytes of the variables of one request."),
    OPTION("listen", "max-body", SIZE, .preset = "2G", .min = 0, .max = 1024 * GIB, AT(conf_listen, max_body),
	   .help = "Bytes of the body of one request; 0: no limit."),
    OPTION("listen", "read-timeout", TIME, .preset = "60s", .min = 1, .max = DAY, AT(conf_listen, read_timeout_ms),
	   .help = "The variables of a request, all together; silence in the middle of its body."),
    OPTION("listen", "write-timeout", TIME, .preset = "60s", .min = 1, .max = DAY, AT(conf_listen, write_timeout_ms),
	   .help = "A web server that takes nothing of the response."),
    OPTION("listen", "idle-timeout", TIME, .preset = "0", .min = 0, .max = 365 * DAY, AT(conf_listen, idle_timeout_ms),
	   .help = "A connection without a request; 0: for ever."),

    OPTION("app", "match", MATCHES, .preset_note = "takes what no other app matches", AT(conf_app, match),
	   .help = "Hosts and paths: host:NAME, host:*.NAME, path:/PREFIX."),
    SECTION("app", "backend", "backend", .title = "ADDRESS", .many = true,
	    .help = "Where the application is: an address as of listen, or spawn:/path/to/program WORDS."),
    OPTION("app", "timeout", TIME, .preset = "60s", .min = 1, .max = DAY, AT(conf_app, timeout_ms),
	   .help = "Silence of a backend before the client gets 504."),
    OPTION("app", "queue-wait", TIME, .preset = "10s", .min = 0, .max = DAY, AT(conf_app, queue_wait_ms),
	   .help = "How long a request waits for a free backend connection before the client gets 503."),
    OPTION("app", "queue", NUMBER, .preset = "1024", .min = 0, .max = 1000000, AT(conf_app, queue),
	   .help = "Requests that may wait at once; more get 503 at once."),
    OPTION("app", "max-header", SIZE, .preset = "64k", .min = KIB, .max = 16 * MIB, AT(conf_app, max_header),
	   .help = "Bytes of the head of a response, beside those of the session's state."),
    SECTION("app", "session", "session", .help = "The app has sessions. Without it there are none."),

    OPTION("backend", "protocol", WORD, .preset = "fastcgi", .words = {"fastcgi", "scgi"}, AT(conf_backend, protocol),
	   .help = "What the application speaks."),
    OPTION("backend", "connections", NUMBER, .preset = "8", .min = 1, .max = 65535, AT(conf_backend, connections),
	   .help = "Connections at once, over all workers; of spawn: as many as there are processes."),
    OPTION("backend", "weight", NUMBER, .preset = "1", .min = 1, .max = 256, AT(conf_backend, weight),
	   .help = "Share of the requests, in proportion to the other backends of the app."),
    OPTION("backend", "keep-alive", BOOL, .preset = "yes", AT(conf_backend, keep_alive),
	   .help = "Use a FastCGI connection for more than one request."),
    OPTION("backend", "idle-timeout", TIME, .preset = "60s", .min = 1, .max = 365 * DAY,
	   AT(conf_backend, idle_timeout_ms), .help = "A kept connection without a request."),
    OPTION("backend", "connect-timeout", TIME, .preset = "5s", .min = 1, .max = HOUR,
	   AT(conf_backend, connect_timeout_ms), .help = "How long a connection may take to come up."),
    OPTION("backend", "fails", NUMBER, .preset = "3", .min = 1, .max = 1000, AT(conf_backend, fails),
	   .help = "Failures in a row before the backend is left alone."),
    OPTION("backend", "backoff", TIME, .preset = "1s", .min = 1, .max = HOUR, AT(conf_backend, backoff_min_ms),
	   .help = "How long it is left alone at first; doubled with each further failure."),
    OPTION("backend", "backoff-max", TIME, .preset = "30s", .min = 1, .max = DAY, AT(conf_backend, backoff_max_ms),
	   .help = "How long it is left alone at most."),
    OPTION("backend", "processes", NUMBER, .preset = "1", .min = 1, .max = 1024, .only = CONF_ONLY_SPAWN,
	   AT(conf_backend, processes), .help = "Processes to run."),
    OPTION("backend", "stop-timeout", TIME, .preset = "5s", .min = 0, .max = HOUR, .only = CONF_ONLY_SPAWN,
	   AT(conf_backend, stop_timeout_ms), .help = "From TERM to KILL."),

    OPTION("session", "mode", WORD, .agreed = true, .preset = "managed", .words = {"none", "managed", "adopted"},
	   AT(conf_session, mode),
	   .help = "Who keeps the sessions: nobody, the gateway, or the app itself, in socket."),
    OPTION("session", "cookie", TOKEN, .agreed = true, .preset = "WEIRSID", AT(conf_session, cookie),
	   .help = "Name of the cookie; adopted: that of the app's own, to be given."),
    OPTION("session", "cookie-format", WORD, .agreed = true, .preset = "plain", .words = {"plain", "express"},
	   .with = CONF_WITH_ADOPTED, AT(conf_session, cookie_format),
	   .help = "How the cookie says the id: as it is, or signed as Express does."),
    OPTION("session", "cookie-path", URL_PATH, .agreed = true, .preset = "/", .with = CONF_WITH_MANAGED,
	   AT(conf_session, cookie_path), .help = "Path attribute of the cookie."),
    OPTION("session", "cookie-domain", DOMAIN, .agreed = true, .preset = "", .with = CONF_WITH_MANAGED,
	   AT(conf_session, cookie_domain), .help = "Domain attribute of the cookie; empty: none."),
    OPTION("session", "cookie-http-only", BOOL, .agreed = true, .preset = "yes", .with = CONF_WITH_MANAGED,
	   AT(conf_session, cookie_http_only), .help = "HttpOnly attribute of the cookie."),
    OPTION("session", "cookie-same-site", WORD, .agreed = true, .preset = "lax", .words = {"lax", "strict", "none"},
	   .with = CONF_WITH_MANAGED, AT(conf_session, cookie_same_site), .help = "SameSite attribute of the cookie."),
    OPTION("session", "cookie-secure", WORD, .agreed = true, .preset = "auto", .words = {"auto", "always", "never"},
	   .with = CONF_WITH_MANAGED, AT(conf_session, cookie_secure),
	   .help = "Secure attribute of the cookie; auto: when the request came over HTTPS."),
    OPTION("session", "ttl", TIME, .agreed = true, .preset = "30m", .min = SECOND, .max = 3650 * DAY,
	   .with = CONF_WITH_MANAGED, AT(conf_session, ttl_ms),
	   .help = "How long a session lives after its last request."),
    OPTION("session", "max-size", SIZE, .agreed = true, .preset = "60k", .min = 0, .max = 64 * MIB,
	   AT(conf_session, max_size), .help = "Bytes of the state of one session."),
    OPTION("session", "lock", WORD, .agreed = true, .preset = "exclusive", .words = {"exclusive", "shared"},
	   AT(conf_session, lock), .help = "Requests of one session run one by one, or side by side."),
    OPTION("session", "lock-wait", TIME, .preset = "30s", .min = 0, .max = HOUR, AT(conf_session, lock_wait_ms),
	   .help = "How long a request waits for its session before the client gets 503."),
    OPTION("session", "read-only", PATHS, .preset_note = "none", AT(conf_session, read_only),
	   .help = "Requests that see the session, never change it and never wait for it."),
    OPTION("session", "stateless", PATHS, .preset_note = "none", AT(conf_session, stateless),
	   .help = "Requests that do without the session."),
    OPTION("session", "socket", ADDRESS, .required = true, .with = CONF_WITH_ADOPTED, AT(conf_session, socket),
	   .help = "Where the app's session library finds its sessions, as if it were a Redis."),
    OPTION("session", "key", KEY, .agreed = true, .required = true, .with = CONF_WITH_ADOPTED, AT(conf_session, key),
	   .help = "What the keys of sessions begin with; empty: every key is one of a session."),
    OPTION("session", "password", PASSWORD, .preset = "", .with = CONF_WITH_ADOPTED, AT(conf_session, password),
	   .help = "What clients of socket have to say first; empty: nothing, which is for this machine only."),
    OPTION("session", "socket-mode", MODE, .preset = "0660", .only = CONF_ONLY_UNIX, .with = CONF_WITH_ADOPTED,
	   AT(conf_session, socket_mode), .help = "Permission bits of socket."),
    OPTION("session", "socket-owner", USER, .preset_note = "unchanged", .only = CONF_ONLY_UNIX,
	   .with = CONF_WITH_ADOPTED, AT(conf_session, socket_owner), .help = "Owner of socket."),
    OPTION("session", "socket-group", GROUP, .preset_note = "unchanged", .only = CONF_ONLY_UNIX,
	   .with = CONF_WITH_ADOPTED, AT(conf_session, socket_group), .help = "Group of socket."),
    OPTION("session", "socket-connections", NUMBER, .preset = "1024", .min = 1, .max = 1000000,
	   .with = CONF_WITH_ADOPTED, AT(conf_session, socket_connections),
	   .help = "Connections to socket at once, over all workers."),
    LATER("session", "relocate"),
    LATER("session", "copies"),
    LATER("session", "ack"),
    LATER("session", "route"),

    SECTION("store", "memory", "store.memory", .help = "Sessions in memory."),
    SECTION("store", "disk", "store.disk", .help = "Sessions on disk."),
    LATER("store", "shared"),
    OPTION("store.memory", "max", SIZE, .preset = "512M", .min = MIB, .max = 1024 * GIB, AT(conf_memory, max),
	   .help = "Bytes of all sessions in memory."),
    OPTION("store.memory", "evict", WORD, .preset = "idle", .words = {EVICTERS(EVICTER)}, AT(conf_memory, evict),
	   .help = "What leaves memory; idle: what lies unused, and as lru; lru: when it fills; ttl: the expired."),
    OPTION("store.memory", "after", TIME, .preset = "10m", .min = SECOND, .max = 3650 * DAY, AT(conf_memory, after_ms),
	   .help = "idle: how long a session lies unused before it moves to disk."),
    OPTION("store.memory", "max-pinned", SIZE, .preset_note = "half of max", .min = 0, .max = 1024 * GIB,
	   AT(conf_memory, max_pinned),
	   .help = "Bytes of them that pinned sessions may take; no more are pinned then."),

    OPTION("store.disk", "max", SIZE, .preset = "20G", .min = 0, .max = 1024 * 1024 * GIB, AT(conf_disk, max),
	   .help = "Bytes of all sessions on disk, at least 16M; 0: sessions are kept in memory only."),
    OPTION("store.disk", "evict", WORD, .preset = "ttl", .words = {"ttl"}, AT(conf_disk, evict),
	   .help = "What has expired leaves; nothing else."),
    OPTION("store.disk", "sync", WORD, .preset = "group", .words = {"none", "write", "group"}, AT(conf_disk, sync),
	   .help = "Where each batch of changes is at once: in the process, in the kernel or on the disk."),
    OPTION("store.disk", "cache", SIZE, .preset = "64M", .min = MIB, .max = 64 * GIB, AT(conf_disk, cache),
	   .help = "Bytes of memory that Berkeley DB uses for pages."),

    OPTION("log", "level", WORD, .preset = "info", .words = {"error", "warn", "info", "debug"}, AT(conf, log_level),
	   .help = "The least important lines to write."),
    OPTION("log", "to", LOG, .preset = "stderr", AT(conf, log_to), .help = "stderr, or a file."),

    OPTION("admin", "socket", SOCKET, .preset_note = "admin.sock in run-dir", AT(conf_admin, socket),
	   .help = "The socket."),
    OPTION("admin", "open", WORD, .preset = "on-signal", .words = {"on-signal", "always", "never"},
	   AT(conf_admin, open), .help = "When the socket is there."),
    OPTION("admin", "idle", TIME, .preset = "5m", .min = SECOND, .max = 365 * DAY, AT(conf_admin, idle_ms),
	   .help = "on-signal: how long the socket stays without a client."),

    OPTION("status", "path", PLAIN_PATH, .required = true, AT(conf_status, path),
	   .help = "Where the page is, on every host; no app gets a request for it."),
    OPTION("status", "allow", NETWORKS, .preset = "127.0.0.0/8, ::1", AT(conf_status, allow),
	   .help = "Clients that may see it."),

    OPTION("cluster", "listen", TCP, .required = true, AT(conf_cluster, listen),
	   .help = "Where the other nodes connect to."),
    OPTION("cluster", "address", TCP, .preset_note = "listen", AT(conf_cluster, address),
	   .help = "The address that others dial; needed where listen is a wildcard."),
    OPTION("cluster", "peers", PEERS, .preset_note = "none, a cluster of its own", AT(conf_cluster, peers),
	   .help = "Nodes to join, or to begin the cluster with; the own address among them is passed over."),
    OPTION("cluster", "public-url", URL, .preset = "", AT(conf_cluster, public_url),
	   .help = "Where clients reach the web server of this node."),
    OPTION("cluster", "zone", NAME, .preset = "", AT(conf_cluster, zone),
	   .help = "What fails together with this node, as a rack."),
    OPTION("cluster", "buckets", NUMBER, .preset = "1024", .min = 1, .max = 65536, .agreed = true,
	   AT(conf_cluster, buckets), .help = "Slices of the session ids of each app."),
    OPTION("cluster", "certificate", FILE, .required = true, AT(conf_cluster, certificate),
	   .help = "PEM: the node's, and those between it and the authority."),
    OPTION("cluster", "key", FILE, .required = true, AT(conf_cluster, key), .help = "PEM: its key."),
    OPTION("cluster", "ca", FILE, .required = true, AT(conf_cluster, ca), .help = "PEM: the cluster's authority."),
    OPTION("cluster", "crl", FILE, .preset_note = "none, nobody is revoked", AT(conf_cluster, crl),
	   .help = "PEM: certificates that the authority has revoked."),
    OPTION("cluster", "votes", BOOL, .preset = "yes", AT(conf_cluster, votes),
	   .help = "Whether the node may be one of the voters."),
    OPTION("cluster", "priority", NUMBER, .preset = "100", .min = 0, .max = 1000, AT(conf_cluster, priority),
	   .help = "The greatest is preferred as coordinator; 0: only where no other can."),
    OPTION("cluster", "witness", BOOL, .preset = "no", AT(conf_cluster, witness),
	   .help = "The node votes and hosts no app."),
    OPTION("cluster", "failure-timeout", TIME, .preset = "2s", .min = 200, .max = 60 * SECOND, .agreed = true,
	   AT(conf_cluster, failure_timeout_ms),
	   .help = "How long a node may be silent; the node itself serves no sessions after half of it."),
    OPTION("cluster", "election-timeout", TIME, .preset = "200ms", .min = 10, .max = 10 * SECOND,
	   AT(conf_cluster, election_timeout_ms), .help = "How long an election waits for voters that do not answer."),
};

const size_t conf_option_count = sizeof conf_options / sizeof *conf_options;

const struct conf_option *conf_option_find(const char *section, struct view name)
{
	for (size_t i = 0; i < conf_option_count; i++) {
		const struct conf_option *o = &conf_options[i];
		if (strcmp(o->section, section) == 0 && view_eq(view_str(o->name), name))
			return o;
	}
	return NULL;
}

const char *conf_memory_evict(const struct conf *c)
{
	const struct conf_option *o = conf_option_find("store.memory", VIEW("evict"));

	INVARIANT(o != NULL);
	return o->words[c->memory.evict];
}

bool conf_option_has_value(const struct conf_option *o)
{
	return o->type < CONF_TYPE_SECTION;
}

bool conf_option_is_list(const struct conf_option *o)
{
	return o->type == CONF_TYPE_MATCHES || o->type == CONF_TYPE_PATHS || o->type == CONF_TYPE_NETWORKS ||
	       o->type == CONF_TYPE_PEERS;
}

const char *conf_option_shown(const struct conf_option *o, const char *text)
{
	return o->type == CONF_TYPE_PASSWORD ? NULL : text;
}

/* --- in words -------------------------------------------------------------------------------------------------- */

struct scale {
	const char *name;
	uint64_t factor;
};

/* In the largest unit that leaves a whole number. */
static void put_scaled(struct buf *out, uint64_t n, const struct scale *scales)
{
	if (n == 0) {
		buf_put_str(out, "0");
		return;
	}
	while (n % scales->factor != 0)
		scales++;
	buf_put_u64(out, n / scales->factor);
	buf_put_str(out, scales->name);
}

static void put_range(const struct conf_option *o, const char *what, const struct scale *scales, struct buf *out)
{
	buf_put_str(out, what);
	buf_put_str(out, " from ");
	put_scaled(out, o->min, scales);
	buf_put_str(out, " to ");
	put_scaled(out, o->max, scales);
}

static void put_words(const struct conf_option *o, struct buf *out)
{
	for (size_t i = 0; i < CONF_WORDS_MAX && o->words[i]; i++) {
		bool last = i + 1 == CONF_WORDS_MAX || !o->words[i + 1];
		if (i > 0)
			buf_put_str(out, last ? " or " : ", ");
		buf_put_str(out, o->words[i]);
	}
}

static const struct scale times[] = {{"d", DAY}, {"h", HOUR}, {"m", 60 * SECOND}, {"s", SECOND}, {"ms", 1}};
static const struct scale sizes[] = {{"G", GIB}, {"M", MIB}, {"k", KIB}, {"", 1}};
static const struct scale numbers[] = {{"", 1}};

/* A number field's value, whatever its width; an enum is as wide as an int (conf/field.c). */
static uint64_t read_u32(const void *field)
{
	uint32_t n;

	memcpy(&n, field, sizeof n);
	return n;
}

static uint64_t read_u64(const void *field)
{
	uint64_t n;

	memcpy(&n, field, sizeof n);
	return n;
}

void conf_option_put_value(const struct conf_option *o, const void *base, struct buf *out)
{
	const void *field = (const char *)base + o->offset;

	switch (o->type) {
	case CONF_TYPE_NUMBER:
		buf_put_u64(out, read_u32(field));
		break;
	case CONF_TYPE_BOOL:
		buf_put_str(out, *(const bool *)field ? "yes" : "no");
		break;
	case CONF_TYPE_TIME:
		put_scaled(out, read_u64(field), times);
		break;
	case CONF_TYPE_SIZE:
		put_scaled(out, read_u64(field), sizes);
		break;
	default:
		INVARIANT(o->type == CONF_TYPE_WORD);
		buf_put_str(out, o->words[read_u32(field)]);
	}
}

const char *conf_option_text(const struct conf_option *o, const void *base)
{
	const char *text;

	if (o->type < CONF_TYPE_TOKEN || o->type > CONF_TYPE_GROUP)
		return NULL;
	memcpy(&text, (const char *)base + o->offset, sizeof text);
	return text;
}

void conf_option_put_allowed(const struct conf_option *o, struct buf *out)
{
	static const char *const texts[] = {
	    [CONF_TYPE_MODE] = "permission bits in octal, 0000 to 0777",
	    [CONF_TYPE_BOOL] = "yes or no",
	    [CONF_TYPE_TOKEN] = "1 to 64 letters, digits or !#$%&'*+-.^_`|~",
	    [CONF_TYPE_FILE] = "a full path",
	    [CONF_TYPE_SOCKET] = "a full path of at most 107 bytes",
	    [CONF_TYPE_LOG] = "stderr or a full path",
	    [CONF_TYPE_URL_PATH] = "a path that begins with / and has no blank, ?, # or ;",
	    [CONF_TYPE_PLAIN_PATH] = "a path of plain segments that begins with / and has no blank, ?, # or ;",
	    [CONF_TYPE_DOMAIN] = "a domain name",
	    [CONF_TYPE_KEY] = "at most 128 visible ASCII characters",
	    [CONF_TYPE_PASSWORD] = "at most 128 printable ASCII characters",
	    [CONF_TYPE_NAME] = "1 to 64 letters, digits, hyphens, underscores or dots",
	    [CONF_TYPE_URL] = "http://HOST or https://HOST, with :PORT or without, and nothing behind",
	    [CONF_TYPE_TCP] = "a numeric address and a port, as 10.0.0.1:7400 or [fd00::1]:7400",
	    [CONF_TYPE_PEERS] = "numeric addresses and ports, as 10.0.0.1:7400 or [fd00::1]:7400",
	    [CONF_TYPE_ADDRESS] = "an address as of listen",
	    [CONF_TYPE_USER] = "a user of this system",
	    [CONF_TYPE_GROUP] = "a group of this system",
	    [CONF_TYPE_MATCHES] = "\"host:NAME\", \"host:*.NAME\" or \"path:/PREFIX\", of plain segments",
	    [CONF_TYPE_PATHS] = "\"/PREFIX\", of plain segments, or \"*SUFFIX\"",
	    [CONF_TYPE_NETWORKS] = "\"ADDRESS\" or \"ADDRESS/BITS\", numeric, all bits behind BITS zero",
	    [CONF_TYPE_SECTION] = "a section",
	    [CONF_TYPE_LATER] = "not built yet in this version",
	};

	switch (o->type) {
	case CONF_TYPE_NUMBER:
		put_range(o, "a number", numbers, out);
		break;
	case CONF_TYPE_TIME:
		put_range(o, "a time", times, out);
		break;
	case CONF_TYPE_SIZE:
		put_range(o, "a size", sizes, out);
		break;
	case CONF_TYPE_WORD:
		put_words(o, out);
		break;
	default:
		INVARIANT(texts[o->type] != NULL);
		buf_put_str(out, texts[o->type]);
	}
}

void conf_option_put_missing(const struct conf_option *o, struct buf *out)
{
	buf_put_str(out, "missing: ");
	conf_option_put_allowed(o, out);
}

void conf_option_put_name(const char *section, struct view name, struct buf *out)
{
	buf_put_str(out, section);
	if (*section)
		buf_put_str(out, ".");
	buf_put(out, name);
}

void conf_option_put_known(const char *section, struct buf *out)
{
	const char *separator = "known here: ";

	for (size_t i = 0; i < conf_option_count; i++) {
		const struct conf_option *o = &conf_options[i];
		if (strcmp(o->section, section) != 0 || o->type == CONF_TYPE_LATER)
			continue;
		buf_put_str(out, separator);
		buf_put_str(out, o->name);
		separator = ", ";
	}
}

static void put_default(const struct conf_option *o, struct buf *out)
{
	if (o->required) {
		buf_put_str(out, "; required");
	} else if (o->preset) {
		buf_put_str(out, *o->preset ? "; default " : "; default empty");
		buf_put_str(out, o->preset);
	} else {
		INVARIANT(o->preset_note != NULL);
		buf_put_str(out, "; default: ");
		buf_put_str(out, o->preset_note);
	}
	if (o->only != CONF_ONLY_ANY)
		buf_put_str(out, o->only == CONF_ONLY_UNIX ? "; only for unix:" : "; only for spawn:");
	if (o->with != CONF_WITH_ANY)
		buf_put_str(out, o->with == CONF_WITH_MANAGED ? "; only managed" : "; only adopted");
	if (o->agreed)
		buf_put_str(out, "; alike on all nodes");
}

static void put_help(const struct conf_option *o, size_t depth, struct buf *out)
{
	for (size_t i = 0; i < depth; i++)
		buf_put_str(out, "    ");
	buf_put_str(out, o->name);
	if (conf_option_has_value(o)) {
		buf_put_str(out, conf_option_is_list(o) ? " = { ... }   " : " = ...   ");
		conf_option_put_allowed(o, out);
		put_default(o, out);
		buf_put_str(out, ". ");
	} else {
		buf_put_str(out, o->title ? " \"" : "");
		buf_put_str(out, o->title ? o->title : "");
		buf_put_str(out, o->title ? "\" { }   " : " { }   ");
		buf_put_str(out, o->many ? "Any number. " : "");
	}
	buf_put_str(out, o->help);
	buf_put_str(out, "\n");
}

static void put_section_help(const char *section, size_t depth, struct buf *out)
{
	for (size_t i = 0; i < conf_option_count; i++) {
		const struct conf_option *o = &conf_options[i];
		if (strcmp(o->section, section) != 0 || o->type == CONF_TYPE_LATER)
			continue;
		put_help(o, depth, out);
		if (o->type == CONF_TYPE_SECTION)
			put_section_help(o->opens, depth + 1, out);
	}
}

void conf_help(struct buf *out)
{
	put_section_help("", 0, out);
}
