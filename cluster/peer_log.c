/* One line each second and kind of refusal, with the number of those that were left out. The last one that was left out
 * waits, and is written when its second is over: so none goes uncounted when no other comes. */
#include "cluster/peer_inside.h"

#include "base/invariant.h"
#include "base/log.h"

#include <stdio.h>

static void keep(struct refusals *r, const char *reason, const char *detail, const char *address, struct view name)
{
	r->left_out += r->waits;
	r->waits = true;
	snprintf(r->reason, sizeof r->reason, "%s", reason);
	snprintf(r->detail, sizeof r->detail, "%s", detail);
	snprintf(r->address, sizeof r->address, "%s", address);
	snprintf(r->name, sizeof r->name, "%.*s", (int)name.len, name.len ? (const char *)name.at : "");
}

static void write_line(struct refusals *r, const char *reason, const char *detail, const char *address,
		       struct view name, struct instant now)
{
	log_event(LOG_WARN, "peer_refused", LOG_S("reason", reason), LOG_V("detail", view_str(detail)),
		  LOG_S("address", address), LOG_V("name", name), LOG_I("left_out", r->left_out));
	r->left_out = 0;
	r->waits = false;
	r->said = true;
	r->next = instant_add_ms(now, 1000);
}

void peer_log_refused(struct peers *p, unsigned kind, const char *reason, const char *detail, const char *address,
		      struct view name)
{
	INVARIANT(kind < PEER_KINDS_OF_REFUSAL);
	struct refusals *r = &p->refusals[kind];
	struct instant now = net_now(p->loop);

	if (r->said && instant_before(now, r->next)) {
		keep(r, reason, detail, address, name);
		peers_look_soon(p);
		return;
	}
	r->left_out += r->waits;
	write_line(r, reason, detail, address, name, now);
}

bool peer_log_flush(struct peers *p, bool all)
{
	struct instant now = net_now(p->loop);
	bool more = false;

	for (size_t kind = 0; kind < PEER_KINDS_OF_REFUSAL; kind++) {
		struct refusals *r = &p->refusals[kind];
		if (!r->waits)
			continue;
		if (all || !instant_before(now, r->next))
			write_line(r, r->reason, r->detail, r->address, view_str(r->name), now);
		else
			more = true;
	}
	return more;
}
