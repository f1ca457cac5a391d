/* A disk that refuses to write: Berkeley DB's own write() and pwrite() are taken over. */
#ifndef WEIR_TESTS_UNIT_FAILING_DISK_H
#define WEIR_TESTS_UNIT_FAILING_DISK_H

#include <db.h>
#include <errno.h>
#include <unistd.h>

static unsigned writes_left; /* 0: none fails */
static int write_errno;

static inline ssize_t failing_pwrite(int fd, const void *bytes, size_t len, off_t at)
{
	if (writes_left > 0 && --writes_left == 0) {
		writes_left = 1; /* and all that follow */
		errno = write_errno;
		return -1;
	}
	return pwrite(fd, bytes, len, at);
}

static inline ssize_t failing_write(int fd, const void *bytes, size_t len)
{
	if (writes_left > 0 && --writes_left == 0) {
		writes_left = 1;
		errno = write_errno;
		return -1;
	}
	return write(fd, bytes, len);
}

static inline void refuse_writes_after(unsigned writes, int error)
{
	write_errno = error;
	writes_left = writes;
}

static inline int take_over_writes(void)
{
	return db_env_set_func_pwrite(failing_pwrite) || db_env_set_func_write(failing_write) ? -1 : 0;
}

static inline void give_back_writes(void)
{
	writes_left = 0;
	(void)db_env_set_func_pwrite(NULL);
	(void)db_env_set_func_write(NULL);
}

#endif
