/* Sockets by "unix:/path" or "127.0.0.1:port", for the programs of the bench. They end the program with a message when
 * the address cannot be had. */
#ifndef WEIR_BENCH_SOCKET_H
#define WEIR_BENCH_SOCKET_H

#include <arpa/inet.h>
#include <err.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

struct address {
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_un un;
	} at;
	socklen_t len;
};

static inline struct address address_parse(const char *text)
{
	struct address a = {.len = 0};
	if (strncmp(text, "unix:", 5) == 0) {
		a.at.un.sun_family = AF_UNIX;
		if (strlen(text + 5) >= sizeof a.at.un.sun_path)
			errx(1, "%s: the path is too long", text);
		strcpy(a.at.un.sun_path, text + 5);
		a.len = sizeof a.at.un;
		return a;
	}
	char host[64];
	const char *colon = strrchr(text, ':');
	size_t host_len = colon == NULL ? 0 : (size_t)(colon - text);
	if (host_len == 0 || host_len >= sizeof host)
		errx(1, "%s: neither unix:/path nor address:port", text);
	memcpy(host, text, host_len);
	host[host_len] = '\0';
	a.at.in.sin_family = AF_INET;
	a.at.in.sin_port = htons((uint16_t)atoi(colon + 1));
	if (inet_pton(AF_INET, host, &a.at.in.sin_addr) != 1)
		errx(1, "%s: not a numeric IPv4 address", text);
	a.len = sizeof a.at.in;
	return a;
}

static inline int socket_new(const struct address *a)
{
	int fd = socket(a->at.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		err(1, "socket");
	int one = 1;
	if (a->at.any.sa_family == AF_INET)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	return fd;
}

/* Non-blocking; a Unix socket is open to every user, as its directory should not be. */
static inline int socket_listen(const char *text)
{
	struct address a = address_parse(text);
	int fd = socket_new(&a), one = 1;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (a.at.any.sa_family == AF_UNIX)
		(void)unlink(a.at.un.sun_path);
	if (bind(fd, &a.at.any, a.len) != 0 || listen(fd, 1024) != 0)
		err(1, "%s", text);
	if (a.at.any.sa_family == AF_UNIX && chmod(a.at.un.sun_path, 0666) != 0)
		err(1, "%s", text);
	return fd;
}

/* Blocking connect; -1 with errno when it fails. */
static inline int socket_connect(const struct address *a)
{
	int fd = socket_new(a);
	if (connect(fd, &a->at.any, a->len) == 0)
		return fd;
	(void)close(fd);
	return -1;
}

#endif
