/* Addresses and listening sockets. Plain system calls at start-up; no event loop. */
#ifndef WEIR_NET_SOCKET_H
#define WEIR_NET_SOCKET_H

#include "base/compiler.h"
#include "net/stream.h"

#include <sys/types.h>

/* `host` is a numeric IPv4 or IPv6 address. False when it is not, or when the path is too long for a socket. */
bool net_address_tcp(struct net_address *a, const char *host, uint16_t port);
/* "ADDR:PORT" or "[ADDR]:PORT", both numeric; port 0 is none. */
bool net_address_text(struct net_address *a, struct view text);
bool net_address_unix(struct net_address *a, const char *path);
bool net_address_equal(const struct net_address *a, const struct net_address *b);

struct net_unix_access {
	mode_t mode; /* permission bits of the socket file */
	uid_t uid;   /* (uid_t)-1: unchanged */
	gid_t gid;   /* (gid_t)-1: unchanged */
};

/* A listening, non-blocking, close-on-exec socket. A socket file that nobody listens on any more is replaced; one
 * with a listener is not touched (ERR_BUSY). Otherwise ERR_SYSTEM with errno. `access` only for Unix sockets. */
MUST_USE int net_listen(const struct net_address *a, int backlog, const struct net_unix_access *access, int *fd);

/* Changes mode and owner of a Unix socket's file. ERR_SYSTEM with errno: not permitted, or it is not there (ENOENT), or
 * is no socket (ENOTSOCK). */
MUST_USE int net_unix_access_set(const char *path, const struct net_unix_access *access);

#endif
