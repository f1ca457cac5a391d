/* The session socket's commands about the connection: who it is, what it speaks, whether it is alive. */
#include "gateway/socket_command.h"

#include "base/version.h"
#include "gateway/fence.h"

#include <stdlib.h>

/* Clients look at it to know what they may ask for. */
#define SPOKEN_VERSION "7.0.0"

static void put_text(struct buf *b, const char *text)
{
	resp_put_bulk(b, view_str(text));
}

enum { NAME_MAX_BYTES = 256 };

/* False: it is none, and the error is written. */
static bool set_name(struct socket_client *c, struct view name)
{
	char *copy = name.len <= NAME_MAX_BYTES ? malloc(name.len + 1) : NULL;
	bool good = copy != NULL;

	for (size_t i = 0; good && i < name.len; i++) {
		good = name.at[i] > ' ' && name.at[i] <= '~';
		copy[i] = (char)name.at[i];
	}
	if (!good) {
		free(copy);
		socket_error(c,
			     "ERR Client names cannot contain spaces, newlines or special characters, and have at most "
			     "256 bytes.");
		return false;
	}
	copy[name.len] = '\0';
	free(c->name);
	c->name = copy;
	return true;
}

/* As long as the longer one, whatever the bytes are. */
static bool same_secret(struct view a, struct view b)
{
	uint8_t differ = a.len != b.len;

	for (size_t i = 0; i < a.len; i++)
		differ |= a.at[i] ^ (b.len > 0 ? b.at[i % b.len] : 0xff);
	return differ == 0;
}

/* True: the reply is still to be written. */
static bool authenticate(struct socket_client *c, struct view user, struct view password)
{
	struct view right = view_str(socket_app(c)->session.password);

	if (right.len == 0) {
		socket_error(c, "ERR AUTH <password> called without any password configured for the default user. Are "
				"you sure your configuration is correct?");
		return false;
	}
	bool same = same_secret(password, right);
	if (!same || !view_eq(user, VIEW("default"))) {
		socket_error(c, "WRONGPASS invalid username-password pair or user is disabled.");
		return false;
	}
	c->authenticated = true;
	return true;
}

enum socket_result socket_auth(struct socket_client *c, const struct resp_command *cmd)
{
	struct view user = cmd->count == 3 ? cmd->args[1] : VIEW("default");

	if (authenticate(c, user, cmd->args[cmd->count - 1]))
		resp_put_simple(socket_out(c), "OK");
	return SOCKET_DONE;
}

static void put_hello(struct socket_client *c)
{
	struct buf *b = socket_out(c);

	resp_put_map(b, c->version, 7);
	put_text(b, "server");
	put_text(b, "redis");
	put_text(b, "version");
	put_text(b, SPOKEN_VERSION);
	put_text(b, "proto");
	resp_put_integer(b, c->version);
	put_text(b, "id");
	resp_put_integer(b, 1);
	put_text(b, "mode");
	put_text(b, "standalone");
	put_text(b, "role");
	put_text(b, "master");
	put_text(b, "modules");
	resp_put_array(b, 0);
}

/* AUTH and SETNAME behind the version. False: an error was written. */
static bool hello_options(struct socket_client *c, const struct resp_command *cmd)
{
	for (size_t i = 2; i < cmd->count;) {
		if (view_eq_nocase(cmd->args[i], VIEW("AUTH")) && i + 2 < cmd->count) {
			if (!authenticate(c, cmd->args[i + 1], cmd->args[i + 2]))
				return false;
			i += 3;
		} else if (view_eq_nocase(cmd->args[i], VIEW("SETNAME")) && i + 1 < cmd->count) {
			if (!set_name(c, cmd->args[i + 1]))
				return false;
			i += 2;
		} else {
			resp_put_error_of(socket_out(c), "ERR Syntax error in HELLO option '", cmd->args[i], "'");
			return false;
		}
	}
	return true;
}

enum socket_result socket_hello(struct socket_client *c, const struct resp_command *cmd)
{
	uint64_t version = c->version;

	if (cmd->count > 1 && !socket_number(cmd->args[1], INT32_MAX, &version)) {
		socket_error(c, "ERR Protocol version is not an integer or out of range");
		return SOCKET_DONE;
	}
	if (version != RESP_2 && version != RESP_3) {
		socket_error(c, "NOPROTO unsupported protocol version");
		return SOCKET_DONE;
	}
	if (!hello_options(c, cmd))
		return SOCKET_DONE;
	if (!c->authenticated) {
		socket_error(c,
			     "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO "
			     "<proto> AUTH <user> <pass> option can be used to authenticate the client and select the "
			     "RESP protocol version at the same time");
		return SOCKET_DONE;
	}
	c->version = (enum resp_version)version;
	put_hello(c);
	return SOCKET_DONE;
}

/* There is one database. */
enum socket_result socket_select(struct socket_client *c, const struct resp_command *cmd)
{
	uint64_t number = 0;

	if (!socket_number(cmd->args[1], INT32_MAX, &number))
		socket_error(c, "ERR invalid DB index");
	else if (number != 0)
		socket_error(c, "ERR DB index is out of range");
	else
		resp_put_simple(socket_out(c), "OK");
	return SOCKET_DONE;
}

/* CLIENT: what libraries tell of themselves. */
enum socket_result socket_about(struct socket_client *c, const struct resp_command *cmd)
{
	struct view what = cmd->args[1];

	bool sets = view_eq_nocase(what, VIEW("SETNAME")) && cmd->count == 3;
	bool gets = view_eq_nocase(what, VIEW("GETNAME")) && cmd->count == 2;
	bool tells = view_eq_nocase(what, VIEW("SETINFO")) && cmd->count == 4;

	if (tells || (sets && set_name(c, cmd->args[2])))
		resp_put_simple(socket_out(c), "OK");
	else if (gets && c->name)
		put_text(socket_out(c), c->name);
	else if (gets)
		resp_put_null(socket_out(c), c->version);
	else if (!sets)
		resp_put_error_of(socket_out(c), "ERR unknown subcommand '", what, "'. Try CLIENT HELP.");
	return SOCKET_DONE;
}

enum socket_result socket_ping(struct socket_client *c, const struct resp_command *cmd)
{
	if (cmd->count == 2)
		resp_put_bulk(socket_out(c), cmd->args[1]);
	else
		resp_put_simple(socket_out(c), "PONG");
	return SOCKET_DONE;
}

enum socket_result socket_echo(struct socket_client *c, const struct resp_command *cmd)
{
	resp_put_bulk(socket_out(c), cmd->args[1]);
	return SOCKET_DONE;
}

#define INFO(loading)                                                                                                  \
	"# Server\r\nredis_version:" SPOKEN_VERSION "\r\nredis_mode:standalone\r\nweir_version:" WEIR_VERSION          \
	"\r\n\r\n# Persistence\r\nloading:" loading "\r\n\r\n# Replication\r\nrole:master\r\nconnected_slaves:0\r\n"

/* Libraries that look at "loading" send nothing while it is 1, and ask again. */
enum socket_result socket_info(struct socket_client *c, const struct resp_command *cmd)
{
	(void)cmd;
	put_text(socket_out(c), fence_is_up(c->worker->gateway) ? INFO("1") : INFO("0"));
	return SOCKET_DONE;
}

enum socket_result socket_quit(struct socket_client *c, const struct resp_command *cmd)
{
	(void)cmd;
	resp_put_simple(socket_out(c), "OK");
	c->quits = true;
	return SOCKET_DONE;
}

enum socket_result socket_reset(struct socket_client *c, const struct resp_command *cmd)
{
	(void)cmd;
	socket_multi_forget(c);
	c->version = RESP_2;
	c->authenticated = *socket_app(c)->session.password == '\0';
	resp_put_simple(socket_out(c), "RESET");
	return SOCKET_DONE;
}
