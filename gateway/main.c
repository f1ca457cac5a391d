/* The command line. */
#include "base/error.h"
#include "base/version.h"
#include "conf/conf.h"
#include "gateway/daemon.h"
#include "gateway/privilege.h"
#include "tls/tls.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static void usage(FILE *to)
{
	fputs("usage: weir [-t] -c FILE    run with this configuration; -t: only check it\n"
	      "       weir -o              print every option with its default and meaning\n"
	      "       weir -v | -h         print the version | this text\n",
	      to);
}

static int print_options(void)
{
	struct buf out = {.max_bytes = 0};

	conf_help(&out);
	struct view text = buf_view(&out);
	fwrite(text.at, 1, text.len, stdout);
	buf_fini(&out);
	return 0;
}

static struct conf *load(const char *path)
{
	struct buf errors = {.max_bytes = 0};
	struct conf *c = NULL;
	int err = conf_load(path, &c, &errors);

	if (err) {
		struct view text = buf_view(&errors);
		fwrite(text.at, 1, text.len, stderr);
		if (text.len == 0)
			fprintf(stderr, "weir: %s: %s\n", path, error_text(err));
	}
	buf_fini(&errors);
	return c;
}

/* Whether the others would let this node in. */
static int check_certificates(const struct conf_cluster *c, const char *node, const char *path)
{
	const struct tls_settings settings = {.cluster = c->name,
					      .node = node,
					      .certificate = c->certificate,
					      .key = c->key,
					      .authority = c->ca,
					      .crl = c->crl};
	struct tls_context *context = NULL;
	struct tls_said said = {.why = ""};

	if (!c->name)
		return 0;
	int err = tls_context_load(&context, &settings, clock_wall(), &said);
	if (err)
		fprintf(stderr, "%s: cluster: %s\n", path, *said.why ? said.why : error_text(err));
	if (*said.warning)
		fprintf(stderr, "%s: warning: cluster: %s\n", path, said.warning);
	if (context)
		tls_context_unref(&context);
	return err;
}

/* What a start as this user would refuse, beside the file itself. */
static int check_start(const struct conf *c, const char *path)
{
	struct privilege p = {.user = NULL};
	char why[256];

	if (geteuid() == 0 && privilege_find(&p, c, why, sizeof why) != 0) {
		fprintf(stderr, "%s: %s\n", path, why);
		return 1;
	}
	if (check_certificates(&c->cluster, c->node, path) != 0) {
		privilege_fini(&p);
		return 1;
	}
	for (size_t i = 0; i < c->listen_count; i++) {
		if (privilege_shuts_out(&p, &c->listens[i]))
			fprintf(stderr, "%s: warning: session.socket \"%s\": %s\n", path, c->listens[i].address.text,
				PRIVILEGE_SHUTS_OUT);
	}
	privilege_fini(&p);
	printf("%s: the configuration is good\n", path);
	return 0;
}

/* Started with one of the three closed, weir would make its first socket or pipe there, and log into it. */
static void open_standard_descriptors(void)
{
	int fd;

	while ((fd = open("/dev/null", O_RDWR)) >= 0 && fd <= STDERR_FILENO)
		;
	if (fd > STDERR_FILENO)
		close(fd);
}

int main(int argc, char **argv)
{
	open_standard_descriptors();
	const char *path = NULL;
	bool check = false;
	int option;

	while ((option = getopt(argc, argv, "c:thov")) != -1) {
		switch (option) {
		case 'c':
			path = optarg;
			break;
		case 't':
			check = true;
			break;
		case 'o':
			return print_options();
		case 'v':
			puts("weir " WEIR_VERSION);
			return 0;
		case 'h':
			usage(stdout);
			return 0;
		default:
			usage(stderr);
			return 2;
		}
	}
	if (!path || optind < argc) {
		usage(stderr);
		return 2;
	}
	struct conf *c = load(path);
	if (!c)
		return 1;
	if (!check)
		return daemon_run(c, path);
	int code = check_start(c, path);
	conf_free(&c);
	return code;
}
