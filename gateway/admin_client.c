/* One connection to the admin socket. */
#include "gateway/admin_client.h"

#include "base/error.h"
#include "gateway/command.h"
#include "net/stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Lines that were sent together and wait. Reading stops while there is a whole one. */
enum { INPUT_MAX = NET_READ_BYTES + ADMIN_LINE_MAX };

/* Commands in one turn, so that who sends many at once does not keep the main loop to himself. */
enum { TURN_MAX = 8 };

struct admin_client {
	struct net_stream stream;
	struct net_timer silence; /* until a line has come, or until some of a reply was taken */
	struct net_timer again;   /* to go on with the lines that have come */
	struct admin_client_options options;
	struct buf in;
	struct command *command; /* owned; NULL: none is under way */
	bool in_run;             /* within command_run() */
	bool answered;           /* the command's reply is there */
	bool finishing;          /* close when what is under way is answered and taken */
	bool closing;
};

static void go_on(struct admin_client *c);

/* --- silence --- */

static void watch(struct admin_client *c)
{
	net_stream_mark(&c->stream);
	net_timer_start(c->stream.loop, &c->silence, c->options.silence_ms);
}

static void drop(struct admin_client *c, const char *reason)
{
	log_event(LOG_INFO, "admin_dropped", LOG_S("reason", reason), LOG_I("uid", c->options.uid));
	admin_client_close(c);
}

/* Sends it if the kernel takes it; the connection ends in any case. */
static void refuse(struct admin_client *c, enum admin_code code, const char *message)
{
	command_put_error(net_stream_out(&c->stream), code, message, false);
	admin_client_finish(c);
}

static void on_silence(struct net_timer *timer)
{
	struct admin_client *c = CONTAINER_OF(timer, struct admin_client, silence);
	char message[64];

	if (c->stream.taken_bytes > 0 && net_stream_full(&c->stream)) {
		watch(c);
	} else if (net_stream_full(&c->stream)) {
		drop(c, "a reply is not read");
	} else {
		uint64_t s = c->options.silence_ms / 1000;
		snprintf(message, sizeof message, "no whole line for %llu s", (unsigned long long)s);
		refuse(c, ADMIN_TIMEOUT, message);
	}
}

/* --- one command after the other --- */

static void on_done(struct command *command)
{
	struct admin_client *c = command_owner(command);

	c->answered = true;
	if (!c->in_run)
		go_on(c);
}

static void answer(struct admin_client *c)
{
	command_put_reply(c->command, net_stream_out(&c->stream));
	command_free(&c->command);
	net_stream_flush(&c->stream);
}

/* The line is good until the call returns. */
static void run_line(struct admin_client *c, struct view line)
{
	c->command = command_new(c->options.daemon, c->options.uid, on_done, c);
	c->answered = false;
	if (!c->command) {
		refuse(c, ADMIN_FAILED, error_text(ERR_NO_MEMORY));
		return;
	}
	if (!command_read(c->command, line)) {
		command_free(&c->command);
		return;
	}
	c->in_run = true;
	command_run(c->command);
	c->in_run = false;
	if (c->command && c->answered)
		answer(c);
}

/* Takes the next line out of what has come. False: there is none, or it is too long. */
static bool take_line(struct admin_client *c)
{
	struct view in = buf_view(&c->in);
	const uint8_t *end = in.at ? memchr(in.at, '\n', in.len) : NULL;
	size_t len = end ? (size_t)(end - in.at) + 1 : in.len;

	/* Without its end it has one byte to come at least. */
	if (len + !end > ADMIN_LINE_MAX) {
		refuse(c, ADMIN_BAD_LINE, "a line has at most 4096 bytes");
		return false;
	}
	if (!end)
		return false;
	struct view line = view_of(in.at, len - 1);
	if (view_ends(line, VIEW("\r")))
		line.len--;
	run_line(c, line);
	buf_consume(&c->in, len);
	return true;
}

static bool ready(const struct admin_client *c)
{
	return !c->command && !c->finishing && !c->closing && !net_stream_full(&c->stream);
}

/* After anything that has changed what there is to do. */
static void go_on(struct admin_client *c)
{
	unsigned left = TURN_MAX;

	if (c->command && c->answered) {
		answer(c);
		watch(c);
	}
	while (left > 0 && ready(c) && take_line(c)) {
		watch(c);
		left--;
	}
	if (c->closing)
		return;
	if (c->finishing) {
		admin_client_finish(c);
	} else if (c->command) {
		net_stream_read_stop(&c->stream);
		net_timer_stop(c->stream.loop, &c->silence);
	} else if (net_stream_full(&c->stream)) {
		net_stream_read_stop(&c->stream);
	} else if (left == 0) {
		net_stream_read_stop(&c->stream);
		net_timer_start(c->stream.loop, &c->again, 0);
	} else {
		net_stream_read_start(&c->stream);
	}
}

static void on_again(struct net_timer *timer)
{
	go_on(CONTAINER_OF(timer, struct admin_client, again));
}

/* --- the stream --- */

static void on_read(struct net_stream *s, struct view data)
{
	struct admin_client *c = CONTAINER_OF(s, struct admin_client, stream);

	/* What comes after the end that we have set is read to no purpose. */
	if (c->finishing)
		return;
	buf_put(&c->in, data);
	if (buf_error(&c->in))
		refuse(c, ADMIN_FAILED, error_text(buf_error(&c->in)));
	else
		go_on(c);
}

static void on_ended(struct net_stream *s, int err)
{
	(void)err;
	admin_client_close(CONTAINER_OF(s, struct admin_client, stream));
}

static void on_full(struct net_stream *s)
{
	net_stream_read_stop(s);
}

static void on_drained(struct net_stream *s)
{
	struct admin_client *c = CONTAINER_OF(s, struct admin_client, stream);

	watch(c);
	go_on(c);
}

static void on_closed(struct net_stream *s)
{
	struct admin_client *c = CONTAINER_OF(s, struct admin_client, stream);

	c->options.gone(c->options.arg, c);
	buf_fini(&c->in);
	free(c);
}

/* Heard out: who sends a command and closes his side gets its reply. While a command is under way nothing is read, so
 * that the end is told after the reply. */
static const struct net_stream_ops ops = {
    .read = on_read,
    .ended = on_ended,
    .full = on_full,
    .drained = on_drained,
    .closed = on_closed,
    .heard_out = true,
};

/* --- life --- */

struct admin_client *admin_client_new(struct net_loop *loop, int fd, const struct admin_client_options *o)
{
	struct admin_client *c = calloc(1, sizeof *c);

	if (!c) {
		close(fd);
		return NULL;
	}
	if (net_stream_open(&c->stream, loop, &ops, fd, true) != 0) {
		free(c);
		return NULL;
	}
	c->options = *o;
	buf_init(&c->in, INPUT_MAX);
	net_timer_init(&c->silence, on_silence);
	net_timer_init(&c->again, on_again);
	watch(c);
	net_stream_read_start(&c->stream);
	return c;
}

void admin_client_finish(struct admin_client *c)
{
	c->finishing = true;
	if (c->closing || c->command)
		return;
	net_stream_flush(&c->stream);
	if (!net_stream_full(&c->stream))
		admin_client_close(c);
}

void admin_client_close(struct admin_client *c)
{
	if (c->closing)
		return;
	c->closing = true;
	if (c->command && !c->answered)
		command_abandon(&c->command);
	else
		command_free(&c->command);
	net_timer_stop(c->stream.loop, &c->silence);
	net_timer_stop(c->stream.loop, &c->again);
	net_stream_close(&c->stream);
}
