/* The section cluster: what it becomes, and what is said when its parts do not go together. */
#include "tests/unit/conf_fixture.h"

#include <string.h>
#include <unistd.h>

#define LISTEN "listen '127.0.0.1:9001' { protocol = fastcgi }\n"
#define NODE "node alpha { }\n"
#define APP "app a { backend '127.0.0.1:9002' { } }\n"
#define IDENTITY "certificate=/c key=/k ca=/a"
#define PEER "peers = '10.0.0.2:7400' "
#define CLUSTER(more) NODE LISTEN "cluster eu { " IDENTITY "\n" more " }\n"
#define OWN(more) CLUSTER("listen = '10.0.0.1:7400' " more)
#define NOWHERE "no other node can connect to this address\n"

/* The host's name, for who asks it while this is set. */
static const char *host_name;

int gethostname(char *name, size_t len)
{
	snprintf(name, len, "%s", host_name ? host_name : "host");
	return 0;
}

static void assert_good(const char *text)
{
	struct conf *c = load_good(text);
	conf_free(&c);
}

/* --- what it becomes -------------------------------------------------------------------------------------------- */

static void without_the_section_there_is_nothing(void **state)
{
	(void)state;
	struct conf *c = load_good(LISTEN);
	assert_null(c->cluster.name);
	assert_null(c->cluster.certificate);
	assert_null(c->cluster.listen.text);
	assert_int_equal(c->cluster.buckets, 0);
	conf_free(&c);
}

static void a_short_section_gets_all_defaults(void **state)
{
	(void)state;
	struct conf *c = load_good(OWN(""));
	const struct conf_cluster *cl = &c->cluster;
	assert_string_equal(cl->name, "eu");
	assert_string_equal(cl->listen.text, "10.0.0.1:7400");
	assert_string_equal(cl->address.text, "10.0.0.1:7400");
	assert_int_equal(cl->address.port, 7400);
	assert_int_equal(cl->peers.count, 0);
	assert_string_equal(cl->public_url, "");
	assert_string_equal(cl->zone, "");
	assert_int_equal(cl->buckets, 1024);
	assert_string_equal(cl->certificate, "/c");
	assert_string_equal(cl->key, "/k");
	assert_string_equal(cl->ca, "/a");
	assert_null(cl->crl);
	assert_true(cl->votes);
	assert_false(cl->witness);
	assert_int_equal(cl->priority, 100);
	assert_int_equal(cl->failure_timeout_ms, 2000);
	assert_int_equal(cl->election_timeout_ms, 200);
	conf_free(&c);
}

static void every_option_reaches_its_field(void **state)
{
	(void)state;
	struct conf *c = load_good(
	    CLUSTER("listen = '0.0.0.0:7400' address = '[fd00::1]:7401' peers = { '10.0.0.2:7400', '[fd00::2]:1' } "
		    "public-url = 'https://a.org:8443' zone = r-1 buckets = 7 crl = /r votes = no priority = 3 "
		    "failure-timeout = 5s election-timeout = 1s"));
	const struct conf_cluster *cl = &c->cluster;
	assert_string_equal(cl->listen.host, "0.0.0.0");
	assert_string_equal(cl->address.host, "fd00::1");
	assert_int_equal(cl->address.port, 7401);
	assert_int_equal(cl->peers.count, 2);
	assert_string_equal(cl->peers.at[0].text, "10.0.0.2:7400");
	assert_string_equal(cl->peers.at[1].host, "fd00::2");
	assert_string_equal(cl->public_url, "https://a.org:8443");
	assert_string_equal(cl->zone, "r-1");
	assert_int_equal(cl->buckets, 7);
	assert_string_equal(cl->crl, "/r");
	assert_false(cl->votes);
	assert_int_equal(cl->priority, 3);
	assert_int_equal(cl->failure_timeout_ms, 5000);
	assert_int_equal(cl->election_timeout_ms, 1000);
	conf_free(&c);
	c = load_good(NODE "cluster eu { " IDENTITY " listen = '10.0.0.1:7400' witness = yes " PEER "}");
	assert_true(c->cluster.witness);
	assert_int_equal(c->listen_count, 0);
	conf_free(&c);
}

/* One list for the files of all nodes; in whatever spelling. */
static void the_own_address_among_peers_is_passed_over(void **state)
{
	(void)state;
	struct conf *c = load_good(CLUSTER("listen = '[::]:7400' address = '[fd00::1]:7400' "
					   "peers = { '10.0.0.2:7400', '[fd00:0::1]:7400', '[fd00::1]:7401' }"));
	assert_int_equal(c->cluster.peers.count, 2);
	assert_string_equal(c->cluster.peers.at[0].text, "10.0.0.2:7400");
	assert_string_equal(c->cluster.peers.at[1].text, "[fd00::1]:7401");
	conf_free(&c);
	c = load_good(OWN("address = '10.9.9.9:1' peers = { '10.0.0.1:7400', '10.9.9.9:1', '10.0.0.2:1' }"));
	assert_int_equal(c->cluster.peers.count, 1);
	conf_free(&c);
	c = load_good(OWN("peers = '10.0.0.1:7400'"));
	assert_int_equal(c->cluster.peers.count, 0);
	conf_free(&c);
	assert_errors(OWN("peers = { }"), "f:4: cluster.peers: an empty list says nothing: leave it out\n");
}

static void a_copy_is_the_same(void **state)
{
	(void)state;
	struct conf *c = load_good(OWN("peers = { '10.0.0.2:1', '10.0.0.3:1' } zone = z crl = /r priority = 9"));
	struct conf_cluster copy;
	assert_int_equal(conf_cluster_copy(&c->cluster, &copy), 0);
	assert_string_equal(copy.name, "eu");
	assert_ptr_not_equal(copy.name, c->cluster.name);
	assert_int_equal(copy.peers.count, 2);
	assert_string_equal(copy.peers.at[1].host, "10.0.0.3");
	assert_string_equal(copy.zone, "z");
	assert_string_equal(copy.crl, "/r");
	assert_int_equal(copy.priority, 9);
	assert_int_equal(copy.failure_timeout_ms, 2000);
	assert_string_equal(copy.address.text, "10.0.0.1:7400");
	conf_cluster_fini(&copy);
	conf_free(&c);
	assert_int_equal(conf_cluster_copy(&(struct conf_cluster){0}, &copy), 0);
	assert_null(copy.name);
}

/* --- what is required ------------------------------------------------------------------------------------------- */

static void what_must_be_there(void **state)
{
	(void)state;
	assert_errors(NODE LISTEN "cluster eu {\n}",
		      "f:3: cluster.listen: missing: a numeric address and a port, as 10.0.0.1:7400 or [fd00::1]:7400\n"
		      "f:3: cluster.certificate: missing: a full path\n"
		      "f:3: cluster.key: missing: a full path\n"
		      "f:3: cluster.ca: missing: a full path\n");
	assert_errors(OWN("") "cluster us { " IDENTITY " listen = '10.0.0.1:1' }",
		      "f:5: cluster: \"us\": only one such section is allowed\n");
}

static void names_must_be_good(void **state)
{
	(void)state;
	static const char text[] = LISTEN "cluster eu { " IDENTITY " listen = '10.0.0.1:7400' }";
	assert_errors(LISTEN "cluster 'e/u' { " IDENTITY " listen = '10.0.0.1:7400' }",
		      "f:2: cluster: \"e/u\": a name is 1 to 64 letters, digits, '-', '_' or '.'\n");
	host_name = "web 1";
	assert_errors(text,
		      "f:2: cluster: \"eu\": the host name \"web 1\" cannot be the name of a node: a section node "
		      "must give one\n");
	assert_good(LISTEN); /* alone it is nobody's business */
	assert_good(OWN(""));
	host_name = NULL;
	assert_good(text);
}

/* --- addresses -------------------------------------------------------------------------------------------------- */

static void others_must_be_able_to_connect(void **state)
{
	(void)state;
	static const char *const bad[] = {
	    "0.0.0.0:7400",   "[::]:7400",      "[::ffff:0.0.0.0]:7400", "224.0.0.1:7400",
	    "[ff02::1]:7400", "[fe80::1]:7400", "255.255.255.255:7400",  "0.1.2.3:7400",
	};
	static const char *const good[] = {"223.255.255.255:1", "127.0.0.1:1", "[::1]:1", "[fec0::1]:1", "1.0.0.0:1"};
	char text[512], expected[256];

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		snprintf(text, sizeof text, OWN("\naddress = '%s'"), bad[i]);
		snprintf(expected, sizeof expected, "f:5: cluster.address: \"%s\": " NOWHERE, bad[i]);
		assert_errors(text, expected);
		snprintf(text, sizeof text, OWN("\npeers = { '10.0.0.2:1',\n'%s' }"), bad[i]);
		snprintf(expected, sizeof expected, "f:6: cluster.peers: \"%s\": " NOWHERE, bad[i]);
		assert_errors(text, expected);
	}
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		snprintf(text, sizeof text, OWN("address = '%s' peers = '%s'"), good[i], good[i]);
		assert_good(text);
	}
}

static void a_wildcard_needs_an_address(void **state)
{
	(void)state;
	static const char *const all[] = {"0.0.0.0:7400", "[::]:7400", "[::ffff:0.0.0.0]:7400"};
	char text[512], expected[256];

	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		snprintf(text, sizeof text, CLUSTER("listen = '%s'"), all[i]);
		snprintf(expected, sizeof expected,
			 "f:4: cluster.listen: \"%s\": all addresses of this machine: address must say at which one "
			 "others reach it\n",
			 all[i]);
		assert_errors(text, expected);
		snprintf(text, sizeof text, CLUSTER("listen = '%s' address = '10.0.0.1:7400'"), all[i]);
		assert_good(text);
	}
	assert_errors(CLUSTER("listen = '224.0.0.1:1' address = '10.0.0.1:1'"),
		      "f:4: cluster.listen: \"224.0.0.1:1\": " NOWHERE);
}

static void it_is_nobody_elses(void **state)
{
	(void)state;
	assert_errors(CLUSTER("listen = '127.0.0.1:9001'"),
		      "f:4: cluster.listen: \"127.0.0.1:9001\": is an address of listen\n");
	assert_errors(
	    CLUSTER("listen = '127.0.0.1:9009'") "app a { backend 'unix:/b' { } session { mode=adopted cookie=c "
						 "key=k socket='127.0.0.1:9009' } }",
	    "f:4: cluster.listen: \"127.0.0.1:9009\": is the session socket of an app\n");
}

static void a_peer_stands_there_once(void **state)
{
	(void)state;
	assert_errors(OWN("\npeers = { '[fd00::2]:1', '[fd00::3]:1',\n'[fd00:0::2]:1' }"),
		      "f:6: cluster.peers: \"[fd00:0::2]:1\": given twice\n");
	/* What is refused is passed over when the others are looked at. */
	assert_errors(
	    OWN("\npeers = { nobody,\n'10.0.0.2:1',\n'10.0.0.2:1' }"),
	    "f:5: cluster.peers: \"nobody\": numeric addresses and ports, as 10.0.0.1:7400 or [fd00::1]:7400\n"
	    "f:7: cluster.peers: \"10.0.0.2:1\": given twice\n");
}

/* --- voters ----------------------------------------------------------------------------------------------------- */

#define SIX "'10.0.0.2:1', '10.0.0.3:1', '10.0.0.4:1', '10.0.0.5:1', '10.0.0.6:1', '10.0.0.7:1'"
#define MANY "cluster.peers: too many: at most 7 nodes vote at first, and this one does unless votes = no\n"

static void at_most_seven_vote(void **state)
{
	(void)state;
	assert_good(OWN("peers = { " SIX " }"));
	assert_good(OWN("peers = { " SIX ", '10.0.0.1:7400' }"));
	assert_errors(OWN("\npeers = { " SIX ", '10.0.0.8:1' }"), "f:5: " MANY);
	assert_good(OWN("peers = { " SIX ", '10.0.0.8:1' } votes = no"));
	assert_errors(OWN("votes = no\npeers = { " SIX ", '10.0.0.8:1', '10.0.0.9:1' }"), "f:5: " MANY);
}

static void a_cluster_of_its_own_has_a_voter(void **state)
{
	(void)state;
	static const char expected[] =
	    "f:5: cluster.votes: \"no\": without peers this node is a cluster of its own, and nobody else could vote\n"
	    "f:6: cluster.priority: \"0\": without peers this node is a cluster of its own, and must coordinate it\n";
	assert_errors(OWN("\nvotes = no\npriority = 0"), expected);
	assert_errors(OWN("peers = '10.0.0.1:7400'\nvotes = no\npriority = 0"), expected);
	assert_good(OWN(PEER "votes = no priority = 0"));
}

static void a_witness_votes_and_hosts_nothing(void **state)
{
	(void)state;
	assert_errors(OWN(PEER "\nwitness = yes votes = no") APP
		      "app b { match = 'path:/b' backend '127.0.0.1:9002' { } }",
		      "f:5: cluster.votes: \"no\": a witness is there to vote\n"
		      "f:6: app: \"a\": a witness hosts no app\n"
		      "f:7: app: \"b\": a witness hosts no app\n");
	assert_good(OWN(PEER "witness = yes"));
	assert_errors(NODE "cluster eu { " IDENTITY " listen = '10.0.0.1:7400' }",
		      "f:1: listen: missing: at least one is needed\n");
}

static void an_election_is_over_before_a_node_is_dead(void **state)
{
	(void)state;
	assert_good(OWN("failure-timeout = 200ms election-timeout = 200ms"));
	assert_errors(OWN("\nfailure-timeout = 300ms\nelection-timeout = 301ms"),
		      "f:6: cluster.election-timeout: \"301ms\": election-timeout is at most failure-timeout\n");
	assert_errors(OWN("\nelection-timeout = 3s"),
		      "f:5: cluster.election-timeout: \"3s\": election-timeout is at most failure-timeout\n");
}

/* --- the public URL --------------------------------------------------------------------------------------------- */

static void what_a_public_url_is(void **state)
{
	(void)state;
	static const char *const good[] = {"",
					   "http://a",
					   "https://alpha.example.org",
					   "https://a:1",
					   "http://10.0.0.1:65535",
					   "https://[fd00::1]",
					   "https://[::1]:8443"};
	static const char *const bad[] = {"alpha.example.org", "ftp://a",     "HTTPS://a",      "https://",
					  "https://:1",        "https://a:",  "https://a:0",    "https://a:65536",
					  "https://a:x",       "https://a/",  "https://a?q",    "https://a#f",
					  "https://u@a",       "https://a b", "https://[::1",   "https://::1",
					  "https://[]",        "https://[a]", "https://[::1]x", "https://[",
					  "https://[10.0.0.1]"};
	char text[1024], expected[1024];

	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		snprintf(text, sizeof text, OWN("public-url = '%s'"), good[i]);
		assert_good(text);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		snprintf(text, sizeof text, OWN("public-url = '%s'"), bad[i]);
		snprintf(expected, sizeof expected,
			 "f:4: cluster.public-url: \"%s\": http://HOST or https://HOST, with :PORT or without, and "
			 "nothing behind\n",
			 bad[i]);
		assert_errors(text, expected);
	}
	struct conf *c = NULL;
	char host[300];
	memset(host, 'a', sizeof host);
	host[254] = '\0';
	snprintf(text, sizeof text, OWN("public-url = 'https://%s'"), host);
	assert_int_equal(load(text, &c), ERR_CONFIG);
	host[253] = '\0';
	snprintf(text, sizeof text, OWN("public-url = 'https://%s'"), host);
	assert_good(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(without_the_section_there_is_nothing),
	    cmocka_unit_test(a_short_section_gets_all_defaults),
	    cmocka_unit_test(every_option_reaches_its_field),
	    cmocka_unit_test(the_own_address_among_peers_is_passed_over),
	    cmocka_unit_test(a_copy_is_the_same),
	    cmocka_unit_test(what_must_be_there),
	    cmocka_unit_test(names_must_be_good),
	    cmocka_unit_test(others_must_be_able_to_connect),
	    cmocka_unit_test(a_wildcard_needs_an_address),
	    cmocka_unit_test(it_is_nobody_elses),
	    cmocka_unit_test(a_peer_stands_there_once),
	    cmocka_unit_test(at_most_seven_vote),
	    cmocka_unit_test(a_cluster_of_its_own_has_a_voter),
	    cmocka_unit_test(a_witness_votes_and_hosts_nothing),
	    cmocka_unit_test(an_election_is_over_before_a_node_is_dead),
	    cmocka_unit_test(what_a_public_url_is),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
