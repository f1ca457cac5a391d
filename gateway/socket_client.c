/* A session socket connection's life: bytes in, commands one after the other, replies out, limits. */
#include "gateway/socket_command.h"

#include "base/error.h"
#include "base/invariant.h"
#include "base/log.h"
#include "gateway/share.h"

#include <stdlib.h>
#include <unistd.h>

enum {
	BACKLOG_MAX = 256 << 10, /* replies that nobody takes: above it nothing more is done */
	/* A value over max-size is told so; one that is over twice that and this ends the connection. */
	VALUE_SLACK_BYTES = 64 << 10,
	KEYS_BYTES = 4 << 20,      /* of a command that names many, besides a value */
	STRANGER_BYTES = 16 << 10, /* of a command before AUTH */
	STRANGER_ARGS = 10,
};

static const struct net_stream_ops client_ops;

static struct net_loop *loop_of(const struct socket_client *c)
{
	return &c->worker->loop;
}

static const struct generation *generation_of(const struct socket_client *c)
{
	return (c->host ? c->host : c->worker->share)->generation;
}

const struct conf_app *socket_app(const struct socket_client *c)
{
	return &generation_of(c)->conf->apps[c->conf->app];
}

uint16_t socket_stack_app(const struct socket_client *c)
{
	return generation_of(c)->stack_apps[c->conf->app];
}

struct stack *socket_stack(const struct socket_client *c)
{
	return c->worker->gateway->stack;
}

struct instant socket_now(const struct socket_client *c)
{
	return net_now(loop_of(c));
}

struct buf *socket_out(struct socket_client *c)
{
	return net_stream_out(&c->stream);
}

uint64_t socket_max_size(const struct socket_client *c)
{
	return socket_app(c)->session.max_size;
}

struct socket_client *socket_client_of(struct list *link)
{
	return CONTAINER_OF(link, struct socket_client, link);
}

/* --- states --- */

static void client_free(struct socket_client *c)
{
	struct worker *w = c->worker;

	atomic_fetch_sub(&c->listener->connections, 1);
	atomic_fetch_sub(&w->socket_count, 1);
	if (c->host)
		share_unhost(c->host);
	buf_fini(&c->in);
	buf_fini(&c->unquoted);
	buf_fini(&c->queue);
	buf_fini(&c->task.partial);
	resp_command_forget(&c->command);
	free(c->parked);
	free(c->name);
	if (c->job)
		stack_job_fini(c->job);
	free(c->job);
	free(c);
	worker_look_quiet(w);
}

/* Both the stream is closed and no mail is on its way. */
static void bury(struct socket_client *c)
{
	if (c->stream_closed && !socket_awaits_mail(c))
		client_free(c);
}

void socket_zombie_mail(struct socket_client *c)
{
	bury(c);
}

void socket_client_close(struct socket_client *c)
{
	if (c->state == SOCKET_CLOSED)
		return;
	c->state = SOCKET_CLOSED;
	list_remove(&c->link);
	net_timer_stop(loop_of(c), &c->output);
	socket_wait_end(c);
	/* It is in no list any more that a reload walks over: its generation waits for it. */
	if (!c->host && socket_awaits_mail(c))
		c->host = share_host(c->worker->share);
	net_stream_close(&c->stream);
}

static void drop(struct socket_client *c, const char *reason)
{
	log_event(LOG_INFO, "socket_client_dropped", LOG_S("app", socket_app(c)->name), LOG_S("reason", reason));
	socket_client_close(c);
}

/* No more commands: what is written leaves, then it closes. */
static void finish(struct socket_client *c)
{
	if (c->state != SOCKET_OPEN)
		return;
	c->state = SOCKET_ENDING;
	net_stream_read_stop(&c->stream);
	net_stream_flush(&c->stream);
	if (c->state == SOCKET_ENDING && !net_stream_full(&c->stream))
		socket_client_close(c);
}

const struct generation_share *socket_client_host(const struct socket_client *c)
{
	return c->host;
}

static void belong(struct socket_client *c, struct generation_share *old)
{
	struct generation_share *newest = c->worker->share;
	const struct conf_listen *l = generation_listen(newest->generation, c->listener);

	if (l && c->host) {
		share_unhost(c->host);
		c->host = NULL;
	} else if (!l && !c->host) {
		c->host = share_host(old);
	}
	c->conf = l ? l : generation_listen(c->host->generation, c->listener);
	INVARIANT(c->conf != NULL);
}

/* What has begun ends under the settings under which it began. */
static bool is_busy(const struct socket_client *c)
{
	return c->command.count > 0 || c->exec;
}

void socket_client_switch(struct socket_client *c, struct generation_share *old)
{
	if (!is_busy(c)) {
		belong(c, old);
		return;
	}
	c->switches = true;
	if (!c->host)
		c->host = share_host(old);
}

static void switch_late(struct socket_client *c)
{
	if (!c->switches || is_busy(c))
		return;
	c->switches = false;
	belong(c, c->host);
	c->drains = c->drains || (c->host && c->host->forgetting);
}

void socket_client_leave(struct socket_client *c)
{
	if (!c->switches || !generation_listen(c->worker->share->generation, c->listener))
		socket_client_drain(c);
}

/* --- commands --- */

/* Who has not said the password yet may not have anything kept for him, as in Redis. */
static struct resp_limits limits_of(const struct socket_client *c)
{
	size_t bulk = (size_t)(2 * socket_max_size(c)) + VALUE_SLACK_BYTES;

	if (!c->authenticated)
		return (struct resp_limits){
		    .bulk_bytes = STRANGER_BYTES, .command_bytes = STRANGER_BYTES, .args = STRANGER_ARGS};
	return (struct resp_limits){.bulk_bytes = bulk, .command_bytes = bulk + KEYS_BYTES, .args = RESP_ARGS_MAX};
}

static void task_done(struct socket_client *c)
{
	socket_let_go(c);
	if (c->job)
		stack_job_fini(c->job);
	c->store_wait.tried_bytes = 0;
	buf_fini(&c->task.partial);
	c->task = (struct socket_task){.at = 0};
}

static void protocol_error(struct socket_client *c, const char *reason)
{
	buf_put_str(socket_out(c), "-ERR Protocol error: ");
	if (!c->authenticated && view_starts(view_str(reason), VIEW("invalid ")))
		buf_put_str(socket_out(c), "unauthenticated or ");
	buf_put_str(socket_out(c), reason);
	buf_put_str(socket_out(c), "\r\n");
	log_event(LOG_INFO, "socket_protocol_error", LOG_S("app", socket_app(c)->name), LOG_S("reason", reason));
	c->quits = true;
}

/* Whether the next command may be run. */
static bool may_go_on(const struct socket_client *c)
{
	return c->state == SOCKET_OPEN && !c->quits && c->wait == SOCKET_WAIT_NONE &&
	       (!net_stream_full(&c->stream) || net_stream_backlog(&c->stream) <= BACKLOG_MAX);
}

/* Runs what is at the front of `in`. How many bytes are done; 0: none, it waits or more must come. */
static size_t run_one(struct socket_client *c, struct view in)
{
	struct resp_limits limits = limits_of(c);
	struct resp_command *cmd = &c->command;
	const char *reason = NULL;
	size_t consumed = 0;

	switch (resp_command_decode(in, &limits, &c->unquoted, cmd, &consumed, &c->need, &reason)) {
	case DECODE_NEED_MORE:
		return 0;
	case DECODE_MALFORMED:
		protocol_error(c, reason);
		return in.len;
	case DECODE_OK:
		break;
	}
	c->need = 0;
	if (cmd->count > 0) {
		if (socket_command(c, cmd, view_of(in.at, consumed)) == SOCKET_WAITS)
			return 0;
		task_done(c);
	}
	resp_command_forget(cmd);
	return consumed;
}

/* A reply that is written must not be lost; one for which there was no memory would leave the client out of step. */
static bool replies_are_whole(struct socket_client *c)
{
	if (buf_error(&c->stream.out) == 0 && buf_error(&c->in) == 0 && buf_error(&c->queue) == 0)
		return true;
	drop(c, error_text(ERR_NO_MEMORY));
	return false;
}

static void set_paused(struct socket_client *c)
{
	bool pause = !may_go_on(c);

	if (c->state != SOCKET_OPEN || pause == c->paused)
		return;
	c->paused = pause;
	if (pause)
		net_stream_read_stop(&c->stream);
	else
		net_stream_read_start(&c->stream);
}

/* What EXEC has to run. */
static void run_queue(struct socket_client *c)
{
	while (c->exec && may_go_on(c)) {
		struct view next = socket_multi_next(c);
		if (next.len == 0) {
			socket_multi_forget(c);
			return;
		}
		size_t done = run_one(c, next);
		if (done == 0)
			return;
		c->queue_at += done;
		if (net_stream_backlog(&c->stream) > BACKLOG_MAX)
			net_stream_flush(&c->stream);
	}
}

/* Command after command. What is left of `in`. */
static struct view run_all(struct socket_client *c, struct view in)
{
	run_queue(c);
	switch_late(c);
	while (in.len > 0 && in.len >= c->need && !c->exec && may_go_on(c)) {
		size_t done = run_one(c, in);
		if (done == 0)
			break;
		(void)view_take(&in, done);
		run_queue(c);
		switch_late(c);
		if (net_stream_backlog(&c->stream) > BACKLOG_MAX)
			net_stream_flush(&c->stream);
	}
	return in;
}

static void settle(struct socket_client *c)
{
	if (c->state == SOCKET_CLOSED || !replies_are_whole(c))
		return;
	if (buf_len(&c->in) == 0)
		net_buf_give(loop_of(c), &c->in);
	if (c->gone && c->wait == SOCKET_WAIT_NONE)
		socket_client_close(c);
	else if (c->quits || (c->mute && may_go_on(c)) ||
		 (c->drains && c->wait == SOCKET_WAIT_NONE && !net_stream_full(&c->stream)))
		finish(c);
	else
		set_paused(c);
}

static void run_input(struct socket_client *c)
{
	struct view in = buf_view(&c->in);
	struct view rest = run_all(c, in);

	if (c->state == SOCKET_CLOSED)
		return;
	buf_consume(&c->in, in.len - rest.len);
	settle(c);
}

void socket_resume(struct socket_client *c)
{
	run_input(c);
	net_loop_flush(loop_of(c));
}

void socket_client_drain(struct socket_client *c)
{
	c->drains = true;
	if (c->wait == SOCKET_WAIT_LOCK)
		socket_give_up_lock(c);
	else
		run_input(c);
}

/* --- events of the stream --- */

static void on_read(struct net_stream *s, struct view data)
{
	struct socket_client *c = CONTAINER_OF(s, struct socket_client, stream);

	if (c->state != SOCKET_OPEN)
		return;
	if (buf_len(&c->in) == 0) /* most commands come whole, and are run where they were read */
		data = run_all(c, data);
	if (c->state == SOCKET_CLOSED)
		return;
	if (data.len > 0) {
		if (!c->in.data)
			net_buf_take(loop_of(c), &c->in);
		buf_put(&c->in, data);
	}
	run_input(c);
}

static void on_ended(struct net_stream *s, int err)
{
	struct socket_client *c = CONTAINER_OF(s, struct socket_client, stream);

	/* What it has asked for is done all the same; but who waits for a lock holds up nobody. */
	c->gone = true;
	if (err != ERR_CLOSED || c->wait == SOCKET_WAIT_LOCK)
		socket_client_close(c);
	else
		settle(c);
}

/* Its replies leave, and those of the commands that wait. */
static void on_said_all(struct net_stream *s)
{
	struct socket_client *c = CONTAINER_OF(s, struct socket_client, stream);

	c->mute = true;
	settle(c);
}

static void on_full(struct net_stream *s)
{
	struct socket_client *c = CONTAINER_OF(s, struct socket_client, stream);

	c->looked_bytes = c->stream.taken_bytes;
	net_timer_start(loop_of(c), &c->output, c->conf->write_timeout_ms);
}

static void on_drained(struct net_stream *s)
{
	struct socket_client *c = CONTAINER_OF(s, struct socket_client, stream);

	net_timer_stop(loop_of(c), &c->output);
	if (c->state == SOCKET_ENDING)
		socket_client_close(c);
	else
		run_input(c);
}

static void on_output_timer(struct net_timer *timer)
{
	struct socket_client *c = CONTAINER_OF(timer, struct socket_client, output);

	if (c->stream.taken_bytes == c->looked_bytes) {
		drop(c, "replies are not read");
		return;
	}
	c->looked_bytes = c->stream.taken_bytes;
	net_timer_start(loop_of(c), &c->output, c->conf->write_timeout_ms);
}

static void on_closed(struct net_stream *s)
{
	struct socket_client *c = CONTAINER_OF(s, struct socket_client, stream);

	c->stream_closed = true;
	bury(c);
}

static const struct net_stream_ops client_ops = {
    .read = on_read,
    .ended = on_ended,
    .said_all = on_said_all,
    .full = on_full,
    .drained = on_drained,
    .closed = on_closed,
};

static void init(struct socket_client *c, struct worker *w, struct listener *l, struct generation_share *old)
{
	c->worker = w;
	c->listener = l;
	list_init(&c->link);
	belong(c, old);
	c->version = RESP_2;
	c->authenticated = *socket_app(c)->session.password == '\0';
	net_timer_init(&c->output, on_output_timer);
	socket_wait_init(c);
}

void socket_client_new(struct worker *w, struct listener *l, struct generation_share *old, int fd)
{
	struct socket_client *c = calloc(1, sizeof *c);

	if (!c) {
		close(fd);
		atomic_fetch_sub(&l->connections, 1);
		atomic_fetch_sub(&w->socket_count, 1);
		worker_look_quiet(w);
		return;
	}
	init(c, w, l, old);
	if (net_stream_open(&c->stream, &w->loop, &client_ops, fd, l->address.is_unix) != 0) {
		client_free(c);
		return;
	}
	list_append(&w->socket_clients, &c->link);
	net_stream_read_start(&c->stream);
}
