/* The thread that waits for the disk ahead of a checkpoint. It holds descriptors and nothing of Berkeley DB's. */
#include "session/disk_flush.h"

#include "base/thread.h"

#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

struct disk_flush {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t asked;
	int fds[DISK_FLUSH_FILES]; /* guarded by lock; owned; -1: nothing to do */
	bool stopping;             /* guarded by lock */
};

/* The next descriptor, or -1: told to stop. The log goes first, for it is what most waits are for. */
static int next(struct disk_flush *f)
{
	int fd = -1;

	pthread_mutex_lock(&f->lock);
	while (!f->stopping && f->fds[DISK_FLUSH_LOG] < 0 && f->fds[DISK_FLUSH_SESSIONS] < 0)
		pthread_cond_wait(&f->asked, &f->lock);
	for (int i = 0; i < DISK_FLUSH_FILES && fd < 0 && !f->stopping; i++) {
		fd = f->fds[i];
		f->fds[i] = -1;
	}
	pthread_mutex_unlock(&f->lock);
	return fd;
}

static void *run(void *arg)
{
	struct disk_flush *f = arg;
	int fd;

	pthread_setname_np(pthread_self(), "weir-flush");
	thread_step_back();
	while ((fd = next(f)) >= 0) {
		(void)fdatasync(fd);
		close(fd);
	}
	return NULL;
}

/* Its thread is not there, or has ended. */
static void take_apart(struct disk_flush *f)
{
	for (int i = 0; i < DISK_FLUSH_FILES; i++) {
		if (f->fds[i] >= 0)
			close(f->fds[i]);
	}
	pthread_cond_destroy(&f->asked);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

struct disk_flush *disk_flush_new(void)
{
	struct disk_flush *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	for (int i = 0; i < DISK_FLUSH_FILES; i++)
		f->fds[i] = -1;
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->asked, NULL);
	if (thread_start(&f->thread, run, f) == 0)
		return f;
	take_apart(f);
	return NULL;
}

void disk_flush_free(struct disk_flush **fp)
{
	struct disk_flush *f = *fp;

	*fp = NULL;
	if (!f)
		return;
	pthread_mutex_lock(&f->lock);
	f->stopping = true;
	pthread_cond_signal(&f->asked);
	pthread_mutex_unlock(&f->lock);
	pthread_join(f->thread, NULL);
	take_apart(f);
}

void disk_flush_begin(struct disk_flush *f, enum disk_flush_file file, int fd)
{
	pthread_mutex_lock(&f->lock);
	int before = f->fds[file];
	f->fds[file] = fd;
	pthread_cond_signal(&f->asked);
	pthread_mutex_unlock(&f->lock);
	if (before >= 0)
		close(before);
}
