/* Addresses and listening sockets: what a start-up finds in its place is replaced only when it is a dead socket. */
#include "net/socket.h"

#include "base/error.h"
#include "tests/unit/folder.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <cmocka.h>

static const struct net_unix_access plain = {.mode = 0600, .uid = (uid_t)-1, .gid = (gid_t)-1};

static int set_up(void **unused)
{
	(void)unused;
	return folder_make();
}

static int tear_down(void **unused)
{
	(void)unused;
	return folder_remove();
}

static struct net_address unix_at(const char *name)
{
	struct net_address a;

	assert_true(net_address_unix(&a, in_folder(name)));
	return a;
}

static int listen_at(const struct net_address *a)
{
	int fd = -1;

	assert_int_equal(net_listen(a, 8, &plain, &fd), 0);
	assert_true(fd >= 0);
	return fd;
}

static void expect_refusal(const struct net_address *a, int want, int want_errno)
{
	int fd = -7;

	errno = 0;
	assert_int_equal(net_listen(a, 8, &plain, &fd), want);
	if (want_errno)
		assert_int_equal(errno, want_errno);
	assert_int_equal(fd, -7);
}

/* Connected to the address, or -1. */
static int connect_to(const struct net_address *a)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	memcpy(un.sun_path, a->path, sizeof un.sun_path);
	if (connect(fd, (struct sockaddr *)&un, sizeof un) == 0)
		return fd;
	close(fd);
	return -1;
}

/* --- addresses --- */

static void numeric_hosts_only(void **unused)
{
	static const char *const bad[] = {"",          "localhost", "1.2.3", "1.2.3.4.5",
					  "256.1.1.1", "[::1]",     "::g",   " 1.2.3.4"};
	struct net_address a;

	(void)unused;
	assert_true(net_address_tcp(&a, "127.0.0.1", 65535));
	assert_false(a.is_unix);
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&a.tcp;
	assert_int_equal(v4->sin_family, AF_INET);
	assert_int_equal(ntohs(v4->sin_port), 65535);
	assert_int_equal(ntohl(v4->sin_addr.s_addr), INADDR_LOOPBACK);
	assert_true(net_address_tcp(&a, "::1", 80));
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&a.tcp;
	assert_int_equal(v6->sin6_family, AF_INET6);
	assert_int_equal(ntohs(v6->sin6_port), 80);
	assert_memory_equal(&v6->sin6_addr, &in6addr_loopback, 16);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_false(net_address_tcp(&a, bad[i], 80));
}

static void a_path_must_fit(void **unused)
{
	char path[120];
	struct net_address a;

	(void)unused;
	memset(path, 'x', sizeof path);
	path[108] = '\0';
	assert_false(net_address_unix(&a, path));
	path[107] = '\0';
	assert_true(net_address_unix(&a, path));
	assert_true(a.is_unix);
	assert_string_equal(a.path, path);
	assert_false(net_address_unix(&a, ""));
}

/* --- Unix sockets --- */

static void a_unix_socket_listens(void **unused)
{
	struct net_address a = unix_at("s");
	int fd = listen_at(&a);
	int client = connect_to(&a);

	(void)unused;
	assert_true(client >= 0);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	int server = accept(fd, NULL, NULL);
	assert_true(server >= 0);
	assert_int_equal(accept(fd, NULL, NULL), -1);
	assert_int_equal(errno, EAGAIN);
	close(server);
	close(client);
	close(fd);
}

/* The mode is as asked, whatever the mask; and the mask is what it was. */
static void the_mode_is_as_asked(void **unused)
{
	static const mode_t modes[] = {0600, 0660, 0666, 0777}, masks[] = {0077, 0};
	struct net_address a = unix_at("s");
	mode_t mask = umask(0);
	struct stat st;

	(void)unused;
	for (size_t i = 0; i < 2 * sizeof modes / sizeof *modes; i++) {
		struct net_unix_access access = {.mode = modes[i / 2], .uid = geteuid(), .gid = (gid_t)-1};
		umask(masks[i % 2]);
		int fd = -1;
		int err = net_listen(&a, 8, &access, &fd);
		assert_int_equal(err, 0);
		assert_int_equal(stat(a.path, &st), 0);
		assert_int_equal(st.st_mode & 07777, modes[i / 2]);
		assert_int_equal(st.st_uid, geteuid());
		close(fd);
		assert_int_equal(umask(mask), masks[i % 2]);
	}
}

/* Of a socket that listens: a reload. */
static void the_mode_can_be_changed(void **unused)
{
	struct net_address a = unix_at("s");
	struct net_unix_access access = {.mode = 0640, .uid = (uid_t)-1, .gid = (gid_t)-1};
	struct stat st;

	(void)unused;
	int fd = listen_at(&a);
	assert_int_equal(net_unix_access_set(a.path, &access), 0);
	assert_int_equal(stat(a.path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	access.uid = geteuid();
	access.gid = geteuid() == 0 ? 1 : getegid();
	access.mode = 0606;
	assert_int_equal(net_unix_access_set(a.path, &access), 0);
	assert_int_equal(stat(a.path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0606);
	assert_int_equal(st.st_gid, access.gid);
	int client = connect_to(&a);
	assert_true(client >= 0);
	close(client);
	close(fd);
}

/* Neither a file that somebody has put in its place, nor what a link leads to. */
static void only_a_sockets_mode_is_changed(void **unused)
{
	struct net_unix_access access = {.mode = 0666, .uid = (uid_t)-1, .gid = (gid_t)-1};
	struct net_address a = unix_at("s");
	struct stat st;

	(void)unused;
	assert_int_equal(net_unix_access_set(in_folder("none"), &access), ERR_SYSTEM);
	assert_int_equal(errno, ENOENT);
	int file = open(in_folder("file"), O_WRONLY | O_CREAT, 0600);
	assert_true(file >= 0);
	assert_int_equal(net_unix_access_set(in_folder("file"), &access), ERR_SYSTEM);
	assert_int_equal(errno, ENOTSOCK);
	int fd = listen_at(&a);
	assert_int_equal(symlink(a.path, in_folder("link")), 0);
	assert_int_equal(net_unix_access_set(in_folder("link"), &access), ERR_SYSTEM);
	assert_int_equal(errno, ENOTSOCK);
	assert_int_equal(fstat(file, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(stat(a.path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	close(fd);
	close(file);
}

static void equal_addresses(void **unused)
{
	struct net_address a = unix_at("s"), b = unix_at("s"), c = unix_at("t"), v4, v4_again, port, v6, v6_long;

	(void)unused;
	assert_true(net_address_tcp(&v4, "127.0.0.1", 80));
	assert_true(net_address_tcp(&v4_again, "127.0.0.1", 80));
	assert_true(net_address_tcp(&port, "127.0.0.1", 81));
	assert_true(net_address_tcp(&v6, "::1", 80));
	assert_true(net_address_tcp(&v6_long, "0:0:0:0:0:0:0:1", 80));
	assert_true(net_address_equal(&a, &b));
	assert_false(net_address_equal(&a, &c));
	assert_false(net_address_equal(&a, &v4));
	assert_false(net_address_equal(&v4, &a));
	assert_true(net_address_equal(&v4, &v4_again));
	assert_false(net_address_equal(&v4, &port));
	assert_false(net_address_equal(&v4, &v6));
	assert_true(net_address_equal(&v6, &v6_long));
}

static void what_a_dead_process_left_is_replaced(void **unused)
{
	struct net_address a = unix_at("s");

	(void)unused;
	close(listen_at(&a));
	assert_int_equal(connect_to(&a), -1);
	int fd = listen_at(&a);
	int client = connect_to(&a);
	assert_true(client >= 0);
	close(client);
	close(fd);
}

static void one_that_listens_is_left_alone(void **unused)
{
	struct net_address a = unix_at("s");
	int fd = listen_at(&a);

	(void)unused;
	expect_refusal(&a, ERR_BUSY, 0);
	int client = connect_to(&a);
	assert_true(client >= 0);
	close(client);
	close(fd);
}

/* Its queue is full: it is alive all the same. */
static void a_busy_one_is_left_alone_too(void **unused)
{
	struct net_address a = unix_at("s");
	int clients[32];
	size_t count = 0;
	int fd = -1;

	(void)unused;
	assert_int_equal(net_listen(&a, 1, &plain, &fd), 0);
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	memcpy(un.sun_path, a.path, sizeof un.sun_path);
	for (; count < 32; count++) {
		clients[count] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
		if (connect(clients[count], (struct sockaddr *)&un, sizeof un) != 0)
			break;
	}
	assert_in_range(count, 1, 31);
	expect_refusal(&a, ERR_BUSY, 0);
	for (size_t i = 0; i <= count; i++)
		close(clients[i]);
	close(fd);
}

static void what_is_no_socket_is_left_alone(void **unused)
{
	struct net_address file = unix_at("file");
	struct net_address below = unix_at("folder");
	struct stat st;
	int fd = open(file.path, O_WRONLY | O_CREAT, 0644);

	(void)unused;
	assert_int_equal(write(fd, "data", 4), 4);
	close(fd);
	expect_refusal(&file, ERR_SYSTEM, EADDRINUSE);
	assert_int_equal(stat(file.path, &st), 0);
	assert_true(S_ISREG(st.st_mode));
	assert_int_equal(st.st_size, 4);
	assert_int_equal(mkdir(below.path, 0700), 0);
	expect_refusal(&below, ERR_SYSTEM, EADDRINUSE);
	assert_int_equal(rmdir(below.path), 0);
	assert_int_equal(symlink("file", below.path), 0);
	expect_refusal(&below, ERR_SYSTEM, EADDRINUSE);
	assert_int_equal(stat(file.path, &st), 0);
}

static void a_folder_that_is_not_there(void **unused)
{
	struct net_address a = unix_at("none/s");

	(void)unused;
	expect_refusal(&a, ERR_SYSTEM, ENOENT);
}

/* --- TCP --- */

static void tcp_listens(void **unused)
{
	static const char *const hosts[] = {"127.0.0.1", "::1"};

	(void)unused;
	for (size_t i = 0; i < 2; i++) {
		struct sockaddr_storage bound;
		socklen_t len = sizeof bound;
		struct net_address a;
		assert_true(net_address_tcp(&a, hosts[i], 0));
		int fd = -1;
		int err = net_listen(&a, 8, &plain, &fd);
		if (i == 1 && err && (errno == EADDRNOTAVAIL || errno == EAFNOSUPPORT))
			continue; /* a machine without IPv6 */
		assert_int_equal(err, 0);
		assert_int_equal(getsockname(fd, (struct sockaddr *)&bound, &len), 0);
		int client = socket(bound.ss_family, SOCK_STREAM, 0);
		assert_int_equal(connect(client, (struct sockaddr *)&bound, len), 0);
		assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
		assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
		close(client);
		close(fd);
	}
}

static void a_port_is_taken_once(void **unused)
{
	struct sockaddr_in bound;
	socklen_t len = sizeof bound;
	struct net_address a;

	(void)unused;
	assert_true(net_address_tcp(&a, "127.0.0.1", 0));
	int fd = listen_at(&a);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&bound, &len), 0);
	assert_true(net_address_tcp(&a, "127.0.0.1", ntohs(bound.sin_port)));
	expect_refusal(&a, ERR_SYSTEM, EADDRINUSE);
	close(fd);
}

/* A restart comes while connections of the old process are still in TIME_WAIT. */
static void a_port_can_be_taken_again_at_once(void **unused)
{
	struct sockaddr_in bound;
	socklen_t len = sizeof bound;
	struct net_address a;

	(void)unused;
	assert_true(net_address_tcp(&a, "127.0.0.1", 0));
	int fd = listen_at(&a);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&bound, &len), 0);
	int client = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(client, (struct sockaddr *)&bound, len), 0);
	int server = accept(fd, NULL, NULL);
	close(server); /* first: it is this side that stays in TIME_WAIT */
	close(client);
	close(fd);
	assert_true(net_address_tcp(&a, "127.0.0.1", ntohs(bound.sin_port)));
	close(listen_at(&a));
}

/* Otherwise 0.0.0.0:80 and [::]:80 could not both be configured. */
static void v6_does_not_take_v4_too(void **unused)
{
	struct sockaddr_in6 bound;
	socklen_t len = sizeof bound;
	struct net_address a;
	int fd = -1;

	(void)unused;
	assert_true(net_address_tcp(&a, "::", 0));
	if (net_listen(&a, 8, &plain, &fd) != 0)
		skip(); /* a machine without IPv6 */
	assert_int_equal(getsockname(fd, (struct sockaddr *)&bound, &len), 0);
	assert_true(net_address_tcp(&a, "0.0.0.0", ntohs(bound.sin6_port)));
	close(listen_at(&a));
	close(fd);
}

static void an_address_of_another_machine(void **unused)
{
	struct net_address a;

	(void)unused;
	assert_true(net_address_tcp(&a, "192.0.2.1", 0));
	expect_refusal(&a, ERR_SYSTEM, EADDRNOTAVAIL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(numeric_hosts_only),
	    TEST(a_path_must_fit),
	    TEST(a_unix_socket_listens),
	    TEST(the_mode_is_as_asked),
	    TEST(the_mode_can_be_changed),
	    TEST(only_a_sockets_mode_is_changed),
	    TEST(equal_addresses),
	    TEST(what_a_dead_process_left_is_replaced),
	    TEST(one_that_listens_is_left_alone),
	    TEST(a_busy_one_is_left_alone_too),
	    TEST(what_is_no_socket_is_left_alone),
	    TEST(a_folder_that_is_not_there),
	    TEST(tcp_listens),
	    TEST(a_port_is_taken_once),
	    TEST(a_port_can_be_taken_again_at_once),
	    TEST(v6_does_not_take_v4_too),
	    TEST(an_address_of_another_machine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
