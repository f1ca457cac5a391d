/* The session socket's commands that write sessions, or the time at which they expire. */
#include "gateway/socket_command.h"

#include "base/clock.h"
#include "base/error.h"
#include "session/claim.h"
#include "session/key.h"

/* What a command wants. */
struct wish {
	enum sess_write_if only;
	bool has_data, has_ttl;
	bool gives_old; /* GET: the reply is the value until now */
	bool number;    /* the reply is 1 or 0 */
	bool removes;   /* the time given is over already */
	struct view data;
	uint32_t ttl_s;
	uint64_t ttl_ms; /* the same, for a lock; 0: none */
};

enum { ASKS_MAX = 3 }; /* without a pause */

/* --- times --- */

enum { MILLIS = 1, SECONDS = 1000 };

/* Redis's longest times do not fit, and become this one; nor does anybody live so long. */
#define TTL_MAX_MS (UINT64_C(1000) * (SESS_TTL_NEVER - 1))

static void set_ttl(struct wish *w, uint64_t ms)
{
	w->has_ttl = true;
	w->ttl_ms = ms < TTL_MAX_MS ? ms : TTL_MAX_MS;
	w->ttl_s = (uint32_t)((w->ttl_ms + 999) / 1000);
}

/* A number of units from now on; the end is a moment that Redis can count to. */
static bool take_time(struct view v, uint64_t unit_ms, struct wish *w)
{
	uint64_t n = 0;

	if (!socket_number(v, (INT64_MAX - clock_wall_ms()) / unit_ms, &n) || n == 0)
		return false;
	set_ttl(w, n * unit_ms);
	return true;
}

/* A moment of the calendar. One that is over leaves a millisecond. */
static bool take_moment(struct view v, uint64_t unit_ms, struct wish *w)
{
	uint64_t n = 0, now = clock_wall_ms();

	if (!socket_number(v, INT64_MAX / unit_ms, &n) || n == 0)
		return false;
	set_ttl(w, n * unit_ms > now ? n * unit_ms - now : 1);
	return true;
}

/* A number that may be negative. */
static bool is_integer(struct view v, bool *negative)
{
	uint64_t n = 0;

	*negative = v.len > 0 && v.at[0] == '-';
	if (*negative)
		(void)view_take(&v, 1);
	return socket_number(v, INT64_MAX, &n) && !(*negative && n == 0);
}

static void bad_time(struct socket_client *c, struct view command, struct view time)
{
	bool negative;

	if (!is_integer(time, &negative)) {
		socket_error(c, "ERR value is not an integer or out of range");
		return;
	}
	char lower[16];
	size_t len = command.len < sizeof lower ? command.len : sizeof lower;

	for (size_t i = 0; i < len; i++)
		lower[i] = (char)(command.at[i] | 0x20);
	resp_put_error_of(socket_out(c), "ERR invalid expire time in '", view_of(lower, len), "' command");
}

/* --- writing --- */

static void reply(struct socket_client *c, const struct wish *w, bool done, struct sess_state *before)
{
	struct buf *out = socket_out(c);
	struct view text, bytes;

	if (w->gives_old && before && sess_key_split_state(view_of(before->bytes, before->len), &text, &bytes))
		resp_put_bulk(out, bytes);
	else if (w->gives_old)
		resp_put_null(out, c->version);
	else if (w->number)
		resp_put_integer(out, done);
	else if (done)
		resp_put_simple(out, "OK");
	else
		resp_put_null(out, c->version);
}

static enum socket_result no_room(struct socket_client *c, const struct wish *w)
{
	if (c->awaits_store)
		return socket_await_moment(c);
	if (!socket_patience_over(c) && stack_await_room(socket_stack(c), &c->store_wait, w->data.len))
		return socket_await_store(c);
	socket_error(c, "OOM command not allowed when used memory > 'maxmemory'.");
	return SOCKET_DONE;
}

/* What an earlier session of the key has left below must go first. */
static enum socket_result await_gone(struct socket_client *c, const struct socket_key *k)
{
	if (socket_patience_over(c)) {
		socket_unavailable(c);
		return SOCKET_DONE;
	}
	/* Where the store cannot do it now, it is asked again in a moment. */
	c->task.asked_gone = !c->task.asked_gone;
	if (!c->task.asked_gone || c->awaits_store || stack_await_gone(socket_stack(c), &k->id, &c->store_wait) != 0)
		return socket_await_moment(c);
	return socket_await_store(c);
}

static int put(struct socket_client *c, const struct socket_key *k, const struct wish *w, bool may_create,
	       struct sess_state **before)
{
	uint8_t head[SESS_KEY_HEAD_BYTES + SESS_KEY_MAX];
	struct sess_write write = {
	    .only = may_create ? w->only : SESS_WRITE_THERE,
	    .has_data = w->has_data,
	    .head = w->has_data ? sess_key_head(k->text, head) : view_of(NULL, 0),
	    .data = w->data,
	    .has_ttl = w->has_ttl,
	    .ttl_s = w->ttl_s,
	    .absent = c->task.absent,
	    .placed = c->task.placed,
	};

	return stack_write(socket_stack(c), socket_stack_app(c), &k->id, &write, socket_now(c),
			   w->gives_old ? before : NULL);
}

/* Dropped, as a commit to a session that has ended is: nobody is told. */
static enum socket_result drop(struct socket_client *c, const struct wish *w)
{
	metrics_add(&c->worker->metrics.session_dropped, 1);
	reply(c, w, w->only == SESS_WRITE_ALWAYS, NULL);
	return SOCKET_DONE;
}

/* The end of the session came between the question whether a new one may be made and the making of it. */
static enum socket_result undo(struct socket_client *c, const struct socket_key *k, const struct wish *w)
{
	bool was = false, failed = false;

	c->task.undoes = true;
	if (socket_end_session(c, k, &was, &failed) == SOCKET_WAITS)
		return SOCKET_WAITS;
	return drop(c, w);
}

/* Memory could not say. DONE: it can now, or the error is written: *failed. */
static enum socket_result ask(struct socket_client *c, const struct socket_key *k, bool *failed)
{
	enum sess_open found = SESS_ABSENT;

	if (c->task.unavailable || socket_patience_over(c)) {
		*failed = true;
		socket_unavailable(c);
		return SOCKET_DONE;
	}
	socket_let_go(c); /* what it knew is not true any more */
	enum socket_result result = socket_open(c, &k->id, &found);
	*failed = result == SOCKET_DONE && found == SESS_UNAVAILABLE;
	if (*failed)
		socket_unavailable(c);
	return result;
}

static enum socket_result write_session(struct socket_client *c, const struct socket_key *k, const struct wish *w)
{
	struct claims *claims = c->worker->gateway->claims;
	bool may_create = w->has_data && claims_may_create(claims, &k->id);
	bool late = w->has_data && !may_create; /* who is at work on it began before its end */
	struct sess_state *before = NULL;
	bool failed = false;

	if (c->task.undoes)
		return undo(c, k, w);
	if (late && w->only == SESS_WRITE_NEW)
		return drop(c, w);
	int result = put(c, k, w, may_create, &before);
	for (int i = 0; result == SESS_ASK && i < ASKS_MAX; i++) {
		if (ask(c, k, &failed) == SOCKET_WAITS)
			return SOCKET_WAITS;
		if (failed)
			return SOCKET_DONE;
		result = put(c, k, w, may_create, &before);
	}
	switch (result) {
	case SESS_WRITTEN:
		if (may_create && !claims_may_create(claims, &k->id)) {
			sess_state_unref(before);
			return undo(c, k, w);
		}
		/* fall through */
	case SESS_THERE:
		reply(c, w, result == SESS_WRITTEN, before);
		sess_state_unref(before);
		return SOCKET_DONE;
	case SESS_MISSING:
		if (late && w->only == SESS_WRITE_ALWAYS)
			return drop(c, w);
		reply(c, w, false, NULL);
		return SOCKET_DONE;
	case SESS_ASK:
		return socket_await_moment(c);
	case SESS_OWING:
		return await_gone(c, k);
	case ERR_FULL:
		sess_state_unref(before);
		return no_room(c, w);
	default:
		sess_state_unref(before);
		socket_error(c, "ERR out of memory");
		return SOCKET_DONE;
	}
}

/* Another time for a lock. */
static enum socket_result time_lock(struct socket_client *c, const struct socket_key *k, const struct wish *w)
{
	if (w->gives_old)
		(void)socket_put_value(c, k, socket_out(c)); /* a lock's is there at once */
	bool there = socket_lock_extend(c, k, w->ttl_ms);
	if (!w->gives_old)
		resp_put_integer(socket_out(c), there);
	return SOCKET_DONE;
}

static enum socket_result run(struct socket_client *c, struct view key, const struct wish *w)
{
	struct socket_set_wish lock = {.only_new = w->only == SESS_WRITE_NEW, .ttl_ms = w->ttl_ms, .token = w->data};
	struct socket_key k;

	if (!socket_key(c, key, &k))
		return SOCKET_DONE;
	if (k.lock)
		return w->has_data ? socket_lock_take(c, &k, &lock) : time_lock(c, &k, w);
	if (w->has_data && w->data.len > socket_max_size(c)) {
		socket_error(c, "ERR string exceeds maximum allowed size (max-size)");
		return SOCKET_DONE;
	}
	if (w->has_data || w->gives_old)
		socket_touch(c, &k);
	return write_session(c, &k, w);
}

/* --- SET and its relatives --- */

/* One option; how many words it has, 0: it is none. *bad: its time is not one. */
static size_t set_option(const struct resp_command *cmd, size_t i, struct wish *w, bool *keeps, bool *bad)
{
	static const struct {
		const char *name;
		bool (*take)(struct view v, uint64_t unit_ms, struct wish *w);
		uint64_t unit_ms;
	} times[] = {{"EX", take_time, SECONDS},
		     {"PX", take_time, MILLIS},
		     {"EXAT", take_moment, SECONDS},
		     {"PXAT", take_moment, MILLIS}};
	struct view word = cmd->args[i];

	if (view_eq_nocase(word, VIEW("NX")) && w->only == SESS_WRITE_ALWAYS)
		w->only = SESS_WRITE_NEW;
	else if (view_eq_nocase(word, VIEW("XX")) && w->only == SESS_WRITE_ALWAYS)
		w->only = SESS_WRITE_THERE;
	else if (view_eq_nocase(word, VIEW("GET")))
		w->gives_old = true;
	else if (view_eq_nocase(word, VIEW("KEEPTTL")) && !w->has_ttl)
		*keeps = true;
	else
		goto time;
	return 1;
time:
	for (size_t t = 0; t < sizeof times / sizeof times[0]; t++) {
		if (!view_eq_nocase(word, view_str(times[t].name)) || i + 1 == cmd->count || *keeps || w->has_ttl)
			continue;
		*bad = !times[t].take(cmd->args[i + 1], times[t].unit_ms, w);
		return 2;
	}
	return 0;
}

enum socket_result socket_set(struct socket_client *c, const struct resp_command *cmd)
{
	struct wish w = {.has_data = true, .data = cmd->args[2]};
	bool keeps = false, bad = false;

	for (size_t i = 3; i < cmd->count;) {
		size_t words = set_option(cmd, i, &w, &keeps, &bad);
		if (words == 0) {
			socket_error(c, "ERR syntax error");
			return SOCKET_DONE;
		}
		if (bad) {
			bad_time(c, cmd->args[0], cmd->args[i + 1]);
			return SOCKET_DONE;
		}
		i += words;
	}
	if (!w.has_ttl && !keeps) {
		w.has_ttl = true;
		w.ttl_s = SESS_TTL_NEVER;
	}
	return run(c, cmd->args[1], &w);
}

static enum socket_result set_timed(struct socket_client *c, const struct resp_command *cmd, uint64_t unit_ms)
{
	struct wish w = {.has_data = true, .data = cmd->args[3]};

	if (!take_time(cmd->args[2], unit_ms, &w)) {
		bad_time(c, cmd->args[0], cmd->args[2]);
		return SOCKET_DONE;
	}
	return run(c, cmd->args[1], &w);
}

enum socket_result socket_setex(struct socket_client *c, const struct resp_command *cmd)
{
	return set_timed(c, cmd, SECONDS);
}

enum socket_result socket_psetex(struct socket_client *c, const struct resp_command *cmd)
{
	return set_timed(c, cmd, MILLIS);
}

enum socket_result socket_setnx(struct socket_client *c, const struct resp_command *cmd)
{
	struct wish w = {.only = SESS_WRITE_NEW,
			 .has_data = true,
			 .data = cmd->args[2],
			 .number = true,
			 .has_ttl = true,
			 .ttl_s = SESS_TTL_NEVER};

	return run(c, cmd->args[1], &w);
}

/* --- the time alone --- */

/* A time that is over ends the session, as in Redis. */
static bool is_over(struct view v)
{
	bool negative;

	return is_integer(v, &negative) && (negative || view_eq(v, VIEW("0")));
}

static enum socket_result set_time(struct socket_client *c, const struct resp_command *cmd, uint64_t unit_ms)
{
	struct wish w = {.only = SESS_WRITE_THERE, .number = true};

	if (is_over(cmd->args[2])) {
		struct view words[] = {VIEW("DEL"), cmd->args[1]};
		struct resp_command del = {.args = words, .count = 2};
		return socket_del(c, &del);
	}
	if (!take_time(cmd->args[2], unit_ms, &w)) {
		bad_time(c, cmd->args[0], cmd->args[2]);
		return SOCKET_DONE;
	}
	return run(c, cmd->args[1], &w);
}

enum socket_result socket_expire(struct socket_client *c, const struct resp_command *cmd)
{
	return set_time(c, cmd, SECONDS);
}

enum socket_result socket_pexpire(struct socket_client *c, const struct resp_command *cmd)
{
	return set_time(c, cmd, MILLIS);
}

enum socket_result socket_persist(struct socket_client *c, const struct resp_command *cmd)
{
	struct wish w = {.only = SESS_WRITE_THERE, .number = true, .has_ttl = true, .ttl_s = SESS_TTL_NEVER};
	struct socket_key k;
	struct sess_peek p;

	if (!socket_key(c, cmd->args[1], &k))
		return SOCKET_DONE;
	bool there = stack_peek(socket_stack(c), socket_stack_app(c), &k.id, socket_now(c), &p) == SESS_OPENED;
	if (there)
		sess_state_unref(p.state);
	if (!there || p.left_s != SESS_TTL_NEVER)
		return run(c, cmd->args[1], &w);
	resp_put_integer(socket_out(c), 0);
	return SOCKET_DONE;
}

/* Redis complains only where there is something that would get the time. */
static enum socket_result bad_getex(struct socket_client *c, const struct resp_command *cmd)
{
	struct socket_key k;
	bool there = false, failed = false;

	if (!socket_key(c, cmd->args[1], &k))
		return SOCKET_DONE;
	if (socket_is_there(c, &k, &there, &failed) == SOCKET_WAITS)
		return SOCKET_WAITS;
	if (failed)
		socket_unavailable(c);
	else if (there)
		bad_time(c, cmd->args[0], cmd->args[3]);
	else
		resp_put_null(socket_out(c), c->version);
	return SOCKET_DONE;
}

/* GETEX key [EX s | PX ms | EXAT t | PXAT t | PERSIST]: the value, and another time. */
enum socket_result socket_getex(struct socket_client *c, const struct resp_command *cmd)
{
	struct wish w = {.only = SESS_WRITE_THERE, .gives_old = true};
	bool keeps = false, bad = false;

	if (cmd->count == 2)
		return socket_get(c, cmd);
	if (cmd->count == 3 && view_eq_nocase(cmd->args[2], VIEW("PERSIST"))) {
		w.has_ttl = true;
		w.ttl_s = SESS_TTL_NEVER;
	} else if (cmd->count != 4 || set_option(cmd, 2, &w, &keeps, &bad) != 2) {
		socket_error(c, "ERR syntax error");
		return SOCKET_DONE;
	} else if (bad) {
		return bad_getex(c, cmd);
	}
	return run(c, cmd->args[1], &w);
}
