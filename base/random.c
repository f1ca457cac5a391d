/* getrandom(2), whole or not at all. */
#include "base/random.h"

#include "base/error.h"

#include <errno.h>
#include <stdint.h>
#include <sys/random.h>

int random_fill(void *out, size_t n)
{
	uint8_t *at = out;

	while (n > 0) {
		ssize_t got = getrandom(at, n, 0);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return ERR_SYSTEM;
		at += got;
		n -= (size_t)got;
	}
	return 0;
}
