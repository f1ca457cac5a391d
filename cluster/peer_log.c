/* One line each second and kind of refusal, with the number of those that were left out. */
#include "cluster/peer_inside.h"

#include "base/invariant.h"
#include "base/log.h"

void peer_log_refused(struct peers *p, unsigned kind, const char *reason, const char *detail, const char *address,
		      struct view name)
{
	INVARIANT(kind < PEER_KINDS_OF_REFUSAL);
	struct refusals *r = &p->refusals[kind];
	struct instant now = net_now(p->loop);

	if (r->said && instant_before(now, r->next)) {
		r->left_out++;
		return;
	}
	log_event(LOG_WARN, "peer_refused", LOG_S("reason", reason), LOG_V("detail", view_str(detail)),
		  LOG_S("address", address), LOG_V("name", name), LOG_I("left_out", r->left_out));
	*r = (struct refusals){.said = true, .next = instant_add_ms(now, 1000)};
}
