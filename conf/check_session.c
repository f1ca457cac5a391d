/* Checks of the section session: what goes with its mode, and where a session socket may be. A field whose value was
 * refused before has its error already: here it is passed over. */
#include "conf/check_session.h"

#include "conf/parse.h"

#include <stdio.h>

enum { WHY_BYTES = 200 };

static void report(struct conf_report *r, unsigned line, const struct conf_option *o, const char *value,
		   const char *why)
{
	char name[64];

	snprintf(name, sizeof name, "%s.%s", o->section, o->name);
	conf_report_add(r, line, name, value ? conf_option_shown(o, value) : NULL, why);
}

static void report_value(struct conf_report *r, const struct conf_value *v, const char *why)
{
	report(r, v->line, v->option, v->text, why);
}

/* --- what goes with a mode -------------------------------------------------------------------------------------- */

/* The mode that is meant; false: it was refused. */
static bool known_mode(const struct conf_session *s, const struct conf_node *at)
{
	const struct conf_value *v = conf_tree_value(at, "mode");

	return s->mode != CONF_SESSION_NONE || (v && strcmp(v->text, "none") == 0);
}

/* With `none` what is meant for managed sessions may stay: it is how an app does without them for a while. A session
 * socket would be missed. */
static void check_foreign(const struct conf_session *s, const struct conf_node *at, struct conf_report *r)
{
	for (const struct list *link = at->values.next; link != &at->values; link = link->next) {
		const struct conf_value *v = CONTAINER_OF(link, const struct conf_value, link);
		if (!v->first)
			continue;
		if (v->option->with == CONF_WITH_MANAGED && s->mode == CONF_SESSION_ADOPTED)
			report_value(r, v, "only with mode = managed");
		if (v->option->with == CONF_WITH_ADOPTED && s->mode != CONF_SESSION_ADOPTED)
			report_value(r, v, "only with mode = adopted");
	}
}

static void report_missing(struct conf_report *r, unsigned line, const struct conf_option *o)
{
	char text[WHY_BYTES];
	struct buf why;

	buf_init(&why, sizeof text - 1);
	conf_option_put_missing(o, &why);
	snprintf(text, sizeof text, "%.*s", (int)buf_len(&why), (const char *)buf_view(&why).at);
	r->no_memory = r->no_memory || buf_error(&why);
	report(r, line, o, NULL, text);
	buf_fini(&why);
}

static void check_missing(const struct conf_node *at, struct conf_report *r)
{
	for (size_t i = 0; i < conf_option_count; i++) {
		const struct conf_option *o = &conf_options[i];
		if (strcmp(o->section, "session") == 0 && o->required && !conf_tree_value(at, o->name))
			report_missing(r, at->line, o);
	}
	if (!conf_tree_value(at, "cookie"))
		report(r, at->line, conf_option_find("session", VIEW("cookie")), NULL,
		       "missing: with mode = adopted the app's own cookie");
}

/* --- where the socket may be ------------------------------------------------------------------------------------ */

static bool is_loopback(const struct conf_address *a)
{
	static struct conf_network at[] = {
	    {.address = {127}, .bits = 8},
	    {.is_v6 = true, .address = {[15] = 1}, .bits = 128},
	};
	static const struct conf_networks loopback = {.at = at, .count = 2};

	return a->kind == CONF_UNIX || conf_networks_hold(&loopback, a->host, strlen(a->host));
}

static void check_rivals(const struct conf *c, size_t app, const struct conf_value *v, struct conf_report *r)
{
	const struct conf_address *a = &c->apps[app].session.socket;
	char why[WHY_BYTES];

	for (size_t i = 0; i < c->listen_count; i++) {
		if (c->listens[i].address.text && conf_address_equal(a, &c->listens[i].address)) {
			report_value(r, v, "is an address of listen");
			return;
		}
	}
	if (a->kind == CONF_UNIX && c->admin.socket && strcmp(a->path, c->admin.socket) == 0) {
		report_value(r, v, "is the socket of admin");
		return;
	}
	for (size_t i = 0; i < app; i++) {
		if (c->apps[i].session.socket.text && conf_address_equal(a, &c->apps[i].session.socket)) {
			snprintf(why, sizeof why, "is the socket of app \"%s\"", c->apps[i].name);
			report_value(r, v, why);
			return;
		}
	}
}

static void check_socket(const struct conf *c, size_t app, const struct conf_node *at, struct conf_report *r)
{
	const struct conf_session *s = &c->apps[app].session;
	const struct conf_value *v = conf_tree_value(at, "socket");

	if (!v || !s->socket.text)
		return;
	if (!is_loopback(&s->socket) && s->password && !*s->password)
		report_value(r, v, "not a loopback address: needs a password");
	check_rivals(c, app, v, r);
}

void conf_check_session(const struct conf *c, size_t app, const struct conf_node *at, struct conf_report *r)
{
	const struct conf_session *s = &c->apps[app].session;

	if (s->cookie_same_site == CONF_SAME_SITE_NONE && s->cookie_secure == CONF_SECURE_NEVER &&
	    s->mode != CONF_SESSION_ADOPTED)
		report_value(r, conf_tree_value(at, "cookie-secure"),
			     "browsers drop a cookie with cookie-same-site none that is not secure");
	if (!known_mode(s, at))
		return;
	check_foreign(s, at, r);
	if (s->mode != CONF_SESSION_ADOPTED)
		return;
	check_missing(at, r);
	check_socket(c, app, at, r);
}
