/* MULTI, EXEC and DISCARD of the session socket: commands are kept as they came, and EXEC runs one after the other.
 * They are of one connection, not of one moment: others may come between two of them. */
#include "gateway/socket_command.h"

#include "base/invariant.h"

void socket_multi_forget(struct socket_client *c)
{
	c->multi = c->multi_bad = c->exec = false;
	c->queue_count = c->queue_at = 0;
	buf_fini(&c->queue);
}

enum socket_result socket_multi(struct socket_client *c, const struct resp_command *cmd)
{
	(void)cmd;
	if (c->multi) {
		socket_error(c, "ERR MULTI calls can not be nested");
		return SOCKET_DONE;
	}
	c->multi = true;
	resp_put_simple(socket_out(c), "OK");
	return SOCKET_DONE;
}

enum socket_result socket_discard(struct socket_client *c, const struct resp_command *cmd)
{
	(void)cmd;
	if (!c->multi) {
		socket_error(c, "ERR DISCARD without MULTI");
		return SOCKET_DONE;
	}
	socket_multi_forget(c);
	resp_put_simple(socket_out(c), "OK");
	return SOCKET_DONE;
}

struct view socket_multi_next(const struct socket_client *c)
{
	struct view rest = buf_view(&c->queue);

	(void)view_take(&rest, c->queue_at);
	return rest;
}

enum socket_result socket_exec(struct socket_client *c, const struct resp_command *cmd)
{
	(void)cmd;
	if (!c->multi) {
		socket_error(c, "ERR EXEC without MULTI");
		return SOCKET_DONE;
	}
	if (c->multi_bad) {
		socket_error(c, "EXECABORT Transaction discarded because of previous errors.");
		socket_multi_forget(c);
		return SOCKET_DONE;
	}
	resp_put_array(socket_out(c), c->queue_count);
	c->exec = true; /* the connection runs the queue from here on */
	return SOCKET_DONE;
}
