/* Berkeley DB whose functions fail or wait, for each node by itself; and promise files that do not reach the disk.
 * To be linked with -Wl,--wrap=db_env_create,--wrap=fdatasync (see the Makefile). */
#ifndef WEIR_TESTS_UNIT_FAILING_DB_H
#define WEIR_TESTS_UNIT_FAILING_DB_H

#include <db.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FAILING_NODES = 7 };

struct failing {
	_Atomic int open;   /* what opening an environment returns; 0: it is opened */
	_Atomic int panic;  /* and of what it tells meanwhile */
	_Atomic bool start; /* rep_start() fails */
	_Atomic bool
	    join; /* the next message cannot be joined with what it has, and there is something new to look at */
	_Atomic bool by_hand; /* what cannot be joined is not begun anew by Berkeley DB itself, until it has said so */
	_Atomic bool sync;    /* the promise file cannot be made durable */
	_Atomic bool taking;  /* messages are counted, and go no further */
	_Atomic unsigned taken[FAILING_NODES];
	_Atomic unsigned joins_failed, holds, dupmasters; /* so often a message had this answer of Berkeley DB itself */
	_Atomic bool hold_messages, hold_elections;       /* they wait for the test, */
	_Atomic bool held_messages, held_elections;       /* and do so now */
	DB_ENV *env;
};

static struct failing failing[FAILING_NODES];
static _Atomic bool failing_create;

int __real_db_env_create(DB_ENV **env, uint32_t flags);
int __wrap_db_env_create(DB_ENV **env, uint32_t flags);
int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);

static int (*db_open)(DB_ENV *, const char *, uint32_t, int);
static int (*db_rep_start)(DB_ENV *, DBT *, uint32_t);
static int (*db_message)(DB_ENV *, DBT *, DBT *, int, DB_LSN *);
static int (*db_priority)(DB_ENV *, uint32_t);
static int (*db_set_event_notify)(DB_ENV *, void (*)(DB_ENV *, uint32_t, void *));
static void (*db_event)(DB_ENV *, uint32_t, void *);

/* Its folders end with n0 and so on. */
static inline struct failing *failing_of(const char *path)
{
	const char *at = path ? strstr(path, "/n") : NULL;

	for (; at; at = strstr(at + 1, "/n"))
		if (at[2] >= '0' && at[2] < '0' + FAILING_NODES && at[3] == '/')
			return &failing[at[2] - '0'];
	return NULL;
}

static inline struct failing *failing_env(DB_ENV *env)
{
	const char *home = NULL;

	return env->get_home(env, &home) == 0 ? failing_of(home) : NULL;
}

static inline void failing_wait(_Atomic bool *hold, _Atomic bool *held)
{
	while (atomic_load(hold)) {
		atomic_store(held, true);
		usleep(1000);
	}
	atomic_store(held, false);
}

static int failing_open(DB_ENV *env, const char *home, uint32_t flags, int mode)
{
	struct failing *f = failing_of(home);
	int panic = f ? atomic_load(&f->panic) : 0;

	if (panic)
		db_event(env, DB_EVENT_PANIC, &panic);
	if (f && atomic_load(&f->open))
		return atomic_load(&f->open);
	if (f)
		f->env = env;
	if (f && atomic_load(&f->by_hand)) {
		int ret = env->rep_set_config(env, DB_REP_CONF_AUTOINIT, 0);
		if (ret)
			return ret;
	}
	return db_open(env, home, flags, mode);
}

static int failing_start(DB_ENV *env, DBT *data, uint32_t flags)
{
	struct failing *f = failing_env(env);

	return f && atomic_load(&f->start) ? EIO : db_rep_start(env, data, flags);
}

static int failing_message(DB_ENV *env, DBT *control, DBT *rec, int from, DB_LSN *lsn)
{
	struct failing *f = failing_env(env);

	if (!f)
		return db_message(env, control, rec, from, lsn);
	failing_wait(&f->hold_messages, &f->held_messages);
	if (atomic_load(&f->taking)) {
		atomic_fetch_add(&f->taken[from], 1);
		return 0;
	}
	if (atomic_exchange(&f->join, false)) {
		db_event(env, DB_EVENT_REP_STARTUPDONE, NULL);
		return DB_REP_JOIN_FAILURE;
	}
	int ret = db_message(env, control, rec, from, lsn);
	if (ret == DB_REP_JOIN_FAILURE) {
		atomic_fetch_add(&f->joins_failed, 1);
		atomic_store(&f->by_hand, false);
	}
	if (ret == DB_REP_HOLDELECTION)
		atomic_fetch_add(&f->holds, 1);
	if (ret == DB_REP_DUPMASTER)
		atomic_fetch_add(&f->dupmasters, 1);
	return ret;
}

static int failing_priority(DB_ENV *env, uint32_t priority)
{
	struct failing *f = failing_env(env);

	if (f)
		failing_wait(&f->hold_elections, &f->held_elections);
	return db_priority(env, priority);
}

static int failing_set_event(DB_ENV *env, void (*event)(DB_ENV *, uint32_t, void *))
{
	if (!db_event)
		db_event = event;
	return db_set_event_notify(env, event);
}

int __wrap_db_env_create(DB_ENV **env, uint32_t flags)
{
	int ret = atomic_load(&failing_create) ? ENOMEM : __real_db_env_create(env, flags);

	if (ret)
		return ret;
	if (!db_open) { /* of the first one, when there are no threads yet */
		db_open = (*env)->open;
		db_rep_start = (*env)->rep_start;
		db_message = (*env)->rep_process_message;
		db_priority = (*env)->rep_set_priority;
		db_set_event_notify = (*env)->set_event_notify;
	}
	(*env)->open = failing_open;
	(*env)->rep_start = failing_start;
	(*env)->rep_process_message = failing_message;
	(*env)->rep_set_priority = failing_priority;
	(*env)->set_event_notify = failing_set_event;
	return 0;
}

int __wrap_fdatasync(int fd)
{
	char link[64], path[256];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t len = readlink(link, path, sizeof(path) - 1);
	path[len > 0 ? len : 0] = 0;
	struct failing *f = failing_of(path);
	if (!f || !atomic_load(&f->sync) || !strstr(path, "/promise"))
		return __real_fdatasync(fd);
	errno = EIO;
	return -1;
}

#endif
