/* Networks. Both sides go through one reading of an address, so that the two forms of an IPv4 address cannot differ. */
#include "conf/network.h"

#include "base/view.h"

#include <arpa/inet.h>
#include <string.h>

enum { V4_BITS = 32, V6_BITS = 128, MAPPED_BITS = 96 };

static const uint8_t mapped[MAPPED_BITS / 8] = {[10] = 0xff, [11] = 0xff};

static bool parse_address(const char *text, size_t len, struct conf_network *out)
{
	struct conf_network n = {.bits = V4_BITS};
	char address[INET6_ADDRSTRLEN];

	if (len >= sizeof address || memchr(text, '\0', len))
		return false;
	memcpy(address, text, len);
	address[len] = '\0';
	if (inet_pton(AF_INET, address, n.address) != 1) {
		if (inet_pton(AF_INET6, address, n.address) != 1)
			return false;
		n.is_v6 = true;
		n.bits = V6_BITS;
	}
	*out = n;
	return true;
}

/* No bit is set behind the prefix, so one that begins like a mapped address is at least that long. */
static void unmap(struct conf_network *n)
{
	if (!n->is_v6 || memcmp(n->address, mapped, sizeof mapped) != 0)
		return;
	struct conf_network v4 = {.bits = (uint8_t)(n->bits - MAPPED_BITS)};
	memcpy(v4.address, n->address + sizeof mapped, V4_BITS / 8);
	*n = v4;
}

static bool bit(const uint8_t *address, size_t i)
{
	return address[i / 8] >> (7 - i % 8) & 1;
}

bool conf_network_parse(const char *text, struct conf_network *out)
{
	size_t len = strcspn(text, "/");
	struct conf_network n;
	uint64_t bits;

	if (!parse_address(text, len, &n))
		return false;
	if (text[len] == '/') {
		if (!view_to_u64(view_str(text + len + 1), n.bits, &bits))
			return false;
		for (size_t i = (size_t)bits; i < n.bits; i++) {
			if (bit(n.address, i))
				return false;
		}
		n.bits = (uint8_t)bits;
	}
	unmap(&n);
	*out = n;
	return true;
}

static bool holds(const struct conf_network *n, const struct conf_network *address)
{
	if (n->is_v6 != address->is_v6)
		return false;
	for (size_t i = 0; i < n->bits; i++) {
		if (bit(n->address, i) != bit(address->address, i))
			return false;
	}
	return true;
}

bool conf_networks_hold(const struct conf_networks *n, const char *address_text, size_t len)
{
	struct conf_network address;

	if (!parse_address(address_text, len, &address))
		return false;
	unmap(&address);
	for (size_t i = 0; i < n->count; i++) {
		if (holds(&n->at[i], &address))
			return true;
	}
	return false;
}
