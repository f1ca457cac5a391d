/* Threads that hear no signals: these are the main thread's business, which can then hold them back for all. */
#ifndef WEIR_BASE_THREAD_H
#define WEIR_BASE_THREAD_H

#include "base/compiler.h"

#include <pthread.h>

/* pthread_create(3) with all signals blocked in the new thread. ERR_SYSTEM. */
MUST_USE int thread_start(pthread_t *out, void *(*run)(void *arg), void *arg);

#endif
