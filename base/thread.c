/* Starting threads. */
#include "base/thread.h"

#include "base/error.h"

#include <sched.h>
#include <signal.h>

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

void thread_give_way(void)
{
	(void)sched_yield();
}
