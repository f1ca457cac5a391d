/* The stack of stores as the configuration has it. */
#include "gateway/sessions.h"

#include "base/error.h"
#include "base/invariant.h"
#include "gateway/fence.h"
#include "gateway/secret.h"
#include "session/claim.h"
#include "session/keylock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* The store's folder, under state-dir. */
static int store_dir(const struct conf *c, char *out, size_t len)
{
	int n = snprintf(out, len, "%s/sessions", c->state_dir);

	return n > 0 && (size_t)n < len ? 0 : ERR_TOO_LARGE;
}

static struct stack_options options_of(const struct conf *c, const char *dir)
{
	static const enum store_sync syncs[] = {
	    [CONF_SYNC_NONE] = STORE_SYNC_NONE,
	    [CONF_SYNC_WRITE] = STORE_SYNC_WRITE,
	    [CONF_SYNC_GROUP] = STORE_SYNC_GROUP,
	};
	struct stack_options o = {
	    .memory_max = c->memory.max,
	    .max_pinned = c->memory.max_pinned,
	    .evict = evict_find(conf_memory_evict(c)),
	    .evict_limits = {.after_s = (uint32_t)(c->memory.after_ms / 1000)},
	    .below = c->disk.max > 0 ? store_find("disk") : NULL,
	    .store = {.dir = dir, .max_bytes = c->disk.max, .cache_bytes = c->disk.cache, .sync = syncs[c->disk.sync]},
	    .wall = clock_wall(),
	};

	INVARIANT(o.evict != NULL);
	return o;
}

static int make_keys(struct gateway *g, const struct conf *c, bool *kept, char *why, size_t why_len)
{
	uint8_t secret[SESS_SECRET_BYTES];
	int err = secret_load(c->state_dir, secret, kept);

	if (err) {
		snprintf(why, why_len, "%s/secret: %s", c->state_dir,
			 err == ERR_SYSTEM ? strerror(errno) : error_text(err));
		return err;
	}
	sess_keys_derive(&g->keys, secret);
	explicit_bzero(secret, sizeof secret);
	return 0;
}

/* The stack's thread: as with memory (gateway/worker.c). */
static bool may_expire(void *gateway)
{
	return !fence_is_up(gateway);
}

int sessions_new(struct gateway *g, const struct conf *c, char *why, size_t why_len)
{
	char dir[512];

	if (store_dir(c, dir, sizeof dir)) {
		snprintf(why, why_len, "node.state-dir: \"%s\": too long", c->state_dir);
		return ERR_CONFIG;
	}
	bool kept = true;
	int err = make_keys(g, c, &kept, why, why_len);
	if (err)
		return err;
	struct stack_options o = options_of(c, dir);
	o.may_expire = may_expire;
	o.arg = g;
	/* Whoever mounts the folder later must not find sessions in it that were made under a secret of this process.
	 */
	if (!kept)
		o.below = NULL;
	g->claims = claims_new(&g->keys);
	g->keylocks = keylocks_new(&g->keys);
	g->stack = stack_new(&o, &g->keys, clock_now());
	return g->claims && g->keylocks && g->stack ? 0 : ERR_NO_MEMORY;
}

void sessions_free(struct gateway *g)
{
	claims_free(&g->claims);
	keylocks_free(&g->keylocks);
	stack_free(&g->stack);
}

void sessions_set(struct gateway *g, const struct conf *c)
{
	struct stack_options o = options_of(c, "");

	stack_set(g->stack, &o);
}

uint16_t *sessions_apps(struct gateway *g, const struct conf *c)
{
	uint16_t *apps = calloc(c->app_count, sizeof *apps);

	for (size_t i = 0; apps && i < c->app_count; i++) {
		if (stack_app(g->stack, c->apps[i].name, &apps[i])) {
			free(apps);
			return NULL;
		}
	}
	return apps;
}
