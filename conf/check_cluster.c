/* Checks of the section cluster: addresses that others can reach, voters, what a witness may have. A field whose value
 * was refused before has its error already: here it is passed over. */
#include "conf/check_cluster.h"

#include "conf/parse.h"

#include <stdio.h>

enum { WHY_BYTES = 240 };

static void report_value(struct conf_report *r, const struct conf_value *v, const char *why)
{
	char name[64];

	snprintf(name, sizeof name, "%s.%s", v->option->section, v->option->name);
	conf_report_add(r, v->line, name, conf_option_shown(v->option, v->text), why);
}

static void check_name(const struct conf *c, const struct conf_node *file, struct conf_report *r)
{
	const struct conf_node *at = conf_tree_child(file, "cluster", 0);
	char why[WHY_BYTES];

	if (conf_tree_child(file, "node", 0) || conf_is_name(c->node))
		return;
	snprintf(why, sizeof why, "the host name \"%s\" cannot be the name of a node: a section node must give one",
		 c->node);
	conf_report_add(r, at->line, "cluster", at->title, why);
}

/* --- addresses -------------------------------------------------------------------------------------------------- */

static bool lies_in(const struct conf_address *a, struct conf_network *at, size_t count)
{
	const struct conf_networks networks = {.at = at, .count = count};

	return conf_networks_hold(&networks, a->host, strlen(a->host));
}

static bool is_wildcard(const struct conf_address *a)
{
	static struct conf_network at[] = {{.bits = 32}, {.is_v6 = true, .bits = 128}};

	return lies_in(a, at, 2);
}

/* No node has it: wildcards, groups, what is kept back, and IPv6 addresses that are good on one link only. */
static bool is_nowhere(const struct conf_address *a)
{
	static struct conf_network at[] = {
	    {.bits = 8},
	    {.address = {224}, .bits = 3},
	    {.is_v6 = true, .bits = 128},
	    {.is_v6 = true, .address = {0xff}, .bits = 8},
	    {.is_v6 = true, .address = {0xfe, 0x80}, .bits = 10},
	};

	return lies_in(a, at, sizeof at / sizeof *at);
}

static const char *const nowhere = "no other node can connect to this address";

static void check_listen(const struct conf *c, const struct conf_node *at, struct conf_report *r)
{
	const struct conf_cluster *cl = &c->cluster;
	const struct conf_value *listen = conf_tree_value(at, "listen"), *address = conf_tree_value(at, "address");

	if (address && cl->address.text && is_nowhere(&cl->address))
		report_value(r, address, nowhere);
	if (!listen || !cl->listen.text)
		return;
	if (is_wildcard(&cl->listen) && !address)
		report_value(r, listen, "all addresses of this machine: address must say at which one others reach it");
	else if (is_nowhere(&cl->listen) && !is_wildcard(&cl->listen))
		report_value(r, listen, nowhere);
	for (size_t i = 0; i < c->listen_count; i++) {
		if (c->listens[i].address.text && conf_address_equal(&cl->listen, &c->listens[i].address))
			report_value(r, listen, "is an address of listen");
	}
	for (size_t i = 0; i < c->app_count; i++) {
		const struct conf_address *socket = &c->apps[i].session.socket;
		if (socket->text && conf_address_equal(&cl->listen, socket))
			report_value(r, listen, "is the session socket of an app");
	}
}

/* --- peers and voters ------------------------------------------------------------------------------------------- */

static void check_peer(const struct conf_cluster *c, size_t i, const struct conf_value *v, struct conf_report *r)
{
	const struct conf_addresses before = {.at = c->peers.at, .count = i};

	if (is_nowhere(&c->peers.at[i]))
		report_value(r, v, nowhere);
	else if (conf_addresses_hold(&before, &c->peers.at[i]))
		report_value(r, v, "given twice");
}

/* What was accepted stands in the same order in the file. */
static void check_peers(const struct conf_cluster *c, const struct conf_node *at, struct conf_report *r)
{
	size_t i = 0;

	for (const struct list *link = at->values.next; link != &at->values && i < c->peers.count; link = link->next) {
		const struct conf_value *v = CONTAINER_OF(link, const struct conf_value, link);
		if (strcmp(v->option->name, "peers") == 0 && strcmp(v->text, c->peers.at[i].text) == 0)
			check_peer(c, i++, v, r);
	}
}

static size_t others(const struct conf_cluster *c)
{
	size_t n = c->peers.count;

	for (size_t i = 0; i < c->peers.count; i++)
		n -= conf_cluster_is_self(c, &c->peers.at[i]);
	return n;
}

static void check_voters(const struct conf_cluster *c, const struct conf_node *at, struct conf_report *r)
{
	const struct conf_value *peers = conf_tree_value(at, "peers"), *votes = conf_tree_value(at, "votes");
	const struct conf_value *priority = conf_tree_value(at, "priority");
	size_t n = others(c);

	if (peers && n + c->votes > CONF_VOTERS_MAX)
		conf_report_add(r, peers->line, "cluster.peers", NULL,
				"too many: at most 7 nodes vote at first, and this one does unless votes = no");
	if (n > 0 || (peers && c->peers.count == 0)) /* refused */
		return;
	if (votes && !c->votes)
		report_value(r, votes, "without peers this node is a cluster of its own, and nobody else could vote");
	if (priority && c->priority == 0)
		report_value(r, priority, "without peers this node is a cluster of its own, and must coordinate it");
}

/* --- the whole -------------------------------------------------------------------------------------------------- */

static void check_times(const struct conf_cluster *c, const struct conf_node *at, struct conf_report *r)
{
	const struct conf_value *election = conf_tree_value(at, "election-timeout");
	const struct conf_value *failure = conf_tree_value(at, "failure-timeout");

	if (c->failure_timeout_ms == 0 || c->election_timeout_ms <= c->failure_timeout_ms) /* 0: refused */
		return;
	report_value(r, election ? election : failure, "election-timeout is at most failure-timeout");
}

static void check_witness(const struct conf *c, const struct conf_node *file, struct conf_report *r)
{
	const struct conf_node *at = conf_tree_child(file, "cluster", 0), *app;
	const struct conf_value *votes = conf_tree_value(at, "votes");

	if (!c->cluster.witness)
		return;
	if (votes && !c->cluster.votes)
		report_value(r, votes, "a witness is there to vote");
	for (size_t i = 0; (app = conf_tree_child(file, "app", i)); i++)
		conf_report_add(r, app->line, "app", app->title, "a witness hosts no app");
}

void conf_check_cluster(const struct conf *c, const struct conf_node *file, struct conf_report *r)
{
	const struct conf_node *at = conf_tree_child(file, "cluster", 0);

	check_name(c, file, r);
	check_listen(c, at, r);
	check_peers(&c->cluster, at, r);
	check_voters(&c->cluster, at, r);
	check_times(&c->cluster, at, r);
	check_witness(c, file, r);
}
