/* The commands about sessions. The stack's thread does them; its answer comes back to the main loop by mail. */
#include "gateway/command_run.h"

#include "base/base64.h"
#include "base/error.h"
#include "gateway/fence.h"
#include "gateway/render.h"
#include "session/claim.h"
#include "session/key.h"
#include "session/operate.h"

#include <stdio.h>
#include <stdlib.h>

enum { LIMIT_PRESET = 100 };

/* A job of the stack, and the way home. Freed when it has come home for the last time. */
struct errand {
	struct stack_job job;
	struct mail mail;
	struct command *command;          /* borrowed; waits, even when its client has gone */
	void (*finish)(struct errand *e); /* main thread, with the job done */
	json_t *page;                     /* LIST: what has been found so far; owned */
	size_t listed, limit;             /* LIST */
};

static void errand_free(struct errand *e)
{
	stack_job_fini(&e->job);
	json_decref(e->page);
	free(e);
}

static void deliver_errand(struct mail *mail)
{
	struct errand *e = CONTAINER_OF(mail, struct errand, mail);

	e->finish(e);
}

/* The stack's thread. */
static void job_done(struct stack_job *j)
{
	struct errand *e = CONTAINER_OF(j, struct errand, job);

	net_loop_post(control_loop(e->command->daemon), &e->mail);
}

static void errand_go(struct errand *e)
{
	stack_submit(control_gateway(e->command->daemon)->stack, &e->job);
}

static struct errand *errand_new(struct command *c, enum stack_op op, void (*finish)(struct errand *e))
{
	struct errand *e = calloc(1, sizeof *e);

	if (!e) {
		command_fail(c, ADMIN_FAILED, "%s", error_text(ERR_NO_MEMORY));
		return NULL;
	}
	e->job.op = op;
	e->job.done = job_done;
	list_init(&e->mail.link);
	e->mail.deliver = deliver_errand;
	e->command = c;
	e->finish = finish;
	return e;
}

/* --- what is told of a session --- */

/* Times in the stack are rounded up, so that nothing expires early: what was used just now was not in the future. */
static uint64_t not_later(uint32_t s, int64_t now_s)
{
	return s > now_s ? (uint64_t)now_s : s;
}

static void put_life(json_t **o, const struct stack_info *info)
{
	if (info->ttl_s == SESS_TTL_NEVER) {
		document_put(o, "ttl_s", json_null());
		document_put(o, "expires_at", json_null());
		return;
	}
	document_put_number(o, "ttl_s", info->ttl_s);
	document_put_number(o, "expires_at", (uint64_t)info->used_s + info->ttl_s);
}

static json_t *info_document(const struct command *c, const struct stack_info *info)
{
	int64_t now_s = clock_wall().s;
	json_t *o = json_object();

	document_put_text(&o, "session", info->name);
	if (info->err) {
		document_put_text(&o, "in", "disk");
		document_put_text(&o, "error", error_text(info->err));
		return o;
	}
	document_put_text(&o, "app", stack_app_name(control_gateway(c->daemon)->stack, info->app));
	document_put_text(&o, "in", info->where == STACK_IN_MEMORY ? "memory" : "disk");
	document_put_flag(&o, "busy", info->busy);
	document_put_number(&o, "waiters", info->waiters);
	document_put_flag(&o, "pinned", info->pinned);
	document_put_flag(&o, "fresh", info->fresh);
	document_put_number(&o, "version", info->version);
	document_put_number(&o, "bytes", info->state_bytes);
	document_put_number(&o, "created_at", not_later(info->created_s, now_s));
	document_put_number(&o, "used_at", not_later(info->used_s, now_s));
	put_life(&o, info);
	return o;
}

static bool has_disk(const struct command *c)
{
	struct stack_stats s;

	stack_stats(control_gateway(c->daemon)->stack, &s);
	return s.below != STACK_BELOW_NONE;
}

static void fail_pin(struct command *c)
{
	struct stack_stats s;
	struct buf text = {.max_bytes = 0};

	stack_stats(control_gateway(c->daemon)->stack, &s);
	buf_put_str(&text, "pinned sessions take ");
	render_bytes(&text, s.pinned_bytes);
	buf_put_str(&text, " and may take ");
	render_bytes(&text, s.pinned_max_bytes);
	buf_put_str(&text, " (store.memory.max-pinned): there is no room for this one");
	buf_put_u8(&text, '\0');
	command_fail(c, ADMIN_REFUSED, "%s", buf_error(&text) ? "no room" : (const char *)text.data);
	buf_fini(&text);
}

/* Why the stack has not done it. */
static void fail(struct command *c, int err)
{
	if (err == ERR_TOO_LARGE && c->request.command == ADMIN_SESSION_PIN) {
		fail_pin(c);
		return;
	}
	switch (err) {
	case ERR_FULL:
		command_fail(c, ADMIN_FAILED,
			     c->request.command == ADMIN_SESSION_DEMOTE ? "the disk store is full"
									: "memory is full, and nothing leaves it now");
		break;
	case ERR_GONE:
		command_fail(c, ADMIN_NOT_FOUND, "there is no such session");
		break;
	case ERR_CONFIG:
		command_fail(c, ADMIN_BAD_ARGUMENT,
			     c->request.command == ADMIN_SESSIONS
				 ? "this cursor is not one, or of other filters"
				 : "a session is named by 16 hexadecimal digits, or by the value of its cookie");
		break;
	case ERR_BUSY:
		command_fail(c, ADMIN_BUSY, "a request has the session in use");
		break;
	case ERR_REFUSED:
		command_fail(c, ADMIN_REFUSED,
			     has_disk(c) ? "the session is pinned: unpin it first" : "there is no disk store");
		break;
	case ERR_BROKEN:
		command_fail(c, ADMIN_UNAVAILABLE, "the disk store does not work just now; status says why");
		break;
	case ERR_FENCED:
		command_fail(c, ADMIN_UNAVAILABLE, FENCE_REASON);
		break;
	default:
		command_fail(c, ADMIN_FAILED, "%s", error_text(err));
	}
}

/* --- one session --- */

/* Not what a terminal or a program would stumble over: that goes as base64. */
static bool is_plain(struct view state)
{
	for (size_t i = 0; i < state.len; i++) {
		uint8_t b = state.at[i];
		if ((b < 0x20 && b != '\t' && b != '\n' && b != '\r') || b == 0x7f)
			return false;
	}
	return true;
}

/* base64url has two characters of its own. */
static void put_standard(char *c)
{
	if (*c == '-')
		*c = '+';
	else if (*c == '_')
		*c = '/';
}

/* RFC 4648 section 4, which is the one that other programs read; NULL: out of memory. */
static json_t *base64_string(struct view bytes)
{
	size_t len = BASE64_LEN(bytes.len), padded = (len + 3) / 4 * 4;
	char *text = malloc(padded + 1);

	if (!text)
		return NULL;
	base64_encode(bytes, text);
	for (size_t i = 0; i < len; i++)
		put_standard(&text[i]);
	for (size_t i = len; i < padded; i++)
		text[i] = '=';
	json_t *string = json_stringn(text, padded);
	free(text);
	return string;
}

/* Whether the app keeps its sessions itself. */
static bool is_adopted(const struct command *c, uint16_t app)
{
	const struct generation *g = control_gateway(c->daemon)->generation;

	for (size_t i = 0; i < g->conf->app_count; i++) {
		if (g->stack_apps[i] == app)
			return g->conf->apps[i].session.mode == CONF_SESSION_ADOPTED;
	}
	return false;
}

/* Of an adopted session the name that its application has for it lies in front. */
static void put_state(json_t **o, const struct sess_state *s, bool adopted)
{
	struct view state = s ? view_of(s->bytes, s->len) : VIEW("");
	struct view name, bytes;

	if (adopted && sess_key_split_state(state, &name, &bytes)) {
		document_put(o, "key", json_stringn((const char *)name.at, name.len));
		state = bytes;
	}
	json_t *text = is_plain(state) ? json_stringn((const char *)state.at, state.len) : NULL;

	if (text)
		document_put(o, "state", text);
	else
		document_put(o, "state_base64", base64_string(state));
}

static void finish_session(struct errand *e)
{
	struct command *c = e->command;
	int err = e->job.err;
	bool known = e->job.count > 0;

	if (known)
		memcpy(c->session, e->job.at[0].name, sizeof c->session);
	if (err || !known) {
		bool half = known && e->job.op == STACK_END && err == ERR_BROKEN;
		errand_free(e);
		if (half)
			command_fail(c, ADMIN_UNAVAILABLE,
				     "it has ended; what there may be of it on disk goes when the disk store works "
				     "again, and status says why it does not now");
		else
			fail(c, err ? err : ERR_GONE);
		return;
	}
	json_t *o = info_document(c, &e->job.at[0]);
	if (e->job.op == STACK_END)
		document_put_flag(&o, "ended", true);
	if (command_option(c, ADMIN_STATE))
		put_state(&o, e->job.state, is_adopted(c, e->job.at[0].app));
	errand_free(e);
	command_answer(c, o);
}

static enum stack_op op_of(enum admin_command_id id)
{
	switch (id) {
	case ADMIN_SESSION_END:
		return STACK_END;
	case ADMIN_SESSION_PIN:
		return STACK_PIN;
	case ADMIN_SESSION_UNPIN:
		return STACK_UNPIN;
	case ADMIN_SESSION_DEMOTE:
		return STACK_DEMOTE;
	case ADMIN_SESSION_PROMOTE:
		return STACK_PROMOTE;
	default:
		return STACK_SHOW;
	}
}

/* The stack's thread. The search may have taken long: the fence is asked at the deed. The claims go before the end: a
 * request that is at work on it would have a moment to begin it anew. */
static int session_ends(struct stack_job *j)
{
	struct gateway *g = control_gateway(CONTAINER_OF(j, struct errand, job)->command->daemon);

	if (fence_is_up(g))
		return ERR_FENCED;
	claims_end(g->claims, &j->place.id, NULL);
	return 0;
}

void command_session(struct command *c)
{
	const char *key = c->request.arguments[0];

	if (!command_needs_running(c, true))
		return;
	if (c->request.command == ADMIN_SESSION_END && fence_is_up(control_gateway(c->daemon))) {
		fail(c, ERR_FENCED); /* before anything is searched for */
		return;
	}
	if (strlen(key) > SESS_ID_TEXT) {
		fail(c, ERR_CONFIG);
		return;
	}
	struct errand *e = errand_new(c, op_of(c->request.command), finish_session);
	if (!e)
		return;
	memcpy(e->job.key, key, strlen(key) + 1);
	e->job.ends = session_ends;
	errand_go(e);
}

/* --- a page --- */

static void answer_page(struct errand *e)
{
	struct command *c = e->command;
	json_t *o = json_object();

	if (e->job.more)
		snprintf(c->next, sizeof c->next, "%s", e->job.cursor);
	document_put(&o, "sessions", e->page);
	e->page = NULL;
	if (c->json) {
		document_put_flag(&o, "more", e->job.more);
		document_put_text(&o, "cursor", e->job.more ? e->job.cursor : NULL);
	}
	errand_free(e);
	command_answer(c, o);
}

/* A job looks at a bounded number of sessions, so that it may come home with a part of a page, or with nothing. It is
 * sent again until the page is full or the end is reached. */
static void finish_page(struct errand *e)
{
	struct command *c = e->command;
	int err = e->job.err;

	if (err && e->listed > 0) {
		/* The cursor is that of the page that has failed: who goes on there is told why. */
		e->job.more = true;
		answer_page(e);
		return;
	}
	if (err) {
		errand_free(e);
		fail(c, err);
		return;
	}
	for (size_t i = 0; i < e->job.count; i++)
		document_append(&e->page, info_document(c, &e->job.at[i]));
	e->listed += e->job.count;
	if (!e->page || !e->job.more || e->listed >= e->limit || c->abandoned) {
		answer_page(e);
		return;
	}
	e->job.max = (uint32_t)(e->limit - e->listed);
	stack_job_fini(&e->job);
	errand_go(e);
}

/* The number of the app, which must be one of the configuration. */
static bool find_app(const struct command *c, const char *name, uint16_t *out)
{
	const struct generation *g = control_gateway(c->daemon)->generation;

	for (size_t i = 0; i < g->conf->app_count; i++) {
		if (strcmp(g->conf->apps[i].name, name) == 0) {
			*out = g->stack_apps[i];
			return true;
		}
	}
	return false;
}

/* What is wrong with an option is told by the name of the option; NULL: nothing is. */
static const char *read_where(const char *text, enum stack_where *out)
{
	if (!text)
		*out = STACK_ANYWHERE;
	else if (strcmp(text, "memory") == 0)
		*out = STACK_IN_MEMORY;
	else if (strcmp(text, "disk") == 0)
		*out = STACK_BELOW;
	else
		return "--in takes memory or disk";
	return NULL;
}

static unsigned state_bit(struct view word)
{
	static const struct {
		const char *word;
		enum stack_is bit;
	} states[] = {
	    {"busy", STACK_IS_BUSY},     {"idle", STACK_IS_IDLE},   {"waiting", STACK_IS_WAITING},
	    {"pinned", STACK_IS_PINNED}, {"fresh", STACK_IS_FRESH}, {"unreadable", STACK_IS_UNREADABLE},
	};

	for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
		if (view_eq(word, view_str(states[i].word)))
			return states[i].bit;
	}
	return 0;
}

static bool read_states(const char *text, unsigned *out)
{
	struct view rest = view_str(text ? text : "");

	if (!text)
		return true;
	do {
		size_t len = 0;
		while (len < rest.len && rest.at[len] != ',')
			len++;
		unsigned bit = state_bit(view_take(&rest, len));
		if (!bit)
			return false;
		*out |= bit;
	} while (view_take(&rest, 1).len > 0);
	return true;
}

static bool read_age(const char *text, uint32_t *out_s)
{
	uint64_t ms;

	if (!text)
		return true;
	if (!conf_parse_time(text, &ms) || ms < 1000 || ms / 1000 > UINT32_MAX)
		return false;
	*out_s = (uint32_t)(ms / 1000);
	return true;
}

static const char *read_filters(const struct command *c, struct errand *e)
{
	const char *limit = command_option(c, ADMIN_LIMIT), *cursor = command_option(c, ADMIN_CURSOR);
	uint64_t n = LIMIT_PRESET;
	const char *why = read_where(command_option(c, ADMIN_IN), &e->job.where);

	if (why)
		return why;
	if (!read_states(command_option(c, ADMIN_IS), &e->job.is))
		return "--is takes one of " ADMIN_IS_WORDS ", or several with commas between";
	if (!read_age(command_option(c, ADMIN_OLDER), &e->job.older_s))
		return "--older takes a time from 1s on, such as 90s, 30m or 2d";
	if (!read_age(command_option(c, ADMIN_YOUNGER), &e->job.younger_s))
		return "--younger takes a time from 1s on, such as 90s, 30m or 2d";
	if (limit && (!view_to_u64(view_str(limit), STACK_PAGE_MAX, &n) || n == 0))
		return "--limit takes a number from 1 to 1000";
	if (cursor && strlen(cursor) >= sizeof e->job.cursor)
		return "this cursor is not one, or of other filters";
	if (cursor)
		memcpy(e->job.cursor, cursor, strlen(cursor) + 1);
	e->limit = n;
	e->job.max = (uint32_t)n;
	return NULL;
}

void command_sessions(struct command *c)
{
	const char *app = command_option(c, ADMIN_APP);

	if (!command_needs_running(c, true))
		return;
	struct errand *e = errand_new(c, STACK_LIST, finish_page);
	if (!e)
		return;
	e->page = json_array();
	e->job.any_app = !app;
	const char *why = read_filters(c, e);
	if (why) {
		errand_free(e);
		command_fail(c, ADMIN_BAD_ARGUMENT, "%s", why);
	} else if (app && !find_app(c, app, &e->job.app)) {
		errand_free(e);
		command_fail(c, ADMIN_NOT_FOUND, "there is no app of this name");
	} else {
		errand_go(e);
	}
}
