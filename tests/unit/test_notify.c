/* Word to the service manager: which words, to whom, how often. The manager is a datagram socket of the test's own. */
#include "gateway/notify.h"

#include "base/log.h"
#include "tests/unit/folder.h"
#include "tests/unit/loop_fixture.h"

#include <stdlib.h>
#include <sys/socket.h>

static int manager = -1;
static struct notify notify;
static char word[256];

static void listen_at(const char *path, bool abstract)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(manager >= 0);
	assert_true(strlen(path) + 1 < sizeof un.sun_path);
	memcpy(un.sun_path + abstract, path, strlen(path));
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + abstract + strlen(path));
	assert_int_equal(bind(manager, (struct sockaddr *)&un, len), 0);
}

/* The next word; "" when there is none. */
static const char *hear(void)
{
	ssize_t n = recv(manager, word, sizeof word - 1, 0);

	word[n > 0 ? n : 0] = '\0';
	return word;
}

static int set_up(void **unused)
{
	manager = -1;
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
	return folder_make() || loop_set_up(unused) || log_open(LOG_WARN, in_folder("log"));
}

static int tear_down(void **unused)
{
	notify_unwatch(&notify);
	notify_fini(&notify);
	if (manager >= 0)
		close(manager);
	log_close();
	return loop_tear_down(unused) || folder_remove();
}

static void all_words(void)
{
	notify_ready(&notify);
	assert_string_equal(hear(), "READY=1");
	notify_reloading(&notify);
	unsigned long long usec = 0;
	assert_int_equal(sscanf(hear(), "RELOADING=1\nMONOTONIC_USEC=%llu", &usec), 1);
	uint64_t now_ms = clock_now().ms;
	assert_true(usec / 1000 <= now_ms + 1);
	assert_true(usec / 1000 + 60000 > now_ms);
	notify_status(&notify, "cluster eu: member");
	assert_string_equal(hear(), "STATUS=cluster eu: member");
	notify_stopping(&notify, &loop);
	assert_string_equal(hear(), "STOPPING=1");
	assert_string_equal(hear(), "EXTEND_TIMEOUT_USEC=30000000");
	assert_string_equal(hear(), "");
}

static void words_to_a_path(void **unused)
{
	(void)unused;
	listen_at(in_folder("manager"), false);
	setenv("NOTIFY_SOCKET", in_folder("manager"), 1);
	notify_init(&notify);
	all_words();
}

static void words_to_an_abstract_name(void **unused)
{
	char name[128];

	(void)unused;
	listen_at(in_folder("manager"), true);
	snprintf(name, sizeof name, "@%s", in_folder("manager"));
	setenv("NOTIFY_SOCKET", name, 1);
	notify_init(&notify);
	all_words();
}

static void the_variables_are_taken_away(void **unused)
{
	(void)unused;
	setenv("NOTIFY_SOCKET", in_folder("manager"), 1);
	setenv("WATCHDOG_USEC", "1000000", 1);
	setenv("WATCHDOG_PID", "1", 1);
	notify_init(&notify);
	assert_null(getenv("NOTIFY_SOCKET"));
	assert_null(getenv("WATCHDOG_USEC"));
	assert_null(getenv("WATCHDOG_PID"));
}

static void without_a_manager_nothing_happens(void **unused)
{
	static const char *const bad[] = {NULL, "", "/", "@", "relative", "vsock:1:2"};
	char too_long[200];

	(void)unused;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		if (bad[i])
			setenv("NOTIFY_SOCKET", bad[i], 1);
		setenv("WATCHDOG_USEC", "20000", 1);
		notify_init(&notify);
		assert_int_equal(notify.fd, -1);
		notify_ready(&notify);
		notify_watch(&notify, &loop);
		notify_unwatch(&notify);
		notify_fini(&notify);
	}
	memset(too_long, 'x', sizeof too_long - 1);
	too_long[0] = '/';
	too_long[sizeof too_long - 1] = '\0';
	setenv("NOTIFY_SOCKET", too_long, 1);
	notify_init(&notify);
	assert_int_equal(notify.fd, -1);
}

/* A manager that has gone is a line in the log, once. */
static void a_failure_is_logged_once(void **unused)
{
	char text[4096] = "";

	(void)unused;
	setenv("NOTIFY_SOCKET", in_folder("nobody"), 1);
	notify_init(&notify);
	notify_ready(&notify);
	notify_stopping(&notify, &loop);
	FILE *f = fopen(in_folder("log"), "r");
	assert_true(fread(text, 1, sizeof text - 1, f) > 0);
	fclose(f);
	char *line = strstr(text, "event=notify_failed");
	assert_non_null(line);
	assert_null(strstr(line + 1, "event=notify_failed"));
}

static unsigned heard(const char *what)
{
	unsigned n = 0;

	while (*hear())
		n += strcmp(word, what) == 0;
	return n;
}

static unsigned signs(void)
{
	return heard("WATCHDOG=1");
}

static void signs_of_life(void **unused)
{
	unsigned seen = 0;

	(void)unused;
	listen_at(in_folder("manager"), false);
	setenv("NOTIFY_SOCKET", in_folder("manager"), 1);
	setenv("WATCHDOG_USEC", "100000", 1);
	notify_init(&notify);
	assert_int_equal(notify.watchdog_ms, 50);
	struct instant begun = clock_now();
	notify_watch(&notify, &loop);
	assert_int_equal(signs(), 1); /* at once */
	RUN_UNTIL((seen += signs()) >= 4);
	/* Not more often than that, but for the clock's own steps. */
	assert_true(instant_since_ms(clock_now(), begun) + 4 * NET_TICK_MS >= 4 * 50);
	notify_unwatch(&notify);
	(void)signs();
	struct instant from = clock_now();
	RUN_UNTIL(instant_since_ms(clock_now(), from) > 150);
	assert_int_equal(signs(), 0);
}

/* The end may take longer than the manager would wait: it hears that it goes on, until it is over. */
static void the_end_takes_its_time(void **unused)
{
	unsigned seen = 0;

	(void)unused;
	listen_at(in_folder("manager"), false);
	setenv("NOTIFY_SOCKET", in_folder("manager"), 1);
	notify_init(&notify);
	assert_true(notify.extend_ms * 2 < 30000);
	notify.extend_ms = 50;
	notify_watch(&notify, &loop);
	struct instant begun = clock_now();
	notify_stopping(&notify, &loop);
	RUN_UNTIL((seen += heard("EXTEND_TIMEOUT_USEC=30000000")) >= 4);
	assert_true(instant_since_ms(clock_now(), begun) + 4 * NET_TICK_MS >= 3 * 50);
	/* Drained, and now it closes. */
	notify_stopping(&notify, &loop);
	assert_string_equal(hear(), "STOPPING=1");
	notify_unwatch(&notify);
	(void)heard("");
	struct instant from = clock_now();
	RUN_UNTIL(instant_since_ms(clock_now(), from) > 150);
	assert_string_equal(hear(), "");
}

static void signs_that_nobody_asked_of_this_process(void **unused)
{
	static const char *const usec[] = {"", "0", "x", "100000", "100000x"};

	(void)unused;
	listen_at(in_folder("manager"), false);
	for (size_t i = 0; i < sizeof usec / sizeof *usec; i++) {
		setenv("NOTIFY_SOCKET", in_folder("manager"), 1);
		setenv("WATCHDOG_USEC", usec[i], 1);
		if (strcmp(usec[i], "100000") == 0)
			setenv("WATCHDOG_PID", "1", 1);
		notify_init(&notify);
		assert_int_equal(notify.watchdog_ms, 0);
		notify_watch(&notify, &loop);
		assert_string_equal(hear(), "");
		notify_fini(&notify);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(words_to_a_path),
	    TEST(words_to_an_abstract_name),
	    TEST(the_variables_are_taken_away),
	    TEST(without_a_manager_nothing_happens),
	    TEST(a_failure_is_logged_once),
	    TEST(signs_of_life),
	    TEST(the_end_takes_its_time),
	    TEST(signs_that_nobody_asked_of_this_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
