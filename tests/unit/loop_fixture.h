/* A loop that the test turns itself, until what it waits for has come. */
#ifndef WEIR_TESTS_UNIT_LOOP_FIXTURE_H
#define WEIR_TESTS_UNIT_LOOP_FIXTURE_H

#include "net/loop.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

enum { PATIENCE_MS = 20000, LOOK_MS = 2 };

static struct net_loop loop;

/* What is due or has come; waits a moment when that is nothing. */
static inline void loop_turn(void)
{
	struct pollfd events = {.fd = uv_backend_fd(&loop.uv), .events = POLLIN};
	int wait = uv_backend_timeout(&loop.uv);

	(void)poll(&events, 1, wait < 0 || wait > LOOK_MS ? LOOK_MS : wait);
	uv_run(&loop.uv, UV_RUN_NOWAIT);
}

#define RUN_UNTIL(condition)                                                                                           \
	do {                                                                                                           \
		struct instant since_ = clock_now();                                                                   \
		while (!(condition)) {                                                                                 \
			if (instant_since_ms(clock_now(), since_) > PATIENCE_MS)                                       \
				fail_msg("in vain: %s", #condition);                                                   \
			loop_turn();                                                                                   \
		}                                                                                                      \
	} while (0)

/* Long enough for whatever is on its way already, for tests that nothing comes. */
static inline void loop_settle(void)
{
	for (int i = 0; i < 10; i++)
		loop_turn();
}

static inline int loop_set_up(void **unused)
{
	(void)unused;
	return net_loop_init(&loop);
}

/* Every handle must be closed or closing; net_loop_fini() looks. */
static inline int loop_tear_down(void **unused)
{
	(void)unused;
	net_loop_stop(&loop);
	net_loop_run(&loop);
	net_loop_fini(&loop);
	return 0;
}

#endif
