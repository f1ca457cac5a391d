/* Locks of clients (session/keylock.h): SET key_LOCK token NX PX ms, and the scripts that free one. */
#include "gateway/socket_command.h"

#include "base/error.h"

#include <stdlib.h>

static struct keylocks *locks_of(const struct socket_client *c)
{
	return c->worker->gateway->keylocks;
}

/* --- taking --- */

static enum socket_result answer(struct socket_client *c, bool taken)
{
	if (taken)
		resp_put_simple(socket_out(c), "OK");
	else
		resp_put_null(socket_out(c), c->version);
	return SOCKET_DONE;
}

static enum socket_result no_room(struct socket_client *c)
{
	socket_error(c, "OOM too many locks are taken, or the token is too long");
	return SOCKET_DONE;
}

static enum socket_result park(struct socket_client *c, const struct socket_key *k, const struct socket_set_wish *wish)
{
	bool taken = false;

	if (!c->parked)
		c->parked = calloc(1, sizeof *c->parked);
	if (!c->parked || wish->token.len > KEYLOCK_TOKEN_MAX)
		return no_room(c);
	list_init(&c->parked->link);
	c->parked->id = k->id;
	c->parked->ttl_ms = wish->ttl_ms;
	c->parked->token_len = wish->token.len;
	memcpy(c->parked->token, wish->token.at, wish->token.len);
	if (socket_await_lock(c, &taken) == SOCKET_WAITS)
		return SOCKET_WAITS;
	return taken ? answer(c, true) : no_room(c);
}

enum socket_result socket_lock_take(struct socket_client *c, const struct socket_key *k,
				    const struct socket_set_wish *wish)
{
	bool told = c->impatient && sess_id_eq(&c->impatient_of, &k->id);

	if (!wish->only_new) {
		socket_error(c, "ERR a lock is taken with NX");
		return SOCKET_DONE;
	}
	if (c->task.parked)
		return answer(c, true);
	if (c->task.timed_out) {
		c->impatient = true;
		c->impatient_of = k->id;
		return answer(c, false);
	}
	switch (keylock_take(locks_of(c), &k->id, wish->token, wish->ttl_ms, &c->locks, socket_now(c))) {
	case KEYLOCK_TAKEN:
		c->impatient = false;
		return answer(c, true);
	case KEYLOCK_NO_ROOM:
		return no_room(c);
	case KEYLOCK_BUSY:
		break;
	}
	/* Who is to go, or has gone, waits for nobody. */
	return told || c->drains || c->gone ? answer(c, false) : park(c, k, wish);
}

bool socket_lock_extend(struct socket_client *c, const struct socket_key *k, uint64_t ttl_ms)
{
	return keylock_extend(locks_of(c), &k->id, ttl_ms, socket_now(c));
}

/* --- freeing, if it is still the client's own --- */

static enum socket_result release(struct socket_client *c, struct view key, struct view token)
{
	struct socket_key k;

	if (!socket_key(c, key, &k))
		return SOCKET_DONE;
	if (!k.lock) {
		socket_error(c, "ERR only locks can be compared and deleted");
		return SOCKET_DONE;
	}
	resp_put_integer(socket_out(c), keylock_release(locks_of(c), &k.id, &token, socket_now(c)));
	return SOCKET_DONE;
}

/* What phpredis frees its locks with, without blanks and quotes, and its SHA-1 as it sends it. */
#define SCRIPT "ifredis.call(get,KEYS[1])==ARGV[1]thenreturnredis.call(del,KEYS[1])elsereturn0end"
#define SCRIPT_SHA1 "b70c2384248f88e6b75b9f89241a180f856ad852"

static bool is_script(struct view text)
{
	const char *known = SCRIPT;

	for (size_t i = 0; i < text.len; i++) {
		uint8_t byte = text.at[i];
		if (byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n' || byte == '"' || byte == '\'')
			continue;
		if (*known == '\0' || byte != (uint8_t)*known)
			return false;
		known++;
	}
	return *known == '\0';
}

/* Behind the script: the number of keys, which must be 1, the key, the token. */
static enum socket_result run_script(struct socket_client *c, const struct resp_command *cmd)
{
	if (cmd->count == 5 && view_eq(cmd->args[2], VIEW("1")))
		return release(c, cmd->args[3], cmd->args[4]);
	socket_error(c, "ERR the script that frees a lock has one key and one argument");
	return SOCKET_DONE;
}

enum socket_result socket_eval(struct socket_client *c, const struct resp_command *cmd)
{
	if (is_script(cmd->args[1]))
		return run_script(c, cmd);
	socket_error(c, "ERR only the script that frees a lock is known here");
	return SOCKET_DONE;
}

enum socket_result socket_evalsha(struct socket_client *c, const struct resp_command *cmd)
{
	if (view_eq_nocase(cmd->args[1], VIEW(SCRIPT_SHA1)))
		return run_script(c, cmd);
	socket_error(c, "NOSCRIPT No matching script. Please use EVAL.");
	return SOCKET_DONE;
}

/* DELEX key IFEQ token; without a condition as DEL. */
enum socket_result socket_delex(struct socket_client *c, const struct resp_command *cmd)
{
	if (cmd->count == 2)
		return socket_del(c, cmd);
	if (cmd->count == 4 && view_eq_nocase(cmd->args[2], VIEW("IFEQ")))
		return release(c, cmd->args[1], cmd->args[3]);
	socket_error(c, "ERR syntax error");
	return SOCKET_DONE;
}

enum socket_result socket_delifeq(struct socket_client *c, const struct resp_command *cmd)
{
	return release(c, cmd->args[1], cmd->args[2]);
}
