/* The commands that change how weir runs: app, backend, reload, drain, log-level. */
#include "gateway/command_run.h"

#include "base/error.h"

/* Whether it was so already makes no difference to who wanted it so; the answer says it. */
static void answer_changed(struct command *c, json_t *o, bool changed)
{
	document_put_flag(&o, "changed", changed);
	command_answer(c, o);
}

void command_app(struct command *c)
{
	const char *name = c->request.arguments[0];
	bool run = c->request.command == ADMIN_APP_START;

	if (!command_needs_running(c, false))
		return;
	int err = control_app(c->daemon, name, run);
	if (err == ERR_GONE) {
		command_fail(c, ADMIN_NOT_FOUND, "there is no app of this name");
	} else if (err && err != ERR_BUSY) {
		command_fail(c, ADMIN_FAILED, "%s", error_text(err));
	} else {
		json_t *o = json_object();
		document_put_text(&o, "app", name);
		document_put_text(&o, "state", run ? "running" : "stopped");
		answer_changed(c, o, !err);
	}
}

static void fail_backend(struct command *c, int err)
{
	if (err == ERR_GONE)
		command_fail(c, ADMIN_NOT_FOUND, "there is no such backend");
	else if (err == ERR_MALFORMED)
		command_fail(c, ADMIN_BAD_ARGUMENT,
			     "more than one app has a backend of this name; say which: backend %s APP NAME",
			     c->request.command == ADMIN_BACKEND_READY ? "ready" : "drain");
	else
		command_fail(c, ADMIN_FAILED, "%s", error_text(err));
}

void command_backend(struct command *c)
{
	size_t last = c->request.argument_count - 1;
	const char *name = c->request.arguments[last], *app = last > 0 ? c->request.arguments[0] : NULL;
	bool ready = c->request.command == ADMIN_BACKEND_READY;

	if (!command_needs_running(c, false))
		return;
	int err = control_backend(c->daemon, app, name, ready);
	if (err && err != ERR_BUSY) {
		fail_backend(c, err);
		return;
	}
	json_t *o = json_object();
	if (app)
		document_put_text(&o, "app", app);
	document_put_text(&o, "backend", name);
	document_put_text(&o, "state", ready ? "ready" : "drained");
	answer_changed(c, o, !err);
}

/* "a\nb\n" as ["a", "b"] */
static json_t *lines_of(struct view text)
{
	json_t *lines = json_array();

	while (text.at && text.len > 0) {
		const uint8_t *end = memchr(text.at, '\n', text.len);
		struct view line = view_take(&text, end ? (size_t)(end - text.at) : text.len);
		(void)view_take(&text, 1);
		document_append(&lines, document_string(line));
	}
	return lines;
}

/* What is said in one word may have no end of its own. */
static void end_line(struct buf *text)
{
	if (!view_ends(buf_view(text), VIEW("\n")))
		buf_put_u8(text, '\n');
}

void command_reload(struct command *c)
{
	if (!command_needs_running(c, false))
		return;
	int err = control_reload(c->daemon, &c->text);
	if (err && buf_len(&c->text) == 0) {
		command_fail(c, ADMIN_FAILED, "%s", error_text(err));
	} else if (err) {
		c->code = err == ERR_BUSY ? ADMIN_BUSY : ADMIN_FAILED;
		end_line(&c->text);
		command_answer_text(c);
	} else if (c->json) {
		struct control_status s;
		json_t *o = json_object();
		control_status(c->daemon, &s);
		document_put_number(&o, "generation", s.generation);
		document_put(&o, "report", lines_of(buf_view(&c->text)));
		command_answer(c, o);
	} else {
		buf_put_str(&c->text, "reloaded\n");
		command_answer_text(c);
	}
}

void command_drain(struct command *c)
{
	json_t *o = json_object();

	if (!command_needs_running(c, false)) {
		json_decref(o);
		return;
	}
	control_drain(c->daemon);
	document_put_text(&o, "state", "draining");
	command_answer(c, o);
}

void command_log_level(struct command *c)
{
	enum log_level level = log_level_now();
	json_t *o = json_object();

	if (c->request.argument_count > 0 && !log_level_parse(c->request.arguments[0], &level)) {
		json_decref(o);
		command_fail(c, ADMIN_BAD_ARGUMENT, "a level is error, warn, info or debug");
		return;
	}
	/* Before the log falls silent. */
	if (level < log_level_now())
		command_log(c);
	log_set_level(level);
	document_put_text(&o, "level", log_level_text(level));
	command_answer(c, o);
}
