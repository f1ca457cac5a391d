/* Listening sockets. */
#include "net/socket.h"

#include "base/error.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

bool net_address_tcp(struct net_address *a, const char *host, uint16_t port)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};

	memset(a, 0, sizeof *a);
	if (inet_pton(AF_INET, host, &v4.sin_addr) == 1)
		memcpy(&a->tcp, &v4, sizeof v4);
	else if (inet_pton(AF_INET6, host, &v6.sin6_addr) == 1)
		memcpy(&a->tcp, &v6, sizeof v6);
	else
		return false;
	return true;
}

bool net_address_text(struct net_address *a, struct view text)
{
	char host[INET6_ADDRSTRLEN];
	uint64_t port;
	size_t colon = text.len;

	while (colon > 0 && text.at[colon - 1] != ':')
		colon--;
	if (colon < 2 || !view_to_u64(view_of(text.at + colon, text.len - colon), UINT16_MAX, &port) || port == 0)
		return false;
	struct view name = view_of(text.at, colon - 1);
	bool bracketed = name.len > 2 && name.at[0] == '[' && name.at[name.len - 1] == ']';
	if (bracketed)
		name = view_of(name.at + 1, name.len - 2);
	if (name.len >= sizeof host || bracketed != (memchr(name.at, ':', name.len) != NULL))
		return false;
	memcpy(host, name.at, name.len);
	host[name.len] = '\0';
	return net_address_tcp(a, host, (uint16_t)port);
}

bool net_address_unix(struct net_address *a, const char *path)
{
	size_t len = strlen(path);

	memset(a, 0, sizeof *a);
	if (len == 0 || len >= sizeof a->path)
		return false;
	a->is_unix = true;
	memcpy(a->path, path, len + 1);
	return true;
}

bool net_address_equal(const struct net_address *a, const struct net_address *b)
{
	if (a->is_unix || b->is_unix)
		return a->is_unix && b->is_unix && strcmp(a->path, b->path) == 0;
	return memcmp(&a->tcp, &b->tcp, sizeof a->tcp) == 0; /* it was zeroed before it was filled */
}

static struct sockaddr_un unix_sockaddr(const struct net_address *a)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	memcpy(un.sun_path, a->path, sizeof un.sun_path);
	return un;
}

/* Removes a socket file that a dead process left. Anything else in its place is left alone; bind() then fails. */
static int remove_stale(const struct net_address *a)
{
	struct sockaddr_un un = unix_sockaddr(a);
	struct stat st;

	if (lstat(a->path, &st) != 0 || !S_ISSOCK(st.st_mode))
		return 0;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return ERR_SYSTEM;
	int rc = connect(fd, (struct sockaddr *)&un, sizeof un);
	int why = errno;
	close(fd);
	if (rc == 0 || why == EAGAIN)
		return ERR_BUSY;
	return why == ECONNREFUSED && unlink(a->path) != 0 ? ERR_SYSTEM : 0;
}

/* The umask is the whole process's, and another thread could make a folder just now: it is left alone where it takes
 * nothing away, for no sane one has bits of the owner. */
static int bind_with_mode(int fd, const struct sockaddr_un *un, mode_t mode)
{
	bool only_owner = (mode & 077) == 0;
	mode_t mask = only_owner ? 0 : umask(~mode & 0777);
	int rc = bind(fd, (const struct sockaddr *)un, sizeof *un);

	if (!only_owner)
		umask(mask);
	return rc;
}

static int bind_unix(int fd, const struct net_address *a, const struct net_unix_access *access)
{
	struct sockaddr_un un = unix_sockaddr(a);

	int err = remove_stale(a);
	if (err)
		return err;
	/* The mode comes with the file and the owner without following links: in a folder where others may write, the
	 * file could be another one by now. Linux takes the mode from the socket, less the umask. */
	if (fchmod(fd, access->mode) != 0 || bind_with_mode(fd, &un, access->mode) != 0)
		return ERR_SYSTEM;
	if ((access->uid == (uid_t)-1 && access->gid == (gid_t)-1) || lchown(a->path, access->uid, access->gid) == 0)
		return 0;
	int why = errno;
	unlink(a->path);
	errno = why;
	return ERR_SYSTEM;
}

static int bind_tcp(int fd, const struct net_address *a)
{
	int on = 1;
	bool v6 = a->tcp.ss_family == AF_INET6;

	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0)
		return ERR_SYSTEM;
	if (v6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0)
		return ERR_SYSTEM;
	socklen_t len = v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
	return bind(fd, (const struct sockaddr *)&a->tcp, len) == 0 ? 0 : ERR_SYSTEM;
}

int net_listen(const struct net_address *a, int backlog, const struct net_unix_access *access, int *out)
{
	int family = a->is_unix ? AF_UNIX : a->tcp.ss_family;
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return ERR_SYSTEM;
	int err = a->is_unix ? bind_unix(fd, a, access) : bind_tcp(fd, a);
	bool bound = !err;
	if (bound && listen(fd, backlog) != 0)
		err = ERR_SYSTEM;
	if (err) {
		int why = errno;
		close(fd);
		if (bound && a->is_unix)
			unlink(a->path);
		errno = why;
		return err;
	}
	*out = fd;
	return 0;
}

/* By a descriptor: between the look and the change nobody can put another file in its place. */
static int access_set(int fd, const struct net_unix_access *access)
{
	char name[64];
	struct stat st;

	if (fstat(fd, &st) != 0)
		return ERR_SYSTEM;
	if (!S_ISSOCK(st.st_mode)) {
		errno = ENOTSOCK;
		return ERR_SYSTEM;
	}
	if ((access->uid != (uid_t)-1 || access->gid != (gid_t)-1) &&
	    fchownat(fd, "", access->uid, access->gid, AT_EMPTY_PATH) != 0)
		return ERR_SYSTEM;
	snprintf(name, sizeof name, "/proc/self/fd/%d", fd); /* fchmod() does not take one of O_PATH */
	return chmod(name, access->mode) == 0 ? 0 : ERR_SYSTEM;
}

int net_unix_access_set(const char *path, const struct net_unix_access *access)
{
	int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return ERR_SYSTEM;
	int err = access_set(fd, access);
	int why = errno;
	close(fd);
	errno = why;
	return err;
}
