/* The evicters there are, a row each: its name and the same in capitals. ROW(hour, HOUR) is evict_hour
 * (session/evict.h) and the word of store.memory.evict in the configuration, which reads this file too. Includes
 * nothing. */
#ifndef WEIR_SESSION_EVICTERS_H
#define WEIR_SESSION_EVICTERS_H

#define EVICTERS(ROW)                                                                                                  \
	ROW(never, NEVER)                                                                                              \
	ROW(idle, IDLE)                                                                                                \
	ROW(lru, LRU)                                                                                                  \
	ROW(ttl, TTL)

#endif
