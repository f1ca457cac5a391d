/* Each test in a process of its own, several at a time: for tests that wait more than they work. What a test says is
 * shown when it has failed. With a name as argument that test alone runs, here. */
#ifndef WEIR_TESTS_UNIT_APART_H
#define WEIR_TESTS_UNIT_APART_H

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { APART_AT_A_TIME = 6 };

struct apart {
	const char *name;
	pid_t pid; /* 0: none runs here */
	FILE *said;
	struct instant since;
};

static inline bool apart_start(struct apart *a, const char *name)
{
	*a = (struct apart){.name = name, .said = tmpfile(), .since = clock_now()};
	if (!a->said)
		return false;
	fflush(stdout);
	a->pid = fork();
	if (a->pid == 0) {
		if (dup2(fileno(a->said), 1) == 1 && dup2(1, 2) == 2)
			execl("/proc/self/exe", name, name, (char *)NULL);
		_exit(127);
	}
	if (a->pid > 0)
		return true;
	a->pid = 0;
	fclose(a->said);
	return false;
}

static inline bool apart_end(struct apart *a, int status)
{
	bool passed = WIFEXITED(status) && WEXITSTATUS(status) == 0;
	char line[512];

	printf("[ %s ] %s (%.1f s)\n", passed ? "      OK" : " FAILED ", a->name,
	       (double)instant_since_ms(clock_now(), a->since) / 1000);
	rewind(a->said);
	while (!passed && fgets(line, sizeof(line), a->said))
		fputs(line, stdout);
	if (!passed && !WIFEXITED(status))
		printf("%s: signal %d\n", a->name, WTERMSIG(status));
	fclose(a->said);
	a->pid = 0;
	return passed;
}

/* How many have failed. */
static inline int apart_run(const struct CMUnitTest *tests, size_t count)
{
	struct apart running[APART_AT_A_TIME] = {0};
	size_t next = 0, ended = 0;
	int failed = 0, status;

	while (ended < count) {
		for (int i = 0; i < APART_AT_A_TIME; i++) {
			if (running[i].pid || next == count)
				continue;
			if (!apart_start(&running[i], tests[next++].name))
				return 1;
		}
		pid_t pid = wait(&status);
		for (int i = 0; i < APART_AT_A_TIME; i++) {
			if (pid > 0 && running[i].pid == pid) {
				failed += !apart_end(&running[i], status);
				ended++;
			}
		}
	}
	printf("[  %s  ] %zu test(s), %d failed.\n", failed ? "FAILED" : "PASSED", count, failed);
	return failed;
}

#define RUN_APART(tests, argc, argv)                                                                                   \
	((argc) > 1 ? (cmocka_set_test_filter((argv)[1]), cmocka_run_group_tests((tests), NULL, NULL))                 \
		    : apart_run((tests), sizeof(tests) / sizeof((tests)[0])))

#endif
