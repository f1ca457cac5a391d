/* What the functions behind the commands are given, and how they answer. Private to gateway/command*.c. */
#ifndef WEIR_GATEWAY_COMMAND_RUN_H
#define WEIR_GATEWAY_COMMAND_RUN_H

#include "gateway/command.h"
#include "gateway/document.h"

enum { COMMAND_REPLY_MAX = 160 << 20 }; /* bytes; the largest state there may be, in JSON */

struct command {
	struct daemon *daemon; /* borrowed */
	uid_t uid;             /* who asks */
	void (*done)(struct command *c);
	void *owner; /* borrowed */
	struct admin_words words;
	struct admin_request request; /* borrows from words */
	enum admin_code wrong;        /* what is wrong with the line; its text is in `text` */
	bool json, logged, abandoned;
	/* The reply. */
	enum admin_code code;
	json_t *document;                 /* owned; NULL: it is `text` */
	struct buf text;                  /* an error's message; or what is no document, as it is to be sent */
	char next[ADMIN_CURSOR_MAX];      /* "": no further page */
	char session[SESS_NAME_TEXT + 1]; /* public name of what a session's command is about, once it is known */
};

/* The three ways to answer; each is the last that is done with the command. */

/* Takes the document. NULL: memory has run out. */
void command_answer(struct command *c, json_t *document);
/* What was put into c->text. */
void command_answer_text(struct command *c);
void command_fail(struct command *c, enum admin_code code, const char *format, ...) PRINTF_LIKE(3, 4);

/* Logs the command. It is logged when it is done, unless it was before. */
void command_log(struct command *c);

static inline const char *command_option(const struct command *c, enum admin_option_id option)
{
	return c->request.options[option];
}

/* False, and the command has failed, when weir is on its way to the end: `draining` says whether it may be. */
MUST_USE bool command_needs_running(struct command *c, bool draining);

/* --- the functions: command_look.c, command_change.c, command_session.c, command_cluster.c --- */

void command_status(struct command *c);
void command_health(struct command *c);
void command_apps(struct command *c);
void command_backends(struct command *c);
void command_metrics(struct command *c);
void command_help(struct command *c);
void command_app(struct command *c);     /* start, stop */
void command_backend(struct command *c); /* drain, ready */
void command_reload(struct command *c);
void command_drain(struct command *c);
void command_log_level(struct command *c);
void command_sessions(struct command *c);
void command_session(struct command *c); /* all of "session ..." */
void command_visit(struct command *c);   /* cluster, links */
void command_view(struct command *c);
void command_buckets(struct command *c);
void command_forget(struct command *c);

#endif
