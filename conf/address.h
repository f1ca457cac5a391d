/* Addresses: where to listen, and where an application is. Part of conf/conf.h. */
#ifndef WEIR_CONF_ADDRESS_H
#define WEIR_CONF_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

enum conf_address_kind { CONF_TCP, CONF_UNIX, CONF_SPAWN };

/* "127.0.0.1:9001", "[::1]:9001", "unix:/path", "spawn:/path/to/program arg arg" */
struct conf_address {
	enum conf_address_kind kind;
	char *text; /* as written; owned */
	char *host; /* TCP: numeric address without brackets; owned */
	uint16_t port;
	char *path;  /* UNIX: the socket; SPAWN: the program; owned */
	char **argv; /* SPAWN: words, argv[0] is the program, NULL at the end; owned */
};

/* False: not an address of a known kind (spawn only where allowed). Frees nothing it did not make. */
bool conf_parse_address(const char *text, bool allow_spawn, struct conf_address *out);
void conf_address_fini(struct conf_address *a);

/* The same place to connect to or to listen at. */
bool conf_address_equal(const struct conf_address *a, const struct conf_address *b);

#endif
