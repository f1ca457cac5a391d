/* Threads that hear no signals: these are the main thread's business, which can then hold them back for all. */
#ifndef WEIR_BASE_THREAD_H
#define WEIR_BASE_THREAD_H

#include "base/compiler.h"

#include <pthread.h>

/* pthread_create(3) with all signals blocked in the new thread. ERR_SYSTEM. */
MUST_USE int thread_start(pthread_t *out, void *(*run)(void *arg), void *arg);

/* From now on this thread has less of a processor than the others where all want it, and what it has in short pieces,
 * after which others may run at once. Where the kernel knows no pieces or permits nothing the rest holds. */
void thread_step_back(void);

/* Whoever else waits for this processor goes first. For threads whose work waits better than that of others, in the
 * midst of a long piece of it: a thread of SCHED_BATCH that has become runnable interrupts nobody, and would wait until
 * the time of the one that runs is over, which are milliseconds. Costs a system call where nobody waits. */
void thread_give_way(void);

#endif
