/* The command line of weirctl. */
#include "base/buf.h"
#include "base/version.h"
#include "conf/conf.h"
#include "ctl/pki.h"
#include "ctl/place.h"
#include "ctl/reach.h"
#include "ctl/talk.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { WAIT_PRESET_MS = 30 * 1000 };

struct invocation {
	const char *config, *socket, *pid_file; /* NULL: not given */
	uint64_t wait_ms;
	bool json;
	struct admin_words words;
};

void ctl_say(const char *format, ...)
{
	va_list values;

	fputs("weirctl: ", stderr);
	va_start(values, format);
	vfprintf(stderr, format, values);
	va_end(values);
	fputc('\n', stderr);
}

static void print(FILE *to, struct buf *text)
{
	struct view v = buf_view(text);

	if (v.len > 0)
		fwrite(v.at, 1, v.len, to);
	buf_fini(text);
}

static void usage(FILE *to)
{
	struct buf commands = {.max_bytes = 0};

	fputs("usage: weirctl [-c FILE] [-s SOCKET] [-p FILE] [-t TIME] [--json] COMMAND ...\n"
	      "\n"
	      "-c FILE    weir's configuration, which says where it is; otherwise /etc/weir/weir.conf\n"
	      "-s SOCKET  its admin socket\n"
	      "-p FILE    its pid file\n"
	      "-t TIME    how long to wait for an answer; otherwise 30s\n"
	      "--json     answer in JSON\n"
	      "-v | -h    print the version | this text\n"
	      "\n",
	      to);
	if (admin_help_put(&commands, NULL, 0))
		print(to, &commands);
}

/* --- what is wanted --- */

static const struct option long_options[] = {
    {"json", no_argument, NULL, 'j'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'v'},
    {NULL, 0, NULL, 0},
};

/* Whether weirctl has ended with *code. */
static bool read_option(struct invocation *v, int option, int *code)
{
	*code = CTL_DONE;
	switch (option) {
	case 'c':
		v->config = optarg;
		return false;
	case 's':
		v->socket = optarg;
		return false;
	case 'p':
		v->pid_file = optarg;
		return false;
	case 'j':
		v->json = true;
		return false;
	case 't':
		if (conf_parse_time(optarg, &v->wait_ms) && v->wait_ms > 0)
			return false;
		ctl_say("-t takes a time such as 500ms or 5s");
		break;
	case 'v':
		puts("weirctl " WEIR_VERSION);
		return true;
	case 'h':
		usage(stdout);
		return true;
	default:
		usage(stderr);
	}
	*code = CTL_USAGE;
	return true;
}

/* The words of the command as a line of the protocol and back, so that what weir would not read is told here. */
static const char *read_words(struct invocation *v, int argc, char **argv)
{
	struct buf line = {.max_bytes = 0};
	const char *why = NULL;

	if (v->json)
		buf_put_str(&line, "--json ");
	for (int i = optind; i < argc && !why; i++) {
		if (!admin_word_put(&line, argv[i]))
			why = "a control character";
		buf_put_u8(&line, ' ');
	}
	if (!why)
		why = admin_words_read(&v->words, buf_view(&line));
	buf_fini(&line);
	return why;
}

/* --- help needs no weir --- */

static enum ctl_exit help(const struct admin_request *r)
{
	struct buf text = {.max_bytes = 0};
	bool some = true;

	if (r->options[ADMIN_JSON])
		some = admin_help_put_json(&text, r->arguments, r->argument_count);
	else if (r->argument_count > 0)
		some = admin_help_put(&text, r->arguments, r->argument_count);
	else
		usage(stdout);
	print(stdout, &text);
	if (!some)
		ctl_say("there is no such command");
	return some ? CTL_DONE : CTL_NOT_FOUND;
}

static enum ctl_exit talk(const struct invocation *v, const struct admin_request *r)
{
	struct ctl_place place;
	enum ctl_exit code = ctl_place_find(&place, v->config, v->socket, v->pid_file);

	if (code != CTL_DONE)
		return code;
	int fd = ctl_reach(&place, v->wait_ms);
	code = fd < 0 ? CTL_UNREACHABLE : ctl_talk(fd, r);
	if (fd >= 0)
		close(fd);
	ctl_place_fini(&place);
	return code;
}

static enum ctl_exit run(const struct invocation *v)
{
	struct admin_request request;
	struct buf why = {.max_bytes = 0};
	enum admin_code code = admin_request_read(&request, &v->words, &why);

	if (code != ADMIN_OK) {
		fputs("weirctl: ", stderr);
		print(stderr, &why);
		return ctl_exit_of(code);
	}
	buf_fini(&why);
	if (admin_commands[request.command].local)
		return ctl_pki(&request);
	return request.command == ADMIN_HELP ? help(&request) : talk(v, &request);
}

int main(int argc, char **argv)
{
	static struct invocation v = {.wait_ms = WAIT_PRESET_MS};
	int option, code;

	/* What stands behind the command is for the command. */
	while ((option = getopt_long(argc, argv, "+c:s:p:t:hv", long_options, NULL)) != -1) {
		if (read_option(&v, option, &code))
			return code;
	}
	if (optind == argc) {
		usage(stderr);
		return CTL_USAGE;
	}
	const char *why = read_words(&v, argc, argv);
	if (why) {
		ctl_say("this cannot be sent: %s", why);
		return CTL_USAGE;
	}
	code = run(&v);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		ctl_say("standard output: %s", strerror(errno));
		return code == CTL_DONE ? CTL_FAILED : code;
	}
	return code;
}
