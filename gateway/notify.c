/* The protocol of sd_notify(3), without its library: one datagram a word. */
#include "gateway/notify.h"

#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* The manager waits so long from one word to the next. */
#define EXTENSION "EXTEND_TIMEOUT_USEC=30000000"
enum { EXTEND_MS = 10000 };

static void say(struct notify *n, const char *text)
{
	if (n->fd < 0)
		return;
	ssize_t sent =
	    sendto(n->fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)&n->to, n->to_len);
	if (sent < 0 && !n->failed) {
		n->failed = true;
		log_event(LOG_WARN, "notify_failed", LOG_S("reason", strerror(errno)));
	}
}

/* A path, or a name of the abstract kind, written with an @. */
static bool address_of(const char *text, struct sockaddr_un *to, socklen_t *len)
{
	size_t n = strlen(text);

	if (n < 2 || n >= sizeof to->sun_path || (text[0] != '/' && text[0] != '@'))
		return false;
	*to = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(to->sun_path, text, n);
	if (text[0] == '@')
		to->sun_path[0] = '\0';
	*len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
	return true;
}

/* Half the time, so that one that is late does no harm. */
static uint64_t watchdog_ms(void)
{
	const char *usec = getenv("WATCHDOG_USEC");
	const char *pid = getenv("WATCHDOG_PID");
	char *end;

	if (!usec || (pid && strtol(pid, NULL, 10) != getpid()))
		return 0;
	unsigned long long n = strtoull(usec, &end, 10);
	if (*end != '\0' || n == 0)
		return 0;
	return n / 2000 > 0 ? n / 2000 : 1;
}

static void on_alive(struct net_timer *timer)
{
	struct notify *n = CONTAINER_OF(timer, struct notify, alive);

	say(n, "WATCHDOG=1");
	net_timer_start(n->loop, &n->alive, n->watchdog_ms);
}

static void on_extend(struct net_timer *timer)
{
	struct notify *n = CONTAINER_OF(timer, struct notify, extend);

	say(n, EXTENSION);
	net_timer_start(n->loop, &n->extend, n->extend_ms);
}

void notify_init(struct notify *n)
{
	const char *where = getenv("NOTIFY_SOCKET");

	*n = (struct notify){.fd = -1, .extend_ms = EXTEND_MS};
	net_timer_init(&n->alive, on_alive);
	net_timer_init(&n->extend, on_extend);
	if (where && address_of(where, &n->to, &n->to_len)) {
		n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		n->watchdog_ms = watchdog_ms();
	}
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
}

void notify_fini(struct notify *n)
{
	if (n->fd >= 0)
		close(n->fd);
	n->fd = -1;
}

void notify_ready(struct notify *n)
{
	say(n, "READY=1");
}

void notify_reloading(struct notify *n)
{
	struct timespec now = {0};
	char text[64];

	clock_gettime(CLOCK_MONOTONIC, &now);
	snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%ju",
		 (uintmax_t)now.tv_sec * 1000000 + (uintmax_t)now.tv_nsec / 1000);
	say(n, text);
}

void notify_status(struct notify *n, const char *text)
{
	char line[256];

	snprintf(line, sizeof line, "STATUS=%s", text);
	say(n, line);
}

void notify_stopping(struct notify *n, struct net_loop *loop)
{
	if (n->fd < 0)
		return;
	say(n, "STOPPING=1");
	n->loop = loop;
	on_extend(&n->extend);
}

void notify_watch(struct notify *n, struct net_loop *loop)
{
	if (n->fd < 0 || n->watchdog_ms == 0)
		return;
	n->loop = loop;
	on_alive(&n->alive);
}

void notify_unwatch(struct notify *n)
{
	if (n->loop) {
		net_timer_stop(n->loop, &n->alive);
		net_timer_stop(n->loop, &n->extend);
	}
	n->loop = NULL;
}
