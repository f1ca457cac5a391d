/* Points in time, as structs so that no bare integer is taken for one.
 * Only clock.c asks the system; pure code is handed the time in its events. */
#ifndef WEIR_BASE_CLOCK_H
#define WEIR_BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

/* A point on the monotonic clock. */
struct instant {
	uint64_t ms;
};

/* A point on the calendar clock, seconds since 1970-01-01 UTC. */
struct wall_time {
	int64_t s;
};

struct instant clock_now(void);
struct wall_time clock_wall(void);

/* The calendar in milliseconds since then. */
uint64_t clock_wall_ms(void);

/* Microseconds on the monotonic clock: to measure with, where the milliseconds of an instant are too coarse. */
uint64_t clock_us(void);

static inline struct instant instant_add_ms(struct instant t, uint64_t ms)
{
	return (struct instant){.ms = t.ms + ms};
}

static inline bool instant_before(struct instant a, struct instant b)
{
	return a.ms < b.ms;
}

/* Milliseconds from `earlier` to `later`; 0 when it is the other way round. */
static inline uint64_t instant_since_ms(struct instant later, struct instant earlier)
{
	return later.ms > earlier.ms ? later.ms - earlier.ms : 0;
}

#endif
