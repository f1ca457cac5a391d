/* Going from one generation to the next, on one worker. */
#include "gateway/share.h"

#include "base/invariant.h"
#include "gateway/front.h"

static struct generation_share *share_of_mail(struct mail *mail)
{
	return CONTAINER_OF(mail, struct generation_share, mail);
}

static void tell(struct generation_share *s, void (*deliver)(struct mail *))
{
	s->mail.deliver = deliver;
	net_loop_post(s->worker->gateway->main, &s->mail);
}

static void post(struct generation_share *s, void (*deliver)(struct mail *))
{
	s->mail.deliver = deliver;
	net_loop_post(&s->worker->loop, &s->mail);
}

static void deliver_leave(struct mail *mail)
{
	struct generation_share *s = share_of_mail(mail);

	INVARIANT(s->users == 0);
	pool_close(s->pool);
	list_remove(&s->link);
	tell(s, s->worker->gateway->left);
}

struct generation_share *share_use(struct generation_share *s)
{
	s->users++;
	return s;
}

void share_release(struct generation_share *s)
{
	INVARIANT(s->users > 0);
	/* In a turn of its own: the last user may go from within a callback of the pool. */
	if (--s->users == 0 && s != s->worker->share)
		post(s, deliver_leave);
}

static void deliver_switch(struct mail *mail)
{
	struct generation_share *s = share_of_mail(mail);
	struct worker *w = s->worker;
	struct generation_share *old = share_use(w->share);

	INVARIANT(s->generation->number > old->generation->number);
	list_append(&w->shares, &s->link);
	w->share = s;
	LIST_EACH (node, &w->listeners) {
		struct listener *l = CONTAINER_OF(node, struct listener, link);
		l->conf = generation_listen(s->generation, l);
		INVARIANT(l->conf != NULL); /* those that are not in it were removed before */
	}
	LIST_EACH (node, &w->fronts)
		front_switch(CONTAINER_OF(node, struct front, link), old);
	pool_drain(old->pool);
	tell(s, w->gateway->switched);
	share_release(old);
}

void share_switch(struct generation_share *s)
{
	post(s, deliver_switch);
}

static void deliver_forget(struct mail *mail)
{
	struct generation_share *s = share_of_mail(mail);

	tell(s, s->worker->gateway->forgotten);
}

void share_forget(struct generation_share *s)
{
	post(s, deliver_forget);
}

void share_close_all(struct worker *w)
{
	LIST_EACH (node, &w->shares)
		pool_close(CONTAINER_OF(node, struct generation_share, link)->pool);
}
