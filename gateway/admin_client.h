/* One connection to the admin socket: lines in, replies out, one at a time. Main thread only.
 *
 *   READING --a line--> RUNNING --done--> READING         what does not fit the kernel is waited for in both
 *   READING, RUNNING --closed, silent, end--> CLOSING     freed when the stream is closed */
#ifndef WEIR_GATEWAY_ADMIN_CLIENT_H
#define WEIR_GATEWAY_ADMIN_CLIENT_H

#include "gateway/control.h"

struct admin_client;

struct admin_client_options {
	struct daemon *daemon;
	uid_t uid;                                       /* the kernel's word */
	uint64_t silence_ms;                             /* for a line to come, or for a reply to be taken on */
	void (*gone)(void *arg, struct admin_client *c); /* it is about to be freed */
	void *arg;
};

/* Takes the descriptor, also when it fails. NULL: out of memory. */
MUST_USE struct admin_client *admin_client_new(struct net_loop *loop, int fd, const struct admin_client_options *o);

/* Closes it when the command under way, if any, has its reply. */
void admin_client_finish(struct admin_client *c);
/* Closes it now. `gone` comes later. Safe to repeat. */
void admin_client_close(struct admin_client *c);

#endif
