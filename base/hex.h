/* The byte that two hexadecimal digits write, in either case. Pure. */
#ifndef WEIR_BASE_HEX_H
#define WEIR_BASE_HEX_H

#include <stdbool.h>
#include <stdint.h>

static inline unsigned hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return (unsigned)(c - '0');
	c |= 'a' - 'A';
	return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : 16;
}

/* False: they are none. */
static inline bool hex_byte(const uint8_t digits[2], uint8_t *out)
{
	unsigned high = hex_digit(digits[0]), low = hex_digit(digits[1]);

	if (high > 15 || low > 15)
		return false;
	*out = (uint8_t)(high << 4 | low);
	return true;
}

#endif
