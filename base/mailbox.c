/* The mailbox: a locked list, taken whole by the receiver. */
#include "base/mailbox.h"

#include "base/invariant.h"

void mailbox_init(struct mailbox *box, void (*wake)(void *), void *wake_arg)
{
	pthread_mutex_init(&box->lock, NULL);
	list_init(&box->mails);
	box->wake = wake;
	box->wake_arg = wake_arg;
}

void mailbox_fini(struct mailbox *box)
{
	INVARIANT(list_empty(&box->mails));
	pthread_mutex_destroy(&box->lock);
}

void mailbox_post(struct mailbox *box, struct mail *mail)
{
	INVARIANT(mail->deliver != NULL);
	pthread_mutex_lock(&box->lock);
	bool first = list_empty(&box->mails);
	list_append(&box->mails, &mail->link);
	pthread_mutex_unlock(&box->lock);
	if (first)
		box->wake(box->wake_arg);
}

void mailbox_deliver(struct mailbox *box)
{
	struct list taken;
	struct list *node;

	list_init(&taken);
	pthread_mutex_lock(&box->lock);
	list_move_all(&taken, &box->mails);
	pthread_mutex_unlock(&box->lock);
	while ((node = list_pop(&taken))) {
		struct mail *mail = CONTAINER_OF(node, struct mail, link);
		mail->deliver(mail);
	}
}
