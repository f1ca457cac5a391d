/* A request to weir, and what becomes of its reply. */
#ifndef WEIR_CTL_TALK_H
#define WEIR_CTL_TALK_H

#include "ctl/ctl.h"
#include "proto/admin.h"

/* Sends the request over the connected socket and shows the reply: what it asked for on standard output, errors on
 * standard error (as JSON on standard output). With ADMIN_ALL page after page. */
MUST_USE enum ctl_exit ctl_talk(int fd, const struct admin_request *r);

/* How to end after this code. */
enum ctl_exit ctl_exit_of(enum admin_code code);

#endif
