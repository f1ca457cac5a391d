/* The choice of who keeps the sessions, and the row for those who have none. */
#include "gateway/keeper.h"

#include "gateway/adopted.h"
#include "gateway/managed.h"
#include "proto/cgi.h"

static enum keeper_open open_none(struct request *r)
{
	(void)r;
	return KEEPER_READY;
}

static void do_none(struct request *r)
{
	(void)r;
}

static void params_none(const struct request *r, struct keeper_params *out)
{
	(void)r;
	out->drop_prefix = view_of(NULL, 0);
	out->extra_count = 0;
}

unsigned keeper_copy_head(struct view head, struct buf *out, const char **reason)
{
	struct cgi_header first;

	buf_put(out, head);
	*reason = "answer has no header";
	return cgi_header_next(&head, &first) && first.name.len > 0 ? 0 : 502;
}

static unsigned answer_none(struct request *r, struct view head, struct buf *out, const char **reason)
{
	(void)r;
	return keeper_copy_head(head, out, reason);
}

const struct keeper keeper_none = {
    .open = open_none,
    .granted = open_none, /* it never waits */
    .grant_back = do_none,
    .count = do_none,
    .close = do_none,
    .params = params_none,
    .answer = answer_none,
};

const struct keeper *keeper_of(enum conf_session_mode mode)
{
	static const struct keeper *const keepers[] = {
	    [CONF_SESSION_NONE] = &keeper_none,
	    [CONF_SESSION_MANAGED] = &keeper_managed,
	    [CONF_SESSION_ADOPTED] = &keeper_adopted,
	};

	return keepers[mode];
}
