/* One line to weir, a head and a body back; for as many pages as there are. */
#include "ctl/talk.h"

#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

enum ctl_exit ctl_exit_of(enum admin_code code)
{
	switch (code) {
	case ADMIN_OK:
		return CTL_DONE;
	case ADMIN_UNKNOWN_COMMAND:
	case ADMIN_BAD_LINE:
	case ADMIN_BAD_ARGUMENT:
		return CTL_USAGE;
	case ADMIN_NOT_FOUND:
		return CTL_NOT_FOUND;
	default:
		return CTL_FAILED;
	}
}

/* --- the request --- */

/* Its line. `cursor` NULL: that of the request. False when no line can carry it. */
static bool put_line(struct buf *out, const struct admin_request *r, const char *cursor)
{
	bool fits = true;

	buf_put_str(out, admin_commands[r->command].name);
	for (unsigned i = 0; i < ADMIN_OPTIONS; i++) {
		const char *value = i == ADMIN_CURSOR && cursor ? cursor : r->options[i];
		if (!value || i == ADMIN_ALL)
			continue;
		buf_put_u8(out, ' ');
		buf_put_str(out, admin_options[i].name);
		if (!admin_options[i].value)
			continue;
		buf_put_u8(out, ' ');
		fits = admin_word_put(out, value) && fits;
	}
	/* Pages of a good size, where nobody has asked for another. */
	if (r->options[ADMIN_ALL] && !r->options[ADMIN_LIMIT])
		buf_put_str(out, " --limit 1000");
	buf_put_str(out, " --");
	for (size_t i = 0; i < r->argument_count; i++) {
		buf_put_u8(out, ' ');
		fits = admin_word_put(out, r->arguments[i]) && fits;
	}
	buf_put_u8(out, '\n');
	return fits && buf_len(out) <= ADMIN_LINE_MAX;
}

/* Who is not let in is told so and hears no more of what he sends: then the reply says it. */
static bool send_line(int fd, struct view line)
{
	while (line.len > 0) {
		ssize_t n = send(fd, line.at, line.len, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EPIPE || errno == ECONNRESET;
		(void)view_take(&line, (size_t)n);
	}
	return true;
}

/* --- the reply --- */

struct reader {
	int fd;
	struct buf in; /* what has come and was not used yet */
};

/* False: nothing more comes; it has said so. */
static bool read_more(struct reader *r)
{
	enum { PIECE = 65536 };
	uint8_t *to = buf_reserve(&r->in, PIECE);
	ssize_t n;

	if (!to) {
		ctl_say("%s", error_text(buf_error(&r->in)));
		return false;
	}
	do {
		n = recv(r->fd, to, PIECE, 0);
	} while (n < 0 && errno == EINTR);
	if (n > 0) {
		buf_commit(&r->in, (size_t)n);
		return true;
	}
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		ctl_say("weir does not answer");
	else
		ctl_say("weir has closed the connection without a whole answer");
	return false;
}

static bool read_head(struct reader *r, struct admin_head *out)
{
	struct view in = buf_view(&r->in);
	const uint8_t *end = NULL;

	while (!end && in.len < ADMIN_HEAD_MAX && read_more(r)) {
		in = buf_view(&r->in);
		end = in.at ? memchr(in.at, '\n', in.len) : NULL;
	}
	if (!end && in.len < ADMIN_HEAD_MAX)
		return false;
	size_t len = end ? (size_t)(end - in.at) : in.len;
	if (!end || !admin_head_read(view_of(in.at, len), out)) {
		ctl_say("who answers there is not weir");
		return false;
	}
	buf_consume(&r->in, len + 1);
	return true;
}

/* Passes the body on as it comes. `skip_line`: all but its first line. */
static bool pass_body(struct reader *r, uint64_t length, FILE *to, bool skip_line)
{
	while (length > 0) {
		if (buf_len(&r->in) == 0 && !read_more(r))
			return false;
		struct view piece = buf_view(&r->in);
		piece.len = piece.len > length ? (size_t)length : piece.len;
		size_t taken = piece.len;
		if (skip_line) {
			const uint8_t *end = piece.at ? memchr(piece.at, '\n', piece.len) : NULL;
			(void)view_take(&piece, end ? (size_t)(end - piece.at) + 1 : piece.len);
			skip_line = !end;
		}
		if (piece.len > 0)
			fwrite(piece.at, 1, piece.len, to);
		buf_consume(&r->in, taken);
		length -= taken;
	}
	return true;
}

/* --- together --- */

static enum ctl_exit receive(struct reader *r, bool json, bool further, struct admin_head *head)
{
	if (!read_head(r, head))
		return CTL_UNREACHABLE;
	FILE *to = head->code == ADMIN_OK || json ? stdout : stderr;
	if (to == stderr)
		fputs("weirctl: ", stderr);
	if (!pass_body(r, head->length, to, further && !json && head->code == ADMIN_OK))
		return CTL_UNREACHABLE;
	return ctl_exit_of(head->code);
}

static enum ctl_exit ask(struct reader *r, const struct admin_request *request, const char *cursor,
			 struct admin_head *head)
{
	struct buf line = {.max_bytes = 0};
	enum ctl_exit code = CTL_UNREACHABLE;

	if (!put_line(&line, request, cursor)) {
		ctl_say("this is too long, or has a control character");
		code = CTL_USAGE;
	} else if (!send_line(r->fd, buf_view(&line))) {
		ctl_say("weir does not answer");
	} else {
		code = receive(r, request->options[ADMIN_JSON], cursor, head);
	}
	buf_fini(&line);
	return code;
}

enum ctl_exit ctl_talk(int fd, const struct admin_request *request)
{
	struct reader r = {.fd = fd};
	struct admin_head head = {.code = ADMIN_OK};
	char cursor[ADMIN_CURSOR_MAX];
	enum ctl_exit code = ask(&r, request, NULL, &head);

	while (code == CTL_DONE && *head.next && request->options[ADMIN_ALL]) {
		memcpy(cursor, head.next, sizeof cursor);
		code = ask(&r, request, cursor, &head);
	}
	if (code == CTL_DONE && *head.next && !request->options[ADMIN_JSON])
		ctl_say("there are more: --cursor %s goes on, --all shows all", head.next);
	buf_fini(&r.in);
	return code;
}
