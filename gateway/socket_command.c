/* The session socket's commands: one table, and what goes before each of them: authentication, arity, MULTI. */
#include "gateway/socket_command.h"

#include "base/error.h"
#include "gateway/fence.h"

enum { ANY_ARGS = RESP_ARGS_MAX };

enum flags {
	OPEN = 1,   /* also before AUTH */
	DIRECT = 2, /* in a MULTI too it is run at once */
	APART = 4,  /* of no session: also while the node is fenced */
};

struct row {
	const char *name;
	size_t least, most; /* arguments, with the name */
	unsigned flags;
	socket_run *run;
};

/* By how often they come: a look-up goes from the top. */
static const struct row rows[] = {
    {"GET", 2, 2, 0, socket_get},
    {"SET", 3, ANY_ARGS, 0, socket_set},
    {"SETEX", 4, 4, 0, socket_setex},
    {"EXPIRE", 3, 3, 0, socket_expire},
    {"DEL", 2, ANY_ARGS, 0, socket_del},
    {"EXISTS", 2, ANY_ARGS, 0, socket_exists},
    {"PING", 1, 2, APART, socket_ping},
    {"SELECT", 2, 2, APART, socket_select},
    {"AUTH", 2, 3, OPEN | APART, socket_auth},
    {"GETEX", 2, ANY_ARGS, 0, socket_getex},
    {"EVALSHA", 3, ANY_ARGS, APART, socket_evalsha},
    {"EVAL", 3, ANY_ARGS, APART, socket_eval},
    {"TTL", 2, 2, 0, socket_ttl},
    {"PTTL", 2, 2, 0, socket_pttl},
    {"PSETEX", 4, 4, 0, socket_psetex},
    {"SETNX", 3, 3, 0, socket_setnx},
    {"PEXPIRE", 3, 3, 0, socket_pexpire},
    {"PERSIST", 2, 2, 0, socket_persist},
    {"UNLINK", 2, ANY_ARGS, 0, socket_del},
    {"MGET", 2, ANY_ARGS, 0, socket_mget},
    {"STRLEN", 2, 2, 0, socket_strlen},
    {"GETDEL", 2, 2, 0, socket_getdel},
    {"DELEX", 2, ANY_ARGS, 0, socket_delex},
    {"DELIFEQ", 3, 3, APART, socket_delifeq},
    {"SCAN", 2, ANY_ARGS, 0, socket_scan},
    {"DBSIZE", 1, 1, 0, socket_dbsize},
    {"HELLO", 1, ANY_ARGS, OPEN | APART, socket_hello},
    {"CLIENT", 2, ANY_ARGS, APART, socket_about},
    {"ECHO", 2, 2, APART, socket_echo},
    {"INFO", 1, ANY_ARGS, APART, socket_info},
    {"MULTI", 1, 1, DIRECT | APART, socket_multi},
    {"EXEC", 1, 1, DIRECT | APART, socket_exec},
    {"DISCARD", 1, 1, DIRECT | APART, socket_discard},
    {"QUIT", 1, ANY_ARGS, OPEN | DIRECT | APART, socket_quit},
    {"RESET", 1, 1, OPEN | DIRECT | APART, socket_reset},
};

static const struct row *find(struct view name)
{
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		if (view_eq_nocase(name, view_str(rows[i].name)))
			return &rows[i];
	}
	return NULL;
}

/* --- errors --- */

void socket_error(struct socket_client *c, const char *text)
{
	resp_put_error(socket_out(c), text);
}

/* Redis writes the name in lower case here. */
void socket_wrong_arity(struct socket_client *c, struct view name)
{
	char lower[32];
	size_t len = name.len < sizeof lower ? name.len : sizeof lower;

	for (size_t i = 0; i < len; i++)
		lower[i] = (char)(name.at[i] | (name.at[i] >= 'A' && name.at[i] <= 'Z' ? 0x20 : 0));
	resp_put_error_of(socket_out(c), "ERR wrong number of arguments for '", view_of(lower, len), "' command");
}

void socket_unavailable(struct socket_client *c)
{
	socket_error(c, "ERR the session cannot be looked up or changed now");
}

/* The beginning is what clients look for. */
static void unknown(struct socket_client *c, const struct resp_command *cmd)
{
	resp_put_error_of(socket_out(c), "ERR unknown command '", cmd->args[0], "'");
}

bool socket_number(struct view v, uint64_t max, uint64_t *out)
{
	return !(v.len > 1 && v.at[0] == '0') && view_to_u64(v, max, out);
}

/* --- one command --- */

/* An EXEC that is refused ends the transaction; any other command spoils it. */
static void refuse_arity(struct socket_client *c, const struct row *row, const struct resp_command *cmd)
{
	if (row->run != socket_exec) {
		socket_wrong_arity(c, cmd->args[0]);
		return;
	}
	socket_multi_forget(c);
	socket_error(c, "EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command");
}

/* Why it may not be run; true: it may. */
static bool check(struct socket_client *c, const struct row *row, const struct resp_command *cmd)
{
	if (!row)
		unknown(c, cmd);
	else if (!c->authenticated && !(row->flags & OPEN))
		socket_error(c, "NOAUTH Authentication required.");
	else if (cmd->count < row->least || cmd->count > row->most)
		refuse_arity(c, row, cmd);
	else
		return true;
	c->multi_bad = c->multi;
	return false;
}

enum { QUEUE_MAX = 1024, QUEUE_SLACK_BYTES = 64 << 10 };

static enum socket_result queue(struct socket_client *c, struct view raw)
{
	if (c->queue_count == QUEUE_MAX || buf_len(&c->queue) + raw.len > socket_max_size(c) + QUEUE_SLACK_BYTES) {
		c->multi_bad = true;
		socket_error(c, "ERR too many commands in a transaction");
		return SOCKET_DONE;
	}
	buf_put(&c->queue, raw);
	c->queue_count++;
	resp_put_simple(socket_out(c), "QUEUED");
	return SOCKET_DONE;
}

/* A command that has waited is looked at again when it goes on, unless it has done already what it is to do. */
static bool is_fenced(const struct socket_client *c, const struct row *row)
{
	const struct socket_task *t = &c->task;
	bool done = t->ended || t->was || t->undoes || t->parked;

	return !(row->flags & APART) && !done && fence_is_up(c->worker->gateway);
}

enum socket_result socket_command(struct socket_client *c, const struct resp_command *cmd, struct view raw)
{
	const struct row *row = find(cmd->args[0]);

	if (!check(c, row, cmd))
		return SOCKET_DONE;
	c->impatient = c->impatient && row->run == socket_set;
	if (c->multi && !c->exec && !(row->flags & DIRECT))
		return queue(c, raw);
	if (is_fenced(c, row)) {
		metrics_add(&c->worker->metrics.fenced_commands, 1);
		socket_error(c, "LOADING " FENCE_REASON);
		return SOCKET_DONE;
	}
	return row->run(c, cmd);
}
