/* The configuration as its reader sees it: what a file becomes, and what he is told when it is wrong. */
#include "conf/report.h"
#include "tests/unit/conf_fixture.h"

#include <pwd.h>
#include <unistd.h>

#define LISTEN "listen \"127.0.0.1:9001\" { protocol = fastcgi }\n"
#define KNOWN_HERE "known here: node, listen, app, store, log, admin, status, cluster"
#define BACKEND "backend \"127.0.0.1:9002\" { }"
#define ADOPTED "app a { " BACKEND " session { mode=adopted cookie=PHPSESSID key='K:' socket='unix:/s'"

#define IDENTITY " certificate=/c key=/k ca=/a "
#define CLUSTER "cluster eu { listen = '10.0.0.1:7400' peers = '10.0.0.2:7400'" IDENTITY
#define TCP "a numeric address and a port, as 10.0.0.1:7400 or [fd00::1]:7400"
#define TCPS "numeric addresses and ports, as 10.0.0.1:7400 or [fd00::1]:7400"
#define URL "http://HOST or https://HOST, with :PORT or without, and nothing behind"

#define TEN "aaaaaaaaaa"
#define PATH_107 "/" TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN "aaaaaa"
#define PATH_108 PATH_107 "a"

#define PLAIN_PATH "a path of plain segments that begins with / and has no blank, ?, # or ;"

/* --- what a good file becomes ---------------------------------------------------------------------------------- */

static void a_small_file_gets_all_defaults(void **state)
{
	(void)state;
	struct conf *c = load_good(LISTEN "app \"a\" { " BACKEND " session { } }");
	char host[256] = "";
	gethostname(host, sizeof host - 1);
	long n = sysconf(_SC_NPROCESSORS_ONLN);
	assert_string_equal(c->node, host);
	assert_int_equal(c->workers, n > 256 ? 256 : n);
	assert_string_equal(c->state_dir, "/var/lib/weir");
	assert_string_equal(c->run_dir, "/run/weir");
	assert_string_equal(c->user, "");
	assert_string_equal(c->group, "");
	assert_int_equal(c->drain_timeout_ms, 30000);
	assert_int_equal(c->scheduling, CONF_SCHEDULING_BATCH);
	assert_string_equal(c->pid_file, "/run/weir/weir.pid");
	assert_int_equal(c->memory.max, 512 << 20);
	assert_int_equal(c->memory.max_pinned, 256 << 20);
	assert_int_equal(c->memory.evict, CONF_EVICT_IDLE);
	assert_int_equal(c->memory.after_ms, 600000);
	assert_int_equal(c->disk.max, UINT64_C(20) << 30);
	assert_int_equal(c->disk.evict, CONF_DISK_EVICT_TTL);
	assert_int_equal(c->disk.sync, CONF_SYNC_GROUP);
	assert_int_equal(c->disk.cache, 64 << 20);
	assert_string_equal(c->admin.socket, "/run/weir/admin.sock");
	assert_int_equal(c->admin.open, CONF_ADMIN_ON_SIGNAL);
	assert_int_equal(c->admin.idle_ms, 300000);
	assert_null(c->status.path);
	assert_int_equal(c->log_level, LOG_INFO);
	assert_string_equal(c->log_to, "stderr");

	assert_int_equal(c->listen_count, 1);
	const struct conf_listen *l = &c->listens[0];
	assert_int_equal(l->address.kind, CONF_TCP);
	assert_int_equal(l->address.port, 9001);
	assert_int_equal(l->protocol, CONF_FASTCGI);
	assert_int_equal(l->mode, 0660);
	assert_null(l->owner);
	assert_null(l->group);
	assert_int_equal(l->backlog, 1024);
	assert_int_equal(l->max_connections, 4096);
	assert_int_equal(l->max_requests, 128);
	assert_int_equal(l->max_params, 65536);
	assert_int_equal(l->max_body, UINT64_C(2) << 30);
	assert_int_equal(l->read_timeout_ms, 60000);
	assert_int_equal(l->write_timeout_ms, 60000);
	assert_int_equal(l->idle_timeout_ms, 0);

	assert_int_equal(c->app_count, 1);
	const struct conf_app *a = &c->apps[0];
	assert_string_equal(a->name, "a");
	assert_int_equal(a->match.count, 0);
	assert_int_equal(a->timeout_ms, 60000);
	assert_int_equal(a->queue_wait_ms, 10000);
	assert_int_equal(a->queue, 1024);
	assert_int_equal(a->max_header, 65536);

	assert_int_equal(a->backend_count, 1);
	const struct conf_backend *b = &a->backends[0];
	assert_int_equal(b->address.port, 9002);
	assert_int_equal(b->protocol, CONF_FASTCGI);
	assert_int_equal(b->connections, 8);
	assert_int_equal(b->weight, 1);
	assert_true(b->keep_alive);
	assert_int_equal(b->idle_timeout_ms, 60000);
	assert_int_equal(b->connect_timeout_ms, 5000);
	assert_int_equal(b->fails, 3);
	assert_int_equal(b->backoff_min_ms, 1000);
	assert_int_equal(b->backoff_max_ms, 30000);
	assert_int_equal(b->processes, 1);
	assert_int_equal(b->stop_timeout_ms, 5000);

	const struct conf_session *s = &a->session;
	assert_int_equal(s->mode, CONF_SESSION_MANAGED);
	assert_string_equal(s->cookie, "WEIRSID");
	assert_string_equal(s->cookie_path, "/");
	assert_string_equal(s->cookie_domain, "");
	assert_true(s->cookie_http_only);
	assert_int_equal(s->cookie_same_site, CONF_SAME_SITE_LAX);
	assert_int_equal(s->cookie_secure, CONF_SECURE_AUTO);
	assert_int_equal(s->ttl_ms, 1800000);
	assert_int_equal(s->max_size, 60 << 10);
	assert_int_equal(s->lock, CONF_LOCK_EXCLUSIVE);
	assert_int_equal(s->lock_wait_ms, 30000);
	assert_int_equal(s->read_only.count, 0);
	assert_int_equal(s->stateless.count, 0);
	conf_free(&c);
	assert_null(c);
	conf_free(&c);
}

static void without_a_session_section_there_are_none(void **state)
{
	(void)state;
	struct conf *c = load_good(LISTEN "app a { " BACKEND " }");
	assert_int_equal(c->apps[0].session.mode, CONF_SESSION_NONE);
	assert_string_equal(c->apps[0].session.cookie, "WEIRSID");
	conf_free(&c);
	c = load_good(LISTEN "app a { " BACKEND " session { mode = none } }");
	assert_int_equal(c->apps[0].session.mode, CONF_SESSION_NONE);
	conf_free(&c);
}

/* The example of the design, without what is not built yet. */
static void the_example_loads(void **state)
{
	(void)state;
	struct conf *c =
	    load_good("node \"alpha\" {\n"
		      "  workers   = 2                          # default: processors\n"
		      "  state-dir = \"/var/lib/weir\"\n"
		      "  run-dir   = \"/run/weir\"\n"
		      "  user      = \"root\"                     # dropped to after the sockets are bound\n"
		      "}\n"
		      "listen \"unix:/run/weir/fastcgi.sock\" { protocol = fastcgi  mode = 0600 }\n"
		      "listen \"127.0.0.1:9001\"              { protocol = scgi }\n"
		      "app \"shop\" {\n"
		      "  match = { \"host:shop.example.org\", \"path:/shop\" }   # longest path wins\n"
		      "  backend \"unix:/run/php/php8.2-fpm.sock\" { protocol = fastcgi  connections = 9 }\n"
		      "  backend \"spawn:/bin/sh -c true\"   { protocol = scgi  processes = 2 }\n"
		      "  session {\n"
		      "    mode     = managed                   # managed | adopted | none\n"
		      "    cookie   = \"SHOP\"\n"
		      "    ttl      = 31m\n"
		      "    max-size = 2M\n"
		      "    lock     = shared                    # exclusive | shared\n"
		      "    lock-wait = 31s\n"
		      "    read-only = { \"/status\", \"/assets/\" }  # never commit, never wait\n"
		      "    stateless = { \"*.css\", \"*.js\", \"*.png\" } # no session look-up at all\n"
		      "  }\n"
		      "}\n"
		      "store { memory { max = 256M } }\n"
		      "log { level = debug  to = \"/var/log/weir.log\" }\n");
	assert_string_equal(c->node, "alpha");
	assert_int_equal(c->workers, 2);
	assert_string_equal(c->user, "root");
	assert_int_equal(c->listen_count, 2);
	assert_string_equal(c->listens[0].address.path, "/run/weir/fastcgi.sock");
	assert_int_equal(c->listens[0].mode, 0600);
	assert_int_equal(c->listens[1].protocol, CONF_SCGI);
	const struct conf_app *a = &c->apps[0];
	assert_int_equal(a->match.count, 2);
	assert_int_equal(a->match.at[0].kind, CONF_HOST);
	assert_string_equal(a->match.at[1].text, "/shop");
	assert_int_equal(a->backend_count, 2);
	assert_int_equal(a->backends[0].connections, 9);
	assert_int_equal(a->backends[1].protocol, CONF_SCGI);
	assert_int_equal(a->backends[1].processes, 2);
	assert_int_equal(a->backends[1].connections, 2); /* as many as processes, where nothing is said */
	assert_string_equal(a->backends[1].address.argv[2], "true");
	assert_string_equal(a->session.cookie, "SHOP");
	assert_int_equal(a->session.ttl_ms, 31 * 60000);
	assert_int_equal(a->session.max_size, 2 << 20);
	assert_int_equal(a->session.lock, CONF_LOCK_SHARED);
	assert_int_equal(a->session.lock_wait_ms, 31000);
	assert_int_equal(a->session.read_only.count, 2);
	assert_string_equal(a->session.read_only.at[1].text, "/assets/");
	assert_int_equal(a->session.stateless.count, 3);
	assert_int_equal(a->session.stateless.at[2].kind, CONF_PATH_SUFFIX);
	assert_string_equal(a->session.stateless.at[2].text, ".png");
	assert_int_equal(c->memory.max, 256 << 20);
	assert_int_equal(c->log_level, LOG_DEBUG);
	assert_string_equal(c->log_to, "/var/log/weir.log");
	conf_free(&c);
}

static void every_option_reaches_its_field(void **state)
{
	(void)state;
	const struct passwd *root = getpwuid(0);
	assert_non_null(root);
	struct conf *c = load_good(
	    "node n { state-dir=/a run-dir=/b pid-file=/p group=root drain-timeout=7s workers=256 scheduling=normal }"
	    "listen \"unix:/s\" { protocol=scgi owner=root group=root backlog=7 max-connections=8"
	    " max-requests=9 max-params=2k max-body=0 read-timeout=1ms write-timeout=2s"
	    " idle-timeout=3s }"
	    "app a { backend \"[::1]:1\" { protocol=scgi weight=256 keep-alive=off idle-timeout=1s"
	    " connect-timeout=2s fails=4 backoff=5s backoff-max=6s }"
	    " backend 'spawn:/bin/sh' { processes=3 stop-timeout=0 }"
	    " timeout=1s queue-wait=0 queue=0 max-header=1k"
	    " session { cookie-path=/x cookie-domain=a.org cookie-http-only=no"
	    " cookie-same-site=strict cookie-secure=always ttl=1s max-size=0 lock-wait=0 } }"
	    "log { level=error }"
	    "store { memory { evict=lru after=1s max-pinned=2M } disk { max=16M evict=ttl sync=write cache=1M } }"
	    "admin { socket=/c open=never idle=1s } status { path=/s/t allow={10.0.0.0/8} }");
	assert_string_equal(c->state_dir, "/a");
	assert_string_equal(c->run_dir, "/b");
	assert_string_equal(c->group, "root");
	assert_int_equal(c->drain_timeout_ms, 7000);
	assert_int_equal(c->scheduling, CONF_SCHEDULING_NORMAL);
	assert_int_equal(c->workers, 256);
	const struct conf_listen *l = &c->listens[0];
	assert_string_equal(l->owner, "root");
	assert_string_equal(l->group, "root");
	assert_int_equal(l->backlog, 7);
	assert_int_equal(l->max_connections, 8);
	assert_int_equal(l->max_requests, 9);
	assert_int_equal(l->max_params, 2048);
	assert_int_equal(l->max_body, 0);
	assert_int_equal(l->read_timeout_ms, 1);
	assert_int_equal(l->write_timeout_ms, 2000);
	assert_int_equal(l->idle_timeout_ms, 3000);
	const struct conf_backend *b = &c->apps[0].backends[0];
	assert_int_equal(b->protocol, CONF_SCGI);
	assert_int_equal(b->weight, 256);
	assert_false(b->keep_alive);
	assert_int_equal(b->idle_timeout_ms, 1000);
	assert_int_equal(b->connect_timeout_ms, 2000);
	assert_int_equal(b->fails, 4);
	assert_int_equal(b->backoff_min_ms, 5000);
	assert_int_equal(b->backoff_max_ms, 6000);
	assert_int_equal(b[1].processes, 3);
	assert_int_equal(b[1].stop_timeout_ms, 0);
	assert_int_equal(c->apps[0].timeout_ms, 1000);
	assert_int_equal(c->apps[0].queue_wait_ms, 0);
	assert_int_equal(c->apps[0].queue, 0);
	assert_int_equal(c->apps[0].max_header, 1024);
	const struct conf_session *s = &c->apps[0].session;
	assert_string_equal(s->cookie_path, "/x");
	assert_string_equal(s->cookie_domain, "a.org");
	assert_false(s->cookie_http_only);
	assert_int_equal(s->cookie_same_site, CONF_SAME_SITE_STRICT);
	assert_int_equal(s->cookie_secure, CONF_SECURE_ALWAYS);
	assert_int_equal(s->ttl_ms, 1000);
	assert_int_equal(s->max_size, 0);
	assert_int_equal(s->lock_wait_ms, 0);
	assert_int_equal(c->log_level, LOG_ERROR);
	assert_string_equal(c->pid_file, "/p");
	assert_int_equal(c->memory.evict, CONF_EVICT_LRU);
	assert_int_equal(c->memory.after_ms, 1000);
	assert_int_equal(c->memory.max_pinned, 2 << 20);
	assert_int_equal(c->disk.max, 16 << 20);
	assert_int_equal(c->disk.evict, CONF_DISK_EVICT_TTL);
	assert_int_equal(c->disk.sync, CONF_SYNC_WRITE);
	assert_int_equal(c->disk.cache, 1 << 20);
	assert_string_equal(c->admin.socket, "/c");
	assert_int_equal(c->admin.open, CONF_ADMIN_NEVER);
	assert_int_equal(c->admin.idle_ms, 1000);
	assert_string_equal(c->status.path, "/s/t");
	assert_int_equal(c->status.allow.count, 1);
	conf_free(&c);
}

static void syntax_is_forgiving_where_it_is_clear(void **state)
{
	(void)state;
	struct conf *c = load_good("// one\n/* two\n * three */ # four\r\n"
				   "listen '127.0.0.1:9001'\n{\n protocol\n=\n\"scgi\" }\r\n"
				   "app \"a\" { match = { 'host:a.org' , \"path:/x\\\\\", }\n" BACKEND "\n"
				   "match += { \"host:b.org\" } match += \"path:/y\" }");
	assert_int_equal(c->listens[0].protocol, CONF_SCGI);
	assert_int_equal(c->apps[0].match.count, 4);
	assert_string_equal(c->apps[0].match.at[1].text, "/x\\");
	assert_string_equal(c->apps[0].match.at[2].text, "b.org");
	assert_string_equal(c->apps[0].match.at[3].text, "/y");
	conf_free(&c);
}

static void the_environment_stays_outside(void **state)
{
	(void)state;
	setenv("WEIR_TEST", "/from-the-environment", 1);
	assert_errors(LISTEN "node n { run-dir = \"${WEIR_TEST}\" }",
		      "f:2: syntax: the environment is not put into values: write '${' in single quotes\n");
	struct conf *c = NULL;
	assert_int_equal(load(LISTEN "node n { run-dir = ${WEIR_TEST} }", &c), ERR_CONFIG);
	assert_non_null(strstr(errors_text, "f:2: syntax: \"$\": must stand in quotes\n"));
	c = load_good(LISTEN "node n { run-dir = '/${WEIR_TEST}' }");
	assert_string_equal(c->run_dir, "/${WEIR_TEST}");
	conf_free(&c);
}

/* --- what is said about a bad one ------------------------------------------------------------------------------ */

/* One line for each option: a value that it refuses, and what is said. */
static void every_option_says_what_is_allowed(void **state)
{
	(void)state;
	static const struct {
		const char *before, *option, *after, *expected;
	} rows[] = {
	    {"node n {", "workers = 0", "}", "node.workers: \"0\": a number from 1 to 256"},
	    {"node n {", "workers = 257", "}", "node.workers: \"257\": a number from 1 to 256"},
	    {"node n {", "workers = many", "}", "node.workers: \"many\": a number from 1 to 256"},
	    {"node n {", "workers = -1", "}", "node.workers: \"-1\": a number from 1 to 256"},
	    {"node n {", "workers = 4294967298", "}", "node.workers: \"4294967298\": a number from 1 to 256"},
	    {"node n {", "state-dir = var", "}", "node.state-dir: \"var\": a full path"},
	    {"node n {", "run-dir = ''", "}", "node.run-dir: \"\": a full path"},
	    {"node n {", "pid-file = weir.pid", "}", "node.pid-file: \"weir.pid\": a full path"},
	    {"node n {", "user = no-such-user", "}", "node.user: \"no-such-user\": a user of this system"},
	    {"node n {", "group = no-such-group", "}", "node.group: \"no-such-group\": a group of this system"},
	    {"node n {", "drain-timeout = 25h", "}", "node.drain-timeout: \"25h\": a time from 0 to 1d"},
	    {"node n {", "scheduling = fifo", "}", "node.scheduling: \"fifo\": batch or normal"},
	    {"node n {", "drain-timeout = 30", "}", "node.drain-timeout: \"30\": a time from 0 to 1d"},
	    {"listen '[::]:1' {", "protocol = http", "}", "listen.protocol: \"http\": fastcgi or scgi"},
	    {"listen 'unix:/x' { protocol = scgi", "mode = 0999", "}",
	     "listen.mode: \"0999\": permission bits in octal, 0000 to 0777"},
	    {"listen 'unix:/x' { protocol = scgi", "owner = no-such-user", "}",
	     "listen.owner: \"no-such-user\": a user of this system"},
	    {"listen 'unix:/x' { protocol = scgi", "group = no-such-group", "}",
	     "listen.group: \"no-such-group\": a group of this system"},
	    {"listen '[::]:1' { protocol = scgi", "mode = 0600", "}",
	     "listen.mode: \"0600\": only for unix: addresses"},
	    {"listen '[::]:1' { protocol = scgi", "owner = root", "}",
	     "listen.owner: \"root\": only for unix: addresses"},
	    {"listen '[::]:1' { protocol = scgi", "group = root", "}",
	     "listen.group: \"root\": only for unix: addresses"},
	    {"listen '[::]:1' { protocol = scgi", "backlog = 0", "}",
	     "listen.backlog: \"0\": a number from 1 to 65535"},
	    {"listen '[::]:1' { protocol = scgi", "max-connections = 0", "}",
	     "listen.max-connections: \"0\": a number from 1 to 1000000"},
	    {"listen '[::]:1' { protocol = scgi", "max-requests = 65536", "}",
	     "listen.max-requests: \"65536\": a number from 1 to 65535"},
	    {"listen '[::]:1' { protocol = scgi", "max-params = 1023", "}",
	     "listen.max-params: \"1023\": a size from 1k to 16M"},
	    {"listen '[::]:1' { protocol = scgi", "max-params = 17M", "}",
	     "listen.max-params: \"17M\": a size from 1k to 16M"},
	    {"listen '[::]:1' { protocol = scgi", "max-body = 1025G", "}",
	     "listen.max-body: \"1025G\": a size from 0 to 1024G"},
	    {"listen '[::]:1' { protocol = scgi", "read-timeout = 0", "}",
	     "listen.read-timeout: \"0\": a time from 1ms to 1d"},
	    {"listen '[::]:1' { protocol = scgi", "write-timeout = 0", "}",
	     "listen.write-timeout: \"0\": a time from 1ms to 1d"},
	    {"listen '[::]:1' { protocol = scgi", "idle-timeout = 366d", "}",
	     "listen.idle-timeout: \"366d\": a time from 0 to 365d"},
	    {"app a { " BACKEND, "match = { 'shop' }", "}",
	     "app.match: \"shop\": \"host:NAME\", \"host:*.NAME\" or \"path:/PREFIX\", of plain segments"},
	    {"app a { " BACKEND, "timeout = 0", "}", "app.timeout: \"0\": a time from 1ms to 1d"},
	    {"app a { " BACKEND, "queue-wait = 2d", "}", "app.queue-wait: \"2d\": a time from 0 to 1d"},
	    {"app a { " BACKEND, "queue = 1000001", "}", "app.queue: \"1000001\": a number from 0 to 1000000"},
	    {"app a { " BACKEND, "max-header = 1", "}", "app.max-header: \"1\": a size from 1k to 16M"},
	    {"app a { backend '[::]:1' {", "protocol = http", "} }", "backend.protocol: \"http\": fastcgi or scgi"},
	    {"app a { backend '[::]:1' {", "connections = 0", "} }",
	     "backend.connections: \"0\": a number from 1 to 65535"},
	    {"app a { backend '[::]:1' {", "weight = 257", "} }", "backend.weight: \"257\": a number from 1 to 256"},
	    {"app a { backend '[::]:1' {", "keep-alive = maybe", "} }", "backend.keep-alive: \"maybe\": yes or no"},
	    {"app a { backend '[::]:1' {", "idle-timeout = 0", "} }",
	     "backend.idle-timeout: \"0\": a time from 1ms to 365d"},
	    {"app a { backend '[::]:1' {", "connect-timeout = 2h", "} }",
	     "backend.connect-timeout: \"2h\": a time from 1ms to 1h"},
	    {"app a { backend '[::]:1' {", "fails = 0", "} }", "backend.fails: \"0\": a number from 1 to 1000"},
	    {"app a { backend '[::]:1' {", "backoff = 0", "} }", "backend.backoff: \"0\": a time from 1ms to 1h"},
	    {"app a { backend '[::]:1' {", "backoff = 31s", "} }",
	     "backend.backoff: \"31s\": backoff is at most backoff-max"},
	    {"app a { backend '[::]:1' {", "backoff-max = 999ms", "} }",
	     "backend.backoff-max: \"999ms\": backoff is at most backoff-max"},
	    {"app a { backend '[::]:1' {", "backoff-max = 2d", "} }",
	     "backend.backoff-max: \"2d\": a time from 1ms to 1d"},
	    {"app a { backend '[::]:1' {", "processes = 2", "} }",
	     "backend.processes: \"2\": only for spawn: addresses"},
	    {"app a { backend '[::]:1' {", "stop-timeout = 2s", "} }",
	     "backend.stop-timeout: \"2s\": only for spawn: addresses"},
	    {"app a { backend 'spawn:/bin/sh' {", "processes = 1025", "} }",
	     "backend.processes: \"1025\": a number from 1 to 1024"},
	    {"app a { backend 'spawn:/bin/sh' {", "stop-timeout = 2h", "} }",
	     "backend.stop-timeout: \"2h\": a time from 0 to 1h"},
	    {"app a { " BACKEND " session {", "mode = yes", "} }", "session.mode: \"yes\": none, managed or adopted"},
	    {"app a { " BACKEND " session {", "cookie = 'a b'", "} }",
	     "session.cookie: \"a b\": 1 to 64 letters, digits or !#$%&'*+-.^_`|~"},
	    {"app a { " BACKEND " session {", "cookie-path = x", "} }",
	     "session.cookie-path: \"x\": a path that begins with / and has no blank, ?, # or ;"},
	    {"app a { " BACKEND " session {", "cookie-domain = 'a;b'", "} }",
	     "session.cookie-domain: \"a;b\": a domain name"},
	    {"app a { " BACKEND " session {", "cookie-http-only = 2", "} }",
	     "session.cookie-http-only: \"2\": yes or no"},
	    {"app a { " BACKEND " session {", "cookie-same-site = any", "} }",
	     "session.cookie-same-site: \"any\": lax, strict or none"},
	    {"app a { " BACKEND " session {", "cookie-secure = yes", "} }",
	     "session.cookie-secure: \"yes\": auto, always or never"},
	    {"app a { " BACKEND " session { cookie-same-site = none", "cookie-secure = never", "} }",
	     "session.cookie-secure: \"never\": "
	     "browsers drop a cookie with cookie-same-site none that is not secure"},
	    {"app a { " BACKEND " session {", "ttl = 999ms", "} }", "session.ttl: \"999ms\": a time from 1s to 3650d"},
	    {"app a { " BACKEND " session {", "ttl = 3651d", "} }", "session.ttl: \"3651d\": a time from 1s to 3650d"},
	    {"app a { " BACKEND " session {", "max-size = 65M", "} }",
	     "session.max-size: \"65M\": a size from 0 to 64M"},
	    {"app a { " BACKEND " session {", "lock = none", "} }", "session.lock: \"none\": exclusive or shared"},
	    {"app a { " BACKEND " session {", "lock-wait = 61m", "} }",
	     "session.lock-wait: \"61m\": a time from 0 to 1h"},
	    {"app a { " BACKEND " session {", "read-only = { status }", "} }",
	     "session.read-only: \"status\": \"/PREFIX\", of plain segments, or \"*SUFFIX\""},
	    {"app a { " BACKEND " session {", "stateless = { '*' }", "} }",
	     "session.stateless: \"*\": \"/PREFIX\", of plain segments, or \"*SUFFIX\""},
	    {ADOPTED, "cookie-format = signed", "} }", "session.cookie-format: \"signed\": plain or express"},
	    {"app a { " BACKEND " session { mode=adopted cookie=c key=k", "socket = localhost", "} }",
	     "session.socket: \"localhost\": an address is \"127.0.0.1:9001\", \"[::1]:9001\" or \"unix:/path\""},
	    {"app a { " BACKEND " session { mode=adopted cookie=c key=k", "socket = 'spawn:/bin/sh'", "} }",
	     "session.socket: \"spawn:/bin/sh\": only a backend can be spawned"},
	    {"app a { " BACKEND " session { mode=adopted cookie=c socket='unix:/s'", "key = 'a b'", "} }",
	     "session.key: \"a b\": at most 128 visible ASCII characters"},
	    {"app a { " BACKEND " session { mode=adopted cookie=c socket='unix:/s'", "key = '\xc3\xa4'", "} }",
	     "session.key: \"\\xc3\\xa4\": at most 128 visible ASCII characters"},
	    {ADOPTED, "password = '" PATH_108 TEN TEN "a'", "} }",
	     "session.password: at most 128 printable ASCII characters"},
	    {ADOPTED, "socket-mode = 0999", "} }",
	     "session.socket-mode: \"0999\": permission bits in octal, 0000 to 0777"},
	    {ADOPTED, "socket-owner = no-such-user", "} }",
	     "session.socket-owner: \"no-such-user\": a user of this system"},
	    {ADOPTED, "socket-group = no-such-group", "} }",
	     "session.socket-group: \"no-such-group\": a group of this system"},
	    {ADOPTED, "socket-connections = 0", "} }", "session.socket-connections: \"0\": a number from 1 to 1000000"},
	    {"store { memory {", "max = 1k", "} }", "store.memory.max: \"1k\": a size from 1M to 1024G"},
	    {"store { memory {", "evict = all", "} }", "store.memory.evict: \"all\": never, idle, lru or ttl"},
	    {"store { memory {", "after = 999ms", "} }", "store.memory.after: \"999ms\": a time from 1s to 3650d"},
	    {"store { memory {", "after = 3651d", "} }", "store.memory.after: \"3651d\": a time from 1s to 3650d"},
	    {"store { memory {", "max-pinned = 1025G", "} }",
	     "store.memory.max-pinned: \"1025G\": a size from 0 to 1024G"},
	    {"store { memory {", "max-pinned = 513M", "} }",
	     "store.memory.max-pinned: \"513M\": at most max, which is for all sessions"},
	    {"store { disk {", "max = 1048577G", "} }", "store.disk.max: \"1048577G\": a size from 0 to 1048576G"},
	    {"store { disk {", "max = 1", "} }", "store.disk.max: \"1\": at least 16M, or 0: no disk store"},
	    {"store { disk {", "max = 16777215", "} }",
	     "store.disk.max: \"16777215\": at least 16M, or 0: no disk store"},
	    {"store { disk {", "evict = lru", "} }", "store.disk.evict: \"lru\": ttl"},
	    {"store { disk {", "sync = always", "} }", "store.disk.sync: \"always\": none, write or group"},
	    {"store { disk {", "cache = 1023k", "} }", "store.disk.cache: \"1023k\": a size from 1M to 64G"},
	    {"store { disk {", "cache = 65G", "} }", "store.disk.cache: \"65G\": a size from 1M to 64G"},
	    {"admin {", "socket = admin.sock", "}", "admin.socket: \"admin.sock\": a full path of at most 107 bytes"},
	    {"admin {", "socket = " PATH_108, "}", "admin.socket: \"" PATH_108 "\": a full path of at most 107 bytes"},
	    {"admin {", "open = yes", "}", "admin.open: \"yes\": on-signal, always or never"},
	    {"admin {", "idle = 0", "}", "admin.idle: \"0\": a time from 1s to 365d"},
	    {"admin {", "idle = 366d", "}", "admin.idle: \"366d\": a time from 1s to 365d"},
	    {"status {", "path = status", "}", "status.path: \"status\": " PLAIN_PATH},
	    {"status {", "path = ''", "}", "status.path: \"\": " PLAIN_PATH},
	    {"status {", "path = '/a?b'", "}", "status.path: \"/a?b\": " PLAIN_PATH},
	    {"status {", "path = '/a//b'", "}", "status.path: \"/a//b\": " PLAIN_PATH},
	    {"status {", "path = '/a/../b'", "}", "status.path: \"/a/../b\": " PLAIN_PATH},
	    {"status { path = /a", "allow = { localhost }", "}", "status.allow: \"localhost\": " NETWORKS},
	    {"status { path = /a", "allow = 10.0.0.1/8", "}", "status.allow: \"10.0.0.1/8\": " NETWORKS},
	    {"status { path = /a", "allow = { }", "}", "status.allow: an empty list says nothing: leave it out"},
	    {"cluster eu {" IDENTITY, "listen = '10.0.0.1'", "}", "cluster.listen: \"10.0.0.1\": " TCP},
	    {CLUSTER, "address = 'a:7400'", "}", "cluster.address: \"a:7400\": " TCP},
	    {"cluster eu { listen='10.0.0.1:7400'" IDENTITY, "peers = { '10.0.0.2:0' }", "}",
	     "cluster.peers: \"10.0.0.2:0\": " TCPS},
	    {CLUSTER, "public-url = 'https://a/'", "}", "cluster.public-url: \"https://a/\": " URL},
	    {CLUSTER, "zone = 'rack 1'", "}",
	     "cluster.zone: \"rack 1\": 1 to 64 letters, digits, hyphens, underscores or dots"},
	    {CLUSTER, "buckets = 65537", "}", "cluster.buckets: \"65537\": a number from 1 to 65536"},
	    {"cluster eu { listen='10.0.0.1:7400' key=/k ca=/a", "certificate = a.pem", "}",
	     "cluster.certificate: \"a.pem\": a full path"},
	    {"cluster eu { listen='10.0.0.1:7400' certificate=/c ca=/a", "key = a.key", "}",
	     "cluster.key: \"a.key\": a full path"},
	    {"cluster eu { listen='10.0.0.1:7400' certificate=/c key=/k", "ca = ca.pem", "}",
	     "cluster.ca: \"ca.pem\": a full path"},
	    {CLUSTER, "crl = ''", "}", "cluster.crl: \"\": a full path"},
	    {CLUSTER, "votes = 2", "}", "cluster.votes: \"2\": yes or no"},
	    {CLUSTER, "priority = 1001", "}", "cluster.priority: \"1001\": a number from 0 to 1000"},
	    {CLUSTER, "witness = maybe", "}", "cluster.witness: \"maybe\": yes or no"},
	    {CLUSTER, "failure-timeout = 199ms", "}", "cluster.failure-timeout: \"199ms\": a time from 200ms to 1m"},
	    {CLUSTER, "election-timeout = 11s", "}", "cluster.election-timeout: \"11s\": a time from 10ms to 10s"},
	    {"log {", "level = loud", "}", "log.level: \"loud\": error, warn, info or debug"},
	    {"log {", "to = syslog", "}", "log.to: \"syslog\": stderr or a full path"},
	};
	char text[1024], expected[512];
	bool seen[256] = {false};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		snprintf(text, sizeof text, LISTEN "%s\n%s\n%s\n", rows[i].before, rows[i].option, rows[i].after);
		snprintf(expected, sizeof expected, "f:3: %s\n", rows[i].expected);
		assert_errors(text, expected);
		for (size_t k = 0; k < conf_option_count; k++) {
			size_t of = strlen(conf_options[k].section), called = strlen(conf_options[k].name);
			const char *said = rows[i].expected;
			if (strncmp(said, conf_options[k].section, of) == 0 && said[of] == '.' &&
			    strncmp(said + of + 1, conf_options[k].name, called) == 0 && said[of + 1 + called] == ':')
				seen[k] = true;
		}
	}
	for (size_t k = 0; k < conf_option_count; k++) {
		if (conf_option_has_value(&conf_options[k]) && !seen[k])
			fail_msg("no row for %s.%s", conf_options[k].section, conf_options[k].name);
	}
}

static void all_errors_at_once_in_order(void **state)
{
	(void)state;
	assert_errors("node \"al pha\" {\n"
		      "  workers = 0\n"
		      "  /* a comment\n"
		      "     of two lines */\n"
		      "  colour = red\n"
		      "  shapes = { round, \"flat\" }\n"
		      "}\n"
		      "listen \"x:1\" { protocol = http }\n"
		      "app \"shop\" {\n"
		      "  backend \"unix:run\" {\n"
		      "    weight = 0\n"
		      "    extra \"x\" { deep { a = { b } } c = d }\n"
		      "    fails = none\n"
		      "  }\n"
		      "  session { ttl = 1y\n"
		      "    lock = no }\n"
		      "}\n"
		      "cluster \"e u\" { listen = \"unix:/x\"" IDENTITY "}\n"
		      "nonsense { }\n"
		      "log { level = loud }\n",
		      "f:1: node: \"al pha\": a name is 1 to 64 letters, digits, '-', '_' or '.'\n"
		      "f:2: node.workers: \"0\": a number from 1 to 256\n"
		      "f:5: node.colour: \"red\": unknown; known here: workers, state-dir, run-dir, pid-file, user, "
		      "group, drain-timeout, scheduling\n"
		      "f:6: node.shapes: \"round\": unknown; known here: workers, state-dir, run-dir, pid-file, user, "
		      "group, drain-timeout, scheduling\n"
		      "f:8: listen: \"x:1\": the host is a numeric address, an IPv6 address in brackets\n"
		      "f:8: listen.protocol: \"http\": fastcgi or scgi\n"
		      "f:10: backend: \"unix:run\": the path of a Unix socket begins with /\n"
		      "f:11: backend.weight: \"0\": a number from 1 to 256\n"
		      "f:12: backend.extra: \"x\": unknown; known here: protocol, connections, weight, keep-alive, "
		      "idle-timeout, connect-timeout, fails, backoff, backoff-max, processes, stop-timeout\n"
		      "f:13: backend.fails: \"none\": a number from 1 to 1000\n"
		      "f:15: session.ttl: \"1y\": a time from 1s to 3650d\n"
		      "f:16: session.lock: \"no\": exclusive or shared\n"
		      "f:18: cluster: \"e u\": a name is 1 to 64 letters, digits, '-', '_' or '.'\n"
		      "f:18: cluster.listen: \"unix:/x\": " TCP "\n"
		      "f:19: nonsense: unknown; " KNOWN_HERE "\n"
		      "f:20: log.level: \"loud\": error, warn, info or debug\n");
}

static void what_is_not_built_is_refused_by_name(void **state)
{
	(void)state;
	assert_errors(LISTEN "store { shared { url = \"postgresql://weir@db/weir\" } }\n"
			     "app a { " BACKEND " session {\n"
			     "relocate = auto\n"
			     "copies = 1\n"
			     "ack = memory\n"
			     "route = yes } }\n",
		      "f:2: store.shared: not built yet in this version\n"
		      "f:4: session.relocate: \"auto\": not built yet in this version\n"
		      "f:5: session.copies: \"1\": not built yet in this version\n"
		      "f:6: session.ack: \"memory\": not built yet in this version\n"
		      "f:7: session.route: \"yes\": not built yet in this version\n");
}

static void what_is_missing(void **state)
{
	(void)state;
	assert_errors("", "f:1: listen: missing: at least one is needed\n");
	assert_errors("# nothing\n", "f:1: listen: missing: at least one is needed\n");
	assert_errors("\n\nlisten \"127.0.0.1:1\"\n\n{ }", "f:3: listen.protocol: missing: fastcgi or scgi\n");
	assert_errors(LISTEN "\napp \"a\" {\n\n}", "f:3: app: \"a\": needs at least one backend\n");
	assert_errors(LISTEN "app \"a\" { " BACKEND "\nbackend { } }",
		      "f:3: app.backend: needs a title before the brace\n");
	assert_errors(LISTEN "app { }", "f:2: app: needs a title before the brace\n");
	assert_errors(LISTEN "status { }", "f:2: status.path: missing: " PLAIN_PATH "\n");
	assert_errors(LISTEN "status {\nallow = ::1 }", "f:2: status.path: missing: " PLAIN_PATH "\n");
}

static void what_is_given_twice(void **state)
{
	(void)state;
	assert_errors(LISTEN "\n" LISTEN, "f:3: listen: \"127.0.0.1:9001\": given twice\n");
	assert_errors(LISTEN "app a { " BACKEND " match={'path:/a'} }\napp a { " BACKEND " match={'path:/b'} }",
		      "f:3: app: \"a\": given twice\n");
	assert_errors(LISTEN "app a { " BACKEND "\n" BACKEND " }",
		      "f:3: backend: \"127.0.0.1:9002\": given twice in this app\n");
	assert_errors(LISTEN "log { }\nlog { }", "f:3: log: only one such section is allowed\n");
	assert_errors(LISTEN "node a { }\nnode b { }", "f:3: node: \"b\": only one such section is allowed\n");
	assert_errors(LISTEN "node a { }\nnode a { }", "f:3: node: \"a\": only one such section is allowed\n");
	assert_errors(LISTEN "store { memory { }\nmemory { } }",
		      "f:3: store.memory: only one such section is allowed\n");
	assert_errors(LISTEN "store { disk { }\ndisk { } }", "f:3: store.disk: only one such section is allowed\n");
	assert_errors(LISTEN "admin { }\nadmin { }", "f:3: admin: only one such section is allowed\n");
	assert_errors(LISTEN "status { path = /a }\nstatus { path = /b }",
		      "f:3: status: only one such section is allowed\n");
	assert_errors(LISTEN "status { path = /a allow = { ::1,\n10.0.0.0/8, ::1 } }",
		      "f:3: status.allow: \"::1\": given twice\n");
	assert_errors(LISTEN "app a { " BACKEND " session { }\nsession { } }",
		      "f:3: session: only one such section is allowed\n");
	assert_errors(LISTEN "log { level = info\nlevel = warn }", "f:3: log.level: \"warn\": given twice\n");
	assert_errors(LISTEN "app a { " BACKEND " match = { 'path:/a' }\nmatch = { 'path:/b' } }",
		      "f:3: app.match: \"path:/b\": given twice\n");
	assert_errors(LISTEN "app a { " BACKEND " match = { 'path:/a',\n'path:/a' } }",
		      "f:3: app.match: \"path:/a\": given twice\n");
	assert_errors(LISTEN "app a { " BACKEND " session { stateless = { '*.a', '*.b',\n'*.a' } } }",
		      "f:3: session.stateless: \"*.a\": given twice\n");
}

static void assert_rivals(const char *a, const char *b, bool rivals)
{
	char text[512];
	struct conf *c = NULL;

	snprintf(text, sizeof text, LISTEN "app a { " BACKEND " %s }\napp b { " BACKEND " %s }", a, b);
	if (rivals) {
		assert_errors(text, "f:3: app: \"b\": matches the same host and path as app \"a\"\n");
	} else {
		c = load_good(text);
		conf_free(&c);
	}
}

static void two_apps_never_match_the_same(void **state)
{
	(void)state;
	assert_rivals("", "", true);
	assert_rivals("match = { 'path:/a' }", "match = { 'path:/a' }", true);
	assert_rivals("match = { 'path:/a', 'path:/b' }", "match = { 'path:/c', 'path:/b' }", true);
	assert_rivals("match = { 'host:a' }", "match = { 'host:A' }", true);
	assert_rivals("match = { 'host:a' }", "match = { 'host:a', 'path:/' }", true);
	assert_rivals("", "match = { 'path:/' }", true);
	assert_rivals("match = { 'host:a', 'path:/x' }", "match = { 'host:b', 'host:a', 'path:/x' }", true);
	assert_rivals("", "match = { 'path:/a' }", false);
	assert_rivals("", "match = { 'host:a' }", false);
	assert_rivals("match = { 'path:/a' }", "match = { 'path:/b' }", false);
	assert_rivals("match = { 'path:/a' }", "match = { 'path:/a/b' }", false);
	assert_rivals("match = { 'path:/a' }", "match = { 'path:/a/' }", false);
	assert_rivals("match = { 'host:a' }", "match = { 'host:b' }", false);
	assert_rivals("match = { 'host:a.b' }", "match = { 'host:*.b' }", false);
	assert_rivals("match = { 'host:a', 'path:/x' }", "match = { 'host:a' }", false);
	assert_rivals("match = { 'host:a', 'path:/x' }", "match = { 'path:/x' }", false);
}

static void files_of_the_process_stand_in_its_run_dir(void **state)
{
	(void)state;
	struct conf *c = load_good(LISTEN "node n { run-dir = /var/run/w } admin { }");
	assert_string_equal(c->admin.socket, "/var/run/w/admin.sock");
	assert_string_equal(c->pid_file, "/var/run/w/weir.pid");
	conf_free(&c);
	c = load_good(LISTEN "admin { socket = /x/s } node n { run-dir = /y pid-file = /x/p }");
	assert_string_equal(c->admin.socket, "/x/s");
	assert_string_equal(c->pid_file, "/x/p");
	conf_free(&c);
	c = load_good(LISTEN "admin { socket = " PATH_107 " }");
	assert_string_equal(c->admin.socket, PATH_107);
	conf_free(&c);
}

static void the_run_dir_leaves_room_for_the_socket(void **state)
{
	(void)state;
	char text[512], expected[512], folder[] = PATH_107;
	folder[107 - strlen("/admin.sock")] = '\0';
	snprintf(text, sizeof text, LISTEN "node n {\nrun-dir = %s }", folder);
	struct conf *c = load_good(text);
	assert_int_equal(strlen(c->admin.socket), 107);
	conf_free(&c);
	snprintf(text, sizeof text, LISTEN "node n {\nrun-dir = %sa }", folder);
	snprintf(expected, sizeof expected,
		 "f:3: node.run-dir: \"%sa\": too long: the path of admin.sock in it has more than 107 bytes\n",
		 folder);
	assert_errors(text, expected);
	snprintf(text, sizeof text, LISTEN "node n { run-dir = %sa } admin { socket = /x }", folder);
	c = load_good(text);
	conf_free(&c);
}

static void the_admin_socket_is_no_listener(void **state)
{
	(void)state;
	assert_errors("listen 'unix:/run/weir/admin.sock' { protocol = scgi }",
		      "f:1: listen: \"unix:/run/weir/admin.sock\": is the socket of admin\n");
	assert_errors(LISTEN "admin { socket = /s }\nlisten 'unix:/s' { protocol = scgi }",
		      "f:3: listen: \"unix:/s\": is the socket of admin\n");
	struct conf *c =
	    load_good("listen 'unix:/run/weir/admin.sock' { protocol = scgi } admin { socket = /run/weir/a }");
	conf_free(&c);
}

static bool holds(const struct conf *c, const char *address)
{
	return conf_networks_hold(&c->status.allow, address, strlen(address));
}

static void the_status_page_is_for_this_machine_unless_said(void **state)
{
	(void)state;
	struct conf *c = load_good(LISTEN "status { path = /weir-status }");
	assert_string_equal(c->status.path, "/weir-status");
	assert_int_equal(c->status.allow.count, 2);
	assert_true(holds(c, "127.0.0.1") && holds(c, "127.255.255.255") && holds(c, "::1"));
	assert_false(holds(c, "128.0.0.1") || holds(c, "126.255.255.255") || holds(c, "::2"));
	conf_free(&c);
	c = load_good(LISTEN "status { path = /a/ allow = { 10.0.0.0/8, '2001:db8::/32' } allow += 192.168.1.2 }");
	assert_string_equal(c->status.path, "/a/");
	assert_int_equal(c->status.allow.count, 3);
	assert_true(holds(c, "10.1.2.3") && holds(c, "2001:db8:1::2") && holds(c, "192.168.1.2"));
	assert_false(holds(c, "127.0.0.1") || holds(c, "::1"));
	conf_free(&c);
	/* The page wins; the app is fine all the same. */
	c = load_good(LISTEN "app a { " BACKEND " match = 'path:/weir-status' } status { path = /weir-status }");
	conf_free(&c);
}

static void a_node_may_do_without_a_disk_store(void **state)
{
	(void)state;
	struct conf *c = load_good(LISTEN "store { disk { max = 0 } memory { evict = never } }");
	assert_int_equal(c->disk.max, 0);
	assert_int_equal(c->memory.evict, CONF_EVICT_NEVER);
	assert_int_equal(c->disk.cache, 64 << 20);
	conf_free(&c);
	c = load_good(LISTEN "store { disk { max = 1048576G sync = none } memory { evict = ttl } }");
	assert_int_equal(c->disk.max, UINT64_C(1) << 50);
	assert_int_equal(c->disk.sync, CONF_SYNC_NONE);
	assert_int_equal(c->memory.evict, CONF_EVICT_TTL);
	conf_free(&c);
	c = load_good(LISTEN
		      "store { disk { sync = group } memory { evict = idle after = 3650d } } admin { open = always }");
	assert_int_equal(c->disk.sync, CONF_SYNC_GROUP);
	assert_int_equal(c->memory.evict, CONF_EVICT_IDLE);
	assert_int_equal(c->admin.open, CONF_ADMIN_ALWAYS);
	conf_free(&c);
}

static void pinned_sessions_may_take_half_of_memory_unless_said(void **state)
{
	(void)state;
	struct conf *c = load_good(LISTEN "store { memory { max = 3M } }");
	assert_int_equal(c->memory.max_pinned, 3 << 19);
	conf_free(&c);
	c = load_good(LISTEN "store { memory { max-pinned = 1G  max = 1G } }");
	assert_int_equal(c->memory.max_pinned, 1 << 30);
	conf_free(&c);
	c = load_good(LISTEN "store { memory { max-pinned = 0 } }");
	assert_int_equal(c->memory.max_pinned, 0);
	conf_free(&c);
	/* One that was refused is not held against the other. */
	assert_errors(LISTEN "store { memory { max-pinned = 1G  max = 1k } }",
		      "f:2: store.memory.max: \"1k\": a size from 1M to 1024G\n");
}

static void programs_must_be_there(void **state)
{
	(void)state;
	assert_errors(LISTEN "app a {\nbackend 'spawn:/no/such/program x' { } }",
		      "f:3: backend: \"spawn:/no/such/program x\": there is no such program\n");
	assert_errors(LISTEN "app a {\nbackend 'spawn:/etc/passwd' { } }",
		      "f:3: backend: \"spawn:/etc/passwd\": the program cannot be executed\n");
	assert_errors(LISTEN "app a {\nbackend 'spawn:/tmp' { } }",
		      "f:3: backend: \"spawn:/tmp\": the program cannot be executed\n");
	assert_errors("listen 'spawn:/bin/sh' { protocol = scgi }",
		      "f:1: listen: \"spawn:/bin/sh\": only a backend can be spawned\n");
}

static void things_out_of_place(void **state)
{
	(void)state;
	assert_errors(LISTEN "log = 3\nnode a { }", "f:2: log: \"3\": a section: its options stand in braces, "
						    "without an equal sign\n");
	assert_errors(LISTEN "log {\nlevel { x = y } }", "f:3: log.level: an option: NAME = VALUE\n");
	assert_errors(LISTEN "log {\nlevel = { info } }", "f:3: log.level: \"info\": takes one value, not a list\n");
	assert_errors(LISTEN "log 'x' { }", "f:2: log: \"x\": has no title\n");
	assert_errors(LISTEN "app a { " BACKEND "\nmatch = { } }",
		      "f:3: app.match: an empty list says nothing: leave it out\n");
	assert_errors(LISTEN "memory { }", "f:2: memory: unknown; " KNOWN_HERE "\n");
	assert_errors(LISTEN "store|memory = 1", "f:2: syntax: \"|\": must stand in quotes\n"
						 "f:2: syntax: missing opening brace for section 'store'\n");
	assert_errors(LISTEN "include(\"/etc/passwd\")", "f:2: syntax: \"(\": must stand in quotes\n"
							 "f:2: syntax: \")\": must stand in quotes\n"
							 "f:2: include: \"/etc/passwd\": unknown; " KNOWN_HERE "\n");
	assert_errors(LISTEN "log { to = '/a\x07' }", "f:2: log.to: \"/a\\x07\": stderr or a full path\n");
}

/* A syntax error ends the reading; what stood before it is told all the same, what comes after is not made up. */
static void syntax_errors_have_their_line(void **state)
{
	(void)state;
	assert_errors("log { level = loud }\nlog2 { }\nlisten \"127.0.0.1:1\" {\n protocol scgi\n}\nlog { to = x }",
		      "f:1: log.level: \"loud\": error, warn, info or debug\n"
		      "f:2: log2: unknown; " KNOWN_HERE "\n"
		      "f:4: syntax: missing equal sign after option 'protocol'\n");
	assert_errors(LISTEN "\n}\n", "f:3: syntax: unexpected closing brace\n");
	assert_errors(LISTEN "log {\n level = info\n", "f:2: log: the section is not closed\n");
	assert_errors(LISTEN "log {\n level = \"info\n to = x }", "f:3: syntax: the string does not end on its line\n");
	assert_errors(LISTEN "log {\n level = 'info\\\n' }", "f:3: syntax: a backslash stands before a quote or a "
							     "backslash only\n");
	assert_errors(LISTEN "log {\n to = \"/a\\x00b\" }", "f:3: syntax: a backslash stands before a quote or a "
							    "backslash only\n");
	assert_errors(LISTEN "\n/* no end", "f:3: syntax: the comment does not end\n");
	assert_errors(LISTEN "log {\n to = /var//log }", "f:3: syntax: // and /* must stand in quotes\n");
	assert_errors("app a {\n match = { 'a' '\xff\x01' } }",
		      "f:2: syntax: unexpected token '\\xff\\x01'\n"
		      "f:2: app.match: \"a\": \"host:NAME\", "
		      "\"host:*.NAME\" or \"path:/PREFIX\", of plain segments\n");
	assert_errors(LISTEN "log {\n level = =\n}", "f:3: syntax: unexpected token '='\n");
	assert_errors(LISTEN "app a {\n match = { 'path:/a' 'path:/b' } }",
		      "f:3: syntax: unexpected token 'path:/b'\n");
	assert_errors(LISTEN "app a {\n session { stateless = { *.css } }",
		      "f:2: app: the section is not closed\nf:3: syntax: \"*\": must stand in quotes\n"
		      "f:3: session.stateless: \".css\": \"/PREFIX\", of plain segments, or \"*SUFFIX\"\n");
	assert_errors(LISTEN "bogus = \n", "f:2: bogus: unknown; " KNOWN_HERE "\n");
	assert_errors(LISTEN "\"log\" { }", "f:2: syntax: a name stands without quotes\n");
}

static void a_text_has_no_nul(void **state)
{
	(void)state;
	struct conf *c = NULL;
	struct buf errors;
	buf_init(&errors, 0);
	assert_int_equal(conf_load_text("f", VIEW("log { }\0log { }"), &c, &errors), ERR_CONFIG);
	assert_true(view_eq(buf_view(&errors), VIEW("f: syntax: a NUL byte: this is not a text\n")));
	buf_fini(&errors);
}

static void a_flood_of_errors_is_counted(void **state)
{
	(void)state;
	char text[4096] = LISTEN;
	for (int i = 0; i < CONF_REPORT_MAX + 23; i++)
		strcat(text, "x = 1\n");
	struct conf *c = NULL;
	assert_int_equal(load(text, &c), ERR_CONFIG);
	assert_non_null(strstr(errors_text, "f:101: x: "));
	assert_null(strstr(errors_text, "f:102: x: "));
	assert_non_null(strstr(errors_text, "f: and 23 more errors\n"));
}

static void files_are_read(void **state)
{
	(void)state;
	char path[] = "/tmp/weir-conf-XXXXXX";
	char expected[256];
	struct conf *c = NULL;
	struct buf errors;
	int fd = mkstemp(path);
	assert_true(fd >= 0);

	buf_init(&errors, 0);
	assert_int_equal(write(fd, LISTEN, strlen(LISTEN)), strlen(LISTEN));
	assert_int_equal(conf_load(path, &c, &errors), 0);
	assert_int_equal(c->listen_count, 1);
	conf_free(&c);
	assert_int_equal(write(fd, "x=1", 3), 3);
	assert_int_equal(conf_load(path, &c, &errors), ERR_CONFIG);
	snprintf(expected, sizeof expected, "%s:2: x: \"1\": unknown; " KNOWN_HERE "\n", path);
	assert_true(view_eq(buf_view(&errors), view_str(expected)));
	buf_clear(&errors);
	assert_int_equal(ftruncate(fd, 2 << 20), 0);
	assert_int_equal(conf_load(path, &c, &errors), ERR_CONFIG);
	snprintf(expected, sizeof expected, "%s: cannot be read: File too large\n", path);
	assert_true(view_eq(buf_view(&errors), view_str(expected)));
	buf_clear(&errors);
	close(fd);
	unlink(path);
	assert_int_equal(conf_load(path, &c, &errors), ERR_CONFIG);
	snprintf(expected, sizeof expected, "%s: cannot be read: No such file or directory\n", path);
	assert_true(view_eq(buf_view(&errors), view_str(expected)));
	buf_fini(&errors);
	assert_null(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_small_file_gets_all_defaults),
	    cmocka_unit_test(without_a_session_section_there_are_none),
	    cmocka_unit_test(the_example_loads),
	    cmocka_unit_test(every_option_reaches_its_field),
	    cmocka_unit_test(syntax_is_forgiving_where_it_is_clear),
	    cmocka_unit_test(the_environment_stays_outside),
	    cmocka_unit_test(every_option_says_what_is_allowed),
	    cmocka_unit_test(all_errors_at_once_in_order),
	    cmocka_unit_test(what_is_not_built_is_refused_by_name),
	    cmocka_unit_test(what_is_missing),
	    cmocka_unit_test(what_is_given_twice),
	    cmocka_unit_test(two_apps_never_match_the_same),
	    cmocka_unit_test(files_of_the_process_stand_in_its_run_dir),
	    cmocka_unit_test(the_run_dir_leaves_room_for_the_socket),
	    cmocka_unit_test(the_admin_socket_is_no_listener),
	    cmocka_unit_test(the_status_page_is_for_this_machine_unless_said),
	    cmocka_unit_test(a_node_may_do_without_a_disk_store),
	    cmocka_unit_test(pinned_sessions_may_take_half_of_memory_unless_said),
	    cmocka_unit_test(programs_must_be_there),
	    cmocka_unit_test(things_out_of_place),
	    cmocka_unit_test(syntax_errors_have_their_line),
	    cmocka_unit_test(a_text_has_no_nul),
	    cmocka_unit_test(a_flood_of_errors_is_counted),
	    cmocka_unit_test(files_are_read),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
