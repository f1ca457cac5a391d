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

/* A point on the clock that goes on while the machine is suspended. The right to act is reckoned by it, and by nothing
 * else: a type of its own, so that it is never compared with an instant (doc/cluster.md, "Why fencing is safe"). */
struct lease_time {
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

struct lease_time clock_lease(void);
/* Microseconds on that clock. */
uint64_t clock_lease_us(void);

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

static inline bool lease_time_before(struct lease_time a, struct lease_time b)
{
	return a.ms < b.ms;
}

/* As instant_since_ms(). */
static inline uint64_t lease_time_since_ms(struct lease_time later, struct lease_time earlier)
{
	return later.ms > earlier.ms ? later.ms - earlier.ms : 0;
}

#endif
