/* Networks: which texts are some, and which addresses lie in them. */
#include "conf/network.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void assert_network(const char *text, bool is_v6, const uint8_t address[16], uint8_t bits)
{
	struct conf_network n;

	memset(&n, 0xee, sizeof n);
	if (!conf_network_parse(text, &n))
		fail_msg("\"%s\" was refused", text);
	assert_int_equal(n.is_v6, is_v6);
	assert_memory_equal(n.address, address, 16);
	assert_int_equal(n.bits, bits);
}

static void networks_are_numeric(void **state)
{
	(void)state;
	static const uint8_t db8[16] = {0x20, 0x01, 0x0d, 0xb8}, one[16] = {[15] = 1};
	static const uint8_t half[16] = {0xff, 0x80}, last[16] = {255, 255, 255, 255};
	assert_network("10.1.2.3", false, (const uint8_t[16]){10, 1, 2, 3}, 32);
	assert_network("10.1.2.3/32", false, (const uint8_t[16]){10, 1, 2, 3}, 32);
	assert_network("127.0.0.0/8", false, (const uint8_t[16]){127}, 8);
	assert_network("10.0.0.2/31", false, (const uint8_t[16]){10, 0, 0, 2}, 31);
	assert_network("10.128.0.0/9", false, (const uint8_t[16]){10, 128}, 9);
	assert_network("128.0.0.0/1", false, (const uint8_t[16]){128}, 1);
	assert_network("0.0.0.0/0", false, (const uint8_t[16]){0}, 0);
	assert_network("255.255.255.255", false, last, 32);
	assert_network("::1", true, one, 128);
	assert_network("0:0:0:0:0:0:0:1/128", true, one, 128);
	assert_network("::/0", true, (const uint8_t[16]){0}, 0);
	assert_network("2001:db8::/32", true, db8, 32);
	assert_network("2001:DB8::/29", true, db8, 29);
	assert_network("ff80::/9", true, half, 9);
}

/* There is one form of an IPv4 network. */
static void networks_of_mapped_addresses_are_those_of_ipv4(void **state)
{
	(void)state;
	static const uint8_t all_mapped[16] = {[10] = 0xff, [11] = 0xfe};
	assert_network("::ffff:10.1.2.3", false, (const uint8_t[16]){10, 1, 2, 3}, 32);
	assert_network("::ffff:10.0.0.0/104", false, (const uint8_t[16]){10}, 8);
	assert_network("::ffff:0:0/96", false, (const uint8_t[16]){0}, 0);
	assert_network("::ffff:0a01:0203", false, (const uint8_t[16]){10, 1, 2, 3}, 32);
	assert_network("::fffe:0:0/95", true, all_mapped, 95);
	assert_network("::10.1.2.3", true, (const uint8_t[16]){[12] = 10, 1, 2, 3}, 128);
}

static void what_is_no_network(void **state)
{
	(void)state;
	static const char *const bad[] = {
	    "", "/", "/8", "10", "10.0.0", "10.0.0.0.0", "10.0.0.256", "010.0.0.0/8", "0x7f.0.0.1", "localhost",
	    "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-8", "10.0.0.0/+8", "10.0.0.0/ 8", "10.0.0.0/8 ", " 10.0.0.0/8",
	    "10.0.0.0/8/8", "10.0.0.0/255.0.0.0", "10.0.0.0/8x", "10.0.0.0/18446744073709551624", "10.0.0.0/264",
	    /* bits behind the prefix */
	    "10.0.0.1/8", "10.0.0.1/31", "10.64.0.0/9", "128.0.0.0/0", "0.0.0.1/0", "::1/0", "::1/127", "2001:db8::/28",
	    "2001:db8::1/32", "::ffff:10.0.0.1/104", "::ffff:10.0.0.0/95", "::1/129", "::/", "::1%lo", "fe80::1%1",
	    "[::1]", "[::1]/128", ":::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1::2::3", "10.0.0.1:80",
	    "::ffff:10.0.0.256", "unix:",
	    /* longer than any address */
	    "1111:1111:1111:1111:1111:1111:111.111.111.1111", "0000000000000000000000000000000000000000000000000::1"};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct conf_network n = {.bits = 77};
		if (conf_network_parse(bad[i], &n))
			fail_msg("\"%s\" was taken for a network", bad[i]);
		assert_int_equal(n.bits, 77);
	}
}

static bool in(const char *network, const char *address)
{
	struct conf_network n;
	struct conf_networks all = {.at = &n, .count = 1};

	assert_true(conf_network_parse(network, &n));
	return conf_networks_hold(&all, address, strlen(address));
}

static void addresses_lie_in_networks(void **state)
{
	(void)state;
	static const struct {
		const char *network, *address;
		bool held;
	} rows[] = {
	    {"127.0.0.0/8", "127.0.0.1", true},
	    {"127.0.0.0/8", "127.0.0.0", true},
	    {"127.0.0.0/8", "127.255.255.255", true},
	    {"127.0.0.0/8", "126.255.255.255", false},
	    {"127.0.0.0/8", "128.0.0.0", false},
	    {"10.128.0.0/9", "10.128.0.1", true},
	    {"10.128.0.0/9", "10.127.0.1", false},
	    {"10.1.2.2/31", "10.1.2.3", true},
	    {"10.1.2.2/31", "10.1.2.4", false},
	    {"10.1.2.3", "10.1.2.3", true},
	    {"10.1.2.3", "10.1.2.2", false},
	    {"0.0.0.0/0", "255.255.255.255", true},
	    {"2001:db8::/32", "2001:db8:ffff::1", true},
	    {"2001:db8::/32", "2001:DB8::", true},
	    {"2001:db8::/32", "2001:db9::", false},
	    {"2001:db8::/29", "2001:dbf::1", true},
	    {"2001:db8::/29", "2001:dc0::1", false},
	    {"::1", "0:0:0:0:0:0:0:1", true},
	    {"::1", "::2", false},
	    {"::1", "::", false},
	    {"::/0", "ffff::1", true},
	    /* the two families are apart, and a mapped address is IPv4 */
	    {"0.0.0.0/0", "::1", false},
	    {"::/0", "127.0.0.1", false},
	    {"::/0", "::ffff:127.0.0.1", false},
	    {"127.0.0.0/8", "::ffff:127.0.0.1", true},
	    {"127.0.0.0/8", "::ffff:7f00:1", true},
	    {"127.0.0.0/8", "0:0:0:0:0:FFFF:127.0.0.1", true},
	    {"127.0.0.0/8", "::ffff:128.0.0.1", false},
	    {"127.0.0.0/8", "::127.0.0.1", false},
	    {"127.0.0.0/8", "::fffe:127.0.0.1", false},
	    {"127.0.0.0/8", "1::ffff:127.0.0.1", false},
	    {"127.0.0.0/8", "7f00::", false},
	    {"::ffff:127.0.0.0/104", "127.0.0.1", true},
	    {"::ffff:127.0.0.0/104", "::ffff:127.0.0.1", true},
	    {"::ffff:127.0.0.0/104", "::7f00:1", false},
	    {"::fffe:0:0/95", "127.0.0.1", false},
	    /* no addresses */
	    {"0.0.0.0/0", "", false},
	    {"0.0.0.0/0", "127.0.0.1 ", false},
	    {"0.0.0.0/0", " 127.0.0.1", false},
	    {"0.0.0.0/0", "127.0.0.1:80", false},
	    {"0.0.0.0/0", "127.1", false},
	    {"0.0.0.0/0", "0.0.0.0/0", false},
	    {"0.0.0.0/0", "127.0.0.01", false},
	    {"0.0.0.0/0", "unix:", false},
	    {"0.0.0.0/0", "127.0.0.1, 10.0.0.1", false},
	    {"::/0", "[::1]", false},
	    {"::/0", "fe80::1%eth0", false},
	    {"::/0", "0000:0000:0000:0000:0000:0000:127.000.000.0001", false},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		if (in(rows[i].network, rows[i].address) != rows[i].held)
			fail_msg("%s in %s: expected %d", rows[i].address, rows[i].network, rows[i].held);
	}
}

static void one_of_many_is_enough(void **state)
{
	(void)state;
	struct conf_network n[3];
	const struct conf_networks none = {0}, all = {.at = n, .count = 3};
	assert_true(conf_network_parse("10.0.0.0/8", &n[0]));
	assert_true(conf_network_parse("::1", &n[1]));
	assert_true(conf_network_parse("192.168.0.0/16", &n[2]));
	assert_true(conf_networks_hold(&all, "10.0.0.1", 8));
	assert_true(conf_networks_hold(&all, "::1", 3));
	assert_true(conf_networks_hold(&all, "192.168.9.9", 11));
	assert_false(conf_networks_hold(&all, "11.0.0.1", 8));
	assert_false(conf_networks_hold(&none, "127.0.0.1", 9));
	assert_false(conf_networks_hold(&none, "::1", 3));
}

/* As a variable of a request comes: no NUL behind it, perhaps one in it, of any length. */
static void an_address_is_its_bytes(void **state)
{
	(void)state;
	struct conf_network n;
	const struct conf_networks all = {.at = &n, .count = 1};
	static const char longest[] = "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255";
	static const char nul[] = "127.0.0.1\0";
	char large[4096], *exact = malloc(9);
	assert_non_null(exact);
	memcpy(exact, "127.0.0.1", 9);
	assert_true(conf_network_parse("127.0.0.1", &n));
	assert_true(conf_networks_hold(&all, exact, 9));
	assert_false(conf_networks_hold(&all, exact, 8));
	assert_false(conf_networks_hold(&all, exact, 0));
	assert_true(conf_networks_hold(&all, "127.0.0.12", 9));
	assert_false(conf_networks_hold(&all, nul, 10));
	memset(large, '1', sizeof large);
	assert_false(conf_networks_hold(&all, large, sizeof large));
	free(exact);
	assert_true(conf_network_parse("ffff::/16", &n));
	assert_true(conf_networks_hold(&all, longest, sizeof longest - 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(networks_are_numeric),  cmocka_unit_test(networks_of_mapped_addresses_are_those_of_ipv4),
	    cmocka_unit_test(what_is_no_network),    cmocka_unit_test(addresses_lie_in_networks),
	    cmocka_unit_test(one_of_many_is_enough), cmocka_unit_test(an_address_is_its_bytes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
