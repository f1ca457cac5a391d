/* A copy of the settings that this node goes by and tells others. */
#include "cluster/node_state.h"

#include "base/error.h"
#include "tls/tls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct view keep(uint8_t **at, const char *text)
{
	size_t len = strlen(text);
	struct view kept = view_of(*at, len);

	memcpy(*at, text, len);
	*at += len;
	return kept;
}

static size_t text_bytes(const struct cluster_settings *s)
{
	size_t bytes = strlen(s->node) + strlen(s->address) + strlen(s->zone) + strlen(s->url);

	for (size_t i = 0; i < s->peer_count; i++)
		bytes += strlen(s->peers[i]);
	for (size_t i = 0; i < s->app_count; i++)
		bytes += strlen(s->apps[i].name) + strlen(s->apps[i].settings);
	return bytes;
}

static int by_name(const void *a, const void *b)
{
	return view_compare(((const struct peer_app *)a)->name, ((const struct peer_app *)b)->name);
}

static void fill(struct node_own *own, const struct cluster_settings *s)
{
	uint8_t *at = own->texts;
	struct peer_hello *h = &own->hello;

	h->name = keep(&at, s->node);
	h->address = keep(&at, s->address);
	h->zone = keep(&at, s->zone);
	h->url = keep(&at, s->url);
	h->witness = s->witness;
	h->votes = s->votes;
	for (size_t i = 0; i < s->peer_count; i++) {
		struct view peer = keep(&at, s->peers[i]);
		if (!view_eq(peer, h->address))
			own->peers[own->peer_count++] = peer;
	}
	for (size_t i = 0; !s->witness && i < s->app_count; i++) {
		struct peer_app *a = &h->apps[h->app_count++];
		a->name = keep(&at, s->apps[i].name);
		a->settings = keep(&at, s->apps[i].settings);
		a->digest = s->apps[i].digest;
	}
	qsort(h->apps, h->app_count, sizeof h->apps[0], by_name);
}

static int check(const struct cluster_settings *s, char why[NODE_WHY])
{
	for (size_t i = 0; i < s->app_count; i++) {
		if (strlen(s->apps[i].settings) > PEER_SETTINGS_MAX) {
			snprintf(why, NODE_WHY, "the settings of app %.64s are longer than %d bytes", s->apps[i].name,
				 PEER_SETTINGS_MAX);
			return ERR_TOO_LARGE;
		}
	}
	if (s->app_count <= PEER_APPS_MAX)
		return 0;
	snprintf(why, NODE_WHY, "more than %d apps", PEER_APPS_MAX);
	return ERR_TOO_LARGE;
}

int node_own_new(struct node_own **out, const struct cluster_settings *s, char why[NODE_WHY])
{
	int err = check(s, why);
	struct node_own *own = err ? NULL : calloc(1, sizeof *own);

	if (err)
		return err;
	snprintf(why, NODE_WHY, "%s", error_text(ERR_NO_MEMORY));
	if (!own)
		return ERR_NO_MEMORY;
	own->texts = malloc(text_bytes(s) + 1);
	own->peers = calloc(s->peer_count + 1, sizeof own->peers[0]);
	if (!own->texts || !own->peers) {
		node_own_free(&own);
		return ERR_NO_MEMORY;
	}
	own->tls = tls_context_ref(s->tls);
	fill(own, s);
	*out = own;
	return 0;
}

void node_own_free(struct node_own **p)
{
	struct node_own *own = *p;

	*p = NULL;
	if (!own)
		return;
	if (own->tls)
		tls_context_unref(&own->tls);
	free(own->texts);
	free(own->peers);
	free(own);
}

bool node_own_says_same(const struct node_own *a, const struct node_own *b)
{
	if (!view_eq(a->hello.zone, b->hello.zone) || !view_eq(a->hello.url, b->hello.url) ||
	    a->hello.app_count != b->hello.app_count)
		return false;
	for (uint16_t i = 0; i < a->hello.app_count; i++) {
		const struct peer_app *x = &a->hello.apps[i], *y = &b->hello.apps[i];
		if (!view_eq(x->name, y->name) || x->digest != y->digest || !view_eq(x->settings, y->settings))
			return false;
	}
	return true;
}
