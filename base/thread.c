/* Starting threads. */
#include "base/thread.h"

#include "base/error.h"

#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	BACK_NICE = 5,          /* a third of the weight of the others; 19 would starve who waits for the thread */
	BACK_SLICE_NS = 100000, /* the least that Linux grants; it ignores it before 6.12 */
};

int thread_start(pthread_t *out, void *(*run)(void *arg), void *arg)
{
	sigset_t all, before;

	/* A thread inherits the mask: there is no moment at which it could hear one. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int err = pthread_create(out, NULL, run, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return err ? ERR_SYSTEM : 0;
}

/* What sched_setattr(2) takes; glibc has no name for it yet. */
struct schedule {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t slice_ns, deadline_ns, period_ns;
};

void thread_step_back(void)
{
	struct schedule how = {
	    .size = sizeof(how),
	    .policy = SCHED_OTHER,
	    .nice = BACK_NICE,
	    .slice_ns = BACK_SLICE_NS,
	};

	(void)syscall(SYS_sched_setattr, 0, &how, 0);
}

void thread_give_way(void)
{
	(void)sched_yield();
}
