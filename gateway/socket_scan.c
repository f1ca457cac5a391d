/* SCAN and DBSIZE of the session socket: walks over all sessions of the app, done by the stack's thread page by page.
 *
 * A cursor is a number: 0 is the beginning and the end; of memory the shard and the bucket, shifted left by one; of the
 * store below the first 63 bits of the last id, and a one. */
#include "gateway/socket_command.h"

#include "base/error.h"
#include "session/key.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { COUNT_DEFAULT = 10, PATTERN_MAX = 512 };

/* --- cursors --- */

static void cursor_to_job(uint64_t cursor, struct stack_job *j)
{
	if (cursor == 0)
		j->cursor[0] = '\0';
	else if (cursor == 1)
		snprintf(j->cursor, sizeof j->cursor, "d:");
	else if (cursor & 1)
		snprintf(j->cursor, sizeof j->cursor, "d:%016" PRIx64 "ffffffffffffffff", cursor);
	else
		snprintf(j->cursor, sizeof j->cursor, "m:%" PRIu64 ":%" PRIu64, cursor >> 33, cursor >> 1 & UINT32_MAX);
}

static uint64_t cursor_of_job(const struct stack_job *j)
{
	char *end = NULL;

	if (!j->more)
		return 0;
	if (j->cursor[0] == 'm') {
		uint64_t shard = strtoull(j->cursor + strlen("m:"), &end, 10);
		return shard << 33 | strtoull(end + 1, NULL, 10) << 1;
	}
	char first[16 + 1] = {0};
	memcpy(first, j->cursor + strlen("d:"), 16);
	return strtoull(first, NULL, 16) | 1;
}

/* --- pages --- */

static enum socket_result ask(struct socket_client *c, uint64_t cursor, uint32_t max)
{
	if (!c->job)
		c->job = calloc(1, sizeof *c->job);
	if (!c->job) {
		socket_error(c, "ERR out of memory");
		return SOCKET_DONE;
	}
	stack_job_fini(c->job);
	*c->job = (struct stack_job){
	    .op = STACK_LIST, .app = socket_stack_app(c), .where = STACK_ANYWHERE, .max = max, .with_states = true};
	cursor_to_job(cursor, c->job);
	return socket_await_job(c);
}

/* False: an error reply was written. */
static bool page_is_good(struct socket_client *c)
{
	if (c->job->err == 0)
		return true;
	socket_error(c, c->job->err == ERR_CONFIG ? "ERR invalid cursor" : "ERR the sessions cannot be listed now");
	return false;
}

/* --- SCAN --- */

struct scan {
	uint64_t cursor, count;
	char pattern[PATTERN_MAX + 1];
};

static bool read_pattern(struct view v, struct scan *s)
{
	if (v.len > PATTERN_MAX || memchr(v.at, '\0', v.len))
		return false;
	memcpy(s->pattern, v.at, v.len);
	s->pattern[v.len] = '\0';
	return true;
}

static const char *read_scan(const struct resp_command *cmd, struct scan *s)
{
	*s = (struct scan){.count = COUNT_DEFAULT, .pattern = "*"};
	if (!view_to_u64(cmd->args[1], UINT64_MAX, &s->cursor))
		return "ERR invalid cursor";
	for (size_t i = 2; i < cmd->count; i += 2) {
		if (i + 1 == cmd->count)
			return "ERR syntax error";
		if (view_eq_nocase(cmd->args[i], VIEW("MATCH"))) {
			if (!read_pattern(cmd->args[i + 1], s))
				return "ERR the pattern is too long";
		} else if (view_eq_nocase(cmd->args[i], VIEW("COUNT"))) {
			if (!socket_number(cmd->args[i + 1], INT32_MAX, &s->count))
				return "ERR value is not an integer or out of range";
			if (s->count == 0)
				return "ERR syntax error";
		} else if (!view_eq_nocase(cmd->args[i], VIEW("TYPE")) ||
			   !view_eq_nocase(cmd->args[i + 1], VIEW("string"))) {
			return "ERR syntax error";
		}
	}
	return NULL;
}

/* The whole key of a listed session, with a NUL behind it, in the worker's scratch buffer. False: it has none, or does
 * not match. */
static bool key_of(struct socket_client *c, const struct stack_info *info, const struct scan *s, struct view *key)
{
	struct buf *space = &c->worker->scratch;
	struct view text, bytes;

	if (!info->state || !sess_key_split_state(view_of(info->state->bytes, info->state->len), &text, &bytes))
		return false;
	buf_clear(space);
	buf_put_str(space, socket_app(c)->session.key);
	buf_put(space, text);
	buf_put_u8(space, 0);
	if (buf_error(space))
		return false;
	*key = view_of(buf_view(space).at, buf_len(space) - 1);
	return fnmatch(s->pattern, (const char *)key->at, 0) == 0;
}

static void put_page(struct socket_client *c, const struct scan *s)
{
	char cursor[24];
	struct buf *partial = &c->task.partial;
	size_t count = 0;

	for (size_t i = 0; i < c->job->count; i++) {
		struct view key;
		if (!key_of(c, &c->job->at[i], s, &key))
			continue;
		resp_put_bulk(partial, key);
		count++;
	}
	snprintf(cursor, sizeof cursor, "%" PRIu64, cursor_of_job(c->job));
	resp_put_array(socket_out(c), 2);
	resp_put_bulk(socket_out(c), view_str(cursor));
	resp_put_array(socket_out(c), count);
	socket_put_partial(c);
}

enum socket_result socket_scan(struct socket_client *c, const struct resp_command *cmd)
{
	struct scan s;
	const char *error = read_scan(cmd, &s);

	if (error) {
		socket_error(c, error);
		return SOCKET_DONE;
	}
	if (!c->task.job_done)
		return ask(c, s.cursor, s.count < STACK_PAGE_MAX ? (uint32_t)s.count : STACK_PAGE_MAX);
	if (page_is_good(c))
		put_page(c, &s);
	return SOCKET_DONE;
}

/* --- DBSIZE --- */

enum socket_result socket_dbsize(struct socket_client *c, const struct resp_command *cmd)
{
	struct socket_task *t = &c->task;

	(void)cmd;
	if (!t->job_done)
		return ask(c, 0, STACK_PAGE_MAX);
	if (!page_is_good(c))
		return SOCKET_DONE;
	t->count += (int64_t)c->job->count;
	if (c->job->more) {
		t->job_done = false;
		return ask(c, cursor_of_job(c->job), STACK_PAGE_MAX);
	}
	resp_put_integer(socket_out(c), t->count);
	return SOCKET_DONE;
}
