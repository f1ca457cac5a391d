/* The sessions that the side that dials keeps. Only in memory: a restarted node greets everybody anew. */
#include "tls/inside.h"

#include "base/invariant.h"

#include <stdlib.h>

enum {
	CACHE_MAX = 2048,   /* of all nodes: each has its certificates with it */
	CACHE_PEER_MAX = 4, /* of one node: two links, and each ticket is used once */
};

struct entry {
	struct list link;
	SSL_SESSION *session;   /* owned */
	STACK_OF(X509) * chain; /* owned; may be NULL */
	char peer[TLS_NAME_MAX + 1];
};

static struct entry *entry_of(struct list *link)
{
	return CONTAINER_OF(link, struct entry, link);
}

void tls_cache_init(struct tls_cache *c)
{
	list_init(&c->entries);
	c->count = 0;
}

/* What is in it stays, and is the caller's. */
static void unlink_entry(struct tls_cache *c, struct entry *e)
{
	INVARIANT(c->count > 0);
	list_remove(&e->link);
	c->count--;
}

static void drop(struct tls_cache *c, struct entry *e)
{
	unlink_entry(c, e);
	SSL_SESSION_free(e->session);
	sk_X509_pop_free(e->chain, X509_free);
	free(e);
}

void tls_cache_fini(struct tls_cache *c)
{
	LIST_EACH (link, &c->entries)
		drop(c, entry_of(link));
	INVARIANT(c->count == 0);
}

/* The oldest of the node, when it has too many; the oldest of all, when there are too many. */
static void make_room(struct tls_cache *c, const char *peer)
{
	struct entry *oldest = NULL;
	unsigned count = 0;

	LIST_EACH (link, &c->entries) {
		if (strcmp(entry_of(link)->peer, peer) == 0) {
			oldest = entry_of(link);
			count++;
		}
	}
	if (count >= CACHE_PEER_MAX)
		drop(c, oldest);
	else if (c->count >= CACHE_MAX)
		drop(c, entry_of(c->entries.prev));
}

void tls_cache_put(struct tls_cache *c, const char *peer, SSL_SESSION *session, STACK_OF(X509) * chain)
{
	struct entry *e = calloc(1, sizeof *e);
	STACK_OF(X509) *kept = chain ? X509_chain_up_ref(chain) : NULL;

	if (!e || (chain && !kept)) {
		sk_X509_pop_free(kept, X509_free);
		SSL_SESSION_free(session);
		free(e);
		return;
	}
	make_room(c, peer);
	e->session = session;
	e->chain = kept;
	memcpy(e->peer, peer, strlen(peer) + 1);
	list_prepend(&c->entries, &e->link);
	c->count++;
}

bool tls_cache_take(struct tls_cache *c, const char *peer, SSL_SESSION **session, STACK_OF(X509) * *chain)
{
	LIST_EACH (link, &c->entries) {
		struct entry *e = entry_of(link);
		if (strcmp(e->peer, peer) != 0)
			continue;
		unlink_entry(c, e);
		*session = e->session;
		*chain = e->chain;
		free(e);
		return true;
	}
	return false;
}
