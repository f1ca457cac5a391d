/* Going from one generation to the next, on one worker. */
#include "gateway/share.h"

#include "base/invariant.h"
#include "gateway/front.h"
#include "gateway/socket_client.h"

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

struct generation_share *share_host(struct generation_share *s)
{
	s->guests++;
	return s;
}

void share_unhost(struct generation_share *s)
{
	INVARIANT(s->guests > 0);
	if (--s->guests == 0 && s->forgetting)
		tell(s, s->worker->gateway->forgotten);
}

/* Those for web servers that are not in it were removed before; a session socket stays as it was until the requests
 * that may need it are done. */
static void switch_listener(struct listener *l, const struct generation_share *s)
{
	const struct conf_listen *c = generation_listen(s->generation, l);

	INVARIANT(c || l->app);
	if (!c)
		return;
	l->conf = c;
	l->generation = s->generation;
}

static void deliver_switch(struct mail *mail)
{
	struct generation_share *s = share_of_mail(mail);
	struct worker *w = s->worker;
	struct generation_share *old = share_use(w->share);

	INVARIANT(s->generation->number > old->generation->number);
	list_append(&w->shares, &s->link);
	w->share = s;
	LIST_EACH (node, &w->listeners)
		switch_listener(CONTAINER_OF(node, struct listener, link), s);
	LIST_EACH (node, &w->fronts)
		front_switch(CONTAINER_OF(node, struct front, link), old);
	LIST_EACH (node, &w->socket_clients)
		socket_client_switch(socket_client_of(node), old);
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

	s->forgetting = true;
	if (s->guests == 0) {
		tell(s, s->worker->gateway->forgotten);
		return;
	}
	LIST_EACH (node, &s->worker->socket_clients) {
		struct socket_client *c = socket_client_of(node);
		if (socket_client_host(c) == s)
			socket_client_leave(c);
	}
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
