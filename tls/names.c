/* Which name a certificate has. */
#include "tls/names.h"

#include "base/name.h"

static void put(char out[TLS_NAME_MAX + 1], struct view name)
{
	memcpy(out, name.at, name.len);
	out[name.len] = '\0';
}

/* CLUSTER/NODE */
static bool split(struct view both, struct tls_identity *out)
{
	const uint8_t *slash = both.len > 0 ? memchr(both.at, '/', both.len) : NULL;

	if (!slash)
		return false;
	struct view cluster = view_take(&both, (size_t)(slash - both.at));
	(void)view_take(&both, 1);
	if (!name_is_good(cluster) || !name_is_good(both))
		return false;
	put(out->cluster, cluster);
	put(out->node, both);
	return true;
}

/* len 0: it is no URI. */
static struct view uri_of(const GENERAL_NAME *name)
{
	int type;
	const ASN1_STRING *text = GENERAL_NAME_get0_value(name, &type);

	if (type != GEN_URI)
		return view_of(NULL, 0);
	return view_of(ASN1_STRING_get0_data(text), (size_t)ASN1_STRING_length(text));
}

bool tls_identity_read(const X509 *certificate, struct tls_identity *out, const char **why)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
	struct tls_identity found = {.node = ""};
	unsigned count = 0;
	bool good = true;

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		struct view uri = uri_of(sk_GENERAL_NAME_value(names, i));
		if (!view_starts(uri, VIEW(TLS_NAME_SCHEME)))
			continue;
		(void)view_take(&uri, sizeof TLS_NAME_SCHEME - 1);
		good = split(uri, &found);
		count++;
	}
	GENERAL_NAMES_free(names);
	if (count == 1 && good) {
		*out = found;
		return true;
	}
	*why = count == 0  ? "has no name " TLS_NAME_SCHEME "CLUSTER/NODE"
	       : count > 1 ? "has more than one name " TLS_NAME_SCHEME "CLUSTER/NODE"
			   : "has a name " TLS_NAME_SCHEME "... that is not CLUSTER/NODE";
	return false;
}
