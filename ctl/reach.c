/* From the pid file to an open socket. The process is held by a descriptor from the look at its name to the signal, so
 * that no other one gets it that has the number by then. */
#include "ctl/reach.h"

#include "base/clock.h"
#include "base/view.h"
#include "ctl/ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
	OPEN_WAIT_MS = 5000, /* from the signal until the socket is there */
	LOOK_MS = 10,
};

/* Also a connect waits, while too many do already. */
static void set_wait(int fd, uint64_t wait_ms)
{
	const struct timeval wait = {.tv_sec = (time_t)(wait_ms / 1000),
				     .tv_usec = (suseconds_t)(wait_ms % 1000 * 1000)};

	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
}

/* -1 with errno. */
static int try_connect(const char *path, uint64_t wait_ms)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	size_t len = strlen(path);

	if (len >= sizeof un.sun_path) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(un.sun_path, path, len + 1);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	set_wait(fd, wait_ms);
	if (connect(fd, (const struct sockaddr *)&un, sizeof un) == 0)
		return fd;
	int why = errno;
	close(fd);
	errno = why;
	return -1;
}

static bool nobody_listens(int why)
{
	return why == ENOENT || why == ECONNREFUSED;
}

/* --- the process --- */

/* The beginning of a small file, with a NUL; false with errno. */
static bool read_small(const char *path, char *out, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return false;
	ssize_t n = read(fd, out, size - 1);
	int why = errno;
	close(fd);
	errno = why;
	out[n > 0 ? n : 0] = '\0';
	return n >= 0;
}

/* 0: there is none; it has said why. */
static pid_t read_pid(const char *path)
{
	char text[32];
	uint64_t pid;

	if (!read_small(path, text, sizeof text)) {
		if (errno == ENOENT)
			ctl_say("weir does not run: there is no %s", path);
		else
			ctl_say("%s: %s", path, strerror(errno));
		return 0;
	}
	struct view line = view_str(text);
	if (view_ends(line, VIEW("\n")))
		line.len--;
	if (!view_to_u64(line, INT32_MAX, &pid) || pid < 2) {
		ctl_say("%s does not hold the number of a process", path);
		return 0;
	}
	return (pid_t)pid;
}

static bool is_weir(pid_t pid)
{
	char path[64], name[32];

	snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
	return read_small(path, name, sizeof name) && strcmp(name, "weir\n") == 0;
}

/* A descriptor of the process; -1: there is no such process, or it is another's; it has said so. */
static int hold(pid_t pid, const char *pid_file)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);

	if (fd >= 0 && is_weir(pid))
		return fd;
	if (fd < 0 && errno != ESRCH)
		ctl_say("process %d: %s", (int)pid, strerror(errno));
	else
		ctl_say("weir does not run: %s names process %d, which is not weir", pid_file, (int)pid);
	if (fd >= 0)
		close(fd);
	return -1;
}

static bool has_ended(int process)
{
	struct pollfd p = {.fd = process, .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

static bool send_signal(int process, pid_t pid)
{
	if (syscall(SYS_pidfd_send_signal, process, SIGUSR1, NULL, 0) == 0)
		return true;
	if (errno == EPERM)
		ctl_say("may not signal process %d: only root and the user that weir runs as are let in", (int)pid);
	else
		ctl_say("process %d: %s", (int)pid, strerror(errno));
	return false;
}

static void say_why(const char *socket, int why)
{
	if (why == EACCES)
		ctl_say("%s: only root and the user that weir runs as are let in", socket);
	else if (why == EAGAIN)
		ctl_say("weir does not answer");
	else
		ctl_say("%s: %s", socket, strerror(why));
}

static int wait_open(const char *socket, int process, pid_t pid, uint64_t wait_ms)
{
	const struct timespec pause = {.tv_nsec = LOOK_MS * 1000000};
	struct instant end = instant_add_ms(clock_now(), OPEN_WAIT_MS);
	int fd = try_connect(socket, wait_ms);

	while (fd < 0 && nobody_listens(errno) && instant_before(clock_now(), end) && !has_ended(process)) {
		nanosleep(&pause, NULL);
		fd = try_connect(socket, wait_ms);
	}
	if (fd < 0 && !nobody_listens(errno))
		say_why(socket, errno);
	else if (fd < 0 && has_ended(process))
		ctl_say("weir does not run: process %d has ended just now", (int)pid);
	else if (fd < 0)
		ctl_say("weir (process %d) has not opened %s in 5 s; its log says why", (int)pid, socket);
	return fd;
}

/* Where nobody listens. */
static int wake(const struct ctl_place *p, uint64_t wait_ms)
{
	pid_t pid = read_pid(p->pid_file);
	int process = pid ? hold(pid, p->pid_file) : -1;
	int fd = -1;

	if (process < 0)
		return -1;
	if (send_signal(process, pid))
		fd = wait_open(p->socket, process, pid, wait_ms);
	close(process);
	return fd;
}

int ctl_reach(const struct ctl_place *p, uint64_t wait_ms)
{
	int fd = try_connect(p->socket, wait_ms);

	if (fd < 0 && nobody_listens(errno))
		return wake(p, wait_ms);
	if (fd < 0)
		say_why(p->socket, errno);
	return fd;
}
