/* From the words of `weirctl pki` to tls/pki.h. */
#include "ctl/pki.h"

#include "base/error.h"
#include "tls/pki.h"

#include <stdio.h>
#include <time.h>

enum { DATE_BYTES = 32 };

static enum ctl_exit exit_of(int err)
{
	switch (err) {
	case 0:
		return CTL_DONE;
	case ERR_GONE:
		return CTL_NOT_FOUND;
	default:
		return CTL_FAILED;
	}
}

static enum ctl_exit failed(int err, const char *why)
{
	ctl_say("%s", *why ? why : error_text(err));
	return exit_of(err);
}

static bool read_days(const struct admin_request *r, unsigned preset, struct tls_pki_terms *out)
{
	uint64_t days = preset;
	const char *text = r->options[ADMIN_DAYS];

	if (text && (!view_to_u64(view_str(text), TLS_PKI_DAYS_MAX, &days) || days == 0)) {
		ctl_say("--days takes a number from 1 to %d", TLS_PKI_DAYS_MAX);
		return false;
	}
	*out = (struct tls_pki_terms){.now = clock_wall(), .days = (unsigned)days};
	return true;
}

static bool is_name(const char *what, const char *name)
{
	bool good = name_is_good(view_str(name));

	if (!good)
		ctl_say("the name of a %s is 1 to %d letters, digits, \"-\", \"_\" and \".\"", what, TLS_NAME_MAX);
	return good;
}

static const char *date(struct wall_time t, char out[DATE_BYTES])
{
	time_t s = (time_t)t.s;
	struct tm tm;

	if (!gmtime_r(&s, &tm) || strftime(out, DATE_BYTES, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		*out = '\0';
	return out;
}

/* Names and numbers have no character that JSON would want quoted. */
static void print_issued(const struct admin_request *r, const char *node, const struct tls_pki_issued *i)
{
	char until[DATE_BYTES];

	(void)date(i->expires, until);
	if (r->options[ADMIN_JSON]) {
		printf("{\"cluster\":\"%s\",", i->cluster);
		if (node)
			printf("\"node\":\"%s\",", node);
		printf("\"serial\":\"%s\",\"expires\":\"%s\"}\n", i->serial, until);
		return;
	}
	printf("cluster  %s\n", i->cluster);
	if (node)
		printf("node     %s\n", node);
	printf("serial   %s\nexpires  %s\n", i->serial, until);
}

/* --- the commands --- */

static enum ctl_exit init(const struct admin_request *r)
{
	const char *dir = r->arguments[0], *cluster = r->options[ADMIN_CLUSTER];
	struct tls_pki_terms terms;
	struct tls_pki_issued issued;
	char why[TLS_LINE_BYTES];

	if (!cluster) {
		ctl_say("pki init: --cluster NAME is missing");
		return CTL_USAGE;
	}
	if (!is_name("cluster", cluster) || !read_days(r, TLS_PKI_AUTHORITY_DAYS, &terms))
		return CTL_USAGE;
	int err = tls_pki_init(dir, cluster, terms, &issued, why);
	if (err)
		return failed(err, why);
	print_issued(r, NULL, &issued);
	if (!r->options[ADMIN_JSON])
		printf("\neach node gets %s/ca.pem and %s/crl.pem, and what pki issue makes for it;\n"
		       "%s/ca.key is for no node: whoever has it can be any of them\n",
		       dir, dir, dir);
	return CTL_DONE;
}

static enum ctl_exit issue(const struct admin_request *r)
{
	const char *dir = r->arguments[0], *node = r->arguments[1];
	struct tls_pki_terms terms;
	struct tls_pki_issued issued;
	char why[TLS_LINE_BYTES];

	if (!is_name("node", node) || !read_days(r, TLS_PKI_NODE_DAYS, &terms))
		return CTL_USAGE;
	int err =
	    tls_pki_issue(dir, node, r->options[ADMIN_NAMES], r->options[ADMIN_FORCE] != NULL, terms, &issued, why);
	if (err)
		return failed(err, why);
	print_issued(r, node, &issued);
	if (!r->options[ADMIN_JSON])
		printf("\nthe node gets %s/%s.pem and %s/%s.key; there the key must be the property of the user\n"
		       "that weir runs as, who reads it again at each reload, and of nobody else\n",
		       dir, node, dir, node);
	return CTL_DONE;
}

static enum ctl_exit revoke(const struct admin_request *r)
{
	const char *dir = r->arguments[0], *node = r->arguments[1];
	char why[TLS_LINE_BYTES];
	unsigned count = 0;

	if (!is_name("node", node))
		return CTL_USAGE;
	int err = tls_pki_revoke(dir, node, clock_wall(), &count, why);
	if (err)
		return failed(err, why);
	if (r->options[ADMIN_JSON])
		printf("{\"node\":\"%s\",\"revoked\":%u}\n", node, count);
	else
		printf("node     %s\nrevoked  %u\n\neach node gets %s/crl.pem, and is told to reload\n", node, count,
		       dir);
	return CTL_DONE;
}

static const char *state_of(const struct tls_pki_entry *e, struct wall_time now)
{
	return e->revoked.s ? "revoked" : e->expires.s <= now.s ? "expired" : "good";
}

static void print_list_json(const struct tls_pki_list *l, struct wall_time now)
{
	char until[DATE_BYTES], revoked[DATE_BYTES];

	printf("{\"cluster\":\"%s\",\"expires\":\"%s\",\"certificates\":[", l->authority.cluster,
	       date(l->authority.expires, until));
	for (size_t i = 0; i < l->count; i++) {
		const struct tls_pki_entry *e = &l->at[i];
		bool is_revoked = e->revoked.s != 0;
		printf("%s{\"node\":\"%s\",\"serial\":\"%s\",\"expires\":\"%s\",\"state\":\"%s\",\"revoked\":%s%s%s}",
		       i ? "," : "", e->node, e->serial, date(e->expires, until), state_of(e, now),
		       is_revoked ? "\"" : "", is_revoked ? date(e->revoked, revoked) : "null", is_revoked ? "\"" : "");
	}
	printf("]}\n");
}

static void print_list(const struct tls_pki_list *l, struct wall_time now)
{
	char until[DATE_BYTES], revoked[DATE_BYTES];
	int node = 4, serial = 6;

	printf("cluster    %s\nauthority  until %s\n", l->authority.cluster, date(l->authority.expires, until));
	for (size_t i = 0; i < l->count; i++) {
		node = (int)strlen(l->at[i].node) > node ? (int)strlen(l->at[i].node) : node;
		serial = (int)strlen(l->at[i].serial) > serial ? (int)strlen(l->at[i].serial) : serial;
	}
	if (l->count > 0)
		printf("\n%-*s  %-*s  %-20s  STATE\n", node, "NODE", serial, "SERIAL", "EXPIRES");
	for (size_t i = 0; i < l->count; i++) {
		const struct tls_pki_entry *e = &l->at[i];
		printf("%-*s  %-*s  %-20s  %s%s%s\n", node, e->node, serial, e->serial, date(e->expires, until),
		       state_of(e, now), e->revoked.s ? " " : "", e->revoked.s ? date(e->revoked, revoked) : "");
	}
}

static enum ctl_exit list(const struct admin_request *r)
{
	char why[TLS_LINE_BYTES];
	struct tls_pki_list l;
	int err = tls_pki_list(r->arguments[0], &l, why);

	if (err)
		return failed(err, why);
	if (r->options[ADMIN_JSON])
		print_list_json(&l, clock_wall());
	else
		print_list(&l, clock_wall());
	tls_pki_list_fini(&l);
	return CTL_DONE;
}

enum ctl_exit ctl_pki(const struct admin_request *r)
{
	switch (r->command) {
	case ADMIN_PKI_INIT:
		return init(r);
	case ADMIN_PKI_ISSUE:
		return issue(r);
	case ADMIN_PKI_LIST:
		return list(r);
	default:
		return revoke(r);
	}
}
