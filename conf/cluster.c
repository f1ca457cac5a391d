/* The section cluster as a value: copies and their end. Depends on malloc only. */
#include "conf/cluster.h"

#include "base/error.h"
#include "conf/parse.h"

#include <stdlib.h>

bool conf_cluster_is_self(const struct conf_cluster *c, const struct conf_address *a)
{
	return (c->address.text && conf_address_equal(a, &c->address)) ||
	       (c->listen.text && conf_address_equal(a, &c->listen));
}

void conf_cluster_drop_self(struct conf_cluster *c)
{
	size_t kept = 0;

	for (size_t i = 0; i < c->peers.count; i++) {
		struct conf_address *a = &c->peers.at[i];
		if (conf_cluster_is_self(c, a))
			conf_address_fini(a);
		else
			c->peers.at[kept++] = *a;
	}
	c->peers.count = kept;
}

bool conf_addresses_hold(const struct conf_addresses *all, const struct conf_address *a)
{
	for (size_t i = 0; i < all->count; i++) {
		if (conf_address_equal(&all->at[i], a))
			return true;
	}
	return false;
}

void conf_addresses_fini(struct conf_addresses *all)
{
	for (size_t i = 0; i < all->count; i++)
		conf_address_fini(&all->at[i]);
	free(all->at);
	*all = (struct conf_addresses){0};
}

int conf_address_copy(const struct conf_address *a, struct conf_address *out)
{
	const char *why;

	return conf_address_parse(a->text, true, out, &why);
}

static int copy_addresses(const struct conf_addresses *all, struct conf_addresses *out)
{
	int err = 0;

	if (all->count == 0)
		return 0;
	out->at = calloc(all->count, sizeof *out->at);
	if (!out->at)
		return ERR_NO_MEMORY;
	while (!err && out->count < all->count) {
		err = conf_address_copy(&all->at[out->count], &out->at[out->count]);
		out->count += err == 0;
	}
	return err;
}

static bool copy_text(const char *text, char **out)
{
	*out = text ? strdup(text) : NULL;
	return *out || !text;
}

static int copy(const struct conf_cluster *c, struct conf_cluster *out)
{
	bool texts = copy_text(c->name, &out->name) && copy_text(c->public_url, &out->public_url) &&
		     copy_text(c->zone, &out->zone) && copy_text(c->certificate, &out->certificate) &&
		     copy_text(c->key, &out->key) && copy_text(c->ca, &out->ca) && copy_text(c->crl, &out->crl);
	int err = texts ? 0 : ERR_NO_MEMORY;

	if (!err)
		err = conf_address_copy(&c->listen, &out->listen);
	if (!err)
		err = conf_address_copy(&c->address, &out->address);
	return err ? err : copy_addresses(&c->peers, &out->peers);
}

int conf_cluster_copy(const struct conf_cluster *c, struct conf_cluster *out)
{
	int err = 0;

	*out = (struct conf_cluster){0};
	if (!c->name)
		return 0;
	out->buckets = c->buckets;
	out->votes = c->votes;
	out->witness = c->witness;
	out->priority = c->priority;
	out->failure_timeout_ms = c->failure_timeout_ms;
	out->election_timeout_ms = c->election_timeout_ms;
	err = copy(c, out);
	if (err)
		conf_cluster_fini(out);
	return err;
}

void conf_cluster_fini(struct conf_cluster *c)
{
	free(c->name);
	conf_address_fini(&c->listen);
	conf_address_fini(&c->address);
	conf_addresses_fini(&c->peers);
	free(c->public_url);
	free(c->zone);
	free(c->certificate);
	free(c->key);
	free(c->ca);
	free(c->crl);
	*c = (struct conf_cluster){0};
}
