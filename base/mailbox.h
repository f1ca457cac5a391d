/* Messages from any thread to one. Many messages, one wake-up: the wake function is called only when the box was
 * empty. The message is an intrusive list node inside a struct that the receiver owns from then on. */
#ifndef WEIR_BASE_MAILBOX_H
#define WEIR_BASE_MAILBOX_H

#include "base/list.h"

#include <pthread.h>

struct mail {
	struct list link;
	void (*deliver)(struct mail *mail); /* runs on the receiver's thread */
};

struct mailbox {
	pthread_mutex_t lock;
	struct list mails;        /* guarded by lock */
	void (*wake)(void *self); /* must be safe from any thread */
	void *wake_arg;           /* borrowed */
};

void mailbox_init(struct mailbox *box, void (*wake)(void *), void *wake_arg);
void mailbox_fini(struct mailbox *box); /* the box must be empty */

void mailbox_post(struct mailbox *box, struct mail *mail);

/* Delivers all that is there now, in order, on the calling thread. */
void mailbox_deliver(struct mailbox *box);

#endif
