/* Networks: which peers a section lets in. Pure, but for the C library's address parser. Part of conf/conf.h. */
#ifndef WEIR_CONF_NETWORK_H
#define WEIR_CONF_NETWORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* "127.0.0.0/8", "10.1.2.3", "::1", "2001:db8::/32" */
struct conf_network {
	bool is_v6;
	uint8_t address[16]; /* in network order; of IPv4 the first four */
	uint8_t bits;        /* of the prefix: 0 to 32, or to 128; the bits behind it are zero */
};

struct conf_networks {
	struct conf_network *at; /* owned */
	size_t count;
};

/* A numeric address, with or without the length of a prefix. False for anything else and where a bit is set behind the
 * prefix; *out is untouched then. IPv6 networks of IPv4-mapped addresses become the IPv4 ones. */
bool conf_network_parse(const char *text, struct conf_network *out);

/* Whether the numeric address lies in one of the networks. An IPv4-mapped IPv6 address counts as the IPv4 one, so that
 * ::/0 holds no IPv4 address in any form. What is not an address lies nowhere. */
bool conf_networks_hold(const struct conf_networks *n, const char *address_text, size_t len);

#endif
