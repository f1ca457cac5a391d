/* Adopted sessions in the configuration: what the section holds, what goes with it, where a session socket may be. */
#include "base/error.h"
#include "conf/conf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define LISTEN "listen \"127.0.0.1:9001\" { protocol = fastcgi }\n"
#define BACKEND "backend \"127.0.0.1:9002\" { }"
#define APP(name, session) "app " name " { match = 'path:/" name "' " BACKEND " session { " session " } }\n"
#define OWN "mode = adopted cookie = PHPSESSID key = 'K:' "

static char errors_text[1 << 14];

static int load(const char *text, struct conf **out)
{
	struct buf errors;

	buf_init(&errors, sizeof errors_text - 1);
	int err = conf_load_text("f", view_str(text), out, &errors);
	struct view v = buf_view(&errors);
	snprintf(errors_text, sizeof errors_text, "%.*s", (int)v.len, (const char *)v.at);
	buf_fini(&errors);
	return err;
}

static struct conf *load_good(const char *text)
{
	struct conf *c = NULL;
	if (load(text, &c) != 0)
		fail_msg("refused: %s", errors_text);
	return c;
}

static void assert_good(const char *text)
{
	struct conf *c = load_good(text);
	conf_free(&c);
}

static void assert_errors(const char *text, const char *expected)
{
	struct conf *c = NULL;
	assert_int_equal(load(text, &c), ERR_CONFIG);
	assert_string_equal(errors_text, expected);
}

/* --- what it becomes -------------------------------------------------------------------------------------------- */

static void a_short_section_gets_all_defaults(void **state)
{
	(void)state;
	struct conf *c = load_good(LISTEN APP("a", OWN "socket = 'unix:/s'"));
	const struct conf_session *s = &c->apps[0].session;
	assert_int_equal(s->mode, CONF_SESSION_ADOPTED);
	assert_string_equal(s->cookie, "PHPSESSID");
	assert_int_equal(s->cookie_format, CONF_COOKIE_PLAIN);
	assert_string_equal(s->key, "K:");
	assert_string_equal(s->password, "");
	assert_int_equal(s->socket.kind, CONF_UNIX);
	assert_string_equal(s->socket.path, "/s");
	assert_int_equal(s->socket_mode, 0660);
	assert_null(s->socket_owner);
	assert_null(s->socket_group);
	assert_int_equal(s->socket_connections, 1024);
	assert_int_equal(s->max_size, 1 << 20);
	assert_int_equal(s->lock, CONF_LOCK_EXCLUSIVE);
	assert_int_equal(s->lock_wait_ms, 30000);
	conf_free(&c);
}

static void every_option_reaches_its_field(void **state)
{
	(void)state;
	struct conf *c = load_good(LISTEN APP("a", OWN "socket = 'unix:/s' cookie-format = express password = 'p w' "
						       "socket-mode = 0600 socket-owner = root socket-group = root "
						       "socket-connections = 7 max-size = 3k lock = shared "
						       "lock-wait = 2s read-only = '/r' stateless = '*.css'"));
	const struct conf_session *s = &c->apps[0].session;
	assert_int_equal(s->cookie_format, CONF_COOKIE_EXPRESS);
	assert_string_equal(s->password, "p w");
	assert_int_equal(s->socket_mode, 0600);
	assert_string_equal(s->socket_owner, "root");
	assert_string_equal(s->socket_group, "root");
	assert_int_equal(s->socket_connections, 7);
	assert_int_equal(s->max_size, 3072);
	assert_int_equal(s->lock, CONF_LOCK_SHARED);
	assert_int_equal(s->lock_wait_ms, 2000);
	assert_int_equal(s->read_only.count, 1);
	assert_int_equal(s->stateless.count, 1);
	conf_free(&c);
}

/* The socket is listened at like any other address, behind the listeners of the file. */
static void a_session_socket_is_a_listener(void **state)
{
	(void)state;
	static const char text[] = LISTEN "listen 'unix:/l' { protocol = scgi }\n" APP("a", "")
	    APP("b", OWN "socket = '127.0.0.1:6390' socket-connections = 9") APP("c", "mode = none")
		APP("d", OWN "socket = 'unix:/d' socket-mode = 0600 socket-group = root");
	struct conf *c = load_good(text);
	assert_int_equal(c->listen_count, 4);
	const struct conf_listen *b = &c->listens[2], *d = &c->listens[3];
	assert_int_equal(c->listens[1].protocol, CONF_SCGI);
	assert_int_equal(b->protocol, CONF_RESP);
	assert_int_equal(b->app, 1);
	assert_string_equal(b->address.text, "127.0.0.1:6390");
	assert_int_equal(b->address.port, 6390);
	assert_int_equal(b->max_connections, 9);
	assert_int_equal(b->backlog, 1024);
	assert_int_equal(b->write_timeout_ms, 60000);
	assert_int_equal(d->protocol, CONF_RESP);
	assert_int_equal(d->app, 3);
	assert_string_equal(d->address.path, "/d");
	assert_int_equal(d->mode, 0600);
	assert_null(d->owner);
	assert_string_equal(d->group, "root");
	conf_free(&c);
}

/* Some session libraries put nothing before the id. It has to be said: by default nothing is taken for a session. */
static void a_key_may_be_empty_but_must_be_given(void **state)
{
	(void)state;
	struct conf *c = load_good(LISTEN APP("a", "mode = adopted cookie = c socket = 'unix:/s' key = ''"));
	assert_string_equal(c->apps[0].session.key, "");
	conf_free(&c);
	assert_errors(LISTEN APP("a", "mode = adopted cookie = c socket = 'unix:/s'"),
		      "f:2: session.key: missing: at most 128 visible ASCII characters\n");
}

/* --- what goes with what ---------------------------------------------------------------------------------------- */

static void what_an_adopted_session_needs(void **state)
{
	(void)state;
	assert_errors(LISTEN "app a { " BACKEND "\nsession { mode = adopted } }",
		      "f:3: session.socket: missing: an address as of listen\n"
		      "f:3: session.key: missing: at most 128 visible ASCII characters\n"
		      "f:3: session.cookie: missing: with mode = adopted the app's own cookie\n");
}

static void what_only_managed_sessions_have(void **state)
{
	(void)state;
	assert_errors(LISTEN APP("a", OWN "socket = 'unix:/s'\ncookie-path = /\ncookie-domain = a.org\n"
					  "cookie-http-only = yes\ncookie-same-site = none\n"
					  "cookie-secure = never\nttl = 1h"),
		      "f:3: session.cookie-path: \"/\": only with mode = managed\n"
		      "f:4: session.cookie-domain: \"a.org\": only with mode = managed\n"
		      "f:5: session.cookie-http-only: \"yes\": only with mode = managed\n"
		      "f:6: session.cookie-same-site: \"none\": only with mode = managed\n"
		      "f:7: session.cookie-secure: \"never\": only with mode = managed\n"
		      "f:8: session.ttl: \"1h\": only with mode = managed\n");
	assert_good(LISTEN APP("a", "mode = none cookie-path = / ttl = 1h"));
}

#define SOCKET_OPTIONS                                                                                                 \
	"\nsocket = 'unix:/s'\nkey = k\ncookie-format = plain\npassword = secret\nsocket-mode = 0600\n"                \
	"socket-owner = root\nsocket-group = root\nsocket-connections = 1"
#define SOCKET_ERRORS                                                                                                  \
	"f:3: session.socket: \"unix:/s\": only with mode = adopted\n"                                                 \
	"f:4: session.key: \"k\": only with mode = adopted\n"                                                          \
	"f:5: session.cookie-format: \"plain\": only with mode = adopted\n"                                            \
	"f:6: session.password: only with mode = adopted\n"                                                            \
	"f:7: session.socket-mode: \"0600\": only with mode = adopted\n"                                               \
	"f:8: session.socket-owner: \"root\": only with mode = adopted\n"                                              \
	"f:9: session.socket-group: \"root\": only with mode = adopted\n"                                              \
	"f:10: session.socket-connections: \"1\": only with mode = adopted\n"

static void what_only_adopted_sessions_have(void **state)
{
	(void)state;
	assert_errors(LISTEN APP("a", SOCKET_OPTIONS), SOCKET_ERRORS);
	assert_errors(LISTEN APP("a", "mode = none" SOCKET_OPTIONS), SOCKET_ERRORS);
	/* A mode that is none has its own error, and what goes with it is not known. */
	assert_errors(LISTEN APP("a", "mode = adoptet" SOCKET_OPTIONS),
		      "f:2: session.mode: \"adoptet\": none, managed or adopted\n");
}

static void permissions_are_for_unix_sockets(void **state)
{
	(void)state;
	assert_errors(LISTEN APP("a", OWN "socket = '[::1]:1'\nsocket-mode = 0600\nsocket-owner = root"),
		      "f:3: session.socket-mode: \"0600\": only for unix: addresses\n"
		      "f:4: session.socket-owner: \"root\": only for unix: addresses\n");
}

static void a_password_is_not_shown(void **state)
{
	(void)state;
	assert_errors(LISTEN APP("a", OWN "socket = 'unix:/s' password = tell\npassword = tell"),
		      "f:3: session.password: given twice\n");
	assert_errors(LISTEN APP("a", OWN "socket = 'unix:/s' password = 't\xc3\xa4ll'"),
		      "f:2: session.password: at most 128 printable ASCII characters\n");
}

/* --- where a socket may be -------------------------------------------------------------------------------------- */

static void without_a_password_it_is_for_this_machine(void **state)
{
	(void)state;
	static const char *const near[] = {"unix:/s", "127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"};
	static const char *const far[] = {"0.0.0.0:1",   "[::]:1",          "10.0.0.1:1",
					  "128.0.0.1:1", "[2001:db8::1]:1", "[::ffff:10.0.0.1]:1"};
	char text[512], expected[512];

	for (size_t i = 0; i < sizeof near / sizeof *near; i++) {
		snprintf(text, sizeof text, LISTEN APP("a", OWN "socket = '%s'"), near[i]);
		assert_good(text);
	}
	for (size_t i = 0; i < sizeof far / sizeof *far; i++) {
		snprintf(text, sizeof text, LISTEN APP("a", OWN "socket = '%s'"), far[i]);
		snprintf(expected, sizeof expected,
			 "f:2: session.socket: \"%s\": not a loopback address: needs a password\n", far[i]);
		assert_errors(text, expected);
		snprintf(text, sizeof text, LISTEN APP("a", OWN "socket = '%s' password = ''"), far[i]);
		assert_errors(text, expected);
		snprintf(text, sizeof text, LISTEN APP("a", OWN "socket = '%s' password = p"), far[i]);
		assert_good(text);
	}
}

static void it_is_nobody_elses(void **state)
{
	(void)state;
	assert_errors(LISTEN APP("a", OWN "\nsocket = '127.0.0.1:9001'"),
		      "f:3: session.socket: \"127.0.0.1:9001\": is an address of listen\n");
	assert_errors(LISTEN APP("a", OWN "\nsocket = 'unix:/run/weir/admin.sock'"),
		      "f:3: session.socket: \"unix:/run/weir/admin.sock\": is the socket of admin\n");
	assert_errors(LISTEN APP("a", OWN "socket = '[::1]:7'") APP("b", OWN "socket = '[0::1]:7'"),
		      "f:3: session.socket: \"[0::1]:7\": is the socket of app \"a\"\n");
	assert_good(LISTEN APP("a", OWN "socket = '[::1]:7'") APP("b", OWN "socket = '[::1]:8'"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_short_section_gets_all_defaults),
	    cmocka_unit_test(every_option_reaches_its_field),
	    cmocka_unit_test(a_session_socket_is_a_listener),
	    cmocka_unit_test(a_key_may_be_empty_but_must_be_given),
	    cmocka_unit_test(what_an_adopted_session_needs),
	    cmocka_unit_test(what_only_managed_sessions_have),
	    cmocka_unit_test(what_only_adopted_sessions_have),
	    cmocka_unit_test(permissions_are_for_unix_sockets),
	    cmocka_unit_test(a_password_is_not_shown),
	    cmocka_unit_test(without_a_password_it_is_for_this_machine),
	    cmocka_unit_test(it_is_nobody_elses),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
