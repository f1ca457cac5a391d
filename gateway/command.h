/* One command of the admin socket, from its line to its reply. Main thread. What runs on other threads comes back by
 * mail, so that a command may outlive the client that sent it. */
#ifndef WEIR_GATEWAY_COMMAND_H
#define WEIR_GATEWAY_COMMAND_H

#include "gateway/control.h"
#include "proto/admin.h"

struct command;

/* `done` tells that the reply is there: sooner or later after command_run(), or before that returns. Then the command
 * is to be freed, but not within `done`. NULL: out of memory. */
MUST_USE struct command *command_new(struct daemon *d, uid_t uid, void (*done)(struct command *c), void *owner);
void *command_owner(const struct command *c);

/* The line, without its end. False: there is no word in it, nothing is to be run. */
bool command_read(struct command *c, struct view line);
void command_run(struct command *c);

/* After `done`. Out of memory is an error of `out`. */
void command_put_reply(const struct command *c, struct buf *out);
void command_free(struct command **c);

/* Nobody waits for the reply any more: `done` does not come, and the command frees itself. */
void command_abandon(struct command **c);

/* The reply to one who is not let in, or is too late. */
void command_put_error(struct buf *out, enum admin_code code, const char *message, bool json);

#endif
