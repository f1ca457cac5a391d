/* The file becomes a struct: text -> scan -> libconfuse -> tree -> fields -> checks. */
#include "conf/conf.h"

#include "base/error.h"
#include "base/invariant.h"
#include "conf/check.h"
#include "conf/field.h"
#include "conf/parse.h"
#include "conf/scan.h"
#include "conf/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Far more than a person writes. */
enum { FILE_MAX_BYTES = 1 << 20 };

/* Of one value of a default. */
enum { PRESET_BYTES = 64 };

/* The default of session.max-size for adopted sessions, which no FastCGI record has to hold. */
enum { ADOPTED_MAX_SIZE = 1 << 20 };

struct loader {
	struct conf *conf; /* owned */
	struct conf_tree tree;
	struct conf_report report;
	bool whole; /* nothing was cut off after a syntax error, so what is missing is missing */
	bool no_memory;
};

/* --- fields ---------------------------------------------------------------------------------------------------- */

/* SECTION.OPTION: "VALUE": WHY; without a reason, what is allowed. */
static void report_option(struct loader *l, unsigned line, const struct conf_option *o, const char *value,
			  const char *why)
{
	struct buf name, text;

	buf_init(&name, 0);
	buf_init(&text, 0);
	conf_option_put_name(o->section, view_str(o->name), &name);
	buf_put_u8(&name, '\0');
	if (why)
		buf_put_str(&text, why);
	else
		conf_option_put_allowed(o, &text);
	buf_put_u8(&text, '\0');
	if (buf_error(&name) || buf_error(&text))
		l->no_memory = true;
	else
		conf_report_add(&l->report, line, (char *)name.data, value ? conf_option_shown(o, value) : NULL,
				(char *)text.data);
	buf_fini(&name);
	buf_fini(&text);
}

static bool has_control(const char *text)
{
	for (const char *c = text; *c; c++) {
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			return true;
	}
	return false;
}

static void set_value(struct loader *l, const struct conf_value *v, void *base)
{
	const char *why = NULL;
	int err = has_control(v->text) ? ERR_CONFIG : conf_field_set(v->option, base, v->text, &why);

	if (err == ERR_NO_MEMORY)
		l->no_memory = true;
	else if (err)
		report_option(l, v->line, v->option, v->text, why);
}

/* The values given for `o`; false when there are none. */
static bool set_given(struct loader *l, const struct conf_node *node, const struct conf_option *o, void *base)
{
	bool given = false;

	if (!node)
		return false;
	for (const struct list *link = node->values.next; link != &node->values; link = link->next) {
		const struct conf_value *v = CONTAINER_OF(link, const struct conf_value, link);
		if (v->option != o)
			continue;
		if (given && v->first)
			report_option(l, v->line, o, v->text, "given twice");
		set_value(l, v, base);
		given = true;
	}
	return given;
}

/* A list is written as in a file, without the braces. */
static void set_preset(struct loader *l, const struct conf_option *o, void *base)
{
	const char *at = o->preset;

	do {
		char value[PRESET_BYTES];
		const char *why = NULL;
		size_t len = conf_option_is_list(o) ? strcspn(at, ",") : strlen(at);
		INVARIANT(len < sizeof value);
		memcpy(value, at, len);
		value[len] = '\0';
		int err = conf_field_set(o, base, value, &why);
		INVARIANT(err != ERR_CONFIG); /* the table allows its own defaults */
		l->no_memory |= err != 0;
		at += len + strspn(at + len, ", ");
	} while (*at);
}

static void report_missing(struct loader *l, unsigned line, const struct conf_option *o)
{
	struct buf why;

	buf_init(&why, 0);
	conf_option_put_missing(o, &why);
	buf_put_u8(&why, '\0');
	if (buf_error(&why))
		l->no_memory = true;
	else
		report_option(l, line, o, NULL, (char *)why.data);
	buf_fini(&why);
}

/* All options of a section into its struct; `node` NULL: the section is not in the file, defaults only. */
static void fill(struct loader *l, const struct conf_node *node, const char *section, void *base)
{
	for (size_t i = 0; i < conf_option_count; i++) {
		const struct conf_option *o = &conf_options[i];
		if (strcmp(o->section, section) != 0 || !conf_option_has_value(o) || set_given(l, node, o, base))
			continue;
		/* Whether one is missing that goes with a mode is for the checks to say. */
		if (o->required && o->with == CONF_WITH_ANY && node && l->whole)
			report_missing(l, node->line, o);
		if (o->preset)
			set_preset(l, o, base);
	}
}

/* --- sections -------------------------------------------------------------------------------------------------- */

static void set_address(struct loader *l, const struct conf_node *node, bool spawn, struct conf_address *out)
{
	const char *why = "control characters are not allowed";
	int err = has_control(node->title) ? ERR_CONFIG : conf_address_parse(node->title, spawn, out, &why);

	if (err == ERR_NO_MEMORY)
		l->no_memory = true;
	else if (err)
		conf_report_add(&l->report, node->line, node->section, node->title, why);
}

static void set_name(struct loader *l, const struct conf_node *node, char **out)
{
	if (!conf_is_name(node->title))
		conf_report_add(&l->report, node->line, node->section, node->title,
				"a name is 1 to 64 letters, digits, '-', '_' or '.'");
	*out = strdup(node->title);
	l->no_memory |= !*out;
}

static void set_host_name(struct loader *l)
{
	char name[HOST_NAME_MAX + 1] = "";

	if (gethostname(name, sizeof name - 1) != 0 || name[0] == '\0')
		l->conf->node = strdup("localhost");
	else
		l->conf->node = strdup(name);
	l->no_memory |= !l->conf->node;
}

static uint32_t processors(void)
{
	const struct conf_option *o = conf_option_find("node", VIEW("workers"));
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	if (n < (long)o->min)
		return (uint32_t)o->min;
	return n > (long)o->max ? (uint32_t)o->max : (uint32_t)n;
}

/* A file that stands in the run-dir when nothing else is said. */
static void set_in_run_dir(struct loader *l, char **field, const char *name)
{
	const char *folder = l->conf->run_dir;

	if (*field || !folder) /* NULL: refused */
		return;
	size_t len = strlen(folder) + 1 + strlen(name) + 1;
	*field = malloc(len);
	if (*field)
		snprintf(*field, len, "%s/%s", folder, name);
	l->no_memory |= !*field;
}

static void load_node(struct loader *l)
{
	const struct conf_node *node = conf_tree_child(&l->tree.file, "node", 0);

	fill(l, node, "node", l->conf);
	if (node)
		set_name(l, node, &l->conf->node);
	else
		set_host_name(l);
	if (!conf_tree_value(node, "workers"))
		l->conf->workers = processors();
	set_in_run_dir(l, &l->conf->pid_file, "weir.pid");
}

/* Zeroed room for as many structs as there are sections of that kind; NULL when there are none. */
static void *make_all(struct loader *l, const struct conf_node *parent, const char *section, size_t size, size_t *count)
{
	size_t n = conf_tree_count(parent, section);
	void *all = n > 0 ? calloc(n, size) : NULL;

	l->no_memory |= n > 0 && !all;
	*count = all ? n : 0;
	return all;
}

static void load_listens(struct loader *l)
{
	struct conf *c = l->conf;

	c->listens = make_all(l, &l->tree.file, "listen", sizeof *c->listens, &c->listen_count);
	for (size_t i = 0; i < c->listen_count; i++) {
		const struct conf_node *node = conf_tree_child(&l->tree.file, "listen", i);
		set_address(l, node, false, &c->listens[i].address);
		fill(l, node, "listen", &c->listens[i]);
	}
}

static void load_app(struct loader *l, const struct conf_node *node, struct conf_app *app)
{
	const struct conf_node *session = conf_tree_child(node, "session", 0);

	set_name(l, node, &app->name);
	fill(l, node, "app", app);
	fill(l, session, "session", &app->session);
	if (!session)
		app->session.mode = CONF_SESSION_NONE;
	if (app->session.mode == CONF_SESSION_ADOPTED && !conf_tree_value(session, "max-size"))
		app->session.max_size = ADOPTED_MAX_SIZE;
	app->backends = make_all(l, node, "backend", sizeof *app->backends, &app->backend_count);
	for (size_t i = 0; i < app->backend_count; i++) {
		const struct conf_node *at = conf_tree_child(node, "backend", i);
		set_address(l, at, true, &app->backends[i].address);
		fill(l, at, "backend", &app->backends[i]);
		if (app->backends[i].address.kind == CONF_SPAWN && !conf_tree_value(at, "connections"))
			app->backends[i].connections = app->backends[i].processes;
	}
}

static void load_apps(struct loader *l)
{
	struct conf *c = l->conf;

	c->apps = make_all(l, &l->tree.file, "app", sizeof *c->apps, &c->app_count);
	for (size_t i = 0; i < c->app_count; i++)
		load_app(l, conf_tree_child(&l->tree.file, "app", i), &c->apps[i]);
}

static void load_memory(struct loader *l, const struct conf_node *node)
{
	struct conf_memory *memory = &l->conf->memory;

	fill(l, node, "store.memory", memory);
	if (!conf_tree_value(node, "max-pinned"))
		memory->max_pinned = memory->max / 2;
}

static void load_admin(struct loader *l)
{
	fill(l, conf_tree_child(&l->tree.file, "admin", 0), "admin", &l->conf->admin);
	set_in_run_dir(l, &l->conf->admin.socket, "admin.sock");
}

static void load_cluster(struct loader *l, const struct conf_node *node)
{
	struct conf_cluster *c = &l->conf->cluster;

	if (!node)
		return;
	set_name(l, node, &c->name);
	fill(l, node, "cluster", c);
	if (c->listen.text && !conf_tree_value(node, "address"))
		l->no_memory |= conf_address_copy(&c->listen, &c->address) != 0;
}

static void load_tree(struct loader *l)
{
	const struct conf_node *file = &l->tree.file;
	const struct conf_node *store = conf_tree_child(file, "store", 0);

	load_node(l);
	load_listens(l);
	load_apps(l);
	load_memory(l, conf_tree_child(store, "store.memory", 0));
	fill(l, conf_tree_child(store, "store.disk", 0), "store.disk", &l->conf->disk);
	load_admin(l);
	fill(l, conf_tree_child(file, "status", 0), "status", &l->conf->status);
	load_cluster(l, conf_tree_child(file, "cluster", 0));
	fill(l, conf_tree_child(file, "log", 0), "log", l->conf);
}

/* --- session sockets ------------------------------------------------------------------------------------------- */

static char *copy_of(struct loader *l, const char *text)
{
	char *copy = text ? strdup(text) : NULL;

	l->no_memory |= text && !copy;
	return copy;
}

/* It is listened at like any other address; what a session section does not say has listen's default. */
static void fill_socket(struct loader *l, const struct conf_session *s, size_t app, struct conf_listen *out)
{
	const char *why;

	fill(l, NULL, "listen", out);
	l->no_memory |= conf_address_parse(s->socket.text, false, &out->address, &why) != 0;
	out->protocol = CONF_RESP;
	out->app = app;
	out->mode = s->socket_mode;
	out->owner = copy_of(l, s->socket_owner);
	out->group = copy_of(l, s->socket_group);
	out->max_connections = s->socket_connections;
}

static bool has_socket(const struct conf_app *app)
{
	return app->session.mode == CONF_SESSION_ADOPTED;
}

/* Behind the sections `listen`; when all is known to be good. */
static void add_sockets(struct loader *l)
{
	struct conf *c = l->conf;
	size_t count = 0;

	for (size_t i = 0; i < c->app_count; i++)
		count += has_socket(&c->apps[i]);
	if (count == 0)
		return;
	struct conf_listen *all = realloc(c->listens, (c->listen_count + count) * sizeof *all);
	l->no_memory |= !all;
	if (!all)
		return;
	c->listens = all;
	for (size_t i = 0; i < c->app_count; i++) {
		if (!has_socket(&c->apps[i]))
			continue;
		memset(&all[c->listen_count], 0, sizeof *all);
		fill_socket(l, &c->apps[i].session, i, &all[c->listen_count++]);
	}
}

/* --- the whole ------------------------------------------------------------------------------------------------- */

/* `text` is NUL-terminated and is changed. */
static void load_text(struct loader *l, char *text, size_t len)
{
	if (memchr(text, '\0', len)) {
		conf_report_add(&l->report, 0, "syntax", NULL, "a NUL byte: this is not a text");
		return;
	}
	enum conf_scan scan = conf_scan(text, len, &l->report);
	/* What libconfuse says about a text that the scan had to cut is true only if the cut was left to it. */
	struct conf_report aside = {0};
	bool whole = conf_tree_read(&l->tree, text, scan == CONF_SCAN_BROKEN ? &aside : &l->report);
	l->no_memory |= l->tree.no_memory || aside.no_memory;
	conf_report_fini(&aside);
	if (whole && scan == CONF_SCAN_CUT)
		conf_report_add(&l->report, 0, "syntax", NULL, "cannot be understood");
	l->whole = whole && scan == CONF_SCAN_WHOLE;
	if (!l->no_memory)
		load_tree(l);
	if (!l->no_memory && l->whole)
		conf_check(l->conf, &l->tree, &l->report);
	if (!l->no_memory && l->whole && l->report.found == 0) {
		add_sockets(l);
		conf_cluster_drop_self(&l->conf->cluster);
	}
	conf_tree_fini(&l->tree);
}

int conf_load_text(const char *name, struct view text, struct conf **out, struct buf *errors)
{
	struct loader l = {.conf = calloc(1, sizeof *l.conf)};
	char *copy = malloc(text.len + 1);

	l.no_memory = !l.conf || !copy;
	if (!l.no_memory) {
		if (text.len > 0) {
			INVARIANT(text.at != NULL);
			memcpy(copy, text.at, text.len);
		}
		copy[text.len] = '\0';
		load_text(&l, copy, text.len);
	}
	free(copy);
	conf_report_write(&l.report, name, errors);
	int err = l.report.found > 0 ? ERR_CONFIG : 0;
	if (l.no_memory || l.report.no_memory)
		err = ERR_NO_MEMORY;
	conf_report_fini(&l.report);
	if (err)
		conf_free(&l.conf);
	else
		*out = l.conf;
	return err;
}

/* 0, or an errno. */
static int read_all(const char *path, struct buf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	ssize_t n = 1;

	if (fd < 0)
		return errno;
	while (n > 0 || (n < 0 && errno == EINTR)) {
		uint8_t *to = buf_reserve(out, 4096);
		if (!to)
			break;
		n = read(fd, to, 4096);
		if (n > 0)
			buf_commit(out, (size_t)n);
	}
	int err = n < 0 ? errno : 0;
	close(fd);
	return buf_error(out) ? EFBIG : err;
}

int conf_load(const char *path, struct conf **out, struct buf *errors)
{
	struct buf text;
	int err;

	buf_init(&text, FILE_MAX_BYTES);
	int why = read_all(path, &text);
	if (buf_error(&text) == ERR_NO_MEMORY) {
		err = ERR_NO_MEMORY;
	} else if (why) {
		buf_put_str(errors, path);
		buf_put_str(errors, ": cannot be read: ");
		buf_put_str(errors, strerror(why));
		buf_put_str(errors, "\n");
		err = ERR_CONFIG;
	} else {
		err = conf_load_text(path, buf_view(&text), out, errors);
	}
	buf_fini(&text);
	return err;
}

/* --- the end --------------------------------------------------------------------------------------------------- */

static void app_fini(struct conf_app *app)
{
	for (size_t i = 0; i < app->backend_count; i++)
		conf_address_fini(&app->backends[i].address);
	free(app->backends);
	free(app->name);
	conf_patterns_fini(&app->match);
	free(app->session.cookie);
	free(app->session.cookie_path);
	free(app->session.cookie_domain);
	conf_address_fini(&app->session.socket);
	free(app->session.key);
	free(app->session.password);
	free(app->session.socket_owner);
	free(app->session.socket_group);
	conf_patterns_fini(&app->session.read_only);
	conf_patterns_fini(&app->session.stateless);
}

static void listen_fini(struct conf_listen *l)
{
	conf_address_fini(&l->address);
	free(l->owner);
	free(l->group);
}

void conf_drop_apps(struct conf *c)
{
	while (c->listen_count > 0 && c->listens[c->listen_count - 1].protocol == CONF_RESP)
		listen_fini(&c->listens[--c->listen_count]);
	for (size_t i = 0; i < c->app_count; i++)
		app_fini(&c->apps[i]);
	free(c->apps);
	c->apps = NULL;
	c->app_count = 0;
}

void conf_free(struct conf **conf)
{
	struct conf *c = *conf;

	*conf = NULL;
	if (!c)
		return;
	conf_drop_apps(c);
	for (size_t i = 0; i < c->listen_count; i++)
		listen_fini(&c->listens[i]);
	free(c->listens);
	conf_cluster_fini(&c->cluster);
	free(c->node);
	free(c->state_dir);
	free(c->run_dir);
	free(c->user);
	free(c->group);
	free(c->log_to);
	free(c->pid_file);
	free(c->admin.socket);
	free(c->status.path);
	conf_networks_fini(&c->status.allow);
	free(c);
}
