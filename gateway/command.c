/* From a line to a function, and from what that has found to a reply. */
#include "gateway/command_run.h"

#include "base/error.h"
#include "gateway/render.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { MESSAGE_MAX = 1024 };

static void (*const runs[ADMIN_COMMANDS])(struct command *) = {
    [ADMIN_STATUS] = command_status,
    [ADMIN_HEALTH] = command_health,
    [ADMIN_APPS] = command_apps,
    [ADMIN_APP_START] = command_app,
    [ADMIN_APP_STOP] = command_app,
    [ADMIN_BACKENDS] = command_backends,
    [ADMIN_BACKEND_DRAIN] = command_backend,
    [ADMIN_BACKEND_READY] = command_backend,
    [ADMIN_SESSIONS] = command_sessions,
    [ADMIN_SESSION_SHOW] = command_session,
    [ADMIN_SESSION_END] = command_session,
    [ADMIN_SESSION_PIN] = command_session,
    [ADMIN_SESSION_UNPIN] = command_session,
    [ADMIN_SESSION_DEMOTE] = command_session,
    [ADMIN_SESSION_PROMOTE] = command_session,
    [ADMIN_CLUSTER_FORGET] = command_forget,
    [ADMIN_CLUSTER_SHOW] = command_visit,
    [ADMIN_VIEW] = command_view,
    [ADMIN_BUCKETS] = command_buckets,
    [ADMIN_LINKS] = command_visit,
    [ADMIN_RELOAD] = command_reload,
    [ADMIN_DRAIN] = command_drain,
    [ADMIN_LOG_LEVEL] = command_log_level,
    [ADMIN_METRICS] = command_metrics,
    [ADMIN_HELP] = command_help,
};

/* --- life --- */

struct command *command_new(struct daemon *d, uid_t uid, void (*done)(struct command *c), void *owner)
{
	struct command *c = calloc(1, sizeof *c);

	if (!c)
		return NULL;
	c->daemon = d;
	c->uid = uid;
	c->done = done;
	c->owner = owner;
	c->text.max_bytes = COMMAND_REPLY_MAX;
	return c;
}

void command_free(struct command **c)
{
	if (!*c)
		return;
	json_decref((*c)->document);
	buf_fini(&(*c)->text);
	free(*c);
	*c = NULL;
}

void *command_owner(const struct command *c)
{
	return c->owner;
}

void command_abandon(struct command **c)
{
	(*c)->abandoned = true;
	*c = NULL;
}

bool command_read(struct command *c, struct view line)
{
	const char *why = admin_words_read(&c->words, line);

	if (why) {
		c->wrong = ADMIN_BAD_LINE;
		buf_put_str(&c->text, why);
		buf_put_u8(&c->text, '\n');
		return true;
	}
	if (c->words.count == 0)
		return false;
	c->wrong = admin_request_read(&c->request, &c->words, &c->text);
	c->json = command_option(c, ADMIN_JSON) != NULL;
	return true;
}

/* --- the log --- */

/* An argument of "session ..." is logged only where it is a public name: anything else may be a cookie's value, or one
 * with a slip in it. */
static void put_session(struct buf *out, const struct command *c)
{
	const char *given = c->request.arguments[0];
	bool name = strlen(given) == SESS_NAME_TEXT && strspn(given, "0123456789abcdef") == SESS_NAME_TEXT;

	buf_put_str(out, *c->session ? c->session : name ? given : "(a cookie)");
}

static bool is_about_session(const struct command *c)
{
	return runs[c->request.command] == command_session;
}

void command_log(struct command *c)
{
	struct buf words = {.max_bytes = 2 * ADMIN_LINE_MAX};

	c->logged = true;
	buf_put_str(&words, admin_commands[c->request.command].name);
	for (size_t i = 0; i < c->request.argument_count; i++) {
		buf_put_u8(&words, ' ');
		if (is_about_session(c))
			put_session(&words, c);
		else
			(void)admin_word_put(&words, c->request.arguments[i]);
	}
	if (command_option(c, ADMIN_STATE))
		buf_put_str(&words, " --state");
	log_event(LOG_INFO, "admin_command", LOG_V("command", buf_view(&words)), LOG_I("uid", c->uid),
		  LOG_S("result", admin_code_text(c->code)));
	buf_fini(&words);
}

/* What changes something, and what shows what users have told the application. */
static bool is_logged(const struct command *c)
{
	if (c->wrong != ADMIN_OK)
		return false;
	if (c->request.command == ADMIN_LOG_LEVEL)
		return c->request.argument_count > 0;
	return admin_commands[c->request.command].changes || command_option(c, ADMIN_STATE);
}

/* --- running --- */

static void finish(struct command *c)
{
	if (is_logged(c) && !c->logged)
		command_log(c);
	if (c->abandoned)
		command_free(&c);
	else
		c->done(c);
}

void command_answer(struct command *c, json_t *document)
{
	if (!document) {
		command_fail(c, ADMIN_FAILED, "%s", error_text(ERR_NO_MEMORY));
		return;
	}
	c->document = document;
	finish(c);
}

void command_answer_text(struct command *c)
{
	finish(c);
}

void command_fail(struct command *c, enum admin_code code, const char *format, ...)
{
	char message[MESSAGE_MAX];
	va_list values;

	va_start(values, format);
	vsnprintf(message, sizeof message, format, values);
	va_end(values);
	buf_clear(&c->text);
	buf_put_str(&c->text, message);
	buf_put_u8(&c->text, '\n');
	c->code = code;
	finish(c);
}

bool command_needs_running(struct command *c, bool draining)
{
	struct control_status status;

	control_status(c->daemon, &status);
	if (strcmp(status.state, "running") == 0 || (draining && strcmp(status.state, "draining") == 0))
		return true;
	command_fail(c, ADMIN_UNAVAILABLE, "weir is %s", status.state);
	return false;
}

void command_run(struct command *c)
{
	if (c->wrong == ADMIN_OK && command_option(c, ADMIN_ALL)) {
		command_fail(c, ADMIN_BAD_ARGUMENT, "--all is for weirctl, which goes from cursor to cursor");
	} else if (c->wrong == ADMIN_OK && admin_commands[c->request.command].local) {
		command_fail(c, ADMIN_BAD_ARGUMENT, "this is for weirctl, which needs no weir for it");
	} else if (c->wrong == ADMIN_OK) {
		runs[c->request.command](c);
	} else {
		c->code = c->wrong;
		finish(c);
	}
}

/* --- the reply --- */

static int append(const char *bytes, size_t len, void *arg)
{
	struct buf *out = arg;

	buf_put(out, view_of(bytes, len));
	return buf_error(out) ? -1 : 0;
}

/* One line. A failure that is not the buffer's own can only be memory. */
static void put_json(struct buf *out, const json_t *document)
{
	if (!document || json_dump_callback(document, append, out, JSON_COMPACT) != 0)
		out->err = out->err ? out->err : ERR_NO_MEMORY;
	buf_put_u8(out, '\n');
}

static void put_error_json(struct buf *out, enum admin_code code, struct view message)
{
	json_t *o = json_object();

	if (view_ends(message, VIEW("\n")))
		message.len--;
	document_put_text(&o, "error", admin_code_text(code));
	document_put(&o, "message", document_string(message));
	put_json(out, o);
	json_decref(o);
}

static void put_body(const struct command *c, struct buf *out)
{
	if (c->code != ADMIN_OK && c->json)
		put_error_json(out, c->code, buf_view(&c->text));
	else if (!c->document)
		buf_put(out, buf_view(&c->text));
	else if (c->json)
		put_json(out, c->document);
	else
		render(out, c->document, clock_wall());
}

void command_put_error(struct buf *out, enum admin_code code, const char *message, bool json)
{
	struct buf body = {.max_bytes = 0};

	if (json) {
		put_error_json(&body, code, view_str(message));
	} else {
		buf_put_str(&body, message);
		buf_put_u8(&body, '\n');
	}
	admin_head_put(out, code, buf_len(&body), NULL);
	buf_put(out, buf_view(&body));
	if (buf_error(&body))
		out->err = buf_error(&body);
	buf_fini(&body);
}

void command_put_reply(const struct command *c, struct buf *out)
{
	struct buf body = {.max_bytes = COMMAND_REPLY_MAX};

	put_body(c, &body);
	int err = buf_error(&c->text) ? buf_error(&c->text) : buf_error(&body);
	if (err == ERR_TOO_LARGE) {
		command_put_error(out, ADMIN_TOO_LARGE, "the reply would be too large", c->json);
	} else if (err) {
		command_put_error(out, ADMIN_FAILED, error_text(err), c->json);
	} else {
		admin_head_put(out, c->code, buf_len(&body), c->next);
		buf_put(out, buf_view(&body));
	}
	buf_fini(&body);
}
