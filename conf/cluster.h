/* The section cluster. Part of conf/conf.h. */
#ifndef WEIR_CONF_CLUSTER_H
#define WEIR_CONF_CLUSTER_H

#include "base/compiler.h"
#include "conf/address.h"

#include <stddef.h>

/* The first voters are a node and its peers, and at most seven vote (doc/cluster.md). */
enum { CONF_VOTERS_MAX = 7, CONF_URL_MAX = 512 };

struct conf_addresses {
	struct conf_address *at; /* owned */
	size_t count;
};

struct conf_cluster {
	char *name;                  /* NULL: no such section, and nothing else is set; all texts are owned */
	struct conf_address listen;  /* TCP, may be a wildcard */
	struct conf_address address; /* what others dial; no wildcard */
	struct conf_addresses peers; /* TCP, others' only; empty: a cluster of its own */
	char *public_url;            /* "": none */
	char *zone;                  /* "": none */
	uint32_t buckets;
	char *certificate, *key, *ca;
	char *crl; /* NULL: nobody is revoked */
	bool votes, witness;
	uint32_t priority; /* 0: only where no other can coordinate */
	uint64_t failure_timeout_ms, election_timeout_ms;
};

/* `out` is overwritten. ERR_NO_MEMORY: *out is all zero. */
MUST_USE int conf_cluster_copy(const struct conf_cluster *c, struct conf_cluster *out);
void conf_cluster_fini(struct conf_cluster *c);

MUST_USE int conf_address_copy(const struct conf_address *a, struct conf_address *out);
/* Whether it is the node's own, as others dial it or as it listens: a list of all nodes may stand in every file. */
bool conf_cluster_is_self(const struct conf_cluster *c, const struct conf_address *a);

/* Takes the own addresses out of the peers. */
void conf_cluster_drop_self(struct conf_cluster *c);

bool conf_addresses_hold(const struct conf_addresses *all, const struct conf_address *a);
void conf_addresses_fini(struct conf_addresses *all);

#endif
