/* The system's clocks. */
#include "base/clock.h"

#include "base/invariant.h"

#include <time.h>

struct instant clock_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (struct instant){.ms = (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000};
}

uint64_t clock_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* CLOCK_MONOTONIC stands still meanwhile. There is no other to fall back on: with two, a right could be given by the
 * one and looked at by the other. */
uint64_t clock_lease_us(void)
{
	struct timespec ts;
	int err = clock_gettime(CLOCK_BOOTTIME, &ts);

	INVARIANT(err == 0);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

struct lease_time clock_lease(void)
{
	return (struct lease_time){.ms = clock_lease_us() / 1000};
}

uint64_t clock_wall_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

struct wall_time clock_wall(void)
{
	return (struct wall_time){.s = (int64_t)time(NULL)};
}
