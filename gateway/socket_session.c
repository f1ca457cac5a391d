/* The session socket's commands that read and end sessions. */
#include "gateway/socket_command.h"

#include "base/error.h"
#include "session/claim.h"
#include "session/key.h"

#define LOCK_SUFFIX "_LOCK"

/* Values of one MGET together, besides what one session may have. */
enum { MGET_SLACK_BYTES = 16 << 20 };

/* --- keys --- */

bool socket_key(struct socket_client *c, struct view arg, struct socket_key *out)
{
	const struct conf_app *app = socket_app(c);
	struct view prefix = view_str(app->session.key);

	if (!view_starts(arg, prefix)) {
		socket_error(c, "ERR the key is not under the prefix of this app's sessions");
		return false;
	}
	out->text = arg;
	(void)view_take(&out->text, prefix.len);
	out->lock = view_ends(out->text, VIEW(LOCK_SUFFIX)) && out->text.len > strlen(LOCK_SUFFIX);
	if (!sess_key_is_good(out->text)) {
		socket_error(
		    c, "ERR a key has 1 to 256 bytes behind its prefix, none of them a blank or a control character");
		return false;
	}
	sess_key_id(&c->worker->gateway->keys, app->name, out->text, &out->id);
	return true;
}

/* Whether all arguments are good keys, before anything is done with one of them. */
static bool keys_are_good(struct socket_client *c, const struct resp_command *cmd)
{
	struct socket_key k;

	if (c->task.at > 0)
		return true;
	for (size_t i = 1; i < cmd->count; i++) {
		if (!socket_key(c, cmd->args[i], &k))
			return false;
	}
	c->task.at = 1;
	return true;
}

void socket_touch(struct socket_client *c, const struct socket_key *k)
{
	if (!k->lock)
		claims_touch(c->worker->gateway->claims, &k->id, &c->touch);
}

/* --- to look --- */

/* What there is under the key: OPENED, ABSENT, UNAVAILABLE; or it waits. */
static enum socket_result look(struct socket_client *c, const struct socket_key *k, enum sess_open *found,
			       struct sess_peek *out)
{
	*out = (struct sess_peek){.left_s = 0};
	*found = stack_peek(socket_stack(c), socket_stack_app(c), &k->id, socket_now(c), out);
	if (*found != SESS_QUEUED)
		return SOCKET_DONE;
	enum socket_result result = socket_open(c, &k->id, found);
	if (result == SOCKET_DONE && *found == SESS_OPENED)
		*found = stack_peek(socket_stack(c), socket_stack_app(c), &k->id, socket_now(c), out);
	if (*found == SESS_QUEUED) /* it has ended meanwhile */
		*found = SESS_ABSENT;
	return result;
}

static struct view bytes_of(const struct sess_peek *p)
{
	struct view text, bytes;
	struct view state = p->state ? view_of(p->state->bytes, p->state->len) : view_of(NULL, 0);

	return sess_key_split_state(state, &text, &bytes) ? bytes : view_of(NULL, 0);
}

void socket_put_partial(struct socket_client *c)
{
	struct buf *partial = &c->task.partial;

	buf_put(socket_out(c), buf_view(partial));
	if (buf_error(partial))
		socket_out(c)->err = buf_error(partial);
}

static bool lock_token(struct socket_client *c, const struct socket_key *k, struct buf *to, bool write)
{
	uint8_t token[KEYLOCK_TOKEN_MAX];
	size_t len = 0;
	uint64_t left_ms = 0;
	bool taken = keylock_get(c->worker->gateway->keylocks, &k->id, socket_now(c), token, &len, &left_ms);

	if (taken && write)
		resp_put_bulk(to, view_of(token, len));
	return taken;
}

enum socket_result socket_put_value(struct socket_client *c, const struct socket_key *k, struct buf *to)
{
	struct sess_peek p;
	enum sess_open found;

	if (k->lock) {
		if (!lock_token(c, k, to, true))
			resp_put_null(to, c->version);
		return SOCKET_DONE;
	}
	if (look(c, k, &found, &p) == SOCKET_WAITS)
		return SOCKET_WAITS;
	if (found == SESS_OPENED)
		resp_put_bulk(to, bytes_of(&p));
	else if (found == SESS_UNAVAILABLE)
		resp_put_error(to, "ERR the session cannot be looked up now");
	else
		resp_put_null(to, c->version);
	sess_state_unref(p.state);
	return SOCKET_DONE;
}

enum socket_result socket_get(struct socket_client *c, const struct resp_command *cmd)
{
	struct socket_key k;

	if (!socket_key(c, cmd->args[1], &k))
		return SOCKET_DONE;
	socket_touch(c, &k);
	return socket_put_value(c, &k, socket_out(c));
}

enum socket_result socket_mget(struct socket_client *c, const struct resp_command *cmd)
{
	struct socket_task *t = &c->task;
	struct socket_key k;

	if (!keys_are_good(c, cmd))
		return SOCKET_DONE;
	for (; t->at < cmd->count; t->at++) {
		if (!socket_key(c, cmd->args[t->at], &k))
			return SOCKET_DONE;
		if (socket_put_value(c, &k, &t->partial) == SOCKET_WAITS)
			return SOCKET_WAITS;
		socket_let_go(c);
		if (buf_len(&t->partial) > socket_max_size(c) + MGET_SLACK_BYTES) {
			socket_error(c, "ERR the values asked for are too large together: ask for fewer at once");
			return SOCKET_DONE;
		}
	}
	resp_put_array(socket_out(c), cmd->count - 1);
	socket_put_partial(c);
	return SOCKET_DONE;
}

enum socket_result socket_strlen(struct socket_client *c, const struct resp_command *cmd)
{
	struct socket_key k;
	struct sess_peek p;
	enum sess_open found;

	if (!socket_key(c, cmd->args[1], &k))
		return SOCKET_DONE;
	if (look(c, &k, &found, &p) == SOCKET_WAITS)
		return SOCKET_WAITS;
	if (found == SESS_UNAVAILABLE)
		socket_unavailable(c);
	else
		resp_put_integer(socket_out(c), found == SESS_OPENED ? (int64_t)bytes_of(&p).len : 0);
	sess_state_unref(p.state);
	return SOCKET_DONE;
}

enum socket_result socket_is_there(struct socket_client *c, const struct socket_key *k, bool *there, bool *failed)
{
	struct sess_peek p;
	enum sess_open found;

	*failed = false;
	if (k->lock) {
		*there = lock_token(c, k, NULL, false);
		return SOCKET_DONE;
	}
	if (look(c, k, &found, &p) == SOCKET_WAITS)
		return SOCKET_WAITS;
	sess_state_unref(p.state);
	*there = found == SESS_OPENED;
	*failed = found == SESS_UNAVAILABLE;
	return SOCKET_DONE;
}

enum socket_result socket_exists(struct socket_client *c, const struct resp_command *cmd)
{
	struct socket_task *t = &c->task;
	struct socket_key k;
	bool there = false, failed = false;

	if (!keys_are_good(c, cmd))
		return SOCKET_DONE;
	for (; t->at < cmd->count; t->at++) {
		if (!socket_key(c, cmd->args[t->at], &k))
			return SOCKET_DONE;
		if (socket_is_there(c, &k, &there, &failed) == SOCKET_WAITS)
			return SOCKET_WAITS;
		socket_let_go(c);
		if (failed) {
			socket_unavailable(c);
			return SOCKET_DONE;
		}
		t->count += there;
	}
	resp_put_integer(socket_out(c), t->count);
	return SOCKET_DONE;
}

/* --- times --- */

enum { TTL_NONE = -1, TTL_MISSING = -2 };

static int64_t lock_left_ms(struct socket_client *c, const struct socket_key *k)
{
	uint8_t token[KEYLOCK_TOKEN_MAX];
	size_t len = 0;
	uint64_t left_ms = 0;

	if (!keylock_get(c->worker->gateway->keylocks, &k->id, socket_now(c), token, &len, &left_ms))
		return TTL_MISSING;
	return left_ms == UINT64_MAX ? TTL_NONE : (int64_t)left_ms;
}

static enum socket_result put_left(struct socket_client *c, const struct resp_command *cmd, int64_t unit_ms)
{
	struct socket_key k;
	struct sess_peek p;
	enum sess_open found;

	if (!socket_key(c, cmd->args[1], &k))
		return SOCKET_DONE;
	if (k.lock) {
		int64_t ms = lock_left_ms(c, &k);
		resp_put_integer(socket_out(c), ms < 0 ? ms : (ms + unit_ms - 1) / unit_ms);
		return SOCKET_DONE;
	}
	if (look(c, &k, &found, &p) == SOCKET_WAITS)
		return SOCKET_WAITS;
	sess_state_unref(p.state);
	if (found == SESS_UNAVAILABLE)
		socket_unavailable(c);
	else if (found != SESS_OPENED)
		resp_put_integer(socket_out(c), TTL_MISSING);
	else
		resp_put_integer(socket_out(c),
				 p.left_s == SESS_TTL_NEVER ? TTL_NONE : (int64_t)p.left_s * 1000 / unit_ms);
	return SOCKET_DONE;
}

enum socket_result socket_ttl(struct socket_client *c, const struct resp_command *cmd)
{
	return put_left(c, cmd, 1000);
}

enum socket_result socket_pttl(struct socket_client *c, const struct resp_command *cmd)
{
	return put_left(c, cmd, 1);
}

/* --- the end --- */

enum socket_result socket_end_session(struct socket_client *c, const struct socket_key *k, bool *was, bool *failed)
{
	static const struct sess_commit end = {.end = true};
	struct sess_outcome o;
	enum sess_open found;

	*was = c->task.was;
	*failed = false;
	if (c->task.ended)
		return SOCKET_DONE;
	if (c->awaits_store) /* of a command that had no more patience */
		return socket_await_moment(c);
	if (socket_open(c, &k->id, &found) == SOCKET_WAITS)
		return SOCKET_WAITS;
	*failed = found == SESS_UNAVAILABLE;
	if (found != SESS_OPENED)
		return SOCKET_DONE;
	/* Before it ends: who works on it now must find that it is too late as soon as it has. */
	claims_end(c->worker->gateway->claims, &k->id, &c->touch);
	int err = stack_commit(socket_stack(c), &c->hold, &end, NULL, socket_now(c), &c->store_wait, &o);
	*failed = err < 0;
	*was = c->task.was = err >= 0 && !o.dropped;
	if (err != STACK_WAITS)
		return SOCKET_DONE;
	c->task.ended = true;
	return socket_await_store(c);
}

enum socket_result socket_del(struct socket_client *c, const struct resp_command *cmd)
{
	struct socket_task *t = &c->task;
	struct socket_key k;
	bool was = false, failed = false;

	if (!keys_are_good(c, cmd))
		return SOCKET_DONE;
	for (; t->at < cmd->count; t->at++) {
		if (!socket_key(c, cmd->args[t->at], &k))
			return SOCKET_DONE;
		if (k.lock) {
			t->count += keylock_release(c->worker->gateway->keylocks, &k.id, NULL, socket_now(c));
			continue;
		}
		if (socket_end_session(c, &k, &was, &failed) == SOCKET_WAITS)
			return SOCKET_WAITS;
		socket_let_go(c);
		if (failed) {
			socket_unavailable(c);
			return SOCKET_DONE;
		}
		t->count += was;
	}
	resp_put_integer(socket_out(c), t->count);
	return SOCKET_DONE;
}

/* The value is read before the end and kept in `partial`. */
enum socket_result socket_getdel(struct socket_client *c, const struct resp_command *cmd)
{
	struct socket_task *t = &c->task;
	struct socket_key k;
	bool was = false, failed = false;

	if (!socket_key(c, cmd->args[1], &k))
		return SOCKET_DONE;
	if (t->at == 0 && socket_put_value(c, &k, &t->partial) == SOCKET_WAITS)
		return SOCKET_WAITS;
	t->at = 1;
	if (k.lock)
		(void)keylock_release(c->worker->gateway->keylocks, &k.id, NULL, socket_now(c));
	else if (socket_end_session(c, &k, &was, &failed) == SOCKET_WAITS)
		return SOCKET_WAITS;
	if (failed)
		socket_unavailable(c);
	else
		socket_put_partial(c);
	return SOCKET_DONE;
}
