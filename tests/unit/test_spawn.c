/* Supervised processes. The applications are lines of shell; what they say is read from the log. */
#include "backend/spawn.h"

#include "base/log.h"
#include "net/socket.h"
#include "tests/unit/folder.h"
#include "tests/unit/loop_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { STOP_MS = 10000, BACKOFF_MS = 40, BACKOFF_MAX_MS = 100, STARTS_MAX = 64 };

static struct spawn *spawn;
static int listener = -1;
static unsigned stops, reaped;
static struct instant reaped_at[STARTS_MAX];

static char log_text[1 << 16];

static const char *log_now(void)
{
	int fd = open(in_folder("log"), O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, log_text, sizeof log_text - 1);

	close(fd);
	log_text[n > 0 ? n : 0] = '\0';
	return log_text;
}

static unsigned log_count(const char *what)
{
	unsigned count = 0;

	for (const char *at = log_now(); (at = strstr(at, what)); at += strlen(what))
		count++;
	return count;
}

/* What SIGCHLD does in the daemon. */
static void reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (spawn_reaped(spawn, pid, status) && reaped < STARTS_MAX)
			reaped_at[reaped++] = net_now(&loop);
	}
}

static bool reap_and(bool condition)
{
	reap();
	return condition;
}

#define AWAIT(condition) RUN_UNTIL(reap_and(condition))

static char script_text[512];
static char *script_argv[] = {"/bin/sh", "-c", script_text, NULL};
static char *missing_argv[] = {"/nonexistent/program", NULL};

static struct spawn_options options_of(uint32_t processes, const char *script)
{
	struct spawn_options o = {
	    .app = "shop",
	    .name = "spawn:sh",
	    .argv = script ? script_argv : missing_argv,
	    .listen_fd = listener,
	    .processes = processes,
	    .stop_timeout_ms = STOP_MS,
	    .backoff_min_ms = BACKOFF_MS,
	    .backoff_max_ms = BACKOFF_MAX_MS,
	};

	if (script)
		snprintf(script_text, sizeof script_text, "%s", script);
	return o;
}

static void start_with(struct spawn_options o)
{
	spawn = spawn_new(&loop, &o);
	assert_non_null(spawn);
}

static void start(uint32_t processes, const char *script)
{
	start_with(options_of(processes, script));
}

static void on_stopped(void *arg)
{
	++*(unsigned *)arg;
}

static void stop(void)
{
	spawn_stop(spawn, on_stopped, &stops);
	AWAIT(stops > 0);
	assert_int_equal(stops, 1);
	loop_settle();
	assert_int_equal(stops, 1);
	/* Nobody is left, dead or alive. */
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static int set_up(void **unused)
{
	static const struct net_unix_access access = {.mode = 0600, .uid = (uid_t)-1, .gid = (gid_t)-1};
	struct net_address a;

	/* What the test's own parent left open; weir's descriptors are all close-on-exec. */
	for (int fd = 3; fd < 256; fd++)
		fcntl(fd, F_SETFD, FD_CLOEXEC);
	stops = reaped = 0;
	spawn = NULL;
	if (folder_make() || loop_set_up(unused) || !net_address_unix(&a, in_folder("s")))
		return -1;
	return log_open(LOG_INFO, in_folder("log")) || net_listen(&a, 8, &access, &listener);
}

static int tear_down(void **unused)
{
	if (spawn && stops == 0) { /* after a failure */
		spawn_stop(spawn, on_stopped, &stops);
		AWAIT(stops > 0);
	}
	spawn_free(&spawn);
	spawn_free(&spawn);
	int err = loop_tear_down(unused);
	log_close();
	close(listener);
	return err || folder_remove();
}

/* --- starting --- */

static void as_many_start_as_were_asked_for(void **unused)
{
	(void)unused;
	start(3, "echo I am $$; exec sleep 1000");
	AWAIT(log_count("I am") == 3);
	assert_int_equal(log_count("event=app_started"), 3);
	assert_int_equal(reaped, 0);
	stop();
	assert_int_equal(reaped, 3);
	assert_int_equal(log_count("event=app_started"), 3);
	assert_int_equal(log_count("how=signal code=15"), 3);
}

/* The socket is descriptor 0, and blocks. */
static void the_socket_is_descriptor_0(void **unused)
{
	char want[64];
	struct stat st;

	(void)unused;
	assert_int_equal(fstat(listener, &st), 0);
	snprintf(want, sizeof want, "0 is socket:[%lu]", (unsigned long)st.st_ino);
	start(1, "echo 0 is `readlink /proc/$$/fd/0`; echo flags `sed -n /flags/p /proc/$$/fdinfo/0`; exec sleep 1000");
	AWAIT(log_count("flags") > 0 && strchr(strstr(log_now(), "flags"), '\n'));
	assert_int_equal(log_count(want), 1);
	char *flags = strstr(strstr(log_now(), "flags flags:"), "0");
	assert_false(strtol(flags, NULL, 8) & O_NONBLOCK);
	stop();
}

static void no_other_descriptor_is_open(void **unused)
{
	(void)unused;
	start(1,
	      "for i in 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24; do"
	      " [ -e /proc/$$/fd/$i ] && echo open $i `readlink /proc/$$/fd/$i`; done; echo looked; exec sleep 1000");
	AWAIT(log_count("looked") == 1);
	if (strstr(log_now(), "open "))
		fail_msg("%s", log_now());
	stop();
}

/* An application must not inherit what weir does with its own signals. */
static void signals_are_as_if_nobody_had_touched_them(void **unused)
{
	sigset_t set, old;
	void (*before)(int) = signal(SIGPIPE, SIG_IGN);

	(void)unused;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, &old);
	start(1, "sed -n '/^Sig[BI]/p' /proc/self/status; echo looked; exec sleep 1000");
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	signal(SIGPIPE, before);
	AWAIT(log_count("looked") == 1);
	assert_int_equal(log_count("SigBlk:\\x090000000000000000"), 1);
	/* Signals 32 and 33 belong to the C library; whoever starts the tests may have them ignored. */
	assert_int_equal(log_count("SigIgn:\\x090000000000000000") + log_count("SigIgn:\\x090000000180000000"), 1);
	stop();
}

/* --- output --- */

static void output_is_logged_by_lines(void **unused)
{
	(void)unused;
	start(1, "printf 'to '; sleep 0.05; echo one; echo to two >&2; echo; printf 'a\"\\001b\\n'; exec sleep 1000");
	AWAIT(log_count("event=app_output") == 3);
	assert_int_equal(log_count("event=app_output app=shop text=\"to one\"\n"), 1);
	assert_int_equal(log_count("event=app_output app=shop text=\"to two\"\n"), 1);
	assert_int_equal(log_count("text=a\\x22\\x01b\n") + log_count("text=\"a\\x22\\x01b\"\n"), 1);
	stop();
}

static void a_line_without_end_is_bounded_and_not_lost(void **unused)
{
	(void)unused;
	/* 2048 and 4 bytes, without a newline: two whole pieces now, the rest at the end. */
	start(1, "printf %02048d 0; printf tail; exec sleep 1000");
	AWAIT(log_count("event=app_output") == 2);
	assert_int_equal(log_count("tail"), 0);
	stop();
	assert_int_equal(log_count("event=app_output"), 3);
	assert_int_equal(log_count("text=tail\n"), 1);
}

/* Why it ended is what one wants to know; it was written before the end. */
static void last_words_are_logged(void **unused)
{
	siginfo_t ended;

	(void)unused;
	start(1, "trap 'echo farewell; exit 0' TERM; echo ready; while :; do sleep 0.01; done");
	AWAIT(log_count("ready") == 1);
	spawn_stop(spawn, on_stopped, &stops);
	assert_int_equal(waitid(P_ALL, 0, &ended, WEXITED | WNOWAIT), 0);
	AWAIT(stops == 1);
	assert_int_equal(log_count("farewell"), 1);
}

/* --- starting again --- */

static void one_that_ends_is_started_again(void **unused)
{
	(void)unused;
	start(2, "echo I am; exec sleep 1000");
	AWAIT(log_count("I am") == 2);
	const char *line = strstr(log_now(), "pid=");
	assert_int_equal(kill((pid_t)strtol(line + 4, NULL, 10), SIGKILL), 0);
	AWAIT(log_count("I am") == 3);
	assert_int_equal(reaped, 1);
	assert_int_equal(log_count("how=signal code=9"), 1);
	stop();
	assert_int_equal(reaped, 3);
}

/* Ends as soon as it starts: at once the first time, then later and later, up to the bound. */
static void one_that_will_not_stay_is_backed_off(void **unused)
{
	static const uint64_t least[] = {0, BACKOFF_MS, BACKOFF_MS * 2, BACKOFF_MAX_MS, BACKOFF_MAX_MS};

	(void)unused;
	start(1, "exit 3");
	AWAIT(reaped == 6);
	for (size_t i = 0; i < 5; i++)
		assert_true(instant_since_ms(reaped_at[i + 1], reaped_at[i]) + 1 >= least[i]);
	/* The bound holds: a sixth doubling would be over a second. */
	assert_true(instant_since_ms(reaped_at[5], reaped_at[4]) < 1000);
	stop();
	assert_int_equal(log_count("how=exit code=3"), reaped);
}

static void a_program_that_is_not_there_is_tried_again(void **unused)
{
	(void)unused;
	start(1, NULL);
	AWAIT(reaped == 3);
	assert_int_equal(log_count("how=exit code=127"), 3);
	stop();
}

/* --- stopping --- */

static void while_it_waits_to_start_it_stops_at_once(void **unused)
{
	struct spawn_options o = options_of(1, "exit 0");

	(void)unused;
	o.backoff_min_ms = o.backoff_max_ms = 100000;
	start_with(o);
	AWAIT(reaped == 2);
	spawn_stop(spawn, on_stopped, &stops);
	assert_int_equal(stops, 1);
	stops = 0;
	loop_settle();
	assert_int_equal(stops, 0);
	stops = 1;
}

/* TERM is not enough; its children go with it. */
static void what_ignores_term_is_killed(void **unused)
{
	struct spawn_options o =
	    options_of(2, "trap '' TERM; sleep 1000 & echo child $!; while :; do sleep 0.05; done");
	pid_t children[2];

	(void)unused;
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0); /* to see the end of the children's children */
	o.stop_timeout_ms = 100;
	start_with(o);
	AWAIT(log_count("child") == 2);
	const char *at = log_now();
	for (size_t i = 0; i < 2; i++) {
		at = strstr(at, "child ") + 6;
		children[i] = (pid_t)strtol(at, NULL, 10);
	}
	struct instant begun = net_now(&loop);
	spawn_stop(spawn, on_stopped, &stops);
	AWAIT(stops == 1);
	assert_true(instant_since_ms(net_now(&loop), begun) >= o.stop_timeout_ms);
	assert_int_equal(log_count("event=app_killed"), 1);
	assert_int_equal(log_count("how=signal code=9"), 2);
	AWAIT(kill(children[0], 0) != 0 && kill(children[1], 0) != 0);
	AWAIT(waitpid(-1, NULL, WNOHANG) < 0);
	prctl(PR_SET_CHILD_SUBREAPER, 0);
}

static void a_stopped_group_starts_nothing(void **unused)
{
	(void)unused;
	start(2, "exec sleep 1000");
	stop();
	unsigned started = log_count("event=app_started");
	for (int i = 0; i < 50; i++)
		loop_settle();
	assert_int_equal(log_count("event=app_started"), started);
}

static volatile sig_atomic_t *handled; /* shared with the children */

static void count_signal(int sig)
{
	(void)sig;
	++*handled;
}

/* Between fork and exec a child has weir's handlers, which must not run in it: they tell weir of a signal that was not
 * meant for it, and the child goes on living. */
static void a_term_right_after_the_start_ends_it(void **unused)
{
	struct sigaction act = {.sa_handler = count_signal};
	struct sigaction before;

	(void)unused;
	handled = mmap(NULL, sizeof *handled, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(handled != MAP_FAILED);
	sigaction(SIGTERM, &act, &before);
	for (int round = 0; round < 20 && *handled == 0; round++) {
		struct spawn_options o = options_of(4, "exec sleep 1000");
		o.stop_timeout_ms = 1000;
		start_with(o);
		spawn_stop(spawn, on_stopped, &stops);
		AWAIT(stops == 1);
		loop_settle();
		spawn_free(&spawn);
		stops = 0;
	}
	stops = 1;
	sigaction(SIGTERM, &before, NULL);
	assert_int_equal(*handled, 0);
	assert_int_equal(log_count("event=app_killed"), 0);
	munmap((void *)(uintptr_t)handled, sizeof *handled);
}

/* A reload that takes an application out: nothing of it may be left, and nothing be touched that is gone. */
static void free_at_once(void *arg)
{
	spawn_free(&spawn);
	++*(unsigned *)arg;
}

static void one_that_has_stopped_may_be_freed_at_once(void **unused)
{
	(void)unused;
	start(2, "exec sleep 1000");
	spawn_stop(spawn, free_at_once, &stops);
	assert_int_equal(stops, 0);
	int status;
	for (int i = 0; i < 2; i++) {
		pid_t pid = waitpid(-1, &status, 0);
		assert_true(spawn_reaped(spawn, pid, status));
	}
	assert_int_equal(stops, 1);
	assert_null(spawn);
	loop_settle();
}

static void one_that_never_ran_may_be_freed_at_once(void **unused)
{
	struct spawn_options o = options_of(1, "exit 0");

	(void)unused;
	o.backoff_min_ms = o.backoff_max_ms = 100000;
	start_with(o);
	AWAIT(reaped == 2);
	spawn_stop(spawn, free_at_once, &stops);
	assert_int_equal(stops, 1);
}

static void strangers_are_not_its_own(void **unused)
{
	(void)unused;
	start(1, "exec sleep 1000");
	assert_false(spawn_reaped(spawn, getpid(), 0));
	assert_false(spawn_reaped(spawn, 1, 0));
	stop();
	assert_int_equal(reaped, 1);
}

/* A weir that dies without a word takes its applications along. */
static void nobody_survives_weir(void **unused)
{
	(void)unused;
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	pid_t weir = fork();
	if (weir == 0) {
		struct spawn_options o = options_of(1, "echo $$ >\"$PIDFILE\"; exec sleep 1000");
		setenv("PIDFILE", in_folder("pid"), 1);
		spawn = spawn_new(&loop, &o);
		pause();
		_exit(1);
	}
	char text[32] = "";
	RUN_UNTIL(access(in_folder("pid"), F_OK) == 0);
	struct instant begun = clock_now();
	while (!strchr(text, '\n') && instant_since_ms(clock_now(), begun) < PATIENCE_MS) {
		int fd = open(in_folder("pid"), O_RDONLY);
		ssize_t n = read(fd, text, sizeof text - 1);
		text[n > 0 ? n : 0] = '\0';
		close(fd);
	}
	pid_t app = (pid_t)strtol(text, NULL, 10);
	assert_true(app > 0);
	kill(weir, SIGKILL);
	int status = 0;
	assert_int_equal(waitpid(weir, NULL, 0), weir);
	RUN_UNTIL(waitpid(app, &status, WNOHANG) == app);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGKILL);
	prctl(PR_SET_CHILD_SUBREAPER, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(as_many_start_as_were_asked_for),
	    TEST(the_socket_is_descriptor_0),
	    TEST(no_other_descriptor_is_open),
	    TEST(signals_are_as_if_nobody_had_touched_them),
	    TEST(output_is_logged_by_lines),
	    TEST(a_line_without_end_is_bounded_and_not_lost),
	    TEST(last_words_are_logged),
	    TEST(one_that_ends_is_started_again),
	    TEST(one_that_will_not_stay_is_backed_off),
	    TEST(a_program_that_is_not_there_is_tried_again),
	    TEST(while_it_waits_to_start_it_stops_at_once),
	    TEST(what_ignores_term_is_killed),
	    TEST(a_stopped_group_starts_nothing),
	    TEST(a_term_right_after_the_start_ends_it),
	    TEST(one_that_has_stopped_may_be_freed_at_once),
	    TEST(one_that_never_ran_may_be_freed_at_once),
	    TEST(strangers_are_not_its_own),
	    TEST(nobody_survives_weir),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
